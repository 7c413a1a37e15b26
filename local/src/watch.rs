//! Watch: follows the ledger from outside, as it stands in the store.
//!
//! Neighbours: the ledger's store below; story narrates what is seen here. Reads, never writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::entry::{Entry, Kind, LEDGER_PREFIX, Role, Sequence};
use ledger::store::{Store, StoreError};

use crate::narrate::number;

/// More new entries than this between two looks would mean a flush every few milliseconds.
const ENTRIES_A_LOOK_MAX: usize = 1_000;

/// Why the ledger cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("read the ledger")]
    Store(#[from] StoreError),
    #[error("read ledger entry `{key}`")]
    Entry {
        key: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("read ledger entry `{0}`: it was listed and is not there")]
    Gone(String),
}

/// What the entries seen so far add up to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub entries: u64,
    pub rows: u64,
    pub dead_letters: u64,
    pub filtered: u64,
    pub files: u64,
    /// Of this run's topic: first offset that no entry covers.
    pub positions: BTreeMap<i32, i64>,
    /// The newest entry that moved offsets.
    pub last_append: Option<Arc<Entry>>,
}

impl Totals {
    fn absorb(&mut self, topic: &str, entry: &Arc<Entry>) {
        self.entries += 1;
        for range in entry.topics.values().flat_map(|topic| topic.partitions.values()) {
            self.rows += range.written;
            self.dead_letters += range.dead_lettered;
            self.filtered += range.filtered;
        }
        self.files += entry.files.iter().filter(|file| file.role == Role::Data).count() as u64;
        if let Some(positions) = entry.positions.get(topic) {
            self.positions = positions.iter().map(|(partition, next)| (*partition, next.0)).collect();
        }
        if matches!(entry.kind, Kind::Append) {
            self.last_append = Some(entry.clone());
        }
    }

    /// Whether everything below `ends` is in the ledger.
    pub fn covers(&self, ends: &BTreeMap<i32, i64>) -> bool {
        ends.iter().all(|(partition, end)| self.positions.get(partition).is_some_and(|at| at >= end))
    }
}

/// The ledger as followed so far.
#[derive(Debug)]
pub struct LedgerTail {
    store: Arc<dyn Store>,
    topic: String,
    seen: Sequence,
    pub totals: Totals,
}

impl LedgerTail {
    pub fn new(store: Arc<dyn Store>, topic: String) -> LedgerTail {
        LedgerTail { store, topic, seen: Sequence::ZERO, totals: Totals::default() }
    }

    /// Entries that came since the last look, oldest first.
    pub async fn look(&mut self) -> Result<Vec<Arc<Entry>>, WatchError> {
        let listed = self.store.list(LEDGER_PREFIX, None, ENTRIES_A_LOOK_MAX).await?;
        let keys = listed.into_iter().map(|object| object.key);
        // Keys count down: the newest come first, and what was seen ends the list.
        let new: Vec<_> = keys
            .take_while(|key| Sequence::from_key(key).is_some_and(|sequence| sequence > self.seen))
            .collect();
        let mut entries = Vec::with_capacity(new.len());
        for key in new.into_iter().rev() {
            let bytes = self.store.get(&key).await?.ok_or_else(|| WatchError::Gone(key.clone()))?;
            let entry: Entry =
                serde_json::from_slice(&bytes).map_err(|source| WatchError::Entry { key, source })?;
            let entry = Arc::new(entry);
            self.seen = entry.sequence;
            self.totals.absorb(&self.topic, &entry);
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// An entry in one line.
pub fn describe(entry: &Entry) -> String {
    let sequence = entry.sequence;
    let ranges = || entry.topics.values().flat_map(|topic| topic.partitions.values());
    let files = |role| entry.files.iter().filter(|file| file.role == role).count();
    match &entry.kind {
        Kind::Open => format!("ledger entry {sequence}: release `{}` takes over", entry.writer.release),
        Kind::Append => {
            let moved = ranges().filter(|range| range.to > range.from).count();
            let sum = |count: fn(&ledger::entry::PartitionRange) -> u64| number(ranges().map(count).sum());
            format!(
                "ledger entry {sequence}: {moved} partitions move on; {} rows in {} Parquet files, {} dead letters, {} \
                 tombstones filtered",
                sum(|range| range.written),
                files(Role::Data),
                sum(|range| range.dead_lettered),
                sum(|range| range.filtered),
            )
        }
        Kind::Reject { what, reason } => {
            format!("ledger entry {sequence}: `{what}` may not write any more: {reason}")
        }
        Kind::Release { what, reason } => {
            format!("ledger entry {sequence}: `{what}` may write again: {reason}")
        }
        Kind::Rewind { target, superseded, reason } => format!(
            "ledger entry {sequence}: back to entry {target}, {} entries taken out: {reason}",
            superseded.len()
        ),
        Kind::Sweep { uploads } => {
            format!("ledger entry {sequence}: {} abandoned uploads given up", uploads.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ledger::entry::{EntryId, FORMAT, FileRef, NextOffset, PartitionRange, TopicRange, Writer};
    use ledger::store::memory::MemoryStore;
    use ledger::store::{PartTag, UploadId};
    use uuid::Uuid;

    use super::*;

    fn entry(sequence: u64, from: i64, to: i64) -> Entry {
        let range = PartitionRange {
            from: NextOffset(from),
            to: NextOffset(to),
            written: (to - from) as u64 - 1,
            dead_lettered: 1,
            ..PartitionRange::default()
        };
        let file = FileRef {
            key: format!("data/{sequence}.parquet"),
            role: Role::Data,
            upload_id: UploadId("u".into()),
            parts: vec![PartTag("t".into())],
            rows: range.written,
            bytes: 1,
        };
        let partitions = [(3, range)].into();
        Entry {
            format: FORMAT,
            sequence: Sequence(sequence),
            kind: Kind::Append,
            entry_id: EntryId(Uuid::from_u128(sequence.into())),
            writer: Writer::default(),
            committed_at: String::new(),
            topics: [("t".to_owned(), TopicRange { id: String::new(), partitions })].into(),
            positions: [("t".to_owned(), [(3, NextOffset(to))].into())].into(),
            files: vec![file],
            rejected: Default::default(),
            settled_through: Sequence::ZERO,
        }
    }

    async fn put(store: &MemoryStore, entry: &Entry) {
        let body = Bytes::from(serde_json::to_vec(entry).unwrap());
        store.put_if_absent(&entry.sequence.key(), body).await.unwrap();
    }

    #[tokio::test]
    async fn entries_are_told_once_and_in_order() {
        let store = Arc::new(MemoryStore::default());
        let mut tail = LedgerTail::new(store.clone(), "t".into());
        assert!(tail.look().await.unwrap().is_empty());
        put(&store, &entry(1, 0, 10)).await;
        put(&store, &entry(2, 10, 30)).await;
        let seen: Vec<u64> = tail.look().await.unwrap().iter().map(|e| e.sequence.0).collect();
        assert_eq!(seen, [1, 2]);
        put(&store, &entry(3, 30, 35)).await;
        assert_eq!(tail.look().await.unwrap().len(), 1);
        let totals = &tail.totals;
        assert_eq!((totals.entries, totals.rows, totals.dead_letters, totals.files), (3, 32, 3, 3));
        assert!(totals.covers(&[(3, 35)].into()));
        assert!(!totals.covers(&[(3, 36)].into()));
        assert!(!totals.covers(&[(4, 1)].into()));
    }

    #[test]
    fn an_append_is_one_line() {
        assert_eq!(
            describe(&entry(7, 0, 2_001)),
            "ledger entry 7: 1 partitions move on; 2,000 rows in 1 Parquet files, 1 dead letters, 0 tombstones filtered"
        );
    }
}
