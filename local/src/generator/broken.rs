//! Broken: what faulty producers, proxies and disks make of an event. None of it fits the schema.
//!
//! Every kind here is a dead letter beyond dispute; what a lenient decoder could take for a row is left out.
//! Neighbours: event makes it whole first. Pure, seeded.

use rand::Rng;
use rand::rngs::StdRng;

use super::json::{Json, Style};

/// A way to be broken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fault {
    Truncated,
    WrongType,
    WrongNestedType,
    MissingRequired,
    NullRequired,
    OutOfRange,
    BadTime,
    NotUtf8,
    NotJson,
    NotAnObject,
    Empty,
    TwoRecords,
    DuplicateKey,
}

pub const FAULTS: [Fault; 13] = [
    Fault::Truncated,
    Fault::WrongType,
    Fault::WrongNestedType,
    Fault::MissingRequired,
    Fault::NullRequired,
    Fault::OutOfRange,
    Fault::BadTime,
    Fault::NotUtf8,
    Fault::NotJson,
    Fault::NotAnObject,
    Fault::Empty,
    Fault::TwoRecords,
    Fault::DuplicateKey,
];

const REQUIRED: [&str; 4] = ["event_id", "event_type", "event_time", "user_id"];

/// The bytes of `event`, broken.
pub fn broken(rng: &mut StdRng, fault: Fault, mut event: Json, style: Style) -> Vec<u8> {
    let required = REQUIRED[rng.random_range(0..REQUIRED.len())];
    match fault {
        Fault::Truncated => {
            let mut bytes = event.write(style);
            // Without its last byte, the closing brace, an object is never whole.
            bytes.truncate(rng.random_range(1..bytes.len()));
            bytes
        }
        Fault::WrongType => {
            set(&mut event, "user_id", Json::Text("unknown".into()));
            event.write(style)
        }
        Fault::WrongNestedType => {
            let line = Json::Object(vec![("quantity".into(), Json::List(vec![Json::Raw("1".into())]))]);
            set(&mut event, "items", Json::List(vec![line]));
            event.write(style)
        }
        Fault::MissingRequired => {
            event.remove(required);
            event.write(style)
        }
        Fault::NullRequired => {
            set(&mut event, required, Json::Null);
            event.write(style)
        }
        Fault::OutOfRange => {
            let (name, number) =
                if rng.random() { ("user_id", "9223372036854775808") } else { ("loyalty_level", "300") };
            set(&mut event, name, Json::Raw(number.into()));
            event.write(style)
        }
        Fault::BadTime => {
            set(&mut event, "event_time", Json::Text("yesterday".into()));
            event.write(style)
        }
        Fault::NotUtf8 => {
            set(&mut event, "session_id", Json::Text("@@".into()));
            let mut bytes = event.write(style);
            if let Some(at) = bytes.windows(2).position(|pair| pair == b"@@") {
                bytes[at..at + 2].copy_from_slice(&[0xff, 0xfe]);
            }
            bytes
        }
        Fault::NotJson => b"<html><h1>502 Bad Gateway</h1></html>\r\n".to_vec(),
        Fault::NotAnObject => Json::List(vec![event]).write(style),
        Fault::Empty => Vec::new(),
        Fault::TwoRecords => {
            let mut bytes = event.write(style);
            bytes.extend_from_within(..);
            bytes
        }
        Fault::DuplicateKey => {
            if let Json::Object(fields) = &mut event {
                fields.push(("user_id".into(), Json::Raw("1".into())));
            }
            event.write(style)
        }
    }
}

fn set(event: &mut Json, name: &str, value: Json) {
    match event.field_mut(name) {
        Some(field) => *field = value,
        None => {
            if let Json::Object(fields) = event {
                fields.push((name.to_owned(), value));
            }
        }
    }
}
