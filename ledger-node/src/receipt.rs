//! What the node answers to a transaction.

use ledger::{Height, Outcome, TransactionId};
use ledger_engine::Committed;
use serde::{Deserialize, Serialize};

/// What became of a transaction that a durable block holds.
///
/// ```json
/// {"height":7,"transaction":"<64 hexadecimal digits>","outcomes":[
///   {"hash":"<64 hexadecimal digits>","accepted":false,"refusal":"key-reuse","detail":"…"}]}
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Receipt {
    /// The block.
    pub height: Height,
    /// The transaction.
    pub transaction: TransactionId,
    /// For a `submit`, one for each certificate in order; for anything else, exactly one.
    pub outcomes: Vec<Outcome>,
}

impl Receipt {
    /// Whether nothing in the transaction was refused.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.outcomes.iter().all(Outcome::is_accepted)
    }
}

impl From<Committed> for Receipt {
    fn from(committed: Committed) -> Self {
        Self {
            height: committed.height,
            transaction: committed.receipt.transaction,
            outcomes: committed.receipt.outcomes,
        }
    }
}
