//! Clocks that cost next to nothing to read, and are some milliseconds behind: the kernel's coarse ones. One second is the
//! least that OCSP tells, and HTTP's limits here are seconds too.

use std::time::Duration;

use ocsp::UnixTime;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The wall clock.
pub(super) fn wall_clock() -> UnixTime {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    UnixTime(u64::try_from(now.tv_sec).unwrap_or(0))
}

/// A clock that only goes forward; it began at some time in the past.
pub(super) fn monotonic() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::MonotonicCoarse);
    // Neither is negative, or a second or more.
    let seconds = Duration::from_secs(u64::try_from(tv_sec).unwrap_or(0));
    seconds.saturating_add(Duration::from_nanos(u64::try_from(tv_nsec).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn they_follow_the_precise_ones() {
        let before = UnixTime::from(SystemTime::now());
        let (now, began) = (wall_clock(), monotonic());
        let after = UnixTime::from(SystemTime::now());
        // A tick behind may be the second before.
        assert!(before.0 <= now.0 + 1 && now <= after, "{before:?} {now:?}");
        sleep(Duration::from_millis(60));
        let passed = monotonic().saturating_sub(began);
        assert!(passed >= Duration::from_millis(40), "{passed:?}");
    }
}
