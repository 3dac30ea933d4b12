//! One IKE SA: the states it passes through, and what the application sees of them.

mod admitted;
mod closing;
mod core;
mod established;
mod initiator;
mod protection;
mod responder;
mod state;
mod verdict;
mod window;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::closing::{Closed, Closing};
use self::core::Core;
use self::established::Established;
use self::initiator::{AuthSent, InitSent};
use self::responder::InitAnswered;
use self::verdict::AwaitVerdict;
use crate::auth::Identification;
use crate::child::ChildHandle;
use crate::config::{EndpointConfig, InitiatorConfig, ResponderConfig};
use crate::endpoint::{EndpointEvent, SaEvent};
use crate::error::{AcceptRefusal, ApiMisuse, InitiateError};
use crate::event::{Event, LostReason, Path, Phase, Role, Transmit, Verdict, Wakeup};
use crate::negotiate::IkeSuite;
use crate::stats::SaStats;
use crate::wire::Header;

/// One IKE SA with one peer.
///
/// Its methods are of four kinds. *Getters* look. *Input* (`handle_*`) and *commands* change;
/// after each of them drain the *output*: [`poll_transmit`](Self::poll_transmit) until None, then
/// [`poll_endpoint_event`](Self::poll_endpoint_event), then [`poll_event`](Self::poll_event), and
/// then ask [`poll_timeout`](Self::poll_timeout) once. When [`is_drained`](Self::is_drained) says
/// so, drop it.
pub struct IkeSa {
    core: Core,
    state: State,
}

/// What is waited for. Each holds just the fields that exist while it is.
enum State {
    InitSent(Box<InitSent>),
    InitAnswered(Box<InitAnswered>),
    AuthSent(Box<AuthSent>),
    AwaitVerdict(Box<AwaitVerdict>),
    Established(Box<Established>),
    Closing(Box<Closing>),
    Closed(Closed),
}

/// SPIs that the endpoint keeps for one IKE SA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved {
    pub(crate) ike_spi: u64,
    pub(crate) child_spi: u32,
}

impl IkeSa {
    pub(crate) fn initiate(
        now: Instant,
        path: Path,
        endpoint: Arc<EndpointConfig>,
        config: Arc<InitiatorConfig>,
        reserved: Reserved,
    ) -> Result<Self, InitiateError> {
        let mut core = Core::initiator(path, endpoint, Arc::clone(&config), reserved);
        let state = InitSent::begin(now, &mut core, config)?;
        Ok(Self {
            core,
            state: State::InitSent(Box::new(state)),
        })
    }

    pub(crate) fn respond(
        now: Instant,
        path: Path,
        header: &Header,
        request: Vec<u8>,
        endpoint: Arc<EndpointConfig>,
        config: Arc<ResponderConfig>,
        reserved: Reserved,
    ) -> Result<Self, AcceptRefusal> {
        let mut core = Core::responder(
            path,
            endpoint,
            Arc::clone(&config),
            reserved,
            header.initiator_spi,
        );
        let state = InitAnswered::begin(now, &mut core, config, request)?;
        Ok(Self {
            core,
            state: State::InitAnswered(Box::new(state)),
        })
    }

    /// Takes a datagram that [`Endpoint::handle_datagram`](crate::Endpoint::handle_datagram) routed
    /// here.
    pub fn handle_event(&mut self, now: Instant, event: SaEvent) {
        self.core.stats.datagrams += 1;
        let state = self.take_state();
        self.state = state.handle_datagram(now, &mut self.core, event);
    }

    /// Does what is due. Calling it early, late or twice is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let state = self.take_state();
        self.state = state.handle_timeout(now, &mut self.core);
    }

    /// Answers [`Event::PeerPresented`].
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NoVerdictAwaited`] if the peer was decided on already, or is gone.
    pub fn admit(&mut self, now: Instant, verdict: Verdict) -> Result<(), ApiMisuse> {
        match self.take_state() {
            State::AwaitVerdict(awaiting) => {
                self.state = awaiting.decide(now, &mut self.core, verdict);
                Ok(())
            }
            other => {
                self.state = other;
                Err(ApiMisuse::NoVerdictAwaited)
            }
        }
    }

    /// Deletes a child SA, with a Delete to the peer. [`Event::ChildRemoved`] follows at once.
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::NotEstablished`], [`ApiMisuse::NoSuchChild`].
    pub fn delete_child(&mut self, now: Instant, child: ChildHandle) -> Result<(), ApiMisuse> {
        match &mut self.state {
            State::Established(established) => established.delete_child(now, &mut self.core, child),
            _ => Err(ApiMisuse::NotEstablished),
        }
    }

    /// Asks now whether the peer is there, whatever came lately (RFC 7296 §2.4). Does nothing
    /// unless the IKE SA is established and no request of ours is open.
    pub fn probe(&mut self, now: Instant) {
        if let State::Established(established) = &mut self.state {
            established.probe(now, &mut self.core);
        }
    }

    /// Says that authenticated traffic (ESP) came from the peer, which proves that it is there.
    pub fn note_inbound(&mut self, now: Instant) {
        if let State::Established(established) = &mut self.state {
            established.note_inbound(now);
        }
    }

    /// Ends the IKE SA. An established one removes its child SAs at once and sends a Delete;
    /// [`Event::Lost`] comes when that is answered, or after a few tries.
    pub fn close(&mut self, now: Instant) {
        let state = self.take_state();
        self.state = state.close(now, &mut self.core);
    }

    /// Ends the IKE SA without a word to the peer: it has forgotten it (INITIAL_CONTACT,
    /// RFC 7296 §2.4).
    pub fn abandon(&mut self, now: Instant) {
        let state = self.take_state();
        self.state = state.lose(now, &mut self.core, LostReason::Abandoned);
    }

    /// The next datagram to send; its octets are put into `buf` from the start. None: no more now.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.core.poll_transmit(now, buf)
    }

    /// The next message for [`Endpoint::handle_event`](crate::Endpoint::handle_event).
    pub fn poll_endpoint_event(&mut self) -> Option<EndpointEvent> {
        self.core.poll_endpoint_event()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.poll_event()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Wakeup> {
        let own = self.state.deadline(&self.core);
        [
            self.core.window.deadline(),
            self.core.keepalive_deadline(),
            own,
        ]
        .into_iter()
        .flatten()
        .min_by_key(|wakeup| wakeup.at)
    }

    /// Whether nothing will ever come out any more: drop it.
    pub fn is_drained(&self) -> bool {
        matches!(self.state, State::Closed(Closed::Drained)) && self.core.is_silent()
    }

    /// Who began.
    pub fn role(&self) -> Role {
        self.core.role()
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::InitSent(_) | State::InitAnswered(_) => Phase::Initiating,
            State::AuthSent(_) => Phase::Authenticating,
            State::AwaitVerdict(_) => Phase::AwaitingVerdict,
            State::Established(_) => Phase::Established,
            State::Closing(_) => Phase::Closing,
            State::Closed(_) => Phase::Closed,
        }
    }

    /// The initiator's and the responder's IKE SPI; zero if not known yet.
    pub fn spis(&self) -> (u64, u64) {
        self.core.spis()
    }

    /// Where the peer is.
    pub fn path(&self) -> Path {
        self.core.path
    }

    /// The peer's proven identity, once it is admitted.
    pub fn peer(&self) -> Option<&Identification> {
        match &self.state {
            State::Established(established) => Some(established.peer()),
            _ => None,
        }
    }

    /// The negotiated algorithms, once the IKE SA is established.
    pub fn suite(&self) -> Option<&IkeSuite> {
        match &self.state {
            State::Established(established) => Some(established.suite()),
            _ => None,
        }
    }

    /// What was counted.
    pub fn stats(&self) -> SaStats {
        self.core.stats
    }

    /// Leaves a closed state behind: should progress ever fail to yield the next one, the IKE SA
    /// is over and not in some earlier state.
    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Closed(Closed::Drained))
    }
}

impl fmt::Debug for IkeSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (initiator, responder) = self.spis();
        f.debug_struct("IkeSa")
            .field("role", &self.role())
            .field("phase", &self.phase())
            .field("spis", &format_args!("{initiator:016x} {responder:016x}"))
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// A deadline: never now, so that nothing is due again at once, and never beyond what an instant
/// can hold.
fn later(now: Instant, span: Duration) -> Instant {
    now + span.clamp(SHORTEST, LONGEST)
}

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
