//! IKE_SA_INIT and IKE_AUTH without faults (RFC 7296 §1.2).

use std::net::Ipv4Addr;
use std::time::Duration;

use ikev2::wire::{GroupId, PrfId};
use ikev2::{
    ChildSa, Cipher, Event, Identification, IkeProposal, IkeSaInfo, Phase, Role, TrafficSelector,
    shard_of_esp, shard_of_ike,
};
use testkit::{Device, KeyKind, Pair, Side, rig};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

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

/// A device and a gateway with P-256 keys.
pub(crate) fn devices() -> (Device, Device) {
    (
        Device::new("henb.example", KeyKind::EcdsaP256),
        Device::new("segw.example", KeyKind::EcdsaP256),
    )
}

/// A pair after a handshake without faults; its traffic is forgotten.
pub(crate) fn connected(seed: u64) -> Pair {
    let (henb, segw) = devices();
    let mut pair = rig::pair(seed, rig::responder(&segw));
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(SECOND);
    assert_agree(&pair);
    pair.traffic.clear();
    pair
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
    assert_eq!(
        info(&pair.initiator).assigned,
        info(&pair.responder).assigned
    );
}

#[test]
fn two_devices_meet_and_the_initiator_gets_an_address() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(1, rig::responder(&segw));
    let config = rig::initiator(&henb)
        .remote_identity(segw.identity.clone())
        .into();
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
    assert_eq!(
        tunnel.local_selectors,
        [TrafficSelector::host(lease.address.into())]
    );
    assert_eq!(tunnel.remote_selectors, [TrafficSelector::any_ipv4()]);
    assert!(tunnel.suite.esn);
    assert!(!tunnel.udp_encapsulation);
    let sa = &pair.initiator.sas[&handle];
    assert_eq!(
        (sa.role(), sa.phase()),
        (Role::Initiator, Phase::Established)
    );
    assert_eq!(sa.peer(), Some(&segw.identity));
    assert_eq!(pair.responder.endpoint.half_open(), 0);
    assert_eq!(pair.responder.endpoint.open(), 1);
}

#[test]
fn both_kinds_of_key_authenticate_with_each_other() {
    for (seed, kinds) in (0..).zip([
        (KeyKind::EcdsaP256, KeyKind::Ed25519),
        (KeyKind::Ed25519, KeyKind::EcdsaP256),
        (KeyKind::Ed25519, KeyKind::Ed25519),
    ]) {
        let (henb, segw) = (
            Device::new("henb.example", kinds.0),
            Device::new("segw.example", kinds.1),
        );
        let mut pair = rig::pair(seed, rig::responder(&segw));
        pair.initiate(&rig::initiator(&henb).into());
        pair.run_for(SECOND);
        assert_agree(&pair);
    }
}

#[test]
fn every_cipher_prf_and_group_is_spoken() {
    let (henb, segw) = devices();
    let ciphers = [
        Cipher::AES_128_GCM,
        Cipher::AES_256_GCM,
        Cipher::CHACHA20_POLY1305,
    ];
    let prfs = [PrfId::HMAC_SHA2_256, PrfId::HMAC_SHA2_384];
    let groups = [GroupId::X25519, GroupId::P256];
    let mut seed = 10;
    for cipher in ciphers {
        for prf in prfs {
            for group in groups {
                seed += 1;
                let proposal = IkeProposal {
                    ciphers: vec![cipher],
                    prfs: vec![prf],
                    groups: vec![group],
                };
                let mut pair = rig::pair(seed, rig::responder(&segw));
                let config = rig::initiator(&henb).proposals(vec![proposal]).unwrap();
                pair.initiate(&config.into());
                pair.run_for(SECOND);
                assert_agree(&pair);
                let suite = info(&pair.responder).suite;
                assert_eq!((suite.cipher, suite.prf, suite.group), (cipher, prf, group));
            }
        }
    }
}

#[test]
fn nothing_in_common_is_no_proposal_chosen() {
    let (henb, segw) = devices();
    let only = |cipher| {
        vec![IkeProposal {
            ciphers: vec![cipher],
            ..IkeProposal::default()
        }]
    };
    let responder = rig::responder(&segw)
        .proposals(only(Cipher::AES_256_GCM))
        .unwrap();
    let mut pair = rig::pair(2, responder);
    let config = rig::initiator(&henb)
        .proposals(only(Cipher::CHACHA20_POLY1305))
        .unwrap();
    pair.initiate(&config.into());
    pair.run_for(10 * SECOND);
    // The error is not authenticated: the request goes out again for a while (RFC 7296 §2.21.1).
    assert!(
        pair.traffic
            .iter()
            .filter(|t| t.rung() == "-> IKE_SA_INIT 0")
            .count()
            >= 2
    );
    assert_eq!(
        pair.initiator.lost(),
        ["the peer answered NO_PROPOSAL_CHOSEN"]
    );
    assert!(pair.initiator.sas.is_empty() && pair.responder.sas.is_empty());
    assert_eq!(pair.responder.endpoint.open(), 0);
}

#[test]
fn an_identity_that_is_not_in_the_certificate_is_refused_before_anybody_is_asked() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(3, rig::responder(&segw));
    let other = henb.credential_as(Identification::fqdn("other.example"));
    let child = ikev2::ChildConfig::new(
        vec![TrafficSelector::any_ipv4()],
        vec![TrafficSelector::any_ipv4()],
    )
    .unwrap();
    let config = ikev2::InitiatorConfig::new(other, rig::verifier(), child).unwrap();
    pair.initiate(&config.into());
    pair.run_for(SECOND);
    assert_eq!(
        pair.initiator.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::PeerPresented(_))),
        0
    );
    assert!(
        pair.responder.lost()[0].contains("other.example"),
        "{:?}",
        pair.responder.lost()
    );
    // The log gets what was claimed, before the reason.
    let claimed = pair
        .responder
        .events
        .iter()
        .find_map(|(_, _, event)| match event {
            Event::PeerUnproven(claimed) => Some(claimed),
            _ => None,
        });
    let claimed = claimed.expect("what was claimed");
    assert_eq!(
        claimed
            .identity
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("other.example")
    );
    let certificate = claimed.end_entity.as_ref().expect("a certificate");
    assert_eq!(certificate.as_bytes(), henb.certificate);
    // What only lingers to answer again counts as half open no more.
    assert_eq!(
        (
            pair.responder.endpoint.half_open(),
            pair.responder.endpoint.open()
        ),
        (0, 1)
    );
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused_before_anybody_is_asked() {
    let (henb, segw) = devices();
    let thief = Stolen {
        victim: henb,
        key: Device::new("thief.example", KeyKind::EcdsaP256).credential(),
    };
    let child = ikev2::ChildConfig::new(
        vec![TrafficSelector::any_ipv4()],
        vec![TrafficSelector::any_ipv4()],
    )
    .unwrap();
    let config =
        ikev2::InitiatorConfig::new(std::sync::Arc::new(thief), rig::verifier(), child).unwrap();
    let mut pair = rig::pair(4, rig::responder(&segw));
    pair.initiate(&config.into());
    pair.run_for(SECOND);
    assert_eq!(
        pair.initiator.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
    assert_eq!(
        pair.responder
            .count(|event| matches!(event, Event::PeerPresented(_))),
        0
    );
    assert_eq!(pair.responder.lost().len(), 1);
}

/// Somebody else's certificate and identity, and another key.
#[derive(Debug)]
struct Stolen {
    victim: Device,
    key: std::sync::Arc<ikev2::Pkcs8Credential>,
}

impl ikev2::LocalCredential for Stolen {
    fn identity(&self) -> &Identification {
        &self.victim.identity
    }

    fn chain(&self) -> &[ikev2::CertificateDer] {
        static CHAIN: std::sync::OnceLock<Vec<ikev2::CertificateDer>> = std::sync::OnceLock::new();
        CHAIN.get_or_init(|| vec![ikev2::CertificateDer::from(self.victim.certificate.clone())])
    }

    fn schemes(&self) -> &[ikev2::crypto::SignatureScheme] {
        self.key.schemes()
    }

    fn sign(
        &self,
        scheme: ikev2::crypto::SignatureScheme,
        octets: &[u8],
    ) -> Result<Vec<u8>, ikev2::auth::SignError> {
        self.key.sign(scheme, octets)
    }
}

#[test]
fn an_initiator_that_meets_another_than_expected_says_so_and_goes() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(5, rig::responder(&segw));
    let config = rig::initiator(&henb).remote_identity(Identification::fqdn("other-segw.example"));
    pair.initiate(&config.into());
    pair.run_for(SECOND);
    pair.assert_ladder(&[
        "-> IKE_SA_INIT 0",
        "<- IKE_SA_INIT 0 answer",
        "-> IKE_AUTH 1",
        "<- IKE_AUTH 1 answer",
        // HDR, SK {N(AUTHENTICATION_FAILED)}, RFC 7296 §2.21.2
        "-> INFORMATIONAL 2",
        "<- INFORMATIONAL 2 answer",
    ]);
    assert!(
        pair.initiator.lost()[0].contains("another identity"),
        "{:?}",
        pair.initiator.lost()
    );
    assert_eq!(
        pair.responder.lost(),
        ["the peer answered AUTHENTICATION_FAILED"]
    );
    pair.run_for(60 * SECOND);
    assert!(pair.responder.sas.is_empty());
}

#[test]
fn long_certificates_pass() {
    let henb = Device::with_padding("henb.example", KeyKind::EcdsaP256, 7000);
    let segw = Device::with_padding("segw.example", KeyKind::EcdsaP256, 7000);
    assert!(
        henb.certificate.len() > 6000 && henb.certificate.len() <= 8192,
        "{}",
        henb.certificate.len()
    );
    let mut pair = rig::pair(6, rig::responder(&segw));
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(SECOND);
    assert_agree(&pair);
}

#[test]
fn the_shard_is_in_the_spis() {
    let (henb, segw) = devices();
    let mut pair = rig::pair_with(
        7,
        rig::endpoint(7),
        rig::endpoint(8).shard(42).unwrap(),
        rig::responder(&segw),
    );
    pair.initiate(&rig::initiator(&henb).into());
    pair.run_for(SECOND);
    assert_eq!(shard_of_ike(info(&pair.responder).spis.1), 42);
    assert_eq!(shard_of_esp(child(&pair.responder).inbound_spi), 42);
    assert_eq!(shard_of_esp(child(&pair.initiator).inbound_spi), 0);
    assert!(rig::endpoint(8).shard(255).is_err());
}

#[test]
fn many_devices_at_once_each_get_their_own() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(8, rig::responder(&segw));
    let config = rig::initiator(&henb).into();
    for _ in 0..20 {
        pair.initiate(&config);
    }
    pair.run_for(SECOND);
    assert_eq!(pair.responder.established().len(), 20);
    let mut spis: Vec<u32> = pair
        .responder
        .events
        .iter()
        .filter_map(|(_, _, event)| match event {
            Event::ChildInstalled(_, child) => Some(child.inbound_spi),
            _ => None,
        })
        .collect();
    spis.sort_unstable();
    spis.dedup();
    assert_eq!(spis.len(), 20);
}
