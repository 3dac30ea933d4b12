use std::fmt;

use crate::wire::codes::{EncrId, GroupId};

/// Why a cryptographic operation did not happen. Carries sizes and code points, never key material.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CryptoError {
    /// The signature does not fit the key and the octets.
    BadSignature,
    /// A cipher was given a key of the wrong length; lengths in octets, with the salt where the cipher has one.
    CipherKeyLength {
        /// The cipher.
        cipher: EncrId,
        /// What it needs.
        expected: usize,
        /// What it was given.
        actual: usize,
    },
    /// The key exchange could not make a key pair or a secret.
    KeyExchangeFailed(GroupId),
    /// More key material was asked for than `prf+` gives: 255 times the PRF's output ([RFC 7296 §2.13]).
    ///
    /// [RFC 7296 §2.13]: https://www.rfc-editor.org/rfc/rfc7296#section-2.13
    KeyMaterialTooLong {
        /// Octets asked for.
        asked: usize,
        /// The most there is.
        limit: usize,
    },
    /// The peer's public key bits are no key of the expected algorithm.
    KeyUnusable,
    /// All 2^64 initialization vectors of this key are used up; the SA must be rekeyed.
    IvExhausted,
    /// The IV, ICV or text buffer does not have the cipher's layout.
    Layout(EncrId),
    /// The peer's public value is not on the curve, of low order, or otherwise unusable.
    PublicValueInvalid(GroupId),
    /// The peer's public value has the wrong length; lengths in octets.
    PublicValueLength {
        /// The group.
        group: GroupId,
        /// What the group needs.
        expected: usize,
        /// What came.
        actual: usize,
    },
    /// The random source failed.
    RandomFailed,
    /// The integrity check value is wrong: the message was altered, or is under another key.
    Unauthentic,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSignature => {
                f.write_str("the signature does not verify with this key over these octets")
            }
            Self::CipherKeyLength {
                cipher,
                expected,
                actual,
            } => {
                write!(
                    f,
                    "cipher {cipher} takes {expected} octets of key and salt, not {actual}"
                )
            }
            Self::KeyExchangeFailed(group) => {
                write!(f, "key exchange of group {group} failed locally")
            }
            Self::KeyMaterialTooLong { asked, limit } => write!(
                f,
                "{asked} octets of key material asked for, prf+ gives at most {limit}"
            ),
            Self::KeyUnusable => f.write_str("the public key is not one of the expected algorithm"),
            Self::IvExhausted => {
                f.write_str("no initialization vector left under this key; rekey the SA")
            }
            Self::Layout(cipher) => {
                write!(f, "IV, ICV or text length does not fit cipher {cipher}")
            }
            Self::PublicValueInvalid(group) => {
                write!(f, "the peer's public value is not valid in group {group}")
            }
            Self::PublicValueLength {
                group,
                expected,
                actual,
            } => {
                write!(
                    f,
                    "a public value of group {group} has {expected} octets, the peer sent {actual}"
                )
            }
            Self::RandomFailed => f.write_str("the random source failed"),
            Self::Unauthentic => f.write_str("integrity check failed"),
        }
    }
}

impl std::error::Error for CryptoError {}
