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
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::respond::{Body, plain, typed};

/// Gives the text that Prometheus reads.
pub type Exposition = Arc<dyn Fn() -> Result<String, fmt::Error> + Send + Sync>;

/// Says whether it is ready.
pub type Readiness = Arc<dyn Fn() -> Ready + Send + Sync>;

/// What `/ready` tells.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ready {
    /// What keeps the responder from giving trustworthy answers; nothing when it is ready.
    pub problems: Vec<String>,
    /// What else somebody should look into: no reason to ask another responder.
    pub remarks: Vec<String>,
}

impl From<Vec<String>> for Ready {
    fn from(problems: Vec<String>) -> Self {
        Self {
            problems,
            remarks: Vec::new(),
        }
    }
}

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
    serve_within(CONNECTION_TIME, listener, metrics, readiness, shutdown).await;
}

/// As above, with connections that last no longer than `limit`.
async fn serve_within(
    limit: Duration,
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
            // Where it fails, the connection's time still ends it.
            let _timeout = set_tcp_user_timeout(&stream, UNACKNOWLEDGED);
            let service = service_fn(|request| {
                let answer = answer(&request, &metrics, &readiness);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                // One request each: there are few slots, and whoever keeps one keeps out others.
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            match timeout(limit, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a metrics connection broke"),
                Err(_) => tracing::debug!("a metrics connection took too long"),
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
            let Ready { problems, remarks } = readiness();
            let (status, word) = if problems.is_empty() {
                (StatusCode::OK, "ready\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
            };
            let mut text = word.to_owned();
            for line in problems.iter().chain(&remarks) {
                text.push_str(line);
                text.push('\n');
            }
            typed(status, "text/plain; charset=utf-8", Bytes::from(text))
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

/// How long a connection may take from its beginning to its end.
const CONNECTION_TIME: Duration = Duration::from_secs(15);

/// How long sent octets may stay unacknowledged, in milliseconds.
const UNACKNOWLEDGED: u32 = 15_000;

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn who_asks_and_reads_nothing_keeps_nobody_out() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        // More than the buffers of a connection hold.
        let text = "x".repeat(32 * 1_024 * 1_024);
        let serving = tokio::spawn(serve_within(
            Duration::from_secs(2),
            listener,
            Arc::new(move || Ok(text.clone())),
            Arc::new(|| Ready {
                problems: Vec::new(),
                remarks: vec!["no CRL".to_owned()],
            }),
            pending(),
        ));
        let mut idle = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
            stream.write_all(requests.as_bytes()).await.unwrap();
            idle.push(stream);
        }
        // Before the system cuts those who acknowledge nothing.
        let answered = timeout(Duration::from_secs(10), async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut reply = String::new();
            // To its end: one request is all that a connection serves.
            stream.read_to_string(&mut reply).await.unwrap();
            reply
        });
        let reply = answered.await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.contains("connection: close\r\n"), "{reply}");
        assert!(reply.ends_with("\r\n\r\nok\n"), "{reply}");
        // A remark is told, and is no reason to ask elsewhere.
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.ends_with("\r\n\r\nready\nno CRL\n"), "{reply}");
        drop(idle);
        serving.abort();
    }
}
