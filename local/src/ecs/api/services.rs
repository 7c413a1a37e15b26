//! Calls about services.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{STARTS_DEPLOYMENT, includes_tags, missing, text, texts};
use crate::ecs::config::Applies;
use crate::ecs::error::EcsError;
use crate::ecs::ids::DefinitionId;
use crate::ecs::model::{Ms, Service};
use crate::ecs::settings::Settings;
use crate::ecs::{Answer, Ecs, deployment, tags, view};

/// What stands in a service's own fields, or only asks for something.
const NOT_KEPT: &[&str] = &[
    "clientToken",
    "cluster",
    "deploymentConfiguration",
    "desiredCount",
    "forceNewDeployment",
    "service",
    "serviceName",
    "tags",
    "taskDefinition",
];

impl Ecs {
    /// The same request again, with the same client token, is answered with the service that is there.
    pub fn create_service(&mut self, request: &Value, now: Ms) -> Answer {
        self.check_cluster(request)?;
        let name = text(request, "serviceName")?;
        if let Some(there) = self.service(name) {
            if there.draining {
                let text = "Unable to Start a service that is still Draining.";
                return Err(EcsError::InvalidParameter(text.into()));
            }
            let same = there.created_with == *request && there.client_token.is_some();
            let answer = json!({ "service": view::service(self, there, true, now) });
            let not = || EcsError::InvalidParameter("Creation of service was not idempotent.".into());
            return if same { Ok(answer) } else { Err(not()) };
        }
        check_rolling(request)?;
        let definition = self.deployable(text(request, "taskDefinition")?)?;
        let missing = || EcsError::InvalidParameter("desiredCount can not be blank.".into());
        let desired = count(request)?.ok_or_else(missing)?;
        let settings = Arc::new(Settings::parse(configuration(request)?.unwrap_or_default())?);
        let tags = tags::parse(request.get("tags"))?;
        let name: Arc<str> = name.into();
        self.services.push(Service {
            name: name.clone(),
            created_at: now,
            client_token: request.get("clientToken").and_then(Value::as_str).map(str::to_owned),
            body: kept(request),
            created_with: request.clone(),
            tags,
            desired,
            settings,
            deployments: Vec::new(),
            revisions: Vec::new(),
            rollouts: Vec::new(),
            last_completed: None,
            tasks: Vec::new(),
            stopped: VecDeque::new(),
            messages: VecDeque::new(),
            current: Vec::new(),
            steady: false,
            steady_told_at: 0,
            draining: false,
        });
        self.touch(now);
        let at = self.services.len() - 1;
        let (s, mut ctx) = self.parts(at);
        deployment::start(s, definition, &mut ctx);
        Ok(json!({ "service": view::service(self, &self.services[at], true, now) }))
    }

    /// *UpdateService*: another task definition, a change of what [`STARTS_DEPLOYMENT`] names, or
    /// `forceNewDeployment` start a deployment; nothing else does.
    pub fn update_service(&mut self, request: &Value, now: Ms) -> Answer {
        self.check_cluster(request)?;
        let at = self.service_at(text(request, "service")?).ok_or(EcsError::ServiceNotFound)?;
        let s = &self.services[at];
        if s.draining {
            return Err(EcsError::ServiceNotActive);
        }
        check_rolling(request)?;
        let asked = match request.get("taskDefinition") {
            None | Some(Value::Null) => None,
            Some(_) => Some(self.deployable(text(request, "taskDefinition")?)?),
        };
        let desired = count(request)?;
        let settings = match configuration(request)? {
            None => None,
            Some(new) if self.config.variants.config_replaces => Some(Arc::new(Settings::parse(new)?)),
            Some(new) => {
                let mut merged = s.settings.raw.clone();
                merged.extend(new);
                Some(Arc::new(Settings::parse(merged)?))
            }
        };
        let changed = kept(request);
        let differs = |key: &&str| changed.get(*key).is_some_and(|new| s.body.get(*key) != Some(new));
        let force = request.get("forceNewDeployment").and_then(Value::as_bool).unwrap_or(false);
        let other = asked.is_some_and(|asked| asked != s.primary().definition);
        let same_deploys = asked.is_some() && self.config.variants.same_definition_deploys;
        let deploys = force || other || same_deploys || STARTS_DEPLOYMENT.iter().any(differs);
        let definition = asked.unwrap_or(s.primary().definition);

        self.touch(now);
        let at_once = self.config.variants.config_applies == Applies::AtOnce;
        let (s, mut ctx) = self.parts(at);
        s.body.extend(changed);
        if let Some(settings) = settings {
            s.settings = settings.clone();
            if at_once && !deploys {
                s.deployments[0].settings = settings;
            }
        }
        if let Some(desired) = desired {
            scale(s, desired);
        }
        if deploys {
            deployment::start(s, definition, &mut ctx);
        }
        Ok(json!({ "service": view::service(self, &self.services[at], true, now) }))
    }

    /// *DeleteService*: tasks are wanted no more, and those that run are stopped; with the last of them the service is
    /// gone.
    pub fn delete_service(&mut self, request: &Value, now: Ms) -> Answer {
        self.check_cluster(request)?;
        let at = self.service_at(text(request, "service")?).ok_or(EcsError::ServiceNotFound)?;
        let force = request.get("force").and_then(Value::as_bool).unwrap_or(false);
        if !force && self.services[at].desired > 0 {
            let text = "The service cannot be stopped while it is scaled above 0.";
            return Err(EcsError::InvalidParameter(text.into()));
        }
        self.touch(now);
        let s = &mut self.services[at];
        s.draining = true;
        scale(s, 0);
        Ok(json!({ "service": view::service(self, &self.services[at], true, now) }))
    }

    pub fn describe_services(&self, request: &Value, now: Ms) -> Answer {
        self.check_cluster(request)?;
        let (mut services, mut failures) = (Vec::new(), Vec::new());
        for name in texts(request, "services", 10)? {
            match self.service_at(name) {
                Some(at) => {
                    services.push(view::service(self, &self.services[at], includes_tags(request), now));
                }
                None => failures.push(missing(&self.config.service_arn(name))),
            }
        }
        Ok(json!({ "services": services, "failures": failures }))
    }

    fn deployable(&self, name: &str) -> Result<DefinitionId, EcsError> {
        let found = self.definitions.find(name);
        let id = found.ok_or_else(|| EcsError::Client("TaskDefinition not found.".into()))?;
        if !self.definitions.get(id).active {
            return Err(EcsError::Client("TaskDefinition is inactive".into()));
        }
        Ok(id)
    }
}

/// Both revisions follow the desired count during a deployment.
fn scale(s: &mut Service, desired: u32) {
    let more = desired.saturating_sub(s.desired);
    for old in s.deployments.iter_mut().skip(1).filter(|old| old.keep > 0) {
        old.keep = (old.keep + more).min(desired);
    }
    s.desired = desired;
}

fn check_rolling(request: &Value) -> Result<(), EcsError> {
    let at = |pointer: &str| request.pointer(pointer).and_then(Value::as_str);
    let controller = at("/deploymentController/type").unwrap_or("ECS");
    let strategy = at("/deploymentConfiguration/strategy").unwrap_or("ROLLING");
    let scheduling = at("/schedulingStrategy").unwrap_or("REPLICA");
    if (controller, strategy, scheduling) == ("ECS", "ROLLING", "REPLICA") {
        return Ok(());
    }
    Err(EcsError::UnsupportedFeature(format!(
        "This model of ECS has rolling deployments of replicas only, not {controller}, {strategy}, {scheduling}."
    )))
}

fn count(request: &Value) -> Result<Option<u32>, EcsError> {
    match request.get("desiredCount") {
        None | Some(Value::Null) => Ok(None),
        Some(count) => {
            let fits = count.as_u64().and_then(|count| u32::try_from(count).ok());
            let wrong =
                || EcsError::InvalidParameter(format!("desiredCount must not be negative, it is {count}."));
            fits.map(Some).ok_or_else(wrong)
        }
    }
}

fn configuration(request: &Value) -> Result<Option<Map<String, Value>>, EcsError> {
    match request.get("deploymentConfiguration") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map.clone())),
        Some(other) => Err(EcsError::InvalidParameter(format!(
            "deploymentConfiguration must be an object, not {other}."
        ))),
    }
}

fn kept(request: &Value) -> Map<String, Value> {
    let all = request.as_object().into_iter().flatten();
    all.filter(|(key, value)| !NOT_KEPT.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
