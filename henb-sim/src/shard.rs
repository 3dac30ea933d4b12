//! Many devices on one thread: IKE, ESP and deadlines, with no socket and no clock of its own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use esp::PacketBuffer;
use esp::icmp::{Echo, EchoKind};
use ikev2::{
    DatagramEvent, DenyReason, Endpoint, Error, Event, Grant, IkeSa, InitiateError,
    InitiatorConfig, LostReason, NonEspMarker, Path, PeerMisbehaved, SaHandle, Transmit, Verdict,
};
use ledger::CertificateHash;

use crate::staple::StaplePolicy;
use crate::tunnel::Tunnel;

/// Which gateways a device takes for its own.
#[derive(Clone, Debug)]
pub enum GatewayTrust {
    /// Whoever holds the key of any valid certificate with the right identity. For test networks only.
    DangerousAny,
    /// The gateway's certificate is one of these.
    Pinned(HashSet<CertificateHash>),
}

/// Names a device within its shard.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeviceId(usize);

impl DeviceId {
    /// The number of devices that the shard had before this one.
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a device met with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// The IKE SA and its child SA stand.
    Connected {
        /// Which device.
        device: DeviceId,
        /// Its inner address.
        inner: Ipv4Addr,
        /// From the intended start until now.
        handshake: Duration,
    },
    /// It was not let in, or gave up.
    Refused {
        /// Which device.
        device: DeviceId,
        /// Why.
        cause: Cause,
    },
    /// An echo request was answered.
    EchoReply {
        /// Which device.
        device: DeviceId,
        /// The sequence number of the request.
        sequence: u16,
        /// From the request until now.
        round_trip: Duration,
    },
    /// A device that was connected is no longer.
    Closed {
        /// Which device.
        device: DeviceId,
        /// Why.
        cause: Cause,
    },
    /// An inner packet came through the tunnel that is not the answer to one of our echo requests.
    Inner {
        /// Which device.
        device: DeviceId,
        /// The IP packet.
        packet: Vec<u8>,
    },
}

/// Why a device is not connected: a word for counting, and a sentence for reading.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    /// A stable word, such as `AUTHENTICATION_FAILED` or `timeout`.
    pub word: String,
    /// The same at length.
    pub sentence: String,
}

impl Cause {
    pub(crate) fn new(word: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self {
            word: word.into(),
            sentence: sentence.into(),
        }
    }
}

impl From<&LostReason> for Cause {
    fn from(reason: &LostReason) -> Self {
        let word = match reason {
            LostReason::TimedOut { .. } | LostReason::HandshakeTimedOut => "timeout".to_owned(),
            LostReason::PeerDeleted => "deleted-by-gateway".to_owned(),
            LostReason::PeerError(notify) => notify.to_string(),
            LostReason::Denied(_) => "gateway-not-trusted".to_owned(),
            // Out of bounds, so that none was judged.
            LostReason::Failed(Error::PeerMisbehaved(
                PeerMisbehaved::OcspResponseLength(_) | PeerMisbehaved::OcspResponseCount(_),
            )) => "staple-invalid".to_owned(),
            LostReason::Failed(_) => "gateway-failed-to-authenticate".to_owned(),
            LostReason::Expired => "expired".to_owned(),
            LostReason::LocallyClosed | LostReason::Abandoned => "closed".to_owned(),
            _ => "other".to_owned(),
        };
        Self::new(word, reason.to_string())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Takes datagrams that go out: the path, whether the non-ESP marker goes before, the octets.
pub trait Outbox {
    /// Sends one datagram; one that cannot be sent is lost, as on any network.
    fn send(&mut self, path: Path, marker: NonEspMarker, datagram: &[u8]);
}

/// The devices of one thread.
#[derive(Debug)]
pub struct Shard {
    endpoint: Endpoint,
    trust: GatewayTrust,
    staple: Option<Arc<StaplePolicy>>,
    devices: Vec<Device>,
    by_handle: HashMap<SaHandle, DeviceId>,
    by_spi: HashMap<u32, DeviceId>,
    deadlines: BinaryHeap<Reverse<(Instant, DeviceId)>>,
    events: VecDeque<DeviceEvent>,
    ike_buffer: Vec<u8>,
    esp_buffer: PacketBuffer,
}

impl Shard {
    /// A shard without devices, whose IKE SAs are the endpoint's.
    pub fn new(endpoint: Endpoint, trust: GatewayTrust, staple: Option<Arc<StaplePolicy>>) -> Self {
        Self {
            endpoint,
            trust,
            staple,
            devices: Vec::new(),
            by_handle: HashMap::new(),
            by_spi: HashMap::new(),
            deadlines: BinaryHeap::new(),
            events: VecDeque::new(),
            ike_buffer: Vec::with_capacity(2048),
            esp_buffer: PacketBuffer::new(MAX_INNER),
        }
    }

    /// Begins an IKE SA for a device that should have begun at `intended`.
    ///
    /// # Errors
    ///
    /// [`InitiateError`] when the endpoint can make no further IKE SA.
    pub fn connect(
        &mut self,
        now: Instant,
        intended: Instant,
        path: Path,
        config: Arc<InitiatorConfig>,
        out: &mut dyn Outbox,
    ) -> Result<DeviceId, InitiateError> {
        let (handle, sa) = self.endpoint.initiate(now, path, config)?;
        let id = DeviceId(self.devices.len());
        self.devices.push(Device {
            handle,
            state: State::Connecting(Box::new(Connecting {
                sa,
                intended,
                inner: None,
                denied: None,
            })),
            deadline: None,
            echo: None,
        });
        self.by_handle.insert(handle, id);
        self.drain(now, id, out);
        Ok(id)
    }

    /// Takes one IKE message (without the non-ESP marker).
    pub fn handle_ike(&mut self, now: Instant, path: Path, datagram: &[u8], out: &mut dyn Outbox) {
        match self
            .endpoint
            .handle_datagram(now, path, datagram, &mut self.ike_buffer)
        {
            Some(DatagramEvent::Sa(handle, event)) => {
                let Some(&id) = self.by_handle.get(&handle) else {
                    return;
                };
                if let Some(sa) = self
                    .devices
                    .get_mut(id.0)
                    .and_then(|device| device.state.sa())
                {
                    sa.handle_event(now, event);
                }
                self.drain(now, id, out);
            }
            Some(DatagramEvent::Respond(transmit)) => send(out, transmit, &self.ike_buffer),
            // A HeNB never answers: its endpoint has no responder.
            Some(DatagramEvent::Incoming(incoming)) => self.endpoint.ignore(incoming),
            _ => {}
        }
    }

    /// Takes one ESP packet.
    pub fn handle_esp(&mut self, now: Instant, packet: &mut [u8]) {
        let Some(&id) = esp::peek_spi(packet).and_then(|spi| self.by_spi.get(&spi.get())) else {
            return;
        };
        let Some(device) = self.devices.get_mut(id.0) else {
            return;
        };
        let State::Connected(connected) = &mut device.state else {
            return;
        };
        let Ok(inner) = connected.tunnel.open(packet) else {
            return;
        };
        // A whole answer outside of the handshake proves that the peer lives.
        connected.sa.note_inbound(now);
        if let Ok(reply) = Echo::decode(inner)
            && let Some(request) = &device.echo
            && reply.kind == EchoKind::Reply
            && reply.identifier == request.identifier
            && reply.sequence == request.sequence
            && reply.source == IpAddr::V4(request.target)
        {
            self.events.push_back(DeviceEvent::EchoReply {
                device: id,
                sequence: reply.sequence,
                round_trip: now.saturating_duration_since(request.sent),
            });
            device.echo = None;
            return;
        }
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(DeviceEvent::Inner {
                device: id,
                packet: inner.to_vec(),
            });
        }
    }

    /// Sends an echo request through the device's tunnel. False when it has none.
    pub fn ping(
        &mut self,
        now: Instant,
        id: DeviceId,
        target: Ipv4Addr,
        sequence: u16,
        out: &mut dyn Outbox,
    ) -> bool {
        let Some(device) = self.devices.get_mut(id.0) else {
            return false;
        };
        let State::Connected(connected) = &device.state else {
            return false;
        };
        let [.., high, low] = id.0.to_be_bytes();
        let identifier = u16::from_be_bytes([high, low]);
        let request = Echo::request(
            connected.tunnel.inner().into(),
            target.into(),
            identifier,
            sequence,
            ECHO_PAYLOAD,
        );
        let mut packet = [0; 128];
        let Ok(length) = request.encode(&mut packet) else {
            return false;
        };
        device.echo = Some(EchoSent {
            identifier,
            sequence,
            sent: now,
            target,
        });
        packet
            .get(..length)
            .is_some_and(|packet| self.send_inner(id, packet, out))
    }

    /// Sends an inner IP packet through the device's tunnel. False when it has none, or may not carry it.
    pub fn send_inner(&mut self, id: DeviceId, packet: &[u8], out: &mut dyn Outbox) -> bool {
        let Some(State::Connected(connected)) =
            self.devices.get_mut(id.0).map(|device| &mut device.state)
        else {
            return false;
        };
        let path = connected.tunnel.path();
        match connected.tunnel.seal(packet, &mut self.esp_buffer) {
            Ok(sealed) => {
                out.send(path, NonEspMarker::Absent, sealed);
                true
            }
            Err(_) => false,
        }
    }

    /// Ends the device's IKE SA with a Delete.
    pub fn close(&mut self, now: Instant, id: DeviceId, out: &mut dyn Outbox) {
        if let Some(sa) = self
            .devices
            .get_mut(id.0)
            .and_then(|device| device.state.sa())
        {
            sa.close(now);
            self.drain(now, id, out);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut dyn Outbox) {
        while let Some(&Reverse((at, id))) = self.deadlines.peek() {
            if at > now {
                break;
            }
            self.deadlines.pop();
            let Some(device) = self.devices.get_mut(id.0) else {
                continue;
            };
            // An entry that a later deadline has replaced.
            if device.deadline != Some(at) {
                continue;
            }
            device.deadline = None;
            if let Some(sa) = device.state.sa() {
                sa.handle_timeout(now);
            }
            self.drain(now, id, out);
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// What happened, in order.
    pub fn next_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop_front()
    }

    /// How many IKE SAs are not over.
    pub fn open(&self) -> usize {
        self.by_handle.len()
    }

    /// Everything that the device's IKE SA has to say, after each input.
    fn drain(&mut self, now: Instant, id: DeviceId, out: &mut dyn Outbox) {
        loop {
            let Some(device) = self.devices.get_mut(id.0) else {
                return;
            };
            let handle = device.handle;
            let Some(sa) = device.state.sa() else {
                return;
            };
            while let Some(transmit) = sa.poll_transmit(now, &mut self.ike_buffer) {
                send(out, transmit, &self.ike_buffer);
            }
            if let Some(event) = sa.poll_endpoint_event() {
                self.endpoint.handle_event(handle, event);
                continue;
            }
            if let Some(event) = sa.poll_event() {
                self.handle_sa_event(now, id, event);
                continue;
            }
            break;
        }
        self.schedule(id);
    }

    fn handle_sa_event(&mut self, now: Instant, id: DeviceId, event: Event) {
        let Some(device) = self.devices.get_mut(id.0) else {
            return;
        };
        match event {
            Event::PeerPresented(peer) => {
                let hash = CertificateHash::of(peer.end_entity().as_bytes());
                let trusted = match &self.trust {
                    GatewayTrust::DangerousAny => Ok(()),
                    GatewayTrust::Pinned(pins) if pins.contains(&hash) => Ok(()),
                    GatewayTrust::Pinned(_) => Err(Cause::new(
                        "gateway-not-trusted",
                        format!("the gateway's certificate {hash} is not the one that is pinned"),
                    )),
                };
                let judged = trusted.and_then(|()| {
                    let staple = self.staple.as_ref();
                    staple.map_or(Ok(()), |staple| staple.judge(&peer))
                });
                let verdict = match judged {
                    Ok(()) => Verdict::Admit(Grant::default()),
                    Err(cause) => {
                        let reason = DenyReason::policy(cause.sentence);
                        if let State::Connecting(connecting) = &mut device.state {
                            connecting.denied = Some(cause.word);
                        }
                        Verdict::Deny(reason)
                    }
                };
                if let Some(sa) = device.state.sa() {
                    // The SA has just asked: it waits for nothing else.
                    let _ = sa.admit(now, verdict);
                }
            }
            Event::Established(info) => {
                if let State::Connecting(connecting) = &mut device.state {
                    connecting.inner = info.assigned.map(|lease| lease.address);
                }
            }
            Event::ChildInstalled(_, child) => {
                let State::Connecting(connecting) =
                    std::mem::replace(&mut device.state, State::Over)
                else {
                    return;
                };
                let Connecting {
                    sa,
                    intended,
                    inner,
                    denied: _,
                } = *connecting;
                match Tunnel::new(&child, inner) {
                    Ok(tunnel) => {
                        self.by_spi.insert(child.inbound_spi, id);
                        self.events.push_back(DeviceEvent::Connected {
                            device: id,
                            inner: tunnel.inner(),
                            handshake: now.saturating_duration_since(intended),
                        });
                        device.state = State::Connected(Box::new(Connected {
                            sa,
                            tunnel,
                            spi: child.inbound_spi,
                        }));
                    }
                    Err(error) => {
                        self.refuse(id, Cause::new("child-sa-unusable", error.to_string()));
                        self.leave(now, id, sa);
                    }
                }
            }
            Event::ChildRefused(notify) => {
                if let State::Connecting(connecting) =
                    std::mem::replace(&mut device.state, State::Over)
                {
                    self.refuse(
                        id,
                        Cause::new(
                            notify.to_string(),
                            format!("the child SA was refused: {notify}"),
                        ),
                    );
                    self.leave(now, id, connecting.sa);
                }
            }
            Event::PathChanged(path) => {
                if let State::Connected(connected) = &mut device.state {
                    connected.tunnel.set_path(path);
                }
            }
            Event::Lost(reason) => {
                let mut cause = Cause::from(&reason);
                match std::mem::replace(&mut device.state, State::Over) {
                    State::Connecting(mut connecting) => {
                        if let (LostReason::Denied(_), Some(word)) =
                            (&reason, connecting.denied.take())
                        {
                            cause.word = word;
                        }
                        self.refuse(id, cause);
                        self.leave_quietly(id, connecting.sa);
                    }
                    State::Connected(connected) => {
                        self.by_spi.remove(&connected.spi);
                        self.events
                            .push_back(DeviceEvent::Closed { device: id, cause });
                        self.leave_quietly(id, connected.sa);
                    }
                    State::Leaving(sa) => self.leave_quietly(id, *sa),
                    State::Over => {}
                }
            }
            // The child goes with its IKE SA; `Lost` says why.
            _ => {}
        }
    }

    fn refuse(&mut self, device: DeviceId, cause: Cause) {
        self.events
            .push_back(DeviceEvent::Refused { device, cause });
    }

    /// Says goodbye: the SA's Delete is sent and its answer awaited.
    fn leave(&mut self, now: Instant, id: DeviceId, mut sa: IkeSa) {
        sa.close(now);
        self.leave_quietly(id, sa);
    }

    /// Keeps an SA until it has answered what the peer may still ask.
    fn leave_quietly(&mut self, id: DeviceId, sa: IkeSa) {
        if let Some(device) = self.devices.get_mut(id.0) {
            device.state = State::Leaving(Box::new(sa));
        }
    }

    fn schedule(&mut self, id: DeviceId) {
        let Some(device) = self.devices.get_mut(id.0) else {
            return;
        };
        let Some(sa) = device.state.sa() else {
            return;
        };
        if sa.is_drained() {
            device.state = State::Over;
            device.deadline = None;
            self.by_handle.remove(&device.handle);
            return;
        }
        let next = sa.poll_timeout().map(|wakeup| wakeup.at);
        if let Some(at) = next
            && device.deadline.is_none_or(|scheduled| scheduled != at)
        {
            self.deadlines.push(Reverse((at, id)));
        }
        device.deadline = next;
    }
}

#[derive(Debug)]
struct Device {
    handle: SaHandle,
    state: State,
    deadline: Option<Instant>,
    echo: Option<EchoSent>,
}

#[derive(Debug)]
enum State {
    Connecting(Box<Connecting>),
    Connected(Box<Connected>),
    Leaving(Box<IkeSa>),
    Over,
}

impl State {
    fn sa(&mut self) -> Option<&mut IkeSa> {
        match self {
            Self::Connecting(connecting) => Some(&mut connecting.sa),
            Self::Connected(connected) => Some(&mut connected.sa),
            Self::Leaving(sa) => Some(sa),
            Self::Over => None,
        }
    }
}

#[derive(Debug)]
struct Connecting {
    sa: IkeSa,
    intended: Instant,
    inner: Option<Ipv4Addr>,
    /// The word for why we did not take the gateway for ours.
    denied: Option<String>,
}

#[derive(Debug)]
struct Connected {
    sa: IkeSa,
    tunnel: Tunnel,
    spi: u32,
}

/// The echo request that is on its way.
#[derive(Debug)]
struct EchoSent {
    identifier: u16,
    sequence: u16,
    sent: Instant,
    target: Ipv4Addr,
}

fn send(out: &mut dyn Outbox, transmit: Transmit, buffer: &[u8]) {
    if let Some(datagram) = buffer.get(..transmit.size) {
        out.send(transmit.path, transmit.marker, datagram);
    }
}

/// Events that wait to be taken, before inner packets are dropped.
const MAX_EVENTS: usize = 65_536;

/// The longest inner packet, in octets.
const MAX_INNER: usize = 9_000;

/// What an echo request carries: 56 octets, as `ping` does.
const ECHO_PAYLOAD: &[u8] = b"Ledgate henb-sim: an echo request through the ESP tunnel";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_that_are_out_of_bounds_are_no_failure_of_the_key() {
        for (fault, word) in [
            (PeerMisbehaved::OcspResponseLength(0), "staple-invalid"),
            (PeerMisbehaved::OcspResponseCount(9), "staple-invalid"),
            (
                PeerMisbehaved::NoCertificate,
                "gateway-failed-to-authenticate",
            ),
        ] {
            let cause = Cause::from(&LostReason::Failed(fault.into()));
            assert_eq!(cause.word, word);
        }
    }
}
