//! A ledger node: a durable store, an engine that orders transactions, and an HTTP API.
//!
//! [`Node`] can be embedded in another program, with no socket at all, or served over HTTP with
//! [`Node::serve`]; the program `ledger-node` does the latter. Whatever was acknowledged is on disk:
//! a `kill -9` loses nothing of it.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use ledger::{Body, Class, Genesis, Inquiry};
//! use ledger_node::{Endorser, Node, NodeConfig, SystemClock};
//!
//! # fn embed(genesis: &Genesis, acme: &Endorser, der: Vec<u8>, hash: ledger::CertificateHash)
//! #     -> Result<(), Box<dyn std::error::Error>> {
//! let config = NodeConfig::new("/var/lib/ledger");
//! Node::create(&config, genesis)?;
//! let node = Node::open(config, Arc::new(SystemClock))?;
//!
//! let body = Body::Submit { certificates: vec![der], class: Class::Device };
//! let transaction = acme.sign(node.chain(), node.head()?.height, body)?;
//! let receipt = node.submit_blocking(transaction)?; // durable from here on
//! println!("in block {}: {:?}", receipt.height, receipt.outcomes);
//!
//! let inquiry: Arc<dyn Inquiry> = node.inquiry();
//! println!("{}", inquiry.status(&hash)?.status);
//! node.stop();
//! # Ok(())
//! # }
//! ```
//!
//! # HTTP API
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/status/{hash}` | the status of H(CERT): a [`StatusAnswer`](ledger::StatusAnswer) |
//! | `POST /v1/status` `{"hashes":[…]}` | `{"answers":[…]}`, all as of one block; at most [`MAX_HASHES`](http::MAX_HASHES) |
//! | `GET /v1/certificate/{hash}` | the DER certificate, `application/pkix-cert` |
//! | `GET /v1/certid/{algorithm}/{issuer name hash}/{issuer key hash}/{serial}` | the certificates with an OCSP CertID: a [`CertIdAnswer`](ledger::CertIdAnswer). Algorithms: `sha1`, `sha256`, `sha384`, `sha512`; all in lower-case hexadecimal |
//! | `GET /v1/issuers?after=CURSOR&limit=N` | the recorded authorities and their names in CertIDs: an [`IssuerPage`] |
//! | `GET /v1/issuers/sha256/{issuer name hash}/{issuer key hash}/revoked?after=CURSOR&limit=N` | what CRLs are made of, by the block that changed it: a [`RevocationPage`](ledger::RevocationPage); at most [`MAX_REVOCATIONS`] a page |
//! | `GET /v1/events?from=H&follow=true` | status changes from block H on, one JSON object a line; `{"head":H}` says that everything up to H was told |
//! | `POST /v1/transactions` | takes an encoded [`SignedTransaction`](ledger::SignedTransaction) as `application/octet-stream`; answers once it is durable, with a [`Receipt`] |
//! | `GET /v1/head`, `/v1/members` | the chain and its newest block; the members |
//! | `GET /v1/health`, `/v1/ready` | whether the process lives; whether it takes transactions |
//! | `GET /metrics` | Prometheus metrics |
//!
//! Errors are `{"error":"name","detail":"what, where, how to mend it"}` with a fitting status.
//! A transaction that may not wait for a block at all (wrong chain, not a member's, replayed,
//! expired) is answered 422 with the refusal's name; what a block refuses is in the receipt.

pub mod config;
pub mod http;
pub mod key;

mod application;
mod clock;
mod endorser;
mod error;
mod issuer;
mod metrics;
mod node;
mod receipt;
mod replica;
mod store;

pub use clock::{Clock, SystemClock};
pub use endorser::{Endorser, EndorserError, MAX_WAIT};
pub use error::{NodeError, ReadError};
pub use issuer::{CursorError, Issuer, IssuerCursor, IssuerName, IssuerPage, MAX_ISSUERS};
pub use ledger_engine::{EngineStopped, Limits, SubmitError};
pub use node::{DEFAULT_HISTORY, MAX_REVOCATIONS, Node, NodeConfig};
pub use receipt::Receipt;
