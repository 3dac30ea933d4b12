//! What a response says: of itself, and of a certificate.

use ledger::RevocationReason;

use crate::time::UnixTime;

/// `OCSPResponseStatus` (RFC 6960 §4.2.1). `sigRequired` does not occur: anybody may ask.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ResponseStatus {
    /// A signed answer.
    Successful,
    /// The request is not one.
    MalformedRequest,
    /// The responder cannot sign.
    InternalError,
    /// No trustworthy answer now.
    TryLater,
    /// The issuer is not served here (RFC 5019 §2.2.3).
    Unauthorized,
}

impl ResponseStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Successful,
        Self::MalformedRequest,
        Self::InternalError,
        Self::TryLater,
        Self::Unauthorized,
    ];

    /// The number in the response.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Successful => 0,
            Self::MalformedRequest => 1,
            Self::InternalError => 2,
            Self::TryLater => 3,
            Self::Unauthorized => 6,
        }
    }

    /// The RFC's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Successful => "successful",
            Self::MalformedRequest => "malformedRequest",
            Self::InternalError => "internalError",
            Self::TryLater => "tryLater",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// `CertStatus` (RFC 6960 §4.2.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CertStatus {
    /// Recorded and in good standing.
    Good,
    /// Not to be accepted.
    Revoked {
        /// Since when.
        time: UnixTime,
        /// Why. `unspecified` is told by leaving it out.
        reason: RevocationReason,
    },
    /// Nothing is known.
    Unknown,
}
