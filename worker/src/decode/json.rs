//! JSON: one object's text into the columns, in one pass and without a tree.
//!
//! The columns lead: at each value they say what may stand there, and at each key which one most likely comes next.
//! Order: a row's columns are complete before the row counts; a row that fails is truncated away.
//! Neighbours: text reads tokens, scalar makes values of them, columns keep them; batch above.

use std::borrow::Cow;
use std::fmt;

use arrow_array::ArrayRef;
use arrow_schema::ArrowError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::columns::{Bytes, Column, Fields, Full, Values, repeated_key};
use super::text::{DEPTH_MAX, NotJson, Number, Quoted, Text, Whole};
use super::{DecodeError, RowDecoder, scalar};
use crate::schema::TableSchema;

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
        let mut text = Text::new(text);
        match read_record(&mut text, &mut self.fields, self.rows) {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(stop) => {
                self.fields.truncate(self.rows);
                Err(stop.explain(value, text.at()))
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

/// The value's text, if it is one and not obviously something else than an object.
fn check(value: &[u8]) -> Result<&str, String> {
    let text = simdutf8::basic::from_utf8(value).map_err(|_| match std::str::from_utf8(value) {
        Err(error) => format!("not UTF-8 at byte {}", error.valid_up_to()),
        Ok(_) => "not UTF-8".to_owned(),
    })?;
    match value.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
        Some(b'{') => Ok(text),
        Some(0xEF) if value.starts_with(b"\xEF\xBB\xBF") => {
            Err("not a JSON object: starts with a byte order mark".to_owned())
        }
        Some(_) => Err("not a JSON object".to_owned()),
        None => Err("not a JSON object: empty".to_owned()),
    }
}

/// Why reading stopped. Small, because every value returns one or none.
enum Stop {
    NotJson(NotJson),
    Unfit(Box<Unfit>),
    Full,
}

struct Unfit {
    reason: String,
    /// The way to the column, innermost first.
    path: Vec<String>,
}

impl From<NotJson> for Stop {
    fn from(not_json: NotJson) -> Self {
        Stop::NotJson(not_json)
    }
}

impl From<Full> for Stop {
    fn from(_: Full) -> Self {
        Stop::Full
    }
}

#[cold]
fn unfit(reason: impl Into<String>) -> Stop {
    Stop::Unfit(Box::new(Unfit { reason: reason.into(), path: Vec::new() }))
}

impl Stop {
    #[cold]
    fn inside(mut self, name: &str) -> Self {
        if let Stop::Unfit(unfit) = &mut self {
            unfit.path.push(name.to_owned());
        }
        self
    }

    /// What to tell of it. Reading stops at the first fault; a wrong escape or too deep nesting anywhere in the record
    /// tells more of its producer, whatever was expected in its place.
    #[cold]
    fn explain(self, value: &[u8], at: usize) -> DecodeError {
        if matches!(self, Stop::Full) {
            return DecodeError::Full;
        }
        if let Err(reason) = check_escapes(value).and_then(|()| check_depth(value)) {
            return DecodeError::Unfit { column: None, reason };
        }
        match self {
            Stop::Full => DecodeError::Full,
            Stop::NotJson(NotJson(expected)) => DecodeError::Unfit {
                column: None,
                reason: format!("not JSON: expected {expected} at byte {at}"),
            },
            Stop::Unfit(unfit) => {
                let Unfit { reason, mut path } = *unfit;
                path.reverse();
                DecodeError::Unfit { column: (!path.is_empty()).then(|| path.join(".")), reason }
            }
        }
    }
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

/// Rightly escaped text only (see [`check_escapes`]).
fn check_depth(value: &[u8]) -> Result<(), String> {
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

/// Reads the object that is a record, and nothing may stand behind it.
fn read_record(text: &mut Text<'_>, fields: &mut Fields, row: usize) -> Result<(), Stop> {
    text.token();
    read_fields(text, fields, row, 1)?;
    Ok(text.end()?)
}

/// Reads an object, on whose `{` the cursor stands, into fields that have `row` values each, so that each has one
/// more. `depth` counts this object too.
fn read_fields(text: &mut Text<'_>, fields: &mut Fields, row: usize, depth: usize) -> Result<(), Stop> {
    let (mut next, mut read) = (0, 0);
    text.step(1);
    if text.token() == b'}' {
        text.step(1);
    } else {
        loop {
            if let Some(index) = read_key(text, fields, next)? {
                read_field(text, fields, index, row, depth)
                    .map_err(|stop| stop.inside(&fields.names[index]))?;
                read += 1;
                next = index + 1;
            } else {
                text.skip(depth)?;
            }
            if !goes_on(text, b'}', "`,` or `}`")? {
                break;
            }
            text.token();
        }
    }
    if read < fields.columns.len() {
        fill(fields, row)?;
    }
    Ok(())
}

/// Whether a comma stands here, or else `closing`.
#[inline]
fn goes_on(text: &mut Text<'_>, closing: u8, expected: &'static str) -> Result<bool, NotJson> {
    let token = text.token();
    if token != b',' && token != closing {
        return Err(NotJson(expected));
    }
    text.step(1);
    Ok(token == b',')
}

/// Takes a key and its colon: which field it means, if any. The cursor stands where the key begins.
#[inline]
fn read_key(text: &mut Text<'_>, fields: &Fields, next: usize) -> Result<Option<usize>, Stop> {
    if let Some((index, length)) = fields.expected(text.rest(), next) {
        text.step(length);
        return Ok(Some(index));
    }
    read_unexpected_key(text, fields, next)
}

fn read_unexpected_key(text: &mut Text<'_>, fields: &Fields, next: usize) -> Result<Option<usize>, Stop> {
    let key = any_key(text)?;
    let index = fields.find(&plain(key)?, next);
    text.take(b':', "`:`")?;
    Ok(index)
}

fn any_key<'a>(text: &mut Text<'a>) -> Result<Quoted<'a>, NotJson> {
    if text.token() != b'"' {
        return Err(NotJson("a key"));
    }
    text.string()
}

/// What the string means.
#[inline]
fn plain(quoted: Quoted<'_>) -> Result<Cow<'_, str>, NotJson> {
    if !quoted.escaped {
        return Ok(Cow::Borrowed(quoted.raw));
    }
    let mut meant = Vec::with_capacity(quoted.raw.len());
    quoted.unescape(&mut meant)?;
    Ok(Cow::Owned(String::from_utf8(meant).expect("whole characters make a text")))
}

#[inline]
fn read_field(
    text: &mut Text<'_>,
    fields: &mut Fields,
    index: usize,
    row: usize,
    depth: usize,
) -> Result<(), Stop> {
    let column = &mut fields.columns[index];
    // What this object has filled already is one longer than the rest.
    if column.len() > row {
        return Err(unfit("its key stands twice in one object"));
    }
    read_value(text, column, depth)
}

/// Nulls for what the object did not have.
fn fill(fields: &mut Fields, row: usize) -> Result<(), Stop> {
    for (column, name) in fields.columns.iter_mut().zip(&fields.names) {
        if column.len() > row {
            continue;
        }
        if !column.nullable {
            return Err(unfit("missing, but declared NOT NULL").inside(name));
        }
        column.push_null()?;
    }
    Ok(())
}

/// Appends the next value to its column. `depth` arrays and objects are open around it.
fn read_value(text: &mut Text<'_>, column: &mut Column, depth: usize) -> Result<(), Stop> {
    let token = text.token();
    match (&mut column.values, token) {
        (_, b'n') => {
            text.word("null")?;
            return push_null(column);
        }
        (Values::Text { max, bytes }, b'"') => read_text(text.string()?, *max, bytes)?,
        (Values::Binary(bytes), b'"') => read_base64(&plain(text.string()?)?, bytes)?,
        (Values::Timestamp(values), b'"') => {
            let value = plain(text.string()?)?;
            values.push(scalar::timestamp(&value).map_err(|why| wrong_text(&value, why))?);
        }
        (Values::Date(values), b'"') => {
            let value = plain(text.string()?)?;
            values.push(scalar::date(&value).map_err(|why| wrong_text(&value, why))?);
        }
        // Digits need no escapes; where there are some, it is no number.
        (values @ Values::Decimal { .. }, b'"') => push_decimal(values, text.string()?.raw)?,
        (Values::Boolean(values), b't') => {
            text.word("true")?;
            values.append(true);
        }
        (Values::Boolean(values), b'f') => {
            text.word("false")?;
            values.append(false);
        }
        (values, b'-' | b'0'..=b'9') => push_number(values, text.number()?)?,
        (Values::List { offsets, element, .. }, b'[') => {
            read_elements(text, element, depth + 1)?;
            offsets.push(element.len())?;
        }
        (Values::Struct(fields), b'{') => read_fields(text, fields, column.nulls.len(), depth + 1)?,
        (Values::Map { .. }, b'{') => read_map(text, &mut column.values, depth + 1)?,
        (values, _) => return Err(mismatch(values, token)),
    }
    column.nulls.append_non_null();
    Ok(())
}

fn push_null(column: &mut Column) -> Result<(), Stop> {
    if !column.nullable {
        return Err(unfit("null, but declared NOT NULL"));
    }
    Ok(column.push_null()?)
}

#[inline]
fn read_text(quoted: Quoted<'_>, max: Option<u32>, bytes: &mut Bytes) -> Result<(), Stop> {
    let text = plain(quoted)?;
    if let Some(max) = max
        && longer(&text, max)
    {
        return Err(unfit(format!("longer than {max} characters")));
    }
    Ok(bytes.push(text.as_bytes())?)
}

/// A character has at least a byte, so short texts are not counted.
#[inline]
fn longer(text: &str, max: u32) -> bool {
    text.len() > max as usize && text.chars().count() > max as usize
}

fn read_base64(text: &str, bytes: &mut Bytes) -> Result<(), Stop> {
    bytes.push_with(|buffer| {
        STANDARD.decode_vec(text, buffer).map_err(|why| unfit(format!("no base64: {why}")))
    })
}

#[inline]
fn push_number(values: &mut Values, number: Number<'_>) -> Result<(), Stop> {
    match values {
        Values::Int64(values) => values.push(whole(number, "bigint")?),
        Values::Int32(values) => values.push(whole(number, "int")?),
        Values::Int16(values) => values.push(whole(number, "smallint")?),
        Values::Int8(values) => values.push(whole(number, "tinyint")?),
        Values::Timestamp(values) => {
            let millis = whole(number, "timestamp")?;
            let micros = scalar::timestamp_from_millis(millis);
            values.push(micros.map_err(|why| unfit(format!("{millis} milliseconds are {why}")))?);
        }
        Values::Float64(values) => match number.double() {
            value if value.is_finite() => values.push(value),
            _ => return Err(out_of_range(number, "double")),
        },
        Values::Float32(values) => match number.float() {
            value if value.is_finite() => values.push(value),
            _ => return Err(out_of_range(number, "float")),
        },
        values @ Values::Decimal { .. } => push_decimal(values, number.text)?,
        values => return Err(mismatch(values, b'0')),
    }
    Ok(())
}

#[inline]
fn whole<T: TryFrom<i64>>(number: Number<'_>, kind: &str) -> Result<T, Stop> {
    match number.whole() {
        Whole::Is(value) => T::try_from(value).map_err(|_| out_of_range(number, kind)),
        Whole::Beyond => Err(out_of_range(number, kind)),
        Whole::Not => Err(unfit(format!(
            "found {}, a number with a fraction, an exponent or a sign before its 0, expected {kind}",
            clip(number.text)
        ))),
    }
}

fn push_decimal(values: &mut Values, number: &str) -> Result<(), Stop> {
    let Values::Decimal { precision, scale, values } = values else { unreachable!("called for decimals") };
    let value = scalar::decimal(number, *precision, *scale).map_err(|why| {
        unfit(format!("{} does not fit decimal({precision}, {scale}): {why}", clip(number)))
    })?;
    values.push(value);
    Ok(())
}

/// Reads an array, on whose `[` the cursor stands.
fn read_elements(text: &mut Text<'_>, element: &mut Column, depth: usize) -> Result<(), Stop> {
    text.step(1);
    if text.token() == b']' {
        text.step(1);
        return Ok(());
    }
    loop {
        read_value(text, element, depth).map_err(|stop| stop.inside("element"))?;
        if !goes_on(text, b']', "`,` or `]`")? {
            return Ok(());
        }
    }
}

/// Reads an object, on whose `{` the cursor stands, as keys and values.
fn read_map(text: &mut Text<'_>, values: &mut Values, depth: usize) -> Result<(), Stop> {
    let Values::Map { offsets, key_max, keys, value, .. } = values else { unreachable!("called for maps") };
    text.step(1);
    if text.token() == b'}' {
        text.step(1);
    } else {
        loop {
            let key = plain(any_key(text)?)?;
            if let Some(max) = *key_max
                && longer(&key, max)
            {
                return Err(unfit(format!("a map's key is longer than {max} characters")));
            }
            keys.push(key.as_bytes())?;
            text.take(b':', "`:`")?;
            read_value(text, value, depth).map_err(|stop| stop.inside("value"))?;
            if !goes_on(text, b'}', "`,` or `}`")? {
                break;
            }
        }
    }
    if let Some(key) = repeated_key(offsets, keys) {
        let key = String::from_utf8_lossy(key);
        return Err(unfit(format!("the map's key \"{}\" stands twice", clip(&key))));
    }
    Ok(offsets.push(value.len())?)
}

/// A value of another type, known by its first byte.
#[cold]
fn mismatch(values: &Values, token: u8) -> Stop {
    let found = match token {
        b'"' => "a string",
        b'{' => "an object",
        b'[' => "an array",
        b't' | b'f' => "true or false",
        b'-' | b'0'..=b'9' => "a number",
        _ => return Stop::NotJson(NotJson("a value")),
    };
    unfit(format!("found {found}, expected {}", values.kind()))
}

#[cold]
fn out_of_range(number: Number<'_>, kind: impl fmt::Display) -> Stop {
    unfit(format!("{} is outside the range of {kind}", clip(number.text)))
}

#[cold]
fn wrong_text(text: &str, why: &str) -> Stop {
    unfit(format!("\"{}\": {why}", clip(text)))
}

/// The beginning of a text, for a message.
fn clip(text: &str) -> &str {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
