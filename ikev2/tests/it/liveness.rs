//! Liveness check (RFC 7296 §2.4).

use ikev2::{Event, Lifetimes, Phase, RetransmitPolicy, WakeReason};
use testkit::{Pair, SideName, rig};

use super::handshake::{SECOND, devices};

fn pair(seed: u64) -> Pair {
    let (henb, segw) = devices();
    let quick = Lifetimes {
        liveness: Some(10 * SECOND),
        ..Lifetimes::default()
    };
    let never = Lifetimes {
        liveness: None,
        ..Lifetimes::default()
    };
    let policy = RetransmitPolicy {
        transmissions: 4,
        jitter_percent: 0,
        ..RetransmitPolicy::default()
    };
    let mut pair = rig::pair(
        seed,
        rig::responder(&segw).lifetimes(quick).retransmit(policy),
    );
    pair.initiate(&rig::initiator(&henb).lifetimes(never).into());
    pair.run_for(SECOND);
    pair.traffic.clear();
    pair
}

#[test]
fn after_a_silence_the_peer_is_asked_and_lives() {
    let mut pair = pair(1);
    assert_eq!(
        pair.responder.only().1.poll_timeout().unwrap().reason,
        WakeReason::Liveness
    );
    pair.run_for(24 * SECOND);
    pair.assert_ladder(&[
        "<- INFORMATIONAL 0",
        "-> INFORMATIONAL 0 answer",
        "<- INFORMATIONAL 1",
        "-> INFORMATIONAL 1 answer",
    ]);
    assert_eq!(pair.responder.only().1.phase(), Phase::Established);
    assert_eq!(pair.responder.only().1.stats().probes, 2);
}

#[test]
fn what_is_protected_counts_as_a_sign_of_life() {
    let mut pair = pair(2);
    let (i, r) = (pair.initiator.only().0, pair.responder.only().0);
    for step in 0..10 {
        pair.run_for(5 * SECOND);
        if step % 2 == 0 {
            pair.with(SideName::Initiator, i, |sa, now| sa.probe(now));
        } else {
            pair.with(SideName::Responder, r, |sa, now| sa.note_inbound(now));
        }
    }
    assert_eq!(pair.responder.only().1.stats().probes, 0);
}

#[test]
fn what_is_forged_does_not() {
    let mut pair = pair(3);
    pair.run_for(5 * SECOND);
    let (_, sa) = pair.responder.only();
    let (initiator, responder) = sa.spis();
    let mut forged = Vec::new();
    forged.extend(initiator.to_be_bytes());
    forged.extend(responder.to_be_bytes());
    // INFORMATIONAL, message ID 2, an SK payload that no key made.
    forged.extend([46, 0x20, 37, 0x08, 0, 0, 0, 2, 0, 0, 0, 64, 0, 0, 0, 36]);
    forged.extend([0x5a; 32]);
    let path = pair.path(SideName::Responder);
    pair.inject(SideName::Responder, path, &forged);
    assert_eq!(pair.responder.only().1.stats().unauthentic, 1);
    pair.run_for(6 * SECOND);
    assert_eq!(pair.responder.only().1.stats().probes, 1);
}

#[test]
fn a_dead_peer_is_noticed() {
    let mut pair = pair(4);
    pair.filter = Some(|sent| sent.from == SideName::Initiator);
    pair.run_for(60 * SECOND);
    // 10 s of silence, then 1 + 2 + 4 + 8 s.
    let times: Vec<u64> = pair
        .traffic
        .iter()
        .filter(|t| t.from == SideName::Responder)
        .map(|t| t.at.as_secs())
        .collect();
    assert_eq!(times, [10, 11, 13, 17]);
    assert_eq!(
        pair.responder.lost(),
        ["no answer from the peer to 4 transmissions"]
    );
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::ChildRemoved(..))),
        1
    );
}
