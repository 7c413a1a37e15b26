//! Lambda process: the deployer's own binary, driven by the runtime API as Lambda drives it.
//!
//! Order: what a process had when it ended has failed; another one is started for what waits. One that ends before it
//! ever asked for work is not started for ever.
//! Neighbours: `cloud::function` is the runtime API's other side; story invokes.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::fs::OpenOptions;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::sleep;

use crate::cloud::Cloud;
use crate::tether;

/// Starts in a row that did not come so far as to ask for work.
const FRUITLESS_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// Of the log's end, shown when it does not start.
const TAIL_BYTES: usize = 4_000;

#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    #[error("start the deployer (`{program}`)")]
    Start {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("write the deployer's log `{path}`")]
    Log {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "run the deployer: it ended {times} times before it asked for work ({status}); its log ends with\n{tail}"
    )]
    Fruitless { times: u32, status: String, tail: String },
}

/// How to start the function's process.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    pub program: PathBuf,
    /// All of it: nothing of ours is inherited.
    pub environment: Vec<(String, String)>,
    pub log: PathBuf,
}

/// Keeps a process there, for as long as it is polled. Must be polled on the main thread: see tether.
pub async fn run(cloud: Arc<Cloud>, bootstrap: Bootstrap) -> LambdaError {
    let mut fruitless = 0;
    loop {
        let before = cloud.function.times_asked();
        let open = || async { OpenOptions::new().create(true).append(true).open(&bootstrap.log).await };
        let (log, errors) = match tokio::try_join!(open(), open()) {
            Ok((log, errors)) => (log.into_std().await, errors.into_std().await),
            Err(source) => return LambdaError::Log { path: bootstrap.log, source },
        };
        let mut command = Command::new(&bootstrap.program);
        command.env_clear().envs(bootstrap.environment.clone()).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        tether::tie(&mut command);
        let status = match command.spawn() {
            Ok(mut child) => child.wait().await,
            Err(source) => return LambdaError::Start { program: bootstrap.program, source },
        };
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        cloud.function.lost(&format!("the process ended: {status}"));
        fruitless = if cloud.function.times_asked() == before { fruitless + 1 } else { 0 };
        if fruitless >= FRUITLESS_MAX {
            return LambdaError::Fruitless { times: fruitless, status, tail: tail(&bootstrap.log).await };
        }
        sleep(PAUSE).await;
    }
}

/// The environment that Lambda gives to every function, by name, memory and region.
pub fn surroundings(name: &str, memory_mib: u32, url: &str, region: &str) -> Vec<(String, String)> {
    let api = url.trim_start_matches("http://").to_owned();
    let group = format!("/aws/lambda/{name}");
    let pairs = [
        ("AWS_LAMBDA_RUNTIME_API", api),
        ("AWS_LAMBDA_FUNCTION_NAME", name.to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mib.to_string()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "local".to_owned()),
        ("AWS_REGION", region.to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(credentials(url)).collect()
}

/// What any process needs to speak to the cloud.
pub fn credentials(url: &str) -> Vec<(String, String)> {
    let pairs =
        [("AWS_ENDPOINT_URL", url), ("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn tail(log: &PathBuf) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = tokio::fs::File::open(log).await {
        // What cannot be read cannot be shown; the log's place is told elsewhere.
        let _ = file.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]).into_owned()
}
