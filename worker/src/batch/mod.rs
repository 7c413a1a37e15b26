//! Batch: what is open between two entries: cursors of partitions, files by Hive directory, and when to seal.
//!
//! Order: a record is admitted by its cursor, decoded, then written; sealing takes everything at once.
//! Neighbours: decode before it, encode and sink after it. Pure but for the encoders' memory.

pub mod cursors;
pub mod files;
pub mod route;
pub mod seal;
