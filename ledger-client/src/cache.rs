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
    pub(crate) not_after: Option<u64>,
    /// From then on it is no hit. It stays until it is pushed out: as the newest height known for the
    /// certificate, and for use in an outage.
    pub(crate) expires: Instant,
    /// When a valid certificate ends by its own `notAfter`, if that is known and not beyond what the clock can
    /// tell. No grace goes past it.
    pub(crate) certificate_ends: Option<Instant>,
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
            not_after: self.not_after,
            origin,
        }
    }
}

/// Whether `status` stands against `other` at any height: no later block undoes a final status, so whoever says
/// otherwise is wrong or lies, and the heights prove nothing.
pub(crate) const fn outranks(status: &Status, other: &Status) -> bool {
    status.is_final() && !other.is_final()
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

    /// Stores an answer, unless something newer or final is known: then returns that, and changes nothing.
    pub(crate) fn store(
        &self,
        now: Instant,
        answer: &StatusAnswer,
        coverage: Coverage,
    ) -> Result<(), Entry> {
        let mut as_of = AsOf::answer(answer.height);
        let mut shard = self.shard(&answer.hash);
        if let Some(known) = shard.peek(&answer.hash) {
            if outranks(&known.status, &answer.status) {
                return Err(*known);
            }
            if known.as_of > as_of {
                if !outranks(&answer.status, &known.status) {
                    return Err(*known);
                }
                as_of = known.as_of;
            }
        }
        let left = time_left(answer);
        let ttl = self.ttl(answer.status, coverage);
        let expires = now + left.map_or(ttl, |left| left.min(ttl));
        let entry = Entry {
            status: answer.status,
            block_time: Some(answer.block_time),
            not_after: answer.not_after,
            expires,
            certificate_ends: left.and_then(|left| now.checked_add(left)),
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
        let mut as_of = AsOf::event(event);
        let mut shard = self.shard(&event.hash);
        if let Some(known) = shard.peek(&event.hash) {
            if outranks(&known.status, &event.status) {
                return Effect::Nothing;
            }
            if known.as_of >= as_of {
                if !outranks(&event.status, &known.status) {
                    return Effect::Nothing;
                }
                as_of = known.as_of;
            }
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
                        block_time: event.status.since(),
                        not_after: None,
                        expires,
                        certificate_ends: None,
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

    fn ttl(&self, status: Status, coverage: Coverage) -> Duration {
        let Lifetimes { ttl, negative_ttl } = self.lifetimes;
        match coverage {
            _ if status == Status::NotRecorded => negative_ttl,
            Coverage::Full => ttl,
            Coverage::Lagging => ttl.min(negative_ttl),
        }
    }

    fn shard(&self, hash: &CertificateHash) -> MutexGuard<'_, Shard> {
        // The tables inside use the lowest and the highest bits; these are others.
        let at = (self.seed.hash_one(hash) >> 40) as usize & (self.shards.len() - 1);
        lock(&self.shards[at])
    }
}

/// How long after its block a valid certificate goes on. Expiry raises no event. Block time never runs ahead, so
/// this never ends too early.
fn time_left(answer: &StatusAnswer) -> Option<Duration> {
    match (answer.status, answer.not_after) {
        (Status::Valid, Some(not_after)) => {
            let left = not_after
                .saturating_mul(1000)
                .saturating_sub(answer.block_time.0);
            Some(Duration::from_millis(left))
        }
        _ => None,
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

#[cfg(test)]
mod tests {
    use ledger::{ChainId, RevocationReason};

    use super::*;

    const TTL: Duration = Duration::from_secs(60);
    const NEGATIVE_TTL: Duration = Duration::from_secs(5);
    const TICK: Duration = Duration::from_nanos(1);
    const SUSPENDED: Status = Status::Suspended {
        since: BlockTime(3),
    };
    const REVOKED: Status = Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BlockTime(4),
    };

    fn cache(capacity: usize) -> Cache {
        let lifetimes = Lifetimes {
            ttl: TTL,
            negative_ttl: NEGATIVE_TTL,
        };
        Cache::new(
            capacity,
            lifetimes,
            KeySeed::new([0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211]),
        )
    }

    fn hash(n: u32) -> CertificateHash {
        CertificateHash::of(&n.to_be_bytes())
    }

    fn answer(n: u32, status: Status, height: u64) -> StatusAnswer {
        StatusAnswer {
            hash: hash(n),
            status,
            class: None,
            not_after: None,
            height: Height(height),
            block_time: BlockTime(1_000_000),
            chain: ChainId::from_octets([9; 32]),
        }
    }

    fn event(n: u32, status: Status, height: u64, index: u32) -> StatusEvent {
        StatusEvent {
            height: Height(height),
            index,
            hash: hash(n),
            status,
        }
    }

    fn store(cache: &Cache, now: Instant, answer: &StatusAnswer) {
        assert!(cache.store(now, answer, Coverage::Full).is_ok());
    }

    #[test]
    fn an_answer_serves_for_its_ttl_and_not_a_tick_longer() {
        let (cache, now) = (cache(64), Instant::now());
        store(&cache, now, &answer(1, Status::Valid, 7));
        let hit = cache.hit(now + TTL - TICK, &hash(1)).unwrap();
        assert_eq!(
            hit,
            Answer {
                status: Status::Valid,
                height: Height(7),
                block_time: Some(BlockTime(1_000_000)),
                not_after: None,
                origin: Origin::Cache
            }
        );
        assert_eq!(cache.hit(now + TTL, &hash(1)), None);
        assert_eq!(cache.hit(now, &hash(2)), None);
        assert_eq!(cache.hits(), 1);
        assert_eq!(cache.len(), 1, "expired, but known");
    }

    #[test]
    fn a_final_status_outranks_every_height() {
        let now = Instant::now();
        for other in [Status::Valid, SUSPENDED, Status::NotRecorded] {
            // What contradicts it later, as an answer or an event, does not undo it ...
            let known = cache(64);
            store(&known, now, &answer(1, REVOKED, 7));
            let refused = known.store(now, &answer(1, other, 9), Coverage::Full);
            assert_eq!(refused.map_err(|entry| entry.status), Err(REVOKED));
            assert_eq!(known.apply(now, &event(1, other, 9, 0)), Effect::Nothing);
            assert_eq!(known.hit(now, &hash(1)).unwrap().status, REVOKED);
            // ... and a height that somebody made up does not keep it out.
            let by_answer = cache(64);
            store(&by_answer, now, &answer(1, other, u64::MAX));
            store(&by_answer, now, &answer(1, REVOKED, 7));
            assert_eq!(by_answer.hit(now, &hash(1)).unwrap().status, REVOKED);
            let by_event = cache(64);
            store(&by_event, now, &answer(1, other, u64::MAX));
            let effect = by_event.apply(now, &event(1, REVOKED, 7, 0));
            assert_eq!(effect, Effect::Refreshed);
            assert_eq!(by_event.hit(now, &hash(1)).unwrap().status, REVOKED);
        }
    }

    #[test]
    fn not_recorded_serves_for_the_negative_ttl() {
        let (cache, now) = (cache(64), Instant::now());
        store(&cache, now, &answer(1, Status::NotRecorded, 7));
        assert!(cache.hit(now + NEGATIVE_TTL - TICK, &hash(1)).is_some());
        assert_eq!(cache.hit(now + NEGATIVE_TTL, &hash(1)), None);
    }

    #[test]
    fn a_lagging_answer_serves_for_the_negative_ttl() {
        let (cache, now) = (cache(64), Instant::now());
        assert!(
            cache
                .store(now, &answer(1, Status::Valid, 7), Coverage::Lagging)
                .is_ok()
        );
        assert!(cache.hit(now + NEGATIVE_TTL - TICK, &hash(1)).is_some());
        assert_eq!(cache.hit(now + NEGATIVE_TTL, &hash(1)), None);
    }

    #[test]
    fn validity_ends_with_the_certificates() {
        let (cache, now) = (cache(64), Instant::now());
        // Block time is 1000 s, the certificate ends at 1010 s.
        let ending = StatusAnswer {
            not_after: Some(1010),
            ..answer(1, Status::Valid, 7)
        };
        store(&cache, now, &ending);
        let ten = Duration::from_secs(10);
        assert!(cache.hit(now + ten - TICK, &hash(1)).is_some());
        assert_eq!(cache.hit(now + ten, &hash(1)), None);
        let over = StatusAnswer {
            not_after: Some(900),
            ..answer(2, Status::Valid, 7)
        };
        store(&cache, now, &over);
        assert_eq!(cache.hit(now, &hash(2)), None);
        let for_ever = StatusAnswer {
            not_after: Some(u64::MAX),
            ..answer(3, Status::Valid, 7)
        };
        store(&cache, now, &for_ever);
        assert!(cache.hit(now + TTL - TICK, &hash(3)).is_some());
    }

    #[test]
    fn an_older_answer_does_not_overwrite_and_an_equal_one_does() {
        let (cache, now) = (cache(64), Instant::now());
        store(&cache, now, &answer(1, SUSPENDED, 7));
        let known = cache
            .store(now, &answer(1, Status::Valid, 6), Coverage::Full)
            .unwrap_err();
        assert_eq!((known.status, known.height()), (SUSPENDED, Height(7)));
        assert_eq!(cache.hit(now, &hash(1)).unwrap().status, SUSPENDED);
        // Also when what is known has expired.
        assert!(
            cache
                .store(now + TTL, &answer(1, Status::Valid, 6), Coverage::Full)
                .is_err()
        );
        store(&cache, now + TTL, &answer(1, Status::Valid, 7));
        assert_eq!(
            cache.hit(now + TTL, &hash(1)).unwrap().status,
            Status::Valid
        );
    }

    #[test]
    fn events_refresh_to_refusals_and_drop_for_the_rest() {
        let (cache, now) = (cache(64), Instant::now());
        store(&cache, now, &answer(1, Status::Valid, 7));
        assert_eq!(
            cache.apply(now, &event(1, REVOKED, 8, 0)),
            Effect::Refreshed
        );
        let hit = cache.hit(now, &hash(1)).unwrap();
        assert_eq!(
            (hit.status, hit.height, hit.block_time),
            (REVOKED, Height(8), REVOKED.since())
        );
        store(&cache, now, &answer(2, SUSPENDED, 7));
        assert_eq!(
            cache.apply(now, &event(2, Status::Valid, 8, 1)),
            Effect::Dropped
        );
        assert!(cache.known(&hash(2)).is_none());
        store(&cache, now, &answer(3, Status::NotRecorded, 7));
        assert_eq!(
            cache.apply(now, &event(3, Status::Valid, 8, 2)),
            Effect::Dropped
        );
        assert_eq!(cache.hit(now, &hash(3)), None);
        assert_eq!(
            cache.apply(now, &event(4, Status::Valid, 8, 3)),
            Effect::Nothing
        );
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_refusal_is_remembered_even_of_the_unknown() {
        let (cache, now) = (cache(64), Instant::now());
        assert_eq!(
            cache.apply(now, &event(1, REVOKED, 8, 0)),
            Effect::Refreshed
        );
        // A source that lags behind cannot undo it.
        assert!(
            cache
                .store(now, &answer(1, Status::Valid, 7), Coverage::Lagging)
                .is_err()
        );
        assert_eq!(cache.hit(now, &hash(1)).unwrap().status, REVOKED);
        assert_eq!(cache.hit(now + TTL, &hash(1)), None);
    }

    #[test]
    fn an_event_loses_to_an_answer_of_its_block_and_wins_over_those_before() {
        let (cache, now) = (cache(64), Instant::now());
        store(&cache, now, &answer(1, Status::Valid, 8));
        // The block suspended and resumed it: the answer has seen both.
        assert_eq!(
            cache.apply(now, &event(1, SUSPENDED, 8, 0)),
            Effect::Nothing
        );
        assert_eq!(
            cache.apply(now, &event(1, SUSPENDED, 7, 3)),
            Effect::Nothing
        );
        assert_eq!(cache.hit(now, &hash(1)).unwrap().status, Status::Valid);
        assert_eq!(
            cache.apply(now, &event(1, SUSPENDED, 9, 0)),
            Effect::Refreshed
        );
        // Within a block, the later event wins, and repeats do nothing.
        assert_eq!(
            cache.apply(now, &event(1, REVOKED, 9, 1)),
            Effect::Refreshed
        );
        assert_eq!(
            cache.apply(now, &event(1, SUSPENDED, 9, 0)),
            Effect::Nothing
        );
        assert_eq!(cache.hit(now, &hash(1)).unwrap().status, REVOKED);
        // The answer of the same block has seen all its events.
        store(&cache, now, &answer(1, REVOKED, 9));
        assert_eq!(
            cache.hit(now, &hash(1)).unwrap().block_time,
            Some(BlockTime(1_000_000))
        );
    }

    #[test]
    fn clearing_forgets_all_but_revocations_and_those_are_no_hits() {
        let (cache, now) = (cache(64), Instant::now());
        store(&cache, now, &answer(1, Status::Valid, 7));
        store(&cache, now, &answer(2, SUSPENDED, 7));
        store(&cache, now, &answer(3, Status::NotRecorded, 7));
        store(&cache, now, &answer(4, REVOKED, 7));
        cache.clear(now);
        for n in 1..=3 {
            assert!(cache.known(&hash(n)).is_none(), "{n}");
        }
        assert_eq!(cache.hit(now, &hash(4)), None);
        assert_eq!(cache.known(&hash(4)).unwrap().status, REVOKED);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn the_bound_holds_at_every_size() {
        let now = Instant::now();
        for capacity in [2, 3, 63, 64, 100, 127, 128, 1000, 1024, 5000] {
            let cache = cache(capacity);
            for n in 0..6000 {
                let status = if n % 3 == 0 {
                    Status::NotRecorded
                } else {
                    Status::Valid
                };
                store(&cache, now, &answer(n, status, 7));
            }
            let len = cache.len();
            assert!(len <= capacity, "{len} of {capacity}");
            // Shards fill unevenly, and their sizes are rounded down.
            assert!(
                len * 4 >= capacity * 3 || capacity < 8,
                "{len} of {capacity} is wasteful"
            );
        }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        // 8 places, 1 of them for the unrecorded.
        let (cache, now) = (cache(8), Instant::now());
        for n in 0..7 {
            store(&cache, now, &answer(n, Status::Valid, 7));
        }
        assert!(cache.hit(now, &hash(0)).is_some());
        store(&cache, now, &answer(7, Status::Valid, 7));
        assert!(cache.hit(now, &hash(0)).is_some());
        assert!(cache.hit(now, &hash(1)).is_none());
    }

    #[test]
    fn a_flood_of_unrecorded_certificates_pushes_out_no_recorded_one() {
        let (cache, now) = (cache(1024), Instant::now());
        for n in 0..500 {
            store(&cache, now, &answer(n, Status::Valid, 7));
        }
        for n in 10_000..30_000 {
            store(&cache, now, &answer(n, Status::NotRecorded, 7));
        }
        assert!((0..500).all(|n| cache.hit(now, &hash(n)).is_some()));
    }

    #[test]
    fn a_certificate_has_one_place_whatever_its_status() {
        let (cache, now) = (cache(64), Instant::now());
        store(&cache, now, &answer(1, Status::NotRecorded, 7));
        store(&cache, now, &answer(1, Status::Valid, 8));
        assert_eq!(cache.len(), 1);
        store(&cache, now, &answer(1, Status::NotRecorded, 9));
        assert_eq!(cache.len(), 1);
        assert_eq!(
            cache.hit(now, &hash(1)).unwrap().status,
            Status::NotRecorded
        );
    }

    #[test]
    fn a_hit_costs_well_under_a_microsecond() {
        let (cache, now) = (cache(100_000), Instant::now());
        let hashes: Vec<_> = (0..1000).map(hash).collect();
        for n in 0..1000 {
            store(&cache, now, &answer(n, Status::Valid, 7));
        }
        // The best of many rounds: others use this machine too.
        let best = (0..200)
            .map(|_| {
                let begin = Instant::now();
                assert!(hashes.iter().all(|hash| cache.hit(now, hash).is_some()));
                begin.elapsed() / 1000
            })
            .min()
            .unwrap();
        assert!(best < Duration::from_micros(1), "{best:?}");
    }
}
