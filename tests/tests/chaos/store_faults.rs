//! An S3 that loses replies, fails, and is slow.

use std::time::Duration;

use tests::clock;
use tests::peers;
use tests::proxy::{Fault, Proxy};
use tests::scene::Scene;
use tests::worker::Worker;

use crate::{LATER, SOON};

fn on_s3(name: &str) -> Option<(Scene, Proxy)> {
    let scene = Scene::new(name)?;
    let ministack = peers::ministack("an S3 that fails")?;
    let proxy = Proxy::before(&ministack);
    let scene = scene.on_s3(&ministack, &proxy.url());
    Some((scene, proxy))
}

fn is_ledger_put(method: &str, target: &str) -> bool {
    method == "PUT" && target.contains("/_landfall/ledger/")
}

fn is_data_part(method: &str, target: &str) -> bool {
    method == "PUT" && target.contains("/data/") && target.contains("partNumber=")
}

fn is_complete(method: &str, target: &str) -> bool {
    method == "POST" && target.contains("/data/") && target.contains("uploadId=")
}

fn is_begin(method: &str, target: &str) -> bool {
    method == "POST" && target.contains("/data/") && target.contains("uploads")
}

/// Reads on while the rules strike, and counts.
fn go_through(scene: &mut Scene, topic: &str) {
    let worker = scene.worker("worker");
    go_on(scene, topic, worker);
}

fn go_on(scene: &mut Scene, topic: &str, mut worker: Worker) {
    for _ in 0..4 {
        scene.produce(topic, 3, 300);
        scene.wait_until_at_end(topic, 3, LATER);
    }
    assert_eq!(worker.drain(LATER).code, Some(0));
    let count = scene.count_when_settled(SOON);
    count.assert_exact();
    assert!(count.mixed_files > 0, "a file with rows of two partitions: {count:#?}");
    let (code, proof) = scene.verify();
    assert_eq!(code, Some(0), "{proof}");
}

#[test]
fn a_lost_reply_to_the_entry_is_found_to_be_ones_own_success() {
    let Some((mut scene, proxy)) = on_s3("lost-replies") else { return };
    let topic = scene.topic("records", 3, &[]);
    // The first is the `open` entry, later ones are appends.
    let lost = proxy.rule(Fault::LoseReply, 3, is_ledger_put);
    go_through(&mut scene, &topic);
    assert!(lost.count() >= 3, "replies were lost: {}", lost.count());
}

#[test]
fn lost_requests_and_replies_of_uploads_lose_and_double_nothing() {
    let Some((mut scene, proxy)) = on_s3("lost-uploads") else { return };
    let topic = scene.topic("records", 3, &[]);
    let fired = [
        proxy.rule(Fault::LoseReply, 2, is_complete),
        proxy.rule(Fault::LoseRequest, 2, is_complete),
        proxy.rule(Fault::LoseReply, 2, is_data_part),
        proxy.rule(Fault::LoseRequest, 2, is_data_part),
        proxy.rule(Fault::LoseReply, 1, is_begin),
        proxy.rule(Fault::LoseRequest, 1, is_ledger_put),
    ];
    go_through(&mut scene, &topic);
    for (index, fired) in fired.iter().enumerate() {
        assert!(fired.count() > 0, "rule {index} struck");
    }
}

#[test]
fn an_s3_that_throttles_fails_and_dawdles_only_delays() {
    let Some((mut scene, proxy)) = on_s3("throttled") else { return };
    let topic = scene.topic("records", 3, &[]);
    // Once it runs: a start that meets a failing store ends with 69, to be started again.
    let worker = scene.worker("worker");
    worker.wait_for_message("assigned", SOON);
    let fired = [
        proxy.rule(Fault::Answer(503, "SlowDown"), 3, is_data_part),
        proxy.rule(Fault::Answer(500, "InternalError"), 2, is_ledger_put),
        // The error that comes inside a 200, as CompleteMultipartUpload's page warns.
        proxy.rule(Fault::Answer(200, "InternalError"), 2, is_complete),
        proxy.rule(Fault::Answer(409, "ConditionalRequestConflict"), 1, is_ledger_put),
        proxy.rule(Fault::Delay(Duration::from_secs(3)), 2, is_data_part),
        proxy.rule(Fault::Delay(Duration::from_secs(3)), 1, is_ledger_put),
        proxy.rule(Fault::Answer(503, "SlowDown"), 3, |method, _| method == "GET"),
    ];
    go_on(&mut scene, &topic, worker);
    for (index, fired) in fired.iter().enumerate() {
        assert!(fired.count() > 0, "rule {index} struck");
    }
}

#[test]
fn two_workers_race_for_entries_and_both_win_some() {
    let Some((mut scene, proxy)) = on_s3("race") else { return };
    scene.pipeline.age_max = "200ms";
    scene.pipeline.idle_max = "100ms";
    let topic = scene.topic("records", 4, &[]);
    scene.produce(&topic, 4, 100);
    let mut first = scene.worker("first");
    first.wait_for_message("committed", SOON);
    let mut second = scene.worker("second");
    second.wait_for_message("assigned", LATER);
    // Each PUT is held a little, so that the other often takes the slot in between.
    let held = proxy.rule(Fault::Delay(Duration::from_millis(150)), usize::MAX, is_ledger_put);
    let before = first.said("committed").len();
    let both = clock::until(LATER, || {
        scene.produce(&topic, 4, 100);
        std::thread::sleep(Duration::from_millis(250));
        let wrote = [first.said("committed").len() - before, second.said("committed").len()];
        wrote.iter().all(|entries| *entries >= 5).then_some(())
    });
    assert!(both.is_some(), "both wrote entries side by side");
    scene.wait_until_at_end(&topic, 4, LATER);
    assert_eq!(first.drain(SOON).code, Some(0));
    assert_eq!(second.drain(SOON).code, Some(0));
    assert!(held.count() >= 10, "entries were written: {}", held.count());
    scene.count_when_settled(SOON).assert_exact();
}
