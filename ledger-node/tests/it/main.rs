//! The node from outside: the API over real sockets, and the program as a process.

mod api;
mod cli;
mod events;
mod fixture;
mod slow;
