//! Hostile datagrams in every state: nothing panics, nothing is disturbed, and what is
//! authenticated but wrong gets the answer that the RFC names (RFC 7296 §2.5, §2.21).

use ikev2::wire::{Message, NotifyType};
use ikev2::{Event, Phase};
use testkit::{Admit, Pair, SideName, rig};

use super::handshake::{SECOND, assert_agree, connected, devices};

/// A small generator, so that each failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }
}

/// Every truncation, and many mutations: bits, octets, lengths, doubled and missing pieces.
fn mutants(octets: &[u8], dice: &mut Dice, count: usize) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = (0..octets.len())
        .map(|len| octets[..len].to_vec())
        .collect();
    for len in 28..octets.len() {
        // Truncated, and the header agrees.
        let mut cut = octets[..len].to_vec();
        cut[24..28].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        out.push(cut);
    }
    for _ in 0..count {
        let mut mutant = octets.to_vec();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(mutant.len());
            match dice.roll(4) {
                0 => mutant[at] ^= 1 << dice.roll(8),
                1 => mutant[at] = dice.roll(256) as u8,
                2 => {
                    let end = (at + dice.roll(40)).min(mutant.len());
                    let piece = mutant[at..end].to_vec();
                    mutant.splice(at..at, piece);
                }
                _ => {
                    let end = (at + dice.roll(40)).min(mutant.len());
                    mutant.drain(at..end);
                }
            }
            if mutant.is_empty() {
                break;
            }
        }
        if mutant.len() >= 28 && dice.roll(2) == 0 {
            let len = u32::try_from(mutant.len()).unwrap().to_be_bytes();
            mutant[24..28].copy_from_slice(&len);
        }
        if mutant != octets {
            out.push(mutant);
        }
    }
    out
}

fn bombard(pair: &mut Pair, to: SideName, originals: &[Vec<u8>], dice: &mut Dice) {
    let path = pair.path(to);
    for original in originals {
        for mutant in mutants(original, dice, 300) {
            pair.inject(to, path, &mutant);
        }
    }
}

#[test]
fn mutants_at_every_step_of_the_handshake_change_nothing() {
    let (henb, segw) = devices();
    for seed in 0..3 {
        let mut dice = Dice(seed);
        let limits = ikev2::Limits {
            half_open: 100_000,
            ..ikev2::Limits::default()
        };
        let mut pair = rig::pair_with(
            seed,
            rig::endpoint(seed),
            rig::endpoint(!seed).limits(limits),
            rig::responder(&segw).cookie_threshold(100_000),
        );
        pair.responder.admit = Admit::Never;
        pair.initiate(&rig::initiator(&henb).request_address(false).into());
        let request = pair.traffic[0].octets.clone();
        // Mutated requests that still make sense do make half-open IKE SAs, and no more than that.
        bombard(
            &mut pair,
            SideName::Responder,
            std::slice::from_ref(&request),
            &mut dice,
        );
        assert_eq!(pair.responder.established(), []);
        assert!(pair.responder.endpoint.half_open() <= 300);
        // The initiator waits for IKE_SA_INIT: mutants of the true answer are all forged. Those
        // that are credible may end this attempt (nothing is authenticated yet), never with a
        // panic, and never as established.
        pair.run_once();
        let answer = pair
            .traffic
            .iter()
            .rev()
            .find(|sent| sent.rung() == "<- IKE_SA_INIT 0 answer")
            .map(|sent| sent.octets.clone());
        if let Some(answer) = answer {
            let mut fresh = rig::pair(seed + 100, rig::responder(&segw));
            fresh.filter = Some(|_| true);
            fresh.initiate(&rig::initiator(&henb).into());
            let mut adapted = answer;
            adapted[..8].copy_from_slice(&fresh.traffic[0].octets[..8]);
            bombard(&mut fresh, SideName::Initiator, &[adapted], &mut dice);
            assert_eq!(
                fresh
                    .initiator
                    .count(|event| matches!(event, Event::Established(_))),
                0
            );
        }
    }
}

#[test]
fn mutants_of_protected_messages_change_only_counters() {
    let (henb, segw) = devices();
    let mut dice = Dice(7);
    let mut pair = rig::pair(7, rig::responder(&segw));
    pair.responder.admit = Admit::Never;
    // IKE_AUTH is held back by hand.
    pair.filter = Some(|sent| sent.rung() == "-> IKE_AUTH 1");
    pair.initiate(&rig::initiator(&henb).request_address(false).into());
    pair.run_for(SECOND / 2);
    let auth = pair.traffic.last().unwrap().octets.clone();
    // InitAnswered.
    bombard(
        &mut pair,
        SideName::Responder,
        std::slice::from_ref(&auth),
        &mut dice,
    );
    assert_eq!(pair.responder.only().1.phase(), Phase::Initiating);
    assert!(pair.responder.events.is_empty());
    // AwaitVerdict.
    pair.filter = None;
    let path = pair.path(SideName::Responder);
    pair.inject(SideName::Responder, path, &auth);
    assert_eq!(pair.responder.only().1.phase(), Phase::AwaitingVerdict);
    bombard(
        &mut pair,
        SideName::Responder,
        std::slice::from_ref(&auth),
        &mut dice,
    );
    assert_eq!(pair.responder.only().1.phase(), Phase::AwaitingVerdict);
    assert_eq!(pair.responder.events.len(), 1);
    // AuthSent: the answer comes mutated before it comes whole.
    let grant = ikev2::Grant {
        remote_selectors: Some(vec![ikev2::TrafficSelector::any_ipv4()]),
        ..ikev2::Grant::default()
    };
    let (handle, _) = pair.responder.only();
    pair.filter = Some(|sent| sent.from == SideName::Responder);
    pair.with(SideName::Responder, handle, |sa, now| {
        sa.admit(now, ikev2::Verdict::Admit(grant))
    })
    .unwrap();
    pair.filter = None;
    let answer = pair
        .traffic
        .iter()
        .rfind(|t| t.rung() == "<- IKE_AUTH 1 answer")
        .unwrap()
        .octets
        .clone();
    bombard(
        &mut pair,
        SideName::Initiator,
        std::slice::from_ref(&answer),
        &mut dice,
    );
    assert_eq!(pair.initiator.only().1.phase(), Phase::Authenticating);
    let path = pair.path(SideName::Initiator);
    pair.inject(SideName::Initiator, path, &answer);
    assert_agree(&pair);
    // Established, on both sides, with a request open.
    let (i, r) = (pair.initiator.only().0, pair.responder.only().0);
    pair.filter = Some(|_| true);
    pair.traffic.clear();
    pair.with(SideName::Initiator, i, |sa, now| sa.probe(now));
    pair.with(SideName::Responder, r, |sa, now| sa.probe(now));
    let sent: Vec<_> = pair.traffic.iter().map(|t| t.octets.clone()).collect();
    bombard(
        &mut pair,
        SideName::Responder,
        &[sent[0].clone(), auth],
        &mut dice,
    );
    bombard(
        &mut pair,
        SideName::Initiator,
        &[sent[1].clone(), answer],
        &mut dice,
    );
    for side in [&mut pair.initiator, &mut pair.responder] {
        let (_, sa) = side.only();
        assert_eq!(sa.phase(), Phase::Established);
        assert!(sa.stats().unauthentic > 0);
        assert_eq!(
            side.count(|event| matches!(event, Event::Lost(_) | Event::PathChanged(_))),
            0
        );
    }
    // And the real ones still work.
    pair.filter = None;
    pair.run_for(5 * SECOND);
    assert_eq!(pair.initiator.only().1.phase(), Phase::Established);
}

#[test]
fn random_octets_are_nothing() {
    let mut pair = connected(8);
    let mut dice = Dice(8);
    for to in [SideName::Initiator, SideName::Responder] {
        let path = pair.path(to);
        for _ in 0..5000 {
            let noise: Vec<u8> = (0..dice.roll(200)).map(|_| dice.roll(256) as u8).collect();
            pair.inject(to, path, &noise);
        }
    }
    assert_eq!(pair.initiator.only().1.phase(), Phase::Established);
    assert_eq!(pair.responder.only().1.phase(), Phase::Established);
    let oversized = vec![0; 65_536];
    let path = pair.path(SideName::Responder);
    pair.inject(SideName::Responder, path, &oversized);
    assert_eq!(pair.responder.endpoint.stats().oversized, 1);
}

fn header(spis: (u64, u64), octets: [u8; 4], id: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(spis.0.to_be_bytes());
    out.extend(spis.1.to_be_bytes());
    out.extend(octets);
    out.extend([0, 0, 0, id]);
    out.extend(u32::try_from(28 + body.len()).unwrap().to_be_bytes());
    out.extend(body);
    out
}

#[test]
fn strays_are_answered_within_a_budget_and_answers_never() {
    let mut pair = connected(9);
    let path = pair.path(SideName::Responder);
    // INFORMATIONAL request for an IKE SA that is not here.
    let stray = header((77, 88), [0, 0x20, 37, 0x08], 5, &[]);
    pair.inject(SideName::Responder, path, &stray);
    let answer = pair.traffic.last().unwrap().octets.clone();
    let answer = Message::decode(&answer).unwrap();
    assert_eq!(
        answer.payloads.error_notify().unwrap().kind,
        NotifyType::INVALID_IKE_SPI
    );
    assert_eq!(
        (
            answer.header.initiator_spi,
            answer.header.responder_spi,
            answer.header.message_id
        ),
        (77, 88, 5)
    );
    assert!(answer.header.flags.response);
    // A response for it: silence.
    pair.traffic.clear();
    pair.inject(
        SideName::Responder,
        path,
        &header((77, 88), [0, 0x20, 37, 0x28], 5, &[]),
    );
    pair.assert_ladder(&[]);
    // Version 3.
    pair.inject(
        SideName::Responder,
        path,
        &header((77, 0), [33, 0x30, 34, 0x08], 0, &[]),
    );
    let answer = pair.traffic.last().unwrap().octets.clone();
    let answer = Message::decode(&answer).unwrap();
    assert_eq!(
        answer.payloads.error_notify().unwrap().kind,
        NotifyType::INVALID_MAJOR_VERSION
    );
    assert_eq!(answer.header.version, (2, 0));
    // Version 1: silence.
    pair.traffic.clear();
    pair.inject(
        SideName::Responder,
        path,
        &header((77, 0), [1, 0x10, 2, 0], 0, &[]),
    );
    pair.assert_ladder(&[]);
    for _ in 0..1000 {
        pair.inject(SideName::Responder, path, &stray);
    }
    assert!(pair.traffic.len() <= 100, "{}", pair.traffic.len());
    pair.run_for(2 * SECOND);
    pair.traffic.clear();
    pair.inject(SideName::Responder, path, &stray);
    assert_eq!(pair.traffic.len(), 1);
}

#[test]
fn an_unknown_critical_payload_in_ike_sa_init_is_named_and_makes_no_state() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(10, rig::responder(&segw));
    pair.filter = Some(|sent| sent.from == SideName::Initiator);
    pair.initiate(&rig::initiator(&henb).into());
    let request = pair.traffic[0].octets.clone();
    for (critical, accepted) in [(0x80, 0), (0, 1)] {
        // Payload 200 before all others.
        let mut odd = request[..28].to_vec();
        odd[16] = 200;
        odd.extend([request[16], critical, 0, 6, 0xab, 0xcd]);
        odd.extend(&request[28..]);
        let len = u32::try_from(odd.len()).unwrap().to_be_bytes();
        odd[24..28].copy_from_slice(&len);
        pair.traffic.clear();
        let path = pair.path(SideName::Responder);
        pair.inject(SideName::Responder, path, &odd);
        let answer = pair.traffic.last().unwrap().octets.clone();
        let answer = Message::decode(&answer).unwrap();
        let refused = answer
            .payloads
            .notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD)
            .map(|notify| notify.value);
        assert_eq!(refused, (accepted == 0).then_some(&[200][..]));
        assert_eq!(pair.responder.endpoint.open(), accepted);
    }
}

#[test]
fn a_forged_refusal_of_ike_sa_init_does_not_stop_the_real_answer() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(11, rig::responder(&segw));
    pair.initiate(&rig::initiator(&henb).into());
    // HDR(A,0), N(NO_PROPOSAL_CHOSEN), from somebody who saw the request.
    let spi = u64::from_be_bytes(pair.traffic[0].octets[..8].try_into().unwrap());
    let refusal = header(
        (spi, 0),
        [41, 0x20, 34, 0x20],
        0,
        &[0, 0, 0, 8, 0, 0, 0, 14],
    );
    let path = pair.path(SideName::Initiator);
    pair.inject(SideName::Initiator, path, &refusal);
    assert_eq!(pair.initiator.only().1.phase(), Phase::Initiating);
    pair.run_for(SECOND);
    assert_agree(&pair);
    pair.run_for(10 * SECOND);
    assert_eq!(pair.initiator.only().1.phase(), Phase::Established);
}
