//! The HTTP API: HTTP/1.1, and HTTP/2 with prior knowledge, on one listener.

mod answer;
mod connection;
mod events;
mod message;
mod route;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use message::{ErrorAnswer, HeadAnswer, MembersAnswer, StatusRequest, StatusesAnswer};
pub use route::MAX_HASHES;

use crate::node::Node;

/// The bounds of the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HttpLimits {
    /// The most connections at one time; further ones wait in the listener's queue. Default 1024.
    pub connections: usize,
    /// The most event streams at one time; further ones are answered 503. Default 256.
    pub streams: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            streams: 256,
        }
    }
}

/// How long requests that are under way may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// How long to wait after the system refused a connection, for instance for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection shares.
#[derive(Clone)]
struct Server {
    node: Node,
    /// Room for event streams.
    streams: Arc<Semaphore>,
    /// Turns true when the server stops.
    stop: watch::Receiver<bool>,
}

/// Serves a node's API on a listener until `shutdown` resolves; requests that are under way are then
/// finished, and event streams ended.
///
/// # Errors
///
/// When the listener has no local address.
pub async fn serve(
    node: Node,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let limits = node.http_limits();
    let (stop, stopping) = watch::channel(false);
    let server = Server {
        node,
        streams: Arc::new(Semaphore::new(limits.streams.min(Semaphore::MAX_PERMITS))),
        stop: stopping,
    };
    let room = Arc::new(Semaphore::new(
        limits.connections.clamp(1, Semaphore::MAX_PERMITS),
    ));
    let mut connections = JoinSet::new();
    tracing::debug!(address = %listener.local_addr()?, "HTTP API listening");
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &room) => match accepted {
                Ok((stream, permit)) => {
                    let server = server.clone();
                    connections.spawn(async move {
                        connection::serve(server, stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    stop.send_replace(true);
    let finished = timeout(GRACE, async {
        while connections.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!(
            left = connections.len(),
            "connections cut: they did not finish in time"
        );
    }
    Ok(())
}

/// Accepts a connection once there is room for one.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// Resolves when the server stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The value that this gives holds a lock, and must not outlive the wait.
    let _ = stop.wait_for(|stop| *stop).await;
}
