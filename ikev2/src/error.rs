//! What can go wrong, sorted by whose fault it is.

use core::fmt;

use crate::auth::{
    AuthError, CertificateError, IdentityError, MAX_OCSP_RESPONSE_LEN, MAX_OCSP_RESPONSES,
    SignError,
};
use crate::crypto::CryptoError;
use crate::event::Transmit;
use crate::wire::{DecodeError, ExchangeType, GroupId, NotifyType, PayloadType, RuleViolation};

/// Why a message, an exchange or an IKE SA failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The octets are not an IKE message.
    Decode(DecodeError),
    /// The message is well formed, but the peer must not send it.
    PeerMisbehaved(PeerMisbehaved),
    /// The peer is right, but we have nothing in common.
    PeerIncompatible(PeerIncompatible),
    /// The peer's AUTH payload does not prove its key.
    Auth(AuthError),
    /// The peer's certificate is not acceptable, or does not hold its identity.
    Certificate(CertificateError),
    /// The peer's identity is malformed or of an unknown type.
    Identity(IdentityError),
    /// The time provider does not know the time, so no certificate can be judged.
    NoWallTime,
    /// We could not make our own AUTH payload.
    Sign(SignError),
    /// A cryptographic operation failed.
    Crypto(CryptoError),
    /// What we have to say does not fit into a message: too many or too long certificates.
    Unwritable,
}

impl Error {
    /// The notify that tells the peer: the only mapping of errors to the wire.
    pub fn notify(&self) -> NotifyType {
        match self {
            Self::Decode(_) => NotifyType::INVALID_SYNTAX,
            Self::PeerMisbehaved(PeerMisbehaved::UnknownCritical(_)) => {
                NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD
            }
            Self::PeerMisbehaved(
                PeerMisbehaved::WrongIdentity
                | PeerMisbehaved::NoCertificate
                | PeerMisbehaved::OcspResponseLength(_)
                | PeerMisbehaved::OcspResponseCount(_),
            )
            | Self::PeerIncompatible(PeerIncompatible::Eap)
            | Self::Auth(_)
            | Self::Certificate(_)
            | Self::Identity(_)
            | Self::NoWallTime
            | Self::Sign(_)
            | Self::Unwritable
            | Self::Crypto(_) => NotifyType::AUTHENTICATION_FAILED,
            Self::PeerMisbehaved(_) => NotifyType::INVALID_SYNTAX,
            Self::PeerIncompatible(_) => NotifyType::NO_PROPOSAL_CHOSEN,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(e) => write!(f, "malformed message: {e}"),
            Self::PeerMisbehaved(e) => write!(f, "the peer misbehaved: {e}"),
            Self::PeerIncompatible(e) => write!(f, "the peer is incompatible: {e}"),
            Self::Auth(e) => e.fmt(f),
            Self::Certificate(e) => e.fmt(f),
            Self::Identity(e) => e.fmt(f),
            Self::NoWallTime => {
                f.write_str("the time is not known, so that no certificate can be judged")
            }
            Self::Sign(e) => write!(f, "cannot authenticate ourselves: {e}"),
            Self::Unwritable => f.write_str("our message does not fit into a datagram"),
            Self::Crypto(e) => write!(f, "cryptographic operation failed: {e}"),
        }
    }
}

impl core::error::Error for Error {}

impl From<DecodeError> for Error {
    fn from(e: DecodeError) -> Self {
        Self::Decode(e)
    }
}

impl From<PeerMisbehaved> for Error {
    fn from(e: PeerMisbehaved) -> Self {
        Self::PeerMisbehaved(e)
    }
}

impl From<PeerIncompatible> for Error {
    fn from(e: PeerIncompatible) -> Self {
        Self::PeerIncompatible(e)
    }
}

impl From<AuthError> for Error {
    fn from(e: AuthError) -> Self {
        Self::Auth(e)
    }
}

impl From<CertificateError> for Error {
    fn from(e: CertificateError) -> Self {
        Self::Certificate(e)
    }
}

impl From<IdentityError> for Error {
    fn from(e: IdentityError) -> Self {
        Self::Identity(e)
    }
}

impl From<SignError> for Error {
    fn from(e: SignError) -> Self {
        Self::Sign(e)
    }
}

impl From<RuleViolation> for Error {
    fn from(e: RuleViolation) -> Self {
        Self::PeerMisbehaved(match e {
            RuleViolation::UnsupportedCritical(kind) => PeerMisbehaved::UnknownCritical(kind),
            other => PeerMisbehaved::Rule(other),
        })
    }
}

impl From<CryptoError> for Error {
    fn from(e: CryptoError) -> Self {
        Self::Crypto(e)
    }
}

/// What the peer did that it must not do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// A payload is missing, doubled, or not where it must be.
    Rule(RuleViolation),
    /// A payload that we do not know has its critical bit set (RFC 7296 §2.5).
    UnknownCritical(PayloadType),
    /// A nonce of this many octets, or one shorter than half of the PRF's key (RFC 7296 §2.10).
    NonceLength(usize),
    /// The answer's IKE proposal, or the group of its key, was not offered.
    ProposalNotOffered,
    /// The peer keeps asking for cookies or groups.
    TooManyRetries,
    /// The answer's child SA is not within what was offered: algorithms, SPI or traffic selectors
    /// (RFC 7296 §2.9, §3.3).
    ChildNotOffered,
    /// No certificate came with the AUTH payload.
    NoCertificate,
    /// An OCSP response, which it was asked for, of this many octets: none, or more than
    /// [`MAX_OCSP_RESPONSE_LEN`].
    OcspResponseLength(usize),
    /// This many OCSP responses, more than [`MAX_OCSP_RESPONSES`].
    OcspResponseCount(usize),
    /// The peer proved another identity than the configured one.
    WrongIdentity,
    /// The exchange is not one that the peer may begin now.
    UnexpectedExchange(ExchangeType),
}

impl fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(e) => e.fmt(f),
            Self::UnknownCritical(kind) => write!(f, "critical payload {kind} is not known here"),
            Self::NonceLength(len) => write!(f, "nonce of {len} octets"),
            Self::ProposalNotOffered => {
                f.write_str("it chose an IKE proposal or a group that was not offered")
            }
            Self::TooManyRetries => f.write_str("it kept asking for cookies or other groups"),
            Self::ChildNotOffered => f.write_str(
                "its child SA is not within what was offered (algorithms, SPI, traffic selectors)",
            ),
            Self::NoCertificate => f.write_str("it sent no certificate"),
            Self::OcspResponseLength(len) => write!(
                f,
                "it sent an OCSP response of {len} octets, one of 1 to {MAX_OCSP_RESPONSE_LEN} is taken"
            ),
            Self::OcspResponseCount(count) => write!(
                f,
                "it sent {count} OCSP responses, at most {MAX_OCSP_RESPONSES} are taken"
            ),
            Self::WrongIdentity => {
                f.write_str("it proved another identity than the one configured")
            }
            Self::UnexpectedExchange(exchange) => write!(f, "exchange {exchange} is out of place"),
        }
    }
}

impl core::error::Error for PeerMisbehaved {}

/// What we do not have in common with the peer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PeerIncompatible {
    /// None of its IKE proposals is acceptable.
    NoIkeProposal,
    /// It wants EAP (no AUTH payload in its first IKE_AUTH request).
    Eap,
}

impl fmt::Display for PeerIncompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIkeProposal => f.write_str("no IKE proposal in common"),
            Self::Eap => f.write_str("it wants EAP"),
        }
    }
}

impl core::error::Error for PeerIncompatible {}

/// A command that does not fit the state of the IKE SA. Nothing was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// `admit` without a pending [`Event::PeerPresented`](crate::Event::PeerPresented): too late, or twice.
    NoVerdictAwaited,
    /// The IKE SA is not established.
    NotEstablished,
    /// No child SA has this handle.
    NoSuchChild,
}

impl fmt::Display for ApiMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoVerdictAwaited => "no verdict is awaited: it came too late, or twice",
            Self::NotEstablished => "the IKE SA is not established",
            Self::NoSuchChild => "no child SA has this handle",
        })
    }
}

impl core::error::Error for ApiMisuse {}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A proposal without a cipher, a PRF or a group, or none at all.
    EmptyProposal,
    /// None of the configured algorithms is in the provider.
    NothingSupported,
    /// The shard number is above [`MAX_SHARD`](crate::config::MAX_SHARD).
    Shard(u8),
    /// More than [`MAX_SELECTORS`](crate::wire::MAX_SELECTORS) traffic selectors, or none.
    Selectors(usize),
    /// The credential's certificate chain is empty.
    EmptyChain,
    /// The proposals or selectors do not fit into a message.
    TooLong,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyProposal => {
                f.write_str("a proposal needs at least one cipher, one PRF and one group")
            }
            Self::NothingSupported => {
                f.write_str("the crypto provider has none of the configured algorithms")
            }
            Self::Shard(n) => write!(
                f,
                "shard {n} is too high: use 0 to {}",
                crate::config::MAX_SHARD
            ),
            Self::Selectors(n) => write!(
                f,
                "{n} traffic selectors: give 1 to {}",
                crate::wire::MAX_SELECTORS
            ),
            Self::EmptyChain => f.write_str("the credential has no certificate"),
            Self::TooLong => f.write_str("the proposals do not fit into a message"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Why an IKE SA could not be begun. Nothing was sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum InitiateError {
    /// The configuration cannot work.
    Config(ConfigError),
    /// No random octets, or no ephemeral key.
    Crypto(CryptoError),
    /// The endpoint holds as many IKE SAs as [`Limits`](crate::Limits) lets it.
    TooMany,
}

impl fmt::Display for InitiateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(e) => e.fmt(f),
            Self::Crypto(e) => e.fmt(f),
            Self::TooMany => f.write_str("the endpoint holds as many IKE SAs as it may"),
        }
    }
}

impl core::error::Error for InitiateError {}

/// Why an IKE_SA_INIT request did not become an IKE SA, and what to answer.
#[derive(Debug)]
#[must_use]
pub struct AcceptError {
    /// The cause.
    pub cause: Box<AcceptRefusal>,
    /// The answer, in the buffer that was handed in. None where silence is right.
    pub response: Option<Transmit>,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl core::error::Error for AcceptError {}

/// Why an IKE_SA_INIT request did not become an IKE SA.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AcceptRefusal {
    /// The request's KE payload is of a group that we do not take; it was told which to use.
    WrongGroup(GroupId),
    /// The request is faulty or has nothing in common with us.
    Failed(Error),
    /// The half-open table or the table of IKE SAs is full.
    Full,
    /// This endpoint has no responder configuration.
    NotResponder,
    /// The same request was accepted before, while this one waited: a retransmission. The peer
    /// gets its answer from that IKE SA.
    Repeated,
}

impl fmt::Display for AcceptRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongGroup(group) => write!(f, "the peer was asked to use group {group}"),
            Self::Failed(e) => e.fmt(f),
            Self::Full => f.write_str("as many IKE SAs are half open, or open, as may be"),
            Self::NotResponder => f.write_str("this endpoint only initiates"),
            Self::Repeated => f.write_str("the same request has made an IKE SA already"),
        }
    }
}
