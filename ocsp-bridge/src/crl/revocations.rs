//! What the ledger holds against the certificates of one issuer, kept up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ledger::{
    CertificateHash, ChainId, Height, RevocationCursor, RevocationEntry, RevocationPage,
    RevocationReason,
};
use ocsp::UnixTime;
use thiserror::Error;

use super::entry::Entry;
use super::list::EntryList;
use super::schedule::has_left;
use super::serial::Serial;

/// The most entries of a delta CRL. With more the full one is the better choice.
const MOST_IN_DELTA: usize = 20_000;

/// The certificates of one issuer that are revoked or on hold, from a node's pages.
#[derive(Debug)]
pub(crate) struct Revocations {
    list: EntryList,
    /// Every certificate that shares its serial number with another one here; the list has the worst of them.
    clashes: BTreeMap<(Serial, CertificateHash), Entry>,
    /// What was taken off not long ago, for delta CRLs.
    removed: BTreeMap<Serial, Removed>,
    /// The most of all these together.
    limit: usize,
    /// That of a full CRL.
    lifetime: Duration,
    /// Up to where pages were taken in.
    next: RevocationCursor,
    /// The newest block that any page knew of: the next one must know as much.
    seen: Height,
    /// The newest block that changed something, and its time.
    newest: (Height, UnixTime),
    chain: Option<ChainId>,
}

/// A certificate that is off hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Removed {
    /// The block from which on it was listed; none if that is not known.
    since: Option<Height>,
    /// The period in which it was learned.
    learned: UnixTime,
    entry: Entry,
}

/// Why a node's page cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum PageError {
    #[error("it answers as of height {answer}, but height {known} is known: it lags behind")]
    Behind { answer: Height, known: Height },
    #[error("it serves chain {0}, not the one expected")]
    Chain(ChainId),
    #[error("its list of revocations is malformed: {0}")]
    Malformed(&'static str),
    #[error("the issuer is not recorded on the ledger")]
    NotServed,
    #[error("there are more than {0} revoked certificates: raise crl.entries")]
    TooMany(usize),
    #[error("it takes back the revocation of {0}, which no block does: do not trust it")]
    UndoesFinal(CertificateHash),
}

impl Revocations {
    /// Nothing is known yet. `chain` is the only one whose pages are taken in; without it, that of the first page.
    pub(crate) fn new(limit: usize, lifetime: Duration, chain: Option<ChainId>) -> Self {
        Self {
            list: EntryList::default(),
            clashes: BTreeMap::new(),
            removed: BTreeMap::new(),
            limit,
            lifetime,
            next: RevocationCursor::START,
            seen: Height(0),
            newest: (Height(0), UnixTime::EPOCH),
            chain,
        }
    }

    /// From where on the next page is wanted.
    pub(crate) const fn next(&self) -> RevocationCursor {
        self.next
    }

    /// Up to which block pages told everything, at least.
    pub(crate) const fn height(&self) -> Height {
        self.seen
    }

    /// How many certificates are on the list.
    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    /// The last block that changed something, and its time.
    pub(crate) const fn newest(&self) -> (Height, UnixTime) {
        self.newest
    }

    /// Takes a page in, or nothing of it. Certificates that need not be on a CRL issued at `begin` are passed over.
    pub(crate) fn take(&mut self, page: &RevocationPage, begin: UnixTime) -> Result<(), PageError> {
        let entries = self.check(page)?;
        for entry in entries {
            let time = entry.time;
            self.newest = self.newest.max((entry.changed, time));
            if entry.reason == RevocationReason::RemoveFromCrl || has_left(entry.not_after, begin) {
                self.take_off(entry, begin);
            } else {
                self.put_on(entry);
            }
        }
        self.next = page.next;
        self.seen = page.height;
        self.chain = Some(page.chain);
        let held = self.list.len() + self.clashes.len() + self.removed.len();
        if held > self.limit {
            return Err(PageError::TooMany(self.limit));
        }
        Ok(())
    }

    fn check(&self, page: &RevocationPage) -> Result<Vec<Entry>, PageError> {
        if self.chain.is_some_and(|chain| chain != page.chain) {
            return Err(PageError::Chain(page.chain));
        }
        // Of an older state a later page may lack what an earlier one left out, because it has changed since.
        if page.height < self.seen {
            return Err(PageError::Behind {
                answer: page.height,
                known: self.seen,
            });
        }
        if !page.issuer_served {
            return Err(PageError::NotServed);
        }
        let mut place = self.next;
        let mut entries = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            let here = (entry.changed, Some(entry.hash));
            // Within a block the end, which has no hash, comes last.
            let is_after = entry.changed > place.height
                || (entry.changed == place.height
                    && place.hash.is_some()
                    && Some(entry.hash) > place.hash);
            if !is_after || entry.changed > page.height {
                return Err(PageError::Malformed("its entries are out of order"));
            }
            (place.height, place.hash) = here;
            entries.push(self.judge(entry)?);
        }
        let goes_on = match (page.complete, page.entries.is_empty()) {
            (false, false) => page.next == place,
            (false, true) => false,
            (true, _) => page.next.hash.is_none() && page.next.height >= place.height,
        };
        if !goes_on {
            return Err(PageError::Malformed("its next page does not follow"));
        }
        Ok(entries)
    }

    fn judge(&self, entry: &RevocationEntry) -> Result<Entry, PageError> {
        let serial = Serial::new(&entry.serial).ok_or(PageError::Malformed(
            "a serial number of no length, or too long",
        ))?;
        let known = self.clashes.get(&(serial, entry.hash)).or_else(|| {
            self.list
                .get(&serial)
                .filter(|known| known.hash == entry.hash)
        });
        if known.is_some_and(|known| known.reason.is_final()) && !entry.reason.is_final() {
            return Err(PageError::UndoesFinal(entry.hash));
        }
        Ok(Entry {
            serial,
            hash: entry.hash,
            reason: entry.reason,
            time: UnixTime(entry.time.seconds()),
            not_after: UnixTime(entry.not_after),
            changed: entry.changed,
        })
    }

    fn put_on(&mut self, entry: Entry) {
        let serial = entry.serial;
        match self.list.get(&serial).copied() {
            Some(listed) if listed.hash != entry.hash || self.is_shared(&serial) => {
                if !self.is_shared(&serial) {
                    self.clashes.insert((serial, listed.hash), listed);
                }
                let before = self.clashes.insert((serial, entry.hash), entry);
                let worst = match before {
                    None => Some(listed.worse(entry)),
                    // On hold anew, say: what it was before counts no more.
                    Some(_) => self.sharing(&serial).copied().reduce(Entry::worse),
                };
                if let Some(worst) = worst {
                    self.list.put(worst);
                }
            }
            _ => self.list.put(entry),
        }
    }

    fn take_off(&mut self, entry: Entry, begin: UnixTime) {
        let serial = entry.serial;
        if self.is_shared(&serial) {
            if let Some(gone) = self.clashes.remove(&(serial, entry.hash)) {
                self.settle(serial, gone, entry, begin);
            }
            return;
        }
        match self.list.get(&serial).copied() {
            Some(listed) if listed.hash == entry.hash => {
                self.list.remove(&serial);
                self.note_removed(Some(listed.changed), entry, begin);
            }
            Some(_) => {}
            // It was on hold before this bridge looked. Not so long ago that no full CRL can have it any more?
            None if entry.time >= self.forgotten(begin) => self.note_removed(None, entry, begin),
            None => {}
        }
    }

    /// Lists the worst of those that share a serial number, after one of them has gone by the change `by`.
    fn settle(&mut self, serial: Serial, gone: Entry, by: Entry, begin: UnixTime) {
        let left: Vec<Entry> = self.sharing(&serial).copied().collect();
        let Some(worst) = left.iter().copied().reduce(Entry::worse) else {
            self.list.remove(&serial);
            self.note_removed(Some(gone.changed), by, begin);
            return;
        };
        if left.len() == 1 {
            self.clashes.remove(&(serial, worst.hash));
        }
        self.list.put(Entry {
            changed: worst.changed.max(by.changed),
            ..worst
        });
    }

    fn note_removed(&mut self, since: Option<Height>, entry: Entry, learned: UnixTime) {
        // What expired leaves without a word (RFC 5280 §5.2.4).
        if entry.reason != RevocationReason::RemoveFromCrl {
            return;
        }
        let earlier = self.removed.get(&entry.serial).map(|removed| removed.since);
        // On hold twice: it may have been listed from the first time on.
        let since = match (since, earlier) {
            (Some(since), Some(earlier)) => earlier.map(|earlier| earlier.min(since)),
            (since, _) => since,
        };
        let removed = Removed {
            since,
            learned,
            entry,
        };
        self.removed.insert(entry.serial, removed);
    }

    /// What left the list before that is on no full CRL that is still good. Another bridge may have learned of it some
    /// time later than this one.
    const fn forgotten(&self, begin: UnixTime) -> UnixTime {
        begin.minus(self.lifetime).minus(self.lifetime)
    }

    fn is_shared(&self, serial: &Serial) -> bool {
        self.sharing(serial).next().is_some()
    }

    fn sharing(&self, serial: &Serial) -> impl Iterator<Item = &Entry> {
        let first = (*serial, CertificateHash::from_octets([0; 32]));
        let last = (*serial, CertificateHash::from_octets([0xff; 32]));
        self.clashes.range(first..=last).map(|(_, entry)| entry)
    }

    /// Lets go of certificates that need not be on a CRL issued at `begin`, and of what left the list so long ago that
    /// every full CRL that had it has run out.
    pub(crate) fn expire(&mut self, begin: UnixTime) {
        self.list.retain(|entry| !has_left(entry.not_after, begin));
        let mut shrunk = BTreeSet::new();
        self.clashes.retain(|(serial, _), entry| {
            let stays = !has_left(entry.not_after, begin);
            if !stays {
                shrunk.insert(*serial);
            }
            stays
        });
        for serial in shrunk {
            let left: Vec<Entry> = self.sharing(&serial).copied().collect();
            if let Some(worst) = left.iter().copied().reduce(Entry::worse) {
                if left.len() == 1 {
                    self.clashes.remove(&(serial, worst.hash));
                }
                self.list.put(worst);
            }
        }
        let forgotten = self.forgotten(begin);
        self.removed
            .retain(|_, removed| removed.learned >= forgotten);
    }

    /// The content of `revokedCertificates` of a full CRL, in pieces.
    pub(crate) fn full(&mut self) -> Vec<Bytes> {
        self.list.encode()
    }

    /// The same of a delta CRL: what blocks after this one changed. None when that is too much.
    pub(crate) fn delta(&self, base: Height) -> Option<Vec<u8>> {
        let removed = self
            .removed
            .values()
            .filter(|removed| {
                // strongSwan takes removeFromCRL for a revocation: not of what the base CRL does not have.
                removed.entry.changed > base
                    && removed.since.is_none_or(|since| since <= base)
                    && self.list.get(&removed.entry.serial).is_none()
            })
            .map(|removed| &removed.entry);
        let mut entries = Vec::new();
        for entry in self.list.changed_after(base).chain(removed) {
            if entries.len() >= MOST_IN_DELTA {
                return None;
            }
            entries.push(entry);
        }
        entries.sort_unstable_by_key(|entry| entry.serial);
        let mut out = Vec::with_capacity(entries.len() * 40);
        for entry in entries {
            entry.encode(&mut out);
        }
        Some(out)
    }

    /// What is on the list.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.list.iter().copied().collect()
    }
}
