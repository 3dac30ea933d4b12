//! One node: store, engine and replica together.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ledger::{
    Block, CertId, CertIdAnswer, CertIdIndex, CertificateHash, Chain, ChainId, Genesis, Head,
    Height, Inquiry, IssuerId, Member, RevocationCursor, RevocationPage, SignedTransaction,
    State as _, StatusAnswer,
};
use ledger_engine::{Engine, EngineStopped, Limits, Pending, Single, SubmitError};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::application::{Commits, LedgerApplication};
use crate::clock::Clock;
use crate::error::{NodeError, ReadError};
use crate::http;
use crate::issuer::{IssuerCursor, IssuerPage, MAX_ISSUERS};
use crate::metrics::Metrics;
use crate::receipt::Receipt;
use crate::replica::Replica;
use crate::store::{Snapshot, Store};

/// For how many blocks events are kept unless configured otherwise.
pub const DEFAULT_HISTORY: u64 = 100_000;

/// The most entries on one [`RevocationPage`].
pub const MAX_REVOCATIONS: usize = 4_096;

/// What a [`Node`] is opened with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeConfig {
    /// The folder that holds the store. One process at a time.
    pub folder: PathBuf,
    /// How much may wait, and how much a block may hold.
    pub limits: Limits,
    /// For how many blocks back status events are kept. Default [`DEFAULT_HISTORY`]. Relying
    /// parties that were away for longer must empty their caches. Blocks and records are all kept.
    pub history: u64,
    /// The bounds of the HTTP API.
    pub http: http::HttpLimits,
}

impl NodeConfig {
    /// The defaults, with the store in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            limits: Limits::default(),
            history: DEFAULT_HISTORY,
            http: http::HttpLimits::default(),
        }
    }
}

/// A ledger node. Clones are the same node; it stops when the last one is dropped.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    chain: ChainId,
    store: Arc<Store>,
    engine: Single,
    replica: Arc<Replica>,
    commits: Arc<Commits>,
    metrics: Arc<Metrics>,
    http: http::HttpLimits,
}

impl Node {
    /// Makes the folder and begins a chain in it. Interrupted, it can be done again.
    ///
    /// # Errors
    ///
    /// When the genesis is not sound, the folder holds a ledger already, or cannot be written.
    pub fn create(config: &NodeConfig, genesis: &Genesis) -> Result<ChainId, NodeError> {
        Store::create(&config.folder, genesis)?;
        Ok(genesis.chain_id())
    }

    /// Opens the ledger in the configured folder, and starts the engine.
    ///
    /// # Errors
    ///
    /// When the folder holds no ledger, is in use or damaged, the store cannot be opened, or no
    /// thread can be started.
    pub fn open(config: NodeConfig, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let store = Arc::new(Store::open(&config.folder, config.history)?);
        let store_error = |error| NodeError::Store {
            folder: config.folder.clone(),
            error,
        };
        let snapshot = store.snapshot().map_err(store_error)?;
        let chain = snapshot.established_chain().map_err(store_error)?.id;
        let height = snapshot.newest().map_err(store_error)?.height;
        let commits = Arc::new(Commits::new(height));
        let metrics = Arc::new(Metrics::new());
        let application = LedgerApplication {
            store: Arc::clone(&store),
            chain,
            clock: Arc::clone(&clock),
            commits: Arc::clone(&commits),
            metrics: Arc::clone(&metrics),
            is_behind: AtomicBool::new(false),
        };
        let engine =
            Single::start(Arc::new(application), config.limits).map_err(NodeError::Thread)?;
        let replica = Arc::new(Replica {
            store: Arc::clone(&store),
            chain,
            clock,
            commits: Arc::clone(&commits),
            metrics: Arc::clone(&metrics),
        });
        Ok(Self {
            shared: Arc::new(Shared {
                chain,
                store,
                engine,
                replica,
                commits,
                metrics,
                http: config.http,
            }),
        })
    }

    /// The chain's identifier.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        self.shared.chain
    }

    /// Answers inquiries from this node's store, in this process.
    #[must_use]
    pub fn inquiry(&self) -> Arc<dyn Inquiry> {
        Arc::clone(&self.shared.replica) as Arc<dyn Inquiry>
    }

    /// Finds certificates by OCSP CertID in this node's store, in this process.
    #[must_use]
    pub fn cert_id_index(&self) -> Arc<dyn CertIdIndex> {
        Arc::clone(&self.shared.replica) as Arc<dyn CertIdIndex>
    }

    /// The status of a certificate.
    ///
    /// # Errors
    ///
    /// When the store cannot be read; so all below.
    pub fn status(&self, hash: &CertificateHash) -> Result<StatusAnswer, ReadError> {
        self.statuses(&[*hash])?
            .pop()
            .ok_or_else(|| ledger::StateError::new("the store gave no answer").into())
    }

    /// The status of certificates, all as of the same block, in the order asked for.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn statuses(&self, hashes: &[CertificateHash]) -> Result<Vec<StatusAnswer>, ReadError> {
        self.shared.replica.statuses(hashes)
    }

    /// A recorded certificate, DER.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn certificate(&self, hash: &CertificateHash) -> Result<Option<Vec<u8>>, ReadError> {
        let record = self.snapshot()?.record(hash)?;
        Ok(record.map(|record| record.certificate))
    }

    /// The certificates with an OCSP CertID.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn certificates_by_cert_id(&self, id: &CertId) -> Result<CertIdAnswer, ReadError> {
        self.shared.replica.find(id)
    }

    /// The recorded authorities, at most `limit` ([`MAX_ISSUERS`](crate::MAX_ISSUERS)) of them, from
    /// the first or from where an earlier page ended.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn issuers(
        &self,
        after: Option<&IssuerCursor>,
        limit: usize,
    ) -> Result<IssuerPage, ReadError> {
        let limit = limit.clamp(1, MAX_ISSUERS);
        self.shared.replica.issuers(after, limit)
    }

    /// What CRLs are made of: an issuer's certificates that were revoked, suspended or resumed, at most
    /// `limit` ([`MAX_REVOCATIONS`]) of them, from a place on.
    ///
    /// The issuer must be named with SHA-256: no other list is kept, and with another there is none.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn revocations(
        &self,
        issuer: &IssuerId,
        after: &RevocationCursor,
        limit: usize,
    ) -> Result<RevocationPage, ReadError> {
        let limit = limit.clamp(1, MAX_REVOCATIONS);
        self.shared.replica.revocations(issuer, after, limit)
    }

    /// The newest block.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn head(&self) -> Result<Head, ReadError> {
        Ok(self.snapshot()?.newest()?)
    }

    /// The chain's name and parameters.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn chain_description(&self) -> Result<Chain, ReadError> {
        Ok(self.snapshot()?.established_chain()?)
    }

    /// A block; none beyond the newest, and none at height 0.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn block(&self, height: Height) -> Result<Option<Block>, ReadError> {
        Ok(self.snapshot()?.block(height)?)
    }

    /// The members, by name.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn members(&self) -> Result<Vec<Member>, ReadError> {
        Ok(self.snapshot()?.members()?)
    }

    /// Submits a transaction, and waits until the block that holds it is durable.
    ///
    /// The transaction stays submitted when this future is dropped.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Refused`] when it may not wait for a block at all; the others when it was
    /// not, or may not have been, committed. What a block refused is in the receipt.
    pub async fn submit(&self, transaction: SignedTransaction) -> Result<Receipt, SubmitError> {
        Ok(self.queue(transaction)?.committed().await?.into())
    }

    /// As [`submit`](Self::submit), for callers without an async runtime.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Panics
    ///
    /// When called from an async task, which it would block.
    pub fn submit_blocking(&self, transaction: SignedTransaction) -> Result<Receipt, SubmitError> {
        Ok(self.queue(transaction)?.wait()?.into())
    }

    /// Serves the HTTP API on a listener until `shutdown` resolves; requests that are under way are
    /// then finished, and event streams ended. The node itself goes on.
    ///
    /// # Errors
    ///
    /// When the listener has no local address.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        http::serve(self.clone(), listener, shutdown).await
    }

    /// Whether it takes transactions.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn check(&self) -> Result<(), EngineStopped> {
        self.shared.engine.check()
    }

    /// Takes no more transactions, and returns once those that wait are committed. Inquiries go on.
    pub fn stop(&self) {
        self.shared.engine.stop();
    }

    /// Follows the whole stored chain, from the genesis to the newest block.
    ///
    /// # Errors
    ///
    /// The first block that is missing or does not follow the one before.
    pub fn verify(&self) -> Result<Head, NodeError> {
        self.shared.store.verify()
    }

    pub(crate) fn commits(&self) -> watch::Receiver<Height> {
        self.shared.commits.subscribe()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn metrics_text(&self) -> String {
        let head = self.head().ok();
        self.shared.metrics.text(head, self.shared.engine.pending())
    }

    pub(crate) fn replica(&self) -> &dyn Inquiry {
        self.shared.replica.as_ref()
    }

    pub(crate) fn http_limits(&self) -> http::HttpLimits {
        self.shared.http
    }

    fn snapshot(&self) -> Result<Snapshot, ReadError> {
        Ok(self.shared.store.snapshot()?)
    }

    fn queue(&self, transaction: SignedTransaction) -> Result<Pending, SubmitError> {
        self.shared
            .engine
            .submit(transaction)
            .inspect_err(|error| match error {
                SubmitError::Refused(refused) => {
                    self.shared.metrics.refused(refused.refusal.as_str());
                }
                SubmitError::Full => self.shared.metrics.refused("backpressure"),
                _ => {}
            })
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("chain", &self.shared.chain)
            .finish_non_exhaustive()
    }
}
