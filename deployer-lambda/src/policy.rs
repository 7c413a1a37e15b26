//! Policy: what a person wrote into `taskdefs/policy.toml`, parsed and checked once.
//!
//! Neighbours: settings and templates beside it; plan and judge decide by it. Pure.

use serde::{Deserialize, Serialize};

use crate::release::Moment;

/// Which images may be released, when, and what happens when one fails. Every field has a default that is right for
/// most: an empty file is a policy.
#[derive(Clone, Debug)]
pub struct Policy {
    pub tags: TagRule,
    pub order: Order,
    /// How long a release must run without a fault after ECS called its deployment complete.
    pub bake_ms: i64,
    /// Whether a person must approve every image by `approve`.
    pub approval: bool,
    pub freezes: Vec<FreezeWindow>,
    pub scan: ScanGate,
    /// Whether failed releases are taken back by the deployer at all.
    pub rollback: bool,
    pub on_no_target: OnNoTarget,
    pub supersede: Supersede,
    /// A rollout that takes longer is told to a person; it is never called failed for that.
    pub rollout_slow_ms: i64,
    /// Between two tries of a release that its surroundings blocked: first and longest wait.
    pub retry_first_ms: i64,
    pub retry_max_ms: i64,
}

/// Which tags name a release.
#[derive(Clone, Debug)]
pub enum TagRule {
    /// `v1.2.3` or `1.2.3` within the range; pre-releases only where the range names one.
    Semver(semver::VersionReq),
    /// A shell pattern such as `main-*`.
    Pattern(glob::Pattern),
}

/// Which of two images is newer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By semantic version, then by the time of the push.
    Version,
    /// By the time of the push alone.
    PushTime,
}

/// What to do when a release fails and nothing proven is left to go back to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNoTarget {
    /// Keep it running and page.
    Keep,
    /// Scale to zero and page.
    Stop,
}

/// When a newer image may replace a candidate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supersede {
    /// Not before its verdict.
    AfterVerdict,
    /// At once; the candidate ends as `superseded`.
    AtOnce,
}

/// Findings of an image scan, worst last.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Undefined,
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// Which scan findings keep an image out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ScanGate {
    /// The highest severity that passes; none: scans are not asked for.
    pub passes: Option<Severity>,
    /// How long after the push a scan may take; past it the image is held and a person told.
    pub wait_ms: i64,
}

/// No new release starts from a time that `cron` names until `minutes` later.
#[derive(Clone, Debug)]
pub struct FreezeWindow {
    pub cron: croner::Cron,
    pub minutes: i64,
    pub zone: chrono_tz::Tz,
    pub reason: String,
}

impl Policy {
    /// The window of the policy that `now` stands in.
    pub fn frozen(&self, _now: Moment) -> Option<&FreezeWindow> {
        None
    }
}
