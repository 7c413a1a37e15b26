//! Hive: what Athena and Glue call the columns of the files.
//!
//! infra/glue.py makes the same of schema.sql; a test there reads what this one writes.
//! Neighbours: schema before it; run tells the columns. Pure.

use arrow_schema::{DataType, Field, Schema};
use ledger::columns::Column;

/// The columns of files with this schema, in its order. Names and fields in lower case, as Hive keeps them.
pub fn columns(schema: &Schema) -> Vec<Column> {
    let column =
        |field: &Field| Some(Column { name: field.name().to_lowercase(), kind: kind(field.data_type())? });
    schema.fields().iter().filter_map(|field| column(field)).collect()
}

/// `None`: no column of ours has this type.
fn kind(of: &DataType) -> Option<String> {
    let plain = match of {
        DataType::Utf8 => "string",
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Date32 => "date",
        DataType::Timestamp(..) => "timestamp",
        DataType::Binary => "binary",
        DataType::Decimal128(precision, scale) => return Some(format!("decimal({precision},{scale})")),
        DataType::List(element) => return Some(format!("array<{}>", kind(element.data_type())?)),
        DataType::Map(entries, _) => {
            let DataType::Struct(pair) = entries.data_type() else { return None };
            let [key, value] = pair.as_ref() else { return None };
            return Some(format!("map<{},{}>", kind(key.data_type())?, kind(value.data_type())?));
        }
        DataType::Struct(fields) => {
            let field =
                |field: &Field| Some(format!("{}:{}", field.name().to_lowercase(), kind(field.data_type())?));
            let fields: Option<Vec<String>> = fields.iter().map(|it| field(it)).collect();
            return Some(format!("struct<{}>", fields?.join(",")));
        }
        _ => return None,
    };
    Some(plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::ALL_METADATA;
    use super::super::{output_schema, parse};
    use super::*;

    /// Every type there is, and what both this and infra/glue.py are to make of it.
    const SQL: &str = include_str!("every-type.sql");
    const EXPECTED: &str = include_str!("every-type.json");

    #[test]
    fn every_type_has_athenas_spelling() {
        let table = parse(SQL).expect("it parses");
        let found = columns(&output_schema(&table, ALL_METADATA));
        let expected: Vec<Column> = serde_json::from_str(EXPECTED).expect("it is JSON");
        assert_eq!(found, expected, "{}", serde_json::to_string_pretty(&found).expect("it is JSON"));
    }
}
