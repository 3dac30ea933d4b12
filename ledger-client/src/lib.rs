//! Cached certificate status inquiry for relying parties.
//!
//! A relying party, such as a security gateway, has a certificate whose owner has just proven to hold the
//! key, and must know whether the ledger has it in good standing. [`Client`] answers that:
//!
//! - from its cache, by [`Client::cached`]: no await, no allocation, well under a microsecond;
//! - else from a ledger node, by [`Client::status`]: one inquiry for all who ask at the same time, over
//!   several [`Source`]s in order of health, within a deadline;
//! - and it follows the ledger's event stream, so that a revocation reaches the cache, and those who
//!   [subscribed](Client::subscribe), the moment it is committed.
//!
//! **It fails closed.** Without a trustworthy answer there is an [`Unavailable`], and the relying party
//! refuses. A grace for expired answers exists ([`ClientConfig::stale_grace`]), off by default, and answers
//! under it say [`Origin::Stale`]. A revocation that was once seen is told through any outage.
//!
//! # What it believes
//!
//! | situation | behaviour |
//! |---|---|
//! | an answer of another chain, or for another certificate | that source failed; the next is asked |
//! | an answer of a lower height than one known for that certificate | never overwrites it; the fresher knowledge is told, or the next source is asked |
//! | an answer and an event cross | the one of the greater height wins, whichever comes first |
//! | a status that is final, and something that undoes it | the final one stands, whatever the heights; a source that undoes it failed |
//! | a source that lags behind the event stream | its answers serve only if no other source has a better one, and are kept for the negative TTL only |
//! | the stream stands still below the height of an answer, for as long as [`ClientConfig::stream_idle`] | it counts as cut, where there is another source |
//! | the stream is cut | another source, or the same after a pause, from the height reached; TTLs bound the delay meanwhile |
//! | the gap is longer than the source's history | the cache is emptied, subscribers get [`Change::Resynchronise`] |
//! | a subscriber lags | it gets [`Change::Resynchronise`] rather than silence |
//! | more than [`ClientConfig::max_inquiries`] under way | [`Unavailable::Overloaded`] at once |
//!
//! # What it does **not** do
//!
//! It does **not** check proofs: a source that lies consistently is believed, so sources must be nodes that
//! the operator trusts, reached over a network that it trusts ([`HttpSource`] has no TLS yet). It does **not**
//! judge the certificate itself, its validity in time included, beyond ending a cached `valid` with it.
//! Nothing is kept over a restart.
//!
//! # In a gateway's event loop
//!
//! The loop needs no async code: it looks in the cache, hands a miss to a runtime that lives on other
//! threads, and takes verdicts and changes when it is woken. A change may overtake the handshake that it
//! concerns, so the certificate is noted *before* the ledger is asked, and a change closes whatever is noted.
//!
//! ```
//! use std::{collections::HashMap, sync::Arc, sync::mpsc};
//! use ledger::CertificateHash;
//! use ledger_client::{
//!     Answer, Change, Changes, Client, ClientConfig, ConfigError, HttpSource, TokioClock, Unavailable,
//! };
//! use tokio::runtime::Runtime;
//!
//! type SaKey = u64;
//! type Verdict = (SaKey, Result<Answer, Unavailable>);
//!
//! struct Gateway {
//!     client: Client,
//!     changes: Changes,
//!     runtime: Runtime,
//!     verdicts: (mpsc::Sender<Verdict>, mpsc::Receiver<Verdict>),
//!     admitted_by: HashMap<SaKey, CertificateHash>,
//! }
//!
//! impl Gateway {
//!     fn new(inquiry_node: &str) -> Result<Self, ConfigError> {
//!         let runtime = Runtime::new().map_err(|_| ConfigError::NoRuntime)?;
//!         let _inside = runtime.enter();
//!         let source = Arc::new(HttpSource::new(inquiry_node)?);
//!         let client = Client::spawn(ClientConfig::default(), vec![source], Arc::new(TokioClock))?;
//!         let changes = client.subscribe();
//!         drop(_inside);
//!         let (verdicts, admitted_by) = (mpsc::channel(), HashMap::new());
//!         Ok(Self { client, changes, runtime, verdicts, admitted_by })
//!     }
//!
//!     /// A peer has proven its key: `ikev2`'s `Event::PeerPresented`.
//!     fn peer_presented(&mut self, sa: SaKey, hash: CertificateHash) {
//!         self.admitted_by.insert(sa, hash);
//!         if let Some(answer) = self.client.cached(&hash) {
//!             return self.decide(sa, Ok(answer));
//!         }
//!         let (client, verdicts) = (self.client.clone(), self.verdicts.0.clone());
//!         self.runtime.spawn(async move {
//!             let answer = client.status(&hash).await;
//!             let _loop_has_ended = verdicts.send((sa, answer));
//!             // ... and wake the loop, by an eventfd or what it has.
//!         });
//!     }
//!
//!     /// The loop was woken.
//!     fn woken(&mut self) {
//!         while let Ok((sa, answer)) = self.verdicts.1.try_recv() {
//!             self.decide(sa, answer);
//!         }
//!         while let Some(change) = self.changes.try_recv() {
//!             match change {
//!                 Change::Status { status, .. } if status.is_valid() => {}
//!                 Change::Status { hash, .. } => {
//!                     let theirs: Vec<_> = self.admitted_by.iter()
//!                         .filter(|(_, by)| **by == hash).map(|(sa, _)| *sa).collect();
//!                     theirs.into_iter().for_each(|sa| self.close(sa));
//!                 }
//!                 Change::Resynchronise => {
//!                     for (sa, hash) in self.admitted_by.clone() {
//!                         self.peer_presented(sa, hash);
//!                     }
//!                 }
//!             }
//!         }
//!     }
//!
//!     fn decide(&mut self, sa: SaKey, answer: Result<Answer, Unavailable>) {
//!         match answer {
//!             Ok(answer) if answer.is_valid() => { /* IkeSa::admit */ }
//!             Ok(_refused) => self.close(sa),
//!             Err(_unavailable) => self.close(sa),
//!         }
//!     }
//!
//!     fn close(&mut self, sa: SaKey) {
//!         self.admitted_by.remove(&sa); // IkeSa::close, or a denial if it is not established
//!     }
//! }
//!
//! let mut gateway = Gateway::new("http://127.0.0.1:9").unwrap();
//! gateway.peer_presented(1, CertificateHash::of(b"a certificate"));
//! let (sa, verdict) = gateway.verdicts.1.recv().unwrap();
//! assert!(verdict.is_err(), "nobody serves the discard port");
//! gateway.decide(sa, verdict);
//! gateway.woken();
//! assert!(gateway.admitted_by.is_empty(), "fail closed");
//! ```

mod answer;
mod cache;
mod changes;
mod client;
mod clock;
mod config;
mod events;
mod follower;
pub mod http;
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
