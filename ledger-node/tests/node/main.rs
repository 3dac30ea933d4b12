//! A node as those who embed it see it.

mod cert_ids;
mod consortium;
mod crash;
mod lifecycle;
mod listeners;
mod load;
mod reopening;
