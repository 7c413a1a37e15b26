//! Columns: growable arrays that can go back to any number of whole rows.
//!
//! Arrow's own builders cannot take back what was appended, so a record that fails half-way would leave its first
//! half behind. Here everything that a column holds is derived from its length: `truncate(n)` restores what was
//! there when it had `n` values, whatever was half appended since (the length of a list's child is the list's
//! `n`-th offset). So good rows cannot be touched by bad ones.
//! Neighbours: json fills them.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields as ArrowFields};

use crate::schema::{self, SqlType, UTC};

/// A column would pass what 32-bit offsets can reach.
#[derive(Debug)]
pub(super) struct Full;

/// What a finished column's replacement keeps ready, in elements, so that the next batch does not grow from nothing
/// and one huge record is not remembered for ever.
const KEPT_MAX: usize = 1 << 16;

/// Where each value of variable length ends. Starts with a 0, so it is one longer than its column.
#[derive(Debug)]
pub(super) struct Offsets(Vec<i32>);

impl Offsets {
    pub(super) fn new() -> Self {
        Offsets(vec![0])
    }

    /// Closes a value that ends before `end`.
    #[inline]
    pub(super) fn push(&mut self, end: usize) -> Result<(), Full> {
        self.0.push(i32::try_from(end).map_err(|_| Full)?);
        Ok(())
    }

    /// Where the last value ends.
    #[inline]
    fn end(&self) -> usize {
        *self.0.last().expect("offsets start with a 0") as usize
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len + 1);
    }

    pub(super) fn finish(&mut self) -> OffsetBuffer<i32> {
        let mut next = Vec::with_capacity(self.0.len().min(KEPT_MAX));
        next.push(0);
        OffsetBuffer::new(ScalarBuffer::from(mem::replace(&mut self.0, next)))
    }
}

/// Texts or byte strings, end to end.
#[derive(Debug)]
pub(super) struct Bytes {
    offsets: Offsets,
    bytes: Vec<u8>,
}

impl Bytes {
    pub(super) fn new() -> Self {
        Bytes { offsets: Offsets::new(), bytes: Vec::new() }
    }

    #[inline]
    pub(super) fn push(&mut self, value: &[u8]) -> Result<(), Full> {
        // The offset first: past the limit nothing is copied.
        self.offsets.push(self.bytes.len() + value.len())?;
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    /// Appends what `write` appends; where it fails, nothing.
    pub(super) fn push_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E>
    where
        E: From<Full>,
    {
        let start = self.bytes.len();
        let written =
            write(&mut self.bytes).and_then(|()| self.offsets.push(self.bytes.len()).map_err(E::from));
        if written.is_err() {
            self.bytes.truncate(start);
        }
        written
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len);
        self.bytes.truncate(self.offsets.end());
    }

    /// The values from `first` on.
    fn slices_from(&self, first: usize) -> impl Iterator<Item = &[u8]> {
        self.offsets.0[first..].windows(2).map(|ends| &self.bytes[ends[0] as usize..ends[1] as usize])
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        // An eighth more: a batch a little longer than the last would else copy all that it has and take twice the
        // memory.
        let next = Vec::with_capacity((self.bytes.len() / 8 * 9).min(KEPT_MAX * 8));
        (self.offsets.finish(), Buffer::from_vec(mem::replace(&mut self.bytes, next)))
    }

    pub(super) fn finish_text(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let (offsets, bytes) = self.finish();
        Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls)?))
    }

    pub(super) fn finish_binary(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let (offsets, bytes) = self.finish();
        Ok(Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?))
    }
}

/// One column, or one field of a struct, or the elements of a list.
pub(super) struct Column {
    pub(super) nullable: bool,
    pub(super) nulls: NullBufferBuilder,
    pub(super) values: Values,
}

/// A column's values; as many as its nulls tell, but while a value is being appended.
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        precision: u8,
        scale: u8,
        values: Vec<i128>,
    },
    Date(Vec<i32>),
    /// Microseconds.
    Timestamp(Vec<i64>),
    Text {
        max: Option<u32>,
        bytes: Bytes,
    },
    Binary(Bytes),
    List {
        offsets: Offsets,
        element: Box<Column>,
        field: FieldRef,
    },
    Map {
        offsets: Offsets,
        key_max: Option<u32>,
        keys: Bytes,
        value: Box<Column>,
        entries: FieldRef,
    },
    Struct(Fields),
}

impl Column {
    pub(super) fn new(sql_type: &SqlType, nullable: bool) -> Self {
        let values = match sql_type {
            SqlType::String { max } => Values::Text { max: *max, bytes: Bytes::new() },
            SqlType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            SqlType::TinyInt => Values::Int8(Vec::new()),
            SqlType::SmallInt => Values::Int16(Vec::new()),
            SqlType::Int => Values::Int32(Vec::new()),
            SqlType::BigInt => Values::Int64(Vec::new()),
            SqlType::Float => Values::Float32(Vec::new()),
            SqlType::Double => Values::Float64(Vec::new()),
            SqlType::Decimal { precision, scale } => {
                Values::Decimal { precision: *precision, scale: *scale, values: Vec::new() }
            }
            SqlType::Date => Values::Date(Vec::new()),
            SqlType::Timestamp => Values::Timestamp(Vec::new()),
            SqlType::Binary => Values::Binary(Bytes::new()),
            SqlType::Array(element) => {
                let DataType::List(field) = sql_type.arrow() else {
                    unreachable!("an array is a list in Arrow")
                };
                Values::List { offsets: Offsets::new(), element: Box::new(Column::new(element, true)), field }
            }
            SqlType::Map { key_max, value } => {
                let DataType::Map(entries, _) = sql_type.arrow() else {
                    unreachable!("a map is a map in Arrow")
                };
                Values::Map {
                    offsets: Offsets::new(),
                    key_max: *key_max,
                    keys: Bytes::new(),
                    value: Box::new(Column::new(value, true)),
                    entries,
                }
            }
            SqlType::Struct(fields) => Values::Struct(Fields::new(fields)),
        };
        Column { nullable, nulls: NullBufferBuilder::new(0), values }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Appends a null, NOT NULL or not: under a null struct even such a field has one, which nobody sees.
    pub(super) fn push_null(&mut self) -> Result<(), Full> {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Timestamp(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Text { bytes, .. } | Values::Binary(bytes) => bytes.push(&[])?,
            Values::List { offsets, .. } | Values::Map { offsets, .. } => {
                let end = offsets.end();
                offsets.push(end)?;
            }
            Values::Struct(fields) => fields.columns.iter_mut().try_for_each(Column::push_null)?,
        }
        self.nulls.append_null();
        Ok(())
    }

    /// Goes back to the first `len` values.
    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int8(values) => values.truncate(len),
            Values::Int16(values) => values.truncate(len),
            Values::Int32(values) | Values::Date(values) => values.truncate(len),
            Values::Int64(values) | Values::Timestamp(values) => values.truncate(len),
            Values::Float32(values) => values.truncate(len),
            Values::Float64(values) => values.truncate(len),
            Values::Decimal { values, .. } => values.truncate(len),
            Values::Text { bytes, .. } | Values::Binary(bytes) => bytes.truncate(len),
            Values::List { offsets, element, .. } => {
                offsets.truncate(len);
                element.truncate(offsets.end());
            }
            Values::Map { offsets, keys, value, .. } => {
                offsets.truncate(len);
                keys.truncate(offsets.end());
                value.truncate(offsets.end());
            }
            Values::Struct(fields) => fields.truncate(len),
        }
        self.nulls.truncate(len);
    }

    /// Gives the values up and starts again with none.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let len = self.len();
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => Arc::new(primitive::<Int8Type>(values, nulls)?),
            Values::Int16(values) => Arc::new(primitive::<Int16Type>(values, nulls)?),
            Values::Int32(values) => Arc::new(primitive::<Int32Type>(values, nulls)?),
            Values::Int64(values) => Arc::new(primitive::<Int64Type>(values, nulls)?),
            Values::Float32(values) => Arc::new(primitive::<Float32Type>(values, nulls)?),
            Values::Float64(values) => Arc::new(primitive::<Float64Type>(values, nulls)?),
            Values::Decimal { precision, scale, values } => Arc::new(
                primitive::<Decimal128Type>(values, nulls)?
                    .with_precision_and_scale(*precision, *scale as i8)?,
            ),
            Values::Date(values) => Arc::new(primitive::<Date32Type>(values, nulls)?),
            Values::Timestamp(values) => timestamps(values, nulls)?,
            Values::Text { bytes, .. } => bytes.finish_text(nulls)?,
            Values::Binary(bytes) => bytes.finish_binary(nulls)?,
            Values::List { offsets, element, field } => {
                let element = element.finish()?;
                Arc::new(ListArray::try_new(field.clone(), offsets.finish(), element, nulls)?)
            }
            Values::Map { offsets, keys, value, entries, .. } => {
                let DataType::Struct(pair) = entries.data_type() else { unreachable!("entries are pairs") };
                let pairs = vec![keys.finish_text(None)?, value.finish()?];
                let pairs = StructArray::try_new(pair.clone(), pairs, None)?;
                Arc::new(MapArray::try_new(entries.clone(), offsets.finish(), pairs, nulls, false)?)
            }
            Values::Struct(fields) => {
                let arrays = fields.finish()?;
                Arc::new(StructArray::try_new_with_length(fields.arrow.clone(), arrays, nulls, len)?)
            }
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    let next = Vec::with_capacity(values.len().min(KEPT_MAX));
    PrimitiveArray::try_new(ScalarBuffer::from(mem::replace(values, next)), nulls)
}

/// Microseconds as Landfall's timestamps.
pub(super) fn timestamps(values: &mut Vec<i64>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(primitive::<TimestampMicrosecondType>(values, nulls)?.with_timezone(UTC)))
}

/// The columns of a table, or the fields of a struct.
pub(super) struct Fields {
    pub(super) names: Vec<Box<str>>,
    pub(super) columns: Vec<Column>,
    /// The names as they stand in a record, quotes and colon included; empty where that needs escapes.
    keys: Vec<Box<[u8]>>,
    /// For wide ones; a few names are compared faster than one is hashed.
    by_name: Option<HashMap<Box<str>, usize>>,
    arrow: ArrowFields,
}

/// Up to how many fields a name is looked for one by one.
const SCANNED_MAX: usize = 24;

/// How many of the next names are tried before all are searched.
const NEAR: usize = 4;

impl Fields {
    pub(super) fn new(fields: &[schema::Column]) -> Self {
        let names: Vec<Box<str>> = fields.iter().map(|field| field.name.as_str().into()).collect();
        let by_name = (names.len() > SCANNED_MAX)
            .then(|| names.iter().cloned().enumerate().map(|(index, name)| (name, index)).collect());
        Fields {
            keys: names.iter().map(|name| as_key(name)).collect(),
            names,
            columns: fields.iter().map(|field| Column::new(&field.sql_type, field.nullable)).collect(),
            by_name,
            arrow: fields.iter().map(schema::Column::arrow).collect(),
        }
    }

    /// The field whose key, colon included, `text` begins with, and the bytes of that: only `next` and the few behind
    /// it are tried, because producers keep the order of their keys and leave out what they have not.
    #[inline]
    pub(super) fn expected(&self, text: &[u8], next: usize) -> Option<(usize, usize)> {
        let begins =
            |key: &[u8]| !key.is_empty() && text.get(..key.len()).is_some_and(|start| same(start, key));
        let near = self.keys.iter().enumerate().skip(next).take(NEAR);
        near.filter(|(_, key)| begins(key)).map(|(index, key)| (index, key.len())).next()
    }

    /// The field of this name; `next` is where it is expected, because producers keep the order of their keys.
    #[inline]
    pub(super) fn find(&self, name: &str, next: usize) -> Option<usize> {
        match self.names.get(next) {
            Some(expected) if same(expected.as_bytes(), name.as_bytes()) => Some(next),
            _ => self.search(name, next),
        }
    }

    fn search(&self, name: &str, next: usize) -> Option<usize> {
        // From `next` on and round: a left-out optional field is the usual reason to be here.
        let (before, behind) = self.names.split_at(next.min(self.names.len()));
        if let Some(by_name) = &self.by_name {
            let near = behind.iter().take(NEAR).position(|other| **other == *name);
            return near.map(|index| before.len() + index).or_else(|| by_name.get(name).copied());
        }
        let found = behind.iter().position(|other| **other == *name).map(|index| before.len() + index);
        found.or_else(|| before.iter().position(|other| **other == *name))
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(len));
    }

    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

fn as_key(name: &str) -> Box<[u8]> {
    let plain = name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if plain { format!("\"{name}\":").into_bytes().into() } else { Box::default() }
}

/// Whether two names are one. Names are short: comparing them by words costs less than calling `memcmp`, once for
/// every key of every record.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        // The last word may overlap the one before it.
        (Some(last), Some(other_last)) => {
            last == other_last
                && one.chunks_exact(8).zip(other.chunks_exact(8)).all(|(one, other)| word(one) == word(other))
        }
        _ => one.iter().eq(other),
    }
}

#[inline]
fn word(eight: &[u8]) -> Option<u64> {
    eight.try_into().ok().map(u64::from_ne_bytes)
}

impl Values {
    /// What the column is called in a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Values::Boolean(_) => "boolean",
            Values::Int8(_) => "tinyint",
            Values::Int16(_) => "smallint",
            Values::Int32(_) => "int",
            Values::Int64(_) => "bigint",
            Values::Float32(_) => "float",
            Values::Float64(_) => "double",
            Values::Decimal { .. } => "decimal",
            Values::Date(_) => "date",
            Values::Timestamp(_) => "timestamp",
            Values::Text { .. } => "string",
            Values::Binary(_) => "binary",
            Values::List { .. } => "array",
            Values::Map { .. } => "map",
            Values::Struct(_) => "struct",
        }
    }
}

/// The first key that stands twice among those that were appended since the last map was closed.
pub(super) fn repeated_key<'a>(offsets: &Offsets, keys: &'a Bytes) -> Option<&'a [u8]> {
    const COMPARED_MAX: usize = 16;
    let first = offsets.end();
    let count = keys.offsets.0.len() - 1 - first;
    if count <= COMPARED_MAX {
        let mut rest = keys.slices_from(first);
        while let Some(key) = rest.next() {
            if keys.slices_from(first + count - rest.size_hint().0).any(|other| other == key) {
                return Some(key);
            }
        }
        return None;
    }
    let mut seen = std::collections::HashSet::with_capacity(count);
    keys.slices_from(first).find(|key| !seen.insert(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_of(names: &[&str]) -> Fields {
        let column = |name: &&str| schema::Column {
            name: (*name).to_owned(),
            sql_type: SqlType::Int,
            nullable: true,
            comment: None,
        };
        Fields::new(&names.iter().map(column).collect::<Vec<_>>())
    }

    #[test]
    fn names_that_differ_anywhere_are_not_the_same() {
        let name = b"a_name_of_twenty-six_bytes";
        for length in 0..=name.len() {
            assert!(same(&name[..length], &name.to_vec()[..length]));
            assert!(!same(&name[..length], b"a_name_of_twenty-six_bytes_"));
            for changed in 0..length {
                let mut other = name[..length].to_vec();
                other[changed] ^= 1;
                assert!(!same(&name[..length], &other), "{length} long, differs at {changed}");
            }
        }
    }

    #[test]
    fn offsets_end_at_32_bits_and_say_so() {
        let mut offsets = Offsets::new();
        assert!(offsets.push(i32::MAX as usize).is_ok());
        assert!(offsets.push(i32::MAX as usize + 1).is_err());
        assert_eq!(offsets.end(), i32::MAX as usize);
    }

    #[test]
    fn a_repeated_key_is_found_among_few_and_among_many_and_only_in_its_own_map() {
        for count in [2, 3, 16, 17, 100] {
            let mut offsets = Offsets::new();
            let mut keys = Bytes::new();
            keys.push(b"0").expect("small");
            offsets.push(1).expect("small");
            for key in 0..count {
                keys.push(key.to_string().as_bytes()).expect("small");
            }
            assert_eq!(repeated_key(&offsets, &keys), None, "{count} keys");
            keys.push((count - 1).to_string().as_bytes()).expect("small");
            assert_eq!(repeated_key(&offsets, &keys), Some((count - 1).to_string().as_bytes()));
        }
    }

    #[test]
    fn a_key_is_expected_whole_and_near_and_only_if_it_needs_no_escapes() {
        let fields = fields_of(&["a", "ab", "quo\"te", "back\\slash", "é", "last", "far"]);
        assert_eq!(fields.expected(br#""a":1"#, 0), Some((0, 4)));
        assert_eq!(fields.expected(br#""ab":1"#, 0), Some((1, 5)));
        assert_eq!(fields.expected(br#""a":1"#, 1), None, "behind us");
        assert_eq!(fields.expected(br#""last":"#, 5), Some((5, 7)));
        assert_eq!(fields.expected(br#""far":"#, 2), None, "too far");
        assert_eq!(fields.expected(br#""far":"#, 7), None, "all are read");
        assert_eq!(fields.expected("\"é\":".as_bytes(), 2), Some((4, 5)));
        for other in [
            &br#""a" :"#[..],
            br#""a"#,
            br#""A":"#,
            br#""ab""#,
            br#""quo"te":"#,
            br#""quo\"te":"#,
            br#""back\slash":"#,
            b"",
        ] {
            assert_eq!(fields.expected(other, 0), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn a_name_is_found_wherever_it_is_expected() {
        for count in [1, 2, SCANNED_MAX, SCANNED_MAX + 1] {
            let names: Vec<String> = (0..count).map(|index| format!("c{index}")).collect();
            let fields = fields_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
            for next in 0..count + 2 {
                for index in 0..count {
                    assert_eq!(fields.find(&format!("c{index}"), next), Some(index));
                }
                assert_eq!(fields.find("C0", next), None);
            }
        }
    }
}
