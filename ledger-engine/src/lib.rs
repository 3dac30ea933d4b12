//! Orders transactions into blocks and drives an application that holds the ledger's state.
//!
//! - [`Application`] is what is driven: it judges transactions, builds the next block, and commits
//!   it durably. It knows nothing of how the order came about.
//! - [`Engine`] is what drives: it takes transactions, and answers each once its block is durable.
//! - [`Single`] is the engine of one node alone: what is pending becomes the next block at once, so
//!   that one durable write serves all who wait (group commit).
//!
//! ```text
//! submit ──► validate ──► mempool ──► build ──► commit ──► Committed, to each submitter
//! ```

mod application;
mod engine;
mod mempool;
mod single;

pub use application::{Application, ApplicationError};
pub use engine::{Committed, Engine, EngineStopped, Limits, Pending, SubmitError};
pub use single::Single;
