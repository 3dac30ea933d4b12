//! The wait for the application's verdict on a proven peer.

use std::sync::Arc;
use std::time::Instant;

use super::admitted::Admitted;
use super::closing::Closing;
use super::core::Core;
use super::established::{Established, Newborn};
use super::protection::Protection;
use super::{State, later};
use crate::auth::{AuthVerified, CertificateDer, Identification, OcspRequest};
use crate::child::ChildSa;
use crate::config::{Admission, ResponderConfig};
use crate::crypto::{CryptoError, SecretBytes};
use crate::error::Error;
use crate::event::{
    DenyReason, Event, Grant, Lease, LostReason, Path, PresentedPeer, Role, Verdict, WakeReason,
    Wakeup,
};
use crate::exchange::auth::{
    ProvenPeer, Signed, certificates, identification, prove_ourselves, staple,
};
use crate::exchange::child::{ChildOffer, KeySource, Nonces};
use crate::negotiate::IkeSuite;
use crate::wire::{
    AuthPayload, ExchangeType, HashAlgorithm, NotifyPayload, NotifyType, Payload, TsPayload,
};

/// The peer is proven. Requests that come again are swallowed until the verdict.
pub(super) struct AwaitVerdict {
    verified: AuthVerified,
    protection: Protection,
    suite: IkeSuite,
    identity: Identification,
    end_entity: CertificateDer,
    initial_contact: bool,
    deadline: Instant,
    side: Side,
}

/// What else is known, by role.
pub(super) enum Side {
    Initiator(InitiatorSide),
    Responder(ResponderSide),
}

/// The peer has answered everything.
pub(super) struct InitiatorSide {
    pub(super) lease: Option<Lease>,
    pub(super) child: Result<ChildSa, NotifyType>,
}

/// The peer waits for our answer.
pub(super) struct ResponderSide {
    pub(super) config: Arc<ResponderConfig>,
    pub(super) sk_d: SecretBytes,
    /// Our SK_pr.
    pub(super) sk_own: SecretBytes,
    /// Our IKE_SA_INIT message, which our AUTH payload covers.
    pub(super) own_init: Vec<u8>,
    pub(super) nonces: Nonces,
    pub(super) peer_hashes: Option<Vec<HashAlgorithm>>,
    /// What the peer asks about our certificate, if anything.
    pub(super) ocsp_request: Option<OcspRequest>,
    pub(super) offer: ChildOffer,
}

impl AwaitVerdict {
    /// Presents the peer to the application, or decides at once if nobody wants to be asked.
    pub(super) fn present(
        now: Instant,
        core: &mut Core,
        protection: Protection,
        suite: IkeSuite,
        peer: ProvenPeer,
        side: Side,
    ) -> State {
        let ProvenPeer {
            verified,
            identity,
            end_entity,
            issuers,
            stapled_ocsp,
            initial_contact,
        } = peer;
        let within = match core.common().admission {
            Admission::ByApplication { within } => Some(within),
            Admission::Immediate => None,
        };
        let requests_address = match &side {
            Side::Initiator(_) => false,
            Side::Responder(side) => side.offer.requests_address(),
        };
        let state = Box::new(Self {
            verified,
            protection,
            suite,
            identity: identity.clone(),
            end_entity: end_entity.clone(),
            initial_contact,
            deadline: later(now, within.unwrap_or_default()),
            side,
        });
        let Some(within) = within else {
            // Nobody would look at what was asked for.
            let verdict = if core.common().ocsp_request.is_some() {
                Verdict::Deny(DenyReason::Policy(UNJUDGED.into()))
            } else {
                Verdict::Admit(Grant::default())
            };
            return state.decide(now, core, verdict);
        };
        core.emit(Event::PeerPresented(Box::new(PresentedPeer {
            identity,
            end_entity,
            issuers,
            stapled_ocsp,
            path: core.path,
            initial_contact,
            requests_address,
            within,
        })));
        State::AwaitVerdict(state)
    }

    pub(super) fn deadline(&self) -> Wakeup {
        Wakeup {
            at: self.deadline,
            reason: WakeReason::VerdictDeadline,
        }
    }

    /// The only place where a peer is admitted.
    pub(super) fn decide(
        self: Box<Self>,
        now: Instant,
        core: &mut Core,
        verdict: Verdict,
    ) -> State {
        match verdict {
            Verdict::Admit(grant) => self.establish(now, core, Admitted::mint(grant)),
            Verdict::Deny(reason) => self.refuse(
                now,
                core,
                NotifyType::AUTHENTICATION_FAILED,
                LostReason::Denied(reason),
            ),
        }
    }

    pub(super) fn deny(
        self: Box<Self>,
        now: Instant,
        core: &mut Core,
        reason: LostReason,
    ) -> State {
        self.refuse(now, core, NotifyType::AUTHENTICATION_FAILED, reason)
    }

    fn refuse(
        mut self: Box<Self>,
        now: Instant,
        core: &mut Core,
        notify: NotifyType,
        reason: LostReason,
    ) -> State {
        match self.side {
            // The peer believes that the IKE SA stands: it is told (RFC 7296 §2.21.2).
            Side::Initiator(_) => Closing::with_notify(now, core, self.protection, notify, reason),
            Side::Responder(_) => {
                let to = core.path;
                core.respond_notify(
                    &mut self.protection,
                    to,
                    ExchangeType::IKE_AUTH,
                    notify,
                    &[],
                );
                State::over(now, core, reason)
            }
        }
    }

    fn establish(mut self: Box<Self>, now: Instant, core: &mut Core, admitted: Admitted) -> State {
        let (child, lease) = match self.side {
            Side::Initiator(side) => (side.child, side.lease),
            Side::Responder(ref mut side) => {
                match side.answer(core, &mut self.protection, self.suite, admitted.grant()) {
                    Ok(answer) => answer,
                    Err(error) => {
                        let notify = error.notify();
                        return self.refuse(now, core, notify, LostReason::Failed(error));
                    }
                }
            }
        };
        Established::begin(
            now,
            core,
            self.verified,
            admitted,
            Newborn {
                protection: self.protection,
                suite: self.suite,
                identity: self.identity,
                end_entity: self.end_entity,
                initial_contact: self.initial_contact,
                lease,
                child,
            },
        )
    }
}

impl ResponderSide {
    /// HDR, SK {IDr, CERT.., AUTH, [CP], SAr2, TSi, TSr}, or with a notify in place of the child SA,
    /// which leaves the IKE SA up (RFC 7296 §1.2).
    fn answer(
        &self,
        core: &mut Core,
        protection: &mut Protection,
        suite: IkeSuite,
        grant: &Grant,
    ) -> Result<(Result<ChildSa, NotifyType>, Option<Lease>), Error> {
        let provider = Arc::clone(&core.endpoint.provider);
        let prf = provider.prf(suite.prf).ok_or(CryptoError::KeyUnusable)?;
        let credential = &*self.config.common.credential;
        let auth = prove_ourselves(
            credential,
            &Signed {
                prf,
                sk_p: &self.sk_own,
                message: &self.own_init,
                nonce: &self.nonces.initiator,
            },
            self.peer_hashes.as_deref(),
        )?;
        let mut list = vec![Payload::IdR(identification(credential.identity()))];
        let staple = staple(&core.endpoint, credential, self.ocsp_request.as_ref());
        list.extend(certificates(credential.chain(), staple.as_deref()));
        list.push(Payload::Auth(AuthPayload {
            method: auth.method,
            value: &auth.value,
        }));
        let to: Path = core.path;
        let decided = self.offer.decide(&self.config.common.child, grant);
        let answer = match decided {
            Ok(answer) => answer,
            Err(notify) => {
                list.push(Payload::Notify(NotifyPayload::new(notify, &[])));
                core.respond(protection, to, ExchangeType::IKE_AUTH, &list)?;
                return Ok((Err(notify), None));
            }
        };
        let reply = grant.lease.as_ref().map(|lease| self.offer.reply(lease));
        list.extend(reply.as_ref().map(|reply| reply.payload()));
        let spi = core.child_spi.to_be_bytes();
        list.push(Payload::Sa(answer.chosen.answer(&spi)));
        list.push(Payload::TsI(TsPayload::new(answer.initiator.clone())));
        list.push(Payload::TsR(TsPayload::new(answer.responder.clone())));
        let source = KeySource {
            provider: &provider,
            prf,
            sk_d: &self.sk_d,
            nonces: &self.nonces,
            role: Role::Responder,
            inbound_spi: core.child_spi,
            path: core.path,
            udp_encapsulation: core.encapsulates(),
        };
        let child = source.child(&answer.chosen, answer.responder, answer.initiator)?;
        core.respond(protection, to, ExchangeType::IKE_AUTH, &list)?;
        Ok((Ok(child), grant.lease.clone()))
    }
}

const UNJUDGED: &str = "the status of its certificate was asked for, but admission is immediate: nobody judges the answer";
