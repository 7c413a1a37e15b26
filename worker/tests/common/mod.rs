//! What the Kafka tests share: a producer, and the settings of a worker that reads what it wrote.
#![allow(dead_code)] // Each test binary uses its part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use ledger::entry::NextOffset;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use worker::kafka::{Event, Generation, KafkaSource, Limits, Placement, Source, TopicPartition};
use worker::settings::{Auth, KafkaSettings, OnDataLoss, Start};

pub const LIMITS: Limits = Limits { prefetch_bytes: 8 * 1024 * 1024, record_bytes_max: 1024 * 1024 };

pub fn settings(bootstrap: &str, group: &str, topics: &[&str]) -> KafkaSettings {
    KafkaSettings {
        bootstrap: bootstrap.to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        group: group.to_owned(),
        auth: Auth::None,
        start: Start::Earliest,
        on_data_loss: OnDataLoss::Fail,
        session_timeout: Duration::from_secs(6),
        revoke_timeout: Duration::from_secs(5),
        options: BTreeMap::new(),
    }
}

pub fn source(bootstrap: &str, group: &str, topics: &[&str]) -> KafkaSource {
    member(&settings(bootstrap, group, topics), LIMITS)
}

/// A source that is about to join its group.
pub fn member(settings: &KafkaSettings, limits: Limits) -> KafkaSource {
    let source = KafkaSource::start(settings, limits).expect("the settings are right");
    source.join().now_or_never().expect("subscribing waits for nobody").expect("subscribed");
    source
}

pub struct Writer {
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Writer {
    pub fn new(bootstrap: &str) -> Writer {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .expect("a producer");
        Writer { producer }
    }

    /// Sends records `range` to a partition, each with its number as the value, then waits until all are written.
    pub fn write(&self, topic: &str, partition: i32, range: std::ops::Range<u64>) {
        for number in range {
            let value = format!("{number}");
            let record = BaseRecord::<[u8], [u8]>::to(topic)
                .partition(partition)
                .key(b"key")
                .payload(value.as_bytes())
                .headers(OwnedHeaders::new().insert(Header { key: "n", value: Some(&value) }));
            self.producer.send(record).map_err(|(error, _)| error).expect("room in the producer's queue");
        }
        self.flush();
    }

    pub fn write_bytes(&self, topic: &str, partition: i32, count: usize, size: usize) {
        let value = vec![b'x'; size];
        for _ in 0..count {
            let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(&value);
            self.producer.send(record).map_err(|(error, _)| error).expect("room in the producer's queue");
        }
        self.flush();
    }

    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(30)).expect("the records are written");
    }
}

pub fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

pub fn placement(partition: &TopicPartition, offset: i64) -> Placement {
    Placement { partition: partition.clone(), offset: NextOffset(offset), leader_epoch: None }
}

pub fn placements(partitions: &[TopicPartition], offset: i64) -> Vec<Placement> {
    partitions.iter().map(|one| placement(one, offset)).collect()
}

/// The next event, or a panic that says what was waited for.
pub async fn next(source: &KafkaSource, what: &str, seconds: u64) -> Event {
    match tokio::time::timeout(Duration::from_secs(seconds), source.next()).await {
        Ok(event) => event,
        Err(_) => panic!("nothing came within {seconds} s: waited for {what}"),
    }
}

/// Reads until `done`, and keeps every record by partition. Answers no rebalance.
pub async fn read_until(
    source: &KafkaSource,
    what: &str,
    read: &mut BTreeMap<TopicPartition, Vec<(i64, Generation)>>,
    mut done: impl FnMut(&Event, &BTreeMap<TopicPartition, Vec<(i64, Generation)>>) -> bool,
) -> Event {
    loop {
        let event = next(source, what, 40).await;
        if let Event::Records(batch) = &event {
            let mut covered = 0;
            for run in &batch.runs {
                covered += run.range.len();
                let seen = read.entry(run.partition.clone()).or_default();
                seen.extend(
                    run.range.clone().map(|index| (batch.messages.get(index).offset, batch.generation)),
                );
            }
            assert_eq!(covered, batch.messages.len(), "the runs cover every message once");
        }
        if done(&event, read) {
            return event;
        }
    }
}

pub async fn assigned(source: &KafkaSource) -> Vec<TopicPartition> {
    match next(source, "an assignment", 40).await {
        Event::Assigned(partitions) => partitions,
        other => panic!("waited for an assignment, got {other:?}"),
    }
}

pub type Shared = Arc<KafkaSource>;
