//! For those who operate the responder: metrics, health and readiness, on a listener of their own.

use core::convert::Infallible;
use core::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::respond::{Body, plain, typed};

/// Gives the text that Prometheus reads.
pub type Exposition = Arc<dyn Fn() -> Result<String, fmt::Error> + Send + Sync>;

/// Says what keeps the responder from giving trustworthy answers; nothing when it is ready.
pub type Readiness = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Serves `GET /metrics`, `GET /health` and `GET /ready` until `shutdown`.
///
/// `/health` says that the process serves; `/ready` says whether it does its work: 503 with the reasons while it
/// does not (the ledger is out of reach, a signer is unusable, the process stops).
pub async fn serve_operations(
    listener: TcpListener,
    metrics: Exposition,
    readiness: Readiness,
    shutdown: impl Future<Output = ()> + Send,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut tasks = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots)
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            Ok::<_, io::Error>((slot, stream))
        };
        let (slot, stream) = tokio::select! {
            () = &mut shutdown => return,
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "the metrics socket does not accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = tasks.join_next() => continue,
        };
        let (metrics, readiness) = (Arc::clone(&metrics), Arc::clone(&readiness));
        tasks.spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &metrics, &readiness);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a metrics connection broke");
            }
            drop(slot);
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    metrics: &Exposition,
    readiness: &Readiness,
) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "this is read by GET\n");
    }
    match request.uri().path() {
        "/metrics" => match metrics() {
            Ok(text) => typed(StatusCode::OK, OPEN_METRICS, text.into()),
            Err(_) => plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "metrics cannot be written\n",
            ),
        },
        "/health" => plain(StatusCode::OK, "ok\n"),
        "/ready" => {
            let problems = readiness();
            if problems.is_empty() {
                return plain(StatusCode::OK, "ready\n");
            }
            let mut text = String::from("not ready\n");
            for problem in problems {
                text.push_str(&problem);
                text.push('\n');
            }
            typed(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain; charset=utf-8",
                Bytes::from(text),
            )
        }
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are GET /metrics, GET /health and GET /ready\n",
        ),
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Connections served at one time; more wait.
const MAX_CONNECTIONS: usize = 32;

/// How long a request's head may take to come, and how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
