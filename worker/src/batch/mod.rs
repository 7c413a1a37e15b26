//! Batch: rows into files, by directory, until they are sealed together.
//!
//! Neighbours: decode before it, encode after it.

pub mod route;
