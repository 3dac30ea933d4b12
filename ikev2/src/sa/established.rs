//! The IKE SA stands.

use std::time::{Duration, Instant};

use super::admitted::Admitted;
use super::closing::Closing;
use super::core::Core;
use super::protection::{OpenError, Opened, Protection};
use super::{State, later};
use crate::auth::{AuthVerified, CertificateDer, Identification};
use crate::child::{ChildHandle, ChildSa, RemoveReason};
use crate::endpoint::EndpointEventKind;
use crate::error::{ApiMisuse, Error, PeerMisbehaved};
use crate::event::{Event, IkeSaInfo, Lease, LostReason, Path, WakeReason, Wakeup};
use crate::negotiate::IkeSuite;
use crate::wire::{DeletePayload, ExchangeType, Header, NotifyType, Payload, ProtocolId};

/// Both sides are authenticated and admitted, which the two proofs say.
pub(super) struct Established {
    _verified: AuthVerified,
    _admitted: Admitted,
    protection: Protection,
    suite: IkeSuite,
    identity: Identification,
    children: Vec<Child>,
    /// Inbound SPIs of child SAs that the peer does not know yet to be deleted.
    to_delete: Vec<u32>,
    /// When something protected last came.
    heard: Instant,
    /// When the peer's last request was answered.
    answered: Instant,
    ends: Option<Instant>,
}

/// A child SA as far as deleting it goes. The data plane has the rest.
struct Child {
    handle: ChildHandle,
    inbound_spi: u32,
    outbound_spi: u32,
}

/// What an established IKE SA is made of.
pub(super) struct Newborn {
    pub(super) protection: Protection,
    pub(super) suite: IkeSuite,
    pub(super) identity: Identification,
    pub(super) end_entity: CertificateDer,
    pub(super) initial_contact: bool,
    pub(super) lease: Option<Lease>,
    pub(super) child: Result<ChildSa, NotifyType>,
}

/// How a request of the peer leaves us.
enum Outcome {
    Up,
    Over(LostReason),
}

impl Established {
    pub(super) fn begin(
        now: Instant,
        core: &mut Core,
        verified: AuthVerified,
        admitted: Admitted,
        newborn: Newborn,
    ) -> State {
        let Newborn {
            protection,
            suite,
            identity,
            end_entity,
            initial_contact,
            lease,
            child,
        } = newborn;
        core.tell_endpoint(EndpointEventKind::Settled);
        core.start_keepalive(now);
        core.emit(Event::Established(Box::new(IkeSaInfo {
            identity: identity.clone(),
            end_entity,
            initial_contact,
            spis: core.spis(),
            assigned: lease,
            suite,
            path: core.path,
        })));
        let mut children = Vec::new();
        match child {
            Ok(child) => {
                let handle = ChildHandle(0);
                children.push(Child {
                    handle,
                    inbound_spi: child.inbound_spi,
                    outbound_spi: child.outbound_spi,
                });
                core.emit(Event::ChildInstalled(handle, Box::new(child)));
            }
            Err(notify) => core.emit(Event::ChildRefused(notify)),
        }
        let ends = core.common().lifetimes.ike_sa.map(|life| later(now, life));
        State::Established(Box::new(Self {
            _verified: verified,
            _admitted: admitted,
            protection,
            suite,
            identity,
            children,
            to_delete: Vec::new(),
            heard: now,
            answered: now,
            ends,
        }))
    }

    pub(super) fn peer(&self) -> &Identification {
        &self.identity
    }

    pub(super) fn suite(&self) -> &IkeSuite {
        &self.suite
    }

    pub(super) fn protection(&self) -> &Protection {
        &self.protection
    }

    #[cfg(test)]
    pub(super) fn protection_mut(&mut self) -> &mut Protection {
        &mut self.protection
    }

    pub(super) fn deadline(&self, core: &Core) -> Option<Wakeup> {
        let lifetime = self.ends.map(|at| Wakeup {
            at,
            reason: WakeReason::Lifetime,
        });
        let liveness = self.silence(core).map(|silence| Wakeup {
            at: later(self.heard, silence),
            reason: WakeReason::Liveness,
        });
        [lifetime, liveness]
            .into_iter()
            .flatten()
            .min_by_key(|wakeup| wakeup.at)
    }

    /// How long a silence calls for a liveness check. None while a request is open, which is one.
    fn silence(&self, core: &Core) -> Option<Duration> {
        let silence = core.common().lifetimes.liveness?;
        core.window.is_free().then_some(silence)
    }

    pub(super) fn handle_timeout(mut self: Box<Self>, now: Instant, core: &mut Core) -> State {
        if self.ends.is_some_and(|at| at <= now) {
            return self.close(now, core, LostReason::Expired);
        }
        // Done when something else is due: an answer with certificates is the largest thing that an
        // idle IKE SA holds.
        if later(self.answered, RESPONSE_KEPT) <= now {
            core.window.forget_response();
        }
        let silent = self
            .silence(core)
            .is_some_and(|silence| later(self.heard, silence) <= now);
        if silent {
            self.probe(now, core);
        }
        State::Established(self)
    }

    pub(super) fn note_inbound(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// An empty INFORMATIONAL request (RFC 7296 §2.4).
    pub(super) fn probe(&mut self, now: Instant, core: &mut Core) {
        if core.window.is_free()
            && core
                .request(now, &mut self.protection, ExchangeType::INFORMATIONAL, &[])
                .is_ok()
        {
            core.stats.probes += 1;
        }
    }

    pub(super) fn delete_child(
        &mut self,
        now: Instant,
        core: &mut Core,
        handle: ChildHandle,
    ) -> Result<(), ApiMisuse> {
        let at = self
            .children
            .iter()
            .position(|child| child.handle == handle)
            .ok_or(ApiMisuse::NoSuchChild)?;
        let child = self.children.swap_remove(at);
        self.to_delete.push(child.inbound_spi);
        core.emit(Event::ChildRemoved(handle, RemoveReason::LocallyDeleted));
        self.send_deletes(now, core);
        Ok(())
    }

    fn send_deletes(&mut self, now: Instant, core: &mut Core) {
        if self.to_delete.is_empty() || !core.window.is_free() {
            return;
        }
        let spis: Vec<u8> = self
            .to_delete
            .drain(..)
            .flat_map(u32::to_be_bytes)
            .collect();
        let delete = Payload::Delete(DeletePayload::esp(&spis));
        // Sealing fails only when the key is used up, which ends every exchange anyway.
        core.request(
            now,
            &mut self.protection,
            ExchangeType::INFORMATIONAL,
            &[delete],
        )
        .ok();
    }

    /// Removes the child SAs and says goodbye.
    pub(super) fn close(
        self: Box<Self>,
        now: Instant,
        core: &mut Core,
        reason: LostReason,
    ) -> State {
        self.remove_children(core);
        Closing::with_delete(now, core, self.protection, reason)
    }

    pub(super) fn remove_children(&self, core: &mut Core) {
        for child in &self.children {
            core.emit(Event::ChildRemoved(child.handle, RemoveReason::IkeSaOver));
        }
    }

    pub(super) fn handle_response(
        mut self: Box<Self>,
        now: Instant,
        core: &mut Core,
        path: Path,
        header: &Header,
        mut octets: Vec<u8>,
    ) -> State {
        let error = match self.protection.open(header, &mut octets) {
            // RFC 7296 §2.21: an error that the peer found in our request is its last word on it.
            Ok(opened) => opened
                .payloads
                .notify(NotifyType::INVALID_SYNTAX)
                .map(|notify| LostReason::PeerError(notify.kind)),
            Err(OpenError::Unauthentic) => {
                core.stats.unauthentic += 1;
                return State::Established(self);
            }
            Err(OpenError::Wrong(error)) => Some(LostReason::Failed(error)),
        };
        core.window.complete();
        self.note_inbound(now);
        self.follow(core, path);
        if let Some(reason) = error {
            return State::Established(self).lose(now, core, reason);
        }
        self.send_deletes(now, core);
        State::Established(self)
    }

    /// Answers a fresh, authentic request.
    pub(super) fn handle_request(
        mut self: Box<Self>,
        now: Instant,
        core: &mut Core,
        path: Path,
        header: &Header,
        opened: Result<Opened<'_>, Error>,
    ) -> State {
        self.note_inbound(now);
        self.answered = now;
        self.follow(core, path);
        let outcome = match opened {
            Ok(opened) => self.answer(core, path, header, &opened),
            Err(error) => self.answer_error(core, path, header, error),
        };
        match outcome {
            Outcome::Up => State::Established(self),
            Outcome::Over(reason) => State::Established(self).lose(now, core, reason),
        }
    }

    fn answer(
        &mut self,
        core: &mut Core,
        path: Path,
        header: &Header,
        opened: &Opened<'_>,
    ) -> Outcome {
        match header.exchange {
            ExchangeType::INFORMATIONAL => self.answer_informational(core, path, opened),
            // Rekeying and more child SAs are refused in the way for those who do neither
            // (RFC 7296 §1.3, §4).
            ExchangeType::CREATE_CHILD_SA => {
                let kind = NotifyType::NO_ADDITIONAL_SAS;
                core.respond_notify(&mut self.protection, path, header.exchange, kind, &[]);
                Outcome::Up
            }
            other => {
                let error = Error::from(PeerMisbehaved::UnexpectedExchange(other));
                self.answer_error(core, path, header, error)
            }
        }
    }

    /// RFC 7296 §2.21.3: an unknown critical payload fails its request alone, bad syntax ends the
    /// IKE SA.
    fn answer_error(
        &mut self,
        core: &mut Core,
        path: Path,
        header: &Header,
        error: Error,
    ) -> Outcome {
        if let Error::PeerMisbehaved(PeerMisbehaved::UnknownCritical(kind)) = error {
            let notify = NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD;
            core.respond_notify(
                &mut self.protection,
                path,
                header.exchange,
                notify,
                &[kind.0],
            );
            return Outcome::Up;
        }
        let notify = NotifyType::INVALID_SYNTAX;
        core.respond_notify(&mut self.protection, path, header.exchange, notify, &[]);
        Outcome::Over(LostReason::Failed(error))
    }

    fn answer_informational(
        &mut self,
        core: &mut Core,
        path: Path,
        opened: &Opened<'_>,
    ) -> Outcome {
        let payloads = &opened.payloads;
        let fatal = payloads
            .notifies()
            .find(|notify| is_fatal(notify.kind))
            .map(|notify| LostReason::PeerError(notify.kind));
        let deleted = payloads
            .deletes()
            .any(|delete| delete.protocol == ProtocolId::IKE)
            .then_some(LostReason::PeerDeleted);
        let mut ours = Vec::new();
        for delete in payloads
            .deletes()
            .filter(|delete| delete.protocol == ProtocolId::ESP)
        {
            for spi in delete.child_spis() {
                ours.extend(self.peer_deleted(core, spi).map(u32::to_be_bytes));
            }
        }
        let spis = ours.concat();
        // Each half of a pair is deleted by the side that receives on it (RFC 7296 §1.4.1).
        let delete = (!spis.is_empty()).then(|| Payload::Delete(DeletePayload::esp(&spis)));
        core.respond(
            &mut self.protection,
            path,
            ExchangeType::INFORMATIONAL,
            delete.as_slice(),
        )
        .ok();
        match deleted.or(fatal) {
            Some(reason) => Outcome::Over(reason),
            None => Outcome::Up,
        }
    }

    /// Removes the child SA whose packets the peer receives under this SPI. Gives the SPI under
    /// which we received.
    fn peer_deleted(&mut self, core: &mut Core, spi: u32) -> Option<u32> {
        let at = self
            .children
            .iter()
            .position(|child| child.outbound_spi == spi)?;
        let child = self.children.swap_remove(at);
        core.emit(Event::ChildRemoved(child.handle, RemoveReason::PeerDeleted));
        Some(child.inbound_spi)
    }

    /// Follows the peer to where its fresh and authentic messages come from, if a NAT may have
    /// moved it, and not if one is before us (RFC 7296 §2.23).
    fn follow(&self, core: &mut Core, path: Path) {
        if path != core.path && core.nat.remote && !core.nat.local {
            core.path = path;
            core.emit(Event::PathChanged(path));
        }
    }
}

/// Notifies in an INFORMATIONAL request that end the IKE SA without a Delete (RFC 7296 §2.21.2).
fn is_fatal(kind: NotifyType) -> bool {
    matches!(
        kind,
        NotifyType::AUTHENTICATION_FAILED
            | NotifyType::INVALID_SYNTAX
            | NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD
    )
}

/// How long a response is kept for a peer that did not get it: "several minutes" (RFC 7296 §2.1),
/// which is more than the patience of every initiator known.
const RESPONSE_KEPT: Duration = Duration::from_secs(300);
