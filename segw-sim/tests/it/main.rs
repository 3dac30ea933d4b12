//! Situations of a gateway: in memory under virtual time, and over loopback.

mod demo;
mod device;
mod gateway;
mod hostile;
mod lab;
mod nodes;
mod shard;
mod staple;
