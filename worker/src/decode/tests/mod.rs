//! Decode as a whole: types, bad input, batches, and properties against an oracle.

mod bad_input;
mod batches;
mod properties;
mod types;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use super::{DecodeError, JsonRows, RowDecoder};
use crate::schema::{TableSchema, parse};

fn table(columns: &str) -> TableSchema {
    parse(&format!("CREATE TABLE t ({columns})")).expect("the test's schema is right")
}

/// What a fresh decoder makes of these values; refused ones leave no row.
fn decode_all(table: &TableSchema, values: &[&[u8]]) -> (RecordBatch, Vec<Result<(), DecodeError>>) {
    let mut rows = JsonRows::new(table);
    let results = values.iter().map(|value| rows.decode(value)).collect();
    (finish(table, &mut rows), results)
}

fn finish(table: &TableSchema, rows: &mut JsonRows) -> RecordBatch {
    let count = rows.rows();
    let arrays = rows.finish().expect("columns fit together");
    let batch = RecordBatch::try_new(Arc::new(Schema::clone(&table.arrow)), arrays).expect("of the schema");
    assert_eq!(batch.num_rows(), count);
    batch
}

/// The one value's refusal, as a dead letter would tell it.
fn refusal(table: &TableSchema, value: &[u8]) -> Option<String> {
    let (batch, results) = decode_all(table, &[value]);
    assert_eq!(batch.num_rows(), usize::from(results[0].is_ok()));
    results.into_iter().next().and_then(Result::err).map(|error| error.to_string())
}
