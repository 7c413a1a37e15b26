//! Settle: makes the store agree with the log. Idempotent; anyone may do it, and do it again.
//!
//! Order: live entries' uploads are completed. Of superseded ones the upload is aborted *first*, then a copy is kept,
//! then the object is deleted: the other way round a completion could slip in between (tests/model:
//! `if_the_delete_comes_first_…`).
//! Completing is not atomic with aborting and deleting, so the answers decide nothing: HEAD does, keys are never used
//! twice, and what must be gone is looked for again until it stayed away for [`GONE_AFTER`].
//! Neighbours: head (which entries), store (what is there).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, stream};

use crate::entry::{Entry, FileRef, Kind, SUPERSEDED_PREFIX, Sequence, SweptUpload};
use crate::head::{LedgerError, View, read_one};
use crate::store::{CompleteOutcome, Fault, Operation, Store, StoreError};

/// A superseded object that was absent for this long does not come back: no request in flight lives longer.
pub const GONE_AFTER: Duration = Duration::from_secs(15 * 60);
/// A live entry's object that is missing for this long is damage.
pub const DAMAGE_AFTER: Duration = Duration::from_secs(15 * 60);
/// Another writer's entry is settled for it when it has not done so by then.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(30);

const REQUESTS_AT_ONCE: usize = 16;

/// Which entries to settle now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// Everything that is not known to be settled: on opening.
    All,
    /// One's own entry, just appended.
    Own(Sequence),
    /// What was tried before, and what others left for longer than [`OVERDUE_AFTER`].
    Overdue,
}

/// A file that the log promises and the store does not have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    pub sequence: Sequence,
    pub key: String,
}

/// What a settling did.
#[derive(Debug, Default)]
pub struct Settled {
    /// Files seen to be visible now.
    pub visible: usize,
    /// Objects removed because a rewind superseded them.
    pub removed: usize,
    /// Entries that are still not settled.
    pub waiting: Vec<Sequence>,
    /// Reported on every settling until it is repaired.
    pub damage: Vec<Damage>,
    /// Why entries wait, where the store said why. They are tried again at the next settling.
    pub trouble: Vec<StoreError>,
}

/// What one process remembers between settlings.
#[derive(Debug, Default)]
pub struct Settler {
    checked: BTreeSet<Sequence>,
    tried: BTreeSet<Sequence>,
    first_seen_ms: BTreeMap<Sequence, u64>,
    /// Since when a superseded key has been absent.
    gone_since_ms: BTreeMap<String, u64>,
    /// Live keys that were looked for in vain.
    missing: BTreeMap<String, Missing>,
    /// Superseded entries that lie below the view's tail.
    old_entries: BTreeMap<Sequence, Entry>,
}

/// A live key that was not there from the first of these looks to the last.
#[derive(Clone, Copy, Debug)]
struct Missing {
    since_ms: u64,
    looked_ms: u64,
}

impl Missing {
    /// Only looks count: while nobody could look, nobody knows that it is missing.
    fn for_long(&self) -> bool {
        self.looked_ms.saturating_sub(self.since_ms) >= DAMAGE_AFTER.as_millis() as u64
    }
}

/// What one entry asks of the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Duty {
    Nothing,
    /// Complete these uploads.
    Show(Vec<FileRef>),
    /// Take the files of these entries away.
    Hide(Vec<Sequence>),
    /// Abort these uploads.
    Abort(Vec<SweptUpload>),
}

/// What an entry asks for, given what rewinds after it superseded.
pub fn duty(entry: &Entry, superseded: &BTreeSet<Sequence>) -> Duty {
    match &entry.kind {
        Kind::Open | Kind::Append if superseded.contains(&entry.sequence) => Duty::Nothing,
        Kind::Open | Kind::Append => Duty::Show(entry.files.clone()),
        Kind::Rewind { superseded, .. } => Duty::Hide(superseded.clone()),
        Kind::Sweep { uploads } => Duty::Abort(uploads.clone()),
        Kind::Reject { .. } | Kind::Release { .. } => Duty::Nothing,
    }
}

/// Everything that rewinds among these entries superseded.
pub fn superseded<'e>(entries: impl Iterator<Item = &'e Entry>) -> BTreeSet<Sequence> {
    entries
        .flat_map(|entry| match &entry.kind {
            Kind::Rewind { superseded, .. } => superseded.as_slice(),
            Kind::Open | Kind::Append | Kind::Reject { .. } | Kind::Release { .. } | Kind::Sweep { .. } => {
                &[]
            }
        })
        .copied()
        .collect()
}

impl Settler {
    /// Settles what `which` names. `now_ms` is monotonic; only differences count.
    pub async fn settle(
        &mut self,
        view: &mut View,
        which: Which,
        now_ms: u64,
    ) -> Result<Settled, LedgerError> {
        let gone = superseded(view.unsettled());
        let due: Vec<Entry> = view.unsettled().filter(|e| self.is_due(e, which, now_ms)).cloned().collect();
        let mut report = Settled::default();
        for entry in &due {
            self.tried.insert(entry.sequence);
            let done = match duty(entry, &gone) {
                Duty::Nothing => true,
                Duty::Show(files) => self.show(view, entry.sequence, files, which, now_ms, &mut report).await,
                Duty::Hide(sequences) => self.hide(view, &sequences, now_ms, &mut report).await?,
                Duty::Abort(uploads) => abort(view.store.as_ref(), &uploads, &mut report).await,
            };
            if done {
                self.checked.insert(entry.sequence);
            }
        }
        self.advance(view);
        self.report_damage(view, &mut report).await?;
        report.waiting = due.iter().map(|e| e.sequence).filter(|s| *s > view.settled_through()).collect();
        report.waiting.retain(|sequence| !self.checked.contains(sequence));
        Ok(report)
    }

    fn is_due(&mut self, entry: &Entry, which: Which, now_ms: u64) -> bool {
        let seen_ms = *self.first_seen_ms.entry(entry.sequence).or_insert(now_ms);
        if self.checked.contains(&entry.sequence) {
            return false;
        }
        match which {
            Which::All => true,
            Which::Own(sequence) => entry.sequence == sequence,
            Which::Overdue => {
                self.tried.contains(&entry.sequence)
                    || now_ms.saturating_sub(seen_ms) >= OVERDUE_AFTER.as_millis() as u64
            }
        }
    }

    /// Completes an entry's uploads. True when every file was seen to be there.
    async fn show(
        &mut self,
        view: &View,
        sequence: Sequence,
        files: Vec<FileRef>,
        which: Which,
        now_ms: u64,
        report: &mut Settled,
    ) -> bool {
        let store = view.store.as_ref();
        // One's own uploads are surely open; another's are probably completed, and HEAD is the cheaper question.
        let look_first = which != Which::Own(sequence);
        // Owned, because a future that borrows from a stream's iterator cannot be spawned.
        let shown: Vec<_> = stream::iter(files)
            .map(|file| async move {
                let shown = show_file(store, &file, look_first).await;
                (file, shown)
            })
            .buffered(REQUESTS_AT_ONCE)
            .collect()
            .await;
        let mut all = true;
        for (file, result) in shown {
            match result {
                Ok(true) => {
                    report.visible += 1;
                    self.missing.remove(&file.key);
                }
                Ok(false) => {
                    all = false;
                    self.miss(&file.key, now_ms);
                }
                Err(error) => {
                    all = false;
                    // Refused for good, and HEAD saw nothing: nobody will ever complete it.
                    if error.operation == Operation::CompleteUpload && error.fault == Fault::Refused {
                        self.miss(&file.key, now_ms);
                    }
                    report.trouble.push(error);
                }
            }
        }
        all
    }

    fn miss(&mut self, key: &str, now_ms: u64) {
        let first = Missing { since_ms: now_ms, looked_ms: now_ms };
        self.missing.entry(key.to_owned()).or_insert(first).looked_ms = now_ms;
    }

    /// Removes what a rewind superseded. True when all of it has stayed away long enough.
    async fn hide(
        &mut self,
        view: &View,
        sequences: &[Sequence],
        now_ms: u64,
        report: &mut Settled,
    ) -> Result<bool, LedgerError> {
        let mut all = true;
        let store = view.store.as_ref();
        // A rewind may take thousands of files out: one after the other would hold its worker up for minutes.
        let mut hidden = stream::iter(self.files_of(view, sequences).await?)
            .map(|file| async move { (hide_file(store, &file).await, file.key) })
            .buffer_unordered(REQUESTS_AT_ONCE);
        while let Some((hidden, key)) = hidden.next().await {
            match hidden {
                Ok(was_there) => {
                    report.removed += usize::from(was_there);
                    if was_there {
                        self.gone_since_ms.remove(&key);
                    }
                    let since_ms = *self.gone_since_ms.entry(key).or_insert(now_ms);
                    all &= now_ms.saturating_sub(since_ms) >= GONE_AFTER.as_millis() as u64;
                }
                Err(error) => {
                    all = false;
                    report.trouble.push(error);
                }
            }
        }
        Ok(all)
    }

    async fn files_of(&mut self, view: &View, sequences: &[Sequence]) -> Result<Vec<FileRef>, LedgerError> {
        let mut files = Vec::new();
        for sequence in sequences {
            if let Some(entry) = view.unsettled().find(|entry| entry.sequence == *sequence) {
                files.extend(entry.files.iter().cloned());
                continue;
            }
            if !self.old_entries.contains_key(sequence) {
                self.old_entries.insert(*sequence, read_one(view.store.as_ref(), *sequence).await?);
            }
            files.extend(self.old_entries[sequence].files.iter().cloned());
        }
        Ok(files)
    }

    /// Raises the view's mark over all that is checked, without a gap.
    fn advance(&mut self, view: &mut View) {
        let mut through = view.settled_through();
        while self.checked.contains(&through.next()) {
            through = through.next();
        }
        view.settle_through(through);
        let open = view.settled_through().next();
        self.checked = self.checked.split_off(&open);
        self.tried = self.tried.split_off(&open);
        self.first_seen_ms = self.first_seen_ms.split_off(&open);
        if view.unsettled().all(|entry| !matches!(entry.kind, Kind::Rewind { .. })) {
            self.old_entries.clear();
            self.gone_since_ms.clear();
        }
    }

    /// Damage is only what a second reading of the log still shows live.
    async fn report_damage(&mut self, view: &mut View, report: &mut Settled) -> Result<(), LedgerError> {
        if !self.missing.values().any(Missing::for_long) {
            return Ok(());
        }
        view.refresh().await?;
        let gone = superseded(view.unsettled());
        let live: Vec<(Sequence, &str)> = view
            .unsettled()
            .filter(|entry| entry.moves() && !gone.contains(&entry.sequence))
            .flat_map(|entry| entry.files.iter().map(|file| (entry.sequence, file.key.as_str())))
            .collect();
        self.missing.retain(|key, _| live.iter().any(|(_, live)| live == key));
        for (sequence, key) in live {
            if self.missing.get(key).is_some_and(Missing::for_long) {
                report.damage.push(Damage { sequence, key: key.to_owned() });
            }
        }
        Ok(())
    }
}

/// Completes one file's upload; true when the object is there.
async fn show_file(store: &dyn Store, file: &FileRef, look_first: bool) -> Result<bool, StoreError> {
    if look_first && store.head(&file.key).await?.is_some() {
        return Ok(true);
    }
    let answer = store.complete_upload(&file.key, &file.upload_id, &file.parts).await;
    if store.head(&file.key).await?.is_some() {
        return Ok(true);
    }
    match answer {
        Ok(CompleteOutcome::Completed | CompleteOutcome::NoSuchUpload) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes one superseded file away; true when there was one.
async fn hide_file(store: &dyn Store, file: &FileRef) -> Result<bool, StoreError> {
    store.abort_upload(&file.key, &file.upload_id).await?;
    if store.head(&file.key).await?.is_none() {
        return Ok(false);
    }
    store.copy(&file.key, &format!("{SUPERSEDED_PREFIX}{}", file.key)).await?;
    store.delete(&file.key).await?;
    Ok(true)
}

async fn abort(store: &dyn Store, uploads: &[SweptUpload], report: &mut Settled) -> bool {
    let before = report.trouble.len();
    for upload in uploads {
        if let Err(error) = store.abort_upload(&upload.key, &upload.upload_id).await {
            report.trouble.push(error);
        }
    }
    report.trouble.len() == before
}
