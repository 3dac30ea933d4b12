//! The contract of a library without I/O: no wake-up in the past (the pair asserts it after every
//! step), late and needless polls do no harm, the same inputs give the same outputs.

use std::time::Duration;

use ikev2::{
    DatagramEvent, Endpoint, EndpointEvent, Event, IkeSa, Lifetimes, Limits, Phase,
    RetransmitPolicy, WakeReason,
};
use testkit::{Device, Impairment, KeyKind, Pair, SideName, rig};

use super::handshake::{SECOND, assert_agree, connected, devices};

#[test]
fn one_late_poll_behaves() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(1, rig::responder(&segw));
    pair.filter = Some(|_| true);
    let handle = pair.initiate(&rig::initiator(&henb).into());
    // The machine sleeps over three retransmissions: one goes out, and the next is in the future.
    pair.sleep(8 * SECOND);
    pair.with(SideName::Initiator, handle, |sa, now| {
        sa.handle_timeout(now)
    });
    assert_eq!(pair.traffic.len(), 2);
    let (now, sa) = (pair.now(), pair.initiator.only().1);
    let wakeup = sa.poll_timeout().unwrap();
    assert_eq!(wakeup.reason, WakeReason::Retransmit);
    assert!(wakeup.at > now);
    pair.filter = None;
    pair.run_for(10 * SECOND);
    assert_agree(&pair);
}

#[test]
fn needless_polls_do_nothing() {
    let mut pair = connected(2);
    let (handle, sa) = pair.initiator.only();
    let before = sa.poll_timeout();
    for _ in 0..100 {
        pair.with(SideName::Initiator, handle, |sa, now| {
            sa.handle_timeout(now)
        });
    }
    pair.assert_ladder(&[]);
    assert_eq!(pair.initiator.only().1.poll_timeout(), before);
}

#[test]
fn a_drained_ike_sa_stays_drained() {
    let mut pair = connected(3);
    let (handle, _) = pair.initiator.only();
    let mut sa = pair.initiator.sas.remove(&handle).unwrap();
    let now = pair.now();
    sa.abandon(now);
    while sa.poll_endpoint_event().is_some() {}
    while sa.poll_event().is_some() {}
    assert!(sa.is_drained());
    sa.close(now);
    sa.abandon(now);
    sa.probe(now);
    sa.handle_timeout(now + 1000 * SECOND);
    let mut buf = Vec::new();
    assert_eq!(sa.poll_transmit(now, &mut buf), None);
    assert!(
        sa.poll_event().is_none()
            && sa.poll_endpoint_event().is_none()
            && sa.poll_timeout().is_none()
    );
    assert_eq!(sa.phase(), Phase::Closed);
}

/// What was sent when, and how long it was. Keys differ from run to run, since the key exchange
/// takes its randomness from the system.
fn record(seed: u64, henb: &Device, segw: &Device) -> Vec<(Duration, String, usize)> {
    let mut pair: Pair = rig::pair(seed, rig::responder(segw).cookie_threshold(0));
    pair.network.impair(Impairment {
        jitter: Duration::from_millis(300),
        loss: 20,
        duplication: 20,
        ..Impairment::default()
    });
    let handle = pair.initiate(&rig::initiator(henb).into());
    pair.run_for(200 * SECOND);
    if pair.initiator.sas.contains_key(&handle) {
        pair.with(SideName::Initiator, handle, |sa, now| sa.close(now));
    }
    pair.run_for(200 * SECOND);
    pair.traffic
        .iter()
        .map(|sent| (sent.at, sent.rung(), sent.size))
        .collect()
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    // Ed25519, since ECDSA signatures differ in length.
    let (henb, segw) = (
        Device::new("henb.example", KeyKind::Ed25519),
        Device::new("segw.example", KeyKind::Ed25519),
    );
    for seed in 0..10 {
        let first = record(seed, &henb, &segw);
        assert!(first.len() > 6);
        assert_eq!(first, record(seed, &henb, &segw), "seed {seed}");
    }
    assert_ne!(record(1, &henb, &segw), record(2, &henb, &segw));
}

#[test]
fn odd_configurations_neither_panic_nor_spin() {
    let (henb, segw) = devices();
    for span in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let policy = RetransmitPolicy {
            initial: span,
            longest: span,
            backoff_percent: u32::MAX,
            jitter_percent: u32::MAX,
            transmissions: 3,
        };
        let lifetimes = Lifetimes {
            liveness: Some(span),
            ike_sa: None,
            nat_keepalive: Some(span),
            linger: span,
        };
        let limits = Limits {
            half_open_lifetime: span,
            ..Limits::default()
        };
        let mut pair = rig::pair_with(
            9,
            rig::endpoint(9).limits(limits),
            rig::endpoint(10).limits(limits),
            rig::responder(&segw)
                .retransmit(policy)
                .lifetimes(lifetimes),
        );
        pair.nat = Some("198.51.100.7:31000".parse().unwrap());
        pair.initiate(
            &rig::initiator(&henb)
                .retransmit(policy)
                .lifetimes(lifetimes)
                .into(),
        );
        pair.run_for(SECOND / 10);
        pair.filter = Some(|_| true);
        pair.run_for(SECOND / 10);
    }
}

#[test]
fn everything_may_be_sent_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Endpoint>();
    is_send::<IkeSa>();
    is_send::<DatagramEvent>();
    is_send::<EndpointEvent>();
    is_send::<Event>();
}
