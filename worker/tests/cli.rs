//! The binary as a shell sees it: exit codes, what stands on which stream.

use std::path::Path;
use std::process::{Command, Output};

use ledger::entry::{Entry, EntryId, FORMAT, Kind, Positions, Sequence, Writer};
use ledger::store::{S3Options, Store};

fn worker(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.args(args).current_dir(dir).envs(env.iter().copied());
    for name in ["KAFKA_BOOTSTRAP", "S3_OUTPUT_PATH", "LANDFALL_PIPELINE", "ECS_CONTAINER_METADATA_URI_V4"] {
        if !env.iter().any(|(set, _)| *set == name) {
            command.env_remove(name);
        }
    }
    command.output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn pipeline(dir: &Path, listen: &str) {
    let pipeline = dir.join("pipeline");
    std::fs::create_dir(&pipeline).expect("created");
    std::fs::write(pipeline.join("schema.sql"), "CREATE TABLE t (a STRING)").expect("written");
    let settings = format!(
        "name = \"shop\"\n[kafka]\nbootstrap = \"${{KAFKA_BOOTSTRAP}}\"\ntopics = [\"t\"]\n\
         [output]\npath = \"${{S3_OUTPUT_PATH}}\"\n[health]\nlisten = \"{listen}\"\n"
    );
    std::fs::write(pipeline.join("pipeline.toml"), settings).expect("written");
}

async fn append(store: &dyn Store, sequence: u64) {
    let entry = Entry {
        format: FORMAT,
        sequence: Sequence(sequence),
        kind: Kind::Open,
        entry_id: EntryId(uuid::Uuid::from_u128(sequence.into())),
        writer: Writer { release: "r1".into(), version: "0.1.0".into(), ..Writer::default() },
        committed_at: "2026-11-22T07:00:00.000Z".into(),
        topics: Default::default(),
        positions: Positions::default(),
        files: Vec::new(),
        rejected: Default::default(),
        settled_through: Sequence(sequence - 1),
    };
    let json = entry.to_json().expect("it is a good entry");
    store.put_if_absent(&entry.sequence.key(), json.into()).await.expect("put");
}

#[test]
fn a_wrong_line_exits_64() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(worker(dir.path(), &["rum"], &[]).status.code(), Some(64));
}

#[test]
fn wrong_settings_exit_78_and_every_fault_is_told_with_its_line() {
    let dir = tempfile::tempdir().expect("a directory");
    pipeline(dir.path(), "127.0.0.1:1");
    let output = worker(dir.path(), &["ledger"], &[]);
    assert_eq!(output.status.code(), Some(78));
    let told = text(&output.stderr);
    for line in [
        "pipeline/pipeline.toml:3:14: `kafka.bootstrap` takes the environment variable KAFKA_BOOTSTRAP",
        "3 | bootstrap = \"${KAFKA_BOOTSTRAP}\"",
        "export S3_OUTPUT_PATH=s3://bucket/prefix",
        "2 faults in the settings",
    ] {
        assert!(told.contains(line), "{line} is missing in\n{told}");
    }
}

#[tokio::test]
async fn the_ledger_is_printed_from_the_pipelines_store_and_from_a_named_one() {
    let dir = tempfile::tempdir().expect("a directory");
    pipeline(dir.path(), "none");
    let url = format!("file://{}", dir.path().join("out").display());
    let store = ledger::store::open(&url, &S3Options::default()).await.expect("opened");
    append(store.as_ref(), 1).await;
    append(store.as_ref(), 2).await;

    let env = [("KAFKA_BOOTSTRAP", "localhost:9092"), ("S3_OUTPUT_PATH", url.as_str())];
    let output = worker(dir.path(), &["ledger"], &env);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("2 of 2 entries of file://"), "{}", text(&output.stdout));

    let output = worker(dir.path(), &["ledger", "--store", &url, "--json", "-n", "1"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("{\"format\":1,\"sequence\":2"), "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

#[test]
fn a_store_that_is_not_there_exits_78() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = worker(dir.path(), &["ledger", "--store", "file:///nonexistent/out"], &[]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(78), ""));
    assert!(text(&output.stderr).contains("/nonexistent/out"), "{}", text(&output.stderr));
}

#[test]
fn a_worker_that_does_not_answer_is_not_well() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port();
    pipeline(dir.path(), &format!("0.0.0.0:{port}"));
    let env = [("KAFKA_BOOTSTRAP", "localhost:9092"), ("S3_OUTPUT_PATH", "file:///tmp/x")];
    let output = worker(dir.path(), &["health"], &env);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.contains(&format!("http://127.0.0.1:{port}/health")),
        "it asks where the settings say: {told}"
    );
}
