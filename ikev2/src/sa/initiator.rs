//! The initiator's waits: for the answer to IKE_SA_INIT, and for that to IKE_AUTH.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::closing::Closing;
use super::core::Core;
use super::protection::{OpenError, Opened, Protection};
use super::verdict::{AwaitVerdict, InitiatorSide, Side};
use super::{State, later};
use crate::auth::OcspRequest;
use crate::config::InitiatorConfig;
use crate::crypto::{ActiveKeyExchange, CryptoError, SecretBytes};
use crate::error::{ConfigError, Error, InitiateError, PeerMisbehaved};
use crate::event::{LostReason, Path, Role, WakeReason, Wakeup};
use crate::exchange::auth::{
    ProvenPeer, Signed, certificates, identification, ocsp_request, prove_ourselves, prove_peer,
    staple,
};
use crate::exchange::child::{KeySource, Nonces, check_answer, read_lease, request_configuration};
use crate::exchange::init::{self, NONCE_LEN};
use crate::exchange::natd::Nat;
use crate::keymat::{IkeKeys, KeyLengths, SkeyseedInputs};
use crate::negotiate::{
    IkeProposal, IkeSuite, check_ike, offer_esp, offer_ike, supported_esp, supported_ike,
};
use crate::wire::{
    AuthPayload, ExchangeType, Form, GroupId, Header, Message, NotifyPayload, NotifyType, Payload,
    Payloads, TsPayload, rules,
};

/// IKE_SA_INIT is sent.
pub(super) struct InitSent {
    config: Arc<InitiatorConfig>,
    offer: Vec<IkeProposal>,
    exchange: Box<dyn ActiveKeyExchange>,
    nonce: [u8; NONCE_LEN],
    /// The cookie that the peer demands; none until it does.
    cookie: Option<Vec<u8>>,
    retries: u8,
    refused: Option<Refused>,
}

/// An unprotected error or a useless answer, which anybody could have sent: it only shortens the
/// wait (RFC 7296 §2.21.1).
struct Refused {
    reason: LostReason,
    until: Instant,
}

impl InitSent {
    pub(super) fn begin(
        now: Instant,
        core: &mut Core,
        config: Arc<InitiatorConfig>,
    ) -> Result<Self, InitiateError> {
        let provider = &core.endpoint.provider;
        let offer = supported_ike(&config.common.proposals, provider);
        let group = offer
            .first()
            .and_then(|proposal| proposal.groups.first())
            .and_then(|id| provider.group(*id))
            .ok_or(InitiateError::Config(ConfigError::NothingSupported))?;
        if supported_esp(&config.common.child.proposals, provider).is_empty() {
            return Err(InitiateError::Config(ConfigError::NothingSupported));
        }
        let exchange = group.start().map_err(InitiateError::Crypto)?;
        let mut nonce = [0; NONCE_LEN];
        provider
            .random
            .fill(&mut nonce)
            .map_err(|e| InitiateError::Crypto(e.into()))?;
        let state = Self {
            config,
            offer,
            exchange,
            nonce,
            cookie: None,
            retries: 0,
            refused: None,
        };
        state
            .send(now, core)
            .map_err(|_| InitiateError::Config(ConfigError::TooLong))?;
        Ok(state)
    }

    fn send(&self, now: Instant, core: &mut Core) -> Result<(), Error> {
        let octets = init::Request {
            spi: core.local_spi,
            cookie: self.cookie.as_deref(),
            sa: offer_ike(&self.offer),
            group: self.exchange.group(),
            public_value: self.exchange.public_value(),
            nonce: &self.nonce,
            path: core.path,
            pretend_nat: core.endpoint.force_udp_encapsulation,
        }
        .build()
        .map_err(|_| Error::Unwritable)?;
        let random = core.random();
        core.window
            .begin(now, ExchangeType::IKE_SA_INIT, octets, random);
        Ok(())
    }

    pub(super) fn deadline(&self) -> Option<Wakeup> {
        self.refused.as_ref().map(|refused| Wakeup {
            at: refused.until,
            reason: WakeReason::HandshakeDeadline,
        })
    }

    /// The error that the wait has ended with, if it has.
    pub(super) fn expired(&self, now: Instant) -> Option<LostReason> {
        self.refused
            .as_ref()
            .filter(|refused| refused.until <= now)
            .map(|refused| refused.reason.clone())
    }

    /// Nothing here is authenticated: what does not make sense is counted and forgotten, since the
    /// peer's own answer may still be on its way.
    pub(super) fn handle_response(
        mut self: Box<Self>,
        now: Instant,
        core: &mut Core,
        octets: &[u8],
    ) -> State {
        let Ok(message) = Message::decode(octets) else {
            return self.ignore(core);
        };
        let payloads = &message.payloads;
        match rules::check(ExchangeType::IKE_SA_INIT, true, &[], payloads) {
            Ok(Form::NotifyOnly) => self.handle_notifies(now, core, payloads),
            Ok(Form::Full) if message.header.responder_spi != 0 => {
                self.handle_answer(now, core, &message, octets)
            }
            Ok(_) => self.ignore(core),
            Err(violation) => {
                self.refused_for(now, LostReason::Failed(violation.into()));
                self.ignore(core)
            }
        }
    }

    fn ignore(self: Box<Self>, core: &mut Core) -> State {
        core.stats.unauthentic += 1;
        State::InitSent(self)
    }

    fn refused_for(&mut self, now: Instant, reason: LostReason) {
        if self.refused.is_none() {
            self.refused = Some(Refused {
                reason,
                until: later(now, GRACE),
            });
        }
    }

    fn handle_notifies(
        mut self: Box<Self>,
        now: Instant,
        core: &mut Core,
        payloads: &Payloads<'_>,
    ) -> State {
        if let Some(notify) = payloads.notify(NotifyType::COOKIE) {
            let Some(cookie) = init::cookie(notify) else {
                return self.ignore(core);
            };
            if self.cookie.as_deref() == Some(cookie) {
                // The answer to an earlier transmission: the cookie is in the open request already.
                core.stats.out_of_place += 1;
                return State::InitSent(self);
            }
            self.cookie = Some(cookie.to_vec());
            return self.retry(now, core);
        }
        if let Some(notify) = payloads.notify(NotifyType::INVALID_KE_PAYLOAD) {
            // Only a group that was offered, and not the one that was sent (RFC 7296 §1.2).
            let offered = |id: &GroupId| {
                self.offer
                    .iter()
                    .any(|proposal| proposal.groups.contains(id))
            };
            let wanted = init::wanted_group(notify)
                .filter(offered)
                .filter(|id| *id != self.exchange.group())
                .and_then(|id| core.endpoint.provider.group(id));
            let Some(Ok(exchange)) = wanted.map(|group| group.start()) else {
                return self.ignore(core);
            };
            self.exchange = exchange;
            return self.retry(now, core);
        }
        if let Some(notify) = payloads.error_notify() {
            self.refused_for(now, LostReason::PeerError(notify.kind));
        }
        self.ignore(core)
    }

    /// The same request with a cookie or another key; message ID and SPI stay (RFC 7296 §2.6).
    fn retry(mut self: Box<Self>, now: Instant, core: &mut Core) -> State {
        self.retries += 1;
        self.refused = None;
        if self.retries > MAX_RETRIES {
            let reason = LostReason::Failed(PeerMisbehaved::TooManyRetries.into());
            return State::InitSent(self).lose(now, core, reason);
        }
        match self.send(now, core) {
            Ok(()) => State::InitSent(self),
            Err(error) => State::InitSent(self).lose(now, core, LostReason::Failed(error)),
        }
    }

    fn handle_answer(
        mut self: Box<Self>,
        now: Instant,
        core: &mut Core,
        message: &Message<'_>,
        octets: &[u8],
    ) -> State {
        let payloads = &message.payloads;
        let (Some(sa), Some(ke), Some(nonce)) = (payloads.sa(), payloads.ke(), payloads.nonce())
        else {
            return self.ignore(core);
        };
        let suite = check_ike(&self.offer, sa)
            .filter(|suite| suite.group == ke.group && ke.group == self.exchange.group());
        let Some(suite) = suite else {
            let error = PeerMisbehaved::ProposalNotOffered.into();
            self.refused_for(now, LostReason::Failed(error));
            return self.ignore(core);
        };
        core.remote_spi = message.header.responder_spi;
        match AuthSent::begin(now, core, *self, suite, ke.value, nonce, payloads, octets) {
            Ok(next) => State::AuthSent(Box::new(next)),
            Err(error) => State::over(now, core, LostReason::Failed(error)),
        }
    }
}

/// IKE_AUTH is sent.
pub(super) struct AuthSent {
    config: Arc<InitiatorConfig>,
    protection: Protection,
    suite: IkeSuite,
    sk_d: SecretBytes,
    /// The peer's SK_pr.
    sk_peer: SecretBytes,
    nonces: Nonces,
    /// The peer's IKE_SA_INIT message, which its AUTH payload covers.
    peer_init: Vec<u8>,
}

impl AuthSent {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one message, read by the only caller"
    )]
    fn begin(
        now: Instant,
        core: &mut Core,
        init: InitSent,
        suite: IkeSuite,
        public_value: &[u8],
        nonce: &[u8],
        payloads: &Payloads<'_>,
        octets: &[u8],
    ) -> Result<Self, Error> {
        let provider = Arc::clone(&core.endpoint.provider);
        let prf = provider.prf(suite.prf).ok_or(CryptoError::KeyUnusable)?;
        let cipher = provider
            .cipher(suite.cipher.id, suite.cipher.key_bits)
            .ok_or(CryptoError::KeyUnusable)?;
        init::check_nonce(nonce, prf)?;
        let shared_secret = init.exchange.complete(public_value)?;
        let nonces = Nonces {
            initiator: init.nonce.to_vec(),
            responder: nonce.to_vec(),
        };
        let spis = core.spis();
        let keys = IkeKeys::derive(
            prf,
            KeyLengths::aead(cipher.layout().key_len),
            &SkeyseedInputs {
                nonce_i: &nonces.initiator,
                nonce_r: &nonces.responder,
                shared_secret: &shared_secret,
                spi_i: spis.0,
                spi_r: spis.1,
            },
        )?;
        let mut protection = Protection::new(Role::Initiator, cipher, &keys)?;
        core.nat = Nat::detect(payloads, spis, core.path);
        let request = core.window.complete().ok_or(Error::Unwritable)?;
        if core.encapsulates() {
            float(&mut core.path, init.config.encapsulation_ports);
        }
        let credential = &*init.config.common.credential;
        let auth = prove_ourselves(
            credential,
            &Signed {
                prf,
                sk_p: &keys.sk_pi,
                message: &request,
                nonce,
            },
            init::announced_hashes(payloads).as_deref(),
        )?;
        let child = &init.config.common.child;
        let offer = supported_esp(&child.proposals, &provider);
        let spi = core.child_spi.to_be_bytes();
        let mut list = vec![Payload::IdI(identification(credential.identity()))];
        let asked = OcspRequest::read(payloads);
        let staple = staple(&core.endpoint, credential, asked.as_ref());
        list.extend(certificates(credential.chain(), staple.as_deref()));
        if init.config.initial_contact {
            list.push(Payload::Notify(NotifyPayload::new(
                NotifyType::INITIAL_CONTACT,
                &[],
            )));
        }
        list.push(init::any_certificate());
        let request = init.config.common.ocsp_request.as_ref();
        let responders = request.map(OcspRequest::field);
        list.extend(responders.as_deref().map(ocsp_request));
        list.extend(
            init.config
                .remote_identity
                .as_ref()
                .map(|id| Payload::IdR(identification(id))),
        );
        list.push(Payload::Auth(AuthPayload {
            method: auth.method,
            value: &auth.value,
        }));
        if init.config.request_address {
            list.push(request_configuration());
        }
        list.push(Payload::Sa(offer_esp(&offer, &spi)));
        list.push(Payload::TsI(TsPayload::new(child.local.clone())));
        list.push(Payload::TsR(TsPayload::new(child.remote.clone())));
        core.request(now, &mut protection, ExchangeType::IKE_AUTH, &list)?;
        drop(list);
        Ok(Self {
            config: init.config,
            protection,
            suite,
            sk_d: keys.sk_d,
            sk_peer: keys.sk_pr,
            nonces,
            peer_init: octets.to_vec(),
        })
    }

    pub(super) fn handle_response(
        self: Box<Self>,
        now: Instant,
        core: &mut Core,
        header: &Header,
        mut octets: Vec<u8>,
    ) -> State {
        let opened = match self.protection.open(header, &mut octets) {
            Ok(opened) => opened,
            Err(OpenError::Unauthentic) => {
                core.stats.unauthentic += 1;
                return State::AuthSent(self);
            }
            Err(OpenError::Wrong(error)) => {
                core.window.complete();
                return self.fail(now, core, error);
            }
        };
        core.window.complete();
        if opened.form == Form::NotifyOnly {
            let by = opened.payloads.error_notify().map(|notify| notify.kind);
            let reason = by.map_or_else(
                || LostReason::Failed(PeerMisbehaved::UnexpectedExchange(header.exchange).into()),
                LostReason::PeerError,
            );
            return State::over(now, core, reason);
        }
        match self.read(core, &opened) {
            Ok((peer, side)) => self.present(now, core, peer, side),
            Err(error) => self.fail(now, core, error),
        }
    }

    /// The peer believes that the IKE SA stands: it is told (RFC 7296 §2.21.2).
    fn fail(self, now: Instant, core: &mut Core, error: Error) -> State {
        let notify = error.notify();
        let reason = LostReason::Failed(error);
        Closing::with_notify(now, core, self.protection, notify, reason)
    }

    fn read(&self, core: &Core, opened: &Opened<'_>) -> Result<(ProvenPeer, InitiatorSide), Error> {
        let payloads = &opened.payloads;
        let prf = core
            .endpoint
            .provider
            .prf(self.suite.prf)
            .ok_or(CryptoError::KeyUnusable)?;
        let missing = || Error::from(PeerMisbehaved::UnexpectedExchange(ExchangeType::IKE_AUTH));
        let id = payloads.id_r().ok_or_else(missing)?;
        let auth = payloads.auth().ok_or_else(missing)?;
        let peer = prove_peer(
            &core.endpoint,
            &self.config.common,
            id,
            auth,
            payloads,
            &Signed {
                prf,
                sk_p: &self.sk_peer,
                message: &self.peer_init,
                nonce: &self.nonces.initiator,
            },
        )?;
        if let Some(wanted) = &self.config.remote_identity
            && wanted.canonical() != peer.identity
        {
            return Err(PeerMisbehaved::WrongIdentity.into());
        }
        let lease = self
            .config
            .request_address
            .then(|| read_lease(payloads))
            .flatten();
        if opened.form == Form::ChildRefused {
            let by = payloads
                .error_notify()
                .map_or(NotifyType::NO_PROPOSAL_CHOSEN, |notify| notify.kind);
            return Ok((
                peer,
                InitiatorSide {
                    lease,
                    child: Err(by),
                },
            ));
        }
        let child = &self.config.common.child;
        let offer = supported_esp(&child.proposals, &core.endpoint.provider);
        let (chosen, local, remote) =
            check_answer(payloads, child, &offer).ok_or(PeerMisbehaved::ChildNotOffered)?;
        let source = KeySource {
            provider: &core.endpoint.provider,
            prf,
            sk_d: &self.sk_d,
            nonces: &self.nonces,
            role: Role::Initiator,
            inbound_spi: core.child_spi,
            path: core.path,
            udp_encapsulation: core.encapsulates(),
        };
        let child = source.child(&chosen, local, remote)?;
        Ok((
            peer,
            InitiatorSide {
                lease,
                child: Ok(child),
            },
        ))
    }

    fn present(
        self,
        now: Instant,
        core: &mut Core,
        peer: ProvenPeer,
        side: InitiatorSide,
    ) -> State {
        AwaitVerdict::present(
            now,
            core,
            self.protection,
            self.suite,
            peer,
            Side::Initiator(side),
        )
    }
}

/// To the ports of UDP encapsulation (RFC 7296 §2.23).
fn float(path: &mut Path, (local, remote): (Option<u16>, u16)) {
    if let Some(port) = local {
        path.local.set_port(port);
    }
    path.remote.set_port(remote);
}

/// Cookies and other groups that one handshake may ask for. A cookie that has just expired and one
/// change of group are honest; more is not.
const MAX_RETRIES: u8 = 5;
/// How long the peer's real answer is awaited after an unprotected error.
const GRACE: Duration = Duration::from_secs(2);
