//! The names by which OCSP asks for certificates: `CertID`, RFC 6960 §4.1.1.
//!
//! They identify nothing on the ledger, where H(CERT) does: an issuer may give one serial number to
//! several certificates. They are indexed only so that relying parties which know nothing else can ask.

use core::fmt;
use core::str::FromStr;

use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use serde::{Deserialize, Serialize};

use crate::answer::InquiryError;
use crate::certificate::ParsedCertificate;
use crate::hash::CertificateHash;
use crate::record::{BlockTime, Height, NameError, Record};
use crate::rule;
use crate::state::{State, StateError};

/// The longest serial number, in octets: the 20 of RFC 5280 §4.1.2.2, and one more for those who
/// count without the sign.
const MAX_SERIAL: usize = 21;

/// The most certificates in a [`CertIdAnswer`]. From two on a `CertID` is ambiguous anyway.
pub const MAX_CERTIFICATES_PER_CERT_ID: usize = 16;

/// What a `CertID`'s two hashes are made with. In text: `sha1`, `sha256`, `sha384`, `sha512`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum HashAlgorithm {
    /// SHA-1, what nearly everybody asks with. It names here, and protects nothing.
    Sha1 = 1,
    /// SHA-256.
    Sha256 = 2,
    /// SHA-384.
    Sha384 = 3,
    /// SHA-512.
    Sha512 = 4,
}

impl HashAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name in text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of its hashes, in octets.
    #[must_use]
    pub fn output_len(self) -> usize {
        self.algorithm().output_len()
    }

    /// The hash of `octets`.
    #[must_use]
    pub fn hash(self, octets: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm(), octets).as_ref().to_vec()
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for HashAlgorithm {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| NameError::new(text, &Self::ALL.map(Self::as_str)))
    }
}

/// Why something is not a `CertID`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertIdError {
    /// The algorithm is not known.
    #[error("hash algorithm: {0}")]
    Algorithm(#[from] NameError),
    /// A hash is not as long as its algorithm's.
    #[error("{field}: {found} octets; {algorithm} gives {}", .algorithm.output_len())]
    HashLength {
        /// Which of the two.
        field: &'static str,
        /// What it should be made with.
        algorithm: HashAlgorithm,
        /// Its length.
        found: usize,
    },
    /// Something is not hexadecimal.
    #[error("{field}: expected lower-case hexadecimal digits, two for each octet")]
    Hex {
        /// What.
        field: &'static str,
    },
    /// The text of an issuer has not three parts.
    #[error("expected ALGORITHM/ISSUER-NAME-HASH/ISSUER-KEY-HASH, {found} parts were given")]
    IssuerParts {
        /// How many it has.
        found: usize,
    },
    /// The text has not four parts.
    #[error("expected ALGORITHM/ISSUER-NAME-HASH/ISSUER-KEY-HASH/SERIAL, {found} parts were given")]
    Parts {
        /// How many it has.
        found: usize,
    },
    /// The serial number is empty or longer than 21 octets.
    #[error("serial number: {found} octets; expected 1 to {MAX_SERIAL}")]
    Serial {
        /// How many octets it has, without leading zeros.
        found: usize,
    },
}

/// The two hashes by which a `CertID` names an issuer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct IssuerId {
    algorithm: HashAlgorithm,
    name: Vec<u8>,
    key: Vec<u8>,
}

impl IssuerId {
    /// From hashes that somebody else made.
    ///
    /// # Errors
    ///
    /// When one of them has not the algorithm's length.
    pub fn new(algorithm: HashAlgorithm, name: &[u8], key: &[u8]) -> Result<Self, CertIdError> {
        for (field, hash) in [("issuer name hash", name), ("issuer key hash", key)] {
            if hash.len() != algorithm.output_len() {
                return Err(CertIdError::HashLength {
                    field,
                    algorithm,
                    found: hash.len(),
                });
            }
        }
        Ok(Self {
            algorithm,
            name: name.to_vec(),
            key: key.to_vec(),
        })
    }

    /// How an issuer is named: over its DER subject as it stands in its certificate, and over the
    /// content of its `subjectPublicKey` without tag, length and unused bits.
    #[must_use]
    pub fn of(algorithm: HashAlgorithm, issuer: &ParsedCertificate<'_>) -> Self {
        Self {
            algorithm,
            name: algorithm.hash(issuer.subject()),
            key: algorithm.hash(issuer.public_key()),
        }
    }

    /// What the hashes are made with.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The hash of the issuer's name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The hash of the issuer's key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// SHA-256 over algorithm and hashes: what a store may index by.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest_with(&[])
    }

    fn digest_with(&self, serial: &[u8]) -> [u8; 32] {
        // The algorithm settles the lengths of the two hashes, so that nothing can run together; a
        // serial number has at least one octet.
        let mut context = digest::Context::new(&SHA256);
        context.update(&[self.algorithm as u8]);
        context.update(&self.name);
        context.update(&self.key);
        context.update(serial);
        let mut octets = [0; 32];
        octets.copy_from_slice(context.finish().as_ref());
        octets
    }
}

/// In text: `sha256/<issuer name hash>/<issuer key hash>`, hexadecimal in lower case.
impl fmt::Display for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}",
            self.algorithm,
            hex::encode(&self.name),
            hex::encode(&self.key)
        )
    }
}

impl FromStr for IssuerId {
    type Err = CertIdError;

    fn from_str(text: &str) -> Result<Self, CertIdError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [algorithm, name, key] = *parts.as_slice() else {
            return Err(CertIdError::IssuerParts { found: parts.len() });
        };
        Self::new(
            algorithm.parse()?,
            &octets("issuer name hash", name)?,
            &octets("issuer key hash", key)?,
        )
    }
}

/// A `CertID`: an issuer and a serial number.
///
/// In text: `sha1/<issuer name hash>/<issuer key hash>/<serial number>`, hexadecimal in lower case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CertId {
    issuer: IssuerId,
    serial: Vec<u8>,
}

impl CertId {
    /// From an issuer and the octets of a serial number, read as an unsigned number: a zero that only
    /// keeps it positive makes no difference, nor does its absence make it negative.
    ///
    /// # Errors
    ///
    /// When the serial number has no octet, or more than 21 without leading zeros.
    pub fn new(issuer: IssuerId, serial: &[u8]) -> Result<Self, CertIdError> {
        let significant = unsigned(serial);
        if significant.is_empty() || significant.len() > MAX_SERIAL {
            return Err(CertIdError::Serial {
                found: significant.len(),
            });
        }
        Ok(Self {
            issuer,
            serial: significant.to_vec(),
        })
    }

    /// The issuer.
    #[must_use]
    pub const fn issuer(&self) -> &IssuerId {
        &self.issuer
    }

    /// The serial number, unsigned, without leading zeros but for zero itself.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// SHA-256 over all parts: what a store may index by.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.issuer.digest_with(&self.serial)
    }
}

impl fmt::Display for CertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.issuer, hex::encode(&self.serial))
    }
}

impl FromStr for CertId {
    type Err = CertIdError;

    fn from_str(text: &str) -> Result<Self, CertIdError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [algorithm, name, key, serial] = *parts.as_slice() else {
            return Err(CertIdError::Parts { found: parts.len() });
        };
        let algorithm: HashAlgorithm = algorithm.parse()?;
        let issuer = IssuerId::new(
            algorithm,
            &octets("issuer name hash", name)?,
            &octets("issuer key hash", key)?,
        )?;
        Self::new(issuer, &octets("serial number", serial)?)
    }
}

/// The octets of an unsigned number without leading zeros, but at least one.
pub(crate) fn unsigned(mut octets: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = octets
        && !rest.is_empty()
    {
        octets = rest;
    }
    octets
}

fn octets(field: &'static str, text: &str) -> Result<Vec<u8>, CertIdError> {
    let error = CertIdError::Hex { field };
    if text.bytes().any(|octet| octet.is_ascii_uppercase()) {
        return Err(error);
    }
    hex::decode(text).map_err(|_| error)
}

/// Every `CertID` of a recorded certificate: one for each algorithm and issuer.
///
/// The issuer is the recorded authority whose key verifies the certificate, and with a self-signed
/// certificate the certificate itself. Two authorities of one name and one key are one issuer.
///
/// # Errors
///
/// When the store fails, or holds a record that no rule would have let in.
pub fn cert_ids(record: &Record, state: &dyn State) -> Result<Vec<CertId>, StateError> {
    let certificate = parse(record)?;
    let ids_under = |issuer: &ParsedCertificate<'_>| {
        HashAlgorithm::ALL
            .into_iter()
            .map(|algorithm| CertId {
                issuer: IssuerId::of(algorithm, issuer),
                serial: certificate.serial().to_vec(),
            })
            .collect::<Vec<_>>()
    };
    if certificate.is_self_issued() {
        return Ok(ids_under(&certificate));
    }
    let mut ids = Vec::new();
    for issuer in rule::signers(&certificate, state)? {
        ids.extend(ids_under(&parse(&issuer)?));
    }
    Ok(ids)
}

/// How a recorded authority is named as an issuer: once for each algorithm.
///
/// # Errors
///
/// When the record is one that no rule would have let in.
pub fn issuer_ids(authority: &Record) -> Result<Vec<IssuerId>, StateError> {
    let certificate = parse(authority)?;
    Ok(HashAlgorithm::ALL
        .into_iter()
        .map(|algorithm| IssuerId::of(algorithm, &certificate))
        .collect())
}

pub(crate) fn parse(record: &Record) -> Result<ParsedCertificate<'_>, StateError> {
    ParsedCertificate::parse(&record.certificate).map_err(|error| {
        StateError::new(format!(
            "the recorded certificate {} cannot be read: {error}",
            record.hash
        ))
    })
}

/// The answer to "which certificate has this `CertID`?".
///
/// ```json
/// {"hashes":["<64 hexadecimal digits>"],"issuer_served":true,"height":7,"block_time":1767225600000}
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CertIdAnswer {
    /// The recorded certificates that have it, at most [`MAX_CERTIFICATES_PER_CERT_ID`], whatever
    /// their status. With more than one nobody can tell which is meant, and none must be called good.
    pub hashes: Vec<CertificateHash>,
    /// Whether the ledger speaks for the issuer: a recorded authority (class `ca`, whatever its status)
    /// has this name and key, or a certificate was found.
    pub issuer_served: bool,
    /// The newest block that the answer takes into account.
    pub height: Height,
    /// That block's time.
    pub block_time: BlockTime,
}

/// A replica of the ledger that finds certificates by `CertID`.
pub trait CertIdIndex: Send + Sync {
    /// The certificates with a `CertID`. None is no error.
    ///
    /// # Errors
    ///
    /// [`InquiryError::Unavailable`] when the replica cannot read its store.
    fn certificates_by_cert_id(&self, id: &CertId) -> Result<CertIdAnswer, InquiryError>;
}

#[cfg(test)]
mod tests;
