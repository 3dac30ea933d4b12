//! What a run counts and measures.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies, kept in microseconds from 1 us to an hour, with three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.max(1));
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing is out of range.
        let _ = self.0.add(&other.0);
    }

    /// The summary, or none of nothing.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let millis = |micros: u64| micros as f64 / 1000.0;
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            min: millis(self.0.min()),
            p50: millis(self.0.value_at_quantile(0.50)),
            p90: millis(self.0.value_at_quantile(0.90)),
            p99: millis(self.0.value_at_quantile(0.99)),
            p999: millis(self.0.value_at_quantile(0.999)),
            max: millis(self.0.max()),
        })
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap_or_else(|_| {
                // The bounds are constants that the library accepts; the widest histogram stands in.
                Histogram::new(3)
                    .unwrap_or_else(|_| unreachable!("three significant digits are allowed"))
            }),
        )
    }
}

/// A summary of [`Latencies`], in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// Half were no longer.
    pub p50: f64,
    /// 90 of 100 were no longer.
    pub p90: f64,
    /// 99 of 100 were no longer.
    pub p99: f64,
    /// 999 of 1000 were no longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// The counts of a run.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Devices that began.
    pub attempted: u64,
    /// IKE SAs with a child SA.
    pub established: u64,
    /// Devices that were not let in or gave up, by cause.
    pub refused: BTreeMap<String, u64>,
    /// Established ones that ended before we ended them, by cause.
    pub lost: BTreeMap<String, u64>,
    /// Echo requests sent.
    pub pings_sent: u64,
    /// Echo replies received.
    pub pings_ok: u64,
    /// From the intended start to the child SA.
    pub handshake: Latencies,
    /// From an echo request to its reply.
    pub ping: Latencies,
    /// How late devices began, after their intended start: the generator's own lag.
    pub lag: Latencies,
}

impl Stats {
    /// Adds those of another thread.
    pub fn merge(&mut self, other: &Self) {
        self.attempted += other.attempted;
        self.established += other.established;
        self.pings_sent += other.pings_sent;
        self.pings_ok += other.pings_ok;
        for (cause, count) in &other.refused {
            *self.refused.entry(cause.clone()).or_default() += count;
        }
        for (cause, count) in &other.lost {
            *self.lost.entry(cause.clone()).or_default() += count;
        }
        self.handshake.merge(&other.handshake);
        self.ping.merge(&other.ping);
        self.lag.merge(&other.lag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentiles(), None);
        for millis in 1..=1000 {
            latencies.record(Duration::from_millis(millis));
        }
        let summary = latencies.percentiles().unwrap();
        assert_eq!(summary.count, 1000);
        assert!((summary.p50 - 500.0).abs() < 1.0, "{summary:?}");
        assert!((summary.p99 - 990.0).abs() < 1.0, "{summary:?}");
        assert!((summary.max - 1000.0).abs() < 1.0, "{summary:?}");
    }

    #[test]
    fn merging_adds() {
        let mut a = Stats {
            established: 1,
            ..Stats::default()
        };
        a.refused.insert("timeout".into(), 2);
        let mut b = Stats {
            established: 3,
            ..Stats::default()
        };
        b.refused.insert("timeout".into(), 5);
        b.handshake.record(Duration::from_millis(7));
        a.merge(&b);
        assert_eq!((a.established, a.refused["timeout"]), (4, 7));
        assert_eq!(a.handshake.percentiles().unwrap().count, 1);
    }

    #[test]
    fn a_latency_beyond_the_range_is_kept_at_its_end() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_secs(1_000_000));
        latencies.record(Duration::ZERO);
        assert_eq!(latencies.percentiles().unwrap().count, 2);
    }
}
