//! Counters.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A snapshot of a client's counters. Counters only grow; gauges say so.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Metrics {
    /// Inquiries answered from the cache.
    pub hits: u64,
    /// Calls of `status` that the cache could not answer.
    pub misses: u64,
    /// Of these, those that joined an inquiry already under way.
    pub joined: u64,
    /// Inquiries begun.
    pub inquiries: u64,
    /// Requests to sources; more than `inquiries` by fail-over and hedging.
    pub attempts: u64,
    /// Requests to a further source while an earlier one was still silent.
    pub hedges: u64,
    /// Requests that failed, whatever the reason.
    pub attempt_failures: u64,
    /// Answers and streams refused because they are of another chain.
    pub wrong_chain: u64,
    /// Answers refused because something newer was known for the certificate.
    pub behind: u64,
    /// Answers refused because they undo a status that is final.
    pub undone: u64,
    /// Answers older than the event stream when they were asked for; kept for a short time only.
    pub lagging: u64,
    /// Answers overtaken by an event, which was believed instead.
    pub overtaken: u64,
    /// Inquiries that ended without an answer, whatever the reason.
    pub unavailable: u64,
    /// Of these, those that met the deadline.
    pub deadlines: u64,
    /// Inquiries refused at once because too many were under way. Not among `unavailable`.
    pub overloaded: u64,
    /// Answers served past their time to live under the stale grace.
    pub stale: u64,
    /// Revocations served past their time to live in an outage.
    pub revoked_in_outage: u64,
    /// Event streams opened.
    pub stream_connects: u64,
    /// Event streams that broke, fell silent or could not be opened.
    pub stream_cuts: u64,
    /// Events taken from the stream.
    pub events: u64,
    /// Events that dropped or refreshed a cache entry.
    pub events_applied: u64,
    /// Times that the cache was emptied because changes were missed.
    pub resynchronisations: u64,
    /// Gauge: certificates remembered, fresh or not.
    pub entries: u64,
    /// Gauge: inquiries under way.
    pub inquiries_under_way: u64,
    /// Gauge: the height up to which the event stream was followed; 0 before its first.
    pub stream_height: u64,
    /// Gauge: whether the event stream is up.
    pub stream_up: bool,
}

impl Metrics {
    /// What an operator watches, for a metrics endpoint: counters by name, with a line of help.
    #[must_use]
    pub const fn counters(&self) -> [(&'static str, &'static str, u64); 13] {
        [
            (
                "ledger_cache_hits",
                "Statuses answered from the cache",
                self.hits,
            ),
            (
                "ledger_cache_misses",
                "Statuses that the cache did not have",
                self.misses,
            ),
            ("ledger_inquiries", "Inquiries begun", self.inquiries),
            (
                "ledger_attempt_failures",
                "Requests to ledger nodes that failed",
                self.attempt_failures,
            ),
            (
                "ledger_unavailable",
                "Inquiries that ended without an answer",
                self.unavailable,
            ),
            (
                "ledger_overloaded",
                "Inquiries refused since too many were under way",
                self.overloaded,
            ),
            (
                "ledger_stale",
                "Answers served past their time under the stale grace",
                self.stale,
            ),
            (
                "ledger_undone",
                "Answers and events refused that would have undone a revocation: look at the node that gave them",
                self.undone,
            ),
            (
                "ledger_behind",
                "Answers refused since something newer was known: a node that lags",
                self.behind,
            ),
            (
                "ledger_wrong_chain",
                "Answers and streams refused since they are of another ledger: look at the configured nodes",
                self.wrong_chain,
            ),
            (
                "ledger_events",
                "Status changes taken from the event stream",
                self.events,
            ),
            (
                "ledger_stream_cuts",
                "Event streams that broke or could not be opened",
                self.stream_cuts,
            ),
            (
                "ledger_resynchronisations",
                "Times that everything cached was dropped because changes were missed",
                self.resynchronisations,
            ),
        ]
    }

    /// The same of gauges.
    #[must_use]
    pub fn gauges(&self) -> [(&'static str, &'static str, u64); 3] {
        [
            (
                "ledger_cache_entries",
                "Certificates remembered",
                self.entries,
            ),
            (
                "ledger_stream_height",
                "The height up to which the event stream was followed",
                self.stream_height,
            ),
            (
                "ledger_stream_up",
                "Whether the event stream is up",
                u64::from(self.stream_up),
            ),
        ]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live counters; hits are counted in the cache's shards, where no two threads contend for them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) misses: Counter,
    pub(crate) joined: Counter,
    pub(crate) inquiries: Counter,
    pub(crate) attempts: Counter,
    pub(crate) hedges: Counter,
    pub(crate) attempt_failures: Counter,
    pub(crate) wrong_chain: Counter,
    pub(crate) behind: Counter,
    pub(crate) undone: Counter,
    pub(crate) lagging: Counter,
    pub(crate) overtaken: Counter,
    pub(crate) unavailable: Counter,
    pub(crate) deadlines: Counter,
    pub(crate) overloaded: Counter,
    pub(crate) stale: Counter,
    pub(crate) revoked_in_outage: Counter,
    pub(crate) stream_connects: Counter,
    pub(crate) stream_cuts: Counter,
    pub(crate) events: Counter,
    pub(crate) events_applied: Counter,
    pub(crate) resynchronisations: Counter,
    pub(crate) stream_up: AtomicBool,
}

impl Counters {
    /// All but the gauges that live elsewhere and the hits.
    pub(crate) fn snapshot(&self) -> Metrics {
        Metrics {
            misses: self.misses.value(),
            joined: self.joined.value(),
            inquiries: self.inquiries.value(),
            attempts: self.attempts.value(),
            hedges: self.hedges.value(),
            attempt_failures: self.attempt_failures.value(),
            wrong_chain: self.wrong_chain.value(),
            behind: self.behind.value(),
            undone: self.undone.value(),
            lagging: self.lagging.value(),
            overtaken: self.overtaken.value(),
            unavailable: self.unavailable.value(),
            deadlines: self.deadlines.value(),
            overloaded: self.overloaded.value(),
            stale: self.stale.value(),
            revoked_in_outage: self.revoked_in_outage.value(),
            stream_connects: self.stream_connects.value(),
            stream_cuts: self.stream_cuts.value(),
            events: self.events.value(),
            events_applied: self.events_applied.value(),
            resynchronisations: self.resynchronisations.value(),
            stream_up: self.stream_up.load(Ordering::Relaxed),
            ..Metrics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_its_own_name_and_value() {
        let metrics = Metrics {
            undone: 3,
            wrong_chain: 4,
            behind: 5,
            resynchronisations: 6,
            stream_height: 7,
            stream_up: true,
            ..Metrics::default()
        };
        let shown: Vec<_> = metrics
            .counters()
            .into_iter()
            .chain(metrics.gauges())
            .collect();
        for (name, value) in [
            ("ledger_undone", 3),
            ("ledger_wrong_chain", 4),
            ("ledger_behind", 5),
            ("ledger_resynchronisations", 6),
            ("ledger_stream_height", 7),
            ("ledger_stream_up", 1),
            ("ledger_cache_hits", 0),
        ] {
            let found: Vec<_> = shown.iter().filter(|one| one.0 == name).collect();
            assert!(
                matches!(found[..], [one] if one.2 == value),
                "{name}: {found:?}"
            );
        }
        let mut names: Vec<_> = shown.iter().map(|one| one.0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), shown.len());
    }
}
