//! A node as those who embed it see it.

mod consortium;
mod crash;
mod lifecycle;
mod listeners;
mod load;
mod reopening;
