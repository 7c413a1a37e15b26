//! Rewind: takes steps of the log back, and says who may not write.
//!
//! Order: reject first, then rewind: a rejected writer can't write behind the rewind (tests/model:
//! `without_rejection_…`).
//! A rewind supersedes the *live* entries at or after its target; each partition goes back to the smallest `from`
//! among them, never to a position copied from an old entry, so that several rewinds leave no hole.
//! Neighbours: append (how they get into the log), settle (takes their files away).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::append::AppendError;
use crate::entry::{
    DATA_PREFIX, DEAD_LETTER_PREFIX, Entry, EntryId, FORMAT, Kind, NextOffset, Positions, Sequence,
    SweptUpload, Writer,
};
use crate::head::{LedgerError, View, read_range};
use crate::settle::superseded;
use crate::store::{UploadId, UploadMeta};

/// Uploads that no entry names are swept after this long; an append names none older than an hour.
pub const SWEEP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Who writes an entry that moves no offsets forward, and when.
#[derive(Clone, Debug)]
pub struct Signature {
    pub entry_id: EntryId,
    pub writer: Writer,
    /// RFC 3339, UTC.
    pub committed_at: String,
}

/// What a rewind to `target` takes out, and where positions are then. `None`: nothing there is live.
///
/// `entries` are all entries from `target` to the head, oldest first; `positions` are the head's.
pub fn plan(entries: &[Entry], positions: &Positions) -> Option<(Vec<Sequence>, Positions)> {
    let gone = superseded(entries.iter());
    let live: Vec<&Entry> = entries.iter().filter(|e| e.moves() && !gone.contains(&e.sequence)).collect();
    if live.is_empty() {
        return None;
    }
    let mut smallest: BTreeMap<(&str, i32), NextOffset> = BTreeMap::new();
    for (topic, partition, range) in live.iter().flat_map(|entry| entry.ranges()) {
        let from = smallest.entry((topic, partition)).or_insert(range.from);
        *from = range.from.min(*from);
    }
    let mut positions = positions.clone();
    for ((topic, partition), from) in smallest {
        positions.entry(topic.to_owned()).or_default().insert(partition, from);
    }
    Some((live.iter().map(|entry| entry.sequence).collect(), positions))
}

/// A step that moves no offsets forward, before it is known on which head.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'s> {
    Rewind { target: Sequence, reason: &'s str },
    Reject { what: &'s str, reason: &'s str },
    Release { what: &'s str, reason: &'s str },
    Sweep { now: SystemTime },
}

impl Step<'_> {
    /// The entry that this step makes on the view's head; `None` when there is nothing to do.
    pub(crate) async fn on(self, view: &View, signature: &Signature) -> Result<Option<Entry>, LedgerError> {
        match self {
            Step::Rewind { target, reason } => {
                let target = target.max(Sequence(1));
                let entries = read_range(view.store.as_ref(), target, view.sequence()).await?;
                let Some((superseded, positions)) = plan(&entries, &view.positions()) else {
                    return Ok(None);
                };
                let kind = Kind::Rewind { target, superseded, reason: reason.to_owned() };
                Ok(Some(Entry { positions, ..standing(view, signature, kind) }))
            }
            Step::Reject { what, reason } => {
                let kind = Kind::Reject { what: what.to_owned(), reason: reason.to_owned() };
                let mut entry = standing(view, signature, kind);
                Ok(entry.rejected.insert(what.to_owned()).then_some(entry))
            }
            Step::Release { what, reason } => {
                let kind = Kind::Release { what: what.to_owned(), reason: reason.to_owned() };
                let mut entry = standing(view, signature, kind);
                Ok(entry.rejected.remove(what).then_some(entry))
            }
            Step::Sweep { now } => {
                let mut uploads = view.store.list_uploads(DATA_PREFIX).await?;
                uploads.extend(view.store.list_uploads(DEAD_LETTER_PREFIX).await?);
                let uploads = abandoned(view, uploads, now);
                let kind = Kind::Sweep { uploads: uploads.clone() };
                Ok((!uploads.is_empty()).then(|| standing(view, signature, kind)))
            }
        }
    }
}

impl View {
    /// Supersedes everything live at or after `target`. `None`: there was nothing to take back.
    pub async fn rewind(
        &mut self,
        target: Sequence,
        signature: &Signature,
        reason: &str,
    ) -> Result<Option<Entry>, AppendError> {
        self.append_step(Step::Rewind { target, reason }, signature).await
    }

    /// From here on `what`, a release id or an image's digest, may not write. `None`: it already may not.
    pub async fn reject(
        &mut self,
        what: &str,
        signature: &Signature,
        reason: &str,
    ) -> Result<Option<Entry>, AppendError> {
        self.append_step(Step::Reject { what, reason }, signature).await
    }

    /// From here on `what` may write again. `None`: nobody had rejected it.
    pub async fn release(
        &mut self,
        what: &str,
        signature: &Signature,
        reason: &str,
    ) -> Result<Option<Entry>, AppendError> {
        self.append_step(Step::Release { what, reason }, signature).await
    }

    /// Names the uploads that nobody will complete, older than [`SWEEP_AFTER`] at `now` by the store's clock.
    /// Settling aborts them. `None`: there are none.
    pub async fn sweep(
        &mut self,
        signature: &Signature,
        now: SystemTime,
    ) -> Result<Option<Entry>, AppendError> {
        self.append_step(Step::Sweep { now }, signature).await
    }
}

/// Of all open uploads those older than [`SWEEP_AFTER`] that no entry promises to complete and no sweep named
/// before. Settled entries have none open.
pub fn abandoned(view: &View, open: Vec<UploadMeta>, now: SystemTime) -> Vec<SweptUpload> {
    let named: BTreeSet<&UploadId> = view
        .unsettled()
        .flat_map(|entry| {
            let swept = match &entry.kind {
                Kind::Sweep { uploads } => uploads.as_slice(),
                Kind::Open
                | Kind::Append
                | Kind::Reject { .. }
                | Kind::Release { .. }
                | Kind::Rewind { .. } => &[],
            };
            let promised = entry.files.iter().map(|file| &file.upload_id);
            promised.chain(swept.iter().map(|upload| &upload.upload_id))
        })
        .collect();
    open.into_iter()
        .filter(|upload| now.duration_since(upload.begun).unwrap_or_default() >= SWEEP_AFTER)
        .filter(|upload| !named.contains(&upload.upload_id))
        .map(|upload| SweptUpload { key: upload.key, upload_id: upload.upload_id })
        .collect()
}

/// An entry that moves nothing, on the view's head.
fn standing(view: &View, signature: &Signature, kind: Kind) -> Entry {
    Entry {
        format: FORMAT,
        sequence: view.sequence().next(),
        kind,
        entry_id: signature.entry_id,
        writer: signature.writer.clone(),
        committed_at: signature.committed_at.clone(),
        topics: view.topics_at_rest(),
        positions: view.positions(),
        files: Vec::new(),
        rejected: view.newest().map(|newest| newest.rejected.clone()).unwrap_or_default(),
        settled_through: view.settled_through(),
    }
}
