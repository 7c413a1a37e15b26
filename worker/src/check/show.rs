//! Show: schema, directories and figures as a person reads them.
//!
//! Neighbours: check. Pure.

use crate::schema::{Column, SqlType};
use crate::settings::{PartitionField, PartitionTransform};

/// `items array<struct<sku: string, price: decimal(12, 2)>> not null`.
pub fn column(column: &Column) -> String {
    let not_null = if column.nullable { "" } else { " not null" };
    format!("{} {}{not_null}", column.name, sql_type(&column.sql_type))
}

fn sql_type(sql: &SqlType) -> String {
    match sql {
        SqlType::String { max: None } => "string".to_owned(),
        SqlType::String { max: Some(max) } => format!("varchar({max})"),
        SqlType::Boolean => "boolean".to_owned(),
        SqlType::TinyInt => "tinyint".to_owned(),
        SqlType::SmallInt => "smallint".to_owned(),
        SqlType::Int => "int".to_owned(),
        SqlType::BigInt => "bigint".to_owned(),
        SqlType::Float => "float".to_owned(),
        SqlType::Double => "double".to_owned(),
        SqlType::Decimal { precision, scale } => format!("decimal({precision}, {scale})"),
        SqlType::Date => "date".to_owned(),
        SqlType::Timestamp => "timestamp".to_owned(),
        SqlType::Binary => "binary".to_owned(),
        SqlType::Array(element) => format!("array<{}>", sql_type(element)),
        SqlType::Map { key_max, value } => {
            format!("map<{}, {}>", sql_type(&SqlType::String { max: *key_max }), sql_type(value))
        }
        SqlType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| column(field).replacen(' ', ": ", 1)).collect();
            format!("struct<{}>", fields.join(", "))
        }
    }
}

/// `dt=date(event_time)/hour=hour(event_time)`.
pub fn directories(fields: &[PartitionField]) -> String {
    let level = |field: &PartitionField| {
        let column = field.column.join(".");
        let transform = match field.transform {
            PartitionTransform::Identity => return format!("{}={column}", field.name),
            PartitionTransform::Date => "date",
            PartitionTransform::Hour => "hour",
            PartitionTransform::Year => "year",
            PartitionTransform::Month => "month",
            PartitionTransform::Day => "day",
        };
        format!("{}={transform}({column})", field.name)
    };
    fields.iter().map(level).collect::<Vec<_>>().join("/")
}

/// `12,345`; below ten with as many digits as say something.
pub fn number(value: f64) -> String {
    if value >= 10.0 {
        return grouped(value.round() as u64);
    }
    let text = if value >= 1.0 { format!("{value:.1}") } else { format!("{value:.3}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `12,345`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 topic`, `2 topics`.
pub fn counted(count: usize, word: &str) -> String {
    format!("{} {word}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_shown_as_they_are_declared() {
        let sql = "CREATE TABLE t (a array<struct<sku: string, price: decimal(12,2)>> NOT NULL, \
                   b map<string, varchar(3)>)";
        let table = crate::schema::parse(sql).expect("the test's schema is right");
        let shown: Vec<String> = table.columns.iter().map(column).collect();
        assert_eq!(
            shown,
            ["a array<struct<sku: string, price: decimal(12, 2)>> not null", "b map<string, varchar(3)>"]
        );
    }

    #[test]
    fn figures_are_as_long_as_they_say_something() {
        assert_eq!(number(1_234_567.4), "1,234,567");
        assert_eq!(number(12.6), "13");
        assert_eq!(number(1.25), "1.2");
        assert_eq!(number(2.0), "2");
        assert_eq!(number(0.0016), "0.002");
        assert_eq!(number(0.0), "0");
        assert_eq!((grouped(999), grouped(1000)), ("999".to_owned(), "1,000".to_owned()));
    }
}
