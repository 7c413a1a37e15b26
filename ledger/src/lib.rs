//! Landfall's commit log: which Kafka offsets are in which Parquet files.
//!
//! Rooms in flow order: `store` (what is needed of S3) → `entry` (one step of the log) → `head` (the log read up to
//! its end) → `append` (one more step) → `settle` (make the store agree) → `rewind` (take steps back).
//! Beside it `columns`: what a release's files hold.
//! The worker appends and settles; the deployer rejects and rewinds; `verify` reads.

pub mod append;
pub mod columns;
pub mod entry;
pub mod head;
pub mod rewind;
pub mod settle;
pub mod store;
