//! The result of a fleet run, for machines and for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::stats::{Percentiles, Stats};

/// What a fleet run came to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FleetReport {
    /// Devices in the plan.
    pub devices: u64,
    /// Devices that began.
    pub attempted: u64,
    /// IKE SAs with a child SA.
    pub established: u64,
    /// Not let in or gave up, by cause.
    pub refused: BTreeMap<String, u64>,
    /// Established and lost before the end, by cause.
    pub lost: BTreeMap<String, u64>,
    /// Echo requests sent through tunnels.
    pub pings_sent: u64,
    /// Echo replies received.
    pub pings_ok: u64,
    /// From the intended start to the child SA, in milliseconds.
    pub handshake_ms: Option<Percentiles>,
    /// Echo round trips, in milliseconds.
    pub ping_ms: Option<Percentiles>,
    /// How late devices began, in milliseconds.
    pub lag_ms: Option<Percentiles>,
    /// From the first intended start to the last established SA, in seconds.
    pub duration_s: f64,
    /// Established SAs for each second of that time.
    pub rate_per_s: f64,
    /// The generator itself could not keep the intended times: latencies then say more about it than about the gateway.
    pub fell_behind: bool,
    /// Datagrams that the system did not take from us.
    pub send_failures: u64,
    /// Threads that played devices.
    pub threads: usize,
}

impl FleetReport {
    pub(crate) fn new(
        devices: u64,
        threads: usize,
        stats: &Stats,
        duration: Duration,
        send_failures: u64,
        open_loop: bool,
    ) -> Self {
        let lag = stats.lag.percentiles();
        let seconds = duration.as_secs_f64();
        Self {
            devices,
            attempted: stats.attempted,
            established: stats.established,
            refused: stats.refused.clone(),
            lost: stats.lost.clone(),
            pings_sent: stats.pings_sent,
            pings_ok: stats.pings_ok,
            handshake_ms: stats.handshake.percentiles(),
            ping_ms: stats.ping.percentiles(),
            lag_ms: lag,
            duration_s: seconds,
            rate_per_s: if seconds > 0.0 {
                stats.established as f64 / seconds
            } else {
                0.0
            },
            fell_behind: open_loop && lag.is_some_and(|lag| lag.p99 > LAG_LIMIT_MS),
            send_failures,
            threads,
        }
    }

    /// Every device was let in, kept its tunnel, and got an answer to each echo request.
    pub fn all_well(&self) -> bool {
        self.established == self.devices && self.lost.is_empty() && self.pings_ok == self.pings_sent
    }
}

impl fmt::Display for FleetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "devices      {:>9}", self.devices)?;
        writeln!(
            f,
            "established  {:>9}   {:.0}/s over {:.2} s, {} threads",
            self.established, self.rate_per_s, self.duration_s, self.threads
        )?;
        for (cause, count) in &self.refused {
            writeln!(f, "refused      {count:>9}   {cause}")?;
        }
        if self.attempted < self.devices {
            let rest = self.devices - self.attempted;
            writeln!(
                f,
                "not tried    {rest:>9}   stopped early, or the gateway answers nobody"
            )?;
        }
        for (cause, count) in &self.lost {
            writeln!(f, "lost         {count:>9}   {cause}")?;
        }
        writeln!(
            f,
            "pings        {:>9}   of {} sent",
            self.pings_ok, self.pings_sent
        )?;
        let rows = [
            ("handshake ms", self.handshake_ms),
            ("ping ms", self.ping_ms),
            ("lag ms", self.lag_ms),
        ];
        if rows.iter().any(|(_, row)| row.is_some()) {
            writeln!(
                f,
                "{:<13}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
                "", "min", "p50", "p90", "p99", "p99.9", "max"
            )?;
        }
        for (name, row) in rows {
            if let Some(row) = row {
                writeln!(
                    f,
                    "{name:<13}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}",
                    row.min, row.p50, row.p90, row.p99, row.p999, row.max
                )?;
            }
        }
        if self.send_failures > 0 {
            writeln!(
                f,
                "{} datagrams were not taken by the system (socket buffers?)",
                self.send_failures
            )?;
        }
        if self.fell_behind {
            writeln!(
                f,
                "The load generator fell behind its own plan: lower --rate or give it more threads before you trust these latencies."
            )?;
        }
        Ok(())
    }
}

/// A device that begins later than this after its time, at the 99th percentile, means that the plan was not kept.
const LAG_LIMIT_MS: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_lags_says_so() {
        let mut stats = Stats::default();
        for _ in 0..100 {
            stats.lag.record(Duration::from_millis(50));
        }
        let report = FleetReport::new(100, 1, &stats, Duration::from_secs(1), 0, true);
        assert!(report.fell_behind);
        assert!(report.to_string().contains("fell behind"));
        // Without intended times there is nothing to fall behind of.
        assert!(!FleetReport::new(100, 1, &stats, Duration::from_secs(1), 0, false).fell_behind);
    }

    #[test]
    fn the_json_has_the_names_that_the_manual_gives() {
        let mut stats = Stats {
            attempted: 2,
            established: 1,
            ..Stats::default()
        };
        stats.refused.insert("AUTHENTICATION_FAILED".into(), 1);
        stats.handshake.record(Duration::from_millis(5));
        let json = serde_json::to_value(FleetReport::new(
            2,
            1,
            &stats,
            Duration::from_millis(500),
            0,
            true,
        ))
        .unwrap();
        assert_eq!(json["established"], 1);
        assert_eq!(json["refused"]["AUTHENTICATION_FAILED"], 1);
        assert_eq!(json["rate_per_s"], 2.0);
        assert!(json["handshake_ms"]["p99"].as_f64().unwrap() > 4.9);
        assert!(json["ping_ms"].is_null());
    }
}
