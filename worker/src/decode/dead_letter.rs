//! Dead letters: records that did not become rows, as raw as they came, with the reason.
//!
//! Neighbours: batch fills it; whoever redrives reads it back.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use super::columns::Full;
use super::origin::{NullableBytes, Origin};
use crate::kafka::TopicPartition;
use crate::kafka::records::{Messages, Record};
use crate::schema::{headers_type, timestamp_type};
use crate::settings::MetadataColumns;

const EVERYTHING: MetadataColumns =
    MetadataColumns { topic: true, partition: true, offset: true, timestamp: true, key: true, headers: true };

/// The longest reason, in bytes.
const ERROR_LEN_MAX: usize = 1_000;

/// `_topic`, `_partition`, `_offset`, `_timestamp`, `_key`, `_headers`, `_value`, `error`, `error_column`.
///
/// Key, value and headers are the record's bytes. `_timestamp` is null where the record has none, or one outside the
/// years 1 to 9999. `error_column` is null where the value as a whole is at fault.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("_topic", DataType::Utf8, false),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_timestamp", timestamp_type(), true),
        Field::new("_key", DataType::Binary, true),
        Field::new("_headers", headers_type(), false),
        Field::new("_value", DataType::Binary, true),
        Field::new("error", DataType::Utf8, false),
        Field::new("error_column", DataType::Utf8, true),
    ]))
}

/// Why a record is a dead letter.
pub(super) struct Reason {
    pub(super) column: Option<String>,
    pub(super) error: String,
}

pub(super) struct DeadLetters {
    schema: SchemaRef,
    origin: Origin,
    values: NullableBytes,
    errors: NullableBytes,
    columns: NullableBytes,
}

impl DeadLetters {
    pub(super) fn new() -> Self {
        DeadLetters {
            schema: schema(),
            origin: Origin::new(EVERYTHING),
            values: NullableBytes::new(),
            errors: NullableBytes::new(),
            columns: NullableBytes::new(),
        }
    }

    pub(super) fn push(
        &mut self,
        partition: &TopicPartition,
        record: &Record<'_>,
        micros: Option<i64>,
        messages: &dyn Messages,
        index: usize,
        reason: &Reason,
    ) -> Result<(), Full> {
        self.origin.push(partition, record, micros, messages, index)?;
        self.values.push(record.value)?;
        self.errors.push(Some(clip(&reason.error).as_bytes()))?;
        self.columns.push(reason.column.as_deref().map(str::as_bytes))
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        // Every part gives up its rows, even when one of them cannot: what is left must not meet the next batch.
        let origin = self.origin.finish(&mut arrays);
        let values = self.values.finish();
        let errors = self.errors.finish_text();
        let columns = self.columns.finish_text();
        origin?;
        arrays.extend([values?, errors?, columns?]);
        RecordBatch::try_new(self.schema.clone(), arrays)
    }
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(ERROR_LEN_MAX)]
}
