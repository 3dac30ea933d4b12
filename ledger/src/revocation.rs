//! What CRLs are made of: for each issuer, the certificates that were revoked, suspended or resumed.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cert_id::{HashAlgorithm, IssuerId, parse};
use crate::hash::{CertificateHash, ChainId};
use crate::record::{BlockTime, Class, Height, Record, RevocationReason, Standing};
use crate::rule;
use crate::state::{State, StateError};

/// The last change of a certificate's standing, in the words of a CRL entry (RFC 5280 §5.3).
///
/// ```json
/// {"hash":"<64 hexadecimal digits>","serial":"00f00102","reason":"keyCompromise",
///  "time":1767225600000,"not_after":1798761600,"changed":7}
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RevocationEntry {
    /// H(CERT).
    pub hash: CertificateHash,
    /// The serial number: the content octets of the INTEGER, as they stand in the certificate. A relying
    /// party that compares numbers finds no other. In JSON hexadecimal.
    #[serde(with = "hex")]
    pub serial: Vec<u8>,
    /// Why it is revoked: `certificateHold` while it is suspended, `superseded` when another took its
    /// place, and `removeFromCRL` once it is in good standing again.
    pub reason: RevocationReason,
    /// The time of the block that changed it.
    pub time: BlockTime,
    /// The last second of its validity, Unix time. Expiry itself is no change.
    pub not_after: u64,
    /// The block that changed it.
    pub changed: Height,
}

impl RevocationEntry {
    /// The reason that a CRL gives for a standing; none for a certificate in good standing.
    #[must_use]
    pub const fn reason_for(standing: &Standing) -> Option<RevocationReason> {
        match standing {
            Standing::Valid => None,
            Standing::Suspended { .. } => Some(RevocationReason::CertificateHold),
            Standing::Revoked { reason, .. } => Some(*reason),
            Standing::Superseded { .. } => Some(RevocationReason::Superseded),
        }
    }
}

/// Some of the entries of an issuer, in the order of the blocks that last changed them.
///
/// A certificate has one entry, its newest. Whoever reads from the first page until one is `complete`
/// holds every change up to `height`, whatever was committed meanwhile: what changed again moves behind
/// the place that was reached. From there on the same call gives what is new.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RevocationPage {
    /// The entries.
    pub entries: Vec<RevocationEntry>,
    /// Where to go on, now or later.
    pub next: RevocationCursor,
    /// Whether everything up to `height` has been told.
    pub complete: bool,
    /// Whether the ledger speaks for the issuer: a recorded authority has this name and key.
    pub issuer_served: bool,
    /// The newest block that the answer takes into account.
    pub height: Height,
    /// That block's time.
    pub block_time: BlockTime,
    /// The chain that the answer is from.
    pub chain: ChainId,
}

/// A place in the list of an issuer's entries.
///
/// In text `7` for the end of block 7, and `7-<H(CERT)>` for a place within it. The beginning is `0`:
/// the genesis changes no standing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RevocationCursor {
    /// The block.
    pub height: Height,
    /// The last entry of that block that was told; none when all were.
    pub hash: Option<CertificateHash>,
}

impl RevocationCursor {
    /// Before the first entry.
    pub const START: Self = Self::end_of(Height(0));

    /// After everything that a block changed.
    #[must_use]
    pub const fn end_of(height: Height) -> Self {
        Self { height, hash: None }
    }
}

impl fmt::Display for RevocationCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hash {
            Some(hash) => write!(f, "{}-{hash}", self.height),
            None => write!(f, "{}", self.height),
        }
    }
}

/// A text is no place in a list of revocations.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected a height, as in 7, or the next of an earlier page, as in 7-<64 hexadecimal digits>"
)]
pub struct RevocationCursorError;

impl FromStr for RevocationCursor {
    type Err = RevocationCursorError;

    fn from_str(text: &str) -> Result<Self, RevocationCursorError> {
        let (height, hash) = match text.split_once('-') {
            Some((height, hash)) => {
                let hash = hash.parse().map_err(|_| RevocationCursorError)?;
                (height, Some(hash))
            }
            None => (text, None),
        };
        // No sign, which the standard library would take.
        if !height.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(RevocationCursorError);
        }
        let height = height.parse().map_err(|_| RevocationCursorError)?;
        Ok(Self {
            height: Height(height),
            hash,
        })
    }
}

impl TryFrom<String> for RevocationCursor {
    type Error = RevocationCursorError;

    fn try_from(text: String) -> Result<Self, RevocationCursorError> {
        text.parse()
    }
}

impl From<RevocationCursor> for String {
    fn from(cursor: RevocationCursor) -> Self {
        cursor.to_string()
    }
}

/// The issuers whose CRLs speak for a recorded certificate, named with SHA-256, and the content octets of
/// its serial number.
///
/// A self-signed certificate has none but for an authority's own: no relying party looks for a CRL that
/// a device would have to sign for itself.
///
/// # Errors
///
/// When the store fails, or holds a record that no rule would have let in.
pub fn crl_issuers(
    record: &Record,
    state: &dyn State,
) -> Result<(Vec<IssuerId>, Vec<u8>), StateError> {
    let certificate = parse(record)?;
    let serial = certificate.serial_octets().to_vec();
    let mut issuers = Vec::new();
    if certificate.is_self_issued() {
        if record.class == Class::Ca {
            issuers.push(IssuerId::of(HashAlgorithm::Sha256, &certificate));
        }
    } else {
        for issuer in rule::signers(&certificate, state)? {
            issuers.push(IssuerId::of(HashAlgorithm::Sha256, &parse(&issuer)?));
        }
    }
    Ok((issuers, serial))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONES: &str = "0101010101010101010101010101010101010101010101010101010101010101";

    #[test]
    fn pages_have_this_json_form() {
        let hash = CertificateHash::from_octets([1; 32]);
        let page = RevocationPage {
            entries: vec![RevocationEntry {
                hash,
                serial: vec![0, 0xf0, 1],
                reason: RevocationReason::RemoveFromCrl,
                time: BlockTime(5),
                not_after: 6,
                changed: Height(7),
            }],
            next: RevocationCursor {
                height: Height(7),
                hash: Some(hash),
            },
            complete: false,
            issuer_served: true,
            height: Height(9),
            block_time: BlockTime(8),
            chain: ChainId::from_octets([1; 32]),
        };
        let json = format!(
            r#"{{"entries":[{{"hash":"{ONES}","serial":"00f001","reason":"removeFromCRL","time":5,"not_after":6,"changed":7}}],"next":"7-{ONES}","complete":false,"issuer_served":true,"height":9,"block_time":8,"chain":"{ONES}"}}"#
        );
        assert_eq!(serde_json::to_string(&page).unwrap(), json);
        assert_eq!(serde_json::from_str::<RevocationPage>(&json).unwrap(), page);
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["0", "7", "18446744073709551615", &format!("7-{ONES}")] {
            assert_eq!(
                text.parse::<RevocationCursor>().unwrap().to_string(),
                text,
                "{text}"
            );
        }
        assert_eq!("0".parse(), Ok(RevocationCursor::START));
        for text in [
            "",
            "-",
            "-7",
            "+7",
            "7-",
            "7-01",
            "0x7",
            "18446744073709551616",
            &format!("-{ONES}"),
            &format!("7-{ONES}0"),
        ] {
            assert_eq!(
                text.parse::<RevocationCursor>(),
                Err(RevocationCursorError),
                "{text}"
            );
        }
    }

    #[test]
    fn every_standing_has_its_reason() {
        let member = "acme".parse().unwrap();
        let time = BlockTime(1);
        for (standing, reason) in [
            (Standing::Valid, None),
            (
                Standing::Suspended {
                    since: time,
                    suspender: member,
                },
                Some(RevocationReason::CertificateHold),
            ),
            (
                Standing::Revoked {
                    reason: RevocationReason::AaCompromise,
                    time,
                },
                Some(RevocationReason::AaCompromise),
            ),
            (
                Standing::Superseded {
                    by: CertificateHash::from_octets([1; 32]),
                },
                Some(RevocationReason::Superseded),
            ),
        ] {
            assert_eq!(RevocationEntry::reason_for(&standing), reason);
        }
    }
}
