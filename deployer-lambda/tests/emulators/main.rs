//! The whole way through AWS stand-ins that we did not write: a push, EventBridge's rule, Lambda, our own binary, ECS.
//!
//! ministack runs `bootstrap` as Lambda does, by the runtime API, and without a container engine its tasks are only
//! said to run. Its list of service deployments is empty, so the deployer takes DescribeServices' word; the list is in
//! the room's own tests, against a server that answers as AWS documents it. moto refuses what ECS refuses.

mod calls;
mod chores;
mod needs;
mod stage;

use calls::Calls;
use serde_json::{Value, json};
use stage::{Pushed, Stage, until};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

/// Python with boto3, and the server of `variable`. `None`: not tested, and said so.
fn peer(variable: &str) -> Option<Calls> {
    let of = |variable: &str| std::env::var(variable).ok().filter(|value| !value.is_empty());
    let Some((python, endpoint)) = of("LANDFALL_TEST_PYTHON").zip(of(variable)) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{variable} is not set");
        eprintln!("skipped: AWS's stand-in, which tests/run starts ({variable})");
        return None;
    };
    Some(Calls::new(&python, &endpoint))
}

fn ministack() -> Option<Calls> {
    peer("LANDFALL_TEST_S3_MINISTACK")
}

fn tag<'v>(tags: &'v Value, key: &str) -> &'v str {
    let tags = tags.as_array().expect("tags");
    let found = tags.iter().find(|tag| tag["key"] == key).unwrap_or_else(|| panic!("no tag {key}: {tags:?}"));
    found["value"].as_str().expect("text")
}

/// Registered by digest, with the release's id in its environment and the tags for the console; the record agrees.
fn assert_revision(stage: &Stage, number: u64, image: &Pushed) {
    let revision = stage.revision(number);
    let worker = &revision["taskDefinition"]["containerDefinitions"][0];
    let expected = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{}@{}", stage.name, image.digest);
    assert_eq!(worker["image"], json!(expected));
    let record = stage.record(image).expect("the journal has its record");
    let variables = worker["environment"].as_array().expect("an environment");
    let release =
        variables.iter().find(|variable| variable["name"] == "LANDFALL_RELEASE").expect("the variable");
    assert_eq!(release["value"], record["release"]);
    let tags = &revision["tags"];
    assert_eq!(json!(tag(tags, "landfall:release")), record["release"]);
    assert_eq!(tag(tags, "landfall:digest"), image.digest);
    assert_eq!(tag(tags, "landfall:tag"), image.tag);
    assert_eq!(record["revision"], revision["taskDefinition"]["taskDefinitionArn"]);
}

#[test]
fn pushes_through_the_rule_become_the_service_and_its_next_revision_and_an_older_one_is_ignored() {
    let Some(aws) = ministack() else { return };
    let stage = Stage::new(aws, "[proof]\nbake = \"0s\"\n");
    // The rule lets no other repository's push through: nothing wakes.
    let first = stage.put_manifest(1, Some("v1.0.0"));
    stage.announce_in("another", &first);

    stage.announce(&first);
    until("the service is there", || stage.points_at().filter(|revision| *revision == 1));
    let proven = |image: &Pushed| {
        until("its proof", || stage.record(image).filter(|record| record["verdict"] == "healthy"))
    };
    let record = proven(&first);
    assert_eq!((&record["version"], &record["tags"]), (&json!("1.0.0"), &json!(["v1.0.0"])));
    assert_revision(&stage, 1, &first);
    let service = stage.ecs_service().expect("it is there");
    let configuration = &service["deploymentConfiguration"];
    assert_eq!(service["desiredCount"], 1);
    assert_eq!(configuration["deploymentCircuitBreaker"]["resetOnHealthyTask"], json!(false));
    assert_eq!(configuration["alarms"]["alarmNames"][0], json!(format!("{}-damage", stage.name)));
    let mirrored = until("the service's tags", || {
        let service = stage.ecs_service()?;
        let tags = service["tags"].as_array()?.clone();
        tags.iter().any(|tag| tag["key"] == "landfall:verdict").then(|| service["tags"].clone())
    });
    assert_eq!(tag(&mirrored, "landfall:verdict"), "healthy");

    // A multi-arch push tells of its parts first.
    let parts = [stage.put_manifest(2, None), stage.put_manifest(3, None)];
    let second = stage.put_index(&[("amd64", &parts[0]), ("arm64", &parts[1])], "v1.1.0");
    for pushed in parts.iter().chain([&second]) {
        stage.announce(pushed);
    }
    until("the next revision", || stage.points_at().filter(|revision| *revision == 2));
    proven(&second);
    assert_revision(&stage, 2, &second);

    let late = stage.put_manifest(4, Some("v1.0.1"));
    stage.announce(&late);
    until("the late push was looked at", || {
        let journal = stage.journal()?;
        let pushes = journal["pushes"].as_array()?;
        pushes.contains(&json!(late.digest)).then_some(())
    });
    let answer = stage.schedule();
    assert_eq!(answer["decisions"][0]["what"], "nothing", "{answer}");
    assert_eq!((stage.points_at(), stage.revisions()), (Some(2), 2), "nothing older was even registered");
    assert!(stage.record(&late).is_none());

    let status = stage.invoke("read", &json!({"command": "status"}));
    assert_eq!(status["runs"]["digest"], json!(second.digest), "{status}");
    for metric in ["Deployments", "DeploymentsHealthy", "PushToRunningSeconds", "PushToVerdictSeconds"] {
        until(metric, || (stage.counted(metric) == 2.0).then_some(()));
    }
    assert_eq!(stage.counted("Errors"), 0.0);
    assert_eq!(stage.counted("EventsLost"), 0.0);

    // By hand: stopped and started again, by the alias that may.
    let stopped = stage.invoke("operate", &json!({"command": "stop", "reason": "a test"}));
    assert_eq!(stopped["ok"], json!(true), "{stopped}");
    until("no task is wanted", || stage.ecs_service().filter(|service| service["desiredCount"] == 0));
    stage.invoke("operate", &json!({"command": "start"}));
    until("one task is wanted", || stage.ecs_service().filter(|service| service["desiredCount"] == 1));
    assert_eq!(stage.points_at(), Some(2));
}

#[test]
fn a_newer_image_waits_for_the_verdict_unless_the_policy_says_at_once() {
    let Some(aws) = ministack() else { return };
    let stage = Stage::new(aws, "[proof]\nbake = \"12h\"\n");
    stage.announce(&stage.put_manifest(1, Some("v1.0.0")));
    until("the service is there", || stage.points_at().filter(|revision| *revision == 1));

    let second = stage.put_manifest(2, Some("v1.1.0"));
    let answer = stage.schedule();
    assert_eq!(answer["decisions"][0]["what"], "nothing", "{answer}");
    assert!(answer["decisions"][0]["why"].as_str().is_some_and(|why| why.contains("bake")), "{answer}");
    assert_eq!((stage.points_at(), stage.revisions()), (Some(1), 1));

    stage.reinstall("[proof]\nbake = \"12h\"\nsupersede = \"at-once\"\n");
    // Its event was lost: the schedule finds it.
    stage.schedule();
    assert_eq!(stage.points_at(), Some(2));
    assert_revision(&stage, 2, &second);
}

#[test]
fn the_aliases_bound_what_may_be_asked_and_a_refusal_is_an_answer() {
    let Some(aws) = ministack() else { return };
    let stage = Stage::new(aws, "");
    let status = stage.invoke("read", &json!({"command": "status"}));
    assert_eq!((&status["ok"], &status["runs"]), (&json!(true), &Value::Null), "{status}");

    let push = |repository: &str| {
        json!({"version": "0", "id": "1", "detail-type": "ECR Image Action", "source": "aws.ecr", "account": ACCOUNT,
            "time": "2026-11-22T07:00:00Z", "region": REGION, "resources": [],
            "detail": {"result": "SUCCESS", "repository-name": repository, "action-type": "PUSH", "image-tag": "v9.9.9",
                "image-digest": format!("sha256:{:064x}", 9)}})
    };
    let mut elsewhere = push(&stage.name);
    elsewhere["account"] = json!("999999999999");
    let mut broken = push(&stage.name);
    broken["detail"]["image-digest"] = json!("latest");
    let stop = json!({"command": "stop", "reason": "a test"});
    let cases = [
        ("read", stop, "not-allowed", "invoke the function's alias `operate`"),
        ("operate", json!({"command": "approve", "what": "v1"}), "not-allowed", "`approve`"),
        ("read", push(&stage.name), "not-allowed", "takes no events"),
        ("events", json!({"command": "status"}), "not-allowed", "`read`"),
        ("events", push("another"), "wrong-place", "looks after repository"),
        ("events", elsewhere, "wrong-place", "looks after account"),
        ("events", broken, "malformed-event", "no sha256 digest"),
        ("events", json!({"detail-type": "?"}), "unknown-event", "no event that is known"),
        ("read", json!({"command": "status", "now": true}), "malformed-command", "now"),
        ("read", json!([]), "not-an-object", "send an EventBridge event"),
    ];
    for (alias, payload, kind, said) in &cases {
        let answer = stage.invoke(alias, payload);
        assert_eq!((&answer["ok"], &answer["kind"]), (&json!(false), &json!(kind)), "{payload}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(said)), "{payload}: {answer}");
    }
    assert_eq!(stage.counted("Errors"), cases.len() as f64);
    assert_eq!(
        (stage.revisions(), stage.ecs_service(), stage.journal()),
        (0, None, None),
        "nothing was done"
    );
}

/// Every key and value of `sent` is in `found`, at its place.
fn assert_holds(found: &Value, sent: &Value, path: &str) {
    match sent {
        Value::Object(fields) => {
            for (key, value) in fields {
                assert_holds(&found[key], value, &format!("{path}.{key}"));
            }
        }
        Value::Array(items) => {
            assert_eq!(found.as_array().map(Vec::len), Some(items.len()), "{path}");
            for (at, item) in items.iter().enumerate() {
                assert_holds(&found[at], item, &format!("{path}[{at}]"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            assert_eq!(found, sent, "{path}")
        }
    }
}

mod adapters {
    use std::collections::BTreeMap;
    use std::path::Path;

    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_sdk_ecs::config::{Credentials, SharedCredentialsProvider};
    use deployer::apply::ports::Deploy as _;
    use deployer::aws::{Aws, Target};
    use deployer::observe::ports::{CallFault, Cluster as _};
    use deployer::release::Digest;
    use deployer::render::{Templates, register_body, render};
    use uuid::Uuid;

    use super::*;

    pub fn adapter(endpoint: &str, name: &str) -> Aws {
        let credentials = Credentials::new("test", "test", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .build();
        Aws::new(
            &config,
            Target {
                cluster: name.to_owned(),
                service: name.to_owned(),
                family: name.to_owned(),
                container: "worker".to_owned(),
                repository: name.to_owned(),
                pipeline: name.to_owned(),
                metrics_namespace: "Landfall".to_owned(),
                topic: None,
            },
        )
    }

    fn templates(service: &str) -> Templates {
        let fills = [
            ("CLUSTER", service),
            ("SERVICE", service),
            ("REGION", REGION),
            ("DAMAGE_ALARM", "damage"),
            ("NO_PROGRESS_ALARM", "stall"),
            ("SUBNETS", "subnet-1,subnet-2"),
            ("SECURITY_GROUPS", "sg-1"),
            ("TASK_ROLE_ARN", "arn:aws:iam::123456789012:role/task"),
            ("EXECUTION_ROLE_ARN", "arn:aws:iam::123456789012:role/execution"),
            ("KAFKA_BOOTSTRAP", "broker:9098"),
            ("S3_OUTPUT_PATH", "s3://lake/shop"),
            ("LOG_GROUP", "/landfall/shop"),
        ];
        let fills: BTreeMap<String, String> =
            fills.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let taskdefs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../taskdefs");
        Templates::load(&taskdefs, fills, "123456789012.dkr.ecr.us-east-1.amazonaws.com/shop")
            .expect("the templates are right")
    }

    #[tokio::test]
    async fn the_shipped_task_definition_comes_back_whole_and_an_unknown_one_is_refused() {
        // moto refuses a revision that is not there, as ECS does; ministack takes it.
        for (variable, is_strict) in
            [("LANDFALL_TEST_S3_STRICT", true), ("LANDFALL_TEST_S3_MINISTACK", false)]
        {
            let Some(calls) = peer(variable) else { continue };
            let name = format!("shop-{}", &Uuid::new_v4().simple().to_string()[..12]);
            let aws = adapter(calls.endpoint(), &name);
            calls.call("ecs", "create_cluster", json!({"clusterName": name}));
            let templates = templates(&name);
            let digest = Digest(format!("sha256:{}", "a".repeat(64)));
            let rendered = render(&templates, &digest).expect("rendered");
            let tags = [("landfall:release".to_owned(), rendered.release.0.clone())];
            let sent = register_body(&rendered, &tags);
            let arn = aws.register(&sent).await.expect("registered");

            let asked = json!({"taskDefinition": arn, "include": ["TAGS"]});
            let mut found = calls.call("ecs", "describe_task_definition", asked);
            found["taskDefinition"]["tags"] = found["tags"].clone();
            assert_holds(&found["taskDefinition"], &sent, variable);
            let revisions = aws.revisions().await.expect("answered");
            assert_eq!(revisions[0].release, Some(rendered.release));

            if !is_strict {
                continue;
            }
            let service =
                json!({"cluster": name, "serviceName": name, "taskDefinition": arn, "desiredCount": 1});
            calls.call("ecs", "create_service", service);
            let unknown = arn.as_str().rsplit_once(':').expect("a revision").0.to_owned() + ":99";
            let update = json!({"cluster": name, "service": name, "taskDefinition": unknown});
            let error = aws.update(&update).await.expect_err("there is no such revision");
            assert_eq!(error.fault, CallFault::Refused, "{variable}: {}", error.chain());
        }
    }
}
