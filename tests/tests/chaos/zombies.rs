//! Workers that were given up and come back.

use std::time::Duration;

use tests::clock;
use tests::peers;
use tests::proxy::{Fault, Gate, Proxy};
use tests::scene::Scene;
use tests::signals::Signal;

use crate::{LATER, SOON};

fn is_ledger_put(method: &str, target: &str) -> bool {
    method == "PUT" && target.contains("/_landfall/ledger/")
}

#[test]
fn a_worker_that_wakes_after_its_replacement_committed_is_fenced() {
    let Some(scene) = Scene::new("zombie-fenced") else { return };
    let Some(ministack) = peers::ministack("fencing on S3") else { return };
    let proxy = Proxy::before(&ministack);
    let mut scene = scene.on_s3(&ministack, &proxy.url());
    scene.pipeline.session_timeout = "3s";
    let topic = scene.topic("records", 4, &[]);
    scene.produce(&topic, 4, 200);
    let mut zombie = scene.worker("zombie");
    scene.wait_until_at_end(&topic, 4, SOON);

    // Its next append is on the way when it is stopped: the entry hangs in the network.
    let gate = Gate::default();
    let held = proxy.rule(Fault::Hold(gate.clone()), 1, is_ledger_put);
    scene.produce(&topic, 4, 200);
    assert!(clock::until(SOON, || (held.count() > 0).then_some(())).is_some(), "an append is under way");
    zombie.signal(Signal::Stop);

    scene.pipeline.endpoint = Some(ministack.clone());
    let mut replacement = scene.worker("replacement");
    scene.wait_until_at_end(&topic, 4, LATER);
    gate.open();
    zombie.signal(Signal::Continue);
    zombie.wait_for_message("fenced", LATER);

    // It is no outcast: it takes its share again.
    scene.produce(&topic, 4, 400);
    scene.wait_until_at_end(&topic, 4, LATER);
    assert_eq!(zombie.drain(LATER).code, Some(0));
    assert_eq!(replacement.drain(SOON).code, Some(0));
    let count = scene.count_when_settled(SOON);
    count.assert_exact();
    assert!(count.mixed_files > 0, "a file with rows of two partitions: {count:#?}");
    let (code, proof) = scene.verify();
    assert_eq!(code, Some(0), "{proof}");
}

#[test]
fn a_worker_that_lost_its_partitions_drops_its_mixed_batch() {
    let Some(mut scene) = Scene::new("zombie-dropped") else { return };
    scene.pipeline.session_timeout = "3s";
    scene.pipeline.age_max = "10m";
    scene.pipeline.idle_max = "10m";
    let topic = scene.topic("records", 4, &[]);
    let listener = scene.listen();
    let mut zombie = scene.worker("zombie");
    scene.pipeline.listen = "none".to_owned();
    zombie.wait_for_message("assigned", SOON);
    scene.produce(&topic, 4, 400);
    let read = || listener.metric("landfall_records_read_total").filter(|read| *read >= 400.0);
    assert!(clock::until(SOON, read).is_some(), "rows of four partitions lie in its open files");
    assert!(zombie.said("committed").is_empty(), "nothing was flushed yet");
    zombie.signal(Signal::Stop);

    scene.pipeline.age_max = "1s";
    scene.pipeline.idle_max = "500ms";
    let mut replacement = scene.worker("replacement");
    scene.wait_until_at_end(&topic, 4, LATER);
    zombie.signal(Signal::Continue);
    zombie.wait_for_message("lost", LATER);
    zombie.wait_for_message("batch dropped", LATER);

    scene.produce(&topic, 4, 400);
    // What the zombie reads now it flushes when it leaves.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(zombie.drain(LATER).code, Some(0));
    scene.wait_until_at_end(&topic, 4, LATER);
    assert_eq!(replacement.drain(SOON).code, Some(0));
    scene.count().assert_exact();
}

#[test]
fn a_short_stop_costs_nothing() {
    let Some(mut scene) = Scene::new("short-stop") else { return };
    let topic = scene.topic("records", 2, &[]);
    scene.produce(&topic, 2, 200);
    let mut worker = scene.worker("worker");
    worker.wait_for_message("committed", SOON);
    scene.produce(&topic, 2, 200);
    worker.signal(Signal::Stop);
    std::thread::sleep(Duration::from_secs(2));
    worker.signal(Signal::Continue);
    scene.wait_until_at_end(&topic, 2, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    assert!(worker.said("fenced").is_empty() && worker.said("lost").is_empty());
    scene.count().assert_exact();
}
