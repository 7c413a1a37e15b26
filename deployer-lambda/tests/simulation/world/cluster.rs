//! Cluster: ECS as the deployer sees it, and the calls that change it. As aws::ecs and aws::rollouts read AWS's answers,
//! but from the model's own types: JSON would cost more than all the rest.

use deployer::observe::facts::{Health, Revision, Rollout, RolloutState, Service, Stop, Task, TaskState};
use deployer::release::{Digest, Moment, ReleaseId, RevisionArn};
use local::ecs::model::{Cause, Deployment, Rollout as Seen};
use local::ecs::{self, DefinitionId, EcsError, Status, TaskStatus};
use serde_json::Value;

use super::{SERVICE, State};

fn moment(ms: u64) -> Moment {
    Moment(i64::try_from(ms).unwrap_or(i64::MAX))
}

impl State {
    pub fn arn(&self, definition: DefinitionId) -> RevisionArn {
        RevisionArn::from(&*self.ecs.definition(definition).arn)
    }

    pub fn service(&self) -> Option<Service> {
        let s = self.ecs.service(SERVICE)?;
        let settings = &s.settings;
        let breaker = settings.breaker.enable && settings.breaker.rollback;
        let running = |task: &&ecs::Task| task.is_live() && task.status == TaskStatus::Running;
        Some(Service {
            revision: self.arn(s.primary().definition),
            desired: s.desired,
            running: u32::try_from(s.tasks.iter().filter(running).count()).unwrap_or(u32::MAX),
            own_rollback: breaker || (settings.alarms.enable && settings.alarms.rollback),
            rollouts: self.deployments(s),
        })
    }

    /// By DescribeServices.
    fn deployments(&self, s: &ecs::Service) -> Vec<Rollout> {
        let mut all: Vec<Rollout> = s
            .deployments
            .iter()
            .map(|it| Rollout {
                id: it.id.to_string(),
                revision: self.arn(it.definition),
                state: deployment_state(s, it),
                reason: it.reason.clone(),
                created_at: moment(it.created_at),
                failed_tasks: it.failed,
            })
            .collect();
        all.sort_by_key(|rollout| std::cmp::Reverse(rollout.created_at));
        all
    }

    /// By ListServiceDeployments.
    pub fn service_deployments(&self) -> Vec<Rollout> {
        let Some(s) = self.ecs.service(SERVICE).filter(|_| !self.old_api) else { return Vec::new() };
        let of = |it: &Seen| Rollout {
            id: it.id.to_string(),
            revision: self.arn(s.revision(it.target).definition),
            state: rollout_state(it),
            reason: it.rollback.as_ref().map_or_else(|| it.reason.clone(), |(_, reason, _)| reason.clone()),
            created_at: moment(it.created_at),
            failed_tasks: it.failures,
        };
        s.rollouts.iter().rev().take(20).map(of).collect()
    }

    pub fn tasks(&self) -> Vec<Task> {
        let Some(s) = self.ecs.service(SERVICE) else { return Vec::new() };
        s.tasks.iter().chain(&s.stopped).map(|task| self.task(task)).collect()
    }

    fn task(&self, task: &ecs::Task) -> Task {
        Task {
            id: task.id.to_string(),
            revision: self.arn(task.definition),
            state: match task.status {
                TaskStatus::Provisioning | TaskStatus::Pending => TaskState::Starting,
                TaskStatus::Running => TaskState::Running,
                TaskStatus::Deactivating => TaskState::Stopping,
                TaskStatus::Stopped => TaskState::Stopped(Stop {
                    at: task.stopped_at.map(moment).unwrap_or_default(),
                    code: task.stop_code.map(|code| code.name().to_owned()).unwrap_or_default(),
                    reason: task.stopped_reason.as_deref().unwrap_or_default().to_owned(),
                    exit_code: task.exit_code,
                    container_reason: task.container_reason.as_deref().unwrap_or_default().to_owned(),
                }),
            },
            healthy: match task.health {
                ecs::Health::Healthy => Health::Healthy,
                ecs::Health::Unhealthy => Health::Unhealthy,
                ecs::Health::Unknown => Health::Unknown,
            },
            digest: self.ecs.running_digest(task, 0).as_deref().map(Digest::from),
            started_at: task.started_at.map(moment),
        }
    }

    pub fn revisions(&self) -> Vec<Revision> {
        let arns = self.ecs.definitions().list("shop-worker", true);
        let newest = arns.into_iter().rev().take(10).filter_map(|arn| self.ecs.definitions().find(arn));
        newest
            .map(|id| Revision {
                arn: self.arn(id),
                release: self.release_at(id).map(ReleaseId::from),
                image: self.digest_of(id),
            })
            .collect()
    }

    pub fn is_active(&self, arn: &RevisionArn) -> bool {
        let found = self.ecs.definitions().find(arn.as_str());
        found.is_some_and(|id| self.ecs.definition(id).active)
    }

    pub fn do_register(&mut self, body: &Value) -> Result<RevisionArn, EcsError> {
        self.registered += 1;
        let at = self.ms();
        let answer = self.ecs.register_task_definition(body, at)?;
        let arn =
            answer.pointer("/taskDefinition/taskDefinitionArn").and_then(Value::as_str).unwrap_or_default();
        let arn = RevisionArn::from(arn);
        self.say(|_| format!("RegisterTaskDefinition {}", arn.short()));
        Ok(arn)
    }

    pub fn do_create(&mut self, body: &Value) -> Result<(), EcsError> {
        let at = self.ms();
        self.say(|_| format!("CreateService {}", body["taskDefinition"]));
        self.ecs.create_service(body, at).map(drop)
    }

    pub fn do_update(&mut self, body: &Value) -> Result<(), EcsError> {
        self.updates += 1;
        let at = self.ms();
        self.say(|_| {
            let on = body.pointer("/deploymentConfiguration/deploymentCircuitBreaker/rollback");
            let (to, tasks, force) =
                (&body["taskDefinition"], &body["desiredCount"], &body["forceNewDeployment"]);
            format!("UpdateService {to} tasks {tasks} force {force} rollback {on:?}")
        });
        self.ecs.update_service(body, at).map(drop)
    }

    pub fn do_reject(&mut self, what: &str) {
        if self.ledger.insert(what.to_owned()) {
            self.sequence += 1;
            let at = (self.sequence, self.now);
            self.oracle.rejected_at.insert(what.to_owned(), at);
            self.say(|_| format!("the ledger rejects {what}"));
            self.fence();
        }
    }

    pub fn do_release(&mut self, what: &str) {
        if self.ledger.remove(what) {
            self.oracle.rejected_at.remove(what);
            self.say(|_| format!("the ledger releases {what}"));
        }
    }
}

fn rollout_state(it: &Seen) -> RolloutState {
    let gave_up = match it.failed_by {
        Some(Cause::Breaker | Cause::Alarm) => true,
        Some(Cause::Requested) | None => false,
    };
    match it.status {
        Status::Pending => RolloutState::Pending,
        Status::Stopped | Status::InProgress if gave_up => RolloutState::Failed,
        Status::InProgress => RolloutState::InProgress,
        Status::Stopped | Status::StopRequested => RolloutState::Stopped,
        Status::RollbackRequested | Status::RollbackInProgress => RolloutState::RollingBack,
        Status::RollbackSuccessful => RolloutState::RolledBack,
        Status::RollbackFailed => RolloutState::RollbackFailed,
        Status::Successful => RolloutState::Successful,
    }
}

fn deployment_state(s: &ecs::Service, it: &Deployment) -> RolloutState {
    let primary = s.primary();
    let is_primary = it.id == primary.id;
    let back = !is_primary && primary.reason.contains("rolling back");
    match (it.state, back) {
        (ecs::RolloutState::Completed, _) => RolloutState::Successful,
        (ecs::RolloutState::Failed, true) => match primary.state {
            ecs::RolloutState::Completed => RolloutState::RolledBack,
            ecs::RolloutState::Failed => RolloutState::RollbackFailed,
            ecs::RolloutState::InProgress => RolloutState::RollingBack,
        },
        (ecs::RolloutState::Failed, false) => RolloutState::Failed,
        (ecs::RolloutState::InProgress, _) if is_primary => RolloutState::InProgress,
        (ecs::RolloutState::InProgress, _) => RolloutState::Stopped,
    }
}
