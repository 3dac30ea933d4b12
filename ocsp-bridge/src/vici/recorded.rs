//! Recorded certificates, from the ledger's nodes: `GET /v1/certificate/{hash}`.
//!
//! The daemon forgets certificates; the ledger does not. What is revoked is fetched for its names.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ledger::CertificateHash;
use ledger_client::{ConfigError, HttpSource, Source as _};
use tokio::time::timeout;

use super::identity::NamedCertificate;

/// Fetches certificates. Cheap to clone.
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
    /// [`ConfigError`] when a node's URL cannot be used.
    pub fn new(nodes: &[String]) -> Result<Self, ConfigError> {
        let nodes = nodes
            .iter()
            .map(|url| Ok(HttpSource::new(url)?.name().to_owned()))
            .collect::<Result<_, ConfigError>>()?;
        let http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Ok(Self { nodes, http })
    }

    /// The certificate, checked to be the one of that hash; none when no node gives it.
    pub(super) async fn fetch(&self, hash: &CertificateHash) -> Option<NamedCertificate> {
        for node in &self.nodes {
            match timeout(DEADLINE, self.fetch_from(node, hash)).await {
                Ok(Some(named)) => return Some(named),
                Ok(None) | Err(_) => {
                    tracing::debug!(node, %hash, "a node did not give the certificate");
                }
            }
        }
        None
    }

    async fn fetch_from(&self, node: &str, hash: &CertificateHash) -> Option<NamedCertificate> {
        let uri: Uri = format!("{node}/v1/certificate/{hash}").parse().ok()?;
        let response = self.http.get(uri).await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let body = Limited::new(response.into_body(), MAX_CERTIFICATE);
        let certificate = body.collect().await.ok()?.to_bytes();
        NamedCertificate::read(&certificate).filter(|named| named.hash == *hash)
    }
}

/// How long one node may take.
const DEADLINE: Duration = Duration::from_millis(500);

/// The longest certificate that is read, in octets.
const MAX_CERTIFICATE: usize = 64 * 1_024;
