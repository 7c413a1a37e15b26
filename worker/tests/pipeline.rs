//! The whole pipeline on a Kafka and a store in memory: what the group, the store and another worker may do to it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger::entry::{Kind, Writer};
use ledger::head::View;
use ledger::store::Store;
use ledger::store::faulty::{Faulty, Fired, Verdict};
use ledger::store::memory::MemoryStore;
use support::{Scripted, TestClock, Topic, rows_under};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::batch::files::FileOptions;
use worker::batch::route::PartitionSpec;
use worker::batch::seal::Limits;
use worker::check::project::{requests_at_rest, requests_of_flush};
use worker::clock::Clock;
use worker::decode::{BatchDecoder, DecodeFailure, Decoded, DecoderFactory, dead_letter};
use worker::encode::EncodeOptions;
use worker::kafka::records::{Batch, Run};
use worker::metrics::Metrics;
use worker::pipeline::{Decode, Parts, Pipeline, Report, Rules, Stop};
use worker::schema;
use worker::settings::{
    MetadataColumns, OnDataLoss, OnError, PartitionField, PartitionTransform, RecordSettings, Start,
    Tombstones,
};

struct Decoder {
    factory: DecoderFactory,
    idle: Mutex<Vec<BatchDecoder>>,
}

impl Decode for Decoder {
    fn decode(&self, batch: &Batch, runs: &[Run]) -> Result<Decoded, DecodeFailure> {
        let mut decoder = self.idle.lock().unwrap().pop().unwrap_or_else(|| self.factory.build());
        let decoded = decoder.decode(batch, runs);
        self.idle.lock().unwrap().push(decoder);
        decoded
    }
}

struct Worker {
    source: Scripted,
    stop: CancellationToken,
    running: JoinHandle<Result<(), Stop>>,
}

impl Worker {
    fn start(store: Arc<dyn Store>, topic: &Topic, partitions: i32, release: &str) -> Worker {
        Worker::start_with(store, topic, partitions, release, |_| {})
    }

    fn start_with(
        store: Arc<dyn Store>,
        topic: &Topic,
        partitions: i32,
        release: &str,
        change: impl FnOnce(&mut Rules),
    ) -> Worker {
        let source = Scripted::new(topic, partitions, 50);
        let stop = CancellationToken::new();
        let table = schema::parse("CREATE TABLE t (id bigint NOT NULL)").unwrap();
        let records = RecordSettings {
            schema_file: "schema.sql".into(),
            on_error: OnError::DeadLetter,
            tombstones: Tombstones::Skip,
            metadata: MetadataColumns::default(),
        };
        let factory = DecoderFactory::new(&table, &records);
        let by_date = PartitionField {
            name: "dt".to_owned(),
            column: vec!["_timestamp".to_owned()],
            transform: PartitionTransform::Date,
        };
        let spec = PartitionSpec::new(&[by_date], factory.output_schema()).unwrap();
        let files = FileOptions {
            data_schema: spec.file_schema().clone(),
            spec,
            data: EncodeOptions::default(),
            dead_letter_schema: dead_letter::schema(),
            dead_letters: EncodeOptions::default(),
        };
        let mut rules = Rules {
            limits: Limits {
                file_bytes_max: 128 << 20,
                age_max: Duration::from_secs(60),
                idle_max: Duration::from_secs(10),
                memory_bytes_max: 256 << 20,
            },
            start: Start::Earliest,
            on_data_loss: OnDataLoss::Fail,
            revoke_timeout: Duration::from_secs(20),
            decoders: 2,
            decoding_bytes_max: 64 << 20,
            hold_at: None,
        };
        change(&mut rules);
        let clock: Arc<dyn Clock> = Arc::new(TestClock::start());
        let parts = Parts {
            source: Arc::new(source.clone()),
            store,
            decoder: Arc::new(Decoder { factory, idle: Mutex::default() }),
            files,
            writer: Writer { release: release.to_owned(), version: "0".to_owned(), ..Writer::default() },
            report: Report::new(Metrics::new(clock.moment()), clock.clone()),
            clock,
            rules,
            shutdown: stop.clone(),
        };
        Worker { source, stop, running: tokio::spawn(Pipeline::run(parts)) }
    }

    async fn drain(self) -> Result<(), Stop> {
        self.stop.cancel();
        self.running.await.unwrap()
    }
}

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
    store.next(ledger::store::Operation::Put, "_landfall/ledger/", 2, Verdict::LoseReply);
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

#[tokio::test(start_paused = true)]
async fn a_rejected_release_stops_and_its_rewound_data_is_read_again_by_the_good_one() {
    let (topic, store) = (Topic::default(), MemoryStore::new());
    topic.fill(2, 100);
    let bad = Worker::start(Arc::new(store.clone()), &topic, 2, "bad");
    bad.source.give(0..2);
    seconds(30).await;
    let signature = ledger::rewind::Signature {
        entry_id: ledger::entry::EntryId(uuid::Uuid::now_v7()),
        writer: Writer { release: "deployer".to_owned(), ..Writer::default() },
        committed_at: "2026-11-22T07:00:00.000Z".to_owned(),
    };
    let mut view = View::open(Arc::new(store.clone())).await.unwrap();
    view.reject("bad", &signature, "it ruins records").await.unwrap().unwrap();
    let rewind = ledger::rewind::Signature {
        entry_id: ledger::entry::EntryId(uuid::Uuid::now_v7()),
        ..signature.clone()
    };
    view.rewind(ledger::entry::Sequence(1), &rewind, "it ruins records").await.unwrap().unwrap();
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
