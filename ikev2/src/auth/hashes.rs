//! The SIGNATURE_HASH_ALGORITHMS notification (RFC 7427 §4).

use crate::wire::codes::HashAlgorithm;

/// The hashes that we announce. Never SHA-1. Not SHA2-512 either: `ring` has no ECDSA with it, and a peer that prefers the longest hash would sign so.
pub const ANNOUNCED_HASHES: [HashAlgorithm; 3] = [
    HashAlgorithm::SHA2_256,
    HashAlgorithm::SHA2_384,
    HashAlgorithm::IDENTITY,
];

/// How many announced hashes of the peer are looked at; the registry has fewer than ten.
const MAX_HASHES: usize = 32;

/// The notification data: 16 bits each.
#[must_use]
pub fn encode_hash_algorithms(hashes: &[HashAlgorithm]) -> Vec<u8> {
    hashes
        .iter()
        .flat_map(|hash| hash.0.to_be_bytes())
        .collect()
}

/// The hashes in the peer's notification data; unknown ones included, SHA-1 left out, at most 32. `None` when the data is of odd length.
#[must_use]
pub fn decode_hash_algorithms(value: &[u8]) -> Option<Vec<HashAlgorithm>> {
    let (pairs, rest) = value.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    Some(
        pairs
            .iter()
            .take(MAX_HASHES)
            .map(|pair| HashAlgorithm(u16::from_be_bytes(*pair)))
            .filter(|hash| *hash != HashAlgorithm::SHA1)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announces_sha2_and_identity() {
        assert_eq!(
            encode_hash_algorithms(&ANNOUNCED_HASHES),
            [0, 2, 0, 3, 0, 5]
        );
    }

    #[test]
    fn decodes_leaving_sha1_out_and_unknown_ones_in() {
        assert_eq!(
            decode_hash_algorithms(&[0, 1, 0, 2, 0x12, 0x34]),
            Some(vec![HashAlgorithm::SHA2_256, HashAlgorithm(0x1234)])
        );
        assert_eq!(decode_hash_algorithms(&[0, 2, 0]), None);
        assert_eq!(decode_hash_algorithms(&[]), Some(vec![]));
        assert_eq!(
            decode_hash_algorithms(&[0; 1000]).map(|hashes| hashes.len()),
            Some(MAX_HASHES)
        );
    }
}
