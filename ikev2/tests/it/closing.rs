//! Delete of the IKE SA (RFC 7296 §1.4.1, §2.25).

use std::time::Duration;

use ikev2::{Event, Lifetimes, Phase};
use testkit::{Side, SideName, rig};

use super::handshake::{SECOND, connected, devices};

fn orderly_end(side: &Side) {
    let removed = side
        .events
        .iter()
        .position(|(_, _, event)| matches!(event, Event::ChildRemoved(..)));
    let lost = side
        .events
        .iter()
        .position(|(_, _, event)| matches!(event, Event::Lost(_)));
    assert!(removed.unwrap() < lost.unwrap());
    assert_eq!(side.count(|event| matches!(event, Event::Lost(_))), 1);
    assert_eq!(
        side.count(|event| matches!(event, Event::ChildRemoved(..))),
        1
    );
}

#[test]
fn either_side_deletes_and_both_forget() {
    for (seed, starter, ladder) in [
        (
            1,
            SideName::Initiator,
            ["-> INFORMATIONAL 2", "<- INFORMATIONAL 2 answer"],
        ),
        (
            2,
            SideName::Responder,
            ["<- INFORMATIONAL 0", "-> INFORMATIONAL 0 answer"],
        ),
    ] {
        let mut pair = connected(seed);
        let handle = match starter {
            SideName::Initiator => pair.initiator.only().0,
            SideName::Responder => pair.responder.only().0,
        };
        pair.with(starter, handle, |sa, now| sa.close(now));
        let (own, other) = match starter {
            SideName::Initiator => (&pair.initiator, &pair.responder),
            SideName::Responder => (&pair.responder, &pair.initiator),
        };
        // The data plane is told at once, the end comes with the answer.
        assert_eq!(
            own.count(|event| matches!(event, Event::ChildRemoved(..))),
            1
        );
        assert!(own.lost().is_empty() && other.lost().is_empty());
        pair.run_for(SECOND);
        pair.assert_ladder(&ladder);
        orderly_end(&pair.initiator);
        orderly_end(&pair.responder);
        let (own, other) = match starter {
            SideName::Initiator => (&pair.initiator, &pair.responder),
            SideName::Responder => (&pair.responder, &pair.initiator),
        };
        assert_eq!(own.lost(), ["closed by this side"]);
        assert_eq!(other.lost(), ["the peer deleted the IKE SA"]);
        pair.run_for(60 * SECOND);
        assert!(pair.initiator.sas.is_empty() && pair.responder.sas.is_empty());
        assert_eq!(
            pair.initiator.endpoint.open() + pair.responder.endpoint.open(),
            0
        );
        pair.assert_ladder(&[]);
    }
}

#[test]
fn both_sides_delete_at_once() {
    let mut pair = connected(3);
    let (i, r) = (pair.initiator.only().0, pair.responder.only().0);
    pair.with(SideName::Initiator, i, |sa, now| sa.close(now));
    pair.with(SideName::Responder, r, |sa, now| sa.close(now));
    pair.run_for(60 * SECOND);
    orderly_end(&pair.initiator);
    orderly_end(&pair.responder);
    assert!(pair.initiator.sas.is_empty() && pair.responder.sas.is_empty());
}

#[test]
fn a_goodbye_that_nobody_hears_is_given_up_soon() {
    let mut pair = connected(4);
    pair.filter = Some(|_| true);
    let (handle, _) = pair.responder.only();
    pair.with(SideName::Responder, handle, |sa, now| sa.close(now));
    pair.run_for(20 * SECOND);
    pair.assert_ladder(&["<- INFORMATIONAL 0"; 4]);
    assert_eq!(pair.responder.lost(), ["closed by this side"]);
}

#[test]
fn a_lost_answer_to_a_delete_is_given_again() {
    let mut pair = connected(5);
    pair.filter = Some(|sent| sent.from == SideName::Responder);
    let (handle, _) = pair.initiator.only();
    pair.with(SideName::Initiator, handle, |sa, now| sa.close(now));
    pair.run_for(Duration::from_millis(500));
    assert_eq!(pair.responder.lost(), ["the peer deleted the IKE SA"]);
    pair.filter = None;
    pair.run_for(3 * SECOND);
    assert_eq!(pair.initiator.lost(), ["closed by this side"]);
    pair.assert_ladder(&[
        "-> INFORMATIONAL 2",
        "<- INFORMATIONAL 2 answer",
        "-> INFORMATIONAL 2",
        "<- INFORMATIONAL 2 answer",
    ]);
}

#[test]
fn a_close_waits_for_the_request_before_it() {
    let mut pair = connected(6);
    let (handle, _) = pair.initiator.only();
    pair.with(SideName::Initiator, handle, |sa, now| {
        sa.probe(now);
        sa.close(now);
    });
    pair.run_for(SECOND);
    pair.assert_ladder(&[
        "-> INFORMATIONAL 2",
        "<- INFORMATIONAL 2 answer",
        "-> INFORMATIONAL 3",
        "<- INFORMATIONAL 3 answer",
    ]);
    assert_eq!(pair.responder.lost(), ["the peer deleted the IKE SA"]);
}

#[test]
fn abandoning_says_nothing() {
    let mut pair = connected(7);
    let (handle, _) = pair.responder.only();
    pair.with(SideName::Responder, handle, |sa, now| sa.abandon(now));
    pair.run_for(SECOND);
    pair.assert_ladder(&[]);
    orderly_end(&pair.responder);
    assert_eq!(pair.responder.lost(), ["abandoned by this side"]);
    assert!(pair.responder.sas.is_empty());
    assert_eq!(pair.responder.endpoint.open(), 0);
}

#[test]
fn closing_an_unfinished_handshake_is_silent_and_final() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(8, rig::responder(&segw));
    let handle = pair.initiate(&rig::initiator(&henb).into());
    pair.with(SideName::Initiator, handle, |sa, now| sa.close(now));
    assert_eq!(pair.initiator.lost(), ["closed by this side"]);
    assert!(pair.initiator.sas.is_empty());
    pair.run_for(60 * SECOND);
    assert_eq!(
        pair.responder.lost(),
        ["the peer did not finish the handshake in time"]
    );
    assert!(pair.responder.sas.is_empty());
}

#[test]
fn an_ike_sa_ends_with_its_lifetime() {
    let (henb, segw) = devices();
    let lifetimes = Lifetimes {
        ike_sa: Some(100 * SECOND),
        ..Lifetimes::default()
    };
    let mut pair = rig::pair(9, rig::responder(&segw).lifetimes(lifetimes));
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(99 * SECOND);
    assert_eq!(pair.responder.only().1.phase(), Phase::Established);
    pair.run_for(2 * SECOND);
    assert_eq!(pair.responder.lost(), ["the configured lifetime is over"]);
    assert_eq!(pair.initiator.lost(), ["the peer deleted the IKE SA"]);
}
