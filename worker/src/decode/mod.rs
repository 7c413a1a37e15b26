//! Decode: message bytes straight into Arrow arrays, a batch at a time.
//!
//! Order: a record becomes exactly one of a row, a filtered record or a dead letter; none stops the stream
//! (unless `on_error = "fail"`), none vanishes.
//! Neighbours: kafka's records before it, batch after it. Pure: no I/O, no clock.

use arrow_array::RecordBatch;

use crate::kafka::TopicPartition;

/// What became of one run of a batch. `written + filtered + dead_lettered` = its length.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunCounts {
    pub partition: TopicPartition,
    pub written: u64,
    pub filtered: u64,
    pub dead_lettered: u64,
}

/// A decoded batch.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The schema's columns, then the metadata columns, in the records' order.
    pub rows: RecordBatch,
    /// Records that did not fit, by the schema of `dead_letter::schema()`; may have no rows.
    pub dead_letters: RecordBatch,
    /// One for each run decoded, in order.
    pub counts: Vec<RunCounts>,
}
