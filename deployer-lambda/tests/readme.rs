//! README.md and ARCHITECTURE.md say what the code does: variables, policy, commands, metrics, actions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use deployer::aws::ACTIONS;
use deployer::event::{Alias, EventError, Place, Verb, Woken, parse};
use deployer::journal::Cause;
use deployer::policy::Policy;
use deployer::report::names::{NAMES, SKIPS, Sets, Unit, cause, skip};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands under a heading, up to the next of its rank or a higher one.
fn section(file: &str, heading: &str) -> String {
    let text = fs::read_to_string(root().join(file)).expect("readable");
    let from = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{file}: no section {heading}"));
    let rest = &text[from + 1 + heading.len()..];
    let end = ["\n## ", "\n### "].iter().filter_map(|next| rest.find(next)).min();
    rest[..end.unwrap_or(rest.len())].to_owned()
}

/// The cells of the section's tables, without their heads.
fn rows(file: &str, heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let section = section(file, heading);
    let lines: Vec<&str> = section.lines().collect();
    let is_row = |at: usize| {
        let rule = |at: usize| lines.get(at).is_some_and(|line| line.starts_with("|---"));
        lines[at].starts_with('|') && !rule(at) && !rule(at + 1)
    };
    let rows: Vec<Vec<String>> =
        (0..lines.len()).filter(|&at| is_row(at)).map(|at| cells(lines[at])).collect();
    assert!(rows.len() > 5, "{heading}: {rows:?}");
    rows
}

/// All that stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_readmes_variables_are_those_that_settings_know() {
    let told: BTreeSet<String> = rows("README.md", "### The deployer's variables")
        .iter()
        .map(|row| quoted(&row[0])[0].to_owned())
        .collect();
    let source = fs::read_to_string(root().join("deployer-lambda/src/settings/mod.rs")).expect("readable");
    let known =
        source.split("const KNOWN: ").nth(1).and_then(|rest| rest.split("];").next()).expect("the list");
    let mut known: BTreeSet<String> = known.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    known.insert("FILL_<NAME>".to_owned());
    assert_eq!(told, known);
}

#[test]
fn the_readmes_policy_is_that_of_the_file_and_its_defaults_are_the_codes() {
    let rows = rows("README.md", "### policy.toml");
    let told: BTreeSet<&str> = rows.iter().map(|row| quoted(&row[0])[0]).collect();
    let file = fs::read_to_string(root().join("taskdefs/policy.toml")).expect("readable");
    let (mut table, mut keys) = (String::new(), BTreeSet::new());
    for line in file.lines() {
        let line = line.trim_start_matches("# ");
        if let Some((name, _)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            table = name.trim_start_matches('[').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            keys.insert(format!("{table}.{key}"));
        }
    }
    assert_eq!(told, keys.iter().map(String::as_str).collect());

    let unsaid = format!("{:?}", Policy::default());
    let mut held = 0;
    for row in &rows {
        let (key, default) = (quoted(&row[0])[0], quoted(&row[1]));
        // Words are no value, and a variable's name is none either.
        let Some(value) = default.first().filter(|value| **value != "REPOSITORY") else { continue };
        let (table, key) = key.split_once('.').expect("table and key");
        if table == "freeze" {
            continue;
        }
        let text = format!("[{table}]\n{key} = {value}\n");
        let policy = Policy::parse(&text).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
        assert_eq!(format!("{policy:?}"), unsaid, "{text}");
        held += 1;
    }
    assert!(held > 10, "only {held} defaults were read");
}

#[test]
fn the_readmes_commands_take_what_it_says_by_the_alias_that_it_says() {
    let here = Place {
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        repository: "r".to_owned(),
        cluster: "c".to_owned(),
        service: "s".to_owned(),
    };
    let rows = rows("README.md", "### Commands");
    let told: BTreeSet<&str> = rows.iter().map(|row| quoted(&row[0])[0]).collect();
    assert_eq!(told, Verb::NAMES.into_iter().collect());
    let value = |field: &str| if field == "limit" { json!(3) } else { json!("v1") };
    for row in &rows {
        let (name, alias) = (quoted(&row[0])[0], quoted(&row[1])[0]);
        let (needs, may) = (quoted(&row[2]), quoted(&row[3]));
        let command = |fields: &[&str]| {
            let mut command = json!({"command": name, "by": "ann"});
            fields.iter().for_each(|field| command[*field] = value(field));
            command
        };
        let by = |alias: &str| Alias::of(&format!("arn:aws:lambda:r:1:function:f:{alias}"));
        for fields in [needs.clone(), [needs.clone(), may].concat()] {
            let woken = parse(&command(&fields), &here, by(alias));
            let needed = match &woken {
                Ok(Woken::Command(command)) => command.verb.needs(),
                other => panic!("{name} {fields:?}: {other:?}"),
            };
            assert_eq!(needed, by(alias), "{name}");
        }
        for left_out in 0..needs.len() {
            let mut fields = needs.clone();
            let field = fields.remove(left_out);
            let refused = parse(&command(&fields), &here, by(alias));
            assert!(matches!(refused, Err(EventError::MalformedCommand { .. })), "{name} without {field}");
        }
        let refused = parse(&command(&needs), &here, by("events"));
        assert!(matches!(refused, Err(EventError::CommandNotAllowed { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn the_readmes_metrics_are_the_codes() {
    let told: Vec<[String; 3]> = rows("README.md", "### The deployer's metrics")
        .iter()
        .map(|row| [quoted(&row[0])[0].to_owned(), row[1].clone(), row[2].clone()])
        .collect();
    let all: Vec<[String; 3]> = NAMES
        .iter()
        .map(|name| {
            let unit = match name.unit {
                Unit::Count => "count",
                Unit::Seconds => "seconds",
            };
            let sets = match name.sets {
                Sets::Total => "total",
                Sets::Reasons => "reason",
                Sets::Both => "total and reason",
            };
            [name.name, unit, sets].map(str::to_owned)
        })
        .collect();
    assert_eq!(told, all);

    let section = section("README.md", "### The deployer's metrics");
    let reasons = |of: &str| -> BTreeSet<String> {
        let from =
            section.find(&format!("Reasons of `{of}`:")).unwrap_or_else(|| panic!("no reasons of {of}"));
        let sentence = section[from..].split('.').next().expect("a sentence");
        quoted(sentence).into_iter().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(reasons("Rollbacks"), Cause::ALL.into_iter().map(|it| cause(it).to_owned()).collect());
    assert_eq!(reasons("Skipped"), SKIPS.into_iter().map(|it| skip(it).to_owned()).collect());
}

#[test]
fn the_actions_listed_in_the_architecture_are_those_that_the_code_makes() {
    let rows = rows("ARCHITECTURE.md", "### AWS actions");
    let mut told: Vec<&str> = rows.iter().map(|row| quoted(&row[0])[0]).collect();
    let store: Vec<&str> = told.iter().copied().filter(|action| action.starts_with("s3:")).collect();
    assert_eq!(
        store,
        ["s3:GetObject", "s3:ListBucket", "s3:PutObject"],
        "what the journal and the ledger need"
    );
    told.retain(|action| !action.starts_with("s3:"));
    assert_eq!(told, ACTIONS);
    // Where AWS cannot scope a call to a resource, the table says so, and why.
    let unscoped: Vec<&str> =
        rows.iter().filter(|row| row[1].starts_with("`*`")).map(|row| quoted(&row[0])[0]).collect();
    let known = [
        "cloudwatch:DescribeAlarms",
        "cloudwatch:PutMetricData",
        "ecs:DescribeTaskDefinition",
        "ecs:ListTaskDefinitions",
        "ecs:ListTasks",
        "logs:DescribeLogGroups",
        "ssm:DescribeParameters",
    ];
    assert_eq!(unscoped, known, "no other call needs `Resource: \"*\"`");
    assert!(rows.iter().all(|row| !row[1].is_empty() && row.len() == 3), "{rows:?}");
}

/// What the examples in README send is what the function takes.
#[test]
fn the_readmes_examples_are_commands() {
    let section = section("README.md", "### Commands");
    let payloads: Vec<Value> = section
        .split("--payload '")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split('\'').next().expect("quoted")).expect("JSON"))
        .collect();
    assert_eq!(payloads.len(), 2);
    for mut payload in payloads {
        payload.as_object_mut().expect("an object").remove("by");
        let verb: Result<Verb, _> = serde_json::from_value(payload.clone());
        assert!(verb.is_ok(), "{payload}: {verb:?}");
    }
}
