//! How responses are signed: SHA-2 only.

use crate::wire::{self, tag};

/// How responses are signed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    EcdsaSha256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaSha384,
    /// Ed25519.
    Ed25519,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaSha256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    RsaSha384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    RsaSha512,
}

impl SignatureAlgorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::Ed25519,
        Self::RsaSha256,
        Self::RsaSha384,
        Self::RsaSha512,
    ];

    /// The object identifier of its `AlgorithmIdentifier`.
    #[must_use]
    pub const fn oid(self) -> const_oid::ObjectIdentifier {
        match self {
            Self::EcdsaSha256 => wire::ECDSA_WITH_SHA256,
            Self::EcdsaSha384 => wire::ECDSA_WITH_SHA384,
            Self::Ed25519 => wire::ID_ED25519,
            Self::RsaSha256 => wire::SHA256_WITH_RSA,
            Self::RsaSha384 => wire::SHA384_WITH_RSA,
            Self::RsaSha512 => wire::SHA512_WITH_RSA,
        }
    }

    /// From the content of an OBJECT IDENTIFIER; `None` when it is not one of these.
    #[must_use]
    pub fn from_oid_octets(octets: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.oid().as_bytes() == octets)
    }

    /// Writes the `AlgorithmIdentifier`: with NULL for RSA (RFC 4055 §5), else without parameters (RFC 5758 §3.2,
    /// RFC 8410 §3).
    pub fn encode(self, out: &mut Vec<u8>) {
        wire::nested(out, tag::SEQUENCE, |out| {
            wire::oid(out, self.oid());
            if matches!(self, Self::RsaSha256 | Self::RsaSha384 | Self::RsaSha512) {
                wire::tlv(out, tag::NULL, &[]);
            }
        });
    }
}
