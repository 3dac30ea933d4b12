//! The end of an IKE SA: the goodbye that awaits its answer, and what is left afterwards.

use std::time::Instant;

use super::core::Core;
use super::protection::{OpenError, Opened, Protection};
use super::{State, later};
use crate::endpoint::EndpointEventKind;
use crate::error::Error;
use crate::event::{Event, LostReason, Path, WakeReason, Wakeup};
use crate::wire::{
    DeletePayload, ExchangeType, Header, NotifyPayload, NotifyType, Payload, ProtocolId,
};

/// The peer is told that the IKE SA is over, and its answer is awaited for a few tries.
pub(super) struct Closing {
    protection: Protection,
    goodbye: Goodbye,
    stage: Stage,
    reason: LostReason,
}

enum Goodbye {
    Delete,
    Notify(NotifyType),
}

enum Stage {
    /// An earlier request is open, and the window has room for one.
    BehindAnother,
    Sent,
}

/// Over.
pub(super) enum Closed {
    /// The peer may have lost our last response: it is sent again when asked for.
    Lingering {
        until: Instant,
    },
    Drained,
}

impl Closing {
    pub(super) fn with_delete(
        now: Instant,
        core: &mut Core,
        protection: Protection,
        reason: LostReason,
    ) -> State {
        Self::begin(now, core, protection, Goodbye::Delete, reason)
    }

    /// For an initiator whose peer did not prove itself or was not let in (RFC 7296 §2.21.2).
    pub(super) fn with_notify(
        now: Instant,
        core: &mut Core,
        protection: Protection,
        notify: NotifyType,
        reason: LostReason,
    ) -> State {
        Self::begin(now, core, protection, Goodbye::Notify(notify), reason)
    }

    fn begin(
        now: Instant,
        core: &mut Core,
        protection: Protection,
        goodbye: Goodbye,
        reason: LostReason,
    ) -> State {
        core.stop_keepalive();
        core.window.hurry(TRANSMISSIONS);
        let closing = Box::new(Self {
            protection,
            goodbye,
            stage: Stage::BehindAnother,
            reason,
        });
        if core.window.is_free() {
            closing.send(now, core)
        } else {
            State::Closing(closing)
        }
    }

    fn send(mut self: Box<Self>, now: Instant, core: &mut Core) -> State {
        let payload = match self.goodbye {
            Goodbye::Delete => Payload::Delete(DeletePayload::ike()),
            Goodbye::Notify(kind) => Payload::Notify(NotifyPayload::new(kind, &[])),
        };
        self.stage = Stage::Sent;
        match core.request(
            now,
            &mut self.protection,
            ExchangeType::INFORMATIONAL,
            &[payload],
        ) {
            Ok(()) => State::Closing(self),
            Err(_) => self.end(now, core),
        }
    }

    fn end(self, now: Instant, core: &mut Core) -> State {
        State::over(now, core, self.reason)
    }

    pub(super) fn protection(&self) -> &Protection {
        &self.protection
    }

    pub(super) fn reason(self) -> LostReason {
        self.reason
    }

    pub(super) fn handle_response(
        self: Box<Self>,
        now: Instant,
        core: &mut Core,
        header: &Header,
        mut octets: Vec<u8>,
    ) -> State {
        if let Err(OpenError::Unauthentic) = self.protection.open(header, &mut octets) {
            core.stats.unauthentic += 1;
            return State::Closing(self);
        }
        core.window.complete();
        match self.stage {
            Stage::BehindAnother => self.send(now, core),
            Stage::Sent => self.end(now, core),
        }
    }

    /// Both sides may close at once: its Delete is answered and is the end as well
    /// (RFC 7296 §2.25.2).
    pub(super) fn handle_request(
        mut self: Box<Self>,
        now: Instant,
        core: &mut Core,
        path: Path,
        header: &Header,
        opened: Result<Opened<'_>, Error>,
    ) -> State {
        let Ok(opened) = opened else {
            let notify = NotifyType::INVALID_SYNTAX;
            core.respond_notify(&mut self.protection, path, header.exchange, notify, &[]);
            return self.end(now, core);
        };
        if header.exchange != ExchangeType::INFORMATIONAL {
            let notify = NotifyType::TEMPORARY_FAILURE;
            core.respond_notify(&mut self.protection, path, header.exchange, notify, &[]);
            return State::Closing(self);
        }
        core.respond(&mut self.protection, path, ExchangeType::INFORMATIONAL, &[])
            .ok();
        let deleted = opened
            .payloads
            .deletes()
            .any(|delete| delete.protocol == ProtocolId::IKE);
        if deleted {
            self.end(now, core)
        } else {
            State::Closing(self)
        }
    }
}

impl Closed {
    /// Ends the IKE SA.
    pub(super) fn begin(now: Instant, core: &mut Core, reason: LostReason) -> Self {
        core.stop_keepalive();
        core.window.drop_request();
        core.emit(Event::Lost(reason));
        let linger = core.common().lifetimes.linger;
        if core.window.is_answering() && !linger.is_zero() {
            // It only answers what comes again: no reason to ask others for cookies.
            core.tell_endpoint(EndpointEventKind::Settled);
            return Self::Lingering {
                until: later(now, linger),
            };
        }
        core.tell_endpoint(EndpointEventKind::Drained);
        Self::Drained
    }

    pub(super) fn deadline(&self) -> Option<Wakeup> {
        match self {
            Self::Lingering { until } => Some(Wakeup {
                at: *until,
                reason: WakeReason::Drained,
            }),
            Self::Drained => None,
        }
    }

    pub(super) fn handle_timeout(self, now: Instant, core: &mut Core) -> Self {
        match self {
            Self::Lingering { until } if until <= now => {
                core.tell_endpoint(EndpointEventKind::Drained);
                Self::Drained
            }
            other => other,
        }
    }
}

/// How often a goodbye is sent: the peer has its own ways to notice.
const TRANSMISSIONS: u32 = 4;
