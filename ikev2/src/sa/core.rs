use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::protection::Protection;
use super::window::Window;
use super::{Reserved, later};
use crate::config::{EndpointConfig, InitiatorConfig, ResponderConfig, SaConfig};
use crate::crypto::SecureRandom;
use crate::endpoint::{EndpointEvent, EndpointEventKind};
use crate::error::Error;
use crate::event::{Event, NonEspMarker, Path, Role, Transmit, WakeReason, Wakeup};
use crate::exchange::natd::Nat;
use crate::stats::SaStats;
use crate::wire::{ExchangeType, Flags, Header, NotifyPayload, NotifyType, Payload};

/// What an IKE SA has in every state.
pub(super) struct Core {
    pub(super) endpoint: Arc<EndpointConfig>,
    pub(super) config: RoleConfig,
    pub(super) path: Path,
    pub(super) local_spi: u64,
    /// Zero until the peer has told it.
    pub(super) remote_spi: u64,
    /// The ESP SPI that the endpoint keeps for us.
    pub(super) child_spi: u32,
    pub(super) nat: Nat,
    pub(super) window: Window,
    pub(super) stats: SaStats,
    events: VecDeque<Event>,
    endpoint_events: VecDeque<EndpointEvent>,
    keepalive: Keepalive,
}

/// The configuration that goes with the role.
pub(super) enum RoleConfig {
    Initiator(Arc<InitiatorConfig>),
    Responder(Arc<ResponderConfig>),
}

/// The one-octet datagram that keeps a NAT open (RFC 3948 §2.3).
#[derive(Clone, Copy)]
enum Keepalive {
    Off,
    At(Instant),
    Due,
}

impl Core {
    pub(super) fn initiator(
        path: Path,
        endpoint: Arc<EndpointConfig>,
        config: Arc<InitiatorConfig>,
        reserved: Reserved,
    ) -> Self {
        Self::new(path, endpoint, RoleConfig::Initiator(config), reserved, 0)
    }

    pub(super) fn responder(
        path: Path,
        endpoint: Arc<EndpointConfig>,
        config: Arc<ResponderConfig>,
        reserved: Reserved,
        remote_spi: u64,
    ) -> Self {
        Self::new(
            path,
            endpoint,
            RoleConfig::Responder(config),
            reserved,
            remote_spi,
        )
    }

    fn new(
        path: Path,
        endpoint: Arc<EndpointConfig>,
        config: RoleConfig,
        reserved: Reserved,
        remote_spi: u64,
    ) -> Self {
        let window = Window::new(config.common().retransmit);
        Self {
            endpoint,
            config,
            path,
            local_spi: reserved.ike_spi,
            remote_spi,
            child_spi: reserved.child_spi,
            nat: Nat::default(),
            window,
            stats: SaStats::default(),
            events: VecDeque::new(),
            endpoint_events: VecDeque::new(),
            keepalive: Keepalive::Off,
        }
    }

    pub(super) fn common(&self) -> &SaConfig {
        self.config.common()
    }

    pub(super) fn random(&self) -> &'static dyn SecureRandom {
        self.endpoint.provider.random
    }

    pub(super) fn role(&self) -> Role {
        match self.config {
            RoleConfig::Initiator(_) => Role::Initiator,
            RoleConfig::Responder(_) => Role::Responder,
        }
    }

    /// The initiator's and the responder's SPI.
    pub(super) fn spis(&self) -> (u64, u64) {
        match self.role() {
            Role::Initiator => (self.local_spi, self.remote_spi),
            Role::Responder => (self.remote_spi, self.local_spi),
        }
    }

    /// Whether a message with this header can be the peer's: SPIs, and the Initiator flag, which
    /// tells who began the IKE SA (RFC 7296 §3.1).
    pub(super) fn is_from_peer(&self, header: &Header) -> bool {
        let from_initiator = self.role() == Role::Responder;
        let spis = (header.initiator_spi, header.responder_spi);
        let known = if header.exchange == ExchangeType::IKE_SA_INIT {
            // The responder's is zero in a request, and new to the initiator in a response.
            spis.0 == self.spis().0
        } else {
            spis == self.spis()
        };
        header.version.0 == 2 && header.flags.initiator == from_initiator && known
    }

    /// Whether UDP encapsulation is to be used: there is a NAT, or we want it and the peer can.
    pub(super) fn encapsulates(&self) -> bool {
        self.nat.local
            || self.nat.remote
            || (self.nat.known && self.endpoint.force_udp_encapsulation)
    }

    pub(super) fn header(&self, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        let (initiator_spi, responder_spi) = self.spis();
        let flags = Flags {
            initiator: self.role() == Role::Initiator,
            response,
        };
        Header::new(initiator_spi, responder_spi, exchange, flags, message_id)
    }

    /// Begins a protected request. The window must be free.
    pub(super) fn request(
        &mut self,
        now: Instant,
        protection: &mut Protection,
        exchange: ExchangeType,
        payloads: &[Payload<'_>],
    ) -> Result<(), Error> {
        let header = self.header(exchange, false, self.window.next_id());
        let octets = protection.seal(&header, payloads)?;
        self.window.begin(now, exchange, octets, self.random());
        Ok(())
    }

    /// Answers the peer's last request, to where it came from (RFC 7296 §2.11).
    pub(super) fn respond(
        &mut self,
        protection: &mut Protection,
        to: Path,
        exchange: ExchangeType,
        payloads: &[Payload<'_>],
    ) -> Result<(), Error> {
        let header = self.header(exchange, true, self.window.last_id());
        let octets = protection.seal(&header, payloads)?;
        self.window.respond(octets, to);
        Ok(())
    }

    /// Answers the peer's last request with a notify alone. That nothing can be sealed any more is
    /// no reason not to go on: the caller is about to end the IKE SA, or the peer asks again.
    pub(super) fn respond_notify(
        &mut self,
        protection: &mut Protection,
        to: Path,
        exchange: ExchangeType,
        kind: NotifyType,
        value: &[u8],
    ) {
        let notify = Payload::Notify(NotifyPayload::new(kind, value));
        self.respond(protection, to, exchange, &[notify]).ok();
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(super) fn tell_endpoint(&mut self, event: EndpointEventKind) {
        self.endpoint_events.push_back(EndpointEvent(event));
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            // Events are large and rare: an idle IKE SA keeps no room for them.
            self.events = VecDeque::new();
        }
        event
    }

    pub(super) fn poll_endpoint_event(&mut self) -> Option<EndpointEvent> {
        self.endpoint_events.pop_front()
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if let Some((octets, to)) = self.window.poll() {
            buf.clear();
            buf.extend_from_slice(octets);
            let path = to.unwrap_or(self.path);
            if let Keepalive::At(_) = self.keepalive {
                self.start_keepalive(now);
            }
            return Some(Transmit {
                path,
                size: buf.len(),
                marker: self.marker(path),
            });
        }
        if let Keepalive::Due = self.keepalive {
            self.start_keepalive(now);
            buf.clear();
            buf.push(0xff);
            return Some(Transmit {
                path: self.path,
                size: 1,
                marker: NonEspMarker::Absent,
            });
        }
        None
    }

    /// Whether the three `poll_` have nothing.
    pub(super) fn is_silent(&self) -> bool {
        self.window.is_silent() && self.events.is_empty() && self.endpoint_events.is_empty()
    }

    /// Keeps the NAT before us open, if there is one.
    pub(super) fn start_keepalive(&mut self, now: Instant) {
        self.keepalive = match self.common().lifetimes.nat_keepalive {
            Some(interval) if self.nat.local && !interval.is_zero() => {
                Keepalive::At(later(now, interval))
            }
            _ => Keepalive::Off,
        };
    }

    pub(super) fn stop_keepalive(&mut self) {
        self.keepalive = Keepalive::Off;
    }

    pub(super) fn tick_keepalive(&mut self, now: Instant) {
        if let Keepalive::At(at) = self.keepalive
            && at <= now
        {
            self.keepalive = Keepalive::Due;
        }
    }

    pub(super) fn keepalive_deadline(&self) -> Option<Wakeup> {
        match self.keepalive {
            Keepalive::At(at) => Some(Wakeup {
                at,
                reason: WakeReason::NatKeepalive,
            }),
            Keepalive::Off | Keepalive::Due => None,
        }
    }

    /// The ports tell (RFC 7296 §2.23): ours, or on an initiator with one socket the peer's.
    fn marker(&self, path: Path) -> NonEspMarker {
        let to_peer = match &self.config {
            RoleConfig::Initiator(config) => path.remote.port() == config.encapsulation_ports.1,
            RoleConfig::Responder(_) => false,
        };
        if to_peer || path.local.port() == self.endpoint.encapsulation_port {
            NonEspMarker::Present
        } else {
            NonEspMarker::Absent
        }
    }
}

impl RoleConfig {
    pub(super) fn common(&self) -> &SaConfig {
        match self {
            Self::Initiator(config) => &config.common,
            Self::Responder(config) => &config.common,
        }
    }
}
