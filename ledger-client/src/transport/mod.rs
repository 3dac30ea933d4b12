//! Sources: how a ledger node is reached.

mod embedded;
mod http;
mod lines;

pub use embedded::EmbeddedSource;
pub use http::{HttpSource, HttpTimeouts};
