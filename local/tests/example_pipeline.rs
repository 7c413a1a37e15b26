//! The generator, the example's schema and the worker's decoder say the same of every event.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::Array;
use local::canonical::Value;
use local::generator::{Fate, Generator, Message};
use local::proof::rows;
use local::stage::QUICK;
use worker::decode::DecoderFactory;
use worker::kafka::records::{Batch, OwnedRecord, Run};
use worker::kafka::{Generation, TopicPartition};
use worker::settings::{MetadataColumns, OnError, RecordSettings, Tombstones};

const EVENTS: u64 = 4_000;

fn pipeline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipeline")
}

fn decoder() -> DecoderFactory {
    let schema_file = pipeline().join("schema.sql");
    let sql = std::fs::read_to_string(&schema_file).expect("the repository has it");
    let table = worker::schema::parse(&sql).expect("the example is right");
    let settings = RecordSettings {
        schema_file,
        on_error: OnError::DeadLetter,
        tombstones: Tombstones::Skip,
        metadata: MetadataColumns::default(),
    };
    DecoderFactory::new(&table, &settings)
}

#[test]
fn every_event_becomes_the_row_or_the_dead_letter_that_was_meant() {
    let generator = Generator { seed: 11, started_ms: 1_795_343_524_000, rate: 1_000, partitions: 1 };
    let sent: Vec<Message> = (0..EVENTS)
        .flat_map(|index| {
            let (event, tombstone) = generator.messages(index);
            [Some(event), tombstone]
        })
        .flatten()
        .collect();
    let records: Vec<OwnedRecord> = sent
        .iter()
        .enumerate()
        .map(|(offset, message)| OwnedRecord {
            offset: offset as i64,
            timestamp_ms: Some(message.timestamp_ms),
            leader_epoch: None,
            key: message.key.clone(),
            value: message.value.clone(),
            headers: message.headers.clone(),
        })
        .collect();
    let partition = TopicPartition { topic: Arc::from("shop-events"), partition: 0 };
    let run = Run { partition, range: 0..records.len() };
    let batch =
        Batch { generation: Generation(1), messages: Box::new(records), runs: vec![run.clone()], bytes: 0 };
    let decoded = decoder().build().decode(&batch, &[run]).unwrap();

    let mut rows_expected = sent.iter().filter(|message| message.fate == Fate::Row);
    for row in 0..decoded.rows.num_rows() {
        let Value::Struct(mut expected) = rows_expected.next().unwrap().content.clone() else {
            panic!("a row is a struct")
        };
        // The directories are not the decoder's business.
        expected.truncate(expected.len() - 2);
        let found =
            rows::row(&decoded.rows, row, |name| !["_topic", "_partition", "_offset"].contains(&name));
        let (expected, found) = (Value::Struct(expected), Value::Struct(found));
        assert!(expected == found, "row {row}: {}", Value::first_difference(&expected, &found));
    }
    assert!(rows_expected.next().is_none());

    let raw = decoded.dead_letters.column_by_name("_value").unwrap();
    let dead: Vec<&Message> = sent.iter().filter(|message| message.fate == Fate::DeadLetter).collect();
    assert_eq!(raw.len(), dead.len());
    for (row, message) in dead.into_iter().enumerate() {
        let value = Value::Bytes(message.value.clone().unwrap());
        assert_eq!(rows::value(raw, row), value);
    }
    let filtered = sent.iter().filter(|message| message.fate == Fate::Filtered).count() as u64;
    assert_eq!(decoded.counts.iter().map(|counts| counts.filtered).sum::<u64>(), filtered);
}

#[test]
fn the_examples_settings_stand_with_and_without_what_a_local_run_sets() {
    let two = [("KAFKA_BOOTSTRAP", "localhost:9092"), ("S3_OUTPUT_PATH", "file:///lake")];
    let load = |variables: HashMap<&str, &str>| {
        worker::settings::load(&pipeline(), &|name| variables.get(name).map(|value| (*value).to_owned()), &[])
    };
    let plain = load(two.into()).unwrap();
    assert_eq!((plain.name.as_str(), plain.output.age_max), ("shop-events", Duration::from_secs(300)));
    let quick = load(two.into_iter().chain(QUICK).collect()).unwrap();
    assert!(quick.output.age_max < Duration::from_secs(10));
    assert!(quick.kafka.session_timeout < Duration::from_secs(10));
    assert_eq!(quick.kafka.topics, plain.kafka.topics);
}
