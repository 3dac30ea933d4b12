//! The engine of one node alone.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use ledger::{Refusal, Refused, SignedTransaction, TransactionId};

use crate::application::{Application, ApplicationError};
use crate::engine::{Committed, Engine, EngineStopped, Limits, Pending, Reply, SubmitError};
use crate::mempool::{Entry, Mempool};

/// An engine that orders by arrival, in a thread of its own.
///
/// Whatever is pending becomes the next block as soon as the last one is durable. Dropping it is
/// the same as [`stop`](Engine::stop).
pub struct Single {
    application: Arc<dyn Application>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl core::fmt::Debug for Single {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Single")
            .field("pending", &self.pending())
            .field("state", &self.check())
            .finish_non_exhaustive()
    }
}

impl Single {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(application: Arc<dyn Application>, limits: Limits) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                mempool: Mempool::new(limits.effective()),
                stopped: None,
            }),
            wake: Condvar::new(),
        });
        let worker = Worker {
            application: Arc::clone(&application),
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new()
            .name("ledger-engine".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            application,
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Engine for Single {
    fn submit(&self, transaction: SignedTransaction) -> Result<Pending, SubmitError> {
        let octets = check_bounds(&transaction)?;
        {
            // Before the signature is verified, which costs more than all the rest.
            let state = self.shared.lock();
            state.check()?;
            if state.mempool.is_full(octets) {
                return Err(SubmitError::Full);
            }
        }
        self.application.validate(&transaction)?;
        let (reply, pending) = Pending::new();
        let entry = Entry {
            id: transaction.id(),
            transaction,
            octets,
            reply,
        };
        let mut state = self.shared.lock();
        state.check()?;
        state.mempool.push(entry)?;
        drop(state);
        self.shared.wake.notify_one();
        Ok(pending)
    }

    fn pending(&self) -> usize {
        self.shared.lock().mempool.len()
    }

    fn check(&self) -> Result<(), EngineStopped> {
        self.shared.lock().check()
    }

    fn stop(&self) {
        self.shared.stop(EngineStopped::Asked);
        // Held while joining, so that everybody who asks waits until it is done.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic was reported by the worker's end already.
            let _ = thread.join();
        }
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What comes from a caller in this process has not passed the decoder, and what is in a block must.
fn check_bounds(transaction: &SignedTransaction) -> Result<usize, SubmitError> {
    let octets = transaction.encode();
    SignedTransaction::decode(&octets)
        .map_err(|error| Refused::new(Refusal::Malformed, error.to_string()))?;
    Ok(octets.len())
}

struct State {
    mempool: Mempool,
    stopped: Option<EngineStopped>,
}

impl State {
    fn check(&self) -> Result<(), EngineStopped> {
        self.stopped.clone().map_or(Ok(()), Err)
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first reason stays, but for a failure, which outweighs being asked to stop.
    fn stop(&self, reason: EngineStopped) {
        let mut state = self.lock();
        if !matches!(
            (&state.stopped, &reason),
            (Some(EngineStopped::Failed(_)), _)
                | (Some(EngineStopped::Asked), EngineStopped::Asked)
        ) {
            state.stopped = Some(reason);
        }
        drop(state);
        self.wake.notify_all();
    }
}

/// The thread's side.
struct Worker {
    application: Arc<dyn Application>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(&self) {
        while let Some(batch) = self.next_batch() {
            if !self.order(batch) {
                return;
            }
        }
    }

    /// Waits for transactions; none once there will be no more.
    fn next_batch(&self) -> Option<Vec<Entry>> {
        let mut state = self.shared.lock();
        while state.mempool.is_drained() {
            if state.stopped.is_some() {
                return None;
            }
            state = self
                .shared
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some(state.mempool.take())
    }

    /// Commits a batch; false when there will be no more blocks.
    fn order(&self, batch: Vec<Entry>) -> bool {
        let mut waiting = Vec::with_capacity(batch.len());
        let mut transactions = Vec::with_capacity(batch.len());
        for entry in batch {
            transactions.push(entry.transaction);
            waiting.push(Waiting {
                id: entry.id,
                octets: entry.octets,
                reply: entry.reply,
            });
        }
        let result = self.commit(transactions, waiting.len());
        let mut state = self.shared.lock();
        for waiting in &waiting {
            state.mempool.release(&waiting.id, waiting.octets);
        }
        drop(state);
        match result {
            Ok(committed) => {
                for (waiting, committed) in waiting.into_iter().zip(committed) {
                    // Whoever no longer waits does not need to know.
                    let _ = waiting.reply.send(Ok(committed));
                }
                true
            }
            Err(error) => {
                let detail = error.to_string();
                tracing::error!(%error, "the store failed; no more transactions are taken: mend the cause (a full disk?), then restart the node");
                // Before anybody is told: whoever knows of the failure must find the engine stopped.
                self.shared.stop(EngineStopped::Failed(detail.clone()));
                for waiting in waiting {
                    let _ = waiting.reply.send(Err(SubmitError::Store(detail.clone())));
                }
                false
            }
        }
    }

    fn commit(
        &self,
        transactions: Vec<SignedTransaction>,
        count: usize,
    ) -> Result<Vec<Committed>, ApplicationError> {
        let block = self.application.build(transactions)?;
        let receipts = self.application.commit(&block)?;
        if receipts.len() != count {
            return Err(ApplicationError::new(format!(
                "block {} has {} receipts for {count} transactions",
                block.header.height,
                receipts.len()
            )));
        }
        Ok(receipts
            .into_iter()
            .map(|receipt| Committed {
                height: block.header.height,
                time: block.header.time,
                receipt,
            })
            .collect())
    }
}

impl Drop for Worker {
    /// However the thread ends, by a panic too, nobody is left waiting.
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the engine's thread panicked; no more transactions are taken");
            self.shared.stop(EngineStopped::Failed(
                "the engine's thread panicked; see the log".to_owned(),
            ));
        }
        let mut state = self.shared.lock();
        let error = state
            .check()
            .err()
            .map_or(SubmitError::Stopped, SubmitError::from);
        let left = state.mempool.drain();
        for entry in &left {
            state.mempool.release(&entry.id, entry.octets);
        }
        drop(state);
        for entry in left {
            let _ = entry.reply.send(Err(error.clone()));
        }
    }
}

/// Who waits for a transaction that is in a block.
struct Waiting {
    id: TransactionId,
    octets: usize,
    reply: Reply,
}

#[cfg(test)]
mod tests;
