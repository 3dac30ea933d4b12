//! When CRLs are issued, and how long they hold.

use std::time::Duration;

use ocsp::UnixTime;

/// How long a certificate stays on the CRL after its end. RFC 5280 §3.3 wants it on one more CRL than it needs; this
/// leaves room for a bridge that stood still.
pub(crate) const EXPIRED_KEPT: Duration = Duration::from_secs(86_400);

/// Time cut into equal periods, half a lifetime each, that begin at 1970: so that every bridge issues the same CRLs at
/// the same times. A CRL that is the newest is good for half of its lifetime at least.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Schedule {
    lifetime: Duration,
}

impl Schedule {
    pub(crate) const fn new(lifetime: Duration) -> Self {
        Self { lifetime }
    }

    fn period(self) -> u64 {
        (self.lifetime.as_secs() / 2).max(1)
    }

    /// The begin of the period that `now` is in.
    pub(crate) fn begin(self, now: UnixTime) -> UnixTime {
        UnixTime(now.0 - now.0 % self.period())
    }

    /// When the CRLs that are issued in this period have run out.
    pub(crate) fn next_update(self, now: UnixTime) -> UnixTime {
        self.begin(now).plus(Duration::from_secs(2 * self.period()))
    }

    /// How long until the next period.
    pub(crate) fn until_next(self, now: UnixTime) -> Duration {
        now.until(self.begin(now).plus(Duration::from_secs(self.period())))
    }
}

/// Whether a certificate that ended at `not_after` need not be on a CRL that is issued in the period which begins at
/// `begin`.
pub(crate) fn has_left(not_after: UnixTime, begin: UnixTime) -> bool {
    not_after.plus(EXPIRED_KEPT) < begin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_crl_holds_for_half_of_its_lifetime_at_least() {
        let schedule = Schedule::new(Duration::from_secs(60));
        for now in 3_000..3_100 {
            let now = UnixTime(now);
            let begin = schedule.begin(now);
            assert!(begin <= now && begin.until(now).as_secs() < 30);
            let left = now.until(schedule.next_update(now)).as_secs();
            assert!((31..=60).contains(&left), "{left}");
            let next = now.plus(schedule.until_next(now));
            assert_eq!(schedule.begin(next), next);
            assert_eq!(begin.until(next).as_secs(), 30);
        }
        let shortest = Schedule::new(Duration::from_secs(0));
        assert_eq!(shortest.next_update(UnixTime(7)), UnixTime(9));
    }
}
