//! The access log.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::metrics::RequestMethod;

/// What the access log holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum AccessPolicy {
    /// Nothing.
    Off = 0,
    /// What was not answered by a signed OCSP response or a CRL: at most 50 lines in a second.
    #[default]
    Failures = 1,
    /// Every request.
    All = 2,
}

/// The most lines about failures in one second; the rest are counted in the next line. Anybody can make a
/// request fail, and nobody shall fill the disk by it.
pub(super) const FAILURES_PER_SECOND: u64 = 50;

/// In [`Access::ocsp`].
pub(super) const CRL: &str = "crl";

/// One request and its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) client: SocketAddr,
    pub(super) method: RequestMethod,
    pub(super) code: u16,
    /// The OCSP responseStatus, where there is an OCSP response; [`CRL`] where there is one.
    pub(super) ocsp: Option<&'static str>,
    pub(super) took: Duration,
}

#[derive(Debug)]
pub(super) struct AccessLog {
    policy: AtomicU8,
    origin: Instant,
    /// The second that lines are being counted in, and how many there were.
    second: AtomicU64,
    lines: AtomicU64,
    suppressed: AtomicU64,
}

impl AccessLog {
    pub(super) fn new(policy: AccessPolicy) -> Self {
        Self {
            policy: AtomicU8::new(policy as u8),
            origin: Instant::now(),
            second: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    pub(super) fn set(&self, policy: AccessPolicy) {
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    pub(super) fn write(&self, now: Instant, access: &Access) {
        let policy = self.policy.load(Ordering::Relaxed);
        let failed = !matches!(access.ocsp, Some("successful" | CRL)) && access.code != 304;
        if policy == AccessPolicy::Off as u8 || (policy == AccessPolicy::Failures as u8 && !failed)
        {
            return;
        }
        let mut suppressed = 0;
        if policy == AccessPolicy::Failures as u8 {
            let Some(left_out) = self.take_line(now) else {
                return;
            };
            suppressed = left_out;
        }
        let Access {
            client,
            method,
            code,
            ocsp,
            took,
        } = access;
        tracing::info!(
            target: "ocsp_bridge::access",
            %client,
            method = method.name(),
            code,
            ocsp = ocsp.unwrap_or("-"),
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            suppressed,
            "request"
        );
    }

    /// Room for one more line in this second, and how many lines were left out before it. Two threads at
    /// the turn of a second may let a line too many through; that is no harm.
    fn take_line(&self, now: Instant) -> Option<u64> {
        let second = now.saturating_duration_since(self.origin).as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        if self.lines.fetch_add(1, Ordering::Relaxed) < FAILURES_PER_SECOND {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_bounded_in_each_second_and_the_rest_is_told() {
        let log = AccessLog::new(AccessPolicy::Failures);
        let start = log.origin;
        let written = (0..FAILURES_PER_SECOND + 30)
            .filter(|_| log.take_line(start).is_some())
            .count();
        assert_eq!(written as u64, FAILURES_PER_SECOND);
        assert_eq!(log.take_line(start + Duration::from_secs(1)), Some(30));
        assert_eq!(log.take_line(start + Duration::from_secs(1)), Some(0));
    }
}
