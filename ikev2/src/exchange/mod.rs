//! What the exchanges carry: one operation a file, each with what it builds and what it reads.

pub(crate) mod auth;
pub(crate) mod child;
pub(crate) mod init;
pub(crate) mod natd;
pub(crate) mod stray;
