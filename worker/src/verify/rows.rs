//! Rows: which offsets a Parquet file holds, read by ranges: its footer and three columns, a row group at a time.
//!
//! Neighbours: verify, ledger's store.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};
use bytes::Bytes;
use ledger::store::{Store, StoreError};
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::push_decoder::ParquetPushDecoderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder};

const TOPIC: &str = "_topic";
const PARTITION: &str = "_partition";
const OFFSET: &str = "_offset";
/// What is read of a file's end at first: most footers fit.
const FOOTER_BYTES: u64 = 64 * 1024;
const BATCH_ROWS: usize = 8192;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It went away, or became shorter, while it was read.
    #[error("the file ends at byte {at}, before byte {wanted}")]
    Cut { at: u64, wanted: u64 },
    #[error("read Parquet")]
    Parquet(#[from] ParquetError),
    #[error("read its columns")]
    Arrow(#[from] ArrowError),
    #[error("{0} is null in row {1}")]
    Null(&'static str, usize),
}

/// Which of a file's rows can be told apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Marks {
    /// All three columns are there.
    Whole,
    /// `_topic` is not: the rows are of the entry's only topic.
    WithoutTopic,
    /// The rows can only be counted.
    None,
}

/// What a file's footer says.
#[derive(Debug)]
pub struct Footer {
    metadata: Arc<ParquetMetaData>,
    pub rows: u64,
    pub marks: Marks,
}

/// Reads the footer of a file of `bytes`.
pub async fn read_footer(store: &dyn Store, key: &str, bytes: u64) -> Result<Footer, RowsError> {
    let mut decoder =
        ParquetMetaDataPushDecoder::try_new(bytes)?.with_page_index_policy(PageIndexPolicy::Skip);
    let end = bytes.saturating_sub(FOOTER_BYTES)..bytes;
    decoder.push_range(end.clone(), fetch(store, key, &end).await?)?;
    let metadata = loop {
        match decoder.try_decode()? {
            DecodeResult::Data(metadata) => break metadata,
            DecodeResult::NeedsData(ranges) => {
                for range in ranges {
                    decoder.push_range(range.clone(), fetch(store, key, &range).await?)?;
                }
            }
            DecodeResult::Finished => {
                return Err(ParquetError::EOF("the footer has no metadata".to_owned()).into());
            }
        }
    };
    let rows = u64::try_from(metadata.file_metadata().num_rows())
        .map_err(|_| ParquetError::General("it has a negative number of rows".to_owned()))?;
    let has = |name: &str| {
        let schema = metadata.file_metadata().schema_descr();
        schema.columns().iter().any(|column| column.path().parts() == [name])
    };
    let marks = match (has(TOPIC), has(PARTITION) && has(OFFSET)) {
        (true, true) => Marks::Whole,
        (false, true) => Marks::WithoutTopic,
        (_, false) => Marks::None,
    };
    Ok(Footer { metadata: Arc::new(metadata), rows, marks })
}

/// Hands each row's topic (when the file has one), partition and offset to `row`.
pub async fn read_rows(
    store: &dyn Store,
    key: &str,
    footer: &Footer,
    mut row: impl FnMut(Option<&str>, i32, i64),
) -> Result<(), RowsError> {
    let builder = ParquetPushDecoderBuilder::try_new_decoder(footer.metadata.clone())?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), [TOPIC, PARTITION, OFFSET]);
    let mut decoder = builder.with_projection(columns).with_batch_size(BATCH_ROWS).build()?;
    loop {
        match decoder.try_decode()? {
            DecodeResult::NeedsData(ranges) => {
                let mut data = Vec::with_capacity(ranges.len());
                for range in &ranges {
                    data.push(fetch(store, key, range).await?);
                }
                decoder.push_ranges(ranges, data)?;
            }
            DecodeResult::Data(batch) => each_row(&batch, &mut row)?,
            DecodeResult::Finished => return Ok(()),
        }
    }
}

fn each_row(batch: &RecordBatch, row: &mut impl FnMut(Option<&str>, i32, i64)) -> Result<(), RowsError> {
    let column = |name: &'static str, data_type: DataType| -> Result<Option<_>, RowsError> {
        let Some(column) = batch.column_by_name(name) else { return Ok(None) };
        match (0..column.len()).find(|index| column.is_null(*index)) {
            Some(index) => Err(RowsError::Null(name, index)),
            None => Ok(Some(cast(column, &data_type)?)),
        }
    };
    let topics = column(TOPIC, DataType::Utf8)?;
    let (Some(partitions), Some(offsets)) =
        (column(PARTITION, DataType::Int32)?, column(OFFSET, DataType::Int64)?)
    else {
        return Err(ParquetError::General("a column of the footer is not in the rows".to_owned()).into());
    };
    let topics = topics.as_ref().map(|topics| topics.as_string::<i32>());
    let (partitions, offsets) = (partitions.as_primitive::<Int32Type>(), offsets.as_primitive::<Int64Type>());
    for index in 0..batch.num_rows() {
        row(topics.map(|topics| topics.value(index)), partitions.value(index), offsets.value(index));
    }
    Ok(())
}

async fn fetch(store: &dyn Store, key: &str, range: &Range<u64>) -> Result<Bytes, RowsError> {
    let bytes = store.get_range(key, range.start, range.end).await?.unwrap_or_default();
    let at = range.start + bytes.len() as u64;
    if at < range.end { Err(RowsError::Cut { at, wanted: range.end }) } else { Ok(bytes) }
}
