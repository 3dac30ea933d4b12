//! Records: what the ledger holds for one H(CERT), and the words for it.

use core::fmt;
use core::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::hash::{CertificateHash, KeyHash, NameHash};
use crate::member::{MemberId, Organisation};

/// A block's place in the chain. The genesis is height 0 and the first block height 1.
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
)]
#[serde(transparent)]
pub struct Height(pub u64);

impl Height {
    /// The height after this one; the last height stays where it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A block's time: milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
)]
#[serde(transparent)]
pub struct BlockTime(pub u64);

impl BlockTime {
    /// Whole seconds since 1970, the unit of a certificate's validity.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000
    }
}

impl fmt::Display for BlockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a certificate is for, as its endorsing member submitted it.
///
/// In JSON: `"device"`, `"gateway"`, `"ca"`.
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Debug,
    Deserialize,
    Eq,
    Hash,
    PartialEq,
    Serialize,
)]
#[borsh(use_discriminant = true)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Class {
    /// A certificate user that connects: a HeNB, an IoT device.
    Device = 0,
    /// A security gateway.
    Gateway = 1,
    /// An authority that issues certificates to others.
    Ca = 2,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Device, Self::Gateway, Self::Ca];

    /// The name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Gateway => "gateway",
            Self::Ca => "ca",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that is not one of the known ones.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{found}\" is not one of: {expected}")]
pub struct NameError {
    found: String,
    expected: String,
}

impl NameError {
    pub(crate) fn new(found: &str, expected: &[&str]) -> Self {
        Self {
            found: found.chars().take(64).collect(),
            expected: expected.join(", "),
        }
    }
}

impl FromStr for Class {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or_else(|| NameError::new(text, &Self::ALL.map(Self::as_str)))
    }
}

/// Why a certificate was revoked: `CRLReason` of [RFC 5280 §5.3.1], with its names and numbers.
///
/// `certificateHold` and `removeFromCRL` are there for those who translate to OCSP and CRLs; a
/// `revoke` transaction with one of them is refused, since a hold is a `suspend` and its removal a
/// `resume`.
///
/// [RFC 5280 §5.3.1]: https://www.rfc-editor.org/rfc/rfc5280#section-5.3.1
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Debug,
    Deserialize,
    Eq,
    Hash,
    PartialEq,
    Serialize,
)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum RevocationReason {
    /// No reason given.
    #[serde(rename = "unspecified")]
    Unspecified = 0,
    /// The private key is, or may be, known to somebody else.
    #[serde(rename = "keyCompromise")]
    KeyCompromise = 1,
    /// The same of an authority's key.
    #[serde(rename = "cACompromise")]
    CaCompromise = 2,
    /// The subject's name or affiliation changed.
    #[serde(rename = "affiliationChanged")]
    AffiliationChanged = 3,
    /// Another certificate took its place.
    #[serde(rename = "superseded")]
    Superseded = 4,
    /// The certificate is not needed any more.
    #[serde(rename = "cessationOfOperation")]
    CessationOfOperation = 5,
    /// On hold: what OCSP says of a suspended certificate.
    #[serde(rename = "certificateHold")]
    CertificateHold = 6,
    /// Off hold, in delta CRLs only.
    #[serde(rename = "removeFromCRL")]
    RemoveFromCrl = 8,
    /// A privilege that the certificate contains was withdrawn.
    #[serde(rename = "privilegeWithdrawn")]
    PrivilegeWithdrawn = 9,
    /// An attribute authority's key is, or may be, known to somebody else.
    #[serde(rename = "aACompromise")]
    AaCompromise = 10,
}

impl RevocationReason {
    /// Every reason, by number.
    pub const ALL: [Self; 10] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::RemoveFromCrl,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// The RFC's name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::RemoveFromCrl => "removeFromCRL",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }

    /// The number in `CRLReason`.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether a `revoke` transaction may give this reason.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::CertificateHold | Self::RemoveFromCrl)
    }

    /// Whether the key itself must not be trusted again.
    #[must_use]
    pub const fn is_compromise(self) -> bool {
        matches!(
            self,
            Self::KeyCompromise | Self::CaCompromise | Self::AaCompromise
        )
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| NameError::new(text, &Self::ALL.map(Self::as_str)))
    }
}

/// What a relying party is told of a certificate.
///
/// In JSON it is an object with the tag `status`:
///
/// ```json
/// {"status":"valid"}
/// {"status":"suspended","since":1767225600000}
/// {"status":"revoked","reason":"keyCompromise","time":1767225600000}
/// {"status":"superseded","by":"<64 hexadecimal digits>"}
/// {"status":"expired"}
/// {"status":"not-recorded"}
/// ```
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Debug,
    Deserialize,
    Eq,
    Hash,
    PartialEq,
    Serialize,
)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Status {
    /// Recorded and in good standing. The only status that admits.
    Valid,
    /// Not to be accepted for now.
    Suspended {
        /// The time of the block that suspended it.
        since: BlockTime,
    },
    /// Never to be accepted again.
    Revoked {
        /// Why.
        reason: RevocationReason,
        /// The time of the block that revoked it.
        time: BlockTime,
    },
    /// Another certificate took its place.
    Superseded {
        /// The certificate that did.
        by: CertificateHash,
    },
    /// Its validity has ended.
    Expired,
    /// The ledger does not know it.
    NotRecorded,
}

impl Status {
    /// Whether a certificate with this status may be accepted.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        matches!(self, Self::Valid)
    }

    /// The time of the block that made it so, where the status tells it.
    #[must_use]
    pub const fn since(&self) -> Option<BlockTime> {
        match self {
            Self::Suspended { since } => Some(*since),
            Self::Revoked { time, .. } => Some(*time),
            Self::Valid | Self::Superseded { .. } | Self::Expired | Self::NotRecorded => None,
        }
    }

    /// Whether no later block can change this status to [`Status::Valid`].
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Revoked { .. } | Self::Superseded { .. } | Self::Expired
        )
    }

    /// The name, as in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Suspended { .. } => "suspended",
            Self::Revoked { .. } => "revoked",
            Self::Superseded { .. } => "superseded",
            Self::Expired => "expired",
            Self::NotRecorded => "not-recorded",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked { reason, .. } => write!(f, "revoked ({reason})"),
            Self::Superseded { by } => write!(f, "superseded by {by}"),
            other => f.pad(other.as_str()),
        }
    }
}

/// The part of a status that is stored. Expiry is not: it follows from the block time.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize,
)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// In good standing.
    Valid,
    /// Suspended until its suspender resumes it.
    Suspended {
        /// The time of the block that suspended it.
        since: BlockTime,
        /// Who may resume it.
        suspender: MemberId,
    },
    /// Revoked for good.
    Revoked {
        /// Why.
        reason: RevocationReason,
        /// The time of the block that revoked it.
        time: BlockTime,
    },
    /// Replaced by another certificate.
    Superseded {
        /// The certificate that replaced it.
        by: CertificateHash,
    },
}

/// What the ledger holds for one H(CERT).
///
/// In JSON the certificate is hexadecimal DER, times are Unix seconds, and the standing's fields
/// stand beside the others under the tag `standing`.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize,
)]
pub struct Record {
    /// H(CERT).
    pub hash: CertificateHash,
    /// The DER certificate.
    #[serde(with = "hex")]
    pub certificate: Vec<u8>,
    /// What it was submitted as.
    pub class: Class,
    /// Its standing.
    #[serde(flatten)]
    pub standing: Standing,
    /// The member that endorsed it.
    pub endorser: MemberId,
    /// The organisation (O) in its subject.
    pub organisation: Organisation,
    /// The hash of its public key.
    pub key: KeyHash,
    /// The hash of its subject name, by which the certificates it issued find it.
    pub subject: NameHash,
    /// The first second of its validity, Unix time.
    pub not_before: u64,
    /// The last second of its validity, Unix time.
    pub not_after: u64,
    /// For class `ca`: how many authorities may still stand below it, if that is limited
    /// (`pathLenConstraint`, RFC 5280 §4.2.1.9, its issuers' limits included).
    pub path_length: Option<u8>,
    /// The block that recorded it.
    pub recorded: Height,
    /// The block that last changed its standing.
    pub changed: Height,
}

impl Record {
    /// The status at a block time.
    ///
    /// Revocation and supersession outlast expiry; expiry outlasts suspension.
    #[must_use]
    pub fn status_at(&self, time: BlockTime) -> Status {
        match &self.standing {
            Standing::Revoked { reason, time } => Status::Revoked {
                reason: *reason,
                time: *time,
            },
            Standing::Superseded { by } => Status::Superseded { by: *by },
            // notAfter is inclusive, RFC 5280 §4.1.2.5.
            Standing::Valid | Standing::Suspended { .. } if time.seconds() > self.not_after => {
                Status::Expired
            }
            Standing::Suspended { since, .. } => Status::Suspended { since: *since },
            Standing::Valid => Status::Valid,
        }
    }

    /// Whether the certificate can be, or become, valid at this time: valid or suspended, not expired.
    #[must_use]
    pub fn is_live_at(&self, time: BlockTime) -> bool {
        matches!(
            self.status_at(time),
            Status::Valid | Status::Suspended { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(standing: Standing) -> Record {
        Record {
            hash: CertificateHash::from_octets([1; 32]),
            certificate: vec![0x30, 0x00],
            class: Class::Device,
            standing,
            endorser: "acme".parse().unwrap(),
            organisation: "ACME".parse().unwrap(),
            key: KeyHash::from_octets([2; 32]),
            subject: NameHash::from_octets([3; 32]),
            not_before: 10,
            not_after: 20,
            path_length: None,
            recorded: Height(4),
            changed: Height(5),
        }
    }

    #[test]
    fn expiry_follows_from_the_time() {
        let suspended = Standing::Suspended {
            since: BlockTime(1),
            suspender: "acme".parse().unwrap(),
        };
        for (standing, at_the_end) in [
            (Standing::Valid, Status::Valid),
            (
                suspended,
                Status::Suspended {
                    since: BlockTime(1),
                },
            ),
        ] {
            let record = record(standing);
            assert_eq!(record.status_at(BlockTime(20_999)), at_the_end);
            assert!(record.is_live_at(BlockTime(20_999)));
            assert_eq!(record.status_at(BlockTime(21_000)), Status::Expired);
            assert!(!record.is_live_at(BlockTime(21_000)));
        }
        let reason = RevocationReason::Unspecified;
        let revoked = record(Standing::Revoked {
            reason,
            time: BlockTime(3),
        });
        assert_eq!(
            revoked.status_at(BlockTime(21_000)),
            Status::Revoked {
                reason,
                time: BlockTime(3)
            }
        );
    }

    #[test]
    fn a_record_has_this_json_form_and_keeps_its_binary_one() {
        let record = record(Standing::Suspended {
            since: BlockTime(6),
            suspender: "operator-one".parse().unwrap(),
        });
        let json = format!(
            r#"{{"hash":"{}","certificate":"3000","class":"device","standing":"suspended","since":6,"suspender":"operator-one","endorser":"acme","organisation":"ACME","key":"{}","subject":"{}","not_before":10,"not_after":20,"path_length":null,"recorded":4,"changed":5}}"#,
            "01".repeat(32),
            "02".repeat(32),
            "03".repeat(32)
        );
        assert_eq!(serde_json::to_string(&record).unwrap(), json);
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
        let octets = borsh::to_vec(&record).unwrap();
        assert_eq!(borsh::from_slice::<Record>(&octets).unwrap(), record);
    }
}
