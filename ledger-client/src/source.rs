//! What the client needs of a ledger node, whichever way it is reached.

use std::{pin::Pin, time::Duration};

use futures_util::Stream;
use ledger::{CertificateHash, ChainId, Height, StatusAnswer, StatusEvent};
use thiserror::Error;

/// A boxed future, so that [`Source`] and [`Clock`](crate::Clock) can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source's event stream.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<StreamItem, SourceError>> + Send>>;

/// One place to ask: an inquiry node over HTTP, a ledger in this process, a script in a test.
///
/// A source does not judge: chain, hash and height are checked by the client.
pub trait Source: Send + Sync + 'static {
    /// A name for logs, such as the URL.
    fn name(&self) -> &str;

    /// Asks for the status of one certificate. Dropping the future gives up the inquiry.
    fn status(&self, hash: CertificateHash) -> BoxFuture<'_, Result<StatusAnswer, SourceError>>;

    /// Opens the stream of status changes, beginning with the events of block `from` itself.
    ///
    /// # Errors
    ///
    /// [`SourceError::HistoryGone`] when the source no longer holds the events from there on; others when it
    /// cannot be reached.
    fn events(&self, from: Height) -> BoxFuture<'_, Result<EventStream, SourceError>>;
}

/// One item of an [`EventStream`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StreamItem {
    /// A status changed. Events come in the order of the chain.
    Event(StatusEvent),
    /// The chain has this height, and every event of a block below it has been delivered. Sent at least each
    /// second, so that silence means a broken connection.
    Head(Height),
}

/// Why a source gave no usable answer. Each is counted against the source's health.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SourceError {
    /// The answer is older than what is known for that certificate already.
    #[error(
        "the source answered as of height {answer}, but height {known} is known for that certificate: it lags behind"
    )]
    Behind {
        /// The height of the answer.
        answer: u64,
        /// The height that is known.
        known: u64,
    },
    /// No connection, or it broke before an answer.
    #[error("cannot reach the source: {detail}")]
    Connect {
        /// What the transport said.
        detail: String,
    },
    /// The event stream ended or broke.
    #[error("the event stream was cut: {detail}")]
    Cut {
        /// What the transport said.
        detail: String,
    },
    /// The source no longer holds events from the height asked for.
    #[error("the source holds events only from height {oldest} on")]
    HistoryGone {
        /// The first height that it holds.
        oldest: u64,
    },
    /// The ledger in this process failed.
    #[error("the embedded ledger failed: {detail}")]
    Inquiry {
        /// What it said.
        detail: String,
    },
    /// The answer is not what the API says it should be.
    #[error("the source sent a malformed {what}: {detail}")]
    Malformed {
        /// Which part of the exchange.
        what: &'static str,
        /// What was wrong.
        detail: String,
    },
    /// The source answered with an error.
    #[error("the source refused with HTTP status {status}: {error}")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The beginning of its text.
        error: String,
    },
    /// The event stream says that it is up, but does not get to a height that another source has answered for.
    #[error(
        "the event stream stands still at height {reached}, but the chain is at {newest}: is the node cut off from the others?"
    )]
    Stalled {
        /// How far it came.
        reached: u64,
        /// How far the chain is at least.
        newest: u64,
    },
    /// No answer in time, or an event stream that fell silent.
    #[error("the source was silent for {after:?}")]
    Timeout {
        /// How long it was waited for.
        after: Duration,
    },
    /// The answer is longer than any honest one.
    #[error("the source sent a {what} of more than {limit} octets")]
    TooLarge {
        /// Which part of the exchange.
        what: &'static str,
        /// The bound, in octets.
        limit: usize,
    },
    /// The answer undoes a status that is final: the source lies, or lost a part of the chain.
    #[error(
        "the source says {answer}, but the certificate was {known} before, which no block undoes: do not trust it until it is examined"
    )]
    UndoesFinal {
        /// The status that it told.
        answer: &'static str,
        /// The status that is known.
        known: &'static str,
    },
    /// The source serves another chain than the one expected, or than the one first seen.
    #[error("the source serves chain {}, not {}: check its URL and the expected chain", .chains.1, .chains.0)]
    WrongChain {
        /// The chain expected, and the one that the source serves.
        chains: Box<(ChainId, ChainId)>,
    },
    /// The answer is for another certificate than the one asked about.
    #[error("the source answered for another certificate than the one asked about")]
    WrongHash,
}

impl SourceError {
    /// A short, stable name, fit for a metric label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Behind { .. } => "behind",
            Self::Connect { .. } => "connect",
            Self::Cut { .. } => "cut",
            Self::HistoryGone { .. } => "history-gone",
            Self::Inquiry { .. } => "inquiry",
            Self::Malformed { .. } => "malformed",
            Self::Refused { .. } => "refused",
            Self::Stalled { .. } => "stalled",
            Self::Timeout { .. } => "timeout",
            Self::TooLarge { .. } => "too-large",
            Self::UndoesFinal { .. } => "undoes-final",
            Self::WrongChain { .. } => "wrong-chain",
            Self::WrongHash => "wrong-hash",
        }
    }
}
