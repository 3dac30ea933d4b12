//! Metrics over HTTP.

use core::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::shard::Shared;

/// Serves `GET /metrics` and `GET /health` until the task is dropped.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the metrics socket does not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &shared);
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

fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<String> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match shared.metrics.text() {
            Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
            Err(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                PLAIN,
                "metrics cannot be written\n".to_owned(),
            ),
        },
        (&Method::GET, "/health") => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        _ => (
            StatusCode::NOT_FOUND,
            PLAIN,
            "there are GET /metrics and GET /health\n".to_owned(),
        ),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Connections served at one time; more wait.
const MAX_CONNECTIONS: usize = 32;

/// How long a request's head may take to come.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
