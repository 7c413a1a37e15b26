//! Fold: what a log means, by the real code's own functions.
//!
//! A model's log is small values; here it becomes real entries on a real view, once for every log there is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ledger::append::{AppendError, Draft, DraftFile};
use ledger::entry::{
    Entry, EntryId, FORMAT, FileRef, Kind, NextOffset, PartitionRange, Positions, Role, Sequence,
    SweptUpload, TopicRange, Writer,
};
use ledger::head::View;
use ledger::rewind::{SWEEP_AFTER, abandoned, plan};
use ledger::settle::{Duty, duty, superseded};
use ledger::store::memory::MemoryStore;
use ledger::store::{PartTag, UploadId, UploadMeta};
use uuid::Uuid;

const TOPIC: &str = "t";
/// The two writers' releases; the second is the one that gets rejected.
const RELEASES: [&str; 2] = ["good", "bad"];
pub const BAD: u8 = 1;

/// One step of a model's log.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    Append { writer: u8, upload: u8, from: i8, to: i8 },
    Reject,
    Rewind { target: u8, superseded: Vec<u8>, position: i8 },
    Sweep { uploads: Vec<u8> },
}

/// What the real code says of a draft.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    Append,
    Rejected,
    Swept,
    Fenced,
}

/// What one entry asks of the store, by number of upload.
#[derive(Clone, Debug)]
pub enum Asked {
    Nothing,
    Show(u8),
    Hide(Vec<u8>),
    Abort(Vec<u8>),
}

/// A log, folded.
pub struct Fold {
    view: View,
    entries: Vec<Entry>,
    /// Why the real code would not read this log.
    pub broken: Option<String>,
    pub position: i8,
    pub rejected: bool,
    /// Uploads of live entries, and of superseded ones.
    pub live: BTreeSet<u8>,
    pub superseded: BTreeSet<u8>,
    /// What each entry asks for, oldest first.
    pub asked: Vec<Asked>,
}

thread_local! {
    static FOLDS: RefCell<HashMap<Vec<Step>, Rc<Fold>>> = RefCell::new(HashMap::new());
}

pub fn fold(log: &[Step]) -> Rc<Fold> {
    if let Some(known) = FOLDS.with_borrow(|folds| folds.get(log).cloned()) {
        return known;
    }
    let folded = Rc::new(match log.split_last() {
        None => Fold::empty(),
        Some((last, before)) => fold(before).and(last),
    });
    FOLDS.with_borrow_mut(|folds| folds.insert(log.to_vec(), folded.clone()));
    folded
}

impl Fold {
    fn empty() -> Fold {
        Fold {
            view: View::empty(Arc::new(MemoryStore::new())),
            entries: Vec::new(),
            broken: None,
            position: 0,
            rejected: false,
            live: BTreeSet::new(),
            superseded: BTreeSet::new(),
            asked: Vec::new(),
        }
    }

    fn and(&self, step: &Step) -> Fold {
        let entry = self.entry(step);
        let mut view = self.view.clone();
        let checked = entry.check().and_then(|()| view.take(entry.clone()));
        let broken = self.broken.clone().or(checked.err().map(|error| error.to_string()));
        let entries: Vec<Entry> = self.entries.iter().cloned().chain([entry]).collect();
        let gone = superseded(entries.iter());
        let uploads = |wanted: bool| {
            let chosen = entries.iter().filter(|entry| gone.contains(&entry.sequence) == wanted);
            chosen.flat_map(|entry| entry.files.iter().map(|file| upload_of(&file.upload_id))).collect()
        };
        let position = view.position(TOPIC, 0).map_or(0, |position| position.0 as i8);
        let asked = entries.iter().map(|entry| asked(duty(entry, &gone), &entries)).collect();
        let rejected = view.rejected(&writer(BAD)).is_some();
        let (live, superseded) = (uploads(false), uploads(true));
        Fold { view, entries, broken, position, rejected, live, superseded, asked }
    }

    /// The real entry of a step on this log, whether or not the rules allow it.
    fn entry(&self, step: &Step) -> Entry {
        let newest = self.entries.last();
        let mut entry = Entry {
            format: FORMAT,
            sequence: Sequence(self.entries.len() as u64 + 1),
            kind: Kind::Append,
            entry_id: EntryId(Uuid::from_u128(self.entries.len() as u128)),
            writer: Writer::default(),
            committed_at: String::new(),
            topics: BTreeMap::new(),
            positions: newest.map(|newest| newest.positions.clone()).unwrap_or_default(),
            files: Vec::new(),
            rejected: newest.map(|newest| newest.rejected.clone()).unwrap_or_default(),
            settled_through: Sequence::ZERO,
        };
        match step {
            Step::Append { writer, upload, from, to } => {
                let draft = draft(*writer, *upload, *from, *to);
                if let Ok(entry) = draft.on(&self.view) {
                    return entry;
                }
                // A rule is off: the entry that a program without it would write.
                entry.positions = positions(*to);
                entry.files = draft.files.into_iter().map(|draft| draft.file).collect();
                (entry.writer, entry.topics) = (draft.writer, draft.topics);
            }
            Step::Reject => {
                let what = RELEASES[usize::from(BAD)].to_owned();
                entry.rejected.insert(what.clone());
                entry.kind = Kind::Reject { what, reason: String::new() };
            }
            Step::Rewind { target, superseded, position } => {
                let superseded = superseded.iter().map(|s| Sequence(u64::from(*s))).collect();
                let target = Sequence(u64::from(*target));
                entry.positions = positions(*position);
                entry.kind = Kind::Rewind { target, superseded, reason: String::new() };
            }
            Step::Sweep { uploads } => {
                let uploads =
                    uploads.iter().map(|upload| SweptUpload { key: key(*upload), upload_id: id(*upload) });
                entry.kind = Kind::Sweep { uploads: uploads.collect() };
            }
        }
        entry
    }

    /// Whether a draft may be appended to this log.
    pub fn answer(&self, writer: u8, upload: u8, from: i8, to: i8) -> Answer {
        match draft(writer, upload, from, to).on(&self.view) {
            Ok(_) => Answer::Append,
            Err(AppendError::Rejected { .. }) => Answer::Rejected,
            Err(AppendError::Swept { .. }) => Answer::Swept,
            Err(AppendError::Fenced { .. }) => Answer::Fenced,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// A rewind of this log; `None` when nothing is live from `target` on.
    pub fn rewind(&self, target: u8) -> Option<Step> {
        let entries = &self.entries[usize::from(target) - 1..];
        let (superseded, positions) = plan(entries, &self.view.positions())?;
        let superseded = superseded.iter().map(|sequence| sequence.0 as u8).collect();
        Some(Step::Rewind { target, superseded, position: positions[TOPIC][&0].0 as i8 })
    }

    /// The position as the entry before `target` had it: what a rewind must not use.
    pub fn position_before(&self, target: u8) -> i8 {
        let before = usize::from(target).checked_sub(2).and_then(|at| self.entries.get(at));
        before.map_or(0, |entry| entry.positions.get(TOPIC).map_or(0, |at| at[&0].0 as i8))
    }

    /// Of the open uploads those that a sweep takes; all are old by now.
    pub fn abandoned(&self, open: &[u8]) -> Vec<u8> {
        let begun = SystemTime::UNIX_EPOCH;
        let open = open.iter().map(|upload| UploadMeta { key: key(*upload), upload_id: id(*upload), begun });
        let now = begun + SWEEP_AFTER + Duration::from_secs(1);
        abandoned(&self.view, open.collect(), now).iter().map(|upload| upload_of(&upload.upload_id)).collect()
    }
}

fn asked(duty: Duty, entries: &[Entry]) -> Asked {
    match duty {
        Duty::Nothing => Asked::Nothing,
        Duty::Show(files) => {
            files.first().map_or(Asked::Nothing, |file| Asked::Show(upload_of(&file.upload_id)))
        }
        Duty::Hide(sequences) => {
            let files = sequences.iter().flat_map(|sequence| &entries[sequence.0 as usize - 1].files);
            Asked::Hide(files.map(|file| upload_of(&file.upload_id)).collect())
        }
        Duty::Abort(uploads) => {
            Asked::Abort(uploads.iter().map(|upload| upload_of(&upload.upload_id)).collect())
        }
    }
}

fn writer(writer: u8) -> Writer {
    Writer { release: RELEASES[usize::from(writer)].to_owned(), ..Writer::default() }
}

fn key(upload: u8) -> String {
    format!("data/{upload}")
}

fn id(upload: u8) -> UploadId {
    UploadId(upload.to_string())
}

fn upload_of(id: &UploadId) -> u8 {
    id.0.parse().expect("the model numbers its uploads")
}

fn positions(position: i8) -> Positions {
    BTreeMap::from([(TOPIC.to_owned(), BTreeMap::from([(0, NextOffset(i64::from(position)))]))])
}

fn draft(by: u8, upload: u8, from: i8, to: i8) -> Draft {
    let rows = (to - from) as u64;
    let file = FileRef {
        key: key(upload),
        role: Role::Data,
        upload_id: id(upload),
        parts: vec![PartTag(String::new())],
        rows,
        bytes: 1,
    };
    let (from, to) = (NextOffset(i64::from(from)), NextOffset(i64::from(to)));
    let range = PartitionRange { from, to, written: rows, ..PartitionRange::default() };
    let partitions = BTreeMap::from([(0, range)]);
    Draft {
        kind: Kind::Append,
        entry_id: EntryId(Uuid::from_u128(u128::from(upload))),
        writer: writer(by),
        committed_at: String::new(),
        topics: BTreeMap::from([(TOPIC.to_owned(), TopicRange { id: String::new(), partitions })]),
        files: vec![DraftFile { file, part_bytes: vec![1], age: Duration::ZERO }],
    }
}
