//! Files: what is open, one file a Hive directory and one for dead letters; rows of many partitions share a file.
//!
//! Order: rows go in, finished parts come out in the file's order; sealing finishes all files at once.
//! Neighbours: decode before it, encode inside it, sink after it.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use ledger::entry::{DATA_PREFIX, DEAD_LETTER_PREFIX, Role};
use ledger::store::PART_BYTES_MIN;
use uuid::Uuid;

use crate::batch::route::{PartitionError, PartitionSpec};
use crate::encode::{EncodeError, EncodeOptions, FileWriter};

/// Why rows did not get into their files. A bug: specification and schema were checked before.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("route rows to their directories")]
    Route(#[from] PartitionError),
    #[error("encode rows")]
    Encode(#[from] EncodeError),
}

/// A part of an unfinished file, ready to be uploaded.
#[derive(Debug)]
pub struct PartOut {
    pub key: String,
    pub bytes: Bytes,
}

/// A sealed file: the parts that were not taken before.
#[derive(Debug)]
pub struct SealedFile {
    pub key: String,
    pub role: Role,
    pub parts: Vec<Bytes>,
    pub rows: u64,
    pub bytes: u64,
}

struct OpenFile {
    key: String,
    role: Role,
    writer: FileWriter,
}

/// How files are opened.
pub struct FileOptions {
    pub spec: PartitionSpec,
    pub data_schema: SchemaRef,
    pub data: EncodeOptions,
    pub dead_letter_schema: SchemaRef,
    pub dead_letters: EncodeOptions,
}

/// Everything that is open.
pub struct OpenFiles {
    options: FileOptions,
    /// By directory under the output prefix.
    open: BTreeMap<String, OpenFile>,
}

impl OpenFiles {
    pub fn new(options: FileOptions) -> OpenFiles {
        OpenFiles { options, open: BTreeMap::new() }
    }

    /// Adds rows to the files of their directories, and dead letters to theirs. Returns parts that became ready.
    /// `new_id` makes a UUID v7 for each new file; keys are never used twice.
    pub fn write(
        &mut self,
        rows: &RecordBatch,
        dead_letters: &RecordBatch,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> Result<Vec<PartOut>, FilesError> {
        let mut ready = Vec::new();
        for (path, rows) in self.options.spec.route(rows)? {
            let directory = match path.as_str() {
                "" => DATA_PREFIX.to_owned(),
                path => format!("{DATA_PREFIX}{path}/"),
            };
            self.write_to(directory, Role::Data, &rows, new_id, &mut ready)?;
        }
        if dead_letters.num_rows() > 0 {
            self.write_to(
                DEAD_LETTER_PREFIX.to_owned(),
                Role::DeadLetters,
                dead_letters,
                new_id,
                &mut ready,
            )?;
        }
        Ok(ready)
    }

    fn write_to(
        &mut self,
        directory: String,
        role: Role,
        rows: &RecordBatch,
        new_id: &mut dyn FnMut() -> Uuid,
        ready: &mut Vec<PartOut>,
    ) -> Result<(), FilesError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if !self.open.contains_key(&directory) {
            let (schema, options) = match role {
                Role::Data => (&self.options.data_schema, &self.options.data),
                Role::DeadLetters => (&self.options.dead_letter_schema, &self.options.dead_letters),
            };
            let key = format!("{directory}{}.parquet", new_id());
            let writer = FileWriter::new(schema.clone(), options)?;
            self.open.insert(directory.clone(), OpenFile { key, role, writer });
        }
        let file = self.open.get_mut(&directory).expect("inserted above");
        file.writer.write(rows)?;
        take_parts(file, ready);
        Ok(())
    }

    /// Frees memory where a file has a whole part to give. Returns the parts.
    pub fn shed(&mut self) -> Result<Vec<PartOut>, FilesError> {
        let mut ready = Vec::new();
        for file in self.open.values_mut() {
            if file.writer.memory_bytes() >= PART_BYTES_MIN as u64 {
                file.writer.close_row_group()?;
                take_parts(file, &mut ready);
            }
        }
        Ok(ready)
    }

    /// Finishes every file, for one entry. `metadata` goes into each footer.
    pub fn seal(&mut self, metadata: &[(String, String)]) -> Result<Vec<SealedFile>, FilesError> {
        std::mem::take(&mut self.open)
            .into_values()
            .map(|OpenFile { key, role, writer }| {
                let finished = writer.finish(metadata.to_vec())?;
                Ok(SealedFile {
                    key,
                    role,
                    parts: finished.parts,
                    rows: finished.rows,
                    bytes: finished.bytes,
                })
            })
            .collect()
    }

    /// Forgets everything that is open.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Bytes that the open files hold now.
    pub fn memory_bytes(&self) -> u64 {
        self.open.values().map(|file| file.writer.memory_bytes()).sum()
    }

    /// The largest open file, encoded.
    pub fn largest_file_bytes(&self) -> u64 {
        self.open.values().map(|file| file.writer.encoded_bytes()).max().unwrap_or_default()
    }
}

fn take_parts(file: &mut OpenFile, ready: &mut Vec<PartOut>) {
    let parts = file.writer.take_parts(PART_BYTES_MIN);
    ready.extend(parts.into_iter().map(|bytes| PartOut { key: file.key.clone(), bytes }));
}
