//! ikev2.

pub mod wire;
pub mod auth;
pub mod crypto;
pub mod keymat;
