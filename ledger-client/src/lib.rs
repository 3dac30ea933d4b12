//! Cached certificate status inquiry for relying parties.
mod answer;
mod cache;
mod changes;
mod client;
mod clock;
mod config;
mod events;
mod follower;
mod inquiry;
mod keying;
mod knowledge;
mod metrics;
mod policy;
mod source;
mod transport;

pub use answer::{Answer, Change, Origin, Unavailable};
pub use changes::Changes;
pub use client::Client;
pub use clock::{Clock, TokioClock};
pub use config::{ClientConfig, ConfigError};
pub use metrics::Metrics;
pub use source::{BoxFuture, EventStream, Source, SourceError, StreamItem};
pub use transport::{EmbeddedSource, HttpSource, HttpTimeouts};
