//! Who is let in: the ledger's answer on H(CERT) becomes a verdict, a word for the metrics and a
//! sentence for the log.

use core::fmt;

use ikev2::auth::AuthError;
use ikev2::{AcceptRefusal, DenyReason, Error, LostReason};
use ledger::{CertificateHash, Status};
use ledger_client::{Answer, Client, Unavailable};
use tokio::runtime::Handle;

use crate::pool::PoolExhausted;

/// Takes the answer to one inquiry.
pub type Reply = Box<dyn FnOnce(Result<Answer, Unavailable>) + Send>;

/// How a shard asks the ledger. It never waits: an answer that is not at hand comes later.
pub trait StatusInquiry: Send + Sync + fmt::Debug {
    /// An answer that is at hand.
    fn cached(&self, hash: &CertificateHash) -> Option<Answer>;

    /// Asks, and calls `reply` exactly once, on any thread.
    fn ask(&self, hash: CertificateHash, reply: Reply);
}

/// Asks through a [`Client`], on a Tokio runtime.
#[derive(Clone)]
pub struct ClientInquiry {
    client: Client,
    runtime: Handle,
}

impl ClientInquiry {
    /// Inquiries of this client run on this runtime.
    pub fn new(client: Client, runtime: Handle) -> Self {
        Self { client, runtime }
    }
}

impl fmt::Debug for ClientInquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientInquiry").finish_non_exhaustive()
    }
}

impl StatusInquiry for ClientInquiry {
    fn cached(&self, hash: &CertificateHash) -> Option<Answer> {
        self.client.cached(hash)
    }

    fn ask(&self, hash: CertificateHash, reply: Reply) {
        let client = self.client.clone();
        self.runtime
            .spawn(async move { reply(client.status(&hash).await) });
    }
}

/// Why a peer was not let in.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The ledger says anything but `valid`.
    Status(Status),
    /// The ledger could not be asked: fail closed.
    Unavailable(Unavailable),
    /// As many IKE SAs are half open, or open, as there may be.
    Full,
    /// No inner address is left.
    Pool(PoolExhausted),
    /// The certificate, the identity or the signature did not hold, or the message was wrong.
    Ike(Error),
    /// The ledger's answer came too late.
    Deadline,
    /// The peer did not finish, or did not answer any more.
    TimedOut,
    /// The gateway is stopping.
    Stopping,
}

impl Refusal {
    /// Judges an answer of the ledger.
    ///
    /// # Errors
    ///
    /// The refusal, for every answer but `valid`.
    pub fn judge(answer: Result<Answer, Unavailable>) -> Result<(), Self> {
        match answer {
            Ok(answer) if answer.is_valid() => Ok(()),
            Ok(answer) => Err(Self::Status(answer.status)),
            Err(unavailable) => Err(Self::Unavailable(unavailable)),
        }
    }

    /// Why an IKE SA that was never established ended; none if nobody was refused.
    pub fn of_lost(reason: &LostReason) -> Option<Self> {
        match reason {
            LostReason::Denied(DenyReason::Deadline) => Some(Self::Deadline),
            LostReason::Failed(error) => Some(Self::Ike(error.clone())),
            LostReason::HandshakeTimedOut | LostReason::TimedOut { .. } => Some(Self::TimedOut),
            _ => None,
        }
    }

    /// Why an IKE_SA_INIT request was refused; none for a peer that is only told to use another group.
    pub fn of_accept(refusal: &AcceptRefusal) -> Option<Self> {
        match refusal {
            AcceptRefusal::Failed(error) => Some(Self::Ike(error.clone())),
            AcceptRefusal::Full => Some(Self::Full),
            _ => None,
        }
    }

    /// One word, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Status(status) => status.as_str(),
            Self::Unavailable(_) => "ledger-unavailable",
            Self::Full => "full",
            Self::Pool(_) => "pool-exhausted",
            Self::Ike(error) => label_of(error),
            Self::Deadline => "verdict-deadline",
            Self::TimedOut => "timeout",
            Self::Stopping => "stopping",
        }
    }

    /// All labels, for those who list them.
    pub const LABELS: &'static [&'static str] = &[
        "suspended",
        "revoked",
        "superseded",
        "expired",
        "not-recorded",
        "ledger-unavailable",
        "full",
        "pool-exhausted",
        "authentication",
        "certificate",
        "clock",
        "identity",
        "incompatible",
        "internal",
        "malformed",
        "protocol",
        "verdict-deadline",
        "timeout",
        "stopping",
        "other",
    ];
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => f.write_str(&describe(status)),
            Self::Unavailable(unavailable) => write!(f, "ledger unavailable: {unavailable}"),
            Self::Full => {
                f.write_str("as many IKE SAs are half open, or open, as there may be: see [limits]")
            }
            Self::Pool(exhausted) => exhausted.fmt(f),
            Self::Ike(error) => error.fmt(f),
            Self::Deadline => {
                f.write_str("ledger unavailable: no answer before the handshake's deadline")
            }
            Self::TimedOut => f.write_str("the peer did not finish the handshake in time"),
            Self::Stopping => f.write_str("the gateway is stopping"),
        }
    }
}

/// A status in words.
pub fn describe(status: &Status) -> String {
    match status {
        Status::Valid => "valid".to_owned(),
        Status::Suspended { .. } => "suspended".to_owned(),
        Status::Revoked { reason, .. } => format!("revoked ({reason})"),
        Status::Superseded { by } => format!("superseded by {by}"),
        Status::Expired => "expired".to_owned(),
        Status::NotRecorded => "not recorded".to_owned(),
    }
}

fn label_of(error: &Error) -> &'static str {
    match error {
        Error::Auth(AuthError::Certificate(_)) | Error::Certificate(_) => "certificate",
        Error::Auth(_) => "authentication",
        Error::Crypto(_) | Error::Sign(_) | Error::Unwritable => "internal",
        Error::Decode(_) => "malformed",
        Error::Identity(_) => "identity",
        Error::NoWallTime => "clock",
        Error::PeerIncompatible(_) => "incompatible",
        Error::PeerMisbehaved(_) => "protocol",
        _ => "other",
    }
}
