//! README.md says what the code does: its tables of settings, exit codes and metrics, held against the code.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use worker::exit::Exit;
use worker::metrics::names::{COMMIT_CLOUDWATCH, COMMIT_PROMETHEUS, COUNTERS, GAUGES};
use worker::settings::{self, Settings};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of every table row under `## heading`, without the head.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let from = text.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = &text[from + 4..];
    let section = section.find("\n## ").map_or(section, |end| &section[..end]);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> =
        section.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect();
    assert!(rows.len() > 5, "{heading}: {rows:?}");
    rows
}

/// What stands between the first two backticks.
fn quoted(cell: &str) -> Option<&str> {
    cell.split('`').nth(1)
}

/// A job that says nothing but what it must, and `more`.
fn settings_with(more: &[(&str, &str)], on_ecs: bool) -> Settings {
    let has = |key: &str| more.iter().any(|(name, _)| *name == key);
    let mut all = vec![
        ("name", "\"n\""),
        ("kafka.bootstrap", "\"b:9092\""),
        ("kafka.topics", "[\"t\"]"),
        ("output.path", "\"file:///lake\""),
    ];
    all.retain(|(key, _)| !has(key));
    all.extend(more);
    // Dotted keys need no order, and no sections.
    let text: String = all.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("schema.sql"), "CREATE TABLE t (a STRING)").unwrap();
    fs::write(dir.path().join(settings::FILE), &text).unwrap();
    let env = move |name: &str| {
        (on_ecs && name == worker::identity::METADATA_VARIABLE).then(|| "http://127.0.0.1:1".to_owned())
    };
    let mut settings =
        settings::load(dir.path(), &env, &[]).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
    // Another directory each time.
    settings.records.schema_file = settings.records.schema_file.file_name().unwrap().into();
    settings
}

fn shown(settings: &Settings) -> String {
    let Settings { name, kafka, records, output, memory, health, metrics, origin: _ } = settings;
    format!("{name:?} {kafka:?} {records:?} {output:?} {memory:?} {health:?} {metrics:?}")
}

#[test]
fn every_default_in_the_readme_is_the_codes() {
    let unsaid = shown(&settings_with(&[], false));
    let mut held = 0;
    for row in rows("Settings") {
        let key = quoted(&row[0]).unwrap();
        // Words are no value: "required", "the container's limit".
        let Some(value) = quoted(&row[1]).filter(|_| row[1].starts_with('`')) else { continue };
        match key {
            "kafka.group" => assert_eq!(settings_with(&[], false).kafka.group, "n"),
            "kafka.auth.mechanism" | "kafka.auth.tls" => {
                let scram = |more: &[(&str, &str)]| {
                    let scram = [
                        ("kafka.auth.method", "\"scram\""),
                        ("kafka.auth.username", "\"u\""),
                        ("kafka.auth.password", "\"p\""),
                    ];
                    shown(&settings_with(&[&scram[..], more].concat(), false))
                };
                assert_eq!(scram(&[]), scram(&[(key, value)]), "{key}");
            }
            "metrics.cloudwatch" => {
                assert!(
                    settings_with(&[], true).metrics.cloudwatch
                        && !settings_with(&[], false).metrics.cloudwatch
                );
            }
            _ => assert_eq!(unsaid, shown(&settings_with(&[(key, value)], false)), "{key} = {value}"),
        }
        held += 1;
    }
    assert!(held > 20, "only {held} defaults were read");
}

#[test]
fn readme_and_example_name_the_same_settings() {
    let told: BTreeSet<String> =
        rows("Settings").iter().map(|row| quoted(&row[0]).unwrap().to_owned()).collect();
    let example = fs::read_to_string(root().join("pipeline/pipeline.toml")).unwrap();
    let mut section = String::new();
    let mut named = BTreeSet::new();
    for line in example.lines() {
        let line = line.trim_start_matches("# ");
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            named.insert(format!("{section}{key}"));
        }
    }
    named.insert("kafka.options".to_owned());
    assert_eq!(told, named);
}

#[test]
fn the_readmes_exit_codes_are_the_codes() {
    let told: Vec<u8> = rows("Exit codes").iter().map(|row| row[0].parse().unwrap()).collect();
    let all = [
        Exit::Done,
        Exit::Unproven,
        Exit::Usage,
        Exit::DataRefused,
        Exit::NoTopic,
        Exit::Unreachable,
        Exit::Bug,
        Exit::TryAgain,
        Exit::Denied,
        Exit::Settings,
    ];
    assert_eq!(told, all.map(Exit::code));
}

#[test]
fn the_readmes_metrics_are_the_codes() {
    let told: Vec<(String, Option<String>, bool)> = rows("Metrics")
        .iter()
        .map(|row| {
            (quoted(&row[0]).unwrap().to_owned(), quoted(&row[1]).map(str::to_owned), row[1].ends_with('*'))
        })
        .collect();
    let owned = |name: Option<&str>| name.map(str::to_owned);
    let counters = COUNTERS.iter().map(|name| {
        let full = format!("landfall_{}_total", name.prometheus);
        (full, owned(name.cloudwatch), name.rare && name.cloudwatch.is_some())
    });
    let gauges =
        GAUGES.iter().map(|name| (format!("landfall_{}", name.prometheus), owned(name.cloudwatch), false));
    let commit = (format!("landfall_{COMMIT_PROMETHEUS}"), owned(Some(COMMIT_CLOUDWATCH)), false);
    let all: Vec<_> = counters.chain(gauges).chain([commit]).collect();
    assert_eq!(told, all);
}
