//! The 32-octet SHA-256 values that name things, each its own type.

use core::fmt;
use core::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// Why a text is not one of this crate's hexadecimal values.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected {expected} lower-case hexadecimal digits, and got something else in {found} octets"
)]
pub struct HexError {
    /// How many digits there should be.
    pub expected: usize,
    /// How many octets of text there were.
    pub found: usize,
}

/// Reads exactly `2 * N` lower-case hexadecimal digits: one value has one text.
pub(crate) fn fixed_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let error = HexError {
        expected: 2 * N,
        found: text.len(),
    };
    if text.bytes().any(|octet| octet.is_ascii_uppercase()) {
        return Err(error);
    }
    let mut octets = [0; N];
    hex::decode_to_slice(text, &mut octets).map_err(|_| error)?;
    Ok(octets)
}

pub(crate) fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, octets).as_ref());
    hash
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// As text, and so in JSON, it is 64 lower-case hexadecimal digits.
        #[derive(
            BorshDeserialize, BorshSerialize, Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq,
            PartialOrd, Serialize,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps octets that are known to be such a hash.
            #[must_use]
            pub const fn from_octets(octets: [u8; 32]) -> Self {
                Self(octets)
            }

            /// The 32 octets.
            #[must_use]
            pub const fn as_octets(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for octet in self.0 {
                    write!(f, "{octet:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                fixed_hex(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = HexError;

            fn try_from(text: String) -> Result<Self, HexError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(hash: $name) -> Self {
                hash.to_string()
            }
        }
    };
}

hash_type! {
    /// H(CERT): SHA-256 over the DER certificate, the only key by which a certificate is known.
    CertificateHash
}

hash_type! {
    /// Names a chain: SHA-256 over its genesis. Every transaction and block is bound to it.
    ChainId
}

hash_type! {
    /// SHA-256 over a block's header. The first block's predecessor is the genesis.
    BlockHash
}

hash_type! {
    /// SHA-256 over the octets that a transaction's signature covers. Two signatures over the same
    /// transaction are one transaction.
    TransactionId
}

hash_type! {
    /// SHA-256 over a certificate's DER `SubjectPublicKeyInfo`.
    KeyHash
}

hash_type! {
    /// SHA-256 over a DER X.501 `Name`, as it stands in the certificate.
    NameHash
}

impl CertificateHash {
    /// The hash of a DER certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(sha256(der))
    }
}

impl KeyHash {
    /// The hash of a DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn of(spki: &[u8]) -> Self {
        Self(sha256(spki))
    }
}

impl NameHash {
    /// The hash of a DER `Name`.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        Self(sha256(name))
    }
}

impl From<ChainId> for BlockHash {
    /// What the first block names as its predecessor.
    fn from(chain: ChainId) -> Self {
        Self(chain.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "abc", FIPS 180-4 example.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_hash_is_64_lower_case_digits_in_text_and_json() {
        let hash = CertificateHash::of(b"abc");
        assert_eq!(hash.to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(hash));
        assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{ABC}\""));
        assert_eq!(
            serde_json::from_str::<CertificateHash>(&format!("\"{ABC}\"")).unwrap(),
            hash
        );
        assert_eq!(format!("{hash:?}"), format!("CertificateHash({ABC})"));
    }

    #[test]
    fn other_texts_are_refused() {
        let upper = ABC.to_uppercase();
        let odd = &ABC[1..];
        let long = format!("{ABC}00");
        for text in ["", "ba", odd, &upper, &long, &ABC.replace('b', "g")] {
            assert_eq!(
                text.parse::<CertificateHash>(),
                Err(HexError {
                    expected: 64,
                    found: text.len()
                }),
                "{text}"
            );
        }
    }
}
