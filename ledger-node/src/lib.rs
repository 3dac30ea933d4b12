//! ledger-node.
