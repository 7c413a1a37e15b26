//! Clock: the only place in this crate that reads time.
//!
//! Neighbours: whoever acts at an edge; what decides gets the time as an argument.

#![expect(clippy::disallowed_methods, reason = "this is the crate's clock")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Since when something runs.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Milliseconds since 1970, UTC.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
