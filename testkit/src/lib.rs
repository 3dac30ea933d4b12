//! Test only: two endpoints in virtual time, a network that loses, doubles and reorders by a seed,
//! a throw-away PKI, a table of odd OCSP requests, and a signer of OCSP responses.
//!
//! Time moves only when a test says so; datagrams flow only through the emulated network; all of
//! them are recorded, so that a test can assert what was sent, and when.

pub mod ocsp_requests;
pub mod ocsp_responses;

mod net;
mod pair;
mod pki;

pub use net::{Impairment, Network};
pub use pair::{Admit, Pair, Recorded, Side, SideName, rig};
pub use pki::{Device, KeyKind};
