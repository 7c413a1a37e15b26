//! The whole system on one machine, with embedded stand-ins.
//!
//! Rooms in flow order: cli → stage (generator, broker, cloud, the binaries) → story: producer and book, tasks and
//! lambda_process (what runs on the cloud), watch, proof, timing; narrate speaks for all of them. Apart from them, ecs: a
//! pure model of ECS's rolling deployments, which cloud puts on the wire.

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

pub mod tasks;

pub mod lambda_process;

pub mod watch;

pub mod proof;

pub mod timing;

pub mod stage;

pub mod story;

pub mod ecs;

pub mod cloud;
