//! ocsp-bridge.

fn main() {}
