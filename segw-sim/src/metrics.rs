//! Counters of the gateway, for Prometheus and for the control socket.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ikev2::EndpointStats;
use ledger_client::Client;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde::{Deserialize, Serialize};

use crate::admission::Refusal;

/// All counters. Names in Prometheus begin with `ledgate_segw_sim_`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// IKE SAs that peers began.
    pub handshakes_started: Counter,
    /// IKE SAs that were established.
    pub handshakes_established: Counter,
    /// From IKE_SA_INIT to the established IKE SA, in seconds.
    pub handshake_seconds: Histogram,
    /// IKE SAs that are being made.
    pub half_open: Gauge,
    /// IKE SAs that are established.
    pub open_sas: Gauge,
    /// IKE SAs closed since the ledger took their certificate's standing away.
    pub revocation_closes: Counter,
    /// From the ledger's change to the Delete, in seconds.
    pub revocation_close_seconds: Histogram,
    /// IKE datagrams received.
    pub ike_datagrams: Counter,
    /// Cookies sent to peers that must prove their address.
    pub ike_cookies: Counter,
    /// Inner octets received through tunnels.
    pub esp_in_bytes: Counter,
    /// ESP packets opened.
    pub esp_in_packets: Counter,
    /// Inner octets sent through tunnels.
    pub esp_out_bytes: Counter,
    /// ESP packets sealed.
    pub esp_out_packets: Counter,
    ocsp_fetches: Family<ByResult, Counter>,
    ocsp_staple_expiry: Gauge,
    ocsp_staple_revoked: Gauge,
    refused: Family<ByReason, Counter>,
    closed: Family<ByReason, Counter>,
    esp_dropped: Family<ByCause, Counter>,
    ike_dropped: Family<ByCause, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByCause {
    cause: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByResult {
    result: &'static str,
}

impl Metrics {
    /// All at zero. With a client, its cache and inquiries are shown too.
    pub fn new(client: Option<Client>) -> Self {
        let mut registry = Registry::with_prefix("ledgate_segw_sim");
        let counter = |registry: &mut Registry, name: &str, help: &str| {
            let counter = Counter::<u64, AtomicU64>::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let seconds = |registry: &mut Registry, name: &str, help: &str| {
            let histogram = Histogram::new(SECONDS);
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            histogram
        };
        let r = &mut registry;
        let handshakes_started = counter(r, "handshakes_started", "IKE SAs that peers began");
        let handshakes_established =
            counter(r, "handshakes_established", "IKE SAs that were established");
        let handshake_seconds =
            seconds(r, "handshake", "From IKE_SA_INIT to the established IKE SA");
        let half_open = gauge(r, "half_open_sas", "IKE SAs that are being made");
        let open_sas = gauge(r, "open_sas", "IKE SAs that are established");
        let revocation_closes = counter(
            r,
            "revocation_closes",
            "IKE SAs closed since the ledger took their certificate's standing away",
        );
        let revocation_close_seconds = seconds(
            r,
            "revocation_close",
            "From the ledger's change to the Delete",
        );
        let ike_datagrams = counter(r, "ike_datagrams", "IKE datagrams received");
        let ike_cookies = counter(
            r,
            "ike_cookies",
            "Cookies sent to peers that must prove their address",
        );
        let esp_in_bytes = counter(r, "esp_in_bytes", "Inner octets received through tunnels");
        let esp_in_packets = counter(r, "esp_in_packets", "ESP packets opened");
        let esp_out_bytes = counter(r, "esp_out_bytes", "Inner octets sent through tunnels");
        let esp_out_packets = counter(r, "esp_out_packets", "ESP packets sealed");
        let ocsp_fetches = Family::<ByResult, Counter>::default();
        r.register(
            "ocsp_fetches",
            "Responses asked for about our certificate, by what came of it",
            ocsp_fetches.clone(),
        );
        let ocsp_staple_expiry = gauge(
            r,
            "ocsp_staple_expiry_timestamp_seconds",
            "nextUpdate of the stapled response, Unix time; 0 while none is stapled",
        );
        let ocsp_staple_revoked = gauge(
            r,
            "ocsp_staple_revoked",
            "1 while the responder says that our certificate is revoked",
        );
        let refused = Family::<ByReason, Counter>::default();
        r.register(
            "handshakes_refused",
            "Peers that were not let in, by reason",
            refused.clone(),
        );
        let closed = Family::<ByReason, Counter>::default();
        r.register(
            "sas_closed",
            "Established IKE SAs that ended, by reason",
            closed.clone(),
        );
        let esp_dropped = Family::<ByCause, Counter>::default();
        r.register(
            "esp_dropped",
            "Packets dropped, by cause",
            esp_dropped.clone(),
        );
        let ike_dropped = Family::<ByCause, Counter>::default();
        r.register(
            "ike_dropped",
            "IKE datagrams that led to nothing, by cause",
            ike_dropped.clone(),
        );
        if let Some(client) = client {
            r.register_collector(Box::new(LedgerCollector { client }));
        }
        Self {
            registry,
            handshakes_started,
            handshakes_established,
            handshake_seconds,
            half_open,
            open_sas,
            revocation_closes,
            revocation_close_seconds,
            ike_datagrams,
            ike_cookies,
            esp_in_bytes,
            esp_in_packets,
            esp_out_bytes,
            esp_out_packets,
            ocsp_fetches,
            ocsp_staple_expiry,
            ocsp_staple_revoked,
            refused,
            closed,
            esp_dropped,
            ike_dropped,
        }
    }

    /// Counts a peer that was not let in.
    pub fn refused(&self, refusal: &Refusal) {
        self.refused
            .get_or_create(&ByReason {
                reason: refusal.label(),
            })
            .inc();
    }

    /// Counts a response asked for about our certificate: `good`, `revoked`, `unknown`, `failed` (none came) or
    /// `refused` (not to be believed).
    pub fn ocsp_fetched(&self, result: &'static str) {
        self.ocsp_fetches.get_or_create(&ByResult { result }).inc();
    }

    /// Shows what is stapled: until when (Unix time), and whether it says revoked.
    pub fn ocsp_staple(&self, until: Option<u64>, revoked: bool) {
        let until = until.and_then(|until| i64::try_from(until).ok());
        self.ocsp_staple_expiry.set(until.unwrap_or_default());
        self.ocsp_staple_revoked.set(i64::from(revoked));
    }

    /// Counts an established IKE SA that ended.
    pub fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ByReason { reason }).inc();
    }

    /// Counts packets that were dropped.
    pub fn esp_dropped(&self, cause: &'static str, packets: u64) {
        self.esp_dropped
            .get_or_create(&ByCause { cause })
            .inc_by(packets);
    }

    /// Adds what an endpoint has counted between two looks.
    pub fn endpoint(&self, before: &EndpointStats, now: &EndpointStats) {
        self.ike_datagrams.inc_by(now.datagrams - before.datagrams);
        self.ike_cookies.inc_by(now.challenges - before.challenges);
        for (cause, packets) in [
            ("bad-cookie", now.bad_cookies - before.bad_cookies),
            ("malformed", now.malformed - before.malformed),
            ("over-limit", now.over_limit - before.over_limit),
            ("oversized", now.oversized - before.oversized),
            ("unknown-spi", now.unknown_spi - before.unknown_spi),
            ("version", now.wrong_version - before.wrong_version),
        ] {
            if packets > 0 {
                self.ike_dropped
                    .get_or_create(&ByCause { cause })
                    .inc_by(packets);
            }
        }
    }

    /// Counts an IKE SA that the ledger closed.
    pub fn closed_by_ledger(&self, after: Duration) {
        self.revocation_closes.inc();
        self.revocation_close_seconds.observe(after.as_secs_f64());
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    ///
    /// Those of the formatter; none in practice.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// The most asked-for numbers at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let refused = Refusal::LABELS
            .iter()
            .filter_map(|&reason| {
                let count = self.refused.get(&ByReason { reason })?.get();
                (count > 0).then(|| (reason.to_owned(), count))
            })
            .collect();
        let dropped = DROP_CAUSES
            .iter()
            .filter_map(|&cause| {
                let count = self.esp_dropped.get(&ByCause { cause })?.get();
                (count > 0).then(|| (cause.to_owned(), count))
            })
            .collect();
        Snapshot {
            handshakes_started: self.handshakes_started.get(),
            handshakes_established: self.handshakes_established.get(),
            refused,
            half_open: self.half_open.get(),
            open_sas: self.open_sas.get(),
            revocation_closes: self.revocation_closes.get(),
            esp_in_packets: self.esp_in_packets.get(),
            esp_in_bytes: self.esp_in_bytes.get(),
            esp_out_packets: self.esp_out_packets.get(),
            esp_out_bytes: self.esp_out_bytes.get(),
            esp_dropped: dropped,
        }
    }
}

/// Numbers for the control socket.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Snapshot {
    /// IKE SAs that peers began.
    pub handshakes_started: u64,
    /// IKE SAs that were established.
    pub handshakes_established: u64,
    /// Peers that were not let in, by reason.
    pub refused: BTreeMap<String, u64>,
    /// IKE SAs that are being made.
    pub half_open: i64,
    /// IKE SAs that are established.
    pub open_sas: i64,
    /// IKE SAs that the ledger closed.
    pub revocation_closes: u64,
    /// ESP packets opened.
    pub esp_in_packets: u64,
    /// Inner octets received.
    pub esp_in_bytes: u64,
    /// ESP packets sealed.
    pub esp_out_packets: u64,
    /// Inner octets sent.
    pub esp_out_bytes: u64,
    /// Packets dropped, by cause.
    pub esp_dropped: BTreeMap<String, u64>,
}

/// Why packets are dropped; the labels of `esp_dropped`.
pub const DROP_CAUSES: &[&str] = &[
    "unknown-spi",
    "authentication",
    "replayed",
    "late",
    "malformed",
    "selector",
    "no-sa",
    "oversized",
    "expired",
    "network",
    "queue-full",
    "send",
    "dummy",
];

/// Reads the ledger client's counters at the moment of the scrape.
#[derive(Debug)]
struct LedgerCollector {
    client: Client,
}

impl Collector for LedgerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metrics = self.client.metrics();
        for (name, help, value) in metrics.counters() {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        for (name, help, value) in metrics.gauges() {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// From a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

#[cfg(test)]
mod tests {
    use ledger::Status;

    use super::*;

    #[test]
    fn names_and_labels_are_those_that_are_documented() {
        let metrics = Metrics::new(None);
        metrics.handshakes_started.inc();
        metrics.refused(&Refusal::Status(Status::NotRecorded));
        metrics.esp_dropped("no-sa", 3);
        metrics.closed_by_ledger(Duration::from_millis(3));
        let text = metrics.text().unwrap();
        for line in [
            "ledgate_segw_sim_handshakes_started_total 1",
            "ledgate_segw_sim_handshakes_refused_total{reason=\"not-recorded\"} 1",
            "ledgate_segw_sim_esp_dropped_total{cause=\"no-sa\"} 3",
            "ledgate_segw_sim_revocation_closes_total 1",
            "ledgate_segw_sim_revocation_close_seconds_bucket{le=\"0.005\"} 1",
            "ledgate_segw_sim_open_sas 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        let snapshot = metrics.snapshot();
        assert_eq!(
            snapshot.refused,
            BTreeMap::from([("not-recorded".to_owned(), 1)])
        );
        assert_eq!(
            snapshot.esp_dropped,
            BTreeMap::from([("no-sa".to_owned(), 3)])
        );
    }
}
