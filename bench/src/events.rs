//! Events: made-up shop events as JSON, the same for the same seed.
//!
//! 19 fields, 23 leaves, 473 bytes on average: what the figures in bench/README.md were measured with.

use std::fmt::{self, Write};

/// The events' schema as `pipeline/schema.sql` would say it.
pub const SCHEMA_SQL: &str = "
CREATE TABLE events (
    event_id     string NOT NULL,
    event_type   string NOT NULL,
    event_time   timestamp NOT NULL,
    received_at  timestamp,
    user_id      bigint,
    session_id   string,
    country      string,
    device       string,
    app_version  string,
    url          string,
    referrer     string,
    price        double,
    quantity     int,
    in_stock     boolean,
    cart         struct<items: int, total: double, currency: string, coupon: string, express: boolean>,
    tags         array<string>,
    note         string,
    latency_ms   bigint,
    sequence     bigint
)";

/// 2026-11-22T07:00:00Z.
const START_MS: i64 = 1_795_330_800_000;
const TYPES: [&str; 8] = [
    "page_view",
    "product_view",
    "search",
    "add_to_cart",
    "remove_from_cart",
    "checkout",
    "purchase",
    "refund",
];
const COUNTRIES: [&str; 12] = ["DE", "FR", "US", "GB", "JP", "BR", "IN", "PL", "ES", "IT", "NL", "SE"];
const DEVICES: [&str; 4] = ["ios", "android", "desktop", "tablet"];
const TAGS: [&str; 10] =
    ["sale", "new", "member", "gift", "bulk", "autumn", "clearance", "preorder", "bundle", "eco"];
const WORDS: [&str; 16] = [
    "lamp", "chair", "desk", "shelf", "rug", "sofa", "mirror", "plant", "clock", "vase", "quilt", "stool",
    "bench", "frame", "basket", "candle",
];

/// Records one after the other in one piece of memory.
#[derive(Debug, Default)]
pub struct Events {
    pub bytes: Vec<u8>,
    /// Where each record ends.
    pub ends: Vec<usize>,
    /// Kafka's timestamps, milliseconds.
    pub timestamps_ms: Vec<i64>,
}

impl Events {
    /// `records` events, a thousand a second; one in a hundred is up to three hours late.
    pub fn generate(records: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut events = Events::default();
        let mut text = String::new();
        for index in 0..records as i64 {
            let now_ms = START_MS + index;
            text.clear();
            write_event(&mut text, &mut random, index, now_ms).expect("a String takes everything");
            events.bytes.extend_from_slice(text.as_bytes());
            events.ends.push(events.bytes.len());
            events.timestamps_ms.push(now_ms);
        }
        events
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

fn write_event(out: &mut String, random: &mut Random, index: i64, now_ms: i64) -> fmt::Result {
    let late_ms = if random.one_in(100) { random.below(3 * 3_600_000) } else { random.below(2_000) };
    let event_ms = now_ms - late_ms as i64;
    let user = random.below(400_000);
    let items = random.below(9) + 1;
    let price = random.below(50_000) as f64 / 100.0;
    write!(out, "{{\"event_id\":\"{}\",", Uuid(random.next(), random.next()))?;
    write!(out, "\"event_type\":\"{}\",", random.pick(&TYPES))?;
    write!(out, "\"event_time\":\"{}\",", Iso(event_ms))?;
    write!(out, "\"received_at\":{now_ms},\"user_id\":{user},")?;
    write!(out, "\"session_id\":\"{:016x}\",", Random(user ^ (now_ms as u64 >> 18)).next())?;
    write!(out, "\"country\":\"{}\",\"device\":\"{}\",", random.pick(&COUNTRIES), random.pick(&DEVICES))?;
    write!(out, "\"app_version\":\"7.{}.{}\",", random.below(4), random.below(10))?;
    write!(out, "\"url\":\"/p/{}/{}-{}\",", random.pick(&WORDS), random.pick(&WORDS), random.below(20_000))?;
    if random.one_in(2) {
        write!(out, "\"referrer\":\"https://example.com/{}\",", random.pick(&WORDS))?;
    }
    write!(out, "\"price\":{price},\"quantity\":{items},\"in_stock\":{},", !random.one_in(10))?;
    write!(out, "\"cart\":{{\"items\":{items},\"total\":{:.2},\"currency\":\"EUR\",", price * items as f64)?;
    if random.one_in(5) {
        write!(out, "\"coupon\":\"AUTUMN{}\",", random.below(50))?;
    }
    write!(out, "\"express\":{}}},\"tags\":[", random.one_in(3))?;
    for tag in 0..random.below(4) {
        write!(out, "{}\"{}\"", if tag > 0 { "," } else { "" }, random.pick(&TAGS))?;
    }
    out.push_str("],");
    if random.one_in(6) {
        let (one, other) = (random.pick(&WORDS), random.pick(&WORDS));
        write!(out, "\"note\":\"a \\\"{one}\\\" for the {other}\\n2\\u20ac off \u{2014} caf\u{e9}\",")?;
    }
    write!(out, "\"latency_ms\":{},\"sequence\":{index}}}", random.below(900) + random.below(100))
}

/// SplitMix64. Source: Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len() as u64) as usize]
    }
}

struct Uuid(u64, u64);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Uuid(high, low) = self;
        let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0x0fff);
        write!(f, "{a:08x}-{b:04x}-4{c:03x}-{:04x}-{:012x}", low >> 50 | 0x8000, low & 0xffff_ffff_ffff)
    }
}

/// Milliseconds of 2026 in ISO 8601.
struct Iso(i64);

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        // Only November and December 2026 occur: day 20,758 since 1970 is 2026-11-01.
        let day = days - 20_758;
        let (month, day) = if day < 30 { (11, day + 1) } else { (12, day - 29) };
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_as_long_as_they_say_and_the_same_for_a_seed() {
        let events = Events::generate(10_000, 7);
        let average = events.bytes.len() / events.len();
        assert!((463..=483).contains(&average), "{average}");
        assert_eq!(events.bytes, Events::generate(10_000, 7).bytes);
        assert_ne!(events.bytes, Events::generate(10_000, 8).bytes);
    }

    #[test]
    fn events_are_json_of_their_schema() {
        let events = Events::generate(2_000, 7);
        for index in 0..events.len() {
            let event: serde_json::Value = serde_json::from_slice(events.get(index)).unwrap();
            for field in event.as_object().unwrap().keys() {
                assert!(SCHEMA_SQL.contains(&format!("    {field} ")), "{field}");
            }
        }
        assert!(events.get(0).windows(10).any(|part| part == b"2026-11-22"));
    }
}
