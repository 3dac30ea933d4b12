//! INVALID_KE_PAYLOAD, alone and together with a cookie (RFC 7296 §1.2, §2.6.1).

use ikev2::wire::{GroupId, Message, NotifyType};
use ikev2::{IkeProposal, InitiatorConfig, ResponderConfig};
use testkit::{Pair, SideName, rig};

use super::handshake::{SECOND, assert_agree, devices, info};

fn configs(ours: Vec<GroupId>, theirs: Vec<GroupId>) -> (InitiatorConfig, ResponderConfig) {
    let (henb, segw) = devices();
    let with = |groups| {
        vec![IkeProposal {
            groups,
            ..IkeProposal::default()
        }]
    };
    (
        rig::initiator(&henb).proposals(with(ours)).unwrap(),
        rig::responder(&segw).proposals(with(theirs)).unwrap(),
    )
}

fn run(seed: u64, initiator: InitiatorConfig, responder: ResponderConfig) -> Pair {
    let mut pair = rig::pair(seed, responder);
    pair.initiate(&initiator.into());
    pair.run_for(SECOND);
    pair
}

#[test]
fn another_group_is_asked_for_and_taken() {
    let (initiator, responder) = configs(vec![GroupId::X25519, GroupId::P256], vec![GroupId::P256]);
    let mut pair = run(1, initiator, responder);
    assert_agree(&pair);
    assert_eq!(info(&pair.initiator).suite.group, GroupId::P256);
    let sent: Vec<_> = pair
        .traffic
        .iter()
        .map(|sent| sent.octets.clone())
        .collect();
    let [first, refusal, second] = [0, 1, 2].map(|at: usize| Message::decode(&sent[at]).unwrap());
    let notify = refusal
        .payloads
        .notify(NotifyType::INVALID_KE_PAYLOAD)
        .unwrap();
    assert_eq!(notify.value, [0, 19]);
    // The full proposals again, the same nonce and SPI (RFC 7296 §1.2).
    assert_eq!(second.payloads.sa(), first.payloads.sa());
    assert_eq!(second.payloads.nonce(), first.payloads.nonce());
    assert_eq!(second.header.initiator_spi, first.header.initiator_spi);
    assert_eq!(second.payloads.ke().unwrap().group, GroupId::P256);
    // No state is kept for the first one.
    assert_eq!(pair.responder.endpoint.stats().accepted, 1);
    pair.assert_ladder(&[
        "-> IKE_SA_INIT 0",
        "<- IKE_SA_INIT 0 answer",
        "-> IKE_SA_INIT 0",
        "<- IKE_SA_INIT 0 answer",
        "-> IKE_AUTH 1",
        "<- IKE_AUTH 1 answer",
    ]);
}

#[test]
fn a_cookie_and_another_group_together() {
    let (initiator, responder) = configs(vec![GroupId::X25519, GroupId::P256], vec![GroupId::P256]);
    let pair = run(2, initiator, responder.cookie_threshold(0));
    assert_agree(&pair);
    // HDR(A,0), SAi1, KEi, Ni -> N(COOKIE) -> with cookie -> N(INVALID_KE_PAYLOAD) -> with both
    let kinds: Vec<_> = pair
        .traffic
        .iter()
        .filter_map(|sent| Message::decode(&sent.octets).ok())
        .filter_map(|message| {
            let cookie = message.payloads.notify(NotifyType::COOKIE).is_some();
            message.payloads.ke().map(|ke| (cookie, ke.group))
        })
        .collect();
    assert_eq!(
        kinds[..3],
        [
            (false, GroupId::X25519),
            (true, GroupId::X25519),
            (true, GroupId::P256)
        ],
        "the cookie is kept (RFC 7296 §2.6.1)"
    );
}

#[test]
fn a_group_that_was_not_offered_is_not_taken() {
    let (initiator, responder) = configs(vec![GroupId::X25519], vec![GroupId::X25519]);
    let mut pair = rig::pair(3, responder);
    pair.initiate(&initiator.into());
    let mut forged = vec![0; 28];
    forged[..8].copy_from_slice(&pair.traffic[0].octets[..8]);
    forged[16..20].copy_from_slice(&[41, 0x20, 34, 0x20]);
    forged.extend([0, 0, 0, 10, 0, 0, 0, 17, 0, 19]);
    forged[27] = 38;
    let path = pair.path(SideName::Initiator);
    pair.inject(SideName::Initiator, path, &forged);
    pair.run_for(SECOND);
    assert_agree(&pair);
    assert_eq!(pair.initiator.only().1.stats().unauthentic, 1);
}
