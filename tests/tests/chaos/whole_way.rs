//! The whole way, with workers joining and leaving.

use std::time::Duration;

use tests::clock;
use tests::peers;
use tests::scene::Scene;
use tests::worker::Worker;

use crate::{LATER, SOON};

/// Sends bursts until `done`, so that there is always something to commit.
fn produce_until(scene: &mut Scene, topics: &[(&str, i32)], what: &str, mut done: impl FnMut() -> bool) {
    let arrived = clock::until(LATER, || {
        for (topic, partitions) in topics {
            scene.produce(topic, *partitions, 120);
        }
        std::thread::sleep(Duration::from_millis(200));
        done().then_some(())
    });
    assert!(arrived.is_some(), "{what}: not within {LATER:?}");
}

/// A line `committed` that moved rows, after `before` such lines.
fn commits(worker: &Worker) -> usize {
    worker
        .said("committed")
        .iter()
        .filter(|line| line.number("records").is_some_and(|records| records > 0))
        .count()
}

#[test]
fn workers_join_and_leave_and_every_offset_is_in_one_file() {
    let Some(mut scene) = Scene::new("join-and-leave") else { return };
    let clicks = scene.topic("clicks", 6, &[]);
    let orders = scene.topic("orders", 3, &[]);
    let topics = [(clicks.as_str(), 6), (orders.as_str(), 3)];

    let mut first = scene.worker("first");
    produce_until(&mut scene, &topics, "first commits alone", || commits(&first) >= 2);
    let mut second = scene.worker("second");
    produce_until(&mut scene, &topics, "second commits too", || commits(&second) >= 2);
    let before = commits(&first);
    produce_until(&mut scene, &topics, "first goes on beside second", || commits(&first) > before);
    assert!(!first.said("revoked").is_empty(), "first gave partitions up");

    let mut third = scene.worker("third");
    produce_until(&mut scene, &topics, "third commits", || commits(&third) >= 1);
    assert_eq!(first.drain(SOON).code, Some(0));
    let before = commits(&second);
    produce_until(&mut scene, &topics, "second takes over", || commits(&second) >= before + 2);
    assert_eq!(third.drain(SOON).code, Some(0));
    produce_until(&mut scene, &topics, "second alone", || commits(&second) >= before + 4);

    for (topic, partitions) in topics {
        scene.wait_until_at_end(topic, partitions, SOON);
    }
    assert_eq!(second.drain(SOON).code, Some(0));
    let count = scene.count();
    count.assert_exact();
    assert!(count.mixed_files > 0, "a file with rows of two partitions: {count:#?}");
    // Kafka's own offsets mirror the ledger, so that its tools show a lag of 0.
    for (topic, partitions) in topics {
        for partition in 0..partitions {
            let end = scene.kafka.watermarks(topic, partition).1;
            assert_eq!(scene.kafka.committed(&scene.pipeline.group, topic, partition), Some(end));
        }
    }
    let (code, proof) = scene.verify();
    assert_eq!(code, Some(0), "{proof}");
}

#[test]
fn large_files_reach_a_store_that_refuses_small_parts() {
    let Some(scene) = Scene::new("strict-parts") else { return };
    let Some(strict) = peers::strict_s3("parts of at least 5 MiB") else { return };
    let mut scene = scene.on_s3(&strict, &strict);
    scene.pipeline.partition_by = vec![];
    scene.pipeline.age_max = "30s";
    scene.pipeline.idle_max = "3s";
    scene.pipeline.row_group_bytes = "2MiB";
    let topic = scene.topic("large", 2, &[]);
    scene.produce_noise(&topic, 2, 3_000, 6_000);

    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 2, LATER);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count_when_settled(SOON).assert_exact();
    let parts = scene.most_parts_of_a_file();
    assert!(parts >= 2, "a file of several parts, or nothing was tested: {parts}");
    assert!(scene.oracle.uploads(&scene.output).is_empty(), "no upload is left open");
}

#[test]
fn scram_users_are_let_in() {
    let Some(mut scene) = Scene::new("scram") else { return };
    let Some(listener) = peers::peer("LANDFALL_TEST_KAFKA_SCRAM", "SASL SCRAM") else { return };
    let topic = scene.topic("secret", 2, &[]);
    scene.produce(&topic, 2, 100);
    scene.kafka_address = listener;
    scene.pipeline.scram = Some(("landfall".to_owned(), "landfall-secret".to_owned()));

    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 2, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
}

#[test]
fn partitions_that_appear_later_start_at_their_beginning() {
    let Some(mut scene) = Scene::new("new-partitions") else { return };
    scene.pipeline.start = "latest";
    let topic = scene.topic("growing", 1, &[]);
    // Before the first start, under `latest`: nobody wants these.
    let skipped = tests::pipeline::records(scene.ids(50), 1);
    scene.feed().send(&topic, skipped);
    let mut worker = scene.worker("worker");
    worker.wait_for_message("assigned", SOON);
    scene.produce(&topic, 1, 50);
    scene.wait_until_at_end(&topic, 1, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));

    scene.grow_topic(&topic, 3);
    scene.produce(&topic, 3, 90);
    let mut worker = scene.worker("again");
    scene.wait_until_at_end(&topic, 3, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
}

/// KIP-848: the broker assigns.
#[test]
fn the_new_group_protocol_serves_as_well() {
    let Some(mut scene) = Scene::new("consumer-protocol") else { return };
    scene.pipeline.options = vec![("group.protocol", "consumer")];
    let topic = scene.topic("clicks", 4, &[]);
    let topics = [(topic.as_str(), 4)];
    let mut first = scene.worker("first");
    produce_until(&mut scene, &topics, "first commits alone", || commits(&first) >= 1);
    let mut second = scene.worker("second");
    produce_until(&mut scene, &topics, "second commits too", || commits(&second) >= 1);
    first.kill();
    let before = commits(&second);
    produce_until(&mut scene, &topics, "second goes on", || commits(&second) >= before + 2);
    scene.wait_until_at_end(&topic, 4, LATER);
    assert_eq!(second.drain(SOON).code, Some(0));
    let count = scene.count();
    count.assert_exact();
    assert!(count.mixed_files > 0, "a file with rows of two partitions: {count:#?}");
}

#[test]
fn a_record_of_six_megabytes_passes() {
    let Some(mut scene) = Scene::new("large-record") else { return };
    let topic = scene.topic("large", 1, &[("max.message.bytes", "16000000")]);
    scene.produce(&topic, 1, 10);
    scene.produce_noise(&topic, 1, 1, 6_000_000);
    scene.produce(&topic, 1, 10);
    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 1, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
}
