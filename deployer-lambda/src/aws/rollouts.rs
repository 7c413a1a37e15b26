//! Rollouts: the service's deployments, by either of ECS's two ways to tell them.
//!
//! Order: service deployments are the better account (they survive, and say how a rollback went); the deployments of
//! DescribeServices are there in every answer, but only while they have tasks.
//! Neighbours: ecs. A rollback makes no service deployment of its own: it is a state of the one that failed.

use std::collections::BTreeMap;

use aws_sdk_ecs::types::{
    Deployment, DeploymentRolloutState, ServiceDeployment, ServiceDeploymentRollbackMonitorsStatus,
    ServiceDeploymentStatus,
};

use super::ecs::count;
use super::{Aws, Call, moment};
use crate::observe::facts::{Rollout, RolloutState};
use crate::observe::ports::{CallError, CallFault};
use crate::release::{Moment, RevisionArn};

/// ECS describes no more in one call. Source: "DescribeServiceDeployments".
const DESCRIBED_MAX: usize = 20;
const LISTED_A_PAGE: i32 = 100;
/// ECS promises no order of the list, and keeps 90 days of it.
const PAGES_MAX: usize = 5;

impl Aws {
    /// Newest first, at most [`DESCRIBED_MAX`]; empty where ECS lists none.
    pub(super) async fn service_deployments(&self) -> Result<Vec<Rollout>, CallError> {
        let newest = self.newest_service_deployments().await?;
        if newest.is_empty() {
            return Ok(Vec::new());
        }
        let name = &self.target.service;
        let answer = self
            .ecs
            .describe_service_deployments()
            .set_service_deployment_arns(Some(newest))
            .send()
            .await
            .map_err(|error| Call::DescribeServiceDeployments.failed(name, error))?;
        let found = answer.service_deployments();
        let revisions = self.task_definitions(found).await?;
        let mut rollouts = Vec::new();
        for deployment in found {
            let arn = target_of(deployment);
            let Some(revision) = revisions.get(arn) else {
                let why = format!("it deploys service revision {arn}, which ECS does not describe");
                let name = deployment.service_deployment_arn().unwrap_or(name);
                return Err(Call::DescribeServiceRevisions.odd(name, CallFault::Unknown, why));
            };
            rollouts.push(of_service_deployment(deployment, revision.clone()));
        }
        rollouts.sort_by_key(|rollout| std::cmp::Reverse(rollout.created_at));
        Ok(rollouts)
    }

    async fn newest_service_deployments(&self) -> Result<Vec<String>, CallError> {
        let name = &self.target.service;
        let mut listed: Vec<(Moment, String)> = Vec::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let answer = self
                .ecs
                .list_service_deployments()
                .cluster(&self.target.cluster)
                .service(name)
                .max_results(LISTED_A_PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| Call::ListServiceDeployments.failed(name, error))?;
            for brief in answer.service_deployments() {
                let at = brief.created_at().map(moment).unwrap_or_default();
                listed.extend(brief.service_deployment_arn().map(|arn| (at, arn.to_owned())));
            }
            token = answer.next_token;
            if token.is_none() {
                break;
            }
        }
        listed.sort_by(|a, b| b.cmp(a));
        Ok(listed.into_iter().take(DESCRIBED_MAX).map(|(_, arn)| arn).collect())
    }

    /// Service revision → task definition.
    async fn task_definitions(
        &self,
        deployments: &[ServiceDeployment],
    ) -> Result<BTreeMap<String, RevisionArn>, CallError> {
        let mut arns: Vec<String> = deployments.iter().map(|each| target_of(each).to_owned()).collect();
        arns.sort();
        arns.dedup();
        let answer = self
            .ecs
            .describe_service_revisions()
            .set_service_revision_arns(Some(arns))
            .send()
            .await
            .map_err(|error| Call::DescribeServiceRevisions.failed(&self.target.service, error))?;
        let pairs = answer.service_revisions().iter().filter_map(|revision| {
            let definition = RevisionArn::from(revision.task_definition()?);
            Some((revision.service_revision_arn()?.to_owned(), definition))
        });
        Ok(pairs.collect())
    }
}

fn target_of(deployment: &ServiceDeployment) -> &str {
    deployment.target_service_revision().and_then(|target| target.arn()).unwrap_or_default()
}

fn of_service_deployment(found: &ServiceDeployment, revision: RevisionArn) -> Rollout {
    let reason = match found.rollback().and_then(|rollback| rollback.reason()) {
        Some(reason) => reason,
        None => found.status_reason().unwrap_or_default(),
    };
    Rollout {
        id: found.service_deployment_arn().unwrap_or_default().to_owned(),
        revision,
        state: state_of(found),
        reason: reason.to_owned(),
        created_at: found.created_at().map(moment).unwrap_or_default(),
        failed_tasks: found.deployment_circuit_breaker().map_or(0, |breaker| count(breaker.failure_count())),
    }
}

fn state_of(found: &ServiceDeployment) -> RolloutState {
    let triggered = |status: Option<&ServiceDeploymentRollbackMonitorsStatus>| {
        status == Some(&ServiceDeploymentRollbackMonitorsStatus::Triggered)
    };
    let gave_up = triggered(found.deployment_circuit_breaker().and_then(|breaker| breaker.status()))
        || triggered(found.alarms().and_then(|alarms| alarms.status()));
    match found.status() {
        Some(ServiceDeploymentStatus::Pending) => RolloutState::Pending,
        Some(ServiceDeploymentStatus::Successful) => RolloutState::Successful,
        // One that was given up and has nothing to go back to may stall in progress for ever.
        Some(ServiceDeploymentStatus::Stopped | ServiceDeploymentStatus::InProgress) if gave_up => {
            RolloutState::Failed
        }
        Some(ServiceDeploymentStatus::Stopped | ServiceDeploymentStatus::StopRequested) => {
            RolloutState::Stopped
        }
        Some(ServiceDeploymentStatus::RollbackRequested | ServiceDeploymentStatus::RollbackInProgress) => {
            RolloutState::RollingBack
        }
        Some(ServiceDeploymentStatus::RollbackSuccessful) => RolloutState::RolledBack,
        Some(ServiceDeploymentStatus::RollbackFailed) => RolloutState::RollbackFailed,
        // A status that ECS may add later is never taken for success or failure.
        Some(ServiceDeploymentStatus::InProgress) | Some(_) | None => RolloutState::InProgress,
    }
}

/// By DescribeServices: newest first.
pub(super) fn of_deployments(found: &[Deployment]) -> Vec<Rollout> {
    let created = |deployment: &Deployment| deployment.created_at().map(moment).unwrap_or_default();
    let primary = found.iter().find(|deployment| deployment.status() == Some("PRIMARY"));
    let mut rollouts: Vec<Rollout> = found
        .iter()
        .map(|deployment| Rollout {
            id: deployment.id().unwrap_or_default().to_owned(),
            revision: RevisionArn::from(deployment.task_definition().unwrap_or_default()),
            state: deployment_state(deployment, primary),
            reason: deployment.rollout_state_reason().unwrap_or_default().to_owned(),
            created_at: created(deployment),
            failed_tasks: count(deployment.failed_tasks()),
        })
        .collect();
    rollouts.sort_by_key(|rollout| std::cmp::Reverse(rollout.created_at));
    rollouts
}

/// A deployment that failed and was followed by one that is "rolling back" to another.
fn deployment_state(deployment: &Deployment, primary: Option<&Deployment>) -> RolloutState {
    let is_primary = deployment.status() == Some("PRIMARY");
    let rollback = primary.filter(|primary| {
        !is_primary && primary.rollout_state_reason().unwrap_or_default().contains("rolling back")
    });
    match (deployment.rollout_state(), rollback) {
        (Some(DeploymentRolloutState::Completed), _) => RolloutState::Successful,
        (Some(DeploymentRolloutState::Failed), Some(back)) => match back.rollout_state() {
            Some(DeploymentRolloutState::Completed) => RolloutState::RolledBack,
            Some(DeploymentRolloutState::Failed) => RolloutState::RollbackFailed,
            Some(_) | None => RolloutState::RollingBack,
        },
        (Some(DeploymentRolloutState::Failed), None) => RolloutState::Failed,
        // Never taken for success: ECS says so where it is.
        (Some(_) | None, _) if is_primary => RolloutState::InProgress,
        (Some(_) | None, _) => RolloutState::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecs::primitives::DateTime;
    use aws_sdk_ecs::types::{
        Rollback, ServiceDeploymentCircuitBreaker, ServiceRevisionSummary,
        builders::{DeploymentBuilder, ServiceDeploymentBuilder},
    };

    use super::*;

    fn deployment(id: &str, status: &str, state: DeploymentRolloutState, created: i64) -> DeploymentBuilder {
        let created = DateTime::from_millis(created);
        Deployment::builder().id(id).status(status).rollout_state(state).created_at(created)
    }

    #[test]
    fn a_failed_deployment_behind_a_rollback_is_rolling_back_and_never_a_success() {
        let back = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.";
        let failed =
            deployment("ecs-svc/2", "ACTIVE", DeploymentRolloutState::Failed, 20).failed_tasks(2).build();
        for (state, expected) in [
            (DeploymentRolloutState::InProgress, RolloutState::RollingBack),
            (DeploymentRolloutState::Completed, RolloutState::RolledBack),
            (DeploymentRolloutState::Failed, RolloutState::RollbackFailed),
        ] {
            let primary = deployment("ecs-svc/3", "PRIMARY", state, 30).rollout_state_reason(back).build();
            let rollouts = of_deployments(&[failed.clone(), primary]);
            let ids: Vec<&str> = rollouts.iter().map(|rollout| rollout.id.as_str()).collect();
            assert_eq!(ids, ["ecs-svc/3", "ecs-svc/2"]);
            assert_eq!((rollouts[1].state, rollouts[1].failed_tasks), (expected, 2));
        }
        assert_eq!(of_deployments(&[failed])[0].state, RolloutState::Failed);
    }

    #[test]
    fn a_superseded_deployment_is_stopped_and_not_rolled_back() {
        let old = deployment("ecs-svc/2", "ACTIVE", DeploymentRolloutState::InProgress, 20).build();
        let new = deployment("ecs-svc/3", "PRIMARY", DeploymentRolloutState::InProgress, 30).build();
        let states: Vec<RolloutState> = of_deployments(&[new, old]).iter().map(|each| each.state).collect();
        assert_eq!(states, [RolloutState::InProgress, RolloutState::Stopped]);
    }

    #[test]
    fn a_deployment_without_a_state_is_in_progress() {
        let silent = Deployment::builder().id("ecs-svc/1").status("PRIMARY").running_count(1).build();
        assert_eq!(of_deployments(&[silent])[0].state, RolloutState::InProgress);
    }

    fn service_deployment(status: ServiceDeploymentStatus) -> ServiceDeploymentBuilder {
        let target = ServiceRevisionSummary::builder().arn("arn:…/9").build();
        ServiceDeployment::builder()
            .service_deployment_arn("arn:…/d")
            .status(status)
            .target_service_revision(target)
    }

    #[test]
    fn every_status_of_a_service_deployment_has_its_state() {
        let state =
            |status: &str| state_of(&service_deployment(ServiceDeploymentStatus::from(status)).build());
        assert_eq!(state("PENDING"), RolloutState::Pending);
        assert_eq!(state("IN_PROGRESS"), RolloutState::InProgress);
        assert_eq!(state("SUCCESSFUL"), RolloutState::Successful);
        assert_eq!(state("STOPPED"), RolloutState::Stopped);
        assert_eq!(state("STOP_REQUESTED"), RolloutState::Stopped);
        assert_eq!(state("ROLLBACK_REQUESTED"), RolloutState::RollingBack);
        assert_eq!(state("ROLLBACK_IN_PROGRESS"), RolloutState::RollingBack);
        assert_eq!(state("ROLLBACK_SUCCESSFUL"), RolloutState::RolledBack);
        assert_eq!(state("ROLLBACK_FAILED"), RolloutState::RollbackFailed);
        assert_eq!(state("SOMETHING_NEW"), RolloutState::InProgress);
    }

    #[test]
    fn a_deployment_that_the_breaker_stopped_without_going_back_has_failed() {
        let breaker = ServiceDeploymentCircuitBreaker::builder()
            .status(ServiceDeploymentRollbackMonitorsStatus::Triggered)
            .failure_count(2)
            .build();
        let stopped =
            service_deployment(ServiceDeploymentStatus::Stopped).deployment_circuit_breaker(breaker);
        let rollout = of_service_deployment(&stopped.build(), RevisionArn::from("shop:2"));
        assert_eq!((rollout.state, rollout.failed_tasks), (RolloutState::Failed, 2));
    }

    #[test]
    fn a_deployment_that_was_given_up_and_stalls_in_progress_has_failed() {
        let breaker = ServiceDeploymentCircuitBreaker::builder()
            .status(ServiceDeploymentRollbackMonitorsStatus::Triggered)
            .build();
        let stalled =
            service_deployment(ServiceDeploymentStatus::InProgress).deployment_circuit_breaker(breaker);
        assert_eq!(state_of(&stalled.build()), RolloutState::Failed);
    }

    #[test]
    fn the_rollbacks_own_reason_is_told() {
        let rollback =
            Rollback::builder().reason("Service deployment rolled back because of alarm x").build();
        let back = service_deployment(ServiceDeploymentStatus::RollbackSuccessful).rollback(rollback);
        let rollout = of_service_deployment(&back.status_reason("-").build(), RevisionArn::from("shop:2"));
        assert_eq!(rollout.reason, "Service deployment rolled back because of alarm x");
    }
}
