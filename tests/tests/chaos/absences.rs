//! Offsets without a record: transaction markers, aborted records, compacted ones.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::clock;
use tests::kafka::Outgoing;
use tests::pipeline::records;
use tests::scene::Scene;

use crate::{LATER, SOON};

#[test]
fn aborted_records_are_unseen_and_markers_leave_no_lag() {
    let Some(mut scene) = Scene::new("transactions") else { return };
    let topic = scene.topic("records", 2, &[]);
    let feed = scene.kafka.transactional_feed(&topic);
    let mut aborted = 0;
    let transaction = |scene: &mut Scene, commit: bool, count: i64| {
        feed.begin();
        let sent = feed.send(&topic, records(scene.ids(count), 2));
        if commit {
            feed.commit();
            scene.expected.extend(sent);
            0
        } else {
            feed.abort();
            sent.len()
        }
    };
    transaction(&mut scene, true, 40);
    aborted += transaction(&mut scene, false, 30);
    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 2, SOON);
    for round in 0..6 {
        aborted += transaction(&mut scene, round % 2 == 0, 50);
    }
    // The last thing in the log is a marker behind aborted records: only the end of the partition tells.
    aborted += transaction(&mut scene, false, 10);
    scene.wait_until_at_end(&topic, 2, SOON);

    // Records of an open transaction are not there, and do not hold back what is.
    feed.begin();
    let pending = feed.send(&topic, records(scene.ids(20), 2));
    std::thread::sleep(Duration::from_secs(2));
    scene.count().assert_exact();
    feed.commit();
    scene.expected.extend(pending);
    scene.wait_until_at_end(&topic, 2, SOON);

    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
    assert!(aborted > 100, "records were aborted: {aborted}");
    for partition in 0..2 {
        let end = scene.kafka.watermarks(&topic, partition).1;
        assert_eq!(scene.kafka.committed(&scene.pipeline.group, &topic, partition), Some(end), "lag 0");
        let readable = scene.kafka.readable(&topic, partition);
        assert!((readable.len() as i64) < end, "offsets without a record were provoked");
    }
    let (code, proof) = scene.verify();
    assert_eq!(code, Some(0), "{proof}");
}

#[test]
fn compacted_offsets_are_counted_as_absent() {
    let Some(mut scene) = Scene::new("compaction") else { return };
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "500"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "600"),
    ];
    let topic = scene.topic("keyed", 1, &settings);
    let mut sent = Vec::new();
    // The same fifty keys again and again; each pause lets a segment roll.
    for _ in 0..4 {
        let ids = scene.ids(200);
        sent.extend(scene.feed().send(&topic, records(ids, 1)));
        std::thread::sleep(Duration::from_millis(700));
    }
    let mut before = BTreeSet::new();
    let mut calm = 0;
    let compacted = clock::until(LATER, || {
        let readable = scene.kafka.readable(&topic, 0);
        calm = if readable == before && readable.len() < 400 { calm + 1 } else { 0 };
        before = readable;
        std::thread::sleep(Duration::from_millis(300));
        (calm >= 5).then_some(())
    });
    assert!(compacted.is_some(), "the broker compacts: {} records left", before.len());
    scene.expected.extend(sent.into_iter().filter(|record| before.contains(&record.offset)));
    assert_eq!(scene.expected.len(), before.len());

    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 1, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
    let (code, proof) = scene.verify();
    assert_eq!(code, Some(0), "{proof}");
}

#[test]
fn tombstones_are_skipped_and_misfits_become_dead_letters() {
    let Some(mut scene) = Scene::new("misfits") else { return };
    let topic = scene.topic("records", 2, &[]);
    scene.produce(&topic, 2, 100);
    let misfits: [&[u8]; 9] = [
        b"not json",
        b"",
        b"\xff\xfe",
        b"{\"id\": 7",
        b"{\"name\": \"no id\"}",
        b"{\"id\": \"seven\"}",
        b"{\"id\": 99999999999999999999}",
        b"[]",
        b"null",
    ];
    let nested = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
    let values = misfits.iter().map(|value| value.to_vec()).chain([nested]);
    let bad =
        values.map(|value| Outgoing { partition: 1, id: 0, key: Some("bad".into()), value: Some(value) });
    let bad = scene.feed().send(&topic, bad.collect::<Vec<_>>());
    let gone = (0..5).map(|_| Outgoing { partition: 0, id: 0, key: Some("gone".into()), value: None });
    scene.feed().send(&topic, gone.collect::<Vec<_>>());
    scene.produce(&topic, 2, 100);

    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 2, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
    let letters = scene.oracle.dead_letters(&scene.output);
    let offsets: BTreeSet<String> = letters.iter().map(|letter| scene.letter_offset(letter)).collect();
    let expected: BTreeSet<String> = bad.iter().map(|record| record.offset.to_string()).collect();
    assert_eq!(offsets, expected);
    assert_eq!(letters.len(), bad.len(), "each once");
    assert!(
        letters.iter().any(|letter| letter.values().any(|value| value == "not json")),
        "the raw value is kept"
    );
    let (code, proof) = scene.verify();
    assert_eq!(code, Some(0), "{proof}");
}

#[test]
fn a_misfit_stops_a_worker_that_is_told_so_and_nothing_is_skipped() {
    let Some(mut scene) = Scene::new("misfit-fails") else { return };
    scene.pipeline.on_error = "fail";
    let topic = scene.topic("records", 1, &[]);
    let mut worker = scene.worker("first");
    scene.produce(&topic, 1, 50);
    scene.wait_until_at_end(&topic, 1, SOON);
    let misfit = Outgoing { partition: 0, id: 0, key: None, value: Some(b"not json".to_vec()) };
    scene.feed().send(&topic, [misfit]);
    let ended = worker.wait(LATER);
    assert_eq!(ended.code, Some(65), "{}", worker.tail(20));
    assert!(worker.tail(5).contains("50"), "names the offset: {}", worker.tail(5));
    scene.count().assert_exact();

    scene.pipeline.on_error = "dead-letter";
    scene.produce(&topic, 1, 50);
    let mut worker = scene.worker("second");
    scene.wait_until_at_end(&topic, 1, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
    assert_eq!(scene.oracle.dead_letters(&scene.output).len(), 1);
}
