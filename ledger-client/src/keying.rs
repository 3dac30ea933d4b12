//! A cheap hash for keys that are hashes already.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Builds [`KeyHasher`]s with one secret seed.
///
/// H(CERT) is SHA-256, so its octets are uniform, but they are the peer's choice all the same: whoever may
/// present self-signed certificates can make many of them and keep those whose first octets agree; 2^20
/// tries for each make keys that collide in the first 20 bits, which would fill one bucket of a table that
/// used these bits as they are. Here 16 octets are multiplied with a seed that the peer cannot know and
/// cannot observe, so keys that were chosen beforehand spread like any others. Agreement in all 16 octets
/// costs 2^64 SHA-256 calculations for one pair. That is less than SipHash promises, and a tenth of its cost.
#[derive(Clone, Copy)]
pub(crate) struct KeySeed([u64; 2]);

impl KeySeed {
    pub(crate) const fn new(seed: [u64; 2]) -> Self {
        Self(seed)
    }

    /// A seed from the operating system's random source, by way of the standard library's.
    pub(crate) fn random() -> Self {
        let word = |salt: u64| RandomState::new().hash_one(salt);
        Self::new([word(0), word(1)])
    }
}

impl BuildHasher for KeySeed {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher {
            seed: self.0,
            state: 0,
        }
    }
}

/// Hashes one fixed-size key.
pub(crate) struct KeyHasher {
    seed: [u64; 2],
    state: u64,
}

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, octets: &[u8]) {
        let word = |at: usize| {
            octets
                .get(at..at + 8)
                .and_then(|word| word.try_into().ok())
                .map_or(0, u64::from_le_bytes)
        };
        let [low, high] = self.seed;
        let mixed = fold(word(0) ^ low ^ self.state, word(8) ^ high);
        // Once more, as one multiplication leaves traces of keys that differ in one of the two words only.
        self.state = fold(mixed ^ high, low | 1);
    }

    fn write_usize(&mut self, _length: usize) {
        // All keys have the same length: their length prefix distinguishes nothing.
    }
}

/// Multiplies, and brings the product's well-mixed middle into both ends, which hash tables use.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ledger::CertificateHash;

    use super::*;

    fn key(n: u64) -> CertificateHash {
        // As a hostile peer would choose them: equal in the first 4 octets.
        let mut octets = [7; 32];
        octets[4..8].copy_from_slice(&(n as u32).to_le_bytes());
        CertificateHash::from_octets(octets)
    }

    #[test]
    fn chosen_keys_spread_over_low_and_high_bits() {
        let seed = KeySeed::new([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03]);
        let hashes: Vec<u64> = (0..4096).map(|n| seed.hash_one(key(n))).collect();
        let low: HashSet<u64> = hashes.iter().map(|h| h & 0xfff).collect();
        let high: HashSet<u64> = hashes.iter().map(|h| h >> 52).collect();
        // A random function fills 1 - 1/e of the buckets, 2589.
        assert!(low.len() > 2300, "{}", low.len());
        assert!(high.len() > 2300, "{}", high.len());
    }

    #[test]
    fn seeds_differ_and_matter() {
        let [a, b] = [KeySeed::random(), KeySeed::random()];
        assert_ne!(a.hash_one(key(1)), b.hash_one(key(1)));
        assert_eq!(a.hash_one(key(1)), a.hash_one(key(1)));
    }
}
