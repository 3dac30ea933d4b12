use std::sync::Arc;

use ikev2::{Identification, Pkcs8Credential};
use rcgen::{
    CertificateParams, DnType, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};

/// Kind of a device's key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    EcdsaP256,
    /// Ed25519.
    Ed25519,
}

/// A device with a key and a self-signed certificate that holds its name and organisation.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its identity in IKE, an FQDN.
    pub identity: Identification,
    /// DER.
    pub certificate: Vec<u8>,
    /// The private key, PKCS#8.
    pub pkcs8: Vec<u8>,
}

impl Device {
    /// Makes a device. Panics if the name cannot stand in a certificate.
    pub fn new(name: &str, kind: KeyKind) -> Self {
        Self::with_padding(name, kind, 0)
    }

    /// Makes a device whose certificate is longer by about this many octets.
    pub fn with_padding(name: &str, kind: KeyKind, padding: usize) -> Self {
        let algorithm = match kind {
            KeyKind::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
            KeyKind::Ed25519 => &PKCS_ED25519,
        };
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let mut names = vec![name.to_owned()];
        names
            .extend((0..padding / 60).map(|i| format!("{i:04}{}.padding.example", "x".repeat(39))));
        let mut params = CertificateParams::new(names).expect("a DNS name");
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Testkit");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            identity: Identification::fqdn(name),
            certificate: certificate.der().to_vec(),
            pkcs8: key.serialize_der(),
        }
    }

    /// What this device authenticates with.
    pub fn credential(&self) -> Arc<Pkcs8Credential> {
        self.credential_as(self.identity.clone())
    }

    /// The same key and certificate under another identity.
    pub fn credential_as(&self, identity: Identification) -> Arc<Pkcs8Credential> {
        let chain = vec![self.certificate.clone()];
        Arc::new(Pkcs8Credential::from_der(chain, &self.pkcs8, identity).expect("a credential"))
    }
}
