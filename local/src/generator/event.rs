//! Event: what one shop event says, as JSON to send and as the row that must come of it.
//!
//! Both are built side by side, leaf by leaf. The row's fields are those of `pipeline/schema.sql`, in its order.
//! Neighbours: json; the generator above decides when and whether it is broken. Pure, seeded.

use chrono::{DateTime, FixedOffset, Utc};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use uuid::Builder;

use super::json::Json;
use super::shop::{self, Person};
use crate::canonical::Value;

/// A value in both spellings. No JSON: the producer leaves the field out.
#[derive(Clone, Debug)]
struct Both {
    value: Value,
    json: Option<Json>,
}

impl Both {
    fn new(value: Value, json: Json) -> Both {
        Both { value, json: Some(json) }
    }

    fn text(text: impl Into<String>) -> Both {
        let text = text.into();
        Both::new(Value::Text(text.clone()), Json::Text(text))
    }

    fn bool(value: bool) -> Both {
        Both::new(Value::Bool(value), Json::Raw(value.to_string()))
    }

    fn int(bits: u8, value: i64) -> Both {
        Both::new(Value::Int(bits, value), Json::Raw(value.to_string()))
    }

    fn double(value: f64) -> Both {
        Both::new(Value::double(value), Json::Raw(value.to_string()))
    }

    fn float(value: f32) -> Both {
        Both::new(Value::float(value), Json::Raw(value.to_string()))
    }

    fn date(days: i32) -> Both {
        let midnight = DateTime::from_timestamp(i64::from(days) * 86_400, 0).unwrap_or(DateTime::UNIX_EPOCH);
        Both::new(Value::Date(days), Json::Text(midnight.format("%Y-%m-%d").to_string()))
    }

    /// Prices come with trailing zeros, without them, as whole numbers and as text.
    fn cents(rng: &mut StdRng, cents: i64) -> Both {
        let (whole, rest) = (cents / 100, cents % 100);
        let text = match rng.random_range(0..5) {
            0 if rest == 0 => whole.to_string(),
            1 if rest % 10 == 0 => format!("{whole}.{}", rest / 10),
            _ => format!("{whole}.{rest:02}"),
        };
        let json = if rng.random_bool(0.2) { Json::Text(text) } else { Json::Raw(text) };
        Both::new(Value::Decimal { unscaled: i128::from(cents), scale: 2 }, json)
    }

    /// Producers don't agree on how to write a time; all of these say the same.
    fn timestamp(rng: &mut StdRng, micros: i64) -> Both {
        let millis = micros.div_euclid(1000) * 1000;
        let utc =
            |micros: i64| DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH);
        let (micros, json) = match rng.random_range(0..8) {
            0 | 1 => (millis, Json::Raw((millis / 1000).to_string())),
            2 => (micros, Json::Text(utc(micros).format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())),
            3 => {
                let seconds = micros.div_euclid(1_000_000) * 1_000_000;
                (seconds, Json::Text(utc(seconds).format("%Y-%m-%dT%H:%M:%SZ").to_string()))
            }
            4 => {
                let hours = *[-8, -3, 1, 2, 9].choose(rng).unwrap_or(&1);
                let zone = FixedOffset::east_opt(hours * 3600).unwrap_or_else(|| chrono::Offset::fix(&Utc));
                let local = utc(millis).with_timezone(&zone);
                (millis, Json::Text(local.format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()))
            }
            _ => (millis, Json::Text(utc(millis).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())),
        };
        Both::new(Value::Timestamp(micros), json)
    }

    /// Nothing to say: an explicit null, or no field at all.
    fn nothing(rng: &mut StdRng) -> Both {
        Both { value: Value::Null, json: rng.random_bool(0.5).then_some(Json::Null) }
    }

    fn or_nothing(self, rng: &mut StdRng, there: bool) -> Both {
        if there { self } else { Both::nothing(rng) }
    }

    fn list(items: Vec<Both>) -> Both {
        let json = items.iter().map(|item| item.json.clone().unwrap_or(Json::Null)).collect();
        Both::new(Value::List(items.into_iter().map(|item| item.value).collect()), Json::List(json))
    }

    fn map(pairs: Vec<(String, Both)>) -> Both {
        let json = pairs.iter().map(|(name, both)| (name.clone(), both.json.clone().unwrap_or(Json::Null)));
        let json = Json::Object(json.collect());
        let value = pairs.into_iter().map(|(name, both)| (Value::Text(name), both.value)).collect();
        Both::new(Value::map(value), json)
    }

    fn record<const N: usize>(rng: &mut StdRng, fields: [(&str, Both); N]) -> Both {
        let mut json: Vec<(String, Json)> = fields
            .iter()
            .filter_map(|(name, both)| both.json.clone().map(|json| ((*name).to_owned(), json)))
            .collect();
        // Most producers keep an order; some write from a hash map.
        if rng.random_bool(0.1) {
            json.shuffle(rng);
        }
        let value = fields.map(|(name, both)| (name, both.value));
        Both::new(Value::record(value), Json::Object(json))
    }
}

/// An event before it is bytes.
#[derive(Clone, Debug)]
pub struct Event {
    /// The schema's columns.
    pub row: Value,
    pub json: Json,
    /// Microseconds, as written.
    pub event_time: i64,
}

/// Makes an event of `user_id` that happened at `event_micros`.
pub fn event(rng: &mut StdRng, seed: u64, user_id: i64, event_micros: i64) -> Event {
    let person = shop::person(seed, user_id);
    let kind = shop::kind(rng);
    let known = kind.buys() || rng.random_bool(0.6);
    let lines = if kind.buys() || kind.is_basket() { rng.random_range(1..=5) } else { 0 };
    let (items, total) = items(rng, lines);
    let event_time = Both::timestamp(rng, event_micros);
    let written_micros = match event_time.value {
        Value::Timestamp(micros) => micros,
        _ => event_micros,
    };
    let path = shop::path(rng);
    let search = shop::search(rng);
    let fields = [
        ("event_id", Both::text(Builder::from_random_bytes(rng.random()).into_uuid().to_string())),
        ("event_type", Both::text(kind.name())),
        ("event_time", event_time),
        ("user_id", Both::int(64, user_id)),
        ("session_id", {
            let session = format!("s-{:012x}", rng.random::<u64>() >> 16);
            Both::text(session).or_nothing(rng, known)
        }),
        ("page", Both::text(path).or_nothing(rng, !kind.buys())),
        ("search", Both::text(search).or_nothing(rng, kind.is_search())),
        ("customer", customer(rng, &person).or_nothing(rng, known)),
        ("items", items.or_nothing(rng, lines > 0)),
        ("total", Both::cents(rng, total).or_nothing(rng, kind.buys())),
        ("currency", Both::text(person.currency).or_nothing(rng, kind.buys())),
        ("payment", payment(rng, written_micros).or_nothing(rng, kind.pays())),
        ("attributes", attributes(rng)),
        ("tags", tags(rng)),
        ("is_mobile", Both::bool(rng.random()).or_nothing(rng, known)),
        ("loyalty_level", Both::int(8, person.loyalty_level).or_nothing(rng, known)),
        ("discount_rate", Both::float(rng.random_range(0..60) as f32 / 100.0).or_nothing(rng, kind.buys())),
        ("response_ms", {
            let millis = rng.random::<f64>() * 900.0 + 0.25;
            Both::double(millis).or_nothing(rng, !kind.buys())
        }),
    ];
    let both = Both::record(rng, fields);
    let mut json = both.json.unwrap_or(Json::Null);
    // A field that the schema does not know is no fault: producers are often ahead.
    if rng.random_bool(0.02)
        && let Json::Object(fields) = &mut json
    {
        let flags =
            vec![Json::Raw("1".into()), Json::Object(vec![("beta".into(), Json::Raw("true".into()))])];
        fields.push(("experiment".into(), Json::List(flags)));
    }
    Event { row: both.value, json, event_time: written_micros }
}

fn customer(rng: &mut StdRng, person: &Person) -> Both {
    let address = Both::record(
        rng,
        [
            ("street", Both::text(person.street.clone())),
            ("city", Both::text(person.city)),
            ("postal_code", Both::text(person.postal_code.clone())),
            ("country", Both::text(person.country)),
        ],
    );
    let birthday = Both::date(person.birthday).or_nothing(rng, person.birthday % 3 != 0);
    let vip = Both::bool(person.loyalty_level > 3);
    let there = person.birthday % 7 != 0;
    let fields = [
        ("name", Both::text(person.name.clone())),
        ("email", Both::text(person.email.clone())),
        ("birthday", birthday),
        ("vip", vip),
        ("address", address.or_nothing(rng, there)),
    ];
    Both::record(rng, fields)
}

/// The lines and what they cost, in cents.
fn items(rng: &mut StdRng, lines: usize) -> (Both, i64) {
    let mut total = 0;
    let mut items = Vec::with_capacity(lines);
    for _ in 0..lines {
        let product = shop::product(rng);
        let quantity = rng.random_range(1..=4);
        total += product.cents * quantity;
        let gift = Both::bool(rng.random());
        let said = rng.random_bool(0.3);
        let fields = [
            ("sku", Both::text(product.sku)),
            ("title", Both::text(product.title)),
            ("quantity", Both::int(32, quantity)),
            ("price", Both::cents(rng, product.cents)),
            ("gift", gift.or_nothing(rng, said)),
        ];
        items.push(Both::record(rng, fields));
    }
    (Both::list(items), total)
}

fn payment(rng: &mut StdRng, event_micros: i64) -> Both {
    let method = *["card", "paypal", "invoice", "klarna"].choose(rng).unwrap_or(&"card");
    let card = Both::text(format!("{:04}", rng.random_range(0..10_000)));
    let authorised = Both::timestamp(rng, event_micros - 1_500_000);
    let happened = rng.random_bool(0.9);
    let fields = [
        ("method", Both::text(method)),
        ("card_last4", card.or_nothing(rng, method == "card")),
        ("attempts", Both::int(16, rng.random_range(1..=3))),
        ("authorised_at", authorised.or_nothing(rng, happened)),
    ];
    Both::record(rng, fields)
}

fn attributes(rng: &mut StdRng) -> Both {
    let names = ["utm_source", "utm_campaign", "coupon", "ab_test", "browser", "Größe", "note"];
    let count = rng.random_range(0..=4);
    let mut chosen: Vec<&str> = names.choose_multiple(rng, count).copied().collect();
    chosen.sort_unstable();
    let pairs = chosen
        .into_iter()
        .map(|name| {
            let value = if rng.random_bool(0.05) {
                Both::new(Value::Null, Json::Null)
            } else {
                Both::text(shop::attribute(rng))
            };
            (name.to_owned(), value)
        })
        .collect();
    let there = rng.random_bool(0.9);
    Both::map(pairs).or_nothing(rng, there)
}

fn tags(rng: &mut StdRng) -> Both {
    let count = rng.random_range(0..=3);
    let tags = (0..count)
        .map(|_| {
            if rng.random_bool(0.03) {
                Both::new(Value::Null, Json::Null)
            } else {
                Both::text(shop::tag(rng))
            }
        })
        .collect();
    let there = rng.random_bool(0.7);
    Both::list(tags).or_nothing(rng, there)
}
