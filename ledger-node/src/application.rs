//! The ledger's state machine over the store, as the engine drives it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ledger::{
    Block, BlockTime, ChainId, Context, Height, Receipt, SignedTransaction, StateError,
    ValidateError,
};
use ledger_engine::{Application, ApplicationError};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::Store;

/// How far the newest block may be ahead of the clock before the log says so, in milliseconds.
const CLOCK_BEHIND: u64 = 60_000;

type Listener = Arc<dyn Fn(Height) + Send + Sync>;

/// Tells whoever listens that a block is durable.
pub(crate) struct Commits {
    head: watch::Sender<Height>,
    listeners: Mutex<Vec<Listener>>,
}

impl Commits {
    pub(crate) fn new(head: Height) -> Self {
        Self {
            head: watch::Sender::new(head),
            listeners: Mutex::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Height> {
        self.head.subscribe()
    }

    pub(crate) fn listen(&self, listener: Box<dyn Fn(Height) + Send + Sync>) {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::from(listener));
    }

    /// The block is durable by now: whatever a listener does, it must not look like a failure of the
    /// store. The lock is not held while they run, since one may register another.
    fn tell(&self, height: Height) {
        self.head.send_replace(height);
        let listeners: Vec<Listener> = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for listener in listeners {
            if catch_unwind(AssertUnwindSafe(|| listener(height))).is_err() {
                tracing::error!(
                    %height,
                    "a listener for commits panicked; the block is committed all the same, and the listener will be called again"
                );
            }
        }
    }
}

/// The node's side of the engine.
pub(crate) struct LedgerApplication {
    pub(crate) store: Arc<Store>,
    pub(crate) chain: ChainId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) commits: Arc<Commits>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the clock was behind the chain when the last block was made.
    pub(crate) is_behind: AtomicBool,
}

impl LedgerApplication {
    /// Says when the clock falls behind the chain, and when it has caught up: once each, not with
    /// every block in between.
    fn watch_clock(&self, newest: BlockTime, now: BlockTime) {
        let is_behind = newest.0.saturating_sub(now.0) > CLOCK_BEHIND;
        match (self.is_behind.swap(is_behind, Ordering::Relaxed), is_behind) {
            (false, true) => tracing::warn!(
                clock = now.0,
                newest_block = newest.0,
                "this machine's clock is behind the newest block, whose time new blocks keep until it has caught up; set the clock"
            ),
            (true, false) => {
                tracing::info!(clock = now.0, "the clock has caught up with the chain");
            }
            _ => {}
        }
    }
}

impl Application for LedgerApplication {
    fn validate(&self, transaction: &SignedTransaction) -> Result<(), ValidateError> {
        let snapshot = self.store.snapshot()?;
        let context = Context::next(&snapshot, self.clock.now())?
            .ok_or_else(|| StateError::new("the store holds no chain"))?;
        ledger::validate(transaction, &snapshot, &context)
    }

    fn build(&self, transactions: Vec<SignedTransaction>) -> Result<Block, ApplicationError> {
        let head = self
            .store
            .snapshot()
            .and_then(|snapshot| snapshot.newest())
            .map_err(ApplicationError::new)?;
        let now = self.clock.now();
        self.watch_clock(head.time, now);
        Ok(Block::after(&head, self.chain, now, transactions))
    }

    fn commit(&self, block: &Block) -> Result<Vec<Receipt>, ApplicationError> {
        let began = Instant::now();
        let applied = self
            .store
            .commit(block)
            .inspect_err(|_| self.metrics.commit_failed())
            .map_err(ApplicationError::new)?;
        self.metrics.committed(block, &applied, began.elapsed());
        self.commits.tell(block.header.height);
        Ok(applied.receipts)
    }
}
