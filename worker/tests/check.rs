//! `worker check` and `worker verify --kafka` as processes, against librdkafka's mock cluster and a directory.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use common::{assigned, placements, source};
use ledger::entry::{
    Entry, EntryId, FORMAT, Kind, NextOffset, OffsetRange, PartitionRange, Positions, Sequence, TopicRange,
    Writer,
};
use ledger::store::{S3Options, Store};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use worker::kafka::{Event, Generation, Source};

const TOPIC: &str = "clicks";
const GROUP: &str = "clicks-group";

fn cluster(partitions: i32) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, partitions, 1).unwrap();
    cluster
}

/// Clicks of `users`, one in `bad_every` not JSON, spread over the partitions.
fn produce(bootstrap: &str, partitions: i32, users: std::ops::Range<u32>, bad_every: u32) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    for user in users {
        let good = format!("{{\"user\": {user}, \"page\": \"/item/{}\"}}", user % 97);
        let value =
            if bad_every > 0 && user % bad_every == 0 { "{\"user\": \"x\"}".to_owned() } else { good };
        let record =
            BaseRecord::<[u8], [u8]>::to(TOPIC).partition(user as i32 % partitions).payload(value.as_bytes());
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

struct Place {
    dir: tempfile::TempDir,
    bootstrap: String,
}

impl Place {
    fn new(bootstrap: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = dir.path().join("pipeline");
        std::fs::create_dir(&pipeline).unwrap();
        std::fs::write(
            pipeline.join("schema.sql"),
            "CREATE TABLE clicks (user BIGINT NOT NULL, page STRING)",
        )
        .unwrap();
        let settings = format!(
            "name = \"clicks\"\n[kafka]\nbootstrap = \"${{KAFKA_BOOTSTRAP}}\"\ntopics = [\"{TOPIC}\"]\n\
             group = \"{GROUP}\"\n[output]\npath = \"${{S3_OUTPUT_PATH}}\"\n[health]\nlisten = \"none\"\n\
             [memory]\nlimit = \"512MiB\"\n"
        );
        std::fs::write(pipeline.join("pipeline.toml"), settings).unwrap();
        Place { dir, bootstrap: bootstrap.to_owned() }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn url(&self) -> String {
        format!("file://{}", self.out().display())
    }

    fn change(&self, from: &str, to: &str) {
        let file = self.dir.path().join("pipeline/pipeline.toml");
        let settings = std::fs::read_to_string(&file).unwrap();
        assert!(settings.contains(from), "{from} is not in\n{settings}");
        std::fs::write(&file, settings.replace(from, to)).unwrap();
    }

    fn worker(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_worker"))
            .args(args)
            .current_dir(self.dir.path())
            .env("KAFKA_BOOTSTRAP", &self.bootstrap)
            .env("S3_OUTPUT_PATH", self.url())
            .env("LANDFALL_LOG", "warn")
            .env_remove("LANDFALL_PIPELINE")
            .env_remove("ECS_CONTAINER_METADATA_URI_V4")
            .output()
            .unwrap()
    }
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}\n--- stderr\n{err}")
}

/// Everything below a directory, with sizes and times of change.
fn listing(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut due = vec![dir.to_owned()];
    while let Some(path) = due.pop() {
        let meta = std::fs::metadata(&path).unwrap();
        found.insert(path.clone(), (meta.len(), meta.modified().unwrap()));
        if meta.is_dir() {
            due.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

fn committed(bootstrap: &str, partitions: i32) -> Vec<(i32, rdkafka::Offset)> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", GROUP).create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    (0..partitions).for_each(|partition| {
        list.add_partition(TOPIC, partition);
    });
    let committed = consumer.committed_offsets(list, Duration::from_secs(10)).unwrap();
    committed.elements().iter().map(|one| (one.partition(), one.offset())).collect()
}

/// An entry that moves partition 0 from `from` to `to` without a file.
fn entry(sequence: u64, kind: Kind, from: i64, to: i64, absent: &[(i64, i64)]) -> Entry {
    let absent: Vec<OffsetRange> = absent.iter().map(|(first, last)| OffsetRange(*first, *last)).collect();
    let nothing: u64 = absent.iter().map(|range| range.count()).sum();
    let range = PartitionRange {
        from: NextOffset(from),
        to: NextOffset(to),
        filtered: (to - from) as u64 - nothing,
        absent,
        leader_epoch: -1,
        log_start: 0,
        last_stable: to,
        ..PartitionRange::default()
    };
    let range = TopicRange { id: String::new(), partitions: BTreeMap::from([(0, range)]) };
    Entry {
        format: FORMAT,
        sequence: Sequence(sequence),
        kind,
        entry_id: EntryId(uuid::Uuid::from_u128(sequence.into())),
        writer: Writer { release: "r1".into(), version: "0.1.0".into(), ..Writer::default() },
        committed_at: "2026-11-22T07:00:00.000Z".into(),
        topics: BTreeMap::from([(TOPIC.to_owned(), range)]),
        positions: Positions::from([(TOPIC.to_owned(), BTreeMap::from([(0, NextOffset(to))]))]),
        files: Vec::new(),
        rejected: Default::default(),
        settled_through: Sequence(sequence - 1),
    }
}

async fn put(store: &dyn Store, entry: &Entry) {
    store.put_if_absent(&entry.sequence.key(), entry.to_json().unwrap().into()).await.unwrap();
}

#[test]
fn a_new_pipeline_is_checked_and_not_even_its_directory_is_made() {
    let cluster = cluster(4);
    let place = Place::new(&cluster.bootstrap_servers());
    produce(&place.bootstrap, 4, 0..4_000, 100);
    let before = listing(place.dir.path());

    let output = place.worker(&["check"]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for part in [
        "user bigint not null",
        "_topic, _partition, _offset, _timestamp",
        "data/dt=date(_timestamp)/hour=hour(_timestamp)/",
        "clicks: 4 partitions",
        "the first run makes it",
        "4,000 records wait to be read",
        "3,960 rows, 0 filtered (tombstones), 40 dead letters",
        "40 × column `user`",
        "PUT, POST and LIST",
        "0 problems",
        "nothing was written",
    ] {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
    assert_eq!(listing(place.dir.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_beside_a_running_group_moves_nothing() {
    let cluster = cluster(2);
    let place = Place::new(&cluster.bootstrap_servers());
    produce(&place.bootstrap, 2, 0..500, 0);
    let store = ledger::store::open(&place.url(), &S3Options::default()).await.unwrap();
    put(store.as_ref(), &entry(1, Kind::Open, 0, 0, &[])).await;
    put(store.as_ref(), &entry(2, Kind::Append, 0, 100, &[])).await;

    // A member that reads both partitions and has committed.
    let member = source(&place.bootstrap, GROUP, &[TOPIC]);
    let mine = assigned(&member).await;
    member.assign(placements(&mine, 0), Generation(1)).await.unwrap();
    let positions = Positions::from([(TOPIC.to_owned(), BTreeMap::from([(0, NextOffset(100))]))]);
    member.commit_offsets(positions).await.unwrap();
    let (files, offsets) = (listing(&place.out()), committed(&place.bootstrap, 2));
    assert!(offsets.contains(&(0, rdkafka::Offset::Offset(100))), "{offsets:?}");

    let output = place.worker(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["exit"], 0);
    assert!(report["projection"]["files_per_hour"].as_f64().unwrap() > 0.0, "{report}");
    let told = report.to_string();
    assert!(told.contains("stands at entry 2"), "{told}");
    assert!(told.contains("400 records wait to be read; 1 partition not in the log yet"), "{told}");

    assert_eq!(listing(&place.out()), files);
    assert_eq!(committed(&place.bootstrap, 2), offsets);
    // A second member would have taken one of the two partitions: the group is asked within its heartbeat of 3 s.
    let deadline = tokio::time::sleep(Duration::from_secs(5));
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            event = member.next() => {
                assert!(!matches!(event, Event::Revoked(_) | Event::Lost(_)), "the group was disturbed: {event:?}");
            }
            () = &mut deadline => break,
        }
    }
    member.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_stop_the_run_is_told_with_the_runs_exit_code() {
    let cluster = cluster(1);
    let place = Place::new(&cluster.bootstrap_servers());
    produce(&place.bootstrap, 1, 0..50, 0);
    let store = ledger::store::open(&place.url(), &S3Options::default()).await.unwrap();
    put(store.as_ref(), &entry(1, Kind::Open, 0, 0, &[])).await;
    put(store.as_ref(), &entry(2, Kind::Append, 0, 90, &[])).await;
    for command in ["check", "run"] {
        let output = place.worker(&[command]);
        let told = text(&output);
        assert_eq!(output.status.code(), Some(66), "{command}: {told}");
        assert!(told.contains("the ledger stands at 90, the log ends at 50"), "{command}: {told}");
    }
}

#[test]
fn a_schema_that_fits_nothing_is_a_problem() {
    let cluster = cluster(1);
    let place = Place::new(&cluster.bootstrap_servers());
    produce(&place.bootstrap, 1, 0..50, 1);
    let output = place.worker(&["check"]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(65), "{told}");
    assert!(told.contains("50 of 50 records (100%) do not fit the schema"), "{told}");
    assert!(told.contains("clicks[0] offset 0"), "{told}");

    place.change("[memory]", "[records]\non_error = \"fail\"\n[memory]");
    let output = place.worker(&["check"]);
    assert_eq!(output.status.code(), Some(65), "{}", text(&output));
    assert!(text(&output).contains("the first of them stops the run"), "{}", text(&output));
}

#[test]
fn one_problem_does_not_hide_the_next() {
    let cluster = cluster(1);
    let place = Place::new(&cluster.bootstrap_servers());
    place.change("topics = [\"clicks\"]", "topics = [\"gone\", \"clicks\", \"lost\"]");
    std::fs::write(place.out(), "a file").unwrap();
    let output = place.worker(&["check"]);
    let told = text(&output);
    // The output is wrong whatever the brokers come to know.
    assert_eq!(output.status.code(), Some(78), "{told}");
    for part in
        ["read topic `gone`", "read topic `lost`", "clicks: 1 partition", "is not a directory", "3 problems"]
    {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absences_are_held_against_kafka() {
    let cluster = cluster(1);
    let place = Place::new(&cluster.bootstrap_servers());
    produce(&place.bootstrap, 1, 0..50, 0);
    let store = ledger::store::open(&place.url(), &S3Options::default()).await.unwrap();
    put(store.as_ref(), &entry(1, Kind::Open, 0, 0, &[])).await;
    // The log says that nothing is at 10 to 12, and Kafka has records there.
    put(store.as_ref(), &entry(2, Kind::Append, 0, 50, &[(10, 12)])).await;
    let without = place.worker(&["verify"]);
    assert_eq!(without.status.code(), Some(0), "{}", text(&without));
    let with = place.worker(&["verify", "--kafka", &place.bootstrap]);
    let told = text(&with);
    assert_eq!(with.status.code(), Some(1), "{told}");
    assert!(told.contains("10") && told.contains("Kafka"), "{told}");

    // Without any pipeline: no login, and the same answer.
    let bare = place.worker(&[
        "verify",
        "--pipeline",
        "nowhere",
        "--store",
        &place.url(),
        "--kafka",
        &place.bootstrap,
    ]);
    assert_eq!(bare.status.code(), Some(1), "{}", text(&bare));
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_that_cannot_be_asked_is_no_finding() {
    let cluster = cluster(1);
    let place = Place::new(&cluster.bootstrap_servers());
    let store = ledger::store::open(&place.url(), &S3Options::default()).await.unwrap();
    put(store.as_ref(), &entry(1, Kind::Open, 0, 0, &[])).await;
    put(store.as_ref(), &entry(2, Kind::Append, 0, 50, &[(10, 12)])).await;
    // The topic holds no record: what is behind its end nobody can tell.
    let output = place.worker(&["verify", "--kafka", &place.bootstrap]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let output = place.worker(&["verify", "--kafka", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
}
