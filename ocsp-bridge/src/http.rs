//! OCSP over HTTP/1.1 and HTTP/1.0 (RFC 6960 appendix A.1, RFC 9919 sections 5 and 6).
//!
//! `POST` with the request as body, `GET` and `HEAD` with the request in the path. What is an OCSP matter is
//! answered by an OCSP response with status 200, also when it says `malformedRequest` or `tryLater`; what is
//! an HTTP matter (no such path, wrong method, too large, too slow) by an HTTP status with one line of text.
//!
//! Nothing that a client does costs more than its bound: the head, the body and the time for each of them,
//! and the number of connections. When there is no room for a new connection, those that have kept the server
//! waiting the longest are closed for it.

mod access;
mod body;
mod clock;
mod connection;
mod connections;
mod crl;
mod head_timer;
mod operations;
mod question;
mod respond;
mod route;
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::access::AccessLog;
use self::connections::{Admission, Connections};
use crate::crl::Crls;
use crate::metrics::Metrics;
use crate::responder::Responder;

pub use self::access::AccessPolicy;
pub use self::operations::{Exposition, Readiness, Ready, serve_operations};
pub use self::tls::{Tls, TlsError, TlsIdentity};

/// What a client may take of the server. The defaults suit a responder for some thousand gateways.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HttpLimits {
    /// The most connections at one time. Beyond it, those that kept the server waiting the longest are closed.
    /// Default 10,000.
    pub connections: usize,
    /// The longest OCSP request, in octets. Default 4096; real ones have 70 to 300.
    pub request_octets: usize,
    /// How long a request's head may take to come, and how long a connection may stay idle. A TLS handshake has
    /// the same time before. Default 15 s.
    pub head: Duration,
    /// How long a request's body may take to come after its head. Default 5 s.
    pub body: Duration,
    /// How long an answer may take; then `tryLater` is sent. Default 2 s: a gateway blocks a thread on it.
    pub answer: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            request_octets: 4_096,
            head: Duration::from_secs(15),
            body: Duration::from_secs(5),
            answer: Duration::from_secs(2),
        }
    }
}

/// The HTTP service: shared by all its connections, on any number of listeners.
pub struct Service {
    /// The path that requests come to, without slashes at its ends; empty for the root.
    path: String,
    limits: HttpLimits,
    responder: Arc<Responder>,
    crls: Arc<Crls>,
    metrics: Arc<Metrics>,
    access: AccessLog,
    connections: Arc<Connections>,
}

impl Service {
    /// A service that answers with `responder` at `path`.
    pub fn new(
        path: &str,
        limits: HttpLimits,
        access: AccessPolicy,
        responder: Arc<Responder>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            path: path.trim_matches('/').to_owned(),
            limits,
            responder,
            crls: Arc::default(),
            metrics,
            access: AccessLog::new(access),
            connections: Connections::new(limits.connections),
        }
    }

    /// Serves these CRLs as well, below `crl/`.
    #[must_use]
    pub fn with_crls(mut self, crls: Arc<Crls>) -> Self {
        self.crls = crls;
        self
    }

    /// Changes what the access log holds.
    pub fn log_access(&self, policy: AccessPolicy) {
        self.access.set(policy);
    }
}

/// Serves OCSP on one listener until `shutdown`; then finishes the requests that are under way. With `tls`, only
/// over TLS.
///
/// Nothing that a client does ends it.
pub async fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let origin = service.connections.listener();
    let mut tasks = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let (stream, client) = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = tasks.join_next() => {
                service.metrics.connections.set(gauge(service.connections.len()));
                continue;
            }
        };
        match service.connections.admit(origin, Instant::now()) {
            Admission::Admitted {
                connection,
                evicted,
            } => {
                if evicted > 0 {
                    service
                        .metrics
                        .connections_evicted
                        .inc_by(u64::try_from(evicted).unwrap_or(u64::MAX));
                }
                let connection = connection::Serving {
                    service: Arc::clone(&service),
                    connection,
                    client,
                    tls: tls.as_ref().map(|tls| tls.config()),
                };
                tasks.spawn(connection.run(stream));
            }
            Admission::Refused => {
                service.metrics.connections_refused.inc();
            }
        }
        service
            .metrics
            .connections
            .set(gauge(service.connections.len()));
    }
    drop(listener);
    service.connections.finish(origin);
    let finished = timeout(GRACE, async { while tasks.join_next().await.is_some() {} });
    if finished.await.is_err() {
        tracing::warn!(
            left = tasks.len(),
            "connections cut: they did not finish in time"
        );
    }
    service
        .metrics
        .connections
        .set(gauge(service.connections.len()));
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// How long requests that are under way may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait after the system refused a connection, for instance for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
