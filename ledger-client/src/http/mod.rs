//! HTTP as a client: one bounded exchange, and ledger nodes that are asked over it.
//!
//! For what [`Client`](crate::Client) does not ask for: a node's certificates, issuers and lists of revocations, or a
//! responder beside the node. What the other side sends is hostile: an answer is bounded in time, in octets, and in what
//! is buffered of it at one time. There is no TLS and no proxy, whatever the environment says, and no redirection is
//! followed. Connections are kept and used again.
//!
//! [`HttpClient`] makes one exchange. [`Nodes`] are several nodes by their URLs, whose errors name the node.
//!
//! ```no_run
//! use std::time::Duration;
//! use ledger_client::http::{HttpLimits, Nodes};
//!
//! # async fn ask(hash: ledger::CertificateHash) -> Result<(), Box<dyn core::error::Error>> {
//! let urls = ["http://192.0.2.1:8180".to_owned(), "http://192.0.2.2:8180".to_owned()];
//! let nodes = Nodes::new(&urls, HttpLimits::within(Duration::from_secs(2)))?;
//! let der = nodes.certificate(&hash).await?; // from the first node that has it
//! # Ok(()) }
//! ```

mod client;
mod nodes;

pub(crate) use client::{read, with_causes};
pub(crate) use nodes::base_of;

pub use client::{HttpClient, HttpError, HttpLimits};
pub use nodes::{NodeError, Nodes};
