//! Sample: some records through decode, route and encode, in memory, and what that measured.
//!
//! Records are cut into windows as long as a flush may be, by their own timestamps, so that the directories of each
//! are counted as a flush would open them.
//! Neighbours: check; decode, batch and encode do the work. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;

use super::project::Load;
use crate::batch::route::PartitionError;
use crate::decode::{DecodeFailure, DecoderFactory};
use crate::encode::{EncodeError, EncodeOptions, FileWriter, PAGE_ROWS_MAX};
use crate::job::Job;
use crate::kafka::records::{Batch, Run};
use crate::kafka::{TopicPartition, Watermarks};
use crate::settings::OnError;

/// Different reasons that are kept.
const REASONS_MAX: usize = 5;

/// Why the sample was not measured: a bug, or a batch beyond what decode takes.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error("decode the sample")]
    Decode(#[from] DecodeFailure),
    #[error("route the sample")]
    Route(#[from] PartitionError),
    #[error("encode the sample")]
    Encode(#[from] EncodeError),
    #[error("put the sample's rows together")]
    Assemble(#[from] ArrowError),
}

/// Records that did not fit for the same reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reason {
    pub error: String,
    /// The first of them.
    pub example: String,
    pub count: u64,
}

/// What the sample showed.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub written: u64,
    pub filtered: u64,
    pub dead_lettered: u64,
    /// Keys, values and headers.
    pub bytes: u64,
    /// The most frequent first.
    pub reasons: Vec<Reason>,
    pub directories: BTreeSet<String>,
    /// Of one flush's window, on average.
    pub directories_per_flush: f64,
    pub fullest_share: f64,
    pub row_bytes: f64,
    pub file_bytes: f64,
    pub file_memory_bytes: f64,
    pub row_memory_bytes: f64,
}

impl Measured {
    pub fn records(&self) -> u64 {
        self.written + self.filtered + self.dead_lettered
    }

    pub fn dead_letter_share(&self) -> f64 {
        share(self.dead_lettered, self.records())
    }

    /// The load that this is, at a rate.
    pub fn load(&self, records_per_second: f64) -> Load {
        Load {
            records_per_second,
            written_share: share(self.written, self.records()),
            dead_letter_share: self.dead_letter_share(),
            row_bytes: self.row_bytes,
            file_bytes: self.file_bytes,
            directories: self.directories_per_flush,
            fullest_share: self.fullest_share,
            file_memory_bytes: self.file_memory_bytes,
            row_memory_bytes: self.row_memory_bytes,
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Rows of one window, by directory.
type Window = BTreeMap<String, u64>;

/// Decodes, routes and encodes. A record that does not fit is counted, whatever `on_error` says.
pub fn measure(job: &Job, batches: &[Batch], window: Duration) -> Result<Measured, SampleError> {
    let mut settings = job.settings.records.clone();
    settings.on_error = OnError::DeadLetter;
    let mut decoder = DecoderFactory::new(&job.table, &settings).build();
    let mut measured = Measured { bytes: batches.iter().map(payload_bytes).sum(), ..Measured::default() };
    let mut windows: BTreeMap<i64, Window> = BTreeMap::new();
    let mut rows: Vec<RecordBatch> = Vec::new();
    let mut reasons: BTreeMap<String, Reason> = BTreeMap::new();
    for batch in batches {
        for (at, runs) in by_window(batch, window) {
            let decoded = decoder.decode(batch, &runs)?;
            for counts in &decoded.counts {
                measured.written += counts.written;
                measured.filtered += counts.filtered;
                measured.dead_lettered += counts.dead_lettered;
            }
            note_reasons(&decoded.dead_letters, &mut reasons);
            let directories = windows.entry(at).or_default();
            for (path, routed) in job.spec.route(&decoded.rows)? {
                *directories.entry(path.as_str().to_owned()).or_default() += routed.num_rows() as u64;
                rows.push(routed);
            }
        }
    }
    windows.retain(|_, directories| !directories.is_empty());
    spread(&windows, &mut measured);
    measured.reasons = reasons.into_values().collect();
    measured.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    if !rows.is_empty() {
        weigh(job, &concat_batches(job.spec.file_schema(), &rows)?, &mut measured)?;
    }
    Ok(measured)
}

/// Without what the client holds beside them, which [`Batch::bytes`] may count.
fn payload_bytes(batch: &Batch) -> u64 {
    let mut bytes = 0;
    for index in 0..batch.messages.len() {
        let record = batch.messages.get(index);
        bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        batch.messages.headers(index, &mut |name, value| bytes += name.len() + value.map_or(0, <[u8]>::len));
    }
    bytes as u64
}

/// The batch's records by the window that their timestamps are in; those without one are in the first.
fn by_window(batch: &Batch, window: Duration) -> BTreeMap<i64, Vec<Run>> {
    let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut windows: BTreeMap<i64, Vec<Run>> = BTreeMap::new();
    for run in &batch.runs {
        for index in run.range.clone() {
            let at = batch.messages.get(index).timestamp_ms.unwrap_or(0).div_euclid(window_ms);
            let runs = windows.entry(at).or_default();
            match runs.last_mut() {
                Some(last) if last.range.end == index && last.partition == run.partition => {
                    last.range.end += 1;
                }
                _ => runs.push(Run { partition: run.partition.clone(), range: index..index + 1 }),
            }
        }
    }
    windows
}

fn spread(windows: &BTreeMap<i64, Window>, measured: &mut Measured) {
    let (mut directories, mut fullest, mut rows) = (0, 0, 0);
    for window in windows.values() {
        directories += window.len();
        fullest += window.values().max().copied().unwrap_or_default();
        rows += window.values().sum::<u64>();
        measured.directories.extend(window.keys().cloned());
    }
    if !windows.is_empty() {
        measured.directories_per_flush = directories as f64 / windows.len() as f64;
        measured.fullest_share = share(fullest, rows);
    }
}

/// All rows in one file beside one row in another: what a row costs, and what a file does.
fn weigh(job: &Job, rows: &RecordBatch, measured: &mut Measured) -> Result<(), SampleError> {
    let write = |rows: &RecordBatch| -> Result<(f64, f64), EncodeError> {
        let options = EncodeOptions {
            // One row group, however large: memory is measured before it is closed.
            row_group_bytes: u64::MAX,
            zstd_level: job.settings.output.zstd_level,
            ..EncodeOptions::default()
        };
        let mut file = FileWriter::new(job.spec.file_schema().clone(), &options)?;
        file.write(rows)?;
        let memory = file.memory_bytes();
        Ok((file.finish(Vec::new())?.bytes as f64, memory as f64))
    };
    let (one, one_memory) = write(&rows.slice(0, 1))?;
    let (all, _) = write(rows)?;
    let others = (rows.num_rows() as f64 - 1.0).max(1.0);
    measured.file_bytes = one;
    measured.row_bytes = ((all - one) / others).max(0.0);
    // Within one page: what follows is held encoded.
    let page = rows.slice(0, rows.num_rows().min(PAGE_ROWS_MAX));
    let (_, page_memory) = write(&page)?;
    measured.file_memory_bytes = one_memory;
    measured.row_memory_bytes =
        ((page_memory - one_memory) / (page.num_rows() as f64 - 1.0).max(1.0)).max(0.0);
    Ok(())
}

fn note_reasons(dead_letters: &RecordBatch, reasons: &mut BTreeMap<String, Reason>) {
    if dead_letters.num_rows() == 0 {
        return;
    }
    let text = |name: &str| dead_letters[name].as_string::<i32>();
    let (topics, errors, columns) = (text("_topic"), text("error"), text("error_column"));
    let partitions = dead_letters["_partition"].as_primitive::<Int32Type>();
    let offsets = dead_letters["_offset"].as_primitive::<Int64Type>();
    for row in 0..dead_letters.num_rows() {
        let error = match columns.is_valid(row) {
            true => format!("column `{}`: {}", columns.value(row), errors.value(row)),
            false => errors.value(row).to_owned(),
        };
        if let Some(reason) = reasons.get_mut(&error) {
            reason.count += 1;
        } else if reasons.len() < REASONS_MAX {
            let (topic, partition, offset) = (topics.value(row), partitions.value(row), offsets.value(row));
            let example = format!("{topic}[{partition}] offset {offset}");
            reasons.insert(error.clone(), Reason { error, example, count: 1 });
        }
    }
}

/// Records a second, by how far the newest records reach back from now. `None`: no record says when it came.
///
/// A partition of which nothing was read counts like the others' mean.
pub fn rate(
    watermarks: &BTreeMap<TopicPartition, Watermarks>,
    batches: &[Batch],
    now_ms: i64,
) -> Option<f64> {
    struct Read {
        first: i64,
        last: i64,
        records: u64,
        first_ms: Option<i64>,
    }
    let mut read: BTreeMap<&TopicPartition, Read> = BTreeMap::new();
    for batch in batches {
        for run in &batch.runs {
            for index in run.range.clone() {
                let record = batch.messages.get(index);
                let new = || Read { first: record.offset, last: record.offset, records: 0, first_ms: None };
                let one = read.entry(&run.partition).or_insert_with(new);
                one.last = record.offset;
                one.records += 1;
                one.first_ms = match (one.first_ms, record.timestamp_ms) {
                    (Some(first), Some(this)) => Some(first.min(this)),
                    (first, this) => first.or(this),
                };
            }
        }
    }
    let rates: Vec<f64> = read
        .iter()
        .filter_map(|(partition, read)| {
            let end = watermarks.get(*partition)?.last_stable.max(read.last + 1);
            // Offsets without a record (markers, compacted) are as dense in what was not read.
            let density = read.records as f64 / (read.last + 1 - read.first) as f64;
            let seconds = (now_ms - read.first_ms?).max(1) as f64 / 1000.0;
            Some((end - read.first) as f64 * density / seconds)
        })
        .collect();
    let not_empty = watermarks.values().filter(|ends| ends.last_stable > ends.log_start).count();
    if not_empty == 0 {
        return Some(0.0);
    }
    if rates.is_empty() {
        return None;
    }
    Some(rates.iter().sum::<f64>() / rates.len() as f64 * not_empty.max(rates.len()) as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kafka::Generation;
    use crate::kafka::records::OwnedRecord;

    const HOUR_MS: i64 = 3_600_000;

    fn job(toml: &str, sql: &str) -> Job {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("schema.sql"), sql).expect("written");
        let head = "name = \"shop\"\n[kafka]\nbootstrap = \"b:9092\"\ntopics = [\"t\"]\n\
                    [output]\npath = \"file:///nowhere\"\n";
        std::fs::write(dir.path().join("pipeline.toml"), format!("{head}{toml}")).expect("written");
        let settings = crate::settings::load(dir.path(), &|_| None, &[]).expect("the settings are right");
        Job::new(settings).expect("the schema fits")
    }

    fn partition(number: i32) -> TopicPartition {
        TopicPartition { topic: Arc::from("t"), partition: number }
    }

    fn batch(number: i32, records: Vec<OwnedRecord>) -> Batch {
        let bytes = records.iter().filter_map(|one| one.value.as_ref()).map(|value| value.len() as u64).sum();
        Batch {
            generation: Generation::default(),
            runs: vec![Run { partition: partition(number), range: 0..records.len() }],
            messages: Box::new(records),
            bytes,
        }
    }

    fn record(offset: i64, timestamp_ms: i64, value: Option<&str>) -> OwnedRecord {
        OwnedRecord {
            offset,
            timestamp_ms: Some(timestamp_ms),
            value: value.map(|value| value.as_bytes().to_vec()),
            ..OwnedRecord::default()
        }
    }

    #[test]
    fn every_record_of_a_sample_is_counted_once_and_reasons_are_told_with_an_example() {
        let job = job("", "CREATE TABLE t (a BIGINT NOT NULL)");
        let mut records: Vec<OwnedRecord> =
            (0..95).map(|n| record(n, HOUR_MS, Some(&format!("{{\"a\": {n}}}")))).collect();
        records.push(record(95, HOUR_MS, None));
        for offset in 96..99 {
            records.push(record(offset, HOUR_MS, Some("{\"a\": \"x\"}")));
        }
        records.push(record(99, HOUR_MS, Some("no json")));
        let measured = measure(&job, &[batch(2, records)], Duration::from_secs(300)).expect("measured");
        assert_eq!((measured.written, measured.filtered, measured.dead_lettered), (95, 1, 4));
        assert_eq!(measured.reasons.len(), 2);
        assert_eq!((measured.reasons[0].count, measured.reasons[0].example.as_str()), (3, "t[2] offset 96"));
        assert!(measured.reasons[0].error.contains("column `a`"), "{:?}", measured.reasons);
        assert!(measured.row_bytes > 0.0 && measured.file_bytes > 100.0, "{measured:?}");
        assert!((measured.dead_letter_share() - 0.04).abs() < 1e-9);
    }

    #[test]
    fn on_error_fail_does_not_end_the_measuring() {
        let job = job("[records]\non_error = \"fail\"\n", "CREATE TABLE t (a BIGINT)");
        let records = vec![record(0, 0, Some("[]")), record(1, 0, Some("{}"))];
        let measured = measure(&job, &[batch(0, records)], Duration::from_secs(300)).expect("measured");
        assert_eq!((measured.written, measured.dead_lettered), (1, 1));
    }

    #[test]
    fn directories_are_counted_a_flush() {
        let job = job("partition_by = [\"k=a\"]\n", "CREATE TABLE t (a BIGINT, b BIGINT)");
        // Ten flushes of five minutes; each has two directories, together there are eleven.
        let records: Vec<OwnedRecord> = (0..1000_i64)
            .map(|n| {
                let flush = n / 100;
                let directory = flush + i64::from(n % 100 >= 75);
                record(n, flush * 300_000 + n, Some(&format!("{{\"a\": {directory}, \"b\": {n}}}")))
            })
            .collect();
        let measured = measure(&job, &[batch(0, records)], Duration::from_secs(300)).expect("measured");
        assert_eq!(measured.directories.len(), 11);
        assert!((measured.directories_per_flush - 2.0).abs() < 1e-9, "{measured:?}");
        assert!((measured.fullest_share - 0.75).abs() < 1e-9, "{measured:?}");
    }

    #[test]
    fn a_projected_file_is_as_large_as_a_real_one() {
        let job = job("partition_by = []\n", "CREATE TABLE t (a BIGINT, b STRING)");
        let value = |n: i64| format!("{{\"a\": {n}, \"b\": \"user {}\"}}", n * 7919 % 10_007);
        let records = |count: i64| (0..count).map(|n| record(n, n, Some(&value(n)))).collect::<Vec<_>>();
        let window = Duration::from_secs(300);
        let sample = measure(&job, &[batch(0, records(2_000))], window).expect("measured");
        let whole = measure(&job, &[batch(0, records(40_000))], window).expect("measured");
        let projected = sample.file_bytes + 40_000.0 * sample.row_bytes;
        let real = whole.file_bytes + 40_000.0 * whole.row_bytes;
        assert!((0.5..2.0).contains(&(projected / real)), "{projected} for {real}");
    }

    #[test]
    fn the_rate_is_that_of_the_newest_records_until_now() {
        let ends = |last_stable: i64| Watermarks { log_start: 0, last_stable };
        // Ten seconds reach back 1,000 of 5,000 records.
        let newest: Vec<OwnedRecord> = (4000..5000).map(|n| record(n, 90_000 + n, Some("{}"))).collect();
        let mut watermarks = BTreeMap::from([(partition(0), ends(5000))]);
        let one = rate(&watermarks, &[batch(0, newest)], 104_000).expect("told");
        assert!((one - 100.0).abs() < 1.0, "{one}");
        // Only half of what was asked for came: the rest is there all the same.
        let half: Vec<OwnedRecord> = (4000..4500).map(|n| record(n, 90_000 + n, Some("{}"))).collect();
        let cut = rate(&watermarks, &[batch(0, half)], 104_000).expect("told");
        assert!((cut - 100.0).abs() < 1.0, "{cut}");
        // A partition that was not read counts like the others, an empty one does not.
        watermarks.insert(partition(1), ends(7));
        watermarks.insert(partition(2), ends(0));
        let half: Vec<OwnedRecord> = (4000..4500).map(|n| record(n, 90_000 + n, Some("{}"))).collect();
        let both = rate(&watermarks, &[batch(0, half)], 104_000).expect("told");
        assert!((both - 200.0).abs() < 2.0, "{both}");
    }

    #[test]
    fn without_records_the_rate_is_none_and_without_timestamps_unknown() {
        let empty = BTreeMap::from([(partition(0), Watermarks { log_start: 5, last_stable: 5 })]);
        assert_eq!(rate(&empty, &[], 1), Some(0.0));
        let some = BTreeMap::from([(partition(0), Watermarks { log_start: 0, last_stable: 5 })]);
        let untimed = OwnedRecord { timestamp_ms: None, ..record(0, 0, Some("{}")) };
        assert_eq!(rate(&some, &[batch(0, vec![untimed])], 1), None);
    }
}
