//! Counters of `vici-sync`, for Prometheus, and whether it does its work.

use core::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ledger_client::Client;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::LedgerCollector;

/// All counters. Names in Prometheus begin with `ledgate_ocsp_bridge_vici_`.
#[derive(Debug)]
pub struct ViciMetrics {
    registry: Registry,
    client: Client,
    began: Instant,
    /// Milliseconds from `began` to the end of the last whole listing of IKE_SAs, and 1; 0 before the first.
    listed: AtomicU64,
    /// Whether the daemon is connected.
    pub daemon_connected: Gauge,
    /// Times that the daemon was connected to.
    pub daemon_connects: Counter,
    /// Changes of the ledger that were followed.
    pub ledger_changes: Counter,
    /// Live IKE_SAs.
    pub tunnels: Gauge,
    /// Of these, those of whose identity no certificate is known.
    pub tunnels_unidentified: Gauge,
    /// IKE_SAs that are to be closed, and are not yet.
    pub closings_waiting: Gauge,
    /// IKE_SAs that the daemon did not close when told to; the next listing shows whether they are gone.
    pub closings_failed: Counter,
    /// From the ledger's event to the daemon's word that the tunnel is closed.
    pub closing_seconds: Histogram,
    /// From the time of the block to the daemon's word that the tunnel is closed.
    pub block_to_closing_seconds: Histogram,
    /// Times that cached OCSP answers were flushed.
    pub flushes: Counter,
    /// Certificates that are to be fetched from the ledger, and are not yet.
    pub fetches_waiting: Gauge,
    /// Certificates that no node gave in time, or that there was no room for.
    pub fetches_abandoned: Counter,
    /// Authorities that the daemon trusts by the ledger.
    pub authorities: Gauge,
    /// Authorities that the daemon did not take, or did not let go.
    pub authorities_refused: Counter,
    daemon_events: Family<ByEvent, Counter>,
    closed: Family<ByReason, Counter>,
    authority_changes: Family<ByChange, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByEvent {
    event: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByChange {
    change: &'static str,
}

impl ViciMetrics {
    /// All at zero, with the counters of this ledger client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let mut registry = Registry::with_prefix("ledgate_ocsp_bridge");
        registry.register_collector(Box::new(LedgerCollector {
            client: client.clone(),
        }));
        let vici = registry.sub_registry_with_prefix("vici");
        let metrics = Self {
            registry: Registry::default(),
            client,
            began: Instant::now(),
            listed: AtomicU64::new(0),
            daemon_connected: gauge(
                vici,
                "daemon_connected",
                "Whether the IKE daemon is connected",
            ),
            daemon_connects: counter(
                vici,
                "daemon_connects",
                "Times that the IKE daemon was connected to",
            ),
            ledger_changes: counter(
                vici,
                "ledger_changes",
                "Changes of the ledger that were followed",
            ),
            tunnels: gauge(vici, "tunnels", "Live IKE_SAs"),
            tunnels_unidentified: gauge(
                vici,
                "tunnels_unidentified",
                "Live IKE_SAs of whose identity no certificate is known",
            ),
            closings_waiting: gauge(
                vici,
                "closings_waiting",
                "IKE_SAs that are to be closed, and are not yet",
            ),
            closings_failed: counter(
                vici,
                "closings_failed",
                "IKE_SAs that the daemon did not close when told to",
            ),
            closing_seconds: seconds(
                vici,
                "closing",
                "From the ledger's event to the daemon's word that the tunnel is closed",
            ),
            block_to_closing_seconds: seconds(
                vici,
                "block_to_closing",
                "From the time of the block to the daemon's word that the tunnel is closed",
            ),
            flushes: counter(
                vici,
                "flushes",
                "Times that the daemon's cached OCSP answers were flushed",
            ),
            fetches_waiting: gauge(
                vici,
                "fetches_waiting",
                "Revoked certificates that are to be fetched from the ledger, and are not yet",
            ),
            fetches_abandoned: counter(
                vici,
                "fetches_abandoned",
                "Revoked certificates that no node gave in time, or that there was no room for",
            ),
            authorities: gauge(
                vici,
                "authorities",
                "Authorities that the daemon trusts by the ledger",
            ),
            authorities_refused: counter(
                vici,
                "authorities_refused",
                "Authorities that the daemon did not take, or did not let go",
            ),
            daemon_events: Family::default(),
            closed: Family::default(),
            authority_changes: Family::default(),
        };
        vici.register(
            "daemon_events",
            "Events of the IKE daemon, by kind",
            metrics.daemon_events.clone(),
        );
        vici.register(
            "tunnels_closed",
            "IKE_SAs closed, by reason",
            metrics.closed.clone(),
        );
        vici.register(
            "authority_changes",
            "Authorities that the daemon was told to trust or not to trust any more",
            metrics.authority_changes.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }

    /// Counts an event of the daemon.
    pub fn daemon_told(&self, event: &'static str) {
        self.daemon_events.get_or_create(&ByEvent { event }).inc();
    }

    /// Counts a closed IKE_SA.
    pub fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ByReason { reason }).inc();
    }

    /// Counts an authority `loaded` or `unloaded`.
    pub fn authority_changed(&self, change: &'static str) {
        self.authority_changes
            .get_or_create(&ByChange { change })
            .inc();
    }

    /// All live IKE_SAs were listed just now.
    pub fn listed(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.listed.store(passed + 1, Ordering::Relaxed);
    }

    /// What keeps revocations from closing tunnels in time; nothing when it is ready.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.client.metrics().stream_up {
            problems
                .push("the ledger is out of reach: no node's stream of events is up".to_owned());
        }
        if self.daemon_connected.get() == 0 {
            problems.push("the IKE daemon is not connected".to_owned());
        } else {
            let listed = self.listed.load(Ordering::Relaxed);
            let age = self
                .began
                .elapsed()
                .saturating_sub(Duration::from_millis(listed));
            if listed == 0 {
                problems.push("the IKE daemon's live IKE_SAs were not listed yet".to_owned());
            } else if age > LISTING_AGE {
                problems.push(format!(
                    "the IKE daemon has not listed its live IKE_SAs for {} s: it may hang",
                    age.as_secs()
                ));
            }
        }
        problems
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
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::<u64, AtomicU64>::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn seconds(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::new(SECONDS);
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

/// From a millisecond to a minute.
const SECONDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
];

/// How old the last listing may be.
const LISTING_AGE: Duration = Duration::from_secs(60);
