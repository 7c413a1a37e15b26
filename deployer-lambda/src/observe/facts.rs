//! Facts: what observing found, in our words. Built by observe, by the simulation, by tests.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::policy::Severity;
use crate::release::{Digest, Moment, ReleaseId, RevisionArn};

/// What was read, or why it could not be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Known<T> {
    Known(T),
    /// Plans nothing. `what` completes "could not read …".
    Unknown {
        what: String,
        why: String,
    },
}

impl<T> Known<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Known::Known(value) => Some(value),
            Known::Unknown { .. } => None,
        }
    }
}

/// All that one look found. The journal is read beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observed {
    /// Images whose tags the policy admits, any order, and those that the journal's records name.
    pub images: Known<Vec<Image>>,
    /// `None`: there is no such service (or it is INACTIVE).
    pub service: Known<Option<Service>>,
    /// Tasks of the service, running ones and those that stopped within the last hour or so. Read where the journal has
    /// something under way, where there is no journal, and where a person asks; else empty.
    pub tasks: Known<Vec<Task>>,
    /// The alarms that the service's deployments watch.
    pub alarms: Known<Vec<Alarm>>,
    /// Release ids and image digests that the ledger rejects: the authority on it.
    pub rejected: Known<BTreeSet<String>>,
    /// Registered revisions of the family, newest first. Read where the journal announces a registration, or where there
    /// is no journal; else empty.
    pub revisions: Known<Vec<Revision>>,
    /// Of the journal's proven revisions, those that are no longer ACTIVE. Read while a release is under proof or
    /// taken back; else empty.
    pub inactive: Known<Vec<RevisionArn>>,
}

/// An image in the repository.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// Of what the tag names: a manifest, or an index of several platforms.
    pub digest: Digest,
    pub tags: Vec<String>,
    pub pushed_at: Moment,
    /// What an index names; empty for a plain manifest. `None`: an index that was not read.
    pub children: Option<Vec<Child>>,
    pub scan: Scan,
}

/// One platform's image in an index. Attestations are left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Child {
    pub digest: Digest,
    /// `linux/arm64`.
    pub platform: String,
}

impl Child {
    /// Whether it runs where `platform`, such as `linux/arm64`, is asked for; `linux/arm64/v8` does.
    pub fn runs_on(&self, platform: &str) -> bool {
        let rest = self.platform.strip_prefix(platform);
        rest.is_some_and(|variant| variant.is_empty() || variant.starts_with('/'))
    }
}

/// The scan's answer for an image; for an index, the worst of its platforms' answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scan {
    /// Not begun, or under way.
    Pending,
    /// Complete; the worst finding, if any.
    Done(Option<Severity>),
    /// FAILED, UNSUPPORTED_IMAGE, SCAN_ELIGIBILITY_EXPIRED, FINDINGS_UNAVAILABLE: there will be no answer.
    NoAnswer,
}

/// The ECS service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    pub revision: RevisionArn,
    pub desired: u32,
    pub running: u32,
    /// Whether ECS would roll back by itself (circuit breaker's or alarms' rollback).
    pub own_rollback: bool,
    /// Deployments of the service, newest first.
    pub rollouts: Vec<Rollout>,
}

/// One deployment of the service: a service deployment, or, where that API lists none, a deployment of
/// DescribeServices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rollout {
    /// Names it in ECS: an ARN, or `ecs-svc/…`.
    pub id: String,
    /// What it deploys.
    pub revision: RevisionArn,
    pub state: RolloutState,
    /// ECS's words.
    pub reason: String,
    pub created_at: Moment,
    pub failed_tasks: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RolloutState {
    Pending,
    InProgress,
    Successful,
    /// Replaced by a newer one, or stopped by somebody.
    Stopped,
    RollingBack,
    RolledBack,
    RollbackFailed,
    /// Given up without going back: no rollback configured, or nothing to go back to.
    Failed,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Task {
    pub id: String,
    pub revision: RevisionArn,
    pub state: TaskState,
    pub healthy: Health,
    /// What runs, as ECS tells it: of the index or of the platform's image.
    pub digest: Option<Digest>,
    pub started_at: Option<Moment>,
}

impl Task {
    /// Not at its end yet.
    pub fn is_up(&self) -> bool {
        match self.state {
            TaskState::Starting | TaskState::Running | TaskState::Stopping => true,
            TaskState::Stopped(_) => false,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    Healthy,
    Unhealthy,
    Unknown,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TaskState {
    /// PROVISIONING to ACTIVATING.
    Starting,
    Running,
    /// DEACTIVATING to DEPROVISIONING.
    Stopping,
    Stopped(Stop),
}

/// Why a task is no more, in ECS's words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stop {
    pub at: Moment,
    /// `EssentialContainerExited`, `TaskFailedToStart`, `ServiceSchedulerInitiated`, …
    pub code: String,
    pub reason: String,
    /// Of the worker's container.
    pub exit_code: Option<i32>,
    /// The container's own reason, such as `OutOfMemoryError: …`.
    pub container_reason: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alarm {
    pub name: String,
    pub in_alarm: bool,
    /// When it came into its state.
    pub since: Moment,
}

/// A registered task definition revision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revision {
    pub arn: RevisionArn,
    /// Its tag `landfall:release`.
    pub release: Option<ReleaseId>,
    /// Of the worker's container, `repository@sha256:…`.
    pub image: Option<Digest>,
}
