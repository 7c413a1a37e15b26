//! What the benchmarks share: made-up events, a source of batches, a stopwatch; for the deployer, a stand-in for AWS.

pub mod aws;
pub mod clock;
pub mod events;
pub mod source;
