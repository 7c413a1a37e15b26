//! Settings as people write them, right and wrong.

use std::path::Path;
use std::time::Duration;

use super::*;

const MINIMAL: &str = r#"
name = "shop"
[kafka]
bootstrap = "localhost:9092"
topics = ["shop-events"]
[output]
path = "s3://bucket/shop/"
"#;

const OWNED: &[(&str, &str)] =
    &[("group.id", "it is `kafka.group`"), ("enable.auto.commit", "the ledger holds the offsets")];

fn env(name: &str) -> Option<String> {
    match name {
        "KAFKA_BOOTSTRAP" => Some("b-1:9098".into()),
        "S3_OUTPUT_PATH" => Some("s3://bucket/prefix".into()),
        "EVIL" => Some("\"\n[output]\npath = \"s3://thief/x\"".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// In a directory that has a schema.
fn read_with(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Faults> {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("schema.sql"), "create table t (a string)").expect("written");
    let source = Source { file: "pipeline.toml".into(), text: text.into() };
    parse(source, dir.path(), env, OWNED)
}

fn read(text: &str) -> Result<Settings, Faults> {
    read_with(text, &env)
}

fn faults(text: &str) -> Vec<String> {
    let Faults(faults) = read(text).expect_err("it is faulty");
    faults.iter().map(Fault::sentence).collect()
}

/// The minimal file with a line added to a section (or a section of its own).
fn with(section: &str, line: &str) -> String {
    match MINIMAL.find(&format!("[{section}]")) {
        Some(at) => {
            let end = at + section.len() + 2;
            format!("{}\n{line}{}", &MINIMAL[..end], &MINIMAL[end..])
        }
        None => format!("{MINIMAL}[{section}]\n{line}\n"),
    }
}

#[track_caller]
fn told(text: &str, place: &str, hints: &[&str]) {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].starts_with(&format!("pipeline.toml:{place}")), "{}", faults[0]);
    for hint in hints {
        assert!(faults[0].contains(hint), "`{hint}` is missing in: {}", faults[0]);
    }
}

#[test]
fn the_least_that_is_needed_gets_defaults() {
    let settings = read(MINIMAL).expect("it is right");
    assert_eq!(settings.kafka.group, "shop");
    assert_eq!(settings.kafka.start, Start::Earliest);
    assert_eq!(settings.kafka.on_data_loss, OnDataLoss::Fail);
    assert!(matches!(settings.kafka.auth, Auth::None));
    assert!(settings.records.schema_file.ends_with("schema.sql"));
    assert_eq!(settings.records.metadata, MetadataColumns::default());
    assert_eq!(settings.output.path, "s3://bucket/shop");
    let names: Vec<&str> = settings.output.partition_by.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["dt", "hour"]);
    assert_eq!(settings.output.file_bytes_max, 128 << 20);
    assert_eq!(settings.output.age_max, Duration::from_secs(300));
    assert_eq!(settings.health.listen.map(|address| address.to_string()), Some(LISTEN_DEFAULT.to_owned()));
    assert!(!settings.metrics.cloudwatch, "there is no ECS here");
    assert_eq!(settings.metrics.namespace, "Landfall");
}

#[test]
fn everything_can_be_set() {
    let settings = read(
        r#"
        name = "shop"
        [kafka]
        bootstrap = "${KAFKA_BOOTSTRAP}"
        topics = ["a", "b"]
        group = "g"
        start = "latest"
        on_data_loss = "continue"
        session_timeout = "10s"
        revoke_timeout = "5s"
        [kafka.auth]
        method = "scram"
        mechanism = "scram-sha-256"
        username = "u"
        password = "${PASSWORD:-p$$w}"
        tls = false
        [kafka.options]
        "fetch.min.bytes" = 7
        fetch.wait.max.ms = "9"
        check.crcs = true
        [records]
        schema = "schema.sql"
        on_error = "fail"
        tombstones = "dead-letter"
        metadata = ["partition", "offset", "key", "headers"]
        [output]
        path = "file:///tmp/out"
        endpoint = "http://127.0.0.1:9000"
        path_style = "true"
        region = "${REGION:-}"
        partition_by = []
        file_bytes_max = "1MB"
        row_group_bytes = 500_000
        age_max = "1m30s"
        idle_max = "500ms"
        zstd_level = 3
        [memory]
        limit = "1GiB"
        record_bytes_max = "1MiB"
        [health]
        listen = "none"
        no_progress_max = "5m"
        [metrics]
        cloudwatch = true
        namespace = "Shop/Data"
        interval = "30s"
        "#,
    )
    .expect("it is right");
    assert_eq!(settings.kafka.bootstrap, "b-1:9098");
    let Auth::Scram { mechanism, username, password, tls, ca } = &settings.kafka.auth else {
        panic!("scram was asked for")
    };
    assert_eq!((*mechanism, username.as_str(), *tls), (ScramMechanism::Sha256, "u", false));
    assert_eq!((password.0.as_str(), ca), ("p$$w", &None));
    let options: Vec<(&str, &str)> =
        settings.kafka.options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(options, [("check.crcs", "true"), ("fetch.min.bytes", "7"), ("fetch.wait.max.ms", "9")]);
    assert!(settings.records.metadata.key && !settings.records.metadata.topic);
    assert!(settings.output.path_style && settings.output.partition_by.is_empty());
    assert_eq!((settings.output.region.as_deref(), settings.output.zstd_level), (None, 3));
    assert_eq!(settings.output.age_max, Duration::from_secs(90));
    assert_eq!(settings.memory.limit, Some(1 << 30));
    assert_eq!(settings.health.listen, None);
    assert!(settings.metrics.cloudwatch);
}

#[test]
fn the_repositorys_example_is_right_and_so_is_all_that_it_comments_out() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipeline");
    let text = std::fs::read_to_string(dir.join(FILE)).expect("the example is there");
    let settings = read(&text).expect("it is right");
    assert_eq!(settings.name, "shop-events");
    assert_eq!(settings.kafka.topics, ["shop-events"]);

    // Comments that are settings or sections, in the order of the file; one of its two examples of [kafka.auth].
    let mut seen_auth = false;
    let mut skip = false;
    let mut whole = String::new();
    for line in text.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if bare.starts_with('[') {
            skip = bare == "[kafka.auth]" && std::mem::replace(&mut seen_auth, true);
        }
        let is_setting = bare.starts_with('[')
            || bare.split_once(" = ").is_some_and(|(key, _)| {
                !key.contains(' ')
                    && key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.' | '"'))
            });
        if is_setting && !skip {
            whole.push_str(bare);
            whole.push('\n');
        }
    }
    assert!(whole.matches("[kafka.auth]").count() == 1 && whole.contains("no_progress_max"), "{whole}");
    let all = read(&whole).expect("it is right");
    // What a comment calls the default is the default.
    assert_eq!(all.kafka.session_timeout, settings.kafka.session_timeout);
    assert_eq!(all.kafka.revoke_timeout, settings.kafka.revoke_timeout);
    assert_eq!(all.records.metadata, settings.records.metadata);
    assert_eq!(all.output.file_bytes_max, settings.output.file_bytes_max);
    assert_eq!(all.output.row_group_bytes, settings.output.row_group_bytes);
    assert_eq!(
        (all.output.age_max, all.output.idle_max),
        (settings.output.age_max, settings.output.idle_max)
    );
    assert_eq!(all.output.zstd_level, settings.output.zstd_level);
    assert_eq!(all.memory.record_bytes_max, settings.memory.record_bytes_max);
    assert_eq!(all.health.listen, settings.health.listen);
    assert_eq!(all.health.no_progress_max, settings.health.no_progress_max);
    assert_eq!(all.metrics.interval, settings.metrics.interval);
}

#[test]
fn a_missing_variable_is_named_with_its_place_and_how_to_set_it() {
    let text = MINIMAL.replace("localhost:9092", "${KAFKA_BOOTSTRAP}");
    let Faults(faults) = read_with(&text, &|_| None).expect_err("it is not set");
    assert_eq!(
        faults[0].to_string(),
        "pipeline.toml:4:14: `kafka.bootstrap` takes the environment variable KAFKA_BOOTSTRAP, which is not set\n\
         \x20 4 | bootstrap = \"${KAFKA_BOOTSTRAP}\"\n\
         \x20   |              ^^^^^^^^^^^^^^^^^^\n\
         \x20 set it: `export KAFKA_BOOTSTRAP=b-1.example.com:9098,b-2.example.com:9098`, in ECS under `environment` \
         in the task definition; or write a default: `${KAFKA_BOOTSTRAP:-…}`"
    );
}

#[test]
fn an_empty_variable_is_as_bad_as_none() {
    told(&MINIMAL.replace("localhost:9092", "${EMPTY}"), "4:14", &["EMPTY, which is set to nothing"]);
    told(&MINIMAL.replace("localhost:9092", "${EMPTY:-}"), "4:13", &["is empty"]);
}

#[test]
fn a_variable_cannot_smuggle_settings_in() {
    let text = MINIMAL.replace("name = \"shop\"", "name = \"${EVIL}\"");
    told(&text, "2:8", &["cannot name a pipeline"]);
}

#[test]
fn every_fault_is_told_at_once_and_in_order() {
    let faults = faults(
        r#"nam = "shop"
[kafka]
bootstap = "localhost:9092"
topics = ["a b", "a b"]
group = "g:1"
start = "newest"
session_timeout = 30
[kafka.options]
"group.id" = "x"
[output]
path = "bucket/prefix"
partition_by = ["dt=dat(x)"]
file_bytes_max = "much"
zstd_level = 99
[metrics]
cloudwatch = "perhaps"
[helth]
"#,
    );
    let places: Vec<&str> = faults
        .iter()
        .map(|fault| fault.trim_start_matches("pipeline.toml:").trim_start().split(": ").next().unwrap_or(""))
        .collect();
    assert_eq!(
        places,
        [
            "`name` is missing; give the pipeline a name at the top",
            "1:1",
            "2:1",
            "3:1",
            "4:11",
            "4:18",
            "4:18",
            "5:9",
            "6:9",
            "7:19",
            "9:1",
            "11:8",
            "12:17",
            "13:18",
            "14:14",
            "16:14",
            "17:2"
        ],
        "{faults:#?}"
    );
}

#[test]
fn unknown_keys_are_refused_and_the_nearest_known_one_is_named() {
    told(
        &with("kafka", "on-data-loss = \"fail\""),
        "4:1",
        &["`kafka.on-data-loss` is not", "`on_data_loss`?"],
    );
    told(&with("output", "colour = 1"), "7:1", &["`output.colour` is not", "known here: `age_max`"]);
    told(&with("outputs", "path = \"x\""), "8:2", &["`outputs` is not", "`output`?"]);
}

#[test]
fn values_of_the_wrong_type_are_told() {
    told(
        &MINIMAL.replace("[\"shop-events\"]", "\"shop-events\""),
        "5:10",
        &["is a string", "list of strings"],
    );
    told(&MINIMAL.replace("\"shop-events\"", "7"), "5:11", &["`kafka.topics[0]` is a number"]);
    told(&with("output", "age_max = 60"), "7:11", &["is a number", "\"60s\""]);
    told(&with("output", "file_bytes_max = -1"), "7:18", &["\"128MiB\""]);
    told(&with("output", "path_style = 1"), "7:14", &["`true` or `false`"]);
    told(&format!("records = 1\n{MINIMAL}"), "1:11", &["`[records]`"]);
}

#[test]
fn limits_that_contradict_each_other_are_faults() {
    told(
        &with("output", "file_bytes_max = \"1MiB\"\nrow_group_bytes = \"2MiB\""),
        "8:19",
        &["row group of 2 MiB", "file of 1 MiB"],
    );
    told(
        &with("output", "age_max = \"10s\"\nidle_max = \"20s\""),
        "8:12",
        &["never comes", "at most `age_max`"],
    );
    told(&with("output", "age_max = \"40m\""), "7:11", &["`output.age_max` is 40m", "older than an hour"]);
    told(&with("health", "no_progress_max = \"1m\""), "9:19", &["flushes every 5m"]);
    told(&with("memory", "limit = \"64MiB\""), "9:9", &["64 MiB is too little", "at least"]);
    told(
        &with("records", "metadata = [\"offset\"]\n[output.x]")
            .replace("[output.x]\n", "")
            .replace("path =", "partition_by = [\"dt=date(_timestamp)\"]\npath ="),
        "7:17",
        &["leaves out", "add \"timestamp\""],
    );
}

#[test]
fn a_short_age_alone_takes_the_idle_time_along() {
    let settings = read(&with("output", "age_max = \"10s\"")).expect("it is right");
    assert_eq!(settings.output.idle_max, Duration::from_secs(10));
    let settings = read(&with("output", "file_bytes_max = \"1MiB\"")).expect("it is right");
    assert_eq!(settings.output.row_group_bytes, 1 << 20);
}

#[test]
fn each_way_to_log_in_takes_its_own_keys() {
    told(
        &with("kafka.auth", "method = \"tls\"\nusername = \"u\""),
        "10:12",
        &["no use with method = \"tls\"", "method = \"scram\""],
    );
    told(&with("kafka.auth", "method = \"iam\""), "9:10", &["\"msk-iam\""]);
    told(&with("kafka.auth", "region = \"r\""), "8:1", &["`kafka.auth.method` is missing"]);
    told(&with("kafka.auth", "method = \"tls\"\nca = \"no.pem\""), "10:6", &["there is no file"]);
    let faults = faults(&with("kafka.auth", "method = \"scram\""));
    assert!(faults.iter().any(|fault| fault.contains("password = \"${KAFKA_PASSWORD}\"")), "{faults:?}");
}

#[test]
fn options_that_the_promises_rest_on_are_refused_in_any_spelling() {
    told(
        &with("kafka.options", "\"group.id\" = \"x\""),
        "9:1",
        &["is not yours to set: it is `kafka.group`"],
    );
    let faults = faults(&with("kafka.options", "enable.auto.commit = true"));
    assert!(faults[0].contains("`enable.auto.commit` is not yours to set"), "{faults:?}");
}

#[test]
fn broken_syntax_is_told_line_by_line_with_what_else_is_surely_wrong() {
    let text =
        "name = shop\n[kafka]\nbootstrap = \"nohost\"\ntopics = [\"a\"\n[output]\npath = \"s3://bucket\"\n";
    let faults = faults(text);
    assert!(faults[0].starts_with("pipeline.toml:1:8: not TOML"), "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.contains("\"nohost\" has no port")), "{faults:#?}");
    assert!(!faults.iter().any(|fault| fault.contains("is missing")), "{faults:#?}");
}

#[test]
fn a_key_twice_is_told() {
    let faults = faults(&with("kafka", "topics = [\"b\"]"));
    assert!(faults[0].starts_with("pipeline.toml:6:1: not TOML: duplicate key; leave one out"), "{faults:?}");
}

#[test]
fn no_fault_shows_a_password() {
    for line in [
        "password = \"hunter2",
        "password = hunter2",
        "password = \"hunter2\"\nx = 1",
        "password = \"${hunter2\"",
        "password = [\"hunter2\"]",
    ] {
        let text = with("kafka.auth", &format!("method = \"scram\"\nusername = \"u\"\n{line}"));
        let faults = read(&text).expect_err("it is faulty").to_string();
        let shown = faults.replace("`${hunter2", "");
        assert!(!shown.contains("hunter2"), "{faults}");
    }
    let settings = read(&with("kafka.auth", "method = \"scram\"\nusername = \"u\"\npassword = \"hunter2\""));
    assert!(!format!("{:?}", settings.expect("it is right").kafka).contains("hunter2"));
}

#[test]
fn later_faults_are_shown_at_their_settings_place() {
    let settings = read(MINIMAL).expect("it is right");
    let fault = settings.origin.fault("output.path", "no such bucket", "create it");
    assert!(fault.sentence().starts_with("pipeline.toml:7:8: no such bucket"), "{fault}");
    let fault = settings.origin.fault("output.age_max", "a", "b");
    assert!(fault.sentence().starts_with("pipeline.toml:6:1"), "{fault}");
    assert_eq!(Origin::default().fault("x", "a", "b").place, None);
}

#[test]
fn ecs_turns_cloudwatch_on() {
    let in_ecs = |name: &str| {
        (name == "ECS_CONTAINER_METADATA_URI_V4").then(|| "http://169.254.170.2/v4/x".to_owned())
    };
    assert!(read_with(MINIMAL, &in_ecs).expect("it is right").metrics.cloudwatch);
    let off = with("metrics", "cloudwatch = false");
    assert!(!read_with(&off, &in_ecs).expect("it is right").metrics.cloudwatch);
}

mod files {
    use super::*;

    fn load_from(dir: &Path) -> String {
        load(dir, &env, OWNED).expect_err("it is faulty").to_string()
    }

    #[test]
    fn a_missing_file_says_how_to_name_another() {
        let told = load_from(Path::new("/nonexistent"));
        assert!(told.contains("/nonexistent/pipeline.toml: there is no such file"), "{told}");
        assert!(told.contains("--pipeline DIR"), "{told}");
    }

    #[test]
    fn what_is_not_a_file_of_settings_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join(FILE)).expect("created");
        assert!(load_from(dir.path()).contains("this is no file"));

        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(FILE);
        for (bytes, hint) in [
            (&b""[..], "the file is empty"),
            (b" \n\n", "the file is empty"),
            (b"name = \"a\"\nx = \"\xff\"", "pipeline.toml:2:6: the file is not UTF-8 from here on"),
            (&vec![b'#'; 2 << 20], "the file has 2 MiB, more than 1 MiB"),
        ] {
            std::fs::write(&file, bytes).expect("written");
            let told = load_from(dir.path());
            assert!(told.contains(hint), "{told}");
        }
    }

    #[test]
    fn a_missing_schema_is_told_with_the_rest() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), with("output", "zstd_level = 0")).expect("written");
        let Faults(faults) = load(dir.path(), &env, OWNED).expect_err("it is faulty");
        assert_eq!(faults.len(), 2, "{faults:#?}");
        assert!(faults[0].sentence().contains("schema.sql does not exist"), "{faults:#?}");
    }
}

proptest::proptest! {
    /// Whatever is cut out of a good file or put into it, the answer is settings or faults with a place.
    #[test]
    fn mangled_files_are_answered_without_a_panic(
        at in 0_usize..4000, len in 0_usize..40, junk in "[\\[\\]\"'=${}\n.a0ü#]{0,6}",
    ) {
        let start = at % MINIMAL.len();
        let end = (start + len).min(MINIMAL.len());
        let text = format!("{}{junk}{}", &MINIMAL[..start], &MINIMAL[end..]);
        if let Err(Faults(faults)) = read(&text) {
            proptest::prop_assert!(!faults.is_empty());
        }
    }
}
