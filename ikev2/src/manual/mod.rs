//! What this library does, what it does not, and why. Text only.
//!
//! * [`features`]: what is spoken, and what is not.
//! * [`defaults`]: what happens if nothing is configured, and the reason.
//! * [`weaknesses`]: what is known to go wrong with IKE, and our answer.

pub mod defaults;
pub mod features;
pub mod weaknesses;
