//! The whole system on one machine, with embedded stand-ins.
//!
//! Rooms in flow order: cli → generator → broker → book → producer → worker_process → watch → proof, told by story
//! through narrate.

pub mod canonical;
pub mod clock;

pub mod cli;

pub mod generator;

pub mod broker;

pub mod book;

pub mod producer;

pub mod proof;
