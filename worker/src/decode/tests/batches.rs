use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::ArrowError;

use super::table;
use crate::decode::{
    BatchDecoder, DecodeError, DecodeFailure, Decoded, DecoderFactory, RowDecoder, RunCounts, dead_letter,
};
use crate::kafka::records::{Batch, OwnedRecord, Run};
use crate::kafka::{Generation, TopicPartition};
use crate::settings::{MetadataColumns, OnError, RecordSettings, Tombstones};

const ALL: MetadataColumns =
    MetadataColumns { topic: true, partition: true, offset: true, timestamp: true, key: true, headers: true };

fn settings() -> RecordSettings {
    RecordSettings {
        schema_file: "schema.sql".into(),
        on_error: OnError::DeadLetter,
        tombstones: Tombstones::Skip,
        metadata: ALL,
    }
}

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn record(offset: i64, value: Option<&str>) -> OwnedRecord {
    OwnedRecord {
        offset,
        timestamp_ms: Some(offset * 1_000),
        leader_epoch: Some(1),
        key: (offset % 2 == 0).then(|| format!("k{offset}").into_bytes()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: (0..offset % 3).map(|n| ("h".to_owned(), (n == 0).then(|| b"v".to_vec()))).collect(),
    }
}

fn batch(records: Vec<OwnedRecord>, runs: Vec<(TopicPartition, usize)>) -> Batch {
    let mut start = 0;
    let runs = runs
        .into_iter()
        .map(|(partition, len)| {
            start += len;
            Run { partition, range: start - len..start }
        })
        .collect();
    Batch { generation: Generation::default(), bytes: 0, messages: Box::new(records), runs }
}

fn decoder(settings: &RecordSettings) -> BatchDecoder {
    DecoderFactory::new(&table("id bigint NOT NULL, name string"), settings).build()
}

/// Two partitions of two topics; a row, a tombstone and a record that does not fit in each.
fn mixed() -> Batch {
    let records = vec![
        record(5, Some(r#"{"id":1,"name":"a"}"#)),
        record(6, None),
        record(7, Some(r#"{"id":"x"}"#)),
        record(100, Some("nonsense")),
        record(101, None),
        record(103, Some(r#"{"name":"b","id":2}"#)),
    ];
    batch(records, vec![(partition("shop", 0), 3), (partition("web", 7), 3)])
}

#[test]
fn every_record_becomes_a_row_or_is_filtered_or_a_dead_letter() {
    let batch = mixed();
    let Decoded { rows, dead_letters, counts } =
        decoder(&settings()).decode(&batch, &batch.runs).expect("nothing stops it");
    let count = |topic, number| RunCounts {
        partition: partition(topic, number),
        written: 1,
        filtered: 1,
        dead_lettered: 1,
    };
    assert_eq!(counts, [count("shop", 0), count("web", 7)]);
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
    let topics = rows.column_by_name("_topic").expect("there").as_string::<i32>();
    assert_eq!((topics.value(0), topics.value(1)), ("shop", "web"));
    assert_eq!(
        rows.column_by_name("_partition").expect("there").as_primitive::<Int32Type>().values(),
        &[0, 7]
    );
    assert_eq!(
        rows.column_by_name("_offset").expect("there").as_primitive::<Int64Type>().values(),
        &[5, 103]
    );
    let times = rows.column_by_name("_timestamp").expect("there").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[5_000_000, 103_000_000]);
    assert_eq!(rows.column_by_name("_key").expect("there").null_count(), 2);
    let headers = rows.column_by_name("_headers").expect("there").as_list::<i32>();
    assert_eq!((headers.value_length(0), headers.value_length(1)), (2, 1));
    let first = headers.value(0);
    assert_eq!(first.as_struct().column(1).as_binary::<i32>().value(0), b"v");
    assert!(first.as_struct().column(1).is_null(1));

    assert_eq!(dead_letters.schema(), dead_letter::schema());
    let text = |name: &str| dead_letters.column_by_name(name).expect("there").as_string::<i32>().clone();
    let values = dead_letters.column_by_name("_value").expect("there").as_binary::<i32>();
    assert_eq!((values.value(0), values.value(1)), (&br#"{"id":"x"}"#[..], &b"nonsense"[..]));
    assert_eq!(text("error").value(0), "found a string, expected bigint");
    assert_eq!(text("error_column").value(0), "id");
    assert_eq!(text("error").value(1), "not a JSON object");
    assert!(text("error_column").is_null(1));
    let offsets = dead_letters.column_by_name("_offset").expect("there").as_primitive::<Int64Type>();
    assert_eq!(offsets.values(), &[7, 100]);
}

#[test]
fn only_the_runs_that_are_passed_are_decoded() {
    let batch = mixed();
    let mut decoder = decoder(&settings());
    let decoded = decoder.decode(&batch, &batch.runs[1..]).expect("nothing stops it");
    assert_eq!(decoded.counts.len(), 1);
    assert_eq!((decoded.rows.num_rows(), decoded.dead_letters.num_rows()), (1, 1));
    let nothing = decoder.decode(&batch, &[]).expect("nothing stops it");
    assert_eq!((nothing.rows.num_rows(), nothing.dead_letters.num_rows()), (0, 0));
    assert!(decoded.memory_bytes() > nothing.memory_bytes());
}

#[test]
fn without_metadata_there_are_only_the_declared_columns() {
    let none = MetadataColumns {
        topic: false,
        partition: false,
        offset: false,
        timestamp: false,
        key: false,
        headers: false,
    };
    let batch = mixed();
    let settings = RecordSettings { metadata: none, ..settings() };
    let decoded = decoder(&settings).decode(&batch, &batch.runs).expect("nothing stops it");
    assert_eq!(decoded.rows.num_columns(), 2);
    assert_eq!(decoded.rows.num_rows(), 2);
}

#[test]
fn tombstones_become_dead_letters_where_they_are_asked_for_and_never_stop_the_stream() {
    let settings =
        RecordSettings { tombstones: Tombstones::DeadLetter, on_error: OnError::Fail, ..settings() };
    let batch = batch(vec![record(0, None), record(1, Some(r#"{"id":1}"#))], vec![(partition("shop", 0), 2)]);
    let decoded = decoder(&settings).decode(&batch, &batch.runs).expect("nothing stops it");
    assert_eq!(decoded.counts[0].dead_lettered, 1);
    assert!(decoded.dead_letters.column_by_name("_value").expect("there").is_null(0));
}

#[test]
fn on_error_fail_names_the_record_and_leaves_nothing_behind() {
    let settings = RecordSettings { on_error: OnError::Fail, ..settings() };
    let mut decoder = decoder(&settings);
    let wrong = mixed();
    let failure = decoder.decode(&wrong, &wrong.runs).expect_err("the third record is wrong");
    let DecodeFailure::Unfit { partition: at, offset, column, .. } = &failure else { panic!("{failure:?}") };
    assert_eq!((at, *offset, column.as_deref()), (&partition("shop", 0), 7, Some("id")));
    assert_eq!(
        failure.to_string(),
        "decode offset 7 of shop[0]: column `id`: found a string, expected bigint (records.on_error = \
         \"dead-letter\" would set it aside)"
    );
    let good = batch(vec![record(9, Some(r#"{"id":9}"#))], vec![(partition("shop", 0), 1)]);
    let decoded = decoder.decode(&good, &good.runs).expect("this one is right");
    assert_eq!(decoded.rows.column(0).as_primitive::<Int64Type>().values(), &[9]);
    assert_eq!(decoded.rows.column_by_name("_offset").expect("there").len(), 1);
}

#[test]
fn a_timestamp_that_no_file_can_hold_makes_a_dead_letter_where_it_would_be_a_column() {
    let mut wrong = record(1, Some(r#"{"id":1}"#));
    wrong.timestamp_ms = Some(i64::MAX);
    let mut without = record(2, Some(r#"{"id":2}"#));
    without.timestamp_ms = None;
    let batch = batch(vec![wrong, without], vec![(partition("shop", 0), 2)]);
    let decoded = decoder(&settings()).decode(&batch, &batch.runs).expect("nothing stops it");
    assert_eq!((decoded.counts[0].written, decoded.counts[0].dead_lettered), (1, 1));
    assert!(decoded.rows.column_by_name("_timestamp").expect("there").is_null(0));
    assert!(decoded.dead_letters.column_by_name("_timestamp").expect("there").is_null(0));
    let unasked = RecordSettings { metadata: MetadataColumns { timestamp: false, ..ALL }, ..settings() };
    let decoded = decoder(&unasked).decode(&batch, &batch.runs).expect("nothing stops it");
    assert_eq!(decoded.counts[0].written, 2);
}

/// Takes two rows, then says that it is full, once.
struct Small {
    rows: usize,
    full: bool,
}

impl RowDecoder for Small {
    fn decode(&mut self, _: &[u8]) -> Result<(), DecodeError> {
        if self.rows == 2 && !self.full {
            self.full = true;
            return Err(DecodeError::Full);
        }
        self.rows += 1;
        Ok(())
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let ids = arrow_array::Int64Array::from(vec![0; self.rows]);
        let names = arrow_array::StringArray::from(vec![None::<&str>; self.rows]);
        self.rows = 0;
        Ok(vec![Arc::new(ids), Arc::new(names)])
    }
}

#[test]
fn a_batch_that_is_too_large_is_a_failure_and_no_dead_letter() {
    let factory = DecoderFactory::new(&table("id bigint NOT NULL, name string"), &settings());
    let mut decoder = factory.build_with(Box::new(Small { rows: 0, full: false }));
    let records = (0..4).map(|offset| record(offset, Some("{}"))).collect();
    let batch = batch(records, vec![(partition("shop", 0), 4)]);
    let failure = decoder.decode(&batch, &batch.runs).expect_err("it is full");
    assert!(matches!(failure, DecodeFailure::TooLarge { offset: 2, .. }), "{failure:?}");
    let again = decoder.decode(&batch, &batch.runs).expect("no longer full");
    assert_eq!(again.rows.num_rows(), 4);
    assert_eq!(again.rows.schema(), *factory.output_schema());
}

#[test]
fn threads_decode_with_their_own_decoders_of_one_factory() {
    let factory = DecoderFactory::new(&table("id bigint NOT NULL, name string"), &settings());
    let batch = mixed();
    let run = |index: usize| -> RecordBatch {
        factory.build().decode(&batch, &batch.runs[index..=index]).expect("nothing stops it").rows
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|index| scope.spawn(move || run(index))).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("no panic").num_rows(), 1);
        }
    });
    let mut moved = factory.build();
    std::thread::spawn(move || moved.decode(&mixed(), &[])).join().expect("no panic").expect("nothing to do");
}
