//! Counters of the responder, for Prometheus.

use core::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use hyper::Method;
use ledger_client::Client;
use ocsp::ResponseStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::crl::{CrlCollector, Crls};
use crate::responder::Responder;

/// All counters. Names in Prometheus begin with `ledgate_ocsp_bridge_`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// HTTP connections that are open.
    pub connections: Gauge,
    /// HTTP connections closed to make room for others.
    pub connections_evicted: Counter,
    /// HTTP connections that found no room.
    pub connections_refused: Counter,
    /// TLS handshakes that failed, or did not end in time.
    pub tls_handshakes_failed: Counter,
    /// The TLS certificate's last second, Unix time; 0 without TLS.
    pub tls_not_after: Gauge,
    /// From the whole request to its answer, in seconds.
    pub answer_seconds: Histogram,
    /// Requests that had no answer in time and were told tryLater.
    pub answers_late: Counter,
    /// Look-ups of CertIDs refused since too many were under way.
    pub look_ups_shed: Counter,
    /// From the question to a node's answer, for one CertID, in seconds.
    pub look_up_seconds: Histogram,
    /// The signer certificate's last second, Unix time.
    pub signer_not_after: Gauge,
    /// Configurations and signers taken over on SIGHUP.
    pub reloads: Counter,
    /// Configurations and signers refused on SIGHUP; the old ones go on.
    pub reloads_refused: Counter,
    requests: Known<RequestMethod>,
    http_statuses: Known<u16>,
    http_statuses_other: Family<ByCode, Counter>,
    responses: Known<ResponseStatus>,
    look_ups: Family<ByResult, Counter>,
}

/// The method of an HTTP request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestMethod {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// Any other.
    Other,
}

impl RequestMethod {
    const ALL: [Self; 4] = [Self::Get, Self::Head, Self::Post, Self::Other];

    /// As in the metrics and the access log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Other => "other",
        }
    }
}

impl From<&Method> for RequestMethod {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            _ => Self::Other,
        }
    }
}

/// The counters of the labels that are met all the time, found without a lock. They are shown from the start, at zero.
#[derive(Debug)]
struct Known<T>(Vec<(T, Counter)>);

impl<T: Copy + PartialEq> Known<T> {
    fn new<S>(family: &Family<S, Counter>, values: &[T], label: impl Fn(T) -> S) -> Self
    where
        S: Clone + Eq + std::hash::Hash,
    {
        let counter = |&value| (value, family.get_or_create_owned(&label(value)));
        Self(values.iter().map(counter).collect())
    }

    fn get(&self, value: T) -> Option<&Counter> {
        let mut known = self.0.iter();
        known
            .find(|(known, _)| *known == value)
            .map(|(_, counter)| counter)
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByMethod {
    method: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByCode {
    code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByStatus {
    status: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByResult {
    result: &'static str,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("ledgate_ocsp_bridge");
        let counter = |registry: &mut Registry, name: &str, help: &str| {
            let counter = Counter::<u64, AtomicU64>::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let seconds = |registry: &mut Registry, name: &str, help: &str| {
            let histogram = Histogram::new(SECONDS);
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            histogram
        };
        let r = &mut registry;
        let connections = Gauge::default();
        r.register(
            "connections",
            "HTTP connections that are open",
            connections.clone(),
        );
        let connections_evicted = counter(
            r,
            "connections_evicted",
            "HTTP connections closed to make room for others",
        );
        let connections_refused = counter(
            r,
            "connections_refused",
            "HTTP connections that found no room",
        );
        let tls_handshakes_failed = counter(
            r,
            "tls_handshakes_failed",
            "TLS handshakes that failed, or did not end in time",
        );
        let tls_not_after = Gauge::default();
        r.register_with_unit(
            "tls_not_after",
            "The TLS certificate's last second, Unix time; 0 without TLS",
            Unit::Seconds,
            tls_not_after.clone(),
        );
        let requests = Family::<ByMethod, Counter>::default();
        r.register(
            "http_requests",
            "HTTP requests, by method",
            requests.clone(),
        );
        let http_statuses = Family::<ByCode, Counter>::default();
        r.register(
            "http_responses",
            "HTTP responses, by status code",
            http_statuses.clone(),
        );
        let responses = Family::<ByStatus, Counter>::default();
        r.register(
            "ocsp_responses",
            "OCSP responses, by responseStatus (RFC 6960 section 4.2.1)",
            responses.clone(),
        );
        let answer_seconds = seconds(r, "answer", "From the whole request to its answer");
        let answers_late = counter(
            r,
            "answers_late",
            "Requests that had no answer in time and were told tryLater",
        );
        let look_ups = Family::<ByResult, Counter>::default();
        r.register(
            "look_ups",
            "Look-ups of CertIDs on the ledger, by result",
            look_ups.clone(),
        );
        let look_ups_shed = counter(
            r,
            "look_ups_shed",
            "Look-ups of CertIDs refused since too many were under way",
        );
        let look_up_seconds = seconds(
            r,
            "look_up",
            "From the question to a ledger node's answer, for one CertID",
        );
        let signer_not_after = Gauge::default();
        r.register_with_unit(
            "signer_not_after",
            "The signer certificate's last second, Unix time",
            Unit::Seconds,
            signer_not_after.clone(),
        );
        let reloads = counter(
            r,
            "reloads",
            "Configurations and signers taken over on SIGHUP",
        );
        let reloads_refused = counter(
            r,
            "reloads_refused",
            "Configurations and signers refused on SIGHUP; the old ones go on",
        );
        let requests = Known::new(&requests, &RequestMethod::ALL, |method| ByMethod {
            method: method.name(),
        });
        let responses = Known::new(&responses, &ResponseStatus::ALL, |status| ByStatus {
            status: status.name(),
        });
        Self {
            registry,
            connections,
            connections_evicted,
            connections_refused,
            tls_handshakes_failed,
            tls_not_after,
            answer_seconds,
            answers_late,
            look_ups_shed,
            look_up_seconds,
            signer_not_after,
            reloads,
            reloads_refused,
            requests,
            http_statuses: Known::new(&http_statuses, &[200, 304], |code| ByCode { code }),
            http_statuses_other: http_statuses,
            responses,
            look_ups,
        }
    }

    /// Shows the ledger client's counters too.
    pub fn watch(&mut self, client: Client) {
        self.registry
            .register_collector(Box::new(LedgerCollector { client }));
    }

    /// Shows what is known and issued of CRLs too.
    pub fn watch_crls(&mut self, crls: Arc<Crls>) {
        self.registry
            .register_collector(Box::new(CrlCollector(crls)));
    }

    /// Shows what a responder counts, once the returned cell holds it.
    pub fn watch_responder(&mut self) -> Arc<OnceLock<Weak<Responder>>> {
        let responder = Arc::new(OnceLock::new());
        self.registry
            .register_collector(Box::new(ResponderCollector {
                responder: Arc::clone(&responder),
            }));
        responder
    }

    /// Counts an HTTP request.
    pub fn requested(&self, method: RequestMethod) {
        if let Some(counter) = self.requests.get(method) {
            counter.inc();
        }
    }

    /// Counts an HTTP response.
    pub fn responded(&self, code: u16) {
        match self.http_statuses.get(code) {
            Some(counter) => counter.inc(),
            None => self
                .http_statuses_other
                .get_or_create(&ByCode { code })
                .inc(),
        };
    }

    /// Counts an OCSP response.
    pub fn answered(&self, status: ResponseStatus, took: Duration) {
        if let Some(counter) = self.responses.get(status) {
            counter.inc();
        }
        self.answer_seconds.observe(took.as_secs_f64());
    }

    /// Counts the look-up of a CertID.
    pub fn looked_up(&self, result: &'static str) {
        self.look_ups.get_or_create(&ByResult { result }).inc();
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

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the responder's counters at the moment of the scrape.
#[derive(Debug)]
struct ResponderCollector {
    responder: Arc<OnceLock<Weak<Responder>>>,
}

impl Collector for ResponderCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(responder) = self.responder.get().and_then(Weak::upgrade) else {
            return Ok(());
        };
        let counters = responder.counters();
        for (name, help, value) in [
            (
                "certificates_good",
                "Certificates answered as good",
                counters.good,
            ),
            (
                "certificates_revoked",
                "Certificates answered as revoked, for whatever reason",
                counters.revoked,
            ),
            (
                "certificates_unknown",
                "Certificates answered as unknown",
                counters.unknown,
            ),
            (
                "certificates_not_recorded",
                "Certificates answered as revoked since they are not recorded",
                counters.not_recorded,
            ),
            (
                "certificates_ambiguous",
                "Certificates answered as revoked since several recorded ones have their CertID; look into it",
                counters.ambiguous,
            ),
            ("signatures", "OCSP responses signed", counters.signed),
            (
                "signatures_shed",
                "OCSP responses not signed since too many slow signatures were waited for",
                counters.signatures_shed,
            ),
            (
                "look_ups_joined",
                "Requests that waited for a look-up which another had begun",
                counters.look_ups_joined,
            ),
            (
                "cached_answers",
                "OCSP responses given without signing",
                counters.from_cache,
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        let entries = ConstGauge::new(i64::try_from(counters.cached).unwrap_or(i64::MAX));
        entries.encode(encoder.encode_descriptor(
            "cache_entries",
            "Signed answers that are kept",
            None,
            entries.metric_type(),
        )?)
    }
}

/// Reads the ledger client's counters at the moment of the scrape.
#[derive(Debug)]
pub(crate) struct LedgerCollector {
    pub(crate) client: Client,
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

/// From ten microseconds to five seconds.
const SECONDS: [f64; 16] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.1, 0.25, 0.5, 1.0, 5.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_that_are_documented() {
        let metrics = Metrics::new();
        metrics.requested(RequestMethod::Post);
        metrics.responded(200);
        metrics.answered(ResponseStatus::TryLater, Duration::from_millis(3));
        metrics.looked_up("ambiguous");
        metrics.signer_not_after.set(7);
        let text = metrics.text().unwrap();
        for line in [
            "ledgate_ocsp_bridge_http_requests_total{method=\"POST\"} 1",
            "ledgate_ocsp_bridge_http_responses_total{code=\"200\"} 1",
            "ledgate_ocsp_bridge_ocsp_responses_total{status=\"tryLater\"} 1",
            "ledgate_ocsp_bridge_answer_seconds_bucket{le=\"0.005\"} 1",
            "ledgate_ocsp_bridge_look_ups_total{result=\"ambiguous\"} 1",
            "ledgate_ocsp_bridge_signer_not_after_seconds 7",
            "ledgate_ocsp_bridge_connections 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
