use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ikev2::auth::FixedTime;
use ikev2::crypto::test_provider::test_provider;
use ikev2::wire::{ExchangeType, Header};
use ikev2::{
    ChildConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Grant, IkeSa, InitiatorConfig,
    Lease, NonEspMarker, Path, ProfileVerifier, ResponderConfig, SaHandle, TrafficSelector,
    Transmit, UnixTime, Verdict,
};

use crate::net::{Impairment, Network};
use crate::pki::Device;

/// One of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SideName {
    /// The one that usually begins.
    Initiator,
    /// The one that usually answers.
    Responder,
}

/// What a side does when a peer is presented.
#[derive(Clone, Debug)]
pub enum Admit {
    /// Lets everybody in; a peer that asks for an address gets the next one of 10.88.0.0/16.
    All,
    /// Leaves the verdict to the test.
    Never,
}

/// A datagram that was sent, whether it arrived or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// Since the start.
    pub at: Duration,
    /// Who sent it.
    pub from: SideName,
    /// What it is; None for the one-octet NAT keepalive.
    pub kind: Option<(ExchangeType, bool, u32)>,
    /// Its length in octets, without marker.
    pub size: usize,
    /// Whether the marker goes before it.
    pub marker: bool,
    /// The addresses as the sender sees them.
    pub path: Path,
    /// What it holds.
    pub octets: Vec<u8>,
}

impl Recorded {
    /// For ladders: `-> IKE_AUTH 1` is a request of the initiating side, `<- IKE_AUTH 1 answer` its
    /// answer.
    pub fn rung(&self) -> String {
        let arrow = match self.from {
            SideName::Initiator => "->",
            SideName::Responder => "<-",
        };
        match self.kind {
            Some((exchange, true, id)) => format!("{arrow} {exchange} {id} answer"),
            Some((exchange, false, id)) => format!("{arrow} {exchange} {id}"),
            None => format!("{arrow} keepalive"),
        }
    }
}

/// One endpoint with its IKE SAs, and what they said.
#[derive(Debug)]
pub struct Side {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its IKE SAs that are not drained.
    pub sas: BTreeMap<SaHandle, IkeSa>,
    /// All events, in order. `PeerPresented` is among them.
    pub events: Vec<(Duration, SaHandle, Event)>,
    /// What to do with presented peers.
    pub admit: Admit,
    /// Why first messages were not accepted.
    pub refusals: Vec<String>,
    address: IpAddr,
    leases: u8,
}

impl Side {
    /// The IKE SAs that are established.
    pub fn established(&self) -> Vec<SaHandle> {
        self.events
            .iter()
            .filter(|(_, handle, event)| {
                matches!(event, Event::Established(_)) && self.sas.contains_key(handle)
            })
            .map(|(_, handle, _)| *handle)
            .collect()
    }

    /// The only IKE SA. Panics if there is another number of them.
    pub fn only(&mut self) -> (SaHandle, &mut IkeSa) {
        assert_eq!(self.sas.len(), 1, "IKE SAs: {:?}", self.sas);
        let (handle, sa) = self.sas.iter_mut().next().expect("one");
        (*handle, sa)
    }

    /// How many events are of a kind.
    pub fn count(&self, of_kind: impl Fn(&Event) -> bool) -> usize {
        self.events
            .iter()
            .filter(|(_, _, event)| of_kind(event))
            .count()
    }

    /// The texts of the reasons why IKE SAs ended.
    pub fn lost(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|(_, _, event)| match event {
                Event::Lost(reason) => Some(reason.to_string()),
                _ => None,
            })
            .collect()
    }
}

/// Two endpoints, a network between them, and one clock.
#[derive(Debug)]
pub struct Pair {
    /// The side that usually begins.
    pub initiator: Side,
    /// The side that usually answers.
    pub responder: Side,
    /// What is between them.
    pub network: Network,
    /// Everything that was sent.
    pub traffic: Vec<Recorded>,
    /// The public address of the NAT before the initiating side, with the port that it maps 4500 to.
    pub nat: Option<SocketAddr>,
    /// Drop what this says is to be dropped, before the network sees it.
    pub filter: Option<fn(&Recorded) -> bool>,
    start: Instant,
    now: Instant,
    buf: Vec<u8>,
}

impl Pair {
    /// Two endpoints with a network that only delays.
    pub fn new(initiator: Endpoint, responder: Endpoint, seed: u64) -> Self {
        let side = |endpoint, last| Side {
            endpoint,
            sas: BTreeMap::new(),
            events: Vec::new(),
            admit: Admit::All,
            refusals: Vec::new(),
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
            leases: 0,
        };
        let start = Instant::now();
        Self {
            initiator: side(initiator, 1),
            responder: side(responder, 2),
            network: Network::new(Impairment::default(), seed),
            traffic: Vec::new(),
            nat: None,
            filter: None,
            start,
            now: start,
            buf: Vec::new(),
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// The path from a side to the other, on port 500.
    pub fn path(&self, from: SideName) -> Path {
        let (local, remote) = match from {
            SideName::Initiator => (self.initiator.address, self.responder.address),
            SideName::Responder => (self.responder.address, self.initiator.address),
        };
        Path {
            local: SocketAddr::new(local, 500),
            remote: SocketAddr::new(remote, 500),
        }
    }

    /// Begins an IKE SA from the initiating side.
    pub fn initiate(&mut self, config: &Arc<InitiatorConfig>) -> SaHandle {
        let path = self.path(SideName::Initiator);
        let (handle, sa) = self
            .initiator
            .endpoint
            .initiate(self.now, path, Arc::clone(config))
            .expect("an IKE SA");
        self.initiator.sas.insert(handle, sa);
        self.drain(SideName::Initiator, handle);
        handle
    }

    /// Does something to an IKE SA, and drains it.
    pub fn with<T>(
        &mut self,
        side: SideName,
        handle: SaHandle,
        act: impl FnOnce(&mut IkeSa, Instant) -> T,
    ) -> T {
        let now = self.now;
        let sa = self.side(side).sas.get_mut(&handle).expect("an IKE SA");
        let out = act(sa, now);
        self.drain(side, handle);
        out
    }

    /// Hands a datagram to a side as if it had just come.
    pub fn inject(&mut self, to: SideName, path: Path, octets: &[u8]) {
        let now = self.now;
        let mut buf = std::mem::take(&mut self.buf);
        let side = self.side(to);
        let event = side.endpoint.handle_datagram(now, path, octets, &mut buf);
        match event {
            None => {}
            Some(DatagramEvent::Respond(transmit)) => self.send(to, &transmit, &buf),
            Some(DatagramEvent::Sa(handle, event)) => {
                if let Some(sa) = side.sas.get_mut(&handle) {
                    sa.handle_event(now, event);
                    self.drain(to, handle);
                }
            }
            Some(DatagramEvent::Incoming(incoming)) => {
                match side.endpoint.accept(now, incoming, &mut buf) {
                    Ok((handle, sa)) => {
                        side.sas.insert(handle, sa);
                        self.drain(to, handle);
                    }
                    Err(refused) => {
                        side.refusals.push(refused.to_string());
                        if let Some(transmit) = refused.response {
                            self.send(to, &transmit, &buf);
                        }
                    }
                }
            }
        }
        self.buf = buf;
    }

    /// Lets time pass, and everything happen that is due.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        let mut steps = 0_u32;
        while let Some(at) = self.next_at().filter(|at| *at <= end) {
            steps += 1;
            assert!(steps < 1_000_000, "the pair does not come to rest");
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
    }

    /// Lets the next thing happen. False: nothing ever will.
    pub fn run_once(&mut self) -> bool {
        let Some(at) = self.next_at() else {
            return false;
        };
        self.now = self.now.max(at);
        self.step();
        true
    }

    /// Moves time on without anything happening, as if the machine had slept.
    pub fn sleep(&mut self, span: Duration) {
        self.now += span;
    }

    /// The rungs of everything that was sent.
    pub fn ladder(&self) -> Vec<String> {
        self.traffic.iter().map(Recorded::rung).collect()
    }

    /// Asserts what was sent since the last call or the start, in order.
    pub fn assert_ladder(&mut self, rungs: &[&str]) {
        let found = self.ladder();
        assert_eq!(found, rungs, "at {:?}", self.elapsed());
        self.traffic.clear();
    }

    fn side(&mut self, name: SideName) -> &mut Side {
        match name {
            SideName::Initiator => &mut self.initiator,
            SideName::Responder => &mut self.responder,
        }
    }

    fn next_at(&self) -> Option<Instant> {
        let timers = [&self.initiator, &self.responder]
            .into_iter()
            .flat_map(|side| side.sas.values())
            .filter_map(|sa| sa.poll_timeout().map(|wakeup| wakeup.at));
        timers.chain(self.network.next_at()).min()
    }

    fn step(&mut self) {
        for name in [SideName::Initiator, SideName::Responder] {
            let now = self.now;
            let due: Vec<SaHandle> = self
                .side(name)
                .sas
                .iter()
                .filter(|(_, sa)| sa.poll_timeout().is_some_and(|wakeup| wakeup.at <= now))
                .map(|(handle, _)| *handle)
                .collect();
            for handle in due {
                self.with(name, handle, |sa, now| sa.handle_timeout(now));
            }
        }
        while let Some(flight) = self.network.receive(self.now) {
            self.deliver(flight.from, flight.to, &flight.octets);
        }
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, octets: &[u8]) {
        if octets == [0xff] {
            return;
        }
        let inside = self.initiator.address;
        if to.ip() == self.responder.address {
            self.inject(
                SideName::Responder,
                Path {
                    local: to,
                    remote: from,
                },
                octets,
            );
        } else if to.ip() == inside {
            self.inject(
                SideName::Initiator,
                Path {
                    local: to,
                    remote: from,
                },
                octets,
            );
        } else if let Some(public) = self.nat.filter(|public| public.ip() == to.ip()) {
            // A NAT knows only the mappings that it has: other ports lead nowhere.
            let port = match to.port() {
                500 => 500,
                port if port == public.port() => 4500,
                _ => return,
            };
            let local = SocketAddr::new(inside, port);
            self.inject(
                SideName::Initiator,
                Path {
                    local,
                    remote: from,
                },
                octets,
            );
        }
    }

    fn drain(&mut self, name: SideName, handle: SaHandle) {
        let now = self.now;
        let elapsed = self.elapsed();
        let mut buf = Vec::new();
        loop {
            let side = self.side(name);
            let Some(sa) = side.sas.get_mut(&handle) else {
                return;
            };
            let mut sent = Vec::new();
            while let Some(transmit) = sa.poll_transmit(now, &mut buf) {
                assert_eq!(transmit.size, buf.len());
                sent.push((transmit, buf.clone()));
            }
            while let Some(event) = sa.poll_endpoint_event() {
                side.endpoint.handle_event(handle, event);
            }
            let mut again = false;
            while let Some(event) = sa.poll_event() {
                if let (Event::PeerPresented(peer), Admit::All) = (&event, &side.admit) {
                    let mut grant = Grant::default();
                    if peer.requests_address() {
                        side.leases += 1;
                        grant = Grant::with_lease(Lease {
                            address: Ipv4Addr::new(10, 88, 0, side.leases),
                            netmask: Some(Ipv4Addr::new(255, 255, 0, 0)),
                            dns: vec![Ipv4Addr::new(10, 88, 255, 53)],
                        });
                    }
                    sa.admit(now, Verdict::Admit(grant))
                        .expect("a verdict is awaited");
                    again = true;
                }
                side.events.push((elapsed, handle, event));
            }
            if sa.is_drained() {
                side.sas.remove(&handle);
            } else if let Some(wakeup) = sa.poll_timeout() {
                assert!(
                    wakeup.at > now || again,
                    "{name:?}: woken in the past: {wakeup:?}"
                );
            }
            for (transmit, octets) in sent {
                self.send(name, &transmit, &octets);
            }
            if !again {
                return;
            }
        }
    }

    fn send(&mut self, from: SideName, transmit: &Transmit, octets: &[u8]) {
        let octets = &octets[..transmit.size];
        let kind = Header::peek(octets)
            .ok()
            .map(|header| (header.exchange, header.flags.response, header.message_id));
        let recorded = Recorded {
            at: self.elapsed(),
            from,
            kind,
            size: transmit.size,
            marker: transmit.marker == NonEspMarker::Present,
            path: transmit.path,
            octets: octets.to_vec(),
        };
        let dropped = self.filter.is_some_and(|filter| filter(&recorded));
        self.traffic.push(recorded);
        if dropped {
            return;
        }
        let mut source = transmit.path.local;
        if let (SideName::Initiator, Some(public)) = (from, self.nat) {
            source = match source.port() {
                4500 => public,
                port => SocketAddr::new(public.ip(), port),
            };
        }
        self.network
            .send(self.now, source, transmit.path.remote, octets);
    }
}

/// Configurations that fit each other, to be changed as a test needs.
pub mod rig {
    use super::{
        Arc, ChildConfig, Device, Endpoint, EndpointConfig, FixedTime, InitiatorConfig, Pair,
        ProfileVerifier, ResponderConfig, TrafficSelector, UnixTime, test_provider,
    };

    /// The wall time in tests: 2026-08-01.
    pub const TODAY: UnixTime = UnixTime::from_secs(1_785_542_400);

    /// A provider with seeded random octets, and a clock that stands still.
    pub fn endpoint(seed: u64) -> EndpointConfig {
        EndpointConfig::new(Arc::new(test_provider(seed)), Arc::new(FixedTime(TODAY)))
    }

    /// A verifier without trust anchors.
    pub fn verifier() -> Arc<ProfileVerifier> {
        Arc::new(ProfileVerifier::new(test_provider(0)))
    }

    /// An initiator that asks for an address and offers everything.
    pub fn initiator(device: &Device) -> InitiatorConfig {
        let any = vec![TrafficSelector::any_ipv4()];
        let child = ChildConfig::new(any.clone(), any).expect("selectors");
        InitiatorConfig::new(device.credential(), verifier(), child)
            .expect("a configuration")
            .request_address(true)
    }

    /// A responder that serves everything behind it to peers with a lease.
    pub fn responder(device: &Device) -> ResponderConfig {
        let child =
            ChildConfig::new(vec![TrafficSelector::any_ipv4()], Vec::new()).expect("selectors");
        ResponderConfig::new(device.credential(), verifier(), child).expect("a configuration")
    }

    /// Two endpoints, the second of which answers.
    pub fn pair(seed: u64, responder: ResponderConfig) -> Pair {
        pair_with(seed, endpoint(seed), endpoint(!seed), responder)
    }

    /// The same with endpoint configurations of one's own.
    pub fn pair_with(
        seed: u64,
        first: EndpointConfig,
        second: EndpointConfig,
        responder: ResponderConfig,
    ) -> Pair {
        Pair::new(
            Endpoint::new(Arc::new(first), None),
            Endpoint::new(Arc::new(second), Some(Arc::new(responder))),
            seed,
        )
    }
}
