//! One connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::connections::Connection;
use super::{Service, route};

/// What one connection's task holds.
pub(super) struct Serving {
    pub(super) service: Arc<Service>,
    pub(super) connection: Arc<Connection>,
    pub(super) client: SocketAddr,
    /// Turns true when the server stops.
    pub(super) stop: watch::Receiver<bool>,
}

impl Serving {
    /// Serves the connection to its end.
    pub(super) async fn run(mut self, stream: TcpStream) {
        // Neither makes an answer wrong where it fails.
        let _nodelay = stream.set_nodelay(true);
        let _timeout = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED);
        let (service, connection) = (&self.service, &self.connection);
        let client = self.client;
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(service.limits.head)
            .max_buf_size(MAX_HEAD)
            // A client that has sent all it wants to, and says so, still gets its answer.
            .half_close(true)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(|request| async move {
                    let response = route::respond(service, connection, client, request).await;
                    Ok::<_, Infallible>(response)
                }),
            );
        tokio::pin!(http);
        let mut stopping = false;
        let ended = loop {
            tokio::select! {
                ended = http.as_mut() => break ended,
                () = connection.evicted() => return,
                _ = self.stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    http.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%client, %error, "a connection broke");
        }
    }
}

/// The most octets of a request's head: a request of the greatest length in the path, and header fields.
const MAX_HEAD: usize = 24 * 1_024;

/// How long sent octets may stay unacknowledged, in milliseconds: a client that takes nothing is cut.
const UNACKNOWLEDGED: u32 = 15_000;
