//! What came out of the demo.

use core::fmt;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// The demo's result, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Devices that were enrolled.
    pub devices: u32,
    /// Of these, those that were let in.
    pub established: usize,
    /// Pings that were answered, one from each device that is in.
    pub pings_ok: usize,
    /// Devices that were refused as they should be, by the gateway's reason.
    pub refused: BTreeMap<String, u64>,
    /// Tunnels that were closed since their certificate was revoked.
    pub closed_by_revocation: usize,
    /// From handing the revocation to the ledger until the device had the Delete.
    pub revocation_to_close_ms: Option<f64>,
    /// From the first datagram to the tunnel, as the devices saw it.
    pub handshake_ms: HandshakeMs,
    /// What came out otherwise than it should. Empty if all is well.
    pub failures: Vec<String>,
}

/// Percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HandshakeMs {
    /// Half of them took no longer.
    pub p50: f64,
    /// All but one in a hundred took no longer.
    pub p99: f64,
}

impl Report {
    pub(super) fn new(devices: u32) -> Self {
        Self {
            devices,
            established: 0,
            pings_ok: 0,
            refused: BTreeMap::new(),
            closed_by_revocation: 0,
            revocation_to_close_ms: None,
            handshake_ms: HandshakeMs::default(),
            failures: Vec::new(),
        }
    }

    pub(super) fn take_handshakes(&mut self, handshakes: impl Iterator<Item = Duration>) {
        let mut ms: Vec<f64> = handshakes.map(milliseconds).collect();
        ms.sort_by(f64::total_cmp);
        self.established = ms.len();
        self.handshake_ms = HandshakeMs {
            p50: percentile(&ms, 50),
            p99: percentile(&ms, 99),
        };
    }

    pub(super) fn fail(&mut self, what: String) {
        self.failures.push(what);
    }

    /// Compares the numbers with what they should be.
    pub(super) fn judge(&mut self) {
        if u32::try_from(self.established) != Ok(self.devices) {
            self.fail(format!(
                "{} of {} devices were let in",
                self.established, self.devices
            ));
        }
        if self.pings_ok != self.established {
            self.fail(format!(
                "{} of {} pings were answered",
                self.pings_ok, self.established
            ));
        }
    }

    /// Whether all happened as it should.
    pub fn all_well(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    /// A short table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |what: &str, value: String| writeln!(f, "  {what:<34} {value}");
        row("devices enrolled", self.devices.to_string())?;
        row("tunnels established", self.established.to_string())?;
        row("pings answered", self.pings_ok.to_string())?;
        for (reason, count) in &self.refused {
            row(&format!("refused: {reason}"), count.to_string())?;
        }
        row(
            "tunnels closed by revocation",
            self.closed_by_revocation.to_string(),
        )?;
        if let Some(ms) = self.revocation_to_close_ms {
            row("revocation to close", format!("{ms:.1} ms"))?;
        }
        let HandshakeMs { p50, p99 } = self.handshake_ms;
        row(
            "handshake, p50 and p99",
            format!("{p50:.1} ms, {p99:.1} ms"),
        )?;
        for failure in &self.failures {
            row("FAILED", failure.clone())?;
        }
        Ok(())
    }
}

/// With three decimals: more would pretend to a precision that nobody has.
pub(super) fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

/// The nearest rank; 0 of nothing.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut report = Report::new(4);
        report.take_handshakes([4, 1, 3, 2].into_iter().map(Duration::from_millis));
        assert_eq!(report.handshake_ms, HandshakeMs { p50: 2.0, p99: 4.0 });
        assert_eq!(percentile(&[], 50), 0.0);
    }

    #[test]
    fn a_shortfall_is_a_failure() {
        let mut report = Report::new(3);
        report.take_handshakes([1, 2].into_iter().map(Duration::from_millis));
        report.pings_ok = 1;
        report.judge();
        assert!(!report.all_well());
        assert!(report.to_string().contains("2 of 3 devices"), "{report}");
        assert!(report.to_string().contains("1 of 2 pings"), "{report}");
    }
}
