//! Common: short words for what these tests say often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ledger::append::{Draft, DraftFile};
use ledger::entry::{
    Entry, EntryId, FileRef, Kind, NextOffset, PartitionRange, Role, Sequence, TopicRange, Writer,
};
use ledger::head::{View, read_newest, read_range};
use ledger::rewind::Signature;
use ledger::store::faulty::{Call, Faulty, Verdict};
use ledger::store::memory::MemoryStore;
use ledger::store::{Operation, Store};
use uuid::Uuid;

pub const TOPIC: &str = "clicks";
pub const MINUTE_MS: u64 = 60_000;

/// One partition's offsets `from..to`.
pub type Move = (i32, i64, i64);

pub fn id(n: u64) -> EntryId {
    EntryId(Uuid::from_u128(u128::from(n)))
}

pub fn writer(release: &str) -> Writer {
    Writer { release: release.to_owned(), version: "0.1.0".to_owned(), ..Writer::default() }
}

pub fn signature(n: u64) -> Signature {
    Signature {
        entry_id: id(n),
        writer: writer("deployer"),
        committed_at: "2026-11-22T07:00:00.000Z".to_owned(),
    }
}

/// A store in memory, and the same store as one process sees it, through faults.
pub fn sea() -> (MemoryStore, Faulty) {
    let memory = MemoryStore::new();
    let faulty = Faulty::new(Arc::new(memory.clone()));
    (memory, faulty)
}

pub async fn view(store: &(impl Store + Clone + 'static)) -> View {
    View::open(Arc::new(store.clone())).await.unwrap()
}

/// The rows of a file as its content: one line `partition offset` a row.
pub fn rows(moves: &[Move]) -> String {
    let offsets = moves.iter().flat_map(|(partition, from, to)| (*from..*to).map(move |o| (partition, o)));
    offsets.map(|(partition, offset)| format!("{partition} {offset}\n")).collect()
}

/// Begins an upload of the rows of `moves` and sends its only part.
pub async fn upload(store: &dyn Store, key: &str, moves: &[Move]) -> DraftFile {
    let upload_id = store.begin_upload(key).await.unwrap();
    let body = Bytes::from(rows(moves));
    let bytes = body.len();
    let tag = store.upload_part(key, &upload_id, 1, body).await.unwrap();
    let rows = moves.iter().map(|(_, from, to)| (to - from) as u64).sum();
    let (key, role) = (key.to_owned(), Role::Data);
    let file = FileRef { key, role, upload_id, parts: vec![tag], rows, bytes: bytes as u64 };
    DraftFile { file, part_bytes: vec![bytes], age: Duration::ZERO }
}

/// What `moves` make of a topic, with all offsets written.
pub fn topics(moves: &[Move]) -> BTreeMap<String, TopicRange> {
    let partitions = moves.iter().map(|(partition, from, to)| {
        let written = (to - from) as u64;
        (*partition, PartitionRange { written, ..empty_range(*from, *to) })
    });
    BTreeMap::from([(TOPIC.to_owned(), TopicRange { id: String::new(), partitions: partitions.collect() })])
}

pub fn empty_range(from: i64, to: i64) -> PartitionRange {
    PartitionRange {
        from: NextOffset(from),
        to: NextOffset(to),
        leader_epoch: -1,
        log_start: -1,
        last_stable: -1,
        ..PartitionRange::default()
    }
}

/// A draft of `moves` in the given files.
pub fn draft(n: u64, release: &str, moves: &[Move], files: Vec<DraftFile>) -> Draft {
    Draft {
        kind: Kind::Append,
        entry_id: id(n),
        writer: writer(release),
        committed_at: "2026-11-22T07:00:00.000Z".to_owned(),
        topics: topics(moves),
        files,
    }
}

/// A draft of `moves` in one file, `data/<n>`.
pub async fn draft_in_one_file(store: &dyn Store, n: u64, release: &str, moves: &[Move]) -> Draft {
    let file = upload(store, &format!("data/{n}"), moves).await;
    draft(n, release, moves, vec![file])
}

/// The whole log as it stands in the store; reading it checks that it is contiguous.
pub async fn log(store: &MemoryStore) -> Vec<Entry> {
    let Some(newest) = read_newest(store).await.unwrap() else { return Vec::new() };
    let entries = read_range(store, Sequence(1), newest.sequence).await.unwrap();
    let mut before = None;
    for entry in &entries {
        entry.check_follows(before).unwrap();
        before = Some(entry);
    }
    entries
}

pub fn position(view: &View, partition: i32) -> Option<i64> {
    view.position(TOPIC, partition).map(|position| position.0)
}

/// Keys that a reader of `data/` sees.
pub fn visible(store: &MemoryStore) -> Vec<String> {
    store.keys().into_iter().filter(|key| key.starts_with("data/")).collect()
}

/// Writes down every call for a data file, and lets it pass.
pub fn record(faulty: &Faulty) -> Arc<Mutex<Vec<(Operation, String)>>> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    faulty.set_script(move |call: &Call<'_>| {
        if call.key.starts_with("data/") {
            seen.lock().unwrap().push((call.operation, call.key.to_owned()));
        }
        Verdict::Pass
    });
    calls
}
