//! Patterns: the EventBridge rules' patterns, which the stack fills and uses as they are, against recorded events.
//!
//! The matcher below knows what EventBridge's user guide says of the few operators that the patterns use, and refuses
//! any other: a pattern that needs more has to teach it first.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use deployer::event::{Alias, Place, Woken, parse};
use serde_json::{Value, json};

/// Every recorded event and the one pattern that lets it through; the schedule and commands come by no pattern.
const EXPECTED: &[(&str, Option<&str>)] = &[
    ("alarm-cleared", Some("alarm")),
    ("alarm-raised", Some("alarm")),
    ("command-rollback", None),
    ("command-status", None),
    ("ecr-delete", None),
    ("ecr-push", Some("push")),
    ("ecr-push-failed", None),
    ("ecr-push-keep", Some("push")),
    ("ecr-push-untagged", Some("push")),
    ("ecr-replication", Some("replication")),
    ("ecr-replication-failed", None),
    ("ecr-scan", Some("scan")),
    ("ecs-deployment-as-documented", Some("deployment")),
    ("ecs-deployment-completed", Some("deployment")),
    ("ecs-deployment-failed", Some("deployment")),
    ("ecs-deployment-in-progress", Some("deployment")),
    ("ecs-deployment-rollback", Some("deployment")),
    ("ecs-service-impaired", Some("service")),
    ("ecs-service-placement", Some("service")),
    ("ecs-service-steady", Some("service")),
    ("ecs-task-by-hand", None),
    ("ecs-task-pending", None),
    ("ecs-task-running", Some("task")),
    ("ecs-task-stopped", Some("task")),
    ("inspector-scan", Some("inspector")),
    ("schedule-rule", None),
    ("schedule-scheduler", None),
    ("stack-delete", None),
];

#[test]
fn each_recorded_event_matches_exactly_its_pattern() {
    let (events, patterns) = (read_all("tests/events"), patterns("shop-events"));
    let recorded: Vec<&str> = events.keys().map(String::as_str).collect();
    let listed: Vec<&str> = EXPECTED.iter().map(|(name, _)| *name).collect();
    assert_eq!(recorded, listed, "every recorded event is listed, in order");
    for (name, expected) in EXPECTED {
        let matched: Vec<&str> = patterns
            .iter()
            .filter(|(_, pattern)| matches(pattern, &events[*name]))
            .map(|(pattern, _)| pattern.as_str())
            .collect();
        assert_eq!(matched, expected.iter().copied().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn every_pattern_is_matched_by_a_recorded_event() {
    for pattern in patterns("shop-events").keys() {
        let has_one = EXPECTED.iter().any(|(_, expected)| *expected == Some(pattern.as_str()));
        assert!(has_one, "no recorded event for patterns/{pattern}.json");
    }
}

#[test]
fn what_a_pattern_lets_through_is_understood() {
    let events = read_all("tests/events");
    for (name, expected) in EXPECTED.iter().filter(|(_, expected)| expected.is_some()) {
        let woken = parse(&events[*name], &here(), Alias::Events);
        let is_understood = match &woken {
            Ok(Woken::Hint(_)) => true,
            // Our own tag costs an invocation and no look.
            Ok(Woken::Nothing { why }) => why.contains("landfall-keep-"),
            Ok(Woken::Command(_) | Woken::Stack(_)) | Err(_) => false,
        };
        assert!(is_understood, "{name} by {expected:?}: {woken:?}");
    }
}

#[test]
fn no_pattern_lets_a_neighbours_events_through() {
    let events = read_all("tests/events");
    for (name, pattern) in patterns("clicks") {
        for (event, body) in &events {
            // The registry's patterns know the repository, which the two pipelines share here.
            if !["push", "replication", "scan", "inspector"].contains(&name.as_str()) {
                assert!(!matches(&pattern, body), "patterns/{name}.json of `clicks` lets {event} through");
            }
        }
    }
    let mut other = events["ecr-push"].clone();
    other["detail"]["repository-name"] = json!("landfall/worker-2");
    assert!(!matches(&patterns("shop-events")["push"], &other));
}

/// The matcher itself, by the examples of the user guide.
#[test]
fn the_matcher_does_what_eventbridge_documents() {
    let event = json!({"source": "aws.ec2", "resources": ["a", "b"], "detail": {"state": "stopped", "n": 1}});
    let yes = [
        json!({"source": ["aws.ec2", "aws.ecs"]}),
        json!({"resources": ["b"]}),
        json!({"detail": {"state": [{"prefix": "stop"}]}}),
        json!({"detail": {"state": [{"anything-but": ["running", "pending"]}]}}),
    ];
    let no = [
        json!({"source": ["aws.ecs"]}),
        json!({"resources": ["c"]}),
        json!({"detail": {"state": [{"prefix": "run"}]}}),
        json!({"detail": {"state": [{"anything-but": ["stopped"]}]}}),
        json!({"detail": {"missing": [{"anything-but": ["stopped"]}]}}),
        json!({"detail": {"state": {"deeper": ["stopped"]}}}),
    ];
    for pattern in yes {
        assert!(matches(&pattern, &event), "{pattern}");
    }
    for pattern in no {
        assert!(!matches(&pattern, &event), "{pattern}");
    }
}

/// All fields of the pattern are there, each with one of the values that are listed.
fn matches(pattern: &Value, event: &Value) -> bool {
    match pattern {
        Value::Object(fields) => fields.iter().all(|(name, inner)| match event.get(name) {
            Some(value) => matches(inner, value),
            None => false,
        }),
        Value::Array(filters) => match event {
            Value::Array(values) => values.iter().any(|value| passes_one(filters, value)),
            Value::Object(_) => false,
            value => passes_one(filters, value),
        },
        other => panic!("a pattern's leaf is a list, not {other}"),
    }
}

fn passes_one(filters: &[Value], value: &Value) -> bool {
    filters.iter().any(|filter| match filter {
        Value::Object(operator) => {
            assert_eq!(operator.len(), 1, "one operator in {filter}");
            if let Some(prefix) = operator.get("prefix").and_then(Value::as_str) {
                value.as_str().is_some_and(|text| text.starts_with(prefix))
            } else if let Some(Value::Array(others)) = operator.get("anything-but") {
                !others.contains(value)
            } else {
                panic!("the matcher does not know {filter}")
            }
        }
        wanted => wanted == value,
    })
}

fn here() -> Place {
    Place {
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        repository: "landfall/worker".to_owned(),
        cluster: "data".to_owned(),
        service: "shop-events".to_owned(),
    }
}

/// The patterns as the stack fills them for one pipeline.
fn patterns(service: &str) -> BTreeMap<String, Value> {
    let arn = |of: &str, what: String| format!("arn:aws:{of}:eu-west-1:123456789012:{what}");
    let fills = [
        ("${RepositoryArn}", arn("ecr", "repository/landfall/worker".to_owned())),
        ("${Repository}", "landfall/worker".to_owned()),
        ("${ServiceArn}", arn("ecs", format!("service/data/{service}"))),
        ("${ClusterArn}", arn("ecs", "cluster/data".to_owned())),
        ("${Service}", service.to_owned()),
        ("${AlarmPrefix}", format!("landfall-{service}-")),
    ];
    let mut filled = BTreeMap::new();
    for (name, pattern) in read_all("patterns") {
        let text = fills.iter().fold(pattern.to_string(), |text, (hole, fill)| text.replace(hole, fill));
        assert!(!text.contains("${"), "a hole that the stack does not fill: {text}");
        filled.insert(name, serde_json::from_str(&text).expect("still JSON"));
    }
    filled
}

/// The JSON files of a directory by their stems.
fn read_all(directory: &str) -> BTreeMap<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&path).expect("it is there").map(|entry| entry.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(!files.is_empty(), "{} is empty", path.display());
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("readable");
        let stem = file.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        (stem, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
    };
    files.iter().map(read).collect()
}
