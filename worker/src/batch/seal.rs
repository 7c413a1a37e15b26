//! Seal: when everything that is open becomes one entry. Pure.

use std::time::Duration;

/// When to flush, from the settings and the memory budget.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub file_bytes_max: u64,
    pub age_max: Duration,
    pub idle_max: Duration,
    /// Bytes that open files may hold together.
    pub memory_bytes_max: u64,
}

/// What is open. Times are monotonic milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open {
    /// When the first offset moved; none = nothing is open.
    pub since_ms: Option<u64>,
    pub last_record_ms: u64,
    /// The largest file, encoded.
    pub largest_file_bytes: u64,
    pub memory_bytes: u64,
}

/// Why everything open is sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SealReason {
    Size,
    Age,
    Idle,
    Memory,
    Revoked,
    Shutdown,
}

impl SealReason {
    pub fn name(self) -> &'static str {
        match self {
            SealReason::Size => "size",
            SealReason::Age => "age",
            SealReason::Idle => "idle",
            SealReason::Memory => "memory",
            SealReason::Revoked => "revoked",
            SealReason::Shutdown => "shutdown",
        }
    }
}

/// Whether to seal now, and why.
pub fn seal_reason(open: &Open, limits: &Limits, now_ms: u64) -> Option<SealReason> {
    let since_ms = open.since_ms?;
    let waited =
        |from_ms: u64, limit: Duration| u128::from(now_ms.saturating_sub(from_ms)) >= limit.as_millis();
    if open.largest_file_bytes >= limits.file_bytes_max {
        Some(SealReason::Size)
    } else if open.memory_bytes >= limits.memory_bytes_max {
        Some(SealReason::Memory)
    } else if waited(since_ms, limits.age_max) {
        Some(SealReason::Age)
    } else if waited(open.last_record_ms.max(since_ms), limits.idle_max) {
        Some(SealReason::Idle)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        file_bytes_max: 100,
        age_max: Duration::from_secs(60),
        idle_max: Duration::from_secs(10),
        memory_bytes_max: 1000,
    };

    #[test]
    fn nothing_open_is_never_sealed() {
        let open = Open { largest_file_bytes: 500, memory_bytes: 5000, ..Open::default() };
        assert_eq!(seal_reason(&open, &LIMITS, u64::MAX), None);
    }

    #[test]
    fn offsets_without_rows_are_sealed_by_age_and_idleness_too() {
        let open = Open { since_ms: Some(0), last_record_ms: 0, ..Open::default() };
        assert_eq!(seal_reason(&open, &LIMITS, 9_999), None);
        assert_eq!(seal_reason(&open, &LIMITS, 10_000), Some(SealReason::Idle));
        let busy = Open { last_record_ms: 59_999, ..open };
        assert_eq!(seal_reason(&busy, &LIMITS, 59_999), None);
        assert_eq!(seal_reason(&busy, &LIMITS, 60_000), Some(SealReason::Age));
    }

    #[test]
    fn one_file_at_its_size_seals_all() {
        let open = Open { since_ms: Some(0), largest_file_bytes: 100, ..Open::default() };
        assert_eq!(seal_reason(&open, &LIMITS, 1), Some(SealReason::Size));
    }
}
