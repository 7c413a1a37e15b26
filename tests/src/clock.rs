//! Clock: the harness waits for other processes, so it reads real time, here alone.
#![expect(clippy::disallowed_methods, reason = "the one place of the harness that reads time")]

use std::thread;
use std::time::{Duration, Instant};

/// A point in time after which waiting is over.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(wait: Duration) -> Deadline {
        Deadline(Instant::now() + wait)
    }

    /// Time left; `None` when it is over.
    pub fn left(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// Polls until `found` answers; `None` when it did not within `wait`.
pub fn until<T>(wait: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Deadline::after(wait);
    loop {
        if let Some(answer) = found() {
            return Some(answer);
        }
        deadline.left()?;
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a piece of work took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let answer = work();
    (answer, begun.elapsed())
}
