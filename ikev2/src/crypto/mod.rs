//! Cryptography behind one value, the [`CryptoProvider`].
//!
//! Protocol code never names a library: it asks the provider for a cipher, PRF, group or signature scheme by its code point. A provider is a plain
//! struct of `&'static dyn` fields, so that another one is made by struct update:
//!
//! ```
//! use ikev2::crypto::{CryptoProvider, RING};
//!
//! let provider = CryptoProvider { groups: vec![RING.groups[1]].into(), ..RING.clone() };
//! assert_eq!(provider.groups.len(), 1);
//! ```

mod algorithm;
mod error;
mod provider;
mod ring;
mod scheme;
mod secret;

#[doc(hidden)]
pub mod test_provider;
#[cfg(test)]
pub(crate) mod vectors;

pub use algorithm::{
    ActiveKeyExchange, CipherLayout, Opener, PrfKey, RandomFailed, Response, Sealer, SecureRandom,
    SupportedCipher, SupportedGroup, SupportedPrf, SupportedSignature,
};
pub use error::CryptoError;
pub use provider::{CryptoProvider, identifier_sha1};
pub use ring::{RING, ring_provider};
pub use scheme::{KeyAlgorithm, SignatureScheme};
pub use secret::SecretBytes;

/// The secret that a key exchange ends in, `g^ir` in [RFC 7296 §2.14].
///
/// [RFC 7296 §2.14]: https://www.rfc-editor.org/rfc/rfc7296#section-2.14
pub type SharedSecret = SecretBytes;
