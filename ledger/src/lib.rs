//! Landfall's commit log: which Kafka offsets are in which Parquet files.
//!
//! Rooms in flow order: `store` (what is needed of S3) → `entry` (one step of the log).

pub mod entry;
pub mod store;
