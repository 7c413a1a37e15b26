//! Chart: the log read from end to end, each entry checked by itself and beside the one before it.
//!
//! Order: oldest first; what a rewind says is checked against what was live when it was written.
//! Neighbours: verify, report; ledger's entry and store. Keeps of an entry only whether it is live.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use ledger::entry::{Entry, EntryError, Kind, LEDGER_PREFIX, Positions, Sequence};
use ledger::store::Store;

use super::VerifyError;
use super::report::{Finding, Report};

/// Entries fetched at the same time.
const FETCHES_AT_ONCE: usize = 16;
const LIST_PAGE: usize = 1000;

/// What is known of the log before any file is looked at.
#[derive(Debug, Default)]
pub(super) struct Chart {
    /// Entries that moved offsets and that no rewind superseded.
    pub live: BTreeSet<Sequence>,
    /// Superseded entries, and the rewind that did it.
    pub superseded: BTreeMap<Sequence, Sequence>,
    pub first: Sequence,
    pub last: Sequence,
    pub settled_through: Sequence,
    pub positions: Positions,
}

/// An entry as it lies in the store.
pub(super) enum Read {
    Sound(Box<Entry>),
    /// It could be read, and breaks a rule.
    Broken(Box<Entry>, String),
    Unreadable(String),
    Absent,
}

/// Reads one entry as far as it goes. A format that this build does not know stops everything.
pub(super) async fn read_entry(store: &dyn Store, sequence: Sequence) -> Result<Read, VerifyError> {
    let key = sequence.key();
    let Some(body) = store.get(&key).await? else { return Ok(Read::Absent) };
    Ok(match Entry::from_json(&key, &body) {
        Ok(entry) => Read::Sound(Box::new(entry)),
        Err(unknown @ EntryError::UnknownFormat { .. }) => return Err(VerifyError::Entry(unknown)),
        Err(EntryError::Malformed { source, .. }) => Read::Unreadable(source.to_string()),
        Err(EntryError::Broken { what, .. }) => match serde_json::from_slice::<Entry>(&body) {
            Ok(entry) if entry.sequence == sequence => Read::Broken(Box::new(entry), what),
            Ok(_) => Read::Unreadable(what),
            Err(error) => Read::Unreadable(error.to_string()),
        },
    })
}

impl Chart {
    /// Reads all entries from `from` on.
    pub(super) async fn read(
        store: &dyn Store,
        from: Sequence,
        report: &mut Report,
    ) -> Result<Chart, VerifyError> {
        let mut chart = Chart { first: from, ..Chart::default() };
        let Some((last, holes)) = list_log(store, from, report).await? else { return Ok(chart) };
        chart.last = last;
        let mut before: Option<Entry> = None;
        let sequences = (from.0..=last.0).map(Sequence).filter(|sequence| !holes.contains(sequence));
        let mut reads = stream::iter(sequences)
            .map(|sequence| async move { (sequence, read_entry(store, sequence).await) })
            .buffered(FETCHES_AT_ONCE);
        while let Some((sequence, read)) = reads.next().await {
            let entry = match read? {
                Read::Sound(entry) => *entry,
                Read::Broken(entry, why) => {
                    report.add(Finding::Broken { sequence, why });
                    *entry
                }
                Read::Unreadable(why) => {
                    report.add(Finding::Unreadable { sequence, why });
                    continue;
                }
                Read::Absent => {
                    report.add(Finding::Hole { first: sequence, last: sequence });
                    continue;
                }
            };
            let follows = before.as_ref().is_some_and(|before| before.sequence.next() == sequence);
            if (follows || sequence == Sequence(1))
                && let Err(error) = entry.check_follows(before.as_ref())
            {
                report.add(Finding::Broken { sequence, why: what_of(error) });
            }
            chart.take(&entry, report);
            before = Some(entry);
        }
        if let Some(newest) = before.filter(|newest| newest.sequence == last) {
            chart.settled_through = newest.settled_through;
            chart.positions = newest.positions;
        }
        Ok(chart)
    }

    fn take(&mut self, entry: &Entry, report: &mut Report) {
        match &entry.kind {
            Kind::Open | Kind::Append => {
                self.live.insert(entry.sequence);
            }
            Kind::Rewind { target, superseded, .. } => {
                let said: BTreeSet<Sequence> =
                    superseded.iter().copied().filter(|sequence| *sequence >= self.first).collect();
                let taken: BTreeSet<Sequence> = self.live.range(*target..).copied().collect();
                if said != taken {
                    let why = format!(
                        "it rewinds to {target} and names {} of the {} live entries from there on, and {} others",
                        said.intersection(&taken).count(),
                        taken.len(),
                        said.difference(&taken).count()
                    );
                    report.add(Finding::Rewind { sequence: entry.sequence, why });
                }
                // What it names is what every settler removes, right or wrong.
                for sequence in said {
                    self.live.remove(&sequence);
                    self.superseded.insert(sequence, entry.sequence);
                }
            }
            Kind::Reject { .. } | Kind::Release { .. } | Kind::Sweep { .. } => {}
        }
    }
}

fn what_of(error: EntryError) -> String {
    match error {
        EntryError::Broken { what, .. } => what,
        other => other.to_string(),
    }
}

/// The newest sequence and the holes at or after `from`; `None` when there is no entry.
async fn list_log(
    store: &dyn Store,
    from: Sequence,
    report: &mut Report,
) -> Result<Option<(Sequence, BTreeSet<Sequence>)>, VerifyError> {
    let (mut newest, mut above, mut holes) = (None, None::<Sequence>, BTreeSet::new());
    let mut hole = |first: u64, last: u64, report: &mut Report| {
        if first <= last {
            report.add(Finding::Hole { first: Sequence(first), last: Sequence(last) });
            holes.extend((first..=last).map(Sequence));
        }
    };
    let mut after: Option<String> = None;
    'pages: loop {
        let page = store.list(LEDGER_PREFIX, after.as_deref(), LIST_PAGE).await?;
        for object in &page {
            let Some(sequence) = Sequence::from_key(&object.key).filter(|found| *found > Sequence::ZERO)
            else {
                report.add(Finding::Stranger { key: object.key.clone() });
                continue;
            };
            if sequence < from {
                break 'pages;
            }
            newest = newest.or(Some(sequence));
            if let Some(above) = above {
                hole(sequence.0 + 1, above.0 - 1, report);
            }
            above = Some(sequence);
        }
        match page.last() {
            Some(object) if page.len() == LIST_PAGE => after = Some(object.key.clone()),
            Some(_) | None => break,
        }
    }
    let (Some(newest), Some(oldest)) = (newest, above) else { return Ok(None) };
    hole(from.0, oldest.0 - 1, report);
    Ok(Some((newest, holes)))
}
