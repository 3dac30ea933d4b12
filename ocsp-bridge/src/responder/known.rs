//! Requests whose answers are in the cache, by their very octets: most come again and again, and need not be read again.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lru::LruCache;

use crate::cache::Entry;

/// A bounded table, sharded by the octets, least recently asked out first.
///
/// It only leads to entries faster: whether one may be given again is the [cache](crate::cache::Cache)'s to say, each time,
/// and what the cache lets go is kept by nobody.
/// Whoever makes octets that collide drives others out of it, and has them read again, no more.
pub(super) struct Known {
    shards: Box<[Mutex<Shard>]>,
}

type Shard = LruCache<Box<[u8]>, Weak<Entry>>;

impl Known {
    pub(super) fn new(capacity: NonZeroUsize) -> Self {
        let each = NonZeroUsize::new(capacity.get().div_ceil(SHARDS)).unwrap_or(capacity);
        let shards = (0..SHARDS).map(|_| Mutex::new(LruCache::new(each)));
        Self {
            shards: shards.collect(),
        }
    }

    /// What a request with exactly these octets was answered from.
    pub(super) fn find(&self, request: &[u8]) -> Option<Arc<Entry>> {
        if request.len() > MAX_OCTETS {
            return None;
        }
        let mut shard = self.shard(request);
        shard.get(request)?.upgrade()
    }

    /// Requests with these octets are answered from this entry alone.
    pub(super) fn insert(&self, request: &[u8], entry: &Arc<Entry>) {
        if request.len() <= MAX_OCTETS {
            let mut shard = self.shard(request);
            shard.put(request.into(), Arc::downgrade(entry));
        }
    }

    fn shard(&self, request: &[u8]) -> std::sync::MutexGuard<'_, Shard> {
        // The end of the serial number, most times: whoever gives many requests one end has one shard for all of them.
        let end = request
            .last_chunk()
            .map_or(0, |end| u32::from_ne_bytes(*end));
        let mixed = end.wrapping_mul(0x9E37_79B1) >> 28;
        let shard = self.shards[mixed as usize % self.shards.len()].lock();
        // A panic elsewhere leaves nothing half done here.
        shard.unwrap_or_else(PoisonError::into_inner)
    }
}

const SHARDS: usize = 16;

/// Longer ones, which hardly anybody sends, are read each time.
const MAX_OCTETS: usize = 256;
