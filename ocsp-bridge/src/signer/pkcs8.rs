//! Keys in memory, from PKCS#8.

use std::fmt;

use der::Tag;
use ocsp::{
    SignatureAlgorithm,
    wire::{self, Tlv},
};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaKeyPair,
};

use super::{SignError, SignerError, SigningCost, SigningKey};

/// A key in memory, from PKCS#8.
pub(super) struct Pkcs8Key {
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Pkcs8Key {
    pub(super) fn new(pkcs8: &[u8]) -> Result<Self, SignerError> {
        let random = SystemRandom::new();
        let ecdsa = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &random);
        let pair = match key_algorithm(pkcs8) {
            Some(KeyAlgorithm::Ec) => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)
                .map(Pair::P256)
                .or_else(|_| ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING).map(Pair::P384)),
            // OpenSSL leaves the public key out.
            Some(KeyAlgorithm::Ed25519) => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map(Pair::Ed25519)
            }
            Some(KeyAlgorithm::Rsa) => RsaKeyPair::from_pkcs8(pkcs8).map(Pair::Rsa),
            None => return Err(SignerError::Key("no known PKCS#8 key".to_owned())),
        };
        match pair {
            Ok(pair) => Ok(Self { pair, random }),
            Err(rejected) => Err(SignerError::Key(rejected.to_string())),
        }
    }
}

impl fmt::Debug for Pkcs8Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs8Key")
            .field("algorithms", &self.algorithms())
            .finish_non_exhaustive()
    }
}

impl SigningKey for Pkcs8Key {
    fn algorithms(&self) -> &[SignatureAlgorithm] {
        match self.pair {
            Pair::P256(_) => &[SignatureAlgorithm::EcdsaSha256],
            Pair::P384(_) => &[SignatureAlgorithm::EcdsaSha384],
            Pair::Ed25519(_) => &[SignatureAlgorithm::Ed25519],
            Pair::Rsa(_) => &[
                SignatureAlgorithm::RsaSha256,
                SignatureAlgorithm::RsaSha384,
                SignatureAlgorithm::RsaSha512,
            ],
        }
    }

    fn public_key(&self) -> &[u8] {
        match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    fn cost(&self) -> SigningCost {
        match self.pair {
            Pair::P256(_) | Pair::Ed25519(_) => SigningCost::Quick,
            Pair::P384(_) | Pair::Rsa(_) => SigningCost::Slow,
        }
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |error: ring::error::Unspecified| SignError::Failed(error.to_string());
        match (&self.pair, algorithm) {
            (Pair::P256(pair), SignatureAlgorithm::EcdsaSha256)
            | (Pair::P384(pair), SignatureAlgorithm::EcdsaSha384) => pair
                .sign(&self.random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(failed),
            (Pair::Ed25519(pair), SignatureAlgorithm::Ed25519) => {
                Ok(pair.sign(message).as_ref().to_vec())
            }
            (Pair::Rsa(pair), _) => {
                let encoding: &dyn ring::signature::RsaEncoding = match algorithm {
                    SignatureAlgorithm::RsaSha256 => &RSA_PKCS1_SHA256,
                    SignatureAlgorithm::RsaSha384 => &RSA_PKCS1_SHA384,
                    SignatureAlgorithm::RsaSha512 => &RSA_PKCS1_SHA512,
                    _ => return Err(SignError::Algorithm(algorithm)),
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &self.random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            _ => Err(SignError::Algorithm(algorithm)),
        }
    }
}

enum KeyAlgorithm {
    Ec,
    Ed25519,
    Rsa,
}

/// What a `PrivateKeyInfo` (RFC 5958 §2) says it holds.
fn key_algorithm(pkcs8: &[u8]) -> Option<KeyAlgorithm> {
    let mut fields = Tlv::only(pkcs8).ok()?.open(Tag::Sequence).ok()?;
    fields.expect(Tag::Integer).ok()?;
    let algorithm = fields.expect(Tag::Sequence).ok()?;
    let oid = algorithm.open(Tag::Sequence).ok()?.any().ok()?.value;
    [
        (wire::ID_EC_PUBLIC_KEY, KeyAlgorithm::Ec),
        (wire::ID_ED25519, KeyAlgorithm::Ed25519),
        (wire::RSA_ENCRYPTION, KeyAlgorithm::Rsa),
    ]
    .into_iter()
    .find_map(|(known, algorithm)| (known.as_bytes() == oid).then_some(algorithm))
}
