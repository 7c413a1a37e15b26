//! Decode: message bytes straight into Arrow arrays, a batch at a time.
//!
//! Order: a record becomes exactly one of a row, a filtered record or a dead letter; none stops the stream
//! (unless `on_error = "fail"`), none vanishes, and none touches its neighbours.
//! Neighbours: kafka's records before it, batch after it. Pure: no I/O, no clock.
//!
//! # What JSON becomes what
//!
//! A record's value is one JSON object in UTF-8, with nothing behind it. Where Spark's `from_json` in FAILFAST mode
//! would refuse a value, so do we; a value is never bent to fit.
//!
//! | column | takes | refuses, for instance |
//! |---|---|---|
//! | any | `null`, or no such key, as null | either, where NOT NULL is declared |
//! | string | a string | a number, an object; more characters than `varchar(n)` has |
//! | boolean | `true`, `false` | `"true"`, `1` |
//! | tinyint … bigint | a whole number in range | `3.0`, `1e3`, `-0`, `"3"` |
//! | float, double | any number (rounded to the nearest, as JSON's readers do) | `"NaN"`; what is not finite |
//! | decimal(p, s) | a number or a string that holds one, exactly | a digit behind the scale that is not 0 |
//! | date | `"2026-11-22"` | a time behind it; years outside 1 to 9999 |
//! | timestamp | ISO 8601 text (no offset = UTC; digits behind the microsecond are cut), whole milliseconds since 1970 | `1.5e12`; years outside 1 to 9999 |
//! | binary | base64 with padding (RFC 4648 §4) | other text |
//! | array | an array | an object |
//! | map | an object | a key that stands twice |
//! | struct | an object | a key of a declared field that stands twice |
//!
//! Keys that the schema does not declare are ignored; what stands under them must still be JSON, nested at most
//! [`DEPTH_MAX`] deep. Declared keys are matched exactly, case included. A declared key that stands twice makes the
//! record a dead letter: readers of JSON disagree on which one holds.

mod batch;
mod columns;
pub mod dead_letter;
mod json;
mod origin;
mod scalar;
mod text;

#[cfg(test)]
mod tests;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::ArrowError;

pub use self::batch::{BatchDecoder, DecodeFailure, DecoderFactory};
pub use self::json::JsonRows;
pub use self::text::DEPTH_MAX;
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
    /// Records that did not fit, by the schema of [`dead_letter::schema`]; may have no rows.
    pub dead_letters: RecordBatch,
    /// One for each run decoded, in order.
    pub counts: Vec<RunCounts>,
}

impl Decoded {
    /// Bytes that the arrays hold on to, for the memory budget.
    pub fn memory_bytes(&self) -> u64 {
        let bytes = |batch: &RecordBatch| -> usize {
            batch.columns().iter().map(|array| array.get_array_memory_size()).sum()
        };
        (bytes(&self.rows) + bytes(&self.dead_letters)) as u64
    }
}

/// Turns values into the rows of a table, one at a time. The narrow waist for faster decoders and other formats.
pub trait RowDecoder: Send {
    /// Appends one row, or leaves everything as it was before the call.
    fn decode(&mut self, value: &[u8]) -> Result<(), DecodeError>;

    /// Rows appended since the last [`RowDecoder::finish`].
    fn rows(&self) -> usize;

    /// Gives the rows up as arrays, one for each declared column, and starts again with none. (Also how rows are
    /// thrown away.)
    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError>;
}

/// Why a value did not become a row.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The record's fault: a dead letter.
    #[error("{}{reason}", .column.as_ref().map(|column| format!("column `{column}`: ")).unwrap_or_default())]
    Unfit {
        /// The column's path as Parquet spells it (`items.element.price`); none where the value as a whole is at
        /// fault.
        column: Option<String>,
        reason: String,
    },
    /// Nobody's fault: an array's offsets are 32 bits wide. Finish, then decode this value again.
    #[error("append to the batch: a column would pass 2 GiB")]
    Full,
}
