//! Build: the real binaries of worker and deployer, of the same profile as this program.
//!
//! Neighbours: stage asks for the paths before anything else starts.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

const WORKER: &str = "worker";
const DEPLOYER: &str = "deployer-lambda";

/// Where the binaries are.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub worker: PathBuf,
    pub deployer: PathBuf,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("start `{cargo}` to build worker and deployer, and they do not lie beside this program either")]
    Cargo {
        cargo: String,
        #[source]
        source: io::Error,
    },
    #[error("build worker and deployer: cargo ends with {0}; its messages stand above")]
    Build(std::process::ExitStatus),
    #[error("build worker and deployer: cargo names no executable `{0}`")]
    NoExecutable(&'static str),
}

/// Builds both unless they are up to date, and says where they are.
///
/// Cargo is asked for all three packages, because that is how dependencies get the same features as in `cargo local`,
/// and nothing is compiled twice. Where there is no cargo, binaries beside this program will do.
pub async fn binaries(workspace: &Path) -> Result<Binaries, BuildError> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(&cargo);
    command.args(["build", "--package", WORKER, "--package", DEPLOYER, "--package", "local"]);
    command.args(["--bin", WORKER, "--bin", DEPLOYER]);
    command.args(["--message-format", "json-render-diagnostics", "--manifest-path"]);
    command.arg(workspace.join("Cargo.toml"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output().await;
    let output = match (output, beside_this_program()) {
        (Ok(output), _) => output,
        (Err(_), Some(binaries)) => return Ok(binaries),
        (Err(source), None) => return Err(BuildError::Cargo { cargo, source }),
    };
    if !output.status.success() {
        return Err(BuildError::Build(output.status));
    }
    let find = |name| executable(&output.stdout, name).ok_or(BuildError::NoExecutable(name));
    Ok(Binaries { worker: find(WORKER)?, deployer: find(DEPLOYER)? })
}

fn beside_this_program() -> Option<Binaries> {
    let home = std::env::current_exe().ok()?;
    let find = |name| Some(home.with_file_name(name)).filter(|path| path.is_file());
    Some(Binaries { worker: find(WORKER)?, deployer: find(DEPLOYER)? })
}

/// A binary's path in cargo's messages, one JSON object a line.
fn executable(messages: &[u8], name: &str) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == name)
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
        assert_eq!(executable(messages, "worker"), Some(PathBuf::from("/t/debug/worker")));
        assert_eq!(executable(messages, "deployer-lambda"), None);
        assert_eq!(executable(b"{}", "worker"), None);
    }
}
