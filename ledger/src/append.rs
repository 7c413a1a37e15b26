//! Append: one entry into the next slot of the log, and the truth about what became of it.
//!
//! Order: put if absent → on any doubt read the log again → decide, in this order: may I not write (any more)? is
//! my entry there? has nobody moved my partitions? else I am fenced. Another order loses or doubles data
//! (tests/model: `if_the_own_entry_is_looked_for_first_…`, `without_the_fence_…`).
//! An append in doubt never aborts its uploads before its slot is seen taken: a timed-out PUT may still land.
//! Neighbours: head before it; sink's uploads are named here, settle completes them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::entry::{
    Entry, EntryError, EntryId, FORMAT, FileRef, Kind, NextOffset, Sequence, TopicRange, Writer,
};
use crate::head::{LedgerError, View};
use crate::rewind::{Signature, Step};
use crate::store::{PART_BYTES_MIN, PARTS_MAX, PutOutcome, StoreError};

/// An entry must not name an older upload: abandoned ones are swept after a day, and lifecycles abort them.
pub const UPLOAD_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// Requests for one slot before an append gives up in doubt.
const TRIES_MAX: u32 = 8;
/// Slots that others may take before an append gives up; each was somebody's progress.
const SLOTS_MAX: u32 = 64;
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A file whose upload waits for an entry to name it.
#[derive(Clone, Debug)]
pub struct DraftFile {
    pub file: FileRef,
    /// Bytes of every part, in order.
    pub part_bytes: Vec<usize>,
    /// How long ago the upload was begun.
    pub age: Duration,
}

/// What a writer wants to append: everything but its place in the log.
#[derive(Clone, Debug)]
pub struct Draft {
    pub kind: Kind,
    /// Fresh for every draft: it tells one's own entry from another's.
    pub entry_id: EntryId,
    pub writer: Writer,
    /// RFC 3339, UTC.
    pub committed_at: String,
    pub topics: BTreeMap<String, TopicRange>,
    pub files: Vec<DraftFile>,
}

/// Why nothing was appended, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Stop. If `named`, the entry is in the log and its uploads belong to the log.
    #[error("append to the ledger: `{what}` is rejected and may not write")]
    Rejected { what: String, named: bool },
    /// Drop the batch: its uploads were given up by a sweep.
    #[error("append to the ledger: the upload of `{key}` was swept")]
    Swept { key: String },
    /// Drop the batch, abort its uploads, go on from the log's positions.
    #[error("append to the ledger: {topic}[{partition}] stands at {position}, this batch starts at {from}")]
    Fenced { topic: String, partition: i32, from: NextOffset, position: NextOffset },
    /// The entry may be in the log or may yet land there: touch nothing; append the same draft again, or stop
    /// and let the next start find out.
    #[error("append to the ledger: nobody knows whether entry {sequence} was written")]
    InDoubt {
        sequence: Sequence,
        #[source]
        source: LedgerError,
    },
    /// Other writers took every slot. Nothing happened; drop the batch or try again.
    #[error("append to the ledger: {SLOTS_MAX} slots in a row were taken by others")]
    Crowded,
    /// The draft breaks a rule that the store or a reader would only find later: a bug. Nothing happened.
    #[error("append to the ledger: {0}")]
    BadDraft(String),
    /// Nothing happened.
    #[error("append to the ledger")]
    Ledger(#[from] LedgerError),
}

impl From<EntryError> for AppendError {
    fn from(error: EntryError) -> AppendError {
        AppendError::Ledger(LedgerError::Entry(error))
    }
}

impl From<StoreError> for AppendError {
    fn from(error: StoreError) -> AppendError {
        AppendError::Ledger(LedgerError::Store(error))
    }
}

impl Draft {
    /// What S3 would only refuse later, and what a sweep or a lifecycle could take away meanwhile.
    pub fn check(&self) -> Result<(), AppendError> {
        match self.kind {
            Kind::Open | Kind::Append => {}
            Kind::Reject { .. } | Kind::Release { .. } | Kind::Rewind { .. } | Kind::Sweep { .. } => {
                let what = "a draft opens or appends; View has a method for every other kind".to_owned();
                return Err(AppendError::BadDraft(what));
            }
        }
        for DraftFile { file, part_bytes, age } in &self.files {
            let bad = |what: String| Err(AppendError::BadDraft(format!("file `{}`: {what}", file.key)));
            if part_bytes.is_empty() || part_bytes.len() > PARTS_MAX || part_bytes.len() != file.parts.len() {
                return bad(format!("it has {} parts", part_bytes.len()));
            }
            if part_bytes[..part_bytes.len() - 1].iter().any(|bytes| *bytes < PART_BYTES_MIN) {
                return bad("a part before its last is smaller than S3 takes".to_owned());
            }
            if *age > UPLOAD_AGE_MAX {
                return bad(format!("its upload is {} s old", age.as_secs()));
            }
        }
        Ok(())
    }

    /// The entry that this draft makes on the view's head, or why it may not be.
    pub fn on(&self, view: &View) -> Result<Entry, AppendError> {
        self.allowed(view, false)?;
        let mut positions = view.positions();
        // A topic without partitions stands nowhere: `positions` must be what the ranges make of it.
        for (topic, range) in self.topics.iter().filter(|(_, range)| !range.partitions.is_empty()) {
            let at = positions.entry(topic.clone()).or_default();
            for (partition, range) in &range.partitions {
                let position = at.insert(*partition, range.to);
                if let Some(position) = position.filter(|position| *position != range.from) {
                    let (topic, partition, from) = (topic.clone(), *partition, range.from);
                    return Err(AppendError::Fenced { topic, partition, from, position });
                }
            }
        }
        let rejected = view.newest().map(|newest| newest.rejected.clone()).unwrap_or_default();
        let mut topics = view.topics_at_rest();
        for (topic, range) in &self.topics {
            let known = topics.entry(topic.clone()).or_default();
            let id = if range.id.is_empty() { std::mem::take(&mut known.id) } else { range.id.clone() };
            *known = TopicRange { id, partitions: range.partitions.clone() };
        }
        Ok(Entry {
            format: FORMAT,
            sequence: view.sequence().next(),
            kind: self.kind.clone(),
            entry_id: self.entry_id,
            writer: self.writer.clone(),
            committed_at: self.committed_at.clone(),
            topics,
            positions,
            files: self.files.iter().map(|draft| draft.file.clone()).collect(),
            rejected,
            settled_through: view.settled_through(),
        })
    }

    /// The first question of every doubt: a rejected writer stops even when its entry made it into the log.
    fn allowed(&self, view: &View, named: bool) -> Result<(), AppendError> {
        if let Some(what) = view.rejected(&self.writer) {
            return Err(AppendError::Rejected { what: what.to_owned(), named });
        }
        match self.files.iter().find(|draft| view.is_swept(&draft.file.upload_id)) {
            Some(swept) if !named => Err(AppendError::Swept { key: swept.file.key.clone() }),
            Some(_) | None => Ok(()),
        }
    }
}

/// What became of one slot.
enum Slot {
    Ours,
    /// Another entry stands there: an earlier request of ours for it can't land any more.
    Taken,
}

impl View {
    /// Appends the draft, on whatever head the log has by then. The view holds the entry afterwards.
    ///
    /// A draft that was in doubt may be appended again, by the same view: its entry is found, or takes a slot.
    pub async fn append(&mut self, draft: &Draft) -> Result<Entry, AppendError> {
        draft.check()?;
        // Read by a refresh since an earlier doubt: taken for another's, it would fence its own writer.
        if let Some(entry) = self.unsettled().find(|entry| entry.entry_id == draft.entry_id).cloned() {
            draft.allowed(self, true)?;
            return Ok(entry);
        }
        for _ in 0..SLOTS_MAX {
            let entry = draft.on(self)?;
            match self.place(&entry).await? {
                Slot::Ours => {
                    draft.allowed(self, true)?;
                    return Ok(entry);
                }
                Slot::Taken => continue,
            }
        }
        Err(AppendError::Crowded)
    }

    /// Appends a step that is worked out anew on every head (`None`: there is nothing to do any more).
    pub(crate) async fn append_step(
        &mut self,
        step: Step<'_>,
        signature: &Signature,
    ) -> Result<Option<Entry>, AppendError> {
        for _ in 0..SLOTS_MAX {
            let Some(entry) = step.on(self, signature).await? else { return Ok(None) };
            match self.place(&entry).await? {
                Slot::Ours => return Ok(Some(entry)),
                Slot::Taken => continue,
            }
        }
        Err(AppendError::Crowded)
    }

    /// Puts the entry into its slot, until it is known whose slot that is.
    async fn place(&mut self, entry: &Entry) -> Result<Slot, AppendError> {
        let body = Bytes::from(entry.to_json()?);
        // Before the put, not after it: an entry that does not follow would stop every reader for good.
        entry.check_follows(self.newest())?;
        let mut doubt: Option<LedgerError> = None;
        // A former append of the same draft may have sent what has not landed yet.
        let doubted_before = self.doubted == Some(entry.entry_id);
        self.doubted = Some(entry.entry_id);
        for attempt in 0..TRIES_MAX {
            if attempt > 0 {
                tokio::time::sleep(backoff(attempt, entry.entry_id)).await;
            }
            match self.store.put_if_absent(&entry.sequence.key(), body.clone()).await {
                Ok(PutOutcome::Created) => {
                    self.doubted = None;
                    self.take(entry.clone())?;
                    return Ok(Slot::Ours);
                }
                Ok(PutOutcome::Exists) => {}
                Err(error) if error.is_unknown() => doubt = Some(error.into()),
                // Refused for good; but an earlier request may have got through, or may yet.
                Err(error) if doubt.is_some() || doubted_before => doubt = Some(error.into()),
                Err(error) => {
                    self.doubted = None;
                    return Err(error.into());
                }
            }
            match self.refresh().await {
                Ok(new) if self.sequence() >= entry.sequence => {
                    self.doubted = None;
                    let ours = new.iter().any(|other| other.entry_id == entry.entry_id);
                    return Ok(if ours { Slot::Ours } else { Slot::Taken });
                }
                Ok(_) => {}
                Err(LedgerError::Store(error)) if error.is_unknown() => doubt = Some(error.into()),
                Err(error) => return Err(in_doubt(entry, error)),
            }
        }
        let source = doubt.unwrap_or(LedgerError::Hole(entry.sequence));
        Err(in_doubt(entry, source))
    }
}

fn in_doubt(entry: &Entry, source: LedgerError) -> AppendError {
    AppendError::InDoubt { sequence: entry.sequence, source }
}

/// Doubles from 50 ms to 5 s; the entry's id spreads writers that collide.
fn backoff(attempt: u32, id: EntryId) -> Duration {
    let full = BACKOFF_FIRST.saturating_mul(1 << attempt.min(16)).min(BACKOFF_MAX);
    let jitter = f64::from(id.0.as_bytes()[15].rotate_left(attempt)) / 255.0;
    full.mul_f64(0.5 + jitter / 2.0)
}
