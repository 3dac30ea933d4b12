//! A member with its key, who signs transactions.

use std::fmt;

use ledger::{Body, ChainId, Height, MemberId, MemberKey, SignedTransaction, Transaction};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

/// For how many blocks a transaction that an [`Endorser`] signs may wait.
pub const MAX_WAIT: u64 = 1_000;

/// What stands before the 32-octet seed in the PKCS#8 form of an Ed25519 key (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why there is no endorser, or no signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EndorserError {
    /// Not an Ed25519 private key.
    #[error("not an Ed25519 private key in PKCS#8 form (RFC 8410); members sign with Ed25519")]
    Key,
    /// The system gave no random octets.
    #[error("the system's random source failed")]
    Random,
}

/// A member with its Ed25519 key pair. `Debug` shows the name and the public key only.
pub struct Endorser {
    member: MemberId,
    pair: Ed25519KeyPair,
}

impl Endorser {
    /// A member with its key pair, such as [`key::read`](crate::key::read) gives.
    #[must_use]
    pub const fn new(member: MemberId, pair: Ed25519KeyPair) -> Self {
        Self { member, pair }
    }

    /// Reads the key from its DER PKCS#8 form.
    ///
    /// # Errors
    ///
    /// [`EndorserError::Key`] when it is anything else.
    pub fn from_pkcs8(member: MemberId, der: &[u8]) -> Result<Self, EndorserError> {
        // "maybe unchecked" takes version 1 too, which has no public key to check against.
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| EndorserError::Key)?;
        Ok(Self { member, pair })
    }

    /// Makes a key that lives only as long as this value.
    ///
    /// # Errors
    ///
    /// [`EndorserError::Random`].
    pub fn generate(member: MemberId) -> Result<Self, EndorserError> {
        Self::from_pkcs8(member, &Self::generate_pkcs8()?)
    }

    /// Makes a key in its DER PKCS#8 form, to be kept.
    ///
    /// # Errors
    ///
    /// [`EndorserError::Random`].
    pub fn generate_pkcs8() -> Result<Zeroizing<Vec<u8>>, EndorserError> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(seed.as_mut())
            .map_err(|_| EndorserError::Random)?;
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + seed.len()));
        der.extend_from_slice(&PKCS8_PREFIX);
        der.extend_from_slice(seed.as_ref());
        Ok(der)
    }

    /// The member's name.
    #[must_use]
    pub const fn member(&self) -> &MemberId {
        &self.member
    }

    /// The member's public key.
    #[must_use]
    pub fn key(&self) -> MemberKey {
        MemberKey::of(&self.pair)
    }

    /// Signs what is asked for. The transaction may be applied until [`MAX_WAIT`] blocks after
    /// `head`.
    ///
    /// # Errors
    ///
    /// [`EndorserError::Random`].
    pub fn sign(
        &self,
        chain: ChainId,
        head: Height,
        body: Body,
    ) -> Result<SignedTransaction, EndorserError> {
        self.sign_until(chain, Height(head.0.saturating_add(MAX_WAIT)), body)
    }

    /// As [`sign`](Self::sign), with the last height at which the transaction may be applied.
    ///
    /// # Errors
    ///
    /// [`EndorserError::Random`].
    pub fn sign_until(
        &self,
        chain: ChainId,
        expires: Height,
        body: Body,
    ) -> Result<SignedTransaction, EndorserError> {
        let mut nonce = [0; 8];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| EndorserError::Random)?;
        let transaction = Transaction {
            chain,
            member: self.member.clone(),
            nonce: u64::from_le_bytes(nonce),
            expires,
            body,
        };
        Ok(SignedTransaction::sign(transaction, &self.pair))
    }
}

impl fmt::Debug for Endorser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endorser")
            .field("member", &self.member)
            .field("key", &self.key())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410 §10.3, the first example, and the public key of §10.1.
    const RFC_8410: &str = "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    const RFC_8410_PUBLIC: &str =
        "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

    #[test]
    fn the_key_of_rfc_8410_is_read() {
        let der = hex::decode(RFC_8410).unwrap();
        let endorser = Endorser::from_pkcs8("acme".parse().unwrap(), &der).unwrap();
        assert_eq!(endorser.key().to_string(), RFC_8410_PUBLIC);
        let shown = format!("{endorser:?}");
        assert!(
            shown.contains(RFC_8410_PUBLIC) && !shown.contains("d4ee72db"),
            "{shown}"
        );
    }

    #[test]
    fn generated_keys_differ_and_sign() {
        let member: MemberId = "acme".parse().unwrap();
        let der = Endorser::generate_pkcs8().unwrap();
        let endorser = Endorser::from_pkcs8(member.clone(), &der).unwrap();
        assert_ne!(endorser.key(), Endorser::generate(member).unwrap().key());
        let hash = ledger::CertificateHash::of(b"");
        let chain = ChainId::from_octets([1; 32]);
        let signed = endorser
            .sign(chain, Height(5), Body::Suspend { hash })
            .unwrap();
        assert!(signed.is_signed_by(&endorser.key()));
        assert_eq!(signed.transaction.expires, Height(5 + MAX_WAIT));
        let again = endorser
            .sign(chain, Height(5), Body::Suspend { hash })
            .unwrap();
        assert_ne!(again.id(), signed.id());
    }

    #[test]
    fn other_octets_are_not_a_key() {
        let der = hex::decode(RFC_8410).unwrap();
        for length in 0..der.len() {
            let error = Endorser::from_pkcs8("acme".parse().unwrap(), &der[..length]).unwrap_err();
            assert_eq!(error, EndorserError::Key);
        }
    }
}
