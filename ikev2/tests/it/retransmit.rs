//! Retransmission (RFC 7296 §2.1): bit-identical, with back-off, answered from the cache.

use std::collections::HashSet;

use ikev2::{Event, RetransmitPolicy};
use testkit::{SideName, rig};

use super::handshake::{SECOND, assert_agree, connected, devices};

#[test]
fn requests_are_repeated_octet_by_octet_until_they_are_given_up() {
    let (henb, segw) = devices();
    let policy = RetransmitPolicy {
        jitter_percent: 0,
        ..RetransmitPolicy::default()
    };
    let mut pair = rig::pair(1, rig::responder(&segw));
    pair.filter = Some(|_| true);
    pair.initiate(&rig::initiator(&henb).retransmit(policy).into());
    pair.run_for(600 * SECOND);
    let octets: HashSet<_> = pair.traffic.iter().map(|sent| &sent.octets).collect();
    assert_eq!(
        (octets.len(), pair.traffic.len()),
        (1, 12),
        "RFC 7296 §2.4: at least a dozen times"
    );
    let times: Vec<u64> = pair.traffic.iter().map(|sent| sent.at.as_secs()).collect();
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181, 211]);
    assert_eq!(
        pair.initiator.lost(),
        ["no answer from the peer to 12 transmissions"]
    );
    assert!(pair.initiator.sas.is_empty());
}

#[test]
fn a_retransmitted_ike_sa_init_makes_no_second_ike_sa() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(2, rig::responder(&segw));
    pair.filter = Some(|sent| sent.from == SideName::Responder);
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(4 * SECOND);
    assert_eq!(pair.responder.endpoint.half_open(), 1);
    let answers: HashSet<_> = pair
        .traffic
        .iter()
        .filter(|sent| sent.from == SideName::Responder)
        .map(|sent| &sent.octets)
        .collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(pair.responder.endpoint.stats().init_retransmits, 2);
    pair.filter = None;
    pair.run_for(10 * SECOND);
    assert_agree(&pair);
    assert_eq!(pair.responder.endpoint.stats().accepted, 1);
}

#[test]
fn a_lost_answer_is_given_again_from_the_cache() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(3, rig::responder(&segw));
    pair.filter = Some(|sent| sent.rung() == "<- IKE_AUTH 1 answer");
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(5 * SECOND);
    let answers: Vec<_> = pair
        .traffic
        .iter()
        .filter(|sent| sent.rung() == "<- IKE_AUTH 1 answer")
        .collect();
    assert!(answers.len() >= 3);
    assert!(
        answers
            .iter()
            .all(|answer| answer.octets == answers[0].octets)
    );
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::Established(_))),
        1
    );
    pair.filter = None;
    pair.run_for(10 * SECOND);
    assert_agree(&pair);
}

#[test]
fn old_and_far_requests_are_dropped() {
    let mut pair = connected(4);
    let (handle, _) = pair.initiator.only();
    pair.with(SideName::Initiator, handle, |sa, now| sa.probe(now));
    pair.run_for(SECOND);
    let first = pair.traffic[0].octets.clone();
    pair.with(SideName::Initiator, handle, |sa, now| sa.probe(now));
    pair.run_for(SECOND);
    pair.traffic.clear();
    let before = pair.responder.only().1.stats();
    let path = pair.path(SideName::Responder);
    // Two requests ago.
    pair.inject(SideName::Responder, path, &first);
    // Far ahead.
    let mut far = first;
    far[23] = 200;
    pair.inject(SideName::Responder, path, &far);
    let after = pair.responder.only().1.stats();
    assert_eq!(after.out_of_place, before.out_of_place + 2);
    pair.run_for(SECOND);
    pair.assert_ladder(&[]);
}

#[test]
fn an_answer_that_comes_again_does_nothing() {
    let mut pair = connected(5);
    let (handle, _) = pair.initiator.only();
    pair.with(SideName::Initiator, handle, |sa, now| sa.probe(now));
    pair.run_for(SECOND);
    let answer = pair.traffic[1].octets.clone();
    let path = pair.path(SideName::Initiator);
    pair.inject(SideName::Initiator, path, &answer);
    assert_eq!(pair.initiator.only().1.stats().out_of_place, 1);
    pair.with(SideName::Initiator, handle, |sa, now| sa.probe(now));
    pair.inject(SideName::Initiator, path, &answer);
    assert_eq!(
        pair.initiator.only().1.stats().out_of_place,
        2,
        "an old answer is not the answer to a new request"
    );
}
