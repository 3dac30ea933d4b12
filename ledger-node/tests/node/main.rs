//! A node as those who embed it see it.

mod authority;
mod cert_ids;
mod consortium;
mod crash;
mod formats;
mod lifecycle;
mod listeners;
mod load;
mod reopening;
mod revocations;
