//! One connection.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Server, route, stopped};

/// How long a new connection may take to show which HTTP version it speaks.
const FIRST_OCTETS: Duration = Duration::from_secs(10);

/// How long a request's head may take, and how long an HTTP/1.1 connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How often an HTTP/2 peer is probed, and how long it may take to answer.
const PROBE: Duration = Duration::from_secs(20);

/// How long sent octets may stay unacknowledged, in milliseconds: a peer that takes nothing is cut.
const UNACKNOWLEDGED: u32 = 30_000;

/// The most octets of a request's head.
const MAX_HEAD: u32 = 16 * 1_024;

/// The most concurrent requests on one HTTP/2 connection.
const MAX_REQUESTS: u32 = 128;

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one connection to its end.
pub(super) async fn serve(server: Server, stream: TcpStream) {
    let metrics_of = server.node.clone();
    metrics_of.metrics().connections.inc();
    if let Err(error) = answer(server, stream).await {
        tracing::debug!(error, "connection ended");
    }
    metrics_of.metrics().connections.dec();
}

async fn answer(server: Server, stream: TcpStream) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    stream.set_nodelay(true).map_err(text)?;
    rustix::net::sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED)
        .map_err(|error| error.to_string())?;
    let mut stop = server.stop.clone();
    let speaks_http2 = tokio::select! {
        seen = timeout(FIRST_OCTETS, begins_with_preface(&stream)) => seen
            .map_err(|_| "the peer sent no request in time".to_owned())?
            .map_err(text)?,
        // Nothing was asked here yet, so there is nothing to finish.
        () = stopped(&mut stop) => return Ok(()),
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(usize::try_from(MAX_HEAD).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PROBE)
        .keep_alive_timeout(PROBE)
        .max_concurrent_streams(MAX_REQUESTS)
        .max_header_list_size(MAX_HEAD);
    let builder = if speaks_http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    let connection = builder.serve_connection(
        TokioIo::new(stream),
        service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(route::respond(&server, request).await) }
        }),
    );
    tokio::pin!(connection);
    let ended = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = stopped(&mut stop) => None,
    };
    let result = match ended {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    result.map_err(|error| error.to_string())
}

/// Looks at the first octets without taking them. (hyper-util's own look has no deadline.)
async fn begins_with_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut octets = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut octets).await?;
        let seen = octets.get(..length).unwrap_or_default();
        if length == PREFACE.len() || length == 0 || !PREFACE.starts_with(seen) {
            return Ok(seen == PREFACE);
        }
        // The rest is on its way; peeking again at once would find the same octets.
        sleep(Duration::from_millis(5)).await;
    }
}
