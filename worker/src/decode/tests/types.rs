use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};

use super::{decode_all, refusal, table};

/// The column `a` of one row whose `a` is this JSON.
fn column(sql_type: &str, json: &str) -> Result<ArrayRef, String> {
    let table = table(&format!("a {sql_type}, behind int"));
    let value = format!("{{\"a\": {json} , \"behind\": 7}}");
    if let Some(refusal) = refusal(&table, value.as_bytes()) {
        return Err(refusal);
    }
    let (batch, _) = decode_all(&table, &[value.as_bytes()]);
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().value(0), 7, "{value}");
    Ok(batch.column(0).clone())
}

fn refused(sql_type: &str, json: &str) {
    let result = column(sql_type, json);
    let message = result.expect_err(&format!("{json} is no {sql_type}"));
    assert!(message.starts_with("column `a"), "{json} as {sql_type}: {message}");
}

macro_rules! takes {
    ($arrow:ty, $sql:expr, [$($json:expr => $value:expr),* $(,)?]) => {
        $(
            let array = column($sql, $json).expect($json);
            assert_eq!(array.as_primitive::<$arrow>().value(0), $value, "{} as {}", $json, $sql);
            assert!(array.is_valid(0));
        )*
    };
}

#[test]
fn null_and_a_missing_key_are_null_in_every_type_and_refused_by_not_null() {
    for sql_type in [
        "string",
        "varchar(3)",
        "boolean",
        "tinyint",
        "smallint",
        "int",
        "bigint",
        "float",
        "double",
        "decimal(5,2)",
        "date",
        "timestamp",
        "binary",
        "array<int>",
        "map<string,int>",
        "struct<x: int NOT NULL>",
    ] {
        let open = table(&format!("a {sql_type}"));
        let (batch, results) = decode_all(&open, &[b"{\"a\":null}", b"{}", b"{\"a\" : null , \"b\":1}"]);
        assert!(results.iter().all(Result::is_ok), "{sql_type}: {results:?}");
        assert_eq!(batch.column(0).null_count(), 3, "{sql_type}");
        let closed = table(&format!("a {sql_type} NOT NULL"));
        assert_eq!(
            refusal(&closed, b"{\"a\":null}").as_deref(),
            Some("column `a`: null, but declared NOT NULL"),
            "{sql_type}"
        );
        assert_eq!(
            refusal(&closed, b"{\"b\":1}").as_deref(),
            Some("column `a`: missing, but declared NOT NULL"),
            "{sql_type}"
        );
    }
}

#[test]
fn whole_numbers_fit_or_are_refused() {
    takes!(Int8Type, "tinyint", ["-128" => -128, "127" => 127, "0" => 0]);
    takes!(Int16Type, "smallint", ["-32768" => -32768, "32767" => 32767]);
    takes!(Int32Type, "int", ["-2147483648" => i32::MIN, "2147483647" => i32::MAX]);
    takes!(Int64Type, "bigint", ["-9223372036854775808" => i64::MIN, "9223372036854775807" => i64::MAX]);
    for (sql_type, json) in [
        ("tinyint", "128"),
        ("tinyint", "-129"),
        ("smallint", "32768"),
        ("smallint", "-32769"),
        ("int", "2147483648"),
        ("int", "-2147483649"),
        ("bigint", "9223372036854775808"),
        ("bigint", "-9223372036854775809"),
        ("bigint", "18446744073709551616"),
        ("bigint", "1e400"),
    ] {
        let result = column(sql_type, json);
        assert!(result.is_err(), "{json} as {sql_type}: {result:?}");
    }
    for sql_type in ["tinyint", "smallint", "int", "bigint"] {
        for json in ["3.0", "1e2", "-0", "\"3\"", "true", "{}", "[]", "[3]", "{\"x\":3}"] {
            refused(sql_type, json);
        }
    }
}

#[test]
fn floats_are_the_nearest_number_and_finite() {
    takes!(Float64Type, "double", [
        "0.1" => 0.1, "3" => 3.0, "-3" => -3.0, "1e300" => 1e300, "5e-324" => 5e-324,
        "18446744073709551615" => 18446744073709551615.0, "123456789012345678901234567890" => 1.2345678901234568e29,
    ]);
    // The second lies so near to a tie that rounding to f64 first gives the wrong f32.
    takes!(Float32Type, "float", [
        "0.1" => 0.1, "17005001.000000000000130" => 17005002.0, "3" => 3.0, "-2.5e-3" => -0.0025,
    ]);
    for json in ["1e400", "-1e400"] {
        assert!(column("double", json).is_err(), "{json}");
    }
    refused("float", "1e39");
    for sql_type in ["float", "double"] {
        for json in ["\"1\"", "\"NaN\"", "false", "[1]", "{}"] {
            refused(sql_type, json);
        }
        for json in ["NaN", "Infinity", "01", "1.", ".5", "+1", "0x10", "1_000", "- 1"] {
            assert!(column(sql_type, json).is_err(), "{json} is no JSON");
        }
    }
}

#[test]
fn decimals_come_exactly_from_numbers_and_strings() {
    takes!(Decimal128Type, "decimal(10, 2)", [
        "12.34" => 1234, "\"12.34\"" => 1234, "-0.01" => -1, "1e3" => 100_000, "12.3400" => 1234, "0" => 0,
    ]);
    takes!(Decimal128Type, "decimal(38, 0)", ["99999999999999999999999999999999999999" => 10i128.pow(38) - 1]);
    takes!(Decimal128Type, "decimal(38, 20)", ["0.12345678901234567891" => 12_345_678_901_234_567_891]);
    for json in
        ["12.345", "123456789.00", "\"\"", "\"abc\"", "\"1,5\"", "\" 1\"", "true", "[1]", "{}", "\"\\u0031\""]
    {
        refused("decimal(10, 2)", json);
    }
}

#[test]
fn times_come_from_iso_8601_and_milliseconds() {
    takes!(TimestampMicrosecondType, "timestamp", [
        "\"2026-11-22T07:00:00Z\"" => 1_795_330_800_000_000,
        "\"2026-11-22T07:00:00\"" => 1_795_330_800_000_000,
        "\"2026-11-22 08:00:00.000001+01:00\"" => 1_795_330_800_000_001,
        "\"2026-11-22T07:00:00.123456789Z\"" => 1_795_330_800_123_456,
        "\"2026-11-22\"" => 1_795_305_600_000_000,
        "1795330800123" => 1_795_330_800_123_000,
        "-1" => -1000,
    ]);
    takes!(Date32Type, "date", ["\"1970-01-02\"" => 1, "\"2026-11-22\"" => 20_779]);
    for json in [
        "1.5e12",
        "\"1795330800123\"",
        "\"yesterday\"",
        "\"\"",
        "9223372036854775807",
        "253402300800000",
        "18446744073709551615",
        "true",
        "[]",
        "{}",
    ] {
        refused("timestamp", json);
    }
    for json in ["\"2026-11-22T00:00:00Z\"", "\"2026-02-30\"", "20779", "\"\"", "null1", "{}"] {
        assert!(column("date", json).is_err(), "{json}");
    }
}

#[test]
fn text_and_bytes_are_kept_as_they_are() {
    for (json, wanted) in [
        ("\"\"", ""),
        ("\"grüße\"", "grüße"),
        (r#""\"\\\/\b\f\n\r\t\u00e9""#, "\"\\/\u{8}\u{c}\n\r\té"),
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\u0000""#, "\0"),
    ] {
        let array = column("string", json).expect(json);
        assert_eq!(array.as_string::<i32>().value(0), wanted);
    }
    for json in ["1", "1.5", "true", "{}", "[]", "[\"a\"]", "{\"b\":\"c\"}"] {
        refused("string", json);
    }
    assert_eq!(column("varchar(3)", "\"äöü\"").expect("three characters").as_string::<i32>().value(0), "äöü");
    refused("varchar(3)", "\"abcd\"");
    refused("char(3)", "\"äöüä\"");
    for (json, wanted) in [("\"\"", &b""[..]), ("\"AP8=\"", b"\x00\xff"), (r#""\u0041P8=""#, b"\x00\xff")] {
        let array = column("binary", json).expect(json);
        assert_eq!(array.as_binary::<i32>().value(0), wanted);
    }
    for json in ["\"AP8\"", "\"A\"", "\"A P8=\"", "\"_-8=\"", "1", "[0, 255]"] {
        refused("binary", json);
    }
    assert!(column("boolean", "true").expect("true").as_boolean().value(0));
    assert!(!column("boolean", "false").expect("false").as_boolean().value(0));
    for json in ["0", "\"true\"", "{}"] {
        refused("boolean", json);
    }
}

#[test]
fn nested_values_keep_their_shape_and_name_their_faults() {
    let deep = "array<struct<id: bigint NOT NULL, tags: map<string, array<decimal(5,1)>>>>";
    let array =
        column(deep, r#"[{"id":1,"tags":{"x":[1.5,null],"y":null}},null,{"tags":{},"id":2,"new":[[]]}]"#)
            .expect("it fits");
    let list = array.as_list::<i32>().value(0);
    let structs = list.as_struct();
    assert_eq!(structs.len(), 3);
    assert!(structs.is_null(1));
    assert_eq!(structs.column(0).as_primitive::<Int64Type>().value(2), 2);
    let tags = structs.column(1).as_map();
    let of_first = tags.value(0);
    assert_eq!(of_first.column(0).as_string::<i32>().value(1), "y");
    assert!(of_first.column(1).is_null(1));
    assert_eq!(of_first.column(1).as_list::<i32>().value(0).as_primitive::<Decimal128Type>().value(0), 15);
    for (json, wanted) in [
        (r#"[{"id":null}]"#, "column `a.element.id`: null, but declared NOT NULL"),
        (r#"[{}]"#, "column `a.element.id`: missing, but declared NOT NULL"),
        (
            r#"[{"id":1,"tags":{"x":[0,"y"]}}]"#,
            "column `a.element.tags.value.element`: y does not fit decimal(5, 1)",
        ),
        (r#"[{"id":1,"id":1}]"#, "column `a.element.id`: its key stands twice"),
        (
            r#"[{"id":1,"tags":{"x":null,"x":null}}]"#,
            "column `a.element.tags`: the map's key \"x\" stands twice",
        ),
        (r#"{"id":1}"#, "column `a`: found an object, expected array"),
        (r#"[[1]]"#, "column `a.element`: found an array, expected struct"),
        (r#"[{"id":1,"tags":[]}]"#, "column `a.element.tags`: found an array, expected map"),
    ] {
        let message = column(deep, json).expect_err(json);
        assert!(message.starts_with(wanted), "{json}: {message}");
    }
}
