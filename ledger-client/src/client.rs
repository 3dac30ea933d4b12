//! The client: the policy of this crate, run on Tokio.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use ledger::{CertificateHash, ChainId, StatusAnswer};
use tokio::{
    runtime::Handle,
    sync::{broadcast, watch},
    task::JoinHandle,
};

use crate::{
    answer::{Answer, Change, Unavailable},
    cache::{Cache, Lifetimes},
    changes::Changes,
    clock::Clock,
    config::{ClientConfig, ConfigError},
    follower,
    inquiry::{Health, Race, Step},
    keying::KeySeed,
    knowledge::{InquiryId, Join, Knowledge},
    metrics::{Counters, Metrics},
    source::{Source, SourceError},
};

/// Answers what the ledger says about a certificate. Cheap to clone; all clones share one cache.
///
/// The background work ends with [`shutdown`](Self::shutdown), or when the last clone is dropped.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl Client {
    /// Starts a client on the current Tokio runtime, and with it the following of the event stream. `sources`
    /// are asked in this order while all are well.
    ///
    /// # Errors
    ///
    /// When the configuration makes no sense, when `sources` is empty, or outside a Tokio runtime.
    pub fn spawn(
        config: ClientConfig,
        sources: Vec<Arc<dyn Source>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        if sources.is_empty() {
            return Err(ConfigError::NoSource);
        }
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let seed = KeySeed::random();
        let lifetimes = Lifetimes {
            ttl: config.ttl,
            negative_ttl: config.negative_ttl,
        };
        let cache = Cache::new(config.capacity, lifetimes, seed);
        let shared = Arc::new(Shared {
            knowledge: Knowledge::new(cache, seed, config.max_inquiries, config.stale_grace),
            health: Mutex::new(Health::new(sources.len())),
            chain: config
                .expected_chain
                .map_or_else(OnceLock::new, OnceLock::from),
            changes: Mutex::new(Some(broadcast::Sender::new(config.change_buffer))),
            stop: watch::Sender::new(false),
            stopped: AtomicBool::new(false),
            config,
            sources,
            clock,
            runtime,
        });
        let follower = shared.runtime.spawn(follower::follow(Arc::clone(&shared)));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                follower: Mutex::new(Some(follower)),
            }),
        })
    }

    /// The answer from the cache, if it has one within its time to live. Takes well under a microsecond, does
    /// not wait and does not allocate: for event loops, before [`status`](Self::status).
    pub fn cached(&self, hash: &CertificateHash) -> Option<Answer> {
        let shared = &self.inner.shared;
        if shared.stopped.load(Ordering::Relaxed) {
            return None;
        }
        shared.knowledge.cache().hit(shared.clock.now(), hash)
    }

    /// The answer from the cache or from the ledger, within [`ClientConfig::deadline`].
    ///
    /// Concurrent calls for one certificate share one inquiry. Dropping the future does not end the inquiry:
    /// its answer goes to the others who wait, and into the cache. The future can be awaited on any executor.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when no trustworthy answer could be had: the relying party must then refuse.
    pub async fn status(&self, hash: &CertificateHash) -> Result<Answer, Unavailable> {
        let shared = &self.inner.shared;
        if shared.stopped.load(Ordering::Relaxed) {
            return Err(Unavailable::ShutDown);
        }
        let mut waiting = match shared.knowledge.join(shared.clock.now(), hash) {
            Join::Hit(answer) => return Ok(answer),
            Join::Full(outcome) => return outcome,
            Join::Wait(waiting) => waiting,
            Join::Run(id, waiting) => {
                let inquiry = RunningInquiry {
                    shared: Arc::clone(shared),
                    id,
                    hash: *hash,
                };
                shared.runtime.spawn(inquiry.run());
                waiting
            }
        };
        let outcome = match waiting.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        let answer = outcome.unwrap_or(Err(Unavailable::Abandoned))?;
        Ok(shared.knowledge.latest(hash, answer))
    }

    /// Subscribes to the ledger's changes from now on.
    pub fn subscribe(&self) -> Changes {
        let changes = self
            .inner
            .shared
            .changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Changes::new(match &*changes {
            Some(changes) => changes.subscribe(),
            // Shut down: a channel without a sender, which is closed.
            None => broadcast::channel(1).1,
        })
    }

    /// A snapshot of the counters.
    pub fn metrics(&self) -> Metrics {
        let shared = &self.inner.shared;
        let (under_way, position) = shared.knowledge.gauges();
        let cache = shared.knowledge.cache();
        Metrics {
            hits: cache.hits(),
            entries: cache.len() as u64,
            inquiries_under_way: under_way as u64,
            stream_height: position.map_or(0, |height| height.0),
            ..shared.counters().snapshot()
        }
    }

    /// Ends the background work and waits until the event stream is closed. Inquiries under way end with
    /// [`Unavailable::ShutDown`], as do later ones; subscriptions end.
    pub async fn shutdown(&self) {
        self.inner.stop();
        let follower = self
            .inner
            .follower
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(follower) = follower {
            // An error would mean that it panicked or that the runtime ended it: it is gone either way.
            let _ended = follower.await;
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<&str> = self
            .inner
            .shared
            .sources
            .iter()
            .map(|source| source.name())
            .collect();
        f.debug_struct("Client")
            .field("sources", &sources)
            .finish_non_exhaustive()
    }
}

/// What all clones hold together; dropped with the last of them.
struct Inner {
    shared: Arc<Shared>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl Inner {
    fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.stop.send_replace(true);
        self.shared
            .changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the clones and the background tasks share.
pub(crate) struct Shared {
    pub(crate) knowledge: Knowledge,
    pub(crate) config: ClientConfig,
    pub(crate) sources: Vec<Arc<dyn Source>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: watch::Sender<bool>,
    /// As `stop`, cheap enough for the hit path.
    stopped: AtomicBool,
    health: Mutex<Health>,
    /// The chain that sources must serve: the expected one, or the first one seen.
    chain: OnceLock<ChainId>,
    changes: Mutex<Option<broadcast::Sender<Change>>>,
    runtime: Handle,
}

impl Shared {
    pub(crate) const fn counters(&self) -> &Counters {
        self.knowledge.counters()
    }

    /// Whether an answer is for the question, and of the right chain.
    pub(crate) fn check(
        &self,
        hash: &CertificateHash,
        answer: &StatusAnswer,
    ) -> Result<(), SourceError> {
        if answer.hash != *hash {
            return Err(SourceError::WrongHash);
        }
        let expected = *self.chain.get_or_init(|| answer.chain);
        if answer.chain != expected {
            self.counters().wrong_chain.add();
            return Err(SourceError::WrongChain {
                chains: Box::new((expected, answer.chain)),
            });
        }
        Ok(())
    }

    /// Tells the subscribers; that there are none is no error.
    pub(crate) fn tell(&self, change: Change) {
        if let Some(changes) = &*self.changes.lock().unwrap_or_else(PoisonError::into_inner) {
            let _subscribers = changes.send(change);
        }
    }

    fn failed(&self, source: usize, error: &SourceError) {
        self.counters().attempt_failures.add();
        let was_well = self.health().failed(self.clock.now(), source);
        let name = self.sources.get(source).map_or("", |source| source.name());
        if was_well {
            tracing::warn!(source = name, reason = error.name(), %error, "ledger source failed");
        } else {
            tracing::debug!(source = name, reason = error.name(), %error, "ledger source failed again");
        }
    }

    fn succeeded(&self, source: usize) {
        if self.health().succeeded(source) {
            let name = self.sources.get(source).map_or("", |source| source.name());
            tracing::info!(source = name, "ledger source answers again");
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One inquiry on its own task, so that no waiter's end is its end. Dropped without an outcome, it says so.
struct RunningInquiry {
    shared: Arc<Shared>,
    id: InquiryId,
    hash: CertificateHash,
}

impl RunningInquiry {
    async fn run(self) {
        let mut stop = self.shared.stop.subscribe();
        let outcome = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(Unavailable::ShutDown),
            outcome = self.race() => outcome,
        };
        if let Err(failure) = outcome {
            let reason = failure.name();
            let text = failure.to_string();
            let now = self.shared.clock.now();
            if self
                .shared
                .knowledge
                .give_up(now, self.id, &self.hash, failure)
            {
                tracing::warn!(hash = %self.hash, reason, error = text, "no ledger answer; a remembered one is served");
            } else {
                tracing::debug!(hash = %self.hash, reason, error = text, "no ledger answer");
            }
        }
    }

    async fn race(&self) -> Result<(), Unavailable> {
        let Shared {
            config,
            clock,
            sources,
            ..
        } = &*self.shared;
        let now = clock.now();
        let order = self.shared.health().order(now);
        let mut race = Race::new(now, order, config.deadline, config.hedge_after);
        let mut asking = FuturesUnordered::new();
        // The newest answer of a source that lags behind the event stream: better than none, but only than none.
        let mut reserve: Option<StatusAnswer> = None;
        loop {
            let until = match race.step(clock.now()) {
                Step::Ask(at) => {
                    if let Some(source) = sources.get(at) {
                        self.shared.counters().attempts.add();
                        if !asking.is_empty() {
                            self.shared.counters().hedges.add();
                        }
                        asking.push(async move { (at, source.status(self.hash).await) });
                    }
                    continue;
                }
                Step::GiveUp(failure) => {
                    let after = reserve
                        .as_ref()
                        .map_or(config.deadline, |_| config.hedge_after);
                    for &silent in race.silent() {
                        self.shared.failed(silent, &SourceError::Timeout { after });
                    }
                    return match reserve.map(|answer| self.settle(&answer)) {
                        Some(Ok(())) => Ok(()),
                        Some(Err(_)) | None => Err(failure),
                    };
                }
                Step::Wait(until) => until,
            };
            let (at, answer) = tokio::select! {
                biased;
                Some(answered) = asking.next() => answered,
                () = clock.sleep_until(until) => continue,
            };
            let answer = answer.and_then(|answer| {
                self.shared.check(&self.hash, &answer)?;
                match self.shared.knowledge.lag(self.id, &answer) {
                    None => self.settle(&answer).map(|()| None),
                    Some(lag) => Ok(Some((answer, lag))),
                }
            });
            match answer {
                Ok(Some((answer, lag))) => {
                    self.shared.succeeded(at);
                    race.reserved(clock.now(), at, lag);
                    if reserve
                        .as_ref()
                        .is_none_or(|held| held.height < answer.height)
                    {
                        reserve = Some(answer);
                    }
                }
                Ok(None) => {
                    for &slow in race.slower_than(at) {
                        self.shared.failed(
                            slow,
                            &SourceError::Timeout {
                                after: config.hedge_after,
                            },
                        );
                    }
                    self.shared.succeeded(at);
                    return Ok(());
                }
                Err(error) => {
                    self.shared.failed(at, &error);
                    race.failed(clock.now(), at, error);
                }
            }
        }
    }

    fn settle(&self, answer: &StatusAnswer) -> Result<(), SourceError> {
        self.shared
            .knowledge
            .settle(self.shared.clock.now(), self.id, answer)
    }
}

impl Drop for RunningInquiry {
    fn drop(&mut self) {
        self.shared.knowledge.abandon(self.id, &self.hash);
    }
}
