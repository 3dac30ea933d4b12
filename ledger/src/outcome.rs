//! Outcomes: what became of a transaction, and the names of the refusals.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hash::{CertificateHash, TransactionId};
use crate::record::NameError;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The rule that refused something, by name. In JSON, the name.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

refusals! {
    /// The certificate's signature does not verify.
    BadSignature = "bad-signature",
    /// The certificate, the member or the member's key is there already.
    Duplicate = "duplicate",
    /// The transaction's last height has passed, or is too far ahead.
    Expired = "expired",
    /// The organisation is not registered to the endorsing member, or is another's.
    ForeignOrganisation = "foreign-organisation",
    /// The public key is live under another organisation, or was compromised.
    KeyReuse = "key-reuse",
    /// The key usage does not fit the class or the subject.
    KeyUsage = "key-usage",
    /// The last validator cannot be removed.
    LastValidator = "last-validator",
    /// Not a certificate of the profile, or not a member's description.
    Malformed = "malformed",
    /// Not a member, not its signature, or without the role.
    NotEndorsed = "not-endorsed",
    /// The member may not do this to this record or member.
    NotPermitted = "not-permitted",
    /// There is no such certificate or member.
    NotRecorded = "not-recorded",
    /// The transaction was applied already.
    Replayed = "replayed",
    /// The consortium is full.
    TooMany = "too-many",
    /// No recorded, valid authority with that name may have issued it.
    UnknownIssuer = "unknown-issuer",
    /// The validity does not contain the block time, or is too long.
    Validity = "validity",
    /// An algorithm or a key that is too weak, or not one of ours.
    WeakAlgorithm = "weak-algorithm",
    /// The transaction is for another chain.
    WrongChain = "wrong-chain",
    /// That reason is not one for a revocation.
    WrongReason = "wrong-reason",
    /// The record's status does not allow this.
    WrongStatus = "wrong-status",
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Refusal {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL
            .iter()
            .copied()
            .find(|refusal| refusal.as_str() == text)
            .ok_or_else(|| NameError::new(text, &["a refusal's name"]))
    }
}

/// A refusal, with what exactly was wrong and how to mend it, for people.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{refusal}: {detail}")]
pub struct Refused {
    /// The rule.
    pub refusal: Refusal,
    /// What it found. Not part of the state: its wording may change.
    pub detail: String,
}

impl Refused {
    /// Refuses, and says why.
    #[must_use]
    pub fn new(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self {
            refusal,
            detail: detail.into(),
        }
    }
}

/// What became of one thing that was asked for.
///
/// In JSON:
///
/// ```json
/// {"hash":"<64 hexadecimal digits>","accepted":true,"refusal":null,"detail":null}
/// {"hash":null,"accepted":false,"refusal":"duplicate","detail":"member acme is admitted already"}
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "OutcomeForm", into = "OutcomeForm")]
pub struct Outcome {
    /// The certificate it is about; none for members.
    pub hash: Option<CertificateHash>,
    /// Accepted, or refused by a rule.
    pub verdict: Result<(), Refused>,
}

impl Outcome {
    /// Whether it was accepted.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        self.verdict.is_ok()
    }

    /// The rule that refused it, if one did.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.verdict.as_ref().err().map(|refused| refused.refusal)
    }
}

/// What became of one transaction.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Receipt {
    /// The transaction.
    pub transaction: TransactionId,
    /// For a `submit`, one for each certificate in order; for anything else, exactly one.
    pub outcomes: Vec<Outcome>,
}

#[derive(Deserialize, Serialize)]
struct OutcomeForm {
    hash: Option<CertificateHash>,
    accepted: bool,
    refusal: Option<Refusal>,
    detail: Option<String>,
}

impl From<Outcome> for OutcomeForm {
    fn from(outcome: Outcome) -> Self {
        let (accepted, refusal, detail) = match outcome.verdict {
            Ok(()) => (true, None, None),
            Err(refused) => (false, Some(refused.refusal), Some(refused.detail)),
        };
        Self {
            hash: outcome.hash,
            accepted,
            refusal,
            detail,
        }
    }
}

impl TryFrom<OutcomeForm> for Outcome {
    type Error = &'static str;

    fn try_from(form: OutcomeForm) -> Result<Self, &'static str> {
        let verdict = match (form.accepted, form.refusal) {
            (true, None) => Ok(()),
            (false, Some(refusal)) => Err(Refused {
                refusal,
                detail: form.detail.unwrap_or_default(),
            }),
            (true, Some(_)) => return Err("an accepted outcome cannot have a refusal"),
            (false, None) => return Err("an outcome that is not accepted needs a refusal"),
        };
        Ok(Self {
            hash: form.hash,
            verdict,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_these_json_forms() {
        let refused = Outcome {
            hash: None,
            verdict: Err(Refused::new(Refusal::KeyReuse, "live under \"B\"")),
        };
        let json =
            r#"{"hash":null,"accepted":false,"refusal":"key-reuse","detail":"live under \"B\""}"#;
        assert_eq!(serde_json::to_string(&refused).unwrap(), json);
        assert_eq!(serde_json::from_str::<Outcome>(json).unwrap(), refused);

        let accepted = Outcome {
            hash: Some(CertificateHash::from_octets([1; 32])),
            verdict: Ok(()),
        };
        let json = format!(
            r#"{{"hash":"{}","accepted":true,"refusal":null,"detail":null}}"#,
            "01".repeat(32)
        );
        assert_eq!(serde_json::to_string(&accepted).unwrap(), json);
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), accepted);

        for contradiction in [
            r#"{"hash":null,"accepted":true,"refusal":"duplicate","detail":null}"#,
            r#"{"hash":null,"accepted":false,"refusal":null,"detail":null}"#,
        ] {
            assert!(
                serde_json::from_str::<Outcome>(contradiction).is_err(),
                "{contradiction}"
            );
        }
    }

    #[test]
    fn refusals_are_known_by_one_name() {
        for refusal in Refusal::ALL {
            assert_eq!(refusal.as_str().parse(), Ok(*refusal));
            assert_eq!(
                serde_json::to_string(refusal).unwrap(),
                format!("\"{refusal}\"")
            );
        }
        assert!("".parse::<Refusal>().is_err());
    }
}
