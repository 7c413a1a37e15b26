//! The protocol's rules, one test each, and then all at once under seeded schedules, over the real code.
//!
//! `model.rs` beside this directory explores the same rules exhaustively in small worlds.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod append;
mod common;
mod rewind;
mod schedules;
mod settle;
