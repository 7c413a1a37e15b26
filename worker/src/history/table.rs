//! Table: an entry a line, with a sentence.
//!
//! Neighbours: history. Pure.

use std::collections::BTreeMap;
use std::io::{self, Write};

use ledger::entry::{Entry, FORMAT, Kind, OffsetRange, Positions, Role, Sequence};

use crate::settings::units::show_bytes;

const COLUMNS: [&str; 11] = [
    "SEQ",
    "TIME (UTC)",
    "KIND",
    "RELEASE",
    "WRITTEN",
    "DEAD",
    "FILES",
    "BYTES",
    "PARTITIONS",
    "UNSETTLED",
    "WHAT",
];
/// Columns of words stand to the left, of numbers to the right.
const LEFT: [usize; 4] = [1, 2, 3, 10];
/// A release id is a hash; its beginning is enough to know it by.
const RELEASE_CHARS: usize = 12;
/// Partitions named in a sentence before it says "and more".
const NAMED_MAX: usize = 3;

/// Lines in the making; entries come oldest first.
#[derive(Debug, Default)]
pub(super) struct Table {
    lines: Vec<(Sequence, [String; COLUMNS.len()])>,
    /// What was superseded, and by which rewind.
    superseded: BTreeMap<Sequence, Sequence>,
    positions: Option<Positions>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn add(&mut self, sequence: Sequence, body: Option<&[u8]>) {
        let entry = match body.map(|body| Entry::from_json(&sequence.key(), body)) {
            Some(Ok(entry)) => entry,
            Some(Err(error)) => return self.add_unreadable(sequence, crate::chain(&error).to_string()),
            None => return self.add_unreadable(sequence, "it was listed, and is gone".to_owned()),
        };
        if let Kind::Rewind { superseded, .. } = &entry.kind {
            self.superseded.extend(superseded.iter().map(|old| (*old, sequence)));
        }
        let what = what(&entry, self.positions.as_ref());
        self.lines.push((sequence, columns(&entry, what)));
        self.positions = Some(entry.positions);
    }

    fn add_unreadable(&mut self, sequence: Sequence, why: String) {
        let mut line: [String; COLUMNS.len()] = Default::default();
        line[0] = sequence.to_string();
        line[2] = "?".to_owned();
        line[10] = format!("this version (format {FORMAT}) cannot read it: {why}");
        self.lines.push((sequence, line));
        self.positions = None;
    }

    pub fn print(mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        for (sequence, line) in &mut self.lines {
            if let Some(by) = self.superseded.get(sequence) {
                line[10] = format!("superseded by {by}; it was: {}", line[10]);
            }
        }
        let widths: [usize; COLUMNS.len()] = std::array::from_fn(|column| {
            let cells = self.lines.iter().map(|(_, line)| line[column].chars().count());
            cells.max().unwrap_or(0).max(COLUMNS[column].len())
        });
        let header = COLUMNS.map(str::to_owned);
        for line in std::iter::once(&header).chain(self.lines.iter().map(|(_, line)| line)) {
            let cells = line.iter().enumerate().map(|(column, cell)| {
                let width = widths[column];
                if LEFT.contains(&column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn columns(entry: &Entry, what: String) -> [String; COLUMNS.len()] {
    let number = |count: u64| if count == 0 { "-".to_owned() } else { grouped(count) };
    let sum =
        |count: fn(&ledger::entry::PartitionRange) -> u64| entry.ranges().map(|(_, _, r)| count(r)).sum();
    let bytes = entry.files.iter().map(|file| file.bytes).sum::<u64>();
    // An entry is written before it is settled, so that the one before it is the best that it can know of.
    let unsettled = entry.sequence.0.saturating_sub(1).saturating_sub(entry.settled_through.0);
    let (kind, _) = kind_name(&entry.kind);
    [
        entry.sequence.to_string(),
        entry.committed_at.get(..19).unwrap_or(&entry.committed_at).replace('T', " "),
        kind.to_owned(),
        entry.writer.release.chars().take(RELEASE_CHARS).collect(),
        number(sum(|range| range.written)),
        number(sum(|range| range.dead_lettered)),
        number(entry.files.len() as u64),
        if bytes == 0 { "-".to_owned() } else { show_bytes(bytes) },
        number(entry.ranges().filter(|(_, _, range)| range.to != range.from).count() as u64),
        number(unsettled),
        what,
    ]
}

/// The kind's name, and its reason where it has one.
fn kind_name(kind: &Kind) -> (&'static str, Option<&str>) {
    match kind {
        Kind::Open => ("open", None),
        Kind::Append => ("append", None),
        Kind::Reject { reason, .. } => ("reject", Some(reason)),
        Kind::Release { reason, .. } => ("release", Some(reason)),
        Kind::Rewind { reason, .. } => ("rewind", Some(reason)),
        Kind::Sweep { .. } => ("sweep", None),
    }
}

/// What the entry did, as a sentence.
fn what(entry: &Entry, before: Option<&Positions>) -> String {
    let writer = &entry.writer;
    let because =
        kind_name(&entry.kind).1.map(|reason| format!(": {}", one_line(reason))).unwrap_or_default();
    match &entry.kind {
        Kind::Open => {
            let new = entry.ranges().count();
            let by =
                [&writer.image, &writer.revision, &writer.task].into_iter().filter(|part| !part.is_empty());
            let by: Vec<&str> = by.map(String::as_str).collect();
            let new = if new == 0 { String::new() } else { format!(", {} new", partitions(new)) };
            format!("takes over ({}){new}", by.join(", "))
        }
        Kind::Append => moved(entry),
        Kind::Reject { what, .. } => format!("{what} may not write any more{because}"),
        Kind::Release { what, .. } => format!("{what} may write again{because}"),
        Kind::Rewind { target, superseded, .. } => format!(
            "goes back to before {target}, {} superseded{}{because}",
            counted(superseded.len(), "entry", "entries"),
            went_back(&entry.positions, before)
        ),
        Kind::Sweep { uploads } => {
            format!("gives up {}", counted(uploads.len(), "abandoned upload", "abandoned uploads"))
        }
    }
}

/// `shop-events[0] 1000..2000, …; 4 filtered`.
fn moved(entry: &Entry) -> String {
    let ranges: Vec<_> = entry.ranges().filter(|(_, _, range)| range.to != range.from).collect();
    let named = ranges
        .iter()
        .map(|(topic, partition, range)| format!("{topic}[{partition}] {}..{}", range.from, range.to));
    let mut text = listed(named, ranges.len());
    let holes = |ranges: &[OffsetRange]| ranges.iter().map(|range| range.count()).sum::<u64>();
    let counts = [
        (entry.ranges().map(|(_, _, range)| range.filtered).sum(), "filtered"),
        (entry.ranges().map(|(_, _, range)| holes(&range.absent)).sum(), "absent"),
        (entry.ranges().map(|(_, _, range)| holes(&range.lost)).sum(), "LOST"),
    ];
    for (count, name) in counts.into_iter().filter(|(count, _): &(u64, _)| *count > 0) {
        text.push_str(&format!("; {} {name}", grouped(count)));
    }
    let dead = entry.files.iter().filter(|file| file.role == Role::DeadLetters).count();
    if dead > 0 {
        text.push_str(&format!("; {} of dead letters", counted(dead, "file", "files")));
    }
    text
}

fn went_back(after: &Positions, before: Option<&Positions>) -> String {
    let Some(before) = before else { return String::new() };
    let moves: Vec<String> = after
        .iter()
        .flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(number, position)| (topic, number, position))
        })
        .filter_map(|(topic, number, position)| {
            let old = before.get(topic)?.get(number)?;
            (old != position).then(|| format!("{topic}[{number}] {old} -> {position}"))
        })
        .collect();
    let count = moves.len();
    if count == 0 {
        ", no position moved".to_owned()
    } else {
        format!(", {}", listed(moves.into_iter(), count))
    }
}

fn listed(named: impl Iterator<Item = String>, count: usize) -> String {
    let named: Vec<String> = named.take(NAMED_MAX).collect();
    let more = count - named.len();
    let text = named.join(", ");
    if more == 0 { text } else { format!("{text} and {} more", partitions(more)) }
}

fn partitions(count: usize) -> String {
    counted(count, "partition", "partitions")
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(count as u64)) }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `1234567` → `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
