//! The issuers for which a ledger speaks.

use std::fmt;
use std::str::FromStr;

use ledger::{
    BlockTime, CertificateHash, HashAlgorithm, Height, Record, StateError, Status, issuer_ids,
};
use serde::{Deserialize, Serialize};

/// The most issuers on one [`IssuerPage`].
pub const MAX_ISSUERS: usize = 256;

/// A recorded authority, as those know it who ask by OCSP.
///
/// In JSON the status' fields stand beside the others.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Issuer {
    /// H(CERT).
    pub hash: CertificateHash,
    /// Its status. An authority that is not valid still has certificates that are asked about.
    #[serde(flatten)]
    pub status: Status,
    /// The last second of its validity, Unix time.
    pub not_after: u64,
    /// How a `CertID` names it, with each hash algorithm.
    pub names: Vec<IssuerName>,
}

/// An issuer's name in a `CertID` (RFC 6960 §4.1.1).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IssuerName {
    /// What the hashes are made with.
    pub algorithm: HashAlgorithm,
    /// `issuerNameHash`, hexadecimal.
    pub name: String,
    /// `issuerKeyHash`, hexadecimal.
    pub key: String,
}

impl Issuer {
    pub(crate) fn new(record: &Record, now: BlockTime) -> Result<Self, StateError> {
        let names = issuer_ids(record)?
            .into_iter()
            .map(|id| IssuerName {
                algorithm: id.algorithm(),
                name: hex::encode(id.name()),
                key: hex::encode(id.key()),
            })
            .collect();
        Ok(Self {
            hash: record.hash,
            status: record.status_at(now),
            not_after: record.not_after,
            names,
        })
    }
}

/// Some of the issuers, in the order of their names' hashes.
///
/// Two authorities of one name and one key (a renewed certificate, say) are two entries here.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IssuerPage {
    /// The issuers.
    pub issuers: Vec<Issuer>,
    /// Where to go on; `null` on the last page.
    pub next: Option<IssuerCursor>,
    /// The newest block that the answer takes into account.
    pub height: Height,
}

/// A place in the list of issuers. It stays good while others are recorded.
///
/// In text 72 hexadecimal digits, which mean nothing to anybody else.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssuerCursor([u8; 36]);

impl IssuerCursor {
    pub(crate) const fn new(octets: [u8; 36]) -> Self {
        Self(octets)
    }

    pub(crate) const fn octets(&self) -> &[u8; 36] {
        &self.0
    }
}

impl fmt::Display for IssuerCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A text is not one that an earlier page gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected the next of an earlier page, 72 hexadecimal digits")]
pub struct CursorError;

impl FromStr for IssuerCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut octets = [0; 36];
        hex::decode_to_slice(text, &mut octets).map_err(|_| CursorError)?;
        Ok(Self(octets))
    }
}

impl TryFrom<String> for IssuerCursor {
    type Error = CursorError;

    fn try_from(text: String) -> Result<Self, CursorError> {
        text.parse()
    }
}

impl From<IssuerCursor> for String {
    fn from(cursor: IssuerCursor) -> Self {
        cursor.to_string()
    }
}
