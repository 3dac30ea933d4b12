//! A complete small security gateway made of Ledgate's libraries: the reference SeGW.
//!
//! A device connects by IKEv2 with a certificate that no common authority issued. The gateway hashes
//! the certificate, asks the ledger, and lets the device in or does not; ESP carries its traffic to an
//! inner network; and when the ledger takes the certificate's standing away, the tunnel is closed.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | the TOML file, checked |
//! | [`credential`] | the gateway's own certificate and key |
//! | [`gateway`] | everything started and stopped together |
//! | [`driver`] | the only place with UDP sockets: one event loop for each worker |
//! | [`shard`] | one worker's IKE SAs, without sockets or clock |
//! | [`admission`], [`lease`] | the ledger's answer lets in; its changes end what it let in |
//! | [`staple`] | the OCSP response beside the gateway's own certificate (RFC 4806) |
//! | [`registry`], [`pool`] | what the shards share: live IKE SAs, inner addresses |
//! | [`children`] | child SAs become ESP SAs before an inner network |
//! | [`demo`] | the quick start: ledger, gateway and devices in one process |
//! | [`control`], [`metrics`], [`http`] | for those who run it |
//!
//! What it does **not** do: ESP outside of UDP (peers are told that there is a NAT, so that they use
//! port 4500), more than one address to listen on, IPv6 inner addresses, rekeying, and high
//! availability.

pub mod admission;
pub mod children;
pub mod config;
pub mod control;
pub mod credential;
pub mod deadline;
pub mod demo;
pub mod driver;
pub mod gateway;
pub mod http;
pub mod lease;
pub mod mailbox;
pub mod metrics;
pub mod outbox;
pub mod pool;
pub mod registry;
pub mod shard;
pub mod staple;
