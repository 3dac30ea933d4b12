//! A signer of OCSP responses and a certificate that they are about, the same at each run: for seeds that stay true.

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, PublicKeyData,
    SerialNumber, SignatureAlgorithm, SigningKey, date_time_ymd,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// The wall time at which responses are judged: 2026-08-01.
pub const NOW: u64 = 1_785_542_400;

/// DER certificates, valid at [`NOW`].
#[derive(Clone, Debug)]
pub struct Lab {
    /// Self-signed; what responses are about.
    pub gateway: Vec<u8>,
    /// Self-signed, with id-kp-OCSPSigning.
    pub signer: Vec<u8>,
}

/// The certificates. The keys are of no secret: everybody can make them.
pub fn lab() -> Lab {
    let params = |name, serial: u64| {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params
    };
    let mut signer = params("signer", 2);
    signer.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    let make = |params: CertificateParams, key: Ed25519KeyPair| {
        let certificate = params.self_signed(&Deterministic(key));
        certificate.expect("a certificate").der().to_vec()
    };
    Lab {
        gateway: make(params("segw.example", 0x80aa), key(1)),
        signer: make(signer, signer_key()),
    }
}

/// The key of [`Lab::signer`].
pub fn signer_key() -> Ed25519KeyPair {
    key(2)
}

/// The public key of [`Lab::signer`].
pub fn signer_public_key() -> Vec<u8> {
    signer_key().public_key().as_ref().to_vec()
}

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 octets")
}

struct Deterministic(Ed25519KeyPair);

impl PublicKeyData for Deterministic {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl SigningKey for Deterministic {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}
