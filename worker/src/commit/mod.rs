//! Commit: what the next ledger entry says. Decides when offsets may move: when the entry is in the log, never before.
//!
//! Order: all parts are in the store → the entry → settle → Kafka's offsets. Never the reverse.
//! Neighbours: batch's cursors and sink's files before it; pipeline carries it out. Pure: no I/O, no clock.

use std::collections::BTreeMap;

use ledger::append::{Draft, DraftFile};
use ledger::entry::{EntryId, Kind, Positions, TopicRange, Writer};

/// What a flush wants in the log.
pub fn draft(
    entry_id: EntryId,
    writer: &Writer,
    committed_at: String,
    topics: BTreeMap<String, TopicRange>,
    files: Vec<DraftFile>,
) -> Draft {
    Draft { kind: Kind::Append, entry_id, writer: writer.clone(), committed_at, topics, files }
}

/// What stands in each Parquet file's footer, so that a file found anywhere tells where it belongs.
pub fn footer(
    entry_id: EntryId,
    writer: &Writer,
    topics: &BTreeMap<String, TopicRange>,
) -> Vec<(String, String)> {
    let offsets: BTreeMap<&str, BTreeMap<i32, [i64; 2]>> = topics
        .iter()
        .map(|(topic, range)| {
            let partitions = range.partitions.iter().map(|(partition, r)| (*partition, [r.from.0, r.to.0]));
            (topic.as_str(), partitions.collect())
        })
        .collect();
    let offsets = serde_json::to_string(&offsets).expect("a map of strings and numbers is JSON");
    vec![
        ("landfall.entry_id".to_owned(), entry_id.to_string()),
        ("landfall.release".to_owned(), writer.release.clone()),
        ("landfall.image".to_owned(), writer.image.clone()),
        ("landfall.offsets".to_owned(), offsets),
    ]
}

/// Sums of an entry's topics, for logs and metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    pub written: u64,
    pub filtered: u64,
    pub dead_lettered: u64,
    pub absent: u64,
    pub lost: u64,
}

/// What became of all offsets that these ranges move.
pub fn totals(topics: &BTreeMap<String, TopicRange>) -> Totals {
    let mut totals = Totals::default();
    for range in topics.values().flat_map(|topic| topic.partitions.values()) {
        totals.written += range.written;
        totals.filtered += range.filtered;
        totals.dead_lettered += range.dead_lettered;
        totals.absent += range.absent.iter().map(|r| r.count()).sum::<u64>();
        totals.lost += range.lost.iter().map(|r| r.count()).sum::<u64>();
    }
    totals
}

/// The positions that these ranges end at: what Kafka's group is told.
pub fn positions(topics: &BTreeMap<String, TopicRange>) -> Positions {
    topics
        .iter()
        .map(|(topic, range)| {
            (topic.clone(), range.partitions.iter().map(|(partition, r)| (*partition, r.to)).collect())
        })
        .collect()
}
