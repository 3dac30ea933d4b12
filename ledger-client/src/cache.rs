//! What is remembered: a sharded LRU of answers with times to live. Pure: the time is an argument.

use std::{
    hash::BuildHasher as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ledger::{BlockTime, CertificateHash, Height, Status, StatusAnswer, StatusEvent};
use lru::LruCache;

use crate::{
    answer::{Answer, Origin},
    keying::KeySeed,
};

/// More shards than this help nobody: a hit holds its lock for some tens of nanoseconds.
const MAX_SHARDS: usize = 16;

/// A shard smaller than this would evict by chance rather than by age.
const MIN_SHARD: usize = 64;

/// One place in this many is for certificates that are not recorded.
const UNRECORDED_SHARE: usize = 8;

/// The moment on the chain that a piece of knowledge is from: a block, and a place among its events.
///
/// Answers hold after the whole block, so they come after all its events.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct AsOf {
    height: Height,
    index: u32,
}

impl AsOf {
    const fn answer(height: Height) -> Self {
        Self {
            height,
            index: u32::MAX,
        }
    }

    const fn event(event: &StatusEvent) -> Self {
        Self {
            height: event.height,
            index: event.index,
        }
    }
}

/// What the cache knows of one certificate, fresh or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) status: Status,
    pub(crate) block_time: Option<BlockTime>,
    /// From then on it is no hit. It stays until it is pushed out: as the newest height known for the
    /// certificate, and for use in an outage.
    pub(crate) expires: Instant,
    as_of: AsOf,
}

impl Entry {
    pub(crate) const fn height(&self) -> Height {
        self.as_of.height
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now < self.expires
    }

    pub(crate) const fn answer(&self, origin: Origin) -> Answer {
        Answer {
            status: self.status,
            height: self.as_of.height,
            block_time: self.block_time,
            origin,
        }
    }
}

/// How long answers serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    pub(crate) ttl: Duration,
    pub(crate) negative_ttl: Duration,
}

/// Whether later events would tell of a change to what an answer says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Coverage {
    /// The answer is at least as new as the events that were seen when it was asked for.
    Full,
    /// It is older: an event may have told already that it is wrong, and will not do so again.
    Lagging,
}

/// What an event did to the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Effect {
    /// The entry was removed: the next inquiry asks the ledger.
    Dropped,
    /// What is known is as new as the event, or nothing was known and nothing needs to be.
    Nothing,
    /// The entry now says what the event says.
    Refreshed,
}

pub(crate) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    seed: KeySeed,
    lifetimes: Lifetimes,
}

impl Cache {
    /// `capacity` bounds all entries together; it must be at least 2.
    pub(crate) fn new(capacity: usize, lifetimes: Lifetimes, seed: KeySeed) -> Self {
        let mut shards = MAX_SHARDS;
        while shards > 1 && capacity / shards < MIN_SHARD {
            shards /= 2;
        }
        let places = capacity / shards;
        let unrecorded = (places / UNRECORDED_SHARE).max(1);
        let shards = (0..shards)
            .map(|_| {
                Mutex::new(Shard::new(
                    places.saturating_sub(unrecorded),
                    unrecorded,
                    seed,
                ))
            })
            .collect();
        Self {
            shards,
            seed,
            lifetimes,
        }
    }

    /// The hit path: an answer within its time to live. Takes one short lock, allocates nothing.
    pub(crate) fn hit(&self, now: Instant, hash: &CertificateHash) -> Option<Answer> {
        let mut shard = self.shard(hash);
        let entry = shard.promote(hash)?;
        if !entry.is_fresh(now) {
            return None;
        }
        let answer = entry.answer(Origin::Cache);
        shard.hits += 1;
        Some(answer)
    }

    /// What is known, fresh or not; does not count as use.
    pub(crate) fn known(&self, hash: &CertificateHash) -> Option<Entry> {
        self.shard(hash).peek(hash).copied()
    }

    /// Stores an answer, unless something newer is known: then returns that, and changes nothing.
    pub(crate) fn store(
        &self,
        now: Instant,
        answer: &StatusAnswer,
        coverage: Coverage,
    ) -> Result<(), Entry> {
        let as_of = AsOf::answer(answer.height);
        let mut shard = self.shard(&answer.hash);
        if let Some(known) = shard.peek(&answer.hash)
            && known.as_of > as_of
        {
            return Err(*known);
        }
        let expires = now + self.ttl(answer, coverage);
        let entry = Entry {
            status: answer.status,
            block_time: Some(answer.block_time),
            expires,
            as_of,
        };
        shard.put(answer.hash, entry);
        Ok(())
    }

    /// Takes in a status change.
    ///
    /// A status that refuses is stored even where nothing was known, so that an answer from a source that lags
    /// behind cannot bring back the status before it. A certificate that becomes valid is dropped: the ledger's
    /// full answer is worth an inquiry, and has the time that bounds it.
    pub(crate) fn apply(&self, now: Instant, event: &StatusEvent) -> Effect {
        let as_of = AsOf::event(event);
        let mut shard = self.shard(&event.hash);
        let known = shard.peek(&event.hash).map(|entry| entry.as_of);
        if known.is_some_and(|known| known >= as_of) {
            return Effect::Nothing;
        }
        match event.status {
            Status::NotRecorded | Status::Valid => {
                if shard.remove(&event.hash) {
                    Effect::Dropped
                } else {
                    Effect::Nothing
                }
            }
            Status::Expired
            | Status::Revoked { .. }
            | Status::Superseded { .. }
            | Status::Suspended { .. } => {
                let expires = now + self.lifetimes.ttl;
                shard.put(
                    event.hash,
                    Entry {
                        status: event.status,
                        block_time: None,
                        expires,
                        as_of,
                    },
                );
                Effect::Refreshed
            }
        }
    }

    /// Forgets everything, because changes were missed. Revocations, which are final, are only marked as
    /// expired: the next inquiry asks the ledger, but an outage does not undo them.
    pub(crate) fn clear(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.unrecorded.clear();
            shard
                .recorded
                .retain(|_, entry| matches!(entry.status, Status::Revoked { .. }));
            for (_, entry) in shard.recorded.iter_mut() {
                entry.expires = entry.expires.min(now);
            }
        }
    }

    /// How many certificates are remembered, fresh or not.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// How many hits there were.
    pub(crate) fn hits(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).hits).sum()
    }

    fn ttl(&self, answer: &StatusAnswer, coverage: Coverage) -> Duration {
        let Lifetimes { ttl, negative_ttl } = self.lifetimes;
        if answer.status == Status::NotRecorded {
            return negative_ttl;
        }
        let ttl = match coverage {
            Coverage::Full => ttl,
            Coverage::Lagging => ttl.min(negative_ttl),
        };
        // Expiry raises no event. Block time never runs ahead, so this never ends too early.
        match (answer.status, answer.not_after) {
            (Status::Valid, Some(not_after)) => {
                let left = not_after
                    .saturating_mul(1000)
                    .saturating_sub(answer.block_time.0);
                ttl.min(Duration::from_millis(left))
            }
            _ => ttl,
        }
    }

    fn shard(&self, hash: &CertificateHash) -> MutexGuard<'_, Shard> {
        // The tables inside use the lowest and the highest bits; these are others.
        let at = (self.seed.hash_one(hash) >> 40) as usize & (self.shards.len() - 1);
        lock(&self.shards[at])
    }
}

/// Nothing here can panic half-way through a change, so a poisoned lock guards sound values.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unrecorded certificates cost a peer nothing to make, so they have their own few places.
struct Shard {
    recorded: LruCache<CertificateHash, Entry, KeySeed>,
    unrecorded: LruCache<CertificateHash, Entry, KeySeed>,
    hits: u64,
}

impl Shard {
    fn new(recorded: usize, unrecorded: usize, seed: KeySeed) -> Self {
        Self {
            recorded: sparse(recorded, seed),
            unrecorded: sparse(unrecorded, seed),
            hits: 0,
        }
    }

    fn promote(&mut self, hash: &CertificateHash) -> Option<&Entry> {
        self.recorded
            .get(hash)
            .or_else(|| self.unrecorded.get(hash))
    }

    fn put(&mut self, hash: CertificateHash, entry: Entry) {
        if entry.status == Status::NotRecorded {
            self.recorded.pop(&hash);
            self.unrecorded.put(hash, entry);
        } else {
            self.unrecorded.pop(&hash);
            self.recorded.put(hash, entry);
        }
    }

    fn remove(&mut self, hash: &CertificateHash) -> bool {
        self.recorded.pop(hash).is_some() | self.unrecorded.pop(hash).is_some()
    }

    fn peek(&self, hash: &CertificateHash) -> Option<&Entry> {
        self.recorded
            .peek(hash)
            .or_else(|| self.unrecorded.peek(hash))
    }

    fn len(&self) -> usize {
        self.recorded.len() + self.unrecorded.len()
    }
}

/// A bounded LRU that takes its memory as it fills, not beforehand.
fn sparse(places: usize, seed: KeySeed) -> LruCache<CertificateHash, Entry, KeySeed> {
    let mut lru = LruCache::unbounded_with_hasher(seed);
    lru.resize(places.try_into().unwrap_or(std::num::NonZeroUsize::MIN));
    lru
}
