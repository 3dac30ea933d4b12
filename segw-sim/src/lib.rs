//! segw-sim.
