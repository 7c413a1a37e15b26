//! Stage: everything that must stand before the story begins.
//!
//! Order: what can be refused without starting anything is refused first; then the binaries are built, the
//! directories are made, broker and cloud start.
//! Neighbours: main sets it up, story plays on it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use deployer::render::{SERVICE_FILE, TASK_DEFINITION_FILE};
use deployer::settings::POLICY_FILE;
use ledger::store::Store;
use ledger::store::file::{FileError, FileStore};
use tokio::process::Command;

use crate::broker::{Broker, BrokerError};
use crate::cli::Cli;
use crate::cloud::{Cloud, Outlets, serve};
use crate::ecs::Config;
use crate::ecs::config::SECOND;
use crate::generator::Generator;
use crate::lambda_process::{self, Bootstrap, credentials};
use crate::narrate::Narrator;
use crate::tasks::Tasks;
use crate::worker_build::{self, BuildError};

/// What the example's settings are set to here: two minutes are too short for an age of minutes.
pub const QUICK: [(&str, &str); 3] = [("AGE_MAX", "4s"), ("IDLE_MAX", "2s"), ("SESSION_TIMEOUT", "6s")];

pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "eu-central-1";
pub const CLUSTER: &str = "landfall-local";
/// The service, the family of its task definitions, and the pipeline.
pub const SERVICE: &str = "shop-events";
pub const REPOSITORY: &str = "landfall/shop-events";
const FUNCTION: &str = "landfall-deployer";
const DAMAGE_ALARM: &str = "shop-events-damage";
const NO_PROGRESS_ALARM: &str = "shop-events-no-progress";
/// Of one invocation.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Start periods of five minutes last 25 s, intervals of ten seconds less than one.
const CHECKS_HURRY: u64 = 12;
/// A bake of five minutes lasts 5 s.
const BAKE_HURRY: u64 = 60;
/// The deployer's own bake is shorter than the ten minutes of an empty policy; everything else is as if it were empty.
const POLICY: &str = "[proof]\nbake = \"5s\"\n";

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("{0}")]
    Refused(String),
    #[error("make or remove the run's directory `{path}`")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("use `{0}` for this run: it is not empty; name a new directory, or leave --out away")]
    NotEmpty(PathBuf),
    #[error("copy `{path}` for this run")]
    Copy {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("listen on loopback")]
    Listen(#[source] io::Error),
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
    pub cloud: Arc<Cloud>,
    pub tasks: Arc<Tasks>,
    pub bootstrap: Bootstrap,
    /// Where images are made.
    pub images: PathBuf,
    pub worker: PathBuf,
    /// The repository's example.
    pub pipeline: PathBuf,
}

impl Stage {
    /// `now_ms` is the clock: it names the run, and the events' time starts when all stands.
    pub async fn set(
        cli: &Cli,
        narrator: &Narrator,
        now_ms: impl Fn() -> i64,
    ) -> Result<(Stage, Outlets), StageError> {
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
        narrator.say("building worker and deployer, unless they are up to date");
        let binaries = worker_build::binaries(workspace).await?;
        let (lake, logs, images) = (home.join("lake"), home.join("logs"), home.join("images"));
        let make = |path: &Path| {
            std::fs::create_dir(path)
                .map_err(|source| StageError::Directory { path: path.to_owned(), source })
        };
        make(&logs)?;
        make(&images)?;
        let taskdefs = home.join("taskdefs");
        make(&taskdefs)?;
        copy_taskdefs(&workspace.join("taskdefs"), &taskdefs)?;
        let store = FileStore::create(&lake)?;
        let broker = match &cli.kafka {
            Some(bootstrap) => Broker::given(bootstrap, cli.partitions, &run).await?,
            None => Broker::embedded(cli.partitions)?,
        };
        let (cloud, outlets) = cloud_of_its_own();
        let url = format!("http://{}", serve(cloud.clone()).await.map_err(StageError::Listen)?);
        let lake_url = store.url();
        let surroundings = job_environment(&broker).into_iter().chain(credentials(&url)).collect();
        let tasks = Tasks::new(cloud.clone(), url.clone(), logs.clone(), surroundings);
        let bootstrap = Bootstrap {
            program: binaries.deployer,
            environment: function_environment(&url, &lake_url, &broker.bootstrap, &taskdefs),
            log: logs.join("deployer.jsonl"),
        };
        let stage = Stage {
            broker,
            generator: generator(now_ms()),
            events: cli.events(),
            lake_url,
            store: Arc::new(store),
            lake,
            logs,
            cloud,
            tasks,
            bootstrap,
            images,
            worker: binaries.worker,
            pipeline: workspace.join("pipeline"),
        };
        Ok((stage, outlets))
    }

    /// `worker verify` over this run's store.
    pub fn verify(&self) -> Command {
        let mut command = Command::new(&self.worker);
        command.args(["verify", "--store", &self.lake_url, "--pipeline"]).arg(&self.pipeline);
        command.envs(self.environment()).process_group(0).kill_on_drop(true).stdin(Stdio::null());
        command
    }

    /// The images are links to a large file that is soon built anew; after a good run nobody needs them.
    pub fn clean_up(&self) -> Result<(), StageError> {
        let path = self.images.clone();
        std::fs::remove_dir_all(&path).map_err(|source| StageError::Directory { path, source })
    }

    fn environment(&self) -> Vec<(String, String)> {
        let deployment = [("KAFKA_BOOTSTRAP", &self.broker.bootstrap), ("S3_OUTPUT_PATH", &self.lake_url)];
        let deployment = deployment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        deployment.into_iter().chain(job_environment(&self.broker)).collect()
    }
}

/// What the example's pipeline.toml takes from the environment and a deployment does not set.
fn job_environment(broker: &Broker) -> Vec<(String, String)> {
    let own = [("KAFKA_TOPIC", broker.topic.as_str()), ("KAFKA_GROUP", &broker.group)];
    own.iter().chain(&QUICK).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What the stack would have made: a cluster, a repository, two alarms.
fn cloud_of_its_own() -> (Arc<Cloud>, Outlets) {
    let config = Config {
        region: REGION.into(),
        account: ACCOUNT.into(),
        cluster: CLUSTER.into(),
        steady_ms: SECOND,
        restart_delay_ms: SECOND,
        backoff_first_ms: SECOND,
        checks_hurry: CHECKS_HURRY,
        bake_hurry: BAKE_HURRY,
        ..Config::default()
    };
    let (cloud, outlets) = Cloud::new(config, FUNCTION, FUNCTION_TIMEOUT);
    cloud.act(|world, now| {
        world.ecr.create(REPOSITORY);
        world.watch.add_alarm(DAMAGE_ALARM, "Landfall", "Damage", 1.0, now);
        world.watch.add_alarm(NO_PROGRESS_ALARM, "Landfall", "SecondsWithoutProgress", 600.0, now);
    });
    (cloud, outlets)
}

/// The Lambda's, as the stack sets it.
fn function_environment(
    url: &str,
    lake_url: &str,
    bootstrap: &str,
    taskdefs: &Path,
) -> Vec<(String, String)> {
    let role = |name: &str| format!("arn:aws:iam::{ACCOUNT}:role/{name}");
    let own = [
        ("ACCOUNT", ACCOUNT.to_owned()),
        ("PIPELINE", SERVICE.to_owned()),
        ("CLUSTER", CLUSTER.to_owned()),
        ("SERVICE", SERVICE.to_owned()),
        ("REPOSITORY", REPOSITORY.to_owned()),
        ("S3_OUTPUT_PATH", lake_url.to_owned()),
        ("SNS_TOPIC_ARN", format!("arn:aws:sns:{REGION}:{ACCOUNT}:{SERVICE}")),
        ("LANDFALL_TASKDEFS", taskdefs.display().to_string()),
        ("FILL_KAFKA_BOOTSTRAP", bootstrap.to_owned()),
        ("FILL_TASK_ROLE_ARN", role("shop-events-task")),
        ("FILL_EXECUTION_ROLE_ARN", role("shop-events-execution")),
        ("FILL_LOG_GROUP", format!("/landfall/{SERVICE}")),
        ("FILL_SUBNETS", "subnet-0a1b2c3d4e5f60718".to_owned()),
        ("FILL_SECURITY_GROUPS", "sg-0a1b2c3d4e5f60718".to_owned()),
        ("FILL_DAMAGE_ALARM", DAMAGE_ALARM.to_owned()),
        ("FILL_NO_PROGRESS_ALARM", NO_PROGRESS_ALARM.to_owned()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    lambda_process::surroundings(FUNCTION, 256, url, REGION).into_iter().chain(own).collect()
}

/// The repository's own templates, with this run's policy.
fn copy_taskdefs(from: &Path, to: &Path) -> Result<(), StageError> {
    for name in [SERVICE_FILE, TASK_DEFINITION_FILE] {
        let path = from.join(name);
        std::fs::copy(&path, to.join(name)).map_err(|source| StageError::Copy { path, source })?;
    }
    let path = to.join(POLICY_FILE);
    std::fs::write(&path, POLICY).map_err(|source| StageError::Copy { path, source })
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
