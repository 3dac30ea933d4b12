//! ledger-engine.
