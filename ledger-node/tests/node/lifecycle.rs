//! What becomes of a certificate, from one end of its life to the other.

use std::slice::from_ref;
use std::sync::{Arc, Mutex};

use ledger::{
    BlockTime, Body, CertificateHash, Class, Height, InquiryError, Refusal, RevocationReason,
    Status,
};
use ledger_node::{Node, NodeConfig, SubmitError};
use tempfile::tempdir;

use crate::consortium::{
    ACME, BEGIN, OPERATOR, SetClock, act, certificate, device, genesis, node, pair, refusals,
    signed, status, submit,
};

const REVOKE: RevocationReason = RevocationReason::KeyCompromise;

#[test]
fn a_certificate_is_recorded_suspended_resumed_and_revoked() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let (der, hash) = device("henb-1");
    assert_eq!(status(&node, &hash), Status::NotRecorded);
    assert_eq!(node.certificate(&hash).unwrap(), None);

    assert_eq!(act(&node, ACME, 1, submit(from_ref(&der))), [None]);
    let answer = node.status(&hash).unwrap();
    assert_eq!(answer.status, Status::Valid);
    assert_eq!(answer.class, Some(Class::Device));
    assert_eq!(answer.height, Height(1));
    assert_eq!(answer.block_time, BlockTime(BEGIN + 1_000));
    assert_eq!(answer.chain, genesis().chain_id());
    assert_eq!(node.certificate(&hash).unwrap(), Some(der));

    let suspended = Status::Suspended {
        since: BlockTime(BEGIN + 1_000),
    };
    assert_eq!(act(&node, OPERATOR, 2, Body::Suspend { hash }), [None]);
    assert_eq!(status(&node, &hash), suspended);
    assert_eq!(
        act(&node, ACME, 3, Body::Resume { hash }),
        [Some(Refusal::NotPermitted)]
    );
    assert_eq!(act(&node, OPERATOR, 4, Body::Resume { hash }), [None]);
    assert_eq!(status(&node, &hash), Status::Valid);

    let revoke = Body::Revoke {
        hash,
        reason: REVOKE,
    };
    let revoked = Status::Revoked {
        reason: REVOKE,
        time: BlockTime(BEGIN + 1_000),
    };
    assert_eq!(act(&node, ACME, 5, revoke.clone()), [None]);
    assert_eq!(status(&node, &hash), revoked);
    assert_eq!(act(&node, ACME, 6, revoke), [Some(Refusal::WrongStatus)]);

    let page = node.inquiry().events(Height(0), 100).unwrap();
    let told: Vec<_> = page
        .events
        .iter()
        .map(|event| (event.height.0, event.index, event.hash, event.status))
        .collect();
    assert_eq!(
        told,
        [
            (1, 0, hash, Status::Valid),
            (2, 0, hash, suspended),
            (4, 0, hash, Status::Valid),
            (5, 0, hash, revoked),
        ]
    );
    assert_eq!((page.next, page.head), (Height(7), Height(6)));
    assert_eq!(node.verify().unwrap(), node.head().unwrap());
}

#[test]
fn a_batch_is_judged_one_by_one() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let (good, good_hash) = device("henb-1");
    let (other, other_hash) = device("henb-2");
    let batch = [
        good.clone(),
        b"not a certificate".to_vec(),
        certificate("henb-3", "Somebody Else"),
        good,
        other,
    ];
    let unknown = CertificateHash::from_octets([7; 32]);
    let receipt = node
        .submit_blocking(signed(&node, ACME, 1, submit(&batch)))
        .unwrap();
    assert_eq!(
        refusals(&receipt),
        [
            None,
            Some(Refusal::Malformed),
            Some(Refusal::ForeignOrganisation),
            Some(Refusal::Duplicate),
            None
        ]
    );
    let answers = node.statuses(&[other_hash, unknown, good_hash]).unwrap();
    let statuses: Vec<_> = answers
        .iter()
        .map(|answer| (answer.hash, answer.status, answer.height))
        .collect();
    assert_eq!(
        statuses,
        [
            (other_hash, Status::Valid, Height(1)),
            (unknown, Status::NotRecorded, Height(1)),
            (good_hash, Status::Valid, Height(1)),
        ]
    );
}

#[test]
fn a_replay_does_nothing() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let (der, hash) = device("henb-1");
    act(&node, ACME, 1, submit(&[der]));
    let suspend = signed(&node, ACME, 2, Body::Suspend { hash });
    node.submit_blocking(suspend.clone()).unwrap();
    act(&node, ACME, 3, Body::Resume { hash });
    let head = node.head().unwrap();
    let error = node.submit_blocking(suspend).unwrap_err();
    assert!(
        matches!(&error, SubmitError::Refused(refused) if refused.refusal == Refusal::Replayed),
        "{error}"
    );
    assert_eq!(status(&node, &hash), Status::Valid);
    assert_eq!(node.head().unwrap(), head);
}

#[test]
fn strangers_and_other_chains_are_refused_before_a_block() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let (der, _) = device("henb-1");
    let mut foreign = signed(&node, ACME, 1, submit(from_ref(&der))).transaction;
    foreign.chain = ledger::ChainId::from_octets([3; 32]);
    let foreign = ledger::SignedTransaction::sign(foreign, &pair(ACME));
    let mut forged = signed(&node, ACME, 1, submit(&[der]));
    forged.signature[0] ^= 1;
    for (transaction, refusal) in [
        (foreign, Refusal::WrongChain),
        (forged, Refusal::NotEndorsed),
    ] {
        let error = node.submit_blocking(transaction).unwrap_err();
        assert!(
            matches!(&error, SubmitError::Refused(refused) if refused.refusal == refusal),
            "{error}"
        );
    }
    assert_eq!(node.head().unwrap().height, Height(0));
    assert_eq!(node.verify().unwrap().height, Height(0));
}

#[test]
fn expiry_follows_the_clock_though_no_block_comes() {
    let folder = tempdir().unwrap();
    let config = NodeConfig::new(folder.path());
    Node::create(&config, &genesis()).unwrap();
    let clock = SetClock::new();
    let node = Node::open(config, Arc::clone(&clock) as Arc<_>).unwrap();
    let (der, hash) = device("henb-1");
    act(&node, ACME, 1, submit(&[der]));
    // 2036-01-01T00:00:00Z.
    clock.set(2_082_758_400_000);
    assert_eq!(status(&node, &hash), Status::Expired);
    assert_eq!(
        node.inquiry().status(&hash).unwrap().status,
        Status::Expired
    );
}

#[test]
fn a_clock_that_goes_back_does_not_stop_the_chain() {
    let folder = tempdir().unwrap();
    let config = NodeConfig::new(folder.path());
    Node::create(&config, &genesis()).unwrap();
    let clock = SetClock::new();
    let node = Node::open(config, Arc::clone(&clock) as Arc<_>).unwrap();
    act(&node, ACME, 1, submit(&[device("henb-1").0]));
    clock.set(5);
    assert_eq!(act(&node, ACME, 2, submit(&[device("henb-2").0])), [None]);
    assert_eq!(node.head().unwrap().time, BlockTime(BEGIN + 1_000));
    node.verify().unwrap();
}

#[test]
fn pages_hold_whole_blocks_and_old_events_go() {
    let folder = tempdir().unwrap();
    let mut config = NodeConfig::new(folder.path());
    config.history = 3;
    Node::create(&config, &genesis()).unwrap();
    let node = Node::open(config, SetClock::new()).unwrap();
    let (first, second) = (device("henb-1"), device("henb-2"));
    act(&node, ACME, 1, submit(&[first.0, second.0]));
    for (nonce, body) in (2..).zip([
        Body::Suspend { hash: first.1 },
        Body::Resume { hash: first.1 },
    ]) {
        act(&node, ACME, nonce, body);
    }
    let page = node.inquiry().events(Height(1), 1).unwrap();
    assert_eq!((page.events.len(), page.next), (2, Height(2)));
    let page = node.inquiry().events(page.next, 100).unwrap();
    assert_eq!((page.events.len(), page.next), (2, Height(4)));
    assert_eq!(page.events[0].height, Height(2));
    let page = node.inquiry().events(page.next, 100).unwrap();
    assert_eq!((page.events.len(), page.next), (0, Height(4)));

    act(&node, ACME, 4, Body::Suspend { hash: second.1 });
    for from in [0, 1] {
        assert_eq!(
            node.inquiry().events(Height(from), 100),
            Err(InquiryError::HistoryGone { oldest: Height(2) })
        );
    }
    assert_eq!(
        node.inquiry().events(Height(2), 100).unwrap().events.len(),
        3
    );
    // The block itself is kept.
    assert!(node.block(Height(1)).unwrap().is_some());
    assert!(node.block(Height(0)).unwrap().is_none());
}

#[test]
fn listeners_hear_of_every_block_before_the_submitter() {
    let folder = tempdir().unwrap();
    let node = node(folder.path());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let inquiry = node.inquiry();
    let ears = Arc::clone(&heard);
    inquiry.on_commit(Box::new(move |height| ears.lock().unwrap().push(height)));
    for nonce in 1..=3 {
        act(&node, ACME, nonce, submit(&[device("henb").0]));
        assert_eq!(heard.lock().unwrap().last(), Some(&Height(nonce)));
    }
    assert_eq!(*heard.lock().unwrap(), [Height(1), Height(2), Height(3)]);
    assert_eq!(node.check(), Ok(()));
}
