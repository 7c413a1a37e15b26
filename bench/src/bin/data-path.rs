//! JSON bytes to Parquet bytes, in memory, on one core: plain arrow-json and parquet beside Landfall's path.
//!
//! Both read the same events in the same run, in turns; what they wrote is read back and compared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use bench::clock::{Stopwatch, machine};
use bench::events::{Events, SCHEMA_SQL};
use bench::source::batches;
use bytes::Bytes;
use clap::Parser;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use worker::batch::route::PartitionSpec;
use worker::decode::DecoderFactory;
use worker::encode::{EncodeOptions, FileWriter};
use worker::kafka::records::Batch;
use worker::schema::TableSchema;
use worker::settings::{
    MetadataColumns, OnError, PartitionField, PartitionTransform, RecordSettings, Tombstones,
};

/// The part size that the worker uploads with.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Every so many rows are compared by value.
const SAMPLE_EVERY: usize = 997;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 500_000)]
    records: usize,
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Times that each way runs, in turns.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Records of a batch taken from Kafka.
    #[arg(long, default_value_t = 4096)]
    batch: usize,
    /// Fails when Landfall's median is not at least this many times plain's.
    #[arg(long, default_value_t = 0.0)]
    bar: f64,
    /// Only Landfall's path, for a profiler.
    #[arg(long)]
    only_landfall: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let events = Arc::new(Events::generate(args.records, args.seed));
    let megabytes = events.bytes.len() as f64 / 1e6;
    println!(
        "{}: {} records, {} bytes each",
        machine(),
        events.len(),
        events.bytes.len() / events.len().max(1)
    );
    let table = worker::schema::parse(SCHEMA_SQL)?;
    let batches = batches(&events, args.batch.max(1));

    let (mut plain, mut landfall) = (Speeds::default(), Speeds::default());
    let mut stages = Stages::default();
    for run in 0..args.runs.max(1) {
        let theirs = if args.only_landfall {
            None
        } else {
            let watch = Stopwatch::start();
            let file = run_plain(&events, &table)?;
            plain.add(&watch, megabytes);
            Some(file)
        };
        let watch = Stopwatch::start();
        let ours = run_landfall(&batches, &table, &mut stages)?;
        landfall.add(&watch, megabytes);
        if let (0, Some(theirs)) = (run, theirs) {
            println!(
                "plain {} bytes in 1 file, Landfall {} in {}",
                theirs.len(),
                bytes_of(&ours),
                ours.len()
            );
            compare(theirs, ours)?;
        }
    }
    landfall.print("Landfall: page index, metadata columns, Hive partitions");
    stages.print(events.len() * args.runs.max(1));
    if !args.only_landfall {
        plain.print("plain: arrow-json, parquet with zstd(1), else its defaults");
        let (cpu, wall) =
            (landfall.cpu_median() / plain.cpu_median(), landfall.wall_median() / plain.wall_median());
        println!("ratio of medians: {cpu:.2} by CPU time, {wall:.2} by the wall's");
        ensure!(cpu >= args.bar, "{cpu:.2} is below the bar of {}", args.bar);
    }
    Ok(())
}

/// Megabytes of JSON a second, one for each run.
#[derive(Default)]
struct Speeds {
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

impl Speeds {
    fn add(&mut self, watch: &Stopwatch, megabytes: f64) {
        self.cpu.push(megabytes / watch.cpu().as_secs_f64());
        self.wall.push(megabytes / watch.wall().as_secs_f64());
        self.cpu.sort_by(f64::total_cmp);
        self.wall.sort_by(f64::total_cmp);
    }

    fn cpu_median(&self) -> f64 {
        self.cpu[self.cpu.len() / 2]
    }

    fn wall_median(&self) -> f64 {
        self.wall[self.wall.len() / 2]
    }

    fn print(&self, name: &str) {
        let line =
            |all: &[f64]| format!("{:4.0} / {:4.0} / {:4.0}", all[0], all[all.len() / 2], all[all.len() - 1]);
        println!(
            "{name}\n  MB/s min / median / max: {} by CPU time, {} by the wall's",
            line(&self.cpu),
            line(&self.wall)
        );
    }
}

/// Where Landfall's time goes, by the wall's clock, over all runs.
#[derive(Default)]
struct Stages {
    decode: Duration,
    route: Duration,
    encode: Duration,
}

impl Stages {
    fn print(&self, records: usize) {
        let each = |stage: Duration| stage.as_nanos() / records.max(1) as u128;
        let (decode, route, encode) = (each(self.decode), each(self.route), each(self.encode));
        println!("  ns a record: decode {decode}, route {route}, encode {encode}");
    }
}

fn run_plain(events: &Events, table: &TableSchema) -> Result<Bytes> {
    let schema = plain_schema(&table.arrow);
    let level = ZstdLevel::try_new(1)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?;
    let mut decoder = arrow_json::ReaderBuilder::new(schema).with_batch_size(8192).build_decoder()?;
    let mut rest = &events.bytes[..];
    loop {
        rest = &rest[decoder.decode(rest)?..];
        let Some(rows) = decoder.flush()? else { break };
        writer.write(&rows)?;
    }
    Ok(writer.into_inner()?.into())
}

/// arrow-json takes a number as the column's own unit.
fn plain_schema(table: &SchemaRef) -> SchemaRef {
    let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
    let fields: Fields = table
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "received_at" => Arc::new(Field::new("received_at", milliseconds.clone(), true)),
            _ => field.clone(),
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn run_landfall(batches: &[Batch], table: &TableSchema, stages: &mut Stages) -> Result<Vec<Bytes>> {
    let settings = RecordSettings {
        schema_file: "schema.sql".into(),
        on_error: OnError::DeadLetter,
        tombstones: Tombstones::Skip,
        metadata: MetadataColumns::default(),
    };
    let factory = DecoderFactory::new(table, &settings);
    let mut decoder = factory.build();
    let by = |name: &str, transform| PartitionField {
        name: name.into(),
        column: vec!["event_time".into()],
        transform,
    };
    let fields = [by("dt", PartitionTransform::Date), by("hour", PartitionTransform::Hour)];
    let spec = PartitionSpec::new(&fields, factory.output_schema()).map_err(|mut faults| faults.remove(0))?;
    let options = EncodeOptions { part_bytes: PART_BYTES, ..EncodeOptions::default() };
    let mut open: BTreeMap<_, (FileWriter, Vec<Bytes>)> = BTreeMap::new();
    for batch in batches {
        let watch = Stopwatch::start();
        let decoded = decoder.decode(batch, &batch.runs)?;
        stages.decode += watch.wall();
        ensure!(decoded.dead_letters.num_rows() == 0, "every event fits its schema");
        let watch = Stopwatch::start();
        let routed = spec.route(&decoded.rows)?;
        stages.route += watch.wall();
        let watch = Stopwatch::start();
        for (path, rows) in routed {
            let (writer, parts) = match open.entry(path) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert((FileWriter::new(spec.file_schema().clone(), &options)?, Vec::new()))
                }
            };
            writer.write(&rows)?;
            parts.extend(writer.take_parts(PART_BYTES));
        }
        stages.encode += watch.wall();
    }
    let watch = Stopwatch::start();
    let finish = |(writer, mut parts): (FileWriter, Vec<Bytes>)| {
        parts.extend(writer.finish(Vec::new())?.parts);
        Ok(parts.concat().into())
    };
    let files = open.into_values().map(finish).collect();
    stages.encode += watch.wall();
    files
}

fn bytes_of(files: &[Bytes]) -> usize {
    files.iter().map(Bytes::len).sum()
}

/// Counts all rows; compares the values of some, found by `sequence`.
fn compare(theirs: Bytes, ours: Vec<Bytes>) -> Result<()> {
    let theirs = read(vec![theirs])?;
    let ours = read(ours)?;
    ensure!(theirs.num_rows() == ours.num_rows(), "{} rows, not {}", ours.num_rows(), theirs.num_rows());
    let sequence = |rows: &RecordBatch| -> Result<BTreeMap<i64, u32>> {
        let column = rows.column_by_name("sequence").context("find `sequence`")?;
        Ok(column.as_primitive::<Int64Type>().values().iter().copied().zip(0..).collect())
    };
    let (place, mine) = (sequence(&theirs)?, sequence(&ours)?);
    ensure!(place.keys().eq(mine.keys()), "the same events");
    let wanted: Vec<i64> = place.keys().copied().step_by(SAMPLE_EVERY).collect();
    let pick = |rows: &RecordBatch, places: &BTreeMap<i64, u32>| {
        take_record_batch(rows, &UInt32Array::from_iter_values(wanted.iter().map(|key| places[key])))
    };
    let (theirs, ours) = (pick(&theirs, &place)?, pick(&ours, &mine)?);
    for (field, column) in theirs.schema().fields().iter().zip(theirs.columns()) {
        let other = ours.column_by_name(field.name()).with_context(|| format!("find `{}`", field.name()))?;
        let column = cast(column, other.data_type())?;
        ensure!(&column == other, "`{}` differs", field.name());
    }
    println!("both hold {} rows; {} of them compared, value by value", place.len(), wanted.len());
    Ok(())
}

fn read(files: Vec<Bytes>) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    for file in files {
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
            batches.push(batch?);
        }
    }
    let schema = batches.first().context("read at least one row")?.schema();
    Ok(concat_batches(&schema, &batches)?)
}
