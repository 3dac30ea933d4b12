//! Which payloads a message may carry: one table per exchange and direction
//! (RFC 7296 §1.2 to §1.4 and appendix C).
//!
//! Order is not looked at: "implementations MUST NOT reject as invalid a message
//! with those payloads in any other order" (§2.5). That an Encrypted payload is
//! last is the decoder's to check.

use core::fmt;

use super::chain::Payload;
use super::codes::{ExchangeType, PayloadType};
use super::{MAX_CERTREQS, MAX_CERTS, MAX_DELETES, MAX_NOTIFIES, MAX_VENDOR_IDS};

/// What a message turned out to be, by the payloads that it carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Form {
    /// All that the exchange is for: IKE_SA_INIT and IKE_AUTH with AUTH and a
    /// child SA, CREATE_CHILD_SA for a child, any INFORMATIONAL.
    Full,
    /// An IKE_AUTH request without AUTH: the initiator wants EAP (§2.16).
    EapStart,
    /// An IKE_AUTH response that sets up the IKE SA and refuses the child SA (§1.2).
    ChildRefused,
    /// CREATE_CHILD_SA that replaces the IKE SA (§1.3.2).
    RekeyIke,
    /// A response of notifications only: the request failed, or must be sent
    /// again with a cookie or another key exchange.
    NotifyOnly,
}

/// The payloads are not those that the exchange allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RuleViolation {
    /// There is no table for this exchange type.
    UnknownExchange(ExchangeType),
    /// A payload of unknown type is marked critical: UNSUPPORTED_CRITICAL_PAYLOAD
    /// with this type (§2.5).
    UnsupportedCritical(PayloadType),
    /// A payload that the message must have is not there.
    Missing(PayloadType),
    /// More payloads of a type than the message may have.
    TooMany(PayloadType),
    /// A payload that has no place in the message.
    Unexpected(PayloadType),
    /// A payload outside the Encrypted payload that must be inside.
    Unprotected(PayloadType),
    /// An offer whose first proposal does not have the number 1 (§3.3.1).
    FirstProposalNumber(u8),
    /// A response with more than the one proposal that was chosen (§3.3.1).
    SeveralProposals,
}

impl fmt::Display for RuleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownExchange(exchange) => write!(f, "exchange type {exchange} is not spoken"),
            Self::UnsupportedCritical(kind) => {
                write!(f, "critical payload of unknown type {}", kind.0)
            }
            Self::Missing(kind) => write!(f, "no {kind} payload in the message"),
            Self::TooMany(kind) => write!(f, "too many {kind} payloads in the message"),
            Self::Unexpected(kind) => write!(f, "{kind} payload has no place in this message"),
            Self::Unprotected(kind) => write!(f, "{kind} payload outside the encrypted payload"),
            Self::FirstProposalNumber(number) => {
                write!(f, "the first proposal has number {number} instead of 1")
            }
            Self::SeveralProposals => f.write_str("a response with more than one proposal"),
        }
    }
}

impl core::error::Error for RuleViolation {}

/// Checks a whole message: `protected` are the payloads that were in the
/// Encrypted payload (none, without one), `outer` those of the message itself,
/// the Encrypted payload among them.
///
/// # Errors
///
/// The first rule that is broken. An unknown critical payload comes before all
/// others, since it has an answer of its own.
pub fn check(
    exchange: ExchangeType,
    is_response: bool,
    protected: &[Payload<'_>],
    outer: &[Payload<'_>],
) -> Result<Form, RuleViolation> {
    for payload in protected.iter().chain(outer) {
        if let Payload::Unknown {
            kind,
            critical: true,
            ..
        } = payload
        {
            return Err(RuleViolation::UnsupportedCritical(*kind));
        }
    }
    let table = TABLES
        .iter()
        .find(|table| table.exchange == exchange && table.is_response == is_response)
        .ok_or(RuleViolation::UnknownExchange(exchange))?;
    let inside = if table.protected {
        check_outside(outer)?;
        protected
    } else {
        outer
    };
    let variant = table
        .variants
        .iter()
        .find(|variant| match variant.chosen_by {
            Some(kind) => count(inside, kind) > 0,
            None => true,
        })
        .ok_or(RuleViolation::UnknownExchange(exchange))?;
    check_counts(inside, variant.rules)?;
    check_proposals(inside, is_response)?;
    Ok(variant.form)
}

/// How often a payload may stand in a message.
struct Rule {
    payload: PayloadType,
    min: usize,
    max: usize,
}

/// A form that a message may have; that of the first variant whose
/// `chosen_by` payload is there, or which has none.
struct Variant {
    form: Form,
    chosen_by: Option<PayloadType>,
    rules: &'static [Rule],
}

/// What one exchange carries in one direction.
struct Table {
    exchange: ExchangeType,
    is_response: bool,
    /// Whether the payloads must be in an Encrypted payload.
    protected: bool,
    variants: &'static [Variant],
}

const fn one(payload: PayloadType) -> Rule {
    up_to(1, 1, payload)
}

const fn optional(payload: PayloadType) -> Rule {
    up_to(0, 1, payload)
}

const fn up_to(min: usize, max: usize, payload: PayloadType) -> Rule {
    Rule { payload, min, max }
}

const NOTIFIES: Rule = up_to(0, MAX_NOTIFIES, PayloadType::NOTIFY);
const SOME_NOTIFIES: Rule = up_to(1, MAX_NOTIFIES, PayloadType::NOTIFY);
const VENDOR_IDS: Rule = up_to(0, MAX_VENDOR_IDS, PayloadType::VENDOR_ID);
const CERTS: Rule = up_to(0, MAX_CERTS, PayloadType::CERT);
const CERTREQS: Rule = up_to(0, MAX_CERTREQS, PayloadType::CERTREQ);
const DELETES: Rule = up_to(0, MAX_DELETES, PayloadType::DELETE);

const NOTIFY_ONLY: Variant = Variant {
    form: Form::NotifyOnly,
    chosen_by: None,
    rules: &[SOME_NOTIFIES, VENDOR_IDS],
};

const TABLES: &[Table] = &[
    // HDR, [N(COOKIE)], SAi1, KEi, Ni, [N..], [V..]
    Table {
        exchange: ExchangeType::IKE_SA_INIT,
        is_response: false,
        protected: false,
        variants: &[Variant {
            form: Form::Full,
            chosen_by: None,
            rules: &[
                one(PayloadType::SA),
                one(PayloadType::KE),
                one(PayloadType::NONCE),
                NOTIFIES,
                VENDOR_IDS,
            ],
        }],
    },
    // HDR, SAr1, KEr, Nr, [CERTREQ..], [N..], [V..]  or  HDR, N
    Table {
        exchange: ExchangeType::IKE_SA_INIT,
        is_response: true,
        protected: false,
        variants: &[
            Variant {
                form: Form::Full,
                chosen_by: Some(PayloadType::SA),
                rules: &[
                    one(PayloadType::SA),
                    one(PayloadType::KE),
                    one(PayloadType::NONCE),
                    CERTREQS,
                    NOTIFIES,
                    VENDOR_IDS,
                ],
            },
            NOTIFY_ONLY,
        ],
    },
    // HDR, SK {IDi, [CERT..], [CERTREQ..], [IDr], AUTH, [CP], SAi2, TSi, TSr}
    // or, for EAP, the same without CERT and AUTH
    Table {
        exchange: ExchangeType::IKE_AUTH,
        is_response: false,
        protected: true,
        variants: &[
            Variant {
                form: Form::Full,
                chosen_by: Some(PayloadType::AUTH),
                rules: &[
                    one(PayloadType::IDI),
                    CERTS,
                    CERTREQS,
                    optional(PayloadType::IDR),
                    one(PayloadType::AUTH),
                    optional(PayloadType::CP),
                    one(PayloadType::SA),
                    one(PayloadType::TSI),
                    one(PayloadType::TSR),
                    NOTIFIES,
                    VENDOR_IDS,
                ],
            },
            Variant {
                form: Form::EapStart,
                chosen_by: None,
                rules: &[
                    one(PayloadType::IDI),
                    CERTREQS,
                    optional(PayloadType::IDR),
                    optional(PayloadType::CP),
                    one(PayloadType::SA),
                    one(PayloadType::TSI),
                    one(PayloadType::TSR),
                    NOTIFIES,
                    VENDOR_IDS,
                ],
            },
        ],
    },
    // HDR, SK {IDr, [CERT..], AUTH, [CP], SAr2, TSi, TSr}
    // or HDR, SK {IDr, [CERT..], AUTH, N}  or  HDR, SK {N}
    Table {
        exchange: ExchangeType::IKE_AUTH,
        is_response: true,
        protected: true,
        variants: &[
            Variant {
                form: Form::Full,
                chosen_by: Some(PayloadType::SA),
                rules: &[
                    one(PayloadType::IDR),
                    CERTS,
                    one(PayloadType::AUTH),
                    optional(PayloadType::CP),
                    one(PayloadType::SA),
                    one(PayloadType::TSI),
                    one(PayloadType::TSR),
                    NOTIFIES,
                    VENDOR_IDS,
                ],
            },
            Variant {
                form: Form::ChildRefused,
                chosen_by: Some(PayloadType::AUTH),
                rules: &[
                    one(PayloadType::IDR),
                    CERTS,
                    one(PayloadType::AUTH),
                    optional(PayloadType::CP),
                    SOME_NOTIFIES,
                    VENDOR_IDS,
                ],
            },
            NOTIFY_ONLY,
        ],
    },
    // HDR, SK {[N(REKEY_SA)], [CP], SA, Ni, [KEi], TSi, TSr}  or  HDR, SK {SA, Ni, KEi}
    Table {
        exchange: ExchangeType::CREATE_CHILD_SA,
        is_response: false,
        protected: true,
        variants: &[CREATE_CHILD, REKEY_IKE],
    },
    // HDR, SK {[CP], SA, Nr, [KEr], TSi, TSr}  or  HDR, SK {SA, Nr, KEr}  or  HDR, SK {N}
    Table {
        exchange: ExchangeType::CREATE_CHILD_SA,
        is_response: true,
        protected: true,
        variants: &[CREATE_CHILD, REKEY_IKE_ANSWER, NOTIFY_ONLY],
    },
    // HDR, SK {[N..], [D..], [CP]}
    Table {
        exchange: ExchangeType::INFORMATIONAL,
        is_response: false,
        protected: true,
        variants: &[INFORMATIONAL],
    },
    Table {
        exchange: ExchangeType::INFORMATIONAL,
        is_response: true,
        protected: true,
        variants: &[INFORMATIONAL],
    },
];

const CREATE_CHILD: Variant = Variant {
    form: Form::Full,
    chosen_by: Some(PayloadType::TSI),
    rules: &[
        one(PayloadType::SA),
        one(PayloadType::NONCE),
        optional(PayloadType::KE),
        one(PayloadType::TSI),
        one(PayloadType::TSR),
        optional(PayloadType::CP),
        NOTIFIES,
        VENDOR_IDS,
    ],
};

const REKEY_IKE_RULES: &[Rule] = &[
    one(PayloadType::SA),
    one(PayloadType::NONCE),
    one(PayloadType::KE),
    NOTIFIES,
    VENDOR_IDS,
];

const REKEY_IKE: Variant = Variant {
    form: Form::RekeyIke,
    chosen_by: None,
    rules: REKEY_IKE_RULES,
};

const REKEY_IKE_ANSWER: Variant = Variant {
    form: Form::RekeyIke,
    chosen_by: Some(PayloadType::SA),
    rules: REKEY_IKE_RULES,
};

const INFORMATIONAL: Variant = Variant {
    form: Form::Full,
    chosen_by: None,
    rules: &[NOTIFIES, DELETES, optional(PayloadType::CP), VENDOR_IDS],
};

/// Around an Encrypted payload there may be nothing but payloads that nobody
/// knows, which are ignored.
fn check_outside(outer: &[Payload<'_>]) -> Result<(), RuleViolation> {
    for payload in outer {
        match payload {
            Payload::Encrypted(_) | Payload::Unknown { .. } => {}
            Payload::EncryptedFragment(_) => {
                return Err(RuleViolation::Unexpected(payload.kind()));
            }
            _ => return Err(RuleViolation::Unprotected(payload.kind())),
        }
    }
    if count(outer, PayloadType::SK) == 0 {
        return Err(RuleViolation::Missing(PayloadType::SK));
    }
    Ok(())
}

fn check_counts(payloads: &[Payload<'_>], rules: &[Rule]) -> Result<(), RuleViolation> {
    for payload in payloads {
        let kind = payload.kind();
        let known = !matches!(payload, Payload::Unknown { .. });
        if known && rules.iter().all(|rule| rule.payload != kind) {
            return Err(RuleViolation::Unexpected(kind));
        }
    }
    for rule in rules {
        let found = count(payloads, rule.payload);
        if found < rule.min {
            return Err(RuleViolation::Missing(rule.payload));
        }
        if found > rule.max {
            return Err(RuleViolation::TooMany(rule.payload));
        }
    }
    Ok(())
}

/// An offer numbers its proposals from 1 on; an answer is the one that was
/// chosen, under its own number (§3.3.1).
fn check_proposals(payloads: &[Payload<'_>], is_response: bool) -> Result<(), RuleViolation> {
    for payload in payloads {
        let Payload::Sa(sa) = payload else { continue };
        match (is_response, sa.proposals.as_slice()) {
            (true, [_, _, ..]) => return Err(RuleViolation::SeveralProposals),
            (false, [first, ..]) if first.number != 1 => {
                return Err(RuleViolation::FirstProposalNumber(first.number));
            }
            _ => {}
        }
    }
    Ok(())
}

fn count(payloads: &[Payload<'_>], kind: PayloadType) -> usize {
    payloads
        .iter()
        .filter(|payload| payload.kind() == kind)
        .count()
}
