//! The node from outside: the API over real sockets, and the program as a process.

mod api;
mod cert_ids;
mod cli;
mod disk_full;
mod events;
mod fixture;
mod revocations;
mod slow;
