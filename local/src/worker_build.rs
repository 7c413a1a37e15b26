//! Worker build: the real worker's binary, of the same profile as this program.
//!
//! Neighbours: story asks for the path before anything else starts.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// Why there is no worker to run.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("start `{cargo}` to build the worker, and no worker lies beside this program either")]
    Cargo {
        cargo: String,
        #[source]
        source: io::Error,
    },
    #[error("build the worker: cargo ends with {0}; its messages stand above")]
    Build(std::process::ExitStatus),
    #[error("build the worker: cargo names no executable")]
    NoExecutable,
}

/// Builds the worker unless it is up to date, and says where it is.
///
/// Cargo is asked for both packages, because that is how dependencies get the same features as in `cargo local`,
/// and nothing is compiled twice. Where there is no cargo, a worker beside this program will do.
pub async fn worker(workspace: &Path) -> Result<PathBuf, BuildError> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(&cargo);
    command.args(["build", "--package", "worker", "--package", "local", "--bin", "worker"]);
    command.args(["--message-format", "json-render-diagnostics", "--manifest-path"]);
    command.arg(workspace.join("Cargo.toml"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output().await;
    let output = match (output, beside_this_program()) {
        (Ok(output), _) => output,
        (Err(_), Some(worker)) => return Ok(worker),
        (Err(source), None) => return Err(BuildError::Cargo { cargo, source }),
    };
    if !output.status.success() {
        return Err(BuildError::Build(output.status));
    }
    executable(&output.stdout).ok_or(BuildError::NoExecutable)
}

fn beside_this_program() -> Option<PathBuf> {
    let worker = std::env::current_exe().ok()?.with_file_name("worker");
    worker.is_file().then_some(worker)
}

/// The worker's path in cargo's messages, one JSON object a line.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == "worker")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages =
            br#"{"reason":"compiler-artifact","target":{"name":"worker","kind":["lib"]},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"worker","kind":["bin"]},"executable":"/t/debug/worker"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/worker")));
        assert_eq!(executable(b"{}"), None);
    }
}
