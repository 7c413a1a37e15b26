//! What lies between the sockets and the decoder stays inside its budget, with compressed batches too.
//!
//! A binary of its own: it looks at the memory of the whole process.
#![allow(clippy::disallowed_methods)] // Tests look at the clock.

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{assigned, next, placements, settings};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use worker::kafka::{Event, Generation, KafkaSource, Limits, Source};

const PARTITIONS: i32 = 16;
const RECORD: usize = 1000;
const RECORDS: usize = 8000;
const PREFETCH: u64 = 16 << 20;
/// Librdkafka's threads and structures, and what the allocator keeps.
const OVERHEAD: u64 = 24 << 20;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it is always there");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") * 1024
}

async fn flows_within_its_budget(compression: &str) {
    let Some(kafka) = std::env::var("LANDFALL_TEST_KAFKA").ok().filter(|address| !address.is_empty()) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "LANDFALL_TEST_KAFKA is not set, and CI=true");
        println!("not tested: memory against Apache Kafka (LANDFALL_TEST_KAFKA is not set)");
        return;
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let topic = format!("memory-{compression}-{since}");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka).create().expect("an admin client");
    let wanted = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
    admin.create_topics([&wanted], &AdminOptions::new()).await.expect("create")[0].as_ref().expect("create");
    {
        let (kafka, topic, compression) = (kafka.clone(), topic.clone(), compression.to_owned());
        let write = move || write(&kafka, &topic, &compression);
        tokio::task::spawn_blocking(write).await.expect("the writer");
    }
    let before = resident();
    let limits = Limits { prefetch_bytes: PREFETCH, record_bytes_max: 1 << 20 };
    let group = format!("g-{since}");
    let source = KafkaSource::start(&settings(&kafka, &group, &[&topic]), limits).expect("settings");
    source.join().await.expect("join the group");
    let mine = assigned(&source).await;
    source.assign(placements(&mine, 0), Generation(1)).await.expect("assign");
    tokio::time::sleep(Duration::from_secs(4)).await; // Nobody reads: all buffers fill.
    let mut most = resident();
    let (mut read, all, began) = (0, RECORDS * PARTITIONS as usize, Instant::now());
    while read < all {
        if let Event::Records(batch) = next(&source, "records", 20).await {
            read += batch.messages.len();
            most = most.max(resident());
        }
    }
    println!(
        "{compression}: {} MB through {} MB of budget in {:?}; resident {} MB more at most",
        (all * RECORD) >> 20,
        PREFETCH >> 20,
        began.elapsed(),
        most.saturating_sub(before) >> 20
    );
    source.close().await.expect("close");
    assert_eq!(read, all);
    assert!(most < before + PREFETCH + OVERHEAD, "from {} to {} MB", before >> 20, most >> 20);
}

fn write(kafka: &str, topic: &str, compression: &str) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("compression.codec", compression)
        .set("queue.buffering.max.kbytes", "8192")
        .create()
        .expect("a producer");
    for number in 0..RECORDS {
        // Compresses about as JSON does.
        let mut value = format!("{{\"id\": {number}, \"text\": \"").into_bytes();
        let mut seed = number as u64;
        while value.len() < RECORD {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            value.extend_from_slice(if seed >> 63 == 0 { b"the quick brown fox " } else { b"lazy dog " });
            value.push(b'a' + (seed >> 59) as u8 % 26);
        }
        value.truncate(RECORD);
        for partition in 0..PARTITIONS {
            loop {
                let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(&value);
                match producer.send(record) {
                    Ok(()) => break,
                    Err(_) => std::thread::sleep(Duration::from_millis(2)), // Its queue is full.
                }
            }
        }
    }
    producer.flush(Duration::from_secs(60)).expect("flush");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_times_the_budget_flows_within_it() {
    for compression in ["none", "zstd"] {
        flows_within_its_budget(compression).await;
    }
}
