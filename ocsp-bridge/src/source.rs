//! Where the responder asks what the ledger holds.

use std::pin::Pin;

use ledger::{BlockTime, CertificateHash, Status};
use ocsp::{CertId, UnixTime};
use thiserror::Error;

/// A future on the heap, so that sources can be chosen at run time.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Finds the certificate that a CertID names, and its status.
pub trait Source: Send + Sync {
    /// Looks one CertID up. It must end within a bounded time: the relying party waits.
    ///
    /// It is dropped unfinished when its caller gives up.
    fn look_up<'a>(&'a self, id: &'a CertId<'a>) -> BoxFuture<'a, Result<Finding, Unavailable>>;
}

/// What a [`Source`] found, and how fresh that is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What the ledger holds.
    pub look_up: LookUp,
    /// The time of the newest block that the answer takes into account; `None` when the source does not know it,
    /// which counts as now.
    pub block_time: Option<BlockTime>,
    /// Until when the source vouches for the answer; `None` leaves it to [`Policy`](crate::Policy). An answer
    /// that is not vouched for any more becomes `tryLater`.
    pub fresh_until: Option<UnixTime>,
}

impl Finding {
    /// A finding as of now, with nothing said about how long it holds.
    #[must_use]
    pub const fn new(look_up: LookUp) -> Self {
        Self {
            look_up,
            block_time: None,
            fresh_until: None,
        }
    }

    /// The same, as of the block with this time.
    #[must_use]
    pub const fn as_of(self, block_time: BlockTime) -> Self {
        Self {
            block_time: Some(block_time),
            ..self
        }
    }
}

/// What the ledger holds for a CertID.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LookUp {
    /// Several recorded certificates have this CertID, so nobody can tell which one is meant.
    Ambiguous {
        /// How many.
        count: usize,
    },
    /// Neither the certificate nor its issuer is recorded.
    ForeignIssuer,
    /// Exactly one recorded certificate has this CertID.
    Found {
        /// H(CERT).
        hash: CertificateHash,
        /// Its status.
        status: Status,
        /// The last second of its validity, where the source knows it: a good answer never lasts longer.
        not_after: Option<UnixTime>,
    },
    /// The issuer is recorded; the certificate is not.
    NotRecorded,
}

/// The ledger gave no trustworthy answer in time. The relying party is told `tryLater`.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("no trustworthy answer from the ledger: {detail}")]
pub struct Unavailable {
    /// What failed, for the log.
    pub detail: String,
}
