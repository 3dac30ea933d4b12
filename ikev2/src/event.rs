//! What an IKE SA says to its owner, and what the owner answers.

use core::fmt;
use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::auth::{CertificateDer, Identification};
use crate::child::{ChildHandle, ChildSa, RemoveReason};
use crate::error::Error;
use crate::negotiate::IkeSuite;
use crate::wire::{CertEncoding, NotifyType, Payloads, TrafficSelector};

/// Who sent the IKE_SA_INIT request of an IKE SA.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// This side began.
    Initiator,
    /// The peer began.
    Responder,
}

/// The two addresses between which datagrams travel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Path {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port, as seen from here.
    pub remote: SocketAddr,
}

/// Whether four zero octets go before the IKE message ([RFC 7296 §2.23]).
///
/// [RFC 7296 §2.23]: https://www.rfc-editor.org/rfc/rfc7296#section-2.23
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NonEspMarker {
    /// Send the datagram as it is (port 500, and the one-octet NAT keepalive).
    Absent,
    /// Send four zero octets and then the datagram (port 4500).
    Present,
}

/// One datagram to send. Its octets are in the buffer that was handed in, `buf[..size]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct Transmit {
    /// From where to where.
    pub path: Path,
    /// How many octets of the buffer to send, the marker not counted.
    pub size: usize,
    /// Whether the caller puts the non-ESP marker before them.
    pub marker: NonEspMarker,
}

/// When [`IkeSa::handle_timeout`](crate::IkeSa::handle_timeout) wants to be called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wakeup {
    /// Not before this instant; never in the past of the last input.
    pub at: Instant,
    /// What will happen then.
    pub reason: WakeReason,
}

/// Why an IKE SA wants to be woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WakeReason {
    /// A request of ours goes out again, or is given up.
    Retransmit,
    /// The peer has not finished the handshake in time.
    HandshakeDeadline,
    /// Nobody has called [`IkeSa::admit`](crate::IkeSa::admit) in time.
    VerdictDeadline,
    /// Nothing protected has come for a while: ask whether the peer is there.
    Liveness,
    /// The NAT before us would forget the mapping.
    NatKeepalive,
    /// The SA has lived as long as it may.
    Lifetime,
    /// The SA is over, and no longer answers retransmitted requests after this.
    Drained,
}

/// Where an IKE SA stands. A view only: nothing can be done with it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// IKE_SA_INIT has been sent (initiator) or answered (responder).
    Initiating,
    /// IKE_AUTH has been sent (initiator).
    Authenticating,
    /// The peer is proven; [`IkeSa::admit`](crate::IkeSa::admit) is awaited.
    AwaitingVerdict,
    /// Both are authenticated and admitted.
    Established,
    /// A last request (Delete) awaits its answer.
    Closing,
    /// Over. Retransmitted requests may still be answered until
    /// [`IkeSa::is_drained`](crate::IkeSa::is_drained).
    Closed,
}

/// What [`IkeSa::poll_event`](crate::IkeSa::poll_event) returns.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The peer has proven possession of the key of its certificate, and its identity is in that
    /// certificate. Decide, and call [`IkeSa::admit`](crate::IkeSa::admit).
    PeerPresented(Box<PresentedPeer>),
    /// The peer's IKE_AUTH request was authentic, but did not prove the peer: what it claimed, for
    /// the log and nothing else. `Lost`, which says what did not hold, comes next. Responder only.
    PeerUnproven(Box<UnprovenPeer>),
    /// The IKE SA stands.
    Established(Box<IkeSaInfo>),
    /// A child SA stands: install these keys.
    ChildInstalled(ChildHandle, Box<ChildSa>),
    /// The child SA that IKE_AUTH asked for was refused, by the peer or by us, with this notify.
    /// The IKE SA stays up ([RFC 7296 §1.2]).
    ///
    /// [RFC 7296 §1.2]: https://www.rfc-editor.org/rfc/rfc7296#section-1.2
    ChildRefused(NotifyType),
    /// A child SA is gone: forget its keys.
    ChildRemoved(ChildHandle, RemoveReason),
    /// The peer's authenticated messages come from another address now: send ESP there.
    PathChanged(Path),
    /// The IKE SA is over. Emitted exactly once, after a `ChildRemoved` for each child.
    Lost(LostReason),
}

/// A peer whose key and identity are proven, and whose admission is open.
#[derive(Clone, Debug)]
pub struct PresentedPeer {
    pub(crate) identity: Identification,
    pub(crate) end_entity: CertificateDer,
    pub(crate) issuers: Vec<CertificateDer>,
    pub(crate) stapled_ocsp: Vec<Vec<u8>>,
    pub(crate) path: Path,
    pub(crate) initial_contact: bool,
    pub(crate) requests_address: bool,
    pub(crate) within: Duration,
}

impl PresentedPeer {
    /// The proven identity (IDi of an initiator, IDr of a responder), in its
    /// [canonical form](Identification::canonical).
    pub fn identity(&self) -> &Identification {
        &self.identity
    }

    /// The certificate whose key made the AUTH signature.
    pub fn end_entity(&self) -> &CertificateDer {
        &self.end_entity
    }

    /// The other certificates that the peer sent, in the order in which they came.
    pub fn issuers(&self) -> &[CertificateDer] {
        &self.issuers
    }

    /// The OCSP responses that the peer sent because it was asked for them, each the DER of an
    /// OCSPResponse that nobody has looked at: at most
    /// [`MAX_OCSP_RESPONSES`](crate::auth::MAX_OCSP_RESPONSES) of at most
    /// [`MAX_OCSP_RESPONSE_LEN`](crate::auth::MAX_OCSP_RESPONSE_LEN) octets; a peer that sent more, longer
    /// or empty ones is refused. Which certificate one is for, its CertID tells ([RFC 4806 §3.2]).
    /// None may mean that the peer does not know RFC 4806, or that it has reason to keep its status to
    /// itself: whoever stole a key need not send one.
    ///
    /// [RFC 4806 §3.2]: https://www.rfc-editor.org/rfc/rfc4806#section-3.2
    pub fn stapled_ocsp(&self) -> impl Iterator<Item = &[u8]> {
        self.stapled_ocsp.iter().map(Vec::as_slice)
    }

    /// Where the peer's message came from.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Whether the peer says that this is its only IKE SA with us (INITIAL_CONTACT).
    pub fn initial_contact(&self) -> bool {
        self.initial_contact
    }

    /// Whether the peer asks for an inner IPv4 address: then the [`Grant`] should hold a [`Lease`].
    pub fn requests_address(&self) -> bool {
        self.requests_address
    }

    /// How long the verdict may take; after that the peer is denied.
    pub fn within(&self) -> Duration {
        self.within
    }
}

/// What a peer claimed without proving it. Anybody can claim anything.
#[derive(Clone, Debug)]
pub struct UnprovenPeer {
    /// IDi, if there was a well-formed one.
    pub identity: Option<Identification>,
    /// The first certificate, if there was one: perhaps not one at all.
    pub end_entity: Option<CertificateDer>,
    /// Where the request came from.
    pub path: Path,
}

impl UnprovenPeer {
    pub(crate) fn read(payloads: &Payloads<'_>, path: Path) -> Self {
        let first = payloads
            .certs()
            .find(|cert| cert.encoding == CertEncoding::X509_SIGNATURE);
        Self {
            identity: payloads
                .id_i()
                .and_then(|id| Identification::decode(id.kind, id.value).ok()),
            end_entity: first.map(|cert| CertificateDer::from(cert.value)),
            path,
        }
    }
}

/// The application's answer to [`Event::PeerPresented`].
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Let it in.
    Admit(Grant),
    /// Refuse it: the peer hears AUTHENTICATION_FAILED and no more; the reason stays here.
    Deny(DenyReason),
}

/// What an admitted peer gets.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// The inner address for the peer. A responder that gives a lease insists on the configuration
    /// payload (FAILED_CP_REQUIRED otherwise) and narrows TSi to the address. Ignored on an initiator.
    pub lease: Option<Lease>,
    /// Our side of the child SA, in place of the configured one.
    pub local_selectors: Option<Vec<TrafficSelector>>,
    /// The peer's side of the child SA where there is no lease, in place of the configured one.
    pub remote_selectors: Option<Vec<TrafficSelector>>,
}

impl Grant {
    /// A grant with an inner address.
    pub fn with_lease(lease: Lease) -> Self {
        Self {
            lease: Some(lease),
            ..Self::default()
        }
    }
}

/// An inner IPv4 address and what goes with it (configuration payload, [RFC 7296 §3.15]).
///
/// [RFC 7296 §3.15]: https://www.rfc-editor.org/rfc/rfc7296#section-3.15
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// INTERNAL_IP4_ADDRESS.
    pub address: Ipv4Addr,
    /// INTERNAL_IP4_NETMASK, if one is given.
    pub netmask: Option<Ipv4Addr>,
    /// INTERNAL_IP4_DNS, at most [`MAX_DNS`].
    pub dns: Vec<Ipv4Addr>,
}

/// Why a peer was not admitted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DenyReason {
    /// No verdict came in time.
    Deadline,
    /// The application's own reason, for the log only.
    Policy(Cow<'static, str>),
}

impl DenyReason {
    /// A reason in the application's words.
    pub fn policy(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Policy(reason.into())
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.write_str("no verdict in time"),
            Self::Policy(reason) => f.write_str(reason),
        }
    }
}

/// An established IKE SA.
#[derive(Clone, Debug)]
pub struct IkeSaInfo {
    /// The peer's proven identity.
    pub identity: Identification,
    /// The certificate that proved it.
    pub end_entity: CertificateDer,
    /// Whether the peer sent INITIAL_CONTACT.
    pub initial_contact: bool,
    /// The initiator's and the responder's IKE SPI.
    pub spis: (u64, u64),
    /// The inner address that was assigned (to us on an initiator, to the peer on a responder).
    pub assigned: Option<Lease>,
    /// The negotiated algorithms.
    pub suite: IkeSuite,
    /// Where the peer is.
    pub path: Path,
}

/// Why an IKE SA ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LostReason {
    /// The peer did not answer. Holds how many times the request was sent.
    TimedOut {
        /// How many times the last request was sent.
        after: u32,
    },
    /// The peer did not finish the handshake in time.
    HandshakeTimedOut,
    /// The peer deleted the IKE SA.
    PeerDeleted,
    /// The peer refused, with this notify (AUTHENTICATION_FAILED, NO_PROPOSAL_CHOSEN, ...).
    PeerError(NotifyType),
    /// We did not admit the peer.
    Denied(DenyReason),
    /// The peer failed to authenticate, broke the protocol, or cannot do what we need.
    Failed(Error),
    /// The configured lifetime is over.
    Expired,
    /// [`IkeSa::close`](crate::IkeSa::close) was called.
    LocallyClosed,
    /// [`IkeSa::abandon`](crate::IkeSa::abandon) was called.
    Abandoned,
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { after } => {
                write!(f, "no answer from the peer to {after} transmissions")
            }
            Self::HandshakeTimedOut => f.write_str("the peer did not finish the handshake in time"),
            Self::PeerDeleted => f.write_str("the peer deleted the IKE SA"),
            Self::PeerError(notify) => write!(f, "the peer answered {notify}"),
            Self::Denied(reason) => write!(f, "denied: {reason}"),
            Self::Failed(error) => error.fmt(f),
            Self::Expired => f.write_str("the configured lifetime is over"),
            Self::LocallyClosed => f.write_str("closed by this side"),
            Self::Abandoned => f.write_str("abandoned by this side"),
        }
    }
}

/// The most DNS servers that a [`Lease`] sends or keeps.
pub const MAX_DNS: usize = 8;
