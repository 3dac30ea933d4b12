//! Certificates, parsed for the rules: what the octets say, before anything is believed.

use const_oid::ObjectIdentifier;
use der::{Decode, Header, Reader, SliceReader, Tag, TagNumber, Tagged};
use ring::signature::UnparsedPublicKey;
use x509_cert::certificate::Version;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::{AlgorithmIdentifier, Certificate};

use crate::algorithm::{AlgorithmError, KeyKind, SignatureKind, verification};
use crate::cert_id::unsigned;
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

/// A certificate of X.509 version 3 with known critical extensions, over the octets it came in.
#[derive(Clone, Debug)]
pub struct ParsedCertificate<'a> {
    der: &'a [u8],
    tbs: &'a [u8],
    serial: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    certificate: Certificate,
    organisations: Vec<String>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<ExtendedKeyUsage>,
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
        let extended_key_usage = extension::<ExtendedKeyUsage>(&certificate, EXT_KEY_USAGE)?;

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
        let [tbs, serial, issuer, subject, spki] = raw_parts(der).map_err(CertificateError::Der)?;
        Ok(Self {
            der,
            tbs,
            serial,
            issuer,
            subject,
            spki,
            certificate,
            organisations,
            key_usage,
            extended_key_usage,
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

    /// Its serial number: the octets as an unsigned number, without leading zeros but at least one.
    #[must_use]
    pub fn serial(&self) -> &'a [u8] {
        unsigned(self.serial)
    }

    /// The content octets of its serial number, as they stand there: of a negative one, too.
    #[must_use]
    pub const fn serial_octets(&self) -> &'a [u8] {
        self.serial
    }

    /// Its DER subject, as it stands there.
    #[must_use]
    pub const fn subject(&self) -> &'a [u8] {
        self.subject
    }

    /// Its public key: the content of `subjectPublicKey` without the octet of unused bits.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.certificate
            .tbs_certificate()
            .subject_public_key_info()
            .subject_public_key
            .raw_bytes()
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

    /// The extended key usage, if the certificate limits it.
    #[must_use]
    pub const fn extended_key_usage(&self) -> Option<&ExtendedKeyUsage> {
        self.extended_key_usage.as_ref()
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
        KeyKind::of(self.certificate.tbs_certificate().subject_public_key_info())
    }

    /// Its signature's algorithm.
    ///
    /// # Errors
    ///
    /// When the algorithm is broken or unknown, or its parameters are not the expected ones.
    pub fn signature_kind(&self) -> Result<SignatureKind, AlgorithmError> {
        SignatureKind::of(self.certificate.signature_algorithm())
    }

    /// Whether the issuer's key made this certificate's signature, over the octets as they came.
    #[must_use]
    pub fn is_signed_by(&self, issuer: &ParsedCertificate<'_>) -> bool {
        let algorithm = self.certificate.signature_algorithm();
        let signature = self.certificate.signature().raw_bytes();
        issuer
            .has_signed(algorithm, self.tbs, signature)
            .unwrap_or(false)
    }

    /// Whether its key made `signature` over `message`.
    ///
    /// # Errors
    ///
    /// When the key or the algorithm is broken or unknown, or its parameters are not the expected ones.
    pub fn has_signed(
        &self,
        algorithm: &AlgorithmIdentifier,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, AlgorithmError> {
        let kind = SignatureKind::of(algorithm)?;
        let Some(algorithm) = verification(self.key_kind()?, kind) else {
            return Ok(false);
        };
        Ok(UnparsedPublicKey::new(algorithm, self.public_key())
            .verify(message, signature)
            .is_ok())
    }
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

/// The raw octets of tbsCertificate, the serial number's content, issuer, subject and
/// subjectPublicKeyInfo.
fn raw_parts(der: &[u8]) -> der::Result<[&[u8]; 5]> {
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
    let mut serial = SliceReader::new(field(0)?)?;
    let length = Header::decode(&mut serial)?.length();
    Ok([
        tbs,
        serial.read_slice(length)?,
        field(2)?,
        field(4)?,
        field(5)?,
    ])
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
