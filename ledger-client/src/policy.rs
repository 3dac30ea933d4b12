//! What to say when no source answers. Pure.

use std::time::{Duration, Instant};

use ledger::Status;

use crate::{
    answer::{Answer, Origin, Unavailable},
    cache::Entry,
};

/// Why an answer past its time to live is served all the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Remembered {
    /// It is a revocation.
    Revoked,
    /// It is within the stale grace.
    WithinGrace,
}

/// What an inquiry without an answer comes to, given what is still known of the certificate.
///
/// An event may have brought a fresh answer in the meantime. A revocation outlives every outage. Other
/// answers serve within the grace, if there is one, and within the certificate's own time; but overload is the peers' doing, so it never stretches
/// an answer's life. Otherwise: nothing, and the caller refuses.
pub(crate) fn without_answer(
    now: Instant,
    known: Option<Entry>,
    grace: Option<Duration>,
    failure: Unavailable,
) -> Result<(Answer, Option<Remembered>), Unavailable> {
    let Some(known) = known else {
        return Err(failure);
    };
    if known.is_fresh(now) {
        return Ok((known.answer(Origin::Cache), None));
    }
    if matches!(known.status, Status::Revoked { .. }) {
        return Ok((known.answer(Origin::Stale), Some(Remembered::Revoked)));
    }
    let within_grace = grace.is_some_and(|grace| now < known.expires + grace)
        && known.certificate_ends.is_none_or(|ends| now < ends);
    match failure {
        Unavailable::Deadline { .. } | Unavailable::Sources { .. } if within_grace => {
            Ok((known.answer(Origin::Stale), Some(Remembered::WithinGrace)))
        }
        _ => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use ledger::{BlockTime, CertificateHash, ChainId, Height, RevocationReason, StatusAnswer};

    use super::*;
    use crate::{
        cache::{Cache, Coverage, Lifetimes},
        keying::KeySeed,
        source::SourceError,
    };

    const TTL: Duration = Duration::from_secs(60);
    const GRACE: Option<Duration> = Some(Duration::from_secs(30));
    const REVOKED: Status = Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BlockTime(1),
    };

    fn entry(now: Instant, status: Status) -> Entry {
        entry_until(now, status, None)
    }

    fn entry_until(now: Instant, status: Status, not_after: Option<u64>) -> Entry {
        let cache = Cache::new(
            8,
            Lifetimes {
                ttl: TTL,
                negative_ttl: TTL,
            },
            KeySeed::new([1, 2]),
        );
        let hash = CertificateHash::from_octets([1; 32]);
        let answer = StatusAnswer {
            hash,
            status,
            class: None,
            not_after,
            height: Height(7),
            block_time: BlockTime(8_000),
            chain: ChainId::from_octets([0; 32]),
        };
        cache.store(now, &answer, Coverage::Full).unwrap();
        cache.known(&hash).unwrap()
    }

    fn outage() -> Unavailable {
        Unavailable::Sources {
            tried: 1,
            last: SourceError::WrongHash,
        }
    }

    #[test]
    fn without_knowledge_or_grace_it_fails_closed() {
        let now = Instant::now();
        assert_eq!(without_answer(now, None, GRACE, outage()), Err(outage()));
        for status in [
            Status::Valid,
            Status::Suspended {
                since: BlockTime(1),
            },
            Status::NotRecorded,
        ] {
            let known = Some(entry(now, status));
            assert_eq!(
                without_answer(now + TTL, known, None, outage()),
                Err(outage())
            );
        }
    }

    #[test]
    fn a_revocation_outlives_every_failure() {
        let now = Instant::now();
        let long_after = now + Duration::from_secs(86_400);
        for failure in [
            outage(),
            Unavailable::Deadline {
                after: TTL,
                last: None,
            },
            Unavailable::Overloaded { limit: 1 },
        ] {
            let (answer, why) =
                without_answer(long_after, Some(entry(now, REVOKED)), None, failure).unwrap();
            assert_eq!((answer.status, answer.origin), (REVOKED, Origin::Stale));
            assert_eq!(why, Some(Remembered::Revoked));
        }
    }

    #[test]
    fn the_grace_ends_when_it_says() {
        let now = Instant::now();
        let known = Some(entry(now, Status::Valid));
        let ends = now + TTL + Duration::from_secs(30);
        let (answer, why) =
            without_answer(ends - Duration::from_nanos(1), known, GRACE, outage()).unwrap();
        assert_eq!(
            (answer.status, answer.origin),
            (Status::Valid, Origin::Stale)
        );
        assert_eq!(why, Some(Remembered::WithinGrace));
        assert_eq!(without_answer(ends, known, GRACE, outage()), Err(outage()));
    }

    #[test]
    fn no_grace_outlives_the_certificate() {
        let now = Instant::now();
        let outcome = |not_after: u64, secs: u64| {
            let known = Some(entry_until(now, Status::Valid, Some(not_after)));
            without_answer(now + Duration::from_secs(secs), known, GRACE, outage())
        };
        // The block was at second 8, the grace ends 90 s later.
        assert!(outcome(8 + 80, 79).is_ok());
        assert_eq!(outcome(8 + 80, 80), Err(outage()), "ends within the grace");
        assert_eq!(outcome(8 + 20, 20), Err(outage()), "ends within the TTL");
        assert_eq!(outcome(3, 0), Err(outage()), "had ended");
        assert!(outcome(u64::MAX, 89).is_ok());
        assert_eq!(outcome(u64::MAX, 90), Err(outage()));
    }

    #[test]
    fn overload_and_shut_down_get_no_grace() {
        let now = Instant::now();
        let known = Some(entry(now, Status::Valid));
        for failure in [Unavailable::Overloaded { limit: 1 }, Unavailable::ShutDown] {
            assert_eq!(
                without_answer(now + TTL, known, GRACE, failure.clone()),
                Err(failure)
            );
        }
    }

    #[test]
    fn what_an_event_refreshed_meanwhile_is_no_stale_answer() {
        let now = Instant::now();
        let (answer, why) = without_answer(now, Some(entry(now, REVOKED)), None, outage()).unwrap();
        assert_eq!((answer.origin, why), (Origin::Cache, None));
    }
}
