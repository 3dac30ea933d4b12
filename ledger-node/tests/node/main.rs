//! A node as those who embed it see it.

mod consortium;
mod crash;
mod lifecycle;
mod load;
mod reopening;
