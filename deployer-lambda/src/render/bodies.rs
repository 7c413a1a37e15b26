//! Bodies: the requests' JSON, as AWS spells it.
//!
//! What stands in the templates is sent as it stands. Added is only what the deployer alone knows: the revision, the
//! client token, tags, whether ECS may roll back by itself. Left out of UpdateService is what it does not take, and
//! `desiredCount`, which autoscaling and `stop` own.
//! Neighbours: mod, for what is rendered; apply sends them. Pure.

use serde_json::{Map, Value, json};

use super::Rendered;
use super::keys::UPDATE_SERVICE;
use crate::release::RevisionArn;

/// RegisterTaskDefinition. Tags of the same key as one in the template win.
pub fn register_body(rendered: &Rendered, tags: &[(String, String)]) -> Value {
    let mut body = object(&rendered.task_definition);
    put_tags(&mut body, tags);
    Value::Object(body)
}

/// CreateService. The client token, at most 36 characters, makes a second try find the first one's service.
pub fn create_body(
    rendered: &Rendered,
    revision: &RevisionArn,
    client_token: &str,
    tags: &[(String, String)],
) -> Value {
    let mut body = object(&rendered.service);
    body.insert("taskDefinition".to_owned(), revision.as_str().into());
    body.insert("clientToken".to_owned(), client_token.into());
    put_tags(&mut body, tags);
    Value::Object(body)
}

/// UpdateService to a revision, with all settings of the service that it takes. `force`: a new deployment even of the
/// revision that the service is at.
pub fn update_body(rendered: &Rendered, revision: &RevisionArn, own_rollback: bool, force: bool) -> Value {
    let mut body = address(&rendered.service);
    for (key, value) in object(&rendered.service) {
        if UPDATE_SERVICE.has(&key) && key != "desiredCount" {
            body.insert(key, value);
        }
    }
    body.insert("taskDefinition".to_owned(), revision.as_str().into());
    put_own_rollback(&mut body, own_rollback);
    if force {
        body.insert("forceNewDeployment".to_owned(), true.into());
    }
    Value::Object(body)
}

/// UpdateService of whether ECS may roll back by itself, which starts no deployment. `on`: as the settings have it.
pub fn own_rollback_body(service: &Value, on: bool) -> Value {
    let mut body = address(service);
    let configuration = service.get("deploymentConfiguration").cloned().unwrap_or_else(|| json!({}));
    body.insert("deploymentConfiguration".to_owned(), configuration);
    put_own_rollback(&mut body, on);
    Value::Object(body)
}

/// UpdateService of the number of tasks alone.
pub fn scale_body(service: &Value, tasks: u32) -> Value {
    let mut body = address(service);
    body.insert("desiredCount".to_owned(), tasks.into());
    Value::Object(body)
}

/// DeleteService. Whatever tasks it still has are stopped as ever: SIGTERM, and `stopTimeout`.
pub fn delete_body(service: &Value) -> Value {
    let mut body = address(service);
    body.insert("force".to_owned(), true.into());
    Value::Object(body)
}

/// Whether these settings of a service let ECS roll back by itself at all.
pub fn wants_own_rollback(service: &Value) -> bool {
    let configuration = service.get("deploymentConfiguration");
    ["deploymentCircuitBreaker", "alarms"].iter().any(|key| {
        let part = configuration.and_then(|configuration| configuration.get(key));
        let is_on = |flag: &str| part.and_then(|part| part.get(flag)) == Some(&Value::Bool(true));
        is_on("enable") && is_on("rollback")
    })
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Which service.
fn address(service: &Value) -> Map<String, Value> {
    let mut body = Map::new();
    for (from, to) in [("cluster", "cluster"), ("serviceName", "service")] {
        if let Some(name) = service.get(from) {
            body.insert(to.to_owned(), name.clone());
        }
    }
    body
}

/// Off: failures are still found and told, nothing goes back by itself. Said for both, also where the settings have
/// neither: what UpdateService is not told may stay as it was.
fn put_own_rollback(body: &mut Map<String, Value>, on: bool) {
    if on {
        return;
    }
    let configuration = body.entry("deploymentConfiguration").or_insert_with(|| json!({}));
    let Some(configuration) = configuration.as_object_mut() else { return };
    for (key, none) in [
        ("deploymentCircuitBreaker", json!({"enable": false})),
        ("alarms", json!({"enable": false, "alarmNames": []})),
    ] {
        if let Some(part) = configuration.entry(key).or_insert(none).as_object_mut() {
            part.insert("rollback".to_owned(), false.into());
        }
    }
}

fn put_tags(body: &mut Map<String, Value>, tags: &[(String, String)]) {
    let known = body.remove("tags");
    let mut all: Vec<Value> = known.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    all.retain(|tag| !tags.iter().any(|(key, _)| tag.get("key").and_then(Value::as_str) == Some(key)));
    all.extend(tags.iter().map(|(key, value)| json!({"key": key, "value": value})));
    if !all.is_empty() {
        body.insert("tags".to_owned(), all.into());
    }
}
