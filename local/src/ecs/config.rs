//! What is set once for a model: where it pretends to be, its delays, and which of two readings of AWS it follows.
//!
//! Neighbours: everyone in this room reads it.

use super::model::Ms;

pub const SECOND: Ms = 1000;
pub const MINUTE: Ms = 60 * SECOND;
pub const HOUR: Ms = 60 * MINUTE;

/// Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    pub region: String,
    pub account: String,
    pub cluster: String,
    /// How long a task without a health check runs before it counts as healthy. *DeploymentConfiguration*, ECS API
    /// Reference: 40 seconds.
    pub settle_ms: Ms,
    /// How long a deployment is in steady state before it completes; no source says, at once it is not.
    pub steady_ms: Ms,
    /// The least time between a task's end and the start of the one that replaces it.
    pub restart_delay_ms: Ms,
    /// The first wait after a task that never reached RUNNING; it doubles with each. "Amazon ECS service throttle
    /// logic" says that it grows, not from where.
    pub backoff_first_ms: Ms,
    /// "Amazon ECS service throttle logic": up to 27 minutes.
    pub backoff_most_ms: Ms,
    /// How long stopped tasks are described. "Why is my Amazon ECS task stopped?": an hour.
    pub stopped_kept_ms: Ms,
    /// "Amazon ECS service action events": SERVICE_STEADY_STATE is repeated; every 6 hours. None: never.
    pub steady_again_ms: Option<Ms>,
    pub variants: Variants,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            region: "eu-central-1".into(),
            account: "111122223333".into(),
            cluster: "default".into(),
            settle_ms: 40 * SECOND,
            steady_ms: 5 * SECOND,
            restart_delay_ms: 5 * SECOND,
            backoff_first_ms: 10 * SECOND,
            backoff_most_ms: 27 * MINUTE,
            stopped_kept_ms: HOUR,
            steady_again_ms: Some(6 * HOUR),
            variants: Variants::default(),
        }
    }
}

/// Which digest of a multi-arch image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Digest {
    /// That of the index, which was pushed last and carries the tag.
    Index,
    /// That of the platform's manifest.
    Child,
}

/// What `deployments[]` shows for a rollback, and what becomes of the tasks that the good revision still has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rollback {
    /// A new deployment id; running tasks of that revision are taken over.
    NewIdSameTasks,
    /// A new deployment id, and new tasks for it, also where the old ones still run.
    NewIdNewTasks,
    /// The completed deployment becomes PRIMARY again.
    OldId,
}

/// What a deployment configuration that comes without a new task definition does to a deployment under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applies {
    AtOnce,
    NextDeployment,
}

/// Where the service deployment of a failed deployment ends that is not rolled back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stall {
    /// STOPPED, or ROLLBACK_FAILED if it was to be rolled back and there was nothing to go to.
    Final,
    /// It stays IN_PROGRESS until an update supersedes it.
    InProgress,
}

/// Readings of AWS that no source settles. Each is a switch, so that whatever relies on ECS can be run against all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variants {
    /// `containers[].imageDigest` of a task.
    pub running_digest: Digest,
    /// `containerImages[].imageDigest` of a service revision.
    pub revision_digest: Digest,
    /// `currentServiceDeployment` and `currentServiceRevisions` tell what was true so long ago.
    pub current_lag_ms: Ms,
    /// How long a new service deployment stays PENDING; with 0, until the next step.
    pub pending_ms: Ms,
    /// UpdateService with the task definition that is deployed already starts a deployment.
    pub same_definition_deploys: bool,
    pub rollback: Rollback,
    /// Alarms and breaker also watch a rollback, which then can end ROLLBACK_FAILED.
    pub rollback_can_fail: bool,
    /// The breaker goes on counting while the deployment bakes.
    pub breaker_in_bake: bool,
    /// A task that was healthy and then exits counts as a failure. re:Post, "ECS deployment circuit breaker doesn't
    /// activate": it "might not".
    pub late_exit_counts: bool,
    /// A task that could not be placed counts as one that failed to start.
    pub placement_counts: bool,
    /// Tasks that are stopping take room below maximumPercent. If not, 0/100 may start the new one early.
    pub stopping_takes_room: bool,
    /// What's new of November 2025: during a deployment, tasks of the old revision are replaced by their like.
    pub old_is_replaced: bool,
    pub config_applies: Applies,
    /// A deployment configuration in UpdateService replaces the whole; else what it does not name stays.
    pub config_replaces: bool,
    /// With alarms on, ECS bakes at least this long. "How CloudWatch alarms detect Amazon ECS deployment failures":
    /// computed from the alarms, not to be set.
    pub alarm_bake_ms: Ms,
    pub stall: Stall,
    /// A rollback that an update supersedes ends ROLLBACK_FAILED; else STOPPED.
    pub superseded_rollback_failed: bool,
    /// A deployment that is only being emptied is called DRAINING, not ACTIVE: seen in the field, not in the reference.
    pub draining: bool,
    /// DescribeTaskDefinition fills in what the request left out.
    pub defaults_filled: bool,
}

impl Default for Variants {
    fn default() -> Variants {
        Variants {
            running_digest: Digest::Index,
            revision_digest: Digest::Index,
            current_lag_ms: 0,
            pending_ms: 0,
            same_definition_deploys: false,
            rollback: Rollback::NewIdSameTasks,
            rollback_can_fail: true,
            breaker_in_bake: false,
            late_exit_counts: true,
            placement_counts: true,
            stopping_takes_room: true,
            old_is_replaced: true,
            config_applies: Applies::AtOnce,
            config_replaces: false,
            alarm_bake_ms: 0,
            stall: Stall::Final,
            superseded_rollback_failed: true,
            draining: false,
            defaults_filled: true,
        }
    }
}

impl Variants {
    /// One of all combinations, chosen by the bits of a random number.
    pub fn pick(bits: u64) -> Variants {
        let mut left = bits;
        let mut choose = |of: u64| {
            let chosen = left % of;
            left /= of;
            chosen
        };
        let mut coin = || choose(2) == 1;
        let digest = |child| if child { Digest::Child } else { Digest::Index };
        Variants {
            running_digest: digest(coin()),
            revision_digest: digest(coin()),
            current_lag_ms: if coin() { 20 * SECOND } else { 0 },
            pending_ms: if coin() { 5 * SECOND } else { 0 },
            same_definition_deploys: coin(),
            rollback_can_fail: coin(),
            breaker_in_bake: coin(),
            late_exit_counts: coin(),
            placement_counts: coin(),
            stopping_takes_room: coin(),
            old_is_replaced: coin(),
            config_applies: if coin() { Applies::AtOnce } else { Applies::NextDeployment },
            config_replaces: coin(),
            alarm_bake_ms: if coin() { 3 * MINUTE } else { 0 },
            stall: if coin() { Stall::Final } else { Stall::InProgress },
            superseded_rollback_failed: coin(),
            draining: coin(),
            defaults_filled: coin(),
            rollback: match choose(3) {
                0 => Rollback::NewIdSameTasks,
                1 => Rollback::NewIdNewTasks,
                _ => Rollback::OldId,
            },
        }
    }
}
