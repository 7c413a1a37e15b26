//! ECS's calls: from the request's body to the answer's.
//!
//! Order: everything is checked before anything is changed. A call that changes something is acted on by the next step.
//! Neighbours: definition, deployment and view do the work; each file here has the calls of one kind of thing.
//!
//! Source: *Amazon ECS API Reference*, each action's page. Fields that the model does not know are kept where they are
//! part of a thing, and ignored where they only ask for something.

mod definitions;
mod rollouts;
mod services;
mod tasks;

use serde_json::{Value, json};

use super::error::EcsError;
use super::model::{Ms, Service};
use super::{Answer, Ecs};

/// A change of one of these starts a deployment; a change of any other setting of a service does not. *UpdateService*:
/// desiredCount, deploymentConfiguration, healthCheckGracePeriodSeconds, tags and their like do not.
pub const STARTS_DEPLOYMENT: &[&str] = &[
    "capacityProviderStrategy",
    "launchType",
    "loadBalancers",
    "networkConfiguration",
    "platformVersion",
    "serviceConnectConfiguration",
    "serviceRegistries",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
];

impl Ecs {
    /// A call by its name, as it stands after the dot in `X-Amz-Target: AmazonEC2ContainerServiceV20141113.`
    pub fn call(&mut self, action: &str, request: &Value, now: Ms) -> Answer {
        match action {
            "RegisterTaskDefinition" => self.register_task_definition(request, now),
            "DeregisterTaskDefinition" => self.deregister_task_definition(request),
            "DescribeTaskDefinition" => self.describe_task_definition(request),
            "ListTaskDefinitions" => self.list_task_definitions(request),
            "CreateService" => self.create_service(request, now),
            "UpdateService" => self.update_service(request, now),
            "DeleteService" => self.delete_service(request, now),
            "DescribeServices" => self.describe_services(request, now),
            "ListServiceDeployments" => self.list_service_deployments(request),
            "DescribeServiceDeployments" => self.describe_service_deployments(request),
            "DescribeServiceRevisions" => self.describe_service_revisions(request),
            "StopServiceDeployment" => self.stop_service_deployment(request, now),
            "ListTasks" => self.list_tasks(request),
            "DescribeTasks" => self.describe_tasks(request),
            "TagResource" => self.tag_resource(request),
            "UntagResource" => self.untag_resource(request),
            "ListTagsForResource" => self.list_tags_for_resource(request),
            other => Err(EcsError::UnsupportedFeature(format!("This model of ECS has no {other}."))),
        }
    }

    /// `cluster`, by name or ARN; there is one.
    fn check_cluster(&self, request: &Value) -> Result<(), EcsError> {
        let cluster = &self.config.cluster;
        match request.get("cluster").and_then(Value::as_str) {
            None if cluster == "default" => Ok(()),
            Some(name) if name == cluster || name == self.config.cluster_arn() => Ok(()),
            None | Some(_) => Err(EcsError::ClusterNotFound),
        }
    }

    /// A service by name or ARN.
    fn service_at(&self, name: &str) -> Option<usize> {
        let short = name.rsplit('/').next().unwrap_or(name);
        let found = self.services.iter().position(|s| &*s.name == short)?;
        (short == name || self.config.service_arn(short) == name).then_some(found)
    }

    fn service_named(&self, request: &Value, key: &str) -> Result<&Service, EcsError> {
        let at = self.service_at(text(request, key)?).ok_or(EcsError::ServiceNotFound)?;
        Ok(&self.services[at])
    }
}

fn text<'a>(request: &'a Value, key: &str) -> Result<&'a str, EcsError> {
    match request.get(key).and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) | None => Err(EcsError::InvalidParameter(format!("{key} can not be blank."))),
    }
}

/// Up to `most` names or ARNs.
fn texts<'a>(request: &'a Value, key: &str, most: usize) -> Result<Vec<&'a str>, EcsError> {
    let all = request.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return Err(EcsError::InvalidParameter(format!("{key} can not be empty.")));
    }
    if all.len() > most {
        return Err(EcsError::InvalidParameter(format!("{key} can have at most {most} items.")));
    }
    Ok(all.iter().filter_map(Value::as_str).collect())
}

fn includes_tags(request: &Value) -> bool {
    let include = request.get("include").and_then(Value::as_array);
    include.is_some_and(|include| include.iter().any(|it| it == "TAGS"))
}

fn missing(arn: &str) -> Value {
    json!({ "arn": arn, "reason": "MISSING" })
}

/// One page of a list under `key`: `maxResults` (100 if not said) from `nextToken` on.
fn page<T: Into<Value>>(request: &Value, key: &str, all: Vec<T>) -> Answer {
    let wrong = |what: &str| EcsError::InvalidParameter(format!("Invalid {what}."));
    let size = match request.get("maxResults") {
        None | Some(Value::Null) => 100,
        Some(size) => {
            let size = size.as_u64().filter(|size| (1..=100).contains(size));
            usize::try_from(size.ok_or_else(|| wrong("maxResults"))?).unwrap_or(100)
        }
    };
    let from = match request.get("nextToken").and_then(Value::as_str) {
        None => 0,
        Some(token) => token.parse::<usize>().map_err(|_| wrong("nextToken"))?,
    };
    let more = all.len() > from.saturating_add(size);
    let items: Vec<Value> = all.into_iter().skip(from).take(size).map(Into::into).collect();
    let mut answer = json!({ key: items });
    if more {
        answer["nextToken"] = json!((from + size).to_string());
    }
    Ok(answer)
}
