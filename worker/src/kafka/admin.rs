//! Admin: questions to the brokers. They block, each within a bound, and are never asked on the polling thread.
//!
//! `rd_kafka_query_watermark_offsets` asks with the client's isolation level (`rd_kafka_ListOffsetsRequest` passes
//! `isolation.level`), so that its high watermark is the last stable offset for our read-committed clients.
//! Neighbours: client; source calls it on blocking threads.
#![allow(unsafe_code)] // DescribeTopics is not wrapped by rdkafka; every block says why it is sound.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka_sys as sys;

use super::client::{Client, error_code, lent_text};
use super::errors::of_question;
use super::{KafkaError, TopicInfo, TopicPartition, Watermarks};

/// One question takes no longer.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Topic ids are asked for beside: without them the worker goes on.
const IDS_MAX: Duration = Duration::from_secs(5);
const MISSING_TRIES: u32 = 3;
const MISSING_PAUSE: Duration = Duration::from_secs(2);

/// What a topic's metadata says; the names asked for, in that order.
pub(super) fn topics(client: &Client, names: &[String]) -> Result<Vec<TopicInfo>, KafkaError> {
    let mut found = Vec::with_capacity(names.len());
    let mut answering = None;
    for name in names {
        let (partitions, broker) = described(client, name)?;
        answering = broker;
        found.push(TopicInfo { name: name.as_str().into(), id: None, partitions });
    }
    match answering.map_or(Ok(BTreeMap::new()), |broker| topic_ids(client, names, broker)) {
        Ok(mut ids) => {
            for topic in &mut found {
                topic.id = ids.remove(&*topic.name);
            }
        }
        Err(code) => tracing::debug!(?code, "the broker does not describe topics: their ids are not known"),
    }
    Ok(found)
}

/// True when the brokers say so several times in a row.
pub(super) fn is_missing(client: &Client, topic: &str) -> bool {
    for attempt in 0..MISSING_TRIES {
        if attempt > 0 {
            thread::sleep(MISSING_PAUSE);
        }
        match described(client, topic) {
            Err(KafkaError::NoSuchTopic { .. }) => {}
            Ok(_) => return false,
            Err(error) => {
                tracing::debug!(%error, "ask for a topic");
                return false;
            }
        }
    }
    true
}

/// The topic's partitions, and a broker to ask further. (The one that answered may be known by its address only, and
/// then has no id to ask it by.)
fn described(client: &Client, topic: &str) -> Result<(Vec<i32>, Option<i32>), KafkaError> {
    let action = || format!("ask for the partitions of topic `{topic}`");
    let metadata = client
        .consumer()
        .fetch_metadata(Some(topic), ANSWER_MAX)
        .map_err(|error| question(action(), &error, client))?;
    let missing = || KafkaError::NoSuchTopic { topic: topic.to_owned() };
    let described = metadata.topics().iter().find(|one| one.name() == topic).ok_or_else(missing)?;
    if let Some(error) = described.error() {
        return Err(match Code::from(error) {
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::InvalidTopic => missing(),
            code => of_question(action(), code, &client.bootstrap),
        });
    }
    let mut partitions: Vec<i32> = described.partitions().iter().map(|one| one.id()).collect();
    partitions.sort_unstable();
    Ok((partitions, metadata.brokers().first().map(|broker| broker.id())))
}

pub(super) fn watermarks(client: &Client, partition: &TopicPartition) -> Result<Watermarks, KafkaError> {
    let action = || format!("ask for both ends of {partition}");
    let (log_start, last_stable) = client
        .consumer()
        .fetch_watermarks(&partition.topic, partition.partition, ANSWER_MAX)
        .map_err(|error| match error.rdkafka_error_code() {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                KafkaError::NoSuchTopic { topic: partition.topic.to_string() }
            }
            _ => question(action(), &error, client),
        })?;
    Ok(Watermarks { log_start, last_stable })
}

/// Waits for the broker's answer; what the group holds is only a mirror, so an error is for the log.
pub(super) fn commit(client: &Client, list: &rdkafka::TopicPartitionList) -> Result<(), KafkaError> {
    let action = || "mirror offsets into the consumer group".to_owned();
    let queue = client.reply_queue();
    // SAFETY: client, list and queue are alive; without a callback the answer is an event on the queue.
    let sent =
        unsafe { sys::rd_kafka_commit_queue(client.raw(), list.ptr(), queue.raw(), None, ptr::null_mut()) };
    if sent != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(of_question(action(), Code::from(sent), &client.bootstrap));
    }
    // SAFETY: the queue is alive; the event is ours and destroyed below.
    let event = unsafe { sys::rd_kafka_queue_poll(queue.raw(), millis(ANSWER_MAX)) };
    if event.is_null() {
        return Err(of_question(action(), Code::OperationTimedOut, &client.bootstrap));
    }
    // SAFETY: the event is alive until it is destroyed here.
    let code = unsafe {
        let code = sys::rd_kafka_event_error(event) as i32;
        sys::rd_kafka_event_destroy(event);
        code
    };
    match error_code(code) {
        // NoOffset: there was nothing new to commit.
        Code::NoError | Code::NoOffset => Ok(()),
        code => Err(of_question(action(), code, &client.bootstrap)),
    }
}

/// Ids of the topics that the broker describes (KIP-516).
///
/// Any broker can, but librdkafka asks the controller unless it is told whom to ask, and waits in vain where that is
/// not known (librdkafka's mock cluster).
fn topic_ids(client: &Client, names: &[String], broker: i32) -> Result<BTreeMap<String, String>, Code> {
    let names: Vec<CString> = names.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let queue = client.reply_queue();
    // SAFETY: client, names and queue are alive; librdkafka copies names and options before it returns; both are
    // destroyed once, here. The event is ours.
    let event = unsafe {
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options = sys::rd_kafka_AdminOptions_new(
            client.raw(),
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        // It refuses only values out of its range.
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(IDS_MAX), ptr::null_mut(), 0);
        sys::rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
        sys::rd_kafka_DescribeTopics(client.raw(), topics, options, queue.raw());
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(topics);
        // librdkafka answers by its own timeout; the second only guards against a client that is going down.
        sys::rd_kafka_queue_poll(queue.raw(), millis(IDS_MAX * 2))
    };
    if event.is_null() {
        return Err(Code::OperationTimedOut);
    }
    // SAFETY: the event is alive until it is destroyed below, after everything in it was copied.
    unsafe {
        let code = error_code(sys::rd_kafka_event_error(event) as i32);
        let ids = if code == Code::NoError { Ok(described_ids(event)) } else { Err(code) };
        sys::rd_kafka_event_destroy(event);
        ids
    }
}

/// # Safety
/// `event` is alive.
unsafe fn described_ids(event: *mut sys::rd_kafka_event_t) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    // SAFETY: the result and all in it belong to the event; null when it is of another kind.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return ids;
        }
        let mut count = 0usize;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for index in 0..count {
            let topic = *topics.add(index);
            let error = sys::rd_kafka_TopicDescription_error(topic);
            if !error.is_null() && error_code(sys::rd_kafka_error_code(error) as i32) != Code::NoError {
                continue;
            }
            let id = sys::rd_kafka_TopicDescription_topic_id(topic);
            if id.is_null() {
                continue;
            }
            let text = lent_text(sys::rd_kafka_Uuid_base64str(id));
            // All zeros: a broker from before topic ids.
            if !text.is_empty() && text.bytes().any(|byte| byte != b'A') {
                ids.insert(lent_text(sys::rd_kafka_TopicDescription_name(topic)), text);
            }
        }
    }
    ids
}

fn question(action: String, error: &ClientError, client: &Client) -> KafkaError {
    match error.rdkafka_error_code() {
        Some(code) => of_question(action, code, &client.bootstrap),
        None => KafkaError::Client { action, reason: error.to_string() },
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Runs a question on a thread that may block.
pub(super) async fn ask<T: Send + 'static>(
    client: &Arc<Client>,
    question: impl FnOnce(&Client) -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let client = Arc::clone(client);
    match tokio::task::spawn_blocking(move || question(&client)).await {
        Ok(answer) => answer,
        Err(error) => Err(KafkaError::Client { action: "ask Kafka".to_owned(), reason: error.to_string() }),
    }
}
