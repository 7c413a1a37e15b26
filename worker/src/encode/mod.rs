//! Encode: Arrow rows into Parquet bytes, a row group at a time.
//!
//! Order: rows are encoded in the order in which they are written; finished bytes leave in the file's order, each
//! once. After an error a file is worth nothing: drop it.
//! Neighbours: batch before it, sink after it. Pure: no I/O.

mod pages;
mod parts;
mod plan;

use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use ledger::store::PART_BYTES_MIN;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, encode_arrow_schema};
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;

use self::pages::{ColumnPages, Pages, lock};
use self::parts::Parts;
pub use self::plan::{Coding, ColumnPlan, Learned};

/// Rows of a page: what a reader skips or reads at once by the page index. Values wait uncompressed until their
/// page is full, so this is also what an open file costs in memory.
pub(crate) const PAGE_ROWS_MAX: usize = 8192;
const PAGE_BYTES_MAX: usize = 512 * 1024;
const ROW_GROUP_ROWS_MAX: usize = 1024 * 1024;
/// Rows between two looks at the row group's size.
const SLICE_ROWS: usize = 8192;
/// What an open column writer holds beside its values; not in parquet's own figures.
const COLUMN_WRITER_BYTES: usize = 4 * 1024;
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
            // Some of S3's likenesses want all parts alike, as `take_parts` makes them.
            part_bytes: PART_BYTES_MIN,
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
    level: ZstdLevel,
    /// None before the first rows: they decide how columns are encoded.
    file: Option<File>,
    rows: u64,
}

impl FileWriter {
    /// A file of this schema without rows.
    pub fn new(schema: SchemaRef, options: &EncodeOptions) -> Result<Self, EncodeError> {
        let level = zstd_level(options.zstd_level)?;
        Ok(FileWriter { schema, options: options.clone(), level, file: None, rows: 0 })
    }

    /// Adds rows; closes row groups that have become large enough.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), EncodeError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let plan = self.options.learned.plan(rows);
                self.file.insert(File::begin(&self.schema, &plan, self.level)?)
            }
        };
        let mut start = 0;
        while start < rows.num_rows() {
            let slice = rows.slice(start, SLICE_ROWS.min(rows.num_rows() - start));
            file.write(&slice)?;
            start += slice.num_rows();
            if file.group_bytes() >= self.options.row_group_bytes || file.group_rows() >= ROW_GROUP_ROWS_MAX {
                file.close_group()?;
            }
        }
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// Rows written.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Everything this file holds now: column writers' buffers, compressed pages, metadata, and finished bytes that
    /// were not taken.
    pub fn memory_bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, File::memory_bytes)
    }

    /// Bytes of the file as it stands: finished ones, and the open row group's as they will be once encoded. What
    /// waits for its page to fill is counted as the pages before it were compressed.
    pub fn encoded_bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.closed_bytes() + file.group_bytes())
    }

    /// Bytes that could be taken once the open row group is closed: below a part's size, closing it gives nothing
    /// back and only makes row groups small.
    pub fn sheddable_bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.waiting_bytes() + file.group_bytes())
    }

    /// Ends the open row group, if it has rows: its bytes can then be taken.
    pub fn close_row_group(&mut self) -> Result<(), EncodeError> {
        self.file.as_mut().map_or(Ok(()), File::close_group)
    }

    /// Takes the finished bytes that fill parts of exactly `part_bytes`, in order; the rest stays.
    pub fn take_parts(&mut self, part_bytes: usize) -> Vec<Bytes> {
        self.file.as_mut().map_or_else(Vec::new, |file| file.finished().take_whole(part_bytes))
    }

    /// Ends the file. `metadata` goes into its footer as key-value pairs.
    pub fn finish(self, metadata: Vec<(String, String)>) -> Result<Finished, EncodeError> {
        let mut file = match self.file {
            Some(file) => file,
            None => File::begin(&self.schema, &ColumnPlan::by_type(&self.schema), self.level)?,
        };
        file.close_group()?;
        file.end(metadata).map_err(|source| EncodeError::Finish { rows: self.rows, source })?;
        let bytes = file.closed_bytes();
        Ok(Finished { parts: file.finished().take_all(self.options.part_bytes), rows: self.rows, bytes })
    }
}

/// A file that has begun.
struct File {
    writer: SerializedFileWriter<Parts>,
    columns: ArrowRowGroupWriterFactory,
    pages: Arc<Pages>,
    schema: SchemaRef,
    group: Option<RowGroup>,
}

impl File {
    fn begin(schema: &SchemaRef, plan: &ColumnPlan, level: ZstdLevel) -> Result<Self, EncodeError> {
        let begin = |source| EncodeError::Begin { source };
        let parquet = ArrowSchemaConverter::new().convert(schema).map_err(begin)?;
        let properties = Arc::new(properties(plan, schema, &parquet));
        let root = parquet.root_schema_ptr();
        let writer = SerializedFileWriter::new(Parts::default(), root, properties).map_err(begin)?;
        let pages = Arc::new(Pages::new(level));
        let columns =
            ArrowRowGroupWriterFactory::new(&writer, schema.clone()).with_page_store_factory(pages.clone());
        Ok(File { writer, columns, pages, schema: schema.clone(), group: None })
    }

    fn write(&mut self, rows: &RecordBatch) -> Result<(), EncodeError> {
        let failed = |source| EncodeError::Write { rows: rows.num_rows(), source };
        let group = match &mut self.group {
            Some(group) => group,
            None => {
                let index = self.writer.flushed_row_groups().len();
                let columns = self.columns.create_column_writers(index).map_err(failed)?;
                let pages = self.pages.take_columns();
                self.group.insert(RowGroup { columns, pages, rows: 0 })
            }
        };
        group.write(&self.schema, rows).map_err(failed)
    }

    fn close_group(&mut self) -> Result<(), EncodeError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let rows = group.rows;
        group.close(&mut self.writer).map_err(|source| EncodeError::CloseRowGroup { rows, source })
    }

    fn end(&mut self, metadata: Vec<(String, String)>) -> Result<(), ParquetError> {
        for (key, value) in metadata {
            self.writer.append_key_value_metadata(KeyValue::new(key, value));
        }
        self.writer.finish().map(|_| ())
    }

    fn group_rows(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.rows)
    }

    /// Of the open row group, as it will be in the file.
    fn group_bytes(&self) -> u64 {
        self.group.as_ref().map_or(0, RowGroup::encoded_bytes)
    }

    fn closed_bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Finished and not taken (but for what parquet buffers of them, less than a page of memory).
    fn waiting_bytes(&self) -> u64 {
        self.writer.inner().bytes() as u64
    }

    fn memory_bytes(&self) -> u64 {
        let group = self.group.as_ref().map_or(0, RowGroup::memory_bytes);
        let chunks = self.writer.flushed_row_groups().len() * self.writer.schema_descr().num_columns();
        group + chunks as u64 * CHUNK_METADATA_BYTES + self.writer.inner().memory_bytes() as u64
    }

    fn finished(&mut self) -> &mut Parts {
        // parquet keeps a small buffer of its own before ours.
        self.writer.flush().expect("Parts::write takes everything");
        self.writer.inner_mut()
    }
}

/// The row group being written.
struct RowGroup {
    columns: Vec<ArrowColumnWriter>,
    /// Of each of `columns`.
    pages: Vec<Arc<Mutex<ColumnPages>>>,
    rows: usize,
}

impl RowGroup {
    fn write(&mut self, schema: &SchemaRef, rows: &RecordBatch) -> Result<(), ParquetError> {
        let mut columns = self.columns.iter_mut();
        for (field, array) in schema.fields().iter().zip(rows.columns()) {
            for leaf in compute_leaves(field, array)? {
                columns.next().expect("there is a writer for each leaf of the schema").write(&leaf)?;
            }
        }
        self.rows += rows.num_rows();
        Ok(())
    }

    fn close(self, writer: &mut SerializedFileWriter<Parts>) -> Result<(), ParquetError> {
        let mut group = writer.next_row_group()?;
        for (column, pages) in self.columns.into_iter().zip(self.pages) {
            let close = column.close()?.close().clone();
            let (bytes, close) = lock(&pages).finish(close)?;
            group.append_column(&bytes, close)?;
        }
        group.close().map(|_| ())
    }

    fn memory_bytes(&self) -> u64 {
        let columns: usize = self.columns.iter().map(ArrowColumnWriter::memory_size).sum();
        (columns + self.columns.len() * COLUMN_WRITER_BYTES) as u64
    }

    fn encoded_bytes(&self) -> u64 {
        let told: usize = self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        let (mut raw, mut compressed) = (0, 0);
        for pages in &self.pages {
            let pages = lock(pages);
            raw += pages.raw_bytes();
            compressed += pages.compressed_bytes();
        }
        // parquet counts its pages before we compress them; the rest has yet to become pages.
        let waiting = told.saturating_sub(raw);
        let ratio = if raw > 0 { compressed as f64 / raw as f64 } else { 1.0 };
        compressed as u64 + (waiting as f64 * ratio) as u64
    }
}

fn zstd_level(level: i32) -> Result<ZstdLevel, EncodeError> {
    match level {
        1..=22 => ZstdLevel::try_new(level).map_err(|_| EncodeError::Level { level }),
        _ => Err(EncodeError::Level { level }),
    }
}

fn properties(plan: &ColumnPlan, schema: &SchemaRef, parquet: &SchemaDescriptor) -> WriterProperties {
    // For readers that know Arrow: types that Parquet's own say less exactly.
    let arrow = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(schema));
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("landfall {}", env!("CARGO_PKG_VERSION")))
        // `pages` compresses.
        .set_compression(Compression::UNCOMPRESSED)
        .set_key_value_metadata(Some(vec![arrow]))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_dictionary_page_size_limit(PAGE_BYTES_MAX);
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
    properties.build()
}

#[cfg(test)]
mod tests;
