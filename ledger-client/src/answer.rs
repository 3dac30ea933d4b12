//! What the client tells its caller: an answer, why there is none, or that something changed.

use std::time::Duration;

use ledger::{BlockTime, CertificateHash, Height, Status, StatusAnswer, StatusEvent};
use thiserror::Error;

use crate::source::SourceError;

/// What the ledger says about one H(CERT), and how we know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status as of [`height`](Self::height).
    pub status: Status,
    /// The block after which the status held.
    pub height: Height,
    /// The time of that block; `None` when the status came by an event, and does not tell since when it is so.
    pub block_time: Option<BlockTime>,
    /// The last second of the certificate's own validity, Unix time; `None` when it is not recorded, and when the
    /// status came by an event.
    pub not_after: Option<u64>,
    /// Where the answer came from.
    pub origin: Origin,
}

impl Answer {
    pub(crate) const fn from_ledger(answer: &StatusAnswer) -> Self {
        Self {
            status: answer.status,
            height: answer.height,
            block_time: Some(answer.block_time),
            not_after: answer.not_after,
            origin: Origin::Ledger,
        }
    }

    pub(crate) const fn from_event(event: &StatusEvent) -> Self {
        Self {
            status: event.status,
            height: event.height,
            block_time: event.status.since(),
            not_after: None,
            origin: Origin::Ledger,
        }
    }

    /// Whether the certificate is recorded and in good standing: the only status to admit by.
    ///
    /// A [`Origin::Stale`] answer can be valid too, but exists only where
    /// [`ClientConfig::stale_grace`](crate::ClientConfig::stale_grace) asks for it.
    pub const fn is_valid(&self) -> bool {
        matches!(self.status, Status::Valid)
    }
}

/// Where an [`Answer`] came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// From the cache, within its time to live.
    Cache,
    /// From a source just now.
    Ledger,
    /// From the cache, past its time to live, because no source answers: a revocation, which an outage does
    /// not undo, or any status within the configured grace.
    Stale,
}

/// Why there is no answer. The relying party must refuse (fail closed).
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Unavailable {
    /// The task that asked ended without an outcome: a source panicked, or the runtime is going away.
    #[error(
        "the inquiry was abandoned before it had an outcome: a source panicked or the runtime stopped"
    )]
    Abandoned,
    /// No usable answer within [`ClientConfig::deadline`](crate::ClientConfig::deadline).
    #[error("no ledger source answered within {after:?}{}; look at the sources' health or raise the deadline", last_failure(.last.as_ref()))]
    Deadline {
        /// The deadline that passed.
        after: Duration,
        /// The last failure of a source before that, where one failed at all.
        last: Option<SourceError>,
    },
    /// [`ClientConfig::max_inquiries`](crate::ClientConfig::max_inquiries) are under way already.
    #[error(
        "{limit} inquiries are under way already; the ledger sources are too slow for this load"
    )]
    Overloaded {
        /// The bound that was met.
        limit: usize,
    },
    /// [`Client::shutdown`](crate::Client::shutdown) was called.
    #[error("the ledger client was shut down")]
    ShutDown,
    /// Every source was asked and failed.
    #[error("all {tried} ledger sources failed, the last one with: {last}")]
    Sources {
        /// How many were asked.
        tried: usize,
        /// How the last one failed.
        last: SourceError,
    },
}

impl Unavailable {
    /// A short, stable name, fit for a metric label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Deadline { .. } => "deadline",
            Self::Overloaded { .. } => "overloaded",
            Self::ShutDown => "shut-down",
            Self::Sources { .. } => "sources",
        }
    }
}

fn last_failure(last: Option<&SourceError>) -> String {
    last.map_or_else(String::new, |error| {
        format!(" (one failed before with: {error})")
    })
}

/// Something changed on the ledger. By the time a subscriber sees it, the cache has it too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Changes were missed: the stream had a gap longer than the sources' history, or this subscriber lagged.
    /// Whoever holds decisions made on earlier answers must ask again for each of them.
    Resynchronise,
    /// The status of one certificate changed.
    Status {
        /// Whose.
        hash: CertificateHash,
        /// To what.
        status: Status,
        /// In which block.
        height: Height,
    },
}
