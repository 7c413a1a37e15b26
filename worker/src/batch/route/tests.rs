use arrow_array::types::Int64Type;
use arrow_array::{
    BooleanArray, Date32Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{Field, Fields};
use proptest::prelude::*;

use super::text::{VALUE_BYTES_MAX, civil};
use super::*;

const HOUR: i64 = 3_600_000_000;

fn field(name: &str, column: &str, transform: PartitionTransform) -> PartitionField {
    let column = column.split('.').map(str::to_owned).collect();
    PartitionField { name: name.into(), column, transform }
}

fn by_hour() -> Vec<PartitionField> {
    vec![field("dt", "at", PartitionTransform::Date), field("hour", "at", PartitionTransform::Hour)]
}

fn instants(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values).with_timezone("UTC"))
}

/// `at` as given, and `n` = 0, 1, 2, …
fn table(at: ArrayRef) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..at.len() as i64));
    RecordBatch::try_from_iter_with_nullable([("at", at, true), ("n", n, false)]).unwrap()
}

fn route(fields: &[PartitionField], rows: &RecordBatch) -> Vec<(String, RecordBatch)> {
    let spec = PartitionSpec::new(fields, &rows.schema()).unwrap();
    let routed = spec.route(rows).unwrap();
    for (path, part) in &routed {
        assert_eq!(part.schema(), *spec.file_schema(), "{path}");
    }
    routed.into_iter().map(|(path, part)| (path.to_string(), part)).collect()
}

fn paths(fields: &[PartitionField], rows: &RecordBatch) -> Vec<String> {
    route(fields, rows).into_iter().map(|(path, _)| path).collect()
}

fn numbers(part: &RecordBatch) -> Vec<i64> {
    part.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn rows_go_to_the_day_and_hour_of_their_time_in_order() {
    // 2026-11-22T07:00 UTC is hour 498,703 since 1970.
    let at = |hours: i64| Some((498_703 + hours) * HOUR + 1);
    let rows = table(instants([at(0), at(17), at(0), None, at(0), at(17)]));
    let routed = route(&by_hour(), &rows);
    let summary: Vec<_> = routed.iter().map(|(path, part)| (path.as_str(), numbers(part))).collect();
    assert_eq!(
        summary,
        [
            ("dt=2026-11-22/hour=07", vec![0, 2, 4]),
            ("dt=2026-11-23/hour=00", vec![1, 5]),
            ("dt=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__", vec![3]),
        ]
    );
}

#[test]
fn without_fields_everything_goes_to_one_place() {
    let rows = table(instants([None, Some(5)]));
    assert_eq!(route(&[], &rows), [(String::new(), rows)]);
}

#[test]
fn no_rows_go_nowhere() {
    assert!(paths(&by_hour(), &table(instants([]))).is_empty());
}

#[test]
fn rows_of_one_directory_are_not_copied() {
    let rows = table(instants((0..100).map(Some)));
    let routed = route(&by_hour(), &rows);
    assert_eq!(routed.len(), 1);
    let data = |batch: &RecordBatch| batch.column(1).as_primitive::<Int64Type>().values().as_ptr();
    assert_eq!(data(&routed[0].1), data(&rows));
}

#[test]
fn rows_side_by_side_are_not_copied() {
    let rows = table(instants((0..100).map(|i| Some(if i < 60 { 0 } else { HOUR }))));
    let routed = route(&by_hour(), &rows);
    let data = |batch: &RecordBatch| batch.column(1).as_primitive::<Int64Type>().values().as_ptr();
    assert_eq!(data(&routed[0].1), data(&rows));
    assert_eq!(numbers(&routed[1].1), (60..100).collect::<Vec<_>>());
}

#[test]
fn few_late_rows_between_many_leave_all_in_order() {
    let late = |i: i64| i % 50 == 7;
    let rows = table(instants((0..1000).map(|i| Some(if late(i) { 0 } else { HOUR }))));
    let routed = route(&by_hour(), &rows);
    assert_eq!(numbers(&routed[0].1), (0..1000).filter(|&i| !late(i)).collect::<Vec<_>>());
    assert_eq!(numbers(&routed[1].1), (0..1000).filter(|&i| late(i)).collect::<Vec<_>>());
}

#[test]
fn times_before_1970_belong_to_the_day_that_holds_them() {
    assert_eq!(paths(&by_hour(), &table(instants([Some(-1)]))), ["dt=1969-12-31/hour=23"]);
    assert_eq!(paths(&by_hour(), &table(instants([Some(-24 * HOUR)]))), ["dt=1969-12-31/hour=00"]);
}

#[test]
fn years_of_more_than_four_digits_carry_a_sign() {
    let fields = [field("dt", "at", PartitionTransform::Date), field("y", "at", PartitionTransform::Year)];
    assert_eq!(paths(&fields, &table(instants([Some(i64::MAX)]))), ["dt=+294247-01-10/y=+294247"]);
    assert_eq!(paths(&fields, &table(instants([Some(i64::MIN)]))), ["dt=-290308-12-21/y=-290308"]);
    assert_eq!(paths(&fields, &table(instants([Some(253_402_300_799_999_999)]))), ["dt=9999-12-31/y=9999"]);
    assert_eq!(
        paths(&fields, &table(instants([Some(253_402_300_800_000_000)]))),
        ["dt=+10000-01-01/y=+10000"]
    );
}

#[test]
fn dates_years_months_and_days_come_from_dates_too() {
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), Some(19_782), Some(-719_529)]));
    let fields = [
        field("year", "at", PartitionTransform::Year),
        field("month", "at", PartitionTransform::Month),
        field("day", "at", PartitionTransform::Day),
        field("dt", "at", PartitionTransform::Identity),
    ];
    assert_eq!(
        paths(&fields, &table(dates)),
        [
            "year=1970/month=01/day=01/dt=1970-01-01",
            "year=2024/month=02/day=29/dt=2024-02-29",
            "year=-0001/month=12/day=31/dt=-0001-12-31",
        ]
    );
}

#[test]
fn strings_are_escaped_as_hive_does() {
    let cases = [
        ("DE", "DE"),
        ("a/b=c", "a%2Fb%3Dc"),
        ("100%", "100%25"),
        ("two words", "two words"),
        ("Zürich 東京 🦀", "Zürich 東京 🦀"),
        ("..", ".."),
        ("\u{0}\n\u{7f}", "%00%0A%7F"),
        ("", NULL_DIRECTORY),
        (NULL_DIRECTORY, "%5F_HIVE_DEFAULT_PARTITION__"),
    ];
    for (value, expected) in cases {
        let column: ArrayRef = Arc::new(StringArray::from(vec![value]));
        let fields = [field("c", "at", PartitionTransform::Identity)];
        assert_eq!(paths(&fields, &table(column)), [format!("c={expected}")]);
    }
}

#[test]
fn long_strings_are_cut_and_told_apart_by_a_hash() {
    for filler in ["x", "/", "é", "🦀"] {
        let [one, other] = ["1", "2"].map(|end| filler.repeat(5000) + end);
        let column: ArrayRef = Arc::new(StringArray::from(vec![one.as_str(), other.as_str(), one.as_str()]));
        let paths = paths(&[field("c", "at", PartitionTransform::Identity)], &table(column));
        assert_eq!(paths.len(), 2);
        for path in paths {
            assert!(path.len() <= VALUE_BYTES_MAX + 2, "{path}");
            assert_eq!(path.as_bytes()[path.len() - 17], b'~', "{path}");
            assert_eq!(path.matches('%').count(), path.matches("%2F").count(), "{path}");
        }
    }
}

#[test]
fn a_value_just_within_the_bound_stays_whole() {
    let value = "y".repeat(VALUE_BYTES_MAX);
    let column: ArrayRef = Arc::new(StringArray::from(vec![value.as_str()]));
    assert_eq!(
        paths(&[field("c", "at", PartitionTransform::Identity)], &table(column)),
        [format!("c={value}")]
    );
}

#[test]
fn integers_and_booleans_are_written_as_they_are() {
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
    assert_eq!(
        paths(&[field("f", "at", PartitionTransform::Identity)], &table(flags)),
        ["f=true", "f=__HIVE_DEFAULT_PARTITION__", "f=false"]
    );
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, 7]));
    assert_eq!(
        paths(&[field("i", "at", PartitionTransform::Identity)], &table(numbers)),
        ["i=-9223372036854775808", "i=7"]
    );
}

/// `order.place.country` of three rows: DE, nothing in an order, no order.
fn nested() -> RecordBatch {
    let country = Field::new("country", DataType::Utf8, true);
    let place = DataType::Struct(Fields::from(vec![country]));
    let inner = |nulls: Option<Vec<bool>>| {
        let DataType::Struct(fields) = place.clone() else { unreachable!() };
        // The hidden value under a null struct must not show.
        let values: ArrayRef = Arc::new(StringArray::from(vec![Some("DE"), None, Some("hidden")]));
        StructArray::new(fields, vec![values], nulls.map(NullBuffer::from))
    };
    let order = Fields::from(vec![Field::new("place", place.clone(), true)]);
    let orders =
        StructArray::new(order, vec![Arc::new(inner(None))], Some(NullBuffer::from(vec![true, true, false])));
    RecordBatch::try_from_iter_with_nullable([("order", Arc::new(orders) as ArrayRef, true)]).unwrap()
}

#[test]
fn a_nested_column_is_null_where_anything_around_it_is() {
    let fields = [field("country", "order.place.country", PartitionTransform::Identity)];
    let routed = route(&fields, &nested());
    assert_eq!(routed[0].0, "country=DE");
    assert_eq!((routed[1].0.as_str(), routed[1].1.num_rows()), ("country=__HIVE_DEFAULT_PARTITION__", 2));
}

#[test]
fn a_directory_replaces_the_column_of_its_name() {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["DE", "FR"]));
    let routed = route(&[field("AT", "at", PartitionTransform::Identity)], &table(names));
    assert_eq!(routed[0].0, "AT=DE");
    assert!(routed[0].1.column_by_name("at").is_none());
    assert_eq!(numbers(&routed[1].1), [1]);
}

#[test]
fn every_fault_is_reported_at_once() {
    let rows = table(instants([Some(0)]));
    let fields = [
        field("at", "at", PartitionTransform::Date),
        field("n", "at", PartitionTransform::Hour),
        field("hour", "n", PartitionTransform::Hour),
        field("x", "order.country", PartitionTransform::Identity),
        field("y", "at.day", PartitionTransform::Identity),
        field("a=b", "n", PartitionTransform::Identity),
        field("_p", "n", PartitionTransform::Identity),
        field("", "n", PartitionTransform::Identity),
        field("i", "at", PartitionTransform::Identity),
        field("i2", "", PartitionTransform::Identity),
    ];
    let faults = PartitionSpec::new(&fields, &rows.schema()).unwrap_err();
    let told: Vec<_> = faults
        .iter()
        .map(|fault| match fault {
            PartitionError::Column { source, .. } => format!("{fault}: {source}"),
            other => other.to_string(),
        })
        .collect();
    assert_eq!(
        told,
        [
            "partition by `at`: the files have a column of that name with other values; choose another name",
            "partition by `n`: the files have a column of that name with other values; choose another name",
            "partition by `hour`: column `n` is Int64; Hour needs a timestamp in UTC",
            "partition by `x`: find column `order.country`: there is no `order`; there are `at`, `n`",
            "partition by `y`: find column `at.day`: `at` is Timestamp(µs, \"UTC\"); a path leads only through structs, to a single value a row",
            "partition by `a=b`: a name is a letter, then up to 63 letters, digits, `_` or `-`",
            "partition by `_p`: a name is a letter, then up to 63 letters, digits, `_` or `-`",
            "partition by ``: a name is a letter, then up to 63 letters, digits, `_` or `-`",
            "partition by `i`: column `at` is Timestamp(µs, \"UTC\"); Identity needs a string, an integer, a boolean or a date",
            "partition by `i2`: find column ``: there is no ``; there are `at`, `n`",
        ]
    );
}

#[test]
fn a_name_stands_once() {
    let rows = table(instants([Some(0)]));
    let fields = [field("dt", "at", PartitionTransform::Date), field("DT", "at", PartitionTransform::Hour)];
    let faults = PartitionSpec::new(&fields, &rows.schema()).unwrap_err();
    assert!(matches!(&faults[..], [PartitionError::Twice { .. }]), "{faults:?}");
}

#[test]
fn files_keep_at_least_one_column() {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["DE"]));
    let rows = RecordBatch::try_from_iter([("c", names)]).unwrap();
    let faults =
        PartitionSpec::new(&[field("c", "c", PartitionTransform::Identity)], &rows.schema()).unwrap_err();
    assert!(matches!(&faults[..], [PartitionError::NothingLeft]), "{faults:?}");
}

proptest! {
    #[test]
    fn every_row_goes_to_one_directory_and_keeps_its_place(
        hours in proptest::collection::vec(proptest::option::weighted(0.9, -50i64..50), 0..300),
    ) {
        let rows = table(instants(hours.iter().map(|hour| hour.map(|hour| hour * HOUR + 12))));
        let routed = route(&by_hour(), &rows);
        let mut seen = vec![0; hours.len()];
        for (path, part) in &routed {
            let numbers = numbers(part);
            prop_assert!(numbers.is_sorted());
            for n in numbers {
                seen[n as usize] += 1;
                let expected = hours[n as usize].map_or_else(
                    || format!("dt={NULL_DIRECTORY}/hour={NULL_DIRECTORY}"),
                    |hour| {
                        let at = chrono::DateTime::from_timestamp(hour * 3600, 0).unwrap();
                        at.format("dt=%Y-%m-%d/hour=%H").to_string()
                    },
                );
                prop_assert_eq!(path, &expected);
            }
        }
        prop_assert!(seen.iter().all(|&times| times == 1));
        let distinct: std::collections::HashSet<_> = routed.iter().map(|(path, _)| path).collect();
        prop_assert_eq!(distinct.len(), routed.len());
    }

    #[test]
    fn calendar_days_agree_with_chrono(days in -95_000_000i64..95_000_000) {
        if let Some(date) = i32::try_from(days + 719_163).ok().and_then(chrono::NaiveDate::from_num_days_from_ce_opt) {
            use chrono::Datelike;
            prop_assert_eq!(civil(days), (i64::from(date.year()), i64::from(date.month()), i64::from(date.day())));
        }
    }
}
