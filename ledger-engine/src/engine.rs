//! What drives an application, whichever way the order comes about.

use ledger::{BlockTime, Height, MAX_BLOCK_TRANSACTIONS, MAX_TRANSACTION, Receipt, Refused};
use ledger::{SignedTransaction, ValidateError};
use tokio::sync::oneshot;

/// An engine's bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most transactions that wait or are being committed. Default 4 096.
    pub pending: usize,
    /// The most octets that wait or are being committed, encoded. Default 64 MiB.
    pub pending_octets: usize,
    /// The most transactions in a block. Default, and never more than, [`MAX_BLOCK_TRANSACTIONS`].
    pub block_transactions: usize,
    /// The most octets of transactions in a block, encoded. Default, and never more than, 16 MiB;
    /// never less than one transaction may have.
    pub block_octets: usize,
}

const MAX_BLOCK_OCTETS: usize = 16 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending: 4_096,
            pending_octets: 64 << 20,
            block_transactions: MAX_BLOCK_TRANSACTIONS,
            block_octets: MAX_BLOCK_OCTETS,
        }
    }
}

impl Limits {
    /// The same limits, brought to where every transaction fits a block and every block its encoding.
    pub(crate) fn effective(self) -> Self {
        Self {
            pending: self.pending.max(1),
            pending_octets: self.pending_octets.max(MAX_TRANSACTION),
            block_transactions: self.block_transactions.clamp(1, MAX_BLOCK_TRANSACTIONS),
            block_octets: self.block_octets.clamp(MAX_TRANSACTION, MAX_BLOCK_OCTETS),
        }
    }
}

/// A transaction's place in the chain, and what became of it. It is durable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Committed {
    /// The block that holds it.
    pub height: Height,
    /// That block's time.
    pub time: BlockTime,
    /// What became of it: its parts may each be accepted or refused.
    pub receipt: Receipt,
}

/// Why a transaction was not committed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// A rule refused it before it came to a block.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// As much is pending as [`Limits`] allow. Nothing was done; it may be sent again.
    #[error("too many transactions are waiting for a block; send this one again later")]
    Full,
    /// The engine was stopped. Nothing was done.
    #[error("the node is stopping and takes no more transactions; send this one to another node")]
    Stopped,
    /// The store failed. Unless the transaction was refused before, nobody can tell whether it was
    /// committed until the node was opened again; sent again, it is applied once at most.
    #[error("the node's store failed, and it takes no transactions until it is restarted: {0}")]
    Store(String),
}

impl From<ValidateError> for SubmitError {
    fn from(error: ValidateError) -> Self {
        match error {
            ValidateError::Refused(refused) => Self::Refused(refused),
            ValidateError::State(error) => Self::Store(error.to_string()),
        }
    }
}

/// Why an engine takes no transactions.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineStopped {
    /// It was told to stop.
    #[error("the engine was stopped")]
    Asked,
    /// The application failed.
    #[error("the engine stopped, since the store failed: {0}")]
    Failed(String),
}

impl From<EngineStopped> for SubmitError {
    fn from(stopped: EngineStopped) -> Self {
        match stopped {
            EngineStopped::Asked => Self::Stopped,
            EngineStopped::Failed(detail) => Self::Store(detail),
        }
    }
}

pub(crate) type Reply = oneshot::Sender<Result<Committed, SubmitError>>;

/// A transaction on its way. Dropping it changes nothing of the transaction's fate.
#[derive(Debug)]
#[must_use = "the transaction is not committed yet"]
pub struct Pending(oneshot::Receiver<Result<Committed, SubmitError>>);

impl Pending {
    pub(crate) fn new() -> (Reply, Self) {
        let (reply, receiver) = oneshot::channel();
        (reply, Self(receiver))
    }

    /// Waits until the transaction's block is durable.
    ///
    /// # Errors
    ///
    /// When it did not come to that.
    pub async fn committed(self) -> Result<Committed, SubmitError> {
        self.0.await.unwrap_or_else(|_| Err(lost()))
    }

    /// The same for callers without an async runtime.
    ///
    /// # Errors
    ///
    /// As [`committed`](Self::committed).
    ///
    /// # Panics
    ///
    /// When called from an async task, which it would block.
    pub fn wait(self) -> Result<Committed, SubmitError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(lost()))
    }
}

fn lost() -> SubmitError {
    SubmitError::Store("the engine ended without an answer".to_owned())
}

/// Orders transactions, and answers each once it is durable.
pub trait Engine: Send + Sync {
    /// Judges a transaction and queues it.
    ///
    /// # Errors
    ///
    /// When it is refused, too much is pending, or the engine does not run.
    fn submit(&self, transaction: SignedTransaction) -> Result<Pending, SubmitError>;

    /// How many transactions wait or are being committed.
    fn pending(&self) -> usize;

    /// Whether it takes transactions.
    ///
    /// # Errors
    ///
    /// Why it does not.
    fn check(&self) -> Result<(), EngineStopped>;

    /// Takes no more transactions, commits those that are pending, and returns when that is done.
    fn stop(&self);
}
