//! IKE_SA_INIT and IKE_AUTH without faults (RFC 7296 §1.2).

use std::net::Ipv4Addr;
use std::time::Duration;

use ikev2::wire::{EsnId, GroupId, NotifyType, PrfId};
use ikev2::{
    Cipher, ChildConfig, ChildSa, EspProposal, Event, IkeProposal, IkeSaInfo, Phase, Role, TrafficSelector, shard_of_esp,
    shard_of_ike,
};
use testkit::{Device, KeyKind, Pair, Side, SideName, rig};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn info(side: &Side) -> &IkeSaInfo {
    side.events
        .iter()
        .find_map(|(_, _, event)| match event {
            Event::Established(info) => Some(&**info),
            _ => None,
        })
        .expect("established")
}

pub(crate) fn child(side: &Side) -> &ChildSa {
    side.events
        .iter()
        .find_map(|(_, _, event)| match event {
            Event::ChildInstalled(_, child) => Some(&**child),
            _ => None,
        })
        .expect("a child SA")
}

/// What both must agree on.
pub(crate) fn assert_agree(pair: &Pair) {
    let (i, r) = (child(&pair.initiator), child(&pair.responder));
    assert_eq!(i.inbound_spi, r.outbound_spi);
    assert_eq!(i.outbound_spi, r.inbound_spi);
    assert!(i.inbound.ct_eq(r.outbound.as_bytes()) && i.outbound.ct_eq(r.inbound.as_bytes()));
    assert!(!i.inbound.ct_eq(i.outbound.as_bytes()));
    assert_eq!(i.suite, r.suite);
    assert_eq!(i.local_selectors, r.remote_selectors);
    assert_eq!(i.remote_selectors, r.local_selectors);
    assert_eq!(i.udp_encapsulation, r.udp_encapsulation);
    assert_eq!(info(&pair.initiator).spis, info(&pair.responder).spis);
    assert_eq!(info(&pair.initiator).suite, info(&pair.responder).suite);
    assert_eq!(info(&pair.initiator).assigned, info(&pair.responder).assigned);
}

#[test]
fn two_devices_meet_and_the_initiator_gets_an_address() {
    let (henb, segw) = (Device::new("henb.example", KeyKind::EcdsaP256), Device::new("segw.example", KeyKind::EcdsaP256));
    let mut pair = rig::pair(1, rig::responder(&segw));
    let config = rig::initiator(&henb).remote_identity(segw.identity.clone()).into();
    let handle = pair.initiate(&config);
    pair.run_for(SECOND);
    pair.assert_ladder(&[
        // HDR, SAi1, KEi, Ni, N(NATD)..., N(SIGNATURE_HASH_ALGORITHMS)
        "-> IKE_SA_INIT 0",
        // HDR, SAr1, KEr, Nr, N(NATD)..., N(SIGNATURE_HASH_ALGORITHMS), CERTREQ
        "<- IKE_SA_INIT 0 answer",
        // HDR, SK {IDi, CERT, CERTREQ, IDr, AUTH, CP, SAi2, TSi, TSr}
        "-> IKE_AUTH 1",
        // HDR, SK {IDr, CERT, AUTH, CP, SAr2, TSi, TSr}
        "<- IKE_AUTH 1 answer",
    ]);
    assert_agree(&pair);
    let seen = info(&pair.responder);
    assert_eq!(seen.identity, henb.identity);
    assert_eq!(seen.end_entity.as_bytes(), henb.certificate);
    assert!(!seen.initial_contact);
    assert_eq!(info(&pair.initiator).identity, segw.identity);
    let lease = info(&pair.initiator).assigned.as_ref().expect("an address");
    assert_eq!(lease.address, Ipv4Addr::new(10, 88, 0, 1));
    assert_eq!(lease.netmask, Some(Ipv4Addr::new(255, 255, 0, 0)));
    assert_eq!(lease.dns, [Ipv4Addr::new(10, 88, 255, 53)]);
    let tunnel = child(&pair.initiator);
    assert_eq!(tunnel.local_selectors, [TrafficSelector::host(lease.address.into())]);
    assert_eq!(tunnel.remote_selectors, [TrafficSelector::any_ipv4()]);
    assert!(tunnel.suite.esn);
    assert!(!tunnel.udp_encapsulation);
    let sa = &pair.initiator.sas[&handle];
    assert_eq!((sa.role(), sa.phase()), (Role::Initiator, Phase::Established));
    assert_eq!(sa.peer(), Some(&segw.identity));
    assert_eq!(pair.responder.endpoint.half_open(), 0);
    assert_eq!(pair.responder.endpoint.open(), 1);
}
