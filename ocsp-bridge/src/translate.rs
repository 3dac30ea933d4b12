//! From what the ledger holds to what OCSP says: the policy, and the table.

use std::num::NonZeroUsize;
use std::time::Duration;

use ledger::{RevocationReason, Status};
use ocsp::{CertStatus, Limits, Single, UnixTime};
use thiserror::Error;

use crate::source::{Finding, LookUp};

/// How the responder answers.
///
/// | the ledger says | OCSP says |
/// |---|---|
/// | valid | good, until the certificate's end at the latest |
/// | suspended | revoked, `certificateHold`, since the suspension |
/// | revoked | revoked, with reason and time |
/// | superseded | revoked, `superseded`, since the time of the newest block: the ledger tells no other |
/// | expired | revoked, `cessationOfOperation`, since its last second |
/// | not recorded, the issuer is | [`not_recorded`](Self::not_recorded) |
/// | neither is recorded | `unauthorized`; `unknown` beside others of the same request |
/// | several with this CertID | revoked, `certificateHold`, since 1970 |
/// | nothing trustworthy | `tryLater` |
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// From signing to nextUpdate; 60 s by default, at least 2 s in effect. A relying party keeps an answer that
    /// long, so this *is* the delay after which it learns of a revocation.
    pub lifetime: Duration,
    /// The oldest block that an answer may rest on; `None`, the default, takes the source's word.
    pub max_block_age: Option<Duration>,
    /// What is done with nonces.
    pub nonce: NoncePolicy,
    /// What is said of a certificate that is not recorded, while its issuer is.
    pub not_recorded: NotRecordedPolicy,
    /// Whether H(CERT) is told as the single extension certHash (Common PKI), so that a relying party can see which
    /// certificate is meant. On by default.
    pub cert_hash: bool,
    /// How far back the ledger's knowledge of expired certificates goes, told as the single extension archiveCutoff
    /// (RFC 6960 §4.4.4). `None`, the default, tells nothing.
    pub archive: Option<Duration>,
    /// What bounds a request.
    pub limits: Limits,
    /// The most answers that are kept; 65,536 by default, about 2 KiB each.
    pub cache_capacity: NonZeroUsize,
    /// The most slow signatures (RSA, P-384, keys that are kept elsewhere) that wait for their turn; what would be
    /// one more is answered with `tryLater`. Those for one request alone (with a nonce, or for several certificates) and those
    /// that are kept for others have as many places each, and the latter come first. 512 by default: about 0.4 s of RSA-2048
    /// on one core.
    pub sign_queue: usize,
}

impl Policy {
    /// What the answer for one CertID says, before a signer is known.
    pub(crate) fn translate(&self, now: UnixTime, finding: &Finding) -> Translation {
        // Never later than now (RFC 6960 §2.4): the ledger's clock may be ahead of ours.
        let this_update = finding
            .block_time
            .map_or(now, |time| UnixTime::from(time).min(now));
        let mut next_update = now.plus(self.lifetime.max(MIN_LIFETIME));
        if let Some(fresh_until) = finding.fresh_until {
            next_update = next_update.min(fresh_until);
        }
        if let Some(age) = self.max_block_age {
            next_update = next_update.min(this_update.plus(age));
        }
        if next_update <= now {
            return Translation::Stale;
        }
        let mut hash = None;
        let mut oddity = None;
        let status = match finding.look_up {
            LookUp::ForeignIssuer => return Translation::Foreign,
            LookUp::Ambiguous { count } => {
                oddity = Some(Oddity::Ambiguous { count });
                CertStatus::Revoked {
                    time: UnixTime::EPOCH,
                    reason: RevocationReason::CertificateHold,
                }
            }
            LookUp::NotRecorded => match self.not_recorded {
                NotRecordedPolicy::Revoked => {
                    oddity = Some(Oddity::NotIssued);
                    // RFC 6960 §2.2.
                    CertStatus::Revoked {
                        time: UnixTime::EPOCH,
                        reason: RevocationReason::CertificateHold,
                    }
                }
                NotRecordedPolicy::Unknown => CertStatus::Unknown,
            },
            LookUp::Found {
                hash: found,
                status,
                not_after,
            } => {
                hash = Some(found);
                let ended = not_after.filter(|end| *end < now);
                match (status, ended) {
                    (Status::Valid, None) => {
                        if let Some(end) = not_after {
                            // `end` is the last second in which it is valid.
                            next_update = next_update.min(end.plus(Duration::from_secs(1)));
                        }
                        CertStatus::Good
                    }
                    (Status::Valid, Some(end)) => expired(end),
                    (Status::Expired, _) => expired(not_after.unwrap_or(this_update).min(now)),
                    (Status::Suspended { since }, _) => CertStatus::Revoked {
                        time: UnixTime::from(since).min(now),
                        reason: RevocationReason::CertificateHold,
                    },
                    (Status::Revoked { reason, time }, _) => CertStatus::Revoked {
                        time: UnixTime::from(time).min(now),
                        reason,
                    },
                    (Status::Superseded { .. }, _) => CertStatus::Revoked {
                        time: this_update,
                        reason: RevocationReason::Superseded,
                    },
                    // A source that found a certificate which is not recorded contradicts itself.
                    (Status::NotRecorded, _) => return Translation::Stale,
                }
            }
        };
        Translation::Answer {
            single: Single {
                status,
                this_update,
                next_update,
                cert_hash: hash.filter(|_| self.cert_hash),
                archive_cutoff: self.archive.map(|archive| now.minus(archive)),
            },
            oddity,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(60),
            max_block_age: None,
            nonce: NoncePolicy::default(),
            not_recorded: NotRecordedPolicy::default(),
            cert_hash: true,
            archive: None,
            limits: Limits::default(),
            cache_capacity: CACHE_CAPACITY,
            sign_queue: 512,
        }
    }
}

/// What is done with nonces (RFC 9654).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum NoncePolicy {
    /// A request with one is malformed.
    Forbidden,
    /// Read and not echoed: the answer may be one from the cache. Saves signing; some relying parties refuse it.
    Ignored,
    /// Echoed where there is one.
    #[default]
    Optional,
    /// A request without one is malformed.
    Required,
}

/// What is said of a certificate that is not recorded, while its issuer is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum NotRecordedPolicy {
    /// Revoked by the extended definition (RFC 6960 §2.2): hold, since 1970, and the extended-revoked extension.
    #[default]
    Revoked,
    /// Unknown. Some relying parties let such a certificate in: strongSwan does, unless it is told `strict`.
    Unknown,
}

/// What [`Policy::translate`] makes of a finding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Translation {
    /// An answer that can be signed.
    Answer {
        single: Single,
        oddity: Option<Oddity>,
    },
    /// The issuer is not served.
    Foreign,
    /// Too old to rest an answer on, or in contradiction with itself.
    Stale,
}

/// What is unusual about an answer.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum Oddity {
    /// Several recorded certificates have this CertID.
    #[error("{count} recorded certificates have this CertID")]
    Ambiguous { count: usize },
    /// The extended definition of revoked is used.
    #[error("not recorded")]
    NotIssued,
}

/// Below, cached answers would be over before they were given.
const MIN_LIFETIME: Duration = Duration::from_secs(2);

const CACHE_CAPACITY: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

const fn expired(end: UnixTime) -> CertStatus {
    CertStatus::Revoked {
        time: end,
        reason: RevocationReason::CessationOfOperation,
    }
}

#[cfg(test)]
mod tests {
    use ledger::BlockTime;

    use super::*;
    use crate::fixture::{NOW, hash};

    /// A minute before now.
    const BLOCK: BlockTime = BlockTime((NOW.0 - 60) * 1_000 + 500);

    fn finding(status: Status, not_after: Option<u64>) -> Finding {
        Finding {
            look_up: LookUp::Found {
                hash: hash(1),
                status,
                not_after: not_after.map(UnixTime),
            },
            block_time: Some(BLOCK),
            fresh_until: None,
        }
    }

    fn single(finding: &Finding) -> Option<Single> {
        match Policy::default().translate(NOW, finding) {
            Translation::Answer { single, .. } => Some(single),
            Translation::Foreign | Translation::Stale => None,
        }
    }

    #[test]
    fn the_table_of_statuses() {
        use RevocationReason::{
            CaCompromise, CertificateHold, CessationOfOperation, Superseded, Unspecified,
        };
        let revoked = |time, reason| {
            let time = UnixTime(time);
            CertStatus::Revoked { time, reason }
        };
        let at = BlockTime(7_999);
        let future = BlockTime((NOW.0 + 9) * 1_000);
        let (past, later) = (Some(NOW.0 - 1), Some(NOW.0 + 1_000));
        for (status, not_after, expected) in [
            (Status::Valid, None, CertStatus::Good),
            (Status::Valid, later, CertStatus::Good),
            (Status::Valid, Some(NOW.0), CertStatus::Good),
            // The ledger has not noticed yet.
            (
                Status::Valid,
                past,
                revoked(NOW.0 - 1, CessationOfOperation),
            ),
            (
                Status::Expired,
                past,
                revoked(NOW.0 - 1, CessationOfOperation),
            ),
            (Status::Expired, later, revoked(NOW.0, CessationOfOperation)),
            (
                Status::Expired,
                None,
                revoked(NOW.0 - 60, CessationOfOperation),
            ),
            (
                Status::Suspended { since: at },
                None,
                revoked(7, CertificateHold),
            ),
            (
                Status::Revoked {
                    reason: CaCompromise,
                    time: at,
                },
                past,
                revoked(7, CaCompromise),
            ),
            (
                Status::Revoked {
                    reason: Unspecified,
                    time: future,
                },
                None,
                revoked(NOW.0, Unspecified),
            ),
            (
                Status::Superseded { by: hash(2) },
                None,
                revoked(NOW.0 - 60, Superseded),
            ),
        ] {
            let single = single(&finding(status, not_after)).unwrap();
            assert_eq!(single.status, expected, "{status:?} {not_after:?}");
            assert_eq!(single.this_update, UnixTime(NOW.0 - 60));
            assert_eq!(single.cert_hash, Some(hash(1)));
        }
        assert_eq!(single(&finding(Status::NotRecorded, None)), None);
    }

    #[test]
    fn an_answer_lasts_as_long_as_the_shortest_of_its_reasons() {
        let next = |policy: &Policy, finding: &Finding| match policy.translate(NOW, finding) {
            Translation::Answer { single, .. } => Some(single.next_update.0 - NOW.0),
            Translation::Foreign | Translation::Stale => None,
        };
        let policy = Policy::default();
        let valid = finding(Status::Valid, None);
        let until = |seconds| Finding {
            fresh_until: Some(UnixTime(NOW.0 + seconds)),
            ..valid.clone()
        };
        let block = |seconds| Policy {
            max_block_age: Some(Duration::from_secs(seconds)),
            ..policy.clone()
        };
        let lifetime = |lifetime| Policy {
            lifetime,
            ..policy.clone()
        };
        assert_eq!(next(&policy, &valid), Some(60));
        assert_eq!(next(&policy, &until(10)), Some(10));
        assert_eq!(next(&policy, &until(100)), Some(60));
        assert_eq!(next(&policy, &until(0)), None);
        assert_eq!(next(&block(70), &valid), Some(10));
        assert_eq!(next(&block(60), &valid), None);
        assert_eq!(next(&lifetime(Duration::ZERO), &valid), Some(2));
        assert!(next(&lifetime(Duration::MAX), &valid).is_some());
        // `good` ends with the certificate, and with nothing else does.
        assert_eq!(
            next(&policy, &finding(Status::Valid, Some(NOW.0 + 9))),
            Some(10)
        );
        let held = Status::Suspended { since: BLOCK };
        assert_eq!(next(&policy, &finding(held, Some(NOW.0 + 9))), Some(60));
    }

    #[test]
    fn this_update_is_never_later_than_now() {
        for (block_time, expected) in [
            (None, NOW),
            (Some(BlockTime((NOW.0 + 5) * 1_000)), NOW),
            (Some(BlockTime((NOW.0 - 5) * 1_000)), UnixTime(NOW.0 - 5)),
        ] {
            let finding = Finding {
                block_time,
                ..finding(Status::Valid, None)
            };
            assert_eq!(single(&finding).unwrap().this_update, expected);
        }
    }
}
