//! The world as the scheduler sees it: services, their deployments, revisions and tasks; what goes out and comes in.
//!
//! Neighbours: everyone in this room; decides nothing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::definition::Definitions;
use super::events::Event;
use super::ids::{DefinitionId, DeploymentId, Ids, RevisionId, RolloutId, TaskId};
use super::settings::Settings;
use super::tags::Tags;

/// Milliseconds since 1970, UTC, or of any other clock that only rises.
pub type Ms = u64;

/// `lastStatus`. ECS has more between them ("Amazon ECS task lifecycle"); none of them changes what the scheduler does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TaskStatus {
    Provisioning,
    /// The image is being pulled, or is there.
    Pending,
    Running,
    /// Told to stop, not gone yet.
    Deactivating,
    Stopped,
}

impl TaskStatus {
    pub fn name(self) -> &'static str {
        match self {
            TaskStatus::Provisioning => "PROVISIONING",
            TaskStatus::Pending => "PENDING",
            TaskStatus::Running => "RUNNING",
            TaskStatus::Deactivating => "DEACTIVATING",
            TaskStatus::Stopped => "STOPPED",
        }
    }
}

/// `healthStatus`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

impl Health {
    pub fn name(self) -> &'static str {
        match self {
            Health::Unknown => "UNKNOWN",
            Health::Healthy => "HEALTHY",
            Health::Unhealthy => "UNHEALTHY",
        }
    }
}

/// `stopCode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    ServiceSchedulerInitiated,
    SpotInterruption,
    TerminationNotice,
}

impl StopCode {
    pub fn name(self) -> &'static str {
        match self {
            StopCode::TaskFailedToStart => "TaskFailedToStart",
            StopCode::EssentialContainerExited => "EssentialContainerExited",
            StopCode::UserInitiated => "UserInitiated",
            StopCode::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
            StopCode::SpotInterruption => "SpotInterruption",
            StopCode::TerminationNotice => "TerminationNotice",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Task {
    pub id: TaskId,
    /// For which deployment it counts.
    pub deployment: DeploymentId,
    /// `startedBy`: which deployment started it.
    pub started_by: DeploymentId,
    pub revision: RevisionId,
    pub definition: DefinitionId,
    pub status: TaskStatus,
    pub health: Health,
    /// `desiredStatus` is STOPPED.
    pub stopping: bool,
    /// It once counted as healthy.
    pub was_healthy: bool,
    /// Health checks that failed in a row, those of the start period not counted.
    pub failed_checks: u32,
    /// As it was pulled: of the index, where there is one.
    pub pulled_digest: Option<Arc<str>>,
    pub created_at: Ms,
    pub pulled_at: Option<Ms>,
    pub started_at: Option<Ms>,
    pub stopping_at: Option<Ms>,
    pub stopped_at: Option<Ms>,
    /// When SIGKILL follows SIGTERM; None once it was sent, or not to be sent.
    pub kill_at: Option<Ms>,
    pub stop_code: Option<StopCode>,
    /// `stoppedReason`.
    pub stopped_reason: Option<Arc<str>>,
    pub exit_code: Option<i32>,
    /// `containers[].reason`.
    pub container_reason: Option<Arc<str>>,
    /// Rises with every change that an event tells.
    pub version: u32,
}

impl Task {
    /// RUNNING or on the way to it, as the scheduler counts it against maximumPercent.
    pub fn is_live(&self) -> bool {
        !self.stopping && self.status != TaskStatus::Stopped
    }

    /// Live and not known to be unhealthy.
    pub fn is_fit(&self) -> bool {
        self.is_live() && self.health != Health::Unhealthy
    }

    /// Counts towards minimumHealthyPercent.
    pub fn is_ready(&self) -> bool {
        self.is_fit() && self.status == TaskStatus::Running && self.was_healthy
    }
}

/// `rolloutState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RolloutState {
    InProgress,
    Completed,
    Failed,
}

impl RolloutState {
    pub fn name(self) -> &'static str {
        match self {
            RolloutState::InProgress => "IN_PROGRESS",
            RolloutState::Completed => "COMPLETED",
            RolloutState::Failed => "FAILED",
        }
    }
}

/// One of `deployments[]`.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: DeploymentId,
    pub revision: RevisionId,
    pub definition: DefinitionId,
    pub rollout: RolloutId,
    pub is_rollback: bool,
    /// False while its service deployment is PENDING.
    pub begun: bool,
    pub state: RolloutState,
    pub reason: String,
    pub created_at: Ms,
    pub updated_at: Ms,
    pub settings: Arc<Settings>,
    /// What the breaker counts; `failedTasks`.
    pub failed: u32,
    /// Alarms that were in ALARM when it started.
    pub ignored_alarms: BTreeSet<Arc<str>>,
    /// How many tasks it is to keep once it is not PRIMARY any more.
    pub keep: u32,
    /// Tasks in a row that never reached RUNNING.
    pub failed_starts: u32,
    /// No task is started before.
    pub start_after: Ms,
    /// Since when it bakes.
    pub steady_since: Option<Ms>,
}

/// What is deployed, and with what. Never changes, and a rollback makes none.
#[derive(Clone, Debug)]
pub struct Revision {
    pub id: RevisionId,
    pub definition: DefinitionId,
    pub created_at: Ms,
    /// The service's settings that are part of it, as they were sent.
    pub body: Map<String, Value>,
    /// Per container, what its image was resolved to, once that is known.
    pub digests: Vec<Option<Arc<str>>>,
}

/// `status` of a service deployment. "View service history using Amazon ECS service deployments".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Pending,
    InProgress,
    StopRequested,
    Stopped,
    RollbackRequested,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
    Successful,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::InProgress => "IN_PROGRESS",
            Status::StopRequested => "STOP_REQUESTED",
            Status::Stopped => "STOPPED",
            Status::RollbackRequested => "ROLLBACK_REQUESTED",
            Status::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Status::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
            Status::RollbackFailed => "ROLLBACK_FAILED",
            Status::Successful => "SUCCESSFUL",
        }
    }

    pub fn is_final(self) -> bool {
        match self {
            Status::Stopped | Status::RollbackSuccessful | Status::RollbackFailed | Status::Successful => {
                true
            }
            Status::Pending
            | Status::InProgress
            | Status::StopRequested
            | Status::RollbackRequested
            | Status::RollbackInProgress => false,
        }
    }
}

/// Why a deployment failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    Breaker,
    Alarm,
    /// StopServiceDeployment.
    Requested,
}

/// A service deployment.
#[derive(Clone, Debug)]
pub struct Rollout {
    pub id: RolloutId,
    pub status: Status,
    pub reason: String,
    pub created_at: Ms,
    pub started_at: Option<Ms>,
    pub stopped_at: Option<Ms>,
    pub finished_at: Option<Ms>,
    pub updated_at: Ms,
    pub sources: Vec<RevisionId>,
    pub target: RevisionId,
    pub settings: Arc<Settings>,
    /// When, why, and to which revision.
    pub rollback: Option<(Ms, String, RevisionId)>,
    pub failed_by: Option<Cause>,
    pub failures: u32,
    pub triggered_alarms: BTreeSet<Arc<str>>,
    pub baking: bool,
}

#[derive(Debug)]
pub struct Service {
    pub name: Arc<str>,
    pub created_at: Ms,
    pub client_token: Option<String>,
    /// The request that created it, with what updates changed, but for what stands in the fields below.
    pub body: Map<String, Value>,
    /// The request that created it, as it came.
    pub created_with: Value,
    pub tags: Tags,
    pub desired: u32,
    pub settings: Arc<Settings>,
    /// The PRIMARY first, then the others from new to old.
    pub deployments: Vec<Deployment>,
    pub revisions: Vec<Revision>,
    /// From old to new.
    pub rollouts: Vec<Rollout>,
    /// Where a rollback goes.
    pub last_completed: Option<(DeploymentId, RevisionId)>,
    pub tasks: Vec<Task>,
    /// From old to new.
    pub stopped: VecDeque<Task>,
    /// When, id and text; from new to old.
    pub messages: VecDeque<(Ms, u64, String)>,
    /// Since when each service deployment is the current one, for those who are told late.
    pub current: Vec<(Ms, RolloutId)>,
    pub steady: bool,
    pub steady_told_at: Ms,
    /// It was deleted, and its last tasks end.
    pub draining: bool,
}

impl Service {
    pub fn primary(&self) -> &Deployment {
        &self.deployments[0]
    }

    pub fn revision(&self, id: RevisionId) -> &Revision {
        self.revisions.iter().find(|revision| revision.id == id).expect("revisions are never removed")
    }

    pub fn rollout(&self, id: RolloutId) -> &Rollout {
        self.rollouts.iter().find(|rollout| rollout.id == id).expect("service deployments are never removed")
    }

    pub fn rollout_mut(&mut self, id: RolloutId) -> &mut Rollout {
        self.rollouts
            .iter_mut()
            .find(|rollout| rollout.id == id)
            .expect("service deployments are never removed")
    }

    /// How many tasks of a deployment are as asked for.
    pub fn count(&self, deployment: DeploymentId, which: fn(&Task) -> bool) -> u32 {
        count(self.tasks.iter().filter(|task| task.deployment == deployment && which(task)))
    }

    /// How many tasks of the service are as asked for.
    pub fn count_all(&self, which: fn(&Task) -> bool) -> u32 {
        count(self.tasks.iter().filter(|task| which(task)))
    }
}

pub fn count<T>(of: impl Iterator<Item = T>) -> u32 {
    u32::try_from(of.count()).unwrap_or(u32::MAX)
}

/// What the model wants done to a task. Whoever runs tasks obeys, and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskCommand {
    /// Pull, start and watch it: see [`super::Ecs::definition`] for image, environment and health check.
    Start { service: Arc<str>, task: TaskId, definition: DefinitionId, deployment: DeploymentId },
    /// SIGTERM now. The model says [`TaskCommand::Kill`] at `kill_at` if it has not exited by then.
    Stop { task: TaskId, kill_at: Ms },
    /// SIGKILL.
    Kill { task: TaskId },
}

/// What went wrong before a task ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartFailure {
    /// The image could not be pulled, a secret not be read, a log group not be found.
    Resources,
    /// No room for it. It is not described afterwards; that it was there at all, and told of, is the model's liberty.
    Placement,
}

/// What became of a task, said by whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskReport {
    /// The image is there. The digest, when the definition names the image by a tag; that of the index, if there is one.
    Pulled {
        digest: Option<Arc<str>>,
    },
    Running,
    /// One run of the health check's command. The model counts: start period, retries.
    Checked {
        passed: bool,
    },
    /// The agent's verdict, where the caller counts.
    HealthChanged(Health),
    /// The essential container is gone, by itself or because it was told so.
    Exited {
        code: i32,
        reason: Option<Arc<str>>,
    },
    FailedToStart {
        what: StartFailure,
        reason: Arc<str>,
    },
    /// Somebody else than the scheduler has it stopped: a person, Spot, a retirement. The model sends the Stop.
    Interrupted {
        code: StopCode,
        reason: Arc<str>,
    },
}

/// What a step brings forth, in order.
#[derive(Clone, Debug)]
pub enum Output {
    Task(TaskCommand),
    Event(Event),
}

/// What every decision may look at, and where it puts what it wants.
pub struct Context<'a> {
    pub now: Ms,
    pub config: &'a super::config::Config,
    pub definitions: &'a Definitions,
    /// Names of the alarms in ALARM.
    pub alarms: &'a BTreeSet<Arc<str>>,
    pub ids: &'a mut Ids,
    pub out: &'a mut Vec<Output>,
}
