//! Worker process: one life of the real worker, from its start to its end by whatever hand.
//!
//! Order: its log is read to the end before its exit is judged. Whatever becomes of this program, dropping a
//! process kills it, by its own pid.
//! Neighbours: tasks starts, kills and ends it; story reads its log.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::Stopwatch;
use crate::tether;

/// Log lines kept for questions; the file has them all.
const LINES_MAX: usize = 1_000;
/// Log lines shown when a worker ends as it should not.
const TAIL_LINES: usize = 15;

/// What went wrong with a worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("start worker {number} (`{program}`)")]
    Start {
        number: u32,
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("wait for worker {number}")]
    Wait {
        number: u32,
        #[source]
        source: io::Error,
    },
    #[error("wait for worker {number} to {what}: it ended first; its log ends with\n{tail}")]
    Ended { number: u32, what: String, tail: String },
    #[error("wait for worker {number} to {what}: nothing for {seconds} s; its log ends with\n{tail}")]
    Overdue { number: u32, what: String, seconds: u64, tail: String },
}

/// How to start a worker.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Its working directory: the root of its image.
    pub directory: PathBuf,
    /// All of it: nothing of ours is inherited.
    pub environment: Vec<(String, String)>,
    /// Where its log goes, as it comes.
    pub log: PathBuf,
    /// The worker's place in this run, from 1.
    pub number: u32,
}

/// A line of the worker's log that is JSON.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Since the process was started.
    pub at: Duration,
    pub message: String,
    fields: Value,
}

impl LogLine {
    pub(crate) fn parse(line: &str, at: Duration) -> Option<LogLine> {
        let mut json: Value = serde_json::from_str(line).ok()?;
        let fields = json.get_mut("fields").map(Value::take).unwrap_or(json);
        Some(LogLine { at, message: fields["message"].as_str()?.to_owned(), fields })
    }

    pub fn field(&self, name: &str) -> &Value {
        &self.fields[name]
    }
}

#[derive(Debug, Default)]
struct Log {
    lines: Vec<LogLine>,
    tail: VecDeque<String>,
    over: bool,
}

/// What a worker logs, for as many as want to read it.
#[derive(Clone, Debug)]
pub struct WorkerLog {
    pub number: u32,
    log: watch::Receiver<Log>,
}

impl WorkerLog {
    /// The first line that passes `wanted`, if it has come.
    pub fn line(&self, wanted: impl Fn(&LogLine) -> bool) -> Option<LogLine> {
        self.log.borrow().lines.iter().find(|line| wanted(line)).cloned()
    }

    /// Waits for a line. `what` says what it means, to complete "wait for worker 1 to …".
    pub async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&LogLine) -> bool,
    ) -> Result<LogLine, WorkerError> {
        let mut log = self.log.clone();
        let in_time =
            timeout(within, log.wait_for(|log| log.over || log.lines.iter().any(&wanted))).await.is_ok();
        let (number, what, tail) = (self.number, what.to_owned(), self.tail());
        match (in_time, self.line(&wanted)) {
            (_, Some(line)) => Ok(line),
            (true, None) => Err(WorkerError::Ended { number, what, tail }),
            (false, None) => Err(WorkerError::Overdue { number, what, seconds: within.as_secs(), tail }),
        }
    }

    /// The last lines may still be in the pipe when the process is gone.
    async fn to_its_end(&self) {
        let mut log = self.log.clone();
        // A second is plenty; a grandchild that holds the pipe open must not hold us.
        let _ = timeout(Duration::from_secs(1), log.wait_for(|log| log.over)).await;
    }

    pub fn tail(&self) -> String {
        let log = self.log.borrow();
        let lines: Vec<String> = log.tail.iter().map(|line| format!("    {line}")).collect();
        lines.join("\n")
    }
}

/// A worker that runs, or did.
#[derive(Debug)]
pub struct WorkerProcess {
    pub pid: i32,
    pub log: WorkerLog,
    child: Child,
}

impl WorkerProcess {
    /// Must be called on the main thread: see tether.
    pub async fn start(launch: Launch) -> Result<WorkerProcess, WorkerError> {
        let number = launch.number;
        let failed = |source| WorkerError::Start { number, program: launch.program.clone(), source };
        let file = File::create(&launch.log).await.map_err(failed)?;
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments).current_dir(&launch.directory);
        // A group of its own: Ctrl-C on the terminal is ours to answer, and the worker ends when we say so.
        command.env_clear().envs(launch.environment.clone()).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        tether::tie(&mut command);
        let started = Stopwatch::start();
        let mut child = command.spawn().map_err(failed)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        let (sender, log) = watch::channel(Log::default());
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(read_log(stderr, file, sender, started));
        }
        Ok(WorkerProcess { pid, child, log: WorkerLog { number, log } })
    }

    /// Waits for its end, and for the end of its log.
    pub async fn ended(&mut self) -> Result<ExitStatus, WorkerError> {
        let number = self.log.number;
        let status = self.child.wait().await.map_err(|source| WorkerError::Wait { number, source })?;
        self.log.to_its_end().await;
        Ok(status)
    }
}

/// As a shell and ECS tell it: the code, or 128 and the signal.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// To a process that has not been waited for.
pub fn signal(pid: i32, signal: Signal) -> io::Result<()> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
    kill_process(pid, signal).map_err(Into::into)
}

async fn read_log(
    stderr: impl AsyncRead + Unpin,
    mut file: File,
    sender: watch::Sender<Log>,
    started: Stopwatch,
) {
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(mut line)) = lines.next_segment().await {
        let at = started.elapsed();
        let text = String::from_utf8_lossy(&line).into_owned();
        line.push(b'\n');
        // A full disk shows in the worker's own store soon enough; the log is only for reading afterwards.
        let _ = file.write_all(&line).await;
        sender.send_modify(|log| {
            if log.lines.len() < LINES_MAX {
                log.lines.extend(LogLine::parse(&text, at));
            }
            log.tail.push_back(text);
            if log.tail.len() > TAIL_LINES {
                log.tail.pop_front();
            }
        });
    }
    let _ = file.flush().await;
    sender.send_modify(|log| log.over = true);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    /// A stand-in for the worker: a shell script that gets the same arguments.
    async fn start(directory: &Path, script: &str) -> WorkerProcess {
        let program = directory.join("worker");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let launch = Launch {
            program,
            arguments: ["run", "--hold-at", "upload-open"].map(str::to_owned).to_vec(),
            directory: directory.to_owned(),
            environment: vec![("GREETING".into(), "hello".into()), ("PATH".into(), "/usr/bin:/bin".into())],
            log: directory.join("log"),
            number: 1,
        };
        WorkerProcess::start(launch).await.unwrap()
    }

    const SECONDS: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_held_worker_is_seen_and_killed() {
        let directory = tempfile::tempdir().unwrap();
        let script = r#"echo starting >&2
            echo "{\"fields\":{\"message\":\"holding\",\"at\":\"$3\",\"said\":\"$GREETING\"}}" >&2
            exec sleep 60"#;
        let mut worker = start(directory.path(), script).await;
        let line = worker.log.wait_for("hold", SECONDS, |line| line.message == "holding").await.unwrap();
        assert_eq!(line.field("at"), "upload-open");
        assert_eq!(line.field("said"), "hello");
        signal(worker.pid, Signal::KILL).unwrap();
        assert_eq!(exit_code(worker.ended().await.unwrap()), 137);
        assert!(signal(worker.pid, Signal::KILL).is_err(), "gone and reaped");
        assert!(std::fs::read_to_string(directory.path().join("log")).unwrap().starts_with("starting\n"));
    }

    #[tokio::test]
    async fn a_worker_that_dies_is_told_with_the_end_of_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut worker = start(directory.path(), "echo no such topic >&2; exit 66").await;
        assert_eq!(exit_code(worker.ended().await.unwrap()), 66);
        let error = worker.log.wait_for("hold", SECONDS, |line| line.message == "holding").await.unwrap_err();
        assert!(error.to_string().contains("    no such topic"), "{error}");
    }

    #[tokio::test]
    async fn a_worker_that_says_nothing_is_overdue() {
        let directory = tempfile::tempdir().unwrap();
        let worker = start(directory.path(), "exec sleep 60").await;
        let error = worker.log.wait_for("hold", Duration::from_millis(50), |_| true).await.unwrap_err();
        assert!(matches!(error, WorkerError::Overdue { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_worker_has_none_of_our_environment() {
        let directory = tempfile::tempdir().unwrap();
        let mut worker = start(directory.path(), "exit ${#CARGO_MANIFEST_DIR}").await;
        assert_eq!(exit_code(worker.ended().await.unwrap()), 0);
    }
}
