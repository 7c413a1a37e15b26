//! Origin: where records came from, as columns; beside rows those that are wanted, beside dead letters all.
//!
//! Neighbours: batch fills it, a record at a time, once that record's fate is known.

use std::mem;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, ListArray, StructArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{ArrowError, DataType};

use super::columns::{Bytes, Full, Offsets, timestamps};
use crate::kafka::TopicPartition;
use crate::kafka::records::{Messages, Record};
use crate::schema::headers_type;
use crate::settings::MetadataColumns;

/// Byte strings, some of them null.
pub(super) struct NullableBytes {
    bytes: Bytes,
    nulls: NullBufferBuilder,
}

impl NullableBytes {
    pub(super) fn new() -> Self {
        NullableBytes { bytes: Bytes::new(), nulls: NullBufferBuilder::new(0) }
    }

    pub(super) fn push(&mut self, value: Option<&[u8]>) -> Result<(), Full> {
        self.bytes.push(value.unwrap_or_default())?;
        self.nulls.append(value.is_some());
        Ok(())
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        self.bytes.finish_binary(nulls)
    }

    pub(super) fn finish_text(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        self.bytes.finish_text(nulls)
    }
}

/// Headers: a list of (name, value) a record.
struct Headers {
    offsets: Offsets,
    names: Bytes,
    values: NullableBytes,
}

impl Headers {
    fn push(&mut self, messages: &dyn Messages, index: usize) -> Result<(), Full> {
        let mut pushed = Ok(());
        messages.headers(index, &mut |name, value| {
            if pushed.is_ok() {
                pushed = self.names.push(name.as_bytes()).and_then(|()| self.values.push(value));
            }
        });
        pushed?;
        self.offsets.push(self.values.len())
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let DataType::List(element) = headers_type() else { unreachable!("headers are a list") };
        let DataType::Struct(pair) = element.data_type() else { unreachable!("of pairs") };
        // All three first: after a record that was half pushed they do not fit together, and none may keep a rest.
        let (offsets, names, values) =
            (self.offsets.finish(), self.names.finish_text(None), self.values.finish());
        let pairs = StructArray::try_new(pair.clone(), vec![names?, values?], None)?;
        Ok(Arc::new(ListArray::try_new(element.clone(), offsets, Arc::new(pairs), None)?))
    }
}

/// The metadata columns, in the order of `schema::METADATA_NAMES`.
pub(super) struct Origin {
    wanted: MetadataColumns,
    topics: Bytes,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    timestamp_nulls: NullBufferBuilder,
    keys: NullableBytes,
    headers: Headers,
}

impl Origin {
    pub(super) fn new(wanted: MetadataColumns) -> Self {
        Origin {
            wanted,
            topics: Bytes::new(),
            partitions: Vec::new(),
            offsets: Vec::new(),
            timestamps: Vec::new(),
            timestamp_nulls: NullBufferBuilder::new(0),
            keys: NullableBytes::new(),
            headers: Headers { offsets: Offsets::new(), names: Bytes::new(), values: NullableBytes::new() },
        }
    }

    /// Appends one record's origin; `micros` is its timestamp, null where it has none that a file can hold. After
    /// [`Full`] only [`Origin::finish`] leaves a sound state.
    pub(super) fn push(
        &mut self,
        partition: &TopicPartition,
        record: &Record<'_>,
        micros: Option<i64>,
        messages: &dyn Messages,
        index: usize,
    ) -> Result<(), Full> {
        if self.wanted.topic {
            self.topics.push(partition.topic.as_bytes())?;
        }
        if self.wanted.partition {
            self.partitions.push(partition.partition);
        }
        if self.wanted.offset {
            self.offsets.push(record.offset);
        }
        if self.wanted.timestamp {
            self.timestamps.push(micros.unwrap_or_default());
            self.timestamp_nulls.append(micros.is_some());
        }
        if self.wanted.key {
            self.keys.push(record.key)?;
        }
        if self.wanted.headers {
            self.headers.push(messages, index)?;
        }
        Ok(())
    }

    /// Appends the columns to `arrays` and starts again with none.
    pub(super) fn finish(&mut self, arrays: &mut Vec<ArrayRef>) -> Result<(), ArrowError> {
        if self.wanted.topic {
            arrays.push(self.topics.finish_text(None)?);
        }
        if self.wanted.partition {
            arrays.push(Arc::new(Int32Array::from(mem::take(&mut self.partitions))));
        }
        if self.wanted.offset {
            arrays.push(Arc::new(Int64Array::from(mem::take(&mut self.offsets))));
        }
        if self.wanted.timestamp {
            let nulls = self.timestamp_nulls.finish();
            arrays.push(timestamps(&mut self.timestamps, nulls)?);
        }
        if self.wanted.key {
            arrays.push(self.keys.finish()?);
        }
        if self.wanted.headers {
            arrays.push(self.headers.finish()?);
        }
        Ok(())
    }
}
