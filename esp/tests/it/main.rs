//! The crate through its public surface.

mod tunnel;

#[cfg(target_os = "linux")]
mod tun;
