//! One shard with devices, in virtual time. GW is the gateway, D a device.

use std::time::Duration;

use ikev2::LostReason;
use ikev2::wire::codes::NotifyType;
use ledger::{BlockTime, RevocationReason, Status};
use ledger_client::Unavailable;
use segw_sim::control::Which;
use segw_sim::mailbox::Command;
use tokio::sync::oneshot;

use crate::device::Card;
use crate::lab::{CORE, LIVENESS, Lab, WITHIN};

fn revoked() -> Status {
    Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BlockTime(1),
    }
}

fn lab_with(names: &[&str]) -> (Lab, Vec<Card>) {
    let lab = Lab::new("10.88.0.0/24");
    let cards: Vec<_> = names.iter().map(|name| Card::new(name)).collect();
    for card in &cards {
        lab.script.tell(card.hash(), Ok(Status::Valid));
    }
    (lab, cards)
}

#[track_caller]
fn assert_refused(lab: &Lab, index: usize, label: &str) {
    let device = &lab.devices[index];
    assert!(!device.established);
    // AUTHENTICATION_FAILED and no more: the peer does not learn why.
    assert!(
        matches!(
            device.lost,
            Some(LostReason::PeerError(NotifyType::AUTHENTICATION_FAILED))
        ),
        "{:?}",
        device.lost
    );
    let snapshot = lab.snapshot();
    assert_eq!(snapshot.refused.get(label), Some(&1), "{snapshot:?}");
    assert_eq!(snapshot.open_sas, 0);
}

#[test]
fn a_valid_device_is_let_in_gets_an_address_and_pings_through_esp() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test"]);
    // D -> GW  IKE_SA_INIT; GW -> D  IKE_SA_INIT
    // D -> GW  IKE_AUTH {IDi, CERT, AUTH, CP(CFG_REQUEST), SA, TSi, TSr}; the ledger: valid
    // GW -> D  IKE_AUTH {IDr, CERT, AUTH, CP(CFG_REPLY), SA, TSi, TSr}
    lab.connect(&cards[0], false);
    assert!(lab.devices[0].established, "{:?}", lab.devices[0].lost);
    assert_eq!(lab.devices[0].inner, Some([10, 88, 0, 1].into()));
    assert_eq!(lab.devices[0].dns, [CORE]);

    lab.devices[0].ping(CORE, 1);
    lab.devices[0].ping(CORE, 2);
    lab.settle();
    assert_eq!(lab.devices[0].pongs, [(7, 1), (7, 2)]);

    lab.pass(Duration::from_secs(5));
    let list = lab.list();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].identity, "henb1.lab.test");
    assert_eq!(list[0].inner_address.as_deref(), Some("10.88.0.1"));
    assert_eq!(list[0].remote, "192.0.2.10:4500");
    assert_eq!(list[0].certificate, cards[0].hash().to_string());
    assert_eq!(
        (
            list[0].packets_in,
            list[0].packets_out,
            list[0].established_s
        ),
        (2, 2, 5)
    );
    let snapshot = lab.snapshot();
    assert_eq!(
        (snapshot.handshakes_started, snapshot.handshakes_established),
        (1, 1)
    );
    assert_eq!((snapshot.open_sas, snapshot.half_open), (1, 0));
    assert_eq!((snapshot.esp_in_packets, snapshot.esp_out_packets), (2, 2));
}

#[test]
fn whatever_is_not_valid_is_refused_with_its_reason_on_our_side_only() {
    let cases = [
        (Ok(Status::NotRecorded), "not-recorded"),
        (
            Ok(Status::Suspended {
                since: BlockTime(1),
            }),
            "suspended",
        ),
        (Ok(revoked()), "revoked"),
        (Ok(Status::Expired), "expired"),
        (Err(Unavailable::Abandoned), "ledger-unavailable"),
    ];
    for (answer, label) in cases {
        let mut lab = Lab::new("10.88.0.0/24");
        let card = Card::new("henb1.lab.test");
        lab.script.tell(card.hash(), answer);
        lab.connect(&card, false);
        assert_refused(&lab, 0, label);
        assert_eq!(lab.shared.registry.pool_use().0, 0, "no address is held");
        assert!(lab.shared.registry.certificates().is_empty());
    }
}

#[test]
fn an_altered_certificate_never_reaches_the_ledger() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test"]);
    let mut card = cards[0].clone();
    // The last octet belongs to the certificate's own signature.
    *card.certificate.last_mut().unwrap() ^= 1;
    lab.connect(&card, false);
    assert_refused(&lab, 0, "certificate");
    assert_eq!(*lab.script.asked.lock().unwrap(), 0);
}

#[test]
fn a_slow_ledger_delays_one_peer_and_no_other() {
    let (mut lab, cards) = lab_with(&["slow.lab.test", "quick.lab.test"]);
    *lab.script.slow.lock().unwrap() = true;
    lab.connect(&cards[0], false);
    // The peer repeats IKE_AUTH meanwhile; the repetition asks nobody again.
    lab.pass(Duration::from_millis(1500));
    assert_eq!(lab.script.waiting.lock().unwrap().len(), 1);
    assert_eq!(lab.snapshot().half_open, 1);
    *lab.script.slow.lock().unwrap() = false;
    lab.connect(&cards[1], false);
    assert!(lab.devices[1].established);
    assert!(!lab.devices[0].established);
    let (hash, reply) = lab.script.waiting.lock().unwrap().pop().unwrap();
    assert_eq!(hash, cards[0].hash());
    reply(Ok(ledger_client::Answer {
        status: Status::Valid,
        height: ledger::Height(1),
        block_time: None,
        not_after: None,
        origin: ledger_client::Origin::Ledger,
    }));
    lab.settle();
    assert!(lab.devices[0].established);
}

#[test]
fn no_answer_in_time_is_a_refusal() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test"]);
    *lab.script.slow.lock().unwrap() = true;
    lab.connect(&cards[0], false);
    lab.pass(WITHIN + Duration::from_millis(1));
    assert_refused(&lab, 0, "verdict-deadline");
    // An answer that comes after all finds nobody, and does no harm.
    let (_, reply) = lab.script.waiting.lock().unwrap().pop().unwrap();
    reply(Err(Unavailable::Abandoned));
    lab.settle();
    assert_eq!(lab.snapshot().refused.len(), 1);
}

#[test]
fn a_revocation_closes_the_tunnel_with_a_delete() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test", "henb2.lab.test"]);
    lab.connect(&cards[0], false);
    lab.connect(&cards[1], false);
    lab.script.tell(cards[0].hash(), Ok(revoked()));
    // GW -> D  INFORMATIONAL {Delete}; D -> GW  INFORMATIONAL {}
    lab.ledger_ends(&cards[0].hash(), &revoked());
    assert!(
        matches!(lab.devices[0].lost, Some(LostReason::PeerDeleted)),
        "{:?}",
        lab.devices[0].lost
    );
    assert!(lab.devices[1].lost.is_none());
    let list = lab.list();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].identity, "henb2.lab.test");
    let snapshot = lab.snapshot();
    assert_eq!((snapshot.revocation_closes, snapshot.open_sas), (1, 1));
    assert_eq!(lab.shared.registry.pool_use().0, 1);
    assert!(lab.shared.registry.admitted_by(&cards[0].hash()).is_empty());
    // The next attempt is refused.
    lab.connect(&cards[0], false);
    assert!(!lab.devices[2].established);
    assert_eq!(lab.snapshot().refused.get("revoked"), Some(&1));
}

#[test]
fn a_revocation_between_presentation_and_answer_is_not_missed() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test"]);
    *lab.script.slow.lock().unwrap() = true;
    lab.connect(&cards[0], false);
    lab.ledger_ends(&cards[0].hash(), &revoked());
    assert_refused(&lab, 0, "revoked");
}

#[test]
fn esp_of_a_closed_tunnel_is_dropped_at_once() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test"]);
    lab.connect(&cards[0], false);
    // D does not hear the Delete, and goes on sending.
    lab.devices[0].ping(CORE, 1);
    let ping = lab.devices[0].out.pop().unwrap();
    lab.deaf.push(0);
    lab.ledger_ends(&cards[0].hash(), &revoked());
    lab.deaf.clear();
    lab.devices[0].out.push(ping);
    lab.settle();
    assert_eq!(lab.devices[0].pongs, []);
    assert_eq!(lab.snapshot().esp_dropped.get("unknown-spi"), Some(&1));
}

#[test]
fn a_newer_sa_of_the_same_identity_replaces_the_older_and_keeps_the_address() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test"]);
    lab.connect(&cards[0], false);
    lab.connect(&cards[0], false);
    assert!(lab.devices[1].established);
    // GW -> old D  INFORMATIONAL {Delete}
    assert!(
        matches!(lab.devices[0].lost, Some(LostReason::PeerDeleted)),
        "{:?}",
        lab.devices[0].lost
    );
    assert_eq!(lab.devices[1].inner, lab.devices[0].inner);
    assert_eq!(lab.list().len(), 1);
    lab.devices[1].ping(CORE, 9);
    lab.settle();
    assert_eq!(lab.devices[1].pongs, [(7, 9)]);
}

#[test]
fn initial_contact_drops_the_older_sa_without_a_word() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test"]);
    lab.connect(&cards[0], false);
    lab.connect(&cards[0], true);
    assert!(lab.devices[1].established);
    assert!(
        lab.devices[0].lost.is_none(),
        "no Delete: {:?}",
        lab.devices[0].lost
    );
    assert_eq!(lab.devices[1].inner, lab.devices[0].inner);
    let list = lab.list();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].remote, "192.0.2.11:4500");
}

#[test]
fn a_silent_peer_is_given_up_and_its_address_is_free_again() {
    let mut lab = Lab::new("10.88.0.0/30");
    let cards = [
        Card::new("a.lab.test"),
        Card::new("b.lab.test"),
        Card::new("c.lab.test"),
    ];
    for card in &cards {
        lab.script.tell(card.hash(), Ok(Status::Valid));
    }
    lab.connect(&cards[0], false);
    lab.connect(&cards[1], false);
    lab.connect(&cards[2], false);
    assert_refused_by_full_pool(&lab);
    lab.deaf.push(0);
    // Liveness check, its retransmissions, then given up.
    lab.pass(LIVENESS + Duration::from_secs(400));
    assert_eq!(lab.list().len(), 1);
    let index = lab.connect(&cards[2], false);
    assert_eq!(lab.devices[index].inner, lab.devices[0].inner);
}

fn assert_refused_by_full_pool(lab: &Lab) {
    assert!(!lab.devices[2].established);
    assert_eq!(lab.snapshot().refused.get("pool-exhausted"), Some(&1));
}

#[test]
fn the_operator_closes_by_identity() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test", "henb2.lab.test"]);
    lab.connect(&cards[0], false);
    lab.connect(&cards[1], false);
    let (reply, mut count) = oneshot::channel();
    let which = Which::Identity("henb2.lab.test".to_owned());
    lab.command(Command::CloseAll { which, reply });
    assert_eq!(count.try_recv(), Ok(1));
    assert!(lab.devices[0].lost.is_none());
    assert!(matches!(lab.devices[1].lost, Some(LostReason::PeerDeleted)));
}

#[test]
fn stopping_deletes_every_sa() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test", "henb2.lab.test"]);
    lab.connect(&cards[0], false);
    lab.connect(&cards[1], false);
    assert!(!lab.shard.is_stopped());
    lab.command(Command::Stop);
    for device in &lab.devices {
        assert!(matches!(device.lost, Some(LostReason::PeerDeleted)));
    }
    assert!(lab.shard.is_stopped());
    // Nobody is let in any more.
    lab.connect(&cards[0], false);
    assert!(!lab.devices[2].established);
    assert_eq!(lab.snapshot().handshakes_started, 2);
}

#[test]
fn esp_follows_the_peer_to_another_address() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test"]);
    lab.connect(&cards[0], false);
    lab.connect(&cards[0], false);
    // The NAT gives device 1 the outer address of device 0: its packets come from there now.
    lab.devices[1].ping(CORE, 1);
    let (mut from, to, datagram) = lab.devices[1].out.pop().unwrap();
    from.set_ip([192, 0, 2, 10].into());
    lab.devices[1].out.push((from, to, datagram));
    let tunnel = lab.devices[1].tunnel.take();
    lab.devices[0].tunnel = tunnel;
    lab.settle();
    assert_eq!(lab.devices[0].pongs, [(7, 1)]);
}

#[test]
fn hostile_datagrams_change_nothing_but_counters() {
    let (mut lab, cards) = lab_with(&["henb1.lab.test", "henb2.lab.test"]);
    lab.connect(&cards[0], false);
    // Everything that a genuine device says, recorded.
    lab.recording = Some(Vec::new());
    lab.connect(&cards[1], false);
    lab.devices[1].ping(CORE, 1);
    lab.settle();
    let genuine = lab.recording.take().unwrap();
    assert!(genuine.len() >= 3);

    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut next = |below: usize| {
        // xorshift64: the same hostile datagrams in each run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % u64::try_from(below).unwrap()).unwrap()
    };
    for round in 0..3000 {
        let (path, datagram) = &genuine[next(genuine.len())];
        let mut datagram = datagram.clone();
        match round % 3 {
            0 => datagram.truncate(next(datagram.len() + 1)),
            1 => datagram.extend_from_slice(&[0xff; 7]),
            _ => {}
        }
        for _ in 0..next(4) {
            if !datagram.is_empty() {
                let at = next(datagram.len());
                datagram[at] ^= 1 << next(8);
            }
        }
        lab.inject(*path, datagram);
    }
    lab.pass(Duration::from_secs(40));
    let list = lab.list();
    assert_eq!(list.len(), 2, "{list:?}");
    assert_eq!(lab.snapshot().half_open, 0);
    for index in [0, 1] {
        lab.devices[index].pongs.clear();
        lab.devices[index].ping(CORE, 77);
    }
    lab.settle();
    assert_eq!(lab.devices[0].pongs, [(7, 77)]);
    assert_eq!(lab.devices[1].pongs, [(7, 77)]);
    // A replayed ESP packet is not answered twice.
    assert!(
        lab.snapshot()
            .esp_dropped
            .get("replayed")
            .is_some_and(|&count| count > 0)
    );
}
