//! The JSON objects of the API that are not the ledger's own.

use ledger::{
    BlockHash, BlockTime, CertificateHash, ChainId, Height, Member, Parameters, StatusAnswer,
};
use serde::{Deserialize, Serialize};

/// `GET /v1/head`: the chain and its newest block.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HeadAnswer {
    /// The chain's identifier.
    pub chain: ChainId,
    /// Its name, for people.
    pub name: String,
    /// The newest block's height.
    pub height: Height,
    /// The newest block's hash.
    pub hash: BlockHash,
    /// The newest block's time, Unix milliseconds.
    pub time: BlockTime,
    /// What the consortium agreed.
    pub parameters: Parameters,
}

/// `GET /v1/members`: the consortium.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MembersAnswer {
    /// Its members, by name.
    pub members: Vec<Member>,
}

/// What `POST /v1/status` asks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StatusRequest {
    /// The certificates, at most [`MAX_HASHES`](super::MAX_HASHES).
    pub hashes: Vec<CertificateHash>,
}

/// `POST /v1/status`: the answers, in the order of the questions.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StatusesAnswer {
    /// One for each hash.
    pub answers: Vec<StatusAnswer>,
}

/// Any answer that is not a success.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorAnswer {
    /// The error's name, which does not change.
    pub error: String,
    /// What it was about, and how to mend it, for people.
    pub detail: String,
    /// With `history-gone`: the oldest height whose events are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Height>,
}
