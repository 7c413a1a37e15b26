//! Native: messages in librdkafka's memory, lent to the decoder without a copy.
//!
//! Neighbours: client takes them, poll groups them, decode reads them through `records`.
#![allow(unsafe_code)] // Borrowing from C memory; every block says what keeps it alive.

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::TopicPartition;
use super::client::{Client, error_code};
use super::records::{Messages, Record, Run};

/// What a message costs beside its bytes: librdkafka's own structures.
const MESSAGE_OVERHEAD: u64 = 256;

/// One message or partition error; destroyed on drop.
pub(super) struct Message(NonNull<sys::rd_kafka_message_t>);

// SAFETY: a message is a counted reference into librdkafka, which may be read and destroyed on any thread
// (`rd_kafka_message_destroy` only drops counts, atomically or under locks). All reads but the headers' are plain
// reads of memory that nobody writes any more; the headers' lazy parsing is guarded by `NativeMessages::parse`.
unsafe impl Send for Message {}
// SAFETY: as above.
unsafe impl Sync for Message {}

/// One field, without a reference to the whole: `err` may hold a value that its type does not know.
macro_rules! field {
    ($message:expr, $field:ident) => {
        // SAFETY: the message is alive until its drop, and no one writes these fields any more.
        unsafe { (*$message.0.as_ptr()).$field }
    };
}

impl Message {
    /// `NoError` for a record.
    pub(super) fn code(&self) -> RDKafkaErrorCode {
        error_code(self.raw_code())
    }

    pub(super) fn is_record(&self) -> bool {
        self.raw_code() == 0
    }

    /// The code as C has it: the bindings' enum does not hold every value that a broker may send.
    fn raw_code(&self) -> i32 {
        // SAFETY: alive until drop; read as the integer that it is in C, never as the enum.
        unsafe { ptr::addr_of!((*self.0.as_ptr()).err).cast::<i32>().read() }
    }

    /// `None` for an error of no topic.
    pub(super) fn topic(&self) -> Option<&str> {
        let rkt = field!(self, rkt);
        if rkt.is_null() {
            return None;
        }
        // SAFETY: the message holds its topic, whose name never changes.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(rkt)) }.to_str().ok()
    }

    /// Identifies the topic among messages that are alive at the same time.
    pub(super) fn topic_key(&self) -> usize {
        field!(self, rkt).addr()
    }

    pub(super) fn partition(&self) -> i32 {
        field!(self, partition)
    }

    pub(super) fn offset(&self) -> i64 {
        field!(self, offset)
    }

    pub(super) fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: alive until drop; only reads.
        let epoch = unsafe { sys::rd_kafka_message_leader_epoch(self.0.as_ptr()) };
        (epoch >= 0).then_some(epoch)
    }

    /// An error's text.
    pub(super) fn reason(&self) -> String {
        match self.payload() {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            None => self.code().to_string(),
        }
    }

    fn payload(&self) -> Option<&[u8]> {
        let (data, len) = (field!(self, payload), field!(self, len));
        // SAFETY: pointer and length belong together and live as long as the message.
        unsafe { lent_bytes(data, len) }
    }

    fn key(&self) -> Option<&[u8]> {
        let (data, len) = (field!(self, key), field!(self, key_len));
        // SAFETY: as above.
        unsafe { lent_bytes(data, len) }
    }

    /// Key and value, and what the message costs beside them. Headers are not counted: their size is known only
    /// after they are parsed.
    fn bytes(&self) -> u64 {
        (field!(self, len) + field!(self, key_len)) as u64 + MESSAGE_OVERHEAD
    }

    fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: alive until drop; only reads.
        let ms = unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && ms >= 0).then_some(ms)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: ours alone, and not used afterwards. Its client is alive: see `Taken` and `NativeMessages`.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// # Safety
/// `data` is null or holds `len` bytes that outlive `'a` and do not change.
unsafe fn lent_bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    if data.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { slice::from_raw_parts(data.cast::<u8>(), len) })
}

/// What was taken from the queue at once, records and errors in their order. The caller keeps the client meanwhile.
pub(super) struct Taken(pub(super) Vec<Message>);

impl Taken {
    /// # Safety
    /// The first `count` pointers are messages that the caller owns.
    pub(super) unsafe fn from_raw(array: Vec<*mut sys::rd_kafka_message_t>, count: usize) -> Taken {
        Taken(array.into_iter().take(count).filter_map(NonNull::new).map(Message).collect())
    }
}

/// Neighbours of one partition, in their order.
pub(super) fn group_runs(messages: &[Message]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut start = 0;
    for stretch in messages
        .chunk_by(|one, next| (one.topic_key(), one.partition()) == (next.topic_key(), next.partition()))
    {
        let first = &stretch[0];
        let partition =
            TopicPartition { topic: first.topic().unwrap_or_default().into(), partition: first.partition() };
        runs.push(Run { partition, range: start..start + stretch.len() });
        start += stretch.len();
    }
    runs
}

/// Records of one batch. Dropped before the client that lent them, because it holds it.
pub(super) struct NativeMessages {
    messages: Vec<Message>,
    /// Held while headers are parsed: librdkafka parses them at the first question and keeps the result.
    parse: Mutex<()>,
    _client: Arc<Client>,
}

impl NativeMessages {
    pub(super) fn new(messages: Vec<Message>, client: Arc<Client>) -> NativeMessages {
        NativeMessages { messages, parse: Mutex::new(()), _client: client }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.messages.iter().map(Message::bytes).sum()
    }
}

impl Messages for NativeMessages {
    fn len(&self) -> usize {
        self.messages.len()
    }

    fn get(&self, index: usize) -> Record<'_> {
        let message = &self.messages[index];
        Record {
            offset: message.offset(),
            timestamp_ms: message.timestamp_ms(),
            leader_epoch: message.leader_epoch(),
            key: message.key(),
            value: message.payload(),
        }
    }

    fn headers(&self, index: usize, each: &mut dyn FnMut(&str, Option<&[u8]>)) {
        let message = &self.messages[index];
        let mut headers = ptr::null_mut();
        let parsed = {
            let _guard = self.parse.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the message is alive; the guard makes this the only parser. Once parsed, the list is only
            // read, and it lives as long as the message.
            unsafe { sys::rd_kafka_message_headers(message.0.as_ptr(), &raw mut headers) }
        };
        if parsed != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return; // It has none.
        }
        for position in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0usize);
            // SAFETY: the list is alive; past its end librdkafka answers with an error.
            let found = unsafe {
                sys::rd_kafka_header_get_all(headers, position, &raw mut name, &raw mut value, &raw mut size)
            };
            if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            // SAFETY: both belong to the list; a null value is a header without one.
            let (name, value) = unsafe { (CStr::from_ptr(name), lent_bytes(value, size)) };
            each(&name.to_string_lossy(), value);
        }
    }
}
