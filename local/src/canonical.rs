//! Canonical: one spelling for a row's values, whoever made them.
//!
//! The generator spells what it sent, the proof spells what it read back from Parquet; equal spellings mean equal
//! rows. Types are part of the spelling, so that a timestamp that came back as a number does not pass.
//! Neighbours: generator and proof. Pure.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A value of the schema's types. Floats are spelled by their bits.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Value {
    Null,
    Bool(bool),
    /// An integer of so many bits.
    Int(u8, i64),
    Float(u32),
    Double(u64),
    Decimal {
        unscaled: i128,
        scale: i8,
    },
    /// Microseconds since 1970, UTC.
    Timestamp(i64),
    /// Days since 1970.
    Date(i32),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    /// Sorted by key.
    Map(Vec<(Value, Value)>),
    /// In the schema's order.
    Struct(Vec<(String, Value)>),
    /// A type that the example's schema does not have; equal to nothing that the generator makes.
    Foreign(String),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    pub fn double(number: f64) -> Value {
        Value::Double(number.to_bits())
    }

    pub fn float(number: f32) -> Value {
        Value::Float(number.to_bits())
    }

    /// `None` is null.
    pub fn or_null<T>(value: Option<T>, spell: impl FnOnce(T) -> Value) -> Value {
        value.map_or(Value::Null, spell)
    }

    /// Sorts the pairs, because a map has no order.
    pub fn map(mut pairs: Vec<(Value, Value)>) -> Value {
        pairs.sort();
        Value::Map(pairs)
    }

    pub fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Struct(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// 64 bits of the spelling. Stable within a process, which is as long as it is kept.
    pub fn content_hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// The first field of two structs that differs, as `name: expected … found …`; the whole otherwise.
    pub fn first_difference(expected: &Value, found: &Value) -> String {
        if let (Value::Struct(expected), Value::Struct(found)) = (expected, found) {
            let names = |fields: &[(String, Value)]| fields.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
            if names(expected) != names(found) {
                return format!("fields {:?}, found {:?}", names(expected), names(found));
            }
            for ((name, expected), (_, found)) in expected.iter().zip(found) {
                if expected != found {
                    return format!("`{name}`: {}", Value::first_difference(expected, found));
                }
            }
        }
        format!("sent {}, found {}", clip(expected), clip(found))
    }
}

/// A report shows the beginning of a long value.
fn clip(value: &Value) -> String {
    const CHARS_MAX: usize = 160;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(bits, value) => write!(f, "int{bits} {value}"),
            Value::Float(bits) => write!(f, "float {}", f32::from_bits(*bits)),
            Value::Double(bits) => write!(f, "double {}", f64::from_bits(*bits)),
            Value::Decimal { unscaled, scale } => write!(f, "decimal {unscaled}e-{scale}"),
            Value::Timestamp(micros) => write!(f, "timestamp {micros} µs"),
            Value::Date(days) => write!(f, "day {days}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Value::List(values) => write_all(f, "[", "]", values, |f, value| fmt::Display::fmt(value, f)),
            Value::Map(pairs) => {
                write_all(f, "map{", "}", pairs, |f, (key, value)| write!(f, "{key}: {value}"))
            }
            Value::Struct(fields) => {
                write_all(f, "{", "}", fields, |f, (name, value)| write!(f, "{name}: {value}"))
            }
            Value::Foreign(what) => write!(f, "<{what}>"),
        }
    }
}

fn write_all<T>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    close: &str,
    items: &[T],
    each: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        each(f, item)?;
    }
    f.write_str(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_part_of_the_spelling() {
        assert_ne!(Value::Timestamp(7).content_hash(), Value::Int(64, 7).content_hash());
        assert_ne!(Value::Null.content_hash(), Value::text("").content_hash());
        assert_ne!(
            Value::Decimal { unscaled: 120, scale: 1 }.content_hash(),
            Value::Decimal { unscaled: 120, scale: 2 }.content_hash()
        );
    }

    #[test]
    fn a_map_has_no_order() {
        let one =
            Value::map(vec![(Value::text("a"), Value::text("1")), (Value::text("b"), Value::text("2"))]);
        let other =
            Value::map(vec![(Value::text("b"), Value::text("2")), (Value::text("a"), Value::text("1"))]);
        assert_eq!(one.content_hash(), other.content_hash());
    }

    #[test]
    fn a_difference_names_the_innermost_field() {
        let row = |cents| {
            Value::record([
                ("id", Value::Int(64, 1)),
                ("order", Value::record([("total", Value::Decimal { unscaled: cents, scale: 2 })])),
            ])
        };
        assert_eq!(
            Value::first_difference(&row(100), &row(101)),
            "`order`: `total`: sent decimal 100e-2, found decimal 101e-2"
        );
    }
}
