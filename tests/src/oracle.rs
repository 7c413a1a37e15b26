//! Oracle: asks DuckDB, pyarrow and Spark what a reader sees in the output.
//!
//! The judges are `oracle/judge.py` and `oracle/spark.py`; they list the output and never read the ledger to decide anything.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::kafka::Produced;

const JUDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/oracle/judge.py");
const SPARK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/oracle/spark.py");

/// Where a worker writes.
#[derive(Clone, Debug)]
pub enum Output {
    Directory(PathBuf),
    S3 { endpoint: String, bucket: String, prefix: String },
}

impl Output {
    /// As `S3_OUTPUT_PATH` says it.
    pub fn url(&self) -> String {
        match self {
            Output::Directory(path) => format!("file://{}", path.display()),
            Output::S3 { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}"),
        }
    }

    fn request(&self) -> Value {
        match self {
            Output::Directory(path) => json!({"dir": path}),
            Output::S3 { endpoint, bucket, prefix } => {
                json!({"endpoint": endpoint, "bucket": bucket, "prefix": prefix})
            }
        }
    }
}

/// Offsets that fail one test of the count.
#[derive(Clone, Debug)]
pub struct Faults {
    pub count: u64,
    pub shown: Value,
}

/// What counting every row of the output gave.
#[derive(Clone, Debug)]
pub struct Count {
    pub rows: u64,
    pub files: u64,
    /// Files with rows of more than one partition.
    pub mixed_files: u64,
    pub duplicated: Faults,
    pub missing: Faults,
    pub unexpected: Faults,
    /// At the right offset, with another record's content.
    pub wrong: Faults,
    /// Files under `data/` that are no Parquet.
    pub strays: Value,
}

impl Count {
    /// Every expected offset is there once, with its own content, and nothing else is.
    pub fn assert_exact(&self) {
        let exact = [&self.duplicated, &self.missing, &self.unexpected, &self.wrong];
        assert!(exact.iter().all(|faults| faults.count == 0), "not exactly once: {self:#?}");
        assert_eq!(self.strays, json!([]), "files under data/ that are no Parquet");
    }
}

/// The venv's Python with its judges.
#[derive(Clone, Debug)]
pub struct Oracle {
    python: String,
    scratch: PathBuf,
}

impl Oracle {
    /// `scratch` is a directory that outlives the oracle.
    pub fn new(python: String, scratch: &Path) -> Oracle {
        Oracle { python, scratch: scratch.to_owned() }
    }

    pub fn count(&self, output: &Output, expected: &[Produced]) -> Count {
        let file = self.scratch.join(format!("expected-{}.jsonl", uuid::Uuid::new_v4()));
        let lines = expected.iter().map(|record| {
            let Produced { topic, partition, offset, id } = record;
            json!({"topic": topic, "partition": partition, "offset": offset, "id": id}).to_string() + "\n"
        });
        fs::write(&file, lines.collect::<String>()).expect("write what is expected");
        let answer = self.ask(json!({"ask": "count", "output": output.request(), "expected": file}));
        let number = |name: &str| answer[name].as_u64().expect("the judge counts");
        let faults = |name: &str| Faults {
            count: answer[name]["count"].as_u64().expect("the judge counts"),
            shown: answer[name]["shown"].clone(),
        };
        assert_eq!(number("wanted"), expected.len() as u64, "the judge read what is expected");
        Count {
            rows: number("rows"),
            files: number("files"),
            mixed_files: number("mixed_files"),
            duplicated: faults("duplicated"),
            missing: faults("missing"),
            unexpected: faults("unexpected"),
            wrong: faults("wrong"),
            strays: answer["strays"].clone(),
        }
    }

    /// Types, codecs, page indexes and rows, as the readers report them.
    pub fn inspect(&self, output: &Output) -> Value {
        self.ask(json!({"ask": "inspect", "output": output.request()}))
    }

    /// Every dead letter, its bytes as text.
    pub fn dead_letters(&self, output: &Output) -> Vec<BTreeMap<String, String>> {
        let answer = self.ask(json!({"ask": "dead-letters", "output": output.request()}));
        serde_json::from_value(answer["rows"].clone()).expect("rows of text")
    }

    /// The newest ledger entry, to know when to look; never to judge.
    pub fn head(&self, output: &Output) -> Option<Value> {
        if let Output::Directory(path) = output {
            return newest_entry(&path.join("_landfall/ledger"));
        }
        let answer = self.ask(json!({"ask": "head", "output": output.request()}));
        Some(answer["head"].clone()).filter(|head| !head.is_null())
    }

    /// Every entry of the ledger, newest first: what the worker claims, never what is true.
    pub fn entries(&self, output: &Output) -> Vec<Value> {
        let answer = self.ask(json!({"ask": "entries", "output": output.request()}));
        serde_json::from_value(answer["entries"].clone()).expect("entries")
    }

    /// Keys of multipart uploads that are still open.
    pub fn uploads(&self, output: &Output) -> Vec<String> {
        let answer = self.ask(json!({"ask": "uploads", "output": output.request()}));
        serde_json::from_value(answer["uploads"].clone()).expect("keys")
    }

    /// What Spark (of the Python `python`) sees in a directory, and where the other two readers differ from it.
    /// `hive` are the directories' names, `ids` a range that it also reads by a filter, `ddl` makes `table`.
    pub fn spark(
        &self,
        python: &str,
        output: &Output,
        ddl: &str,
        table: &str,
        hive: &[&str],
        ids: [i64; 2],
    ) -> Value {
        let Output::Directory(directory) = output else { panic!("Spark reads directories here: {output:?}") };
        let scratch = self.scratch.join("spark");
        fs::create_dir_all(&scratch).expect("make Spark's directory");
        let request = json!({
            "dir": directory, "scratch": scratch, "ddl": ddl, "table": table, "hive": hive, "ids": ids,
        });
        ask(python, SPARK, &request)
    }

    fn ask(&self, request: Value) -> Value {
        ask(&self.python, JUDGE, &request)
    }
}

/// A script's answer: JSON in, JSON out.
///
/// # Panics
/// It failed.
pub fn ask(python: &str, judge: &str, request: &Value) -> Value {
    let mut child = Command::new(python)
        .arg(judge)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the judge");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(request.to_string().as_bytes()).expect("ask the judge");
    drop(stdin);
    let answer = child.wait_with_output().expect("the judge's answer");
    assert!(answer.status.success(), "{judge}: {}", String::from_utf8_lossy(&answer.stderr));
    serde_json::from_slice(&answer.stdout).expect("the judge answers in JSON")
}

/// Newest first is the order of the keys.
fn newest_entry(directory: &Path) -> Option<Value> {
    let entries = fs::read_dir(directory).ok()?;
    let newest = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    serde_json::from_slice(&fs::read(newest.min()?).ok()?).ok()
}
