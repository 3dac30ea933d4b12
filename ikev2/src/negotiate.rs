//! Choosing algorithms: proposals as configured, offered, chosen and checked (RFC 7296 §2.7, §3.3).

use crate::child::EspSuite;
use crate::crypto::CryptoProvider;
use crate::wire::codes::{EncrId, EsnId, GroupId, IntegId, PrfId, ProtocolId, TransformType};
use crate::wire::sa::{Proposal, Transform};

/// An encryption algorithm with its key length.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Cipher {
    /// The algorithm.
    pub id: EncrId,
    /// The Key Length attribute in bits; None for an algorithm that has none.
    pub key_bits: Option<u16>,
}

impl Cipher {
    /// AES-128-GCM with a 16-octet ICV.
    pub const AES_128_GCM: Self = Self { id: EncrId::AES_GCM_16, key_bits: Some(128) };
    /// AES-256-GCM with a 16-octet ICV.
    pub const AES_256_GCM: Self = Self { id: EncrId::AES_GCM_16, key_bits: Some(256) };
    /// ChaCha20-Poly1305 (RFC 7634).
    pub const CHACHA20_POLY1305: Self = Self { id: EncrId::CHACHA20_POLY1305, key_bits: None };

    fn transform(self) -> Transform {
        Transform {
            kind: TransformType::ENCR,
            id: self.id.0,
            key_bits: self.key_bits,
        }
    }
}

/// Algorithms for an IKE SA: any of each list goes with any of the others. Lists are in order of
/// preference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IkeProposal {
    /// AEAD ciphers.
    pub ciphers: Vec<Cipher>,
    /// Pseudorandom functions.
    pub prfs: Vec<PrfId>,
    /// Key exchange methods. An initiator sends a key of the first.
    pub groups: Vec<GroupId>,
}

impl IkeProposal {
    /// Whether a list is empty, so that nothing could be negotiated.
    pub fn is_incomplete(&self) -> bool {
        self.ciphers.is_empty() || self.prfs.is_empty() || self.groups.is_empty()
    }
}

impl Default for IkeProposal {
    /// AES-GCM-16 with 128 and 256 bits, then ChaCha20-Poly1305; PRF HMAC-SHA2-256, then 384;
    /// X25519, then P-256: what RFC 8247 recommends, the fastest first.
    fn default() -> Self {
        Self {
            ciphers: vec![Cipher::AES_128_GCM, Cipher::AES_256_GCM, Cipher::CHACHA20_POLY1305],
            prfs: vec![PrfId::HMAC_SHA2_256, PrfId::HMAC_SHA2_384],
            groups: vec![GroupId::X25519, GroupId::P256],
        }
    }
}

/// Algorithms for a child SA (ESP). Lists are in order of preference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EspProposal {
    /// AEAD ciphers.
    pub ciphers: Vec<Cipher>,
    /// Sequence numbers of 64 bits, of 32 bits, or both.
    pub esn: Vec<EsnId>,
}

impl EspProposal {
    /// Whether a list is empty, so that nothing could be negotiated.
    pub fn is_empty(&self) -> bool {
        self.ciphers.is_empty() || self.esn.is_empty()
    }
}

impl Default for EspProposal {
    /// AES-GCM-16 with 128 and 256 bits, then ChaCha20-Poly1305; 64-bit sequence numbers where the
    /// peer has them, since 32 bits run out in minutes on a fast link.
    fn default() -> Self {
        Self {
            ciphers: vec![Cipher::AES_128_GCM, Cipher::AES_256_GCM, Cipher::CHACHA20_POLY1305],
            esn: vec![EsnId::ESN, EsnId::NO_ESN],
        }
    }
}

/// The negotiated algorithms of an IKE SA.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IkeSuite {
    /// The cipher.
    pub cipher: Cipher,
    /// The pseudorandom function.
    pub prf: PrfId,
    /// The key exchange method.
    pub group: GroupId,
}
