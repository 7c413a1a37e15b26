//! A small lake, written as the worker would, then broken in every way that a proof must see.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields};
use parquet::arrow::ArrowWriter;

use super::*;
use crate::generator;

const TOPIC: &str = "shop-events";
const SENT_MS: i64 = 1_000;

/// One record: partition, offset, and what it says.
type Small = (i32, i64, &'static str);

fn row_content(text: &str) -> Value {
    generator::row(Value::record([("name", Value::text(text))]), SENT_MS, 0)
}

fn dead_content(text: &str) -> Value {
    generator::dead_letter(None, Some(text.as_bytes()), &[], SENT_MS)
}

fn book() -> Book {
    let mut book = Book::default();
    let mut send = |partition, offset, fate, content: Value| {
        let content = content.content_hash();
        book.delivered(partition, offset, Sent { index: offset as u64, fate, content, log_bytes: 1 });
    };
    send(0, 0, Fate::Row, row_content("a"));
    send(0, 1, Fate::Row, row_content("b"));
    send(0, 2, Fate::DeadLetter, dead_content("{"));
    send(1, 0, Fate::Row, row_content("c"));
    send(1, 1, Fate::Filtered, Value::Null);
    book
}

const ROWS: [Small; 3] = [(0, 0, "a"), (0, 1, "b"), (1, 0, "c")];
const DEAD: [Small; 1] = [(0, 2, "{")];

fn identity(records: &[Small]) -> Vec<(&'static str, ArrayRef)> {
    let topics = StringArray::from(vec![TOPIC; records.len()]);
    let times = TimestampMicrosecondArray::from(vec![SENT_MS * 1000; records.len()]).with_timezone("+00:00");
    vec![
        ("_topic", Arc::new(topics)),
        ("_partition", Arc::new(Int32Array::from_iter_values(records.iter().map(|r| r.0)))),
        ("_offset", Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.1)))),
        ("_timestamp", Arc::new(times)),
    ]
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn write_rows(root: &Path, file: &str, records: &[Small]) {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(records.iter().map(|r| r.2)));
    let columns = std::iter::once(("name", names)).chain(identity(records)).collect();
    write(&root.join("data").join(file), columns);
}

fn write_dead_letters(root: &Path, file: &str, records: &[Small]) {
    let pair = Fields::from(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ]);
    let no_headers = ListArray::new(
        Arc::new(Field::new("element", DataType::Struct(pair.clone()), false)),
        OffsetBuffer::from_lengths(vec![0; records.len()]),
        Arc::new(StructArray::new_null(pair, 0)),
        None,
    );
    let mut columns = identity(records);
    columns.push(("_key", Arc::new(BinaryArray::from(vec![None; records.len()]))));
    columns.push(("_value", Arc::new(BinaryArray::from_iter_values(records.iter().map(|r| r.2.as_bytes())))));
    columns.push(("_headers", Arc::new(no_headers)));
    columns.push(("error", Arc::new(StringArray::from(vec!["no JSON"; records.len()]))));
    write(&root.join("_landfall/dead-letters").join(file), columns);
}

const DIRECTORY: &str = "dt=1970-01-01/hour=00";

/// Writes a lake of these records and proves it against [`book`].
fn proven(rows: &[Small], dead: &[Small]) -> Report {
    let root = tempfile::tempdir().unwrap();
    write_rows(root.path(), &format!("{DIRECTORY}/1.parquet"), &rows[..1]);
    if rows.len() > 1 {
        write_rows(root.path(), &format!("{DIRECTORY}/2.parquet"), &rows[1..]);
    }
    if !dead.is_empty() {
        write_dead_letters(root.path(), "1.parquet", dead);
    }
    check(root.path())
}

fn check(root: &Path) -> Report {
    let book = book();
    let content =
        |sent: &Sent| if sent.fate == Fate::Row { row_content("sent") } else { dead_content("sent") };
    prove(root, &Expected { topic: TOPIC, book: &book, content: &content }).unwrap()
}

#[test]
fn a_lake_that_holds_what_was_sent_is_proven() {
    let report = proven(&ROWS, &DEAD);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!((report.in_parquet, report.dead_lettered, report.data_files), (3, 1, 2));
}

#[test]
fn a_row_or_a_dead_letter_that_is_missing_is_lost() {
    let report = proven(&ROWS[..2], &DEAD);
    assert_eq!((report.lost, report.is_proven()), (1, false));
    assert!(report.findings[0].contains("shop-events[1]@0"), "{:?}", report.findings);
    assert_eq!(proven(&ROWS, &[]).lost, 1);
}

#[test]
fn an_empty_lake_has_lost_everything() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(check(root.path()).lost, 4);
}

#[test]
fn a_row_in_two_files_is_a_duplicate() {
    let report = proven(&[ROWS[0], ROWS[1], ROWS[2], ROWS[0]], &DEAD);
    assert_eq!((report.duplicated, report.lost, report.different), (1, 0, 0));
    assert!(!report.is_proven());
}

#[test]
fn a_row_that_is_a_dead_letter_as_well_is_found() {
    let report = proven(&ROWS, &[DEAD[0], (0, 0, "a")]);
    assert_eq!((report.duplicated, report.misplaced), (1, 1));
}

#[test]
fn a_wrong_value_is_found_and_shown() {
    let report = proven(&[ROWS[0], (0, 1, "B"), ROWS[2]], &DEAD);
    assert_eq!((report.different, report.lost, report.duplicated), (1, 0, 0));
    let finding = &report.findings[0];
    assert!(finding.contains("shop-events[0]@1"), "{finding}");
    assert!(finding.contains(r#"`name`: sent "sent", found "B""#), "{finding}");
}

#[test]
fn a_wrong_byte_in_a_dead_letter_is_found() {
    assert_eq!(proven(&ROWS, &[(0, 2, "[")]).different, 1);
}

#[test]
fn a_row_in_the_wrong_directory_is_found() {
    let root = tempfile::tempdir().unwrap();
    write_rows(root.path(), "dt=1970-01-01/hour=01/1.parquet", &ROWS);
    write_dead_letters(root.path(), "1.parquet", &DEAD);
    let report = check(root.path());
    assert_eq!((report.different, report.lost), (3, 0));
}

#[test]
fn a_tombstone_or_a_stranger_in_the_lake_is_unexpected() {
    let report = proven(&[ROWS[0], ROWS[1], ROWS[2], (1, 1, "x"), (7, 7, "y")], &DEAD);
    assert_eq!((report.unexpected, report.duplicated, report.lost), (2, 0, 0));
    assert!(!report.is_proven());
}

#[test]
fn findings_are_told_up_to_a_bound_and_counted_beyond() {
    let many: Vec<Small> = (100..150).map(|offset| (0, offset, "x")).collect();
    let report = proven(&many, &DEAD);
    assert_eq!((report.unexpected, report.findings.len()), (50, FINDINGS_TOLD_MAX));
}

#[test]
fn a_file_that_is_no_parquet_stops_the_proof() {
    let root = tempfile::tempdir().unwrap();
    write_rows(root.path(), &format!("{DIRECTORY}/1.parquet"), &ROWS);
    std::fs::write(root.path().join("data/half.parquet"), b"PAR1").unwrap();
    let book = book();
    let expected = Expected { topic: TOPIC, book: &book, content: &|_| Value::Null };
    assert!(matches!(prove(root.path(), &expected), Err(ProofError::Parquet { .. })));
}

#[test]
fn a_file_without_origin_columns_stops_the_proof() {
    let root = tempfile::tempdir().unwrap();
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    write(&root.path().join("data/1.parquet"), vec![("name", names)]);
    let book = book();
    let expected = Expected { topic: TOPIC, book: &book, content: &|_| Value::Null };
    let error = prove(root.path(), &expected).unwrap_err();
    assert!(matches!(error, ProofError::Column { column: "_topic", .. }), "{error}");
}
