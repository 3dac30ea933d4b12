use std::{fmt, sync::Arc};

use const_oid::{
    AssociatedOid, ObjectIdentifier,
    db::rfc5280::{
        ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_CERTIFICATE_POLICIES,
        ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_EXT_KEY_USAGE, ID_CE_ISSUER_ALT_NAME, ID_CE_KEY_USAGE,
        ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
    },
};
use der::{
    Decode, Reader, SliceReader,
    asn1::{BitStringRef, UintRef},
};
use spki::SubjectPublicKeyInfoRef;
use x509_cert::{
    TbsCertificate, Version,
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage},
};

use super::{CertificateError, UnixTime, algorithm};
use crate::crypto::{CryptoProvider, KeyAlgorithm};

/// The longest certificate that is taken, in octets.
pub const MAX_CERTIFICATE_LEN: usize = 8 * 1_024;
/// The most extensions that are looked at.
const MAX_EXTENSIONS: usize = 32;

/// A certificate as it was presented: DER octets, not yet parsed. Cheap to clone.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct CertificateDer(Arc<[u8]>);

impl CertificateDer {
    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for CertificateDer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for CertificateDer {
    fn from(der: Vec<u8>) -> Self {
        Self(der.into())
    }
}

impl From<&[u8]> for CertificateDer {
    fn from(der: &[u8]) -> Self {
        Self(der.into())
    }
}

impl fmt::Debug for CertificateDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateDer({} octets)", self.0.len())
    }
}

/// The key of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicKey<'a> {
    /// Its kind.
    pub algorithm: KeyAlgorithm,
    /// The content of the SubjectPublicKeyInfo's BIT STRING.
    pub bits: &'a [u8],
}

/// A parsed certificate. Signed parts are slices of the octets that came, never re-encoded.
#[derive(Debug)]
pub struct Certificate<'a> {
    raw: RawParts<'a>,
    key: PublicKey<'a>,
    tbs: TbsCertificate,
}

impl<'a> Certificate<'a> {
    /// Parses one version 3 certificate with a key that this library can use; nothing is verified or matched yet.
    ///
    /// # Errors
    /// [`CertificateError`], one variant per check.
    pub fn parse(certificate: &'a CertificateDer) -> Result<Self, CertificateError> {
        let der = certificate.as_bytes();
        if der.len() > MAX_CERTIFICATE_LEN {
            return Err(CertificateError::TooLarge {
                len: der.len(),
                limit: MAX_CERTIFICATE_LEN,
            });
        }
        let raw = RawParts::read(der)?;
        let tbs = TbsCertificate::from_der(raw.tbs)?;
        if tbs.version() != Version::V3 {
            return Err(CertificateError::NotV3);
        }
        if raw.inner_algorithm != raw.algorithm {
            return Err(CertificateError::AlgorithmMismatch);
        }
        check_extensions(&tbs)?;
        let key = public_key(raw.spki)?;
        Ok(Self { raw, key, tbs })
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey<'a> {
        self.key
    }

    /// The DER of the subject.
    #[must_use]
    pub fn subject(&self) -> &'a [u8] {
        self.raw.subject
    }

    /// The DER of the issuer.
    #[must_use]
    pub fn issuer(&self) -> &'a [u8] {
        self.raw.issuer
    }

    /// The DER of the SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> &'a [u8] {
        self.raw.spki
    }

    /// Whether subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.raw.subject == self.raw.issuer
    }

    /// notBefore and notAfter, both included in the validity.
    #[must_use]
    pub fn validity(&self) -> (UnixTime, UnixTime) {
        let validity = self.tbs.validity();
        (
            UnixTime::since_epoch(validity.not_before.to_unix_duration()),
            UnixTime::since_epoch(validity.not_after.to_unix_duration()),
        )
    }

    /// Refuses outside of the validity.
    pub(super) fn check_validity(&self, now: UnixTime) -> Result<(), CertificateError> {
        let (not_before, not_after) = self.validity();
        if now < not_before {
            return Err(CertificateError::NotYetValid { not_before, now });
        }
        if now > not_after {
            return Err(CertificateError::Expired { not_after, now });
        }
        Ok(())
    }

    /// Verifies this certificate's signature with `issuer`'s key.
    pub(super) fn check_signature(
        &self,
        provider: &CryptoProvider,
        issuer: PublicKey<'_>,
    ) -> Result<(), CertificateError> {
        let scheme = algorithm::scheme_of(self.raw.algorithm, issuer.algorithm)?;
        provider
            .signature(scheme)
            .ok_or(CertificateError::SchemeUnavailable(scheme))?
            .verify(issuer.bits, self.raw.tbs, self.raw.signature)
            .map_err(|_| CertificateError::BadSignature)
    }

    /// An extension, by its type.
    pub(super) fn extension<'b, T: Decode<'b, Error = der::Error> + AssociatedOid>(
        &'b self,
    ) -> Result<Option<T>, CertificateError> {
        Ok(self
            .tbs
            .get_extension::<T>()?
            .map(|(_critical, value)| value))
    }

    /// As an end entity: may sign, and for IKE.
    pub(super) fn check_end_entity_usage(&self) -> Result<(), CertificateError> {
        // RFC 4945 §5.1.3.2: digitalSignature or nonRepudiation; the ledger's profile knows the first only.
        if self
            .extension::<KeyUsage>()?
            .is_some_and(|usage| !usage.digital_signature())
        {
            return Err(CertificateError::KeyUsage {
                missing: "digitalSignature",
            });
        }
        // RFC 4945 §5.1.3.12 wants the extension absent, or one of these; a non-critical one is only advice.
        let extended = self.tbs.get_extension::<ExtendedKeyUsage>()?;
        if let Some((true, ExtendedKeyUsage(purposes))) = extended
            && !purposes
                .iter()
                .any(|purpose| IKE_PURPOSES.contains(purpose))
        {
            return Err(CertificateError::ExtendedKeyUsage);
        }
        Ok(())
    }

    /// As an issuer with `below` intermediate certificates between it and the end entity: is a CA.
    pub(super) fn check_issuer_usage(&self, below: usize) -> Result<(), CertificateError> {
        let constraints = self
            .extension::<BasicConstraints>()?
            .filter(|constraints| constraints.ca)
            .ok_or(CertificateError::NotCa)?;
        if constraints
            .path_len_constraint
            .is_some_and(|limit| below > usize::from(limit))
        {
            return Err(CertificateError::NotCa);
        }
        if self
            .extension::<KeyUsage>()?
            .is_some_and(|usage| !usage.key_cert_sign())
        {
            return Err(CertificateError::KeyUsage {
                missing: "keyCertSign",
            });
        }
        Ok(())
    }

    /// The parsed signed part.
    pub(super) fn tbs(&self) -> &TbsCertificate {
        &self.tbs
    }
}

/// Purposes that allow IKE: any, id-kp-ipsecIKE (RFC 4945 §5.1.3.12), iKEIntermediate, and the TLS ones that device certificates carry.
const IKE_PURPOSES: [ObjectIdentifier; 5] = [
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.17"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.8.2.2"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
];

/// Extensions that may be critical: those that are enforced here, or that ask nothing of a verifier that builds no path of its own.
/// Name and policy constraints are absent on purpose: they are not enforced, so a critical one is refused.
const KNOWN_EXTENSIONS: [ObjectIdentifier; 9] = [
    ID_CE_AUTHORITY_KEY_IDENTIFIER,
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_CERTIFICATE_POLICIES,
    ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_ISSUER_ALT_NAME,
    ID_CE_KEY_USAGE,
    ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
];

fn check_extensions(tbs: &TbsCertificate) -> Result<(), CertificateError> {
    let Some(extensions) = tbs.extensions() else {
        return Ok(());
    };
    if extensions.len() > MAX_EXTENSIONS {
        return Err(CertificateError::TooManyExtensions {
            len: extensions.len(),
            limit: MAX_EXTENSIONS,
        });
    }
    for (index, extension) in extensions.iter().enumerate() {
        let oid = extension.extn_id;
        if extensions
            .iter()
            .take(index)
            .any(|earlier| earlier.extn_id == oid)
        {
            return Err(CertificateError::DuplicateExtension(oid));
        }
        if extension.critical && !KNOWN_EXTENSIONS.contains(&oid) {
            return Err(CertificateError::UnknownCriticalExtension(oid));
        }
    }
    Ok(())
}

/// The pieces of a certificate that matter octet by octet.
#[derive(Debug)]
struct RawParts<'a> {
    tbs: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    inner_algorithm: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
}

impl<'a> RawParts<'a> {
    fn read(der: &'a [u8]) -> Result<Self, CertificateError> {
        let mut reader = SliceReader::new(der)?;
        // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue } (RFC 5280 §4.1).
        let (tbs, algorithm, signature) = reader.sequence(|certificate| {
            Ok::<_, der::Error>((
                certificate.tlv_bytes()?,
                certificate.tlv_bytes()?,
                BitStringRef::decode(certificate)?,
            ))
        })?;
        reader.finish()?;
        let signature = signature
            .as_bytes()
            .ok_or(CertificateError::Malformed { offset: None })?;
        let mut reader = SliceReader::new(tbs)?;
        let parts = reader.sequence(|fields| {
            /// The tag of `[0] EXPLICIT Version`.
            const VERSION: u8 = 0xA0;
            if fields.peek_byte() == Some(VERSION) {
                fields.tlv_bytes()?;
            }
            let _serial = fields.tlv_bytes()?;
            let inner_algorithm = fields.tlv_bytes()?;
            let issuer = fields.tlv_bytes()?;
            let _validity = fields.tlv_bytes()?;
            let subject = fields.tlv_bytes()?;
            let spki = fields.tlv_bytes()?;
            while !fields.is_finished() {
                fields.tlv_bytes()?;
            }
            Ok::<_, der::Error>(Self {
                tbs,
                algorithm,
                signature,
                inner_algorithm,
                issuer,
                subject,
                spki,
            })
        })?;
        reader.finish()?;
        Ok(parts)
    }
}

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Moduli that are taken, in bits: ring's own range.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Reads a SubjectPublicKeyInfo and checks that the key has the form of its algorithm.
fn public_key(spki: &[u8]) -> Result<PublicKey<'_>, CertificateError> {
    /// SEC 1 §2.3.3.
    const UNCOMPRESSED: u8 = 4;
    let spki = SubjectPublicKeyInfoRef::from_der(spki)?;
    let oid = spki.algorithm.oid;
    let bits = spki
        .subject_public_key
        .as_bytes()
        .ok_or(CertificateError::Malformed { offset: None })?;
    let algorithm = match oid {
        EC_PUBLIC_KEY => {
            let curve = spki
                .algorithm
                .parameters_oid()
                .map_err(|_| CertificateError::UnsupportedKey(oid))?;
            let (algorithm, len) = match curve {
                P256 => (KeyAlgorithm::EcdsaP256, 65),
                P384 => (KeyAlgorithm::EcdsaP384, 97),
                _ => return Err(CertificateError::UnsupportedKey(curve)),
            };
            if bits.len() != len || bits.first() != Some(&UNCOMPRESSED) {
                return Err(CertificateError::UnsupportedKey(curve));
            }
            algorithm
        }
        // RFC 8410 §3: parameters absent, 32 octets.
        ED25519 if spki.algorithm.parameters.is_none() && bits.len() == 32 => KeyAlgorithm::Ed25519,
        RSA_ENCRYPTION => {
            let bits = rsa_bits(bits)?;
            if !RSA_BITS.contains(&bits) {
                return Err(CertificateError::RsaKeySize { bits });
            }
            KeyAlgorithm::Rsa
        }
        _ => return Err(CertificateError::UnsupportedKey(oid)),
    };
    Ok(PublicKey { algorithm, bits })
}

/// The length of the modulus of an RSAPublicKey (RFC 8017 A.1.1).
fn rsa_bits(key: &[u8]) -> Result<usize, CertificateError> {
    let mut reader = SliceReader::new(key)?;
    let modulus = reader.sequence(|fields| {
        let modulus = UintRef::decode(fields)?;
        let _exponent = UintRef::decode(fields)?;
        Ok::<_, der::Error>(modulus)
    })?;
    reader.finish()?;
    let octets = modulus.as_bytes();
    let unused = octets
        .first()
        .map_or(0, |first| first.leading_zeros() as usize);
    Ok(octets.len() * 8 - unused)
}
