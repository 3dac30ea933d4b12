//! Ladders in virtual time: two real endpoints, no sockets, seeded faults.

mod handshake;
