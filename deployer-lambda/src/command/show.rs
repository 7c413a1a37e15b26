//! Show: what people look at: status, history, diff, plan. Nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::back::{running, word};
use super::name::{find, shown_record};
use super::{Answer, Facts, Refusal};
use crate::clock::rfc3339;
use crate::journal::Record;
use crate::observe::facts::{Known, Service, TaskState};
use crate::plan::{Decision, text};
use crate::release::{Digest, Moment, ReleaseId};

/// Releases in a `status`.
const STATUS_RELEASES: usize = 5;
const HISTORY_DEFAULT: usize = 20;
/// Changed keys that a `diff` lists.
const CHANGES_MAX: usize = 200;

/// What runs, since when and how it does; what it waits for; what comes next.
pub fn status(facts: &Facts<'_>) -> Answer {
    let journal = facts.journal;
    let runs = match facts.observed.service.known() {
        Some(Some(service)) => runs(facts, service),
        Some(None) => json!(null),
        None => json!("unknown"),
    };
    let candidate = journal.candidate.as_ref().and_then(|release| journal.record(release));
    let mut details = Map::new();
    let mut add = |name: &str, value: Value| details.insert(name.to_owned(), value);
    add("runs", runs);
    add("candidate", candidate.map_or(Value::Null, |record| brief(record, facts.now)));
    add("next", facts.decision.map_or(Value::Null, self::decision));
    if let Some(back) = &journal.going_back {
        let began = rfc3339(back.begun_at);
        add("going_back", json!({"from": back.from, "to": back.to, "since": began, "why": back.reason}));
    }
    if let Some(pin) = &journal.pin {
        let tags = journal.record(&pin.release).map(|record| record.tags.clone()).unwrap_or_default();
        let at = rfc3339(pin.at);
        add(
            "pin",
            json!({"release": pin.release, "digest": pin.digest, "tags": tags, "by": pin.by, "at": at}),
        );
    }
    if let Some(freeze) = &journal.freeze {
        let is_over = freeze.until.is_some_and(|end| end <= facts.now);
        let until = freeze.until.map_or_else(|| "unfreeze".to_owned(), rfc3339);
        let at = rfc3339(freeze.at);
        let over = json!({"by": freeze.by, "at": at, "until": until, "why": freeze.reason, "over": is_over});
        add("freeze", over);
    }
    if let Some(stopped) = &journal.stopped {
        let at = rfc3339(stopped.at);
        add(
            "stopped",
            json!({"by": stopped.by, "at": at, "why": stopped.reason, "desired": stopped.desired}),
        );
    }
    let unknown = unknown(facts);
    if !unknown.is_empty() {
        add("unknown", json!(unknown));
    }
    let newest = journal.releases.iter().rev().take(STATUS_RELEASES);
    add("releases", newest.map(|record| brief(record, facts.now)).collect());
    Answer::shows(said(facts, candidate), Value::Object(details))
}

/// The status in a sentence.
fn said(facts: &Facts<'_>, candidate: Option<&Record>) -> String {
    let mut said = match running(facts) {
        Ok(record) => {
            let since = record.running_at.or(record.pointed_at).unwrap_or(record.picked_at);
            let tasks = facts.observed.service.known().and_then(Option::as_ref);
            let tasks = tasks.map(|service| format!("{} of {} tasks", service.running, service.desired));
            format!(
                "{} runs since {}, {}, {}",
                shown_record(record),
                rfc3339(since),
                word(record.verdict),
                tasks.unwrap_or_else(|| "tasks unknown".to_owned())
            )
        }
        Err(refusal) => refusal.to_string(),
    };
    if let Some(stopped) = &facts.journal.stopped {
        said.push_str(&format!("; stopped by {}: {}", stopped.by, stopped.reason));
    }
    if let Some(back) = &facts.journal.going_back {
        said.push_str(&format!("; going back to release {}", back.to));
    } else if let Some(candidate) = candidate {
        said.push_str(&format!("; {} is the candidate", shown_record(candidate)));
    }
    if let Some(decision) = facts.decision {
        said.push_str(&format!("; next: {}", decision.next));
    }
    said
}

fn runs(facts: &Facts<'_>, service: &Service) -> Value {
    let record = running(facts).ok();
    let tasks = facts.observed.tasks.known();
    let up = |task: &&crate::observe::facts::Task| task.state == TaskState::Running;
    let digests: BTreeSet<&str> = tasks
        .into_iter()
        .flatten()
        .filter(up)
        .filter_map(|task| task.digest.as_ref().map(Digest::as_str))
        .collect();
    let mut runs = json!({
        "revision": service.revision.short(),
        "tasks": {"running": service.running, "desired": service.desired},
        "digests": digests,
        "ecs_may_roll_back": service.own_rollback,
    });
    if let (Value::Object(runs), Some(record)) = (&mut runs, record)
        && let Value::Object(brief) = brief(record, facts.now)
    {
        runs.extend(brief);
    }
    runs
}

/// One release, for a person.
fn brief(record: &Record, now: Moment) -> Value {
    let mut brief = json!({
        "release": record.release,
        "tags": record.tags,
        "digest": record.digest,
        "verdict": word(record.verdict),
        "why": record.reason,
        "pushed_at": rfc3339(record.pushed_at),
    });
    let Value::Object(fields) = &mut brief else { return brief };
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    if let Some(revision) = &record.revision {
        add("revision", json!(revision.short()));
    }
    let moments = [
        ("pointed_at", record.pointed_at),
        ("running_at", record.running_at),
        ("completed_at", record.completed_at),
        ("verdict_at", record.verdict_at),
    ];
    for (name, moment) in moments {
        if let Some(moment) = moment {
            add(name, json!(rfc3339(moment)));
        }
    }
    if record.blocked_times > 0 {
        add("blocked_times", json!(record.blocked_times));
    }
    if let Some(retry_at) = record.retry_at.filter(|at| *at > now) {
        add("tried_again_at", json!(rfc3339(retry_at)));
    }
    brief
}

/// A decision as answers show it: for people its text.
pub fn decision(decision: &Decision) -> Value {
    json!({
        "what": decision.what,
        "why": decision.why,
        "text": text::lines(decision),
        "release": decision.release,
    })
}

/// What could not be read: a sentence each.
fn unknown(facts: &Facts<'_>) -> Vec<String> {
    fn fault<T>(fact: &Known<T>) -> Option<String> {
        match fact {
            Known::Known(_) => None,
            Known::Unknown { what, why } => Some(format!("could not read {what}: {why}")),
        }
    }
    let seen = facts.observed;
    let faults = [
        fault(&seen.images),
        fault(&seen.service),
        fault(&seen.tasks),
        fault(&seen.alarms),
        fault(&seen.rejected),
        fault(&seen.revisions),
    ];
    faults.into_iter().flatten().collect()
}

/// The releases that the journal knows, the newest look first.
pub fn history(facts: &Facts<'_>, limit: Option<usize>) -> Answer {
    let all = &facts.journal.releases;
    let shown: Vec<Value> = all
        .iter()
        .rev()
        .take(limit.unwrap_or(HISTORY_DEFAULT))
        .map(|record| brief(record, facts.now))
        .collect();
    let said = format!("{} of {} releases that the journal knows", shown.len(), all.len());
    Answer::shows(said, json!({"releases": shown}))
}

pub fn plan(facts: &Facts<'_>) -> Answer {
    match facts.decision {
        None => Answer::nothing("nothing is planned"),
        Some(next) => Answer::shows(format!("{}: {}", next.what, next.why), json!({"plan": decision(next)})),
    }
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    pub release: ReleaseId,
    pub digest: Digest,
    pub tags: Vec<String>,
    /// As rendered or registered. None: not known.
    pub task_definition: Option<Value>,
    pub service: Option<Value>,
}

/// From what runs to `what`, else to what the policy asks for.
pub fn differences(facts: &Facts<'_>, what: Option<&str>) -> Result<Answer, Refusal> {
    let runs = running(facts)?;
    let desired = facts.desired.map(|release| release.0.clone());
    let Some(what) = what.map(str::to_owned).or(desired) else {
        return Ok(Answer::nothing("the policy asks for nothing else, or it is not known: name an image"));
    };
    let named = find(facts, &what)?;
    let mut from = Side {
        release: runs.release.clone(),
        digest: runs.digest.clone(),
        tags: runs.tags.clone(),
        task_definition: None,
        service: None,
    };
    match (facts.rendered)(&runs.digest) {
        Ok(rendered) if rendered.release == runs.release => {
            (from.task_definition, from.service) = (Some(rendered.task_definition), Some(rendered.service));
        }
        // The templates have changed since: only what was registered tells what runs.
        Ok(_) | Err(_) => from.task_definition = facts.running_task_definition.cloned(),
    }
    let render = |why| Refusal::Render { name: named.shown(), why };
    let rendered = (facts.rendered)(&named.digest).map_err(render)?;
    let is_todays = rendered.release == named.release;
    let tags = match (named.image, named.records.first()) {
        (Some(image), _) => image.tags.clone(),
        (None, Some(record)) => record.tags.clone(),
        (None, None) => Vec::new(),
    };
    let to = Side {
        release: named.release.clone(),
        digest: named.digest.clone(),
        tags,
        task_definition: is_todays.then_some(rendered.task_definition),
        service: is_todays.then_some(rendered.service),
    };
    Ok(diff(&from, &to))
}

/// What differs between two releases, key by key.
pub fn diff(from: &Side, to: &Side) -> Answer {
    if from.release == to.release {
        return Answer::shows(format!("no difference: release {} runs", from.release), json!({"text": []}));
    }
    let mut changes = Vec::new();
    let mut untold = Vec::new();
    let documents = [
        ("task definition", &from.task_definition, &to.task_definition),
        ("service", &from.service, &to.service),
    ];
    for (name, before, after) in documents {
        match (before, after) {
            (Some(before), Some(after)) => changed(name, Some(before), Some(after), &mut changes),
            (None, _) => {
                untold.push(format!("the {name} that release {} was made from is not known", from.release))
            }
            (_, None) => {
                untold.push(format!("the {name} that release {} was made from is not known", to.release))
            }
        }
    }
    let image = if from.digest == to.digest { "the same image" } else { "another image" };
    let said = format!("{image}, {} keys differ", changes.len());
    let left_out = changes.len().saturating_sub(CHANGES_MAX);
    changes.truncate(CHANGES_MAX);
    changes.insert(0, text::image(&from.digest, &to.digest));
    let side = |side: &Side| json!({"release": side.release, "digest": side.digest, "tags": side.tags});
    let mut details = json!({"from": side(from), "to": side(to), "text": changes});
    if let Value::Object(fields) = &mut details {
        if !untold.is_empty() {
            fields.insert("unknown".to_owned(), json!(untold));
        }
        if left_out > 0 {
            fields.insert("left_out".to_owned(), json!(left_out));
        }
    }
    Answer::shows(said, details)
}

/// Adds a line for each leaf that differs: `~ task definition.containerDefinitions[worker].cpu: 256 -> 512`.
fn changed(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<String>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                changed(&format!("{path}.{key}"), before.get(key), after.get(key), changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            let (before, after) = (by_name(before), by_name(after));
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let (before, after) = (before.get(key).copied(), after.get(key).copied());
                changed(&format!("{path}[{key}]"), before, after, changes);
            }
        }
        (before, after) => {
            changes.push(text::difference(path, before, after));
        }
    }
}

/// AWS's lists are mostly maps: an entry is known by its `name`, `key` or `sourceVolume`; else by its place.
fn by_name(list: &[Value]) -> BTreeMap<String, &Value> {
    let name = |value: &Value| {
        let names = ["name", "key", "sourceVolume"];
        names.iter().find_map(|field| value.get(field).and_then(Value::as_str)).map(str::to_owned)
    };
    let named: BTreeMap<String, &Value> =
        list.iter().filter_map(|value| Some((name(value)?, value))).collect();
    if named.len() == list.len() {
        return named;
    }
    // Padded, so that the tenth does not come before the second.
    list.iter().enumerate().map(|(at, value)| (format!("{at:03}"), value)).collect()
}
