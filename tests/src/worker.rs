//! Worker: the real binary as a child process, its JSON log as it comes, and signals by its pid.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::clock::{self, Deadline};
use crate::signals::{self, Signal};

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct Start {
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// Where its own words go when the test fails.
    pub name: String,
}

/// One line of the worker's log.
#[derive(Clone, Debug)]
pub struct Line(pub Value);

impl Line {
    pub fn message(&self) -> &str {
        self.field("message").and_then(Value::as_str).unwrap_or("")
    }

    /// Fields stand beside the message or under `fields`, as the formatter likes.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.0.get("fields").and_then(|fields| fields.get(name)).or_else(|| self.0.get(name))
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.field(name).and_then(Value::as_i64)
    }

    pub fn text(&self, name: &str) -> &str {
        self.field(name).and_then(Value::as_str).unwrap_or("")
    }
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<Line>, bool)>,
    grew: Condvar,
}

/// A worker that runs, or has run.
pub struct Worker {
    name: String,
    child: Child,
    log: Arc<Log>,
    stdout: Option<thread::JoinHandle<String>>,
}

/// The worker as cargo built it: beside this test's own binary.
pub fn binary() -> PathBuf {
    if let Some(given) = env::var_os("LANDFALL_TEST_WORKER") {
        return given.into();
    }
    beside("worker")
}

/// A program of the workspace as cargo built it.
pub fn beside(program: &str) -> PathBuf {
    let own = env::current_exe().expect("the path of this test");
    let path = own.parent().and_then(Path::parent).expect("target/debug/deps").join(program);
    assert!(path.exists(), "{} is not there: cargo build --workspace --bins", path.display());
    path
}

impl Worker {
    pub fn start(start: Start) -> Worker {
        let mut command = Command::new(binary());
        command
            .args(&start.arguments)
            .envs(&start.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        signals::die_with_us(&mut command);
        let mut child = command.spawn().expect("start the worker");
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("piped");
        let reader = Arc::clone(&log);
        thread::spawn(move || follow(stderr, &reader));
        let mut stdout = child.stdout.take().expect("piped");
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            // What is not UTF-8 shows as a failed expectation of the test, not here.
            let _ = stdout.read_to_string(&mut text);
            text
        });
        Worker { name: start.name, child, log, stdout: Some(stdout) }
    }

    /// What the system knows it by, until it was waited for.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; the worker must not have been waited for.
    pub fn signal(&self, signal: Signal) {
        signals::send(self.child.id(), signal).expect("signal the worker");
    }

    /// Everything logged so far.
    pub fn lines(&self) -> Vec<Line> {
        self.log.lines.lock().expect("the reader does not panic").0.clone()
    }

    /// Lines with this message so far.
    pub fn said(&self, message: &str) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.message() == message).collect()
    }

    /// Waits for a line that `wanted` accepts, past ones included.
    ///
    /// # Panics
    /// When it does not come within `wait`, or the worker ends before.
    pub fn wait_for(&self, what: &str, wait: Duration, wanted: impl Fn(&Line) -> bool) -> Line {
        match self.look_for(wait, wanted) {
            Some(line) => line,
            None => panic!("worker {}: no `{what}` within {wait:?}", self.name),
        }
    }

    /// As [`Worker::wait_for`], for the first line with this message.
    pub fn wait_for_message(&self, message: &str, wait: Duration) -> Line {
        self.wait_for(message, wait, |line| line.message() == message)
    }

    fn look_for(&self, wait: Duration, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
        let deadline = Deadline::after(wait);
        let mut seen = 0;
        let mut lines = self.log.lines.lock().expect("the reader does not panic");
        loop {
            if let Some(found) = lines.0[seen..].iter().find(|line| wanted(line)) {
                return Some(found.clone());
            }
            seen = lines.0.len();
            if lines.1 {
                return None;
            }
            let left = deadline.left()?;
            (lines, _) = self.log.grew.wait_timeout(lines, left).expect("the reader does not panic");
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("ask for the worker's state").is_none()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not end within `wait`.
    pub fn wait(&mut self, wait: Duration) -> Ended {
        let status = clock::until(wait, || self.child.try_wait().expect("ask for the worker's state"));
        let status = status.unwrap_or_else(|| panic!("worker {} still runs after {wait:?}", self.name));
        let stdout = self.stdout.take().map(|reader| reader.join().expect("the reader does not panic"));
        Ended { code: status.code(), stdout: stdout.unwrap_or_default() }
    }

    /// SIGTERM, and the end.
    pub fn drain(&mut self, wait: Duration) -> Ended {
        self.signal(Signal::Terminate);
        self.wait(wait)
    }

    /// SIGKILL, and the end.
    pub fn kill(&mut self) {
        self.signal(Signal::Kill);
        let ended = self.wait(Duration::from_secs(10));
        assert_eq!(ended.code, None, "worker {} was killed", self.name);
    }

    /// The log's end, as text.
    pub fn tail(&self, lines: usize) -> String {
        let all = self.lines();
        let from = all.len().saturating_sub(lines);
        all[from..].iter().map(|line| format!("  {}\n", line.0)).collect()
    }
}

/// How a worker ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // A stopped process dies of SIGKILL too. Nothing is left to do if this fails.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            println!("worker {} said last:\n{}", self.name, self.tail(60));
        }
    }
}

fn follow(stderr: impl Read, log: &Log) {
    for line in BufReader::new(stderr).split(b'\n') {
        let Ok(line) = line else { break };
        let text = String::from_utf8_lossy(&line);
        // A panic message or a usage error is no JSON; it is kept as it is.
        let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
        log.lines.lock().expect("no reader panics").0.push(Line(value));
        log.grew.notify_all();
    }
    log.lines.lock().expect("no reader panics").1 = true;
    log.grew.notify_all();
}
