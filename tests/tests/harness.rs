//! The harness itself: a judge that cannot find a fault, or a broker that does not do what the tests ask of it,
//! would make every other test worthless.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::kafka::{Kafka, Produced};
use tests::oracle::{Count, Oracle, Output};
use tests::pipeline::{record, records};
use tests::{clock, peers};

/// Writes rows (partition, offset, id) of the topic `t` as a Parquet file, by pyarrow.
fn write_rows(python: &str, file: &Path, rows: &[(i32, i64, i64)]) {
    fs::create_dir_all(file.parent().expect("in a directory")).expect("make the directory");
    let script = "import json, sys, pyarrow as pa, pyarrow.parquet as pq\n\
                  rows = json.loads(sys.argv[2])\n\
                  pq.write_table(pa.table({'_topic': ['t'] * len(rows),\n\
                  '_partition': pa.array([r[0] for r in rows], pa.int32()),\n\
                  '_offset': [r[1] for r in rows], 'id': [r[2] for r in rows]}), sys.argv[1])";
    let rows = serde_json::to_string(rows).expect("numbers");
    let status = Command::new(python).args(["-c", script]).arg(file).arg(rows).status().expect("run Python");
    assert!(status.success());
}

fn produced(partition: i32, offset: i64, id: i64) -> Produced {
    Produced { topic: "t".to_owned(), partition, offset, id }
}

#[test]
fn the_judge_finds_what_is_missing_doubled_strange_or_wrong() {
    let Some(python) = peers::python("the judge") else { return };
    let directory = TempDir::new().expect("a temporary directory");
    let oracle = Oracle::new(python.clone(), directory.path());
    let output = Output::Directory(directory.path().join("output"));
    let data = directory.path().join("output/data/dt=2026-11-22");
    write_rows(&python, &data.join("a.parquet"), &[(0, 0, 1), (0, 1, 2), (1, 0, 3)]);
    write_rows(&python, &data.join("b.parquet"), &[(0, 2, 4)]);
    write_rows(&python, &directory.path().join("output/_landfall/dead-letters/c.parquet"), &[(9, 9, 9)]);
    let mut expected = vec![produced(0, 0, 1), produced(0, 1, 2), produced(1, 0, 3), produced(0, 2, 4)];
    let count = oracle.count(&output, &expected);
    count.assert_exact();
    assert_eq!((count.rows, count.files, count.mixed_files), (4, 2, 1));

    expected.push(produced(0, 3, 5));
    expected[0].id = 100;
    write_rows(&python, &data.join("d.parquet"), &[(0, 1, 2), (7, 7, 7)]);
    let found = oracle.count(&output, &expected);
    let numbers = |count: &Count| {
        [&count.missing, &count.duplicated, &count.unexpected, &count.wrong].map(|faults| faults.count)
    };
    assert_eq!(numbers(&found), [1, 1, 1, 1], "{found:#?}");
    assert_eq!(numbers(&oracle.count(&output, &[])), [0, 1, 6, 0], "nothing was expected");
}

#[test]
fn kafka_hides_aborted_records_forgets_deleted_ones_and_grows() {
    let Some(kafka) = peers::kafka("the broker") else { return };
    let kafka = Kafka::connect(&kafka);
    let topic = format!("harness-{}", uuid::Uuid::new_v4().simple());
    kafka.create_topic(&topic, 1, &[]);
    let feed = kafka.transactional_feed(&topic);
    feed.begin();
    let kept = feed.send(&topic, records(0..5, 1));
    feed.commit();
    feed.begin();
    feed.send(&topic, records(5..8, 1));
    feed.abort();
    // Five records, a marker, three aborted records, a marker.
    assert_eq!(kafka.watermarks(&topic, 0), (0, 10));
    assert_eq!(kafka.readable(&topic, 0), kept.iter().map(|record| record.offset).collect());
    kafka.delete_records_before(&topic, 0, 3);
    assert_eq!(kafka.readable(&topic, 0), BTreeSet::from([3, 4]));
    kafka.grow_topic(&topic, 3);
    let sent = clock::until(Duration::from_secs(10), || Some(kafka.feed().send(&topic, records(0..6, 3))));
    assert_eq!(sent.expect("sent").len(), 6);
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &[]);
    assert_eq!(kafka.watermarks(&topic, 0), (0, 0));
}

#[test]
fn records_follow_from_their_numbers_and_are_json() {
    for id in 0..20 {
        let parsed: serde_json::Value = serde_json::from_slice(&record(id)).expect("JSON");
        assert_eq!(parsed["id"], id);
        assert_eq!(record(id), record(id));
    }
}
