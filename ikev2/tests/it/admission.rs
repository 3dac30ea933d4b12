//! The suspended step: verdicts in time, late, never, and no.

use std::time::Duration;

use ikev2::{Admission, ApiMisuse, DenyReason, Event, Grant, Phase, Verdict};
use testkit::{Admit, Pair, SideName, rig};

use super::handshake::{SECOND, assert_agree, devices};

fn waiting(seed: u64) -> Pair {
    let (henb, segw) = devices();
    let mut pair = rig::pair(seed, rig::responder(&segw));
    pair.responder.admit = Admit::Never;
    let config = rig::initiator(&henb).request_address(false);
    pair.initiate(&config.into());
    pair.run_for(Duration::from_millis(500));
    assert_eq!(pair.responder.only().1.phase(), Phase::AwaitingVerdict);
    pair
}

fn admit(pair: &mut Pair, verdict: Verdict) -> Result<(), ApiMisuse> {
    let (handle, _) = pair.responder.only();
    pair.with(SideName::Responder, handle, |sa, now| {
        sa.admit(now, verdict)
    })
}

fn serve_all() -> Grant {
    Grant {
        remote_selectors: Some(vec![ikev2::TrafficSelector::any_ipv4()]),
        ..Grant::default()
    }
}

#[test]
fn a_late_verdict_costs_its_peer_time_and_nothing_else() {
    let mut pair = waiting(1);
    // The peer retransmits meanwhile, and is swallowed.
    pair.run_for(5 * SECOND);
    let answers = pair
        .traffic
        .iter()
        .filter(|t| t.rung() == "<- IKE_AUTH 1 answer")
        .count();
    assert_eq!(answers, 0);
    assert!(
        pair.traffic
            .iter()
            .filter(|t| t.rung() == "-> IKE_AUTH 1")
            .count()
            >= 3
    );
    assert!(pair.responder.only().1.stats().retransmits_received >= 2);
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::PeerPresented(_))),
        1
    );
    admit(&mut pair, Verdict::Admit(serve_all())).unwrap();
    pair.run_for(SECOND);
    assert_agree(&pair);
    assert_eq!(
        admit(&mut pair, Verdict::Admit(serve_all())),
        Err(ApiMisuse::NoVerdictAwaited)
    );
}

#[test]
fn what_is_presented_is_what_the_peer_proved() {
    let mut pair = waiting(2);
    let (_, _, event) = pair.responder.events.remove(0);
    let Event::PeerPresented(peer) = event else {
        panic!("{event:?}");
    };
    assert_eq!(peer.identity().to_string(), "henb.example");
    assert!(peer.issuers().is_empty());
    assert!(!peer.initial_contact() && !peer.requests_address());
    assert_eq!(peer.path(), pair.path(SideName::Responder));
    assert_eq!(peer.within(), 10 * SECOND);
}

#[test]
fn a_denied_peer_hears_authentication_failed_and_no_more() {
    let mut pair = waiting(3);
    admit(&mut pair, Verdict::Deny(DenyReason::policy("revoked"))).unwrap();
    pair.run_for(SECOND);
    assert_eq!(
        pair.initiator.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
    assert_eq!(pair.responder.lost(), ["denied: revoked"]);
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::Established(_) | Event::ChildInstalled(..))),
        0
    );
    // The answer is kept a while for a peer that has not got it.
    assert_eq!(pair.responder.only().1.phase(), Phase::Closed);
    assert_eq!(pair.responder.endpoint.half_open(), 0);
    pair.run_for(20 * SECOND);
    assert!(pair.responder.sas.is_empty());
    assert_eq!(
        (
            pair.responder.endpoint.half_open(),
            pair.responder.endpoint.open()
        ),
        (0, 0)
    );
}

#[test]
fn the_deadline_denies() {
    let mut pair = waiting(4);
    pair.run_for(10 * SECOND);
    assert_eq!(pair.responder.lost(), ["denied: no verdict in time"]);
    assert_eq!(
        pair.initiator.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
    assert_eq!(
        admit(&mut pair, Verdict::Admit(serve_all())),
        Err(ApiMisuse::NoVerdictAwaited),
        "a verdict after the deadline changes nothing"
    );
}

#[test]
fn a_lost_refusal_is_sent_again() {
    let mut pair = waiting(5);
    pair.filter = Some(|sent| sent.from == SideName::Responder);
    admit(&mut pair, Verdict::Deny(DenyReason::policy("revoked"))).unwrap();
    pair.run_for(Duration::from_millis(100));
    pair.filter = None;
    pair.run_for(5 * SECOND);
    assert_eq!(
        pair.initiator.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
}

#[test]
fn closing_while_the_verdict_is_awaited_refuses_the_peer() {
    let mut pair = waiting(6);
    let (handle, _) = pair.responder.only();
    pair.with(SideName::Responder, handle, |sa, now| sa.close(now));
    pair.run_for(SECOND);
    assert_eq!(
        pair.initiator.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
    assert_eq!(pair.responder.lost(), ["closed by this side"]);
}

#[test]
fn immediate_admission_asks_nobody() {
    let (henb, segw) = devices();
    let any = vec![ikev2::TrafficSelector::any_ipv4()];
    let child = ikev2::ChildConfig::new(any.clone(), any).unwrap();
    let responder = ikev2::ResponderConfig::new(segw.credential(), rig::verifier(), child)
        .unwrap()
        .admission(Admission::Immediate);
    let mut pair = rig::pair(7, responder);
    pair.initiate(&rig::initiator(&henb).request_address(false).into());
    pair.run_for(SECOND);
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::PeerPresented(_))),
        0
    );
    assert_agree(&pair);
}

fn judging_initiator(seed: u64) -> Pair {
    let (henb, segw) = devices();
    let mut pair = rig::pair(seed, rig::responder(&segw));
    pair.initiator.admit = Admit::Never;
    let config = rig::initiator(&henb).admission(Admission::ByApplication {
        within: 10 * SECOND,
    });
    pair.initiate(&config.into());
    pair.run_for(SECOND);
    assert_eq!(
        pair.initiator
            .count(|event| matches!(event, Event::PeerPresented(_))),
        1
    );
    assert_eq!(
        pair.initiator
            .count(|event| matches!(event, Event::Established(_))),
        0
    );
    pair
}

#[test]
fn an_initiator_may_judge_the_gateway_and_admit_it() {
    let mut pair = judging_initiator(8);
    let (handle, _) = pair.initiator.only();
    pair.with(SideName::Initiator, handle, |sa, now| {
        sa.admit(now, Verdict::Admit(Grant::default()))
    })
    .unwrap();
    pair.run_for(SECOND);
    assert_agree(&pair);
}

#[test]
fn an_initiator_that_denies_the_gateway_tells_it() {
    let mut pair = judging_initiator(9);
    let (handle, _) = pair.initiator.only();
    let verdict = Verdict::Deny(DenyReason::policy("not recorded"));
    pair.with(SideName::Initiator, handle, |sa, now| {
        sa.admit(now, verdict)
    })
    .unwrap();
    pair.run_for(SECOND);
    assert_eq!(pair.initiator.lost(), ["denied: not recorded"]);
    assert_eq!(
        pair.responder.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::ChildRemoved(..))),
        1
    );
}
