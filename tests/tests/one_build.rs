//! `cargo local` and the tests share one build: every dependency of the former has the features it has in the latter.
//!
//! Where they differ, cargo compiles the dependency and all that stands on it twice (minutes, for the AWS SDKs). The
//! mend is to turn the missing feature on in `local/Cargo.toml`.

use std::collections::BTreeSet;
use std::process::Command;

/// `name version features` of every package in the selection.
fn packages(selection: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(["tree", "--locked", "--offline", "--prefix", "none", "--no-dedupe", "--format", "{p} {f}"]);
    let output = command.args(selection).output().expect("cargo starts");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn cargo_local_and_the_tests_compile_every_dependency_with_the_same_features() {
    let local = packages(&["--package", "local", "--edges", "normal,build"]);
    let tests = packages(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(local.len() > 100, "cargo tree names only {} packages", local.len());
    let twice: Vec<&String> = local.difference(&tests).collect();
    assert!(twice.is_empty(), "compiled twice, because the tests turn more features on: {twice:#?}");
}
