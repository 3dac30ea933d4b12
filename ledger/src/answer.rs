//! What relying parties ask of the ledger, and what they are told.

use serde::{Deserialize, Serialize};

use crate::hash::{CertificateHash, ChainId};
use crate::record::{BlockTime, Class, Height, Record, Status};

/// The answer to "what is the status of H(CERT)?".
///
/// In JSON the status' fields stand beside the others:
///
/// ```json
/// {"hash":"<64 hexadecimal digits>","status":"revoked","reason":"keyCompromise",
///  "time":1767225600000,"class":"device","not_after":1798761600,"height":7,
///  "block_time":1767225600000,"chain":"<64 hexadecimal digits>"}
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StatusAnswer {
    /// The certificate that was asked about.
    pub hash: CertificateHash,
    /// Its status at `block_time`.
    #[serde(flatten)]
    pub status: Status,
    /// What it was submitted as; `null` when not recorded.
    pub class: Option<Class>,
    /// The last second of its validity, Unix time; `null` when not recorded.
    pub not_after: Option<u64>,
    /// The newest block that the answer takes into account.
    pub height: Height,
    /// That block's time, Unix milliseconds.
    pub block_time: BlockTime,
    /// The chain that the answer is from.
    pub chain: ChainId,
}

impl StatusAnswer {
    /// The answer from a record, or from its absence, as of the block at `height`.
    ///
    /// `now` is the time to judge expiry by: the block's own time, or, where blocks are rare, a
    /// later time that the node has from its clock. An answer never judges by less than block time.
    #[must_use]
    pub fn new(
        hash: CertificateHash,
        record: Option<&Record>,
        chain: ChainId,
        height: Height,
        block_time: BlockTime,
        now: BlockTime,
    ) -> Self {
        Self {
            hash,
            status: record.map_or(Status::NotRecorded, |record| {
                record.status_at(now.max(block_time))
            }),
            class: record.map(|record| record.class),
            not_after: record.map(|record| record.not_after),
            height,
            block_time,
            chain,
        }
    }
}

/// A certificate's status changed.
///
/// In JSON: `{"height":7,"index":0,"hash":"…","status":"suspended","since":1767225600000}`.
/// Expiry raises no event: it is known beforehand from `not_after`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StatusEvent {
    /// The block that changed it.
    pub height: Height,
    /// The event's place among that block's events, from 0.
    pub index: u32,
    /// The certificate.
    pub hash: CertificateHash,
    /// Its new status.
    #[serde(flatten)]
    pub status: Status,
}

/// Events from a height on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EventPage {
    /// In the order of the chain. A block's events are never split over two pages.
    pub events: Vec<StatusEvent>,
    /// Where to resume: the first height that this page does not cover.
    pub next: Height,
    /// The newest block.
    pub head: Height,
}

/// A replica of the ledger that answers inquiries.
pub trait Inquiry: Send + Sync {
    /// The chain that the answers are from.
    fn chain(&self) -> ChainId;

    /// The status of one certificate. An unknown one is not an error but [`Status::NotRecorded`].
    ///
    /// # Errors
    ///
    /// [`InquiryError::Unavailable`] when the replica cannot read its store.
    fn status(&self, hash: &CertificateHash) -> Result<StatusAnswer, InquiryError>;

    /// The events of the blocks from `from` on, about `limit` of them; at least one whole block.
    ///
    /// # Errors
    ///
    /// [`InquiryError::HistoryGone`] when `from` is older than what the replica keeps, and
    /// [`InquiryError::Unavailable`] when it cannot read its store.
    fn events(&self, from: Height, limit: usize) -> Result<EventPage, InquiryError>;

    /// Registers a call for every committed block. It runs on the committing thread: it must
    /// return soon, and it must not call back into a commit.
    fn on_commit(&self, notify: Box<dyn Fn(Height) + Send + Sync>);
}

/// Why an inquiry has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InquiryError {
    /// The events asked for are no longer kept. Forget what was cached and start from `oldest`.
    #[error(
        "events before height {oldest} are no longer kept: empty the cache and resume from there"
    )]
    HistoryGone {
        /// The oldest height whose events are kept.
        oldest: Height,
    },
    /// The replica cannot answer now.
    #[error("the ledger replica cannot answer: {detail}")]
    Unavailable {
        /// What failed, for the log.
        detail: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RevocationReason;

    const ONES: &str = "0101010101010101010101010101010101010101010101010101010101010101";
    const TWOS: &str = "0202020202020202020202020202020202020202020202020202020202020202";

    fn hash(octet: u8) -> CertificateHash {
        CertificateHash::from_octets([octet; 32])
    }

    #[test]
    fn statuses_have_these_json_forms() {
        for (status, json) in [
            (Status::Valid, r#"{"status":"valid"}"#.to_owned()),
            (
                Status::Suspended {
                    since: BlockTime(5),
                },
                r#"{"status":"suspended","since":5}"#.to_owned(),
            ),
            (
                Status::Revoked {
                    reason: RevocationReason::KeyCompromise,
                    time: BlockTime(6),
                },
                r#"{"status":"revoked","reason":"keyCompromise","time":6}"#.to_owned(),
            ),
            (
                Status::Superseded { by: hash(2) },
                format!(r#"{{"status":"superseded","by":"{TWOS}"}}"#),
            ),
            (Status::Expired, r#"{"status":"expired"}"#.to_owned()),
            (
                Status::NotRecorded,
                r#"{"status":"not-recorded"}"#.to_owned(),
            ),
        ] {
            assert_eq!(serde_json::to_string(&status).unwrap(), json);
            assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        }
    }

    #[test]
    fn answers_and_events_have_these_json_forms() {
        let answer = StatusAnswer {
            hash: hash(1),
            status: Status::Revoked {
                reason: RevocationReason::CaCompromise,
                time: BlockTime(u64::MAX),
            },
            class: Some(Class::Gateway),
            not_after: Some(9),
            height: Height(7),
            block_time: BlockTime(8),
            chain: ChainId::from_octets([2; 32]),
        };
        let json = format!(
            r#"{{"hash":"{ONES}","status":"revoked","reason":"cACompromise","time":18446744073709551615,"class":"gateway","not_after":9,"height":7,"block_time":8,"chain":"{TWOS}"}}"#
        );
        assert_eq!(serde_json::to_string(&answer).unwrap(), json);
        assert_eq!(serde_json::from_str::<StatusAnswer>(&json).unwrap(), answer);

        let absent = StatusAnswer::new(
            hash(1),
            None,
            ChainId::from_octets([2; 32]),
            Height(0),
            BlockTime(8),
            BlockTime(8),
        );
        let json = format!(
            r#"{{"hash":"{ONES}","status":"not-recorded","class":null,"not_after":null,"height":0,"block_time":8,"chain":"{TWOS}"}}"#
        );
        assert_eq!(serde_json::to_string(&absent).unwrap(), json);
        assert_eq!(serde_json::from_str::<StatusAnswer>(&json).unwrap(), absent);

        let page = EventPage {
            events: vec![StatusEvent {
                height: Height(3),
                index: 4,
                hash: hash(1),
                status: Status::Suspended {
                    since: BlockTime(5),
                },
            }],
            next: Height(4),
            head: Height(9),
        };
        let json = format!(
            r#"{{"events":[{{"height":3,"index":4,"hash":"{ONES}","status":"suspended","since":5}}],"next":4,"head":9}}"#
        );
        assert_eq!(serde_json::to_string(&page).unwrap(), json);
        assert_eq!(serde_json::from_str::<EventPage>(&json).unwrap(), page);
    }

    #[test]
    fn reasons_have_the_names_and_numbers_of_rfc_5280() {
        let codes = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10];
        for (reason, code) in RevocationReason::ALL.into_iter().zip(codes) {
            assert_eq!(reason.code(), code);
            assert_eq!(borsh::to_vec(&reason).unwrap(), [code]);
            assert_eq!(
                serde_json::to_string(&reason).unwrap(),
                format!("\"{reason}\"")
            );
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        assert!(borsh::from_slice::<RevocationReason>(&[7]).is_err());
        assert_eq!(
            "hold"
                .parse::<RevocationReason>()
                .unwrap_err()
                .to_string()
                .split(':')
                .next(),
            Some("\"hold\" is not one of")
        );
    }
}
