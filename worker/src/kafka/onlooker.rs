//! Onlooker: reads beside the group. It joins nothing and commits nothing, for `check`, `verify` and whoever reads
//! offsets again.
//!
//! It uses librdkafka's simple consumer (`rd_kafka_consume_start_queue`), which needs no group id and so asks for no
//! coordinator and no right on a group.
//! Neighbours: client and admin below it; called by commands, never by the pipeline's loop.
#![allow(unsafe_code)] // The simple consumer is not wrapped by rdkafka; every block says why it is sound.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ledger::entry::OffsetRange;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::auth::TokenThread;
use super::client::Client;
use super::config::{Limits, groupless_config};
use super::context::Notice;
use super::errors::{self, Meaning, OfPartition};
use super::native::{Message, NativeMessages, group_runs};
use super::records::Batch;
use super::wake::wake_pair;
use super::{Generation, KafkaError, TopicInfo, TopicPartition, Watermarks, admin};
use crate::settings::KafkaSettings;

const TAKE_RECORDS: usize = 4096;
const TAKE_WAIT: Duration = Duration::from_millis(100);
/// So many empty takes in a row end the reading: 30 s without a word.
const SILENCE_MAX: u32 = 300;

/// What Kafka says about a range of offsets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Existing {
    /// The part of the range that Kafka can speak of: not yet removed, and below the last stable offset.
    pub known: Range<i64>,
    /// The offsets in it that a read-committed reader is given; ascending, not touching.
    pub offsets: Vec<OffsetRange>,
}

/// Records of late, without joining the group.
#[derive(Debug)]
pub struct Sample {
    pub topics: Vec<TopicInfo>,
    /// Of every partition.
    pub watermarks: BTreeMap<TopicPartition, Watermarks>,
    /// In the order in which they came; generation 0.
    pub batches: Vec<Batch>,
}

/// How much a sample takes.
#[derive(Clone, Copy, Debug)]
pub struct SampleSize {
    /// The newest of each partition.
    pub records_per_partition: u32,
    /// Partitions that are read; the watermarks are asked of all.
    pub partitions_max: usize,
    /// The reading ends with the batch that passes it.
    pub bytes_max: u64,
}

/// A client without a group.
pub struct Onlooker {
    client: Arc<Client>,
    topics: Vec<String>,
    /// Held while something is read: there is one queue for records.
    reading: Arc<Mutex<()>>,
    _tokens: Option<TokenThread>,
}

/// A range of one partition that is to be read.
struct Span {
    partition: TopicPartition,
    offsets: Range<i64>,
}

impl Onlooker {
    /// Starts the client; no broker is waited for.
    ///
    /// # Errors
    /// [`KafkaError::Setting`] when librdkafka refuses the settings.
    pub fn start(settings: &KafkaSettings, limits: Limits) -> Result<Onlooker, KafkaError> {
        let config = groupless_config(settings, limits)?;
        // Nobody sleeps here: reading waits on the queue itself.
        let (wake, _) = wake_pair();
        let client = Arc::new(Client::start(&config, &wake)?);
        let tokens = TokenThread::start_if_needed(settings, &client)?;
        Ok(Onlooker { client, topics: settings.topics.clone(), reading: Arc::default(), _tokens: tokens })
    }

    /// The topics of the settings.
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, KafkaError> {
        let topics = self.topics.clone();
        admin::ask(&self.client, move |client| {
            admin::topics(client, &topics).map_err(|error| told(client, error))
        })
        .await
    }

    /// Both ends of a partition.
    pub async fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks, KafkaError> {
        let partition = partition.clone();
        admin::ask(&self.client, move |client| admin::watermarks(client, &partition)).await
    }

    /// The newest records of each partition.
    pub async fn sample(&self, size: SampleSize) -> Result<Sample, KafkaError> {
        let names = self.topics.clone();
        let (lent, reading) = (Arc::clone(&self.client), Arc::clone(&self.reading));
        admin::ask(&self.client, move |client| {
            let _alone = reading.lock().unwrap_or_else(PoisonError::into_inner);
            let topics = admin::topics(client, &names)?;
            let mut watermarks = BTreeMap::new();
            let mut spans = Vec::new();
            for topic in &topics {
                for number in &topic.partitions {
                    let partition = TopicPartition { topic: Arc::clone(&topic.name), partition: *number };
                    let ends = admin::watermarks(client, &partition)?;
                    let first =
                        (ends.last_stable - i64::from(size.records_per_partition)).max(ends.log_start);
                    if first < ends.last_stable && spans.len() < size.partitions_max {
                        spans.push(Span { partition: partition.clone(), offsets: first..ends.last_stable });
                    }
                    watermarks.insert(partition, ends);
                }
            }
            let (mut batches, mut bytes) = (Vec::new(), 0);
            read(client, &spans, |messages| {
                let batch = batch_of(messages, &lent);
                bytes += batch.bytes;
                batches.push(batch);
                bytes < size.bytes_max
            })?;
            Ok(Sample { topics, watermarks, batches })
        })
        .await
    }

    /// Reads a range again, as far as Kafka still has it; `each` gets the batches in order, and stops the reading by
    /// `false`. Runs on a thread that may block.
    pub async fn read_range(
        &self,
        partition: &TopicPartition,
        offsets: Range<i64>,
        mut each: impl FnMut(Batch) -> bool + Send + 'static,
    ) -> Result<Range<i64>, KafkaError> {
        let partition = partition.clone();
        let (lent, reading) = (Arc::clone(&self.client), Arc::clone(&self.reading));
        admin::ask(&self.client, move |client| {
            let _alone = reading.lock().unwrap_or_else(PoisonError::into_inner);
            let known = known_part(client, &partition, &offsets)?;
            let span = Span { partition, offsets: known.clone() };
            read(client, &[span], |messages| each(batch_of(messages, &lent)))?;
            Ok(known)
        })
        .await
    }

    /// Which offsets of a range a read-committed reader is given.
    pub async fn existing_offsets(
        &self,
        partition: &TopicPartition,
        offsets: Range<i64>,
    ) -> Result<Existing, KafkaError> {
        let (partition, reading) = (partition.clone(), Arc::clone(&self.reading));
        admin::ask(&self.client, move |client| {
            let _alone = reading.lock().unwrap_or_else(PoisonError::into_inner);
            let known = known_part(client, &partition, &offsets)?;
            let mut found: Vec<OffsetRange> = Vec::new();
            let span = Span { partition, offsets: known.clone() };
            read(client, &[span], |messages| {
                for message in &messages {
                    add_offset(&mut found, message.offset());
                }
                true
            })?;
            Ok(Existing { known, offsets: found })
        })
        .await
    }
}

/// The part of a range between the log's start and its last stable offset.
fn known_part(
    client: &Client,
    partition: &TopicPartition,
    offsets: &Range<i64>,
) -> Result<Range<i64>, KafkaError> {
    let ends = admin::watermarks(client, partition)?;
    let start = offsets.start.max(ends.log_start);
    Ok(start..offsets.end.min(ends.last_stable).max(start))
}

fn add_offset(ranges: &mut Vec<OffsetRange>, offset: i64) {
    match ranges.last_mut() {
        Some(last) if last.1 + 1 == offset => last.1 = offset,
        _ => ranges.push(OffsetRange(offset, offset)),
    }
}

fn batch_of(messages: Vec<Message>, client: &Arc<Client>) -> Batch {
    let runs = group_runs(&messages);
    let messages = NativeMessages::new(messages, Arc::clone(client));
    let bytes = messages.bytes();
    Batch { generation: Generation::default(), messages: Box::new(messages), runs, bytes }
}

/// A topic of the simple consumer, and the partitions of it that are being fetched. Dropped before the client.
struct Fetching {
    topic: NonNull<sys::rd_kafka_topic_t>,
    partitions: Vec<i32>,
}

impl Fetching {
    fn new(client: &Client, name: &str) -> Result<Fetching, KafkaError> {
        let failed = |reason: String| KafkaError::Client { action: format!("read topic `{name}`"), reason };
        let c_name = CString::new(name).map_err(|_| failed("its name holds a zero byte".to_owned()))?;
        // SAFETY: the client is alive, the name a C string, and the topic's settings are the client's defaults.
        let topic = unsafe { sys::rd_kafka_topic_new(client.raw(), c_name.as_ptr(), ptr::null_mut()) };
        let topic = NonNull::new(topic).ok_or_else(|| failed(last_error().to_string()))?;
        Ok(Fetching { topic, partitions: Vec::new() })
    }

    fn start(&mut self, client: &Client, span: &Span) -> Result<(), KafkaError> {
        let number = span.partition.partition;
        // SAFETY: topic and queue are alive; the queue outlives the fetching, which Drop ends.
        let refused = unsafe {
            sys::rd_kafka_consume_start_queue(
                self.topic.as_ptr(),
                number,
                span.offsets.start,
                client.records().raw(),
            )
        };
        if refused != 0 {
            let code = last_error();
            return Err(errors::of_question(format!("read {}", span.partition), code, &client.bootstrap));
        }
        self.partitions.push(number);
        Ok(())
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        for number in &self.partitions {
            // SAFETY: started above; waits until the fetching has stopped.
            if unsafe { sys::rd_kafka_consume_stop(self.topic.as_ptr(), *number) } != 0 {
                tracing::debug!(partition = number, "stop reading: it was not started");
            }
        }
        // SAFETY: our reference, not used afterwards.
        unsafe { sys::rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

fn last_error() -> RDKafkaErrorCode {
    // SAFETY: reads this thread's last error.
    RDKafkaErrorCode::from(unsafe { sys::rd_kafka_last_error() })
}

/// Reads the spans, all at once, until each is over or `each` says `false`.
fn read(
    client: &Client,
    spans: &[Span],
    mut each: impl FnMut(Vec<Message>) -> bool,
) -> Result<(), KafkaError> {
    let mut due: BTreeMap<TopicPartition, Range<i64>> = BTreeMap::new();
    let mut topics: BTreeMap<&str, Fetching> = BTreeMap::new();
    for span in spans.iter().filter(|span| !span.offsets.is_empty()) {
        let name = &*span.partition.topic;
        if !topics.contains_key(name) {
            topics.insert(name, Fetching::new(client, name)?);
        }
        if let Some(topic) = topics.get_mut(name) {
            topic.start(client, span)?;
        }
        due.insert(span.partition.clone(), span.offsets.clone());
    }
    let (mut silent, mut outage) = (0, None);
    while !due.is_empty() {
        heed(client, &mut outage)?;
        let taken = client.take(TAKE_RECORDS, TAKE_WAIT).0;
        silent = if taken.is_empty() { silent + 1 } else { 0 };
        if silent > SILENCE_MAX {
            return Err(KafkaError::Unreachable {
                bootstrap: client.bootstrap.clone(),
                reason: outage.unwrap_or_else(|| "no record within 30 s".to_owned()),
            });
        }
        let mut records = Vec::with_capacity(taken.len());
        for message in taken {
            let partition = TopicPartition {
                topic: message.topic().unwrap_or_default().into(),
                partition: message.partition(),
            };
            let Some(offsets) = due.get_mut(&partition) else { continue };
            if message.is_record() {
                let offset = message.offset();
                if offsets.contains(&offset) {
                    offsets.start = offset + 1;
                    records.push(message);
                }
                if offset + 1 >= offsets.end {
                    due.remove(&partition);
                }
            } else if over(&message, &partition)? {
                due.remove(&partition);
            }
        }
        if !records.is_empty() && !each(records) {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether an error of a partition is its end.
fn over(message: &Message, partition: &TopicPartition) -> Result<bool, KafkaError> {
    let (code, reason) = (message.code(), message.reason());
    match errors::of_partition(code, &reason) {
        OfPartition::AtEnd => Ok(true),
        OfPartition::Passing => Ok(false),
        OfPartition::Missing => Err(KafkaError::NoSuchTopic { topic: partition.topic.to_string() }),
        OfPartition::Failed(action) => {
            Err(errors::at_partition(action, code, partition, message.offset(), reason))
        }
        OfPartition::OutOfRange | OfPartition::Truncated => {
            Err(KafkaError::Client { action: format!("read {partition} again"), reason })
        }
    }
}

/// A question only ever times out where a login or TLS is refused: what the client was told meanwhile says why.
fn told(client: &Client, error: KafkaError) -> KafkaError {
    let KafkaError::Unreachable { bootstrap, reason } = error else { return error };
    let mut outage = None;
    match heed(client, &mut outage) {
        Err(refused) => refused,
        Ok(()) => KafkaError::Unreachable { bootstrap, reason: outage.unwrap_or(reason) },
    }
}

fn heed(client: &Client, outage: &mut Option<String>) -> Result<(), KafkaError> {
    for notice in client.serve_events()? {
        let Notice::Error { code, reason } = notice else { continue };
        match errors::meaning(code, &reason, &client.bootstrap, false) {
            Meaning::Failed(error) => return Err(error),
            Meaning::Missing { topic } => return Err(KafkaError::NoSuchTopic { topic }),
            Meaning::Unreachable => *outage = Some(reason),
            Meaning::Passing => tracing::warn!(?code, reason, "Kafka client"),
        }
    }
    Ok(())
}
