//! What an engine drives.

use ledger::{Block, Receipt, SignedTransaction, ValidateError};

/// The application failed, and its state can no longer be relied on until it is opened again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ApplicationError(#[source] Box<dyn core::error::Error + Send + Sync>);

impl ApplicationError {
    /// Wraps what failed.
    pub fn new(error: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// A state machine over blocks, with a store under it.
///
/// An engine calls [`build`](Self::build) and [`commit`](Self::commit) from one thread at a time;
/// [`validate`](Self::validate) runs on any number of threads beside them.
pub trait Application: Send + Sync + 'static {
    /// Judges whether a transaction may wait for a block.
    ///
    /// # Errors
    ///
    /// The rule that refuses it, or the store's failure.
    fn validate(&self, transaction: &SignedTransaction) -> Result<(), ValidateError>;

    /// Makes the block after the head, of these transactions in this order.
    ///
    /// # Errors
    ///
    /// When the head cannot be read; an engine then stops.
    fn build(&self, transactions: Vec<SignedTransaction>) -> Result<Block, ApplicationError>;

    /// Applies a block and makes it durable: when this returns, no crash can undo it. One receipt for
    /// each transaction, in the order of the block.
    ///
    /// # Errors
    ///
    /// When the block does not follow the head, or the store fails; an engine then stops.
    fn commit(&self, block: &Block) -> Result<Vec<Receipt>, ApplicationError>;
}
