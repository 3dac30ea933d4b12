//! Where slow signatures are made: not on the runtime's threads, in turn, and only so many.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::future::pending;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::signer::{SignError, Signer, SigningCost, WatchedKey};
use crate::signers::Signers;

/// The queues of a set of signers.
#[derive(Debug)]
pub(crate) struct SigningQueues {
    /// For all keys that take this machine's time.
    slow: SigningQueue,
    /// For each key that is kept elsewhere, its own.
    remote: Vec<(Arc<Signer>, RemoteQueue)>,
}

impl SigningQueues {
    /// Queues in which at most `waiting` signatures of either kind wait for each place that makes them.
    pub(crate) fn new(waiting: usize, signers: &Signers) -> Self {
        // One core is left for what takes no slow signature.
        let cores = available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1));
        let remote = signers
            .iter()
            .filter_map(|signer| match signer.cost() {
                SigningCost::Remote { at_once } => {
                    Some((Arc::clone(signer), RemoteQueue::new(at_once, waiting)))
                }
                SigningCost::Quick | SigningCost::Slow => None,
            })
            .collect();
        Self {
            slow: SigningQueue::new(cores.max(1), waiting),
            remote,
        }
    }

    /// Where this one's signatures are made; none when that is at once, by whoever needs them.
    pub(crate) fn of(&self, signer: &Arc<Signer>) -> Option<&SigningQueue> {
        match signer.cost() {
            SigningCost::Quick => None,
            SigningCost::Slow => Some(&self.slow),
            SigningCost::Remote { .. } => self.of_remote(signer).map(|queue| &queue.signatures),
        }
    }

    /// The same for a key that is kept elsewhere; none for others.
    pub(crate) fn of_remote(&self, signer: &Arc<Signer>) -> Option<&RemoteQueue> {
        self.remote
            .iter()
            .find(|(of, _)| Arc::ptr_eq(of, signer))
            .map(|(_, queue)| queue)
    }
}

/// The queue of a key that is kept elsewhere.
#[derive(Debug)]
pub(crate) struct RemoteQueue {
    signatures: SigningQueue,
    /// Held while the key is tried.
    check: Arc<Semaphore>,
}

/// How a key did when it was tried.
#[derive(Debug)]
pub(crate) enum Trial {
    Able,
    /// Others keep it busy, and tell how it does.
    Busy,
    Unable(SignError),
}

impl RemoteQueue {
    /// A queue of a key that is given `at_once` signatures, in which at most `waiting` wait for their turn.
    pub(crate) fn new(at_once: NonZeroUsize, waiting: usize) -> Self {
        Self {
            signatures: SigningQueue::new(at_once.get(), waiting),
            check: Arc::new(Semaphore::new(1)),
        }
    }

    /// Where the key's signatures are made.
    pub(crate) const fn signatures(&self) -> &SigningQueue {
        &self.signatures
    }

    /// Tries the key: one that was lost and is back signs again, and one that is lost, or does not answer any more, is
    /// found out before somebody needs it. It ends within two seconds.
    pub(crate) async fn try_key(&self, key: &Arc<WatchedKey>) -> Trial {
        let ended = key.ended();
        let trial = async {
            match self.check(key).await {
                // Those that keep it busy tell how it does.
                None | Some(Err(SignError::Busy)) => pending().await,
                Some(done) => done,
            }
        };
        match timeout(CHECK_TIME, trial).await {
            Ok(Ok(())) => Trial::Able,
            Ok(Err(error)) => Trial::Unable(error),
            // A long queue that moves is no failure.
            Err(_) if key.ended() != ended => Trial::Busy,
            Err(_) => {
                key.note_hanging(ended);
                let detail = format!("it does not answer within {} s", CHECK_TIME.as_secs());
                Trial::Unable(SignError::Unavailable(detail))
            }
        }
    }

    /// Tries the key in its turn; `None` while the last trial has not ended, so that a key which does not answer takes
    /// one thread, not one for each trial.
    async fn check(&self, key: &Arc<WatchedKey>) -> Option<Result<(), SignError>> {
        let only = Arc::clone(&self.check).try_acquire_owned().ok()?;
        let key = Arc::clone(key);
        let check = move || {
            let done = key.check();
            drop(only);
            done
        };
        Some(self.signatures.run(Wanted::ByMany, check).await)
    }
}

/// Who has use for a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wanted {
    /// All who ask the same: the response is kept.
    ByMany,
    /// One alone: it has a nonce, or is not what others get. Anybody can ask for as many of these as he likes.
    ByOne,
}

/// Signatures that are made on threads of their own, first come, first served.
///
/// However many [`ByOne`](Wanted::ByOne) are wanted, they take no place of those that are kept, and only so many at one time
/// stand before them as are made at one time.
#[derive(Debug)]
pub(crate) struct SigningQueue {
    /// For each signature that is being made or waits.
    places: [Arc<Semaphore>; 2],
    /// For those wanted by one that are being made or come next.
    foremost: Arc<Semaphore>,
    /// For each that is being made.
    turns: Arc<Semaphore>,
}

impl SigningQueue {
    pub(crate) fn new(at_once: usize, waiting: usize) -> Self {
        let places = at_once.saturating_add(waiting).min(Semaphore::MAX_PERMITS);
        let at_once = at_once.min(places);
        Self {
            places: [places, places].map(|places| Arc::new(Semaphore::new(places))),
            foremost: Arc::new(Semaphore::new(at_once)),
            turns: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// Does `job` when its turn comes. Who gives up while waiting leaves the queue, and the job is not done.
    ///
    /// # Errors
    ///
    /// [`SignError::Busy`] at once when the queue is full, and what the job says.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        wanted: Wanted,
        job: impl FnOnce() -> Result<T, SignError> + Send + 'static,
    ) -> Result<T, SignError> {
        let failed = |detail: &str| SignError::Failed(detail.to_owned());
        let runtime = Handle::try_current().map_err(|_| failed("there is no Tokio runtime"))?;
        let [for_many, for_one] = &self.places;
        let (places, foremost) = match wanted {
            Wanted::ByMany => (for_many, None),
            Wanted::ByOne => (for_one, Some(&self.foremost)),
        };
        let place = Arc::clone(places)
            .try_acquire_owned()
            .map_err(|_| SignError::Busy)?;
        let acquire = async |of: &Arc<Semaphore>| {
            let permit = Arc::clone(of).acquire_owned().await;
            permit.map_err(|_| failed("the queue is closed"))
        };
        let foremost = match foremost {
            Some(foremost) => Some(acquire(foremost).await?),
            None => None,
        };
        let turn = acquire(&self.turns).await?;
        let done = runtime.spawn_blocking(move || {
            let done = job();
            // Not before: the thread works on when nobody waits for it any more. The turn first: it is for those who are
            // in line already.
            drop(turn);
            drop((foremost, place));
            done
        });
        done.await
            .map_err(|error| failed(&format!("the signing thread ended: {error}")))?
    }
}

/// How long a key that is kept elsewhere may take to answer.
const CHECK_TIME: Duration = Duration::from_secs(2);
