//! Load: the two files into [`Templates`], or everything that is wrong with them.
//!
//! Order: JSON first; then holes are filled; then keys and values are checked, as AWS will see them. What a hole could
//! not fill is told once, as that.
//! Neighbours: holes, keys, limits, places; settings gives the fills.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::holes::{self, Problem};
use super::keys::{self, List, Wrong};
use super::limits;
use super::places::{Places, below};
use super::{IMAGE, RELEASE_VARIABLE, Templates};
use crate::fault::{Fault, Faults, Source, nearest, shown};

pub const TASK_DEFINITION_FILE: &str = "worker.taskdef.json";
pub const SERVICE_FILE: &str = "worker.service.json";

/// A file on its way to a template.
struct Draft<'s> {
    source: &'s Source,
    places: Places,
    /// With its holes filled, but for the worker's `${IMAGE}`.
    filled: Value,
    /// Paths of strings that could not be filled.
    unfilled: BTreeSet<String>,
    holes: BTreeSet<String>,
    /// Paths of strings that are `${IMAGE}`.
    images: Vec<String>,
}

impl Templates {
    /// Reads `worker.taskdef.json` and `worker.service.json` in a directory.
    pub fn load(
        directory: &Path,
        fills: BTreeMap<String, String>,
        repository_uri: &str,
    ) -> Result<Templates, Faults> {
        let mut faults = Vec::new();
        let mut read = |name: &str| {
            let source = Source::read(&directory.join(name));
            source.map_err(|fault| faults.push(fault)).ok()
        };
        match (read(TASK_DEFINITION_FILE), read(SERVICE_FILE)) {
            (Some(task), Some(service)) => Templates::parse(&task, &service, fills, repository_uri),
            (_, _) => Faults::unless(faults, None),
        }
    }

    /// [`Templates::load`] without reading files.
    pub fn parse(
        task: &Source,
        service: &Source,
        fills: BTreeMap<String, String>,
        repository_uri: &str,
    ) -> Result<Templates, Faults> {
        let mut faults = Vec::new();
        let task = draft(task, &fills, &mut faults);
        let service = draft(service, &fills, &mut faults);
        if let Some(draft) = &task {
            let wrong = check_worker(draft).into_iter().chain(limits::task_definition(&draft.filled));
            draft.tell(&keys::REGISTER_TASK_DEFINITION, wrong, &mut faults);
        }
        if let Some(draft) = &service {
            let stray = draft.images.iter().map(|path| misplaced_image(path));
            let wrong = stray.chain(check_names(draft, &fills)).chain(limits::service(&draft.filled));
            draft.tell(&keys::CREATE_SERVICE, wrong, &mut faults);
        }
        let templates = task.zip(service).map(|(task, service)| Templates {
            holes: task.holes.union(&service.holes).cloned().collect(),
            task_definition: task.filled,
            service: service.filled,
            fills,
            repository_uri: repository_uri.to_owned(),
        });
        Faults::unless(faults, templates)
    }
}

fn draft<'s>(
    source: &'s Source,
    fills: &BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
) -> Option<Draft<'s>> {
    let raw: Value = match serde_json::from_str(&source.text) {
        Ok(raw) => raw,
        Err(error) => {
            let line: usize =
                source.text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            let at = line + error.column().saturating_sub(1);
            let wrong = format!("not JSON: {error}");
            faults.push(source.fault(at..at + 1, wrong, "write it as AWS's request, strings in quotes"));
            return None;
        }
    };
    let places = Places::of(&source.text);
    for (path, span) in &places.doubled {
        faults.push(source.fault(
            span.clone(),
            format!("`{path}` stands here a second time"),
            "leave one out",
        ));
    }
    let mut draft = Draft {
        source,
        places,
        filled: Value::Null,
        unfilled: BTreeSet::new(),
        holes: BTreeSet::new(),
        images: Vec::new(),
    };
    draft.filled = draft.fill("", &raw, fills, faults);
    Some(draft)
}

impl Draft<'_> {
    fn fill(
        &mut self,
        path: &str,
        raw: &Value,
        fills: &BTreeMap<String, String>,
        faults: &mut Vec<Fault>,
    ) -> Value {
        match raw {
            Value::Object(map) => {
                let mut filled = serde_json::Map::new();
                for (key, value) in map {
                    let inner = below(path, key);
                    if key.contains("${") {
                        let wrong = format!("`{inner}`: a key has no holes");
                        let span = self.places.key(&inner);
                        faults.push(self.source.fault(span, wrong, "write the key as it is"));
                    }
                    filled.insert(key.clone(), self.fill(&inner, value, fills, faults));
                }
                Value::Object(filled)
            }
            Value::Array(items) => {
                let fill = |(index, item)| self.fill(&format!("{path}[{index}]"), item, fills, faults);
                items.iter().enumerate().map(fill).collect()
            }
            Value::String(text) => self.fill_text(path, text, fills, faults),
            Value::Null | Value::Bool(_) | Value::Number(_) => raw.clone(),
        }
    }

    fn fill_text(
        &mut self,
        path: &str,
        text: &str,
        fills: &BTreeMap<String, String>,
        faults: &mut Vec<Fault>,
    ) -> Value {
        if text == IMAGE {
            self.images.push(path.to_owned());
            return Value::from(text);
        }
        self.holes.extend(holes::holes(text).map(|hole| hole.name));
        match holes::fill(text, fills) {
            Ok(filled) => filled,
            Err(problems) => {
                self.unfilled.insert(path.to_owned());
                for problem in problems {
                    faults.push(self.unfilled(path, problem, fills));
                }
                Value::from(text)
            }
        }
    }

    fn unfilled(&self, path: &str, problem: Problem, fills: &BTreeMap<String, String>) -> Fault {
        let (spelled, wrong, right) = match problem {
            Problem::NoValue(hole) if hole.name == "IMAGE" => (
                hole.spelled,
                format!("`{path}` takes the image within a string"),
                "the image stands alone, as one container's `\"image\": \"${IMAGE}\"`".to_owned(),
            ),
            Problem::NoValue(hole) => {
                let name = &hole.name;
                let given = fills.iter().filter(|(other, value)| *other != name && !value.is_empty());
                let near = match nearest(name, given.map(|(other, _)| other.as_str())) {
                    Some(near) => format!("did you mean `{near}`? Else "),
                    None => String::new(),
                };
                let is = if fills.contains_key(name) { "is set to nothing" } else { "has no value" };
                let default = hole.spelled.trim_end_matches('}');
                (
                    hole.spelled.clone(),
                    format!("`{path}`: the hole `{name}` {is}"),
                    format!(
                        "{near}set FILL_{name} in the deployer's environment, or write a default: `{default}:-…}}`"
                    ),
                )
            }
            Problem::NotAlone(hole) => (
                hole.spelled.clone(),
                format!("`{path}`: {} stands within a longer string", hole.spelled),
                "a list or a number takes the whole string".to_owned(),
            ),
            Problem::NotNumber(hole, value) => (
                hole.spelled,
                format!("`{path}`: the hole `{}` is {}, no whole number", hole.name, shown(&value)),
                format!("correct FILL_{} in the deployer's environment", hole.name),
            ),
            Problem::Malformed(text) => (
                text.clone(),
                format!("`{path}`: `{text}` is no hole"),
                "write `${NAME}`, `${NAME:-default}`, `${NAME[]}` for a list or `${NAME#}` for a number; `$${` is a plain `${`"
                    .to_owned(),
            ),
        };
        let span = self.places.value(path);
        // Points at the hole itself, unless the file spells it with escapes.
        let at = self.source.text[span.clone()].find(&spelled).map(|at| span.start + at);
        let span = at.map_or(span, |start| start..start + spelled.len());
        self.source.fault(span, wrong, right)
    }

    /// Tells what is wrong by the list of keys and beyond it, but for what could not be filled.
    fn tell(&self, list: &List, wrong: impl Iterator<Item = Wrong>, faults: &mut Vec<Fault>) {
        for wrong in list.check(&self.filled).into_iter().chain(wrong) {
            if self.unfilled.contains(&wrong.path) {
                continue;
            }
            let span =
                if wrong.is_key { self.places.key(&wrong.path) } else { self.places.value(&wrong.path) };
            faults.push(self.source.fault(span, wrong.wrong, wrong.right));
        }
    }
}

/// The image goes into exactly one container, and the release's variable is ours.
fn check_worker(draft: &Draft<'_>) -> Vec<Wrong> {
    let is_container = |path: &str| {
        path.strip_prefix("containerDefinitions[").is_some_and(|rest| {
            rest.strip_suffix("].image").is_some_and(|index| index.bytes().all(|b| b.is_ascii_digit()))
        })
    };
    let mut wrong: Vec<Wrong> =
        draft.images.iter().filter(|path| !is_container(path)).map(|path| misplaced_image(path)).collect();
    let mut workers = draft.images.iter().filter(|path| is_container(path));
    match workers.next() {
        None => wrong.push(Wrong::value(
            "containerDefinitions",
            "no container has the image `${IMAGE}`",
            "give the worker's container `\"image\": \"${IMAGE}\"`: the deployer puts the release's image there",
        )),
        Some(first) => {
            wrong.extend(workers.map(|path| {
                Wrong::value(path, "a second container has the image `${IMAGE}`", "only the worker's has it")
            }));
            let container = first.trim_end_matches(".image");
            for key in ["environment", "secrets"] {
                let pointer = super::worker(&draft.filled).and_then(|worker| worker.get(key)?.as_array());
                for (index, item) in pointer.into_iter().flatten().enumerate() {
                    if item.get("name").and_then(Value::as_str) == Some(RELEASE_VARIABLE) {
                        wrong.push(Wrong::value(
                            format!("{container}.{key}[{index}]"),
                            format!("{RELEASE_VARIABLE} is set here"),
                            "leave it out: the deployer puts the release's id there",
                        ));
                    }
                }
            }
        }
    }
    wrong
}

fn misplaced_image(path: &str) -> Wrong {
    Wrong::value(path, format!("`{path}` takes the image"), "only the worker's container does")
}

/// The service that is described is the one that is watched.
fn check_names(draft: &Draft<'_>, fills: &BTreeMap<String, String>) -> Vec<Wrong> {
    let differs = |(key, fill): (&str, &str)| {
        let (found, watched) = (draft.filled.get(key)?.as_str()?, fills.get(fill)?);
        (found != watched).then(|| {
            Wrong::value(
                key,
                format!("`{key}` is {}, and the deployer watches {}", shown(found), shown(watched)),
                format!("write \"${{{fill}}}\", or correct {fill} in the deployer's environment"),
            )
        })
    };
    [("cluster", "CLUSTER"), ("serviceName", "SERVICE")].into_iter().filter_map(differs).collect()
}
