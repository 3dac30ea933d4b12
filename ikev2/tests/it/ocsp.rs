//! OCSP inside IKE (RFC 4806): asked for and answered in both directions, and never sent unasked.

use std::sync::Arc;

use ikev2::auth::authority;
use ikev2::{
    Admission, CertificateDer, DenyReason, Event, Grant, InitiatorConfig, OcspRequest, OcspStaple,
    Phase, ResponderConfig, StapledCredential, UnixTime, Verdict,
};
use testkit::{Admit, Device, KeyKind, Pair, Side, SideName, rig};

use super::handshake::{SECOND, assert_agree, devices};

/// The library carries octets: these are as good as any.
const RESPONSE: &[u8] = &[0x30; 731];

fn staple(response: &[u8]) -> OcspStaple {
    let soon = UnixTime::from_secs(rig::TODAY.as_secs() + 1);
    OcspStaple::new(response.to_vec(), soon).unwrap()
}

fn stapling(device: &Device, staple: Option<OcspStaple>) -> Arc<StapledCredential> {
    let credential = StapledCredential::new(device.credential());
    credential.replace(staple);
    Arc::new(credential)
}

fn responder(credential: Arc<StapledCredential>) -> ResponderConfig {
    let any = vec![ikev2::TrafficSelector::any_ipv4()];
    let child = ikev2::ChildConfig::new(any, Vec::new()).unwrap();
    ResponderConfig::new(credential, rig::verifier(), child).unwrap()
}

fn initiator(credential: Arc<StapledCredential>) -> InitiatorConfig {
    let any = vec![ikev2::TrafficSelector::any_ipv4()];
    let child = ikev2::ChildConfig::new(any.clone(), any).unwrap();
    InitiatorConfig::new(credential, rig::verifier(), child)
        .unwrap()
        .request_address(true)
}

fn judging(config: InitiatorConfig) -> Arc<InitiatorConfig> {
    let within = 10 * SECOND;
    Arc::new(config.admission(Admission::ByApplication { within }))
}

/// The responses that each peer presented to this side came with.
fn presented(side: &Side) -> Vec<Vec<Vec<u8>>> {
    side.events
        .iter()
        .filter_map(|(_, _, event)| match event {
            Event::PeerPresented(peer) => Some(peer.stapled_ocsp().map(<[u8]>::to_vec).collect()),
            _ => None,
        })
        .collect()
}

fn size(pair: &Pair, rung: &str) -> usize {
    let sent = pair.traffic.iter().find(|sent| sent.rung() == rung);
    sent.expect("it was sent").size
}

const INIT_ANSWER: &str = "<- IKE_SA_INIT 0 answer";
const AUTH: &str = "-> IKE_AUTH 1";
const AUTH_ANSWER: &str = "<- IKE_AUTH 1 answer";

/// A device and a gateway whose signatures are all of one length, so that messages can be compared.
fn devices_of_one_size() -> (Device, Device) {
    (
        Device::new("henb.example", KeyKind::Ed25519),
        Device::new("segw.example", KeyKind::Ed25519),
    )
}

/// A handshake in which each side has a response to give, and asks for one or does not.
fn handshake((henb, segw): &(Device, Device), ask_gateway: bool, ask_device: bool) -> Pair {
    let mut config = initiator(stapling(henb, Some(staple(RESPONSE))));
    let mut answers = responder(stapling(segw, Some(staple(RESPONSE))));
    if ask_gateway {
        config = config.request_ocsp(OcspRequest::any_responder());
    }
    if ask_device {
        answers = answers.request_ocsp(OcspRequest::any_responder());
    }
    let mut pair = rig::pair(1, answers);
    pair.initiate(&judging(config));
    pair.run_for(SECOND);
    assert_agree(&pair);
    pair
}

#[test]
fn rfc_4806_a_response_is_sent_to_who_asks_and_to_nobody_else() {
    let nothing: Vec<Vec<u8>> = Vec::new();
    let devices = devices_of_one_size();
    let plain = handshake(&devices, false, false);
    // A CERT payload: generic header, encoding, value.
    let cert = 4 + 1 + RESPONSE.len();
    // A CERTREQ payload without authorities.
    let certreq = 4 + 1;
    for (ask_gateway, ask_device) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut pair = handshake(&devices, ask_gateway, ask_device);
        let grown = |rung| size(&pair, rung) - size(&plain, rung);
        let (gateway, device) = (usize::from(ask_gateway), usize::from(ask_device));
        // HDR, SAr1, KEr, Nr, N.., CERTREQ, [CERTREQ(OCSP)]
        assert_eq!(grown(INIT_ANSWER), device * certreq);
        // HDR, SK {IDi, CERT, [CERT(OCSP)], CERTREQ, [CERTREQ(OCSP)], AUTH, CP, SAi2, TSi, TSr}
        assert_eq!(grown(AUTH), device * cert + gateway * certreq);
        // HDR, SK {IDr, CERT, [CERT(OCSP)], AUTH, CP, SAr2, TSi, TSr}
        assert_eq!(grown(AUTH_ANSWER), gateway * cert);
        pair.assert_ladder(&["-> IKE_SA_INIT 0", INIT_ANSWER, AUTH, AUTH_ANSWER]);
        let response = |asked| match asked {
            true => vec![RESPONSE.to_vec()],
            false => nothing.clone(),
        };
        assert_eq!(presented(&pair.initiator), [response(ask_gateway)]);
        assert_eq!(presented(&pair.responder), [response(ask_device)]);
    }
}

#[test]
fn trusted_responders_are_named_by_their_keys() {
    let devices = devices_of_one_size();
    let plain = handshake(&devices, true, false);
    let (henb, segw) = devices;
    let signer = authority(&CertificateDer::from(segw.certificate.clone())).unwrap();
    let request = OcspRequest::naming([signer, [7; 20]]);
    let config = initiator(stapling(&henb, None)).request_ocsp(request);
    let mut pair = rig::pair(1, responder(stapling(&segw, Some(staple(RESPONSE)))));
    pair.initiate(&judging(config));
    pair.run_for(SECOND);
    assert_agree(&pair);
    assert_eq!(size(&pair, AUTH) - size(&plain, AUTH), 2 * 20);
    assert_eq!(presented(&pair.initiator), [[RESPONSE.to_vec()]]);
}

#[test]
fn the_response_is_replaced_while_the_endpoint_runs() {
    let (henb, segw) = devices();
    let credential = stapling(&segw, None);
    let mut pair = rig::pair(2, responder(credential.clone()));
    let config =
        judging(initiator(stapling(&henb, None)).request_ocsp(OcspRequest::any_responder()));
    let mut expected: Vec<Vec<Vec<u8>>> = Vec::new();
    for response in [None, Some(&b"first"[..]), Some(b"second"), None] {
        credential.replace(response.map(staple));
        expected.push(response.iter().map(|octets| octets.to_vec()).collect());
        pair.initiate(&config);
        pair.run_for(SECOND);
    }
    assert_eq!(presented(&pair.initiator), expected);
    assert_eq!(
        pair.initiator.established().len(),
        4,
        "whether a missing response is fatal is the application's business"
    );
}

#[test]
fn an_expired_response_is_not_sent() {
    let (henb, segw) = devices();
    let config =
        judging(initiator(stapling(&henb, None)).request_ocsp(OcspRequest::any_responder()));
    for (expires, sent) in [(-1_i64, 0), (0, 0), (1, 1)] {
        let expires = UnixTime::from_secs(rig::TODAY.as_secs().saturating_add_signed(expires));
        let staple = OcspStaple::new(RESPONSE.to_vec(), expires).unwrap();
        let mut pair = rig::pair(3, responder(stapling(&segw, Some(staple))));
        pair.initiate(&config);
        pair.run_for(SECOND);
        assert_agree(&pair);
        assert_eq!(presented(&pair.initiator)[0].len(), sent, "{expires}");
    }
}

#[test]
fn a_gateway_is_refused_for_its_response_before_anything_is_established() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(4, responder(stapling(&segw, Some(staple(RESPONSE)))));
    pair.initiator.admit = Admit::Never;
    let config = initiator(stapling(&henb, None)).request_ocsp(OcspRequest::any_responder());
    let handle = pair.initiate(&judging(config));
    pair.run_for(SECOND);
    assert_eq!(pair.initiator.sas[&handle].phase(), Phase::AwaitingVerdict);
    let revoked = Verdict::Deny(DenyReason::policy("revoked"));
    pair.with(SideName::Initiator, handle, |sa, now| {
        sa.admit(now, revoked)
    })
    .unwrap();
    pair.run_for(SECOND);
    assert_eq!(pair.initiator.lost(), ["denied: revoked"]);
    assert_eq!(
        pair.initiator
            .count(|event| matches!(event, Event::Established(_) | Event::ChildInstalled(..))),
        0
    );
    assert_eq!(
        pair.responder.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
}

#[test]
fn a_device_is_refused_for_its_response_before_anything_is_established() {
    let (henb, segw) = devices();
    let answers = responder(stapling(&segw, None)).request_ocsp(OcspRequest::any_responder());
    let mut pair = rig::pair(5, answers);
    pair.responder.admit = Admit::Never;
    pair.initiate(&initiator(stapling(&henb, Some(staple(RESPONSE)))).into());
    pair.run_for(SECOND / 2);
    assert_eq!(presented(&pair.responder), [[RESPONSE.to_vec()]]);
    let (handle, _) = pair.responder.only();
    let revoked = Verdict::Deny(DenyReason::policy("revoked"));
    pair.with(SideName::Responder, handle, |sa, now| {
        sa.admit(now, revoked)
    })
    .unwrap();
    pair.run_for(SECOND);
    assert_eq!(
        pair.initiator.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
}

#[test]
fn who_asks_and_judges_nothing_lets_nobody_in() {
    let (henb, segw) = devices();
    let config = initiator(stapling(&henb, None)).request_ocsp(OcspRequest::any_responder());
    let mut pair = rig::pair(6, responder(stapling(&segw, Some(staple(RESPONSE)))));
    pair.initiate(&config.admission(Admission::Immediate).into());
    pair.run_for(SECOND);
    let lost = pair.initiator.lost();
    assert!(
        lost.len() == 1 && lost[0].contains("nobody judges the answer"),
        "{lost:?}"
    );

    let answers = responder(stapling(&segw, None))
        .request_ocsp(OcspRequest::any_responder())
        .admission(Admission::Immediate);
    let mut pair = rig::pair(7, answers);
    pair.initiate(&judging(initiator(stapling(&henb, Some(staple(RESPONSE))))));
    pair.run_for(SECOND);
    assert!(pair.responder.established().is_empty());
    assert_eq!(
        pair.initiator.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
}

#[test]
fn the_longest_response_beside_a_long_certificate_gets_through() {
    let henb = Device::new("henb.example", KeyKind::EcdsaP256);
    let segw = Device::with_padding("segw.example", KeyKind::EcdsaP256, 6_000);
    let longest = vec![7; ikev2::auth::MAX_OCSP_RESPONSE_LEN];
    let mut pair = rig::pair(8, responder(stapling(&segw, Some(staple(&longest)))));
    pair.initiator.admit = Admit::Never;
    let config = initiator(stapling(&henb, None)).request_ocsp(OcspRequest::any_responder());
    let handle = pair.initiate(&judging(config));
    pair.run_for(SECOND);
    assert_eq!(presented(&pair.initiator), [[longest]]);
    pair.with(SideName::Initiator, handle, |sa, now| {
        sa.admit(now, Verdict::Admit(Grant::default()))
    })
    .unwrap();
    pair.run_for(SECOND);
    assert_agree(&pair);
}
