//! The ledger nodes' lists of revocations: `GET /v1/issuers/{issuer}/revoked?after={place}`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ledger::{IssuerId, RevocationCursor, RevocationPage};
use ledger_client::{ConfigError, HttpSource, Source as _};
use tokio::time::timeout;

/// The nodes, one of which is asked at a time: the one that answered last, until it fails.
#[derive(Debug)]
pub(crate) struct Nodes {
    urls: Vec<String>,
    preferred: AtomicUsize,
    http: Client<HttpConnector, Empty<Bytes>>,
}

impl Nodes {
    /// Nodes at these URLs.
    pub(crate) fn new(urls: &[String]) -> Result<Self, ConfigError> {
        if urls.is_empty() {
            return Err(ConfigError::NoSource);
        }
        // The ledger client's own judgement of a URL, and its base.
        let urls = urls
            .iter()
            .map(|url| Ok(HttpSource::new(url)?.name().to_owned()))
            .collect::<Result<_, ConfigError>>()?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self {
            urls,
            preferred: AtomicUsize::new(0),
            http,
        })
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.urls.len()
    }

    /// The next page from the preferred node, or which node it is and what failed.
    pub(crate) async fn page(
        &self,
        issuer: &IssuerId,
        after: RevocationCursor,
    ) -> Result<RevocationPage, String> {
        let url = self.preferred();
        let answer = timeout(WHOLE, self.fetch(url, issuer, after)).await;
        answer
            .unwrap_or_else(|_| Err(format!("no answer within {WHOLE:?}")))
            .map_err(|error| format!("{url}: {error}"))
    }

    /// The node that is asked.
    pub(crate) fn preferred(&self) -> &str {
        let at = self.preferred.load(Ordering::Relaxed) % self.urls.len().max(1);
        self.urls.get(at).map_or("", String::as_str)
    }

    /// Turns to the next node.
    pub(crate) fn turn(&self) {
        self.preferred.fetch_add(1, Ordering::Relaxed);
    }

    async fn fetch(
        &self,
        url: &str,
        issuer: &IssuerId,
        after: RevocationCursor,
    ) -> Result<RevocationPage, String> {
        let uri: Uri = format!("{url}/v1/issuers/{issuer}/revoked?after={after}")
            .parse()
            .map_err(|error| format!("no URL can be made: {error}"))?;
        let request = Request::get(uri)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .body(Empty::new())
            .map_err(|error| format!("no request can be made: {error}"))?;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|error| with_causes(&error))?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Err(
                "it is older than this bridge: it keeps no lists of revocations".to_owned(),
            );
        }
        if status != StatusCode::OK {
            return Err(format!("it refused with HTTP status {}", status.as_u16()));
        }
        let body = Limited::new(response.into_body(), MAX_PAGE)
            .collect()
            .await
            .map_err(|error| format!("the answer broke off: {error}"))?
            .to_bytes();
        serde_json::from_slice(&body).map_err(|error| format!("its answer is malformed: {error}"))
    }
}

/// An error with its causes, which hyper keeps out of its own text.
fn with_causes(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The longest page that is read, in octets: a node gives at most 4096 entries of some 250.
const MAX_PAGE: usize = 2 * 1_024 * 1_024;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// How long a page may take. Nobody waits for it but the follower.
const WHOLE: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: longer than the follower pauses.
const IDLE: Duration = Duration::from_secs(30);
