use std::fmt;

use crate::wire::codes::HashAlgorithm;

/// The kind of a public key, with the curve where there is one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA of 2048 to 8192 bits.
    Rsa,
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
        })
    }
}

/// A signature algorithm with its hash and the form of the signature. SHA-1 is absent on purpose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// ECDSA P-256 with SHA2-256, DER signature.
    EcdsaP256Sha256,
    /// ECDSA P-256 with SHA2-384, DER signature.
    EcdsaP256Sha384,
    /// ECDSA P-384 with SHA2-256, DER signature.
    EcdsaP384Sha256,
    /// ECDSA P-384 with SHA2-384, DER signature.
    EcdsaP384Sha384,
    /// ECDSA P-256 with SHA2-256, raw `r | s` of 64 octets: authentication method 9 (RFC 4754).
    EcdsaP256Sha256Raw,
    /// ECDSA P-384 with SHA2-384, raw `r | s` of 96 octets: authentication method 10 (RFC 4754).
    EcdsaP384Sha384Raw,
    /// Ed25519 over the octets themselves, hash "Identity" (RFC 8420).
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA2-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA2-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA2-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA2-256, MGF1 with the same, salt of 32 octets.
    RsaPssSha256,
    /// RSASSA-PSS with SHA2-384, MGF1 with the same, salt of 48 octets.
    RsaPssSha384,
    /// RSASSA-PSS with SHA2-512, MGF1 with the same, salt of 64 octets.
    RsaPssSha512,
}

impl SignatureScheme {
    /// The kind of key that it takes.
    #[must_use]
    pub fn key_algorithm(self) -> KeyAlgorithm {
        match self {
            Self::EcdsaP256Sha256 | Self::EcdsaP256Sha384 | Self::EcdsaP256Sha256Raw => {
                KeyAlgorithm::EcdsaP256
            }
            Self::EcdsaP384Sha256 | Self::EcdsaP384Sha384 | Self::EcdsaP384Sha384Raw => {
                KeyAlgorithm::EcdsaP384
            }
            Self::Ed25519 => KeyAlgorithm::Ed25519,
            Self::RsaPkcs1Sha256
            | Self::RsaPkcs1Sha384
            | Self::RsaPkcs1Sha512
            | Self::RsaPssSha256
            | Self::RsaPssSha384
            | Self::RsaPssSha512 => KeyAlgorithm::Rsa,
        }
    }

    /// The hash to look for in the peer's SIGNATURE_HASH_ALGORITHMS before signing with method 14 ([RFC 7427 §4]).
    ///
    /// [RFC 7427 §4]: https://www.rfc-editor.org/rfc/rfc7427#section-4
    #[must_use]
    pub fn hash(self) -> HashAlgorithm {
        match self {
            Self::EcdsaP256Sha256
            | Self::EcdsaP384Sha256
            | Self::EcdsaP256Sha256Raw
            | Self::RsaPkcs1Sha256
            | Self::RsaPssSha256 => HashAlgorithm::SHA2_256,
            Self::EcdsaP256Sha384
            | Self::EcdsaP384Sha384
            | Self::EcdsaP384Sha384Raw
            | Self::RsaPkcs1Sha384
            | Self::RsaPssSha384 => HashAlgorithm::SHA2_384,
            Self::RsaPkcs1Sha512 | Self::RsaPssSha512 => HashAlgorithm::SHA2_512,
            Self::Ed25519 => HashAlgorithm::IDENTITY,
        }
    }
}
