//! The transactions that wait for a block.

use std::collections::{HashSet, VecDeque};

use ledger::{Refusal, Refused, SignedTransaction, TransactionId};

use crate::engine::{Limits, Reply, SubmitError};

/// A transaction that waits, and who waits for it.
pub(crate) struct Entry {
    pub(crate) id: TransactionId,
    pub(crate) transaction: SignedTransaction,
    pub(crate) octets: usize,
    pub(crate) reply: Reply,
}

/// A bounded queue, first in first out. What was taken counts until it is released, so that the
/// bounds hold for everything in memory and nothing is in the queue and in a block at once.
pub(crate) struct Mempool {
    limits: Limits,
    queue: VecDeque<Entry>,
    known: HashSet<TransactionId>,
    octets: usize,
}

impl Mempool {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            queue: VecDeque::new(),
            known: HashSet::new(),
            octets: 0,
        }
    }

    /// How many wait or were taken and not released.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether there is no room for `octets` more.
    pub(crate) fn is_full(&self, octets: usize) -> bool {
        self.known.len() >= self.limits.pending
            || self.octets.saturating_add(octets) > self.limits.pending_octets
    }

    pub(crate) fn push(&mut self, entry: Entry) -> Result<(), SubmitError> {
        if self.known.contains(&entry.id) {
            return Err(SubmitError::Refused(Refused::new(
                Refusal::Replayed,
                "this transaction is waiting for a block already; ask for its status instead",
            )));
        }
        if self.is_full(entry.octets) {
            return Err(SubmitError::Full);
        }
        self.known.insert(entry.id);
        self.octets = self.octets.saturating_add(entry.octets);
        self.queue.push_back(entry);
        Ok(())
    }

    /// Takes what fits the next block, from the front.
    pub(crate) fn take(&mut self) -> Vec<Entry> {
        let mut taken = Vec::new();
        let mut octets = 0_usize;
        while taken.len() < self.limits.block_transactions
            && let Some(entry) = self.queue.front()
        {
            octets = octets.saturating_add(entry.octets);
            if octets > self.limits.block_octets {
                break;
            }
            taken.extend(self.queue.pop_front());
        }
        taken
    }

    /// Takes everything, when there will be no more blocks.
    pub(crate) fn drain(&mut self) -> Vec<Entry> {
        self.queue.drain(..).collect()
    }

    /// Forgets what was taken.
    pub(crate) fn release(&mut self, id: &TransactionId, octets: usize) {
        if self.known.remove(id) {
            self.octets = self.octets.saturating_sub(octets);
        }
    }
}
