//! Configuration: one type per scope, shared by `Arc`, every default with its reason.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Identification, LocalCredential, OcspRequest, PeerVerifier, TimeProvider};
use crate::crypto::CryptoProvider;
use crate::error::ConfigError;
use crate::negotiate::{EspProposal, IkeProposal};
use crate::wire::{MAX_SELECTORS, TrafficSelector};

/// What all IKE SAs of an [`Endpoint`](crate::Endpoint) share.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) time: Arc<dyn TimeProvider>,
    pub(crate) limits: Limits,
    pub(crate) shard: u8,
    pub(crate) encapsulation_port: u16,
    pub(crate) force_udp_encapsulation: bool,
}

impl EndpointConfig {
    /// A configuration with the default limits, shard 0, and port 4500 for encapsulation.
    pub fn new(provider: Arc<CryptoProvider>, time: Arc<dyn TimeProvider>) -> Self {
        Self {
            provider,
            time,
            limits: Limits::default(),
            shard: 0,
            encapsulation_port: 4500,
            force_udp_encapsulation: false,
        }
    }

    /// The bounds on tables and rates.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The number that goes into the top octet of our IKE SPIs, and plus one into that of our ESP
    /// SPIs, so that a receiver can tell from a datagram which shard owns it. Default 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Shard`] above [`MAX_SHARD`].
    pub fn shard(mut self, shard: u8) -> Result<Self, ConfigError> {
        if shard > MAX_SHARD {
            return Err(ConfigError::Shard(shard));
        }
        self.shard = shard;
        Ok(self)
    }

    /// Our port on which the non-ESP marker is used, both ways. Default 4500 (RFC 7296 §2.23).
    pub fn encapsulation_port(mut self, port: u16) -> Self {
        self.encapsulation_port = port;
        self
    }

    /// Pretend to be behind a NAT, so that the peer encapsulates ESP in UDP. Default false. A data
    /// plane in user space wants this: raw IP protocol 50 needs privileges.
    pub fn force_udp_encapsulation(mut self, force: bool) -> Self {
        self.force_udp_encapsulation = force;
        self
    }
}

/// Bounds on what peers can make an [`Endpoint`](crate::Endpoint) hold or send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Half-open IKE SAs as responder; more are dropped without an answer. Default 20 000.
    pub half_open: usize,
    /// How long a peer may take from IKE_SA_INIT to a complete IKE_AUTH. Default 30 s: a dozen
    /// retransmissions of a usual client.
    pub half_open_lifetime: Duration,
    /// IKE SAs of both roles in all. Default 2 000 000.
    pub open: usize,
    /// Octets in one IKE datagram; longer ones are dropped. Default 16 384: room for a chain of
    /// certificates of 8 KiB and their fellows.
    pub datagram: usize,
    /// Unprotected answers (INVALID_IKE_SPI, INVALID_MAJOR_VERSION) a second. Default 100.
    pub stray_answers_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            half_open: 20_000,
            half_open_lifetime: Duration::from_secs(30),
            open: 2_000_000,
            datagram: 16_384,
            stray_answers_per_second: 100,
        }
    }
}

/// How requests are repeated until they are answered (RFC 7296 §2.1, §2.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetransmitPolicy {
    /// The wait after the first transmission. Default 1 s.
    pub initial: Duration,
    /// Each wait is this many percent of the one before. Default 200.
    pub backoff_percent: u32,
    /// No wait is longer. Default 30 s.
    pub longest: Duration,
    /// Transmissions in all, the first one counted. Default 12: "at least a dozen times over a
    /// period of at least several minutes" (RFC 7296 §2.4).
    pub transmissions: u32,
    /// Each wait is shortened or lengthened at random by up to this many percent, so that a fleet
    /// does not repeat in step. Default 10.
    pub jitter_percent: u32,
}

impl Default for RetransmitPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            backoff_percent: 200,
            longest: Duration::from_secs(30),
            transmissions: 12,
            jitter_percent: 10,
        }
    }
}

/// How long things live without being renewed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetimes {
    /// Nothing protected came from the peer for this long: ask whether it is there (RFC 7296 §2.4).
    /// None never asks. Default 60 s.
    pub liveness: Option<Duration>,
    /// The IKE SA is deleted at this age. None (default) lets it live until a peer ends it, since
    /// rekeying is not there to renew it.
    pub ike_sa: Option<Duration>,
    /// A NAT before us is kept open by one octet this often. Default 20 s (RFC 3948 §4).
    pub nat_keepalive: Option<Duration>,
    /// How long an SA that is over answers retransmitted requests. Default 10 s.
    pub linger: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            liveness: Some(Duration::from_secs(60)),
            ike_sa: None,
            nat_keepalive: Some(Duration::from_secs(20)),
            linger: Duration::from_secs(10),
        }
    }
}

/// Who decides on a peer whose identity and key are proven.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// Everyone whom the verifier accepts, with an empty [`Grant`](crate::Grant).
    Immediate,
    /// The application, by [`IkeSa::admit`](crate::IkeSa::admit).
    ByApplication {
        /// A verdict that takes longer is a denial. 10 s is usual: the peer retransmits meanwhile.
        within: Duration,
    },
}

/// The child SA that IKE_AUTH makes.
#[derive(Clone, Debug)]
pub struct ChildConfig {
    pub(crate) local: Vec<TrafficSelector>,
    pub(crate) remote: Vec<TrafficSelector>,
    pub(crate) proposals: Vec<EspProposal>,
}

impl ChildConfig {
    /// Inner addresses on our side and on the peer's side. An initiator offers them; a responder
    /// narrows the peer's offer to them (RFC 7296 §2.9). A responder with no `remote` serves only
    /// peers that it grants a lease or selectors.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Selectors`] for more than [`MAX_SELECTORS`] on a side, or none on ours.
    pub fn new(
        local: Vec<TrafficSelector>,
        remote: Vec<TrafficSelector>,
    ) -> Result<Self, ConfigError> {
        if local.is_empty() || local.len() > MAX_SELECTORS {
            return Err(ConfigError::Selectors(local.len()));
        }
        if remote.len() > MAX_SELECTORS {
            return Err(ConfigError::Selectors(remote.len()));
        }
        Ok(Self {
            local,
            remote,
            proposals: vec![EspProposal::default()],
        })
    }

    /// ESP algorithms in order of preference. Default [`EspProposal::default`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::EmptyProposal`] if one is empty, or all are missing.
    pub fn proposals(mut self, proposals: Vec<EspProposal>) -> Result<Self, ConfigError> {
        if proposals.is_empty() || proposals.iter().any(EspProposal::is_empty) {
            return Err(ConfigError::EmptyProposal);
        }
        self.proposals = proposals;
        Ok(self)
    }
}

/// How to begin an IKE SA.
#[derive(Clone, Debug)]
pub struct InitiatorConfig {
    pub(crate) common: SaConfig,
    pub(crate) remote_identity: Option<Identification>,
    pub(crate) request_address: bool,
    pub(crate) initial_contact: bool,
    pub(crate) encapsulation_ports: (Option<u16>, u16),
}

impl InitiatorConfig {
    /// Defaults: any peer identity that the verifier accepts, no inner address asked for, no
    /// INITIAL_CONTACT, immediate admission.
    ///
    /// # Errors
    ///
    /// [`ConfigError::EmptyChain`] if the credential has no certificate, and
    /// [`ConfigError::Selectors`] if the child has no remote selector to offer.
    pub fn new(
        credential: Arc<dyn LocalCredential>,
        verifier: Arc<dyn PeerVerifier>,
        child: ChildConfig,
    ) -> Result<Self, ConfigError> {
        if child.remote.is_empty() {
            return Err(ConfigError::Selectors(0));
        }
        Ok(Self {
            common: SaConfig::new(credential, verifier, child, Admission::Immediate)?,
            remote_identity: None,
            request_address: false,
            initial_contact: false,
            encapsulation_ports: (Some(4500), 4500),
        })
    }

    /// The only identity that the peer may prove; also sent as IDr. Default: any.
    pub fn remote_identity(mut self, identity: Identification) -> Self {
        self.remote_identity = Some(identity);
        self
    }

    /// Ask for an inner IPv4 address, netmask and DNS (configuration payload). Default false.
    pub fn request_address(mut self, request: bool) -> Self {
        self.request_address = request;
        self
    }

    /// Say that this is our only IKE SA with the peer, so that it drops older ones. Default false:
    /// only the caller knows whether it is true (RFC 7296 §2.4).
    pub fn initial_contact(mut self, send: bool) -> Self {
        self.initial_contact = send;
        self
    }

    /// Our port and the peer's, for IKE_AUTH and everything after it, when there is a NAT or
    /// encapsulation is forced. None keeps our port as it is: right for a caller with one socket.
    /// Default 4500 both.
    pub fn encapsulation_ports(mut self, local: Option<u16>, remote: u16) -> Self {
        self.encapsulation_ports = (local, remote);
        self
    }

    /// Who decides on the proven peer. Default [`Admission::Immediate`].
    pub fn admission(mut self, admission: Admission) -> Self {
        self.common.admission = admission;
        self
    }

    /// Ask the peer for the status of its certificate, as an OCSP response beside it (RFC 4806).
    /// [`PresentedPeer::stapled_ocsp`](crate::PresentedPeer::stapled_ocsp) has what comes of it; nothing
    /// verifies it but the application, so with [`Admission::Immediate`] everybody is denied.
    /// Default: nobody is asked, and what comes unasked is ignored.
    pub fn request_ocsp(mut self, request: OcspRequest) -> Self {
        self.common.ocsp_request = Some(request);
        self
    }

    /// IKE algorithms in order of preference. Default [`IkeProposal::default`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::EmptyProposal`] if one is incomplete, or all are missing.
    pub fn proposals(mut self, proposals: Vec<IkeProposal>) -> Result<Self, ConfigError> {
        self.common.set_proposals(proposals)?;
        Ok(self)
    }

    /// How requests are repeated.
    pub fn retransmit(mut self, policy: RetransmitPolicy) -> Self {
        self.common.retransmit = policy;
        self
    }

    /// Liveness check, lifetime, keepalive.
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.common.lifetimes = lifetimes;
        self
    }
}

/// How to answer peers that begin.
#[derive(Clone, Debug)]
pub struct ResponderConfig {
    pub(crate) common: SaConfig,
    pub(crate) cookie_threshold: usize,
}

impl ResponderConfig {
    /// Defaults: the application admits, within 10 s; cookies from 1000 half-open IKE SAs on.
    ///
    /// # Errors
    ///
    /// [`ConfigError::EmptyChain`] if the credential has no certificate.
    pub fn new(
        credential: Arc<dyn LocalCredential>,
        verifier: Arc<dyn PeerVerifier>,
        child: ChildConfig,
    ) -> Result<Self, ConfigError> {
        let admission = Admission::ByApplication {
            within: Duration::from_secs(10),
        };
        Ok(Self {
            common: SaConfig::new(credential, verifier, child, admission)?,
            cookie_threshold: 1000,
        })
    }

    /// From how many half-open IKE SAs on a peer must first return a cookie, which proves that it
    /// receives at its address (RFC 7296 §2.6). 0 asks always. Default 1000.
    pub fn cookie_threshold(mut self, half_open: usize) -> Self {
        self.cookie_threshold = half_open;
        self
    }

    /// Who decides on the proven peer. Default [`Admission::ByApplication`] within 10 s.
    pub fn admission(mut self, admission: Admission) -> Self {
        self.common.admission = admission;
        self
    }

    /// Ask the peer for the status of its certificate, as an OCSP response beside it (RFC 4806).
    /// [`PresentedPeer::stapled_ocsp`](crate::PresentedPeer::stapled_ocsp) has what comes of it; nothing
    /// verifies it but the application, so with [`Admission::Immediate`] everybody is denied.
    /// Default: nobody is asked, and what comes unasked is ignored.
    pub fn request_ocsp(mut self, request: OcspRequest) -> Self {
        self.common.ocsp_request = Some(request);
        self
    }

    /// IKE algorithms in order of preference. Default [`IkeProposal::default`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::EmptyProposal`] if one is incomplete, or all are missing.
    pub fn proposals(mut self, proposals: Vec<IkeProposal>) -> Result<Self, ConfigError> {
        self.common.set_proposals(proposals)?;
        Ok(self)
    }

    /// How requests are repeated.
    pub fn retransmit(mut self, policy: RetransmitPolicy) -> Self {
        self.common.retransmit = policy;
        self
    }

    /// Liveness check, lifetime, keepalive.
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.common.lifetimes = lifetimes;
        self
    }
}

/// What both roles need to know for one IKE SA.
#[derive(Clone, Debug)]
pub(crate) struct SaConfig {
    pub(crate) credential: Arc<dyn LocalCredential>,
    pub(crate) verifier: Arc<dyn PeerVerifier>,
    pub(crate) proposals: Vec<IkeProposal>,
    pub(crate) child: ChildConfig,
    pub(crate) admission: Admission,
    pub(crate) retransmit: RetransmitPolicy,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) ocsp_request: Option<OcspRequest>,
}

impl SaConfig {
    fn new(
        credential: Arc<dyn LocalCredential>,
        verifier: Arc<dyn PeerVerifier>,
        child: ChildConfig,
        admission: Admission,
    ) -> Result<Self, ConfigError> {
        if credential.chain().is_empty() {
            return Err(ConfigError::EmptyChain);
        }
        Ok(Self {
            credential,
            verifier,
            proposals: vec![IkeProposal::default()],
            child,
            admission,
            retransmit: RetransmitPolicy::default(),
            lifetimes: Lifetimes::default(),
            ocsp_request: None,
        })
    }

    fn set_proposals(&mut self, proposals: Vec<IkeProposal>) -> Result<(), ConfigError> {
        if proposals.is_empty() || proposals.iter().any(IkeProposal::is_incomplete) {
            return Err(ConfigError::EmptyProposal);
        }
        self.proposals = proposals;
        Ok(())
    }
}

/// The highest shard number: the top octet of an ESP SPI is the shard plus one, and fits.
pub const MAX_SHARD: u8 = 254;
