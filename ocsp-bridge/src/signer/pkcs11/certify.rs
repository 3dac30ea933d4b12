//! Certificates and requests for keys on tokens, made by `rcgen`.

use ocsp::SignatureAlgorithm;

use super::Pkcs11Key;
use crate::signer::SigningKey as _;

impl Pkcs11Key {
    fn default_algorithm(&self) -> SignatureAlgorithm {
        // There is always one: see `Pkcs11Key::new`.
        let first = self.algorithms.first().copied();
        first.unwrap_or(SignatureAlgorithm::EcdsaSha256)
    }
}

impl rcgen::PublicKeyData for Pkcs11Key {
    fn der_bytes(&self) -> &[u8] {
        self.public_key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.default_algorithm() {
            SignatureAlgorithm::EcdsaSha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            SignatureAlgorithm::EcdsaSha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            SignatureAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            SignatureAlgorithm::RsaSha256 => &rcgen::PKCS_RSA_SHA256,
            SignatureAlgorithm::RsaSha384 => &rcgen::PKCS_RSA_SHA384,
            SignatureAlgorithm::RsaSha512 => &rcgen::PKCS_RSA_SHA512,
        }
    }
}

impl rcgen::SigningKey for Pkcs11Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        crate::signer::SigningKey::sign(self, self.default_algorithm(), message).map_err(|error| {
            // Its own error has no room for ours.
            tracing::error!(%error, "the token does not sign");
            rcgen::Error::RemoteKeyError
        })
    }
}
