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

#[cfg(test)]
mod tests {
    use super::super::{
        AuthMethod, AuthPayload, CertEncoding, CertPayload, CfgPayload, CfgType, DeletePayload,
        GroupId, IdPayload, IdType, KePayload, NotifyPayload, NotifyType, Proposal, ProtocolId,
        SaPayload, SkPayload, TrafficSelector, TsPayload,
    };
    use super::*;

    const INIT: ExchangeType = ExchangeType::IKE_SA_INIT;
    const AUTH: ExchangeType = ExchangeType::IKE_AUTH;
    const CREATE: ExchangeType = ExchangeType::CREATE_CHILD_SA;
    const INFO: ExchangeType = ExchangeType::INFORMATIONAL;

    fn numbered(number: u8) -> Payload<'static> {
        Payload::Sa(SaPayload {
            proposals: vec![Proposal {
                number,
                protocol: ProtocolId::IKE,
                spi: &[],
                transforms: vec![],
            }],
        })
    }

    fn sa() -> Payload<'static> {
        numbered(1)
    }

    fn ke() -> Payload<'static> {
        Payload::Ke(KePayload {
            group: GroupId::X25519,
            value: &[1; 32],
        })
    }

    fn nonce() -> Payload<'static> {
        Payload::Nonce(&[1; 32])
    }

    fn notify(kind: NotifyType) -> Payload<'static> {
        Payload::Notify(NotifyPayload::new(kind, &[]))
    }

    fn id() -> IdPayload<'static> {
        IdPayload {
            kind: IdType::FQDN,
            value: b"x",
        }
    }

    fn cert() -> Payload<'static> {
        Payload::Cert(CertPayload {
            encoding: CertEncoding::X509_SIGNATURE,
            value: &[],
        })
    }

    fn auth() -> Payload<'static> {
        Payload::Auth(AuthPayload {
            method: AuthMethod::DIGITAL_SIGNATURE,
            value: &[],
        })
    }

    fn cp() -> Payload<'static> {
        Payload::Configuration(CfgPayload {
            kind: CfgType::REQUEST,
            attributes: vec![],
        })
    }

    fn ts() -> TsPayload<'static> {
        TsPayload::new(vec![TrafficSelector::any_ipv4()])
    }

    fn tsi() -> Payload<'static> {
        Payload::TsI(ts())
    }

    fn tsr() -> Payload<'static> {
        Payload::TsR(ts())
    }

    fn delete() -> Payload<'static> {
        Payload::Delete(DeletePayload::ike())
    }

    fn unknown(critical: bool) -> Payload<'static> {
        Payload::Unknown {
            kind: PayloadType(200),
            critical,
            body: &[],
        }
    }

    fn sk() -> Payload<'static> {
        Payload::Encrypted(SkPayload {
            first: PayloadType::NONE,
            body: &[],
            offset: 32,
        })
    }

    fn init(is_response: bool, payloads: &[Payload<'_>]) -> Result<Form, RuleViolation> {
        check(INIT, is_response, &[], payloads)
    }

    fn sealed(
        exchange: ExchangeType,
        is_response: bool,
        payloads: &[Payload<'_>],
    ) -> Result<Form, RuleViolation> {
        check(exchange, is_response, payloads, &[sk()])
    }

    /// Every payload of a message that is accepted, left out and doubled in turn.
    fn each_is_needed_once(
        needed: &[Payload<'_>],
        check: impl Fn(&[Payload<'_>]) -> Result<Form, RuleViolation>,
    ) {
        assert!(check(needed).is_ok());
        for (at, payload) in needed.iter().enumerate() {
            let mut without = needed.to_vec();
            without.remove(at);
            assert!(check(&without).is_err(), "without {}", payload.kind());
            let mut twice = needed.to_vec();
            twice.push(payload.clone());
            assert_eq!(check(&twice), Err(RuleViolation::TooMany(payload.kind())));
        }
    }

    #[test]
    fn ike_sa_init_request() {
        each_is_needed_once(&[sa(), ke(), nonce()], |payloads| init(false, payloads));
        let cookie = notify(NotifyType::COOKIE);
        let request = [cookie, sa(), ke(), nonce(), Payload::VendorId(b"v")];
        assert_eq!(init(false, &request), Ok(Form::Full));
        for intruder in [auth(), delete(), sk(), tsi(), cp()] {
            let kind = intruder.kind();
            assert_eq!(
                init(false, &[sa(), ke(), nonce(), intruder]),
                Err(RuleViolation::Unexpected(kind))
            );
        }
        assert_eq!(
            init(false, &[notify(NotifyType::COOKIE)]),
            Err(RuleViolation::Missing(PayloadType::SA))
        );
    }

    #[test]
    fn ike_sa_init_response() {
        let request = Payload::CertReq(super::super::CertReqPayload {
            encoding: CertEncoding::X509_SIGNATURE,
            authorities: &[],
        });
        let full = [sa(), ke(), nonce(), request.clone()];
        assert_eq!(init(true, &full), Ok(Form::Full));
        assert_eq!(
            init(false, &full),
            Err(RuleViolation::Unexpected(PayloadType::CERTREQ)),
            "a request has none"
        );
        let cookie = [notify(NotifyType::COOKIE)];
        assert_eq!(init(true, &cookie), Ok(Form::NotifyOnly));
        assert_eq!(
            init(true, &[]),
            Err(RuleViolation::Missing(PayloadType::NOTIFY))
        );
        assert_eq!(
            init(true, &[sa(), nonce()]),
            Err(RuleViolation::Missing(PayloadType::KE))
        );
    }

    #[test]
    fn ike_auth_request() {
        let needed = [Payload::IdI(id()), auth(), sa(), tsi(), tsr()];
        assert_eq!(sealed(AUTH, false, &needed), Ok(Form::Full));
        for at in [0, 2, 3, 4] {
            let mut without = needed.to_vec();
            let kind = without.remove(at).kind();
            assert_eq!(
                sealed(AUTH, false, &without),
                Err(RuleViolation::Missing(kind))
            );
        }
        let mut all = needed.to_vec();
        all.extend([cert(), cert(), cp(), Payload::IdR(id())]);
        all.push(notify(NotifyType::INITIAL_CONTACT));
        assert_eq!(sealed(AUTH, false, &all), Ok(Form::Full));
        all.push(cp());
        assert_eq!(
            sealed(AUTH, false, &all),
            Err(RuleViolation::TooMany(PayloadType::CP))
        );
    }

    #[test]
    fn an_ike_auth_request_without_auth_asks_for_eap() {
        let needed = [Payload::IdI(id()), sa(), tsi(), tsr()];
        assert_eq!(sealed(AUTH, false, &needed), Ok(Form::EapStart));
        let mut with_cert = needed.to_vec();
        with_cert.push(cert());
        assert_eq!(
            sealed(AUTH, false, &with_cert),
            Err(RuleViolation::Unexpected(PayloadType::CERT))
        );
    }

    #[test]
    fn certificates_are_bounded() {
        let mut message = vec![Payload::IdI(id()), auth(), sa(), tsi(), tsr()];
        message.extend((0..MAX_CERTS).map(|_| cert()));
        assert!(sealed(AUTH, false, &message).is_ok());
        message.push(cert());
        assert_eq!(
            sealed(AUTH, false, &message),
            Err(RuleViolation::TooMany(PayloadType::CERT))
        );
    }

    #[test]
    fn ike_auth_response() {
        let full = [Payload::IdR(id()), cert(), auth(), sa(), tsi(), tsr()];
        assert_eq!(sealed(AUTH, true, &full), Ok(Form::Full));
        assert_eq!(
            sealed(AUTH, true, &[Payload::IdR(id()), sa(), tsi(), tsr()]),
            Err(RuleViolation::Missing(PayloadType::AUTH))
        );
        let refused = [
            Payload::IdR(id()),
            auth(),
            notify(NotifyType::TS_UNACCEPTABLE),
        ];
        assert_eq!(sealed(AUTH, true, &refused), Ok(Form::ChildRefused));
        assert_eq!(
            sealed(AUTH, true, &refused[..2]),
            Err(RuleViolation::Missing(PayloadType::NOTIFY))
        );
        let failed = [notify(NotifyType::AUTHENTICATION_FAILED)];
        assert_eq!(sealed(AUTH, true, &failed), Ok(Form::NotifyOnly));
        assert_eq!(
            sealed(AUTH, true, &[]),
            Err(RuleViolation::Missing(PayloadType::NOTIFY))
        );
    }

    #[test]
    fn create_child_sa() {
        for is_response in [false, true] {
            let check = |payloads: &[Payload<'_>]| sealed(CREATE, is_response, payloads);
            let child = [sa(), nonce(), tsi(), tsr()];
            each_is_needed_once(&child, check);
            assert_eq!(check(&child), Ok(Form::Full));
            assert_eq!(check(&[sa(), nonce(), ke(), tsi(), tsr()]), Ok(Form::Full));
            assert_eq!(check(&[sa(), nonce(), ke()]), Ok(Form::RekeyIke));
            assert_eq!(
                check(&[sa(), nonce()]),
                Err(RuleViolation::Missing(PayloadType::KE))
            );
            assert_eq!(
                check(&[sa(), nonce(), ke(), auth()]),
                Err(RuleViolation::Unexpected(PayloadType::AUTH))
            );
        }
        let failed = [notify(NotifyType::TEMPORARY_FAILURE)];
        assert_eq!(sealed(CREATE, true, &failed), Ok(Form::NotifyOnly));
        assert_eq!(
            sealed(CREATE, false, &failed),
            Err(RuleViolation::Missing(PayloadType::SA))
        );
    }

    #[test]
    fn informational() {
        for is_response in [false, true] {
            assert_eq!(sealed(INFO, is_response, &[]), Ok(Form::Full));
            let busy = [delete(), delete(), notify(NotifyType::COOKIE2), cp()];
            assert_eq!(sealed(INFO, is_response, &busy), Ok(Form::Full));
            assert_eq!(
                sealed(INFO, is_response, &[nonce()]),
                Err(RuleViolation::Unexpected(PayloadType::NONCE))
            );
            let many: Vec<_> = (0..=MAX_DELETES).map(|_| delete()).collect();
            assert!(sealed(INFO, is_response, &many[1..]).is_ok());
            assert_eq!(
                sealed(INFO, is_response, &many),
                Err(RuleViolation::TooMany(PayloadType::DELETE))
            );
        }
    }

    #[test]
    fn what_must_be_protected_is() {
        for exchange in [AUTH, CREATE, INFO] {
            for payload in [delete(), notify(NotifyType::COOKIE), Payload::VendorId(b"")] {
                let kind = payload.kind();
                assert_eq!(
                    check(exchange, false, &[], &[payload.clone(), sk()]),
                    Err(RuleViolation::Unprotected(kind))
                );
                assert_eq!(
                    check(exchange, false, &[], &[payload]),
                    Err(RuleViolation::Unprotected(kind))
                );
            }
            assert_eq!(
                check(exchange, false, &[], &[]),
                Err(RuleViolation::Missing(PayloadType::SK))
            );
        }
        assert_eq!(
            check(INFO, false, &[], &[unknown(false), sk()]),
            Ok(Form::Full)
        );
    }

    #[test]
    fn unknown_payloads_count_only_when_critical() {
        let violation = Err(RuleViolation::UnsupportedCritical(PayloadType(200)));
        let request = |last| init(false, &[sa(), ke(), nonce(), last]);
        assert_eq!(request(unknown(false)), Ok(Form::Full));
        assert_eq!(request(unknown(true)), violation);
        assert_eq!(sealed(INFO, false, &[unknown(false)]), Ok(Form::Full));
        assert_eq!(sealed(INFO, false, &[unknown(true)]), violation);
        assert_eq!(check(INFO, true, &[], &[unknown(true), sk()]), violation);
        assert_eq!(
            sealed(AUTH, false, &[unknown(true)]),
            violation,
            "before what else is wrong"
        );
    }

    #[test]
    fn order_is_free() {
        let mut payloads = vec![tsr(), sa(), auth(), tsi(), cert(), Payload::IdI(id())];
        assert_eq!(sealed(AUTH, false, &payloads), Ok(Form::Full));
        payloads.reverse();
        assert_eq!(sealed(AUTH, false, &payloads), Ok(Form::Full));
    }

    #[test]
    fn proposals_of_offer_and_answer() {
        assert_eq!(
            init(false, &[numbered(2), ke(), nonce()]),
            Err(RuleViolation::FirstProposalNumber(2))
        );
        assert_eq!(init(true, &[numbered(2), ke(), nonce()]), Ok(Form::Full));
        let (Payload::Sa(mut two), Payload::Sa(second)) = (numbered(1), numbered(2)) else {
            unreachable!()
        };
        two.proposals.extend(second.proposals);
        let two = [Payload::Sa(two), ke(), nonce()];
        assert_eq!(init(false, &two), Ok(Form::Full));
        assert_eq!(init(true, &two), Err(RuleViolation::SeveralProposals));
    }

    #[test]
    fn other_exchanges_have_no_table() {
        let unknown = ExchangeType(99);
        assert_eq!(
            sealed(unknown, false, &[]),
            Err(RuleViolation::UnknownExchange(unknown))
        );
    }
}
