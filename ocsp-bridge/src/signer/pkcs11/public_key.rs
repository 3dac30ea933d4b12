//! Public keys of certificates and of tokens.

use der::{Decode, Encode as _, Tag};
use ocsp::SignatureAlgorithm;
use ocsp::wire::{self, Tlv};
use ring::signature::UnparsedPublicKey;
use x509_cert::Certificate;

use super::{Pkcs11Error, unsigned_integer};
use crate::signers::verification;

/// A public key of a kind that is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PublicKey {
    kind: Kind,
    /// The content of `subjectPublicKey` without the octet of unused bits.
    octets: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Ed25519,
    P256,
    P384,
    Rsa,
}

impl PublicKey {
    pub(super) fn of_certificate(der: &[u8]) -> Result<Self, Pkcs11Error> {
        let certificate = Certificate::from_der(der).map_err(Pkcs11Error::Certificate)?;
        let key = certificate.tbs_certificate().subject_public_key_info();
        let parameters = key.algorithm.parameters.as_ref();
        let kind = match key.algorithm.oid {
            wire::ID_EC_PUBLIC_KEY => {
                let curve = parameters.and_then(|any| any.to_der().ok());
                curve.as_deref().and_then(kind_of_curve)
            }
            wire::ID_ED25519 => Some(Kind::Ed25519),
            wire::RSA_ENCRYPTION => Some(Kind::Rsa),
            _ => None,
        };
        Self {
            kind: kind.ok_or(Pkcs11Error::KeyKind)?,
            octets: key.subject_public_key.raw_bytes().to_vec(),
        }
        .of_good_length()
    }

    /// Itself, unless it is an RSA key of a length that is not served: as for keys in files, whole octets count.
    fn of_good_length(self) -> Result<Self, Pkcs11Error> {
        if self.kind != Kind::Rsa {
            return Ok(self);
        }
        let modulus = Tlv::only(&self.octets)
            .and_then(|outer| outer.open(Tag::Sequence))
            .and_then(|mut fields| fields.expect(Tag::Integer))
            .map_err(|_| Pkcs11Error::KeyKind)?;
        let zeros = modulus.value.iter().take_while(|&&octet| octet == 0);
        let length = modulus.value.len() - zeros.count();
        if !RSA_OCTETS.contains(&length) {
            return Err(Pkcs11Error::RsaLength { bits: 8 * length });
        }
        Ok(self)
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What such a key can sign with, the default first.
    pub(super) const fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        match self.kind {
            Kind::Ed25519 => &[SignatureAlgorithm::Ed25519],
            Kind::P256 => &[SignatureAlgorithm::EcdsaSha256],
            Kind::P384 => &[SignatureAlgorithm::EcdsaSha384],
            Kind::Rsa => &[
                SignatureAlgorithm::RsaSha256,
                SignatureAlgorithm::RsaSha384,
                SignatureAlgorithm::RsaSha512,
            ],
        }
    }

    pub(super) fn verifies(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        UnparsedPublicKey::new(verification(algorithm, &self.octets), &self.octets)
            .verify(message, signature)
            .is_ok()
    }
}

/// From `CKA_EC_PARAMS` and `CKA_EC_POINT`.
pub(super) fn of_curve(params: &[u8], point: &[u8]) -> Result<PublicKey, Pkcs11Error> {
    let kind = kind_of_curve(params).ok_or(Pkcs11Error::KeyKind)?;
    let length = match kind {
        Kind::Ed25519 => 32,
        Kind::P256 => 65,
        Kind::P384 => 97,
        Kind::Rsa => return Err(Pkcs11Error::KeyKind),
    };
    // PKCS#11 wants an OCTET STRING around it; some tokens leave that out.
    let octets = match Tlv::only(point) {
        Ok(tlv) if tlv.tag == Tag::OctetString => tlv.value,
        Ok(_) | Err(_) => point,
    };
    if octets.len() != length {
        return Err(Pkcs11Error::NoPublicKey);
    }
    Ok(PublicKey {
        kind,
        octets: octets.to_vec(),
    })
}

/// From `CKA_MODULUS` and `CKA_PUBLIC_EXPONENT`: an `RSAPublicKey` (RFC 8017 appendix A.1.1).
pub(super) fn of_rsa(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, Pkcs11Error> {
    let mut octets = Vec::with_capacity(modulus.len() + exponent.len() + 12);
    wire::nested(&mut octets, wire::tag::SEQUENCE, |out| {
        unsigned_integer(out, modulus);
        unsigned_integer(out, exponent);
    });
    PublicKey {
        kind: Kind::Rsa,
        octets,
    }
    .of_good_length()
}

/// The lengths of an RSA modulus that are served: 2048 to 8192 bits.
const RSA_OCTETS: core::ops::RangeInclusive<usize> = 256..=1_024;

/// The curves by their `ECParameters` (RFC 5480 §2.1.1), and edwards25519 by all the names that tokens give it: the
/// object identifiers of RFC 8410 and of its draft, and the PrintableString of PKCS#11 v3.0 §2.3.5.
fn kind_of_curve(params: &[u8]) -> Option<Kind> {
    const PRIME256V1: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    const SECP384R1: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
    const ID_ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
    const ID_ED25519_OF_THE_DRAFT: &[u8] = b"\x06\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01";
    const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";
    match params {
        PRIME256V1 => Some(Kind::P256),
        SECP384R1 => Some(Kind::P384),
        ID_ED25519 | ID_ED25519_OF_THE_DRAFT | EDWARDS25519 => Some(Kind::Ed25519),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;
    use crate::fixture::{self_signed, signer_params};

    #[test]
    fn tokens_and_certificates_agree_on_a_key() {
        for (algorithm, params) in [
            (
                &PKCS_ECDSA_P256_SHA256,
                &b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"[..],
            ),
            (&PKCS_ECDSA_P384_SHA384, b"\x06\x05\x2b\x81\x04\x00\x22"),
            (&PKCS_ED25519, b"\x13\x0cedwards25519"),
            (&PKCS_ED25519, b"\x06\x03\x2b\x65\x70"),
        ] {
            let (_, certificate) = self_signed(algorithm, signer_params("a"));
            let key = PublicKey::of_certificate(&certificate).unwrap();
            let mut wrapped = Vec::new();
            wire::tlv(&mut wrapped, wire::tag::OCTET_STRING, key.octets());
            assert_eq!(of_curve(params, &wrapped), Ok(key.clone()));
            assert_eq!(of_curve(params, key.octets()), Ok(key.clone()));
            for bad in [&wrapped[..wrapped.len() - 1], b"", &wrapped[3..]] {
                assert_eq!(of_curve(params, bad), Err(Pkcs11Error::NoPublicKey));
            }
            assert_eq!(
                of_curve(b"\x06\x01\x00", &wrapped),
                Err(Pkcs11Error::KeyKind)
            );
        }
        assert!(matches!(
            PublicKey::of_certificate(b"0"),
            Err(Pkcs11Error::Certificate(_))
        ));
    }

    #[test]
    fn rsa_numbers_are_not_negative() {
        let key = of_rsa(&[0x80; 256], &[0, 1, 0, 1]).unwrap();
        let (head, tail) = (
            b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00\x80",
            b"\x80\x02\x03\x01\x00\x01",
        );
        assert!(key.octets().starts_with(head) && key.octets().ends_with(tail));
    }

    #[test]
    fn rsa_keys_have_a_length() {
        for length in [128, 255, 1_025] {
            let bits = 8 * length;
            let bad = Err(Pkcs11Error::RsaLength { bits });
            // Zeros before it are none of its length.
            for zeros in [0, 3] {
                let modulus = [vec![0; zeros], vec![1; length]].concat();
                assert_eq!(of_rsa(&modulus, &[3]), bad);
            }
        }
        assert!(of_rsa(&[1; 256], &[3]).is_ok() && of_rsa(&[1; 1_024], &[3]).is_ok());
    }
}
