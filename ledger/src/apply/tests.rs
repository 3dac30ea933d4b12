use proptest::prelude::*;

use super::*;
use crate::fixture::{
    ACME, BEGIN, Consortium, OPERATOR, SECOND_OPERATOR, WATCHER, device, genesis, id, member, pair,
    self_signed, signed_with, subject,
};
use crate::hash::BlockHash;
use crate::member::Roles;
use crate::memory::MemoryState;

const REASON: RevocationReason = RevocationReason::Unspecified;

/// A consortium with one device of acme's.
fn enrolled() -> (Consortium, CertificateHash) {
    let mut consortium = Consortium::new();
    let certificate = self_signed(&device("henb-1"));
    assert_eq!(consortium.device(&certificate), None);
    (consortium, CertificateHash::of(&certificate))
}

fn refusal(result: Result<(), ValidateError>) -> Option<Refusal> {
    match result {
        Ok(()) => None,
        Err(ValidateError::Refused(refused)) => Some(refused.refusal),
        Err(ValidateError::State(error)) => panic!("{error}"),
    }
}

/// A transaction must get the same verdict on the envelope at admission and in a block.
fn both(consortium: &mut Consortium, signed: &SignedTransaction) -> Option<Refusal> {
    let admission = refusal(validate(signed, &consortium.state, &consortium.context()));
    let applied = consortium.commit(vec![signed.clone()]);
    assert_eq!(applied.receipts[0].outcomes[0].refusal(), admission);
    admission
}

#[test]
fn envelope_is_bound_to_the_chain() {
    let (mut consortium, hash) = enrolled();
    let mut transaction = consortium.transaction(ACME, Body::Suspend { hash });
    transaction.chain = ChainId::from_octets([9; 32]);
    let signed = SignedTransaction::sign(transaction, &pair(ACME));
    assert_eq!(both(&mut consortium, &signed), Some(Refusal::WrongChain));
    assert_eq!(consortium.status(&hash), Status::Valid);
}

#[test]
fn envelope_is_signed_by_the_member_it_names() {
    let (mut consortium, hash) = enrolled();
    let transaction = consortium.transaction(ACME, Body::Suspend { hash });
    let forged = SignedTransaction::sign(transaction.clone(), &pair(OPERATOR));
    assert_eq!(both(&mut consortium, &forged), Some(Refusal::NotEndorsed));

    let good = SignedTransaction::sign(transaction.clone(), &pair(ACME));
    for place in 0..good.signature.len() {
        let mut mutated = good.clone();
        mutated.signature[place] ^= 0x01;
        let verdict = validate(&mutated, &consortium.state, &consortium.context());
        assert_eq!(
            refusal(verdict),
            Some(Refusal::NotEndorsed),
            "octet {place}"
        );
    }
    let mut other = good;
    other.transaction.nonce += 1;
    assert_eq!(both(&mut consortium, &other), Some(Refusal::NotEndorsed));

    let mut stranger = transaction;
    stranger.member = id("stranger");
    let signed = SignedTransaction::sign(stranger, &pair("stranger"));
    assert_eq!(both(&mut consortium, &signed), Some(Refusal::NotEndorsed));
    assert_eq!(consortium.status(&hash), Status::Valid);
}

#[test]
fn envelope_has_a_span_of_heights() {
    let (mut consortium, hash) = enrolled();
    let furthest = genesis().parameters.max_lifetime;
    for (ahead, expected) in [
        (0, Some(Refusal::Expired)),
        (1, None),
        (1 + furthest, None),
        (2 + furthest, Some(Refusal::Expired)),
    ] {
        let mut transaction = consortium.transaction(ACME, Body::Suspend { hash });
        transaction.expires = Height(consortium.head().height.0 + ahead);
        let signed = SignedTransaction::sign(transaction, &pair(ACME));
        let verdict = validate(&signed, &consortium.state, &consortium.context());
        assert_eq!(refusal(verdict), expected, "{ahead} ahead");
    }
    let mut transaction = consortium.transaction(ACME, Body::Suspend { hash });
    transaction.expires = Height(u64::MAX);
    let signed = SignedTransaction::sign(transaction, &pair(ACME));
    assert_eq!(both(&mut consortium, &signed), Some(Refusal::Expired));
}

#[test]
fn a_replay_does_nothing() {
    let (mut consortium, hash) = enrolled();
    let suspend = consortium.signed(OPERATOR, Body::Suspend { hash });
    assert_eq!(both(&mut consortium, &suspend), None);
    assert_eq!(consortium.act(OPERATOR, Body::Resume { hash }), None);
    assert_eq!(both(&mut consortium, &suspend), Some(Refusal::Replayed));
    assert_eq!(consortium.status(&hash), Status::Valid);

    // Twice in one block; and another nonce is another transaction.
    let again = consortium.signed(OPERATOR, Body::Suspend { hash });
    assert_ne!(again.id(), suspend.id());
    let applied = consortium.commit(vec![again.clone(), again]);
    let refusals: Vec<_> = applied
        .receipts
        .iter()
        .map(|receipt| receipt.outcomes[0].refusal())
        .collect();
    assert_eq!(refusals, [None, Some(Refusal::Replayed)]);
}

#[test]
fn a_refused_transaction_cannot_be_replayed_either() {
    let (mut consortium, hash) = enrolled();
    let resume = consortium.signed(OPERATOR, Body::Resume { hash });
    let applied = consortium.commit(vec![resume.clone()]);
    assert_eq!(
        applied.receipts[0].outcomes[0].refusal(),
        Some(Refusal::WrongStatus)
    );
    assert_eq!(consortium.act(OPERATOR, Body::Suspend { hash }), None);
    assert_eq!(both(&mut consortium, &resume), Some(Refusal::Replayed));
    assert!(matches!(consortium.status(&hash), Status::Suspended { .. }));
}

#[test]
fn applied_transactions_are_forgotten_when_they_can_no_longer_be_applied() {
    let (mut consortium, hash) = enrolled();
    let mut transaction = consortium.transaction(OPERATOR, Body::Suspend { hash });
    let last = Height(consortium.head().height.0 + 2);
    transaction.expires = last;
    let signed = SignedTransaction::sign(transaction, &pair(OPERATOR));
    consortium.commit(vec![signed.clone()]);
    let remembered = consortium.state.remembered();
    assert_eq!(consortium.head().height.0 + 1, last.0);
    let applied = consortium.commit(vec![signed.clone()]);
    assert_eq!(
        applied.receipts[0].outcomes[0].refusal(),
        Some(Refusal::Replayed)
    );
    assert_eq!(consortium.state.remembered(), remembered);
    let applied = consortium.commit(vec![signed]);
    assert_eq!(
        applied.receipts[0].outcomes[0].refusal(),
        Some(Refusal::Expired)
    );
    assert_eq!(consortium.state.remembered(), remembered - 1);
}

/// The table in the crate's documentation: each status with each transaction.
#[test]
fn status_transitions() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Start {
        Valid,
        Suspended,
        Revoked,
        ExpiredValid,
        ExpiredSuspended,
        NotRecorded,
    }
    use Start::{ExpiredSuspended, ExpiredValid, NotRecorded, Revoked, Suspended, Valid};
    let wrong = Some(Refusal::WrongStatus);
    let absent = Some(Refusal::NotRecorded);

    // from, then refusal and new status for: revoke, suspend, resume
    let table = [
        (
            Valid,
            [(None, "revoked"), (None, "suspended"), (wrong, "valid")],
        ),
        (
            Suspended,
            [(None, "revoked"), (wrong, "suspended"), (None, "valid")],
        ),
        (
            Revoked,
            [(wrong, "revoked"), (wrong, "revoked"), (wrong, "revoked")],
        ),
        (
            ExpiredValid,
            [(None, "revoked"), (wrong, "expired"), (wrong, "expired")],
        ),
        (
            ExpiredSuspended,
            [(None, "revoked"), (wrong, "expired"), (wrong, "expired")],
        ),
        (
            NotRecorded,
            [
                (absent, "not-recorded"),
                (absent, "not-recorded"),
                (absent, "not-recorded"),
            ],
        ),
    ];
    for (from, row) in table {
        for (operation, (expected, status)) in row.into_iter().enumerate() {
            let (mut consortium, hash) = if from == NotRecorded {
                (Consortium::new(), CertificateHash::of(b"nothing"))
            } else {
                enrolled()
            };
            match from {
                Suspended | ExpiredSuspended => {
                    assert_eq!(consortium.act(ACME, Body::Suspend { hash }), None);
                }
                Revoked => {
                    assert_eq!(
                        consortium.act(
                            ACME,
                            Body::Revoke {
                                hash,
                                reason: REASON
                            }
                        ),
                        None
                    );
                }
                Valid | ExpiredValid | NotRecorded => {}
            }
            if matches!(from, ExpiredValid | ExpiredSuspended) {
                let record = consortium.state.record(&hash).unwrap().unwrap();
                consortium.commit_at(BlockTime((record.not_after + 1) * 1_000), vec![]);
                assert_eq!(consortium.status(&hash), Status::Expired);
            }
            let before = consortium.state.record(&hash).unwrap();
            let body = match operation {
                0 => Body::Revoke {
                    hash,
                    reason: REASON,
                },
                1 => Body::Suspend { hash },
                _ => Body::Resume { hash },
            };
            let signed = consortium.signed(ACME, body);
            let applied = consortium.commit(vec![signed]);
            let case = format!("{from:?}, operation {operation}");
            assert_eq!(
                applied.receipts[0].outcomes[0].refusal(),
                expected,
                "{case}"
            );
            assert_eq!(consortium.status(&hash).as_str(), status, "{case}");
            if expected.is_some() {
                assert_eq!(consortium.state.record(&hash).unwrap(), before, "{case}");
                assert_eq!(applied.events, [], "{case}");
            } else {
                let event = StatusEvent {
                    height: consortium.head().height,
                    index: 0,
                    hash,
                    status: consortium.status(&hash),
                };
                assert_eq!(applied.events, [event], "{case}");
            }
        }
    }
}

#[test]
fn a_superseded_record_stays_so() {
    let (mut consortium, hash) = enrolled();
    let mut record = consortium.state.record(&hash).unwrap().unwrap();
    let by = CertificateHash::from_octets([7; 32]);
    record.standing = Standing::Superseded { by };
    consortium.state.put_record(&record).unwrap();
    for body in [
        Body::Revoke {
            hash,
            reason: REASON,
        },
        Body::Suspend { hash },
        Body::Resume { hash },
    ] {
        assert_eq!(consortium.act(ACME, body), Some(Refusal::WrongStatus));
        assert_eq!(consortium.status(&hash), Status::Superseded { by });
    }
}

#[test]
fn revocation_keeps_reason_and_time_beyond_expiry() {
    let (mut consortium, hash) = enrolled();
    let reason = RevocationReason::KeyCompromise;
    assert_eq!(consortium.act(ACME, Body::Revoke { hash, reason }), None);
    let time = consortium.head().time;
    consortium.commit_at(BlockTime(BEGIN.0 * 2), vec![]);
    assert_eq!(consortium.status(&hash), Status::Revoked { reason, time });
}

#[test]
fn revocation_has_a_final_reason() {
    for reason in RevocationReason::ALL {
        let (mut consortium, hash) = enrolled();
        let expected = match reason {
            RevocationReason::CertificateHold | RevocationReason::RemoveFromCrl => {
                Some(Refusal::WrongReason)
            }
            _ => None,
        };
        let signed = consortium.signed(ACME, Body::Revoke { hash, reason });
        assert_eq!(both(&mut consortium, &signed), expected, "{reason}");
    }
}

/// Who may revoke, suspend and resume acme's device.
#[test]
fn permissions() {
    let denied = Some(Refusal::NotPermitted);
    for (who, revoke, suspend) in [
        (ACME, None, None),
        (OPERATOR, denied, None),
        (WATCHER, denied, denied),
        (crate::fixture::AUTHORITY, denied, denied),
    ] {
        let (mut consortium, hash) = enrolled();
        assert_eq!(
            consortium.act(who, Body::Suspend { hash }),
            suspend,
            "{who} suspends"
        );
        let (mut consortium, hash) = enrolled();
        assert_eq!(
            consortium.act(
                who,
                Body::Revoke {
                    hash,
                    reason: REASON
                }
            ),
            revoke,
            "{who} revokes"
        );
    }
    // Only the one that suspended it resumes it.
    for suspender in [ACME, OPERATOR] {
        for who in [ACME, OPERATOR, SECOND_OPERATOR, WATCHER] {
            let (mut consortium, hash) = enrolled();
            assert_eq!(consortium.act(suspender, Body::Suspend { hash }), None);
            let expected = if who == suspender { None } else { denied };
            assert_eq!(
                consortium.act(who, Body::Resume { hash }),
                expected,
                "{who} after {suspender}"
            );
        }
    }
}

#[test]
fn permissions_pass_on_when_a_member_leaves() {
    // The suspender leaves: endorser and operators may resume, others not.
    for (who, expected) in [
        (ACME, None),
        (SECOND_OPERATOR, None),
        (WATCHER, Some(Refusal::NotPermitted)),
    ] {
        let (mut consortium, hash) = enrolled();
        assert_eq!(consortium.act(OPERATOR, Body::Suspend { hash }), None);
        assert_eq!(
            consortium.act(
                ACME,
                Body::RemoveMember {
                    member: id(OPERATOR)
                }
            ),
            None
        );
        assert_eq!(
            consortium.act(OPERATOR, Body::Resume { hash }),
            Some(Refusal::NotEndorsed)
        );
        assert_eq!(
            consortium.act(who, Body::Resume { hash }),
            expected,
            "{who}"
        );
    }
    // The endorser leaves: operators may revoke, others not.
    for (who, expected) in [(OPERATOR, None), (WATCHER, Some(Refusal::NotPermitted))] {
        let (mut consortium, hash) = enrolled();
        let second = member("second", MemberKind::Ca, Roles::VALIDATOR, "Second");
        assert_eq!(
            consortium.act(ACME, Body::AdmitMember { member: second }),
            None
        );
        assert_eq!(
            consortium.act("second", Body::RemoveMember { member: id(ACME) }),
            None
        );
        assert_eq!(consortium.status(&hash), Status::Valid, "its records stay");
        assert_eq!(
            consortium.act(
                who,
                Body::Revoke {
                    hash,
                    reason: REASON
                }
            ),
            expected,
            "{who}"
        );
    }
}

#[test]
fn members_are_admitted_and_removed_by_validators() {
    let newcomer = || {
        member(
            "new",
            MemberKind::Manufacturer,
            Roles::SUBMISSION,
            "New Org",
        )
    };
    let certificate = self_signed(&subject("henb-9", "New Org"));
    let submit = || Body::Submit {
        certificates: vec![certificate.clone()],
        class: Class::Device,
    };

    let mut consortium = Consortium::new();
    let signed = consortium.signed(OPERATOR, Body::AdmitMember { member: newcomer() });
    assert_eq!(both(&mut consortium, &signed), Some(Refusal::NotPermitted));
    assert_eq!(consortium.act("new", submit()), Some(Refusal::NotEndorsed));
    assert_eq!(
        consortium.act(ACME, Body::AdmitMember { member: newcomer() }),
        None
    );
    assert_eq!(consortium.act("new", submit()), None);
    assert_eq!(
        consortium.act(OPERATOR, Body::RemoveMember { member: id("new") }),
        Some(Refusal::NotPermitted)
    );
    assert_eq!(
        consortium.act(ACME, Body::RemoveMember { member: id("new") }),
        None
    );
    assert_eq!(consortium.act("new", submit()), Some(Refusal::NotEndorsed));
    assert_eq!(
        consortium.act(ACME, Body::RemoveMember { member: id("new") }),
        Some(Refusal::NotRecorded)
    );
    assert_eq!(
        consortium.act(ACME, Body::RemoveMember { member: id(ACME) }),
        Some(Refusal::LastValidator)
    );
}

#[test]
fn members_share_nothing() {
    let mut same_key = member("new", MemberKind::Ca, Roles::NONE, "New Org");
    same_key.key = crate::member::MemberKey::of(&pair(ACME));
    let mut no_organisation = member("new", MemberKind::Ca, Roles::NONE, "New Org");
    no_organisation.organisations.clear();
    let mut twice = member("new", MemberKind::Ca, Roles::NONE, "New Org");
    twice.organisations = vec!["New Org".parse().unwrap(); 2];
    for (admitted, expected) in [
        (
            member(WATCHER, MemberKind::Ca, Roles::NONE, "New Org"),
            Refusal::Duplicate,
        ),
        (same_key, Refusal::Duplicate),
        (
            member("new", MemberKind::Ca, Roles::NONE, "Operator One"),
            Refusal::ForeignOrganisation,
        ),
        (no_organisation, Refusal::Malformed),
        (twice, Refusal::Malformed),
    ] {
        let mut consortium = Consortium::new();
        assert_eq!(
            consortium.act(ACME, Body::AdmitMember { member: admitted }),
            Some(expected)
        );
    }
}

#[test]
fn members_have_a_bound() {
    let mut consortium = Consortium::new();
    for number in consortium.state.members().unwrap().len()..MAX_MEMBERS {
        let name = format!("m{number}");
        let extra = member(&name, MemberKind::Ca, Roles::NONE, &name);
        consortium.state.put_member(&extra).unwrap();
    }
    let admitted = member("new", MemberKind::Ca, Roles::NONE, "New Org");
    assert_eq!(
        consortium.act(ACME, Body::AdmitMember { member: admitted }),
        Some(Refusal::TooMany)
    );
}

#[test]
fn a_batch_holds_something() {
    let mut consortium = Consortium::new();
    let signed = consortium.signed(
        ACME,
        Body::Submit {
            certificates: vec![],
            class: Class::Device,
        },
    );
    assert_eq!(both(&mut consortium, &signed), Some(Refusal::Malformed));
}

#[test]
fn a_batch_refused_as_a_whole_has_an_outcome_for_each() {
    let mut consortium = Consortium::new();
    let certificates = vec![
        self_signed(&device("henb-1")),
        self_signed(&device("henb-2")),
    ];
    let outcomes = consortium.run(
        WATCHER,
        Body::Submit {
            certificates: certificates.clone(),
            class: Class::Device,
        },
    );
    assert_eq!(outcomes.len(), 2);
    for (outcome, certificate) in outcomes.iter().zip(&certificates) {
        assert_eq!(outcome.hash, Some(CertificateHash::of(certificate)));
        assert_eq!(outcome.refusal(), Some(Refusal::NotEndorsed));
    }
}

#[test]
fn events_are_numbered_over_the_whole_block() {
    let mut consortium = Consortium::new();
    let batch = |names: [&str; 2]| Body::Submit {
        certificates: names
            .iter()
            .map(|name| self_signed(&device(name)))
            .collect(),
        class: Class::Device,
    };
    let first = consortium.signed(ACME, batch(["henb-1", "henb-2"]));
    let second = consortium.signed(ACME, batch(["henb-3", "henb-4"]));
    let applied = consortium.commit(vec![first, second]);
    let places: Vec<_> = applied
        .events
        .iter()
        .map(|event| (event.height.0, event.index))
        .collect();
    assert_eq!(places, [(1, 0), (1, 1), (1, 2), (1, 3)]);
    assert!(
        applied
            .events
            .iter()
            .all(|event| event.status == Status::Valid)
    );
}

#[test]
fn a_block_follows_its_predecessor() {
    let (mut consortium, hash) = enrolled();
    let transaction = consortium.signed(ACME, Body::Suspend { hash });
    let head = consortium.head();
    let chain = consortium.chain;
    let good = Block::after(&head, chain, BlockTime(head.time.0), vec![transaction]);
    let height = good.header.height;
    let changed = |change: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        block
    };
    let other_chain = ChainId::from_octets([1; 32]);
    let other_block = BlockHash::from_octets([1; 32]);
    for (block, expected) in [
        (
            changed(&|block| block.header.version = 2),
            BlockError::Version { height, found: 2 },
        ),
        (
            changed(&|block| block.header.chain = other_chain),
            BlockError::Chain {
                height,
                expected: chain,
                found: other_chain,
            },
        ),
        (
            changed(&|block| block.header.height = head.height),
            BlockError::Height {
                expected: height,
                found: head.height,
            },
        ),
        (
            changed(&|block| block.header.height = height.next()),
            BlockError::Height {
                expected: height,
                found: height.next(),
            },
        ),
        (
            changed(&|block| block.header.previous = other_block),
            BlockError::Previous {
                height,
                expected: head.hash,
                found: other_block,
            },
        ),
        (
            changed(&|block| block.header.time = BlockTime(head.time.0 - 1)),
            BlockError::Time {
                height,
                head: head.time,
                found: BlockTime(head.time.0 - 1),
            },
        ),
        (
            changed(&|block| block.transactions.clear()),
            BlockError::Transactions { height },
        ),
        (
            changed(&|block| block.transactions[0].signature[0] ^= 1),
            BlockError::Transactions { height },
        ),
    ] {
        let before = consortium.state.digest();
        match apply(&block, &mut consortium.state) {
            Err(ApplyError::Block(error)) => assert_eq!(error, expected),
            other => panic!("{expected:?}: {other:?}"),
        }
        assert_eq!(consortium.state.digest(), before, "untouched");
    }
    apply(&good, &mut consortium.state).unwrap();
    assert_eq!(
        consortium.head(),
        Head {
            height,
            hash: good.hash(),
            time: good.header.time
        }
    );
    assert!(matches!(
        apply(&good, &mut consortium.state),
        Err(ApplyError::Block(BlockError::Height { .. }))
    ));
    assert!(matches!(
        apply(&good, &mut MemoryState::new()),
        Err(ApplyError::NoChain)
    ));
}

#[test]
fn the_same_blocks_give_the_same_state() {
    let key = crate::fixture::key_for(&rcgen::PKCS_ED25519);
    let certificates: Vec<_> = (0..4)
        .map(|number| signed_with(&device(&format!("henb-{number}")), &key))
        .collect();
    let hash = CertificateHash::of(&certificates[0]);
    let run = || {
        let mut consortium = Consortium::new();
        let mut results = Vec::new();
        let body = Body::Submit {
            certificates: certificates.clone(),
            class: Class::Device,
        };
        for (who, body) in [
            (ACME, body),
            (OPERATOR, Body::Suspend { hash }),
            (ACME, Body::Resume { hash }),
            (
                ACME,
                Body::Revoke {
                    hash,
                    reason: REASON,
                },
            ),
            (
                WATCHER,
                Body::Revoke {
                    hash,
                    reason: REASON,
                },
            ),
        ] {
            let signed = consortium.signed(who, body);
            results.push(consortium.commit(vec![signed]));
        }
        (consortium.state.digest(), consortium.head(), results)
    };
    let first = run();
    assert_eq!(first, run());
    let mut other = Consortium::new();
    other.commit(vec![]);
    assert_ne!(first.0, other.state.digest());
}

/// A certificate and transactions over it that do not depend on chance.
fn seeds() -> Vec<Vec<u8>> {
    let mut consortium = Consortium::new();
    let certificate = include_bytes!("../../tests/vectors/p256-sha384.der").to_vec();
    let hash = CertificateHash::of(&certificate);
    [
        Body::Submit {
            certificates: vec![certificate; 2],
            class: Class::Device,
        },
        Body::Revoke {
            hash,
            reason: REASON,
        },
        Body::Suspend { hash },
        Body::Resume { hash },
        Body::AdmitMember {
            member: member("new", MemberKind::Ca, Roles::ALL, "New Org"),
        },
        Body::RemoveMember {
            member: id(WATCHER),
        },
    ]
    .into_iter()
    .map(|body| consortium.signed(ACME, body).encode())
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever becomes of the octets, nothing panics, and what is decoded encodes to the same.
    #[test]
    fn mutated_transactions_never_panic(
        seed in 0..6_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        shorten in any::<bool>(),
    ) {
        let mut octets = seeds().swap_remove(seed);
        for (place, value) in changes {
            let place = place.index(octets.len());
            octets[place] = value;
        }
        if shorten {
            octets.truncate(cut.index(octets.len()));
        }
        if let Ok(mut signed) = SignedTransaction::decode(&octets) {
            prop_assert_eq!(signed.encode(), octets);
            let mut consortium = Consortium::new();
            let _ = validate(&signed, &consortium.state, &consortium.context());
            // Signed again, so that the body is reached.
            signed = SignedTransaction::sign(signed.transaction, &pair(ACME));
            let applied = consortium.commit(vec![signed]);
            prop_assert_eq!(applied.receipts.len(), 1);
            prop_assert!(!applied.receipts[0].outcomes.is_empty());
        }
    }

    /// The rules take any octets for a certificate.
    #[test]
    fn mutated_certificates_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut der = include_bytes!("../../tests/vectors/rsa-2048-pss-sha256.der").to_vec();
        for (place, value) in changes {
            let place = place.index(der.len());
            der[place] = value;
        }
        let outcome = Consortium::new().device(&der);
        let original = include_bytes!("../../tests/vectors/rsa-2048-pss-sha256.der").as_slice();
        prop_assert_eq!(outcome.is_none(), der == original);
    }
}
