//! The full CRLs that were issued and are still good.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use ocsp::UnixTime;

use super::number::CrlNumber;
use super::published::Crl;

/// The most octets of older CRLs, told by their lengths, that clients may still be fetching. Of more, the oldest are
/// withdrawn. They share most of their pieces, so that it is less memory than that as a rule.
const MOST_HELD: u64 = 512 << 20;

/// The most older ones that are remembered by their numbers.
const MOST_REMEMBERED: usize = 4_096;

/// The newest CRL, and those before it.
#[derive(Debug, Default)]
pub(super) struct Issued {
    newest: Option<Arc<Crl>>,
    /// The oldest first. They last as long as somebody fetches them.
    older: VecDeque<Older>,
}

#[derive(Debug)]
struct Older {
    number: CrlNumber,
    next_update: UnixTime,
    crl: Weak<Crl>,
}

impl Older {
    fn withdraw(&self) {
        if let Some(crl) = self.crl.upgrade() {
            crl.withdraw();
        }
    }
}

impl Issued {
    /// The newest one, run out or not.
    pub(super) fn newest(&self) -> Option<Arc<Crl>> {
        self.newest.clone()
    }

    /// The number of the oldest one that is still good.
    pub(super) fn oldest(&self, now: UnixTime) -> Option<CrlNumber> {
        let mut older = self.older.iter();
        older
            .find(|older| now < older.next_update)
            .map(|older| older.number)
            .or_else(|| self.newest.as_ref().map(|crl| crl.number()))
    }

    /// Takes a newer one in. One that is not, since its key took longer than that of the next one, changes nothing.
    pub(super) fn put(&mut self, crl: Arc<Crl>) -> bool {
        let newest = self.newest.as_ref();
        if newest.is_some_and(|newest| newest.number() >= crl.number()) {
            return false;
        }
        if let Some(before) = self.newest.replace(crl) {
            self.older.push_back(Older {
                number: before.number(),
                next_update: before.next_update(),
                crl: Arc::downgrade(&before),
            });
        }
        let mut held = 0;
        for older in self.older.iter().rev() {
            if let Some(crl) = older.crl.upgrade() {
                held += crl.length();
                if held > MOST_HELD {
                    crl.withdraw();
                }
            }
        }
        while self.older.len() > MOST_REMEMBERED {
            self.older.pop_front();
        }
        true
    }

    /// Lets go of what has run out; of the newest one only its number is left then.
    pub(super) fn withdraw_stale(&mut self, now: UnixTime) {
        while let Some(first) = self.older.front() {
            if now < first.next_update {
                break;
            }
            first.withdraw();
            self.older.pop_front();
        }
        if let Some(newest) = &self.newest
            && newest.next_update() <= now
        {
            newest.withdraw();
        }
    }
}
