//! The whole system on one machine, with embedded stand-ins.
//!
//! Rooms in flow order: cli → stage (generator, broker, the worker's binary) → story: producer and book, worker_process,
//! watch, proof, timing; narrate speaks for all of them. Apart from them, ecs: a pure model of ECS's rolling deployments.

pub mod cli;

pub mod canonical;
pub mod clock;
pub mod narrate;

pub mod generator;

pub mod broker;

pub mod book;

pub mod producer;

pub mod worker_build;

mod tether;

pub mod worker_process;

pub mod watch;

pub mod proof;

pub mod timing;

pub mod stage;

pub mod story;

pub mod ecs;
