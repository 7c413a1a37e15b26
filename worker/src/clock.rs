//! Clock: the only place that reads time.
//!
//! Everything else takes a [`Moment`] or UTC milliseconds as an argument.
//! Neighbours: none.

#![expect(clippy::disallowed_methods, reason = "this is the file that reads time")]

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

/// A point of the monotonic clock: time since the clock was made. Never goes back.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long ago `earlier` was; zero when it was not.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub fn after(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(duration))
    }
}

/// What time it is.
pub trait Clock: fmt::Debug + Send + Sync {
    /// For measuring; starts at zero.
    fn moment(&self) -> Moment;
    /// Milliseconds since 1970, UTC; may jump.
    fn utc_ms(&self) -> i64;

    /// The moment in whole milliseconds.
    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.moment().0.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    pub fn start() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn moment(&self) -> Moment {
        Moment(self.started.elapsed())
    }

    fn utc_ms(&self) -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until it is moved. For tests.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<(Moment, i64)>,
}

impl ManualClock {
    pub fn at_utc_ms(utc_ms: i64) -> ManualClock {
        ManualClock { now: Mutex::new((Moment::default(), utc_ms)) }
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        now.0 = now.0.after(by);
        now.1 += by.as_millis() as i64;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Moment, i64)> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn moment(&self) -> Moment {
        self.lock().0
    }

    fn utc_ms(&self) -> i64 {
        self.lock().1
    }
}

/// `2026-11-22T07:00:00.000Z`, as ledger entries carry it; the epoch for what is no date.
pub fn rfc3339(utc_ms: i64) -> String {
    DateTime::from_timestamp_millis(utc_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_is_written_to_the_millisecond() {
        assert_eq!(rfc3339(1_795_330_800_007), "2026-11-22T07:00:00.007Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_manual_clock_moves_only_when_it_is_told() {
        let clock = ManualClock::at_utc_ms(1_000);
        let before = clock.moment();
        assert_eq!(clock.moment(), before);
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.moment().since(before), Duration::from_secs(2));
        assert_eq!(before.since(clock.moment()), Duration::ZERO);
        assert_eq!(clock.utc_ms(), 3_000);
    }

    #[test]
    fn the_machines_clocks_go_on() {
        let clock = SystemClock::start();
        let before = clock.moment();
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.moment() > before);
        assert!(clock.utc_ms() > 1_700_000_000_000);
    }
}
