//! What the Describe calls answer, in AWS's own shape.
//!
//! Order: reads only.
//! Neighbours: api asks; events share the shape of a task.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Ecs;
use super::config::{Config, Digest};
use super::events::seconds;
use super::ids::{RevisionId, RolloutId, TaskId};
use super::model::{Cause, Deployment, Ms, Revision, Rollout, RolloutState, Service, Task, TaskStatus};
use super::tags;

impl Config {
    /// `arn:aws:ecs:region:account`.
    pub fn arn_head(&self) -> String {
        format!("arn:aws:ecs:{}:{}", self.region, self.account)
    }

    pub fn cluster_arn(&self) -> String {
        format!("{}:cluster/{}", self.arn_head(), self.cluster)
    }

    pub fn service_arn(&self, service: &str) -> String {
        format!("{}:service/{}/{service}", self.arn_head(), self.cluster)
    }

    pub fn task_arn(&self, task: TaskId) -> String {
        format!("{}:task/{}/{task}", self.arn_head(), self.cluster)
    }

    pub fn revision_arn(&self, service: &str, revision: RevisionId) -> String {
        format!("{}:service-revision/{}/{service}/{revision}", self.arn_head(), self.cluster)
    }

    pub fn rollout_arn(&self, service: &str, rollout: RolloutId) -> String {
        format!("{}:service-deployment/{}/{service}/{rollout}", self.arn_head(), self.cluster)
    }
}

/// *Service*. `now` because some of it is told late.
pub fn service(ecs: &Ecs, s: &Service, with_tags: bool, now: Ms) -> Value {
    let config = ecs.config();
    let primary = s.primary();
    let mut all = s.body.clone();
    all.insert("serviceArn".into(), json!(config.service_arn(&s.name)));
    all.insert("serviceName".into(), json!(&*s.name));
    all.insert("clusterArn".into(), json!(config.cluster_arn()));
    all.insert("status".into(), json!(if s.draining { "DRAINING" } else { "ACTIVE" }));
    all.insert("createdAt".into(), seconds(s.created_at));
    all.insert("desiredCount".into(), json!(s.desired));
    all.insert("runningCount".into(), json!(s.count_all(is_running)));
    all.insert("pendingCount".into(), json!(s.count_all(is_pending)));
    all.insert("taskDefinition".into(), json!(&*ecs.definition(primary.definition).arn));
    all.insert("deploymentConfiguration".into(), Value::Object(s.settings.raw.clone()));
    all.insert("deployments".into(), s.deployments.iter().map(|it| deployment(ecs, s, it)).collect());
    all.insert("events".into(), s.messages.iter().map(message).collect());
    let seen_until = now.saturating_sub(config.variants.current_lag_ms);
    if let Some((_, id)) = s.current.iter().rev().find(|(since, _)| *since <= seen_until) {
        all.insert("currentServiceDeployment".into(), json!(config.rollout_arn(&s.name, *id)));
        let revision = current_revision(s, *id);
        all.insert(
            "currentServiceRevisions".into(),
            json!([{
                "arn": config.revision_arn(&s.name, revision),
                "requestedTaskCount": s.desired,
                "runningTaskCount": count_of(s, revision, is_running),
                "pendingTaskCount": count_of(s, revision, is_pending),
            }]),
        );
    }
    if with_tags {
        all.insert("tags".into(), tags::view(&s.tags));
    }
    Value::Object(all)
}

fn current_revision(s: &Service, rollout: RolloutId) -> RevisionId {
    let it = s.rollout(rollout);
    it.rollback.as_ref().map_or(it.target, |(_, _, revision)| *revision)
}

fn is_running(task: &Task) -> bool {
    task.is_live() && task.status == TaskStatus::Running
}

fn is_pending(task: &Task) -> bool {
    task.is_live() && task.status < TaskStatus::Running
}

fn count_of(s: &Service, revision: RevisionId, which: fn(&Task) -> bool) -> u32 {
    super::model::count(s.tasks.iter().filter(|task| task.revision == revision && which(task)))
}

fn message((at, id, text): &(Ms, u64, String)) -> Value {
    json!({ "id": super::ids::uuid(*id), "createdAt": seconds(*at), "message": text })
}

fn deployment(ecs: &Ecs, s: &Service, it: &Deployment) -> Value {
    let is_primary = it.id == s.primary().id;
    let live = s.count(it.id, Task::is_live);
    let status = match (is_primary, live == 0 && ecs.config().variants.draining) {
        (true, _) => "PRIMARY",
        (false, true) => "DRAINING",
        (false, false) => "ACTIVE",
    };
    let wanted = match (is_primary, it.state) {
        (true, RolloutState::InProgress | RolloutState::Completed | RolloutState::Failed) => s.desired,
        (false, RolloutState::InProgress | RolloutState::Completed | RolloutState::Failed) => live,
    };
    json!({
        "id": it.id.to_string(),
        "status": status,
        "taskDefinition": &*ecs.definition(it.definition).arn,
        "desiredCount": wanted,
        "pendingCount": s.count(it.id, is_pending),
        "runningCount": s.count(it.id, is_running),
        "failedTasks": it.failed,
        "createdAt": seconds(it.created_at),
        "updatedAt": seconds(it.updated_at),
        "launchType": launch_type(s),
        "rolloutState": it.state.name(),
        "rolloutStateReason": it.reason,
    })
}

fn launch_type(s: &Service) -> &str {
    s.body.get("launchType").and_then(Value::as_str).unwrap_or("FARGATE")
}

/// *ServiceDeployment*.
pub fn rollout(ecs: &Ecs, s: &Service, it: &Rollout) -> Value {
    let config = ecs.config();
    let of_revision = |revision: RevisionId| {
        json!({
            "arn": config.revision_arn(&s.name, revision),
            "requestedTaskCount": s.desired,
            "runningTaskCount": count_of(s, revision, is_running),
            "pendingTaskCount": count_of(s, revision, is_pending),
        })
    };
    let mut all = brief_map(ecs, s, it);
    all.remove("targetServiceRevisionArn");
    all.insert("updatedAt".into(), seconds(it.updated_at));
    all.insert("sourceServiceRevisions".into(), it.sources.iter().map(|id| of_revision(*id)).collect());
    all.insert("targetServiceRevision".into(), of_revision(it.target));
    all.insert("deploymentConfiguration".into(), Value::Object(it.settings.raw.clone()));
    if let Some(at) = it.stopped_at {
        all.insert("stoppedAt".into(), seconds(at));
    }
    if !it.status.is_final() {
        let stage = if it.baking { "BAKE_TIME" } else { "SCALE_UP" };
        all.insert("lifecycleStage".into(), json!(stage));
    }
    if let Some((at, reason, revision)) = &it.rollback {
        all.insert(
            "rollback".into(),
            json!({
                "reason": reason,
                "startedAt": seconds(*at),
                "serviceRevisionArn": config.revision_arn(&s.name, *revision),
            }),
        );
    }
    let watch = |enabled: bool, cause: Cause| match (enabled, it.failed_by) {
        (false, _) => "DISABLED",
        (true, Some(by)) if by == cause => "TRIGGERED",
        (true, _) if it.status.is_final() => "MONITORING_COMPLETE",
        (true, _) => "MONITORING",
    };
    let breaker = it.settings.breaker;
    all.insert(
        "deploymentCircuitBreaker".into(),
        json!({
            "status": watch(breaker.enable, Cause::Breaker),
            "failureCount": it.failures,
            "threshold": breaker.threshold.failures(s.desired),
        }),
    );
    let alarms = &it.settings.alarms;
    all.insert(
        "alarms".into(),
        json!({
            "status": watch(alarms.enable, Cause::Alarm),
            "alarmNames": names(alarms.names.iter()),
            "triggeredAlarmNames": names(it.triggered_alarms.iter()),
        }),
    );
    Value::Object(all)
}

fn names<'a>(of: impl Iterator<Item = &'a Arc<str>>) -> Vec<&'a str> {
    of.map(|name| &**name).collect()
}

/// *ServiceDeploymentBrief*, what ListServiceDeployments has.
pub fn brief(ecs: &Ecs, s: &Service, it: &Rollout) -> Value {
    Value::Object(brief_map(ecs, s, it))
}

fn brief_map(ecs: &Ecs, s: &Service, it: &Rollout) -> Map<String, Value> {
    let config = ecs.config();
    let mut all = Map::new();
    all.insert("serviceDeploymentArn".into(), json!(config.rollout_arn(&s.name, it.id)));
    all.insert("serviceArn".into(), json!(config.service_arn(&s.name)));
    all.insert("clusterArn".into(), json!(config.cluster_arn()));
    all.insert("createdAt".into(), seconds(it.created_at));
    all.insert("targetServiceRevisionArn".into(), json!(config.revision_arn(&s.name, it.target)));
    all.insert("status".into(), json!(it.status.name()));
    if !it.reason.is_empty() {
        all.insert("statusReason".into(), json!(it.reason));
    }
    if let Some(at) = it.started_at {
        all.insert("startedAt".into(), seconds(at));
    }
    if let Some(at) = it.finished_at {
        all.insert("finishedAt".into(), seconds(at));
    }
    all
}

/// *ServiceRevision*.
pub fn revision(ecs: &Ecs, s: &Service, it: &Revision) -> Value {
    let config = ecs.config();
    let definition = ecs.definition(it.definition);
    let digest = |pulled: &Option<Arc<str>>| match config.variants.revision_digest {
        Digest::Index => pulled.clone(),
        Digest::Child => pulled.as_ref().map(|pulled| ecs.child_of(pulled)),
    };
    let images = definition.containers.iter().zip(&it.digests).map(|(container, pulled)| {
        let mut image = json!({ "containerName": &*container.name, "image": &*container.image });
        if let Some(digest) = digest(pulled) {
            image["imageDigest"] = json!(&*digest);
        }
        image
    });
    let mut all = it.body.clone();
    all.insert("serviceRevisionArn".into(), json!(config.revision_arn(&s.name, it.id)));
    all.insert("serviceArn".into(), json!(config.service_arn(&s.name)));
    all.insert("clusterArn".into(), json!(config.cluster_arn()));
    all.insert("taskDefinition".into(), json!(&*definition.arn));
    all.insert("containerImages".into(), images.collect());
    all.insert("createdAt".into(), seconds(it.created_at));
    Value::Object(all)
}

/// *Task*.
pub fn task(ecs: &Ecs, s: &Service, it: &Task) -> Value {
    let mut all = Map::new();
    task_into(ecs, &s.name, it, seconds, &mut all);
    all.insert("tags".into(), json!([]));
    Value::Object(all)
}

/// A task's fields, with times as `time` spells them.
pub fn task_into(ecs: &Ecs, service: &str, it: &Task, time: fn(Ms) -> Value, all: &mut Map<String, Value>) {
    let config = ecs.config();
    let definition = ecs.definition(it.definition);
    let arn = config.task_arn(it.id);
    let containers: Vec<Value> = definition
        .containers
        .iter()
        .enumerate()
        .map(|(at, container)| {
            let mut one = json!({
                "containerArn": format!("{}:container/{}/{}/{}", config.arn_head(), config.cluster, it.id, super::ids::uuid(it.id.0)),
                "taskArn": arn,
                "name": &*container.name,
                "image": &*container.image,
                "lastStatus": it.status.name(),
                "healthStatus": it.health.name(),
                "networkInterfaces": [],
                "cpu": "0",
            });
            if let Some(digest) = ecs.running_digest(it, at) {
                one["imageDigest"] = json!(&*digest);
            }
            if let Some(code) = it.exit_code {
                one["exitCode"] = json!(code);
            }
            if let Some(reason) = &it.container_reason {
                one["reason"] = json!(&**reason);
            }
            one
        })
        .collect();
    let text = |key: &str| definition.body.get(key).cloned();
    let wanted = if it.stopping { "STOPPED" } else { "RUNNING" };
    all.insert("taskArn".into(), json!(arn));
    all.insert("clusterArn".into(), json!(config.cluster_arn()));
    all.insert("taskDefinitionArn".into(), json!(&*definition.arn));
    all.insert("containers".into(), Value::Array(containers));
    all.insert("group".into(), json!(format!("service:{service}")));
    all.insert("startedBy".into(), json!(it.started_by.to_string()));
    all.insert("lastStatus".into(), json!(it.status.name()));
    all.insert("desiredStatus".into(), json!(wanted));
    all.insert("healthStatus".into(), json!(it.health.name()));
    all.insert("launchType".into(), json!("FARGATE"));
    all.insert("attachments".into(), json!([]));
    all.insert("overrides".into(), json!({ "containerOverrides": [] }));
    all.insert("version".into(), json!(it.version));
    for key in ["cpu", "memory"] {
        if let Some(value) = text(key) {
            all.insert(key.into(), value);
        }
    }
    let times = [
        ("createdAt", Some(it.created_at)),
        ("pullStartedAt", it.pulled_at.map(|_| it.created_at)),
        ("pullStoppedAt", it.pulled_at),
        ("startedAt", it.started_at),
        ("stoppingAt", it.stopping_at),
        ("stoppedAt", it.stopped_at),
    ];
    for (key, at) in times {
        if let Some(at) = at {
            all.insert(key.into(), time(at));
        }
    }
    if let Some(code) = it.stop_code {
        all.insert("stopCode".into(), json!(code.name()));
    }
    if let Some(reason) = &it.stopped_reason {
        all.insert("stoppedReason".into(), json!(&**reason));
    }
}
