//! Recorded certificates and authorities, from the ledger's nodes: `GET /v1/certificate/{hash}`, `GET /v1/issuers`.
//!
//! What a node says here is a hint: a certificate is checked against its hash, and what is trusted or closed rests
//! on the status that the ledger client has for that hash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::CertificateHash;
use ledger_client::ConfigError;
use ledger_client::http::{HttpLimits, NodeError, Nodes};
use serde::Deserialize;
use thiserror::Error;

/// Asks the nodes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorded {
    nodes: Arc<Nodes>,
}

impl Recorded {
    /// From these nodes, in order.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when a node's URL cannot be used, or there is none.
    pub fn new(nodes: &[String]) -> Result<Self, ConfigError> {
        Ok(Self {
            nodes: Arc::new(Nodes::new(nodes, HttpLimits::within(DEADLINE))?),
        })
    }

    /// The certificate, checked to be the one of that hash.
    ///
    /// # Errors
    ///
    /// [`NodeError`] of the last node when none gives it.
    pub(super) async fn certificate(&self, hash: &CertificateHash) -> Result<Bytes, NodeError> {
        self.nodes.certificate(hash).await
    }

    /// The hashes of the authorities that are recorded, whatever their status: all, from one node.
    ///
    /// # Errors
    ///
    /// [`RecordedError`] of the last node when none gives them all.
    pub(super) async fn authorities(&self) -> Result<BTreeSet<CertificateHash>, RecordedError> {
        let mut node = 0;
        loop {
            match self.authorities_of(node).await {
                Err(_) if node + 1 < self.nodes.count() => node += 1,
                outcome => return outcome,
            }
        }
    }

    async fn authorities_of(
        &self,
        node: usize,
    ) -> Result<BTreeSet<CertificateHash>, RecordedError> {
        let mut hashes = BTreeSet::new();
        let mut after = String::new();
        // A node that never comes to an end is none that can be asked.
        for _ in 0..=MAX_AUTHORITIES / PAGE {
            let path = format!("/v1/issuers?limit={PAGE}{after}");
            let page: Page = self.nodes.get_json(node, &path, MAX_PAGE).await?;
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
                    let error = NodeError::Malformed {
                        node: self.nodes.name(node).to_owned(),
                        detail: "next is not hexadecimal".to_owned(),
                    };
                    return Err(error.into());
                }
            }
        }
        Err(RecordedError::TooMany {
            node: self.nodes.name(node).to_owned(),
        })
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

/// Why no node gave the list of authorities.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RecordedError {
    /// No answer, or none that can be used.
    #[error(transparent)]
    Node(#[from] NodeError),
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

/// The longest page of authorities that is read, in octets.
const MAX_PAGE: usize = 1_024 * 1_024;

/// Authorities on a page: the most that a node gives.
const PAGE: usize = 256;

/// The most authorities that are followed.
pub const MAX_AUTHORITIES: usize = 4_096;
