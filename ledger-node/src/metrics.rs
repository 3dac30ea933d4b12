//! The node's metrics.

use std::time::Duration;

use ledger::{Applied, Block, Refusal, Status};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

type Label = [(&'static str, &'static str); 1];
type Labels = [(&'static str, &'static str); 2];

/// What the node counts. Names begin with `ledgate_ledger_node_`.
pub(crate) struct Metrics {
    registry: Registry,
    height: Gauge,
    block_time: Gauge,
    pending: Gauge,
    transactions: Counter,
    outcomes: Family<Label, Counter>,
    events: Counter,
    commit: Histogram,
    commit_failures: Counter,
    refused: Family<Label, Counter>,
    inquiries: Family<Label, Counter>,
    requests: Family<Labels, Counter>,
    pub(crate) connections: Gauge,
    pub(crate) streams: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("ledgate_ledger_node"),
            height: Gauge::default(),
            block_time: Gauge::default(),
            pending: Gauge::default(),
            transactions: Counter::default(),
            outcomes: Family::default(),
            events: Counter::default(),
            // From a tenth of a millisecond to some 1.6 seconds.
            commit: Histogram::new((0..15).map(|power| 0.000_1 * f64::from(1_u32 << power))),
            commit_failures: Counter::default(),
            refused: Family::default(),
            inquiries: Family::default(),
            requests: Family::default(),
            connections: Gauge::default(),
            streams: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    /// A block is durable.
    pub(crate) fn committed(&self, block: &Block, applied: &Applied, took: Duration) {
        self.transactions.inc_by(count(block.transactions.len()));
        self.events.inc_by(count(applied.events.len()));
        for outcome in applied
            .receipts
            .iter()
            .flat_map(|receipt| &receipt.outcomes)
        {
            let verdict = outcome.refusal().map_or("accepted", Refusal::as_str);
            self.outcomes.get_or_create(&[("verdict", verdict)]).inc();
        }
        self.commit.observe(took.as_secs_f64());
    }

    /// A block could not be written.
    pub(crate) fn commit_failed(&self) {
        self.commit_failures.inc();
    }

    /// A transaction was refused before it could wait.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// A status was answered.
    pub(crate) fn inquired(&self, status: &Status) {
        self.inquiries
            .get_or_create(&[("status", status.as_str())])
            .inc();
    }

    /// An HTTP request was answered.
    pub(crate) fn requested(&self, route: &'static str, status: u16) {
        let class = match status {
            ..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            500.. => "5xx",
        };
        self.requests
            .get_or_create(&[("route", route), ("status", class)])
            .inc();
    }

    /// The text form, with what only the node knows.
    pub(crate) fn text(&self, head: Option<ledger::Head>, pending: usize) -> String {
        if let Some(head) = head {
            self.height.set(signed(head.height.0));
            self.block_time.set(signed(head.time.seconds()));
        }
        self.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        let mut text = String::new();
        // A string takes every write.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("height", "Height of the newest block", self.height.clone());
        registry.register_with_unit(
            "block_time",
            "Time of the newest block, Unix",
            Unit::Seconds,
            self.block_time.clone(),
        );
        registry.register(
            "pending_transactions",
            "Transactions that wait for a block",
            self.pending.clone(),
        );
        registry.register(
            "transactions",
            "Transactions in committed blocks since the start",
            self.transactions.clone(),
        );
        registry.register(
            "outcomes",
            "What became of each certificate or request in committed blocks, by verdict",
            self.outcomes.clone(),
        );
        registry.register(
            "events",
            "Changes of status since the start",
            self.events.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Time to apply a block and make it durable",
            Unit::Seconds,
            self.commit.clone(),
        );
        registry.register(
            "commit_failures",
            "Blocks that could not be written",
            self.commit_failures.clone(),
        );
        registry.register(
            "refused_transactions",
            "Transactions refused before they could wait, by reason",
            self.refused.clone(),
        );
        registry.register(
            "inquiries",
            "Statuses answered, by status",
            self.inquiries.clone(),
        );
        registry.register(
            "http_requests",
            "HTTP requests answered, by route and status class",
            self.requests.clone(),
        );
        registry.register(
            "http_connections",
            "Open HTTP connections",
            self.connections.clone(),
        );
        registry.register("event_streams", "Open event streams", self.streams.clone());
    }
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
