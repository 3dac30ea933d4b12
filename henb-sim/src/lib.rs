//! Plays HeNBs against a security gateway: one device with real traffic, or a fleet of them.
//!
//! The program `henb-sim` is a thin shell around this library. [`shard`] holds devices with no socket and no clock;
//! [`driver`] is the one file with sockets; [`connect`] and [`fleet`] are the two jobs. [`staple`] judges what the
//! gateway staples to its certificate.

pub mod arrival;
pub mod connect;
pub mod credential;
pub mod driver;
pub mod enrolment;
pub mod fleet;
pub mod profile;
pub mod report;
pub mod shard;
pub mod staple;
pub mod stats;
mod tunnel;
