//! Tasks: runs what the model of ECS starts, as processes of this machine, and tells it what becomes of them.
//!
//! Order: pulled, running, checked, exited; a task's exit is reported once, after its log is read to the end. Processes
//! start on the thread that runs [`Tasks::run`]: see tether.
//! Neighbours: `cloud` commands and is told; `worker_process` is one process; story looks on, and lends a hand: it has
//! a worker stand still at a point, and kills it there.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cloud::Cloud;
use crate::ecs::{DefinitionId, HealthCheck, StartFailure, TaskCommand, TaskId, TaskReport};
use crate::worker_process::{Launch, Signal, WorkerLog, WorkerProcess, exit_code, signal};

/// Where a worker stands still to be killed. The names are those of its hidden flag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HoldAt {
    UploadOpen,
    EntryLogged,
}

impl HoldAt {
    pub fn name(self) -> &'static str {
        match self {
            HoldAt::UploadOpen => "upload-open",
            HoldAt::EntryLogged => "entry-logged",
        }
    }
}

/// A task that was started.
#[derive(Clone, Debug)]
pub struct Started {
    pub task: TaskId,
    /// Its place in this run, from 1.
    pub number: u32,
    pub pid: i32,
    /// `family:revision`.
    pub revision: String,
    /// Of its image.
    pub digest: String,
    pub hold_at: Option<HoldAt>,
    pub log: WorkerLog,
    /// Once it has ended.
    pub exit: Option<i32>,
}

/// What a task definition asks of whoever runs it.
#[derive(Debug)]
struct Spec {
    revision: String,
    image: String,
    /// Entry point and command.
    words: Vec<String>,
    environment: Vec<(String, String)>,
    health: Option<HealthCheck>,
    interval: Duration,
}

/// What of a task the command words are told with.
#[derive(Clone, Debug)]
struct Place {
    root: PathBuf,
    environment: Vec<(String, String)>,
}

/// Runs tasks.
#[derive(Debug)]
pub struct Tasks {
    cloud: Arc<Cloud>,
    /// Of the cloud.
    url: String,
    logs: PathBuf,
    /// What a machine and not a task definition gives to a process: credentials, and settings for a short run.
    surroundings: Vec<(String, String)>,
    holds: Mutex<VecDeque<HoldAt>>,
    started: watch::Sender<Vec<Started>>,
}

impl Tasks {
    pub fn new(
        cloud: Arc<Cloud>,
        url: String,
        logs: PathBuf,
        surroundings: Vec<(String, String)>,
    ) -> Arc<Tasks> {
        let started = watch::Sender::default();
        Arc::new(Tasks { cloud, url, logs, surroundings, holds: Mutex::default(), started })
    }

    /// The next tasks that start are to stand still there, one each.
    pub fn hold(&self, at: impl IntoIterator<Item = HoldAt>) {
        self.holds().extend(at);
    }

    /// All tasks of this run, in the order of their starts.
    pub fn started(&self) -> watch::Receiver<Vec<Started>> {
        self.started.subscribe()
    }

    /// Obeys, for as long as it is polled.
    pub async fn run(
        self: Arc<Tasks>,
        mut commands: UnboundedReceiver<TaskCommand>,
    ) -> std::convert::Infallible {
        // Dropped with this, and with them their processes.
        let mut attended = JoinSet::new();
        // The cloud that commands is ours: its end is ours.
        while let Some(command) = commands.recv().await {
            match command {
                TaskCommand::Start { task, definition, .. } => {
                    if let Err(reason) = self.start(task, definition, &mut attended).await {
                        let failed = TaskReport::FailedToStart {
                            what: StartFailure::Resources,
                            reason: reason.into(),
                        };
                        self.tell(task, failed);
                    }
                }
                TaskCommand::Stop { task, .. } => self.signal(task, Signal::TERM),
                TaskCommand::Kill { task } => self.signal(task, Signal::KILL),
            }
        }
        std::future::pending().await
    }

    /// SIGKILL, from outside: as a machine that dies does it.
    pub fn kill(&self, task: TaskId) {
        self.signal(task, Signal::KILL);
    }

    async fn start(
        self: &Arc<Tasks>,
        task: TaskId,
        definition: DefinitionId,
        attended: &mut JoinSet<()>,
    ) -> Result<(), String> {
        let spec = self.spec(definition)?;
        let (root, digest) = self
            .cloud
            .look(|world| world.ecr.pull(&spec.image).map(|image| (image.root.clone(), image.digest.clone())))
            .ok_or_else(|| format!("CannotPullContainerError: {}: not found", spec.image))?;
        self.tell(task, TaskReport::Pulled { digest: Some(digest.as_str().into()) });
        let hold_at = self.holds().pop_front();
        let mut words = spec.words.iter();
        let program = words.next().ok_or("CannotStartContainerError: no command specified")?;
        let mut arguments: Vec<String> = words.cloned().collect();
        if let Some(at) = hold_at {
            arguments.extend(["--hold-at".to_owned(), at.name().to_owned()]);
        }
        let port = free_port().map_err(|error| format!("ResourceInitializationError: {error}"))?;
        let mut environment = self.surroundings.clone();
        environment.extend(spec.environment);
        environment.push(("ECS_CONTAINER_METADATA_URI_V4".into(), format!("{}/v4/{task}", self.url)));
        // Tasks have networks of their own on ECS; here they share one.
        environment.push(("HEALTH_LISTEN".into(), format!("127.0.0.1:{port}")));
        let place = Place { root, environment };
        let number = u32::try_from(self.started.borrow().len()).unwrap_or(u32::MAX - 1) + 1;
        let launch = Launch {
            program: within(&place.root, program),
            arguments,
            directory: place.root.clone(),
            environment: place.environment.clone(),
            log: self.logs.join(format!("task-{number}.jsonl")),
            number,
        };
        let process = WorkerProcess::start(launch)
            .await
            .map_err(|error| format!("CannotStartContainerError: {}", chain(&error)))?;
        let started = Started {
            task,
            number,
            pid: process.pid,
            revision: spec.revision,
            digest,
            hold_at,
            log: process.log.clone(),
            exit: None,
        };
        self.started.send_modify(|all| all.push(started));
        self.tell(task, TaskReport::Running);
        attended.spawn(self.clone().attend(task, process, place, spec.health, spec.interval));
        Ok(())
    }

    fn spec(&self, definition: DefinitionId) -> Result<Spec, String> {
        self.cloud.look(|world| {
            let hurry = world.ecs.config().checks_hurry.max(1);
            let of = world.ecs.definition(definition);
            let container = &of.body["containerDefinitions"][0];
            let words = |key: &str| -> Vec<String> {
                let words = container[key].as_array().into_iter().flatten();
                words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
            };
            let environment = container["environment"].as_array().into_iter().flatten();
            let pair = |it: &Value| Some((it["name"].as_str()?.to_owned(), it["value"].as_str()?.to_owned()));
            let interval = of.health.as_ref().map_or(1_000, |check| check.interval_ms / hurry);
            Ok(Spec {
                revision: format!("{}:{}", of.family, of.revision),
                image: of.containers.first().ok_or("no container")?.image.to_string(),
                words: [words("entryPoint"), words("command")].concat(),
                environment: environment.filter_map(pair).collect(),
                health: of.health.clone(),
                interval: Duration::from_millis(interval),
            })
        })
    }

    /// Until its process has ended.
    async fn attend(
        self: Arc<Tasks>,
        task: TaskId,
        mut process: WorkerProcess,
        place: Place,
        health: Option<HealthCheck>,
        interval: Duration,
    ) {
        let checks = async {
            let Some(check) = &health else {
                return std::future::pending::<std::convert::Infallible>().await;
            };
            loop {
                sleep(interval).await;
                let passed = place.passes(check).await;
                self.tell(task, TaskReport::Checked { passed });
            }
        };
        let (code, reason) = tokio::select! {
            ended = process.ended() => match ended {
                Ok(status) => (exit_code(status), None),
                Err(error) => (255, Some(chain(&error).into())),
            },
            never = checks => match never {},
        };
        self.started.send_modify(|all| {
            if let Some(started) = all.iter_mut().find(|it| it.task == task) {
                started.exit = Some(code);
            }
        });
        self.tell(task, TaskReport::Exited { code, reason });
    }

    /// What the model does not want to know any more, because the task has stopped, is no news.
    fn tell(&self, task: TaskId, report: TaskReport) {
        let _ = self.cloud.report(task, report);
    }

    /// A task that is gone needs no signal.
    fn signal(&self, task: TaskId, which: Signal) {
        let alive =
            self.started.borrow().iter().find(|it| it.task == task && it.exit.is_none()).map(|it| it.pid);
        if let Some(pid) = alive {
            let _ = signal(pid, which);
        }
    }

    fn holds(&self) -> MutexGuard<'_, VecDeque<HoldAt>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Runs the health check's command once: it passes with exit code 0, in time.
    async fn passes(&self, check: &HealthCheck) -> bool {
        let mut words = check.command.iter().map(String::as_str);
        let mut command = match words.next() {
            Some("CMD-SHELL") => {
                let mut shell = Command::new("/bin/sh");
                shell.arg("-c");
                shell
            }
            Some("CMD") => Command::new(within(&self.root, words.next().unwrap_or_default())),
            Some(_) | None => return false,
        };
        command.args(words).current_dir(&self.root).env_clear().envs(self.environment.clone());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        match timeout(Duration::from_millis(check.timeout_ms), command.status()).await {
            Ok(Ok(status)) => status.success(),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

/// A program's path in an image: the image's directory is the container's root.
fn within(root: &Path, program: &str) -> PathBuf {
    root.join(program.trim_start_matches('/'))
}

/// Nobody listens on it now; a stranger may take it before the worker does, and then the worker says so.
fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(&format!(": {error}"));
        cause = error.source();
    }
    said
}

/// By place of their start, the digests of the tasks that have not ended.
pub fn alive(started: &[Started]) -> BTreeMap<u32, String> {
    let alive = started.iter().filter(|it| it.exit.is_none());
    alive.map(|it| (it.number, it.digest.clone())).collect()
}
