//! Answers that are given again: looked up and signed once, until the ledger says otherwise.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use ledger::CertificateHash;
use lru::LruCache;
use ocsp::{CertStatus, UnixTime};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::answer::Lifetime;

/// What is kept for one CertID.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) content: Content,
    /// The certificate, where there is one; what it is dropped by.
    pub(crate) hash: Option<CertificateHash>,
    /// When it was looked up.
    pub(crate) looked_up_at: UnixTime,
    /// Not given again from then on.
    pub(crate) refresh_at: UnixTime,
    /// The default signer's response with this alone and without a nonce, once somebody asked for it.
    pub(crate) signed: OnceLock<Signed>,
    /// Held by whoever has that response signed slowly.
    signing: OnceLock<Arc<AsyncMutex<()>>>,
    /// The number of changes when it was looked up.
    change: u64,
    dropped: AtomicBool,
    /// It was given without the cache being asked, which would have made it the one used last.
    is_in_use: AtomicBool,
}

impl Entry {
    pub(crate) fn new(
        content: Content,
        hash: Option<CertificateHash>,
        looked_up_at: UnixTime,
        refresh_at: UnixTime,
        since: Since,
    ) -> Self {
        Self {
            content,
            hash,
            looked_up_at,
            refresh_at,
            signed: OnceLock::new(),
            signing: OnceLock::new(),
            change: since.change,
            dropped: AtomicBool::new(false),
            is_in_use: AtomicBool::new(false),
        }
    }

    /// It is given by somebody who found it earlier, and stays in the cache for longer.
    pub(crate) fn note_use(&self) {
        // All threads read it all the time, and seldom need to write it.
        if !self.is_in_use.load(Ordering::Relaxed) {
            self.is_in_use.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it can be told at `now` to one who waited for it.
    pub(crate) fn is_current(&self, now: UnixTime) -> bool {
        let ends = match self.content {
            Content::Foreign => self.refresh_at,
            Content::Single { next_update, .. } => next_update,
        };
        self.looked_up_at <= now && now < ends
    }

    /// The right to have its response signed, once nobody else has it.
    pub(crate) async fn signing(&self) -> OwnedMutexGuard<()> {
        Arc::clone(self.signing.get_or_init(Arc::default))
            .lock_owned()
            .await
    }

    pub(crate) const fn is_foreign(&self) -> bool {
        matches!(self.content, Content::Foreign)
    }
}

/// What the ledger's answer came to.
#[derive(Debug)]
pub(crate) enum Content {
    /// The issuer is not served.
    Foreign,
    /// A `SingleResponse`.
    Single {
        der: Vec<u8>,
        status: CertStatus,
        extended_revoked: bool,
        this_update: UnixTime,
        next_update: UnixTime,
    },
}

/// A response, and how long HTTP caches may keep it.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) der: Bytes,
    pub(crate) lifetime: Arc<Lifetime>,
}

/// What a response with several entries says of time: it is as fresh as the least fresh of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    this_update: UnixTime,
    produced_at: UnixTime,
    next_update: UnixTime,
}

impl Span {
    pub(crate) fn new(produced_at: UnixTime, entries: &[Arc<Entry>]) -> Self {
        let mut span = Self {
            this_update: produced_at,
            produced_at,
            next_update: UnixTime::MAX,
        };
        for entry in entries {
            if let Content::Single {
                this_update,
                next_update,
                ..
            } = entry.content
            {
                span.this_update = span.this_update.min(this_update);
                span.next_update = span.next_update.min(next_update);
            }
        }
        span
    }

    pub(crate) const fn produced_at(&self) -> UnixTime {
        self.produced_at
    }
}

impl Signed {
    pub(crate) fn new(der: Bytes, span: Span) -> Self {
        let lifetime = Lifetime::new(span.this_update, span.produced_at, span.next_update, &der);
        Self {
            der,
            lifetime: Arc::new(lifetime),
        }
    }
}

/// A point in the order of changes: what was looked up after it must not outlive changes that came since.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Since {
    change: u64,
}

/// A bounded cache, sharded by CertID, least recently used out first.
pub(crate) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    index: Mutex<Index>,
    /// The number of changes so far; written under the index' lock. Each may have recorded a certificate or an issuer, so
    /// entries without a certificate do not outlive it.
    change: AtomicU64,
    is_followed: AtomicBool,
}

type Shard = LruCache<Box<[u8]>, Arc<Entry>, RandomState>;

#[derive(Default)]
struct Index {
    by_hash: HashMap<CertificateHash, Vec<Weak<Entry>>>,
    /// The newest changes, with their numbers.
    recent: VecDeque<(u64, CertificateHash)>,
    /// Changes up to this number are not in `recent` any more.
    forgotten: u64,
}

impl Cache {
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        let count = if capacity.get() < 64 * SHARDS.get() {
            NonZeroUsize::MIN
        } else {
            SHARDS
        };
        let each = NonZeroUsize::new(capacity.get().div_ceil(count.get())).unwrap_or(capacity);
        let shards = (0..count.get())
            .map(|_| Mutex::new(LruCache::with_hasher(each, RandomState::new())))
            .collect();
        Self {
            shards,
            hasher: RandomState::new(),
            index: Mutex::default(),
            change: AtomicU64::new(0),
            is_followed: AtomicBool::new(true),
        }
    }

    /// Whether changes are told. While they are not, an entry is given again only within the second of its look-up.
    pub(crate) fn set_followed(&self, is_followed: bool) {
        self.is_followed.store(is_followed, Ordering::Release);
    }

    /// The entry for these CertID octets, if it may be given again at `now`.
    pub(crate) fn find(&self, now: UnixTime, cert_id: &[u8]) -> Option<Arc<Entry>> {
        let entry = lock(self.shard(cert_id)).get(cert_id).map(Arc::clone)?;
        self.may_be_given(now, &entry).then_some(entry)
    }

    /// Whether an entry that was found here, now or earlier, may be given again at `now`.
    pub(crate) fn may_be_given(&self, now: UnixTime, entry: &Entry) -> bool {
        // A clock that was set back must not make answers last longer.
        let current = entry.looked_up_at <= now
            && now < entry.refresh_at
            && (entry.looked_up_at == now || self.is_followed.load(Ordering::Acquire));
        let stands = match entry.hash {
            Some(_) => !entry.dropped.load(Ordering::Acquire),
            None => entry.change == self.change.load(Ordering::Acquire),
        };
        current && stands
    }

    /// To be taken before the look-up of what is inserted afterwards.
    pub(crate) fn since(&self) -> Since {
        Since {
            change: self.change.load(Ordering::Acquire),
        }
    }

    /// Whether no change has overtaken this entry, which was found in the cache or looked up after `since`.
    pub(crate) fn stands(&self, since: Since, entry: &Entry) -> bool {
        match entry.hash {
            Some(hash) => {
                self.change.load(Ordering::Acquire) == since.change
                    || !lock(&self.index).changed(&hash, since)
            }
            None => entry.change == self.change.load(Ordering::Acquire),
        }
    }

    /// Keeps an entry, unless a change has overtaken it since it was looked up.
    pub(crate) fn insert(&self, since: Since, cert_id: &[u8], entry: &Arc<Entry>) {
        if entry.looked_up_at >= entry.refresh_at {
            return;
        }
        if let Some(hash) = entry.hash {
            let mut index = lock(&self.index);
            if index.changed(&hash, since) {
                return;
            }
            let weak = Arc::downgrade(entry);
            index.by_hash.entry(hash).or_default().push(weak);
        }
        let mut shard = lock(self.shard(cert_id));
        if !shard.contains(cert_id) {
            spare_those_in_use(&mut shard);
        }
        let out = shard.push(cert_id.into(), Arc::clone(entry));
        drop(shard);
        if let Some((_, out)) = out {
            self.unindex(&out);
        }
    }

    /// The ledger changed this certificate's status, or recorded it.
    pub(crate) fn forget(&self, hash: &CertificateHash) {
        let mut index = lock(&self.index);
        let change = self.change.fetch_add(1, Ordering::AcqRel) + 1;
        index.recent.push_back((change, *hash));
        if index.recent.len() > MAX_RECENT
            && let Some((number, _)) = index.recent.pop_front()
        {
            index.forgotten = number;
        }
        for entry in index.by_hash.remove(hash).iter().flatten() {
            if let Some(entry) = entry.upgrade() {
                entry.dropped.store(true, Ordering::Release);
            }
        }
    }

    /// Changes were missed.
    pub(crate) fn forget_all(&self) {
        let mut index = lock(&self.index);
        index.forgotten = self.change.fetch_add(1, Ordering::AcqRel) + 1;
        index.recent.clear();
        for entry in index.by_hash.drain().flat_map(|(_, entries)| entries) {
            if let Some(entry) = entry.upgrade() {
                entry.dropped.store(true, Ordering::Release);
            }
        }
        drop(index);
        for shard in &self.shards {
            lock(shard).clear();
        }
    }

    /// How many entries there are, those included that will not be given again.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, cert_id: &[u8]) -> &Mutex<Shard> {
        let at = self.hasher.hash_one(cert_id) as usize % self.shards.len();
        &self.shards[at]
    }

    /// Changes are not told to this entry any more, so that it must not be given again by whoever still has it.
    fn unindex(&self, out: &Arc<Entry>) {
        let Some(hash) = out.hash else { return };
        let mut index = lock(&self.index);
        out.dropped.store(true, Ordering::Release);
        if let Some(entries) = index.by_hash.get_mut(&hash) {
            entries.retain(|entry| !std::ptr::eq(entry.as_ptr(), Arc::as_ptr(out)));
            if entries.is_empty() {
                index.by_hash.remove(&hash);
            }
        }
    }
}

impl Index {
    /// Whether this certificate may have changed since.
    fn changed(&self, hash: &CertificateHash, since: Since) -> bool {
        since.change < self.forgotten
            || self
                .recent
                .iter()
                .rev()
                .take_while(|(number, _)| *number > since.change)
                .any(|(_, changed)| changed == hash)
    }
}

/// Where the shard is full, those at its end that are in use go to its beginning, and have to be used once more by the next
/// time.
fn spare_those_in_use(shard: &mut Shard) {
    for _ in 0..MAX_SPARED {
        let is_in_use = |(_, last): (_, &Arc<Entry>)| last.is_in_use.swap(false, Ordering::Relaxed);
        if shard.len() < shard.cap().get() || !shard.peek_lru().is_some_and(is_in_use) {
            return;
        }
        if let Some((cert_id, entry)) = shard.pop_lru() {
            shard.push(cert_id, entry);
        }
    }
}

/// So that nobody waits long for the lock.
const MAX_SPARED: usize = 32;

const SHARDS: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// A look-up that is overtaken by more changes than this is not kept.
const MAX_RECENT: usize = 1_024;

/// A panic elsewhere leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{NOW, hash};

    fn cache(capacity: usize) -> Cache {
        Cache::new(NonZeroUsize::new(capacity).unwrap())
    }

    fn entry(since: Since, hash: Option<CertificateHash>) -> Arc<Entry> {
        let until = UnixTime(NOW.0 + 30);
        Arc::new(Entry::new(Content::Foreign, hash, NOW, until, since))
    }

    fn keep(cache: &Cache, key: &[u8], hash: Option<CertificateHash>) {
        let since = cache.since();
        cache.insert(since, key, &entry(since, hash));
    }

    fn kept(cache: &Cache, key: &[u8]) -> bool {
        cache.find(NOW, key).is_some()
    }

    #[test]
    fn an_entry_lasts_from_its_look_up_until_its_refresh() {
        let cache = cache(10);
        keep(&cache, b"a", Some(hash(1)));
        for (now, found) in [
            (NOW.0 - 1, false),
            (NOW.0, true),
            (NOW.0 + 29, true),
            (NOW.0 + 30, false),
        ] {
            assert_eq!(cache.find(UnixTime(now), b"a").is_some(), found, "{now}");
        }
        let since = cache.since();
        let over = Arc::new(Entry::new(Content::Foreign, None, NOW, NOW, since));
        cache.insert(since, b"b", &over);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_change_drops_all_entries_of_its_certificate_and_no_other() {
        let cache = cache(10);
        keep(&cache, b"sha1", Some(hash(1)));
        keep(&cache, b"sha256", Some(hash(1)));
        keep(&cache, b"other", Some(hash(2)));
        keep(&cache, b"absent", None);
        cache.forget(&hash(1));
        let all: [&[u8]; 4] = [b"sha1", b"sha256", b"other", b"absent"];
        // The absent one may be another name of the one that was recorded just now.
        assert_eq!(
            all.map(|key| kept(&cache, key)),
            [false, false, true, false]
        );
        keep(&cache, b"absent", None);
        assert!(kept(&cache, b"absent"));
        // Of a certificate that no entry is about: it may be the absent one, recorded now.
        cache.forget(&hash(3));
        assert_eq!(
            all.map(|key| kept(&cache, key)),
            [false, false, true, false]
        );
        cache.forget_all();
        assert!(all.iter().all(|key| !kept(&cache, key)));
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn a_look_up_that_a_change_has_overtaken_is_not_kept() {
        let cache = cache(10);
        let since = cache.since();
        cache.forget(&hash(1));
        cache.insert(since, b"a", &entry(since, Some(hash(1))));
        cache.insert(since, b"b", &entry(since, Some(hash(2))));
        cache.insert(since, b"c", &entry(since, None));
        let all: [&[u8]; 3] = [b"a", b"b", b"c"];
        assert_eq!(all.map(|key| kept(&cache, key)), [false, true, false]);
        keep(&cache, b"a", Some(hash(1)));
        assert!(kept(&cache, b"a"));
        let since = cache.since();
        cache.forget_all();
        cache.insert(since, b"a", &entry(since, Some(hash(1))));
        assert!(!kept(&cache, b"a"));
    }

    #[test]
    fn more_changes_than_are_remembered_count_as_all() {
        let cache = cache(10);
        let since = cache.since();
        for _ in 0..MAX_RECENT {
            cache.forget(&hash(1));
        }
        cache.insert(since, b"a", &entry(since, Some(hash(2))));
        assert!(kept(&cache, b"a"));
        cache.forget(&hash(1));
        cache.insert(since, b"b", &entry(since, Some(hash(2))));
        assert!(!kept(&cache, b"b"));
    }

    #[test]
    fn the_capacity_is_kept_and_the_index_follows() {
        let cache = cache(10);
        for octet in 0..100 {
            keep(&cache, &[octet], Some(hash(octet)));
            keep(&cache, &[octet], Some(hash(octet)));
        }
        assert_eq!(cache.len(), 10);
        assert!(!kept(&cache, &[89]) && kept(&cache, &[90]));
        let index = lock(&cache.index);
        assert_eq!(index.by_hash.len(), 10);
        assert!(index.by_hash.values().all(|entries| entries.len() == 1));
    }
}
