//! Events as EventBridge delivers them.
//!
//! Order: an event is a snapshot; it tells what was true when it was made, however late its JSON is asked for.
//! Neighbours: deployment and tasks make them; whoever delivers them asks for the JSON.
//!
//! Sources: *Amazon ECS Developer Guide*, "Amazon ECS service deployment state change events", "Amazon ECS service
//! action events", "Amazon ECS task state change events".

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::Ecs;
use super::ids::{DeploymentId, TaskId, uuid};
use super::model::{Ms, Task};
use super::view;

#[derive(Clone, Debug)]
pub struct Event {
    /// Of the event: one that is delivered twice has it twice.
    pub id: u64,
    pub at: Ms,
    pub service: Arc<str>,
    pub kind: EventKind,
}

#[derive(Clone, Debug)]
pub enum EventKind {
    /// `ECS Deployment State Change`. The start of a rollback differs from that of a deployment in its reason only.
    Deployment { what: DeploymentEvent, deployment: DeploymentId, reason: String },
    /// `ECS Service Action`.
    Action(Action),
    /// `ECS Task State Change`.
    Task(Box<Task>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeploymentEvent {
    InProgress,
    Completed,
    Failed,
}

impl DeploymentEvent {
    pub fn name(self) -> &'static str {
        match self {
            DeploymentEvent::InProgress => "SERVICE_DEPLOYMENT_IN_PROGRESS",
            DeploymentEvent::Completed => "SERVICE_DEPLOYMENT_COMPLETED",
            DeploymentEvent::Failed => "SERVICE_DEPLOYMENT_FAILED",
        }
    }

    pub fn level(self) -> &'static str {
        match self {
            DeploymentEvent::InProgress | DeploymentEvent::Completed => "INFO",
            DeploymentEvent::Failed => "ERROR",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    SteadyState,
    TaskStartImpaired,
    PlacementFailure(Arc<str>),
}

impl Event {
    pub fn deployment(
        id: u64,
        at: Ms,
        service: Arc<str>,
        what: DeploymentEvent,
        deployment: DeploymentId,
        reason: String,
    ) -> Event {
        Event { id, at, service, kind: EventKind::Deployment { what, deployment, reason } }
    }

    pub fn action(id: u64, at: Ms, service: Arc<str>, action: Action) -> Event {
        Event { id, at, service, kind: EventKind::Action(action) }
    }

    pub fn task(id: u64, at: Ms, service: Arc<str>, task: &Task) -> Event {
        Event { id, at, service, kind: EventKind::Task(Box::new(task.clone())) }
    }

    /// `detail-type`.
    pub fn detail_type(&self) -> &'static str {
        match self.kind {
            EventKind::Deployment { .. } => "ECS Deployment State Change",
            EventKind::Action(_) => "ECS Service Action",
            EventKind::Task(_) => "ECS Task State Change",
        }
    }

    /// The task that it is about, if it is about one.
    pub fn of_task(&self) -> Option<TaskId> {
        match &self.kind {
            EventKind::Task(task) => Some(task.id),
            EventKind::Deployment { .. } | EventKind::Action(_) => None,
        }
    }

    /// What EventBridge hands to a target.
    pub fn json(&self, ecs: &Ecs) -> Value {
        let service = ecs.config().service_arn(&self.service);
        let (resource, detail) = match &self.kind {
            EventKind::Deployment { what, deployment, reason } => {
                (service, deployment_detail(*what, *deployment, reason, self.at))
            }
            EventKind::Action(action) => {
                let cluster = ecs.config().cluster_arn();
                (service, action_detail(action, &cluster, self.at))
            }
            EventKind::Task(task) => {
                (ecs.config().task_arn(task.id), task_detail(ecs, &self.service, task, self.at))
            }
        };
        json!({
            "version": "0",
            "id": uuid(self.id),
            "detail-type": self.detail_type(),
            "source": "aws.ecs",
            "account": ecs.config().account,
            "time": time(self.at, SecondsFormat::Secs),
            "region": ecs.config().region,
            "resources": [resource],
            "detail": detail,
        })
    }
}

fn deployment_detail(what: DeploymentEvent, deployment: DeploymentId, reason: &str, at: Ms) -> Value {
    json!({
        "eventType": what.level(),
        "eventName": what.name(),
        "deploymentId": deployment.to_string(),
        "updatedAt": time(at, SecondsFormat::Secs),
        "reason": reason,
    })
}

fn action_detail(action: &Action, cluster_arn: &str, at: Ms) -> Value {
    let (level, name, reason) = match action {
        Action::SteadyState => ("INFO", "SERVICE_STEADY_STATE", None),
        Action::TaskStartImpaired => ("WARN", "SERVICE_TASK_START_IMPAIRED", None),
        Action::PlacementFailure(reason) => ("ERROR", "SERVICE_TASK_PLACEMENT_FAILURE", Some(reason)),
    };
    let mut detail = json!({
        "eventType": level,
        "eventName": name,
        "clusterArn": cluster_arn,
        "createdAt": time(at, SecondsFormat::Millis),
    });
    if let Some(reason) = reason {
        detail["reason"] = json!(&**reason);
    }
    detail
}

/// As DescribeTasks has it, but for times in words, and without the task's health, which these events do not tell.
fn task_detail(ecs: &Ecs, service: &str, task: &Task, at: Ms) -> Value {
    let mut detail = Map::new();
    view::task_into(ecs, service, task, iso, &mut detail);
    detail.remove("healthStatus");
    if let Some(containers) = detail.get_mut("containers").and_then(Value::as_array_mut) {
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            container.remove("healthStatus");
        }
    }
    detail.insert("updatedAt".into(), iso(at));
    Value::Object(detail)
}

/// A time as the events spell it.
pub fn iso(at: Ms) -> Value {
    Value::String(time(at, SecondsFormat::Millis))
}

/// A time as the API's JSON has it: seconds, with a fraction.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into the 53 bits of a double")]
pub fn seconds(at: Ms) -> Value {
    json!(at as f64 / 1000.0)
}

fn time(at: Ms, format: SecondsFormat) -> String {
    let at = i64::try_from(at).unwrap_or(i64::MAX);
    DateTime::<Utc>::from_timestamp_millis(at)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
        .to_rfc3339_opts(format, true)
}
