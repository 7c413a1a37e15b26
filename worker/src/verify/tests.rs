//! A sound log, and each way to break it.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, StringArray};
use bytes::Bytes;
use ledger::append::{Draft, DraftFile};
use ledger::entry::{EntryId, FORMAT, FileRef, PartitionRange, Role, TopicRange, Writer};
use ledger::head::View;
use ledger::rewind::Signature;
use ledger::settle::{Settler, Which};
use ledger::store::faulty::{Faulty, Verdict};
use ledger::store::file::FileStore;
use ledger::store::memory::MemoryStore;
use ledger::store::{Operation, PartTag, UploadId};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

use super::*;
use crate::exit::Exit;

type Row = (&'static str, i32, i64);
/// Topic, partition, from, to, absent ranges.
type Said<'r> = (&'r str, i32, i64, i64, &'r [(i64, i64)]);

/// A log in the making: sound, until a test breaks it.
struct Log {
    store: MemoryStore,
    entries: Vec<Entry>,
}

fn rows(topic: &'static str, partition: i32, offsets: impl IntoIterator<Item = i64>) -> Vec<Row> {
    offsets.into_iter().map(|offset| (topic, partition, offset)).collect()
}

/// A file of these rows in row groups of three, so that there are several.
fn parquet(rows: &[Row], marked: bool) -> Bytes {
    let topics: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
    let partitions: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1)));
    let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)));
    let values: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("{row:?}"))));
    let columns = if marked {
        vec![("value", values), ("_topic", topics), ("_partition", partitions), ("_offset", offsets)]
    } else {
        vec![("value", values)]
    };
    let batch = arrow_array::RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

impl Log {
    fn new() -> Log {
        Log { store: MemoryStore::new(), entries: Vec::new() }
    }

    /// Puts an entry on the log; its `files` are made visible, its counts are told from them, and what they leave
    /// of each `(topic, partition, from, to, absent)` counts as filtered.
    fn append(&mut self, ranges: &[Said<'_>], files: &[(Role, Vec<Row>)]) {
        let mut entry = self.blank(Kind::Append);
        for (topic, partition, from, to, absent) in ranges {
            let of = |role: Role| {
                let rows = files.iter().filter(|file| file.0 == role).flat_map(|file| &file.1);
                rows.filter(|row| row.0 == *topic && row.1 == *partition).count() as u64
            };
            let absent: Vec<_> = absent.iter().map(|(first, last)| OffsetRange(*first, *last)).collect();
            let (written, dead_lettered) = (of(Role::Data), of(Role::DeadLetters));
            let nothing = absent.iter().map(|range| range.count()).sum::<u64>();
            let (from, to) = (NextOffset(*from), NextOffset(*to));
            let filtered = (to.0 - from.0) as u64 - written - dead_lettered - nothing;
            let range =
                PartitionRange { from, to, written, filtered, dead_lettered, absent, ..Default::default() };
            entry.topics.entry((*topic).to_owned()).or_default().partitions.insert(*partition, range);
            entry.positions.entry((*topic).to_owned()).or_default().insert(*partition, to);
        }
        for (index, (role, rows)) in files.iter().enumerate() {
            let prefix = if *role == Role::Data { "data/dt=1/" } else { DEAD_LETTER_PREFIX };
            let key = format!("{prefix}{}-{index}", entry.sequence);
            self.put_file(&mut entry, *role, &key, parquet(rows, true));
            entry.files[index].rows = rows.len() as u64;
        }
        entry.check().unwrap();
        self.push(entry);
    }

    fn put_file(&self, entry: &mut Entry, role: Role, key: &str, body: Bytes) {
        entry.files.push(FileRef {
            key: key.to_owned(),
            role,
            upload_id: UploadId(format!("of {key}")),
            parts: vec![PartTag("t".to_owned())],
            rows: 0,
            bytes: body.len() as u64,
        });
        self.store.overwrite(key, body);
    }

    /// An entry that moves nothing and settles what came before.
    fn blank(&self, kind: Kind) -> Entry {
        let before = self.entries.last();
        Entry {
            format: FORMAT,
            sequence: before.map_or(Sequence(1), |entry| entry.sequence.next()),
            kind,
            entry_id: EntryId(Uuid::new_v4()),
            writer: Writer { release: "r1".to_owned(), ..Writer::default() },
            committed_at: "2026-11-22T07:00:00.000Z".to_owned(),
            topics: BTreeMap::new(),
            positions: before.map(|entry| entry.positions.clone()).unwrap_or_default(),
            files: Vec::new(),
            rejected: Default::default(),
            settled_through: before.map_or(Sequence::ZERO, |entry| entry.sequence),
        }
    }

    fn push(&mut self, entry: Entry) {
        self.store.overwrite(&entry.sequence.key(), serde_json::to_vec(&entry).unwrap().into());
        self.entries.push(entry);
    }

    /// Changes an entry behind everyone's back.
    fn edit(&mut self, sequence: u64, change: impl FnOnce(&mut Entry)) {
        let entry = &mut self.entries[sequence as usize - 1];
        change(entry);
        self.store.overwrite(&entry.sequence.key(), serde_json::to_vec(entry).unwrap().into());
    }

    fn range_of(entry: &mut Entry, partition: i32) -> &mut PartitionRange {
        entry.topics.get_mut("a").unwrap().partitions.get_mut(&partition).unwrap()
    }

    /// Takes back all from `target` on, and removes their files as settling would.
    async fn rewind(&mut self, target: u64, positions: &[(&str, i32, i64)]) {
        let superseded: Vec<Sequence> = (target..=self.entries.len() as u64).map(Sequence).collect();
        for sequence in &superseded {
            for file in &self.entries[sequence.0 as usize - 1].files {
                self.store.delete(&file.key).await.unwrap();
            }
        }
        let kind = Kind::Rewind { target: Sequence(target), superseded, reason: "bad".to_owned() };
        let mut entry = self.blank(kind);
        for (topic, partition, position) in positions {
            entry.positions.get_mut(*topic).unwrap().insert(*partition, NextOffset(*position));
        }
        self.push(entry);
    }

    async fn verify(&self) -> Report {
        verify(&self.store, VerifyOptions::default()).await.unwrap()
    }

    /// The sorts of what is found.
    async fn found(&self) -> Vec<&'static str> {
        let report = self.verify().await;
        assert_eq!(report.exit() == Exit::Unproven, !report.findings().is_empty());
        report.counts().keys().copied().collect()
    }
}

/// Two entries: `a[0]` 0..10 and 10..20 and `a[1]` 0..6; files with rows of both, a dead letter, a filtered and
/// an absent one.
fn sound() -> Log {
    let mut log = Log::new();
    let both = [rows("a", 0, [0, 1, 2, 3]), rows("a", 1, 0..6)].concat();
    log.append(
        &[("a", 0, 0, 10, &[]), ("a", 1, 0, 6, &[])],
        &[
            (Role::Data, both),
            (Role::Data, rows("a", 0, [9, 8, 6, 5])),
            (Role::DeadLetters, rows("a", 0, [7])),
        ],
    );
    log.append(&[("a", 0, 10, 20, &[(12, 14)])], &[(Role::Data, rows("a", 0, [10, 11, 15, 16, 17, 18, 19]))]);
    log
}

#[tokio::test]
async fn a_sound_log_is_proved_to_its_rows() {
    let report = sound().verify().await;
    assert_eq!(report.findings(), []);
    assert_eq!(report.proved(), Some(Level::Rows));
    assert_eq!(report.exit(), Exit::Done);
    let bytes = report.bytes;
    assert_eq!(
        report.to_string(),
        format!(
            "memory:\n\
             entries 1 to 2: 2 live, 0 superseded; 4 files, {bytes} bytes\n  \
             a[0] 0..20: 15 written, 1 filtered, 1 dead-lettered, 3 absent\n  \
             a[1] 0..6: 6 written\n\
             proved rows: every offset written or dead-lettered is in exactly one file"
        )
    );
}

#[tokio::test]
async fn where_there_is_no_log_nothing_is_proved() {
    let report = Log::new().verify().await;
    assert_eq!(report.findings(), [Finding::NoLog]);
    assert_eq!((report.proved(), report.exit()), (None, Exit::Unproven));
}

#[tokio::test]
async fn an_offset_in_two_files_is_a_duplicate_and_what_it_displaced_is_a_gap() {
    let mut log = Log::new();
    let files = [(Role::Data, rows("a", 0, 0..5)), (Role::Data, rows("a", 0, [4, 5, 6, 7, 8]))];
    log.append(&[("a", 0, 0, 10, &[])], &files);
    let report = log.verify().await;
    let (sequence, topic) = (Sequence(1), "a".to_owned());
    let key = "data/dt=1/1-1".to_owned();
    let duplicate = Finding::Duplicate { sequence, key, topic: topic.clone(), partition: 0, offset: 4 };
    let gap = Finding::Gap { sequence, topic, partition: 0, missing: 1, first: 9 };
    assert_eq!(report.findings(), [duplicate, gap]);
    assert_eq!((report.proved(), report.exit()), (Some(Level::Counts), Exit::Unproven));
    let text = report.to_string();
    assert!(
        text.contains("duplicate: a[0] offset 4 of entry 1 is there more than once, at last in"),
        "{text}"
    );
}

#[tokio::test]
async fn a_row_twice_in_one_file_is_a_duplicate() {
    let mut log = Log::new();
    log.append(&[("a", 0, 0, 5, &[])], &[(Role::Data, rows("a", 0, [0, 1, 2, 2, 4]))]);
    assert_eq!(log.found().await, ["duplicate", "gap"]);
}

#[tokio::test]
async fn a_dead_letter_that_is_a_row_too_is_a_duplicate() {
    let mut log = Log::new();
    let files = [(Role::Data, rows("a", 0, 0..4)), (Role::DeadLetters, rows("a", 0, [3]))];
    log.append(&[("a", 0, 0, 5, &[])], &files);
    assert_eq!(log.found().await, ["duplicate", "gap"]);
}

#[tokio::test]
async fn a_row_of_another_entrys_range_is_outside() {
    let mut log = sound();
    log.append(&[("a", 1, 6, 9, &[])], &[(Role::Data, rows("a", 1, [5, 6, 7]))]);
    assert_eq!(log.found().await, ["gap", "offset outside"]);
    let mut log = sound();
    let other = [rows("a", 1, [6, 7, 8]), rows("a", 2, [0])].concat();
    log.append(&[("a", 1, 6, 10, &[])], &[(Role::Data, rows("a", 1, [6, 7, 8, 9]))]);
    log.edit(3, |entry| entry.files[0].bytes = parquet(&other, true).len() as u64);
    log.store.overwrite("data/dt=1/3-0", parquet(&other, true));
    assert_eq!(log.found().await, ["gap", "offset outside", "wrong count"]);
}

#[tokio::test]
async fn counts_that_are_shifted_between_partitions_are_wrong() {
    let mut log = sound();
    log.edit(1, |entry| {
        let range = Log::range_of(entry, 0);
        (range.written, range.filtered) = (range.written + 1, range.filtered - 1);
        let range = Log::range_of(entry, 1);
        (range.written, range.filtered) = (range.written - 1, range.filtered + 1);
    });
    let report = log.verify().await;
    assert_eq!(report.counts()["wrong count"], 2);
    assert_eq!(report.proved(), Some(Level::Counts));
}

#[tokio::test]
async fn rows_where_none_should_be_are_not_absent() {
    let mut log = Log::new();
    log.append(&[("a", 0, 0, 6, &[(2, 3)])], &[(Role::Data, rows("a", 0, [0, 1, 3, 4]))]);
    assert_eq!(log.found().await, ["gap", "not absent"]);
}

#[tokio::test]
async fn a_missing_file_is_damage_once_settled() {
    let log = sound();
    log.store.delete("data/dt=1/1-0").await.unwrap();
    let report = log.verify().await;
    let key = "data/dt=1/1-0".to_owned();
    assert_eq!(report.findings(), [Finding::Missing { sequence: Sequence(1), key }]);
    assert_eq!(report.proved(), Some(Level::Ranges));
}

#[tokio::test]
async fn a_file_whose_upload_is_open_is_waited_for_and_one_without_is_damage() {
    let mut log = sound();
    let key = "data/dt=1/2-0".to_owned();
    log.store.delete(&key).await.unwrap();
    assert_eq!(log.found().await, ["missing file"]);
    let upload = log.store.begin_upload(&key).await.unwrap();
    log.edit(2, |entry| entry.files[0].upload_id = upload);
    let report = log.verify().await;
    assert_eq!(report.findings(), []);
    assert_eq!(report.pending, [Pending::Unsettled { sequence: Sequence(2), key }]);
    assert!(report.to_string().ends_with("; but for 1 files that are not settled yet"), "{report}");
    assert_eq!((report.proved(), report.exit()), (Some(Level::Rows), Exit::TryAgain));
}

#[tokio::test]
async fn a_file_that_no_entry_names_is_stray() {
    let log = sound();
    log.store.overwrite("data/dt=1/stray.parquet", Bytes::from_static(b"x"));
    log.store.overwrite("_landfall/dead-letters/stray.parquet", Bytes::from_static(b"x"));
    // Not where readers look.
    log.store.overwrite("_landfall/superseded/data/x.parquet", Bytes::from_static(b"x"));
    let report = log.verify().await;
    assert_eq!(report.counts()["stray file"], 2);
    assert_eq!(report.counts().len(), 1);
}

#[tokio::test]
async fn a_file_that_was_committed_while_looking_is_not_stray() {
    let mut log = sound();
    let before = log.store.deep_copy();
    log.append(&[("a", 1, 6, 8, &[])], &[(Role::Data, rows("a", 1, [6, 7]))]);
    // The log is read without the third entry; when files are listed, it and its file are there.
    let (after, entry_key) = (log.store.clone(), Sequence(3).key());
    let mut bodies = Vec::new();
    for key in [entry_key, "data/dt=1/3-0".to_owned()] {
        let body = after.get(&key).await.unwrap().unwrap();
        bodies.push((key, body));
    }
    let target = before.clone();
    let faulty = Faulty::with_script(Arc::new(before), move |call| {
        if call.operation == Operation::List && call.key == DATA_PREFIX {
            for (key, body) in &bodies {
                target.overwrite(key, body.clone());
            }
        }
        Verdict::Pass
    });
    let report = verify(&faulty, VerifyOptions::default()).await.unwrap();
    assert_eq!((report.findings(), report.last), ([].as_slice(), Sequence(2)));
}

#[tokio::test]
async fn files_that_are_not_what_the_entry_says_are_told_apart() {
    let log = sound();
    let whole = log.store.get("data/dt=1/2-0").await.unwrap().unwrap();
    log.store.overwrite("data/dt=1/2-0", whole.slice(1..));
    assert_eq!(log.found().await, ["wrong size"]);
    log.store.overwrite("data/dt=1/2-0", Bytes::from(vec![0; whole.len()]));
    assert_eq!(log.found().await, ["unreadable file"]);
    // The footer is whole and the pages are not.
    let mut scratched = whole.to_vec();
    let length = scratched.len();
    scratched[4..length / 4].fill(0xff);
    log.store.overwrite("data/dt=1/2-0", scratched.into());
    assert_eq!(log.found().await, ["unreadable file"]);
    let mut log = sound();
    log.edit(2, |entry| entry.files[0].rows += 1);
    assert_eq!(log.found().await, ["broken entry", "wrong rows in file"]);
}

#[tokio::test]
async fn files_without_marks_are_counted_only() {
    let mut log = sound();
    let body = parquet(&rows("a", 0, [10, 11, 15, 16, 17, 18, 19]), false);
    log.edit(2, |entry| entry.files[0].bytes = body.len() as u64);
    log.store.overwrite("data/dt=1/2-0", body);
    let report = log.verify().await;
    assert_eq!((report.findings(), report.unmarked_files), ([].as_slice(), 1));
    assert_eq!((report.proved(), report.exit()), (Some(Level::Counts), Exit::Done));
    assert!(report.to_string().ends_with("and no others"), "{report}");
    let mut log = sound();
    let body = parquet(&rows("a", 0, [7]), false);
    log.edit(1, |entry| entry.files[2].bytes = body.len() as u64);
    log.store.overwrite("_landfall/dead-letters/1-2", body);
    assert_eq!(log.verify().await.findings(), []);
}

#[tokio::test]
async fn holes_and_strangers_in_the_log_are_found() {
    let mut log = sound();
    for from in [20, 22, 24] {
        log.append(&[("a", 0, from, from + 2, &[])], &[(Role::Data, rows("a", 0, [from, from + 1]))]);
    }
    log.store.overwrite("_landfall/ledger/README.txt", Bytes::new());
    log.store.overwrite("_landfall/ledger/.hidden", Bytes::new());
    for sequence in [1, 3, 4] {
        log.store.delete(&Sequence(sequence).key()).await.unwrap();
    }
    let report = log.verify().await;
    let holes: Vec<_> =
        report.findings().iter().filter(|found| matches!(found, Finding::Hole { .. })).cloned().collect();
    assert_eq!(
        holes,
        [
            Finding::Hole { first: Sequence(3), last: Sequence(4) },
            Finding::Hole { first: Sequence(1), last: Sequence(1) }
        ]
    );
    assert_eq!(report.counts()["stranger in the log"], 2);
    assert_eq!(report.counts()["ranges do not follow"], 1);
    assert_eq!(report.proved(), None);
}

#[tokio::test]
async fn entries_that_break_a_rule_are_found() {
    let mut log = sound();
    log.edit(1, |entry| Log::range_of(entry, 1).filtered += 1);
    assert_eq!(log.found().await, ["broken entry"]);
    let mut log = sound();
    log.edit(2, |entry| Log::range_of(entry, 0).from = NextOffset(11));
    assert!(log.found().await.starts_with(&["broken entry"]));
    let mut log = sound();
    log.edit(2, |entry| {
        entry.positions.get_mut("a").unwrap().insert(1, NextOffset(7));
    });
    assert_eq!(log.found().await, ["broken entry", "wrong position"]);
    let log = sound();
    log.store.overwrite(&Sequence(2).key(), Bytes::from_static(b"{\"format\":1"));
    assert_eq!(log.found().await, ["stray file", "unreadable entry"]);
}

#[tokio::test]
async fn an_unknown_format_stops_and_never_guesses() {
    let log = sound();
    log.store.overwrite(&Sequence(2).key(), Bytes::from_static(b"{\"format\":99}"));
    let error = verify(&log.store, VerifyOptions::default()).await.unwrap_err();
    assert!(matches!(error, VerifyError::Entry(EntryError::UnknownFormat { found: 99, .. })), "{error}");
}

#[tokio::test]
async fn a_file_that_two_entries_name_is_found() {
    let mut log = sound();
    log.append(&[("a", 1, 6, 8, &[])], &[(Role::Data, rows("a", 1, [6, 7]))]);
    let shared = log.entries[1].files[0].clone();
    log.edit(3, |entry| entry.files[0] = shared);
    assert!(log.found().await.contains(&"file named twice"));
}

#[tokio::test]
async fn what_a_rewind_took_back_and_the_next_one_read_again_is_proved() {
    let mut log = sound();
    log.append(&[("a", 1, 6, 8, &[])], &[(Role::Data, rows("a", 1, [6, 7]))]);
    log.rewind(2, &[("a", 0, 10), ("a", 1, 6)]).await;
    let report = log.verify().await;
    assert_eq!((report.findings(), report.live, report.superseded), ([].as_slice(), 1, 2));
    log.append(&[("a", 0, 10, 12, &[])], &[(Role::Data, rows("a", 0, [10, 11]))]);
    log.rewind(1, &[("a", 0, 0), ("a", 1, 0)]).await;
    // Entry 4 is itself a rewind and cannot be superseded; naming 2 and 3 again is wrong too.
    assert_eq!(log.found().await, ["wrong rewind"]);
    log.edit(6, |entry| {
        let Kind::Rewind { superseded, .. } = &mut entry.kind else { panic!("a rewind") };
        superseded.retain(|sequence| [1, 5].contains(&sequence.0));
    });
    let report = log.verify().await;
    assert_eq!((report.findings(), report.live, report.superseded), ([].as_slice(), 0, 4));
    assert_eq!(report.exit(), Exit::Done);
}

#[tokio::test]
async fn a_rewind_that_leaves_a_hole_is_found() {
    let mut log = sound();
    log.rewind(2, &[("a", 0, 10)]).await;
    // The position is not where the superseded entry began.
    log.edit(3, |entry| {
        entry.positions.get_mut("a").unwrap().insert(0, NextOffset(12));
    });
    assert_eq!(log.found().await, ["wrong position"]);
    let mut log = sound();
    log.rewind(1, &[("a", 0, 3), ("a", 1, 0)]).await;
    assert_eq!(log.found().await, ["wrong position"]);
    let mut log = sound();
    log.rewind(1, &[("a", 0, 0), ("a", 1, 0)]).await;
    log.edit(3, |entry| {
        let Kind::Rewind { superseded, .. } = &mut entry.kind else { panic!("a rewind") };
        superseded.pop();
    });
    let found = log.found().await;
    assert!(found.contains(&"wrong rewind") && found.contains(&"ranges do not follow"), "{found:?}");
}

#[tokio::test]
async fn a_superseded_file_may_be_visible_only_until_the_rewind_is_settled() {
    let mut log = sound();
    let (key, body) = ("data/dt=1/2-0".to_owned(), log.store.get("data/dt=1/2-0").await.unwrap().unwrap());
    log.rewind(2, &[("a", 0, 10)]).await;
    log.store.overwrite(&key, body);
    let report = log.verify().await;
    assert_eq!(report.findings(), []);
    assert_eq!(report.pending, [Pending::Rewinding { sequence: Sequence(2), key: key.clone() }]);
    assert_eq!(report.exit(), Exit::TryAgain);
    // The next entry says that the rewind is settled.
    log.append(&[("a", 1, 6, 7, &[])], &[(Role::Data, rows("a", 1, [6]))]);
    let report = log.verify().await;
    assert_eq!(report.findings(), [Finding::SupersededVisible { sequence: Sequence(2), key }]);
    let partly = VerifyOptions { from: Some(Sequence(2)), kafka: None };
    let report = verify(&log.store, partly).await.unwrap();
    assert_eq!(report.counts().keys().copied().collect::<Vec<_>>(), ["superseded file visible"]);
}

#[tokio::test]
async fn a_part_of_the_log_is_proved_without_the_rest() {
    let mut log = sound();
    log.append(&[("a", 0, 20, 22, &[])], &[(Role::Data, rows("a", 0, [20, 21]))]);
    // Broken, and before what is asked for.
    log.store.delete("data/dt=1/1-0").await.unwrap();
    log.store.delete(&Sequence(1).key()).await.unwrap();
    let partly = VerifyOptions { from: Some(Sequence(2)), kafka: None };
    let report = verify(&log.store, partly).await.unwrap();
    assert_eq!((report.findings(), report.live), ([].as_slice(), 2));
    assert!(report.to_string().contains("entries before 2 were not read"), "{report}");
}

/// Kafka has a record at each of these offsets, and knows nothing below the first.
struct Kafka(Vec<i64>);

#[async_trait]
impl Existing for Kafka {
    async fn existing(
        &self,
        _topic: &str,
        _partition: i32,
        range: OffsetRange,
    ) -> Result<Option<Vec<i64>>, Box<dyn std::error::Error + Send + Sync>> {
        assert!(range.count() <= 10_000);
        if range.0 < self.0[0] {
            return Ok(None);
        }
        Ok(Some(self.0.iter().copied().filter(|offset| range.0 <= *offset && *offset <= range.1).collect()))
    }
}

#[tokio::test]
async fn absences_are_checked_against_kafka() {
    let mut log = sound();
    log.append(&[("a", 0, 20, 30_000, &[(20, 29_998)])], &[(Role::Data, rows("a", 0, [29_999]))]);
    let ask = async |kafka: Kafka| {
        verify(&log.store, VerifyOptions { from: None, kafka: Some(&kafka) }).await.unwrap()
    };
    let report = ask(Kafka(vec![0, 29_999])).await;
    assert_eq!(report.findings(), []);
    assert_eq!(report.absences, Some(Absences { checked: 29_982, untold: 0 }));
    let report = ask(Kafka(vec![15, 29_999])).await;
    assert_eq!(report.absences, Some(Absences { checked: 29_979, untold: 3 }));
    let report = ask(Kafka(vec![0, 13])).await;
    let (sequence, topic) = (Sequence(2), "a".to_owned());
    assert_eq!(report.findings(), [Finding::InKafka { sequence, topic, partition: 0, offset: 13 }]);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_no_finding() {
    let log = sound();
    for operation in [Operation::Get, Operation::Head, Operation::List] {
        let faulty = Faulty::with_script(Arc::new(log.store.clone()), move |call| {
            // The third of each: in the middle of it.
            let now = call.operation == operation && call.nth_of_operation == 3;
            if now { Verdict::LoseRequest } else { Verdict::Pass }
        });
        let error = verify(&faulty, VerifyOptions::default()).await.unwrap_err();
        assert!(matches!(error, VerifyError::Store(_)), "{operation}: {error}");
    }
}

#[tokio::test]
async fn many_findings_of_a_sort_are_cut_and_counted() {
    let log = sound();
    for stray in 0..50 {
        log.store.overwrite(&format!("data/stray-{stray}"), Bytes::new());
    }
    let report = log.verify().await;
    assert_eq!((report.findings().len(), report.counts()["stray file"]), (20, 50));
    assert!(report.to_string().contains("stray file: and 30 more"), "{report}");
}

/// Nothing of this file's making: the ledger's own append, settle and rewind, on a directory.
#[tokio::test]
async fn a_log_that_the_ledger_wrote_is_proved() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(FileStore::create(directory.path()).unwrap());
    let mut view = View::open(store.clone()).await.unwrap();
    let mut settler = Settler::default();
    for from in [0, 5, 10] {
        let draft = uploaded(store.as_ref(), from).await;
        view.append(&draft).await.unwrap();
        let options = VerifyOptions::default();
        let report = verify(store.as_ref(), options).await.unwrap();
        assert_eq!((report.pending.len(), report.exit()), (1, Exit::TryAgain), "{report}");
        settler.settle(&mut view, Which::All, 0).await.unwrap();
        let report = verify(store.as_ref(), options).await.unwrap();
        assert_eq!((report.proved(), report.exit()), (Some(Level::Rows), Exit::Done), "{report}");
    }
    let signature = Signature {
        entry_id: EntryId(Uuid::new_v4()),
        writer: Writer::default(),
        committed_at: "2026-11-22T07:00:00.000Z".to_owned(),
    };
    view.rewind(Sequence(2), &signature, "bad").await.unwrap().unwrap();
    let report = verify(store.as_ref(), VerifyOptions::default()).await.unwrap();
    assert_eq!((report.pending.len(), report.exit()), (2, Exit::TryAgain), "{report}");
    settler.settle(&mut view, Which::All, 1).await.unwrap();
    view.append(&uploaded(store.as_ref(), 5).await).await.unwrap();
    settler.settle(&mut view, Which::All, 2).await.unwrap();
    let report = verify(store.as_ref(), VerifyOptions::default()).await.unwrap();
    assert_eq!((report.live, report.superseded, report.files), (2, 2, 2));
    assert_eq!((report.proved(), report.exit()), (Some(Level::Rows), Exit::Done), "{report}");
}

/// Five offsets of `a[0]`, uploaded and not completed.
async fn uploaded(store: &dyn Store, from: i64) -> Draft {
    let body = parquet(&rows("a", 0, from..from + 5), true);
    let (key, bytes) = (format!("data/{}.parquet", Uuid::new_v4()), body.len());
    let upload_id = store.begin_upload(&key).await.unwrap();
    let parts = vec![store.upload_part(&key, &upload_id, 1, body).await.unwrap()];
    let (from, to) = (NextOffset(from), NextOffset(from + 5));
    let range = PartitionRange { from, to, written: 5, ..PartitionRange::default() };
    let topic = TopicRange { partitions: BTreeMap::from([(0, range)]), ..TopicRange::default() };
    let file = FileRef { key, role: Role::Data, upload_id, parts, rows: 5, bytes: bytes as u64 };
    Draft {
        kind: Kind::Append,
        entry_id: EntryId(Uuid::new_v4()),
        writer: Writer::default(),
        committed_at: "2026-11-22T07:00:00.000Z".to_owned(),
        topics: BTreeMap::from([("a".to_owned(), topic)]),
        files: vec![DraftFile { file, part_bytes: vec![bytes], age: std::time::Duration::ZERO }],
    }
}
