//! Clients that hold connections and do little with them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::exchange::read_requests;

#[derive(Args)]
pub(super) struct Slow {
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: SocketAddr,
    /// DER requests, one in hexadecimal on each line.
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// One kind only; all in turn without it.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// One request, its answer, and then nothing.
    Idle,
    /// A head that comes octet by octet.
    Head,
    /// A body that comes octet by octet.
    Body,
    /// Many requests at once, and no answer is ever read.
    Reader,
}

const KINDS: [Kind; 4] = [Kind::Idle, Kind::Head, Kind::Body, Kind::Reader];

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    /// Closed by the server, and opened again.
    closed: AtomicU64,
    failed: AtomicU64,
}

impl Slow {
    pub(super) fn run(&self) -> Result<Value, String> {
        let needed = u64::try_from(self.connections).unwrap_or(u64::MAX) + 64;
        let mut limit = getrlimit(Resource::Nofile);
        if limit.maximum.is_some_and(|most| most < needed) {
            return Err(format!(
                "{} connections need {needed} descriptors: raise the limit (ulimit -Hn)",
                self.connections
            ));
        }
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).map_err(|error| format!("descriptors: {error}"))?;
        let requests = Arc::new(read_requests(&self.requests, "")?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("threads: {error}"))?;
        let counts = Arc::new(Counts::default());
        runtime.block_on(async {
            // As many as a backlog holds try at one time.
            let trying = Arc::new(Semaphore::new(128));
            for number in 0..self.connections {
                let kind = self.kind.unwrap_or(KINDS[number % KINDS.len()]);
                let (requests, counts) = (Arc::clone(&requests), Arc::clone(&counts));
                let (trying, address) = (Arc::clone(&trying), self.address);
                tokio::spawn(async move {
                    let request = &requests[number % requests.len()];
                    loop {
                        match hold(kind, address, request, &trying, &counts).await {
                            Ok(()) => counts.closed.fetch_add(1, Ordering::Relaxed),
                            Err(_) => counts.failed.fetch_add(1, Ordering::Relaxed),
                        };
                        sleep(PAUSE).await;
                    }
                });
            }
            sleep(Duration::from_secs_f64(self.seconds)).await;
        });
        Ok(json!({
            "opened": counts.opened.load(Ordering::Relaxed),
            "closed_by_server": counts.closed.load(Ordering::Relaxed),
            "not_opened": counts.failed.load(Ordering::Relaxed),
        }))
    }
}

/// Holds one connection until the server closes it.
async fn hold(
    kind: Kind,
    address: SocketAddr,
    request: &[u8],
    trying: &Semaphore,
    counts: &Counts,
) -> io::Result<()> {
    let mut stream = {
        let _turn = trying.acquire().await.map_err(io::Error::other)?;
        let socket = TcpSocket::new_v4()?;
        if matches!(kind, Kind::Reader) {
            socket.set_recv_buffer_size(4_096)?;
        }
        timeout(PATIENCE, socket.connect(address)).await??
    };
    counts.opened.fetch_add(1, Ordering::Relaxed);
    // That the server has closed is the usual end.
    let _ended = match kind {
        Kind::Idle => idle(&mut stream, request).await,
        Kind::Head => drip(&mut stream, request, Duration::from_secs(2)).await,
        Kind::Body => {
            let head = request.windows(4).position(|four| four == b"\r\n\r\n");
            let (head, body) = request.split_at(head.map_or(0, |at| at + 4));
            match stream.write_all(head).await {
                Ok(()) => drip(&mut stream, body, Duration::from_secs(1)).await,
                Err(error) => Err(error),
            }
        }
        Kind::Reader => {
            for _ in 0..64 {
                stream.write_all(request).await?;
            }
            // Writing into a connection that is cut fails.
            loop {
                sleep(Duration::from_secs(1)).await;
                if let Err(error) = stream.write_all(request).await {
                    break Err(error);
                }
            }
        }
    };
    Ok(())
}

async fn idle(stream: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    let mut octets = [0; 2_048];
    while stream.read(&mut octets).await? > 0 {}
    Ok(())
}

async fn drip(stream: &mut TcpStream, octets: &[u8], pause: Duration) -> io::Result<()> {
    for octet in octets {
        stream.write_all(&[*octet]).await?;
        sleep(pause).await;
    }
    Ok(())
}

/// Before a connection is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// For a connection to be accepted.
const PATIENCE: Duration = Duration::from_secs(10);
