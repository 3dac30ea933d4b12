//! Cookies and half-open limits (RFC 7296 §2.6).

use std::sync::Arc;

use ikev2::wire::{ExchangeType, Flags, Header, Message, MessageWriter, Payload};
use ikev2::{Endpoint, Event, Limits};
use testkit::{Admit, Pair, SideName, rig};

use super::handshake::{SECOND, assert_agree, devices};

#[test]
fn from_the_threshold_on_a_cookie_is_asked_for() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(1, rig::responder(&segw).cookie_threshold(0));
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(SECOND);
    let [first, second] = [&pair.traffic[0], &pair.traffic[2]].map(|sent| sent.octets.clone());
    pair.assert_ladder(&[
        "-> IKE_SA_INIT 0",
        // HDR(A,0), N(COOKIE)
        "<- IKE_SA_INIT 0 answer",
        // HDR(A,0), N(COOKIE), SAi1, KEi, Ni
        "-> IKE_SA_INIT 0",
        "<- IKE_SA_INIT 0 answer",
        "-> IKE_AUTH 1",
        "<- IKE_AUTH 1 answer",
    ]);
    assert_agree(&pair);
    // The rest of the request is unchanged.
    let (first, second) = (
        Message::decode(&first).unwrap(),
        Message::decode(&second).unwrap(),
    );
    assert_eq!(second.payloads[1..], first.payloads[..]);
    let stats = pair.responder.endpoint.stats();
    assert_eq!(
        (stats.challenges, stats.bad_cookies, stats.accepted),
        (1, 0, 1)
    );
}

fn half_open(count: usize, threshold: usize, limits: Limits) -> Pair {
    let (henb, segw) = devices();
    let mut pair = rig::pair_with(
        2,
        rig::endpoint(2),
        rig::endpoint(3).limits(limits),
        rig::responder(&segw).cookie_threshold(threshold),
    );
    let config = rig::initiator(&henb).into();
    // Initiators that never get an answer, so that they leave their IKE SAs half open.
    pair.filter = Some(|sent| sent.from == SideName::Responder);
    for _ in 0..count {
        pair.initiate(&config);
    }
    pair.run_for(SECOND / 2);
    pair.filter = None;
    pair
}

#[test]
fn below_the_threshold_nobody_is_asked() {
    let pair = half_open(5, 5, Limits::default());
    assert_eq!(pair.responder.endpoint.half_open(), 5);
    assert_eq!(pair.responder.endpoint.stats().challenges, 0);
    let pair = half_open(6, 5, Limits::default());
    assert_eq!(pair.responder.endpoint.half_open(), 5);
    assert_eq!(pair.responder.endpoint.stats().challenges, 1);
}

#[test]
fn beyond_the_limit_first_messages_are_dropped_and_established_ones_live() {
    let (henb, segw) = devices();
    let limits = Limits {
        half_open: 3,
        ..Limits::default()
    };
    let mut pair = rig::pair_with(
        4,
        rig::endpoint(4),
        rig::endpoint(5).limits(limits),
        rig::responder(&segw),
    );
    let config = rig::initiator(&henb).into();
    let alive = pair.initiate(&config);
    pair.run_for(SECOND);
    assert_agree(&pair);
    pair.responder.admit = Admit::Never;
    for _ in 0..5 {
        pair.initiate(&config);
    }
    pair.run_for(SECOND / 2);
    assert_eq!(pair.responder.endpoint.half_open(), 3);
    assert_eq!(pair.responder.endpoint.open(), 4);
    assert_eq!(pair.responder.endpoint.stats().over_limit, 2);
    pair.with(SideName::Initiator, alive, |sa, now| sa.probe(now));
    pair.run_for(SECOND / 4);
    assert_eq!(
        pair.traffic.last().unwrap().rung(),
        "<- INFORMATIONAL 2 answer"
    );
}

#[test]
fn half_open_ike_sas_time_out_and_make_room() {
    let limits = Limits {
        half_open: 2,
        half_open_lifetime: 5 * SECOND,
        ..Limits::default()
    };
    let mut pair = half_open(2, 1000, limits);
    assert_eq!(pair.responder.endpoint.half_open(), 2);
    pair.filter = Some(|_| true);
    pair.run_for(20 * SECOND);
    assert_eq!(
        (
            pair.responder.endpoint.half_open(),
            pair.responder.endpoint.open()
        ),
        (0, 0)
    );
    assert_eq!(
        pair.responder.lost(),
        ["the peer did not finish the handshake in time"; 2]
    );
}

#[test]
fn established_ike_sas_do_not_count_as_half_open() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(6, rig::responder(&segw).cookie_threshold(1));
    let config = rig::initiator(&henb).into();
    for _ in 0..3 {
        pair.initiate(&config);
        pair.run_for(SECOND);
    }
    assert_eq!(pair.responder.endpoint.stats().challenges, 0);
    assert_eq!(pair.responder.endpoint.half_open(), 0);
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::Established(_))),
        3
    );
}

#[test]
fn a_peer_that_asks_for_cookies_for_ever_is_left() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(7, rig::responder(&segw).cookie_threshold(0));
    let handle = pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(SECOND * 15 / 1000);
    let mut challenge = pair
        .traffic
        .iter()
        .find(|sent| sent.from == SideName::Responder)
        .unwrap()
        .octets
        .clone();
    pair.filter = Some(|_| true);
    pair.network.clear();
    let path = pair.path(SideName::Initiator);
    for _ in 0..20 {
        *challenge.last_mut().unwrap() ^= 0x55;
        pair.inject(SideName::Initiator, path, &challenge);
    }
    assert!(!pair.initiator.sas.contains_key(&handle));
    assert!(
        pair.initiator.lost()[0].contains("cookies"),
        "{:?}",
        pair.initiator.lost()
    );
    assert!(pair.traffic.len() < 10);
}

#[test]
fn an_application_may_challenge_refuse_or_ignore_by_itself() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(8, rig::responder(&segw));
    pair.filter = Some(|_| true);
    pair.initiate(&rig::initiator(&henb).into());
    let request = pair.traffic[0].octets.clone();
    let config = Arc::new(rig::endpoint(9));
    let mut endpoint = Endpoint::new(config, Some(Arc::new(rig::responder(&segw))));
    let (now, path) = (pair.now(), pair.path(SideName::Responder));
    let mut buf = Vec::new();
    let Some(ikev2::DatagramEvent::Incoming(incoming)) =
        endpoint.handle_datagram(now, path, &request, &mut buf)
    else {
        panic!("not a first message");
    };
    assert!(!incoming.cookie_verified());
    assert_eq!(incoming.path(), path);
    let transmit = endpoint.challenge(now, &incoming, &mut buf).unwrap();
    assert_eq!(transmit.path, path);
    let cookie = Message::decode(&buf[..transmit.size])
        .unwrap()
        .payloads
        .notifies()
        .next()
        .unwrap()
        .value
        .to_vec();
    // With that cookie the request is let through as verified.
    let mut again = request.clone();
    again.truncate(28);
    let mut notify = vec![again[16], 0];
    notify.extend(u16::try_from(8 + cookie.len()).unwrap().to_be_bytes());
    notify.extend([0, 0, 0x40, 0x06]);
    notify.extend(&cookie);
    again[16] = 41;
    again.extend(notify);
    again.extend(&request[28..]);
    let len = u32::try_from(again.len()).unwrap().to_be_bytes();
    again[24..28].copy_from_slice(&len);
    let Some(ikev2::DatagramEvent::Incoming(verified)) =
        endpoint.handle_datagram(now, path, &again, &mut buf)
    else {
        panic!("the cookie was not accepted");
    };
    assert!(verified.cookie_verified());
    let transmit = endpoint
        .refuse(
            &verified,
            ikev2::wire::NotifyType::TEMPORARY_FAILURE,
            &mut buf,
        )
        .unwrap();
    let answer = Message::decode(&buf[..transmit.size]).unwrap();
    assert_eq!(
        answer.payloads.error_notify().unwrap().kind,
        ikev2::wire::NotifyType::TEMPORARY_FAILURE
    );
    endpoint.ignore(incoming);
    assert_eq!(endpoint.open(), 0);
}

#[test]
fn a_cookie_that_comes_again_is_no_new_demand() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(20, rig::responder(&segw).cookie_threshold(0));
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(SECOND / 40);
    let demand = pair.traffic[1].octets.clone();
    let path = pair.path(SideName::Initiator);
    // A busy responder answers each retransmission, all at once.
    for _ in 0..12 {
        pair.inject(SideName::Initiator, path, &demand);
    }
    pair.run_for(SECOND);
    assert_eq!(pair.traffic.len(), 6, "{:?}", pair.ladder());
    assert_agree(&pair);
}

#[test]
fn a_cookie_is_never_longer_than_what_asked_for_it() {
    let (_, segw) = devices();
    let mut pair = rig::pair(21, rig::responder(&segw).cookie_threshold(0));
    let path = pair.path(SideName::Responder);
    let flags = Flags {
        initiator: true,
        response: false,
    };
    let header = Header::new(7, 0, ExchangeType::IKE_SA_INIT, flags, 0);
    for (padding, answers) in [(0, 0), (100, 1)] {
        let mut request = Vec::new();
        let mut writer = MessageWriter::new(&mut request, &header);
        writer.payload(&Payload::Nonce(&[1; 16])).unwrap();
        writer
            .payload(&Payload::VendorId(&[0; 100][..padding]))
            .unwrap();
        writer.finish().unwrap();
        pair.inject(SideName::Responder, path, &request);
        assert_eq!(pair.traffic.len(), answers);
        assert!(pair.traffic.iter().all(|sent| sent.size <= request.len()));
    }
}
