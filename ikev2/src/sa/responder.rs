//! The responder's wait for IKE_AUTH.

use std::sync::Arc;
use std::time::Instant;

use super::core::Core;
use super::protection::{Opened, Protection};
use super::verdict::{AwaitVerdict, ResponderSide, Side};
use super::window::Digest;
use super::{State, later};
use crate::auth::OcspRequest;
use crate::config::ResponderConfig;
use crate::crypto::{CryptoError, SecretBytes};
use crate::error::{AcceptRefusal, Error, PeerIncompatible, PeerMisbehaved};
use crate::event::{Event, LostReason, Path, Role, UnprovenPeer, WakeReason, Wakeup};
use crate::exchange::auth::{ProvenPeer, Signed, prove_peer};
use crate::exchange::child::{ChildOffer, Nonces};
use crate::exchange::init::{self, NONCE_LEN};
use crate::exchange::natd::Nat;
use crate::keymat::{IkeKeys, KeyLengths, SkeyseedInputs};
use crate::negotiate::{IkeSuite, choose_ike, supported_ike};
use crate::wire::{ExchangeType, Form, HashAlgorithm, Message, rules};

/// IKE_SA_INIT is answered.
pub(super) struct InitAnswered {
    config: Arc<ResponderConfig>,
    protection: Protection,
    suite: IkeSuite,
    sk_d: SecretBytes,
    /// The peer's SK_pi.
    sk_peer: SecretBytes,
    /// Our SK_pr.
    sk_own: SecretBytes,
    nonces: Nonces,
    peer_hashes: Option<Vec<HashAlgorithm>>,
    /// The peer's IKE_SA_INIT message, which its AUTH payload covers.
    peer_init: Vec<u8>,
    deadline: Instant,
}

impl InitAnswered {
    pub(super) fn begin(
        now: Instant,
        core: &mut Core,
        config: Arc<ResponderConfig>,
        request: Vec<u8>,
    ) -> Result<Self, AcceptRefusal> {
        let failed = |error: Error| AcceptRefusal::Failed(error);
        let message = Message::decode(&request).map_err(|e| failed(e.into()))?;
        let payloads = &message.payloads;
        rules::check(ExchangeType::IKE_SA_INIT, false, &[], payloads)
            .map_err(|e| failed(e.into()))?;
        let (Some(sa), Some(ke), Some(nonce)) = (payloads.sa(), payloads.ke(), payloads.nonce())
        else {
            return Err(failed(
                PeerMisbehaved::UnexpectedExchange(ExchangeType::IKE_SA_INIT).into(),
            ));
        };
        let provider = Arc::clone(&core.endpoint.provider);
        let ours = supported_ike(&config.common.proposals, &provider);
        let chosen = choose_ike(&ours, sa, ke.group)
            .ok_or_else(|| failed(PeerIncompatible::NoIkeProposal.into()))?;
        let suite = chosen.suite;
        if suite.group != ke.group {
            return Err(AcceptRefusal::WrongGroup(suite.group));
        }
        let absent = || failed(CryptoError::KeyUnusable.into());
        let prf = provider.prf(suite.prf).ok_or_else(absent)?;
        let cipher = provider
            .cipher(suite.cipher.id, suite.cipher.key_bits)
            .ok_or_else(absent)?;
        let group = provider.group(suite.group).ok_or_else(absent)?;
        init::check_nonce(nonce, prf).map_err(|e| failed(e.into()))?;
        let mut own_nonce = vec![0; NONCE_LEN];
        provider
            .random
            .fill(&mut own_nonce)
            .map_err(|e| failed(CryptoError::from(e).into()))?;
        let key = group.respond(ke.value).map_err(|e| failed(e.into()))?;
        let nonces = Nonces {
            initiator: nonce.to_vec(),
            responder: own_nonce,
        };
        let spis = core.spis();
        let keys = IkeKeys::derive(
            prf,
            KeyLengths::aead(cipher.layout().key_len),
            &SkeyseedInputs {
                nonce_i: &nonces.initiator,
                nonce_r: &nonces.responder,
                shared_secret: &key.secret,
                spi_i: spis.0,
                spi_r: spis.1,
            },
        )
        .map_err(|e| failed(e.into()))?;
        let protection =
            Protection::new(Role::Responder, cipher, &keys).map_err(|e| failed(e.into()))?;
        core.nat = Nat::detect(payloads, (spis.0, 0), core.path);
        let peer_hashes = init::announced_hashes(payloads);
        let response = init::Response {
            spis,
            sa: chosen.answer(),
            group: suite.group,
            public_value: &key.public_value,
            nonce: &nonces.responder,
            path: core.path,
            pretend_nat: core.endpoint.force_udp_encapsulation,
            ocsp_request: config.common.ocsp_request.as_ref(),
        }
        .build()
        .map_err(|_| failed(Error::Unwritable))?;
        core.window.accept(Digest::of(&request));
        core.window.respond(response, core.path);
        let deadline = later(now, core.endpoint.limits.half_open_lifetime);
        drop(message);
        Ok(Self {
            config,
            protection,
            suite,
            sk_d: keys.sk_d,
            sk_peer: keys.sk_pi,
            sk_own: keys.sk_pr,
            nonces,
            peer_hashes,
            peer_init: request,
            deadline,
        })
    }

    pub(super) fn deadline(&self) -> Wakeup {
        Wakeup {
            at: self.deadline,
            reason: WakeReason::HandshakeDeadline,
        }
    }

    /// Takes the first request that is authentic, which is the only one that this state takes.
    pub(super) fn handle_request(
        mut self: Box<Self>,
        now: Instant,
        core: &mut Core,
        path: Path,
        own_init: Vec<u8>,
        opened: Result<Opened<'_>, Error>,
    ) -> State {
        // From here on messages go to where this one came from, port 4500 perhaps (RFC 7296 §2.23).
        core.path = path;
        let read = opened.and_then(|opened| {
            self.read(core, &opened).inspect_err(|_| {
                let claim = UnprovenPeer::read(&opened.payloads, path);
                core.emit(Event::PeerUnproven(Box::new(claim)));
            })
        });
        match read {
            Ok((peer, offer, ocsp_request)) => {
                let side = ResponderSide {
                    config: self.config,
                    sk_d: self.sk_d,
                    sk_own: self.sk_own,
                    own_init,
                    nonces: self.nonces,
                    peer_hashes: self.peer_hashes,
                    ocsp_request,
                    offer,
                };
                AwaitVerdict::present(
                    now,
                    core,
                    self.protection,
                    self.suite,
                    peer,
                    Side::Responder(side),
                )
            }
            Err(error) => {
                let value = match &error {
                    Error::PeerMisbehaved(PeerMisbehaved::UnknownCritical(kind)) => vec![kind.0],
                    _ => Vec::new(),
                };
                core.respond_notify(
                    &mut self.protection,
                    path,
                    ExchangeType::IKE_AUTH,
                    error.notify(),
                    &value,
                );
                State::over(now, core, LostReason::Failed(error))
            }
        }
    }

    /// The peer, the child SA that it wants, and what it asks about our certificate.
    fn read(
        &self,
        core: &Core,
        opened: &Opened<'_>,
    ) -> Result<(ProvenPeer, ChildOffer, Option<OcspRequest>), Error> {
        if opened.form == Form::EapStart {
            return Err(PeerIncompatible::Eap.into());
        }
        let provider = &core.endpoint.provider;
        let payloads = &opened.payloads;
        let prf = provider
            .prf(self.suite.prf)
            .ok_or(CryptoError::KeyUnusable)?;
        let missing = || Error::from(PeerMisbehaved::UnexpectedExchange(ExchangeType::IKE_AUTH));
        let id = payloads.id_i().ok_or_else(missing)?;
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
                nonce: &self.nonces.responder,
            },
        )?;
        let offer = ChildOffer::read(payloads, &self.config.common.child, provider);
        Ok((peer, offer, OcspRequest::read(payloads)))
    }

    pub(super) fn protection(&self) -> &Protection {
        &self.protection
    }
}
