//! Ecs: the service, its tasks, the family's revisions; and the calls that change them.
//!
//! Order: a service that is INACTIVE is none. Bodies go out as they were rendered (see body).
//! Neighbours: aws; the service's deployments are in rollouts.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ecs::error::ProvideErrorMetadata as _;
use aws_sdk_ecs::types::{
    DeploymentConfiguration, DesiredStatus, HealthStatus, SortOrder, Tag, TaskDefinition,
    TaskDefinitionField, TaskDefinitionStatus,
};
use futures::StreamExt as _;
use futures::TryStreamExt as _;
use futures::future::{try_join, try_join_all};
use futures::stream;
use serde_json::Value;

use super::body::Body;
use super::{Aws, Call, moment, once, patiently, rollouts};
use crate::apply::ports::Deploy;
use crate::observe::facts::{Health, Revision, Rollout, Service, Stop, Task, TaskState};
use crate::observe::ports::{CallError, CallFault, Cluster};
use crate::release::{Digest, ReleaseId, RevisionArn};
use crate::render::RELEASE_TAG;

/// ECS describes no more tasks in one call. Source: "DescribeTasks".
const TASKS_A_CALL: usize = 100;
/// Pages of stopped or running tasks that are read: 300 tasks. One crash loop makes some ten in an hour.
const TASK_PAGES_MAX: usize = 3;
/// Revisions of the family that are looked at, newest first.
const REVISIONS_MAX: i32 = 10;
const DESCRIBES_AT_ONCE: usize = 5;

#[async_trait]
impl Cluster for Aws {
    async fn service(&self) -> Result<Option<Service>, CallError> {
        let name = &self.target.service;
        let answer = self
            .ecs
            .describe_services()
            .cluster(&self.target.cluster)
            .services(name)
            .send()
            .await
            .map_err(|error| Call::DescribeServices.failed(name, error))?;
        for failure in answer.failures() {
            let reason = failure.reason().unwrap_or("no reason given");
            if reason != "MISSING" {
                let detail = failure.detail().unwrap_or_default();
                return Err(Call::DescribeServices.odd(
                    name,
                    CallFault::Unknown,
                    format!("{reason} {detail}"),
                ));
            }
        }
        Ok(answer.services().first().and_then(service_of))
    }

    async fn rollouts(&self) -> Result<Vec<Rollout>, CallError> {
        self.service_deployments().await
    }

    async fn tasks(&self) -> Result<Vec<Task>, CallError> {
        let (running, stopped) =
            try_join(self.task_arns(DesiredStatus::Running), self.task_arns(DesiredStatus::Stopped)).await?;
        // A task that stops in between is in both.
        let arns: BTreeSet<String> = running.into_iter().chain(stopped).collect();
        let arns: Vec<String> = arns.into_iter().collect();
        let batches = arns.chunks(TASKS_A_CALL).map(|batch| self.described_tasks(batch));
        Ok(try_join_all(batches).await?.into_iter().flatten().collect())
    }

    async fn revisions(&self) -> Result<Vec<Revision>, CallError> {
        let family = &self.target.family;
        let answer = self
            .ecs
            .list_task_definitions()
            .family_prefix(family)
            .status(TaskDefinitionStatus::Active)
            .sort(SortOrder::Desc)
            .max_results(REVISIONS_MAX)
            .send()
            .await
            .map_err(|error| Call::ListTaskDefinitions.failed(family, error))?;
        let described: Vec<_> = answer.task_definition_arns().iter().map(|arn| self.revision(arn)).collect();
        stream::iter(described).buffered(DESCRIBES_AT_ONCE).try_collect().await
    }

    async fn is_ours(&self, revision: &RevisionArn) -> Result<bool, CallError> {
        let found = self.revision(revision.as_str()).await?;
        Ok(found.release.is_some_and(|release| !release.is_adopted()))
    }

    async fn inactive(&self, revisions: &[RevisionArn]) -> Result<Vec<RevisionArn>, CallError> {
        let asked: Vec<_> = revisions.iter().map(|revision| self.is_active(revision)).collect();
        let active: Vec<bool> = stream::iter(asked).buffered(DESCRIBES_AT_ONCE).try_collect().await?;
        let inactive = revisions.iter().zip(active).filter(|(_, active)| !active);
        Ok(inactive.map(|(revision, _)| revision.clone()).collect())
    }
}

impl Aws {
    async fn task_arns(&self, desired: DesiredStatus) -> Result<Vec<String>, CallError> {
        let name = &self.target.service;
        let mut pages = self
            .ecs
            .list_tasks()
            .cluster(&self.target.cluster)
            .service_name(name)
            .desired_status(desired)
            .into_paginator()
            .send();
        let mut arns = Vec::new();
        for _ in 0..TASK_PAGES_MAX {
            let Some(page) = pages.next().await else { break };
            let page = page.map_err(|error| Call::ListTasks.failed(name, error))?;
            arns.extend(page.task_arns.unwrap_or_default());
        }
        Ok(arns)
    }

    /// Tasks that are gone in between are left out.
    async fn described_tasks(&self, arns: &[String]) -> Result<Vec<Task>, CallError> {
        let name = &self.target.service;
        let answer = self
            .ecs
            .describe_tasks()
            .cluster(&self.target.cluster)
            .set_tasks(Some(arns.to_vec()))
            .send()
            .await
            .map_err(|error| Call::DescribeTasks.failed(name, error))?;
        Ok(answer.tasks().iter().map(|task| task_of(task, &self.target.container)).collect())
    }

    async fn revision(&self, arn: &str) -> Result<Revision, CallError> {
        let answer = self
            .ecs
            .describe_task_definition()
            .task_definition(arn)
            .include(TaskDefinitionField::Tags)
            .send()
            .await
            .map_err(|error| Call::DescribeTaskDefinition.failed(arn, error))?;
        let release = answer.tags().iter().find(|tag| tag.key() == Some(RELEASE_TAG));
        Ok(Revision {
            arn: RevisionArn::from(arn),
            release: release.and_then(Tag::value).map(ReleaseId::from),
            image: answer
                .task_definition()
                .and_then(|definition| image_of(definition, &self.target.container)),
        })
    }

    /// Whether the service could be pointed at it.
    async fn is_active(&self, revision: &RevisionArn) -> Result<bool, CallError> {
        let call = Call::DescribeTaskDefinition;
        match self.ecs.describe_task_definition().task_definition(revision.as_str()).send().await {
            Ok(answer) => {
                let status = answer.task_definition().and_then(TaskDefinition::status);
                Ok(status == Some(&TaskDefinitionStatus::Active))
            }
            // How ECS tells that it was deleted.
            Err(error)
                if error
                    .message()
                    .is_some_and(|said| said.contains("Unable to describe task definition")) =>
            {
                Ok(false)
            }
            Err(error) => Err(call.failed(revision.as_str(), error)),
        }
    }

    async fn tag_one(&self, arn: &str, tags: &[(String, String)]) -> Result<(), CallError> {
        let tags: Vec<Tag> =
            tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        self.ecs
            .tag_resource()
            .resource_arn(arn)
            .set_tags(Some(tags))
            .send()
            .await
            .map_err(|error| Call::TagResource.failed(arn, error))?;
        Ok(())
    }
}

#[async_trait]
impl Deploy for Aws {
    async fn register(&self, body: &Value) -> Result<RevisionArn, CallError> {
        let (call, family) = (Call::RegisterTaskDefinition, &self.target.family);
        let config = || aws_sdk_ecs::Config::builder().retry_config(once());
        let answer = patiently(|| async {
            let request = self.ecs.register_task_definition().customize();
            let request = request.config_override(config()).interceptor(Body::of(body));
            request.send().await.map_err(|error| call.failed(family, error))
        })
        .await?;
        let arn = answer.task_definition().and_then(TaskDefinition::task_definition_arn);
        arn.map(RevisionArn::from).ok_or_else(|| {
            // It was registered, under a number that the next look finds by its tag.
            call.odd(family, CallFault::Unknown, "the answer names no revision")
        })
    }

    async fn create(&self, body: &Value) -> Result<(), CallError> {
        let config = || aws_sdk_ecs::Config::builder().retry_config(once());
        patiently(|| async {
            let request = self.ecs.create_service().customize();
            let request = request.config_override(config()).interceptor(Body::of(body));
            let sent = request.send().await;
            sent.map(drop).map_err(|error| Call::CreateService.failed(&self.target.service, error))
        })
        .await
    }

    async fn update(&self, body: &Value) -> Result<(), CallError> {
        let config = || aws_sdk_ecs::Config::builder().retry_config(once());
        patiently(|| async {
            let request = self.ecs.update_service().customize();
            let request = request.config_override(config()).interceptor(Body::of(body));
            let sent = request.send().await;
            sent.map(drop).map_err(|error| Call::UpdateService.failed(&self.target.service, error))
        })
        .await
    }

    async fn delete(&self, body: &Value) -> Result<(), CallError> {
        let config = || aws_sdk_ecs::Config::builder().retry_config(once());
        patiently(|| async {
            let request = self.ecs.delete_service().customize();
            let request = request.config_override(config()).interceptor(Body::of(body));
            match request.send().await {
                Ok(_) => Ok(()),
                Err(error)
                    if matches!(
                        error.code(),
                        Some("ServiceNotFoundException" | "ClusterNotFoundException")
                    ) =>
                {
                    Ok(())
                }
                Err(error) => Err(Call::DeleteService.failed(&self.target.service, error)),
            }
        })
        .await
    }

    async fn tag(
        &self,
        revision: &RevisionArn,
        tags: &[(String, String)],
        service_too: bool,
    ) -> Result<(), CallError> {
        self.tag_one(revision.as_str(), tags).await?;
        if !service_too {
            return Ok(());
        }
        let service = service_arn(revision, &self.target.cluster, &self.target.service).ok_or_else(|| {
            let why = "it is not the ARN of a task definition";
            Call::TagResource.odd(revision.as_str(), CallFault::Refused, why)
        })?;
        self.tag_one(&service, tags).await
    }
}

/// The service lives in the same partition, region and account as its revisions.
fn service_arn(revision: &RevisionArn, cluster: &str, service: &str) -> Option<String> {
    let (place, _) = revision.as_str().split_once(":task-definition/")?;
    Some(format!("{place}:service/{}/{service}", cluster_name(cluster)))
}

/// Of its name or its ARN.
pub(super) fn cluster_name(cluster: &str) -> &str {
    cluster.rsplit('/').next().unwrap_or(cluster)
}

/// `None`: it was deleted. While it is DRAINING it cannot be updated, nor made again.
fn service_of(found: &aws_sdk_ecs::types::Service) -> Option<Service> {
    if found.status() == Some("INACTIVE") {
        return None;
    }
    Some(Service {
        revision: RevisionArn::from(found.task_definition().unwrap_or_default()),
        desired: count(found.desired_count()),
        running: count(found.running_count()),
        own_rollback: found.deployment_configuration().is_some_and(own_rollback),
        rollouts: rollouts::of_deployments(found.deployments()),
    })
}

/// Whether ECS would go back by itself, for either reason.
fn own_rollback(configuration: &DeploymentConfiguration) -> bool {
    let breaker = configuration.deployment_circuit_breaker();
    let alarms = configuration.alarms();
    breaker.is_some_and(|breaker| breaker.enable() && breaker.rollback())
        || alarms.is_some_and(|alarms| alarms.enable() && alarms.rollback())
}

/// AWS's counts are signed, and never below zero.
pub(super) fn count(count: i32) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

fn task_of(found: &aws_sdk_ecs::types::Task, container: &str) -> Task {
    let worker = found.containers().iter().find(|each| each.name() == Some(container));
    let digest = worker
        .and_then(|worker| worker.image_digest().map(Digest::from).or_else(|| digest_in(worker.image()?)));
    let stopped_at = [found.stopped_at(), found.execution_stopped_at(), found.stopping_at()];
    let stop = || Stop {
        at: stopped_at.into_iter().flatten().next().map(moment).unwrap_or_default(),
        code: found.stop_code().map(|code| code.as_str().to_owned()).unwrap_or_default(),
        reason: found.stopped_reason().unwrap_or_default().to_owned(),
        exit_code: worker.and_then(|worker| worker.exit_code()),
        container_reason: worker.and_then(|worker| worker.reason()).unwrap_or_default().to_owned(),
    };
    let arn = found.task_arn().unwrap_or_default();
    Task {
        id: arn.rsplit('/').next().unwrap_or(arn).to_owned(),
        revision: RevisionArn::from(found.task_definition_arn().unwrap_or_default()),
        state: match found.last_status().unwrap_or_default() {
            "RUNNING" => TaskState::Running,
            "DEACTIVATING" | "STOPPING" | "DEPROVISIONING" => TaskState::Stopping,
            "STOPPED" | "DELETED" => TaskState::Stopped(stop()),
            // PROVISIONING, PENDING, ACTIVATING, and what ECS may add before RUNNING.
            _ => TaskState::Starting,
        },
        healthy: match found.health_status() {
            Some(HealthStatus::Healthy) => Health::Healthy,
            Some(HealthStatus::Unhealthy) => Health::Unhealthy,
            Some(_) | None => Health::Unknown,
        },
        digest,
        started_at: found.started_at().map(moment),
    }
}

fn image_of(definition: &TaskDefinition, container: &str) -> Option<Digest> {
    let worker = definition.container_definitions().iter().find(|each| each.name() == Some(container))?;
    digest_in(worker.image()?)
}

/// `sha256:…` of `repository@sha256:…`.
fn digest_in(image: &str) -> Option<Digest> {
    let (_, digest) = image.rsplit_once('@')?;
    digest.starts_with("sha256:").then(|| Digest::from(digest))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecs::types as ecs;

    use super::*;
    use crate::release::Moment;

    #[test]
    fn a_services_arn_follows_from_its_revisions() {
        let revision = RevisionArn::from("arn:aws-cn:ecs:cn-north-1:1:task-definition/shop:7");
        let expected = Some("arn:aws-cn:ecs:cn-north-1:1:service/main/shop".to_owned());
        assert_eq!(service_arn(&revision, "main", "shop"), expected);
        assert_eq!(service_arn(&revision, "arn:aws-cn:ecs:cn-north-1:1:cluster/main", "shop"), expected);
        assert_eq!(service_arn(&RevisionArn::from("shop:7"), "main", "shop"), None);
    }

    #[test]
    fn own_rollback_is_on_when_breaker_or_alarms_would_roll_back() {
        let breaker = |enable, rollback| {
            let breaker = ecs::DeploymentCircuitBreaker::builder().enable(enable).rollback(rollback).build();
            DeploymentConfiguration::builder().deployment_circuit_breaker(breaker)
        };
        assert!(own_rollback(&breaker(true, true).build()));
        assert!(!own_rollback(&breaker(true, false).build()));
        assert!(!own_rollback(&breaker(false, true).build()));
        assert!(!own_rollback(&DeploymentConfiguration::builder().build()));
        let alarms = ecs::DeploymentAlarms::builder().alarm_names("a").enable(true).rollback(true).build();
        assert!(own_rollback(&breaker(true, false).alarms(alarms.unwrap()).build()));
    }

    #[test]
    fn a_task_tells_the_workers_container_not_a_sidecars() {
        let container = |name: &str, exit| {
            let image = format!("r@sha256:{name}");
            ecs::Container::builder()
                .name(name)
                .image(image)
                .exit_code(exit)
                .reason("OutOfMemoryError: x")
                .build()
        };
        let task = ecs::Task::builder()
            .task_arn("arn:aws:ecs:r:1:task/main/abc")
            .task_definition_arn("arn:…/shop:7")
            .last_status("STOPPED")
            .stop_code(ecs::TaskStopCode::EssentialContainerExited)
            .stopped_reason("Essential container in task exited")
            .stopped_at(aws_sdk_ecs::primitives::DateTime::from_millis(1_500))
            .containers(container("log", 0))
            .containers(container("worker", 65))
            .build();
        let task = task_of(&task, "worker");
        assert_eq!(task.id, "abc");
        assert_eq!(task.digest, Some(Digest::from("sha256:worker")));
        let TaskState::Stopped(stop) = task.state else { panic!("{task:?}") };
        assert_eq!(
            (stop.exit_code, stop.code.as_str(), stop.at),
            (Some(65), "EssentialContainerExited", Moment(1_500))
        );
        assert_eq!(stop.container_reason, "OutOfMemoryError: x");
    }
}
