//! Task definitions: kept as they were registered, and the few fields that the scheduler needs, read once.
//!
//! Order: a definition is checked whole before it gets a revision; its body is never changed afterwards.
//! Neighbours: api registers, model and scheduler read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::config::SECOND;
use super::error::EcsError;
use super::ids::DefinitionId;
use super::model::Ms;
use super::tags::{self, Tags};

/// `containerDefinitions[].healthCheck`; bounds and defaults as in *HealthCheck*, ECS API Reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub command: Vec<String>,
    pub interval_ms: Ms,
    pub timeout_ms: Ms,
    pub retries: u32,
    pub start_period_ms: Ms,
}

impl HealthCheck {
    /// When a task is UNHEALTHY that never passes, counted from RUNNING: failures in the start period do not count.
    pub fn unhealthy_after_ms(&self) -> Ms {
        let first_that_counts = self.start_period_ms.div_ceil(self.interval_ms).max(1);
        self.interval_ms * (first_that_counts - 1 + u64::from(self.retries))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub name: Arc<str>,
    pub image: Arc<str>,
    /// What stands behind `@` in the image.
    pub digest: Option<Arc<str>>,
}

#[derive(Debug)]
pub struct Definition {
    pub arn: Arc<str>,
    pub family: Arc<str>,
    pub revision: u32,
    /// The request, but for its tags.
    pub body: Value,
    pub tags: Tags,
    pub active: bool,
    pub registered_at: Ms,
    pub containers: Vec<Container>,
    /// Of the first essential container that has one. A worker's task has one container.
    pub health: Option<HealthCheck>,
    /// The longest of the containers'.
    pub stop_timeout_ms: Ms,
}

/// All task definitions that were ever registered.
#[derive(Debug, Default)]
pub struct Definitions {
    all: Vec<Definition>,
    families: BTreeMap<Arc<str>, Vec<DefinitionId>>,
}

impl Definitions {
    pub fn get(&self, id: DefinitionId) -> &Definition {
        &self.all[id.0]
    }

    /// The body that RegisterTaskDefinition takes, its `tags` included, becomes the next revision of its family.
    pub fn register(&mut self, request: &Value, arn_head: &str, now: Ms) -> Result<DefinitionId, EcsError> {
        let mut body = object(request)?.clone();
        let tags = tags::parse(body.remove("tags").as_ref())?;
        let family: Arc<str> = match body.get("family").and_then(Value::as_str) {
            Some(family) if !family.is_empty() => family.into(),
            Some(_) | None => return Err(EcsError::Client("Family should not be null or empty.".into())),
        };
        let read = read(&body)?;
        let revisions = self.families.entry(family.clone()).or_default();
        let revision = u32::try_from(revisions.len()).unwrap_or(u32::MAX - 1) + 1;
        let id = DefinitionId(self.all.len());
        revisions.push(id);
        self.all.push(Definition {
            arn: format!("{arn_head}:task-definition/{family}:{revision}").into(),
            family,
            revision,
            body: Value::Object(body),
            tags,
            active: true,
            registered_at: now,
            containers: read.containers,
            health: read.health,
            stop_timeout_ms: read.stop_timeout_ms,
        });
        Ok(id)
    }

    /// `family:revision`, an ARN, or `family` for its newest ACTIVE revision.
    pub fn find(&self, name: &str) -> Option<DefinitionId> {
        let short = name.rsplit('/').next().unwrap_or(name);
        match short.split_once(':') {
            Some((family, revision)) => {
                let at = usize::try_from(revision.parse::<u32>().ok()?).ok()?.checked_sub(1)?;
                self.families.get(family)?.get(at).copied()
            }
            None => self.families.get(short)?.iter().rev().copied().find(|id| self.get(*id).active),
        }
        .filter(|id| short == name || &*self.get(*id).arn == name)
    }

    pub fn deregister(&mut self, id: DefinitionId) {
        self.all[id.0].active = false;
    }

    pub fn tags_mut(&mut self, id: DefinitionId) -> &mut Tags {
        &mut self.all[id.0].tags
    }

    /// ARNs of the families that start with `prefix` (or of that family, if it is one), by family and revision.
    pub fn list(&self, prefix: &str, active: bool) -> Vec<&str> {
        let one = self.families.get_key_value(prefix).map(|(name, ids)| vec![(name, ids)]);
        let many = || self.families.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
        one.unwrap_or_else(many)
            .into_iter()
            .flat_map(|(_, ids)| ids.iter().map(|id| self.get(*id)))
            .filter(|definition| definition.active == active)
            .map(|definition| &*definition.arn)
            .collect()
    }
}

struct Read {
    containers: Vec<Container>,
    health: Option<HealthCheck>,
    stop_timeout_ms: Ms,
}

fn read(body: &Map<String, Value>) -> Result<Read, EcsError> {
    let containers = match body.get("containerDefinitions").and_then(Value::as_array) {
        Some(all) if !all.is_empty() => all,
        Some(_) | None => return Err(EcsError::Client("Container list cannot be empty.".into())),
    };
    let mut read = Read { containers: Vec::new(), health: None, stop_timeout_ms: 0 };
    for container in containers {
        let text = |key: &str| container.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = text("name").ok_or_else(|| client("Container.name should not be null or empty."))?;
        let image = text("image").ok_or_else(|| client("Container.image should not be null or empty."))?;
        let digest = image.split_once('@').map(|(_, digest)| digest.into());
        read.containers.push(Container { name: name.into(), image: image.into(), digest });
        let stop = ranged(container, "stopTimeout", 30, 0..=120)?;
        read.stop_timeout_ms = read.stop_timeout_ms.max(stop * SECOND);
        let essential = container.get("essential").and_then(Value::as_bool).unwrap_or(true);
        if let (true, None, Some(check)) = (essential, &read.health, container.get("healthCheck")) {
            read.health = Some(health_check(check)?);
        }
    }
    Ok(read)
}

fn health_check(check: &Value) -> Result<HealthCheck, EcsError> {
    let command = check.get("command").and_then(Value::as_array).cloned().unwrap_or_default();
    let command: Vec<String> = command.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect();
    if command.is_empty() {
        return Err(client("Container.healthCheck.command should not be null or empty."));
    }
    Ok(HealthCheck {
        command,
        interval_ms: ranged(check, "interval", 30, 5..=300)? * SECOND,
        timeout_ms: ranged(check, "timeout", 5, 2..=60)? * SECOND,
        retries: u32::try_from(ranged(check, "retries", 3, 1..=10)?).unwrap_or(10),
        start_period_ms: ranged(check, "startPeriod", 0, 0..=300)? * SECOND,
    })
}

fn ranged(
    of: &Value,
    key: &str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, EcsError> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_u64().filter(|value| range.contains(value)).ok_or_else(|| {
            client(&format!("`{key}` is {value}, it must be within {} and {}.", range.start(), range.end()))
        }),
    }
}

fn object(request: &Value) -> Result<&Map<String, Value>, EcsError> {
    request.as_object().ok_or_else(|| client("The request is not a JSON object."))
}

fn client(message: &str) -> EcsError {
    EcsError::Client(message.into())
}

/// The `taskDefinition` that DescribeTaskDefinition answers with.
pub fn view(definition: &Definition, defaults_filled: bool) -> Value {
    let mut body = definition.body.as_object().cloned().unwrap_or_default();
    if defaults_filled {
        fill_defaults(&mut body);
    }
    body.insert("taskDefinitionArn".into(), json!(&*definition.arn));
    body.insert("revision".into(), json!(definition.revision));
    body.insert("status".into(), json!(if definition.active { "ACTIVE" } else { "INACTIVE" }));
    body.insert("registeredAt".into(), super::events::seconds(definition.registered_at));
    let account = definition.arn.split(':').nth(4).unwrap_or_default();
    body.insert("registeredBy".into(), json!(format!("arn:aws:iam::{account}:role/somebody")));
    body.insert("requiresAttributes".into(), json!([{ "name": "com.amazonaws.ecs.capability.ecr-auth" }]));
    body.insert("compatibilities".into(), json!(["EC2", "FARGATE"]));
    Value::Object(body)
}

/// As ECS does: whoever compares field by field what he sent with what he reads finds differences for ever.
fn fill_defaults(body: &mut Map<String, Value>) {
    for key in ["volumes", "placementConstraints"] {
        body.entry(key).or_insert_with(|| json!([]));
    }
    let Some(containers) = body.get_mut("containerDefinitions").and_then(Value::as_array_mut) else { return };
    for container in containers.iter_mut().filter_map(Value::as_object_mut) {
        container.entry("cpu").or_insert_with(|| json!(0));
        container.entry("essential").or_insert_with(|| json!(true));
        for key in ["environment", "mountPoints", "portMappings", "systemControls", "volumesFrom"] {
            container.entry(key).or_insert_with(|| json!([]));
        }
    }
}
