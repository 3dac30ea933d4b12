//! Recorded certificates and authorities, from the ledger's nodes: `GET /v1/certificate/{hash}`, `GET /v1/issuers`.
//!
//! What a node says here is a hint: a certificate is checked against its hash, and what is trusted or closed rests
//! on the status that the ledger client has for that hash.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ledger::CertificateHash;
use ledger_client::{ConfigError, HttpSource, Source as _};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

/// Asks the nodes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorded {
    nodes: Vec<String>,
    http: Client<HttpConnector, Empty<Bytes>>,
}

impl Recorded {
    /// From these nodes, in order.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when a node's URL cannot be used, or there is none.
    pub fn new(nodes: &[String]) -> Result<Self, ConfigError> {
        if nodes.is_empty() {
            return Err(ConfigError::NoSource);
        }
        let nodes = nodes
            .iter()
            .map(|url| Ok(HttpSource::new(url)?.name().to_owned()))
            .collect::<Result<_, ConfigError>>()?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(DEADLINE));
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(MAX_PAGE)
            .build(connector);
        Ok(Self { nodes, http })
    }

    /// The certificate, checked to be the one of that hash.
    ///
    /// # Errors
    ///
    /// [`RecordedError`] of the last node when none gives it.
    pub(super) async fn certificate(
        &self,
        hash: &CertificateHash,
    ) -> Result<Vec<u8>, RecordedError> {
        let path = format!("/v1/certificate/{hash}");
        let mut last = RecordedError::NoNode;
        for node in &self.nodes {
            match self.get(node, &path, MAX_CERTIFICATE).await {
                Ok(octets) if CertificateHash::of(&octets) == *hash => return Ok(octets.into()),
                Ok(_) => last = RecordedError::Another { node: node.clone() },
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The hashes of the authorities that are recorded, whatever their status: all, from one node.
    ///
    /// # Errors
    ///
    /// [`RecordedError`] of the last node when none gives them all.
    pub(super) async fn authorities(&self) -> Result<BTreeSet<CertificateHash>, RecordedError> {
        let mut last = RecordedError::NoNode;
        for node in &self.nodes {
            match self.authorities_of(node).await {
                Ok(hashes) => return Ok(hashes),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn authorities_of(&self, node: &str) -> Result<BTreeSet<CertificateHash>, RecordedError> {
        let mut hashes = BTreeSet::new();
        let mut after = String::new();
        // A node that never comes to an end is none that can be asked.
        for _ in 0..=MAX_AUTHORITIES / PAGE {
            let octets = self
                .get(node, &format!("/v1/issuers?limit={PAGE}{after}"), MAX_PAGE)
                .await?;
            let page: Page =
                serde_json::from_slice(&octets).map_err(|error| RecordedError::Malformed {
                    node: node.to_owned(),
                    error: error.to_string(),
                })?;
            hashes.extend(page.issuers.iter().map(|issuer| issuer.hash));
            if hashes.len() > MAX_AUTHORITIES {
                break;
            }
            match page.next {
                None => return Ok(hashes),
                // It goes into a URL.
                Some(next) if next.bytes().all(|octet| octet.is_ascii_hexdigit()) => {
                    after = format!("&after={next}");
                }
                Some(_) => {
                    return Err(RecordedError::Malformed {
                        node: node.to_owned(),
                        error: "next is not hexadecimal".to_owned(),
                    });
                }
            }
        }
        Err(RecordedError::TooMany {
            node: node.to_owned(),
        })
    }

    async fn get(&self, node: &str, path: &str, most: usize) -> Result<Bytes, RecordedError> {
        let failed = |error: String| RecordedError::Http {
            node: node.to_owned(),
            error,
        };
        let uri: Uri = format!("{node}{path}")
            .parse()
            .map_err(|error| failed(format!("no URL can be made: {error}")))?;
        let work = async {
            let response = self
                .http
                .get(uri)
                .await
                .map_err(|error| failed(error.to_string()))?;
            if response.status() != StatusCode::OK {
                return Err(RecordedError::Status {
                    node: node.to_owned(),
                    status: response.status().as_u16(),
                });
            }
            let body = Limited::new(response.into_body(), most).collect().await;
            Ok(body
                .map_err(|error| failed(format!("the answer broke off: {error}")))?
                .to_bytes())
        };
        timeout(DEADLINE, work)
            .await
            .unwrap_or_else(|_| Err(failed(format!("no answer within {DEADLINE:?}"))))
    }
}

/// A page of `/v1/issuers`; of each entry the hash is read only.
#[derive(Deserialize)]
struct Page {
    issuers: Vec<Entry>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    hash: CertificateHash,
}

/// Why a node did not give what was asked for.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RecordedError {
    /// Another certificate than the one of that hash.
    #[error("{node}: it gave another certificate than was asked for")]
    Another {
        /// The node.
        node: String,
    },
    /// No whole answer.
    #[error("{node}: {error}")]
    Http {
        /// The node.
        node: String,
        /// What happened.
        error: String,
    },
    /// An answer that cannot be read.
    #[error("{node}: its answer is malformed: {error}")]
    Malformed {
        /// The node.
        node: String,
        /// What is wrong.
        error: String,
    },
    /// There is no node to ask.
    #[error("no node is configured")]
    NoNode,
    /// Another status than 200.
    #[error("{node}: HTTP status {status}")]
    Status {
        /// The node.
        node: String,
        /// The status.
        status: u16,
    },
    /// More authorities than are followed.
    #[error(
        "{node}: it lists more than {MAX_AUTHORITIES} authorities, which is more than are followed"
    )]
    TooMany {
        /// The node.
        node: String,
    },
}

/// How long one node may take.
const DEADLINE: Duration = Duration::from_millis(800);

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// The longest certificate that is read, in octets.
const MAX_CERTIFICATE: usize = 64 * 1_024;

/// The longest page of authorities that is read, in octets.
const MAX_PAGE: usize = 1_024 * 1_024;

/// Authorities on a page: the most that a node gives.
const PAGE: usize = 256;

/// The most authorities that are followed.
pub const MAX_AUTHORITIES: usize = 4_096;
