//! The nodes' index by CertID: `GET /v1/certid/{algorithm}/{name hash}/{key hash}/{serial}`, the last four of
//! which are how [`CertId`](crate::CertId) is displayed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ledger::{BlockTime, CertificateHash, Height};
use ledger_client::ConfigError;
use ledger_client::http::{HttpLimits, NodeError, Nodes};
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
    nodes: Nodes,
    deadline: Duration,
    hedge_after: Duration,
}

impl Index {
    pub(super) fn new(
        nodes: &[String],
        deadline: Duration,
        hedge_after: Duration,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            nodes: Nodes::new(nodes, HttpLimits::within(deadline))?,
            deadline,
            hedge_after,
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
    pub(super) async fn certificate(&self, hash: &CertificateHash) -> Result<Bytes, NodeError> {
        self.nodes.certificate(hash).await
    }

    async fn race(&self, path: &str) -> Result<IndexEntry, String> {
        let first = self.nodes.preferred();
        let mut asking = FuturesUnordered::new();
        let mut last = String::new();
        for node in first..first + self.nodes.count() {
            asking.push(self.ask_node(node, path));
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

    fn judge(
        &self,
        (node, answer): (usize, Result<IndexEntry, NodeError>),
    ) -> Result<IndexEntry, String> {
        match answer {
            Ok(entry) => {
                self.nodes.prefer(node);
                Ok(entry)
            }
            Err(error) => {
                tracing::debug!(%error, "a node gave no answer for a CertID");
                Err(error.to_string())
            }
        }
    }

    async fn ask_node(&self, node: usize, path: &str) -> (usize, Result<IndexEntry, NodeError>) {
        let path = format!("/v1/certid/{path}");
        (node, self.nodes.get_json(node, &path, MAX_ANSWER).await)
    }
}

/// The longest answer that is read, in octets: enough for several hundred hashes.
const MAX_ANSWER: usize = 64 * 1024;
