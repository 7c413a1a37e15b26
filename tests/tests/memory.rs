//! The memory of the worker as one process: librdkafka's queue, decoding, 64 open files, uploads and the allocator.
//!
//! A binary of its own, so that nothing runs beside it: it takes every core for a minute. Start the peers with
//! `tests/run`.

use std::time::Duration;

use serde_json::Value;
use tests::clock::timed;
use tests::memory::Watch;
use tests::pipeline::{BULK_SCHEMA, Bulk};
use tests::scene::Scene;
use tests::worker::Worker;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 160 * MIB;
const LIMIT_SETTING: &str = "160MiB";
/// Of everything resident: the limit (MiB) and 60 MB (of a million bytes).
const BOUND: u64 = LIMIT + 60_000_000;
const PARTITIONS: i32 = 16;
const BUCKETS: i64 = 64;
const TEXT_BYTES: usize = 6_000;
/// Records sent and waited for at once.
const CHUNK: i64 = 20_000;
/// Bounds a run that takes a minute on two cores of its own.
const RUN_MAX: Duration = Duration::from_secs(300);

#[test]
fn ten_times_the_memory_limit_flows_through_64_open_files_and_what_is_resident_stays_bounded() {
    let Some(mut scene) = Scene::new("memory") else { return };
    scene.pipeline.schema = BULK_SCHEMA;
    scene.pipeline.memory_limit = LIMIT_SETTING;
    scene.pipeline.partition_by = vec!["bucket=bucket"];
    // Only memory is to seal; idleness ends it.
    scene.pipeline.age_max = "20m";
    scene.pipeline.idle_max = "5s";
    let topic = scene.topic("bulk", PARTITIONS, &[]);
    // All of it waits before the worker starts, so that the client's queue is full from first to last.
    let (sent_bytes, sending) = timed(|| send(&mut scene, &topic));

    let mut worker = scene.worker("worker");
    let watch = Watch::of(worker.pid());
    let ((), running) = timed(|| scene.wait_until_at_end(&topic, PARTITIONS, RUN_MAX));
    let seen = watch.stop();
    assert_eq!(worker.drain(Duration::from_secs(30)).code, Some(0));
    let (count, judging) = timed(|| scene.count());
    count.assert_exact();
    println!(
        "{} MiB sent in {sending:?}, written in {running:?}, {} files judged in {judging:?}; limit {} MiB, resident \
         at most {} MiB, of it {} MiB allocated",
        sent_bytes / MIB,
        count.files,
        LIMIT / MIB,
        seen.most.peak / MIB,
        seen.most.anonymous / MIB
    );

    assert!(sent_bytes >= 10 * LIMIT, "{sent_bytes} bytes of values, each of them in the output");
    let widest = scene.oracle.entries(&scene.output).iter().map(buckets).max();
    assert_eq!(widest, Some(BUCKETS as usize), "files of one entry, each in a directory of its own");
    assert!(sealed(&worker, "memory") >= 10, "the budget was met again and again");
    assert_eq!(sealed(&worker, "age") + sealed(&worker, "size"), 0, "nothing else sealed before");
    assert!(seen.samples > 100, "the worker was looked at {} times", seen.samples);
    assert!(seen.most.peak < BOUND, "resident at most {} of {BOUND} bytes", seen.most.peak);
    // What a container counts for good: the binary's own pages are there too, and go where memory is short.
    assert!(seen.most.anonymous < LIMIT, "allocated at most {} of {LIMIT} bytes", seen.most.anonymous);
}

/// Sends ten times the limit; returns the bytes of all values.
fn send(scene: &mut Scene, topic: &str) -> u64 {
    let feed = scene.kafka.compressing_feed("zstd");
    let bulk = Bulk::new(BUCKETS, TEXT_BYTES);
    let mut bytes = 0;
    while bytes < 10 * LIMIT {
        let records = bulk.records(scene.ids(CHUNK), PARTITIONS);
        let sent = feed.send(topic, records.inspect(|record| bytes += value_bytes(record)));
        assert_eq!(sent.len() as i64, CHUNK);
        scene.expected.extend(sent);
    }
    bytes
}

fn value_bytes(record: &tests::kafka::Outgoing) -> u64 {
    record.value.as_ref().map_or(0, Vec::len) as u64
}

/// In how many directories an entry has files.
fn buckets(entry: &Value) -> usize {
    let files = entry["files"].as_array().into_iter().flatten();
    let directories = files.filter_map(|file| Some(file["key"].as_str()?.rsplit_once('/')?.0.to_owned()));
    directories.collect::<std::collections::BTreeSet<_>>().len()
}

/// Flushes for this reason.
fn sealed(worker: &Worker, reason: &str) -> usize {
    worker.said("committed").iter().filter(|line| line.text("reason") == reason).count()
}
