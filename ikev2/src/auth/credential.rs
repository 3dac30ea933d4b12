use std::{
    fmt::{self, Debug},
    sync::Arc,
};

use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};

use super::{
    Certificate, CertificateDer, CertificateError, Identification, MAX_CHAIN_LEN, OcspRequest,
    OcspStaple,
};
use crate::crypto::{KeyAlgorithm, SignatureScheme};

/// Our own identity, certificates and private key. The key may be elsewhere: signing is a call, not octets.
pub trait LocalCredential: Debug + Send + Sync {
    /// What goes into IDi or IDr.
    fn identity(&self) -> &Identification;

    /// The end entity certificate first, then those of its issuers that the peer may need.
    fn chain(&self) -> &[CertificateDer];

    /// The schemes that [`LocalCredential::sign`] can do, preferred first.
    fn schemes(&self) -> &[SignatureScheme];

    /// Signs `octets` themselves, not a hash of them.
    ///
    /// # Errors
    /// [`SignError`].
    fn sign(&self, scheme: SignatureScheme, octets: &[u8]) -> Result<Vec<u8>, SignError>;

    /// The OCSP response that goes to a peer that asks for one ([RFC 4806 §4.2]); by default none. One that has expired is not sent.
    ///
    /// [RFC 4806 §4.2]: https://www.rfc-editor.org/rfc/rfc4806#section-4.2
    fn ocsp_staple(&self, _request: &OcspRequest) -> Option<Arc<OcspStaple>> {
        None
    }
}

/// Why our AUTH payload could not be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SignError {
    /// The key refused, or its random source failed.
    Failed,
    /// The peer takes no method and hash that our key can do. For a key without a method of its own (Ed25519, RSA) the peer must announce
    /// SIGNATURE_HASH_ALGORITHMS.
    NoCommonScheme,
    /// The credential does not do this scheme.
    SchemeUnavailable(SignatureScheme),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("the private key could not sign"),
            Self::NoCommonScheme => f.write_str(
                "no signature scheme in common: our key cannot sign with any hash in the peer's SIGNATURE_HASH_ALGORITHMS, nor by methods 9 or 10",
            ),
            Self::SchemeUnavailable(scheme) => write!(f, "the credential does not sign with {scheme:?}"),
        }
    }
}

impl std::error::Error for SignError {}

/// Why a credential was not built.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CredentialError {
    /// The end entity certificate is unusable.
    Certificate(CertificateError),
    /// The private key is not PKCS#8 of the certificate's algorithm.
    Key(KeyAlgorithm),
    /// The private key is not the one of the certificate.
    KeyMismatch,
    /// Keys of this kind can be verified but not signed with.
    UnsupportedKey(KeyAlgorithm),
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(cause) => {
                write!(f, "our end entity certificate cannot be used: {cause}")
            }
            Self::Key(algorithm) => write!(
                f,
                "the private key is no PKCS#8 key of the certificate's algorithm, {algorithm}"
            ),
            Self::KeyMismatch => {
                f.write_str("the private key does not belong to the end entity certificate")
            }
            Self::UnsupportedKey(algorithm) => write!(
                f,
                "signing with {algorithm} keys is not supported; use ECDSA P-256 or P-384, or Ed25519"
            ),
        }
    }
}

impl std::error::Error for CredentialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Certificate(cause) => Some(cause),
            _ => None,
        }
    }
}

/// A credential whose key is in memory. `ring` keeps the key and does not zeroise it; it takes ECDSA nonces from the system's random source.
pub struct Pkcs8Credential {
    identity: Identification,
    chain: Vec<CertificateDer>,
    key: Key,
}

enum Key {
    Ecdsa(Box<EcdsaKey>),
    Ed25519(Ed25519KeyPair),
}

/// One ECDSA key, ready for both forms of signature.
struct EcdsaKey {
    /// For method 14.
    der: EcdsaKeyPair,
    /// For method 9 or 10.
    raw: EcdsaKeyPair,
    /// Those of `der` and `raw`.
    schemes: [SignatureScheme; 2],
}

impl Pkcs8Credential {
    /// From certificates in DER, the end entity's first, and its private key as an unencrypted PKCS#8 structure in DER: ECDSA P-256 or P-384, or Ed25519.
    /// The caller zeroises `pkcs8`.
    ///
    /// # Errors
    /// [`CredentialError`], for instance when key and certificate do not belong together.
    pub fn from_der(
        chain: Vec<Vec<u8>>,
        pkcs8: &[u8],
        identity: Identification,
    ) -> Result<Self, CredentialError> {
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        if chain.len() > MAX_CHAIN_LEN {
            return Err(CredentialError::Certificate(
                CertificateError::ChainTooLong {
                    len: chain.len(),
                    limit: MAX_CHAIN_LEN,
                },
            ));
        }
        let end_entity = chain
            .first()
            .ok_or(CredentialError::Certificate(CertificateError::ChainEmpty))?;
        let public = Certificate::parse(end_entity)
            .map_err(CredentialError::Certificate)?
            .public_key();
        let key = match public.algorithm {
            KeyAlgorithm::EcdsaP256 => Key::ecdsa(
                pkcs8,
                [
                    &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
                    &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                ],
                [
                    SignatureScheme::EcdsaP256Sha256,
                    SignatureScheme::EcdsaP256Sha256Raw,
                ],
            ),
            KeyAlgorithm::EcdsaP384 => Key::ecdsa(
                pkcs8,
                [
                    &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
                    &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                ],
                [
                    SignatureScheme::EcdsaP384Sha384,
                    SignatureScheme::EcdsaP384Sha384Raw,
                ],
            ),
            // PKCS#8 version 1, which OpenSSL writes, has no public key to compare with; the certificate's is compared below.
            KeyAlgorithm::Ed25519 => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map(Key::Ed25519)
            }
            KeyAlgorithm::Rsa => return Err(CredentialError::UnsupportedKey(KeyAlgorithm::Rsa)),
        }
        .map_err(|_| CredentialError::Key(public.algorithm))?;
        if key.public() != public.bits {
            return Err(CredentialError::KeyMismatch);
        }
        Ok(Self {
            identity,
            chain,
            key,
        })
    }
}

impl LocalCredential for Pkcs8Credential {
    fn identity(&self) -> &Identification {
        &self.identity
    }

    fn chain(&self) -> &[CertificateDer] {
        &self.chain
    }

    fn schemes(&self) -> &[SignatureScheme] {
        match &self.key {
            Key::Ecdsa(key) => &key.schemes,
            Key::Ed25519(_) => &[SignatureScheme::Ed25519],
        }
    }

    fn sign(&self, scheme: SignatureScheme, octets: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        let signature = match &self.key {
            Key::Ecdsa(key) => match key.schemes {
                [der, _] if scheme == der => key.der.sign(&random, octets),
                [_, raw] if scheme == raw => key.raw.sign(&random, octets),
                _ => return Err(SignError::SchemeUnavailable(scheme)),
            },
            Key::Ed25519(key) if scheme == SignatureScheme::Ed25519 => Ok(key.sign(octets)),
            Key::Ed25519(_) => return Err(SignError::SchemeUnavailable(scheme)),
        };
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| SignError::Failed)
    }
}

impl Debug for Pkcs8Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs8Credential")
            .field("identity", &self.identity)
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn ecdsa(
        pkcs8: &[u8],
        [der, raw]: [&'static signature::EcdsaSigningAlgorithm; 2],
        schemes: [SignatureScheme; 2],
    ) -> Result<Self, ring::error::KeyRejected> {
        let random = SystemRandom::new();
        Ok(Self::Ecdsa(Box::new(EcdsaKey {
            der: EcdsaKeyPair::from_pkcs8(der, pkcs8, &random)?,
            raw: EcdsaKeyPair::from_pkcs8(raw, pkcs8, &random)?,
            schemes,
        })))
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::Ecdsa(key) => key.der.public_key().as_ref(),
            Self::Ed25519(key) => key.public_key().as_ref(),
        }
    }
}
