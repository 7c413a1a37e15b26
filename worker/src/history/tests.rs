//! A small log, printed.

use std::collections::{BTreeMap, BTreeSet};

use ledger::entry::{
    Entry, EntryId, FORMAT, FileRef, Kind, NextOffset, OffsetRange, PartitionRange, Positions, Role,
    SweptUpload, TopicRange, Writer,
};
use ledger::store::memory::MemoryStore;
use ledger::store::{PartTag, UploadId};

use super::*;

const TOPIC: &str = "shop-events";

fn entry(sequence: u64, kind: Kind, positions: &[i64]) -> Entry {
    let partitions =
        positions.iter().enumerate().map(|(number, at)| (number as i32, NextOffset(*at))).collect();
    Entry {
        format: FORMAT,
        sequence: Sequence(sequence),
        kind,
        entry_id: EntryId(uuid::Uuid::from_u128(sequence.into())),
        writer: Writer {
            release: "0123456789abcdef".into(),
            image: "sha256:aa".into(),
            revision: "shop:17".into(),
            task: "t1".into(),
            version: "0.1.0".into(),
        },
        committed_at: format!("2026-11-22T07:0{}:00.000Z", sequence % 10),
        topics: BTreeMap::new(),
        positions: Positions::from([(TOPIC.to_owned(), partitions)]),
        files: Vec::new(),
        rejected: BTreeSet::new(),
        settled_through: Sequence(sequence.saturating_sub(1)),
    }
}

fn range(from: i64, to: i64) -> PartitionRange {
    PartitionRange {
        from: NextOffset(from),
        to: NextOffset(to),
        written: (to - from) as u64,
        leader_epoch: -1,
        log_start: -1,
        last_stable: -1,
        ..PartitionRange::default()
    }
}

fn moving(mut entry: Entry, ranges: Vec<PartitionRange>) -> Entry {
    let file = |role, rows, bytes| FileRef {
        key: format!("{role:?}/{}", entry.sequence),
        role,
        upload_id: UploadId("u".into()),
        parts: vec![PartTag("p".into())],
        rows,
        bytes,
    };
    let written = ranges.iter().map(|range| range.written).sum();
    let dead = ranges.iter().map(|range| range.dead_lettered).sum();
    let mut files = Vec::new();
    if written > 0 {
        files.push(file(Role::Data, written, 81_234));
    }
    if dead > 0 {
        files.push(file(Role::DeadLetters, dead, 912));
    }
    entry.files = files;
    let partitions = ranges.into_iter().enumerate().map(|(number, range)| (number as i32, range)).collect();
    entry.topics.insert(TOPIC.to_owned(), TopicRange { id: String::new(), partitions });
    entry
}

async fn store() -> MemoryStore {
    let mut second = range(5, 9);
    second.written = 1;
    second.filtered = 1;
    second.dead_lettered = 1;
    second.absent = vec![OffsetRange(7, 7)];
    let mut late = moving(entry(3, Kind::Append, &[3000, 9]), vec![range(2000, 3000)]);
    late.settled_through = Sequence(0);
    let image = "sha256:aa".to_owned();
    let entries = [
        moving(entry(1, Kind::Open, &[1000, 5]), vec![range(1000, 1000), range(5, 5)]),
        moving(entry(2, Kind::Append, &[2000, 9]), vec![range(1000, 2000), second]),
        late,
        entry(4, Kind::Reject { what: image.clone(), reason: "ruins\n records".into() }, &[3000, 9]),
        entry(
            5,
            Kind::Rewind { target: Sequence(3), superseded: vec![Sequence(3)], reason: "gate".into() },
            &[2000, 9],
        ),
        entry(6, Kind::Release { what: image, reason: "by hand".into() }, &[2000, 9]),
        entry(
            7,
            Kind::Sweep { uploads: vec![SweptUpload { key: "k".into(), upload_id: UploadId("u".into()) }] },
            &[2000, 9],
        ),
    ];
    let store = MemoryStore::new();
    for entry in entries {
        let json = entry.to_json().expect("it is a good entry");
        store.put_if_absent(&entry.sequence.key(), json.into()).await.expect("put");
    }
    store
}

async fn printed(store: &dyn Store, options: Options) -> String {
    let mut out = Vec::new();
    print(store, &options, &mut out).await.expect("printed");
    String::from_utf8(out).expect("text")
}

#[tokio::test]
async fn the_log_reads_from_its_oldest_entry_to_its_newest() {
    let store = store().await;
    let expected = "
SEQ  TIME (UTC)           KIND     RELEASE       WRITTEN  DEAD  FILES     BYTES  PARTITIONS  UNSETTLED  WHAT
  1  2026-11-22 07:01:00  open     0123456789ab        -     -      -         -           -          -  takes over (sha256:aa, shop:17, t1), 2 partitions new
  2  2026-11-22 07:02:00  append   0123456789ab    1,001     1      2  80.2 KiB           2          -  shop-events[0] 1000..2000, shop-events[1] 5..9; 1 filtered; 1 absent; 1 file of dead letters
  3  2026-11-22 07:03:00  append   0123456789ab    1,000     -      1  79.3 KiB           1          2  superseded by 5; it was: shop-events[0] 2000..3000
  4  2026-11-22 07:04:00  reject   0123456789ab        -     -      -         -           -          -  sha256:aa may not write any more: ruins records
  5  2026-11-22 07:05:00  rewind   0123456789ab        -     -      -         -           -          -  goes back to before 3, 1 entry superseded, shop-events[0] 3000 -> 2000: gate
  6  2026-11-22 07:06:00  release  0123456789ab        -     -      -         -           -          -  sha256:aa may write again: by hand
  7  2026-11-22 07:07:00  sweep    0123456789ab        -     -      -         -           -          -  gives up 1 abandoned upload
";
    let text = printed(&store, Options::default()).await;
    assert_eq!(text, format!("{}7 of 7 entries of {}\n", expected.trim_start(), store.url()));
}

#[tokio::test]
async fn newest_and_from_bound_what_is_shown() {
    let store = store().await;
    let sequences = async |newest, from: Option<u64>| {
        let options = Options { newest, from: from.map(Sequence), json: true };
        let text = printed(&store, options).await;
        text.lines()
            .map(|line| {
                let entry: serde_json::Value = serde_json::from_str(line).expect("a line is an entry");
                entry["sequence"].as_u64().expect("it has one")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sequences(Some(2), None).await, [6, 7]);
    assert_eq!(sequences(None, Some(6)).await, [6, 7]);
    assert_eq!(sequences(Some(1), Some(3)).await, [7]);
    assert_eq!(sequences(None, None).await.len(), 7);
    assert_eq!(sequences(Some(0), None).await, [0_u64; 0]);
    assert_eq!(sequences(None, Some(99)).await, [0_u64; 0]);
}

#[tokio::test]
async fn an_empty_store_says_that_it_is_empty() {
    let store = MemoryStore::new();
    assert_eq!(printed(&store, Options::default()).await, format!("no entries in {}\n", store.url()));
    assert_eq!(printed(&store, Options { json: true, ..Options::default() }).await, "");
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_a_line_that_says_why() {
    let store = store().await;
    store.overwrite(&Sequence(2).key(), Bytes::from_static(b"{\"format\": 9}"));
    store.overwrite(&Sequence(4).key(), Bytes::from_static(b"<html>"));
    let text = printed(&store, Options::default()).await;
    assert!(text.contains("its format is 9"), "{text}");
    assert!(text.contains("cannot read it: read ledger entry"), "{text}");
    assert_eq!(text.lines().count(), 9);
}

#[tokio::test]
async fn an_entry_over_several_lines_is_one_line_of_json() {
    let store = MemoryStore::new();
    store.put_if_absent(&Sequence(1).key(), "{\n\"a\":\r\n1}\n".into()).await.expect("put");
    assert_eq!(printed(&store, Options { json: true, ..Options::default() }).await, "{ \"a\":  1}\n");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_the_end() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let store = store().await;
    assert!(print(&store, &Options::default(), &mut Gone).await.is_ok());
}
