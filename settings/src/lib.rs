//! What the programs read when they start, in one way: configuration files, certificates and keys; and how they log.
//!
//! A mistake is answered with the file, the place in it, what was found, what was expected, and the mend.

pub mod credential;
pub mod log;

mod file;

pub use file::{ConfigError, SourceText, read_text};
