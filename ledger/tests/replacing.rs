//! Replacing: what counts on compare-and-set, against a model, against faults, and among processes that are killed.
//!
//! Order: the count is what was replaced, whatever was heard of it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::store::faulty::{Faulty, Fired, Verdict};
use ledger::store::file::FileStore;
use ledger::store::memory::MemoryStore;
use ledger::store::{Fault, ObjectTag, Operation, PutOutcome, ReplaceOutcome, Store};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

// ---- against a model

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: usize,
        body: u8,
    },
    /// With the tag that was seen so many readings ago, of any key.
    Replace {
        key: usize,
        body: u8,
        readings_ago: usize,
    },
    Delete {
        key: usize,
    },
}

/// Few keys and bodies, so that a body often comes back.
fn step() -> impl Strategy<Value = Step> {
    let (key, body) = (0..3usize, 0..3u8);
    prop_oneof![
        2 => (key.clone(), body.clone()).prop_map(|(key, body)| Step::Put { key, body }),
        6 => (key.clone(), body, 0..5usize)
            .prop_map(|(key, body, readings_ago)| Step::Replace { key, body, readings_ago }),
        1 => key.prop_map(|key| Step::Delete { key }),
    ]
}

/// What is there by the model: the body, and the tag that the store gave it.
type Model = BTreeMap<usize, (u8, ObjectTag)>;

async fn obeys_the_model(store: &dyn Store, steps: &[Step]) {
    let key_of = |key: usize| format!("k/{key}");
    let body_of = |body: u8| Bytes::from(vec![body]);
    let (mut model, mut readings) = (Model::new(), Vec::new());
    for step in steps {
        let key = match *step {
            Step::Put { key, body } => {
                let put = store.put_if_absent(&key_of(key), body_of(body)).await.unwrap();
                assert_eq!(put == PutOutcome::Created, !model.contains_key(&key));
                let there = model.get(&key).map(|(there, _)| *there);
                expect(store, &key_of(key), Some(there.unwrap_or(body))).await;
                key
            }
            Step::Replace { key, body, readings_ago } => {
                let Some((of, tag)) = readings.iter().rev().nth(readings_ago).cloned() else { continue };
                let right = of == key && model.get(&key).is_some_and(|(_, current)| *current == tag);
                // A tag of another key is as good as a random one: it may fit by chance, and then proves nothing.
                if of != key && model.get(&key).is_some_and(|(_, current)| *current == tag) {
                    continue;
                }
                let outcome = store.put_if_match(&key_of(key), body_of(body), &tag).await.unwrap();
                assert_eq!(outcome == ReplaceOutcome::Replaced, right, "{step:?} with {tag:?} on {model:?}");
                let there = model.get(&key).map(|(there, _)| *there);
                expect(store, &key_of(key), if right { Some(body) } else { there }).await;
                if right {
                    let (_, new) = store.get_tagged(&key_of(key)).await.unwrap().unwrap();
                    let seen: BTreeSet<&str> = readings
                        .iter()
                        .filter(|(of, _): &&(usize, ObjectTag)| *of == key)
                        .map(|(_, tag)| tag.0.as_str())
                        .collect();
                    assert!(!seen.contains(new.0.as_str()), "{new:?} is a tag of before: {seen:?}");
                }
                key
            }
            Step::Delete { key } => {
                store.delete(&key_of(key)).await.unwrap();
                // Tags of an object that is gone may come back with the next of its name: nobody deletes a journal.
                readings.retain(|(of, _)| *of != key);
                expect(store, &key_of(key), None).await;
                key
            }
        };
        match store.get_tagged(&key_of(key)).await.unwrap() {
            Some((body, tag)) => {
                readings.push((key, tag.clone()));
                model.insert(key, (body[0], tag));
            }
            None => {
                model.remove(&key);
            }
        }
    }
}

async fn expect(store: &dyn Store, key: &str, body: Option<u8>) {
    let tagged = store.get_tagged(key).await.unwrap();
    assert_eq!(tagged.as_ref().map(|(found, _)| found[0]), body, "{key}");
    assert_eq!(store.get(key).await.unwrap(), tagged.map(|(found, _)| found), "{key}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_replacements_in_a_row_leave_what_the_model_says(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            obeys_the_model(&MemoryStore::new(), &steps).await;
            let directory = tempfile::tempdir().unwrap();
            obeys_the_model(&FileStore::create(directory.path()).unwrap(), &steps).await;
        });
    }
}

// ---- against faults

const COUNT: &str = "_landfall/count.json";

/// The body has something that none before had: who wrote it, and which of his tries it was.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
struct Count {
    count: u64,
    writer: u64,
    attempt: u64,
    /// Of each writer, the newest try that was counted: with it a writer knows its own even after others wrote on.
    counted: BTreeMap<u64, u64>,
}

async fn read_count(store: &dyn Store) -> Option<(Count, ObjectTag)> {
    for _ in 0..1_000 {
        match store.get_tagged(COUNT).await {
            Ok(found) => return found.map(|(body, tag)| (serde_json::from_slice(&body).unwrap(), tag)),
            Err(error) => assert!(error.is_unknown(), "{error}"),
        }
    }
    panic!("a thousand readings without an answer");
}

/// Counts up by one, as every caller must: after any doubt it reads, and asks first whether its own is in.
/// `attempt` grows with every call of a writer.
async fn count_up(store: &dyn Store, writer: u64, attempt: u64) {
    for _ in 0..1_000 {
        let (mut count, tag) = read_count(store).await.expect("it was put before");
        if count.counted.get(&writer) == Some(&attempt) {
            return;
        }
        count = Count { count: count.count + 1, writer, attempt, counted: count.counted };
        count.counted.insert(writer, attempt);
        let body = Bytes::from(serde_json::to_vec(&count).unwrap());
        match store.put_if_match(COUNT, body, &tag).await {
            Ok(ReplaceOutcome::Replaced) => return,
            Ok(ReplaceOutcome::Changed) => {}
            Err(error) => assert!(error.is_unknown(), "{error}"),
        }
    }
    panic!("a thousand tries to count up");
}

async fn put_zero(store: &dyn Store) {
    let zero = Count { count: 0, writer: 0, attempt: 0, counted: BTreeMap::new() };
    let body = Bytes::from(serde_json::to_vec(&zero).unwrap());
    assert_eq!(store.put_if_absent(COUNT, body).await.unwrap(), PutOutcome::Created);
}

#[tokio::test]
async fn whatever_is_lost_late_or_refused_everything_is_counted_once() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 10;
    let mut fired = BTreeMap::new();
    for seed in 0..60 {
        let memory = MemoryStore::new();
        put_zero(&memory).await;
        let mut dice = StdRng::seed_from_u64(seed);
        let faulty = Faulty::with_script(Arc::new(memory.clone()), move |call| {
            match (dice.random_range(0..10), call.operation) {
                (0, _) => Verdict::LoseRequest,
                (1, _) => Verdict::LoseReply,
                (2, Operation::Replace) => Verdict::Late,
                (3, _) => Verdict::Fail(Fault::Conflict),
                _ => Verdict::Pass,
            }
        });
        let mut dice = StdRng::seed_from_u64(seed);
        let mut attempts = [0; WRITERS as usize];
        // Turns in any order, and late requests of one arrive between turns of others.
        while attempts.iter().sum::<u64>() < WRITERS * EACH {
            let writer = dice.random_range(0..WRITERS);
            if attempts[writer as usize] == EACH {
                continue;
            }
            attempts[writer as usize] += 1;
            count_up(&faulty, writer, attempts[writer as usize]).await;
            while dice.random_bool(0.4) && faulty.deliver_late_at(0).await {}
        }
        faulty.deliver_late().await;
        let (count, _) = read_count(&memory).await.unwrap();
        assert_eq!(count.count, WRITERS * EACH, "seed {seed}: {count:?}");
        for kind in [Fired::LostRequest, Fired::LostReply, Fired::Late, Fired::Failed] {
            *fired.entry(kind).or_insert(0) += faulty.fired(kind);
        }
    }
    assert!(fired.values().all(|count| *count > 100), "{fired:?}");
}

// ---- among processes

const ROOT: &str = "LANDFALL_TEST_COUNT_IN";
const WRITER: &str = "LANDFALL_TEST_COUNT_AS";

/// A process of its own, started by the test below; by itself it has nothing to do.
#[test]
#[ignore = "a part of processes_that_are_killed_lose_and_block_nothing"]
fn counts_until_it_is_killed() {
    let (Ok(root), Ok(writer)) = (std::env::var(ROOT), std::env::var(WRITER)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = FileStore::open(Path::new(&root)).unwrap();
        let heard = Path::new(&root).join(format!("heard-{writer}"));
        // An end, should its parent die before it can kill.
        for attempt in 1..100_000 {
            count_up(&store, writer.parse().unwrap(), attempt).await;
            // What it was told, for the judge; a rename, so that it is never half there.
            std::fs::write(heard.with_extension("new"), attempt.to_string()).unwrap();
            std::fs::rename(heard.with_extension("new"), &heard).unwrap();
        }
    });
}

/// Killed when dropped, so that none outlives a test that failed.
struct Counting(Child);

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn start_counting(root: &Path, writer: u64) -> Counting {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "counts_until_it_is_killed"])
        .env(ROOT, root)
        .env(WRITER, writer.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Counting(child.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_killed_lose_and_block_nothing() {
    const ROUNDS: u64 = 6;
    const AT_ONCE: u64 = 3;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let store = FileStore::create(root).unwrap();
    put_zero(&store).await;
    let mut dice = StdRng::seed_from_u64(8123);
    for round in 0..ROUNDS {
        let writers: Vec<u64> = (0..AT_ONCE).map(|n| round * AT_ONCE + n).collect();
        let running: Vec<Counting> = writers.iter().map(|writer| start_counting(root, *writer)).collect();
        // All have written, and are at it when they are killed.
        for writer in &writers {
            let heard = root.join(format!("heard-{writer}"));
            let mut waited = 0;
            while !heard.exists() {
                waited += 1;
                assert!(waited < 3_000, "writer {writer} wrote nothing in a minute");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        for child in running {
            tokio::time::sleep(Duration::from_micros(dice.random_range(0..40_000))).await;
            drop(child);
        }
        // Whatever they were killed at, nothing is in the way, and what is there is whole.
        count_up(&store, 1_000, round + 1).await;
    }
    let (count, _) = read_count(&store).await.unwrap();
    assert_eq!(count.count, count.counted.values().sum::<u64>(), "counted once each: {count:?}");
    for writer in 0..ROUNDS * AT_ONCE {
        let heard: u64 =
            std::fs::read_to_string(root.join(format!("heard-{writer}"))).unwrap().parse().unwrap();
        // Its last one may have been carried out without its hearing of it.
        let counted = count.counted[&writer];
        assert!(counted == heard || counted == heard + 1, "writer {writer} heard {heard}: {count:?}");
    }
    assert!(count.count > 3 * ROUNDS * AT_ONCE, "too little was written to prove anything: {count:?}");
}
