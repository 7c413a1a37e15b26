//! Clock: the only place here that reads time.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time since it was made: on the wall, and of this thread on a core.
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "measuring time is this program's job")]
    pub fn start() -> Self {
        Stopwatch { wall: Instant::now(), cpu: cpu_time() }
    }

    pub fn wall(&self) -> Duration {
        self.wall.elapsed()
    }

    /// What the thread ran; other programs' share of the machine does not count. Equals the wall's where Linux does
    /// not tell.
    pub fn cpu(&self) -> Duration {
        match cpu_time().saturating_sub(self.cpu) {
            Duration::ZERO => self.wall(),
            ran => ran,
        }
    }
}

/// Milliseconds since 1970, UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "the stand-in for AWS tells times that the deployer compares with its own"
)]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Source: Linux, Documentation/scheduler/sched-stats.rst, `/proc/<pid>/schedstat`.
fn cpu_time() -> Duration {
    let nanos = |text: String| text.split(' ').next().and_then(|first| first.parse().ok());
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok().and_then(nanos);
    Duration::from_nanos(told.unwrap_or(0))
}

/// Bytes of this process that are in memory; 0 where Linux does not tell.
pub fn resident_bytes() -> u64 {
    let pages = |text: String| text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    fs::read_to_string("/proc/self/statm").ok().and_then(pages).unwrap_or(0) * 4096
}

/// `2 cores of AMD EPYC`.
pub fn machine() -> String {
    let model = |text: String| {
        let line = text.lines().find(|line| line.starts_with("model name"))?.to_owned();
        Some(line.split(": ").nth(1)?.to_owned())
    };
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores of {}", model.unwrap_or_else(|| "an unknown CPU".to_owned()))
}
