//! The nodes' index by CertID: `GET /v1/certid/{algorithm}/{name hash}/{key hash}/{serial}`, the last four of
//! which are how [`CertId`](crate::CertId) is displayed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ledger::{BlockTime, CertificateHash, Height};
use ledger_client::{ConfigError, HttpSource, Source as _};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

/// What a node says about a CertID.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct IndexEntry {
    /// The recorded certificates that have it.
    pub(super) hashes: Vec<CertificateHash>,
    /// Whether the issuer that it names is recorded.
    pub(super) issuer_served: bool,
    /// The newest block that the answer takes into account.
    pub(super) height: Height,
    /// That block's time.
    pub(super) block_time: BlockTime,
}

/// Asks the nodes, the one that answered last first.
#[derive(Debug)]
pub(super) struct Index {
    nodes: Vec<String>,
    preferred: AtomicUsize,
    deadline: Duration,
    hedge_after: Duration,
    http: Client<HttpConnector, Empty<Bytes>>,
}

impl Index {
    pub(super) fn new(
        nodes: Vec<String>,
        deadline: Duration,
        hedge_after: Duration,
    ) -> Result<Self, ConfigError> {
        if nodes.is_empty() {
            return Err(ConfigError::NoSource);
        }
        // The ledger client's own judgement of a URL, and its base.
        let nodes = nodes
            .iter()
            .map(|url| Ok(HttpSource::new(url)?.name().to_owned()))
            .collect::<Result<_, ConfigError>>()?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(deadline));
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_ANSWER)
            .build(connector);
        Ok(Self {
            nodes,
            preferred: AtomicUsize::new(0),
            deadline,
            hedge_after,
            http,
        })
    }

    /// The entry at `path`, or what failed.
    pub(super) async fn ask(&self, path: &str) -> Result<IndexEntry, String> {
        let race = self.race(path);
        match timeout(self.deadline, race).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!(
                "no node answered for a CertID within {:?}",
                self.deadline
            )),
        }
    }

    /// The certificate with this hash, from whichever node gives it.
    pub(super) async fn certificate(&self, hash: &CertificateHash) -> Result<Bytes, String> {
        let mut last = String::new();
        for node in &self.nodes {
            let path = format!("{node}/v1/certificate/{hash}");
            match timeout(self.deadline, self.get(&path)).await {
                Ok(Ok(octets)) if CertificateHash::of(&octets) == *hash => return Ok(octets),
                Ok(Ok(_)) => last = format!("{node}: it gave another certificate"),
                Ok(Err(error)) => last = format!("{node}: {error}"),
                Err(_) => last = format!("{node}: no answer within {:?}", self.deadline),
            }
        }
        Err(last)
    }

    async fn race(&self, path: &str) -> Result<IndexEntry, String> {
        let count = self.nodes.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut asking = FuturesUnordered::new();
        let mut last = String::new();
        for at in (0..count).map(|i| (first + i) % count) {
            asking.push(self.ask_node(at, path));
            // The next node is asked when one has failed, or when all that were asked take their time.
            tokio::select! {
                biased;
                Some(answered) = asking.next() => match self.judge(answered) {
                    Ok(entry) => return Ok(entry),
                    Err(error) => last = error,
                },
                () = sleep(self.hedge_after) => {}
            }
        }
        while let Some(answered) = asking.next().await {
            match self.judge(answered) {
                Ok(entry) => return Ok(entry),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn judge(&self, answered: (usize, Result<IndexEntry, String>)) -> Result<IndexEntry, String> {
        let (at, answer) = answered;
        let node = self.nodes.get(at).map_or("", String::as_str);
        match answer {
            Ok(entry) => {
                self.preferred.store(at, Ordering::Relaxed);
                Ok(entry)
            }
            Err(error) => {
                tracing::debug!(node, error, "a node gave no answer for a CertID");
                Err(format!("{node}: {error}"))
            }
        }
    }

    async fn ask_node(&self, at: usize, path: &str) -> (usize, Result<IndexEntry, String>) {
        let base = self.nodes.get(at).map_or("", String::as_str);
        (at, self.fetch(base, path).await)
    }

    async fn fetch(&self, base: &str, path: &str) -> Result<IndexEntry, String> {
        let body = self.get(&format!("{base}/v1/certid/{path}")).await?;
        serde_json::from_slice(&body).map_err(|error| format!("its answer is malformed: {error}"))
    }

    async fn get(&self, url: &str) -> Result<Bytes, String> {
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("no URL can be made: {error}"))?;
        let request = Request::get(uri)
            .header(ACCEPT, HeaderValue::from_static("*/*"))
            .body(Empty::new())
            .map_err(|error| format!("no request can be made: {error}"))?;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|error| text(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| format!("the answer broke off: {error}"))?
            .to_bytes();
        if status == StatusCode::OK {
            Ok(body)
        } else {
            Err(format!("it refused with HTTP status {}", status.as_u16()))
        }
    }
}

/// An error with its causes, which hyper keeps out of its own text.
fn text(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The longest answer that is read, in octets: enough for several hundred hashes.
const MAX_ANSWER: usize = 64 * 1024;

/// The most idle connections kept to one node.
const MAX_IDLE: usize = 64;

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
