//! Which certificate a CertID names, as far as it is remembered.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ledger::{CertificateHash, Height};
use lru::LruCache;

/// What a CertID comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resolution {
    /// Several certificates.
    Ambiguous(usize),
    /// This one.
    Certificate(CertificateHash),
    /// None, and its issuer is not recorded.
    ForeignIssuer,
    /// None, of an issuer that is recorded.
    NotRecorded,
}

impl Resolution {
    const fn is_absent(self) -> bool {
        matches!(self, Self::ForeignIssuer | Self::NotRecorded)
    }
}

/// Remembers look-ups. Absent certificates have places of their own, so that a flood of made-up CertIDs does
/// not push out the real ones.
#[derive(Debug)]
pub(super) struct Resolved {
    ttl: Duration,
    negative_ttl: Duration,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    present: LruCache<String, Entry>,
    absent: LruCache<String, Entry>,
    /// The newest block that is known to have recorded a certificate, or made one valid again.
    recorded: Height,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    resolution: Resolution,
    expires: Instant,
}

impl Resolved {
    pub(super) fn new(capacity: usize, ttl: Duration, negative_ttl: Duration) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self {
            ttl,
            negative_ttl,
            tables: Mutex::new(Tables {
                present: LruCache::new(capacity),
                absent: LruCache::new(capacity),
                recorded: Height(0),
            }),
        }
    }

    pub(super) fn get(&self, now: Instant, key: &str) -> Option<Resolution> {
        let mut tables = self.tables();
        let Tables {
            present, absent, ..
        } = &mut *tables;
        let entry = present.get(key).or_else(|| absent.get(key))?;
        (now < entry.expires).then_some(entry.resolution)
    }

    /// Takes over what a node said as of `height`.
    pub(super) fn store(&self, now: Instant, key: String, height: Height, resolution: Resolution) {
        let mut tables = self.tables();
        if !resolution.is_absent() {
            tables.absent.pop(&key);
            let expires = now + self.ttl;
            tables.present.put(
                key,
                Entry {
                    resolution,
                    expires,
                },
            );
            return;
        }
        tables.present.pop(&key);
        // A node that lags behind may not know of it yet: that is not remembered.
        if height >= tables.recorded {
            let expires = now + self.negative_ttl;
            tables.absent.put(
                key,
                Entry {
                    resolution,
                    expires,
                },
            );
        }
    }

    /// A certificate became valid in the block at `height`: it may be one that was absent before.
    pub(super) fn recorded(&self, height: Height) {
        let mut tables = self.tables();
        tables.recorded = tables.recorded.max(height);
        tables.absent.clear();
    }

    /// Changes were missed: nothing that is remembered can be trusted.
    pub(super) fn clear(&self) {
        let mut tables = self.tables();
        tables.present.clear();
        tables.absent.clear();
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);
    const NEGATIVE: Duration = Duration::from_secs(5);

    fn found() -> Resolution {
        Resolution::Certificate(CertificateHash::from_octets([1; 32]))
    }

    #[test]
    fn each_kind_has_its_time() {
        let now = Instant::now();
        let resolved = Resolved::new(2, TTL, NEGATIVE);
        resolved.store(now, "a".to_owned(), Height(1), found());
        resolved.store(now, "b".to_owned(), Height(1), Resolution::NotRecorded);
        assert_eq!(resolved.get(now, "a"), Some(found()));
        assert_eq!(
            resolved.get(now + NEGATIVE / 2, "b"),
            Some(Resolution::NotRecorded)
        );
        assert_eq!(resolved.get(now + NEGATIVE, "b"), None);
        assert_eq!(resolved.get(now + TTL, "a"), None);
    }

    #[test]
    fn a_flood_of_unknown_ones_leaves_the_known_ones() {
        let now = Instant::now();
        let resolved = Resolved::new(2, TTL, NEGATIVE);
        resolved.store(now, "a".to_owned(), Height(1), found());
        for i in 0..100 {
            resolved.store(now, i.to_string(), Height(1), Resolution::ForeignIssuer);
        }
        assert_eq!(resolved.get(now, "a"), Some(found()));
        assert_eq!(resolved.get(now, "1"), None);
        assert_eq!(resolved.get(now, "99"), Some(Resolution::ForeignIssuer));
    }

    #[test]
    fn a_new_certificate_ends_every_absence() {
        let now = Instant::now();
        let resolved = Resolved::new(8, TTL, NEGATIVE);
        resolved.store(now, "a".to_owned(), Height(1), Resolution::NotRecorded);
        resolved.recorded(Height(2));
        assert_eq!(resolved.get(now, "a"), None);
        // An answer from before that block arrives late: used once, not remembered.
        resolved.store(now, "a".to_owned(), Height(1), Resolution::NotRecorded);
        assert_eq!(resolved.get(now, "a"), None);
        resolved.store(now, "a".to_owned(), Height(2), Resolution::NotRecorded);
        assert_eq!(resolved.get(now, "a"), Some(Resolution::NotRecorded));
        // What was absent and is found is not absent any more, and the other way round.
        resolved.store(now, "a".to_owned(), Height(3), found());
        assert_eq!(resolved.get(now, "a"), Some(found()));
        resolved.store(now, "a".to_owned(), Height(1), Resolution::NotRecorded);
        assert_eq!(resolved.get(now, "a"), None);
    }

    #[test]
    fn a_gap_empties_everything() {
        let now = Instant::now();
        let resolved = Resolved::new(8, TTL, NEGATIVE);
        resolved.store(now, "a".to_owned(), Height(1), found());
        resolved.store(now, "b".to_owned(), Height(1), Resolution::ForeignIssuer);
        resolved.clear();
        assert_eq!(
            (resolved.get(now, "a"), resolved.get(now, "b")),
            (None, None)
        );
    }
}
