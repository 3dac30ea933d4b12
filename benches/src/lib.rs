//! Benchmarks live in `benches/`; `report` beside this folder turns them, and whole runs, into figures.
