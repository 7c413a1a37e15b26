//! Render: the files in `taskdefs/` become the bodies of requests, and a release gets its id.
//!
//! Order: holes are filled, then the id is hashed, then the id is put in: it can't be part of itself.
//! Neighbours: release and journal before it; plan asks for ids, apply for bodies. Pure, but for `load`.

mod bodies;
pub mod holes;
pub mod keys;
mod limits;
mod load;
mod mirror;
mod places;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use bodies::{
    create_body, delete_body, own_rollback_body, register_body, scale_body, update_body, wants_own_rollback,
};
pub use load::{SERVICE_FILE, TASK_DEFINITION_FILE};
pub use mirror::{RELEASE_TAG, mirror_tags};

use crate::release::{Digest, ReleaseId};

/// The whole `image` of the worker's container in the template.
pub const IMAGE: &str = "${IMAGE}";
/// In the worker's environment: its release's id.
pub const RELEASE_VARIABLE: &str = "LANDFALL_RELEASE";

/// `worker.taskdef.json` and `worker.service.json`, checked, with every hole filled but one: the `${IMAGE}` of the
/// worker's container. Made by [`Templates::load`].
#[derive(Clone, Debug)]
pub struct Templates {
    pub task_definition: Value,
    pub service: Value,
    /// Every hole and what filled it: from the Lambda's environment, or its default.
    pub fills: BTreeMap<String, String>,
    /// `${IMAGE}` is `<repository_uri>@<digest>`.
    pub repository_uri: String,
}

/// What one image makes of the templates.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub release: ReleaseId,
    /// With `LANDFALL_RELEASE` in the worker's environment.
    pub task_definition: Value,
    pub service: Value,
}

/// Templates that [`Templates::load`] did not check.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RenderError {
    #[error("render the task definition: no container has the image `${{IMAGE}}`")]
    NoWorker,
    #[error("render the task definition: `{0}` of the worker's container is no list")]
    NoList(&'static str),
}

/// What an image makes of the templates. The release id is the first 16 hex digits of
/// `sha256(digest ‖ task definition ‖ service settings)`, both as JSON with sorted keys and no spaces.
pub fn render(templates: &Templates, digest: &Digest) -> Result<Rendered, RenderError> {
    let mut task_definition = templates.task_definition.clone();
    let index = worker_index(&task_definition).ok_or(RenderError::NoWorker)?;
    let worker = &mut task_definition["containerDefinitions"][index];
    worker["image"] = format!("{}@{digest}", templates.repository_uri).into();

    let release = release_id(digest, &task_definition, &templates.service);

    let variable = json!({"name": RELEASE_VARIABLE, "value": release.as_str()});
    let worker = &mut task_definition["containerDefinitions"][index];
    match worker.get_mut("environment") {
        None => worker["environment"] = json!([variable]),
        Some(Value::Array(variables)) => variables.push(variable),
        Some(_) => return Err(RenderError::NoList("environment")),
    }
    Ok(Rendered { release, task_definition, service: templates.service.clone() })
}

fn release_id(digest: &Digest, task_definition: &Value, service: &Value) -> ReleaseId {
    let mut hash = Sha256::new();
    hash.update(digest.as_str());
    hash.update(canonical(task_definition));
    hash.update(canonical(service));
    let hex: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    ReleaseId(hex)
}

/// JSON with sorted keys and no spaces, whatever order the map keeps.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let pairs = sorted.into_iter().map(|(key, value)| format!("{}:{}", json!(key), canonical(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn containers(task_definition: &Value) -> impl Iterator<Item = &Value> {
    task_definition.get("containerDefinitions").and_then(Value::as_array).into_iter().flatten()
}

fn worker_index(task_definition: &Value) -> Option<usize> {
    containers(task_definition)
        .position(|container| container.get("image").is_some_and(|image| image == IMAGE))
}

/// The container that takes the release's image.
fn worker(task_definition: &Value) -> Option<&Value> {
    containers(task_definition).nth(worker_index(task_definition)?)
}

impl Templates {
    /// The name of the worker's container.
    pub fn container(&self) -> &str {
        worker(&self.task_definition).and_then(|worker| worker.get("name")?.as_str()).unwrap_or_default()
    }

    /// The task definition's family.
    pub fn family(&self) -> &str {
        self.task_definition.get("family").and_then(Value::as_str).unwrap_or_default()
    }

    /// The platform that an image must have: `linux/amd64`, unless the runtime platform says ARM64: `linux/arm64`.
    pub fn platform(&self) -> &'static str {
        match self.task_definition.pointer("/runtimePlatform/cpuArchitecture").and_then(Value::as_str) {
            Some("ARM64") => "linux/arm64",
            _ => "linux/amd64",
        }
    }

    /// Whether ECS is to roll back by itself at all: what it has to be switched on to again.
    pub fn own_rollback(&self) -> bool {
        wants_own_rollback(&self.service)
    }
}

/// The alarms that the service's deployments watch.
pub fn deployment_alarms(templates: &Templates) -> Vec<String> {
    let alarms = templates.service.pointer("/deploymentConfiguration/alarms/alarmNames");
    let names = alarms.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}
