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
        self.check_kind()?;
        self.check_files()
    }

    /// Kinds that move nothing forward carry no ranges and no files; a rewind takes out what is before it.
    fn check_kind(&self) -> Result<(), EntryError> {
        let carries = self.ranges().next().is_some() || !self.files.is_empty();
        if carries && !self.moves() {
            return Err(self.broken("an entry of its kind has no ranges and no files".to_owned()));
        }
        if let Kind::Rewind { target, superseded, .. } = &self.kind {
            let inside = superseded.iter().all(|s| target <= s && *s < self.sequence);
            if superseded.is_empty() || !inside {
                return Err(self.broken(format!("it takes out nothing, or not only {target} and later")));
            }
        }
        Ok(())
    }

    fn check_files(&self) -> Result<(), EntryError> {
        for file in &self.files {
            if file.parts.is_empty() || file.parts.len() > crate::store::PARTS_MAX || file.rows == 0 {
                return Err(self.broken(format!("file `{}` has no rows or no parts", file.key)));
            }
        }
        let rows =
            |role| self.files.iter().filter(|f| f.role == role).map(|f| u128::from(f.rows)).sum::<u128>();
        let sum = |count: fn(&PartitionRange) -> u64| {
            self.ranges().map(|(_, _, r)| u128::from(count(r))).sum::<u128>()
        };
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
        if self.settled_through < before.settled_through {
            return Err(self.broken(format!("it takes back that {} is settled", before.settled_through)));
        }
        let mut rejected = before.rejected.clone();
        match &self.kind {
            Kind::Reject { what, .. } => drop(rejected.insert(what.clone())),
            Kind::Release { what, .. } => drop(rejected.remove(what)),
            Kind::Open | Kind::Append | Kind::Rewind { .. } | Kind::Sweep { .. } => {}
        }
        if rejected != self.rejected {
            return Err(self.broken("its rejections are not the former ones".to_owned()));
        }
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
        // In u128, because what was read may hold any u64: a sum that wraps would add up by accident.
        let none = self.absent.iter().chain(&self.lost).map(|range| u128::from(range.count()));
        let counted = [self.written, self.filtered, self.dead_lettered].map(u128::from);
        let counted = counted.into_iter().chain(none).sum::<u128>();
        if counted != (to - from) as u128 {
            return Err(format!("it counts {counted} offsets in {from}..{to}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = PartitionRange> {
        let counts = (0u64..50, 0u64..50, 0u64..50);
        let gaps = prop::collection::vec((1i64..5, 1i64..5), 0..4);
        (0i64..1 << 40, counts, gaps, -1i32..9, any::<bool>()).prop_map(
            |(from, (written, filtered, dead_lettered), gaps, leader_epoch, lost)| {
                let mut to = from + (written + filtered + dead_lettered) as i64;
                let mut none = Vec::new();
                for (_, length) in gaps {
                    none.push(OffsetRange(to, to + length - 1));
                    to += length;
                }
                let (absent, lost) = if lost { (Vec::new(), none) } else { (none, Vec::new()) };
                PartitionRange {
                    from: NextOffset(from),
                    to: NextOffset(to),
                    written,
                    filtered,
                    dead_lettered,
                    absent,
                    lost,
                    leader_epoch,
                    log_start: -1,
                    last_stable: to,
                }
            },
        )
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        let sequences = prop::collection::btree_set(1u64..9, 1..4);
        let text = "[a-z\"\\\\ é…]{0,12}";
        prop_oneof![
            Just(Kind::Open),
            Just(Kind::Append),
            (text, text).prop_map(|(what, reason)| Kind::Reject { what, reason }),
            (text, text).prop_map(|(what, reason)| Kind::Release { what, reason }),
            (sequences, text).prop_map(|(sequences, reason)| Kind::Rewind {
                target: Sequence(1),
                superseded: sequences.into_iter().map(Sequence).collect(),
                reason
            }),
            prop::collection::vec((text, text), 0..3).prop_map(|uploads| Kind::Sweep {
                uploads: uploads
                    .into_iter()
                    .map(|(key, upload_id)| SweptUpload { key, upload_id: UploadId(upload_id) })
                    .collect()
            }),
        ]
    }

    fn entries() -> impl Strategy<Value = Entry> {
        let topics = prop::collection::btree_map(
            "[a-z.é]{1,6}",
            prop::collection::btree_map(0i32..9, ranges(), 1..4),
            0..3,
        );
        let rejected = prop::collection::btree_set("[a-z:]{1,6}", 0..3);
        (kinds(), topics, rejected, 9u64..1 << 60, any::<u128>(), "[a-z0-9]{0,5}").prop_map(
            |(kind, topics, rejected, sequence, id, word)| {
                let moves = matches!(kind, Kind::Open | Kind::Append);
                let topics: BTreeMap<String, TopicRange> = topics
                    .into_iter()
                    .map(|(topic, partitions)| (topic, TopicRange { id: word.clone(), partitions }))
                    .collect();
                let mut entry = Entry {
                    format: FORMAT,
                    sequence: Sequence(sequence),
                    kind,
                    entry_id: EntryId(Uuid::from_u128(id)),
                    writer: Writer { release: word.clone(), image: word.clone(), ..Writer::default() },
                    committed_at: word,
                    positions: BTreeMap::new(),
                    topics,
                    files: Vec::new(),
                    rejected,
                    settled_through: Sequence(sequence - 9),
                };
                for (topic, range) in &entry.topics {
                    let positions = range.partitions.iter().map(|(partition, range)| (*partition, range.to));
                    entry.positions.insert(topic.clone(), positions.collect());
                }
                if !moves {
                    entry.topics.clear();
                }
                for (role, count) in [
                    (Role::Data, (|range| range.written) as fn(&PartitionRange) -> u64),
                    (Role::DeadLetters, |range| range.dead_lettered),
                ] {
                    let rows: u64 = entry.ranges().map(|(_, _, range)| count(range)).sum();
                    if rows > 0 {
                        entry.files.push(FileRef {
                            key: format!("data/{role:?}"),
                            role,
                            upload_id: UploadId("u\"1".to_owned()),
                            parts: vec![PartTag("\"etag\"".to_owned())],
                            rows,
                            bytes: rows * 9,
                        });
                    }
                }
                entry
            },
        )
    }

    /// An entry that moves `clicks[0]` over `range`.
    fn moving(range: PartitionRange) -> Entry {
        let positions = BTreeMap::from([("clicks".to_owned(), BTreeMap::from([(0, range.to)]))]);
        let partitions = BTreeMap::from([(0, range)]);
        Entry {
            format: FORMAT,
            sequence: Sequence(1),
            kind: Kind::Append,
            entry_id: EntryId(Uuid::nil()),
            writer: Writer::default(),
            committed_at: String::new(),
            topics: BTreeMap::from([("clicks".to_owned(), TopicRange { id: String::new(), partitions })]),
            positions,
            files: Vec::new(),
            rejected: BTreeSet::new(),
            settled_through: Sequence::ZERO,
        }
    }

    fn filtered(from: i64, to: i64) -> PartitionRange {
        let (from, to, filtered) = (NextOffset(from), NextOffset(to), (to - from) as u64);
        PartitionRange { from, to, filtered, ..PartitionRange::default() }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(entry in entries()) {
            let body = entry.to_json().expect("the strategy makes sound entries");
            prop_assert_eq!(Entry::from_json(&entry.sequence.key(), &body).unwrap(), entry);
        }

        #[test]
        fn no_cut_or_changed_byte_makes_a_reader_panic(entry in entries(), at: prop::sample::Index, byte: u8) {
            let mut body = entry.to_json().unwrap();
            let at = at.index(body.len());
            let cut = Entry::from_json(&entry.sequence.key(), &body[..at]);
            prop_assert!(matches!(cut, Err(EntryError::Malformed { .. })), "{cut:?}");
            body[at] = byte;
            let _ = Entry::from_json(&entry.sequence.key(), &body);
        }

        #[test]
        fn a_newer_sequence_lists_first(a in 0u64..=SEQUENCE_CEILING, b in 0u64..=SEQUENCE_CEILING) {
            let (a, b) = (Sequence(a), Sequence(b));
            prop_assert_eq!(a.cmp(&b), b.key().cmp(&a.key()));
            prop_assert_eq!(Sequence::from_key(&a.key()), Some(a));
        }
    }

    #[test]
    fn the_format_is_what_the_design_shows() {
        let body = br#"{ "format": 1, "sequence": 42, "kind": "append",
          "entry_id": "018f3d6e-0000-7000-8000-000000000001",
          "writer": {"release": "r1", "image": "sha256:aa", "revision": "clicks:17", "task": "t", "version": "0.1.0"},
          "committed_at": "2026-11-22T07:00:00.000Z",
          "topics": {"clicks": {"id": "abc", "partitions": {
              "0": {"from": 1000, "to": 2000, "written": 990, "filtered": 4, "dead_lettered": 3,
                    "absent": [[1500, 1502]], "leader_epoch": 3, "log_start": 120, "last_stable": 2004},
              "3": {"from": 5, "to": 9, "written": 4, "filtered": 0, "dead_lettered": 0, "absent": [],
                    "leader_epoch": 1, "log_start": 0, "last_stable": 9}}}},
          "positions": {"clicks": {"0": 2000, "1": 777, "3": 9}},
          "files": [{"key": "data/a", "role": "data", "upload_id": "u", "parts": ["e"], "rows": 994, "bytes": 81234},
                    {"key": "_landfall/dead-letters/b", "role": "dead-letters", "upload_id": "v", "parts": ["f"],
                     "rows": 3, "bytes": 912}],
          "rejected": ["r0", "sha256:00"],
          "settled_through": 41 }"#;
        let entry = Entry::from_json("_landfall/ledger/9999999999999999957.json", body).unwrap();
        assert_eq!(entry.files[1].role, Role::DeadLetters);
        assert_eq!(entry.positions["clicks"][&1], NextOffset(777));
        let written = String::from_utf8(entry.to_json().unwrap()).unwrap();
        assert!(written.contains(r#""kind":"append""#) && written.contains(r#""absent":[[1500,1502]]"#));
    }

    #[test]
    fn keys_that_are_no_entries_are_told_apart() {
        let key = Sequence(1).key();
        assert_eq!(key, "_landfall/ledger/9999999999999999998.json");
        for stranger in ["_landfall/ledger/1.json", "_landfall/ledger/999999999999999999x.json", &key[1..]] {
            assert_eq!(Sequence::from_key(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn an_unknown_format_stops_the_reader_whatever_else_it_says() {
        for format in ["2", "0", "4294967297"] {
            let body = r#"{"format": N, "kind": "of a later release"}"#.replace("N", format);
            let error = Entry::from_json(&Sequence(1).key(), body.as_bytes()).unwrap_err();
            assert!(matches!(error, EntryError::UnknownFormat { .. }), "{error}");
            assert!(error.to_string().ends_with("run a newer release"), "{error}");
        }
    }

    #[test]
    fn what_is_no_entry_is_malformed() {
        let whole = String::from_utf8(moving(filtered(0, 3)).to_json().unwrap()).unwrap();
        let unknown_kind = whole.replace("append", "repair");
        for body in ["", "{}", "[]", "null", r#"{"format": 1}"#, r#"{"format": "1"}"#, unknown_kind.as_str()]
        {
            let error = Entry::from_json(&Sequence(1).key(), body.as_bytes()).unwrap_err();
            assert!(matches!(error, EntryError::Malformed { .. }), "{body}: {error}");
        }
    }

    #[test]
    fn an_entry_under_anothers_key_is_broken() {
        let body = moving(filtered(0, 3)).to_json().unwrap();
        let error = Entry::from_json(&Sequence(2).key(), &body).unwrap_err();
        assert!(matches!(error, EntryError::Broken { .. }), "{error}");
    }

    #[test]
    fn counts_must_add_up_to_the_range() {
        let absent = |ranges: &[(i64, i64)]| PartitionRange {
            filtered: 0,
            absent: ranges.iter().map(|(first, last)| OffsetRange(*first, *last)).collect(),
            ..filtered(10, 20)
        };
        assert!(moving(absent(&[(10, 14), (15, 19)])).check().is_ok());
        for (range, why) in [
            (absent(&[(10, 18)]), "one too few"),
            (absent(&[(10, 15), (15, 18)]), "they overlap"),
            (absent(&[(15, 19), (10, 14)]), "out of order"),
            (absent(&[(9, 18)]), "before the range"),
            (absent(&[(11, 20)]), "behind the range"),
            (absent(&[(i64::MIN, i64::MAX)]), "everything"),
            (absent(&[(14, 10), (10, 19)]), "backwards"),
            (PartitionRange { filtered: 1, ..filtered(10, 20) }, "nine forgotten"),
            (PartitionRange { written: u64::MAX, filtered: 11, ..filtered(10, 20) }, "the sum wraps to ten"),
            (PartitionRange { to: NextOffset(5), ..filtered(10, 20) }, "backwards"),
            (PartitionRange { filtered: 0, ..filtered(-5, -5) }, "below zero"),
        ] {
            assert!(matches!(moving(range).check(), Err(EntryError::Broken { .. })), "{why}");
        }
    }

    #[test]
    fn an_entry_follows_only_where_the_one_before_it_ends() {
        let first = moving(filtered(0, 3));
        let at = |sequence, range| Entry { sequence: Sequence(sequence), ..moving(range) };
        assert!(first.check_follows(None).is_ok());
        assert!(at(2, filtered(3, 5)).check_follows(Some(&first)).is_ok());
        assert!(at(3, filtered(3, 5)).check_follows(Some(&first)).is_err(), "a sequence is skipped");
        assert!(at(2, filtered(4, 5)).check_follows(Some(&first)).is_err(), "a hole");
        assert!(at(2, filtered(2, 5)).check_follows(Some(&first)).is_err(), "an overlap");
        assert!(first.check_follows(Some(&first)).is_err(), "the same again");
        let mut forgets = at(2, filtered(3, 5));
        forgets.topics.clear();
        assert!(forgets.check_follows(Some(&first)).is_err(), "a position moves without a range");
        let rejecting = Entry { rejected: BTreeSet::from(["bad".to_owned()]), ..at(2, filtered(3, 5)) };
        assert!(rejecting.check_follows(Some(&first)).is_err(), "an append rejects nobody");
        let forgetful = at(3, filtered(5, 5));
        assert!(forgetful.check_follows(Some(&rejecting)).is_err(), "a rejection is forgotten");
        let settled = Entry { settled_through: Sequence(1), ..at(2, filtered(3, 5)) };
        assert!(settled.check_follows(Some(&first)).is_ok());
        assert!(at(3, filtered(5, 5)).check_follows(Some(&settled)).is_err(), "what is settled stays so");
    }

    #[test]
    fn a_rewind_takes_out_something_and_nothing_else_of_the_log() {
        let rewind = |target, superseded: &[u64]| {
            let superseded = superseded.iter().copied().map(Sequence).collect();
            let kind = Kind::Rewind { target: Sequence(target), superseded, reason: String::new() };
            Entry { sequence: Sequence(9), kind, topics: BTreeMap::new(), ..moving(filtered(0, 3)) }
        };
        assert!(rewind(3, &[3, 8]).check().is_ok());
        for (target, superseded) in [(3, &[][..]), (3, &[2, 8]), (3, &[9]), (3, &[u64::MAX])] {
            assert!(rewind(target, superseded).check().is_err(), "{superseded:?}");
        }
        let moves = Entry { topics: moving(filtered(0, 3)).topics, ..rewind(3, &[3]) };
        assert!(moves.check().is_err());
    }
}
