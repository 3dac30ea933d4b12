//! The child SA of IKE_AUTH: narrowing, addresses, and refusals that leave the IKE SA up
//! (RFC 7296 §1.2, §2.9, §3.15).

use std::net::{IpAddr, Ipv4Addr};

use ikev2::wire::{EsnId, NotifyType};
use ikev2::{
    Admission, ChildConfig, ChildHandle, Cipher, EspProposal, Event, Grant, InitiatorConfig, Lease,
    Phase, RemoveReason, ResponderConfig, TrafficSelector, Verdict,
};
use testkit::{Admit, Device, Pair, SideName, rig};

use super::handshake::{SECOND, assert_agree, child, connected, devices, info};

fn range(first: [u8; 4], last: [u8; 4]) -> TrafficSelector {
    TrafficSelector::range(
        IpAddr::V4(Ipv4Addr::from(first)),
        IpAddr::V4(Ipv4Addr::from(last)),
    )
}

fn responder_for(
    segw: &Device,
    local: TrafficSelector,
    remote: Vec<TrafficSelector>,
) -> ResponderConfig {
    let child = ChildConfig::new(vec![local], remote).unwrap();
    ResponderConfig::new(segw.credential(), rig::verifier(), child)
        .unwrap()
        .admission(Admission::Immediate)
}

fn initiator_for(henb: &Device, child: ChildConfig) -> InitiatorConfig {
    InitiatorConfig::new(henb.credential(), rig::verifier(), child).unwrap()
}

fn refused(pair: &mut Pair) -> NotifyType {
    pair.run_for(SECOND);
    let both = [&pair.initiator, &pair.responder].map(|side| {
        let mut refused = side.events.iter().filter_map(|(_, _, event)| match event {
            Event::ChildRefused(notify) => Some(*notify),
            _ => None,
        });
        let one = refused.next().expect("a refused child SA");
        assert_eq!(refused.next(), None);
        one
    });
    assert_eq!(both[0], both[1]);
    // The IKE SA is up on both sides.
    assert_eq!(pair.initiator.only().1.phase(), Phase::Established);
    assert_eq!(pair.responder.only().1.phase(), Phase::Established);
    assert_eq!(
        pair.initiator
            .count(|event| matches!(event, Event::ChildInstalled(..))),
        0
    );
    both[0]
}

#[test]
fn both_sides_are_narrowed() {
    let (henb, segw) = devices();
    let responder = responder_for(
        &segw,
        range([10, 1, 0, 0], [10, 1, 255, 255]),
        vec![range([10, 2, 0, 0], [10, 2, 0, 9])],
    );
    let mut pair = rig::pair(1, responder);
    let any = vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()];
    pair.initiate(&initiator_for(&henb, ChildConfig::new(any.clone(), any).unwrap()).into());
    pair.run_for(SECOND);
    assert_agree(&pair);
    assert_eq!(
        child(&pair.initiator).local_selectors,
        [range([10, 2, 0, 0], [10, 2, 0, 9])]
    );
    assert_eq!(
        child(&pair.initiator).remote_selectors,
        [range([10, 1, 0, 0], [10, 1, 255, 255])]
    );
    assert_eq!(info(&pair.initiator).assigned, None);
}

#[test]
fn selectors_with_nothing_in_common_are_ts_unacceptable() {
    let (henb, segw) = devices();
    let responder = responder_for(
        &segw,
        range([10, 1, 0, 0], [10, 1, 255, 255]),
        vec![range([10, 2, 0, 0], [10, 2, 0, 9])],
    );
    let mut pair = rig::pair(2, responder);
    let child = ChildConfig::new(
        vec![range([10, 3, 0, 1], [10, 3, 0, 1])],
        vec![TrafficSelector::any_ipv4()],
    )
    .unwrap();
    pair.initiate(&initiator_for(&henb, child).into());
    assert_eq!(refused(&mut pair), NotifyType::TS_UNACCEPTABLE);
}

#[test]
fn a_responder_that_serves_nobody_without_a_lease_does_so() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(
        3,
        responder_for(&segw, TrafficSelector::any_ipv4(), Vec::new()),
    );
    let any = vec![TrafficSelector::any_ipv4()];
    pair.initiate(&initiator_for(&henb, ChildConfig::new(any.clone(), any).unwrap()).into());
    assert_eq!(refused(&mut pair), NotifyType::TS_UNACCEPTABLE);
}

#[test]
fn esp_algorithms_with_nothing_in_common_are_no_proposal_chosen() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(
        4,
        responder_for(
            &segw,
            TrafficSelector::any_ipv4(),
            vec![TrafficSelector::any_ipv4()],
        ),
    );
    let any = vec![TrafficSelector::any_ipv4()];
    let exotic = EspProposal {
        ciphers: vec![Cipher::AES_128_GCM],
        esn: vec![EsnId(7)],
    };
    let child = ChildConfig::new(any.clone(), any)
        .unwrap()
        .proposals(vec![exotic])
        .unwrap();
    pair.initiate(&initiator_for(&henb, child).into());
    assert_eq!(refused(&mut pair), NotifyType::NO_PROPOSAL_CHOSEN);
}

#[test]
fn sequence_numbers_of_32_bits_are_taken_from_a_peer_that_offers_no_others() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(
        5,
        responder_for(
            &segw,
            TrafficSelector::any_ipv4(),
            vec![TrafficSelector::any_ipv4()],
        ),
    );
    let any = vec![TrafficSelector::any_ipv4()];
    let short = EspProposal {
        esn: vec![EsnId::NO_ESN],
        ..EspProposal::default()
    };
    let config = ChildConfig::new(any.clone(), any)
        .unwrap()
        .proposals(vec![short])
        .unwrap();
    pair.initiate(&initiator_for(&henb, config).into());
    pair.run_for(SECOND);
    assert_agree(&pair);
    assert!(!child(&pair.responder).suite.esn);
}

#[test]
fn a_peer_that_wants_an_address_where_there_is_none_is_told() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(
        6,
        responder_for(
            &segw,
            TrafficSelector::any_ipv4(),
            vec![TrafficSelector::any_ipv4()],
        ),
    );
    pair.initiate(&rig::initiator(&henb).into());
    assert_eq!(refused(&mut pair), NotifyType::INTERNAL_ADDRESS_FAILURE);
}

#[test]
fn a_peer_with_a_lease_must_ask_for_it() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(7, rig::responder(&segw));
    pair.responder.admit = Admit::Never;
    pair.initiate(&rig::initiator(&henb).request_address(false).into());
    pair.run_for(SECOND);
    let grant = Grant::with_lease(Lease {
        address: Ipv4Addr::new(10, 88, 0, 1),
        netmask: None,
        dns: Vec::new(),
    });
    let (handle, _) = pair.responder.only();
    pair.with(SideName::Responder, handle, |sa, now| {
        sa.admit(now, Verdict::Admit(grant))
    })
    .unwrap();
    assert_eq!(refused(&mut pair), NotifyType::FAILED_CP_REQUIRED);
}

#[test]
fn the_grant_replaces_the_configured_selectors() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(8, rig::responder(&segw));
    pair.responder.admit = Admit::Never;
    pair.initiate(&rig::initiator(&henb).request_address(false).into());
    pair.run_for(SECOND);
    let grant = Grant {
        local_selectors: Some(vec![range([10, 1, 0, 0], [10, 1, 0, 3])]),
        remote_selectors: Some(vec![range([10, 9, 0, 7], [10, 9, 0, 7])]),
        ..Grant::default()
    };
    let (handle, _) = pair.responder.only();
    pair.with(SideName::Responder, handle, |sa, now| {
        sa.admit(now, Verdict::Admit(grant))
    })
    .unwrap();
    pair.run_for(SECOND);
    assert_agree(&pair);
    assert_eq!(
        child(&pair.responder).local_selectors,
        [range([10, 1, 0, 0], [10, 1, 0, 3])]
    );
    assert_eq!(
        child(&pair.responder).remote_selectors,
        [range([10, 9, 0, 7], [10, 9, 0, 7])]
    );
}

#[test]
fn a_child_sa_is_deleted_from_either_side_and_the_ike_sa_stays() {
    for (seed, starter, arrow, back) in [
        (
            9,
            SideName::Initiator,
            "-> INFORMATIONAL 2",
            "<- INFORMATIONAL 2 answer",
        ),
        (
            10,
            SideName::Responder,
            "<- INFORMATIONAL 0",
            "-> INFORMATIONAL 0 answer",
        ),
    ] {
        let mut pair = connected(seed);
        let handle = match starter {
            SideName::Initiator => pair.initiator.only().0,
            SideName::Responder => pair.responder.only().0,
        };
        let child = installed(&pair, starter);
        pair.with(starter, handle, |sa, now| sa.delete_child(now, child))
            .unwrap();
        assert!(
            pair.with(starter, handle, |sa, now| sa.delete_child(now, child))
                .is_err()
        );
        pair.run_for(SECOND);
        // HDR, SK {D(ESP)}  answered by  HDR, SK {D(ESP)} for the other half (RFC 7296 §1.4.1)
        pair.assert_ladder(&[arrow, back]);
        let removed = |side: &testkit::Side| {
            side.events.iter().find_map(|(_, _, event)| match event {
                Event::ChildRemoved(_, reason) => Some(*reason),
                _ => None,
            })
        };
        let (ours, theirs) = match starter {
            SideName::Initiator => (removed(&pair.initiator), removed(&pair.responder)),
            SideName::Responder => (removed(&pair.responder), removed(&pair.initiator)),
        };
        assert_eq!(ours, Some(RemoveReason::LocallyDeleted));
        assert_eq!(theirs, Some(RemoveReason::PeerDeleted));
        assert_eq!(pair.initiator.only().1.phase(), Phase::Established);
        assert_eq!(pair.responder.only().1.phase(), Phase::Established);
    }
}

fn installed(pair: &Pair, side: SideName) -> ChildHandle {
    let side = match side {
        SideName::Initiator => &pair.initiator,
        SideName::Responder => &pair.responder,
    };
    side.events
        .iter()
        .find_map(|(_, _, event)| match event {
            Event::ChildInstalled(handle, _) => Some(*handle),
            _ => None,
        })
        .expect("a child SA")
}

#[test]
fn both_sides_may_delete_the_child_sa_at_once() {
    let mut pair = connected(11);
    for side in [SideName::Initiator, SideName::Responder] {
        let handle = match side {
            SideName::Initiator => pair.initiator.only().0,
            SideName::Responder => pair.responder.only().0,
        };
        let child = installed(&pair, side);
        pair.with(side, handle, |sa, now| sa.delete_child(now, child))
            .unwrap();
    }
    pair.run_for(SECOND);
    pair.assert_ladder(&[
        "-> INFORMATIONAL 2",
        "<- INFORMATIONAL 0",
        "<- INFORMATIONAL 2 answer",
        "-> INFORMATIONAL 0 answer",
    ]);
    assert_eq!(
        pair.initiator
            .count(|event| matches!(event, Event::ChildRemoved(..))),
        1
    );
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::ChildRemoved(..))),
        1
    );
}
