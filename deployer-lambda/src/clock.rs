//! Clock: the only place that reads time.
//!
//! Everything else takes a [`Moment`] as an argument.
//! Neighbours: release (moments). The simulation keeps its own [`Clock`].

#![expect(clippy::disallowed_methods, reason = "this is the file that reads time")]

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

use crate::release::Moment;

/// What time it is.
pub trait Clock: fmt::Debug + Send + Sync {
    /// UTC; may jump.
    fn now(&self) -> Moment;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is moved. For tests.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
}

impl ManualClock {
    pub fn at(now: Moment) -> ManualClock {
        ManualClock { now: AtomicI64::new(now.0) }
    }

    pub fn advance_ms(&self, by: i64) {
        self.now.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::SeqCst))
    }
}

/// `2026-11-22T07:00:00Z`; the epoch for what is no date.
pub fn rfc3339(moment: Moment) -> String {
    DateTime::from_timestamp_millis(moment.0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A moment as RFC 3339 writes it, whatever its offset.
pub fn moment_of(rfc3339: &str) -> Option<Moment> {
    DateTime::parse_from_rfc3339(rfc3339.trim()).ok().map(|at| Moment(at.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_to_the_second_and_read_with_any_offset() {
        assert_eq!(rfc3339(Moment(1_795_330_800_007)), "2026-11-22T07:00:00Z");
        assert_eq!(rfc3339(Moment(i64::MAX)), "1970-01-01T00:00:00Z");
        assert_eq!(moment_of("2026-11-22T08:00:00+01:00"), Some(Moment(1_795_330_800_000)));
        assert_eq!(moment_of("tomorrow"), None);
    }

    #[test]
    fn a_manual_clock_moves_only_when_it_is_told() {
        let clock = ManualClock::at(Moment(1_000));
        assert_eq!(clock.now(), clock.now());
        clock.advance_ms(2_000);
        assert_eq!(clock.now(), Moment(3_000));
        assert!(SystemClock.now() > Moment(1_700_000_000_000));
    }
}
