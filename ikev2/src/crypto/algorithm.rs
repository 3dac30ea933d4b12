//! The traits that a provider's entries implement.

use std::fmt::{self, Debug};

use super::{CryptoError, KeyAlgorithm, SecretBytes, SharedSecret, SignatureScheme};
use crate::wire::codes::{EncrId, GroupId, PrfId};

/// A source of random octets for SPIs, nonces, cookies and the like.
pub trait SecureRandom: Debug + Send + Sync {
    /// Fills `out`.
    ///
    /// # Errors
    /// [`RandomFailed`] when the source cannot give random octets; `out` must not be used then.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed>;
}

/// The random source failed; nothing that needs randomness may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RandomFailed;

impl fmt::Display for RandomFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the random source failed")
    }
}

impl std::error::Error for RandomFailed {}

impl From<RandomFailed> for CryptoError {
    fn from(_: RandomFailed) -> Self {
        Self::RandomFailed
    }
}

/// A key exchange method (transform type 4).
pub trait SupportedGroup: Debug + Send + Sync {
    /// Its code point.
    fn id(&self) -> GroupId;

    /// Makes an ephemeral key pair, as the initiator of the exchange.
    ///
    /// # Errors
    /// [`CryptoError::KeyExchangeFailed`] or [`CryptoError::RandomFailed`].
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, CryptoError>;

    /// Answers the initiator's public value in one step, as the responder.
    ///
    /// The default is right for Diffie-Hellman; a key encapsulation method, whose answer depends on the question, overrides it.
    ///
    /// # Errors
    /// As [`SupportedGroup::start`] and [`ActiveKeyExchange::complete`].
    fn respond(&self, peer: &[u8]) -> Result<Response, CryptoError> {
        let active = self.start()?;
        let public_value = active.public_value().to_vec();
        Ok(Response {
            public_value,
            secret: active.complete(peer)?,
        })
    }
}

/// What the responder of a key exchange gets: the value to send and the secret.
#[derive(Debug)]
pub struct Response {
    /// Key Exchange Data of the KE payload to send.
    pub public_value: Vec<u8>,
    /// The shared secret.
    pub secret: SharedSecret,
}

/// An ephemeral key pair that waits for the peer's public value. Used once.
pub trait ActiveKeyExchange: Send {
    /// The group's code point.
    fn group(&self) -> GroupId;

    /// Our Key Exchange Data, in the form of the KE payload ([RFC 7296 §3.4]).
    ///
    /// [RFC 7296 §3.4]: https://www.rfc-editor.org/rfc/rfc7296#section-3.4
    fn public_value(&self) -> &[u8];

    /// Combines with the peer's Key Exchange Data, which may be hostile.
    ///
    /// # Errors
    /// [`CryptoError::PublicValueLength`] or [`CryptoError::PublicValueInvalid`]; the key pair is gone either way.
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, CryptoError>;
}

/// A pseudorandom function (transform type 2).
pub trait SupportedPrf: Debug + Send + Sync {
    /// Its code point.
    fn id(&self) -> PrfId;

    /// Output length in octets, which is also its preferred key length ([RFC 7296 §2.13]).
    ///
    /// [RFC 7296 §2.13]: https://www.rfc-editor.org/rfc/rfc7296#section-2.13
    fn output_len(&self) -> usize;

    /// Prepares a key of any length.
    fn key(&self, key: &[u8]) -> Box<dyn PrfKey>;
}

/// A PRF with its key.
pub trait PrfKey: Debug + Send + Sync {
    /// `prf(key, parts[0] | parts[1] | ..)`.
    fn compute(&self, parts: &[&[u8]]) -> SecretBytes;
}

/// Sizes, in octets, that a cipher imposes on an Encrypted payload ([RFC 7296 §3.14]) or an ESP packet.
///
/// [RFC 7296 §3.14]: https://www.rfc-editor.org/rfc/rfc7296#section-3.14
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CipherLayout {
    /// Key material per direction, with the salt where the cipher has one (RFC 5282 §7.1, RFC 7634 §2).
    pub key_len: usize,
    /// Explicit initialization vector in front of the text.
    pub iv_len: usize,
    /// Text, padding and the pad length octet together are a multiple of this; 1 for an AEAD cipher.
    pub block_len: usize,
    /// Integrity check value after the text.
    pub icv_len: usize,
}

/// An encryption algorithm (transform type 1) together with the integrity protection that goes with it.
///
/// For an AEAD cipher that is itself. The signatures leave room for encrypt-then-MAC: what is authenticated is `aad | iv | text` in both cases.
pub trait SupportedCipher: Debug + Send + Sync {
    /// Its code point.
    fn id(&self) -> EncrId;

    /// The Key Length attribute in bits, for algorithms that have one ([RFC 7296 §3.3.5]).
    ///
    /// [RFC 7296 §3.3.5]: https://www.rfc-editor.org/rfc/rfc7296#section-3.3.5
    fn key_bits(&self) -> Option<u16>;

    /// Whether it protects integrity by itself, so that no integrity transform goes with it.
    fn is_aead(&self) -> bool;

    /// Sizes.
    fn layout(&self) -> CipherLayout;

    /// Prepares the sending direction. `key` is `layout().key_len` octets of key material (SK_ei or SK_er). A key must be given to one sealer only.
    ///
    /// # Errors
    /// [`CryptoError::CipherKeyLength`].
    fn sealer(&self, key: &SecretBytes) -> Result<Box<dyn Sealer>, CryptoError>;

    /// Prepares the receiving direction.
    ///
    /// # Errors
    /// [`CryptoError::CipherKeyLength`].
    fn opener(&self, key: &SecretBytes) -> Result<Box<dyn Opener>, CryptoError>;
}

/// The sending direction of one key. Chooses the IV, which never repeats.
pub trait Sealer: Debug + Send + Sync {
    /// Sizes.
    fn layout(&self) -> CipherLayout;

    /// Encrypts `text` (padding and pad length octet included) in place and writes `iv` and `icv`.
    /// For IKE, `aad` runs from the IKE header to the end of the Encrypted payload's generic header ([RFC 5282 §5.1]).
    ///
    /// # Errors
    /// [`CryptoError::Layout`] when a slice does not have the length of [`CipherLayout`]; [`CryptoError::IvExhausted`].
    ///
    /// [RFC 5282 §5.1]: https://www.rfc-editor.org/rfc/rfc5282#section-5.1
    fn seal(
        &mut self,
        aad: &[u8],
        iv: &mut [u8],
        text: &mut [u8],
        icv: &mut [u8],
    ) -> Result<(), CryptoError>;
}

/// The receiving direction of one key.
pub trait Opener: Debug + Send + Sync {
    /// Sizes.
    fn layout(&self) -> CipherLayout;

    /// Checks `icv` and decrypts `text` in place; padding is the caller's to remove. On error `text` holds nothing of use.
    ///
    /// # Errors
    /// [`CryptoError::Unauthentic`], or [`CryptoError::Layout`] when a slice does not have the length of [`CipherLayout`].
    fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError>;
}

/// A signature scheme that can be verified.
pub trait SupportedSignature: Debug + Send + Sync {
    /// The scheme.
    fn scheme(&self) -> SignatureScheme;

    /// The kind of key that it takes.
    fn key_algorithm(&self) -> KeyAlgorithm {
        self.scheme().key_algorithm()
    }

    /// Verifies `signature` over `octets` with `key`, the content of the SubjectPublicKeyInfo's BIT STRING.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`], for an unusable key too.
    fn verify(&self, key: &[u8], octets: &[u8], signature: &[u8]) -> Result<(), CryptoError>;
}
