//! Proof: what lies in the lake, against what was sent. It reads directories and Parquet files, never the ledger.
//!
//! Every record is known by topic, partition, offset and the hash of its content; the set found must be the set
//! sent, each once, rows under `data/` and dead letters beside it.
//! Neighbours: book and generator say what was sent; story reports. Reads files, writes nothing.

pub mod rows;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::ArrowError;
use ledger::entry::{DATA_PREFIX, DEAD_LETTER_PREFIX};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::book::{Book, Sent};
use crate::canonical::Value;
use crate::generator::Fate;

/// Findings that are told one by one; the others are counted.
const FINDINGS_TOLD_MAX: usize = 12;
/// Where a row came from, by the worker's metadata columns.
const IDENTITY: [&str; 3] = ["_topic", "_partition", "_offset"];

/// Why nothing could be proved.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    #[error("list `{path}`")]
    List {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("open `{path}`")]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("read `{path}` as Parquet")]
    Parquet {
        path: PathBuf,
        #[source]
        source: ParquetError,
    },
    #[error("read rows of `{path}`")]
    Rows {
        path: PathBuf,
        #[source]
        source: ArrowError,
    },
    #[error("read `{path}`: it has no column `{column}` of the type expected")]
    Column { path: PathBuf, column: &'static str },
}

/// What was sent, and where to.
pub struct Expected<'a> {
    pub topic: &'a str,
    pub book: &'a Book,
    /// Makes a message's content again, to show it beside what was found.
    pub content: &'a dyn Fn(&Sent) -> Value,
}

/// What the comparison found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub data_files: u64,
    pub data_bytes: u64,
    pub dead_letter_files: u64,
    /// Rows in Parquet, the same one twice included.
    pub in_parquet: u64,
    pub dead_lettered: u64,
    /// Sent, to be found, and nowhere.
    pub lost: u64,
    /// Found again after the first time.
    pub duplicated: u64,
    /// Found with other values than were sent.
    pub different: u64,
    /// A row that should be a dead letter, or the other way round.
    pub misplaced: u64,
    /// Found without having been sent, tombstones included.
    pub unexpected: u64,
    /// The first of what is wrong, for a person.
    pub findings: Vec<String>,
}

impl Report {
    pub fn is_proven(&self) -> bool {
        self.lost + self.duplicated + self.different + self.misplaced + self.unexpected == 0
    }

    fn tell(&mut self, finding: impl FnOnce() -> String) {
        if self.findings.len() < FINDINGS_TOLD_MAX {
            self.findings.push(finding());
        }
    }
}

/// Reads the lake under `root` and compares.
pub fn prove(root: &Path, expected: &Expected<'_>) -> Result<Report, ProofError> {
    let mut proof = Proof { expected, report: Report::default(), seen: HashMap::new() };
    let data = root.join(DATA_PREFIX);
    for path in files(&data)? {
        proof.report.data_files += 1;
        proof.report.data_bytes += path.metadata().map_or(0, |meta| meta.len());
        proof.read(&path, Fate::Row, &hive_columns(&data, &path))?;
    }
    for path in files(&root.join(DEAD_LETTER_PREFIX))? {
        proof.report.dead_letter_files += 1;
        proof.read(&path, Fate::DeadLetter, &[])?;
    }
    Ok(proof.finish())
}

/// All files below a directory; none when there is no such directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>, ProofError> {
    let list = |source| ProofError::List { path: directory.to_owned(), source };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(list(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(list)?;
        if entry.file_type().map_err(list)?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// `dt=2026-11-22/hour=07` as columns, the way readers of Hive-style directories see them.
fn hive_columns(root: &Path, file: &Path) -> Vec<(String, Value)> {
    let directories = file.strip_prefix(root).ok().and_then(Path::parent);
    directories
        .into_iter()
        .flat_map(Path::components)
        .filter_map(|component| component.as_os_str().to_str()?.split_once('='))
        .map(|(name, value)| (name.to_owned(), Value::text(value)))
        .collect()
}

struct Proof<'a> {
    expected: &'a Expected<'a>,
    report: Report,
    /// How often each record of the topic was found.
    seen: HashMap<(i32, i64), u32>,
}

impl Proof<'_> {
    fn read(&mut self, path: &Path, place: Fate, hive: &[(String, Value)]) -> Result<(), ProofError> {
        let file = File::open(path).map_err(|source| ProofError::Open { path: path.to_owned(), source })?;
        let parquet = |source| ProofError::Parquet { path: path.to_owned(), source };
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?.build().map_err(parquet)?;
        for batch in reader {
            let batch = batch.map_err(|source| ProofError::Rows { path: path.to_owned(), source })?;
            self.take(path, place, hive, &batch)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        path: &Path,
        place: Fate,
        hive: &[(String, Value)],
        batch: &RecordBatch,
    ) -> Result<(), ProofError> {
        let missing = |column| move || ProofError::Column { path: path.to_owned(), column };
        let column = |name| batch.column_by_name(name).filter(|column| column.null_count() == 0);
        let topics = column("_topic").and_then(|c| c.as_string_opt::<i32>()).ok_or_else(missing("_topic"))?;
        let partitions = column("_partition").and_then(|c| c.as_primitive_opt::<Int32Type>());
        let partitions = partitions.ok_or_else(missing("_partition"))?;
        let offsets = column("_offset").and_then(|c| c.as_primitive_opt::<Int64Type>());
        let offsets = offsets.ok_or_else(missing("_offset"))?;
        for row in 0..batch.num_rows() {
            let place_found = Found {
                path,
                place,
                topic: topics.value(row),
                partition: partitions.value(row),
                offset: offsets.value(row),
            };
            let content = match place {
                Fate::DeadLetter => dead_letter(batch, row),
                Fate::Row | Fate::Filtered => {
                    let mut fields = rows::row(batch, row, |name| !IDENTITY.contains(&name));
                    fields.extend_from_slice(hive);
                    Value::Struct(fields)
                }
            };
            self.compare(&place_found, &content);
        }
        Ok(())
    }

    fn compare(&mut self, found: &Found<'_>, content: &Value) {
        let report = &mut self.report;
        match found.place {
            Fate::DeadLetter => report.dead_lettered += 1,
            Fate::Row | Fate::Filtered => report.in_parquet += 1,
        }
        let sent = self.expected.book.get(found.partition, found.offset);
        let Some(sent) = sent.filter(|s| found.topic == self.expected.topic && s.fate != Fate::Filtered)
        else {
            report.unexpected += 1;
            report.tell(|| format!("{found}: found, but no such event was sent there"));
            return;
        };
        let times = self.seen.entry((found.partition, found.offset)).or_default();
        *times += 1;
        if *times > 1 {
            report.duplicated += 1;
            let times = *times;
            report.tell(|| format!("{found}: found {times} times by now"));
        }
        if sent.fate != found.place {
            report.misplaced += 1;
            let what = if sent.fate == Fate::Row {
                "a good event is a dead letter"
            } else {
                "a broken event is a row"
            };
            report.tell(|| format!("{found}: {what}: {content}"));
        } else if sent.content != content.content_hash() {
            report.different += 1;
            let expected = (self.expected.content)(sent);
            report.tell(|| format!("{found}: {}", Value::first_difference(&expected, content)));
        }
    }

    fn finish(mut self) -> Report {
        for (partition, offset, sent) in self.expected.book.iter() {
            if sent.fate != Fate::Filtered && !self.seen.contains_key(&(partition, offset)) {
                self.report.lost += 1;
                let topic = self.expected.topic;
                self.report.tell(|| {
                    format!("{topic}[{partition}]@{offset}: sent as {:?}, found nowhere", sent.fate)
                });
            }
        }
        self.report
    }
}

/// A dead letter's columns in the spelling of [`crate::generator::dead_letter`].
fn dead_letter(batch: &RecordBatch, row: usize) -> Value {
    let cell = |name: &str| {
        batch
            .column_by_name(name)
            .map_or_else(|| Value::Foreign(format!("no column {name}")), |c| rows::value(c, row))
    };
    Value::record([
        ("_timestamp", cell("_timestamp")),
        ("key", cell("_key")),
        ("value", cell("_value")),
        ("headers", cell("_headers")),
        ("has_reason", Value::Bool(matches!(cell("error"), Value::Text(error) if !error.is_empty()))),
    ])
}

/// Where a record was found.
struct Found<'a> {
    path: &'a Path,
    place: Fate,
    topic: &'a str,
    partition: i32,
    offset: i64,
}

impl std::fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]@{} in {}", self.topic, self.partition, self.offset, self.path.display())
    }
}

#[cfg(test)]
mod tests;
