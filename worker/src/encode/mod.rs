//! Encode: Arrow rows into Parquet bytes, a row group at a time.
//!
//! Order: rows are encoded in the order in which they are written; finished bytes leave in the file's order, each
//! once. After an error a file is worth nothing: drop it.
//! Neighbours: batch before it, sink after it. Pure: no I/O.

mod parts;
mod plan;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::SchemaDescriptor;

use self::parts::Parts;
pub use self::plan::{Coding, ColumnPlan, Learned};

/// Rows of a page: what a reader skips or reads at once by the page index. Values wait uncompressed until their
/// page is full, so this is also what an open file costs in memory.
const PAGE_ROWS_MAX: usize = 8192;
const PAGE_BYTES_MAX: usize = 512 * 1024;
const ROW_GROUP_ROWS_MAX: usize = 1024 * 1024;
/// Rows between two looks at the row group's size.
const SLICE_ROWS: usize = 8192;
/// What zstd keeps for a column at level 1 once it has compressed a page; not in parquet's own figures.
const COMPRESSOR_BYTES: u64 = 600 * 1024;
/// Metadata of a closed column chunk with its page index, kept until the file's footer.
const CHUNK_METADATA_BYTES: u64 = 1024;

/// How files are encoded.
#[derive(Clone, Debug)]
pub struct EncodeOptions {
    /// Encoded bytes at which a row group is closed.
    pub row_group_bytes: u64,
    /// Bytes of each part but the last of [`Finished::parts`].
    pub part_bytes: usize,
    /// zstd, 1 to 22.
    pub zstd_level: i32,
    /// Which column is encoded how; shared by all files of one schema.
    pub learned: Learned,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        EncodeOptions {
            row_group_bytes: 64 * 1024 * 1024,
            part_bytes: 8 * 1024 * 1024,
            zstd_level: 1,
            learned: Learned::default(),
        }
    }
}

/// What a finished file leaves behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The bytes that were not taken before, in order; only the last may be small.
    pub parts: Vec<Bytes>,
    /// Rows of the whole file.
    pub rows: u64,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// Why rows did not become Parquet. None of it is the data's fault: the schema was checked before.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("set zstd level {level}: it is 1 to 22")]
    Level { level: i32 },
    #[error("begin Parquet file")]
    Begin { source: ParquetError },
    #[error("encode {rows} rows")]
    Write { rows: usize, source: ParquetError },
    #[error("close row group of {rows} rows")]
    CloseRowGroup { rows: usize, source: ParquetError },
    #[error("finish Parquet file of {rows} rows")]
    Finish { rows: u64, source: ParquetError },
}

/// One Parquet file in the making.
pub struct FileWriter {
    schema: SchemaRef,
    options: EncodeOptions,
    /// None before the first rows: they decide how columns are encoded.
    writer: Option<ArrowWriter<Parts>>,
    columns: usize,
    rows: u64,
}

impl FileWriter {
    /// A file of this schema without rows.
    pub fn new(schema: SchemaRef, options: &EncodeOptions) -> Result<Self, EncodeError> {
        zstd_level(options.zstd_level)?;
        Ok(FileWriter { schema, options: options.clone(), writer: None, columns: 0, rows: 0 })
    }

    /// Adds rows; closes row groups that have become large enough.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), EncodeError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.writer.is_none() {
            let plan = self.options.learned.plan(rows);
            self.begin(&plan)?;
        }
        let mut start = 0;
        while start < rows.num_rows() {
            let slice = rows.slice(start, SLICE_ROWS.min(rows.num_rows() - start));
            self.write_slice(&slice)?;
            start += slice.num_rows();
        }
        Ok(())
    }

    fn write_slice(&mut self, rows: &RecordBatch) -> Result<(), EncodeError> {
        let writer = self.writer.as_mut().expect("`write` begins the file");
        writer.write(rows).map_err(|source| EncodeError::Write { rows: rows.num_rows(), source })?;
        self.rows += rows.num_rows() as u64;
        if writer.in_progress_size() as u64 >= self.options.row_group_bytes {
            self.close_row_group()?;
        }
        Ok(())
    }

    /// Rows written.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Everything this file holds now: column writers' buffers, compressors, metadata, and finished bytes that were
    /// not taken.
    pub fn memory_bytes(&self) -> u64 {
        let Some(writer) = &self.writer else { return 0 };
        let columns = self.columns as u64;
        let open = if writer.in_progress_rows() >= PAGE_ROWS_MAX { columns * COMPRESSOR_BYTES } else { 0 };
        let closed = writer.flushed_row_groups().len() as u64 * columns * CHUNK_METADATA_BYTES;
        writer.memory_size() as u64 + writer.inner().memory_bytes() as u64 + open + closed
    }

    /// Bytes of the file as it stands: finished ones, and the open row group's as they will be once encoded
    /// (its last pages counted before compression, so a little too high).
    pub fn encoded_bytes(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| (writer.bytes_written() + writer.in_progress_size()) as u64)
    }

    /// Ends the open row group, if it has rows: its bytes can then be taken.
    pub fn close_row_group(&mut self) -> Result<(), EncodeError> {
        let Some(writer) = self.writer.as_mut() else { return Ok(()) };
        let rows = writer.in_progress_rows();
        writer.flush().map_err(|source| EncodeError::CloseRowGroup { rows, source })
    }

    /// Takes the finished bytes that fill parts of exactly `part_bytes`, in order; the rest stays.
    pub fn take_parts(&mut self, part_bytes: usize) -> Vec<Bytes> {
        let Some(writer) = self.writer.as_mut() else { return Vec::new() };
        // Writing into memory cannot fail.
        writer.sync().expect("Parts::write takes everything");
        writer.inner_mut().take_whole(part_bytes)
    }

    /// Ends the file. `metadata` goes into its footer as key-value pairs.
    pub fn finish(mut self, metadata: Vec<(String, String)>) -> Result<Finished, EncodeError> {
        if self.writer.is_none() {
            self.begin(&ColumnPlan::by_type(&self.schema))?;
        }
        let mut writer = self.writer.expect("begun above");
        for (key, value) in metadata {
            writer.append_key_value_metadata(KeyValue::new(key, value));
        }
        let rows = self.rows;
        let failed = |source| EncodeError::Finish { rows, source };
        writer.finish().map_err(failed)?;
        let bytes = writer.bytes_written() as u64;
        writer.sync().map_err(|error| failed(error.into()))?;
        let parts = writer.inner_mut().take_all(self.options.part_bytes);
        Ok(Finished { parts, rows, bytes })
    }

    fn begin(&mut self, plan: &ColumnPlan) -> Result<(), EncodeError> {
        let begin = |source| EncodeError::Begin { source };
        let parquet = ArrowSchemaConverter::new().convert(&self.schema).map_err(begin)?;
        let properties = properties(&self.options, plan, &parquet)?;
        self.columns = parquet.num_columns();
        let options = ArrowWriterOptions::new().with_properties(properties).with_parquet_schema(parquet);
        let writer = ArrowWriter::try_new_with_options(Parts::default(), Arc::clone(&self.schema), options);
        self.writer = Some(writer.map_err(begin)?);
        Ok(())
    }
}

fn zstd_level(level: i32) -> Result<ZstdLevel, EncodeError> {
    match level {
        1..=22 => ZstdLevel::try_new(level).map_err(|_| EncodeError::Level { level }),
        _ => Err(EncodeError::Level { level }),
    }
}

fn properties(
    options: &EncodeOptions,
    plan: &ColumnPlan,
    parquet: &SchemaDescriptor,
) -> Result<WriterProperties, EncodeError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("landfall {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(zstd_level(options.zstd_level)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX));
    for (column, coding) in parquet.columns().iter().zip(&plan.columns) {
        let path = column.path().clone();
        let packs = matches!(column.physical_type(), Type::INT32 | Type::INT64);
        properties = match coding {
            Coding::Dictionary => properties.set_column_dictionary_enabled(path, true),
            Coding::Delta if packs => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            Coding::Plain | Coding::Delta => properties.set_column_dictionary_enabled(path, false),
        };
    }
    Ok(properties.build())
}

#[cfg(test)]
mod tests;
