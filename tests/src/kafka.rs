//! Kafka as the tests use it: topics, plain and transactional producers, deletion, and what a reader would see.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::clock;

const LONG: Duration = Duration::from_secs(30);

/// A record that the broker acknowledged.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Produced {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The record's own number, in its `id` field.
    pub id: i64,
}

/// A record to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub partition: i32,
    pub id: i64,
    pub key: Option<String>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// The broker.
pub struct Kafka {
    pub bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Kafka {
    pub fn connect(bootstrap: &str) -> Kafka {
        let admin = client(bootstrap).create().expect("an admin client needs no broker to be made");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Kafka { bootstrap: bootstrap.to_owned(), admin, runtime }
    }

    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        // A topic of this name may still be on its way out.
        let created = clock::until(LONG, || {
            let answer = self.runtime.block_on(self.admin.create_topics([&topic], &options()));
            match answer.expect("create topic")[0].clone() {
                Ok(_) => Some(()),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => None,
                Err((name, code)) => panic!("create topic `{name}`: {code}"),
            }
        });
        assert!(created.is_some(), "topic `{name}` exists and does not go away");
        for partition in 0..partitions {
            self.watermarks(name, partition);
        }
    }

    pub fn delete_topic(&self, name: &str) {
        let answer = self.runtime.block_on(self.admin.delete_topics(&[name], &options()));
        answer.expect("delete topic")[0].clone().expect("delete topic");
    }

    /// Adds partitions until there are `partitions`.
    pub fn grow_topic(&self, name: &str, partitions: usize) {
        let wanted = NewPartitions::new(name, partitions);
        let answer = self.runtime.block_on(self.admin.create_partitions([&wanted], &options()));
        answer.expect("create partitions")[0].clone().expect("create partitions");
        self.watermarks(name, partitions as i32 - 1);
    }

    /// Retention at once: everything before `offset` goes.
    pub fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("a valid offset");
        self.runtime.block_on(self.admin.delete_records(&list, &options())).expect("delete records");
        let (start, _) = self.watermarks(topic, partition);
        assert_eq!(start, offset, "the broker deleted records");
    }

    /// The oldest offset, and one after the newest, markers included.
    pub fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        let consumer: BaseConsumer = client(&self.bootstrap).create().expect("a consumer");
        // A partition that was made just now has no leader for a moment.
        let mut last = None;
        let found = clock::until(LONG, || match consumer.fetch_watermarks(topic, partition, LONG) {
            Ok(found) => Some(found),
            Err(error) => {
                last = Some(error);
                None
            }
        });
        found.unwrap_or_else(|| panic!("watermarks of {topic}[{partition}]: {last:?}"))
    }

    /// What `group` committed; `None` before it did.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let consumer: BaseConsumer =
            client(&self.bootstrap).set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let offsets = consumer.committed_offsets(list, LONG).expect("committed offsets");
        offsets.find_partition(topic, partition).and_then(|found| found.offset().to_raw()).filter(|o| *o >= 0)
    }

    /// Every offset that a read-committed reader sees now, from the beginning to the end.
    pub fn readable(&self, topic: &str, partition: i32) -> BTreeSet<i64> {
        let consumer: BaseConsumer = client(&self.bootstrap)
            .set("group.id", "harness")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
        consumer.assign(&list).expect("assign");
        let mut seen = BTreeSet::new();
        loop {
            match consumer.poll(LONG).expect("a record or the end within 30 s") {
                Ok(record) => assert!(seen.insert(record.offset())),
                Err(KafkaError::PartitionEOF(_)) => return seen,
                Err(error) => panic!("read `{topic}`: {error}"),
            }
        }
    }

    /// A producer without transactions.
    pub fn feed(&self) -> Feed {
        Feed::new(client(&self.bootstrap))
    }

    /// A producer of record batches that are compressed by `codec`.
    pub fn compressing_feed(&self, codec: &str) -> Feed {
        let mut config = client(&self.bootstrap);
        config.set("compression.codec", codec);
        Feed::new(config)
    }

    /// A producer with transactions; `begin` the first yourself.
    pub fn transactional_feed(&self, transactional_id: &str) -> Feed {
        let mut config = client(&self.bootstrap);
        config.set("transactional.id", transactional_id).set("transaction.timeout.ms", "30000");
        let feed = Feed::new(config);
        feed.producer.init_transactions(LONG).expect("init transactions");
        feed
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("allow.auto.create.topics", "false");
    config
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(LONG)).request_timeout(Some(LONG))
}

/// A producer that remembers where each record landed.
pub struct Feed {
    producer: ThreadedProducer<Reports>,
}

#[derive(Default)]
struct Reports {
    delivered: Mutex<Vec<Produced>>,
    failed: Mutex<Vec<String>>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<i64>;

    fn delivery(&self, result: &DeliveryResult<'_>, id: Box<i64>) {
        match result {
            Ok(record) => self.delivered.lock().expect("no reporter panics").push(Produced {
                topic: record.topic().to_owned(),
                partition: record.partition(),
                offset: record.offset(),
                id: *id,
            }),
            Err((error, _)) => self.failed.lock().expect("no reporter panics").push(error.to_string()),
        }
    }
}

impl Feed {
    fn new(mut config: ClientConfig) -> Feed {
        config
            .set("message.max.bytes", "20000000")
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "1000000");
        let producer = config.create_with_context(Reports::default()).expect("a producer");
        Feed { producer }
    }

    /// Sends and waits: the answer holds every record with its offset, in order.
    pub fn send(&self, topic: &str, records: impl IntoIterator<Item = Outgoing>) -> Vec<Produced> {
        for record in records {
            let mut message =
                BaseRecord::with_opaque_to(topic, Box::new(record.id)).partition(record.partition);
            if let Some(key) = &record.key {
                message = message.key(key.as_str());
            }
            if let Some(value) = &record.value {
                message = message.payload(value.as_slice());
            }
            self.producer.send::<str, [u8]>(message).map_err(|(error, _)| error).expect("enqueue record");
        }
        self.producer.flush(LONG).expect("every record acknowledged");
        let reports = self.producer.context();
        let failed = std::mem::take(&mut *reports.failed.lock().expect("no reporter panics"));
        assert!(failed.is_empty(), "records not delivered: {failed:?}");
        let mut delivered = std::mem::take(&mut *reports.delivered.lock().expect("no reporter panics"));
        delivered.sort();
        delivered
    }

    pub fn begin(&self) {
        self.producer.begin_transaction().expect("begin transaction");
    }

    pub fn commit(&self) {
        self.producer.commit_transaction(Timeout::from(LONG)).expect("commit transaction");
    }

    pub fn abort(&self) {
        self.producer.abort_transaction(Timeout::from(LONG)).expect("abort transaction");
    }
}
