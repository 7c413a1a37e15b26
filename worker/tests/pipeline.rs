//! The whole pipeline on a Kafka and a store in memory: what the group, the store and another worker may do to it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::entry::{Kind, Writer};
use ledger::head::View;
use ledger::store::faulty::{Faulty, Fired, Verdict};
use ledger::store::memory::MemoryStore;
use ledger::store::{Operation, Store};
use support::worker::Worker;
use support::{Brokers, Topic, rows_under};
use worker::check::project::{requests_at_rest, requests_of_flush};
use worker::metrics::Counter;
use worker::pipeline::Stop;
use worker::settings::OnDataLoss;

fn every_offset_once(partitions: i32, count: i64) -> BTreeMap<(i32, i64), usize> {
    (0..partitions).flat_map(|p| (0..count).map(move |offset| ((p, offset), 1))).collect()
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn every_record_ends_in_one_place() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(3, 500);
    topic.put(0, 500, Some("{\"id\": "));
    topic.put(0, 501, None);
    topic.put(0, 505, Some("{\"id\": 505}"));
    let worker = Worker::start(Arc::new(store.clone()), &topic, 3, "r1");
    worker.source.give(0..3);
    seconds(30).await;
    let mirrored = worker.source.mirrored();
    worker.drain().await.unwrap();

    let mut expected = every_offset_once(3, 500);
    expected.insert((0, 505), 1);
    assert_eq!(rows_under(&store, "data/").await, expected);
    assert_eq!(rows_under(&store, "_landfall/dead-letters/").await, BTreeMap::from([((0, 500), 1)]));
    let view = View::open(Arc::new(store)).await.unwrap();
    assert_eq!(view.position("clicks", 0).unwrap().0, 506);
    assert_eq!(mirrored, view.positions());
    assert_eq!(view.topic_id("clicks"), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn two_workers_that_both_believe_they_own_a_partition_double_nothing() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(2, 300);
    let one = Worker::start(Arc::new(store.clone()), &topic, 2, "r1");
    let two = Worker::start(Arc::new(store.clone()), &topic, 2, "r1");
    one.source.give(0..2);
    two.source.give(0..2);
    seconds(40).await;
    for offset in 300..400 {
        topic.put(0, offset, Some(&format!("{{\"id\": {offset}}}")));
    }
    seconds(40).await;
    assert!(one.count(Counter::Fenced) + two.count(Counter::Fenced) > 0, "nobody was fenced");
    one.drain().await.unwrap();
    two.drain().await.unwrap();
    let mut expected = every_offset_once(2, 300);
    expected.extend((300..400).map(|offset| ((0, offset), 1)));
    assert_eq!(rows_under(&store, "data/").await, expected);
}

#[tokio::test(start_paused = true)]
async fn lost_partitions_drop_the_mixed_batch_and_the_rest_is_read_again() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(2, 100);
    let worker = Worker::start(Arc::new(store.clone()), &topic, 2, "r1");
    worker.source.give(0..2);
    seconds(2).await;
    worker.source.lose([1]);
    seconds(30).await;
    assert_eq!(worker.source.reading(), [0]);
    worker.drain().await.unwrap();
    assert_eq!(rows_under(&store, "data/").await, every_offset_once(1, 100));
    assert_eq!(store.list_uploads("").await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_is_committed_before_it_is_given_up() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(2, 100);
    let worker = Worker::start(Arc::new(store.clone()), &topic, 2, "r1");
    worker.source.give(0..2);
    seconds(2).await;
    worker.source.take_back([1]);
    seconds(1).await;
    let view = View::open(Arc::new(store.clone())).await.unwrap();
    assert_eq!(view.position("clicks", 1).unwrap().0, 100);
    assert_eq!(worker.source.reading(), [0]);
    worker.drain().await.unwrap();
    assert_eq!(rows_under(&store, "data/").await, every_offset_once(2, 100));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_of_the_append_is_found_to_be_ours() {
    let (topic, memory) = (Topic::default(), MemoryStore::new());
    topic.fill(1, 100);
    let store = Faulty::new(Arc::new(memory.clone()));
    store.next(Operation::Put, "_landfall/ledger/", 2, Verdict::LoseReply);
    let worker = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    worker.source.give([0]);
    seconds(30).await;
    worker.drain().await.unwrap();
    assert_eq!(store.fired(Fired::LostReply), 2);
    assert_eq!(rows_under(&memory, "data/").await, every_offset_once(1, 100));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_holds_data_up_and_drops_nothing() {
    let (topic, memory) = (Topic::default(), MemoryStore::new());
    topic.fill(1, 100);
    let store = Faulty::new(Arc::new(memory.clone()));
    let worker = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    worker.source.give([0]);
    seconds(2).await;
    store.set_script(|_| Verdict::LoseRequest);
    seconds(600).await;
    assert!(!worker.running.is_finished());
    store.set_script(|_| Verdict::Pass);
    seconds(60).await;
    worker.drain().await.unwrap();
    assert_eq!(rows_under(&memory, "data/").await, every_offset_once(1, 100));
}

#[tokio::test(start_paused = true)]
async fn offsets_that_retention_took_stop_the_worker_unless_told_otherwise() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(1, 100);
    let worker = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    worker.source.give([0]);
    seconds(30).await;
    worker.drain().await.unwrap();
    for offset in 100..300 {
        topic.put(0, offset, Some("{\"id\": 1}"));
    }
    topic.retain_from(0, 200);

    let strict = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    strict.source.give([0]);
    let stop = strict.running.await.unwrap().unwrap_err();
    assert!(matches!(stop, Stop::DataLoss { wanted: 100, oldest: 200, .. }), "{stop}");

    let lenient = Worker::start_with(Arc::new(store.clone()), &topic, 1, "r1", |rules| {
        rules.on_data_loss = OnDataLoss::Continue;
    });
    lenient.source.give([0]);
    seconds(30).await;
    lenient.drain().await.unwrap();
    let mut expected = every_offset_once(1, 100);
    expected.extend((200..300).map(|offset| ((0, offset), 1)));
    assert_eq!(rows_under(&store, "data/").await, expected);
}

fn signature() -> ledger::rewind::Signature {
    ledger::rewind::Signature {
        entry_id: ledger::entry::EntryId(uuid::Uuid::now_v7()),
        writer: Writer { release: "deployer".to_owned(), ..Writer::default() },
        committed_at: "2026-11-22T07:00:00.000Z".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_release_stops_and_its_rewound_data_is_read_again_by_the_good_one() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(2, 100);
    let bad = Worker::start(Arc::new(store.clone()), &topic, 2, "bad");
    bad.source.give(0..2);
    seconds(30).await;
    let mut view = View::open(Arc::new(store.clone())).await.unwrap();
    view.reject("bad", &signature(), "it ruins records").await.unwrap().unwrap();
    view.rewind(ledger::entry::Sequence(1), &signature(), "it ruins records").await.unwrap().unwrap();
    let stop = bad.running.await.unwrap().unwrap_err();
    assert!(matches!(stop, Stop::Rejected { .. }), "{stop}");

    let good = Worker::start(Arc::new(store.clone()), &topic, 2, "good");
    good.source.give(0..2);
    seconds(60 * 20).await;
    good.drain().await.unwrap();
    assert_eq!(rows_under(&store, "data/").await, every_offset_once(2, 100));
    let view = View::open(Arc::new(store.clone())).await.unwrap();
    assert!(view.newest().is_some_and(|entry| matches!(entry.kind, Kind::Append | Kind::Open)));
    assert_eq!(rows_under(&store, "_landfall/superseded/").await, every_offset_once(2, 100));
}

#[tokio::test(start_paused = true)]
async fn a_rewind_counts_although_an_append_beside_it_has_read_past_it() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(2, 100);
    let worker = Worker::start(Arc::new(store.clone()), &topic, 2, "r1");
    worker.source.give(0..2);
    seconds(31).await;
    topic.put(1, 100, Some("{\"id\": 100}"));
    // The head is read every 15 s, an idle batch is sealed after 10 s.
    seconds(15).await;
    let mut view = View::open(Arc::new(store.clone())).await.unwrap();
    let last = view.newest().unwrap().clone();
    assert_eq!(last.ranges().map(|(_, partition, _)| partition).collect::<Vec<_>>(), [1]);
    view.rewind(last.sequence, &signature(), "it ruined a record").await.unwrap().unwrap();
    topic.put(0, 100, Some("{\"id\": 100}"));
    seconds(13).await;
    view.refresh().await.unwrap();
    assert_eq!(view.position("clicks", 0).unwrap().0, 101, "the append was not before the head was read");
    seconds(60 * 20).await;
    worker.drain().await.unwrap();
    assert_eq!(rows_under(&store, "data/").await, every_offset_once(2, 101));
}

#[tokio::test(start_paused = true)]
async fn a_worker_told_to_stop_ends_although_the_store_is_gone() {
    let (topic, memory) = (Topic::default(), MemoryStore::new());
    topic.fill(1, 100);
    let store = Faulty::new(Arc::new(memory.clone()));
    let worker = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    worker.source.give([0]);
    seconds(2).await;
    store.set_script(|_| Verdict::LoseRequest);
    seconds(20).await;
    worker.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(100), worker.running).await;
    assert!(ended.expect("it did not end").unwrap().is_err());

    store.set_script(|_| Verdict::Pass);
    let next = Worker::start(Arc::new(store), &topic, 1, "r1");
    next.source.give([0]);
    seconds(30).await;
    next.drain().await.unwrap();
    assert_eq!(rows_under(&memory, "data/").await, every_offset_once(1, 100));
}

#[tokio::test(start_paused = true)]
async fn brokers_that_do_not_tell_the_lag_do_not_hold_up_the_data() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(1, 100);
    let worker = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    worker.source.give([0]);
    seconds(5).await;
    worker.source.brokers(Brokers::Hang);
    seconds(15).await;
    topic.put(0, 100, Some("{\"id\": 100}"));
    seconds(30).await;
    assert_eq!(rows_under(&store, "data/").await, every_offset_once(1, 101));
    worker.source.take_back([0]);
    seconds(1).await;
    assert!(worker.source.reading().is_empty());
    worker.drain().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_assignment_waits_for_brokers_that_do_not_answer() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(1, 100);
    let worker = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    seconds(1).await;
    worker.source.brokers(Brokers::Unreachable);
    worker.source.give([0]);
    seconds(600).await;
    assert!(!worker.running.is_finished());
    worker.source.brokers(Brokers::Answer);
    seconds(60).await;
    worker.drain().await.unwrap();
    assert_eq!(rows_under(&store, "data/").await, every_offset_once(1, 100));
}

#[tokio::test(start_paused = true)]
async fn uploads_that_became_too_old_are_given_up_and_made_again() {
    let (topic, memory) = (Topic::default(), MemoryStore::new());
    topic.fill(1, 100);
    topic.put(0, 100, Some("no JSON"));
    let store = Faulty::new(Arc::new(memory.clone()));
    store.next(Operation::UploadPart, "_landfall/dead-letters/", u64::MAX, Verdict::LoseRequest);
    let worker = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    worker.source.give([0]);
    seconds(44 * 60).await;
    // Shortly before it would be given up its last request begins to hang.
    store.next(Operation::UploadPart, "_landfall/dead-letters/", u64::MAX, Verdict::PauseBefore);
    seconds(18 * 60).await;
    store.set_script(|_| Verdict::Pass);
    assert_eq!(store.release(), 1);
    seconds(60).await;
    assert_eq!(worker.count(Counter::DroppedBatches), 1);
    worker.drain().await.unwrap();
    assert_eq!(rows_under(&memory, "data/").await, every_offset_once(1, 100));
    assert_eq!(rows_under(&memory, "_landfall/dead-letters/").await, BTreeMap::from([((0, 100), 1)]));
}

#[tokio::test(start_paused = true)]
async fn an_append_refused_after_a_doubt_keeps_its_uploads() {
    let (topic, memory) = (Topic::default(), MemoryStore::new());
    topic.fill(1, 100);
    let store = Faulty::new(Arc::new(memory.clone()));
    let worker = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    worker.source.give([0]);
    seconds(5).await;
    // Nobody hears of the first requests until later; then the credentials expire.
    let mut puts = 0;
    store.set_script(move |call| {
        puts += u32::from(call.operation == Operation::Put);
        match (call.operation, puts) {
            (Operation::Put, 0..=10) => Verdict::Late,
            (Operation::Put, _) => Verdict::Fail(ledger::store::Fault::Denied),
            _ => Verdict::Pass,
        }
    });
    seconds(120).await;
    assert!(store.fired(Fired::Late) > 0 && store.fired(Fired::Failed) > 0);
    assert_eq!(memory.list_uploads("").await.unwrap().len(), 1, "an entry that may yet land names it");
    store.deliver_late().await;
    store.set_script(|_| Verdict::Pass);
    seconds(60).await;
    worker.drain().await.unwrap();
    assert_eq!(rows_under(&memory, "data/").await, every_offset_once(1, 100));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_full_hears_that_the_group_wants_partitions_back() {
    let (topic, memory) = (Topic::default(), MemoryStore::new());
    topic.fill(2, 1000);
    // One a batch. A part of 5 MiB leaves its file before the flush, and memory is full before the next could.
    for offset in (0..1000).step_by(50) {
        topic.put_large_dead_letter(0, offset, 1 << 20);
    }
    let store = Faulty::new(Arc::new(memory.clone()));
    store.next(Operation::UploadPart, "", u64::MAX, Verdict::LoseRequest);
    let worker = Worker::start_with(Arc::new(store.clone()), &topic, 2, "r1", |rules| {
        rules.limits.age_max = Duration::from_secs(30 * 60);
        rules.limits.idle_max = Duration::from_secs(30 * 60);
        rules.limits.memory_bytes_max = 8 << 20;
    });
    worker.source.give(0..2);
    seconds(60).await;
    assert!(memory.list_uploads("").await.unwrap().len() == 1, "no part left its file");
    assert_eq!(worker.count(Counter::DroppedBatches), 0, "a flush was begun");
    worker.source.take_back([1]);
    seconds(60).await;
    assert_eq!(worker.source.reading(), [0]);
    store.set_script(|_| Verdict::Pass);
    worker.drain().await.unwrap();
}

/// Requests so far, as they are paid for.
fn paid(store: &Faulty) -> (f64, f64) {
    use ledger::store::Operation::{
        BeginUpload, CompleteUpload, Copy, Get, Head, List, ListUploads, Put, UploadPart,
    };
    let sum =
        |all: &[ledger::store::Operation]| all.iter().map(|one| store.calls_of(*one)).sum::<u64>() as f64;
    (sum(&[Put, BeginUpload, UploadPart, CompleteUpload, Copy, List, ListUploads]), sum(&[Get, Head]))
}

#[tokio::test(start_paused = true)]
async fn a_worker_asks_the_store_as_often_as_check_foretells() {
    const FLUSHES: i64 = 20;
    const SECONDS: u64 = 600;
    let topic = Topic::default();
    topic.fill(1, 1);
    let store = Faulty::new(Arc::new(MemoryStore::new()));
    let worker = Worker::start(Arc::new(store.clone()), &topic, 1, "r1");
    worker.source.give([0]);
    seconds(60).await;
    let before = paid(&store);
    for offset in 1..=FLUSHES {
        // One row and one dead letter: two files of one part.
        topic.put(0, 2 * offset, Some("{\"id\": 1}"));
        topic.put(0, 2 * offset + 1, Some("{\"id\": "));
        seconds(SECONDS / FLUSHES as u64).await;
    }
    let after = paid(&store);
    worker.drain().await.unwrap();

    let flush = requests_of_flush(2.0, 2.0);
    let rest = requests_at_rest(SECONDS as f64);
    // A look more or less at either end.
    let near = |found: f64, foretold: f64| (found - foretold).abs() <= 2.0;
    let (puts, gets) = (after.0 - before.0, after.1 - before.1);
    let foretold_puts = rest.puts + FLUSHES as f64 * flush.puts;
    let foretold_gets = rest.gets + FLUSHES as f64 * flush.gets;
    assert!(near(puts, foretold_puts), "{puts} PUTs, {foretold_puts} foretold");
    assert!(near(gets, foretold_gets), "{gets} GETs, {foretold_gets} foretold");
}
