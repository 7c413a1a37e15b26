//! Worker process: one life of the real worker, from its start to its end by whatever hand.
//!
//! Order: its log is read to the end before its exit is judged. Whatever becomes of this program, dropping a
//! process kills it, by its own pid.
//! Neighbours: story starts, holds, kills and ends it.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
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

/// Where the worker stands still to be killed. The names are those of its hidden flag.
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
    #[error("signal worker {number}")]
    Signal {
        number: u32,
        #[source]
        source: io::Error,
    },
    #[error("wait for worker {number} to {what}: it ended first ({status}); its log ends with\n{tail}")]
    Ended { number: u32, what: String, status: String, tail: String },
    #[error("wait for worker {number} to {what}: nothing for {seconds} s; its log ends with\n{tail}")]
    Overdue { number: u32, what: String, seconds: u64, tail: String },
    #[error(
        "end worker {number}: it answered SIGTERM with {status}, not with exit code 0; its log ends with\n{tail}"
    )]
    Exit { number: u32, status: ExitStatus, tail: String },
}

/// How to start a worker.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub pipeline: PathBuf,
    pub environment: Vec<(String, String)>,
    /// Where its log goes, as it comes.
    pub log: PathBuf,
    /// The worker's place in this run, from 1.
    pub number: u32,
    pub hold_at: Option<HoldAt>,
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

/// A worker that runs, or did.
#[derive(Debug)]
pub struct WorkerProcess {
    pub number: u32,
    pub pid: i32,
    child: Child,
    log: watch::Receiver<Log>,
}

impl WorkerProcess {
    pub async fn start(launch: Launch) -> Result<WorkerProcess, WorkerError> {
        let number = launch.number;
        let failed = |source| WorkerError::Start { number, program: launch.program.clone(), source };
        let file = File::create(&launch.log).await.map_err(failed)?;
        let mut command = Command::new(&launch.program);
        command.arg("run").arg("--pipeline").arg(&launch.pipeline);
        if let Some(at) = launch.hold_at {
            command.args(["--hold-at", at.name()]);
        }
        // A group of its own: Ctrl-C on the terminal is ours to answer, and the worker ends when we say so.
        command.envs(launch.environment.clone()).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        tether::tie(&mut command);
        let started = Stopwatch::start();
        let mut child = command.spawn().map_err(failed)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        let (sender, log) = watch::channel(Log::default());
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(read_log(stderr, file, sender, started));
        }
        Ok(WorkerProcess { number, pid, child, log })
    }

    /// The first line that passes `wanted`, if it has come.
    pub fn line(&self, wanted: impl Fn(&LogLine) -> bool) -> Option<LogLine> {
        self.log.borrow().lines.iter().find(|line| wanted(line)).cloned()
    }

    /// Waits for a line. `what` says what it means, to complete "wait for worker 1 to …".
    pub async fn wait_for(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&LogLine) -> bool,
    ) -> Result<LogLine, WorkerError> {
        let in_time =
            timeout(within, self.log.wait_for(|log| log.over || log.lines.iter().any(&wanted))).await.is_ok();
        match (in_time, self.line(&wanted)) {
            (_, Some(line)) => Ok(line),
            (true, None) => Err(self.ended(what).await),
            (false, None) => Err(self.overdue(what, within)),
        }
    }

    /// Fails when the process is no longer there. `what` completes "wait for worker 1 to …".
    pub async fn check_alive(&mut self, what: &str) -> Result<(), WorkerError> {
        let number = self.number;
        match self.child.try_wait().map_err(|source| WorkerError::Wait { number, source })? {
            Some(_) => Err(self.ended(what).await),
            None => Ok(()),
        }
    }

    /// SIGKILL, and gone when this returns.
    pub async fn kill(mut self) -> Result<(), WorkerError> {
        let number = self.number;
        self.child.kill().await.map_err(|source| WorkerError::Signal { number, source })
    }

    /// SIGTERM; expects exit code 0 within the bound. Past it the process is killed, and that is an error.
    pub async fn terminate(&mut self, within: Duration) -> Result<(), WorkerError> {
        let number = self.number;
        let signal = |source: io::Error| WorkerError::Signal { number, source };
        let pid = Pid::from_raw(self.pid).ok_or_else(|| signal(io::ErrorKind::NotFound.into()))?;
        self.check_alive("be there for its SIGTERM").await?;
        kill_process(pid, Signal::TERM).map_err(|errno| signal(errno.into()))?;
        match timeout(within, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                self.log_to_its_end().await;
                Err(WorkerError::Exit { number, status, tail: self.tail() })
            }
            Ok(Err(source)) => Err(WorkerError::Wait { number, source }),
            Err(_) => Err(self.overdue("drain and exit", within)),
        }
    }

    async fn ended(&mut self, what: &str) -> WorkerError {
        self.log_to_its_end().await;
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        WorkerError::Ended { number: self.number, what: what.to_owned(), status, tail: self.tail() }
    }

    fn overdue(&self, what: &str, within: Duration) -> WorkerError {
        let (number, tail) = (self.number, self.tail());
        WorkerError::Overdue { number, what: what.to_owned(), seconds: within.as_secs(), tail }
    }

    /// The last lines may still be in the pipe when the process is gone.
    async fn log_to_its_end(&mut self) {
        // A second is plenty; a grandchild that holds the pipe open must not hold us.
        let _ = timeout(Duration::from_secs(1), self.log.wait_for(|log| log.over)).await;
    }

    fn tail(&self) -> String {
        let log = self.log.borrow();
        let lines: Vec<String> = log.tail.iter().map(|line| format!("    {line}")).collect();
        lines.join("\n")
    }
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
            pipeline: "pipeline".into(),
            environment: vec![("GREETING".into(), "hello".into())],
            log: directory.join("log"),
            number: 1,
            hold_at: Some(HoldAt::UploadOpen),
        };
        WorkerProcess::start(launch).await.unwrap()
    }

    const SECONDS: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_held_worker_is_seen_and_killed() {
        let directory = tempfile::tempdir().unwrap();
        let script = r#"echo starting >&2
            echo "{\"fields\":{\"message\":\"holding\",\"at\":\"$5\",\"said\":\"$GREETING\"}}" >&2
            exec sleep 60"#;
        let mut worker = start(directory.path(), script).await;
        let line = worker.wait_for("hold", SECONDS, |line| line.message == "holding").await.unwrap();
        assert_eq!(line.field("at"), "upload-open");
        assert_eq!(line.field("said"), "hello");
        let pid = Pid::from_raw(worker.pid).unwrap();
        worker.kill().await.unwrap();
        assert!(rustix::process::test_kill_process(pid).is_err(), "gone and reaped");
        assert!(std::fs::read_to_string(directory.path().join("log")).unwrap().starts_with("starting\n"));
    }

    #[tokio::test]
    async fn a_worker_that_dies_is_told_with_the_end_of_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut worker = start(directory.path(), "echo no such topic >&2; exit 66").await;
        let error = worker.wait_for("hold", SECONDS, |line| line.message == "holding").await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 66") && text.contains("    no such topic"), "{text}");
    }

    #[tokio::test]
    async fn a_worker_that_says_nothing_is_overdue() {
        let directory = tempfile::tempdir().unwrap();
        let mut worker = start(directory.path(), "exec sleep 60").await;
        let error = worker.wait_for("hold", Duration::from_millis(50), |_| true).await.unwrap_err();
        assert!(matches!(error, WorkerError::Overdue { .. }), "{error}");
    }

    #[tokio::test]
    async fn sigterm_asks_for_exit_code_0() {
        let directory = tempfile::tempdir().unwrap();
        let ready = r#"echo '{"message":"ready"}' >&2; while :; do sleep 0.05; done"#;
        for (code, passes) in [(0, true), (75, false)] {
            let mut worker = start(directory.path(), &format!("trap 'exit {code}' TERM; {ready}")).await;
            worker.wait_for("be ready", SECONDS, |line| line.message == "ready").await.unwrap();
            let ended = worker.terminate(SECONDS).await;
            assert_eq!(ended.is_ok(), passes, "{ended:?}");
        }
    }
}
