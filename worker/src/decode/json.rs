//! JSON: one object's text into the columns, in one pass and without a tree.
//!
//! sonic-rs drives, through serde's seeds: at each value the column says what may stand there. Before it starts the
//! text is checked for what sonic-rs takes on trust: UTF-8, escapes (its skipping counts characters behind `\u`
//! without looking at them) and depth (its skipping recurses once a level).
//! Order: a row's columns are complete before the row counts; a row that fails is truncated away.
//! Neighbours: columns and scalar below, batch above.

use std::fmt;

use arrow_array::ArrayRef;
use arrow_schema::ArrowError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer as SerdeDeserializer, Error as SerdeError, IgnoredAny, MapAccess,
    SeqAccess, Visitor,
};
use sonic_rs::{Deserializer, LazyValue};

use super::columns::{Column, Fields, Full, Values, repeated_key};
use super::{DecodeError, RowDecoder, scalar};
use crate::schema::TableSchema;

/// How deep arrays and objects may nest in a record, in ignored keys too.
///
/// Twice what a schema may nest. sonic-rs recurses where it skips, in an unoptimised build by 20 KiB a level, and a
/// thread has 2 MiB.
pub const DEPTH_MAX: usize = 64;

/// Decodes JSON objects.
pub struct JsonRows {
    fields: Fields,
    rows: usize,
}

impl JsonRows {
    pub fn new(table: &TableSchema) -> Self {
        JsonRows { fields: Fields::new(&table.columns), rows: 0 }
    }
}

impl RowDecoder for JsonRows {
    fn decode(&mut self, value: &[u8]) -> Result<(), DecodeError> {
        let text = check(value).map_err(|reason| DecodeError::Unfit { column: None, reason })?;
        let mut trouble = Trouble::default();
        let mut json = Deserializer::from_str(text);
        let row = RowSeed { fields: &mut self.fields, row: self.rows, trouble: &mut trouble };
        let read = row.deserialize(&mut json).and_then(|()| json.end());
        match read {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(error) => {
                self.fields.truncate(self.rows);
                Err(trouble.explain(&error))
            }
        }
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows = 0;
        self.fields.finish()
    }
}

/// The value's text, if it can be handed to sonic-rs and is not obviously something else.
fn check(value: &[u8]) -> Result<&str, String> {
    let text = simdutf8::basic::from_utf8(value).map_err(|_| match std::str::from_utf8(value) {
        Err(error) => format!("not UTF-8 at byte {}", error.valid_up_to()),
        Ok(_) => "not UTF-8".to_owned(),
    })?;
    match value.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
        Some(b'{') => {}
        Some(0xEF) if value.starts_with(b"\xEF\xBB\xBF") => {
            return Err("not a JSON object: starts with a byte order mark".to_owned());
        }
        Some(_) => return Err("not a JSON object".to_owned()),
        None => return Err("not a JSON object: empty".to_owned()),
    }
    check_escapes(value)?;
    check_depth(value)?;
    Ok(text)
}

/// Backslashes stand only inside strings, so each starts an escape, wherever it is.
fn check_escapes(value: &[u8]) -> Result<(), String> {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\\', &value[from..]) {
        let at = from + found;
        from = match value.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
            Some(b'u')
                if value.get(at + 2..at + 6).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit)) =>
            {
                at + 6
            }
            _ => return Err(format!("not JSON: a wrong escape at byte {at}")),
        };
    }
    Ok(())
}

/// Rightly escaped text only (see [`check_escapes`]), so that its strings end here where they end for sonic-rs.
fn check_depth(value: &[u8]) -> Result<(), String> {
    // `[` and `{` differ in one bit. Counting all of them in bytes that cannot overflow is a few instructions for 32
    // of them, and rarely finds enough.
    let count = |part: &[u8]| part.iter().map(|byte| u8::from(*byte | 0x20 == b'{')).sum::<u8>();
    let opened: usize = value.chunks(255).map(|part| usize::from(count(part))).sum();
    if opened <= DEPTH_MAX {
        return Ok(());
    }
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match byte {
            b'"' => at = string_end(value, at + 1),
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(format!("nested deeper than {DEPTH_MAX} at byte {at}"));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Where the closing quote of a string stands, or the value's end.
fn string_end(value: &[u8], mut at: usize) -> usize {
    while let Some(found) = value.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if value[at] == b'"' {
            return at;
        }
        at += 2;
    }
    value.len()
}

/// What went wrong inside a seed: serde's errors carry text only.
#[derive(Default)]
struct Trouble {
    what: Option<What>,
    /// The way to the column, innermost first.
    path: Vec<String>,
}

enum What {
    Unfit(String),
    Full,
}

impl Trouble {
    /// Notes the reason; the error returned only ends the parsing.
    #[cold]
    fn unfit<E: SerdeError>(&mut self, reason: impl Into<String>) -> E {
        self.what = Some(What::Unfit(reason.into()));
        E::custom("unfit")
    }

    #[cold]
    fn full<E: SerdeError>(&mut self, _: Full) -> E {
        self.what = Some(What::Full);
        E::custom("full")
    }

    #[cold]
    fn inside(&mut self, name: &str) {
        self.path.push(name.to_owned());
    }

    fn explain(mut self, error: &sonic_rs::Error) -> DecodeError {
        match self.what {
            Some(What::Unfit(reason)) => {
                self.path.reverse();
                DecodeError::Unfit { column: (!self.path.is_empty()).then(|| self.path.join(".")), reason }
            }
            Some(What::Full) => DecodeError::Full,
            None => {
                // The first line only: the others draw the place with a piece of the record.
                let text = error.to_string();
                let reason = text.lines().next().unwrap_or_default();
                DecodeError::Unfit { column: None, reason: format!("not JSON: {reason}") }
            }
        }
    }
}

/// Reads the object that is a record.
struct RowSeed<'a> {
    fields: &'a mut Fields,
    row: usize,
    trouble: &'a mut Trouble,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: SerdeDeserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        read_fields(self.fields, self.row, self.trouble, map)
    }
}

/// Reads an object's keys into fields that have `row` values each, so that each has one more.
fn read_fields<'de, A: MapAccess<'de>>(
    fields: &mut Fields,
    row: usize,
    trouble: &mut Trouble,
    mut map: A,
) -> Result<(), A::Error> {
    let mut next = 0;
    let mut read = 0;
    while let Some(found) = map.next_key_seed(FieldSeed { fields, next })? {
        let Some(index) = found else {
            map.next_value::<IgnoredAny>()?;
            continue;
        };
        let column = &mut fields.columns[index];
        // What this object has filled already is one longer than the rest.
        let value = if column.len() > row {
            Err(trouble.unfit("its key stands twice in one object"))
        } else {
            map.next_value_seed(ValueSeed { column, trouble })
        };
        if value.is_err() {
            trouble.inside(&fields.names[index]);
        }
        value?;
        read += 1;
        next = index + 1;
    }
    if read < fields.columns.len() {
        fill(fields, row, trouble)?;
    }
    Ok(())
}

/// Nulls for what the object did not have.
fn fill<E: SerdeError>(fields: &mut Fields, row: usize, trouble: &mut Trouble) -> Result<(), E> {
    for (column, name) in fields.columns.iter_mut().zip(&fields.names) {
        if column.len() > row {
            continue;
        }
        if !column.nullable {
            let error = trouble.unfit("missing, but declared NOT NULL");
            trouble.inside(name);
            return Err(error);
        }
        column.push_null().map_err(|full| trouble.full(full))?;
    }
    Ok(())
}

/// Which field a key means.
struct FieldSeed<'a> {
    fields: &'a Fields,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = Option<usize>;

    #[inline]
    fn deserialize<D: SerdeDeserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldSeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.fields.find(key, self.next))
    }
}

/// Appends one value to a column.
struct ValueSeed<'a> {
    column: &'a mut Column,
    trouble: &'a mut Trouble,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    #[inline]
    fn deserialize<D: SerdeDeserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.column.values {
            // From the text itself: an f64 in between would round, for these a second time or wrongly.
            Values::Decimal { .. } | Values::Float32(_) => {
                let raw = LazyValue::deserialize(json)?;
                self.raw(raw.as_raw_str())
            }
            _ => json.deserialize_any(self),
        }
    }
}

impl ValueSeed<'_> {
    /// A value that is already known to be JSON.
    fn raw<E: SerdeError>(self, raw: &str) -> Result<(), E> {
        // sonic-rs may leave white space in front.
        let raw = raw.trim_ascii();
        let number = match raw.as_bytes() {
            [b'n', ..] => return self.visit_unit(),
            [b'-' | b'0'..=b'9', ..] => raw,
            [b'"', inner @ .., b'"'] if matches!(self.column.values, Values::Decimal { .. }) => {
                let _ = inner;
                &raw[1..raw.len() - 1]
            }
            [b'"', ..] => return Err(self.mismatch("a string")),
            [b'{', ..] => return Err(self.mismatch("an object")),
            [b'[', ..] => return Err(self.mismatch("an array")),
            _ => return Err(self.mismatch("true or false")),
        };
        match &mut self.column.values {
            Values::Decimal { precision, scale, values } => match scalar::decimal(number, *precision, *scale)
            {
                Ok(value) => values.push(value),
                Err(why) => {
                    let kind = format!("decimal({precision}, {scale})");
                    return Err(self.trouble.unfit(format!("{} does not fit {kind}: {why}", clip(number))));
                }
            },
            Values::Float32(values) => match number.parse::<f32>() {
                Ok(value) if value.is_finite() => values.push(value),
                _ => return Err(self.out_of_range(clip(number))),
            },
            _ => unreachable!("only these are read as text"),
        }
        self.column.nulls.append_non_null();
        Ok(())
    }

    #[cold]
    fn mismatch<E: SerdeError>(self, found: &str) -> E {
        let kind = self.column.values.kind();
        self.trouble.unfit(format!("found {found}, expected {kind}"))
    }

    #[cold]
    fn out_of_range<E: SerdeError>(self, value: impl fmt::Display) -> E {
        let kind = self.column.values.kind();
        self.trouble.unfit(format!("{value} is outside the range of {kind}"))
    }

    fn whole<E: SerdeError>(self, value: i64) -> Result<(), E> {
        match &mut self.column.values {
            Values::Int64(values) => values.push(value),
            Values::Int32(values) => match i32::try_from(value) {
                Ok(value) => values.push(value),
                Err(_) => return Err(self.out_of_range(value)),
            },
            Values::Int16(values) => match i16::try_from(value) {
                Ok(value) => values.push(value),
                Err(_) => return Err(self.out_of_range(value)),
            },
            Values::Int8(values) => match i8::try_from(value) {
                Ok(value) => values.push(value),
                Err(_) => return Err(self.out_of_range(value)),
            },
            Values::Float64(values) => values.push(value as f64),
            Values::Timestamp(values) => match scalar::timestamp_from_millis(value) {
                Ok(micros) => values.push(micros),
                Err(why) => return Err(self.trouble.unfit(format!("{value} milliseconds are {why}"))),
            },
            _ => return Err(self.mismatch("a number")),
        }
        self.column.nulls.append_non_null();
        Ok(())
    }

    fn text<E: SerdeError>(self, text: &str) -> Result<(), E> {
        let ValueSeed { column, trouble } = self;
        match &mut column.values {
            Values::Text { max, bytes } => {
                // A character has at least a byte, so short texts are not counted.
                if let Some(max) = *max
                    && text.len() > max as usize
                    && text.chars().count() > max as usize
                {
                    return Err(trouble.unfit(format!("longer than {max} characters")));
                }
                bytes.push(text.as_bytes()).map_err(|full| trouble.full(full))?;
            }
            Values::Timestamp(values) => match scalar::timestamp(text) {
                Ok(micros) => values.push(micros),
                Err(why) => return Err(trouble.unfit(format!("\"{}\": {why}", clip(text)))),
            },
            Values::Date(values) => match scalar::date(text) {
                Ok(days) => values.push(days),
                Err(why) => return Err(trouble.unfit(format!("\"{}\": {why}", clip(text)))),
            },
            Values::Binary(bytes) => bytes
                .push_with(|buffer| STANDARD.decode_vec(text, buffer).map_err(NotBase64::Text))
                .map_err(|error| match error {
                    NotBase64::Text(why) => trouble.unfit(format!("no base64: {why}")),
                    NotBase64::Full(full) => trouble.full(full),
                })?,
            _ => return Err(ValueSeed { column, trouble }.mismatch("a string")),
        }
        column.nulls.append_non_null();
        Ok(())
    }
}

enum NotBase64 {
    Text(base64::DecodeError),
    Full(Full),
}

impl From<Full> for NotBase64 {
    fn from(full: Full) -> Self {
        NotBase64::Full(full)
    }
}

/// The beginning of a text, for a message.
fn clip(text: &str) -> &str {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.column.values.kind())
    }

    #[inline]
    fn visit_str<E: SerdeError>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    #[inline]
    fn visit_i64<E: SerdeError>(self, value: i64) -> Result<(), E> {
        self.whole(value)
    }

    #[inline]
    fn visit_u64<E: SerdeError>(self, value: u64) -> Result<(), E> {
        match (i64::try_from(value), &mut self.column.values) {
            (Ok(value), _) => self.whole(value),
            (Err(_), Values::Float64(values)) => {
                values.push(value as f64);
                self.column.nulls.append_non_null();
                Ok(())
            }
            (
                Err(_),
                Values::Int8(_)
                | Values::Int16(_)
                | Values::Int32(_)
                | Values::Int64(_)
                | Values::Timestamp(_),
            ) => Err(self.out_of_range(value)),
            (Err(_), _) => Err(self.mismatch("a number")),
        }
    }

    #[inline]
    fn visit_f64<E: SerdeError>(self, value: f64) -> Result<(), E> {
        match &mut self.column.values {
            Values::Float64(values) => {
                values.push(value);
                self.column.nulls.append_non_null();
                Ok(())
            }
            Values::Int8(_)
            | Values::Int16(_)
            | Values::Int32(_)
            | Values::Int64(_)
            | Values::Timestamp(_) => {
                Err(self.mismatch("a number with a fraction, an exponent or too many digits"))
            }
            _ => Err(self.mismatch("a number")),
        }
    }

    #[inline]
    fn visit_bool<E: SerdeError>(self, value: bool) -> Result<(), E> {
        match &mut self.column.values {
            Values::Boolean(values) => {
                values.append(value);
                self.column.nulls.append_non_null();
                Ok(())
            }
            _ => Err(self.mismatch("true or false")),
        }
    }

    #[inline]
    fn visit_unit<E: SerdeError>(self) -> Result<(), E> {
        if !self.column.nullable {
            return Err(self.trouble.unfit("null, but declared NOT NULL"));
        }
        self.column.push_null().map_err(|full| self.trouble.full(full))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let ValueSeed { column, trouble } = self;
        let Values::List { offsets, element, .. } = &mut column.values else {
            return Err(ValueSeed { column, trouble }.mismatch("an array"));
        };
        loop {
            match seq.next_element_seed(ValueSeed { column: element, trouble }) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    trouble.inside("element");
                    return Err(error);
                }
            }
        }
        offsets.push(element.len()).map_err(|full| trouble.full(full))?;
        column.nulls.append_non_null();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let ValueSeed { column, trouble } = self;
        let len = column.len();
        match &mut column.values {
            Values::Struct(fields) => read_fields(fields, len, trouble, map)?,
            Values::Map { offsets, key_max, keys, value, .. } => {
                while map.next_key_seed(KeySeed { keys, max: *key_max, trouble })?.is_some() {
                    let read = map.next_value_seed(ValueSeed { column: value, trouble });
                    if read.is_err() {
                        trouble.inside("value");
                    }
                    read?;
                }
                if let Some(key) = repeated_key(offsets, keys) {
                    let key = String::from_utf8_lossy(key);
                    return Err(trouble.unfit(format!("the map's key \"{}\" stands twice", clip(&key))));
                }
                offsets.push(value.len()).map_err(|full| trouble.full(full))?;
            }
            _ => return Err(ValueSeed { column, trouble }.mismatch("an object")),
        }
        column.nulls.append_non_null();
        Ok(())
    }
}

/// Appends a map's key.
struct KeySeed<'a> {
    keys: &'a mut super::columns::Bytes,
    max: Option<u32>,
    trouble: &'a mut Trouble,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = ();

    #[inline]
    fn deserialize<D: SerdeDeserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_str<E: SerdeError>(self, key: &str) -> Result<(), E> {
        if let Some(max) = self.max
            && key.len() > max as usize
            && key.chars().count() > max as usize
        {
            return Err(self.trouble.unfit(format!("a map's key is longer than {max} characters")));
        }
        self.keys.push(key.as_bytes()).map_err(|full| self.trouble.full(full))
    }
}
