//! Batch: every record of some runs to a row, a filtered record or a dead letter.
//!
//! Order: a record's fate is known before anything of it stands beside the rows; after a failure nothing of the
//! batch is left.
//! Neighbours: kafka's records before it, the row decoder and the origin columns below.

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};

use super::columns::Full;
use super::dead_letter::{DeadLetters, Reason};
use super::json::JsonRows;
use super::origin::Origin;
use super::{DecodeError, Decoded, RowDecoder, RunCounts, scalar};
use crate::kafka::TopicPartition;
use crate::kafka::records::{Batch, Messages, Record, Run};
use crate::schema::{TableSchema, output_schema};
use crate::settings::{MetadataColumns, OnError, RecordSettings, Tombstones};

/// Why a batch was not decoded. Nothing of it was kept, and the decoder can go on with another (but after a bug).
#[derive(Debug, thiserror::Error)]
pub enum DecodeFailure {
    /// `on_error = "fail"`.
    #[error(
        "decode offset {offset} of {partition}: {}{reason} (records.on_error = \"dead-letter\" would set it aside)",
        .column.as_ref().map(|column| format!("column `{column}`: ")).unwrap_or_default()
    )]
    Unfit { partition: TopicPartition, offset: i64, column: Option<String>, reason: String },
    /// Far beyond what a batch may hold: decode fewer runs at once.
    #[error(
        "decode offset {offset} of {partition}: a column of this batch of {bytes} bytes would pass 2 GiB"
    )]
    TooLarge { partition: TopicPartition, offset: i64, bytes: u64 },
    /// A bug.
    #[error("assemble the decoded columns")]
    Assemble(#[source] ArrowError),
}

/// What it takes to decode; shared by the threads that do.
#[derive(Clone, Debug)]
pub struct DecoderFactory {
    table: TableSchema,
    output: SchemaRef,
    metadata: MetadataColumns,
    tombstones: Tombstones,
    on_error: OnError,
}

impl DecoderFactory {
    pub fn new(table: &TableSchema, settings: &RecordSettings) -> Self {
        DecoderFactory {
            output: output_schema(table, settings.metadata),
            table: table.clone(),
            metadata: settings.metadata,
            tombstones: settings.tombstones,
            on_error: settings.on_error,
        }
    }

    /// The schema of [`Decoded::rows`].
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// A decoder of JSON for one thread.
    pub fn build(&self) -> BatchDecoder {
        self.build_with(Box::new(JsonRows::new(&self.table)))
    }

    /// A decoder around another way to read values; `rows` must decode this table and hold no rows.
    pub fn build_with(&self, rows: Box<dyn RowDecoder>) -> BatchDecoder {
        BatchDecoder {
            rows,
            origin: Origin::new(self.metadata),
            dead_letters: DeadLetters::new(),
            output: self.output.clone(),
            timestamps: self.metadata.timestamp,
            tombstones: self.tombstones,
            on_error: self.on_error,
        }
    }
}

/// Decodes batches, one at a time; one for each thread.
pub struct BatchDecoder {
    rows: Box<dyn RowDecoder>,
    origin: Origin,
    dead_letters: DeadLetters,
    output: SchemaRef,
    timestamps: bool,
    tombstones: Tombstones,
    on_error: OnError,
}

/// What became of one record.
enum Fate {
    Written,
    Filtered,
    DeadLettered,
}

/// Why a record ends its batch.
enum Stop {
    Unfit(Reason),
    Full,
}

impl From<Full> for Stop {
    fn from(_: Full) -> Self {
        Stop::Full
    }
}

impl BatchDecoder {
    /// Decodes the records of `runs` (indexes into `batch`), in this order; the others are left alone.
    ///
    /// Tombstones are left out or dead letters as `tombstones` says, and never stop the stream: that setting is the
    /// more particular one.
    pub fn decode(&mut self, batch: &Batch, runs: &[Run]) -> Result<Decoded, DecodeFailure> {
        let read = self.read(batch, runs);
        // Whatever happened, the builders are emptied: the next batch starts from nothing.
        let rows = self.finish_rows();
        let dead_letters = self.dead_letters.finish();
        let counts = read?;
        Ok(Decoded {
            rows: rows.map_err(DecodeFailure::Assemble)?,
            dead_letters: dead_letters.map_err(DecodeFailure::Assemble)?,
            counts,
        })
    }

    fn read(&mut self, batch: &Batch, runs: &[Run]) -> Result<Vec<RunCounts>, DecodeFailure> {
        let messages = batch.messages.as_ref();
        let mut counts = Vec::with_capacity(runs.len());
        for run in runs {
            let mut count =
                RunCounts { partition: run.partition.clone(), written: 0, filtered: 0, dead_lettered: 0 };
            for index in run.range.clone() {
                let record = messages.get(index);
                let fate = self.record(&run.partition, &record, messages, index);
                match fate.map_err(|stop| stop.at(&run.partition, record.offset, batch.bytes))? {
                    Fate::Written => count.written += 1,
                    Fate::Filtered => count.filtered += 1,
                    Fate::DeadLettered => count.dead_lettered += 1,
                }
            }
            counts.push(count);
        }
        Ok(counts)
    }

    fn record(
        &mut self,
        partition: &TopicPartition,
        record: &Record<'_>,
        messages: &dyn Messages,
        index: usize,
    ) -> Result<Fate, Stop> {
        let micros = record.timestamp_ms.map(scalar::timestamp_from_millis);
        let known = micros.and_then(Result::ok);
        let reason = match (record.value, micros) {
            (None, _) if self.tombstones == Tombstones::Skip => return Ok(Fate::Filtered),
            (None, _) => Reason { column: None, error: "a tombstone: the value is null".to_owned() },
            (Some(_), Some(Err(why))) if self.timestamps => self.unfit(Reason {
                column: Some("_timestamp".to_owned()),
                error: format!("the record's own timestamp is {why}"),
            })?,
            (Some(value), _) => match self.rows.decode(value) {
                Ok(()) => {
                    self.origin.push(partition, record, known, messages, index)?;
                    return Ok(Fate::Written);
                }
                Err(DecodeError::Full) => return Err(Stop::Full),
                Err(DecodeError::Unfit { column, reason }) => self.unfit(Reason { column, error: reason })?,
            },
        };
        self.dead_letters.push(partition, record, known, messages, index, &reason)?;
        Ok(Fate::DeadLettered)
    }

    fn unfit(&self, reason: Reason) -> Result<Reason, Stop> {
        match self.on_error {
            OnError::DeadLetter => Ok(reason),
            OnError::Fail => Err(Stop::Unfit(reason)),
        }
    }

    fn finish_rows(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut origin = Vec::new();
        let finished = self.origin.finish(&mut origin);
        let mut arrays = self.rows.finish()?;
        finished?;
        arrays.append(&mut origin);
        RecordBatch::try_new(self.output.clone(), arrays)
    }
}

impl Stop {
    fn at(self, partition: &TopicPartition, offset: i64, bytes: u64) -> DecodeFailure {
        let partition = partition.clone();
        match self {
            Stop::Unfit(Reason { column, error }) => {
                DecodeFailure::Unfit { partition, offset, column, reason: error }
            }
            Stop::Full => DecodeFailure::TooLarge { partition, offset, bytes },
        }
    }
}
