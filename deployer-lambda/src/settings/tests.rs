use std::fs;

use super::*;
use crate::policy::Order;
use crate::release::Digest;
use crate::render::{SERVICE_FILE, TASK_DEFINITION_FILE, deployment_alarms, render};

fn taskdefs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../taskdefs")
}

/// The least that the committed templates need.
fn environment() -> BTreeMap<String, String> {
    let taskdefs = taskdefs().display().to_string();
    [
        ("ACCOUNT", "111122223333"),
        ("AWS_REGION", "eu-west-1"),
        ("PIPELINE", "shop-events"),
        ("CLUSTER", "data"),
        ("SERVICE", "shop-events"),
        ("REPOSITORY", "landfall/shop-events"),
        ("S3_OUTPUT_PATH", "s3://lake/shop-events"),
        ("LANDFALL_TASKDEFS", &taskdefs),
        ("FILL_KAFKA_BOOTSTRAP", "b-1.example.com:9098"),
        ("FILL_TASK_ROLE_ARN", "arn:aws:iam::111122223333:role/task"),
        ("FILL_EXECUTION_ROLE_ARN", "arn:aws:iam::111122223333:role/execution"),
        ("FILL_LOG_GROUP", "/landfall/shop-events"),
        ("FILL_SUBNETS", "subnet-a, subnet-b"),
        ("FILL_SECURITY_GROUPS", "sg-1"),
        ("FILL_DAMAGE_ALARM", "damage"),
        ("FILL_NO_PROGRESS_ALARM", "no-progress"),
        // What a Lambda has besides.
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("PATH", "/usr/bin"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn with(changes: &[(&str, Option<&str>)]) -> Result<Loaded, Faults> {
    let mut variables = environment();
    for (name, value) in changes {
        match value {
            Some(value) => variables.insert((*name).to_owned(), (*value).to_owned()),
            None => variables.remove(*name),
        };
    }
    load(variables)
}

fn told(changes: &[(&str, Option<&str>)]) -> String {
    with(changes).err().unwrap_or_else(|| panic!("{changes:?} is taken")).to_string()
}

#[test]
fn the_committed_files_load_with_the_least_environment() {
    let Loaded { settings, policy, templates } = with(&[]).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(settings.repository_uri, "111122223333.dkr.ecr.eu-west-1.amazonaws.com/landfall/shop-events");
    assert_eq!((settings.metrics_namespace.as_str(), settings.log_filter.as_str()), ("Landfall", "info"));
    assert_eq!((settings.topic_arn, settings.store), (None, StoreOptions::default()));
    assert_eq!(policy.order, Order::Version);
    assert_eq!(deployment_alarms(&templates), ["damage", "no-progress"]);
    let rendered = render(&templates, &Digest::from("sha256:aa")).expect("it renders");
    let image = &rendered.task_definition["containerDefinitions"][0]["image"];
    assert_eq!(image, "111122223333.dkr.ecr.eu-west-1.amazonaws.com/landfall/shop-events@sha256:aa");
}

#[test]
fn an_s3_compatible_server_a_topic_and_a_registry_of_ones_own_can_be_named() {
    let settings = with(&[
        ("S3_ENDPOINT", Some("http://127.0.0.1:9000")),
        ("S3_PATH_STYLE", Some("true")),
        ("S3_REGION", Some("us-east-1")),
        ("SNS_TOPIC_ARN", Some("arn:aws:sns:eu-west-1:111122223333:people")),
        ("REPOSITORY_URI", Some("127.0.0.1:5000/landfall")),
        ("METRICS_NAMESPACE", Some("Data/Landfall")),
        ("LANDFALL_LOG", Some("info,deployer::plan=debug")),
    ])
    .unwrap_or_else(|faults| panic!("{faults}"))
    .settings;
    let s3 = settings.store.s3();
    assert_eq!((s3.endpoint.as_deref(), s3.path_style), (Some("http://127.0.0.1:9000"), true));
    assert_eq!(
        (settings.repository_uri.as_str(), settings.topic_arn.is_some()),
        ("127.0.0.1:5000/landfall", true)
    );
    let china = with(&[("AWS_REGION", Some("cn-north-1"))]).expect("it loads").settings;
    assert!(china.repository_uri.contains(".amazonaws.com.cn/"), "{}", china.repository_uri);
}

#[test]
fn lag_scales_the_service_where_more_than_one_task_may_run_and_a_table_has_its_database() {
    let settings = |tasks, lag| {
        let named = [("TASKS_MAX", tasks), ("LAG_SECONDS_TARGET", lag), ("GLUE_TABLE", Some("lake.clicks"))];
        with(&named).unwrap_or_else(|faults| panic!("{faults}")).settings
    };
    assert_eq!(settings(Some("1"), Some("600")).scaling, None);
    let four = |lag_seconds| Some(Scaling { tasks_max: 4, lag_seconds });
    assert_eq!(
        (settings(Some("4"), None).scaling, settings(Some("4"), Some("90")).scaling),
        (four(600), four(90))
    );
    let table = settings(None, None).glue_table;
    assert_eq!(table, Some(("lake".to_owned(), "clicks".to_owned())));
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let told = load([]).expect_err("nothing is set").to_string();
    for name in ["ACCOUNT", "AWS_REGION", "PIPELINE", "CLUSTER", "SERVICE", "S3_OUTPUT_PATH"] {
        assert!(told.contains(&format!("environment: {name} is not set\n  set it: ")), "{name}: {told}");
    }
    assert!(told.contains("neither LANDFALL_TASKDEFS nor LAMBDA_TASK_ROOT is set"), "{told}");
    assert!(told.ends_with("7 faults"), "{told}");
}

#[test]
fn faults_of_the_environment_the_templates_and_the_policy_are_told_together() {
    let directory = tempfile::tempdir().expect("a directory");
    for file in [TASK_DEFINITION_FILE, SERVICE_FILE] {
        let text = fs::read_to_string(taskdefs().join(file)).expect("it is committed");
        fs::write(directory.path().join(file), text.replace("\"interval\"", "\"intervall\""))
            .expect("it is written");
    }
    fs::write(directory.path().join(POLICY_FILE), "[proof]\nbake = \"soon\"\n").expect("it is written");
    let told = told(&[
        ("LANDFALL_TASKDEFS", directory.path().to_str()),
        ("ACCOUNT", Some("42")),
        ("SERVICE", None),
        ("FILL_LOG_GROUP", None),
    ]);
    for expected in [
        "environment: ACCOUNT is \"42\"\n  write its 12 digits",
        "environment: SERVICE is not set",
        "worker.taskdef.json:36:9: `containerDefinitions[0].healthCheck.intervall` is no key",
        "worker.taskdef.json:44:29: `containerDefinitions[0].logConfiguration.options.awslogs-group`: the hole `LOG_GROUP`",
        "policy.toml:2:8: `proof.bake` is \"soon\"",
        "5 faults",
    ] {
        assert!(told.contains(expected), "{expected}\n---\n{told}");
    }
}

#[test]
fn a_fill_that_no_hole_takes_is_told() {
    let told = told(&[("FILL_SUBNET", Some("x")), ("FILL_OTHER", Some("x")), ("FILL_CLUSTER", Some("x"))]);
    for expected in [
        "FILL_SUBNET is set, and no template has the hole `SUBNET`\n  did you mean FILL_SUBNETS?",
        "FILL_OTHER is set, and no template has the hole `OTHER`\n  leave it out",
        "FILL_CLUSTER is set\n  leave it out: the hole `CLUSTER` has its value already",
        "3 faults",
    ] {
        assert!(told.contains(expected), "{expected}\n---\n{told}");
    }
}

#[test]
fn a_template_cannot_take_credentials_from_the_environment() {
    let directory = tempfile::tempdir().expect("a directory");
    for file in [TASK_DEFINITION_FILE, SERVICE_FILE] {
        let text = fs::read_to_string(taskdefs().join(file)).expect("it is committed");
        let text = text.replace("${WORKER_LOG:-info}", "${AWS_SECRET_ACCESS_KEY}");
        fs::write(directory.path().join(file), text).expect("it is written");
    }
    let told = told(&[("LANDFALL_TASKDEFS", directory.path().to_str())]);
    assert!(told.contains("the hole `AWS_SECRET_ACCESS_KEY` has no value"), "{told}");
}

#[test]
fn the_repository_may_stand_in_the_policy_and_must_not_differ() {
    let directory = tempfile::tempdir().expect("a directory");
    for file in [TASK_DEFINITION_FILE, SERVICE_FILE] {
        fs::copy(taskdefs().join(file), directory.path().join(file)).expect("it is copied");
    }
    let at = ("LANDFALL_TASKDEFS", directory.path().to_str());
    assert!(told(&[at, ("REPOSITORY", None)]).contains("or write `images.repository` in policy.toml"));
    fs::write(directory.path().join(POLICY_FILE), "[images]\nrepository = \"shop\"\n")
        .expect("it is written");
    let loaded = with(&[at, ("REPOSITORY", None)]).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.settings.repository, "shop");
    assert!(loaded.settings.repository_uri.ends_with("/shop"));
    assert!(
        told(&[at]).contains(
            "REPOSITORY is \"landfall/shop-events\", and `images.repository` in policy.toml \"shop\""
        )
    );
}

#[test]
fn a_name_that_was_nearly_right_is_pointed_at() {
    let told = told(&[("CLUSTER", None), ("CLUSTERS", Some("data")), ("SERVICE", Some(""))]);
    assert!(told.contains("CLUSTER is not set\n  CLUSTERS is set: was that meant?"), "{told}");
    assert!(told.contains("SERVICE is set to nothing"), "{told}");
}

#[test]
fn wrong_values_are_refused_with_what_would_be_right() {
    for (name, value, right) in [
        ("AWS_REGION", "Ireland", "eu-west-1"),
        ("PIPELINE", "a b", "1 to 128"),
        ("CLUSTER", "arn:aws:ecs:eu-west-1:111122223333:cluster/data", "not its ARN"),
        ("REPOSITORY", "Shop", "lower-case"),
        ("REPOSITORY_URI", "https://x/y", "without scheme"),
        ("REPOSITORY_URI", "x/y:latest", "without scheme, tag"),
        ("S3_OUTPUT_PATH", "s3a://lake", "Hadoop"),
        ("S3_ENDPOINT", "127.0.0.1:9000", "http://host:port"),
        ("TASKS_MAX", "0", "from 1 to 100"),
        ("LAG_SECONDS_TARGET", "5", "from 60 to 86400"),
        ("GLUE_TABLE", "clicks", "database.table"),
        ("S3_PATH_STYLE", "yes", "true or false"),
        ("SNS_TOPIC_ARN", "people", "arn:aws:sns"),
        ("METRICS_NAMESPACE", "AWS/ECS", "not beginning"),
        ("LANDFALL_LOG", "deployer=loud", "write a filter"),
        ("LANDFALL_TASKDEFS", "/nowhere", "/nowhere is no directory"),
        ("FILL_IMAGE", "x", "the image comes from the release"),
        ("FILL_1", "x", "names no hole"),
    ] {
        let told = told(&[(name, Some(value))]);
        assert!(told.contains(right), "{name}={value}: {told}");
        assert!(told.ends_with("1 fault"), "{name}={value}: {told}");
    }
}
