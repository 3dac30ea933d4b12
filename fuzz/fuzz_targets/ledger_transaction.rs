//! Arbitrary octets as a transaction, as a block and as a certificate: no panic; whatever decodes
//! encodes to the same octets, and has one outcome for each thing it asks for.
#![no_main]

use std::sync::LazyLock;

use ledger::{
    Block, BlockTime, Body, Class, Context, Genesis, Height, Member, MemberId, MemberKey,
    MemberKind, MemoryState, Organisation, Parameters, ParsedCertificate, Roles, SignedTransaction,
    State, apply, judge, validate,
};
use libfuzzer_sys::fuzz_target;
use ring::signature::Ed25519KeyPair;

/// 2026-01-01T00:00:00Z, within the validity of the seeds' certificate.
const BEGIN: BlockTime = BlockTime(1_767_225_600_000);

/// Any key will do; the fuzzer cannot make signatures, so the target signs for it.
static PAIR: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed has 32 octets"));

static START: LazyLock<(Member, MemoryState)> = LazyLock::new(|| {
    let organisation: Organisation = "ACME Femto".parse().expect("an organisation");
    let member = Member {
        id: "acme".parse::<MemberId>().expect("a member's name"),
        key: MemberKey::of(&PAIR),
        kind: MemberKind::Operator,
        roles: Roles::ALL,
        organisations: vec![organisation],
    };
    let genesis = Genesis {
        name: "fuzz".to_owned(),
        time: BEGIN,
        members: vec![member.clone()],
        parameters: Parameters::default(),
    };
    let mut state = MemoryState::new();
    genesis.establish(&mut state).expect("a sound genesis");
    (member, state)
});

fuzz_target!(|octets: &[u8]| {
    certificate(octets);
    if let Ok(block) = Block::decode(octets) {
        assert_eq!(block.encode(), octets);
        let _ = apply(&block, &mut START.1.clone());
    }
    if let Ok(signed) = SignedTransaction::decode(octets) {
        assert_eq!(signed.encode(), octets);
        transaction(signed);
    }
});

fn certificate(octets: &[u8]) {
    let Ok(parsed) = ParsedCertificate::parse(octets) else {
        return;
    };
    assert_eq!(parsed.as_der(), octets);
    let (member, state) = &*START;
    let context = context(state);
    for class in Class::ALL {
        if let Ok(record) = judge(octets, class, member, state, &context) {
            assert_eq!(record.certificate, octets);
        }
    }
}

fn transaction(signed: SignedTransaction) {
    let (member, start) = &*START;
    let context = context(start);
    // As it came: nobody signed it for this chain.
    assert!(validate(&signed, start, &context).is_err());

    let mut transaction = signed.transaction;
    transaction.chain = context.chain;
    transaction.member = member.id.clone();
    transaction.expires = Height(1_000);
    let signed = SignedTransaction::sign(transaction, &PAIR);
    let admitted = validate(&signed, start, &context).is_ok();
    let asked = match &signed.transaction.body {
        Body::Submit { certificates, .. } => certificates.len().max(1),
        _ => 1,
    };

    let mut state = start.clone();
    let head = state
        .head()
        .expect("memory does not fail")
        .expect("a genesis");
    // Twice: the second is a replay.
    let block = Block::after(&head, context.chain, BEGIN, vec![signed.clone(), signed]);
    let applied = apply(&block, &mut state).expect("the block follows the head");
    let [first, second] = applied.receipts.as_slice() else {
        panic!("a receipt for each transaction");
    };
    assert_eq!(first.outcomes.len(), asked);
    assert_eq!(second.outcomes.len(), asked);
    assert!(!second.outcomes.iter().any(|outcome| outcome.is_accepted()));
    assert!(admitted || !first.outcomes.iter().any(|outcome| outcome.is_accepted()));
}

fn context(state: &MemoryState) -> Context {
    Context::next(state, BEGIN)
        .expect("memory does not fail")
        .expect("a genesis")
}
