//! ocsp-bridge.
