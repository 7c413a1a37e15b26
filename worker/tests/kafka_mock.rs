//! The Kafka room against librdkafka's mock cluster, in process.
//!
//! The mock cluster knows no transactions, no topic ids and no SASL, and keeps 5 MiB a partition; what it does right
//! is groups, rebalancing, fetching and errors on order.
#![allow(clippy::disallowed_methods)] // Tests look at the clock.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{
    LIMITS, Writer, assigned, member, next, partition, placement, placements, read_until, settings, source,
};
use ledger::entry::OffsetRange;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use worker::kafka::{Event, Existing, Generation, KafkaError, Limits, Onlooker, SampleSize, Source};

fn cluster(topic: &str, partitions: i32) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic(topic, partitions, 1).expect("a topic");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_comes_once_with_its_end_and_its_generation() {
    let cluster = cluster("clicks", 3);
    let writer = Writer::new(&cluster.bootstrap_servers());
    for one in 0..3 {
        writer.write("clicks", one, 0..500);
    }
    let source = source(&cluster.bootstrap_servers(), "all", &["clicks"]);
    let partitions = assigned(&source).await;
    assert_eq!(partitions.len(), 3);
    source.assign(placements(&partitions, 100), Generation(7)).await.expect("assign");

    let (mut read, mut ends) = (BTreeMap::new(), BTreeMap::new());
    read_until(&source, "the ends", &mut read, |event, _| {
        if let Event::AtEnd { partition, next, generation } = event {
            assert_eq!(*generation, Generation(7));
            ends.insert(partition.clone(), next.0);
        }
        ends.len() == 3
    })
    .await;
    for one in &partitions {
        let expected: Vec<(i64, Generation)> = (100..500).map(|offset| (offset, Generation(7))).collect();
        assert_eq!(read[one], expected, "{one}");
        assert_eq!(ends[one], 500, "{one}");
    }
    source.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_shows_key_value_header_and_time() {
    let cluster = cluster("clicks", 1);
    Writer::new(&cluster.bootstrap_servers()).write("clicks", 0, 41..43);
    let source = source(&cluster.bootstrap_servers(), "fields", &["clicks"]);
    let partitions = assigned(&source).await;
    source.assign(placements(&partitions, 0), Generation(1)).await.expect("assign");
    let Event::Records(batch) = next(&source, "records", 10).await else { panic!("records come first") };
    let record = batch.messages.get(0);
    assert_eq!((record.offset, record.key, record.value), (0, Some(&b"key"[..]), Some(&b"41"[..])));
    assert!(record.timestamp_ms.is_some_and(|ms| ms > 1_500_000_000_000));
    let mut headers = Vec::new();
    batch.messages.headers(0, &mut |name, value| headers.push((name.to_owned(), value.map(<[u8]>::to_vec))));
    assert_eq!(headers, [("n".to_owned(), Some(b"41".to_vec()))]);
    assert!(batch.bytes >= 10);
    source.close().await.expect("close");
    // The batch outlives the closed source and is still readable.
    assert_eq!(batch.messages.get(0).value, Some(&b"41"[..]));
    drop(source);
    assert_eq!(batch.messages.get(0).value, Some(&b"41"[..]));
}

/// The trap: librdkafka counts an end-of-partition mark as a record taken, and resumes behind it after a rebalance.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_at_the_end_of_a_partition_skips_no_record() {
    let cluster = cluster("clicks", 4);
    let bootstrap = cluster.bootstrap_servers();
    let writer = Writer::new(&bootstrap);
    for one in 0..4 {
        writer.write("clicks", one, 0..10);
    }
    let first = source(&bootstrap, "trap", &["clicks"]);
    let mine = assigned(&first).await;
    first.assign(placements(&mine, 0), Generation(1)).await.expect("assign");
    let (mut read, mut ends) = (BTreeMap::new(), 0);
    read_until(&first, "all ends", &mut read, |event, _| {
        ends += usize::from(matches!(event, Event::AtEnd { .. }));
        ends == 4
    })
    .await;

    // All four stand at their ends. A second member takes two of them.
    let second = source(&bootstrap, "trap", &["clicks"]);
    let Event::Revoked(given) =
        read_until(&first, "a revocation", &mut read, |event, _| matches!(event, Event::Revoked(_))).await
    else {
        unreachable!()
    };
    first.unassign(given.clone()).await.expect("unassign");
    let taken = assigned(&second).await;
    assert_eq!(taken.len(), 2);
    second.assign(placements(&taken, 10), Generation(1)).await.expect("assign");

    for one in 0..4 {
        writer.write("clicks", one, 10..15);
    }
    let kept: Vec<_> = mine.iter().filter(|one| !given.contains(one)).cloned().collect();
    read_until(&first, "the records behind the end", &mut read, |_, read| {
        kept.iter().all(|one| read.get(one).and_then(|seen| seen.last()).is_some_and(|last| last.0 == 14))
    })
    .await;
    for one in &kept {
        let offsets: Vec<i64> = read[one].iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (0..15).collect::<Vec<i64>>(), "{one}: none skipped, none twice");
    }
    let mut theirs = BTreeMap::new();
    read_until(&second, "the other two", &mut theirs, |_, read| {
        taken.iter().all(|one| read.get(one).is_some_and(|seen| seen.len() == 5))
    })
    .await;

    // The second leaves: the first gets all back.
    let left = Instant::now();
    second.close().await.expect("close");
    assert!(left.elapsed() < Duration::from_secs(3), "closing took {:?}", left.elapsed());
    let Event::Assigned(back) =
        read_until(&first, "what the second left", &mut read, |event, _| matches!(event, Event::Assigned(_)))
            .await
    else {
        unreachable!()
    };
    assert_eq!(back.len(), 2);
    first.assign(placements(&back, 15), Generation(2)).await.expect("assign");
    first.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reposition_lets_no_record_of_before_through() {
    const ROUNDS: u64 = 60;
    let cluster = cluster("clicks", 2);
    let bootstrap = cluster.bootstrap_servers();
    let writer = Writer::new(&bootstrap);
    writer.write("clicks", 0, 0..3000);
    writer.write("clicks", 1, 0..3000);
    let source = source(&bootstrap, "hammer", &["clicks"]);
    let partitions = assigned(&source).await;
    source.assign(placements(&partitions, 0), Generation(1)).await.expect("assign");
    let (moved, still) = (partition("clicks", 0), partition("clicks", 1));
    let (mut expected, mut due) = (0i64, 0i64);
    let mut fetched = 0u64;
    for round in 2..ROUNDS {
        // Forwards and backwards, sometimes at once, sometimes after some records.
        let at = i64::try_from(round * 7919 % 2900).expect("small");
        source.reposition(vec![placement(&moved, at)], Generation(round)).await.expect("reposition");
        expected = if round % 3 == 0 { expected } else { at };
        let mut seen_new = round % 3 == 0;
        while !seen_new {
            let Event::Records(batch) = next(&source, "records after a reposition", 20).await else {
                continue;
            };
            for run in &batch.runs {
                let offsets = run.range.clone().map(|index| batch.messages.get(index).offset);
                if run.partition == still {
                    for offset in offsets {
                        assert_eq!(offset, due, "the other partition reads on, whatever happens to this one");
                        due += 1;
                    }
                } else if batch.generation >= Generation(round) {
                    for offset in offsets {
                        assert_eq!(offset, expected, "round {round}: a stale record");
                        expected += 1;
                        fetched += 1;
                    }
                    seen_new = true;
                }
            }
        }
    }
    assert!(fetched > ROUNDS / 2, "the hammer hit: {fetched} records");
    source.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reader_memory_is_bounded_and_the_membership_holds() {
    let cluster = cluster("clicks", 4);
    let bootstrap = cluster.bootstrap_servers();
    let writer = Writer::new(&bootstrap);
    for one in 0..4 {
        writer.write_bytes("clicks", one, 1000, 4000);
    }
    let mut settings = settings(&bootstrap, "slow", &["clicks"]);
    settings.session_timeout = Duration::from_secs(6);
    // A quarter of it may be handed over, and librdkafka keeps the half: far less than the 16 MB that wait.
    let limits = Limits { prefetch_bytes: 2_000_000, record_bytes_max: 1_000_000 };
    let source = member(&settings, limits);
    let partitions = assigned(&source).await;
    source.assign(placements(&partitions, 0), Generation(1)).await.expect("assign");
    tokio::time::sleep(Duration::from_secs(9)).await;

    // What waits was bounded by then: its oldest part comes without a wait and is no larger than the outbox.
    let mut waiting = 0;
    let mut read = 0;
    while let Ok(event) = tokio::time::timeout(Duration::ZERO, source.next()).await {
        match event {
            Event::Records(batch) => {
                waiting += batch.bytes;
                read += batch.messages.len();
            }
            Event::AtEnd { .. } => {}
            other => panic!("the membership was lost: {other:?}"),
        }
        if waiting > 1_000_000 {
            break; // The thread refills while we look.
        }
    }
    assert!(waiting >= 400_000, "the outbox was full: {waiting}");
    while read < 4000 {
        match next(&source, "the rest", 20).await {
            Event::Records(batch) => read += batch.messages.len(),
            Event::AtEnd { .. } => {}
            other => panic!("the membership was lost: {other:?}"),
        }
    }
    assert_eq!(read, 4000);
    source.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_kafka_does_not_have_is_told_and_can_be_left() {
    let cluster = cluster("clicks", 1);
    let bootstrap = cluster.bootstrap_servers();
    Writer::new(&bootstrap).write("clicks", 0, 0..10);
    let source = source(&bootstrap, "range", &["clicks"]);
    let partitions = assigned(&source).await;
    source.assign(placements(&partitions, 999), Generation(1)).await.expect("assign");
    match next(&source, "out of range", 20).await {
        Event::OutOfRange { partition: which, generation, reason } => {
            assert_eq!((which, generation), (partition("clicks", 0), Generation(1)));
            assert!(reason.contains("out of range"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let ends = source.watermarks(&partition("clicks", 0)).await.expect("watermarks");
    assert_eq!((ends.log_start, ends.last_stable), (0, 10));
    source.reposition(placements(&partitions, 4), Generation(2)).await.expect("reposition");
    let mut read = BTreeMap::new();
    read_until(&source, "the end", &mut read, |event, _| matches!(event, Event::AtEnd { .. })).await;
    let expected: Vec<(i64, Generation)> = (4..10).map(|offset| (offset, Generation(2))).collect();
    assert_eq!(read[&partition("clicks", 0)], expected);
    source.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_is_told_and_can_be_left() {
    let source = source("127.0.0.1:1", "nowhere", &["clicks"]);
    match next(&source, "an outage", 20).await {
        Event::Unreachable { reason } => assert!(!reason.is_empty()),
        other => panic!("{other:?}"),
    }
    match source.topics().await {
        Err(KafkaError::Unreachable { bootstrap, .. }) => assert_eq!(bootstrap, "127.0.0.1:1"),
        other => panic!("{other:?}"),
    }
    let left = Instant::now();
    source.close().await.expect("close");
    assert!(left.elapsed() < Duration::from_secs(7), "closing took {:?}", left.elapsed());
    assert!(source.assign(Vec::new(), Generation(1)).await.is_err(), "a closed source says so");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_offsets_are_asked_and_mirrored() {
    let cluster = cluster("clicks", 3);
    let bootstrap = cluster.bootstrap_servers();
    let source = source(&bootstrap, "ask", &["clicks"]);
    let topics = source.topics().await.expect("topics");
    assert_eq!((topics.len(), &*topics[0].name, &topics[0].partitions[..]), (1, "clicks", &[0, 1, 2][..]));
    assert!(topics[0].id.as_ref().is_some_and(|id| id.len() == 22), "{topics:?}");
    let partitions = assigned(&source).await;
    source.assign(placements(&partitions, 0), Generation(1)).await.expect("assign");
    let positions =
        BTreeMap::from([("clicks".to_owned(), BTreeMap::from([(1, ledger::entry::NextOffset(5))]))]);
    source.commit_offsets(positions).await.expect("commit");
    source.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_brokers_do_not_know_ends_the_source() {
    let cluster = cluster("clicks", 1);
    cluster
        .topic_error("clicks", rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        .expect("an error on order");
    let source = source(&cluster.bootstrap_servers(), "missing", &["clicks"]);
    match source.topics().await {
        Err(KafkaError::NoSuchTopic { topic }) => assert_eq!(topic, "clicks"),
        other => panic!("{other:?}"),
    }
    match next(&source, "the end of the source", 30).await {
        Event::Failed(KafkaError::NoSuchTopic { topic }) => assert_eq!(topic, "clicks"),
        other => panic!("{other:?}"),
    }
    let after = tokio::time::timeout(Duration::from_millis(300), source.next()).await;
    assert!(after.is_err(), "nothing follows a failure: {after:?}");
    source.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_onlooker_reads_samples_and_ranges_without_a_group() {
    let cluster = cluster("clicks", 3);
    let bootstrap = cluster.bootstrap_servers();
    let writer = Writer::new(&bootstrap);
    writer.write("clicks", 0, 0..1000);
    writer.write("clicks", 1, 0..5);
    let onlooker = Onlooker::start(&settings(&bootstrap, "none", &["clicks"]), LIMITS).expect("settings");
    let size = SampleSize { records_per_partition: 100, partitions_max: 10, bytes_max: 1 << 20 };
    let sample = onlooker.sample(size).await.expect("a sample");
    assert_eq!(sample.topics[0].partitions, [0, 1, 2]);
    assert_eq!(sample.watermarks[&partition("clicks", 0)].last_stable, 1000);
    let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for batch in &sample.batches {
        for run in &batch.runs {
            let seen = run.range.clone().map(|index| batch.messages.get(index).offset);
            offsets.entry(run.partition.partition).or_default().extend(seen);
        }
    }
    assert_eq!(offsets, BTreeMap::from([(0, (900..1000).collect()), (1, (0..5).collect())]));

    let existing = onlooker.existing_offsets(&partition("clicks", 0), 10..20).await.expect("a range");
    assert_eq!(existing, Existing { known: 10..20, offsets: vec![OffsetRange(10, 19)] });
    let beyond = onlooker.existing_offsets(&partition("clicks", 1), 3..99).await.expect("a range");
    assert_eq!(beyond, Existing { known: 3..5, offsets: vec![OffsetRange(3, 4)] });
    let nothing = onlooker.existing_offsets(&partition("clicks", 2), 0..9).await.expect("a range");
    assert_eq!(nothing, Existing { known: 0..0, offsets: Vec::new() });

    let (sender, receiver) = std::sync::mpsc::channel();
    let known = onlooker
        .read_range(&partition("clicks", 0), 990..2000, move |batch| {
            sender.send(batch.messages.len()).is_ok()
        })
        .await
        .expect("a range");
    assert_eq!((known, receiver.iter().sum::<usize>()), (990..1000, 10));
}

/// KIP-848: the broker assigns; everything else is as with the classic protocol.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_group_protocol_assigns_and_revokes_too() {
    let cluster = cluster("clicks", 4);
    let bootstrap = cluster.bootstrap_servers();
    let writer = Writer::new(&bootstrap);
    let mut settings = settings(&bootstrap, "kip848", &["clicks"]);
    settings.options.insert("group.protocol".to_owned(), "consumer".to_owned());
    let first = member(&settings, LIMITS);
    let mine = assigned(&first).await;
    assert_eq!(mine.len(), 4);
    first.assign(placements(&mine, 0), Generation(1)).await.expect("assign");
    for one in 0..4 {
        writer.write("clicks", one, 0..10);
    }
    let mut read = BTreeMap::new();
    read_until(&first, "40 records", &mut read, |_, read| read.values().map(Vec::len).sum::<usize>() == 40)
        .await;
    first.close().await.expect("close");
}

/// Past the bound of a revocation the batch is dropped and what stays goes back to the ledger, before the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_reposition_before_the_answer_to_a_revocation_does_not_answer_it() {
    reposition_before_the_answer(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stood_still_is_restarted_after_the_answer_to_a_revocation() {
    reposition_before_the_answer(&[0, 1]).await;
}

/// `lost`: partitions that are out of range before.
async fn reposition_before_the_answer(lost: &[i32]) {
    let cluster = cluster("clicks", 2);
    let bootstrap = cluster.bootstrap_servers();
    let writer = Writer::new(&bootstrap);
    for one in 0..2 {
        writer.write("clicks", one, 0..20);
    }
    let first = source(&bootstrap, "before", &["clicks"]);
    let mine = assigned(&first).await;
    let places =
        mine.iter().map(|one| placement(one, if lost.contains(&one.partition) { 777 } else { 0 })).collect();
    first.assign(places, Generation(1)).await.expect("assign");
    let (mut read, mut seen) = (BTreeMap::new(), 0);
    read_until(&first, "ends and failures", &mut read, |event, _| {
        seen += usize::from(matches!(event, Event::AtEnd { .. } | Event::OutOfRange { .. }));
        seen == 2
    })
    .await;
    let second = source(&bootstrap, "before", &["clicks"]);
    let Event::Revoked(given) =
        read_until(&first, "a revocation", &mut read, |event, _| matches!(event, Event::Revoked(_))).await
    else {
        unreachable!()
    };
    first.reposition(placements(&mine, 5), Generation(2)).await.expect("reposition");
    let early = tokio::time::timeout(Duration::from_secs(3), second.next()).await;
    assert!(early.is_err(), "the second was given partitions before the first gave them up: {early:?}");
    first.unassign(given.clone()).await.expect("unassign");
    let taken = assigned(&second).await;
    assert_eq!(taken, given);
    second.assign(placements(&taken, 19), Generation(1)).await.expect("assign");

    let kept = mine.iter().find(|one| !given.contains(one)).expect("one stays").clone();
    read.clear();
    read_until(&first, "the end again", &mut read, |event, _| {
        matches!(event, Event::AtEnd { partition, generation, .. } if *partition == kept && *generation == Generation(2))
    })
    .await;
    assert_eq!(read[&kept], (5..20).map(|offset| (offset, Generation(2))).collect::<Vec<_>>());
    let mut theirs = BTreeMap::new();
    read_until(&second, "their end", &mut theirs, |event, _| matches!(event, Event::AtEnd { .. })).await;
    assert_eq!(theirs[&taken[0]], [(19, Generation(1))]);
    first.close().await.expect("close");
    second.close().await.expect("close");
}
