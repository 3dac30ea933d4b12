//! Certificates, parsed for the rules: what the octets say, before anything is believed.

use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, UintRef};
use der::{Decode, Header, Reader, Sequence, SliceReader, Tag, TagNumber, Tagged};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};

use crate::hash::{CertificateHash, KeyHash, NameHash};

/// The longest certificate, in octets of DER.
pub const MAX_CERTIFICATE: usize = 8 * 1_024;

/// The most extensions in a certificate.
const MAX_EXTENSIONS: usize = 64;

/// The critical extensions that the rules read: `subjectAltName`, `basicConstraints`, `keyUsage` and
/// `extKeyUsage` (RFC 5280 §4.2.1). A certificate with another critical one is refused.
const KNOWN_CRITICAL: [ObjectIdentifier; 4] = [
    SUBJECT_ALT_NAME,
    BASIC_CONSTRAINTS,
    KEY_USAGE,
    EXT_KEY_USAGE,
];

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXT_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const ORGANISATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const USER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1");

// RFC 5480 §2.1.1, RFC 8410 §3, RFC 8017 appendix C.
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The RSA modulus sizes that are accepted, in bits.
const RSA_BITS: core::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Why octets are not a certificate that the rules can judge.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The two places that name the signature's algorithm differ, RFC 5280 §4.1.1.2.
    #[error("signatureAlgorithm and the signed signature field differ")]
    AlgorithmsDiffer,
    /// Not DER, or not a certificate.
    #[error("not a DER certificate: {0}")]
    Der(der::Error),
    /// An extension is there twice, RFC 5280 §4.2.
    #[error("the extension {0} is there twice")]
    ExtensionTwice(ObjectIdentifier),
    /// A known extension does not decode.
    #[error("the extension {oid} does not decode: {error}")]
    Extension {
        /// The extension.
        oid: ObjectIdentifier,
        /// Why.
        error: der::Error,
    },
    /// Issuer or subject has an attribute value that is no readable text.
    #[error("the subject's attribute {0} is not a UTF8String, PrintableString or IA5String")]
    Name(ObjectIdentifier),
    /// A bit string whose length in bits is not a multiple of eight.
    #[error("the {0} has unused bits")]
    UnusedBits(&'static str),
    /// Longer than [`MAX_CERTIFICATE`].
    #[error("{0} octets; a certificate has at most {MAX_CERTIFICATE}")]
    TooLong(usize),
    /// More than 64 extensions.
    #[error("{0} extensions; at most {MAX_EXTENSIONS} are read")]
    TooManyExtensions(usize),
    /// A critical extension that the rules do not know.
    #[error("the critical extension {0} is not known; leave it out or make it non-critical")]
    UnknownCritical(ObjectIdentifier),
    /// Not version 3.
    #[error("an X.509 {0} certificate; version 3 is needed")]
    Version(&'static str),
}

/// Why a key or a signature algorithm is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AlgorithmError {
    /// A key on a curve that is not accepted, or of an unknown form.
    #[error("the key's curve is not P-256 or P-384")]
    Curve,
    /// The key's octets do not fit its algorithm.
    #[error("the public key's octets do not fit its algorithm")]
    KeyForm,
    /// An unknown key algorithm.
    #[error("the key algorithm {0} is not ECDSA, Ed25519 or RSA")]
    Key(ObjectIdentifier),
    /// Parameters that do not fit.
    #[error("the parameters of the signature algorithm {0} are not accepted")]
    Parameters(ObjectIdentifier),
    /// An RSA key that is too small or too large.
    #[error("an RSA key of {0} bits; 2048 to 8192 are accepted")]
    RsaBits(usize),
    /// An RSA key with a small, even or very large exponent.
    #[error("the RSA key's public exponent is not an odd number from 65537 to 2^33")]
    RsaExponent,
    /// An unknown or broken signature algorithm.
    #[error("the signature algorithm {0} is not accepted; use ECDSA, Ed25519 or RSA with SHA-2")]
    Signature(ObjectIdentifier),
}

/// A public key's algorithm.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA.
    Rsa {
        /// The modulus' size.
        bits: usize,
    },
}

/// A certificate signature's algorithm.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SignatureKind {
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// Ed25519.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256, MGF1 with the same, and a salt of 32 octets.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1 with the same, and a salt of 48 octets.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1 with the same, and a salt of 64 octets.
    RsaPssSha512,
}

/// A certificate of X.509 version 3 with known critical extensions, over the octets it came in.
#[derive(Clone, Debug)]
pub struct ParsedCertificate<'a> {
    der: &'a [u8],
    tbs: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    certificate: Certificate,
    organisations: Vec<String>,
    key_usage: Option<KeyUsage>,
    basic_constraints: Option<BasicConstraints>,
    identified: bool,
}

impl<'a> ParsedCertificate<'a> {
    /// Parses a certificate. Nothing is verified yet.
    ///
    /// # Errors
    ///
    /// When the octets are too many, not one whole DER certificate of version 3, or have an
    /// extension twice, unreadable, or critical and unknown.
    pub fn parse(der: &'a [u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(CertificateError::TooLong(der.len()));
        }
        let certificate = Certificate::from_der(der).map_err(CertificateError::Der)?;
        let tbs_certificate = certificate.tbs_certificate();
        match tbs_certificate.version() {
            Version::V1 => return Err(CertificateError::Version("version 1")),
            Version::V2 => return Err(CertificateError::Version("version 2")),
            Version::V3 => {}
        }
        if certificate.signature_algorithm() != tbs_certificate.signature() {
            return Err(CertificateError::AlgorithmsDiffer);
        }
        if certificate.signature().unused_bits() != 0 {
            return Err(CertificateError::UnusedBits("signature"));
        }
        if tbs_certificate
            .subject_public_key_info()
            .subject_public_key
            .unused_bits()
            != 0
        {
            return Err(CertificateError::UnusedBits("public key"));
        }
        check_extensions(&certificate)?;
        let key_usage = extension::<KeyUsage>(&certificate, KEY_USAGE)?;
        let basic_constraints = extension::<BasicConstraints>(&certificate, BASIC_CONSTRAINTS)?;
        let alternative = extension::<SubjectAltName>(&certificate, SUBJECT_ALT_NAME)?;
        // Only read, so that it is not accepted as critical without a look.
        extension::<ExtendedKeyUsage>(&certificate, EXT_KEY_USAGE)?;

        let mut organisations = Vec::new();
        let mut identified = alternative.is_some_and(|names| names.0.iter().any(identifies));
        for attribute in tbs_certificate.subject().iter() {
            if ![COMMON_NAME, SERIAL_NUMBER, USER_ID, ORGANISATION].contains(&attribute.oid) {
                continue;
            }
            let text = text(&attribute.value).ok_or(CertificateError::Name(attribute.oid))?;
            if attribute.oid == ORGANISATION {
                organisations.push(text.to_owned());
            } else {
                identified |= !text.trim().is_empty();
            }
        }
        let [tbs, issuer, subject, spki] = raw_parts(der).map_err(CertificateError::Der)?;
        Ok(Self {
            der,
            tbs,
            issuer,
            subject,
            spki,
            certificate,
            organisations,
            key_usage,
            basic_constraints,
            identified,
        })
    }

    /// The octets it came in.
    #[must_use]
    pub const fn as_der(&self) -> &'a [u8] {
        self.der
    }

    /// H(CERT).
    #[must_use]
    pub fn hash(&self) -> CertificateHash {
        CertificateHash::of(self.der)
    }

    /// The hash of its public key.
    #[must_use]
    pub fn key_hash(&self) -> KeyHash {
        KeyHash::of(self.spki)
    }

    /// The hash of its subject.
    #[must_use]
    pub fn subject_hash(&self) -> NameHash {
        NameHash::of(self.subject)
    }

    /// The hash of its issuer's name. Names are compared octet by octet: RFC 5280 §4.1.2.6 wants a
    /// CA's subject encoded as the issuer in what it issues.
    #[must_use]
    pub fn issuer_hash(&self) -> NameHash {
        NameHash::of(self.issuer)
    }

    /// Whether issuer and subject are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// The organisation names (O) in its subject.
    #[must_use]
    pub fn organisations(&self) -> &[String] {
        &self.organisations
    }

    /// Whether the subject names an identity: a common name, serial number or user identifier in
    /// the distinguished name, or a DNS name, address, URI, IP address or the like beside it.
    #[must_use]
    pub const fn names_identity(&self) -> bool {
        self.identified
    }

    /// The key usage, if the certificate limits it.
    #[must_use]
    pub const fn key_usage(&self) -> Option<&KeyUsage> {
        self.key_usage.as_ref()
    }

    /// Whether it says that it is an authority's (`basicConstraints`).
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.basic_constraints
            .as_ref()
            .is_some_and(|constraints| constraints.ca)
    }

    /// The `pathLenConstraint`, if there is one.
    #[must_use]
    pub fn path_length(&self) -> Option<u8> {
        self.basic_constraints
            .as_ref()
            .and_then(|constraints| constraints.path_len_constraint)
    }

    /// The first second of its validity, Unix time.
    #[must_use]
    pub fn not_before(&self) -> u64 {
        self.certificate
            .tbs_certificate()
            .validity()
            .not_before
            .to_unix_duration()
            .as_secs()
    }

    /// The last second of its validity, Unix time.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.certificate
            .tbs_certificate()
            .validity()
            .not_after
            .to_unix_duration()
            .as_secs()
    }

    /// Its key's algorithm.
    ///
    /// # Errors
    ///
    /// When the key is too weak, of an unknown algorithm, or does not fit its algorithm.
    pub fn key_kind(&self) -> Result<KeyKind, AlgorithmError> {
        let spki = self.certificate.tbs_certificate().subject_public_key_info();
        let key = spki.subject_public_key.raw_bytes();
        let parameters = spki.algorithm.parameters.as_ref().map(AnyRef::from);
        match spki.algorithm.oid {
            EC_PUBLIC_KEY => {
                let curve = parameters
                    .and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
                    .ok_or(AlgorithmError::Curve)?;
                let (kind, length) = match curve {
                    P256 => (KeyKind::P256, 65),
                    P384 => (KeyKind::P384, 97),
                    _ => return Err(AlgorithmError::Curve),
                };
                // An uncompressed point, SEC 1 §2.3.3; the compressed form is optional, RFC 5480 §2.2.
                if key.len() == length && key.first() == Some(&0x04) {
                    Ok(kind)
                } else {
                    Err(AlgorithmError::KeyForm)
                }
            }
            // RFC 8410 §3: parameters must be absent.
            ED25519 if parameters.is_none() && key.len() == 32 => Ok(KeyKind::Ed25519),
            ED25519 => Err(AlgorithmError::KeyForm),
            RSA => rsa_key(key),
            other => Err(AlgorithmError::Key(other)),
        }
    }

    /// Its signature's algorithm.
    ///
    /// # Errors
    ///
    /// When the algorithm is broken or unknown, or its parameters are not the expected ones.
    pub fn signature_kind(&self) -> Result<SignatureKind, AlgorithmError> {
        let algorithm = self.certificate.signature_algorithm();
        let oid = algorithm.oid;
        let parameters = algorithm.parameters.as_ref().map(AnyRef::from);
        let kind = match oid {
            ECDSA_SHA256 => SignatureKind::EcdsaSha256,
            ECDSA_SHA384 => SignatureKind::EcdsaSha384,
            ED25519 => SignatureKind::Ed25519,
            RSA_SHA256 => SignatureKind::RsaPkcs1Sha256,
            RSA_SHA384 => SignatureKind::RsaPkcs1Sha384,
            RSA_SHA512 => SignatureKind::RsaPkcs1Sha512,
            RSA_PSS => {
                return parameters
                    .and_then(pss)
                    .ok_or(AlgorithmError::Parameters(oid));
            }
            other => return Err(AlgorithmError::Signature(other)),
        };
        let fits = match kind {
            // RFC 5758 §3.2 and RFC 8410 §3: absent.
            SignatureKind::EcdsaSha256 | SignatureKind::EcdsaSha384 | SignatureKind::Ed25519 => {
                parameters.is_none()
            }
            // RFC 4055 §5: NULL, and absent must be accepted too.
            _ => parameters.is_none_or(|any| any.tag() == Tag::Null),
        };
        if fits {
            Ok(kind)
        } else {
            Err(AlgorithmError::Parameters(oid))
        }
    }

    /// Whether the issuer's key made this certificate's signature, over the octets as they came.
    #[must_use]
    pub fn is_signed_by(&self, issuer: &ParsedCertificate<'_>) -> bool {
        let (Ok(key), Ok(signature)) = (issuer.key_kind(), self.signature_kind()) else {
            return false;
        };
        let Some(algorithm) = verification(key, signature) else {
            return false;
        };
        let key = issuer
            .certificate
            .tbs_certificate()
            .subject_public_key_info()
            .subject_public_key
            .raw_bytes();
        UnparsedPublicKey::new(algorithm, key)
            .verify(self.tbs, self.certificate.signature().raw_bytes())
            .is_ok()
    }
}

/// ring's algorithm for a key and a signature, if they fit each other.
fn verification(
    key: KeyKind,
    signature: SignatureKind,
) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (key, signature) {
        (KeyKind::P256, SignatureKind::EcdsaSha256) => &signature::ECDSA_P256_SHA256_ASN1,
        (KeyKind::P256, SignatureKind::EcdsaSha384) => &signature::ECDSA_P256_SHA384_ASN1,
        (KeyKind::P384, SignatureKind::EcdsaSha256) => &signature::ECDSA_P384_SHA256_ASN1,
        (KeyKind::P384, SignatureKind::EcdsaSha384) => &signature::ECDSA_P384_SHA384_ASN1,
        (KeyKind::Ed25519, SignatureKind::Ed25519) => &signature::ED25519,
        (KeyKind::Rsa { .. }, SignatureKind::RsaPkcs1Sha256) => {
            &signature::RSA_PKCS1_2048_8192_SHA256
        }
        (KeyKind::Rsa { .. }, SignatureKind::RsaPkcs1Sha384) => {
            &signature::RSA_PKCS1_2048_8192_SHA384
        }
        (KeyKind::Rsa { .. }, SignatureKind::RsaPkcs1Sha512) => {
            &signature::RSA_PKCS1_2048_8192_SHA512
        }
        (KeyKind::Rsa { .. }, SignatureKind::RsaPssSha256) => &signature::RSA_PSS_2048_8192_SHA256,
        (KeyKind::Rsa { .. }, SignatureKind::RsaPssSha384) => &signature::RSA_PSS_2048_8192_SHA384,
        (KeyKind::Rsa { .. }, SignatureKind::RsaPssSha512) => &signature::RSA_PSS_2048_8192_SHA512,
        (KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 | KeyKind::Rsa { .. }, _) => return None,
    })
}

fn check_extensions(certificate: &Certificate) -> Result<(), CertificateError> {
    let extensions = certificate
        .tbs_certificate()
        .extensions()
        .map_or(&[][..], Vec::as_slice);
    if extensions.len() > MAX_EXTENSIONS {
        return Err(CertificateError::TooManyExtensions(extensions.len()));
    }
    for (index, extension) in extensions.iter().enumerate() {
        if extensions
            .iter()
            .take(index)
            .any(|earlier| earlier.extn_id == extension.extn_id)
        {
            return Err(CertificateError::ExtensionTwice(extension.extn_id));
        }
        if extension.critical && !KNOWN_CRITICAL.contains(&extension.extn_id) {
            return Err(CertificateError::UnknownCritical(extension.extn_id));
        }
    }
    Ok(())
}

fn extension<T>(
    certificate: &Certificate,
    oid: ObjectIdentifier,
) -> Result<Option<T>, CertificateError>
where
    T: for<'a> Decode<'a, Error = der::Error>,
{
    certificate
        .tbs_certificate()
        .extensions()
        .into_iter()
        .flatten()
        .find(|extension| extension.extn_id == oid)
        .map(|extension| {
            T::from_der(extension.extn_value.as_bytes())
                .map_err(|error| CertificateError::Extension { oid, error })
        })
        .transpose()
}

/// Whether an alternative name is one that a peer can be known by.
fn identifies(name: &GeneralName) -> bool {
    match name {
        GeneralName::DnsName(name) => !name.as_str().is_empty(),
        GeneralName::Rfc822Name(name) => !name.as_str().is_empty(),
        GeneralName::UniformResourceIdentifier(name) => !name.as_str().is_empty(),
        GeneralName::IpAddress(address) => matches!(address.as_bytes().len(), 4 | 16),
        GeneralName::OtherName(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::RegisteredId(_) => false,
    }
}

fn text(value: &der::Any) -> Option<&str> {
    match value.tag() {
        Tag::Utf8String => core::str::from_utf8(value.value()).ok(),
        Tag::PrintableString | Tag::Ia5String if value.value().is_ascii() => {
            core::str::from_utf8(value.value()).ok()
        }
        _ => None,
    }
}

/// The raw octets of tbsCertificate, issuer, subject and subjectPublicKeyInfo.
fn raw_parts(der: &[u8]) -> der::Result<[&[u8]; 4]> {
    let missing = || der::Error::from(der::ErrorKind::Failed);
    let tbs = *children(der)?.first().ok_or_else(missing)?;
    let fields = children(tbs)?;
    // version [0] is there in version 3: serialNumber, signature, issuer, validity, subject, key.
    let version = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(0),
    };
    let first = fields.first().ok_or_else(missing)?;
    let skip = usize::from(Tag::peek(&SliceReader::new(first)?)? == version);
    let field = |index: usize| fields.get(skip + index).copied().ok_or_else(missing);
    Ok([tbs, field(2)?, field(4)?, field(5)?])
}

/// The elements inside one constructed element.
fn children(der: &[u8]) -> der::Result<Vec<&[u8]>> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(reader.tlv_bytes()?);
    }
    Ok(elements)
}

/// `RSAPublicKey`, RFC 8017 appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

fn rsa_key(octets: &[u8]) -> Result<KeyKind, AlgorithmError> {
    let key = RsaPublicKey::from_der(octets).map_err(|_| AlgorithmError::KeyForm)?;
    let modulus = key.modulus.as_bytes();
    let unused = modulus
        .first()
        .map_or(0, |octet| octet.leading_zeros() as usize);
    let bits = (8 * modulus.len()).saturating_sub(unused);
    if !RSA_BITS.contains(&bits) {
        return Err(AlgorithmError::RsaBits(bits));
    }
    let exponent = key.exponent.as_bytes();
    if exponent.len() > 5 {
        return Err(AlgorithmError::RsaExponent);
    }
    let exponent = exponent
        .iter()
        .fold(0_u64, |value, octet| value << 8 | u64::from(*octet));
    // FIPS 186-5 §5.1 wants 2^16 < e and odd; ring verifies up to 33 bits.
    if exponent < 65_537 || exponent >= 1 << 33 || exponent % 2 == 0 {
        return Err(AlgorithmError::RsaExponent);
    }
    Ok(KeyKind::Rsa { bits })
}

/// `RSASSA-PSS-params`, RFC 4055 §3.1. Its defaults are SHA-1's, so all but the trailer must be there.
#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    hash: HashAlgorithm<'a>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    mask: MaskAlgorithm<'a>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    salt: u8,
}

#[derive(Sequence)]
struct HashAlgorithm<'a> {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct MaskAlgorithm<'a> {
    oid: ObjectIdentifier,
    hash: HashAlgorithm<'a>,
}

fn pss(parameters: AnyRef<'_>) -> Option<SignatureKind> {
    let parameters = parameters.decode_as::<PssParameters<'_>>().ok()?;
    let plain = |hash: &HashAlgorithm<'_>| hash.parameters.is_none_or(|any| any.tag() == Tag::Null);
    let same = parameters.mask.oid == MGF1
        && parameters.mask.hash.oid == parameters.hash.oid
        && plain(&parameters.hash)
        && plain(&parameters.mask.hash);
    match (parameters.hash.oid, parameters.salt) {
        (SHA256, 32) if same => Some(SignatureKind::RsaPssSha256),
        (SHA384, 48) if same => Some(SignatureKind::RsaPssSha384),
        (SHA512, 64) if same => Some(SignatureKind::RsaPssSha512),
        _ => None,
    }
}
