//! ledger-node.

fn main() {}
