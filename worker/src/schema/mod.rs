//! Schema: what a row is, from one `CREATE TABLE` statement, as SQL, as Arrow, and with Landfall's own columns.
//!
//! Types are spelt as Spark SQL and Athena spell them. Names are matched with JSON keys exactly, case included;
//! two names that differ only in case are refused, because readers of Parquet do not tell them apart.
//! Neighbours: settings before it, decode after it. Pure: no I/O.

pub mod hive;
mod parse;
mod path;

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

pub use self::parse::parse;
pub use self::path::{PathError, ResolvedColumn, resolve};
use crate::settings::MetadataColumns;

/// The time zone of every timestamp column.
///
/// Readers take any zone as "instants, adjusted to UTC"; the crates here read a zone's *name* only with the whole
/// time zone database compiled in, so it stands as an offset.
pub const UTC: &str = "+00:00";

/// How deep types may nest: `array<int>` is two deep.
pub const DEPTH_MAX: usize = 32;

/// How many leaves (columns and struct fields together) a table may have.
pub const FIELDS_MAX: usize = 10_000;

/// The names that [`output_schema`] may add; no column may bear one, whether it is switched on or not.
pub const METADATA_NAMES: [&str; 6] = ["_topic", "_partition", "_offset", "_timestamp", "_key", "_headers"];

/// A table as declared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TableSchema {
    /// As written; with its database, if that was given (`shop.orders`).
    pub name: String,
    pub columns: Vec<Column>,
    /// The declared columns only.
    pub arrow: SchemaRef,
}

/// A column, or a field of a struct.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Column {
    pub name: String,
    pub sql_type: SqlType,
    pub nullable: bool,
    pub comment: Option<String>,
}

/// A type as Spark SQL and Athena know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SqlType {
    /// `string`, and `varchar(n)` or `char(n)` with the number of characters allowed.
    String {
        max: Option<u32>,
    },
    Boolean,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    /// Precision 1 to 38, scale 0 to the precision.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Date,
    /// Microseconds since 1970, UTC.
    Timestamp,
    Binary,
    Array(Box<SqlType>),
    /// Keys are strings, as in JSON; the number of characters that a key may have.
    Map {
        key_max: Option<u32>,
        value: Box<SqlType>,
    },
    Struct(Vec<Column>),
}

impl SqlType {
    /// The Arrow type, with the names of nested fields that the Parquet format wants (`element`, `key_value`).
    pub fn arrow(&self) -> DataType {
        match self {
            SqlType::String { .. } => DataType::Utf8,
            SqlType::Boolean => DataType::Boolean,
            SqlType::TinyInt => DataType::Int8,
            SqlType::SmallInt => DataType::Int16,
            SqlType::Int => DataType::Int32,
            SqlType::BigInt => DataType::Int64,
            SqlType::Float => DataType::Float32,
            SqlType::Double => DataType::Float64,
            // The cast cannot wrap: a scale is at most 38.
            SqlType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
            SqlType::Date => DataType::Date32,
            SqlType::Timestamp => timestamp_type(),
            SqlType::Binary => DataType::Binary,
            SqlType::Array(element) => DataType::List(Arc::new(Field::new("element", element.arrow(), true))),
            SqlType::Map { value, .. } => map_type(value.arrow()),
            SqlType::Struct(fields) => DataType::Struct(fields.iter().map(Column::arrow).collect()),
        }
    }
}

impl Column {
    /// The Arrow field; the comment stays in the SQL.
    pub fn arrow(&self) -> Field {
        Field::new(&self.name, self.sql_type.arrow(), self.nullable)
    }
}

/// `timestamp`, of declared columns and of `_timestamp`.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

fn map_type(value: DataType) -> DataType {
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
}

/// `_headers`: a list of pairs and not a map, because a header's name may repeat and their order has a meaning
/// (KIP-82), and because readers drop or refuse a map's repeated keys.
pub fn headers_type() -> DataType {
    let pair = Fields::from(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ]);
    DataType::List(Arc::new(Field::new("element", DataType::Struct(pair), false)))
}

/// The schema of the files: the declared columns, then Landfall's own, in the order of [`METADATA_NAMES`].
pub fn output_schema(table: &TableSchema, metadata: MetadataColumns) -> SchemaRef {
    let own = [
        (metadata.topic, Field::new("_topic", DataType::Utf8, false)),
        (metadata.partition, Field::new("_partition", DataType::Int32, false)),
        (metadata.offset, Field::new("_offset", DataType::Int64, false)),
        // Kafka has records without a timestamp (message format 0).
        (metadata.timestamp, Field::new("_timestamp", timestamp_type(), true)),
        (metadata.key, Field::new("_key", DataType::Binary, true)),
        (metadata.headers, Field::new("_headers", headers_type(), false)),
    ];
    let own = own.into_iter().filter(|(wanted, _)| *wanted).map(|(_, field)| Arc::new(field));
    Arc::new(Schema::new(table.arrow.fields().iter().cloned().chain(own).collect::<Fields>()))
}

/// One thing that is wrong in `schema.sql`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

/// Everything that is wrong in `schema.sql`, in the order of its lines; never empty.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("read the table's schema:{}", Lines(.faults))]
pub struct SchemaError {
    pub faults: Vec<Fault>,
}

struct Lines<'a>(&'a [Fault]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const ALL_METADATA: MetadataColumns = MetadataColumns {
        topic: true,
        partition: true,
        offset: true,
        timestamp: true,
        key: true,
        headers: true,
    };

    fn table(sql: &str) -> TableSchema {
        parse(sql).expect("the test's schema is right")
    }

    #[test]
    fn output_has_the_declared_columns_and_then_those_that_are_switched_on() {
        let table = table("CREATE TABLE t (id bigint NOT NULL, tags array<string>)");
        let names = |metadata| -> Vec<String> {
            output_schema(&table, metadata).fields().iter().map(|field| field.name().clone()).collect()
        };
        assert_eq!(
            names(MetadataColumns::default()),
            ["id", "tags", "_topic", "_partition", "_offset", "_timestamp"]
        );
        assert_eq!(names(ALL_METADATA)[2..], METADATA_NAMES);
        let none = MetadataColumns {
            topic: false,
            partition: false,
            offset: false,
            timestamp: false,
            key: false,
            headers: false,
        };
        assert_eq!(names(none), ["id", "tags"]);
    }

    #[test]
    fn an_error_lists_every_fault_with_its_place() {
        let error = parse("CREATE TABLE t (\n  a text,\n  a int)").expect_err("both are wrong");
        let text = error.to_string();
        assert!(text.starts_with("read the table's schema:\n  2:5: "), "{text}");
        assert!(text.contains("\n  3:3: "), "{text}");
    }
}
