//! The child SA and the configuration payload of IKE_AUTH (RFC 7296 §1.2, §2.9, §2.19, §3.15).

use std::net::Ipv4Addr;

use crate::child::{ChildSa, EspSuite, is_within, narrow};
use crate::config::ChildConfig;
use crate::crypto::{CryptoError, CryptoProvider, SecretBytes, SupportedPrf};
use crate::event::{Grant, Lease, MAX_DNS, Path, Role};
use crate::keymat::{ChildInputs, ChildKeys, KeyLengths};
use crate::negotiate::{ChosenEsp, EspProposal, check_esp, choose_esp, supported_esp};
use crate::wire::{
    Attribute, CfgAttribute, CfgPayload, CfgType, NotifyType, Payload, Payloads, TrafficSelector,
};

/// Ni and Nr.
#[derive(Debug)]
pub(crate) struct Nonces {
    pub(crate) initiator: Vec<u8>,
    pub(crate) responder: Vec<u8>,
}

/// Where a child SA's keys come from.
pub(crate) struct KeySource<'a> {
    pub(crate) provider: &'a CryptoProvider,
    pub(crate) prf: &'static dyn SupportedPrf,
    pub(crate) sk_d: &'a SecretBytes,
    pub(crate) nonces: &'a Nonces,
    /// Our role in the exchange that makes the child SA.
    pub(crate) role: Role,
    pub(crate) inbound_spi: u32,
    pub(crate) path: Path,
    pub(crate) udp_encapsulation: bool,
}

impl KeySource<'_> {
    /// Derives the keys.
    pub(crate) fn child(
        &self,
        chosen: &ChosenEsp,
        local_selectors: Vec<TrafficSelector>,
        remote_selectors: Vec<TrafficSelector>,
    ) -> Result<ChildSa, CryptoError> {
        let cipher = self
            .provider
            .cipher(chosen.cipher.id, chosen.cipher.key_bits)
            .ok_or(CryptoError::KeyUnusable)?;
        let keys = ChildKeys::derive(
            self.prf,
            self.sk_d,
            KeyLengths::aead(cipher.layout().key_len),
            &ChildInputs {
                nonce_i: &self.nonces.initiator,
                nonce_r: &self.nonces.responder,
                shared_secret: None,
            },
        )?;
        let (inbound, outbound) = match self.role {
            Role::Initiator => (keys.responder_to_initiator, keys.initiator_to_responder),
            Role::Responder => (keys.initiator_to_responder, keys.responder_to_initiator),
        };
        Ok(ChildSa {
            inbound_spi: self.inbound_spi,
            outbound_spi: chosen.peer_spi,
            inbound,
            outbound,
            suite: EspSuite { ..chosen.suite },
            local_selectors,
            remote_selectors,
            udp_encapsulation: self.udp_encapsulation,
            path: self.path,
        })
    }
}

/// What an initiator asks for, as the responder keeps it until the peer is admitted.
#[derive(Debug)]
pub(crate) struct ChildOffer {
    /// None: no proposal in common.
    chosen: Option<ChosenEsp>,
    initiator: Vec<TrafficSelector>,
    responder: Vec<TrafficSelector>,
    wishes: Option<Wishes>,
}

/// What a CFG_REQUEST asks for, of what we can give.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    address: bool,
    netmask: bool,
    dns: bool,
}

/// What the responder gives.
pub(crate) struct ChildAnswer {
    pub(crate) chosen: ChosenEsp,
    pub(crate) initiator: Vec<TrafficSelector>,
    pub(crate) responder: Vec<TrafficSelector>,
}

impl ChildOffer {
    /// Reads SA, TSi, TSr and CP of an IKE_AUTH request.
    pub(crate) fn read(
        payloads: &Payloads<'_>,
        config: &ChildConfig,
        provider: &CryptoProvider,
    ) -> Self {
        let ours = supported_esp(&config.proposals, provider);
        Self {
            chosen: payloads.sa().and_then(|offered| choose_esp(&ours, offered)),
            initiator: payloads
                .ts_i()
                .map(|ts| ts.selectors.clone())
                .unwrap_or_default(),
            responder: payloads
                .ts_r()
                .map(|ts| ts.selectors.clone())
                .unwrap_or_default(),
            wishes: payloads
                .configuration()
                .filter(|cp| cp.kind == CfgType::REQUEST)
                .map(|cp| Wishes {
                    address: cp.has(CfgAttribute::INTERNAL_IP4_ADDRESS),
                    netmask: cp.has(CfgAttribute::INTERNAL_IP4_NETMASK),
                    dns: cp.has(CfgAttribute::INTERNAL_IP4_DNS),
                }),
        }
    }

    /// Whether an inner IPv4 address is asked for.
    pub(crate) fn requests_address(&self) -> bool {
        self.wishes.is_some_and(|wishes| wishes.address)
    }

    /// Narrows to what is granted, or says why there is no child SA.
    pub(crate) fn decide(
        &self,
        config: &ChildConfig,
        grant: &Grant,
    ) -> Result<ChildAnswer, NotifyType> {
        let leased;
        let remote: &[TrafficSelector] = match (&grant.lease, self.requests_address()) {
            (Some(_), false) => return Err(NotifyType::FAILED_CP_REQUIRED),
            (None, true) => return Err(NotifyType::INTERNAL_ADDRESS_FAILURE),
            (Some(lease), true) => {
                leased = [TrafficSelector::host(lease.address.into())];
                &leased
            }
            (None, false) => grant.remote_selectors.as_ref().unwrap_or(&config.remote),
        };
        let local = grant.local_selectors.as_ref().unwrap_or(&config.local);
        let chosen = self.chosen.ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
        let initiator = narrow(&self.initiator, remote);
        let responder = narrow(&self.responder, local);
        if initiator.is_empty() || responder.is_empty() {
            return Err(NotifyType::TS_UNACCEPTABLE);
        }
        Ok(ChildAnswer {
            chosen,
            initiator,
            responder,
        })
    }

    /// The octets of the attributes that are given, of those asked for.
    pub(crate) fn reply(&self, lease: &Lease) -> Reply {
        let wishes = self.wishes.unwrap_or(Wishes {
            address: false,
            netmask: false,
            dns: false,
        });
        let mut attributes = Vec::new();
        if wishes.address {
            attributes.push((CfgAttribute::INTERNAL_IP4_ADDRESS, lease.address.octets()));
        }
        if let Some(netmask) = lease.netmask.filter(|_| wishes.netmask) {
            attributes.push((CfgAttribute::INTERNAL_IP4_NETMASK, netmask.octets()));
        }
        for dns in lease.dns.iter().take(MAX_DNS).filter(|_| wishes.dns) {
            attributes.push((CfgAttribute::INTERNAL_IP4_DNS, dns.octets()));
        }
        Reply(attributes)
    }
}

/// A CFG_REPLY.
pub(crate) struct Reply(Vec<(CfgAttribute, [u8; 4])>);

impl Reply {
    pub(crate) fn payload(&self) -> Payload<'_> {
        let attributes = self
            .0
            .iter()
            .map(|(kind, value)| Attribute { kind: *kind, value })
            .collect();
        Payload::Configuration(CfgPayload {
            kind: CfgType::REPLY,
            attributes,
        })
    }
}

/// A CFG_REQUEST for an inner IPv4 address and what goes with it.
pub(crate) fn request_configuration<'a>() -> Payload<'a> {
    let ask = |kind| Attribute { kind, value: &[] };
    Payload::Configuration(CfgPayload {
        kind: CfgType::REQUEST,
        attributes: vec![
            ask(CfgAttribute::INTERNAL_IP4_ADDRESS),
            ask(CfgAttribute::INTERNAL_IP4_NETMASK),
            ask(CfgAttribute::INTERNAL_IP4_DNS),
        ],
    })
}

/// What a CFG_REPLY gives; None without an address.
pub(crate) fn read_lease(payloads: &Payloads<'_>) -> Option<Lease> {
    let reply = payloads
        .configuration()
        .filter(|cp| cp.kind == CfgType::REPLY)?;
    let address = reply
        .ipv4(CfgAttribute::INTERNAL_IP4_ADDRESS)
        .find(|address| *address != Ipv4Addr::UNSPECIFIED)?;
    Some(Lease {
        address,
        netmask: reply.ipv4(CfgAttribute::INTERNAL_IP4_NETMASK).next(),
        dns: reply
            .ipv4(CfgAttribute::INTERNAL_IP4_DNS)
            .take(MAX_DNS)
            .collect(),
    })
}

/// What the responder answered to our offer; None if it does not lie within the offer.
pub(crate) fn check_answer(
    payloads: &Payloads<'_>,
    config: &ChildConfig,
    ours: &[EspProposal],
) -> Option<(ChosenEsp, Vec<TrafficSelector>, Vec<TrafficSelector>)> {
    let chosen = check_esp(ours, payloads.sa()?)?;
    let (local, remote) = (payloads.ts_i()?, payloads.ts_r()?);
    let known = local.unknown.is_empty() && remote.unknown.is_empty();
    let within =
        is_within(&local.selectors, &config.local) && is_within(&remote.selectors, &config.remote);
    (known && within).then(|| (chosen, local.selectors.clone(), remote.selectors.clone()))
}
