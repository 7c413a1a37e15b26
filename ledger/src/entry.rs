//! Entry: one step of the log, as it stands in the store.
//!
//! An entry says: these offsets are now in these files, written by this release. Its sequence is its key, so
//! that a sequence can be written once. The format is numbered; an unknown number stops the reader.
//! Neighbours: store (ids of uploads and parts). Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{PartTag, UploadId};

/// The format this build writes. It reads this one and those before it.
pub const FORMAT: u32 = 1;

/// Where the log stands, under the output prefix.
pub const LEDGER_PREFIX: &str = "_landfall/ledger/";
/// Where dead letters stand, under the output prefix.
pub const DEAD_LETTER_PREFIX: &str = "_landfall/dead-letters/";
/// Where a rewind keeps what it took out, under the output prefix.
pub const SUPERSEDED_PREFIX: &str = "_landfall/superseded/";
/// What a table's location points at, under the output prefix.
pub const DATA_PREFIX: &str = "data/";

/// 10^19 - 1: the largest number of 19 digits. Keys count down from it, so that the newest entry lists first.
const SEQUENCE_CEILING: u64 = 9_999_999_999_999_999_999;

/// An entry's place in the log. The first entry is 1; 0 means "before the log".
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    pub const ZERO: Sequence = Sequence(0);

    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }

    /// `_landfall/ledger/<10^19 - 1 - sequence, 19 digits>.json`: a listing shows the newest entry first.
    pub fn key(self) -> String {
        format!("{LEDGER_PREFIX}{:019}.json", SEQUENCE_CEILING - self.0)
    }

    /// The inverse of [`Sequence::key`]; `None` for anything else that may lie under the prefix.
    pub fn from_key(key: &str) -> Option<Sequence> {
        let digits = key.strip_prefix(LEDGER_PREFIX)?.strip_suffix(".json")?;
        if digits.len() != 19 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Sequence(SEQUENCE_CEILING - digits.parse::<u64>().ok()?))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// First offset that no file holds yet. Kafka commits this, not the last one read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct NextOffset(pub i64);

impl fmt::Display for NextOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one attempt to append: an entry found in the log with it is one's own, whatever the reply said.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct EntryId(pub Uuid);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Positions of all partitions ever read, by topic and partition.
pub type Positions = BTreeMap<String, BTreeMap<i32, NextOffset>>;

/// Who wrote an entry.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Writer {
    /// The deployer's release id; `local` outside ECS.
    pub release: String,
    /// `sha256:…`; empty where no image is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Task definition family and revision, `clicks:17`; empty outside ECS.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The ECS task's id, or host and process id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// The program's version.
    pub version: String,
}

/// An inclusive range of offsets, `[first, last]` in JSON.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct OffsetRange(pub i64, pub i64);

impl OffsetRange {
    /// How many offsets it holds.
    pub fn count(self) -> u64 {
        (self.1 - self.0 + 1).max(0) as u64
    }
}

/// What became of one partition's offsets `from..to`.
///
/// `to - from = written + filtered + dead_lettered + absent + lost`, checked before an entry is written and
/// after one is read.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PartitionRange {
    pub from: NextOffset,
    pub to: NextOffset,
    /// Rows in the entry's data files.
    pub written: u64,
    /// Records left out on purpose: tombstones.
    pub filtered: u64,
    /// Records in the entry's dead-letter files.
    pub dead_lettered: u64,
    /// Offsets that Kafka has no record for: transaction markers, aborted and compacted records.
    pub absent: Vec<OffsetRange>,
    /// Offsets that retention took before they were read (`on_data_loss = "continue"`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<OffsetRange>,
    /// Of the last record read; -1 when unknown.
    pub leader_epoch: i32,
    /// The partition's oldest offset when the entry was written; -1 when unknown.
    pub log_start: i64,
    /// The partition's last stable offset when the entry was written; -1 when unknown.
    pub last_stable: i64,
}

/// One topic's part of an entry.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TopicRange {
    /// Kafka's topic id (KIP-516); empty where the broker does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub partitions: BTreeMap<i32, PartitionRange>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Data,
    DeadLetters,
}

/// A file that the entry promises; settling makes it visible.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FileRef {
    /// Never used twice.
    pub key: String,
    pub role: Role,
    pub upload_id: UploadId,
    pub parts: Vec<PartTag>,
    pub rows: u64,
    pub bytes: u64,
}

/// Why an entry was written, with what only that kind carries.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// A release takes over. New partitions get their first position here (`from = to`).
    Open,
    /// Offsets moved into files.
    Append,
    /// A release id or image digest may not write any more; `rejected` holds it from here on.
    Reject { what: String, reason: String },
    /// It may again.
    Release { what: String, reason: String },
    /// Everything live at or after `target` is superseded; positions go back.
    Rewind { target: Sequence, superseded: Vec<Sequence>, reason: String },
    /// Abandoned uploads are named before they are aborted; an appender that named one is fenced.
    Sweep { uploads: Vec<SweptUpload> },
}

/// An upload that no entry named in time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SweptUpload {
    pub key: String,
    pub upload_id: UploadId,
}

/// One object of the log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    pub format: u32,
    pub sequence: Sequence,
    #[serde(flatten)]
    pub kind: Kind,
    pub entry_id: EntryId,
    pub writer: Writer,
    /// RFC 3339, UTC, milliseconds; by the writer's clock, for people.
    pub committed_at: String,
    /// What this entry moved. Every known topic is here with its id, those at rest without partitions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, TopicRange>,
    /// Where everything stands after this entry.
    pub positions: Positions,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRef>,
    /// Release ids and image digests that may not write, after this entry.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rejected: BTreeSet<String>,
    /// All entries up to here are settled.
    pub settled_through: Sequence,
}

/// Why an entry cannot be used. Every one stops the reader: guessing would lose or double data.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error(
        "read ledger entry `{key}`: its format is {found}, this build reads up to {FORMAT}; run a newer release"
    )]
    UnknownFormat { key: String, found: u64 },
    #[error("read ledger entry `{key}`")]
    Malformed {
        key: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("check ledger entry {sequence}: {what}")]
    Broken { sequence: Sequence, what: String },
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

impl Entry {
    /// The entry as it is stored, checked first: a broken entry must never reach the log.
    pub fn to_json(&self) -> Result<Vec<u8>, EntryError> {
        self.check()?;
        serde_json::to_vec(self).map_err(|source| EntryError::Malformed { key: self.sequence.key(), source })
    }

    /// Reads an entry from under `key`, and checks it.
    pub fn from_json(key: &str, body: &[u8]) -> Result<Entry, EntryError> {
        let malformed = |source| EntryError::Malformed { key: key.to_owned(), source };
        let FormatOnly { format } = serde_json::from_slice(body).map_err(malformed)?;
        if format != u64::from(FORMAT) {
            return Err(EntryError::UnknownFormat { key: key.to_owned(), found: format });
        }
        let entry: Entry = serde_json::from_slice(body).map_err(malformed)?;
        if Sequence::from_key(key) != Some(entry.sequence) {
            return Err(entry.broken(format!("it stands under the key `{key}` of another sequence")));
        }
        entry.check()?;
        Ok(entry)
    }

    /// What must hold of an entry by itself.
    pub fn check(&self) -> Result<(), EntryError> {
        if self.settled_through >= self.sequence {
            return Err(self.broken(format!("it says that {} is settled", self.settled_through)));
        }
        for (topic, partition, range) in self.ranges() {
            range.check().map_err(|what| self.broken(format!("{topic}[{partition}]: {what}")))?;
            let position = self.positions.get(topic).and_then(|p| p.get(&partition));
            if position != Some(&range.to) {
                return Err(
                    self.broken(format!("{topic}[{partition}]: its position is not where its range ends"))
                );
            }
        }
        self.check_files()
    }

    fn check_files(&self) -> Result<(), EntryError> {
        for file in &self.files {
            if file.parts.is_empty() || file.parts.len() > crate::store::PARTS_MAX || file.rows == 0 {
                return Err(self.broken(format!("file `{}` has no rows or no parts", file.key)));
            }
        }
        let rows = |role| self.files.iter().filter(|f| f.role == role).map(|f| f.rows).sum::<u64>();
        let sum = |count: fn(&PartitionRange) -> u64| self.ranges().map(|(_, _, r)| count(r)).sum::<u64>();
        if rows(Role::Data) != sum(|r| r.written) || rows(Role::DeadLetters) != sum(|r| r.dead_lettered) {
            return Err(self.broken("the rows in its files are not the records that it counts".to_owned()));
        }
        Ok(())
    }

    /// What must hold of an entry beside the one before it (`None` for the first).
    pub fn check_follows(&self, before: Option<&Entry>) -> Result<(), EntryError> {
        let expected = before.map_or(Sequence(1), |entry| entry.sequence.next());
        if self.sequence != expected {
            return Err(self.broken(format!("it follows where {expected} should")));
        }
        let Some(before) = before else { return Ok(()) };
        if let Kind::Rewind { .. } = self.kind {
            return self.check_rewound(before);
        }
        let mut positions = before.positions.clone();
        for (topic, partition, range) in self.ranges() {
            let position = positions.entry(topic.to_owned()).or_default().insert(partition, range.to);
            if position.is_some_and(|position| position != range.from) {
                return Err(self.broken(format!(
                    "{topic}[{partition}]: it starts at {}, the position was {}",
                    range.from,
                    position.unwrap_or_default()
                )));
            }
        }
        if positions != self.positions {
            return Err(self.broken("its positions are not the former ones moved by its ranges".to_owned()));
        }
        Ok(())
    }

    fn check_rewound(&self, before: &Entry) -> Result<(), EntryError> {
        let same_partitions = before.positions.len() == self.positions.len()
            && before.positions.iter().all(|(topic, partitions)| {
                self.positions.get(topic).is_some_and(|after| {
                    after.len() == partitions.len()
                        && partitions.iter().all(|(p, old)| after.get(p).is_some_and(|new| new <= old))
                })
            });
        if same_partitions {
            Ok(())
        } else {
            Err(self.broken("a rewind may only move known positions back".to_owned()))
        }
    }

    /// Every partition that this entry moves: topic, partition, range.
    pub fn ranges(&self) -> impl Iterator<Item = (&str, i32, &PartitionRange)> {
        self.topics.iter().flat_map(|(topic, range)| {
            range.partitions.iter().map(move |(partition, range)| (topic.as_str(), *partition, range))
        })
    }

    /// Whether a rewind can supersede it: it moved offsets or made files.
    pub fn moves(&self) -> bool {
        match self.kind {
            Kind::Open | Kind::Append => true,
            Kind::Reject { .. } | Kind::Release { .. } | Kind::Rewind { .. } | Kind::Sweep { .. } => false,
        }
    }

    fn broken(&self, what: String) -> EntryError {
        EntryError::Broken { sequence: self.sequence, what }
    }
}

impl PartitionRange {
    /// `to - from = written + filtered + dead_lettered + absent + lost`, and the ranges inside are ordered.
    fn check(&self) -> Result<(), String> {
        let (from, to) = (self.from.0, self.to.0);
        if from < 0 || to < from {
            return Err(format!("its range {from}..{to} runs backwards"));
        }
        for ranges in [&self.absent, &self.lost] {
            let inside = ranges.iter().all(|r| from <= r.0 && r.0 <= r.1 && r.1 < to);
            let ordered = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
            if !inside || !ordered {
                return Err(format!("its absent or lost ranges leave {from}..{to} or overlap"));
            }
        }
        let none = |ranges: &[OffsetRange]| ranges.iter().map(|r| r.count()).sum::<u64>();
        let counted =
            self.written + self.filtered + self.dead_lettered + none(&self.absent) + none(&self.lost);
        if counted != (to - from) as u64 {
            return Err(format!("it counts {counted} offsets in {from}..{to}"));
        }
        Ok(())
    }
}
