//! Random tables and records: equal to what arrow-json makes of them; and, mutilated, alone in their fate.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_select::concat::concat_batches;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::decode_all;
use crate::decode::{DecoderFactory, dead_letter};
use crate::kafka::records::{Batch, OwnedRecord, Run};
use crate::kafka::{Generation, TopicPartition};
use crate::schema::{Column, SqlType, TableSchema, parse};
use crate::settings::{MetadataColumns, OnError, RecordSettings, Tombstones};

/// A value that its column takes.
enum Value {
    Null,
    /// The same text for both readers.
    Plain(String),
    Text(String),
    Bytes(Vec<u8>),
    /// Microseconds.
    Instant(i64),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

fn a_type(rng: &mut StdRng, depth: usize) -> String {
    let kinds = if depth == 0 { 14 } else { 18 };
    match rng.random_range(0..kinds) {
        0 | 1 => "string".into(),
        2 => "boolean".into(),
        3 => "tinyint".into(),
        4 => "smallint".into(),
        5 => "int".into(),
        6 | 7 => "bigint".into(),
        8 => "float".into(),
        9 => "double".into(),
        10 => {
            let precision = rng.random_range(1..=38);
            format!("decimal({precision}, {})", rng.random_range(0..=precision))
        }
        11 => "date".into(),
        12 => "timestamp".into(),
        13 => "binary".into(),
        14 => format!("array<{}>", a_type(rng, depth - 1)),
        15 => format!("map<string, {}>", a_type(rng, depth - 1)),
        _ => {
            let fields = columns(rng, "f", 4, depth - 1);
            format!("struct<{fields}>")
        }
    }
}

fn columns(rng: &mut StdRng, prefix: &str, most: usize, depth: usize) -> String {
    let count = rng.random_range(1..=most);
    let column = |index| {
        let not_null = if rng.random_bool(0.3) { " NOT NULL" } else { "" };
        format!("{prefix}{index} {}{not_null}", a_type(rng, depth))
    };
    (0..count).map(column).collect::<Vec<_>>().join(", ")
}

fn a_table(rng: &mut StdRng) -> TableSchema {
    // Some are wider than the names that are looked for one by one.
    let most = if rng.random_bool(0.1) { 40 } else { 8 };
    parse(&format!("CREATE TABLE t ({})", columns(rng, "c", most, 3))).expect("a right schema")
}

fn a_text(rng: &mut StdRng) -> String {
    let length = *[0, 1, 5, 31, 32, 33, 70].choose_by(rng);
    (0..length)
        .map(|_| match rng.random_range(0..12) {
            0 => *['"', '\\', '/', '\n', '\t', '\0', '\u{1f}'].choose_by(rng),
            1 => *['é', 'ß', '漢', '😀', '\u{feff}', '\u{10ffff}'].choose_by(rng),
            2 => *['{', '}', '[', ']', ',', ':', ' '].choose_by(rng),
            _ => rng.random_range('a'..='z'),
        })
        .collect()
}

trait ChooseBy<T> {
    fn choose_by(&self, rng: &mut StdRng) -> &T;
}

impl<T, const N: usize> ChooseBy<T> for [T; N] {
    fn choose_by(&self, rng: &mut StdRng) -> &T {
        &self[rng.random_range(0..N)]
    }
}

fn a_whole(rng: &mut StdRng, bits: u32) -> Value {
    let most = i64::MAX >> (64 - bits);
    let value = match rng.random_range(0..4) {
        0 => most,
        1 => -most - 1,
        2 => rng.random_range(-most - 1..=most),
        _ => rng.random_range(0..10),
    };
    Value::Plain(value.to_string())
}

fn a_decimal(rng: &mut StdRng, precision: u8, scale: u8) -> Value {
    let most = 10i128.pow(u32::from(precision)) - 1;
    let value = rng.random_range(-most..=most);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let point = if scale == 0 { "" } else { "." };
    let text = format!("{}{whole}{point}{fraction}", if value < 0 { "-" } else { "" });
    Value::Plain(if rng.random() { text } else { format!("\"{text}\"") })
}

fn a_value(rng: &mut StdRng, sql_type: &SqlType, nullable: bool) -> Value {
    if nullable && rng.random_bool(0.2) {
        return Value::Null;
    }
    match sql_type {
        SqlType::String { .. } => Value::Text(a_text(rng)),
        SqlType::Boolean => Value::Plain(rng.random::<bool>().to_string()),
        SqlType::TinyInt => a_whole(rng, 8),
        SqlType::SmallInt => a_whole(rng, 16),
        SqlType::Int => a_whole(rng, 32),
        SqlType::BigInt => a_whole(rng, 64),
        SqlType::Float => Value::Plain(format!("{:e}", f32::from_bits(rng.random_range(1..0x7f80_0000)))),
        SqlType::Double => {
            let value = f64::from_bits(rng.random_range(1..0x7ff0_0000_0000_0000));
            Value::Plain(if rng.random() { format!("-{value:e}") } else { format!("{value}") })
        }
        SqlType::Decimal { precision, scale } => a_decimal(rng, *precision, *scale),
        SqlType::Date => {
            let day = chrono::NaiveDate::from_num_days_from_ce_opt(rng.random_range(1..3_000_000));
            Value::Plain(format!("\"{}\"", day.expect("a day of the calendar")))
        }
        SqlType::Timestamp => {
            let millis = rng.random_range(-2_000_000_000_000i64..4_000_000_000_000);
            Value::Instant(millis * 1_000 + if rng.random() { 0 } else { rng.random_range(0..1_000) })
        }
        SqlType::Binary => Value::Bytes(a_text(rng).into_bytes()),
        SqlType::Array(element) => {
            Value::List((0..rng.random_range(0..4)).map(|_| a_value(rng, element, true)).collect())
        }
        SqlType::Map { value, .. } => {
            let count = *[0, 1, 3, 20].choose_by(rng);
            let entry = |index| (format!("{index}{}", a_text(rng)), a_value(rng, value, true));
            Value::Object((0..count).map(entry).collect())
        }
        SqlType::Struct(fields) => an_object(rng, fields),
    }
}

fn an_object(rng: &mut StdRng, columns: &[Column]) -> Value {
    let field = |column: &Column| (column.name.clone(), a_value(rng, &column.sql_type, column.nullable));
    Value::Object(columns.iter().map(field).collect())
}

fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// As a producer writes it whom nobody asked to be tidy.
fn quote_somehow(rng: &mut StdRng, text: &str) -> String {
    if rng.random_bool(0.7) {
        return quote(text);
    }
    text.encode_utf16().fold("\"".to_owned(), |json, unit| format!("{json}\\u{unit:04x}")) + "\""
}

/// In arrow-json's dialect: fields in order, nulls written out, binary in hexadecimal.
fn tidy(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Plain(text) => text.clone(),
        Value::Text(text) => quote(text),
        Value::Bytes(bytes) => {
            bytes.iter().fold("\"".to_owned(), |hex, byte| format!("{hex}{byte:02x}")) + "\""
        }
        Value::Instant(micros) => iso(*micros),
        Value::List(values) => format!("[{}]", values.iter().map(tidy).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let field = |(name, value): &(String, Value)| format!("{}:{}", quote(name), tidy(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
    }
}

fn iso(micros: i64) -> String {
    let instant = DateTime::from_timestamp_micros(micros).expect("in range");
    format!("\"{}\"", instant.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
}

/// In ours: keys in any order, some nulls left out of structs, keys that no schema knows, white space.
fn untidy(rng: &mut StdRng, value: &Value, sql_type: Option<&SqlType>) -> String {
    let space = |rng: &mut StdRng| *["", "", "", " ", "\n\t"].choose_by(rng);
    match (value, sql_type) {
        (Value::Text(text), _) => quote_somehow(rng, text),
        (Value::Bytes(bytes), _) => quote_somehow(rng, &STANDARD.encode(bytes)),
        (Value::Instant(micros), _) if micros % 1_000 == 0 && rng.random() => (micros / 1_000).to_string(),
        (Value::List(values), Some(SqlType::Array(element))) => {
            let mut json = "[".to_owned();
            for (index, value) in values.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(json, "{}{comma}{}", space(rng), untidy(rng, value, Some(element))).expect("memory");
            }
            json + space(rng) + "]"
        }
        (Value::Object(fields), Some(SqlType::Map { value: inner, .. })) => {
            let of_field = |(name, value): &(String, Value)| {
                format!("{}:{}", quote_somehow(rng, name), untidy(rng, value, Some(inner)))
            };
            format!("{{{}}}", fields.iter().map(of_field).collect::<Vec<_>>().join(" ,"))
        }
        (Value::Object(fields), Some(SqlType::Struct(columns))) => {
            let mut keys = Vec::new();
            for ((name, value), column) in fields.iter().zip(columns) {
                if matches!(value, Value::Null) && column.nullable && rng.random() {
                    continue;
                }
                let value = untidy(rng, value, Some(&column.sql_type));
                keys.push(format!("{}{}:{}{value}", quote_somehow(rng, name), space(rng), space(rng)));
            }
            for _ in 0..rng.random_range(0..3) {
                let unknown =
                    *["{\"c0\":[{}]}", "[[],{\"\\\"\":1e3}]", "-1.5", "null", "\"\\ud83d\\ude00}\""]
                        .choose_by(rng);
                keys.push(format!("\"x{}\":{unknown}", rng.random::<u8>()));
            }
            if rng.random_bool(0.3) {
                keys.shuffle(rng);
            }
            format!("{{{}{}{}}}", space(rng), keys.join(","), space(rng))
        }
        _ => tidy(value),
    }
}

/// A table, and some of its rows in arrow-json's dialect and in ours.
fn a_case(seed: u64) -> (TableSchema, Vec<String>, Vec<String>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let table = a_table(&mut rng);
    let whole = SqlType::Struct(table.columns.clone());
    let rows: Vec<Value> =
        (0..rng.random_range(1..12)).map(|_| an_object(&mut rng, &table.columns)).collect();
    let tidy = rows.iter().map(tidy).collect();
    let untidy = rows.iter().map(|row| untidy(&mut rng, row, Some(&whole))).collect();
    (table, tidy, untidy)
}

fn by_arrow_json(table: &TableSchema, rows: &[String]) -> RecordBatch {
    let mut decoder =
        arrow_json::ReaderBuilder::new(table.arrow.clone()).build_decoder().expect("types that it knows");
    let text = rows.join("\n");
    assert_eq!(decoder.decode(text.as_bytes()).expect("JSON"), text.len());
    decoder.flush().expect("it fits").expect("rows")
}

/// Changes some bytes: what a broken producer, a cut or a flipped bit would do.
fn mutilate(rng: &mut StdRng, value: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=value.len());
        match rng.random_range(0..6) {
            0 if at < value.len() => value[at] ^= 1 << rng.random_range(0..8),
            1 if at < value.len() => value[at] = rng.random(),
            2 if at < value.len() => _ = value.remove(at),
            3 => value.insert(at, *b"\"{}[]\\,:0-e\xff\x00".choose_by(rng)),
            4 => value.truncate(at),
            _ => {
                let end = rng.random_range(at..=value.len());
                let piece = value[at..end].to_vec();
                value.splice(at..at, piece);
            }
        }
    }
}

fn batch_of(values: &[Option<Vec<u8>>]) -> Batch {
    let record = |(offset, value): (usize, &Option<Vec<u8>>)| OwnedRecord {
        offset: offset as i64,
        timestamp_ms: Some(0),
        value: value.clone(),
        ..OwnedRecord::default()
    };
    let records: Vec<OwnedRecord> = values.iter().enumerate().map(record).collect();
    let partition = TopicPartition { topic: "t".into(), partition: 0 };
    let runs = vec![Run { partition, range: 0..records.len() }];
    Batch { generation: Generation::default(), bytes: 0, messages: Box::new(records), runs }
}

/// Decoded as a batch, each record fares as it does alone, and every record is counted once.
fn each_fares_as_alone(table: &TableSchema, values: &[Option<Vec<u8>>]) -> usize {
    let settings = RecordSettings {
        schema_file: "schema.sql".into(),
        on_error: OnError::DeadLetter,
        tombstones: Tombstones::Skip,
        metadata: MetadataColumns::default(),
    };
    let batch = batch_of(values);
    let decoded = DecoderFactory::new(table, &settings).build().decode(&batch, &batch.runs).expect("no stop");
    let counts = &decoded.counts[0];
    assert_eq!(counts.written + counts.filtered + counts.dead_lettered, values.len() as u64);
    assert_eq!(counts.written, decoded.rows.num_rows() as u64);
    assert_eq!(counts.dead_lettered, decoded.dead_letters.num_rows() as u64);
    assert_eq!(counts.filtered, values.iter().filter(|value| value.is_none()).count() as u64);

    let (mut alone, mut refused) = (Vec::new(), Vec::new());
    for value in values.iter().flatten() {
        let (row, result) = decode_all(table, &[value]);
        match &result[0] {
            Ok(()) => {
                serde_json::from_slice::<serde::de::IgnoredAny>(value).expect("what became a row is JSON");
                alone.push(row);
            }
            Err(_) => refused.push(value.as_slice()),
        }
    }
    let alone = concat_batches(&Arc::clone(&table.arrow), &alone).expect("one schema");
    let declared: Vec<usize> = (0..table.columns.len()).collect();
    assert_eq!(decoded.rows.project(&declared).expect("columns"), alone);
    assert_eq!(decoded.dead_letters.schema(), dead_letter::schema());
    let raw = decoded.dead_letters.column_by_name("_value").expect("there").as_binary::<i32>();
    assert_eq!(raw.iter().flatten().collect::<Vec<_>>(), refused);
    refused.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn rows_equal_what_arrow_json_makes_of_them(seed in any::<u64>()) {
        let (table, tidy, untidy) = a_case(seed);
        let wanted = by_arrow_json(&table, &tidy);
        let values: Vec<&[u8]> = untidy.iter().map(String::as_bytes).collect();
        let (rows, results) = decode_all(&table, &values);
        for (value, result) in untidy.iter().zip(&results) {
            prop_assert_eq!(result, &Ok(()), "{}", value);
        }
        prop_assert_eq!(&rows, &wanted);
        for (column, field) in rows.columns().iter().zip(table.arrow.fields()) {
            prop_assert!(column.to_data().validate_full().is_ok(), "{}", field);
        }
    }

    #[test]
    fn mutilated_records_are_rows_or_dead_letters_and_touch_no_neighbour(seed in any::<u64>()) {
        let (table, _, untidy) = a_case(seed);
        let mut rng = StdRng::seed_from_u64(!seed);
        let mut values: Vec<Option<Vec<u8>>> =
            untidy.into_iter().map(|value| Some(value.into_bytes())).collect();
        for value in &mut values {
            match (rng.random_range(0..10), value.as_mut()) {
                (0..4, Some(bytes)) => mutilate(&mut rng, bytes),
                (4, _) => *value = None,
                _ => {}
            }
        }
        each_fares_as_alone(&table, &values);
    }
}

#[test]
fn the_mutilation_does_ruin_records_and_spares_some() {
    let (mut whole, mut refused) = (0, 0);
    for seed in 0..100 {
        let (table, _, untidy) = a_case(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut values: Vec<Option<Vec<u8>>> =
            untidy.into_iter().map(|value| Some(value.into_bytes())).collect();
        values.iter_mut().flatten().for_each(|value| mutilate(&mut rng, value));
        whole += values.len();
        refused += each_fares_as_alone(&table, &values);
    }
    assert!(refused * 2 > whole && refused < whole, "{refused} of {whole} refused");
}
