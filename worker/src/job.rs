//! Job: settings and schema together, checked against each other: all that is known before anything is reached.
//!
//! Neighbours: settings and schema before it; run and check build their rooms from it. Pure but for reading the schema
//! file.

use std::fs;
use std::sync::Mutex;

use crate::batch::files::FileOptions;
use crate::batch::route::PartitionSpec;
use crate::decode::{BatchDecoder, DecodeFailure, Decoded, DecoderFactory, dead_letter};
use crate::encode::EncodeOptions;
use crate::kafka::records::{Batch, Run};
use crate::pipeline::Decode;
use crate::schema::{self, TableSchema};
use crate::settings::fault::{Fault, Source};
use crate::settings::{Faults, Settings, partition_faults};

/// A job whose settings and schema fit together.
pub struct Job {
    pub settings: Settings,
    pub table: TableSchema,
    pub decoders: DecoderFactory,
    pub spec: PartitionSpec,
}

impl Job {
    /// Reads the schema beside the settings and checks that the two fit. Every fault is told.
    pub fn new(settings: Settings) -> Result<Job, Faults> {
        let table = read_schema(&settings)?;
        let decoders = DecoderFactory::new(&table, &settings.records);
        let rows = decoders.output_schema();
        let faults = partition_faults(&settings, rows);
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        let spec = PartitionSpec::new(&settings.output.partition_by, rows).map_err(|errors| {
            let fault = |error: &dyn std::error::Error| {
                let right = "name columns of the schema, or `_timestamp`";
                settings.origin.fault("output.partition_by", crate::chain(error).to_string(), right)
            };
            Faults(errors.iter().map(|error| fault(error)).collect())
        })?;
        Ok(Job { settings, table, decoders, spec })
    }

    /// How open files are made.
    pub fn file_options(&self) -> FileOptions {
        let output = &self.settings.output;
        let encode = || EncodeOptions {
            row_group_bytes: output.row_group_bytes,
            zstd_level: output.zstd_level,
            ..EncodeOptions::default()
        };
        FileOptions {
            spec: self.spec.clone(),
            data_schema: self.spec.file_schema().clone(),
            data: encode(),
            dead_letter_schema: dead_letter::schema(),
            dead_letters: encode(),
        }
    }
}

fn read_schema(settings: &Settings) -> Result<TableSchema, Faults> {
    let file = &settings.records.schema_file;
    let text = fs::read_to_string(file).map_err(|error| {
        let wrong = format!("cannot read `{}`: {error}", file.display());
        let right = "a file with one CREATE TABLE statement, beside pipeline.toml";
        Faults(vec![settings.origin.fault("records.schema", wrong, right)])
    })?;
    schema::parse(&text).map_err(|error| {
        let source = Source { file: file.clone(), text };
        Faults(error.faults.iter().map(|fault| schema_fault(&source, fault)).collect())
    })
}

/// A fault of the schema, shown as those of the settings are.
fn schema_fault(source: &Source, fault: &schema::Fault) -> Fault {
    let line_start = source
        .text
        .match_indices('\n')
        .map(|(at, _)| at + 1)
        .nth((fault.line as usize).wrapping_sub(2))
        .unwrap_or(0);
    let into_line = source.text[line_start..].char_indices().nth((fault.column as usize).saturating_sub(1));
    let at = into_line.map_or(source.text.len(), |(bytes, _)| line_start + bytes);
    Fault {
        file: source.file.clone(),
        place: Some(source.place(at..at)),
        wrong: fault.what.clone(),
        right: String::new(),
    }
}

/// Decoders for any number of threads: one is taken for a batch and put back after.
pub struct DecoderPool {
    factory: DecoderFactory,
    idle: Mutex<Vec<BatchDecoder>>,
}

impl DecoderPool {
    pub fn new(factory: DecoderFactory) -> DecoderPool {
        DecoderPool { factory, idle: Mutex::default() }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<BatchDecoder>> {
        // A decoder is put back whole or not at all.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Decode for DecoderPool {
    fn decode(&self, batch: &Batch, runs: &[Run]) -> Result<Decoded, DecodeFailure> {
        let taken = self.idle().pop();
        let mut decoder = taken.unwrap_or_else(|| self.factory.build());
        let decoded = decoder.decode(batch, runs)?;
        self.idle().push(decoder);
        Ok(decoded)
    }
}
