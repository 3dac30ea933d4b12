//! Whole seconds, as OCSP tells time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ledger::BlockTime;

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// 1970-01-01T00:00:00Z: when a certificate that was never issued is said to be revoked (RFC 6960 §2.2).
    pub const EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59Z, the last time that a `GeneralizedTime` can tell.
    pub const MAX: Self = Self(253_402_300_799);

    /// This much later, at most [`MAX`](Self::MAX). Fractions of a second are cut off.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs())).min(Self::MAX)
    }

    /// This much earlier, at least [`EPOCH`](Self::EPOCH). Fractions of a second are cut off.
    #[must_use]
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// How long until `later`; zero when that is past.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_secs(later.0.saturating_sub(self.0))
    }

    /// The content of a `GeneralizedTime` as RFC 5280 §4.1.2.5.2 wants it: `YYYYMMDDHHMMSSZ`, no fractions.
    #[must_use]
    pub fn generalized(self) -> [u8; 15] {
        let seconds = self.min(Self::MAX).0;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let mut text = *b"00000000000000Z";
        let fields = [
            (year / 100, 0),
            (year % 100, 2),
            (month, 4),
            (day, 6),
            (second / 3_600, 8),
            (second / 60 % 60, 10),
            (second % 60, 12),
        ];
        for (value, at) in fields {
            let digits = [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8];
            text[at..at + 2].copy_from_slice(&digits);
        }
        text
    }
}

impl From<BlockTime> for UnixTime {
    fn from(time: BlockTime) -> Self {
        Self(time.seconds())
    }
}

/// A time before 1970 becomes the epoch: a clock that wrong makes every certificate not yet valid.
impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        Self(
            time.duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        )
    }
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970.
const fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the leap day is a year's last; eras are 400 years.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use der::asn1::GeneralizedTime;
    use der::{Decode, Encode};

    use super::*;

    fn text(seconds: u64) -> String {
        String::from_utf8(UnixTime(seconds).generalized().to_vec()).unwrap()
    }

    #[test]
    fn known_times() {
        for (seconds, expected) in [
            (0, "19700101000000Z"),
            (951_782_399, "20000228235959Z"),
            (951_782_400, "20000229000000Z"),
            (951_868_800, "20000301000000Z"),
            (1_785_542_400, "20260801000000Z"),
            (4_107_542_399, "21000228235959Z"),
            (4_107_542_400, "21000301000000Z"),
            (253_402_300_799, "99991231235959Z"),
            (u64::MAX, "99991231235959Z"),
        ] {
            assert_eq!(text(seconds), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_der(seconds in 0..=UnixTime::MAX.0) {
            let theirs = GeneralizedTime::from_unix_duration(Duration::from_secs(seconds)).unwrap();
            let ours = [&[0x18, 15][..], &UnixTime(seconds).generalized()].concat();
            assert_eq!(ours, theirs.to_der().unwrap());
            assert_eq!(GeneralizedTime::from_der(&ours).unwrap(), theirs);
        }
    }

    #[test]
    fn arithmetic_stays_within_bounds() {
        assert_eq!(UnixTime(5).plus(Duration::MAX), UnixTime::MAX);
        assert_eq!(UnixTime(5).minus(Duration::from_secs(6)), UnixTime::EPOCH);
        assert_eq!(UnixTime(5).until(UnixTime(4)), Duration::ZERO);
        assert_eq!(UnixTime(5).until(UnixTime(7)), Duration::from_secs(2));
        assert_eq!(UnixTime::from(BlockTime(1_999)), UnixTime(1));
        assert_eq!(
            UnixTime::from(UNIX_EPOCH - Duration::from_secs(1)),
            UnixTime::EPOCH
        );
    }
}
