//! Head: the newest entry, and what the log says when read up to it.
//!
//! Order: entries are read oldest first and each is checked against the one before it, so that a view never holds
//! a log that could not have been written.
//! Neighbours: store and entry before it; append, settle and rewind stand on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::try_join_all;

use crate::entry::{
    Entry, EntryError, EntryId, Kind, LEDGER_PREFIX, NextOffset, Positions, Sequence, TopicRange, Writer,
};
use crate::store::{Store, StoreError, UploadId};

/// How many entries are fetched at the same time when a view catches up.
const FETCHES_AT_ONCE: u64 = 16;

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("read the ledger")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(
        "read the ledger: entry {0} is gone, although later ones are there; restore it from a version or a backup"
    )]
    Hole(Sequence),
    #[error("read the ledger: `{0}` is no entry of it; move it elsewhere")]
    Stranger(String),
}

/// The log as one process knows it: the newest entry, and everything that is not known to be settled.
///
/// A view only ever moves forward, by [`View::refresh`] or by the process's own appends.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) store: Arc<dyn Store>,
    newest: Option<Entry>,
    /// Entries above `settled_through`, by sequence.
    tail: BTreeMap<Sequence, Entry>,
    settled_through: Sequence,
    /// Uploads that a sweep named since this view was opened; an entry must not name them any more.
    swept: BTreeSet<UploadId>,
    /// The entry that an append left in doubt: its request may land as long as its slot is free.
    pub(crate) doubted: Option<EntryId>,
}

impl View {
    /// Reads the newest entry and all that is not settled below it. An empty log is a view too.
    pub async fn open(store: Arc<dyn Store>) -> Result<View, LedgerError> {
        let newest = read_newest(store.as_ref()).await?;
        let mut view = View::empty(store);
        let Some(newest) = newest else { return Ok(view) };
        view.settled_through = newest.settled_through;
        for entry in read_range(view.store.as_ref(), view.settled_through.next(), newest.sequence).await? {
            view.take(entry)?;
        }
        Ok(view)
    }

    /// The view of an empty log, without asking the store.
    pub fn empty(store: Arc<dyn Store>) -> View {
        View {
            store,
            newest: None,
            tail: BTreeMap::new(),
            settled_through: Sequence::ZERO,
            swept: BTreeSet::new(),
            doubted: None,
        }
    }

    /// Reads what was appended since. Returns the new entries, oldest first.
    pub async fn refresh(&mut self) -> Result<Vec<Entry>, LedgerError> {
        let Some(newest) = read_newest(self.store.as_ref()).await? else {
            return if self.newest.is_none() {
                Ok(Vec::new())
            } else {
                Err(LedgerError::Hole(self.sequence()))
            };
        };
        if newest.sequence < self.sequence() {
            return Err(LedgerError::Hole(self.sequence()));
        }
        let entries = read_range(self.store.as_ref(), self.sequence().next(), newest.sequence).await?;
        for entry in &entries {
            self.take(entry.clone())?;
        }
        Ok(entries)
    }

    /// Moves the view over the entry that follows it, without asking the store.
    pub fn take(&mut self, entry: Entry) -> Result<(), EntryError> {
        let first_read = self.newest.is_none() && self.settled_through > Sequence::ZERO;
        if !first_read {
            entry.check_follows(self.newest.as_ref())?;
        }
        if let Kind::Sweep { uploads } = &entry.kind {
            self.swept.extend(uploads.iter().map(|upload| upload.upload_id.clone()));
        }
        self.tail.insert(entry.sequence, entry.clone());
        let through = entry.settled_through;
        self.newest = Some(entry);
        self.settle_through(through);
        Ok(())
    }

    /// The newest entry; `None` when the log is empty.
    pub fn newest(&self) -> Option<&Entry> {
        self.newest.as_ref()
    }

    /// The newest entry's sequence; zero when the log is empty.
    pub fn sequence(&self) -> Sequence {
        self.newest.as_ref().map_or(Sequence::ZERO, |entry| entry.sequence)
    }

    /// Where everything stands.
    pub fn positions(&self) -> Positions {
        self.newest.as_ref().map(|entry| entry.positions.clone()).unwrap_or_default()
    }

    /// Where one partition stands; `None` when no entry ever named it.
    pub fn position(&self, topic: &str, partition: i32) -> Option<NextOffset> {
        self.newest.as_ref()?.positions.get(topic)?.get(&partition).copied()
    }

    /// A topic's id (KIP-516), where an entry ever named it: a topic of the same name with another id is another.
    pub fn topic_id(&self, topic: &str) -> Option<&str> {
        let id = self.newest.as_ref()?.topics.get(topic)?.id.as_str();
        (!id.is_empty()).then_some(id)
    }

    /// All known topics, none of them moved: every entry carries their ids on, so that the head alone tells them.
    pub(crate) fn topics_at_rest(&self) -> BTreeMap<String, TopicRange> {
        let Some(newest) = &self.newest else { return BTreeMap::new() };
        let at_rest = |range: &TopicRange| TopicRange { id: range.id.clone(), partitions: BTreeMap::new() };
        newest.topics.iter().map(|(topic, range)| (topic.clone(), at_rest(range))).collect()
    }

    /// What of this writer is rejected: its release id or its image's digest.
    pub fn rejected<'w>(&self, writer: &'w Writer) -> Option<&'w str> {
        let rejected = &self.newest.as_ref()?.rejected;
        [writer.release.as_str(), writer.image.as_str()]
            .into_iter()
            .find(|name| !name.is_empty() && rejected.contains(*name))
    }

    /// Whether a sweep named this upload.
    pub fn is_swept(&self, upload: &UploadId) -> bool {
        self.swept.contains(upload)
    }

    /// All entries up to here are known to be settled.
    pub fn settled_through(&self) -> Sequence {
        self.settled_through
    }

    /// Entries not known to be settled, oldest first.
    pub fn unsettled(&self) -> impl Iterator<Item = &Entry> {
        self.tail.values()
    }

    pub(crate) fn settle_through(&mut self, sequence: Sequence) {
        if sequence > self.settled_through {
            self.settled_through = sequence;
            self.tail = self.tail.split_off(&sequence.next());
        }
    }
}

/// The newest entry, by one LIST and one GET; `None` when the log is empty.
pub async fn read_newest(store: &dyn Store) -> Result<Option<Entry>, LedgerError> {
    // After the prefix itself: consoles leave an empty object of that name to show a folder.
    let Some(object) = store.list(LEDGER_PREFIX, Some(LEDGER_PREFIX), 1).await?.into_iter().next() else {
        return Ok(None);
    };
    let sequence = Sequence::from_key(&object.key).ok_or(LedgerError::Stranger(object.key))?;
    read_one(store, sequence).await.map(Some)
}

/// One entry by its sequence.
pub async fn read_one(store: &dyn Store, sequence: Sequence) -> Result<Entry, LedgerError> {
    let key = sequence.key();
    let body = store.get(&key).await?.ok_or(LedgerError::Hole(sequence))?;
    Ok(Entry::from_json(&key, &body)?)
}

/// Entries `first..=last`, oldest first; all must be there.
pub async fn read_range(
    store: &dyn Store,
    first: Sequence,
    last: Sequence,
) -> Result<Vec<Entry>, LedgerError> {
    let mut entries = Vec::new();
    let mut next = first;
    while next <= last {
        let until = Sequence(last.0.min(next.0 + FETCHES_AT_ONCE - 1));
        let fetches = (next.0..=until.0).map(|sequence| read_one(store, Sequence(sequence)));
        entries.extend(try_join_all(fetches).await?);
        next = until.next();
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn a_consoles_folder_marker_is_no_entry_and_anything_else_stops_the_reader() {
        let store = MemoryStore::new();
        store.overwrite(LEDGER_PREFIX, bytes::Bytes::new());
        assert!(read_newest(&store).await.expect("it is skipped").is_none());
        store.overwrite("_landfall/ledger/notes.txt", bytes::Bytes::new());
        assert!(matches!(read_newest(&store).await, Err(LedgerError::Stranger(_))));
    }
}
