//! henb-sim.

fn main() {}
