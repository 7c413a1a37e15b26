//! Scene: one test's topics, pipeline, output and workers; nothing of it is shared with another test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::clock;
use crate::kafka::{Feed, Kafka, Produced};
use crate::metrics::Listener;
use crate::oracle::{Count, Oracle, Output};
use crate::peers;
use crate::pipeline::{self, Pipeline};
use crate::worker::{Start, Worker};

/// Everything that one test needs.
pub struct Scene {
    pub kafka: Kafka,
    /// Where the workers look for Kafka; the harness itself goes to the plain listener.
    pub kafka_address: String,
    pub oracle: Oracle,
    pub output: Output,
    pub pipeline: Pipeline,
    /// What the output must hold, exactly.
    pub expected: Vec<Produced>,
    feed: Feed,
    next_id: i64,
    directory: TempDir,
}

impl Scene {
    /// A scene whose output is a directory; `None`, said aloud, where a peer is absent.
    pub fn new(name: &str) -> Option<Scene> {
        let kafka = peers::kafka(name)?;
        let python = peers::python(name)?;
        let directory = TempDir::with_prefix("landfall-").expect("a temporary directory");
        let output = Output::Directory(directory.path().join("output"));
        let unique = format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..8]);
        let kafka = Kafka::connect(&kafka);
        Some(Scene {
            feed: kafka.feed(),
            oracle: Oracle::new(python, directory.path()),
            pipeline: Pipeline::new(&unique, Vec::new()),
            kafka_address: kafka.bootstrap.clone(),
            kafka,
            output,
            expected: Vec::new(),
            next_id: 1,
            directory,
        })
    }

    /// The output goes to the test bucket behind this endpoint, under a prefix of this scene's own. The judge asks
    /// `direct`, the worker `endpoint`, which may be a proxy before it.
    pub fn on_s3(mut self, direct: &str, endpoint: &str) -> Scene {
        self.output = Output::S3 {
            endpoint: direct.to_owned(),
            bucket: peers::BUCKET.to_owned(),
            prefix: self.pipeline.name.clone(),
        };
        self.pipeline.endpoint = Some(endpoint.to_owned());
        self
    }

    /// Creates a topic that the pipeline reads; its name is the scene's own.
    pub fn topic(&mut self, suffix: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = format!("{}-{suffix}", self.pipeline.name);
        self.kafka.create_topic(&name, partitions, settings);
        self.pipeline.topics.push(name.clone());
        name
    }

    /// Adds partitions; the producer learns of them by being made anew.
    pub fn grow_topic(&mut self, topic: &str, partitions: usize) {
        self.kafka.grow_topic(topic, partitions);
        self.feed = self.kafka.feed();
    }

    /// `count` numbers that no record of this scene has yet.
    pub fn ids(&mut self, count: i64) -> std::ops::Range<i64> {
        let first = self.next_id;
        self.next_id += count;
        first..self.next_id
    }

    /// Sends `count` records, dealt out over the partitions, and expects them in the output.
    pub fn produce(&mut self, topic: &str, partitions: i32, count: i64) -> Vec<Produced> {
        let ids = self.ids(count);
        let sent = self.feed.send(topic, pipeline::records(ids, partitions));
        assert_eq!(sent.len() as i64, count);
        self.expected.extend(sent.iter().cloned());
        sent
    }

    /// As [`Scene::produce`], each record with `bytes` of text that no codec shrinks by much.
    pub fn produce_noise(&mut self, topic: &str, partitions: i32, count: i64, bytes: usize) {
        let ids = self.ids(count);
        let sent = self.feed.send(topic, pipeline::noisy_records(ids, partitions, bytes));
        assert_eq!(sent.len() as i64, count);
        self.expected.extend(sent);
    }

    /// The plain producer, for records that the output must not hold.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Where the pipeline's files stand.
    pub fn pipeline_directory(&self) -> PathBuf {
        self.directory.path().join("pipeline")
    }

    pub fn environment(&self, release: &str) -> BTreeMap<String, String> {
        let pairs = [
            ("KAFKA_BOOTSTRAP", self.kafka_address.clone()),
            ("S3_OUTPUT_PATH", self.output.url()),
            ("LANDFALL_RELEASE", release.to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// `worker run`, with the pipeline as it now is.
    pub fn worker(&self, name: &str) -> Worker {
        self.worker_with(name, &[])
    }

    pub fn worker_with(&self, name: &str, more: &[&str]) -> Worker {
        self.command(name, "run", more)
    }

    /// The next worker serves `/health` and `/metrics` here, alone.
    pub fn listen(&mut self) -> Listener {
        let listener = Listener::free();
        self.pipeline.listen = listener.address.clone();
        listener
    }

    /// Any of the worker's commands.
    pub fn command(&self, name: &str, command: &str, more: &[&str]) -> Worker {
        self.pipeline.write(&self.pipeline_directory());
        let directory = self.pipeline_directory().display().to_string();
        let mut arguments = vec![command.to_owned(), "--pipeline".to_owned(), directory];
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        Worker::start(Start { arguments, environment: self.environment("test"), name: name.to_owned() })
    }

    /// The ledger's position, to know when to look.
    pub fn position(&self, topic: &str, partition: i32) -> i64 {
        let head = self.oracle.head(&self.output);
        let position = head.and_then(|head| head["positions"][topic][partition.to_string()].as_i64());
        position.unwrap_or(0)
    }

    /// Waits until the ledger has reached the end of the topic as Kafka reports it, markers included.
    ///
    /// # Panics
    /// When it does not within `wait`.
    pub fn wait_until_at_end(&self, topic: &str, partitions: i32, wait: Duration) {
        let ends: Vec<i64> =
            (0..partitions).map(|partition| self.kafka.watermarks(topic, partition).1).collect();
        let positions = |head: &Value| -> Vec<i64> {
            let of = |partition: i32| head["positions"][topic][partition.to_string()].as_i64().unwrap_or(0);
            (0..partitions).map(of).collect()
        };
        let arrived =
            clock::until(wait, || self.oracle.head(&self.output).filter(|head| positions(head) == ends));
        if arrived.is_none() {
            let found = self.oracle.head(&self.output).map(|head| positions(&head));
            panic!(
                "the ledger did not reach the end of `{topic}` within {wait:?}: at {found:?}, end {ends:?}"
            );
        }
    }

    /// Sums a count of the ledger's entries over a topic's partitions: `lost` and `absent` are ranges there.
    pub fn ledger_sum(&self, topic: &str, count: &str) -> i64 {
        let entries = self.oracle.entries(&self.output);
        let partitions = entries.iter().filter_map(|entry| entry["topics"][topic]["partitions"].as_object());
        let counted =
            partitions.flat_map(|partitions| partitions.values()).map(|range| match &range[count] {
                Value::Array(ranges) => {
                    ranges.iter().map(|range| number(&range[1]) - number(&range[0]) + 1).sum()
                }
                single => single.as_i64().unwrap_or(0),
            });
        counted.sum()
    }

    /// The largest number of parts that one file of the ledger was uploaded in.
    pub fn most_parts_of_a_file(&self) -> usize {
        let entries = self.oracle.entries(&self.output);
        let files = entries.iter().filter_map(|entry| entry["files"].as_array()).flatten();
        files.filter_map(|file| Some(file["parts"].as_array()?.len())).max().unwrap_or(0)
    }

    /// A dead letter's offset, as text.
    pub fn letter_offset(&self, letter: &BTreeMap<String, String>) -> String {
        let offset = letter.get("_offset").or_else(|| letter.get("offset"));
        offset.unwrap_or_else(|| panic!("an offset among {:?}", letter.keys())).clone()
    }

    /// Counts every row in the output and compares with what is expected.
    pub fn count(&self) -> Count {
        self.oracle.count(&self.output, &self.expected)
    }

    /// Counts until everything expected is visible: settling follows the entry.
    pub fn count_when_settled(&self, wait: Duration) -> Count {
        let settled = clock::until(wait, || Some(self.count()).filter(|count| count.missing.count == 0));
        settled.unwrap_or_else(|| self.count())
    }

    /// The proof by our own command, beside the judge's.
    pub fn verify(&self) -> (Option<i32>, String) {
        let url = self.output.url();
        let mut verify = self.command("verify", "verify", &["--store", &url]);
        let ended = verify.wait(Duration::from_secs(60));
        (ended.code, ended.stdout)
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().expect("an offset")
}
