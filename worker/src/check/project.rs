//! Project: from what a sample measured to files an hour, memory and S3 requests a day.
//!
//! The formulas follow what the pipeline does in a flush and on its ticks; a test counts the requests of a real one.
//! All figures are for one worker that has all partitions.
//! Neighbours: check. Pure: no I/O, no clock.

use std::time::Duration;

use ledger::store::PART_BYTES_MIN;
use serde::Serialize;

use crate::encode::{EncodeOptions, PAGE_ROWS_MAX};
use crate::pipeline::{HEAD_EVERY, SWEEP_EVERY};

const DAY_SECONDS: f64 = 86_400.0;
/// Under this, readers spend more on opening files than on reading them.
pub const TINY_FILE_BYTES: f64 = 8.0 * 1024.0 * 1024.0;
/// S3 Standard in us-east-1, for 1,000 requests. Source: "Amazon S3 pricing".
const DOLLARS_A_THOUSAND_PUTS: f64 = 0.005;
const DOLLARS_A_THOUSAND_GETS: f64 = 0.0004;

/// What comes, and what becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    pub records_per_second: f64,
    /// Of all records: those that become rows, and those that become dead letters.
    pub written_share: f64,
    pub dead_letter_share: f64,
    /// Encoded bytes of a row, without what every file has.
    pub row_bytes: f64,
    /// Encoded bytes that every file has: footer, page index, dictionaries.
    pub file_bytes: f64,
    /// Directories that the rows of one flush go to.
    pub directories: f64,
    /// Of a flush's rows, those in its fullest directory.
    pub fullest_share: f64,
    /// Memory of an open file, as the budget counts it, and of each row in it that waits for its page to fill.
    pub file_memory_bytes: f64,
    pub row_memory_bytes: f64,
}

/// What the settings and the memory budget say.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub file_bytes_max: u64,
    pub row_group_bytes: u64,
    pub age_max: Duration,
    pub idle_max: Duration,
    /// Bytes that open files may hold.
    pub memory_bytes_max: u64,
}

/// What a flush is mostly due to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    Size,
    Memory,
    Age,
    Idle,
}

/// S3 requests, by what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Requests {
    /// PUT, POST and LIST.
    pub puts: f64,
    /// GET and HEAD.
    pub gets: f64,
}

/// What to expect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Projection {
    pub records_per_second: f64,
    /// None where nothing comes.
    pub cause: Option<Cause>,
    pub flushes_per_hour: f64,
    /// Data files and dead letters together.
    pub files_per_hour: f64,
    pub directories_per_flush: f64,
    /// Of a data file, encoded, on average.
    pub file_bytes: f64,
    pub bytes_per_day: f64,
    /// What open files hold when they are fullest, as the budget counts it.
    pub open_files_bytes: f64,
    pub requests_per_day: Requests,
}

/// What one flush asks of the store, when nothing goes wrong.
///
/// Each file: begin (POST), its parts (PUT), complete (POST), HEAD. Then the entry (PUT).
pub fn requests_of_flush(files: f64, parts: f64) -> Requests {
    Requests { puts: files + parts + files + 1.0, gets: files }
}

/// What a worker asks of the store in `seconds`, whether anything comes or not: the head (LIST and GET), and
/// abandoned uploads (LIST, of data and of dead letters).
pub fn requests_at_rest(seconds: f64) -> Requests {
    let heads = seconds / HEAD_EVERY.as_secs_f64();
    let sweeps = seconds / SWEEP_EVERY.as_secs_f64();
    Requests { puts: heads + 2.0 * sweeps, gets: heads }
}

impl Requests {
    fn plus(self, other: Requests) -> Requests {
        Requests { puts: self.puts + other.puts, gets: self.gets + other.gets }
    }

    fn times(self, factor: f64) -> Requests {
        Requests { puts: self.puts * factor, gets: self.gets * factor }
    }

    /// At [`DOLLARS_A_THOUSAND_PUTS`] and [`DOLLARS_A_THOUSAND_GETS`].
    pub fn dollars(self) -> f64 {
        (self.puts * DOLLARS_A_THOUSAND_PUTS + self.gets * DOLLARS_A_THOUSAND_GETS) / 1000.0
    }
}

/// Parts of a file: all but the last have the least size that S3 takes.
pub fn parts(file_bytes: f64) -> f64 {
    (file_bytes / EncodeOptions::default().part_bytes as f64).ceil().max(1.0)
}

/// Seconds from a flush's first record until it is sealed, and why.
fn fill(load: &Load, rules: &Rules) -> (f64, Cause) {
    let rows_per_second = load.records_per_second * load.written_share;
    let until = |bytes: f64, bytes_per_second: f64| {
        if bytes_per_second > 0.0 { bytes.max(0.0) / bytes_per_second } else { f64::INFINITY }
    };
    let size = until(
        rules.file_bytes_max as f64 - load.file_bytes,
        rows_per_second * load.row_bytes * load.fullest_share,
    );
    // A file that holds a whole part gives it away, so that many small files are what fills memory.
    let directories = load.directories.max(1.0);
    let share = rules.memory_bytes_max as f64 / directories;
    let memory = if share > PART_BYTES_MIN as f64 {
        f64::INFINITY
    } else {
        until(rows_within(load, share), rows_per_second / directories)
    };
    let age = rules.age_max.as_secs_f64();
    if size <= memory && size <= age {
        (size, Cause::Size)
    } else if memory <= age {
        (memory, Cause::Memory)
    } else {
        (age, Cause::Age)
    }
}

/// Projects the load onto the settings.
pub fn project(load: &Load, rules: &Rules) -> Projection {
    let at_rest = requests_at_rest(DAY_SECONDS);
    let nothing = Projection {
        records_per_second: 0.0,
        cause: None,
        flushes_per_hour: 0.0,
        files_per_hour: 0.0,
        directories_per_flush: 0.0,
        file_bytes: 0.0,
        bytes_per_day: 0.0,
        open_files_bytes: 0.0,
        requests_per_day: at_rest,
    };
    if load.records_per_second <= 0.0 {
        return nothing;
    }
    // From one flush to the next record, and so to the next flush's beginning.
    let gap = 1.0 / load.records_per_second;
    let (interval, cause) = if gap >= rules.idle_max.as_secs_f64() {
        (gap, Cause::Idle)
    } else {
        let (seconds, cause) = fill(load, rules);
        (seconds + gap, cause)
    };
    let records = (load.records_per_second * interval).max(1.0);
    let rows = records * load.written_share;
    let directories = load.directories.min(rows);
    let in_each = if directories > 0.0 { rows / directories } else { 0.0 };
    let file_bytes = if rows > 0.0 { load.file_bytes + in_each * load.row_bytes } else { 0.0 };
    // A flush with a single dead letter has a file for it.
    let dead_letter_files = (records * load.dead_letter_share).min(1.0);
    let files = directories + dead_letter_files;
    let parts = directories * parts(file_bytes) + dead_letter_files;
    let flushes_per_hour = 3600.0 / interval;
    Projection {
        records_per_second: load.records_per_second,
        cause: Some(cause),
        flushes_per_hour,
        files_per_hour: flushes_per_hour * files,
        directories_per_flush: directories,
        file_bytes,
        bytes_per_day: flushes_per_hour * 24.0 * directories * file_bytes,
        open_files_bytes: open_files(load, rules, directories, in_each),
        requests_per_day: requests_of_flush(files, parts).times(flushes_per_hour * 24.0).plus(at_rest),
    }
}

/// What an open file of so many rows holds: those of its last page as they are, all of its row group's encoded.
fn file_memory(load: &Load, rules: &Rules, rows: f64) -> f64 {
    let encoded = (rows * load.row_bytes).min(rules.row_group_bytes as f64);
    load.file_memory_bytes + rows.min(PAGE_ROWS_MAX as f64) * load.row_memory_bytes + encoded
}

/// The rows with which an open file holds this much, before its row group is full.
fn rows_within(load: &Load, bytes: f64) -> f64 {
    let per_page = PAGE_ROWS_MAX as f64;
    let first_page = per_page * (load.row_memory_bytes + load.row_bytes);
    let left = (bytes - load.file_memory_bytes).max(0.0);
    if left <= first_page {
        left / (load.row_memory_bytes + load.row_bytes).max(f64::MIN_POSITIVE)
    } else {
        per_page + (left - first_page) / load.row_bytes.max(f64::MIN_POSITIVE)
    }
}

fn open_files(load: &Load, rules: &Rules, directories: f64, rows_in_each: f64) -> f64 {
    (directories * file_memory(load, rules, rows_in_each)).min(rules.memory_bytes_max as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    const RULES: Rules = Rules {
        file_bytes_max: 128 * MIB,
        row_group_bytes: 32 * MIB,
        age_max: Duration::from_secs(300),
        idle_max: Duration::from_secs(60),
        memory_bytes_max: 200 * MIB,
    };

    /// 1,000 records a second of 100 encoded bytes into one directory.
    const LOAD: Load = Load {
        records_per_second: 1000.0,
        written_share: 1.0,
        dead_letter_share: 0.0,
        row_bytes: 100.0,
        file_bytes: 10_000.0,
        directories: 1.0,
        fullest_share: 1.0,
        file_memory_bytes: 200_000.0,
        row_memory_bytes: 150.0,
    };

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() <= other.abs() * 0.01
    }

    #[test]
    fn a_steady_topic_is_flushed_by_age() {
        let projected = project(&LOAD, &RULES);
        assert_eq!(projected.cause, Some(Cause::Age));
        assert!(near(projected.flushes_per_hour, 12.0), "{projected:?}");
        assert!(near(projected.files_per_hour, 12.0), "{projected:?}");
        assert!(near(projected.file_bytes, 300.0 * 1000.0 * 100.0 + 10_000.0), "{projected:?}");
        assert!(near(projected.bytes_per_day, 288.0 * projected.file_bytes), "{projected:?}");
        // 300,000 rows encoded, and a page of them as they are.
        assert!(near(projected.open_files_bytes, 200_000.0 + 30_000_000.0 + 8192.0 * 150.0), "{projected:?}");
    }

    #[test]
    fn a_fast_topic_is_flushed_by_size_and_its_fullest_directory_decides() {
        let fast = Load { records_per_second: 100_000.0, ..LOAD };
        let projected = project(&fast, &RULES);
        assert_eq!(projected.cause, Some(Cause::Size));
        assert!(near(projected.file_bytes, (128 * MIB) as f64), "{projected:?}");
        let uneven = Load { directories: 4.0, fullest_share: 0.7, ..fast };
        let projected = project(&uneven, &RULES);
        assert_eq!(projected.cause, Some(Cause::Size));
        assert!(projected.file_bytes < (64 * MIB) as f64, "three of four are small: {projected:?}");
    }

    #[test]
    fn many_directories_are_flushed_by_memory_and_few_are_not() {
        let many = Load { directories: 1000.0, fullest_share: 0.001, ..LOAD };
        let projected = project(&many, &RULES);
        assert_eq!(projected.cause, Some(Cause::Memory), "{projected:?}");
        assert!(projected.flushes_per_hour > 12.0, "{projected:?}");
        assert!(projected.open_files_bytes <= (200 * MIB) as f64);
        let rows = rows_within(&LOAD, 5_000_000.0);
        assert!(near(file_memory(&LOAD, &RULES, rows), 5_000_000.0), "one is the other's reverse");
        let rows = rows_within(&LOAD, 500_000.0);
        assert!(near(file_memory(&LOAD, &RULES, rows), 500_000.0), "within the first page too");
        let few = Load { directories: 30.0, fullest_share: 0.04, ..LOAD };
        assert_eq!(project(&few, &RULES).cause, Some(Cause::Age));
    }

    #[test]
    fn a_slow_topic_has_a_flush_for_each_record() {
        let slow = Load { records_per_second: 1.0 / 600.0, directories: 24.0, ..LOAD };
        let projected = project(&slow, &RULES);
        assert_eq!(projected.cause, Some(Cause::Idle));
        assert!(near(projected.flushes_per_hour, 6.0), "{projected:?}");
        assert!(near(projected.files_per_hour, 6.0), "one record is one file: {projected:?}");
    }

    #[test]
    fn nothing_costs_only_the_looking() {
        let projected = project(&Load { records_per_second: 0.0, ..LOAD }, &RULES);
        assert_eq!((projected.cause, projected.files_per_hour), (None, 0.0));
        // The head every 15 s, abandoned uploads every 6 h under two prefixes.
        assert_eq!(projected.requests_per_day, Requests { puts: 5760.0 + 8.0, gets: 5760.0 });
    }

    #[test]
    fn dead_letters_are_a_file_of_their_own() {
        let projected = project(&Load { dead_letter_share: 0.01, written_share: 0.99, ..LOAD }, &RULES);
        assert!(near(projected.files_per_hour, 24.0), "{projected:?}");
        let none = project(&Load { dead_letter_share: 1.0, written_share: 0.0, ..LOAD }, &RULES);
        assert!(near(none.files_per_hour, 12.0), "{none:?}");
        assert_eq!((none.file_bytes, none.bytes_per_day), (0.0, 0.0));
    }

    #[test]
    fn a_days_requests_are_those_of_its_flushes_and_of_looking() {
        let projected = project(&LOAD, &RULES);
        let flushes = projected.flushes_per_hour * 24.0;
        // 30 MB in parts of 5 MiB: begin, 6 parts, complete and the entry; then HEAD.
        let expected = requests_at_rest(DAY_SECONDS).plus(Requests { puts: 9.0, gets: 1.0 }.times(flushes));
        assert!(near(projected.requests_per_day.puts, expected.puts), "{projected:?}");
        assert!(near(projected.requests_per_day.gets, expected.gets), "{projected:?}");
        let dollars = Requests { puts: 1000.0, gets: 10_000.0 }.dollars();
        assert!(near(dollars, 0.009), "{dollars}");
    }

    #[test]
    fn parts_are_counted_as_they_are_cut() {
        assert_eq!(parts(0.0), 1.0);
        assert_eq!(parts((5 * MIB) as f64), 1.0);
        assert_eq!(parts((5 * MIB + 1) as f64), 2.0);
        assert_eq!(parts((100 * MIB) as f64), 20.0);
    }
}
