use std::borrow::Cow;

use ring::digest;

use super::{
    SecureRandom, SignatureScheme, SupportedCipher, SupportedGroup, SupportedPrf,
    SupportedSignature,
};
use crate::wire::codes::{EncrId, GroupId, PrfId};

/// Everything cryptographic that the library uses. Lists are in order of preference.
#[derive(Clone, Debug)]
pub struct CryptoProvider {
    /// Random octets.
    pub random: &'static dyn SecureRandom,
    /// Encryption algorithms, one entry per key length.
    pub ciphers: Cow<'static, [&'static dyn SupportedCipher]>,
    /// Pseudorandom functions.
    pub prfs: Cow<'static, [&'static dyn SupportedPrf]>,
    /// Key exchange methods.
    pub groups: Cow<'static, [&'static dyn SupportedGroup]>,
    /// Signature schemes that can be verified.
    pub signatures: Cow<'static, [&'static dyn SupportedSignature]>,
}

impl CryptoProvider {
    /// The cipher with this code point and Key Length attribute (`None` for a cipher that has no such attribute).
    #[must_use]
    pub fn cipher(
        &self,
        id: EncrId,
        key_bits: Option<u16>,
    ) -> Option<&'static dyn SupportedCipher> {
        self.ciphers
            .iter()
            .copied()
            .find(|cipher| cipher.id() == id && cipher.key_bits() == key_bits)
    }

    /// The PRF with this code point.
    #[must_use]
    pub fn prf(&self, id: PrfId) -> Option<&'static dyn SupportedPrf> {
        self.prfs.iter().copied().find(|prf| prf.id() == id)
    }

    /// The key exchange method with this code point.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&'static dyn SupportedGroup> {
        self.groups.iter().copied().find(|group| group.id() == id)
    }

    /// The verification side of a signature scheme.
    #[must_use]
    pub fn signature(&self, scheme: SignatureScheme) -> Option<&'static dyn SupportedSignature> {
        self.signatures
            .iter()
            .copied()
            .find(|entry| entry.scheme() == scheme)
    }
}

/// SHA-1 over `parts`, where the protocol uses it as an *identifier* and collisions harm nobody: CERTREQ authorities ([RFC 7296 §3.7]) and NAT detection
/// ([RFC 7296 §2.23]). Never for a signature.
///
/// [RFC 7296 §2.23]: https://www.rfc-editor.org/rfc/rfc7296#section-2.23
/// [RFC 7296 §3.7]: https://www.rfc-editor.org/rfc/rfc7296#section-3.7
#[must_use]
pub fn identifier_sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 20];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha1_of_parts_is_sha1_of_the_whole() {
        // FIPS 180-4, "abc".
        assert_eq!(
            hex::encode(identifier_sha1(&[b"a", b"", b"bc"])),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
    }
}
