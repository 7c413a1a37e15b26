use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::{decode_all, finish, refusal, table};
use crate::decode::{DEPTH_MAX, JsonRows, RowDecoder};
use crate::schema::DEPTH_MAX as SCHEMA_DEPTH_MAX;

const COLUMNS: &str = "id bigint NOT NULL, name string, at timestamp, price decimal(9,2), tags array<string>, \
                       ship struct<country: string, to: map<string, double>>, ok boolean, key binary";
const GOOD: &str = r#"{"id":1,"name":"a\u00e9b","at":"2026-11-22T07:00:00Z","price":9.99,"tags":["x","y"],
                       "ship":{"country":"de","to":{"a":1.5}},"ok":true,"key":"AP8=","new":{"x":[1,{"y":"\\"}]}}"#;

#[test]
fn what_is_no_json_object_is_refused_and_said_so() {
    let table = table(COLUMNS);
    for (value, wanted) in [
        (&b""[..], "not a JSON object: empty"),
        (b" \n\t", "not a JSON object: empty"),
        (b"null", "not a JSON object"),
        (b"true", "not a JSON object"),
        (b"17", "not a JSON object"),
        (b"\"id\"", "not a JSON object"),
        (b"[{\"id\":1}]", "not a JSON object"),
        (b"\xEF\xBB\xBF{\"id\":1}", "not a JSON object: starts with a byte order mark"),
        (b"\xFF\xFE{\x00", "not UTF-8 at byte 0"),
        (b"{\"id\":1,\"name\":\"\xC3\x28\"}", "not UTF-8 at byte 16"),
        (b"{\"id\":1,\"new\":\"\xF0\x9F\x98\"}", "not UTF-8 at byte 15"),
        (b"{\"id\":1}\xFF", "not UTF-8 at byte 8"),
        (b"{\"id\":1,\"new\":\"\xED\xA0\x80\"}", "not UTF-8 at byte 15"),
        (b"<id>1</id>", "not a JSON object"),
        (b"\x00\x00\x00\x00\x01{\"id\":1}", "not a JSON object"),
        (b"{id:1}", "not JSON: "),
        (b"{'id':1}", "not JSON: "),
        (b"{\"id\":1,}", "not JSON: "),
        (b"{\"id\":1 \"name\":null}", "not JSON: "),
        (b"{\"id\" 1}", "not JSON: "),
        (b"{\"id\":1}}", "not JSON: "),
        (b"{\"id\":1}{\"id\":2}", "not JSON: "),
        (b"{\"id\":1}\x00", "not JSON: "),
        (b"{\"id\":1,\"new\":tru}", "not JSON: "),
        (b"{\"id\":1,\"new\":[1,]}", "not JSON: "),
        (b"{\"id\":1,\"new\":01}", "not JSON: "),
        (b"{\"id\":1,\"new\":{\"x\"}}", "not JSON: "),
        (b"{\"id\":1,\"new\":\"a\nb\"}", "not JSON: "),
        (b"{\"id\":1,\"name\":\"a\nb\"}", "not JSON: "),
        (b"{\"id\":1,\"name\":\"\\x\"}", "not JSON: a wrong escape at byte 16"),
        (b"{\"id\":1,\"new\":\"\\u12\"}", "not JSON: a wrong escape at byte 15"),
        (b"{\"id\":1,\"new\":\"\\u1\",\"}", "not JSON: a wrong escape at byte 15"),
        (b"{\"id\":1,\"name\":\"\\ud800\"}", "not JSON: "),
        (b"{\"id\":1,\"name\":\"\\ud800\\u0041\"}", "not JSON: "),
        (b"{\"id\":1,\"name\":\"\\udc00\"}", "not JSON: "),
        (b"{\"id\":1,\"na\\ud800me\":1}", "not JSON: "),
        (b"{\"id\":1,\"name\":\"\\", "not JSON: a wrong escape"),
    ] {
        let told = refusal(&table, value);
        let text = String::from_utf8_lossy(value);
        assert!(told.as_ref().is_some_and(|told| told.starts_with(wanted)), "{text}: {told:?}");
        assert!(!told.is_some_and(|told| told.contains('\n')), "{text}");
    }
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    let table = table(COLUMNS);
    assert_eq!(refusal(&table, GOOD.as_bytes()), None);
    for end in 0..GOOD.len() {
        assert!(refusal(&table, &GOOD.as_bytes()[..end]).is_some(), "cut at {end}");
    }
}

#[test]
fn keys_that_stand_twice_are_refused_where_they_are_declared() {
    let table = table(COLUMNS);
    for value in [
        r#"{"id":1,"id":1}"#,
        r#"{"id":1,"name":null,"name":"x"}"#,
        r#"{"id":1,"n\u0061me":"x","name":"x"}"#,
        r#"{"id":1,"ship":{"country":"de","country":"fr"}}"#,
        r#"{"id":1,"ship":{"to":{"a":1,"b":2,"\u0061":3}}}"#,
    ] {
        let told = refusal(&table, value.as_bytes());
        assert!(told.as_ref().is_some_and(|told| told.contains("twice")), "{value}: {told:?}");
    }
    assert_eq!(refusal(&table, br#"{"id":1,"new":1,"new":{"x":1,"x":2},"ID":3}"#), None);
}

#[test]
fn numbers_of_any_length_are_decided() {
    let table = table("a bigint, b double, c decimal(38,0), d float, e timestamp");
    let digits = "9".repeat(1_000_000);
    for key in ["a", "c", "d", "e"] {
        for number in [&digits, &format!("-{digits}"), &format!("1e{digits}"), &format!("0.{digits}")] {
            let told = refusal(&table, format!("{{\"{key}\":{number}}}").as_bytes());
            let kept = key == "d" && number.starts_with("0.");
            assert_eq!(told.is_none(), kept, "{key}: {told:?}");
            assert!(told.unwrap_or_default().len() < 1_000);
        }
    }
    assert!(refusal(&table, format!("{{\"b\":{digits}}}").as_bytes()).is_some());
    assert_eq!(refusal(&table, format!("{{\"b\":0.{digits}}}").as_bytes()), None);
    assert_eq!(refusal(&table, format!("{{\"new\":{digits}}}").as_bytes()), None);
}

/// On a thread with less stack than any of the worker's has (2 MiB).
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(1_792 * 1024).spawn(test).expect("a thread");
    thread.join().expect("neither a panic nor an overflow");
}

#[test]
fn depth_is_bounded_in_declared_and_in_ignored_keys() {
    on_a_small_stack(|| {
        let table = table("a string, b array<array<int>>, c struct<x: struct<y: int>>, d decimal(5,2)");
        for key in ["a", "b", "c", "d", "new"] {
            for (open, close) in [("[", "]"), ("{\"x\":", "}")] {
                for depth in [DEPTH_MAX, 10_000, 1_000_000] {
                    let whole = format!("{{\"{key}\":{}1{}}}", open.repeat(depth), close.repeat(depth));
                    let cut = format!("{{\"{key}\":{}", open.repeat(depth));
                    for value in [whole, cut] {
                        let told = refusal(&table, value.as_bytes()).expect("too deep, or no such type");
                        assert!(told.starts_with("nested deeper than 64 at byte"), "{told}");
                    }
                }
            }
        }
        for (open, close) in [("[", "]"), ("{\"x\":", "}")] {
            let (open, close) = (open.repeat(DEPTH_MAX - 1), close.repeat(DEPTH_MAX - 1));
            assert_eq!(refusal(&table, format!("{{\"new\":{open}1{close}}}").as_bytes()), None);
        }
        let lists = SCHEMA_DEPTH_MAX - 1;
        let deepest = super::table(&format!("a {}int{}", "array<".repeat(lists), ">".repeat(lists)));
        let value = format!("{{\"a\":{}1{}}}", "[".repeat(lists), "]".repeat(lists));
        assert_eq!(refusal(&deepest, value.as_bytes()), None);
        // The worst: read to the schema's depth, then skipped to the record's.
        let (open, close) = ("struct<s:".repeat(lists), ">".repeat(lists));
        let deepest = super::table(&format!("s {open}int{close}"));
        let (down, up) = ("{\"s\":".repeat(lists), "}".repeat(lists));
        let rest = DEPTH_MAX - 1 - lists;
        let ignored = format!("\"new\":{}{}", "[".repeat(rest), "]".repeat(rest));
        let value = format!("{{\"s\":{}{{{ignored}}}{}}}", &down[..down.len() - 5], &up[1..]);
        assert_eq!(refusal(&deepest, value.as_bytes()), None);
        let flat = format!(
            "{{\"new\":[{}],\"a\":\"{}\"}}",
            vec!["{\"[\":[]}"; 10_000].join(","),
            "[{\\\"".repeat(9_999)
        );
        assert_eq!(refusal(&table, flat.as_bytes()), None);
        // Where a skipped `\u` could hide a quote, the depth behind it would not be seen.
        let hidden = format!("{{\"new\":[\"\\u12\"34\",{}", "[".repeat(1_000_000));
        assert!(refusal(&table, hidden.as_bytes()).expect("wrong").contains("escape"));
    });
}

#[test]
fn fifty_megabytes_are_a_row_or_a_dead_letter() {
    let table = table("id bigint, name string, tags array<string>, key binary");
    let mut rows = JsonRows::new(&table);
    let large = "x".repeat(50_000_000);
    assert_eq!(rows.decode(format!("{{\"id\":1,\"name\":\"{large}\"}}").as_bytes()), Ok(()));
    assert_eq!(rows.decode(format!("{{\"id\":2,\"new\":\"{large}\"}}").as_bytes()), Ok(()));
    let many = format!("{{\"id\":3,\"tags\":[{}\"z\"]}}", format!("\"{}\",", "y".repeat(97)).repeat(500_000));
    assert_eq!(rows.decode(many.as_bytes()), Ok(()));
    for wrong in [
        format!("{{\"id\":\"{large}\"}}"),
        format!("{{\"id\":4,\"key\":\"{large}!\"}}"),
        format!("{{\"id\":5,\"name\":\"{large}"),
        format!("{{\"id\":6,\"{large}\":}}"),
        large.clone(),
    ] {
        let told = rows.decode(wrong.as_bytes()).expect_err("wrong").to_string();
        assert!(told.len() < 1_000, "{} bytes", told.len());
    }
    let batch = finish(&table, &mut rows);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    assert_eq!(batch.column(1).as_string::<i32>().value(0).len(), large.len());
    assert_eq!(batch.column(2).as_list::<i32>().value(2).len(), 500_001);
}

#[test]
fn a_record_that_fails_half_way_leaves_no_half_row() {
    let table = table(COLUMNS);
    let half = br#"{"id":2,"name":"x","tags":["p","q",3],"ship":{"country":"fr"}}"#;
    let late = br#"{"id":3,"name":"x","tags":["p"],"ship":{"country":"fr","to":{"a":1,"b":"c"}}}"#;
    let behind = br#"{"id":4,"name":"x","at":0,"price":1,"tags":[],"ship":{"to":{}},"ok":false,"key":""} x"#;
    let good = GOOD.as_bytes();
    let (mixed, results) = decode_all(&table, &[half, good, late, behind, good, half]);
    let told: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(told, [false, true, false, false, true, false]);
    let (clean, _) = decode_all(&table, &[good, good]);
    assert_eq!(mixed, clean);
}
