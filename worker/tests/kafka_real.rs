//! The Kafka room against Apache Kafka, where `tests/run` or `LANDFALL_TEST_KAFKA=host:port` offers one.
//!
//! What is claimed of Kafka is shown here: transactions and their markers, retention, topic ids, two members under
//! load by both group protocols, logging in by SCRAM and what a user may not do.
#![allow(clippy::disallowed_methods)] // Tests look at the clock.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{
    LIMITS, Writer, assigned, member, next, partition, placement, placements, read_until, settings, source,
};
use ledger::entry::{NextOffset, OffsetRange};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use worker::kafka::{
    Event, Existing, Generation, KafkaError, KafkaSource, Onlooker, Placement, SampleSize, Source,
    TopicPartition,
};
use worker::settings::{Auth, ScramMechanism, Secret};

const LONG: Duration = Duration::from_secs(30);

/// None, with a line that says so, where no broker is offered; a failure where CI must have one.
fn broker(variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(address) if !address.is_empty() => Some(address),
        _ => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{variable} is not set, and CI=true");
            println!("not tested: Apache Kafka ({variable} is not set)");
            None
        }
    }
}

/// A name that no earlier run used.
fn fresh(what: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    format!("{what}-{}-{}", since.as_nanos(), COUNT.fetch_add(1, Ordering::SeqCst))
}

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("an admin client")
}

async fn create(bootstrap: &str, topic: &str, partitions: i32) {
    let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let made = admin(bootstrap).create_topics([&wanted], &AdminOptions::new()).await.expect("create topics");
    made[0].as_ref().expect("the topic is made");
    let onlooker = Onlooker::start(&settings(bootstrap, "g", &[topic]), LIMITS).expect("settings");
    for number in 0..partitions {
        let asked = Instant::now();
        while onlooker.watermarks(&partition(topic, number)).await.is_err() {
            assert!(asked.elapsed() < LONG, "{topic}[{number}] has no leader");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn delete_before(bootstrap: &str, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("an offset");
    admin(bootstrap).delete_records(&list, &AdminOptions::new()).await.expect("delete records");
}

struct Transactions(BaseProducer);

impl Transactions {
    fn new(bootstrap: &str) -> Transactions {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", fresh("tx"))
            .create()
            .expect("a producer");
        producer.init_transactions(LONG).expect("init");
        Transactions(producer)
    }

    /// Begins a transaction and writes into it; it stays open.
    fn write(&self, topic: &str, count: usize) {
        self.0.begin_transaction().expect("begin");
        for _ in 0..count {
            self.0
                .send(BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(b"{}"))
                .map_err(|(error, _)| error)
                .expect("send");
        }
        self.0.flush(LONG).expect("flush");
    }

    fn commit(&self) {
        self.0.commit_transaction(LONG).expect("commit");
    }

    fn abort(&self) {
        self.0.abort_transaction(LONG).expect("abort");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_records_are_unseen_and_the_end_is_behind_the_markers() {
    let Some(kafka) = broker("LANDFALL_TEST_KAFKA") else { return };
    let topic = fresh("tx");
    create(&kafka, &topic, 1).await;
    let writer = Transactions::new(&kafka);
    writer.write(&topic, 10); // 0..=9
    writer.commit(); // marker 10
    writer.write(&topic, 5); // 11..=15
    writer.abort(); // marker 16
    writer.write(&topic, 3); // 17..=19
    writer.commit(); // marker 20
    writer.write(&topic, 4); // 21..=24, open

    let source = source(&kafka, &fresh("g"), &[&topic]);
    let mine = assigned(&source).await;
    source.assign(placements(&mine, 0), Generation(1)).await.expect("assign");
    let mut read = BTreeMap::new();
    let is_end = |event: &Event, at: i64| matches!(event, Event::AtEnd { next, .. } if next.0 == at);
    read_until(&source, "the end before the open transaction", &mut read, |event, _| is_end(event, 21)).await;
    let clicks = partition(&topic, 0);
    let offsets = |read: &BTreeMap<TopicPartition, Vec<(i64, Generation)>>| -> Vec<i64> {
        read[&clicks].iter().map(|(offset, _)| *offset).collect()
    };
    assert_eq!(offsets(&read), (0..10).chain(17..20).collect::<Vec<i64>>());
    let ends = source.watermarks(&clicks).await.expect("watermarks");
    assert_eq!((ends.log_start, ends.last_stable), (0, 21), "the last stable offset, not the high watermark");

    let onlooker = Onlooker::start(&settings(&kafka, "g", &[&topic]), LIMITS).expect("settings");
    let existing = onlooker.existing_offsets(&clicks, 0..100).await.expect("a range");
    assert_eq!(existing, Existing { known: 0..21, offsets: vec![OffsetRange(0, 9), OffsetRange(17, 19)] });
    let size = SampleSize { records_per_partition: 8, partitions_max: 1, bytes_max: 1 << 20 };
    let sample = onlooker.sample(size).await.expect("a sample");
    assert_eq!(sample.batches.iter().map(|batch| batch.messages.len()).sum::<usize>(), 3);

    writer.abort(); // marker 25: nothing but an aborted transaction behind the end
    read_until(&source, "the end behind the aborted one", &mut read, |event, _| is_end(event, 26)).await;
    assert_eq!(offsets(&read).len(), 13);
    source.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_has_an_id_and_another_one_when_it_is_made_again() {
    let Some(kafka) = broker("LANDFALL_TEST_KAFKA") else { return };
    let topic = fresh("id");
    create(&kafka, &topic, 2).await;
    let onlooker = Onlooker::start(&settings(&kafka, "g", &[&topic]), LIMITS).expect("settings");
    let first = onlooker.topics().await.expect("topics").remove(0);
    assert_eq!(first.partitions, [0, 1]);
    assert!(first.id.as_ref().is_some_and(|id| id.len() == 22), "{first:?}");
    assert_eq!(onlooker.topics().await.expect("topics")[0].id, first.id);
    admin(&kafka).delete_topics(&[&topic], &AdminOptions::new()).await.expect("delete")[0]
        .as_ref()
        .expect("delete");
    let asked = Instant::now();
    while !matches!(onlooker.topics().await, Err(KafkaError::NoSuchTopic { .. })) {
        assert!(asked.elapsed() < LONG, "the topic does not go");
    }
    create(&kafka, &topic, 2).await;
    let again = onlooker.topics().await.expect("topics").remove(0);
    assert!(again.id.is_some() && again.id != first.id, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_retention_took_is_told_and_reading_goes_on_where_it_is_put() {
    let Some(kafka) = broker("LANDFALL_TEST_KAFKA") else { return };
    let topic = fresh("retention");
    create(&kafka, &topic, 1).await;
    Writer::new(&kafka).write(&topic, 0, 0..20);
    delete_before(&kafka, &topic, 8).await;
    let source = source(&kafka, &fresh("g"), &[&topic]);
    let mine = assigned(&source).await;
    source.assign(placements(&mine, 3), Generation(1)).await.expect("assign");
    match next(&source, "out of range", 20).await {
        Event::OutOfRange { partition: which, generation, .. } => {
            assert_eq!((&which, generation), (&mine[0], Generation(1)));
        }
        other => panic!("{other:?}"),
    }
    let ends = source.watermarks(&mine[0]).await.expect("watermarks");
    assert_eq!((ends.log_start, ends.last_stable), (8, 20));
    source.reposition(placements(&mine, ends.log_start), Generation(2)).await.expect("reposition");
    let mut read = BTreeMap::new();
    read_until(&source, "the end", &mut read, |event, _| matches!(event, Event::AtEnd { .. })).await;
    assert_eq!(read[&mine[0]], (8..20).map(|offset| (offset, Generation(2))).collect::<Vec<_>>());

    // A position that no log holds, with the epoch of the record before it: the log was cut.
    let beyond = Placement { leader_epoch: Some(0), ..placement(&mine[0], 999) };
    source.reposition(vec![beyond], Generation(3)).await.expect("reposition");
    loop {
        match next(&source, "a truncated log", 20).await {
            Event::Truncated { generation, reason, .. } => {
                assert_eq!(generation, Generation(3));
                assert!(reason.contains("999"), "{reason}");
                break;
            }
            Event::AtEnd { generation, .. } => assert!(generation < Generation(3)),
            other => panic!("{other:?}"),
        }
    }
    source.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_mirrored_into_the_group() {
    let Some(kafka) = broker("LANDFALL_TEST_KAFKA") else { return };
    let (topic, group) = (fresh("mirror"), fresh("g"));
    create(&kafka, &topic, 2).await;
    let source = source(&kafka, &group, &[&topic]);
    let mine = assigned(&source).await;
    source.assign(placements(&mine, 0), Generation(1)).await.expect("assign");
    let positions =
        BTreeMap::from([(topic.clone(), BTreeMap::from([(0, NextOffset(7)), (1, NextOffset(9))]))]);
    source.commit_offsets(positions).await.expect("commit");
    source.close().await.expect("close");
    let committed = tokio::task::spawn_blocking(move || {
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &kafka)
            .set("group.id", &group)
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&topic, 0, 1);
        let found = reader.committed_offsets(list, LONG).expect("committed");
        found.elements().iter().map(|element| element.offset()).collect::<Vec<_>>()
    });
    assert_eq!(committed.await.expect("no panic"), [Offset::Offset(7), Offset::Offset(9)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_ends_the_source() {
    let Some(kafka) = broker("LANDFALL_TEST_KAFKA") else { return };
    let topic = fresh("nowhere");
    let source = source(&kafka, &fresh("g"), &[&topic]);
    assert!(matches!(source.topics().await, Err(KafkaError::NoSuchTopic { topic: named }) if named == topic));
    match next(&source, "the end of the source", 30).await {
        Event::Failed(KafkaError::NoSuchTopic { topic: named }) => assert_eq!(named, topic),
        other => panic!("{other:?}"),
    }
    source.close().await.expect("close");
}

/// A worker in miniature: positions are shared (as the ledger is), and advanced only by what was read in order.
async fn work(
    source: Arc<KafkaSource>,
    ledger: Arc<Mutex<BTreeMap<TopicPartition, i64>>>,
    stop: Arc<AtomicBool>,
) -> u32 {
    let (mut generation, mut rebalances) = (Generation(1), 0);
    while !stop.load(Ordering::SeqCst) {
        let Ok(event) = tokio::time::timeout(Duration::from_millis(200), source.next()).await else {
            continue;
        };
        match event {
            Event::Assigned(partitions) => {
                rebalances += 1;
                generation = Generation(generation.0 + 1);
                let places = {
                    let ledger = ledger.lock().expect("no panic");
                    partitions
                        .iter()
                        .map(|one| placement(one, ledger.get(one).copied().unwrap_or(0)))
                        .collect()
                };
                source.assign(places, generation).await.expect("assign");
            }
            Event::Revoked(partitions) | Event::Lost(partitions) => {
                rebalances += 1;
                source.unassign(partitions).await.expect("unassign");
            }
            Event::Records(batch) => {
                let mut ledger = ledger.lock().expect("no panic");
                for run in &batch.runs {
                    let position = ledger.entry(run.partition.clone()).or_default();
                    for index in run.range.clone() {
                        let offset = batch.messages.get(index).offset;
                        assert_eq!(offset, *position, "{}: skipped, doubled or another's", run.partition);
                        *position += 1;
                    }
                }
            }
            Event::AtEnd { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    source.close().await.expect("close");
    rebalances
}

async fn members_come_and_go(protocol: &str, rebalances_min: u32) {
    let Some(kafka) = broker("LANDFALL_TEST_KAFKA") else { return };
    const PARTITIONS: i32 = 6;
    let (topic, group) = (fresh("members"), fresh("g"));
    create(&kafka, &topic, PARTITIONS).await;
    let mut settings = settings(&kafka, &group, &[&topic]);
    settings.options.insert("group.protocol".to_owned(), protocol.to_owned());
    let ledger = Arc::new(Mutex::new(BTreeMap::new()));
    let begin = || {
        let source = Arc::new(member(&settings, LIMITS));
        let stop = Arc::new(AtomicBool::new(false));
        (tokio::spawn(work(source, Arc::clone(&ledger), Arc::clone(&stop))), stop)
    };
    let writing = Arc::new(AtomicBool::new(true));
    let written = {
        let (writing, topic, kafka) = (Arc::clone(&writing), topic.clone(), kafka.clone());
        tokio::task::spawn_blocking(move || {
            let writer = Writer::new(&kafka);
            let mut count = 0;
            while writing.load(Ordering::SeqCst) {
                // In small bursts with pauses, so that readers reach the ends again and again.
                for number in 0..PARTITIONS {
                    writer.write(&topic, number, count..count + 7);
                }
                count += 7;
                std::thread::sleep(Duration::from_millis(20));
            }
            count
        })
    };
    let first = begin();
    let mut rebalances = 0;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let second = begin();
        tokio::time::sleep(Duration::from_secs(5)).await;
        second.1.store(true, Ordering::SeqCst);
        rebalances += second.0.await.expect("the second member");
    }
    writing.store(false, Ordering::SeqCst);
    let count = i64::try_from(written.await.expect("the writer")).expect("small");
    let asked = Instant::now();
    while ledger.lock().expect("no panic").values().sum::<i64>() < count * i64::from(PARTITIONS) {
        assert!(asked.elapsed() < LONG, "{:?} of {count} each", ledger.lock().expect("no panic"));
        assert!(!first.0.is_finished(), "the first member ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    first.1.store(true, Ordering::SeqCst);
    rebalances += first.0.await.expect("the first member");
    println!("{protocol}: {count} records in each of {PARTITIONS} partitions, {rebalances} rebalances");
    assert!(rebalances >= rebalances_min, "members came and went: {rebalances}");
    assert_eq!(ledger.lock().expect("no panic").values().copied().collect::<Vec<_>>(), vec![count; 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_read_every_record_once_while_one_comes_and_goes() {
    members_come_and_go("classic", 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_for_the_new_group_protocol() {
    members_come_and_go("consumer", 4).await;
}

fn scram(kafka: &str, topic: &str, user: &str, password: &str, mechanism: ScramMechanism) -> KafkaSource {
    let mut settings = settings(kafka, &fresh("g"), &[topic]);
    settings.auth = Auth::Scram {
        mechanism,
        username: user.to_owned(),
        password: Secret(password.to_owned()),
        tls: false,
        ca: None,
    };
    member(&settings, LIMITS)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_by_scram_and_a_wrong_password_is_denied() {
    let (Some(open), Some(kafka)) = (broker("LANDFALL_TEST_KAFKA"), broker("LANDFALL_TEST_KAFKA_SCRAM"))
    else {
        return;
    };
    let topic = fresh("scram");
    create(&open, &topic, 1).await;
    Writer::new(&open).write(&topic, 0, 0..5);
    let password =
        std::env::var("LANDFALL_TEST_KAFKA_PASSWORD").unwrap_or_else(|_| "landfall-secret".to_owned());
    for mechanism in [ScramMechanism::Sha256, ScramMechanism::Sha512] {
        let source = scram(&kafka, &topic, "landfall", &password, mechanism);
        let mine = assigned(&source).await;
        source.assign(placements(&mine, 0), Generation(1)).await.expect("assign");
        let mut read = BTreeMap::new();
        read_until(&source, "the end", &mut read, |event, _| matches!(event, Event::AtEnd { .. })).await;
        assert_eq!(read[&mine[0]].len(), 5);
        source.close().await.expect("close");
    }
    let wrong = scram(&kafka, &topic, "landfall", "not-the-secret", ScramMechanism::Sha512);
    match next(&wrong, "a refusal", 20).await {
        Event::Failed(KafkaError::Denied { action, reason }) => {
            assert!(action.contains("log in"), "{action}");
            assert!(!reason.contains("not-the-secret"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    wrong.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights_is_denied() {
    let (Some(open), Some(kafka)) = (broker("LANDFALL_TEST_KAFKA"), broker("LANDFALL_TEST_KAFKA_SCRAM"))
    else {
        return;
    };
    let topic = fresh("rights");
    create(&open, &topic, 1).await;
    let source = scram(&kafka, &topic, "stranger", "stranger-secret", ScramMechanism::Sha256);
    let asked = source.topics().await;
    assert!(
        matches!(asked, Err(KafkaError::Denied { .. } | KafkaError::NoSuchTopic { .. })),
        "Kafka hides topics from strangers: {asked:?}"
    );
    match next(&source, "a refusal", 30).await {
        Event::Failed(KafkaError::Denied { .. } | KafkaError::NoSuchTopic { .. }) => {}
        other => panic!("{other:?}"),
    }
    source.close().await.expect("close");
}

/// Why the pipeline asks for ids before it appends: nothing else tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_is_read_on_and_only_its_id_tells() {
    let Some(kafka) = broker("LANDFALL_TEST_KAFKA") else { return };
    let topic = fresh("again");
    create(&kafka, &topic, 1).await;
    Writer::new(&kafka).write(&topic, 0, 0..20);
    let source = source(&kafka, &fresh("g"), &[&topic]);
    let mine = assigned(&source).await;
    source.assign(placements(&mine, 0), Generation(1)).await.expect("assign");
    let mut read = BTreeMap::new();
    read_until(&source, "the end", &mut read, |event, _| matches!(event, Event::AtEnd { .. })).await;
    let before = source.topics().await.expect("topics").remove(0).id;
    admin(&kafka).delete_topics(&[&topic], &AdminOptions::new()).await.expect("delete")[0]
        .as_ref()
        .expect("delete");
    tokio::time::sleep(Duration::from_millis(500)).await;
    create(&kafka, &topic, 1).await;
    Writer::new(&kafka).write(&topic, 0, 0..100);
    // By way of an end, a rebalance or nothing at all: what comes at offset 20 is another topic's record.
    let (mut silent, asked) = (false, Instant::now());
    while !silent && asked.elapsed() < Duration::from_secs(15) {
        match tokio::time::timeout(Duration::from_secs(1), source.next()).await {
            Ok(Event::Records(batch)) => silent = batch.generation == Generation(1),
            Ok(Event::Failed(_) | Event::Revoked(_) | Event::Lost(_) | Event::OutOfRange { .. }) => break,
            Ok(_) | Err(_) => {}
        }
    }
    println!("the records of the new topic came without a word: {silent}");
    let after = source.topics().await.expect("topics").remove(0).id;
    assert!(before.is_some() && after.is_some() && before != after, "{before:?}, then {after:?}");
    source.close().await.expect("close");
}
