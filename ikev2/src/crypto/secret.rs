use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Octets that must not leak: zeroised when dropped, `Debug` prints the length only, and there is no `PartialEq`
/// (compare with [`SecretBytes::ct_eq`], in constant time).
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes a copy. The caller keeps the duty to zeroise the original.
    #[must_use]
    pub fn copy_of(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.to_vec()))
    }

    /// Concatenates `parts` without leaving an intermediate copy behind.
    #[must_use]
    pub fn concat(parts: &[&[u8]]) -> Self {
        // Reserved in full: a growing vector would leave unzeroised remains on the heap.
        let mut out = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            out.extend_from_slice(part);
        }
        Self(Zeroizing::new(out))
    }

    /// The octets, for the one computation that needs them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Number of octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no octets at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in time that depends on the lengths only.
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} octets)", self.len())
    }
}

impl Zeroize for SecretBytes {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_length_and_nothing_else() {
        let secret = SecretBytes::copy_of(&[0xAB; 20]);
        assert_eq!(format!("{secret:?}"), "SecretBytes(20 octets)");
        assert_eq!(
            format!("{:?}", Some(&secret)),
            "Some(SecretBytes(20 octets))"
        );
    }

    #[test]
    fn comparison_needs_equal_length_and_content() {
        let secret = SecretBytes::concat(&[b"ab", b"", b"c"]);
        assert!(secret.ct_eq(b"abc"));
        assert!(!secret.ct_eq(b"abd"));
        assert!(!secret.ct_eq(b"ab"));
        assert!(!secret.ct_eq(b"abcd"));
    }

    #[test]
    fn zeroize_empties() {
        let mut secret = SecretBytes::copy_of(b"abc");
        secret.zeroize();
        assert!(secret.is_empty());
    }
}
