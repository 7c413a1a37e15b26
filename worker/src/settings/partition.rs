//! Partition fields: `dt=date(event_time)`, from text, and whether they fit the columns there are.
//!
//! Neighbours: load. Pure.

use arrow_schema::{DataType, Field, Fields, Schema};

use super::fault::Fault;
use super::reader::nearest;
use super::{PartitionField, PartitionTransform, Settings};

const TRANSFORMS: [(&str, PartitionTransform); 5] = [
    ("date", PartitionTransform::Date),
    ("hour", PartitionTransform::Hour),
    ("year", PartitionTransform::Year),
    ("month", PartitionTransform::Month),
    ("day", PartitionTransform::Day),
];

/// `name=transform(column)`, `name=column`, or `column` alone (which names the directory too). The error is what
/// would be right.
pub(super) fn parse(text: &str) -> Result<PartitionField, String> {
    let general = "write `name=column` or `name=date(column)` (date, hour, year, month, day)";
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (Some(name.trim()), value.trim()),
        None => (None, text.trim()),
    };
    let (transform, column) = match value.split_once('(') {
        Some((function, rest)) => {
            let function = function.trim().to_ascii_lowercase();
            let Some((_, transform)) = TRANSFORMS.into_iter().find(|(name, _)| *name == function) else {
                return Err(match nearest(&function, TRANSFORMS.into_iter().map(|(name, _)| name)) {
                    Some(known) => format!("there is no `{function}()`; did you mean `{known}`?"),
                    None => format!("there is no `{function}()`; {general}"),
                });
            };
            (transform, rest.strip_suffix(')').ok_or("close the bracket")?.trim())
        }
        None => (PartitionTransform::Identity, value),
    };
    let column: Vec<String> = column.split('.').map(|part| part.trim().to_owned()).collect();
    let is_plain = |part: &String| !part.is_empty() && !part.contains(['(', ')', '=', '/', ' ', '"', '`']);
    if !column.iter().all(is_plain) {
        return Err(format!("the column's name does not read; {general}"));
    }
    let name = match name {
        Some(name) => name.to_owned(),
        None if transform == PartitionTransform::Identity => column[column.len() - 1].clone(),
        None => return Err(format!("name the directory: `dt={value}`")),
    };
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(starts) || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(
            "name the directory with ASCII letters, digits and `_`: Athena takes no others".to_owned()
        );
    }
    Ok(PartitionField { name, column, transform })
}

/// Which partition fields do not fit the rows' columns (the schema's, then the metadata columns).
pub fn partition_faults(settings: &Settings, rows: &Schema) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, field) in settings.output.partition_by.iter().enumerate() {
        if let Err((wrong, right)) = check(field, rows) {
            faults.push(settings.origin.fault(&format!("output.partition_by[{index}]"), wrong, right));
        }
    }
    faults
}

fn check(field: &PartitionField, rows: &Schema) -> Result<(), (String, String)> {
    let path = field.column.join(".");
    let column = find(rows.fields(), &field.column)
        .map_err(|right| (format!("there is no column `{path}`"), right))?;
    let fits = match field.transform {
        PartitionTransform::Hour => matches!(column.data_type(), DataType::Timestamp(_, _)),
        PartitionTransform::Date
        | PartitionTransform::Year
        | PartitionTransform::Month
        | PartitionTransform::Day => {
            matches!(column.data_type(), DataType::Timestamp(_, _) | DataType::Date32)
        }
        PartitionTransform::Identity => {
            column.data_type().is_integer()
                || matches!(
                    column.data_type(),
                    DataType::Utf8
                        | DataType::LargeUtf8
                        | DataType::Utf8View
                        | DataType::Dictionary(_, _)
                        | DataType::Boolean
                        | DataType::Date32
                )
        }
    };
    if fits {
        return Ok(());
    }
    let kind = column.data_type();
    Err(match field.transform {
        PartitionTransform::Identity if matches!(kind, DataType::Timestamp(_, _)) => (
            format!("`{path}` is a timestamp: every instant would get a directory"),
            format!("take a part of it: `{}=date({path})`", field.name),
        ),
        PartitionTransform::Identity => (
            format!("`{path}` is of type {kind}, which makes no directory name"),
            "take a string, boolean, integer or date column".to_owned(),
        ),
        PartitionTransform::Hour => {
            (format!("`{path}` is of type {kind}, which has no hour"), "take a timestamp column".to_owned())
        }
        PartitionTransform::Date
        | PartitionTransform::Year
        | PartitionTransform::Month
        | PartitionTransform::Day => (
            format!("`{path}` is of type {kind}, which has no date"),
            "take a timestamp or date column".to_owned(),
        ),
    })
}

/// The column at a path; the error says which names there are.
fn find<'f>(fields: &'f Fields, path: &[String]) -> Result<&'f Field, String> {
    let (first, rest) = path.split_first().ok_or("name a column")?;
    let Some(field) = fields.iter().find(|field| field.name() == first) else {
        let names = || fields.iter().map(|field| field.name().as_str());
        return Err(match nearest(first, names()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("columns here: {}", names().take(40).collect::<Vec<_>>().join(", ")),
        });
    };
    match (rest.is_empty(), field.data_type()) {
        (true, _) => Ok(field),
        (false, DataType::Struct(inner)) => find(inner, rest),
        (false, _) => Err(format!("`{first}` is no struct and has no `{}`", rest.join("."))),
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::TimeUnit;

    use super::*;

    #[test]
    fn a_field_is_a_name_a_transform_and_a_column() {
        assert_eq!(
            parse("dt = date( event_time )"),
            Ok(PartitionField {
                name: "dt".into(),
                column: vec!["event_time".into()],
                transform: PartitionTransform::Date
            })
        );
        assert_eq!(
            parse("country=order.address.country").map(|field| field.column),
            Ok(vec!["order".into(), "address".into(), "country".into()])
        );
        assert_eq!(parse("order.country").map(|field| field.name), Ok("country".into()));
    }

    #[test]
    fn what_is_no_field_is_answered_with_what_would_be_right() {
        for (text, hint) in [
            ("dt=dat(x)", "did you mean `date`"),
            ("dt=bucket(16, x)", "there is no `bucket()`"),
            ("dt=date(x", "close the bracket"),
            ("date(x)", "name the directory: `dt=date(x)`"),
            ("d/t=x", "ASCII letters"),
            ("=x", "ASCII letters"),
            ("dt=", "does not read"),
            ("dt=a..b", "does not read"),
            ("", "does not read"),
        ] {
            let right = parse(text).expect_err(text);
            assert!(right.contains(hint), "{text}: {right}");
        }
    }

    fn rows() -> Schema {
        let inner = Fields::from(vec![Field::new("country", DataType::Utf8, true)]);
        Schema::new(vec![
            Field::new("event_time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
            Field::new("customer", DataType::Struct(inner), true),
            Field::new("total", DataType::Decimal128(14, 2), true),
            Field::new("birthday", DataType::Date32, true),
        ])
    }

    fn verdict(text: &str) -> Result<(), String> {
        check(&parse(text).expect("it parses"), &rows()).map_err(|(wrong, right)| format!("{wrong}; {right}"))
    }

    #[test]
    fn fields_are_held_against_the_columns() {
        assert_eq!(verdict("dt=date(event_time)"), Ok(()));
        assert_eq!(verdict("customer.country"), Ok(()));
        assert_eq!(verdict("y=year(birthday)"), Ok(()));
        for (text, hint) in [
            ("dt=date(event_tim)", "did you mean `event_time`"),
            ("hour=hour(birthday)", "has no hour"),
            ("event_time", "every instant"),
            ("total", "makes no directory name"),
            ("dt=date(total)", "has no date"),
            ("customer.town", "columns here: country"),
            ("total.cents", "is no struct"),
        ] {
            let told = verdict(text).expect_err(text);
            assert!(told.contains(hint), "{text}: {told}");
        }
    }
}
