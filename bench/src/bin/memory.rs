//! What 64 open files cost in memory, beside what `FileWriter::memory_bytes` tells.
//!
//! Ten times the budget flows through; the largest file sheds its row group when the budget is passed, and when
//! that gives nothing back all files are finished, as the worker does.

use std::sync::Arc;

use anyhow::Result;
use bench::clock::{machine, resident_bytes};
use bench::events::{Events, SCHEMA_SQL};
use bench::source::batches;
use clap::Parser;
use worker::decode::DecoderFactory;
use worker::encode::{EncodeOptions, FileWriter};
use worker::settings::{MetadataColumns, OnError, RecordSettings, Tombstones};

const PART_BYTES: usize = 5 * 1024 * 1024;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 64)]
    files: usize,
    /// Megabytes that the open files together may hold.
    #[arg(long, default_value_t = 256)]
    budget: u64,
    /// How many times the budget, as JSON, flows through.
    #[arg(long, default_value_t = 10)]
    times: u64,
}

struct Open {
    writers: Vec<FileWriter>,
    flushes: u64,
    sheds: u64,
    parts: u64,
    bytes: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let budget = args.budget * 1_000_000;
    let events = Arc::new(Events::generate(65_536, 7));
    let table = worker::schema::parse(SCHEMA_SQL)?;
    let settings = RecordSettings {
        schema_file: "schema.sql".into(),
        on_error: OnError::DeadLetter,
        tombstones: Tombstones::Skip,
        metadata: MetadataColumns::default(),
    };
    let factory = DecoderFactory::new(&table, &settings);
    let mut decoder = factory.build();
    let batches = batches(&events, 8192);
    let options = EncodeOptions { part_bytes: PART_BYTES, ..EncodeOptions::default() };
    let create = || FileWriter::new(factory.output_schema().clone(), &options);
    // What decoding takes is not the files'.
    let warm = decoder.decode(&batches[0], &batches[0].runs)?;
    drop(warm);

    let before = resident_bytes();
    let mut open = Open { writers: Vec::new(), flushes: 0, sheds: 0, parts: 0, bytes: 0 };
    for _ in 0..args.files {
        open.writers.push(create()?);
    }
    let (mut fed, mut told_most, mut grown_most, mut shown, mut turn) = (0, 0, 0, 0, 0);
    'all: loop {
        // Each file meets other events every time, or they would compress as no data does.
        turn += 1;
        for batch in &batches {
            let rows = decoder.decode(batch, &batch.runs)?.rows;
            let slice = rows.num_rows().div_ceil(args.files);
            for (index, writer) in open.writers.iter_mut().enumerate() {
                let start = ((index + turn) % args.files * slice).min(rows.num_rows());
                writer.write(&rows.slice(start, slice.min(rows.num_rows() - start)))?;
            }
            drop(rows);
            fed += batch.bytes;
            let told = told(&open);
            let grown = resident_bytes().saturating_sub(before);
            told_most = told_most.max(told);
            grown_most = grown_most.max(grown);
            if fed * 20 / (budget * args.times) > shown {
                shown += 1;
                println!(
                    "{:6} MB in: told {:4} MB, grown {:4} MB, {:.2}; {} shed, {} flushed",
                    fed / 1_000_000,
                    told / 1_000_000,
                    grown / 1_000_000,
                    grown as f64 / told as f64,
                    open.sheds,
                    open.flushes
                );
            }
            keep_within(&mut open, budget, &create)?;
            if fed >= budget * args.times {
                break 'all;
            }
        }
    }
    println!(
        "{}: {} files, budget {} MB, {} MB in, {} MB out in {} parts: told at most {} MB, grown at most {} MB, \
         {:.2}; {} shed, {} flushed",
        machine(),
        args.files,
        args.budget,
        fed / 1_000_000,
        open.bytes / 1_000_000,
        open.parts,
        told_most / 1_000_000,
        grown_most / 1_000_000,
        grown_most as f64 / told_most as f64,
        open.sheds,
        open.flushes
    );
    Ok(())
}

fn told(open: &Open) -> u64 {
    open.writers.iter().map(FileWriter::memory_bytes).sum()
}

fn keep_within(
    open: &mut Open,
    budget: u64,
    create: &impl Fn() -> Result<FileWriter, worker::encode::EncodeError>,
) -> Result<()> {
    while told(open) > budget {
        let largest = open.writers.iter_mut().max_by_key(|writer| writer.memory_bytes());
        let Some(largest) = largest.filter(|writer| writer.encoded_bytes() >= PART_BYTES as u64) else {
            break;
        };
        largest.close_row_group()?;
        let parts = largest.take_parts(PART_BYTES);
        if parts.is_empty() {
            break;
        }
        open.sheds += 1;
        open.parts += parts.len() as u64;
        open.bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
    }
    if told(open) > budget {
        open.flushes += 1;
        for writer in &mut open.writers {
            let finished = std::mem::replace(writer, create()?).finish(Vec::new())?;
            open.parts += finished.parts.len() as u64;
            open.bytes += finished.parts.iter().map(|part| part.len() as u64).sum::<u64>();
        }
    }
    Ok(())
}
