//! What the benchmarks share: made-up events, a source of batches, a stopwatch.

pub mod clock;
pub mod events;
pub mod source;
