//! ledger-client.
