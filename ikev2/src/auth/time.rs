use std::{fmt, fmt::Debug, time::Duration};

/// Wall time: whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(u64);

impl UnixTime {
    /// From seconds since the epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// From the time since the epoch, fractions cut off.
    #[must_use]
    pub const fn since_epoch(since: Duration) -> Self {
        Self(since.as_secs())
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

impl fmt::Display for UnixTime {
    /// As `2026-08-01T00:00:00Z`; as seconds, where the calendar has no such date.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match der::DateTime::from_unix_duration(Duration::from_secs(self.0)) {
            Ok(date) => write!(f, "{date}"),
            Err(_) => write!(f, "{} s", self.0),
        }
    }
}

/// Where wall time comes from. The library never asks the operating system.
pub trait TimeProvider: Debug + Send + Sync {
    /// The time, or `None` while the clock is not trustworthy: certificates are refused then, since none can be told to be in force.
    fn current_time(&self) -> Option<UnixTime>;
}

/// A clock that stands still, for tests and for replaying records.
#[derive(Clone, Copy, Debug)]
pub struct FixedTime(pub UnixTime);

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_as_a_date() {
        assert_eq!(
            UnixTime::from_secs(1_785_542_400).to_string(),
            "2026-08-01T00:00:00Z"
        );
        assert_eq!(
            UnixTime::from_secs(u64::MAX).to_string(),
            format!("{} s", u64::MAX)
        );
        assert_eq!(
            UnixTime::since_epoch(Duration::from_millis(1_999)),
            UnixTime::from_secs(1)
        );
    }
}
