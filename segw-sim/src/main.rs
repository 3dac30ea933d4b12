//! segw-sim.

fn main() {}
