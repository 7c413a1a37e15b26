//! Pipeline: a `pipeline/` directory as a test wants it, and the records that fit its schema.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::kafka::Outgoing;

/// Every type that schema.sql knows.
pub const SCHEMA: &str = "\
CREATE TABLE events (
    id      BIGINT NOT NULL,
    at      TIMESTAMP,
    name    STRING,
    flag    BOOLEAN,
    tiny    TINYINT,
    small   SMALLINT,
    medium  INT,
    ratio   FLOAT,
    amount  DOUBLE,
    price   DECIMAL(12, 2),
    day     DATE,
    blob    BINARY,
    tags    ARRAY<STRING>,
    labels  MAP<STRING, BIGINT>,
    place   STRUCT<city: STRING, zip: INT>
);
";

/// What `pipeline.toml` says.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub name: String,
    /// The statement of `schema.sql`.
    pub schema: &'static str,
    pub topics: Vec<String>,
    pub group: String,
    pub session_timeout: &'static str,
    pub revoke_timeout: &'static str,
    pub on_data_loss: &'static str,
    pub start: &'static str,
    pub age_max: &'static str,
    pub idle_max: &'static str,
    pub file_bytes_max: &'static str,
    pub row_group_bytes: &'static str,
    pub partition_by: Vec<&'static str>,
    pub on_error: &'static str,
    pub tombstones: &'static str,
    pub metadata: Vec<&'static str>,
    pub memory_limit: &'static str,
    /// librdkafka's own.
    pub options: Vec<(&'static str, &'static str)>,
    /// For S3-compatible servers.
    pub endpoint: Option<String>,
    /// A SCRAM user and its password.
    pub scram: Option<(String, String)>,
    /// `host:port` for /health and /metrics, or `none`.
    pub listen: String,
    /// What stands under `[metrics]`.
    pub metrics: &'static str,
}

impl Pipeline {
    pub fn new(name: &str, topics: Vec<String>) -> Pipeline {
        Pipeline {
            name: name.to_owned(),
            schema: SCHEMA,
            topics,
            group: name.to_owned(),
            session_timeout: "6s",
            revoke_timeout: "5s",
            on_data_loss: "fail",
            start: "earliest",
            age_max: "1s",
            idle_max: "500ms",
            file_bytes_max: "64MiB",
            row_group_bytes: "8MiB",
            partition_by: vec!["dt=date(at)", "hour=hour(at)"],
            on_error: "dead-letter",
            tombstones: "skip",
            metadata: vec!["topic", "partition", "offset", "timestamp"],
            memory_limit: "512MiB",
            options: Vec::new(),
            endpoint: None,
            scram: None,
            listen: "none".to_owned(),
            metrics: "cloudwatch = false",
        }
    }

    /// Writes `pipeline.toml` and `schema.sql`.
    pub fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("make the pipeline's directory");
        fs::write(directory.join("pipeline.toml"), self.toml()).expect("write pipeline.toml");
        fs::write(directory.join("schema.sql"), self.schema).expect("write schema.sql");
    }

    fn toml(&self) -> String {
        let mut text = format!("name = {}\n\n[kafka]\n", json!(self.name));
        let mut say = |line: String| writeln!(text, "{line}").expect("a String takes all");
        say("bootstrap = \"${KAFKA_BOOTSTRAP}\"".into());
        say(format!("topics = {}", json!(self.topics)));
        say(format!("group = {}", json!(self.group)));
        say(format!("start = {}", json!(self.start)));
        say(format!("on_data_loss = {}", json!(self.on_data_loss)));
        say(format!("session_timeout = {}", json!(self.session_timeout)));
        say(format!("revoke_timeout = {}", json!(self.revoke_timeout)));
        if let Some((username, password)) = &self.scram {
            say("\n[kafka.auth]\nmethod = \"scram\"\nmechanism = \"scram-sha-512\"\ntls = false".into());
            say(format!("username = {}\npassword = {}", json!(username), json!(password)));
        }
        if !self.options.is_empty() {
            say("\n[kafka.options]".into());
        }
        for (name, value) in &self.options {
            say(format!("{} = {}", json!(name), json!(value)));
        }
        say(format!(
            "\n[records]\non_error = {}\ntombstones = {}\nmetadata = {}",
            json!(self.on_error),
            json!(self.tombstones),
            json!(self.metadata)
        ));
        say("\n[output]\npath = \"${S3_OUTPUT_PATH}\"".into());
        if let Some(endpoint) = &self.endpoint {
            say(format!("endpoint = {}\npath_style = true\nregion = \"us-east-1\"", json!(endpoint)));
        }
        say(format!("partition_by = {}", json!(self.partition_by)));
        say(format!("age_max = {}", json!(self.age_max)));
        say(format!("idle_max = {}", json!(self.idle_max)));
        say(format!("file_bytes_max = {}", json!(self.file_bytes_max)));
        say(format!("row_group_bytes = {}", json!(self.row_group_bytes)));
        say(format!("\n[memory]\nlimit = {}", json!(self.memory_limit)));
        say(format!("\n[health]\nlisten = {}", json!(self.listen)));
        say(format!("\n[metrics]\n{}", self.metrics));
        text
    }
}

/// 2026-11-22T05:00:00Z.
const EPOCH_SECONDS: i64 = 1_795_323_600;

/// A record's JSON; all of it follows from `id`. Event times fall into three hours.
pub fn record(id: i64) -> Vec<u8> {
    // Not in step with the partitions, or no file would mix two of them.
    let hour = (id / 5) % 3;
    let second = (id / 3) % 3600;
    let at = format!("2026-11-22T{:02}:{:02}:{:02}.{:03}Z", 5 + hour, second / 60, second % 60, id % 1000);
    let mut value = json!({
        "id": id,
        "at": at,
        "name": format!("name {id}"),
        "flag": id % 2 == 0,
        "tiny": id % 128,
        "small": id % 32_000,
        "medium": id % 2_000_000,
        "ratio": 0.5,
        "amount": id as f64 / 4.0,
        "price": format!("{}.{:02}", id, id % 100),
        "day": "2026-11-22",
        "blob": "aGVsbG8=",
        "tags": ["a", format!("t{}", id % 7)],
        "labels": {"n": id, "m": null},
        "place": {"city": "Zürich", "zip": 8000 + id % 100},
    });
    // Optional fields are really absent now and then, and an epoch in milliseconds is a timestamp too.
    if id % 5 == 0 {
        value.as_object_mut().expect("an object").remove("place");
        value["at"] = json!((EPOCH_SECONDS + hour * 3600 + second) * 1000 + id % 1000);
    }
    value.to_string().into_bytes()
}

/// Numbered records, dealt out to the partitions in turn.
pub fn records(ids: std::ops::Range<i64>, partitions: i32) -> impl Iterator<Item = Outgoing> {
    ids.map(move |id| Outgoing {
        partition: (id % i64::from(partitions)) as i32,
        id,
        key: Some(format!("k{}", id % 50)),
        value: Some(record(id)),
    })
}

/// As [`records`], with a name of `bytes` characters that look random and follow from the id.
pub fn noisy_records(
    ids: std::ops::Range<i64>,
    partitions: i32,
    bytes: usize,
) -> impl Iterator<Item = Outgoing> {
    records(ids, partitions).map(move |mut outgoing| {
        let mut state = outgoing.id as u64 | 1;
        let noise: String = std::iter::repeat_with(|| {
            // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'0' + (state >> 32) as u8 % 75)
        })
        .filter(|c| c.is_ascii_alphanumeric())
        .take(bytes)
        .collect();
        outgoing.value = Some(json!({"id": outgoing.id, "name": noise}).to_string().into_bytes());
        outgoing
    })
}

/// Large records that cost the harness little, spread over directories by their column `bucket`.
pub struct Bulk {
    text: String,
    buckets: i64,
    text_bytes: usize,
}

/// The columns of [`Bulk`]'s records.
pub const BULK_SCHEMA: &str = "\
CREATE TABLE bulk (
    id     BIGINT NOT NULL,
    bucket INT NOT NULL,
    at     TIMESTAMP NOT NULL,
    text   STRING NOT NULL
);
";

/// Records begin in the text as far from each other as this; prime, so that few begin at the same place.
const BULK_STEP: usize = 7_919;
const BULK_TEXT_BYTES: usize = 4 << 20;
const WORDS: [&str; 16] = [
    "order", "placed", "by", "the", "customer", "of", "Berlin", "with", "express", "delivery", "and",
    "coupon", "viewed", "on", "mobile", "paid",
];

impl Bulk {
    /// `buckets` values of the column by which the output is partitioned; `text_bytes` of text in each record.
    pub fn new(buckets: i64, text_bytes: usize) -> Bulk {
        // Numbered words, which zstd makes four to five times smaller, as it does events.
        let mut state = 1_u64;
        let mut text = String::new();
        while text.len() < BULK_TEXT_BYTES {
            // Knuth's MMIX generator.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = (state >> 40) as usize % 4_000;
            write!(text, "{}{} ", WORDS[word % WORDS.len()], word / WORDS.len()).expect("a String takes all");
        }
        Bulk { text, buckets, text_bytes }
    }

    /// All of a record follows from its number.
    pub fn records(&self, ids: std::ops::Range<i64>, partitions: i32) -> impl Iterator<Item = Outgoing> {
        ids.map(move |id| {
            let from = id as usize * BULK_STEP % (self.text.len() - self.text_bytes);
            let value = format!(
                "{{\"id\":{id},\"bucket\":{},\"at\":{},\"text\":\"{}\"}}",
                id % self.buckets,
                EPOCH_SECONDS * 1000 + id,
                &self.text[from..from + self.text_bytes],
            );
            // Not in step with the buckets, or each partition would have a few of its own.
            let partition = (id / self.buckets % i64::from(partitions)) as i32;
            Outgoing { partition, id, key: None, value: Some(value.into_bytes()) }
        })
    }
}
