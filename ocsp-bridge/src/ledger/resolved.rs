//! Which certificate a CertID names, as far as it is remembered.
//!
//! What CertIDs name is kept under their [`Slot`]s, so that a certificate which is recorded later finds those that it
//! shares.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use der::Tag;
use ledger::{BlockTime, CertificateHash, Height};
use lru::LruCache;
use ocsp::wire::{self, Tlv};
use ocsp::{CertId, HashAlgorithm};

/// What a CertID comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resolution {
    /// Several certificates, as of the block with this time.
    Ambiguous(usize, BlockTime),
    /// This one.
    Certificate(CertificateHash),
    /// None, and its issuer is not recorded.
    ForeignIssuer,
    /// None, of an issuer that is recorded, as of the block with this time.
    NotRecorded(BlockTime),
}

impl Resolution {
    const fn is_absent(self) -> bool {
        matches!(self, Self::ForeignIssuer | Self::NotRecorded(_))
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

/// A CertID without the hash of its issuer's key, which a certificate does not tell.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Slot(String);

impl Slot {
    /// Of a CertID as it is displayed, and the key hash that is left out.
    fn of_key(key: &str) -> (Self, &str) {
        let mut parts = key.splitn(4, '/');
        let mut next = || parts.next().unwrap_or_default();
        let (algorithm, name, key_hash, serial) = (next(), next(), next(), next());
        (Self(format!("{algorithm}/{name}/{serial}")), key_hash)
    }

    /// Those of a DER certificate, one for each hash function; none when it cannot be read.
    pub(super) fn all_of(certificate: &[u8]) -> Option<Vec<Self>> {
        let mut outer = Tlv::only(certificate).ok()?.open(Tag::Sequence).ok()?;
        let mut tbs = outer.expect(Tag::Sequence).ok()?.open(Tag::Sequence).ok()?;
        tbs.optional(wire::context(0)).ok()?;
        let serial = tbs.expect(Tag::Integer).ok()?;
        tbs.expect(Tag::Sequence).ok()?;
        let issuer = tbs.expect(Tag::Sequence).ok()?;
        HashAlgorithm::ALL
            .into_iter()
            .map(|algorithm| {
                let der = CertId::encode(algorithm, issuer.raw, b"", serial.value);
                let id = CertId::decode(&der).ok()?;
                Some(Self::of_key(&id.to_string()).0)
            })
            .collect()
    }
}

#[derive(Debug)]
struct Tables {
    /// By slot, and then by the hash of the issuer's key.
    present: LruCache<Slot, Vec<(String, Entry)>>,
    absent: LruCache<String, Entry>,
    /// The newest block that is known to have recorded a certificate, or made one valid again.
    recorded: Height,
    /// For slots of certificates that were recorded lately, the block. What a node says of them as of a block before is
    /// not the last word.
    lately: LruCache<Slot, Height>,
    /// The newest block that fell out of `lately`.
    lately_from: Height,
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
                lately: LruCache::new(MAX_LATELY),
                lately_from: Height(0),
            }),
        }
    }

    pub(super) fn get(&self, now: Instant, key: &str) -> Option<Resolution> {
        let mut tables = self.tables();
        let Tables {
            present, absent, ..
        } = &mut *tables;
        let (slot, key_hash) = Slot::of_key(key);
        let present = present
            .get(&slot)
            .and_then(|entries| entries.iter().find(|(of, _)| of == key_hash))
            .map(|(_, entry)| entry);
        let entry = present.or_else(|| absent.get(key))?;
        (now < entry.expires).then_some(entry.resolution)
    }

    /// Takes over what a node said as of `height`; whether that can be the last word.
    pub(super) fn store(
        &self,
        now: Instant,
        key: String,
        height: Height,
        resolution: Resolution,
    ) -> bool {
        let mut tables = self.tables();
        let (slot, key_hash) = Slot::of_key(&key);
        let of_slot = tables.lately.peek(&slot).copied().unwrap_or(Height(0));
        if height < of_slot {
            return false;
        }
        if let Some(entries) = tables.present.get_mut(&slot) {
            entries.retain(|(of, _)| of != key_hash);
        }
        if !resolution.is_absent() {
            tables.absent.pop(&key);
            if height < tables.lately_from {
                return true;
            }
            let expires = now + self.ttl;
            let entry = Entry {
                resolution,
                expires,
            };
            let key_hash = key_hash.to_owned();
            let entries = tables.present.get_or_insert_mut(slot, Vec::new);
            // Issuers that share a name and gave out the same serial number: two are an accident already.
            if entries.len() < MAX_PER_SLOT {
                entries.push((key_hash, entry));
            }
            return true;
        }
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
        true
    }

    /// A certificate with these slots was recorded in the block at `height`, or made valid again: its CertIDs are looked
    /// up anew. The certificates that they named until now.
    pub(super) fn shared(
        &self,
        hash: &CertificateHash,
        slots: &[Slot],
        height: Height,
    ) -> Vec<CertificateHash> {
        let mut others = Vec::new();
        let mut tables = self.tables();
        for slot in slots {
            for (_, entry) in tables.present.pop(slot).unwrap_or_default() {
                if let Resolution::Certificate(named) = entry.resolution
                    && named != *hash
                    && !others.contains(&named)
                {
                    others.push(named);
                }
            }
            if let Some((out, of)) = tables.lately.push(slot.clone(), height)
                && out != *slot
            {
                tables.lately_from = tables.lately_from.max(of);
            }
        }
        others
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

/// The most slots of certificates that were recorded lately.
const MAX_LATELY: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The most CertIDs that are remembered of one slot.
const MAX_PER_SLOT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);
    const NEGATIVE: Duration = Duration::from_secs(5);
    const TIME: BlockTime = BlockTime(1_785_542_400_000);

    fn found() -> Resolution {
        Resolution::Certificate(CertificateHash::from_octets([1; 32]))
    }

    #[test]
    fn each_kind_has_its_time() {
        let now = Instant::now();
        let resolved = Resolved::new(2, TTL, NEGATIVE);
        resolved.store(now, "a".to_owned(), Height(1), found());
        resolved.store(
            now,
            "b".to_owned(),
            Height(1),
            Resolution::NotRecorded(TIME),
        );
        assert_eq!(resolved.get(now, "a"), Some(found()));
        assert_eq!(
            resolved.get(now + NEGATIVE / 2, "b"),
            Some(Resolution::NotRecorded(TIME))
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
        resolved.store(
            now,
            "a".to_owned(),
            Height(1),
            Resolution::NotRecorded(TIME),
        );
        resolved.recorded(Height(2));
        assert_eq!(resolved.get(now, "a"), None);
        // An answer from before that block arrives late: used once, not remembered.
        resolved.store(
            now,
            "a".to_owned(),
            Height(1),
            Resolution::NotRecorded(TIME),
        );
        assert_eq!(resolved.get(now, "a"), None);
        resolved.store(
            now,
            "a".to_owned(),
            Height(2),
            Resolution::NotRecorded(TIME),
        );
        assert_eq!(resolved.get(now, "a"), Some(Resolution::NotRecorded(TIME)));
        // What was absent and is found is not absent any more, and the other way round.
        resolved.store(now, "a".to_owned(), Height(3), found());
        assert_eq!(resolved.get(now, "a"), Some(found()));
        resolved.store(
            now,
            "a".to_owned(),
            Height(1),
            Resolution::NotRecorded(TIME),
        );
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

    #[test]
    fn a_certificate_that_is_recorded_later_ends_what_its_cert_ids_named() {
        let (_, certificate) =
            crate::fixture::self_signed(&rcgen::PKCS_ED25519, crate::fixture::params("a"));
        let slots = Slot::all_of(&certificate).unwrap();
        assert_eq!(slots.len(), 4);
        assert_eq!(Slot::all_of(b"no certificate"), None);
        assert_eq!(Slot::all_of(&certificate[..certificate.len() - 1]), None);
        // The CertID by which the ledger knows it.
        use der::{Decode as _, Encode as _};
        let parsed = x509_cert::Certificate::from_der(&certificate).unwrap();
        let tbs = parsed.tbs_certificate();
        let issuer = tbs.issuer().to_der().unwrap();
        let serial = tbs.serial_number().as_bytes();
        let key = |algorithm, issuer_key: &[u8]| {
            let der = CertId::encode(algorithm, &issuer, issuer_key, serial);
            CertId::decode(&der).unwrap().to_string()
        };
        let now = Instant::now();
        let resolved = Resolved::new(8, TTL, NEGATIVE);
        let store =
            |key: &str, height| resolved.store(now, key.to_owned(), Height(height), found());
        let sha1 = key(HashAlgorithm::Sha1, b"k");
        let sha256 = key(HashAlgorithm::Sha256, b"other key");
        let unrelated = "sha1/00/00/01";
        for key in [&*sha1, &sha256, unrelated] {
            assert!(store(key, 1));
            assert_eq!(resolved.get(now, key), Some(found()));
        }
        let later = CertificateHash::from_octets([2; 32]);
        let named = [CertificateHash::from_octets([1; 32])];
        assert_eq!(resolved.shared(&later, &slots, Height(5)), named);
        assert_eq!(resolved.get(now, &sha1), None);
        assert_eq!(resolved.get(now, &sha256), None);
        assert_eq!(resolved.get(now, unrelated), Some(found()));
        // A node that has not seen that block does not have the last word.
        assert!(!store(&sha1, 4));
        assert_eq!(resolved.get(now, &sha1), None);
        assert!(store(&sha1, 5));
        assert_eq!(resolved.get(now, &sha1), Some(found()));
        // The very certificate that is named is no other.
        assert_eq!(resolved.shared(&named[0], &slots, Height(6)), []);
    }

    #[test]
    fn issuers_that_share_a_name_are_told_apart() {
        let now = Instant::now();
        let resolved = Resolved::new(8, TTL, NEGATIVE);
        let other = Resolution::Certificate(CertificateHash::from_octets([2; 32]));
        resolved.store(now, "sha1/aa/01/07".to_owned(), Height(1), found());
        resolved.store(now, "sha1/aa/02/07".to_owned(), Height(1), other);
        assert_eq!(resolved.get(now, "sha1/aa/01/07"), Some(found()));
        assert_eq!(resolved.get(now, "sha1/aa/02/07"), Some(other));
        assert_eq!(resolved.get(now, "sha1/aa/03/07"), None);
        for key in 0..100 {
            resolved.store(now, format!("sha1/bb/{key}/07"), Height(1), found());
        }
        assert_eq!(
            resolved
                .tables()
                .present
                .peek(&Slot("sha1/bb/07".to_owned()))
                .unwrap()
                .len(),
            MAX_PER_SLOT
        );
    }
}
