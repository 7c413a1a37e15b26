//! Contents: one live entry held against the files that it names.
//!
//! Order: HEAD, then the footer, then the rows; a file that fails one is not asked the next, and offsets that it
//! would have held are then not reported as a gap as well.
//! Neighbours: verify, rows, offsets, report.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use ledger::entry::{Entry, FileRef, OffsetRange, Sequence};
use ledger::store::{Store, UploadId};

use super::offsets::{Seen, Tally};
use super::report::{Absences, Finding, Pending};
use super::rows::{Footer, Marks, RowsError, read_footer, read_rows};
use super::{Existing, VerifyError};

/// Files of one entry read at the same time.
const FILES_AT_ONCE: usize = 4;
/// Wrong rows of one file that are kept; the others are the same fault.
const ROWS_MAX: usize = 5;
/// Offsets that Kafka is asked about at a time.
const ASK_AT_ONCE: i64 = 10_000;

/// What one entry came to.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub findings: Vec<Finding>,
    pub pending: Vec<Pending>,
    pub unmarked_files: u64,
    pub absences: Absences,
}

/// Uploads that are open, by key and id, listed after the log was read.
pub(super) type OpenUploads = BTreeSet<(String, UploadId)>;

/// Looks at every file of a live entry.
pub(super) async fn check(
    store: &dyn Store,
    entry: &Entry,
    open: &OpenUploads,
    kafka: Option<&dyn Existing>,
) -> Result<Contents, VerifyError> {
    let mut contents = Contents::default();
    if let Some(kafka) = kafka {
        ask_kafka(entry, kafka, &mut contents).await?;
    }
    let mut tallies = Tallies::new();
    for (topic, partition, range) in entry.ranges() {
        tallies.entry(topic).or_default().insert(partition, Tally::new(range));
    }
    let files: Vec<Result<Opened<'_>, VerifyError>> = stream::iter(&entry.files)
        .map(|file| open_file(store, entry.sequence, file, open))
        .buffered(FILES_AT_ONCE)
        .collect()
        .await;
    let mut whole = true;
    for opened in files {
        match opened? {
            Opened::Readable(_, footer) if footer.marks == Marks::None => {
                contents.unmarked_files += 1;
                whole = false;
            }
            Opened::Readable(file, footer) => {
                whole &= read_file(store, entry, file, &footer, &mut tallies, &mut contents).await?;
            }
            Opened::Wrong(finding) => {
                whole = false;
                contents.findings.push(finding);
            }
            Opened::Waiting(pending) => {
                whole = false;
                contents.pending.push(pending);
            }
        }
    }
    if whole {
        compare(entry.sequence, &tallies, &mut contents.findings);
    }
    Ok(contents)
}

type Tallies<'e> = BTreeMap<&'e str, BTreeMap<i32, Tally<'e>>>;

enum Opened<'e> {
    Readable(&'e FileRef, Footer),
    Wrong(Finding),
    Waiting(Pending),
}

async fn open_file<'e>(
    store: &dyn Store,
    sequence: Sequence,
    file: &'e FileRef,
    open: &OpenUploads,
) -> Result<Opened<'e>, VerifyError> {
    let key = file.key.clone();
    let Some(found) = store.head(&key).await? else {
        let waits = open.contains(&(key.clone(), file.upload_id.clone()));
        return Ok(if waits {
            Opened::Waiting(Pending::Unsettled { sequence, key })
        } else {
            Opened::Wrong(Finding::Missing { sequence, key })
        });
    };
    if found.bytes != file.bytes {
        return Ok(Opened::Wrong(Finding::Size { sequence, key, said: file.bytes, found: found.bytes }));
    }
    match read_footer(store, &key, file.bytes).await {
        Ok(footer) if footer.rows == file.rows => Ok(Opened::Readable(file, footer)),
        Ok(footer) => {
            Ok(Opened::Wrong(Finding::FileRows { sequence, key, said: file.rows, found: footer.rows }))
        }
        Err(error) => Ok(Opened::Wrong(not_parquet(sequence, key, error)?)),
    }
}

/// A store that does not answer is not a broken file.
fn not_parquet(sequence: Sequence, key: String, error: RowsError) -> Result<Finding, VerifyError> {
    match error {
        RowsError::Store(error) => Err(error.into()),
        RowsError::Parquet(cause) => Ok(Finding::NotParquet { sequence, key, why: cause.to_string() }),
        RowsError::Arrow(cause) => Ok(Finding::NotParquet { sequence, key, why: cause.to_string() }),
        other => Ok(Finding::NotParquet { sequence, key, why: other.to_string() }),
    }
}

/// Adds a file's rows to the tallies; whether all of it was read.
async fn read_file(
    store: &dyn Store,
    entry: &Entry,
    file: &FileRef,
    footer: &Footer,
    tallies: &mut Tallies<'_>,
    contents: &mut Contents,
) -> Result<bool, VerifyError> {
    let sequence = entry.sequence;
    let mut topics = entry.topics.keys();
    let only_topic = topics.next().filter(|_| topics.next().is_none()).map(String::as_str);
    if footer.marks == Marks::WithoutTopic && only_topic.is_none() {
        contents.unmarked_files += 1;
        return Ok(false);
    }
    let mut wrong = Vec::new();
    let read = read_rows(store, &file.key, footer, |topic, partition, offset| {
        let topic = topic.or(only_topic).unwrap_or_default();
        let seen = match tallies.get_mut(topic).and_then(|tallies| tallies.get_mut(&partition)) {
            Some(tally) => tally.row(file.role, offset),
            None => Seen::Outside,
        };
        if seen != Seen::Once && wrong.len() < ROWS_MAX {
            wrong.push((seen, topic.to_owned(), partition, offset));
        }
    });
    let read = read.await;
    contents.findings.extend(wrong.into_iter().map(|(seen, topic, partition, offset)| {
        let key = file.key.clone();
        match seen {
            Seen::Once | Seen::Again => Finding::Duplicate { sequence, key, topic, partition, offset },
            Seen::Outside => Finding::Outside { sequence, key, topic, partition, offset },
        }
    }));
    match read {
        Ok(()) => Ok(true),
        Err(error) => {
            contents.findings.push(not_parquet(sequence, file.key.clone(), error)?);
            Ok(false)
        }
    }
}

/// Holds what the files were seen to hold against what the entry says.
fn compare(sequence: Sequence, tallies: &Tallies<'_>, findings: &mut Vec<Finding>) {
    let each =
        tallies.iter().flat_map(|(topic, tallies)| tallies.iter().map(move |(p, tally)| (topic, p, tally)));
    for (topic, partition, tally) in each {
        let (topic, partition) = ((*topic).to_owned(), *partition);
        let said = tally.range();
        let rows = [
            ("rows", said.written, tally.data_rows),
            ("dead letters", said.dead_lettered, tally.dead_letter_rows),
        ];
        for (what, said, found) in rows.into_iter().filter(|(_, said, found)| said != found) {
            let topic = topic.clone();
            findings.push(Finding::PartitionRows { sequence, topic, partition, what, said, found });
        }
        for range in tally.contradicted() {
            findings.push(Finding::NotAbsent { sequence, topic: topic.clone(), partition, range });
        }
        if let Some((missing, first)) = tally.gap() {
            findings.push(Finding::Gap { sequence, topic, partition, missing, first });
        }
    }
}

/// Asks Kafka whether what the entry calls absent is.
async fn ask_kafka(entry: &Entry, kafka: &dyn Existing, contents: &mut Contents) -> Result<(), VerifyError> {
    for (topic, partition, range) in entry.ranges() {
        for OffsetRange(first, last) in &range.absent {
            let mut at = *first;
            while at <= *last {
                let end = (*last).min(at + ASK_AT_ONCE - 1);
                let asked = OffsetRange(at, end);
                match kafka.existing(topic, partition, asked).await.map_err(|source| VerifyError::Kafka {
                    topic: topic.to_owned(),
                    partition,
                    range: asked,
                    source,
                })? {
                    Some(existing) => {
                        contents.absences.checked += asked.count();
                        let sequence = entry.sequence;
                        contents.findings.extend(existing.into_iter().take(ROWS_MAX).map(|offset| {
                            Finding::InKafka { sequence, topic: topic.to_owned(), partition, offset }
                        }));
                    }
                    None => contents.absences.untold += asked.count(),
                }
                at = end + 1;
            }
        }
    }
    Ok(())
}
