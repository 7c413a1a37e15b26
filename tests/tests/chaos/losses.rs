//! Records that Kafka no longer has: retention that passed the position, and topics created anew.

use tests::scene::Scene;

use crate::{LATER, SOON};

/// Reads 100 records, then has Kafka forget everything before offset 200 of 300.
fn retention_passes_the_position(scene: &mut Scene) -> String {
    let topic = scene.topic("records", 1, &[]);
    scene.produce(&topic, 1, 100);
    let mut worker = scene.worker("first");
    scene.wait_until_at_end(&topic, 1, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    let more = scene.produce(&topic, 1, 200);
    scene.kafka.delete_records_before(&topic, 0, 200);
    let lost = more.iter().filter(|record| record.offset < 200).count();
    assert_eq!(lost, 100, "records were lost");
    scene.expected.retain(|record| record.offset < 100 || record.offset >= 200);
    topic
}

#[test]
fn retention_past_the_position_stops_a_worker_that_may_not_lose() {
    let Some(mut scene) = Scene::new("retention-fail") else { return };
    let topic = retention_passes_the_position(&mut scene);
    let mut worker = scene.worker("second");
    let ended = worker.wait(LATER);
    assert_eq!(ended.code, Some(65), "{}", worker.tail(20));
    let last = worker.tail(5);
    for word in [topic.as_str(), "100", "200", "on_data_loss"] {
        assert!(last.contains(word), "names `{word}`: {last}");
    }
    scene.expected.retain(|record| record.offset < 100);
    scene.count().assert_exact();
}

#[test]
fn retention_past_the_position_is_jumped_and_counted_where_that_is_allowed() {
    let Some(mut scene) = Scene::new("retention-continue") else { return };
    let topic = retention_passes_the_position(&mut scene);
    scene.pipeline.on_data_loss = "continue";
    let mut worker = scene.worker("second");
    scene.wait_until_at_end(&topic, 1, LATER);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
    assert_eq!(scene.ledger_sum(&topic, "lost"), 100, "the loss stands in the ledger");
}

#[test]
fn retention_during_a_stop_of_the_worker_is_noticed_when_it_reads_on() {
    let Some(mut scene) = Scene::new("retention-live") else { return };
    scene.pipeline.on_data_loss = "continue";
    let topic = scene.topic("records", 1, &[("segment.bytes", "1048576")]);
    scene.produce(&topic, 1, 100);
    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 1, SOON);
    worker.signal(tests::signals::Signal::Stop);
    scene.produce(&topic, 1, 50);
    scene.kafka.delete_records_before(&topic, 0, 150);
    scene.produce(&topic, 1, 50);
    worker.signal(tests::signals::Signal::Continue);
    scene.wait_until_at_end(&topic, 1, LATER);
    assert_eq!(worker.drain(SOON).code, Some(0));
    // A fetch that the broker had answered before may hold some of them; what it holds stands there once.
    let lost = scene.ledger_sum(&topic, "lost");
    scene.expected.retain(|record| record.offset < 150 - lost || record.offset >= 150);
    scene.count().assert_exact();
}

#[test]
fn a_topic_created_anew_stops_the_worker() {
    let Some(mut scene) = Scene::new("recreated") else { return };
    let topic = scene.topic("records", 1, &[]);
    scene.produce(&topic, 1, 100);
    let mut worker = scene.worker("first");
    scene.wait_until_at_end(&topic, 1, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));

    scene.kafka.delete_topic(&topic);
    scene.kafka.create_topic(&topic, 1, &[]);
    // More than before, so that the old position lies inside the new log and only the topic's id tells.
    let anew = tests::pipeline::records(scene.ids(200), 1);
    scene.feed().send(&topic, anew);
    let mut worker = scene.worker("second");
    let ended = worker.wait(LATER);
    assert_eq!(ended.code, Some(66), "{}", worker.tail(20));
    assert!(worker.tail(5).contains(&topic), "names the topic: {}", worker.tail(5));
    scene.count().assert_exact();
}

#[test]
fn a_topic_created_anew_under_a_running_worker_stops_it() {
    let Some(mut scene) = Scene::new("recreated-live") else { return };
    let topic = scene.topic("records", 1, &[]);
    scene.produce(&topic, 1, 100);
    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 1, SOON);
    scene.kafka.delete_topic(&topic);
    scene.kafka.create_topic(&topic, 1, &[]);
    let anew = tests::pipeline::records(scene.ids(200), 1);
    scene.feed().send(&topic, anew);
    let ended = worker.wait(LATER);
    assert_eq!(ended.code, Some(66), "{}", worker.tail(20));
    scene.count().assert_exact();
}
