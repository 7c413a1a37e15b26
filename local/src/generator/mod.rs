//! Generator: the shop's events, with everything that makes real ones hard.
//!
//! The same seed, start and rate give the same messages, each by its index alone, so that a difference found at
//! the end can be shown beside what was sent.
//! Neighbours: producer sends what this makes; proof compares. Pure: no I/O, no clock.

pub mod broken;
mod event;
pub mod json;
mod shop;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::broken::FAULTS;
use self::json::Style;
use crate::canonical::Value;

/// One in so many events happened long before it was sent.
const LATE: f64 = 0.03;
/// One in so many is broken.
const BROKEN: f64 = 0.01;
/// One in so many is followed by a tombstone: the user asked to be forgotten.
const TOMBSTONE: f64 = 0.003;
const USERS: i64 = 5_000;

/// What must become of a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fate {
    Row,
    DeadLetter,
    /// A tombstone: left out.
    Filtered,
}

/// A message, and what must be found of it afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub partition: i32,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub fate: Fate,
    /// The row in Parquet, or the dead letter, in canonical spelling; null when filtered.
    pub content: Value,
}

impl Message {
    /// Bytes that it takes in a broker's log, at most: record framing included, batch header not.
    pub fn log_bytes(&self) -> u64 {
        const RECORD_FRAMING_MAX: usize = 32;
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len) + 10)
            .sum();
        let parts = [&self.key, &self.value].map(|part| part.as_ref().map_or(0, Vec::len));
        (parts.iter().sum::<usize>() + headers + RECORD_FRAMING_MAX) as u64
    }
}

/// Makes messages by index.
#[derive(Clone, Debug)]
pub struct Generator {
    pub seed: u64,
    /// When event 0 is sent, milliseconds since 1970.
    pub started_ms: i64,
    /// Events a second.
    pub rate: u32,
    pub partitions: i32,
}

impl Generator {
    /// Event `index`, and sometimes a tombstone after it.
    pub fn messages(&self, index: u64) -> (Message, Option<Message>) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rng = &mut rng;
        let timestamp_ms = self.started_ms + (index * 1000 / u64::from(self.rate)) as i64;
        let user_id = rng.random_range(1..=USERS);
        let event_micros = (timestamp_ms - lateness_ms(rng)) * 1000 + rng.random_range(0..1000);
        let event = event::event(rng, self.seed, user_id, event_micros);
        let style = Style {
            ascii: rng.random_bool(0.1),
            spaced: rng.random_bool(0.05),
            escaped_slashes: rng.random_bool(0.1),
        };
        let key = rng.random_bool(0.95).then(|| user_id.to_string().into_bytes());
        let partition = (user_id % i64::from(self.partitions)) as i32;
        let headers = headers(rng);
        let is_broken = rng.random_bool(BROKEN);
        let is_followed = rng.random_bool(TOMBSTONE);
        let message = if is_broken {
            let fault = FAULTS[rng.random_range(0..FAULTS.len())];
            let value = Some(broken::broken(rng, fault, event.json, style));
            let content = dead_letter(key.as_deref(), value.as_deref(), &headers, timestamp_ms);
            Message { partition, timestamp_ms, key, value, headers, fate: Fate::DeadLetter, content }
        } else {
            let value = Some(event.json.write(style));
            let content = row(event.row, timestamp_ms, event.event_time);
            Message { partition, timestamp_ms, key, value, headers, fate: Fate::Row, content }
        };
        let tombstone = is_followed.then(|| Message {
            partition,
            timestamp_ms,
            key: Some(user_id.to_string().into_bytes()),
            value: None,
            headers: Vec::new(),
            fate: Fate::Filtered,
            content: Value::Null,
        });
        (message, tombstone)
    }

    /// Bytes that one event takes in a broker's log, on average over the first ones.
    pub fn mean_log_bytes(&self) -> u64 {
        const SAMPLE: u64 = 500;
        let bytes: u64 = (0..SAMPLE)
            .map(|index| {
                let (message, tombstone) = self.messages(index);
                message.log_bytes() + tombstone.map_or(0, |t| t.log_bytes())
            })
            .sum();
        bytes.div_ceil(SAMPLE)
    }
}

/// Most are sent within two seconds; the late ones after minutes, hours, seldom days.
fn lateness_ms(rng: &mut StdRng) -> i64 {
    const MINUTE: i64 = 60_000;
    if !rng.random_bool(LATE) {
        return rng.random_range(0..2_000);
    }
    match rng.random_range(0..10) {
        0..=6 => rng.random_range(MINUTE..180 * MINUTE),
        7 | 8 => rng.random_range(3..12) * 60 * MINUTE,
        _ => rng.random_range(1..=3) * 24 * 60 * MINUTE,
    }
}

fn headers(rng: &mut StdRng) -> Vec<(String, Option<Vec<u8>>)> {
    if !rng.random_bool(0.5) {
        return Vec::new();
    }
    let mut headers = vec![("trace-id".to_owned(), Some(rng.random::<[u8; 8]>().to_vec()))];
    if rng.random_bool(0.2) {
        headers.push(("source".to_owned(), Some("läden/web".as_bytes().to_vec())));
        headers.push(("source".to_owned(), None));
    }
    headers
}

/// The columns, then what else a row in the lake says: when it was sent, and the directories it lies in.
pub fn row(columns: Value, timestamp_ms: i64, event_micros: i64) -> Value {
    let at = DateTime::<Utc>::from_timestamp_micros(event_micros).unwrap_or(DateTime::UNIX_EPOCH);
    let mut fields = match columns {
        Value::Struct(fields) => fields,
        other => vec![("row".to_owned(), other)],
    };
    fields.push(("_timestamp".to_owned(), Value::Timestamp(timestamp_ms * 1000)));
    fields.push(("dt".to_owned(), Value::Text(at.format("%Y-%m-%d").to_string())));
    fields.push(("hour".to_owned(), Value::Text(at.format("%H").to_string())));
    Value::Struct(fields)
}

/// A dead letter: the raw message.
pub fn dead_letter(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(String, Option<Vec<u8>>)],
    timestamp_ms: i64,
) -> Value {
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    let headers = headers
        .iter()
        .map(|(name, value)| {
            let value = Value::or_null(value.as_deref(), bytes);
            Value::record([("name", Value::text(name)), ("value", value)])
        })
        .collect();
    Value::record([
        ("_timestamp", Value::Timestamp(timestamp_ms * 1000)),
        ("key", Value::or_null(key, bytes)),
        ("value", Value::or_null(value, bytes)),
        ("headers", Value::List(headers)),
        ("has_reason", Value::Bool(true)),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn generator(seed: u64) -> Generator {
        Generator { seed, started_ms: 1_795_343_524_000, rate: 1000, partitions: 12 }
    }

    #[test]
    fn the_same_seed_gives_the_same_messages() {
        for index in [0, 1, 77, 123_456] {
            assert_eq!(generator(7).messages(index), generator(7).messages(index));
            assert_ne!(generator(7).messages(index), generator(8).messages(index));
        }
    }

    #[test]
    fn every_kind_of_message_comes_in_its_share() {
        let generator = generator(1);
        let (mut dead, mut late, mut tombstones, mut partitions) = (0, 0, 0, HashSet::new());
        const EVENTS: u64 = 6_000;
        for index in 0..EVENTS {
            let (message, tombstone) = generator.messages(index);
            partitions.insert(message.partition);
            match message.fate {
                Fate::DeadLetter => dead += 1,
                Fate::Row => {
                    let Value::Struct(fields) = &message.content else { panic!("a row is a struct") };
                    let Value::Timestamp(at) = fields[2].1 else { panic!("event_time comes third") };
                    late += u32::from(message.timestamp_ms * 1000 - at > 60_000_000);
                }
                Fate::Filtered => panic!("an event is never a tombstone"),
            }
            tombstones += u32::from(tombstone.is_some_and(|t| t.value.is_none()));
        }
        assert!((30..100).contains(&dead), "{dead} dead");
        assert!((100..280).contains(&late), "{late} late");
        assert!((5..40).contains(&tombstones), "{tombstones} tombstones");
        assert_eq!(partitions.len(), 12);
    }

    #[test]
    fn a_row_is_what_its_json_says() {
        for index in 0..500 {
            let (message, _) = generator(3).messages(index);
            if message.fate != Fate::Row {
                continue;
            }
            let json: serde_json::Value = serde_json::from_slice(message.value.as_deref().unwrap()).unwrap();
            let Value::Struct(fields) = &message.content else { panic!("a row is a struct") };
            let field = |name: &str| &fields.iter().find(|f| f.0 == name).unwrap().1;
            assert_eq!(field("event_id"), &Value::text(json["event_id"].as_str().unwrap()));
            assert_eq!(field("user_id"), &Value::Int(64, json["user_id"].as_i64().unwrap()));
            match field("response_ms") {
                Value::Null => assert!(json.get("response_ms").is_none_or(|v| v.is_null())),
                Value::Double(bits) => {
                    // serde_json reads the last bit wrongly unless asked not to.
                    let read = json["response_ms"].as_f64().unwrap();
                    assert!((f64::from_bits(*bits) - read).abs() < 1e-9);
                }
                value => panic!("response_ms is {value}"),
            }
            match field("items") {
                Value::List(items) => assert_eq!(items.len(), json["items"].as_array().unwrap().len()),
                value => assert_eq!(value, &Value::Null),
            }
        }
    }

    #[test]
    fn what_is_broken_is_not_one_whole_object_of_the_right_types() {
        use rand::SeedableRng;
        let mut rng = StdRng::seed_from_u64(5);
        for fault in FAULTS {
            for _ in 0..50 {
                let event = event::event(&mut rng, 5, 1, 1_795_343_524_000_000);
                let bytes = broken::broken(&mut rng, fault, event.json, Style::default());
                let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&bytes);
                let twice = bytes.windows(10).filter(|w| w == b"\"user_id\":").count() > 1;
                let fits = parsed.is_ok_and(|json| {
                    let time = json["event_time"].as_str().is_none_or(|t| t.starts_with("20"));
                    let level = json["loyalty_level"].as_i64().is_none_or(|l| l < 100);
                    let quantity = json["items"][0]["quantity"].is_array();
                    let texts = json["event_id"].is_string() && json["event_type"].is_string();
                    let present = texts && !json["event_time"].is_null();
                    !twice && present && json["user_id"].is_i64() && time && level && !quantity
                });
                assert!(!fits, "{fault:?}: {}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn an_event_has_a_realistic_size() {
        let bytes = generator(1).mean_log_bytes();
        assert!((400..1_200).contains(&bytes), "{bytes} bytes");
    }
}
