//! What may be wrong in front of `run` and `check`: each ends within a bound, with its code and a sentence that says
//! what, where and what to do, and with the same code for both.
//!
//! S3 needs a server: `LANDFALL_TEST_S3_MINISTACK` (or `_STRICT`) names one as `http://HOST:PORT`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test looks at the clock and may panic")]

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

const SETTINGS: &str = r#"name = "clicks"
[kafka]
bootstrap = "${KAFKA_BOOTSTRAP}"
topics = ["clicks"]
[output]
path = "${S3_OUTPUT_PATH}"
[health]
listen = "none"
[memory]
limit = "512MiB"
"#;
const SCHEMA: &str = "CREATE TABLE clicks (\n    user BIGINT NOT NULL\n)";
/// A question to a broker takes at most 15 s, and one to S3 a few tries.
const BOUND: Duration = Duration::from_secs(60);

struct Case {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    as_nobody: bool,
}

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("clicks", 1, 1).unwrap();
    cluster
}

impl Case {
    fn new(bootstrap: &str) -> Case {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(dir.path().join("pipeline")).unwrap();
        let out = format!("file://{}", dir.path().join("out").display());
        let env = vec![
            ("KAFKA_BOOTSTRAP".to_owned(), bootstrap.to_owned()),
            ("S3_OUTPUT_PATH".to_owned(), out),
            ("LANDFALL_LOG".to_owned(), "error,librdkafka=off".to_owned()),
        ];
        Case { dir, env, as_nobody: false }.settings(SETTINGS).schema(SCHEMA)
    }

    /// Nothing is reached: the address is taken by nobody.
    fn offline() -> Case {
        Case::new("127.0.0.1:1")
    }

    fn settings(self, text: &str) -> Case {
        std::fs::write(self.dir.path().join("pipeline/pipeline.toml"), text).unwrap();
        self
    }

    fn schema(self, text: &str) -> Case {
        std::fs::write(self.dir.path().join("pipeline/schema.sql"), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Case {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Case {
        self.env.retain(|(known, _)| known != name);
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Both commands end in time with this code, and say all of this.
    fn ends(&self, code: i32, says: &[&str]) {
        for command in ["run", "check"] {
            let (found, told) = self.told(command);
            assert_eq!(found, Some(code), "{command} says:\n{told}");
            for part in says {
                assert!(told.contains(part), "{command} does not say `{part}` but:\n{told}");
            }
            assert!(!told.contains("panic"), "{command} says:\n{told}");
        }
    }

    fn told(&self, command: &str) -> (Option<i32>, String) {
        let log = tempfile::tempfile().unwrap();
        let mut worker = Command::new(env!("CARGO_BIN_EXE_worker"));
        worker.arg(command).current_dir(self.path());
        for name in
            ["KAFKA_BOOTSTRAP", "S3_OUTPUT_PATH", "LANDFALL_PIPELINE", "ECS_CONTAINER_METADATA_URI_V4"]
        {
            worker.env_remove(name);
        }
        // A case has the credentials that it names, and not the test run's.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            worker.env_remove(name);
        }
        worker.envs(self.env.iter().map(|(name, value)| (name, value)));
        worker.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
        if self.as_nobody {
            worker.uid(65_534).gid(65_534);
        }
        let started = Instant::now();
        let mut child = worker.spawn().unwrap();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if started.elapsed() > BOUND {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let mut told = String::new();
        std::io::Seek::rewind(&mut &log).unwrap();
        (&log).read_to_string(&mut told).unwrap();
        (code, told)
    }
}

#[test]
fn malformed_toml() {
    let case = Case::offline().settings("name = \"clicks\"\n[kafka\nbootstrap = 1\n");
    case.ends(78, &["pipeline/pipeline.toml:2:"]);
}

#[test]
fn no_pipeline_at_all() {
    let case = Case::offline();
    std::fs::remove_dir_all(case.path().join("pipeline")).unwrap();
    case.ends(78, &["pipeline/pipeline.toml", "--pipeline"]);
}

#[test]
fn an_unknown_key_and_a_missing_variable_are_told_together() {
    let wrong = SETTINGS.replace("listen = ", "lisen = ");
    let case = Case::offline().settings(&wrong).without("S3_OUTPUT_PATH");
    case.ends(78, &["`health.lisen`", "pipeline.toml:8:", "S3_OUTPUT_PATH", "pipeline.toml:6:"]);
}

#[test]
fn malformed_sql() {
    Case::offline()
        .schema("CREATE TABLE clicks (\n    user BIGINT NOT\n")
        .ends(78, &["pipeline/schema.sql:"]);
}

#[test]
fn an_unknown_type() {
    let case = Case::offline().schema("CREATE TABLE clicks (\n    user UINT128\n)");
    case.ends(78, &["pipeline/schema.sql:2:10", "`UINT128`", "bigint"]);
}

#[test]
fn no_schema() {
    let case = Case::offline();
    std::fs::remove_file(case.path().join("pipeline/schema.sql")).unwrap();
    case.ends(78, &["pipeline/schema.sql does not exist", "records.schema"]);
}

#[test]
fn a_group_that_msk_would_publish_no_lag_for() {
    for group in ["team:clicks", "klicks-für-uns"] {
        let wrong = SETTINGS.replace("topics =", &format!("group = \"{group}\"\ntopics ="));
        Case::offline().settings(&wrong).ends(78, &["cannot name a consumer group", "pipeline.toml:4:9"]);
    }
}

#[test]
fn a_broker_that_is_not_there() {
    Case::offline().ends(69, &["127.0.0.1:1", "reach Kafka"]);
    Case::new("no-such-host.invalid:9092").ends(69, &["no-such-host.invalid:9092", "reach Kafka"]);
}

#[test]
fn a_broker_that_says_nothing() {
    // It accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    Case::new(&address).ends(69, &[address.as_str(), "reach Kafka"]);
}

#[test]
fn a_broker_that_speaks_no_tls() {
    let cluster = cluster();
    let bootstrap = cluster.bootstrap_servers();
    let case = Case::new(&bootstrap).settings(&format!("{SETTINGS}[kafka.auth]\nmethod = \"tls\"\n"));
    for command in ["run", "check"] {
        let (code, told) = case.told(command);
        // Whether it says so or hangs up is the broker's matter.
        assert!(matches!(code, Some(69 | 77)), "{command}: {code:?}\n{told}");
        assert!(told.contains(&bootstrap), "{command}:\n{told}");
    }
}

#[test]
fn an_unknown_topic() {
    let cluster = cluster();
    let wrong = SETTINGS.replace("[\"clicks\"]", "[\"clicks\", \"klicks\"]");
    // The mock cluster makes a topic that is written to, but not one that is asked for.
    Case::new(&cluster.bootstrap_servers()).settings(&wrong).ends(66, &["`klicks`", "no such topic"]);
}

#[test]
fn an_output_that_is_a_file() {
    let cluster = cluster();
    let case = Case::new(&cluster.bootstrap_servers());
    std::fs::write(case.path().join("out"), "").unwrap();
    case.ends(78, &["/out", "directory"]);
    // A file on the way to it.
    let below = format!("file://{}", case.path().join("out/below").display());
    case.env("S3_OUTPUT_PATH", &below).ends(78, &["/out", "irectory"]);
}

#[test]
fn an_output_that_may_not_be_written() {
    let cluster = cluster();
    let mut case = Case::new(&cluster.bootstrap_servers());
    let locked = case.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o555)).unwrap();
    // Root may write everywhere.
    case.as_nobody = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if case.as_nobody && !nobody_can_run(&case) {
        eprintln!("not tested: the binary lies where only root may read it");
        return;
    }
    let at = |path: &Path| format!("file://{}", path.display());
    let case = case.env("S3_OUTPUT_PATH", &at(&locked));
    case.ends(77, &["/locked", "ermission denied"]);
    case.env("S3_OUTPUT_PATH", &at(&locked.join("new"))).ends(77, &["/locked", "ermission denied"]);
}

fn nobody_can_run(case: &Case) -> bool {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_worker"));
    worker.arg("--version").current_dir(case.path()).stdout(Stdio::null()).uid(65_534).gid(65_534);
    worker.status().is_ok_and(|status| status.success())
}

#[test]
fn an_output_that_is_no_place() {
    for (path, says) in
        [("/just/a/path", "neither s3:// nor file://"), ("s3a://bucket/x", "s3://"), ("s3://B_B/x", "bucket")]
    {
        Case::offline().env("S3_OUTPUT_PATH", path).ends(78, &["pipeline.toml:6:8", says]);
    }
}

/// A server, with credentials that it takes.
fn s3(case: Case, server: &str, path: &str) -> Case {
    case.settings(&SETTINGS.replace(
        "[health]",
        &format!("endpoint = \"{server}\"\npath_style = true\nregion = \"us-east-1\"\n[health]"),
    ))
    .env("S3_OUTPUT_PATH", path)
    .env("AWS_ACCESS_KEY_ID", "test")
    .env("AWS_SECRET_ACCESS_KEY", "test")
    .env("AWS_EC2_METADATA_DISABLED", "true")
}

#[test]
fn a_bucket_that_does_not_exist() {
    let server = ["LANDFALL_TEST_S3_MINISTACK", "LANDFALL_TEST_S3_STRICT"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let Some(server) = server else {
        eprintln!("not tested: no S3 server is named by LANDFALL_TEST_S3_MINISTACK");
        return;
    };
    let cluster = cluster();
    let case = s3(Case::new(&cluster.bootstrap_servers()), &server, "s3://landfall-no-such-bucket/x");
    case.ends(78, &["landfall-no-such-bucket", "check the bucket's name"]);
}

#[test]
fn a_bucket_that_denies() {
    // Neither stand-in checks rights by itself: a server that says what S3 says (Error Responses, AccessDenied).
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code>\
                <Message>Access Denied</Message></Error>";
    let server = answering(format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    ));
    let cluster = cluster();
    s3(Case::new(&cluster.bootstrap_servers()), &server, "s3://denied/x")
        .ends(77, &["s3://denied/x", "AccessDenied"]);
}

#[test]
fn no_credentials() {
    let cluster = cluster();
    let case = s3(Case::new(&cluster.bootstrap_servers()), "http://127.0.0.1:1", "s3://bucket/x")
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    case.ends(77, &["s3://bucket/x", "credentials"]);
}

#[test]
fn a_store_that_does_not_answer() {
    let cluster = cluster();
    s3(Case::new(&cluster.bootstrap_servers()), "http://127.0.0.1:1", "s3://bucket/x")
        .ends(69, &["s3://bucket/x"]);
}

/// A server on loopback that gives every request the same answer, for as long as the test runs.
fn answering(answer: String) -> String {
    use std::io::Write;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 16 * 1024];
            // What was asked does not matter, nor whether the client is still there.
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}
