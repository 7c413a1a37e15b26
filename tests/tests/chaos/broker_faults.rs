//! A network to Kafka that breaks, and one that falls silent.

use std::time::Duration;

use tests::line::Line;
use tests::peers;
use tests::scene::Scene;

use crate::{LATER, SOON};

/// One test, because the broker has one such listener.
#[test]
fn a_network_that_breaks_or_falls_silent_only_delays() {
    let Some(mut scene) = Scene::new("broken-line") else { return };
    let Some(addresses) = peers::peer("LANDFALL_TEST_KAFKA_LINE", "a network to Kafka that breaks") else {
        return;
    };
    let (near, far) = addresses.split_once(',').expect("two addresses");
    let line = Line::between(near, far);
    scene.kafka_address = near.to_owned();
    scene.pipeline.session_timeout = "3s";
    let topic = scene.topic("records", 3, &[]);
    scene.produce(&topic, 3, 300);
    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 3, SOON);

    // Longer than the session: the broker gives the partitions up.
    line.cut();
    scene.produce(&topic, 3, 300);
    std::thread::sleep(Duration::from_secs(5));
    assert!(worker.is_running(), "an outage of Kafka ends no worker");
    line.mend();
    scene.wait_until_at_end(&topic, 3, LATER);
    assert!(line.cuts() > 0, "connections were cut");

    line.still();
    scene.produce(&topic, 3, 300);
    std::thread::sleep(Duration::from_secs(5));
    assert!(worker.is_running(), "a silent Kafka ends no worker");
    line.mend();
    scene.wait_until_at_end(&topic, 3, LATER);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
    let (code, proof) = scene.verify();
    assert_eq!(code, Some(0), "{proof}");
}
