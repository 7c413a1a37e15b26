//! Client: the consumer, and one queue beside its own that carries nothing but records, ends and partition errors.
//!
//! `rd_kafka_consume_batch_queue` is several times cheaper than polling, but on the consumer's own queue it would
//! serve rebalance events by itself and unassign behind one's back. So each partition's queue is forwarded to ours
//! and the consumer's own queue is left to `poll`.
//!
//! What the C source (2.12.1) says about forwarding, and is relied upon here:
//! - `rd_kafka_queue_forward` marks the partition's queue as forwarded by the application; starting to fetch
//!   (`rd_kafka_toppar_op_fetch_start`) then leaves it alone. So it must be forwarded *before* it is assigned.
//! - Stopping to fetch (`rd_kafka_toppar_fetch_stop`) clears the forwarding but not the mark. That operation runs
//!   on librdkafka's main thread, before the assignment that follows it, and after a forwarding that precedes it.
//!   So it must be forwarded *after* it is assigned, too; what came in between is moved along.
//! - Both queues count as polls for `max.poll.interval.ms`.
//!
//! Order of destruction: messages, then queues, then the consumer. A batch holds the client, so that this is so on
//! whichever thread the last of them is dropped.
//! Neighbours: context below it; poll, native, admin and sample use it.
#![allow(unsafe_code)] // rdkafka wraps neither batches nor forwarding; every call below says why it is sound.

use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as sys;

use super::context::{Context, Notice};
use super::native::Taken;
use super::wake::Wake;
use super::{KafkaError, Placement, TopicPartition};

/// A queue of librdkafka. Must be dropped before its client.
pub(super) struct Queue {
    raw: NonNull<sys::rd_kafka_queue_t>,
    /// What the callback points at.
    wake: Option<Box<Wake>>,
}

// SAFETY: librdkafka's queues are made for use from any thread; each operation takes the queue's own lock. `wake`
// is only touched by the callback, through `&Wake`, which is Sync.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// `None` when there is no such queue.
    ///
    /// # Safety
    /// `raw` is null or a queue reference that the caller owns.
    unsafe fn from_raw(raw: *mut sys::rd_kafka_queue_t) -> Option<Queue> {
        Some(Queue { raw: NonNull::new(raw)?, wake: None })
    }

    pub(super) fn raw(&self) -> *mut sys::rd_kafka_queue_t {
        self.raw.as_ptr()
    }

    /// Rouses the polling thread whenever the queue is no longer empty.
    fn rouse(&mut self, wake: Wake) {
        unsafe extern "C" fn filled(_: *mut sys::rd_kafka_t, wake: *mut c_void) {
            // SAFETY: `wake` is the box below; Drop unhooks the callback before the box is freed, under the
            // queue's lock, which librdkafka holds while it calls back.
            unsafe { &*wake.cast_const().cast::<Wake>() }.wake();
        }
        let raw = self.raw();
        let wake: *const Wake = &raw const **self.wake.insert(Box::new(wake));
        // SAFETY: the queue lives as long as self; so does the box.
        unsafe { sys::rd_kafka_queue_cb_event_enable(raw, Some(filled), wake.cast_mut().cast::<c_void>()) };
    }

    fn len(&self) -> usize {
        // SAFETY: the queue lives as long as self.
        unsafe { sys::rd_kafka_queue_length(self.raw()) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is ours and not used afterwards.
        unsafe {
            if self.wake.is_some() {
                sys::rd_kafka_queue_cb_event_enable(self.raw(), None, ptr::null_mut());
            }
            sys::rd_kafka_queue_destroy(self.raw());
        }
    }
}

/// One client of the cluster. Fields are dropped from the top: queues before the consumer.
pub(super) struct Client {
    records: Queue,
    /// The consumer's own queue, to see how many events wait there; none without a group.
    events: Option<Queue>,
    consumer: BaseConsumer<Context>,
    pub(super) bootstrap: String,
}

impl Client {
    /// Starts a client; no broker is waited for. `wake` is roused by records and by events.
    pub(super) fn start(config: &ClientConfig, wake: &Wake) -> Result<Client, KafkaError> {
        let mut consumer =
            BaseConsumer::from_config_and_context(config, Context::default()).map_err(|error| {
                KafkaError::Setting {
                    reason: match error {
                        ClientError::ClientCreation(reason) => reason,
                        other => other.to_string(),
                    },
                }
            })?;
        let events_wake = wake.clone();
        consumer.set_nonempty_callback(move || events_wake.wake());
        let raw = consumer.client().native_ptr();
        // SAFETY: `raw` is the live client; the queue is a new one and ours.
        let records = unsafe { Queue::from_raw(sys::rd_kafka_queue_new(raw)) };
        let mut records = records.expect("rd_kafka_queue_new allocates or aborts");
        records.rouse(wake.clone());
        // SAFETY: as above; a reference of our own, null without a group.
        let events = unsafe { Queue::from_raw(sys::rd_kafka_queue_get_consumer(raw)) };
        let bootstrap = config.get("bootstrap.servers").unwrap_or_default().to_owned();
        Ok(Client { records, events, consumer, bootstrap })
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<Context> {
        &self.consumer
    }

    pub(super) fn raw(&self) -> *mut sys::rd_kafka_t {
        self.consumer.client().native_ptr()
    }

    pub(super) fn records(&self) -> &Queue {
        &self.records
    }

    /// A queue for one question and its answer.
    pub(super) fn reply_queue(&self) -> Queue {
        // SAFETY: the client is live; the caller drops the queue before it, as it borrows from the same owner.
        unsafe { Queue::from_raw(sys::rd_kafka_queue_new(self.raw())) }
            .expect("rd_kafka_queue_new allocates or aborts")
    }

    /// Serves what waits on the consumer's own queue, bounded, and returns what the callbacks noted.
    ///
    /// A record there is a bug (it was not forwarded) and would be lost if it were dropped.
    pub(super) fn serve_events(&self) -> Result<Vec<Notice>, KafkaError> {
        const EVENTS_AT_ONCE: usize = 1000;
        for _ in 0..EVENTS_AT_ONCE {
            // The first poll is due in any case: it is what tells librdkafka that we live.
            if let Some(Ok(message)) = self.consumer.poll(Duration::ZERO) {
                use rdkafka::Message;
                return Err(KafkaError::Client {
                    action: format!("read {}[{}]", message.topic(), message.partition()),
                    reason: format!("a record came on the wrong queue at offset {}", message.offset()),
                });
            }
            if self.events.as_ref().is_none_or(|events| events.len() == 0) {
                break;
            }
        }
        Ok(self.consumer.context().take_notices())
    }

    /// Takes up to `max` records and partition errors; never waits.
    pub(super) fn take(&self, max: usize, timeout: Duration) -> Taken {
        let mut array: Vec<*mut sys::rd_kafka_message_t> = Vec::with_capacity(max);
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the array has room for `max` pointers, and librdkafka says how many it wrote.
        let count = unsafe {
            let count =
                sys::rd_kafka_consume_batch_queue(self.records.raw(), timeout_ms, array.as_mut_ptr(), max);
            let count = usize::try_from(count).unwrap_or(0).min(max);
            array.set_len(count);
            count
        };
        // SAFETY: each pointer is a message that is now ours alone.
        unsafe { Taken::from_raw(array, count) }
    }

    /// Leads this partition's records to our queue. Idempotent.
    pub(super) fn forward(&self, partition: &TopicPartition) -> Result<(), KafkaError> {
        let topic = CString::new(&*partition.topic).map_err(|_| KafkaError::Client {
            action: format!("read {partition}"),
            reason: "the topic's name holds a zero byte".to_owned(),
        })?;
        // SAFETY: the client is live, the name a C string; the queue is a reference of our own.
        let queue = unsafe {
            Queue::from_raw(sys::rd_kafka_queue_get_partition(
                self.raw(),
                topic.as_ptr(),
                partition.partition,
            ))
        };
        let queue = queue.ok_or_else(|| KafkaError::Client {
            action: format!("read {partition}"),
            reason: "the client has no queue for it".to_owned(),
        })?;
        // SAFETY: both queues are live; forwarding holds its own reference to ours.
        unsafe { sys::rd_kafka_queue_forward(queue.raw(), self.records.raw()) };
        Ok(())
    }
}

/// Partitions with offsets and leader epochs, as librdkafka takes them.
pub(super) fn placement_list(placements: &[Placement]) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::with_capacity(placements.len());
    for Placement { partition, offset, leader_epoch } in placements {
        list.add_partition_offset(&partition.topic, partition.partition, rdkafka::Offset::Offset(offset.0))?;
        if let Some(epoch) = leader_epoch {
            // SAFETY: the list is live and was just added to, so that its last element exists.
            unsafe {
                let raw = list.ptr();
                let last = (*raw).elems.add(usize::try_from((*raw).cnt - 1).expect("one was added"));
                sys::rd_kafka_topic_partition_set_leader_epoch(last, *epoch);
            }
        }
    }
    Ok(list)
}

/// Partitions alone.
pub(super) fn partition_list<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for TopicPartition { topic, partition } in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// The code behind a raw number; a broker newer than the client may send one that it does not know.
pub(super) fn error_code(raw: i32) -> RDKafkaErrorCode {
    sys::rd_kafka_resp_err_t::try_from(raw).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)
}

/// A C string that librdkafka lent.
///
/// # Safety
/// `text` is null or a C string that outlives the call.
pub(super) unsafe fn lent_text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
