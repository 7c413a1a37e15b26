//! Workers that die: at the two points where it could hurt, and at any other.

use std::time::Duration;

use tests::peers;
use tests::scene::Scene;

use crate::{LATER, SOON};

/// Starts a worker that stands still at `point`, kills it there, and lets another finish.
fn killed_at(scene: &mut Scene, point: &str) {
    let topic = scene.topic("records", 3, &[]);
    scene.pipeline.session_timeout = "3s";
    scene.produce(&topic, 3, 600);
    let mut doomed = scene.worker_with("doomed", &["--hold-at", point]);
    let held = doomed.wait_for_message("holding", SOON);
    assert_eq!(held.text("at"), point);
    doomed.kill();
    let visible = scene.oracle.count(&scene.output, &[]);
    assert_eq!(visible.rows, 0, "nothing that is not settled is visible");

    scene.produce(&topic, 3, 300);
    let mut next = scene.worker("next");
    scene.wait_until_at_end(&topic, 3, LATER);
    assert_eq!(next.drain(SOON).code, Some(0));
    let count = scene.count();
    count.assert_exact();
    assert!(count.mixed_files > 0, "a file with rows of two partitions: {count:#?}");
}

#[test]
fn a_worker_killed_in_mid_file_loses_and_doubles_nothing() {
    let Some(mut scene) = Scene::new("killed-mid-file") else { return };
    killed_at(&mut scene, "upload-open");
}

#[test]
fn a_worker_killed_between_entry_and_settling_is_settled_by_the_next() {
    let Some(mut scene) = Scene::new("killed-logged") else { return };
    killed_at(&mut scene, "entry-logged");
}

#[test]
fn both_kills_on_s3_leave_no_trace_in_the_rows() {
    let Some(mut scene) = Scene::new("killed-s3") else { return };
    let Some(ministack) = peers::ministack("crashes on S3") else { return };
    scene = scene.on_s3(&ministack, &ministack);
    killed_at(&mut scene, "upload-open");
    scene.pipeline.topics.clear();
    let topic = scene.topic("more", 2, &[]);
    scene.produce(&topic, 2, 200);
    let mut doomed = scene.worker_with("doomed-again", &["--hold-at", "entry-logged"]);
    doomed.wait_for_message("holding", LATER);
    doomed.kill();
    let mut next = scene.worker("last");
    scene.wait_until_at_end(&topic, 2, LATER);
    assert_eq!(next.drain(SOON).code, Some(0));
    scene.count_when_settled(SOON).assert_exact();
}

#[test]
fn workers_killed_at_any_moment_lose_and_double_nothing() {
    let Some(mut scene) = Scene::new("killed-anywhere") else { return };
    let Some(ministack) = peers::ministack("crashes on S3") else { return };
    scene = scene.on_s3(&ministack, &ministack);
    scene.pipeline.session_timeout = "2s";
    scene.pipeline.age_max = "300ms";
    scene.pipeline.idle_max = "200ms";
    let topic = scene.topic("records", 4, &[]);
    // Milliseconds after the first rows are in: before, during and after flushes.
    let mut committed = 0;
    for lifetime in [0, 35, 120, 260, 410] {
        scene.produce(&topic, 4, 400);
        let mut doomed = scene.worker("doomed");
        doomed.wait_for_message("assigned", LATER);
        doomed.wait_for_message("committed", SOON);
        scene.produce(&topic, 4, 400);
        std::thread::sleep(Duration::from_millis(lifetime));
        committed += doomed.said("committed").len();
        doomed.kill();
    }
    assert!(committed >= 5, "every doomed worker had committed something");
    let mut last = scene.worker("last");
    scene.wait_until_at_end(&topic, 4, LATER);
    assert_eq!(last.drain(SOON).code, Some(0));
    scene.count_when_settled(SOON).assert_exact();
    let (code, proof) = scene.verify();
    assert_eq!(code, Some(0), "{proof}");
}

#[test]
fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let Some(mut scene) = Scene::new("second-signal") else { return };
    scene.pipeline.session_timeout = "3s";
    let topic = scene.topic("records", 2, &[]);
    scene.produce(&topic, 2, 500);
    // Held in the middle of a flush, it cannot drain: only the second signal ends it.
    let mut stubborn = scene.worker_with("stubborn", &["--hold-at", "upload-open"]);
    stubborn.wait_for_message("holding", SOON);
    stubborn.signal(tests::signals::Signal::Terminate);
    std::thread::sleep(Duration::from_millis(300));
    assert!(stubborn.is_running(), "one signal asks for a drain, which cannot end here");
    let ended = stubborn.drain(Duration::from_secs(5));
    assert!(ended.code != Some(0), "it did not drain: {ended:?}");

    let mut next = scene.worker("next");
    scene.wait_until_at_end(&topic, 2, LATER);
    assert_eq!(next.drain(SOON).code, Some(0));
    scene.count().assert_exact();
}
