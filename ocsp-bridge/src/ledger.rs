//! The ledger as a [`Source`]: CertID to H(CERT) by a node's index, H(CERT) to its status by the ledger client.

mod index;
mod resolved;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ledger::{CertificateHash, Height, Status};
use ledger_client::{Change, Changes, Client, ConfigError};
use ocsp::{CertId, UnixTime};
use tokio::sync::Semaphore;

use self::index::Index;
use self::resolved::{Resolution, Resolved, Slot};
use crate::metrics::Metrics;
use crate::source::{BoxFuture, Finding, LookUp, Source, Unavailable};

/// How CertIDs are looked up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LedgerConfig {
    /// Inquiry nodes, in order of preference.
    pub nodes: Vec<String>,
    /// How long one look-up may take over all nodes.
    pub deadline: Duration,
    /// How long to wait for one node before the next is asked as well.
    pub hedge_after: Duration,
    /// The most look-ups under way at one time; more are told `tryLater` at once.
    pub look_ups: usize,
    /// The most CertIDs whose certificate is remembered; as many again that have none.
    pub capacity: usize,
    /// How long it is remembered which certificate a CertID names, unless another one with that CertID is recorded.
    pub ttl: Duration,
    /// How long it is remembered that a CertID names none. The next certificate that is recorded ends it.
    pub negative_ttl: Duration,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            deadline: Duration::from_secs(1),
            hedge_after: Duration::from_millis(100),
            look_ups: 1_024,
            capacity: 100_000,
            ttl: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(5),
        }
    }
}

/// Asks the ledger.
#[derive(Debug)]
pub struct LedgerSource {
    client: Client,
    index: Index,
    resolved: Resolved,
    room: Semaphore,
    metrics: Arc<Metrics>,
    /// Whether the last look-up had an answer: the log tells when that changes, not each time.
    answers: AtomicBool,
}

impl LedgerSource {
    /// A source over a running client.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is no node, or when a node's URL cannot be used.
    pub fn new(
        config: LedgerConfig,
        client: Client,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            client,
            resolved: Resolved::new(config.capacity, config.ttl, config.negative_ttl),
            room: Semaphore::new(config.look_ups.clamp(1, Semaphore::MAX_PERMITS)),
            index: Index::new(&config.nodes, config.deadline, config.hedge_after)?,
            metrics,
            answers: AtomicBool::new(true),
        })
    }

    /// Whether the ledger is in reach: its stream of events is up.
    pub fn is_reachable(&self) -> bool {
        self.client.metrics().stream_up
    }

    /// Follows the ledger's changes until the client is shut down, and tells of each after having taken note of it; also
    /// of a certificate whose CertID another one shares from now on.
    pub async fn follow(&self, mut changes: Changes, mut tell: impl FnMut(Change) + Send) {
        let mut recorded = Recorded::default();
        let mut fetching = FuturesUnordered::new();
        loop {
            while fetching.len() < MAX_FETCHES
                && let Some((hash, height)) = recorded.waiting.pop_front()
            {
                fetching.push(async move { (hash, height, self.index.certificate(&hash).await) });
            }
            if fetching.is_empty() && std::mem::take(&mut recorded.missed) {
                self.resolved.clear();
                tell(Change::Resynchronise);
            }
            tokio::select! {
                change = changes.recv() => {
                    let Some(change) = change else { return };
                    match change {
                        Change::Resynchronise => self.resolved.clear(),
                        Change::Status {
                            status: Status::Valid,
                            height,
                            hash,
                        } => {
                            self.resolved.recorded(height);
                            recorded.push(hash, height);
                        }
                        Change::Status { .. } => {}
                    }
                    tell(change);
                }
                Some((hash, height, certificate)) = fetching.next() => {
                    let slots = certificate.as_ref().map(|der| Slot::all_of(der));
                    let Ok(Some(slots)) = slots else {
                        tracing::debug!(%hash, error = certificate.err().map(tracing::field::display), "a certificate that was recorded cannot be read");
                        recorded.missed = true;
                        continue;
                    };
                    for other in self.resolved.shared(&hash, &slots, height) {
                        tracing::debug!(%hash, %other, "two certificates may share a CertID");
                        tell(Change::Status { hash: other, status: Status::Valid, height });
                    }
                }
            }
        }
    }

    async fn resolve(&self, id: &CertId<'_>) -> Result<Resolution, Unavailable> {
        let key = id.to_string();
        if let Some(resolution) = self.resolved.get(Instant::now(), &key) {
            return Ok(resolution);
        }
        let Ok(_permit) = self.room.try_acquire() else {
            self.metrics.look_ups_shed.inc();
            return Err(Unavailable {
                detail:
                    "too many look-ups are under way: the ledger's nodes are too slow for this load"
                        .to_owned(),
            });
        };
        let began = Instant::now();
        let entry = self
            .index
            .ask(&key)
            .await
            .map_err(|detail| Unavailable { detail })?;
        let now = Instant::now();
        self.metrics
            .look_up_seconds
            .observe(now.saturating_duration_since(began).as_secs_f64());
        let resolution = match *entry.hashes.as_slice() {
            [] if entry.issuer_served => Resolution::NotRecorded(entry.block_time),
            [] => Resolution::ForeignIssuer,
            [hash] => Resolution::Certificate(hash),
            ref several => Resolution::Ambiguous(several.len(), entry.block_time),
        };
        if self.resolved.store(now, key, entry.height, resolution) {
            Ok(resolution)
        } else {
            Err(Unavailable {
                detail: "the node that answered lags behind: it has not seen a certificate that may share this CertID"
                    .to_owned(),
            })
        }
    }

    async fn find(&self, id: &CertId<'_>) -> Result<Finding, Unavailable> {
        let hash = match self.resolve(id).await? {
            Resolution::Ambiguous(count, time) => {
                return Ok(Finding::new(LookUp::Ambiguous { count }).as_of(time));
            }
            Resolution::Certificate(hash) => hash,
            Resolution::ForeignIssuer => return Ok(Finding::new(LookUp::ForeignIssuer)),
            Resolution::NotRecorded(time) => {
                return Ok(Finding::new(LookUp::NotRecorded).as_of(time));
            }
        };
        let answer = self
            .client
            .status(&hash)
            .await
            .map_err(|error| Unavailable {
                detail: error.to_string(),
            })?;
        let look_up = match answer.status {
            // The index is ahead of the node that told the status: no good answer yet, and not for long.
            Status::NotRecorded => LookUp::NotRecorded,
            status => LookUp::Found {
                hash,
                status,
                not_after: answer.not_after.map(UnixTime),
            },
        };
        Ok(Finding {
            block_time: answer.block_time,
            ..Finding::new(look_up)
        })
    }
}

/// Certificates that were recorded, or made valid again, and are to be fetched for the CertIDs that they have: another
/// certificate may have had one of them for itself until now.
#[derive(Debug, Default)]
struct Recorded {
    waiting: VecDeque<(CertificateHash, Height)>,
    /// Some could not be fetched, or were too many: everything that is remembered ends once the rest is through.
    missed: bool,
}

impl Recorded {
    fn push(&mut self, hash: CertificateHash, height: Height) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((hash, height));
        } else {
            self.missed = true;
        }
    }
}

/// The most certificates that are fetched at one time.
const MAX_FETCHES: usize = 16;

/// The most certificates that wait to be fetched.
const MAX_WAITING: usize = 16_384;

impl Source for LedgerSource {
    fn look_up<'a>(&'a self, id: &'a CertId<'a>) -> BoxFuture<'a, Result<Finding, Unavailable>> {
        Box::pin(async move {
            let found = self.find(id).await;
            let answered_before = self.answers.swap(found.is_ok(), Ordering::Relaxed);
            match &found {
                Ok(_) if !answered_before => tracing::info!("the ledger answers look-ups again"),
                Err(error) if answered_before => {
                    tracing::warn!(%error, "a look-up has no answer: tryLater is said until one has");
                }
                _ => {}
            }
            self.metrics.looked_up(match &found {
                Ok(finding) => match &finding.look_up {
                    LookUp::Ambiguous { .. } => "ambiguous",
                    LookUp::ForeignIssuer => "foreign-issuer",
                    LookUp::Found { status, .. } => status.as_str(),
                    LookUp::NotRecorded => "not-recorded",
                },
                Err(_) => "unavailable",
            });
            found
        })
    }
}
