//! Limits: values that AWS refuses only when a release is on its way, or that no rollout can live with.
//!
//! Sources: Amazon ECS Developer Guide, "Task definition parameters for Fargate" and "Troubleshoot task definition
//! invalid CPU or memory errors"; the documentation in the published model of ECS.
//! Neighbours: load. Pure.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::IMAGE;
use super::keys::Wrong;
use crate::fault::shown;

/// CPU units, and MiB from, to, in steps of; 256 has 512 besides.
const FARGATE: [(i64, i64, i64, i64); 7] = [
    (256, 1024, 2048, 1024),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16384, 1024),
    (4096, 8192, 30720, 1024),
    (8192, 16384, 61440, 4096),
    (16384, 32768, 122_880, 8192),
];

/// Of a container: key path, seconds or times.
const RANGES: [(&[&str], RangeInclusive<i64>); 5] = [
    (&["stopTimeout"], 2..=120),
    (&["healthCheck", "startPeriod"], 0..=300),
    (&["healthCheck", "interval"], 5..=300),
    (&["healthCheck", "timeout"], 2..=60),
    (&["healthCheck", "retries"], 1..=10),
];

pub fn task_definition(task: &Value) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    wrong.extend(check_name("family", task.get("family")));
    let containers =
        task.get("containerDefinitions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut names = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = format!("containerDefinitions[{index}]");
        wrong.extend(check_container(&path, container));
        let name = container.get("name").and_then(Value::as_str);
        if let Some(name) = name.filter(|name| !names.insert(name.to_owned())) {
            let text = format!("a second container is named {}", shown(name));
            wrong.push(Wrong::value(format!("{path}.name"), text, "give each a name of its own"));
        }
    }
    if strings(task, "requiresCompatibilities").any(|kind| kind == "FARGATE") {
        wrong.extend(check_fargate(task, containers));
    }
    let family = text(task, &["runtimePlatform", "operatingSystemFamily"]);
    if let Some(family) = family.filter(|family| *family != "LINUX") {
        let text = format!("the worker does not run on {}", shown(family));
        wrong.push(Wrong::value("runtimePlatform.operatingSystemFamily", text, "write \"LINUX\""));
    }
    wrong
}

fn check_container(path: &str, container: &Value) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    wrong.extend(check_name(&format!("{path}.name"), container.get("name")));
    if container.get("image").is_none() {
        wrong.push(Wrong::value(path, format!("`{path}.image` is missing"), "every container has an image"));
    }
    for (keys, range) in &RANGES {
        let found = keys.iter().try_fold(container, |value, key| value.get(key)).and_then(Value::as_i64);
        if let Some(found) = found.filter(|found| !range.contains(found)) {
            let full = format!("{path}.{}", keys.join("."));
            let right = format!("ECS takes {} to {}", range.start(), range.end());
            wrong.push(Wrong::value(&full, format!("`{full}` is {found}"), right));
        }
    }
    if container.get("image").and_then(Value::as_str) == Some(IMAGE) {
        if container.get("memory").is_none() {
            wrong.push(Wrong::value(
                path,
                format!("`{path}.memory` is missing"),
                "the worker takes its memory budget from its container's limit: write it, in MiB",
            ));
        }
        if container.get("essential") == Some(&Value::Bool(false)) {
            let text = format!("`{path}.essential` is false");
            let right = "the worker's end must end its task, or no rollout ever fails";
            wrong.push(Wrong::value(format!("{path}.essential"), text, right));
        }
    }
    wrong
}

fn check_fargate(task: &Value, containers: &[Value]) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    if text(task, &["networkMode"]) != Some("awsvpc") {
        let path = if task.get("networkMode").is_some() { "networkMode" } else { "" };
        wrong.push(Wrong::value(path, "Fargate has one `networkMode`", "write \"awsvpc\""));
    }
    let size = |key: &str, units: &[(&str, f64)]| match task.get(key).and_then(Value::as_str) {
        Some(found) => sized(found, units).map(Some).ok_or_else(|| {
            let right = "write CPU units or \"1 vCPU\", and MiB or \"2 GB\"";
            Wrong::value(key, format!("`{key}` is {}", shown(found)), right)
        }),
        None if task.get(key).is_some() => Ok(None),
        None => {
            Err(Wrong::value("", format!("`{key}` is missing"), "Fargate requires it for the whole task"))
        }
    };
    let cpu = size("cpu", &[("vcpu", 1024.0)]);
    let memory = size("memory", &[("gb", 1024.0)]);
    if let (Ok(Some(cpu)), Ok(Some(memory))) = (&cpu, &memory) {
        wrong.extend(check_pair(*cpu, *memory));
        let held: i64 = containers.iter().filter_map(|container| container.get("memory")?.as_i64()).sum();
        if held > *memory {
            let text = format!("the containers' `memory` is {held} MiB together, the task's {memory}");
            wrong.push(Wrong::value("memory", text, "give the task as much as its containers, or more"));
        }
    }
    wrong.extend([cpu, memory].into_iter().filter_map(Result::err));
    wrong
}

fn check_pair(cpu: i64, memory: i64) -> Option<Wrong> {
    // A larger task than the table knows may have come since.
    if FARGATE.last().is_some_and(|(largest, ..)| cpu > *largest) {
        return None;
    }
    let Some((_, from, to, step)) = FARGATE.iter().find(|(units, ..)| *units == cpu) else {
        let known: Vec<String> = FARGATE.iter().map(|(units, ..)| units.to_string()).collect();
        let right = format!("write one of {}", known.join(", "));
        return Some(Wrong::value("cpu", format!("Fargate has no task of {cpu} CPU units"), right));
    };
    let fits = (from..=to).contains(&&memory) && memory % step == 0 || (cpu, memory) == (256, 512);
    let right = format!("with {cpu} it has {from} to {to} MiB in steps of {step}");
    (!fits).then(|| {
        Wrong::value("memory", format!("Fargate has no task of {cpu} CPU units and {memory} MiB"), right)
    })
}

/// `1024`, `1 vCPU`, `.5 vcpu`, `2GB`.
fn sized(text: &str, units: &[(&str, f64)]) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    for (unit, scale) in units {
        if let Some(number) = lower.strip_suffix(unit) {
            let scaled = number.trim().parse::<f64>().ok()? * scale;
            return (scaled.fract() == 0.0 && (1.0..1e9).contains(&scaled)).then_some(scaled as i64);
        }
    }
    lower.parse().ok()
}

pub fn service(service: &Value) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    wrong.extend(check_name("serviceName", service.get("serviceName")));
    for (key, why) in [
        ("taskDefinition", "the deployer puts the release's revision there"),
        ("clientToken", "the deployer puts a token of its own there"),
    ] {
        if service.get(key).is_some() {
            wrong.push(Wrong { is_key: true, ..Wrong::value(key, format!("`{key}` is set here"), why) });
        }
    }
    for (keys, only) in [
        (&["deploymentController", "type"][..], "ECS"),
        (&["deploymentConfiguration", "strategy"], "ROLLING"),
        (&["schedulingStrategy"], "REPLICA"),
    ] {
        if let Some(found) = text(service, keys).filter(|found| *found != only) {
            let path = keys.join(".");
            let text = format!("`{path}` is {}", shown(found));
            wrong.push(Wrong::value(path, text, format!("the deployer works with \"{only}\" alone")));
        }
    }
    match service.get("desiredCount").map(Value::as_i64) {
        None => wrong.push(Wrong::value(
            "",
            "`desiredCount` is missing",
            "write the number of tasks that the service starts with: 1",
        )),
        Some(Some(count)) if count < 0 => {
            wrong.push(Wrong::value("desiredCount", format!("`desiredCount` is {count}"), "write 1"));
        }
        Some(count) => wrong.extend(check_room(service, count.unwrap_or(0))),
    }
    wrong
}

/// A rollout needs room for a task more or less.
fn check_room(service: &Value, count: i64) -> Option<Wrong> {
    let percent = |key: &str, default: i64| {
        let found = service.get("deploymentConfiguration").and_then(|deployment| deployment.get(key));
        found.and_then(Value::as_i64).unwrap_or(default)
    };
    let (least, most) = (percent("minimumHealthyPercent", 100), percent("maximumPercent", 200));
    // ECS rounds the one up and the other down.
    let stuck = count > 0 && (count * least + 99) / 100 >= count && count * most / 100 <= count;
    stuck.then(|| {
        Wrong::value(
            "deploymentConfiguration",
            format!("with {count} tasks, at least {least}% and at most {most}% no task can be replaced"),
            "write `\"minimumHealthyPercent\": 100, \"maximumPercent\": 200`",
        )
    })
}

/// Families, services and containers are named alike.
fn check_name(path: &str, name: Option<&Value>) -> Option<Wrong> {
    let name = name?.as_str()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_right = (1..=255).contains(&name.len()) && name.chars().all(fits);
    (!is_right).then(|| {
        let right = "ECS takes 1 to 255 ASCII letters, digits, `-` and `_`";
        Wrong::value(path, format!("`{path}` is {}", shown(name)), right)
    })
}

fn text<'v>(value: &'v Value, keys: &[&str]) -> Option<&'v str> {
    keys.iter().try_fold(value, |value, key| value.get(key))?.as_str()
}

fn strings<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v str> {
    value.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
