//! Ladders in virtual time: two real endpoints, no sockets, seeded faults.

mod admission;
mod child_sa;
mod closing;
mod cookie;
mod faults;
mod handshake;
mod invalid_ke;
mod liveness;
mod malformed;
mod nat;
mod ocsp;
mod retransmit;
mod sans_io;
mod unique;
