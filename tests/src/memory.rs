//! Memory: what a process has resident, as Linux says it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(20);

/// Bytes of one process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Resident {
    /// The most that was ever resident (VmHWM): the kernel's own mark, which no sample misses.
    pub peak: u64,
    /// Resident now (VmRSS), the binary's own pages included.
    pub now: u64,
    /// Of these, what the process allocated (RssAnon).
    pub anonymous: u64,
}

impl Resident {
    /// `None` when there is no such process any more.
    pub fn of(pid: u32) -> Option<Resident> {
        parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }
}

/// A process that has ended but was not waited for has no memory lines.
fn parse(status: &str) -> Option<Resident> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Resident { peak: bytes("VmHWM")?, now: bytes("VmRSS")?, anonymous: bytes("RssAnon")? })
}

/// Looks at a process until it is stopped or the process ends.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Seen>,
}

/// The largest of each figure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub most: Resident,
    pub samples: usize,
}

impl Watch {
    pub fn of(pid: u32) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            while let Some(now) = Resident::of(pid) {
                seen.most.peak = seen.most.peak.max(now.peak);
                seen.most.now = seen.most.now.max(now.now);
                seen.most.anonymous = seen.most.anonymous.max(now.anonymous);
                seen.samples += 1;
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                thread::sleep(EVERY);
            }
            seen
        });
        Watch { stop, thread }
    }

    /// What was seen, a last look included.
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("looking does not panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read_in_bytes() {
        let status = "Name:\tworker\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t     512 kB\n";
        let read = Resident { peak: 2 << 20, now: 1 << 20, anonymous: 512 << 10 };
        assert_eq!(parse(status), Some(read));
        assert_eq!(parse("Name:\tworker\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn memory_that_was_touched_is_seen() {
        let before = Resident::of(std::process::id()).expect("we are there").anonymous;
        let watch = Watch::of(std::process::id());
        let touched = vec![1_u8; 64 << 20];
        std::hint::black_box(&touched);
        let seen = watch.stop();
        assert!(seen.most.anonymous >= before + (60 << 20), "{before} before, then {seen:?}");
        assert!(seen.most.peak >= seen.most.now && seen.samples > 0, "{seen:?}");
    }
}
