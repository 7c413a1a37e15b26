//! Starts that cannot succeed: each ends soon, with its own exit code and a message that says what to do.

use tests::clock;
use tests::peers;
use tests::proxy::{Fault, Proxy};
use tests::scene::Scene;
use tests::worker::Worker;

use crate::{LATER, SOON};

/// Its code, and what it said.
fn ended(mut worker: Worker) -> (Option<i32>, String) {
    let ended = worker.wait(LATER);
    let said = worker.tail(20);
    (ended.code, said)
}

#[test]
fn a_broker_that_is_down_ends_it_with_69() {
    let Some(mut scene) = Scene::new("broker-down") else { return };
    scene.topic("records", 1, &[]);
    // Nobody listens on port 9 of this machine.
    scene.kafka_address = "127.0.0.1:9".to_owned();
    let (outcome, took) = clock::timed(|| ended(scene.worker("worker")));
    assert_eq!(outcome.0, Some(69), "{}", outcome.1);
    assert!(outcome.1.contains("127.0.0.1:9"), "names the broker: {}", outcome.1);
    assert!(took < LATER, "within a bound: {took:?}");
}

#[test]
fn an_unknown_topic_ends_it_with_66() {
    let Some(mut scene) = Scene::new("unknown-topic") else { return };
    scene.pipeline.topics = vec!["landfall-no-such-topic".to_owned()];
    let (code, said) = ended(scene.worker("worker"));
    assert_eq!(code, Some(66), "{said}");
    assert!(said.contains("landfall-no-such-topic"), "names the topic: {said}");
}

#[test]
fn a_bucket_that_does_not_exist_ends_it_with_78() {
    let Some(scene) = Scene::new("no-bucket") else { return };
    let Some(ministack) = peers::ministack("a bucket that does not exist") else { return };
    let mut scene = scene.on_s3(&ministack, &ministack);
    scene.topic("records", 1, &[]);
    if let tests::oracle::Output::S3 { bucket, .. } = &mut scene.output {
        *bucket = "landfall-no-such-bucket".to_owned();
    }
    let (code, said) = ended(scene.worker("worker"));
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("landfall-no-such-bucket"), "names the bucket: {said}");
}

#[test]
fn an_s3_that_denies_ends_it_with_77() {
    let Some(scene) = Scene::new("s3-denies") else { return };
    let Some(ministack) = peers::ministack("an S3 that denies") else { return };
    let proxy = Proxy::before(&ministack);
    let mut scene = scene.on_s3(&ministack, &proxy.url());
    scene.topic("records", 1, &[]);
    let denied = proxy.rule(Fault::Answer(403, "AccessDenied"), usize::MAX, |_, _| true);
    let (code, said) = ended(scene.worker("worker"));
    assert_eq!(code, Some(77), "{said}");
    assert!(denied.count() > 0);
}

#[test]
fn an_s3_that_is_not_there_ends_it_with_69() {
    let Some(scene) = Scene::new("s3-down") else { return };
    let Some(ministack) = peers::ministack("an S3 that is not there") else { return };
    let mut scene = scene.on_s3(&ministack, "http://127.0.0.1:9");
    scene.topic("records", 1, &[]);
    let (code, said) = ended(scene.worker("worker"));
    assert_eq!(code, Some(69), "{said}");
}

#[test]
fn a_kafka_user_without_rights_ends_it_with_77() {
    let Some(mut scene) = Scene::new("kafka-denies") else { return };
    let Some(listener) = peers::peer("LANDFALL_TEST_KAFKA_SCRAM", "a Kafka that denies") else { return };
    scene.topic("records", 1, &[]);
    scene.kafka_address = listener;
    scene.pipeline.scram = Some(("stranger".to_owned(), "stranger-secret".to_owned()));
    let (code, said) = ended(scene.worker("worker"));
    assert_eq!(code, Some(77), "{said}");
}

#[test]
fn a_wrong_password_ends_it_with_77_and_is_not_shown() {
    let Some(mut scene) = Scene::new("wrong-password") else { return };
    let Some(listener) = peers::peer("LANDFALL_TEST_KAFKA_SCRAM", "a wrong password") else { return };
    scene.topic("records", 1, &[]);
    scene.kafka_address = listener;
    scene.pipeline.scram = Some(("landfall".to_owned(), "hunter2-is-wrong".to_owned()));
    let (code, said) = ended(scene.worker("worker"));
    assert_eq!(code, Some(77), "{said}");
    assert!(!said.contains("hunter2-is-wrong"), "the password is in no log: {said}");
}

#[test]
fn an_output_directory_that_cannot_be_written_ends_it() {
    let Some(mut scene) = Scene::new("unwritable") else { return };
    scene.topic("records", 1, &[]);
    // A file stands where the directory should be: root may write anywhere else.
    let blocked = scene.pipeline_directory().with_file_name("blocked");
    std::fs::write(&blocked, "a file").expect("write");
    scene.output = tests::oracle::Output::Directory(blocked.join("output"));
    let (code, said) = ended(scene.worker("worker"));
    assert!(matches!(code, Some(69 | 77 | 78)), "{code:?}: {said}");
}

#[test]
fn a_worker_waits_out_a_topic_without_records() {
    let Some(mut scene) = Scene::new("empty-topic") else { return };
    scene.topic("records", 2, &[]);
    let mut worker = scene.worker("worker");
    worker.wait_for_message("assigned", SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
}
