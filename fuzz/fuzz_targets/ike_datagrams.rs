//! Two endpoints with live IKE SAs in virtual time, and somebody on the path who injects, alters,
//! replays and cuts datagrams from forged addresses while time passes: no panic, every table within
//! its bound, no IKE SA established that nobody began, and nothing left half open in the end.
//!
//! The input is a list of operations, one octet each and then its operands; octets that are missing
//! are zero.
#![no_main]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ikev2::{
    Admission, ChildConfig, EndpointConfig, Event, InitiatorConfig, Lifetimes, Limits, OcspRequest,
    OcspStaple, Path, ResponderConfig, RetransmitPolicy, SaHandle, StapledCredential,
    TrafficSelector, UnixTime,
};
use libfuzzer_sys::fuzz_target;
use testkit::{Admit, Device, Impairment, KeyKind, Pair, Side, SideName, rig};

const LIMITS: Limits = Limits {
    half_open: 4,
    half_open_lifetime: Duration::from_secs(5),
    open: 8,
    datagram: 4096,
    stray_answers_per_second: 3,
};
const OPERATIONS: usize = 64;
/// What both staple to their certificates, and ask the other for (RFC 4806).
const STAPLE: &[u8] = b"an OCSP response";
/// More IKE SAs than the responder may hold.
const INITIATIONS: usize = 10;

/// Made once: the seeded random sources are never given back.
struct Rig {
    endpoints: [EndpointConfig; 2],
    initiator: Arc<InitiatorConfig>,
    responder: ResponderConfig,
}

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    // Ed25519: signatures are the same each time.
    let credential = |name| {
        let credential = StapledCredential::new(Device::new(name, KeyKind::Ed25519).credential());
        let tomorrow = UnixTime::from_secs(rig::TODAY.as_secs() + 86_400);
        credential.replace(OcspStaple::new(STAPLE.to_vec(), tomorrow).ok());
        Arc::new(credential)
    };
    let any = || vec![TrafficSelector::any_ipv4()];
    let initiator = ChildConfig::new(any(), any())
        .and_then(|child| InitiatorConfig::new(credential("henb.example"), rig::verifier(), child))
        .expect("a configuration");
    let responder = ChildConfig::new(any(), Vec::new())
        .and_then(|child| ResponderConfig::new(credential("segw.example"), rig::verifier(), child))
        .expect("a configuration");
    let retransmit = RetransmitPolicy {
        initial: Duration::from_millis(500),
        transmissions: 4,
        jitter_percent: 0,
        ..RetransmitPolicy::default()
    };
    let lifetimes = Lifetimes {
        liveness: Some(Duration::from_secs(20)),
        linger: Duration::from_secs(2),
        ..Lifetimes::default()
    };
    Rig {
        endpoints: [1, 2].map(|seed| rig::endpoint(seed).limits(LIMITS)),
        initiator: Arc::new(
            initiator
                .request_address(true)
                .request_ocsp(OcspRequest::naming([[7; 20]]))
                .admission(Admission::ByApplication {
                    within: Duration::from_secs(10),
                })
                .retransmit(retransmit)
                .lifetimes(lifetimes),
        ),
        responder: responder
            .request_ocsp(OcspRequest::any_responder())
            .cookie_threshold(2)
            .retransmit(retransmit)
            .lifetimes(lifetimes),
    }
});

fuzz_target!(|octets: &[u8]| {
    let mut input = Input(octets);
    let [first, second] = RIG.endpoints.clone();
    let mut pair = rig::pair_with(1, first, second, RIG.responder.clone());
    let mut begun = 0;
    for _ in 0..OPERATIONS {
        if input.0.is_empty() {
            break;
        }
        operate(&mut input, &mut pair, &mut begun);
        check(&pair, begun);
    }
    pair.network.impair(Impairment::default());
    pair.responder.admit = Admit::All;
    pair.run_for(Duration::from_secs(60));
    check(&pair, begun);
    for side in [&pair.initiator, &pair.responder] {
        assert_eq!(side.endpoint.half_open(), 0);
        // What is left stands, and says so.
        let standing: HashSet<SaHandle> = side.established().into_iter().collect();
        assert!(side.sas.keys().all(|handle| standing.contains(handle)));
    }
});

fn operate(input: &mut Input<'_>, pair: &mut Pair, begun: &mut usize) {
    match input.octet() % 10 {
        0 if *begun < INITIATIONS && pair.initiator.endpoint.open() < LIMITS.open => {
            *begun += 1;
            pair.initiate(&RIG.initiator);
        }
        0 | 1 => pair.run_for(Duration::from_millis(u64::from(input.octet()) * 4)),
        2 => pair.run_for(Duration::from_secs(input.octet().into())),
        // The machine slept: everything is due at once.
        3 => {
            pair.sleep(Duration::from_secs(u64::from(input.octet()) * 16));
            pair.run_for(Duration::ZERO);
        }
        4 => {
            let (to, path) = (input.side(), input.path(pair));
            let length = usize::from(input.octet());
            let octets = input.take(length).to_vec();
            pair.inject(to, path, &octets);
        }
        // Something that was sent, perhaps altered, perhaps to whom it was not meant for.
        5 | 6 => {
            let (to, path) = (input.side(), input.path(pair));
            let at = usize::from(input.octet());
            let sent = pair.traffic.len();
            let Some(recorded) = at.checked_rem(sent).and_then(|at| pair.traffic.get(at)) else {
                return;
            };
            let mut octets = recorded.octets.clone();
            alter(input, &mut octets);
            pair.inject(to, path, &octets);
        }
        7 => {
            let name = input.side();
            let which = usize::from(input.octet());
            let what = input.octet();
            let side = match name {
                SideName::Initiator => &pair.initiator,
                SideName::Responder => &pair.responder,
            };
            let Some(handle) = which
                .checked_rem(side.sas.len())
                .and_then(|at| side.sas.keys().nth(at).copied())
            else {
                return;
            };
            let child = side
                .events
                .iter()
                .rev()
                .find_map(|(_, of, event)| match event {
                    Event::ChildInstalled(child, _) if *of == handle => Some(*child),
                    _ => None,
                });
            pair.with(name, handle, |sa, now| match (what % 5, child) {
                (0, _) => sa.close(now),
                (1, _) => sa.abandon(now),
                (2, Some(child)) => drop(sa.delete_child(now, child)),
                (3, _) => sa.note_inbound(now),
                _ => sa.probe(now),
            });
        }
        8 => {
            pair.responder.admit = match input.octet() % 2 {
                0 => Admit::All,
                _ => Admit::Never,
            };
        }
        _ => pair.network.impair(Impairment {
            loss: u32::from(input.octet()) % 60,
            duplication: u32::from(input.octet()) % 60,
            jitter: Duration::from_millis(input.octet().into()),
            ..Impairment::default()
        }),
    }
}

/// Changes single octets, then the length, with or without the length field of the header.
fn alter(input: &mut Input<'_>, octets: &mut Vec<u8>) {
    for _ in 0..input.octet() % 4 {
        let at = usize::from(u16::from_be_bytes([input.octet(), input.octet()]));
        let change = input.octet();
        if let Some(octet) = at
            .checked_rem(octets.len())
            .and_then(|at| octets.get_mut(at))
        {
            *octet ^= change;
        }
    }
    match input.octet() % 8 {
        0 => octets.truncate(usize::from(input.octet())),
        1 => octets.extend_from_slice(&[input.octet(); 9]),
        2 => octets.resize(LIMITS.datagram + usize::from(input.octet()), 0),
        _ => return,
    }
    let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
    if input.octet() % 2 == 0
        && let Some(field) = octets.get_mut(24..28)
    {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

fn check(pair: &Pair, begun: usize) {
    for side in [&pair.initiator, &pair.responder] {
        assert!(side.endpoint.half_open() <= LIMITS.half_open);
        assert!(side.endpoint.open() <= LIMITS.open);
        assert_eq!(side.endpoint.open(), side.sas.len());
        assert!(established(side) <= begun);
        let mut lost = HashSet::new();
        let mut children = HashSet::new();
        for (_, handle, event) in &side.events {
            assert!(!lost.contains(handle), "an event after the end");
            match event {
                Event::Lost(_) => assert!(lost.insert(*handle)),
                // Nobody on the path can alter it, or take it away.
                Event::PeerPresented(peer) => assert!(peer.stapled_ocsp().eq([STAPLE])),
                Event::ChildInstalled(child, sa) => {
                    assert!(children.insert((*handle, *child)));
                    // A lease is a single address, whatever was asked for.
                    let peer = match std::ptr::eq(side, &pair.responder) {
                        true => &sa.remote_selectors,
                        false => &sa.local_selectors,
                    };
                    assert!(peer.iter().all(is_one_host));
                }
                Event::ChildRemoved(child, _) => assert!(children.remove(&(*handle, *child))),
                _ => {}
            }
        }
        assert!(children.iter().all(|(handle, _)| !lost.contains(handle)));
    }
}

fn established(side: &Side) -> usize {
    side.count(|event| matches!(event, Event::Established(_)))
}

fn is_one_host(selector: &TrafficSelector) -> bool {
    selector.addresses.0 == selector.addresses.1
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn side(&mut self) -> SideName {
        match self.octet() % 2 {
            0 => SideName::Responder,
            _ => SideName::Initiator,
        }
    }

    /// As the responder sees it, or turned round; sometimes from a stranger or on other ports.
    fn path(&mut self, pair: &Pair) -> Path {
        let choice = self.octet();
        let name = match choice & 1 {
            0 => SideName::Responder,
            _ => SideName::Initiator,
        };
        let mut path = pair.path(name);
        if choice & 2 != 0 {
            path.local.set_port(4500);
            path.remote.set_port(4500);
        }
        if choice & 4 != 0 {
            path.remote = SocketAddr::from(([198, 51, 100, choice >> 4], 500));
        }
        path
    }
}
