//! Loss, duplication and reordering under many seeds: the handshake ends, both agree, and nothing
//! is made twice.

use std::time::Duration;

use ikev2::{Event, RetransmitPolicy};
use testkit::{Impairment, SideName, rig};

use super::handshake::{SECOND, assert_agree, devices};

const BAD: Impairment = Impairment {
    latency: Duration::from_millis(20),
    jitter: Duration::from_millis(400),
    loss: 25,
    duplication: 25,
};

#[test]
fn handshakes_survive_a_bad_network() {
    let (henb, segw) = devices();
    for seed in 0..60 {
        let threshold = if seed % 3 == 0 { 0 } else { 1000 };
        let mut pair = rig::pair(seed, rig::responder(&segw).cookie_threshold(threshold));
        pair.network.impair(BAD);
        let config = rig::initiator(&henb).retransmit(RetransmitPolicy {
            longest: 4 * SECOND,
            transmissions: 30,
            ..RetransmitPolicy::default()
        });
        let handle = pair.initiate(&config.into());
        pair.run_for(100 * SECOND);
        assert_eq!(
            pair.initiator.established(),
            [handle],
            "seed {seed}: {:?}",
            pair.initiator.events
        );
        assert_eq!(
            pair.initiator
                .count(|event| matches!(event, Event::ChildInstalled(..))),
            1
        );
        // An IKE_SA_INIT that is late and without cookie may have made a second half-open IKE SA
        // in between, which has timed out by now.
        assert_eq!(pair.responder.established().len(), 1, "seed {seed}");
        assert_eq!(
            pair.responder
                .count(|event| matches!(event, Event::Established(_))),
            1,
            "seed {seed}"
        );
        assert_eq!(pair.responder.endpoint.half_open(), 0, "seed {seed}");
        assert_agree(&pair);
        // And it ends as well.
        pair.with(SideName::Initiator, handle, |sa, now| sa.close(now));
        pair.run_for(100 * SECOND);
        assert!(pair.initiator.sas.is_empty(), "seed {seed}");
        assert_eq!(
            pair.initiator.lost(),
            ["closed by this side"],
            "seed {seed}"
        );
    }
}

#[test]
fn a_network_that_only_doubles_makes_nothing_twice() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(1, rig::responder(&segw));
    pair.network.impair(Impairment {
        duplication: 100,
        ..Impairment::default()
    });
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(SECOND);
    assert_agree(&pair);
    for side in [&pair.initiator, &pair.responder] {
        assert_eq!(side.sas.len(), 1);
        assert_eq!(
            side.count(|event| matches!(event, Event::Established(_))),
            1
        );
        assert_eq!(
            side.count(|event| matches!(event, Event::ChildInstalled(..))),
            1
        );
    }
    assert_eq!(pair.responder.endpoint.stats().accepted, 1);
}

#[test]
fn an_ike_sa_init_request_that_names_an_ike_sa_is_dropped() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(40, rig::responder(&segw));
    pair.filter = Some(|sent| sent.from == SideName::Responder);
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(SECOND / 2);
    // The responder's SPI is zero in every IKE_SA_INIT request (RFC 7296 §3.1). Who has seen both
    // must not be able to have the answer sent elsewhere.
    let mut forged = pair.traffic[0].octets.clone();
    forged[8..16].copy_from_slice(&pair.traffic[1].octets[8..16]);
    pair.traffic.clear();
    let mut path = pair.path(SideName::Responder);
    path.remote = "198.51.100.66:500".parse().unwrap();
    let before = pair.responder.endpoint.stats().malformed;
    pair.inject(SideName::Responder, path, &forged);
    assert_eq!(pair.ladder(), Vec::<String>::new());
    assert_eq!(pair.responder.endpoint.stats().malformed, before + 1);
}
