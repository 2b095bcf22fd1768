//! Shared parts of the Tidegate benchmarks.
