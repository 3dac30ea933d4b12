//! Several ledger nodes.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hyper::Uri;
use ledger::CertificateHash;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{HttpClient, HttpError, HttpLimits};
use crate::config::ConfigError;

/// Ledger nodes over one [`HttpClient`]: one at least. A node is named by its place among their URLs, counted from 0,
/// and on from the first again after the last.
#[derive(Debug)]
pub struct Nodes {
    /// Never empty.
    bases: Vec<String>,
    preferred: AtomicUsize,
    http: HttpClient,
}

impl Nodes {
    /// Nodes at these URLs, such as `http://inquiry.example:8080`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoSource`] when there is no URL, [`ConfigError::Url`] as [`HttpSource::new`](crate::HttpSource::new).
    pub fn new(urls: &[String], limits: HttpLimits) -> Result<Self, ConfigError> {
        let bases: Vec<_> = urls
            .iter()
            .map(|url| base_of(url))
            .collect::<Result<_, _>>()?;
        if bases.is_empty() {
            return Err(ConfigError::NoSource);
        }
        Ok(Self {
            bases,
            preferred: AtomicUsize::new(0),
            http: HttpClient::new(limits),
        })
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.bases.len()
    }

    /// A node's name: its URL without a slash at the end.
    pub fn name(&self, node: usize) -> &str {
        &self.bases[node % self.bases.len()]
    }

    /// The node that is asked first: the first, unless [`prefer`](Self::prefer) named another.
    pub fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed) % self.bases.len()
    }

    /// This node is asked first from now on.
    pub fn prefer(&self, node: usize) {
        self.preferred
            .store(node % self.bases.len(), Ordering::Relaxed);
    }

    /// What a node has at a path, such as `/v1/head`, in at most `most` octets.
    ///
    /// # Errors
    ///
    /// [`NodeError::Http`].
    pub async fn get(&self, node: usize, path: &str, most: usize) -> Result<Bytes, NodeError> {
        let node = self.name(node);
        let answer = self.http.get(&format!("{node}{path}"), "*/*", most).await;
        answer.map_err(|error| NodeError::Http {
            node: node.to_owned(),
            error,
        })
    }

    /// As [`get`](Self::get), read as JSON.
    ///
    /// # Errors
    ///
    /// [`NodeError::Http`] and [`NodeError::Malformed`].
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        node: usize,
        path: &str,
        most: usize,
    ) -> Result<T, NodeError> {
        let octets = self.get(node, path, most).await?;
        serde_json::from_slice(&octets).map_err(|error| NodeError::Malformed {
            node: self.name(node).to_owned(),
            detail: error.to_string(),
        })
    }

    /// The DER certificate with this hash: the nodes are asked one after the other, the first one first, until one gives
    /// it. It is checked against the hash, so no node need be trusted.
    ///
    /// # Errors
    ///
    /// [`NodeError`] of the last node.
    pub async fn certificate(&self, hash: &CertificateHash) -> Result<Bytes, NodeError> {
        let mut node = 0;
        loop {
            match self.certificate_of(node, hash).await {
                Err(_) if node + 1 < self.count() => node += 1,
                outcome => return outcome,
            }
        }
    }

    async fn certificate_of(
        &self,
        node: usize,
        hash: &CertificateHash,
    ) -> Result<Bytes, NodeError> {
        let path = format!("/v1/certificate/{hash}");
        let octets = self.get(node, &path, MAX_CERTIFICATE).await?;
        if CertificateHash::of(&octets) != *hash {
            return Err(NodeError::OtherCertificate {
                node: self.name(node).to_owned(),
            });
        }
        Ok(octets)
    }
}

/// Why a node did not give what was asked for.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum NodeError {
    /// No answer, or a refusal.
    #[error("{node}: {error}")]
    Http {
        /// The node.
        node: String,
        /// What happened.
        error: HttpError,
    },
    /// An answer that cannot be read.
    #[error("{node}: its answer is malformed: {detail}")]
    Malformed {
        /// The node.
        node: String,
        /// What is wrong.
        detail: String,
    },
    /// Another certificate than the one with that hash.
    #[error("{node}: it gave another certificate than was asked for")]
    OtherCertificate {
        /// The node.
        node: String,
    },
}

/// A node's URL without slashes at its end, if it can be used.
pub(crate) fn base_of(url: &str) -> Result<String, ConfigError> {
    let bad = |expected| ConfigError::Url {
        url: url.to_owned(),
        expected,
    };
    let uri: Uri = url
        .parse()
        .map_err(|_| bad("expected an absolute URL such as http://host:8080"))?;
    if uri.scheme_str() != Some("http") {
        return Err(bad("expected the scheme http"));
    }
    let Some(authority) = uri.authority() else {
        return Err(bad("expected a host"));
    };
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(bad("expected a host, without user or password"));
    }
    if uri.query().is_some() {
        return Err(bad("expected no query"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The longest certificate that is read, in octets; the ledger records none of more than 8 KiB.
const MAX_CERTIFICATE: usize = 64 * 1024;
