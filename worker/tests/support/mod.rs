//! A Kafka in memory behind the worker's own port, told by the test what the group does; and readers of the output.
#![allow(dead_code, clippy::unwrap_used, reason = "tests; each file uses its part")]

pub mod line;
pub mod worker;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use ::worker::clock::Clock;
use ::worker::kafka::records::{Batch, OwnedRecord, Run};
use ::worker::kafka::{
    Event, Generation, KafkaError, Placement, Source, TopicInfo, TopicPartition, Watermarks,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use async_trait::async_trait;
use ledger::entry::Positions;
use ledger::store::Store;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::Notify;

pub const TOPIC: &str = "clicks";
const BATCHES_AHEAD: usize = 2;

pub fn partition(number: i32) -> TopicPartition {
    TopicPartition { topic: Arc::from(TOPIC), partition: number }
}

/// Tokio's clock, so that paused time is the pipeline's time too.
#[derive(Debug)]
pub struct TestClock(tokio::time::Instant);

impl TestClock {
    pub fn start() -> TestClock {
        TestClock(tokio::time::Instant::now())
    }
}

impl Clock for TestClock {
    fn moment(&self) -> ::worker::clock::Moment {
        ::worker::clock::Moment(self.0.elapsed())
    }

    fn utc_ms(&self) -> i64 {
        1_795_000_000_000 + self.0.elapsed().as_millis() as i64
    }
}

/// What the brokers hold: offset → record, per partition.
#[derive(Clone, Default)]
pub struct Topic {
    logs: Arc<Mutex<HashMap<i32, BTreeMap<i64, OwnedRecord>>>>,
    starts: Arc<Mutex<HashMap<i32, i64>>>,
}

impl Topic {
    pub fn put(&self, partition: i32, offset: i64, value: Option<&str>) {
        let record = OwnedRecord {
            offset,
            timestamp_ms: Some(1_795_000_000_000),
            value: value.map(|text| text.as_bytes().to_vec()),
            ..OwnedRecord::default()
        };
        self.logs.lock().unwrap().entry(partition).or_default().insert(offset, record);
    }

    /// A dead letter of so many bytes, of which no compression saves more than a quarter.
    pub fn put_large_dead_letter(&self, partition: i32, offset: i64, bytes: usize) {
        let mut state = offset as u64 + 1;
        let random = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'@' + (state >> 58) as u8)
        });
        self.put(partition, offset, Some(&random.take(bytes).collect::<String>()));
    }

    /// `{"id": …}` at the offsets `0..count` of each partition.
    pub fn fill(&self, partitions: i32, count: i64) {
        for number in 0..partitions {
            for offset in 0..count {
                self.put(number, offset, Some(&format!("{{\"id\": {offset}}}")));
            }
        }
    }

    /// Retention: nothing before `start` is there any more.
    pub fn retain_from(&self, partition: i32, start: i64) {
        self.starts.lock().unwrap().insert(partition, start);
        self.logs.lock().unwrap().entry(partition).or_default().retain(|offset, _| *offset >= start);
    }

    fn ends(&self, partition: i32) -> Watermarks {
        let end = self.logs.lock().unwrap().get(&partition).and_then(|log| log.keys().last().copied());
        let end = end.map_or(0, |last| last + 1);
        let log_start = self.starts.lock().unwrap().get(&partition).copied().unwrap_or(0);
        Watermarks { log_start, last_stable: end }
    }

    fn read(&self, partition: i32, from: i64, max: usize) -> Vec<OwnedRecord> {
        let logs = self.logs.lock().unwrap();
        logs.get(&partition)
            .map(|log| log.range(from..).take(max).map(|(_, r)| r.clone()).collect())
            .unwrap_or_default()
    }
}

#[derive(Default)]
struct Member {
    events: VecDeque<Event>,
    reading: BTreeMap<i32, i64>,
    generation: Generation,
    ended: BTreeMap<i32, i64>,
    committed: Positions,
    brokers: Brokers,
}

/// How the brokers answer questions about a partition's ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Brokers {
    #[default]
    Answer,
    /// The question never ends.
    Hang,
    Unreachable,
}

/// One worker's view of the topic. The test plays the group: `give`, `take_back`, `lose`.
#[derive(Clone)]
pub struct Scripted {
    topic: Topic,
    partitions: i32,
    batch_records: usize,
    member: Arc<Mutex<Member>>,
    rouse: Arc<Notify>,
}

impl Scripted {
    pub fn new(topic: &Topic, partitions: i32, batch_records: usize) -> Scripted {
        Scripted {
            topic: topic.clone(),
            partitions,
            batch_records,
            member: Arc::default(),
            rouse: Arc::default(),
        }
    }

    fn member(&self) -> MutexGuard<'_, Member> {
        self.member.lock().unwrap()
    }

    fn tell(&self, event: Event) {
        let mut member = self.member();
        self.read_ahead(&mut member);
        member.events.push_back(event);
        drop(member);
        self.rouse.notify_one();
    }

    pub fn give(&self, numbers: impl IntoIterator<Item = i32>) {
        self.tell(Event::Assigned(numbers.into_iter().map(partition).collect()));
    }

    pub fn take_back(&self, numbers: impl IntoIterator<Item = i32>) {
        self.tell(Event::Revoked(numbers.into_iter().map(partition).collect()));
    }

    pub fn lose(&self, numbers: impl IntoIterator<Item = i32>) {
        self.tell(Event::Lost(numbers.into_iter().map(partition).collect()));
    }

    pub fn brokers(&self, brokers: Brokers) {
        self.member().brokers = brokers;
    }

    pub fn reading(&self) -> Vec<i32> {
        self.member().reading.keys().copied().collect()
    }

    pub fn mirrored(&self) -> Positions {
        self.member().committed.clone()
    }

    /// The oldest event.
    fn fetch(&self) -> Option<Event> {
        let mut member = self.member();
        self.read_ahead(&mut member);
        member.events.pop_front()
    }

    /// As the polling thread does while the worker is busy: whatever the group or a placement changes finds batches
    /// of before it on their way.
    fn read_ahead(&self, member: &mut Member) {
        let is_batch = |event: &&Event| matches!(event, Event::Records(_));
        while member.events.iter().filter(is_batch).count() < BATCHES_AHEAD {
            let Some(event) = self.read_on(member) else { break };
            member.events.push_back(event);
        }
    }

    /// The next run of each partition in one batch, so that files mix partitions.
    fn read_on(&self, member: &mut Member) -> Option<Event> {
        let (mut records, mut runs): (Vec<OwnedRecord>, Vec<Run>) = (Vec::new(), Vec::new());
        for (number, next) in &mut member.reading {
            let read = self.topic.read(*number, *next, self.batch_records);
            let Some(last) = read.last() else { continue };
            *next = last.offset + 1;
            runs.push(Run {
                partition: partition(*number),
                range: records.len()..records.len() + read.len(),
            });
            records.extend(read);
        }
        if !records.is_empty() {
            let bytes = records.iter().map(|r| r.value.as_ref().map_or(0, Vec::len) as u64).sum();
            let generation = member.generation;
            return Some(Event::Records(Batch { generation, messages: Box::new(records), runs, bytes }));
        }
        let at_end =
            member.reading.iter().map(|(n, next)| (*n, (*next).max(self.topic.ends(*n).last_stable)));
        let at_end: Vec<(i32, i64)> = at_end.collect();
        let (number, end) = at_end.into_iter().find(|(n, end)| member.ended.get(n) != Some(end))?;
        member.ended.insert(number, end);
        let next = ledger::entry::NextOffset(end);
        Some(Event::AtEnd { partition: partition(number), next, generation: member.generation })
    }

    fn place(&self, placements: Vec<Placement>, generation: Generation) {
        let mut member = self.member();
        self.read_ahead(&mut member);
        member.generation = generation;
        for placement in placements {
            member.reading.insert(placement.partition.partition, placement.offset.0);
            member.ended.remove(&placement.partition.partition);
        }
        self.rouse.notify_one();
    }
}

#[async_trait]
impl Source for Scripted {
    async fn next(&self) -> Event {
        loop {
            if let Some(event) = self.fetch() {
                return event;
            }
            tokio::select! {
                () = self.rouse.notified() => {}
                () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {}
            }
        }
    }

    async fn wanted_back(&self) {
        loop {
            let wanted = |event: &Event| matches!(event, Event::Revoked(_) | Event::Lost(_));
            if self.member().events.iter().any(wanted) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    async fn join(&self) -> Result<(), KafkaError> {
        Ok(())
    }

    async fn assign(&self, placements: Vec<Placement>, generation: Generation) -> Result<(), KafkaError> {
        self.place(placements, generation);
        Ok(())
    }

    async fn unassign(&self, partitions: Vec<TopicPartition>) -> Result<(), KafkaError> {
        let mut member = self.member();
        self.read_ahead(&mut member);
        for one in partitions {
            member.reading.remove(&one.partition);
        }
        Ok(())
    }

    async fn reposition(&self, placements: Vec<Placement>, generation: Generation) -> Result<(), KafkaError> {
        self.place(placements, generation);
        Ok(())
    }

    async fn commit_offsets(&self, positions: Positions) -> Result<(), KafkaError> {
        for (topic, partitions) in positions {
            self.member().committed.entry(topic).or_default().extend(partitions);
        }
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, KafkaError> {
        let partitions = (0..self.partitions).collect();
        Ok(vec![TopicInfo { name: Arc::from(TOPIC), id: Some("first".to_owned()), partitions }])
    }

    async fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks, KafkaError> {
        let brokers = self.member().brokers;
        match brokers {
            Brokers::Answer => Ok(self.topic.ends(partition.partition)),
            Brokers::Hang => std::future::pending().await,
            Brokers::Unreachable => {
                Err(KafkaError::Unreachable { bootstrap: "b:9092".to_owned(), reason: "down".to_owned() })
            }
        }
    }

    async fn close(&self) -> Result<(), KafkaError> {
        Ok(())
    }
}

/// How often each (partition, offset) stands in the Parquet files under `prefix`, by plain listing.
pub async fn rows_under(store: &dyn Store, prefix: &str) -> BTreeMap<(i32, i64), usize> {
    let mut rows = BTreeMap::new();
    for object in store.list(prefix, None, 100_000).await.unwrap() {
        let bytes = store.get(&object.key).await.unwrap().unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let partitions = batch["_partition"].as_primitive::<Int32Type>().clone();
            let offsets = batch["_offset"].as_primitive::<Int64Type>().clone();
            for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
                *rows.entry((*partition, *offset)).or_default() += 1;
            }
        }
    }
    rows
}
