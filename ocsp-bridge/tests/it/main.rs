//! The HTTP side and the whole bridge, over loopback.

mod bad_input;
mod bodies;
mod bridge;
mod crl;
mod expiry;
mod limits;
mod program;
mod rotation;
mod semantics;
mod stage;
mod tls;
