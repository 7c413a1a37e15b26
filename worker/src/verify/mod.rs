//! Verify: proves from the store alone that every offset is where the log says, exactly once.
//!
//! Order: the whole log first, because a rewind changes what older entries mean; then each live entry's files;
//! then a listing of what readers see, for files that are not the log's. What was appended meanwhile is read last
//! and excuses what it explains.
//! Neighbours: ledger (entry, store); the Kafka room only through [`Existing`], which
//! brokers answers. Reads, never writes.
//!
//! Memory: a bit for each offset of the entries being read, and about 200 bytes for each file that the log names.

mod brokers;
mod chart;
mod contents;
mod offsets;
mod report;
mod rows;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use ledger::entry::{
    DATA_PREFIX, DEAD_LETTER_PREFIX, Entry, EntryError, Kind, NextOffset, OffsetRange, Sequence,
};
use ledger::head::{LedgerError, read_newest};
use ledger::store::{Store, StoreError};

pub use self::brokers::Brokers;
use self::chart::{Chart, Read, read_entry};
use self::contents::{Contents, OpenUploads};
pub use self::report::{Absences, Finding, Level, Pending, Report, Totals};

/// Entries whose files are read at the same time.
const ENTRIES_AT_ONCE: usize = 8;
const LIST_PAGE: usize = 1000;

/// Why nothing could be found out.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("verify the store")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("ask Kafka for {topic}[{partition}] offsets {} to {}", range.0, range.1)]
    Kafka {
        topic: String,
        partition: i32,
        range: OffsetRange,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Tells which offsets Kafka has, for those who want the log's absences checked.
#[async_trait]
pub trait Existing: Send + Sync {
    /// The offsets of `range` (at most 10,000) at which a `read_committed` consumer gets a record, in order;
    /// `None` when Kafka no longer has the range and cannot tell.
    async fn existing(
        &self,
        topic: &str,
        partition: i32,
        range: OffsetRange,
    ) -> Result<Option<Vec<i64>>, Box<dyn std::error::Error + Send + Sync>>;
}

/// What to verify.
#[derive(Clone, Copy, Default)]
pub struct VerifyOptions<'k> {
    /// Entries before it are taken on trust; `None` is the whole log.
    pub from: Option<Sequence>,
    pub kafka: Option<&'k dyn Existing>,
}

/// Reads log and files, and reports. An error means that the store or Kafka did not answer, or that the log is of
/// a format that this build does not know; whatever is wrong with log and files is in the report.
pub async fn verify(store: &dyn Store, options: VerifyOptions<'_>) -> Result<Report, VerifyError> {
    let mut report = Report::new(store.url());
    let from = options.from.unwrap_or(Sequence(1)).max(Sequence(1));
    report.partly = from > Sequence(1);
    let chart = Chart::read(store, from, &mut report).await?;
    report.first = from;
    report.last = chart.last;
    report.live = chart.live.len() as u64;
    report.superseded = chart.superseded.len() as u64;
    if chart.last == Sequence::ZERO {
        report.add(Finding::NoLog);
    }
    report.absences = options.kafka.map(|_| Absences::default());

    let mut found = Found::default();
    read_entries(store, &chart, options.kafka, &mut report, &mut found).await?;
    check_heads(&chart, &found.origins, &mut report);
    if report.partly {
        look_for_superseded(store, &chart, &mut found).await?;
    } else {
        look_for_strays(store, &chart, &mut found).await?;
    }
    excuse(store, &chart, &mut found).await?;
    for finding in found.findings {
        report.add(finding);
    }
    report.pending.append(&mut found.pending);
    Ok(report)
}

/// What was found and may yet be explained by what was appended meanwhile.
#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    pending: Vec<Pending>,
    /// Files that entries name: by which, and whether readers may see them.
    named: HashMap<String, (Sequence, bool)>,
    /// Where each partition's first entry started, live or not.
    origins: Origins,
}

type Origins = BTreeMap<(String, i32), NextOffset>;

async fn read_entries(
    store: &dyn Store,
    chart: &Chart,
    kafka: Option<&dyn Existing>,
    report: &mut Report,
    found: &mut Found,
) -> Result<(), VerifyError> {
    // After the log and before any HEAD: who is not among them and not there will not come.
    let open: OpenUploads = if chart.settled_through < chart.last {
        let mut uploads = store.list_uploads(DATA_PREFIX).await?;
        uploads.extend(store.list_uploads(DEAD_LETTER_PREFIX).await?);
        uploads.into_iter().map(|upload| (upload.key, upload.upload_id)).collect()
    } else {
        OpenUploads::new()
    };
    let mut moving: Vec<Sequence> = chart.live.iter().chain(chart.superseded.keys()).copied().collect();
    moving.sort_unstable();
    let open = &open;
    let mut entries = stream::iter(moving)
        .map(|sequence| async move {
            let entry = match read_entry(store, sequence).await? {
                Read::Sound(entry) | Read::Broken(entry, _) => entry,
                // Reported with the log.
                Read::Unreadable(_) | Read::Absent => return Ok::<_, VerifyError>(None),
            };
            let contents = if chart.live.contains(&sequence) {
                contents::check(store, &entry, open, kafka).await?
            } else {
                Contents::default()
            };
            Ok(Some((entry, contents)))
        })
        .buffered(ENTRIES_AT_ONCE);
    while let Some(read) = entries.next().await {
        let Some((entry, mut contents)) = read? else { continue };
        let live = chart.live.contains(&entry.sequence);
        name_files(&entry, live, found);
        for (topic, partition, range) in entry.ranges() {
            // With a part of the log only: a rewind may go back before it, so the live entries alone count.
            if report.partly && !live {
                continue;
            }
            found.origins.entry((topic.to_owned(), partition)).or_insert(range.from);
        }
        if !live {
            continue;
        }
        found.findings.append(&mut contents.findings);
        found.pending.append(&mut contents.pending);
        report.unmarked_files += contents.unmarked_files;
        if let Some(absences) = &mut report.absences {
            absences.checked += contents.absences.checked;
            absences.untold += contents.absences.untold;
        }
        chain(&entry, &found.origins, report);
    }
    Ok(())
}

fn name_files(entry: &Entry, live: bool, found: &mut Found) {
    for file in &entry.files {
        let (key, second) = (file.key.clone(), entry.sequence);
        if let Some((first, _)) = found.named.insert(key.clone(), (second, live)) {
            found.findings.push(Finding::NamedTwice { key, first, second });
        }
    }
}

/// A live entry starts where the live ones before it ended, the first where the partition was begun.
fn chain(entry: &Entry, origins: &Origins, report: &mut Report) {
    report.files += entry.files.len() as u64;
    report.bytes += entry.files.iter().map(|file| file.bytes).sum::<u64>();
    for (topic, partition, range) in entry.ranges() {
        let key = (topic.to_owned(), partition);
        let origin = origins.get(&key).copied().unwrap_or(range.from);
        let new = || Totals { from: origin, to: origin, ..Totals::default() };
        let totals = report.partitions.entry(key).or_insert_with(new);
        let position = totals.to;
        totals.add(range);
        if position != range.from {
            report.add(Finding::Chain {
                sequence: entry.sequence,
                topic: topic.to_owned(),
                partition,
                from: range.from,
                position,
            });
        }
    }
}

/// The newest entry's positions are where the live entries end, or where the partition was begun if none is live.
fn check_heads(chart: &Chart, origins: &Origins, report: &mut Report) {
    let mut wrong = Vec::new();
    for (topic, partitions) in &chart.positions {
        for (partition, position) in partitions {
            let key = (topic.clone(), *partition);
            let reached = report.partitions.get(&key).map(|totals| totals.to);
            let reached = reached.or_else(|| origins.get(&key).copied());
            // Entries before `--from` may have moved it.
            let untold = reached.is_none() && report.partly;
            if reached != Some(*position) && !untold {
                let (topic, partition) = key;
                wrong.push(Finding::Head { topic, partition, reached, position: *position });
            }
        }
    }
    for finding in wrong {
        report.add(finding);
    }
}

/// With the older part of the log unread, files are asked for one by one.
async fn look_for_superseded(store: &dyn Store, chart: &Chart, found: &mut Found) -> Result<(), VerifyError> {
    let superseded: Vec<(String, Sequence)> = found
        .named
        .iter()
        .filter(|(_, (_, live))| !live)
        .map(|(key, (sequence, _))| (key.clone(), *sequence))
        .collect();
    let mut heads = stream::iter(superseded)
        .map(|(key, sequence)| async move { (store.head(&key).await, key, sequence) })
        .buffered(ENTRIES_AT_ONCE);
    while let Some((head, key, sequence)) = heads.next().await {
        if head?.is_some() {
            visible_though_superseded(chart, sequence, key, &mut found.findings, &mut found.pending);
        }
    }
    Ok(())
}

/// What readers see is what live entries name.
async fn look_for_strays(store: &dyn Store, chart: &Chart, found: &mut Found) -> Result<(), VerifyError> {
    for prefix in [DATA_PREFIX, DEAD_LETTER_PREFIX] {
        let mut after: Option<String> = None;
        loop {
            let page = store.list(prefix, after.as_deref(), LIST_PAGE).await?;
            for object in &page {
                match found.named.get(&object.key) {
                    Some((_, true)) => {}
                    Some((sequence, false)) => {
                        let (sequence, key) = (*sequence, object.key.clone());
                        visible_though_superseded(
                            chart,
                            sequence,
                            key,
                            &mut found.findings,
                            &mut found.pending,
                        );
                    }
                    None => {
                        found.findings.push(Finding::Stray { key: object.key.clone(), bytes: object.bytes })
                    }
                }
            }
            match page.last() {
                Some(object) if page.len() == LIST_PAGE => after = Some(object.key.clone()),
                Some(_) | None => break,
            }
        }
    }
    Ok(())
}

fn visible_though_superseded(
    chart: &Chart,
    sequence: Sequence,
    key: String,
    findings: &mut Vec<Finding>,
    pending: &mut Vec<Pending>,
) {
    let rewind = chart.superseded.get(&sequence).copied().unwrap_or_default();
    if rewind > chart.settled_through {
        pending.push(Pending::Rewinding { sequence, key });
    } else {
        findings.push(Finding::SupersededVisible { sequence, key });
    }
}

/// Drops what entries explain that were appended while files were looked at.
async fn excuse(store: &dyn Store, chart: &Chart, found: &mut Found) -> Result<(), VerifyError> {
    if found.findings.is_empty() {
        return Ok(());
    }
    let newest = match read_newest(store).await {
        Ok(newest) => newest.map_or(chart.last, |newest| newest.sequence),
        Err(LedgerError::Store(error)) => return Err(error.into()),
        // Something is wrong with the log's end: reported if it was there before, and no excuse.
        Err(LedgerError::Entry(_) | LedgerError::Hole(_) | LedgerError::Stranger(_)) => chart.last,
    };
    let mut superseded: BTreeMap<Sequence, Sequence> = BTreeMap::new();
    let mut named: HashMap<String, Sequence> = HashMap::new();
    for sequence in (chart.last.next().0..=newest.0).map(Sequence) {
        let entry = match read_entry(store, sequence).await? {
            Read::Sound(entry) | Read::Broken(entry, _) => entry,
            Read::Unreadable(_) | Read::Absent => continue,
        };
        named.extend(entry.files.iter().map(|file| (file.key.clone(), sequence)));
        if let Kind::Rewind { superseded: gone, .. } = &entry.kind {
            superseded.extend(gone.iter().map(|gone| (*gone, sequence)));
        }
    }
    let mut pending = Vec::new();
    found.findings.retain(|finding| match finding {
        Finding::Stray { key, .. } => !named.contains_key(key),
        Finding::Missing { sequence, key }
        | Finding::NotParquet { sequence, key, .. }
        | Finding::Size { sequence, key, .. }
            if superseded.contains_key(sequence) =>
        {
            pending.push(Pending::Rewinding { sequence: *sequence, key: key.clone() });
            false
        }
        _ => true,
    });
    found.pending.append(&mut pending);
    Ok(())
}

#[cfg(test)]
mod tests;
