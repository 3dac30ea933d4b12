//! NAT detection, ports, keepalive and a NAT that forgets (RFC 7296 §2.23, RFC 3948).

use std::net::SocketAddr;

use ikev2::{Event, Lifetimes, Path};
use testkit::{Pair, SideName, rig};

use super::handshake::{SECOND, assert_agree, child, devices};

fn public(port: u16) -> SocketAddr {
    SocketAddr::new([198, 51, 100, 7].into(), port)
}

fn behind_nat(seed: u64) -> Pair {
    let (henb, segw) = devices();
    let quiet = Lifetimes {
        liveness: None,
        ..Lifetimes::default()
    };
    let mut pair = rig::pair(seed, rig::responder(&segw).lifetimes(quiet));
    pair.nat = Some(public(31_000));
    pair.initiate(&rig::initiator(&henb).lifetimes(quiet).into());
    pair.run_for(SECOND);
    pair
}

#[test]
fn behind_a_nat_everything_after_ike_sa_init_goes_to_port_4500() {
    let pair = behind_nat(1);
    assert_agree(&pair);
    let seen: Vec<_> = pair
        .traffic
        .iter()
        .map(|t| (t.path.remote.port(), t.marker))
        .collect();
    assert_eq!(
        seen,
        [(500, false), (500, false), (4500, true), (31_000, true)]
    );
    assert!(child(&pair.initiator).udp_encapsulation);
    assert_eq!(child(&pair.responder).path.remote, public(31_000));
    assert_eq!(child(&pair.initiator).path.local.port(), 4500);
}

#[test]
fn the_side_behind_the_nat_keeps_it_open() {
    let mut pair = behind_nat(2);
    pair.traffic.clear();
    pair.run_for(65 * SECOND);
    assert_eq!(pair.ladder(), ["-> keepalive"; 3]);
    assert!(
        pair.traffic
            .iter()
            .all(|t| t.octets == [0xff] && !t.marker && t.path.local.port() == 4500)
    );
    let times: Vec<u64> = pair.traffic.iter().map(|t| t.at.as_secs()).collect();
    assert_eq!(times, [20, 40, 60]);
}

#[test]
fn a_peer_that_the_nat_has_moved_is_followed() {
    let mut pair = behind_nat(3);
    let (handle, _) = pair.initiator.only();
    pair.nat = Some(public(32_000));
    pair.with(SideName::Initiator, handle, |sa, now| sa.probe(now));
    pair.run_for(SECOND);
    let moved: Vec<&Path> = pair
        .responder
        .events
        .iter()
        .filter_map(|(_, _, event)| match event {
            Event::PathChanged(path) => Some(path),
            _ => None,
        })
        .collect();
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].remote, public(32_000));
    assert_eq!(
        pair.traffic.last().unwrap().rung(),
        "<- INFORMATIONAL 2 answer"
    );
    // The responder's own requests find it too.
    pair.traffic.clear();
    let (handle, _) = pair.responder.only();
    pair.with(SideName::Responder, handle, |sa, now| sa.probe(now));
    pair.run_for(SECOND);
    pair.assert_ladder(&["<- INFORMATIONAL 0", "-> INFORMATIONAL 0 answer"]);
}

#[test]
fn a_replayed_or_forged_message_moves_nobody() {
    let mut pair = behind_nat(4);
    let (handle, _) = pair.initiator.only();
    pair.with(SideName::Initiator, handle, |sa, now| sa.probe(now));
    pair.run_for(SECOND);
    let probe = pair
        .traffic
        .iter()
        .find(|t| t.rung() == "-> INFORMATIONAL 2")
        .unwrap()
        .octets
        .clone();
    let path = Path {
        local: "192.0.2.2:4500".parse().unwrap(),
        remote: "203.0.113.66:4500".parse().unwrap(),
    };
    pair.inject(SideName::Responder, path, &probe);
    let mut forged = probe;
    forged[23] = 3;
    pair.inject(SideName::Responder, path, &forged);
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::PathChanged(_))),
        0
    );
    assert_eq!(pair.responder.only().1.path().remote, public(31_000));
}

#[test]
fn encapsulation_may_be_forced_by_either_side() {
    let (henb, segw) = devices();
    for (seed, first, second) in [(5, true, false), (6, false, true), (7, true, true)] {
        let mut pair = rig::pair_with(
            seed,
            rig::endpoint(seed).force_udp_encapsulation(first),
            rig::endpoint(!seed).force_udp_encapsulation(second),
            rig::responder(&segw),
        );
        pair.initiate(&rig::initiator(&henb).into());
        pair.run_for(SECOND);
        assert_agree(&pair);
        assert!(child(&pair.initiator).udp_encapsulation);
        let ports: Vec<_> = pair
            .traffic
            .iter()
            .map(|t| (t.path.remote.port(), t.marker))
            .collect();
        assert_eq!(
            ports,
            [(500, false), (500, false), (4500, true), (4500, true)]
        );
    }
}

#[test]
fn a_caller_with_one_socket_keeps_its_port() {
    let (henb, segw) = devices();
    let mut pair = rig::pair_with(
        8,
        rig::endpoint(8).force_udp_encapsulation(true),
        rig::endpoint(9),
        rig::responder(&segw),
    );
    pair.initiate(&rig::initiator(&henb).encapsulation_ports(None, 4500).into());
    pair.run_for(SECOND);
    assert_agree(&pair);
    let ports: Vec<_> = pair
        .traffic
        .iter()
        .map(|t| (t.path.local.port(), t.path.remote.port(), t.marker))
        .collect();
    assert_eq!(
        ports,
        [
            (500, 500, false),
            (500, 500, false),
            (500, 4500, true),
            (4500, 500, true)
        ]
    );
}
