//! Which state takes what.

use std::time::Instant;

use super::State;
use super::closing::Closed;
use super::core::Core;
use super::protection::{OpenError, Opened, Protection};
use super::window::{Arrival, Tick};
use crate::endpoint::SaEvent;
use crate::error::Error;
use crate::event::{DenyReason, LostReason, Wakeup};
use crate::wire::ExchangeType;

impl State {
    pub(super) fn handle_datagram(self, now: Instant, core: &mut Core, event: SaEvent) -> Self {
        if !core.is_from_peer(&event.header) {
            core.stats.out_of_place += 1;
            return self;
        }
        if event.header.flags.response {
            self.handle_response(now, core, event)
        } else {
            self.handle_request(now, core, event)
        }
    }

    fn handle_response(self, now: Instant, core: &mut Core, event: SaEvent) -> Self {
        let SaEvent {
            path,
            header,
            octets,
        } = event;
        if !core.window.awaits(header.message_id, header.exchange) {
            core.stats.out_of_place += 1;
            return self;
        }
        match self {
            Self::InitSent(state) => state.handle_response(now, core, &octets),
            Self::AuthSent(state) => state.handle_response(now, core, &header, octets),
            Self::Established(state) => state.handle_response(now, core, path, &header, octets),
            Self::Closing(state) => state.handle_response(now, core, &header, octets),
            // These have no request open.
            Self::InitAnswered(_) | Self::AwaitVerdict(_) | Self::Closed(_) => self,
        }
    }

    fn handle_request(self, now: Instant, core: &mut Core, event: SaEvent) -> Self {
        let SaEvent {
            path,
            header,
            mut octets,
        } = event;
        if header.exchange == ExchangeType::IKE_SA_INIT {
            // The endpoint has recognised it by its octets.
            core.stats.retransmits_received += 1;
            core.window.respond_again(path);
            return self;
        }
        let digest = match core.window.arrival(header.message_id, &octets, path) {
            Arrival::Fresh(digest) => digest,
            Arrival::Again => {
                core.stats.retransmits_received += 1;
                return self;
            }
            Arrival::OutOfWindow => {
                core.stats.out_of_place += 1;
                return self;
            }
        };
        let Some(protection) = self.listens(header.exchange) else {
            core.stats.out_of_place += 1;
            return self;
        };
        let opened: Result<Opened<'_>, Error> = match protection.open(&header, &mut octets) {
            Ok(opened) => Ok(opened),
            Err(OpenError::Unauthentic) => {
                core.stats.unauthentic += 1;
                return self;
            }
            Err(OpenError::Wrong(error)) => Err(error),
        };
        match self {
            Self::InitAnswered(state) => {
                let own_init = core.window.response().unwrap_or_default().to_vec();
                core.window.accept(digest);
                state.handle_request(now, core, path, own_init, opened)
            }
            Self::Established(state) => {
                core.window.accept(digest);
                state.handle_request(now, core, path, &header, opened)
            }
            Self::Closing(state) => {
                core.window.accept(digest);
                state.handle_request(now, core, path, &header, opened)
            }
            Self::InitSent(_) | Self::AuthSent(_) | Self::AwaitVerdict(_) | Self::Closed(_) => self,
        }
    }

    /// The protection of a state that takes fresh requests of this exchange. The others swallow
    /// them: the peer asks again.
    fn listens(&self, exchange: ExchangeType) -> Option<&Protection> {
        match self {
            Self::InitAnswered(state) if exchange == ExchangeType::IKE_AUTH => {
                Some(state.protection())
            }
            Self::Established(state) => Some(state.protection()),
            Self::Closing(state) => Some(state.protection()),
            Self::InitSent(_)
            | Self::InitAnswered(_)
            | Self::AuthSent(_)
            | Self::AwaitVerdict(_)
            | Self::Closed(_) => None,
        }
    }

    pub(super) fn handle_timeout(self, now: Instant, core: &mut Core) -> Self {
        core.tick_keepalive(now);
        let random = core.random();
        match core.window.tick(now, random) {
            Tick::Idle => {}
            Tick::Retransmit => core.stats.retransmits_sent += 1,
            Tick::GaveUp(after) => {
                return match self {
                    Self::Closing(closing) => Self::over(now, core, closing.reason()),
                    other => other.lose(now, core, LostReason::TimedOut { after }),
                };
            }
        }
        match self {
            Self::InitSent(state) => match state.expired(now) {
                Some(reason) => Self::over(now, core, reason),
                None => Self::InitSent(state),
            },
            Self::InitAnswered(state) if state.deadline().at <= now => {
                Self::over(now, core, LostReason::HandshakeTimedOut)
            }
            Self::AwaitVerdict(state) if state.deadline().at <= now => {
                state.deny(now, core, LostReason::Denied(DenyReason::Deadline))
            }
            Self::Established(state) => state.handle_timeout(now, core),
            Self::Closed(closed) => Self::Closed(closed.handle_timeout(now, core)),
            Self::InitAnswered(_)
            | Self::AuthSent(_)
            | Self::AwaitVerdict(_)
            | Self::Closing(_) => self,
        }
    }

    pub(super) fn deadline(&self, core: &Core) -> Option<Wakeup> {
        match self {
            Self::InitSent(state) => state.deadline(),
            Self::InitAnswered(state) => Some(state.deadline()),
            Self::AwaitVerdict(state) => Some(state.deadline()),
            Self::Established(state) => state.deadline(core),
            Self::Closed(closed) => closed.deadline(),
            Self::AuthSent(_) | Self::Closing(_) => None,
        }
    }

    pub(super) fn close(self, now: Instant, core: &mut Core) -> Self {
        match self {
            Self::Established(state) => state.close(now, core, LostReason::LocallyClosed),
            Self::AwaitVerdict(state) => state.deny(now, core, LostReason::LocallyClosed),
            Self::InitSent(_) | Self::InitAnswered(_) | Self::AuthSent(_) => {
                Self::over(now, core, LostReason::LocallyClosed)
            }
            Self::Closing(_) | Self::Closed(_) => self,
        }
    }

    /// The end from whichever state, without a goodbye.
    pub(super) fn lose(self, now: Instant, core: &mut Core, reason: LostReason) -> Self {
        match self {
            Self::Closed(closed) => Self::Closed(closed),
            Self::Established(state) => {
                state.remove_children(core);
                Self::over(now, core, reason)
            }
            Self::InitSent(_)
            | Self::InitAnswered(_)
            | Self::AuthSent(_)
            | Self::AwaitVerdict(_)
            | Self::Closing(_) => Self::over(now, core, reason),
        }
    }

    /// Says why it ended, and is over.
    pub(super) fn over(now: Instant, core: &mut Core, reason: LostReason) -> Self {
        Self::Closed(Closed::begin(now, core, reason))
    }
}
