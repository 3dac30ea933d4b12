//! A key that is watched: one that is kept elsewhere may fail, or not answer at all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ocsp::SignatureAlgorithm;

use super::{SignError, SigningCost, SigningKey};

/// A private key, and how it does.
#[derive(Debug)]
pub(crate) struct WatchedKey {
    key: Box<dyn SigningKey>,
    /// How many signatures and trials have ended, however they did.
    ended: AtomicU64,
    /// A trial was not back in time, and nothing has ended since.
    hangs: AtomicBool,
}

impl WatchedKey {
    pub(crate) fn new(key: Box<dyn SigningKey>) -> Self {
        Self {
            key,
            ended: AtomicU64::new(0),
            hangs: AtomicBool::new(false),
        }
    }

    pub(crate) fn algorithms(&self) -> &[SignatureAlgorithm] {
        self.key.algorithms()
    }

    pub(crate) fn cost(&self) -> SigningCost {
        self.key.cost()
    }

    /// Whether it can be used as far as is known: the last attempt did not fail, and it answers.
    pub(crate) fn is_available(&self) -> bool {
        !self.hangs.load(Ordering::Acquire) && self.key.is_available()
    }

    /// How many signatures and trials have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// It has not answered for long. It is not available until it does.
    pub(crate) fn note_hanging(&self, ended: u64) {
        self.hangs.store(true, Ordering::Release);
        // One that ended meanwhile may have been quicker than the line above.
        if self.ended() != ended {
            self.hangs.store(false, Ordering::Release);
        }
    }

    fn note_ended(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
        self.hangs.store(false, Ordering::Release);
    }

    /// Tries whether it can be used now. It may block for as long as a signature takes.
    pub(crate) fn check(&self) -> Result<(), SignError> {
        let done = self.key.check();
        self.note_ended();
        done
    }

    pub(crate) fn sign(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        let signed = self.key.sign(algorithm, message);
        if matches!(self.cost(), SigningCost::Remote { .. }) {
            self.note_ended();
        }
        signed
    }
}
