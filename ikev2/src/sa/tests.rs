//! Messages that are authentic and wrong, which only somebody inside can make: RFC 7296 §2.5,
//! §2.21, and what is answered to exchanges that are not spoken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};

use super::{IkeSa, State};
use crate::auth::{FixedTime, Identification, Pkcs8Credential, ProfileVerifier, UnixTime};
use crate::config::{Admission, ChildConfig, EndpointConfig, InitiatorConfig, ResponderConfig};
use crate::crypto::test_provider::test_provider;
use crate::endpoint::{DatagramEvent, Endpoint};
use crate::event::{Event, Path, Phase};
use crate::wire::{
    DeletePayload, ExchangeType, Form, GroupId, KePayload, Message, NotifyPayload, NotifyType,
    Payload, PayloadType, SaPayload, TrafficSelector, TsPayload,
};

/// Two ends of an established IKE SA, wired together.
struct Ends {
    now: Instant,
    a: IkeSa,
    b: IkeSa,
    b_endpoint: Endpoint,
}

/// What came back for a request: notifies and SPIs of Delete payloads.
#[derive(Debug, Eq, PartialEq)]
struct Answer {
    notifies: Vec<(NotifyType, Vec<u8>)>,
    deleted: Vec<u32>,
}

fn path(local: u8, remote: u8) -> Path {
    let at = |last| ([192, 0, 2, last], 500).into();
    Path {
        local: at(local),
        remote: at(remote),
    }
}

fn credential(name: &str) -> Arc<Pkcs8Credential> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let chain = vec![certificate.der().to_vec()];
    Arc::new(
        Pkcs8Credential::from_der(chain, &key.serialize_der(), Identification::fqdn(name)).unwrap(),
    )
}

impl Ends {
    /// Carries messages until the IKE SA stands.
    fn new(seed: u64) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some instant to count from"
        )]
        let now = Instant::now();
        let mut ends = Self::begun(seed, now);
        assert_eq!(ends.a_phase(), Phase::Initiating);
        let mut buf = Vec::new();
        let mut a_endpoint = Endpoint::new(endpoint(seed), None);
        for _ in 0..2 {
            while let Some(transmit) = ends.b.poll_transmit(now, &mut buf) {
                let octets = buf[..transmit.size].to_vec();
                // The demultiplexing is the other endpoint's; only the routing is skipped here.
                let header = Message::decode(&octets).unwrap().header;
                assert!(
                    a_endpoint
                        .handle_datagram(now, path(1, 2), &[], &mut buf)
                        .is_none()
                );
                ends.a.handle_event(
                    now,
                    crate::endpoint::SaEvent {
                        path: path(1, 2),
                        header,
                        octets,
                    },
                );
            }
            while let Some(transmit) = ends.a.poll_transmit(now, &mut buf) {
                ends.deliver(buf[..transmit.size].to_vec());
            }
        }
        assert_eq!(
            (ends.a_phase(), ends.b.phase()),
            (Phase::Established, Phase::Established)
        );
        while ends.b.poll_event().is_some() {}
        ends
    }

    fn begun(seed: u64, now: Instant) -> Self {
        let any = || vec![TrafficSelector::any_ipv4()];
        let child = ChildConfig::new(any(), any()).unwrap();
        let verifier = Arc::new(ProfileVerifier::new(test_provider(0)));
        let initiator =
            InitiatorConfig::new(credential("a.example"), verifier.clone(), child.clone()).unwrap();
        let responder = ResponderConfig::new(credential("b.example"), verifier, child)
            .unwrap()
            .admission(Admission::Immediate);
        let mut a_endpoint = Endpoint::new(endpoint(seed), None);
        let mut b_endpoint = Endpoint::new(endpoint(!seed), Some(Arc::new(responder)));
        let (_, mut a) = a_endpoint
            .initiate(now, path(1, 2), Arc::new(initiator))
            .unwrap();
        let mut buf = Vec::new();
        let transmit = a.poll_transmit(now, &mut buf).unwrap();
        let first = buf[..transmit.size].to_vec();
        let Some(DatagramEvent::Incoming(incoming)) =
            b_endpoint.handle_datagram(now, path(2, 1), &first, &mut buf)
        else {
            panic!("not a first message");
        };
        let (_, b) = b_endpoint.accept(now, incoming, &mut buf).unwrap();
        Self {
            now,
            a,
            b,
            b_endpoint,
        }
    }

    fn a_phase(&self) -> Phase {
        self.a.phase()
    }

    fn deliver(&mut self, octets: Vec<u8>) {
        let mut buf = Vec::new();
        match self
            .b_endpoint
            .handle_datagram(self.now, path(2, 1), &octets, &mut buf)
        {
            Some(DatagramEvent::Sa(_, event)) => self.b.handle_event(self.now, event),
            other => panic!("not routed: {other:?}"),
        }
    }

    /// Has A send these payloads as a protected request, whatever the rules say.
    fn request(&mut self, exchange: ExchangeType, payloads: &[Payload<'_>]) -> Option<Answer> {
        let State::Established(state) = &mut self.a.state else {
            panic!("A is not established");
        };
        let core = &mut self.a.core;
        core.request(self.now, state.protection_mut(), exchange, payloads)
            .unwrap();
        let mut buf = Vec::new();
        let transmit = self.a.poll_transmit(self.now, &mut buf).unwrap();
        self.deliver(buf[..transmit.size].to_vec());
        let transmit = self.b.poll_transmit(self.now, &mut buf)?;
        let mut octets = buf[..transmit.size].to_vec();
        let header = Message::decode(&octets).unwrap().header;
        assert!(header.flags.response && header.exchange == exchange);
        let State::Established(state) = &mut self.a.state else {
            panic!("A is not established");
        };
        let opened = state.protection().open(&header, &mut octets).unwrap();
        assert!(matches!(opened.form, Form::Full | Form::NotifyOnly));
        self.a.core.window.complete();
        Some(Answer {
            notifies: opened
                .payloads
                .notifies()
                .map(|n| (n.kind, n.value.to_vec()))
                .collect(),
            deleted: opened
                .payloads
                .deletes()
                .flat_map(|d| d.child_spis())
                .collect(),
        })
    }

    fn lost(&mut self) -> Option<String> {
        std::iter::from_fn(|| self.b.poll_event()).find_map(|event| match event {
            Event::Lost(reason) => Some(reason.to_string()),
            _ => None,
        })
    }
}

fn endpoint(seed: u64) -> Arc<EndpointConfig> {
    let time = FixedTime(UnixTime::from_secs(1_785_542_400));
    Arc::new(EndpointConfig::new(
        Arc::new(test_provider(seed)),
        Arc::new(time),
    ))
}

fn only(kind: NotifyType, value: &[u8]) -> Option<Answer> {
    Some(Answer {
        notifies: vec![(kind, value.to_vec())],
        deleted: Vec::new(),
    })
}

const NOTHING: Answer = Answer {
    notifies: Vec::new(),
    deleted: Vec::new(),
};

#[test]
fn an_unknown_critical_payload_fails_its_request_alone() {
    let mut ends = Ends::new(1);
    let unknown = |critical| Payload::Unknown {
        kind: PayloadType(200),
        critical,
        body: b"what?",
    };
    let answer = ends.request(ExchangeType::INFORMATIONAL, &[unknown(true)]);
    assert_eq!(
        answer,
        only(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[200])
    );
    assert_eq!(ends.b.phase(), Phase::Established);
    // The same without the bit is skipped.
    assert_eq!(
        ends.request(ExchangeType::INFORMATIONAL, &[unknown(false)]),
        Some(NOTHING)
    );
    assert_eq!(ends.lost(), None);
}

#[test]
fn bad_syntax_is_answered_and_ends_the_ike_sa() {
    let mut ends = Ends::new(2);
    // A KE payload has no place in INFORMATIONAL.
    let ke = Payload::Ke(KePayload {
        group: GroupId::X25519,
        value: &[0; 32],
    });
    let answer = ends.request(ExchangeType::INFORMATIONAL, &[ke]);
    assert_eq!(answer, only(NotifyType::INVALID_SYNTAX, &[]));
    assert_eq!(ends.b.phase(), Phase::Closed);
    assert!(
        ends.lost().unwrap().contains("KE payload"),
        "the reason names the payload"
    );
}

#[test]
fn more_child_sas_and_rekeying_are_refused_and_change_nothing() {
    let mut ends = Ends::new(3);
    let proposals =
        crate::negotiate::offer_esp(&[crate::negotiate::EspProposal::default()], &[1, 2, 3, 4]);
    let ts = || TsPayload::new(vec![TrafficSelector::any_ipv4()]);
    let child = [
        Payload::Sa(proposals),
        Payload::Nonce(&[9; 32]),
        Payload::TsI(ts()),
        Payload::TsR(ts()),
    ];
    let answer = ends.request(ExchangeType::CREATE_CHILD_SA, &child);
    assert_eq!(answer, only(NotifyType::NO_ADDITIONAL_SAS, &[]));
    let ike: SaPayload<'_> =
        crate::negotiate::offer_esp(&[crate::negotiate::EspProposal::default()], &[1, 2, 3, 4]);
    let rekey = [
        Payload::Sa(ike),
        Payload::Nonce(&[9; 32]),
        Payload::Ke(KePayload {
            group: GroupId::X25519,
            value: &[9; 32],
        }),
    ];
    let answer = ends.request(ExchangeType::CREATE_CHILD_SA, &rekey);
    assert_eq!(answer, only(NotifyType::NO_ADDITIONAL_SAS, &[]));
    assert_eq!(ends.b.phase(), Phase::Established);
}

#[test]
fn an_exchange_that_is_out_of_place_ends_the_ike_sa() {
    let mut ends = Ends::new(4);
    let answer = ends.request(ExchangeType::IKE_AUTH, &[]);
    assert_eq!(answer, only(NotifyType::INVALID_SYNTAX, &[]));
    assert_eq!(ends.b.phase(), Phase::Closed);
}

#[test]
fn deletes_of_unknown_child_sas_are_answered_with_nothing() {
    let mut ends = Ends::new(5);
    let spis = [0xdead_beef_u32.to_be_bytes(), 7_u32.to_be_bytes()].concat();
    let answer = ends.request(
        ExchangeType::INFORMATIONAL,
        &[Payload::Delete(DeletePayload::esp(&spis))],
    );
    assert_eq!(answer, Some(NOTHING));
    assert_eq!(ends.lost(), None);
    let own = ends.a.core.child_spi.to_be_bytes();
    let answer = ends
        .request(
            ExchangeType::INFORMATIONAL,
            &[Payload::Delete(DeletePayload::esp(&own))],
        )
        .unwrap();
    assert_eq!(answer.deleted, [ends.b.core.child_spi]);
    assert_eq!(ends.b.phase(), Phase::Established);
}

#[test]
fn status_notifies_that_nobody_knows_are_ignored() {
    let mut ends = Ends::new(6);
    let odd = Payload::Notify(NotifyPayload::new(NotifyType(40_000), b"hello"));
    let mobike = Payload::Notify(NotifyPayload::new(NotifyType::UPDATE_SA_ADDRESSES, &[]));
    assert_eq!(
        ends.request(ExchangeType::INFORMATIONAL, &[odd, mobike]),
        Some(NOTHING)
    );
    assert_eq!(ends.lost(), None);
}

#[test]
fn both_sides_speak_with_the_same_ike_sa_for_long() {
    let mut ends = Ends::new(7);
    for _ in 0..1000 {
        assert_eq!(
            ends.request(ExchangeType::INFORMATIONAL, &[]),
            Some(NOTHING)
        );
    }
}

#[test]
fn debug_output_holds_no_keys() {
    let ends = Ends::new(8);
    let text = format!("{:?}", ends.b);
    assert!(text.contains("Established") && text.len() < 300, "{text}");
}

#[test]
fn an_idle_ike_sa_is_small() {
    // The frame; keys and identity are on the heap. A few KiB in all is what a gateway with a
    // hundred thousand peers can afford.
    assert!(size_of::<IkeSa>() <= 600, "{}", size_of::<IkeSa>());
}

#[test]
fn a_first_message_that_came_twice_makes_one_ike_sa() {
    let mut ends = Ends::new(9);
    let any = || vec![TrafficSelector::any_ipv4()];
    let verifier = Arc::new(ProfileVerifier::new(test_provider(0)));
    let child = ChildConfig::new(any(), any()).unwrap();
    let config = InitiatorConfig::new(credential("a.example"), verifier, child).unwrap();
    let (_, mut another) = Endpoint::new(endpoint(10), None)
        .initiate(ends.now, path(1, 2), Arc::new(config))
        .unwrap();
    let mut buf = Vec::new();
    let transmit = another.poll_transmit(ends.now, &mut buf).unwrap();
    let first = buf[..transmit.size].to_vec();
    let mut come = || {
        let event = ends
            .b_endpoint
            .handle_datagram(ends.now, path(2, 1), &first, &mut buf);
        let Some(DatagramEvent::Incoming(incoming)) = event else {
            panic!("not a first message");
        };
        incoming
    };
    // The application took its time to accept.
    let (one, two) = (come(), come());
    let before = ends.b_endpoint.open();
    assert!(ends.b_endpoint.accept(ends.now, one, &mut buf).is_ok());
    let refused = ends.b_endpoint.accept(ends.now, two, &mut buf).unwrap_err();
    assert!(refused.response.is_none());
    assert_eq!(ends.b_endpoint.open(), before + 1);
}

#[test]
fn an_old_response_is_forgotten_and_its_request_still_recognised() {
    let mut ends = Ends::new(11);
    assert!(ends.b.core.window.response().is_some());
    let minute = Duration::from_secs(60);
    ends.b.handle_timeout(ends.now + 4 * minute);
    assert!(
        ends.b.core.window.response().is_some(),
        "RFC 7296 §2.1: several minutes"
    );
    ends.b.handle_timeout(ends.now + 6 * minute);
    assert!(ends.b.core.window.response().is_none());
    assert_eq!(ends.b.core.window.last_id(), 1);
}
