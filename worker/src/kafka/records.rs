//! Records: a run of messages, borrowed from the client's memory while they are decoded.
//!
//! Neighbours: kafka fills it, decode reads it.

use std::fmt;
use std::ops::Range;

use super::{Generation, TopicPartition};

/// One message; everything borrowed from the batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub offset: i64,
    /// Milliseconds since 1970, UTC: create time or log append time, as the topic is set.
    pub timestamp_ms: Option<i64>,
    pub leader_epoch: Option<i32>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Where messages lie. One implementation borrows from librdkafka, one owns (tests, benchmarks, the gate).
pub trait Messages: Send + Sync {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn get(&self, index: usize) -> Record<'_>;
    /// Calls `each` with the name and value of every header, in order; names may repeat.
    fn headers(&self, index: usize, each: &mut dyn FnMut(&str, Option<&[u8]>));
}

/// Neighbouring messages of one partition, in the order of their offsets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    pub partition: TopicPartition,
    /// Indexes into the batch.
    pub range: Range<usize>,
}

/// Messages that were taken from the client at once.
pub struct Batch {
    pub generation: Generation,
    pub messages: Box<dyn Messages>,
    /// Covers every message once. A partition may have several runs; they are in its order.
    pub runs: Vec<Run>,
    /// What it takes of the memory budget: keys, values, and what a message costs beside them.
    pub bytes: u64,
}

impl Batch {
    /// Bytes of keys and values.
    pub fn payload_bytes(&self) -> u64 {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len) as u64;
        let records = (0..self.messages.len()).map(|index| self.messages.get(index));
        records.map(|record| length(record.key) + length(record.value)).sum()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("generation", &self.generation)
            .field("messages", &self.messages.len())
            .field("runs", &self.runs)
            .field("bytes", &self.bytes)
            .finish()
    }
}

/// A message that owns its bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OwnedRecord {
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub leader_epoch: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Messages for Vec<OwnedRecord> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn get(&self, index: usize) -> Record<'_> {
        let record = &self[index];
        Record {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            leader_epoch: record.leader_epoch,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        }
    }

    fn headers(&self, index: usize, each: &mut dyn FnMut(&str, Option<&[u8]>)) {
        for (name, value) in &self[index].headers {
            each(name, value.as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_is_keys_and_values_whatever_they_cost_in_memory() {
        let record = |key: Option<&str>, value: Option<&str>| OwnedRecord {
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: vec![("h".to_owned(), Some(vec![0; 50]))],
            ..OwnedRecord::default()
        };
        let messages =
            vec![record(Some("abc"), Some("12345")), record(None, Some("1")), record(Some("k"), None)];
        let batch = Batch {
            generation: Generation::default(),
            messages: Box::new(messages),
            runs: vec![],
            bytes: 9_999,
        };
        assert_eq!(batch.payload_bytes(), 10);
    }
}
