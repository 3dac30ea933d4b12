//! henb-sim.
