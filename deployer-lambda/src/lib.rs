//! Landfall's deployer: a push to ECR becomes a release on ECS, and a bad release is taken back.
//!
//! A reconciler: every event is only a hint to look. Rooms in flow order: `event` (what woke us) → `observe` (what is
//! there) → `judge` (what became of the release under proof) → `plan` (what to do, as a pure function) → `apply` (do
//! it, one announced call at a time) → `report` (say it). `release`, `policy`, `render` and `journal` are what they
//! speak of, `rules` are those that the simulation takes away; `reconcile` is the loop around them; `aws` is the only
//! room that knows the SDKs.

pub mod apply;
pub mod aws;
pub mod clock;
pub mod command;
pub mod event;
pub mod fault;
pub mod journal;
pub mod judge;
pub mod logs;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod reconcile;
pub mod release;
pub mod render;
pub mod report;
pub mod rules;
pub mod serve;
pub mod settings;
