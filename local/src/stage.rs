//! Stage: everything that must stand before the story begins.
//!
//! Order: what can be refused without starting anything is refused first; then the worker is built, the directories
//! are made, the broker starts.
//! Neighbours: main sets it up, story plays on it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ledger::store::Store;
use ledger::store::file::{FileError, FileStore};
use tokio::process::Command;

use crate::broker::{Broker, BrokerError};
use crate::cli::Cli;
use crate::generator::Generator;
use crate::narrate::Narrator;
use crate::worker_build::{self, BuildError};
use crate::worker_process::{HoldAt, Launch};

/// What the example's settings are set to here: a minute is too short for an age of minutes.
pub const QUICK: [(&str, &str); 5] = [
    ("AGE_MAX", "4s"),
    ("IDLE_MAX", "2s"),
    ("SESSION_TIMEOUT", "6s"),
    ("HEALTH_LISTEN", "127.0.0.1:0"),
    ("LANDFALL_RELEASE", "local"),
];

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("{0}")]
    Refused(String),
    #[error("make the run's directory `{path}`")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("use `{0}` for this run: it is not empty; name a new directory, or leave --out away")]
    NotEmpty(PathBuf),
    #[error("open the output as a store")]
    Store(#[from] FileError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// A run's surroundings.
#[derive(Debug)]
pub struct Stage {
    pub broker: Broker,
    pub generator: Generator,
    /// `None` = until told to end.
    pub events: Option<u64>,
    pub store: Arc<dyn Store>,
    /// The store's directory: `data/` and `_landfall/`.
    pub lake: PathBuf,
    pub lake_url: String,
    pub logs: PathBuf,
    worker: PathBuf,
    pipeline: PathBuf,
}

impl Stage {
    /// `now_ms` is the clock: it names the run, and the events' time starts when all stands.
    pub async fn set(cli: &Cli, narrator: &Narrator, now_ms: impl Fn() -> i64) -> Result<Stage, StageError> {
        let generator = |started_ms| Generator {
            seed: cli.seed,
            started_ms,
            rate: cli.rate,
            partitions: i32::from(cli.partitions),
        };
        cli.check_fit(generator(now_ms()).mean_log_bytes()).map_err(StageError::Refused)?;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        let run = run_name(now_ms());
        let home = cli.out.clone().unwrap_or_else(|| workspace.join("local-run").join(&run));
        let home = directory(&home)?;
        narrator.say("building the worker, unless it is up to date");
        let worker = worker_build::worker(workspace).await?;
        let (lake, logs) = (home.join("lake"), home.join("logs"));
        let make = |path: &Path| {
            std::fs::create_dir(path)
                .map_err(|source| StageError::Directory { path: path.to_owned(), source })
        };
        make(&logs)?;
        let store = FileStore::create(&lake)?;
        let broker = match &cli.kafka {
            Some(bootstrap) => Broker::given(bootstrap, cli.partitions, &run).await?,
            None => Broker::embedded(cli.partitions)?,
        };
        Ok(Stage {
            broker,
            generator: generator(now_ms()),
            events: cli.events(),
            lake_url: store.url(),
            store: Arc::new(store),
            lake,
            logs,
            worker,
            pipeline: workspace.join("pipeline"),
        })
    }

    /// How to start worker `number`.
    pub fn launch(&self, number: u32, hold_at: Option<HoldAt>) -> Launch {
        Launch {
            program: self.worker.clone(),
            pipeline: self.pipeline.clone(),
            environment: self.environment(),
            log: self.logs.join(format!("worker-{number}.jsonl")),
            number,
            hold_at,
        }
    }

    /// `worker verify` over this run's store.
    pub fn verify(&self) -> Command {
        let mut command = Command::new(&self.worker);
        command.args(["verify", "--store", &self.lake_url, "--pipeline"]).arg(&self.pipeline);
        command.envs(self.environment()).process_group(0).kill_on_drop(true).stdin(Stdio::null());
        command
    }

    fn environment(&self) -> Vec<(String, String)> {
        let own = [
            ("KAFKA_BOOTSTRAP", self.broker.bootstrap.as_str()),
            ("S3_OUTPUT_PATH", &self.lake_url),
            ("KAFKA_TOPIC", &self.broker.topic),
            ("KAFKA_GROUP", &self.broker.group),
        ];
        own.iter().chain(&QUICK).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}

/// `20261122-105508-123`: sorts by time, and is a legal part of a topic's name.
fn run_name(now_ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(now_ms).unwrap_or_default().format("%Y%m%d-%H%M%S-%3f").to_string()
}

/// Makes a directory that is new, or takes one that is empty; the answer is absolute.
fn directory(path: &Path) -> Result<PathBuf, StageError> {
    let failed = |source| StageError::Directory { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    if std::fs::read_dir(path).map_err(failed)?.next().is_some() {
        return Err(StageError::NotEmpty(path.to_owned()));
    }
    path.canonicalize().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_start() {
        assert_eq!(run_name(1_795_343_524_123), "20261122-103204-123");
    }

    #[test]
    fn a_directory_with_something_in_it_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let fresh = home.path().join("a/b");
        assert_eq!(directory(&fresh).unwrap(), fresh.canonicalize().unwrap());
        assert!(directory(&fresh).is_ok(), "empty, so it may be used");
        assert!(matches!(directory(home.path()), Err(StageError::NotEmpty(_))));
    }
}
