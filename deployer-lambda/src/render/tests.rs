use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::fault::{Faults, Source};
use crate::release::RevisionArn;

const TASK: &str = include_str!("../../../taskdefs/worker.taskdef.json");
const SERVICE: &str = include_str!("../../../taskdefs/worker.service.json");
const URI: &str = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop-events";

fn fills() -> BTreeMap<String, String> {
    [
        ("REGION", "eu-west-1"),
        ("CLUSTER", "data"),
        ("SERVICE", "shop-events"),
        ("S3_OUTPUT_PATH", "s3://lake/shop-events"),
        ("KAFKA_BOOTSTRAP", "b-1.example.com:9098,b-2.example.com:9098"),
        ("TASK_ROLE_ARN", "arn:aws:iam::111122223333:role/shop-events-task"),
        ("EXECUTION_ROLE_ARN", "arn:aws:iam::111122223333:role/shop-events-execution"),
        ("LOG_GROUP", "/landfall/shop-events"),
        ("SUBNETS", "subnet-a,subnet-b"),
        ("SECURITY_GROUPS", "sg-1"),
        ("DAMAGE_ALARM", "shop-events-damage"),
        ("NO_PROGRESS_ALARM", "shop-events-no-progress"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn parse(task: &str, service: &str, fills: BTreeMap<String, String>) -> Result<Templates, Faults> {
    let source = |file: &str, text: &str| Source::new(format!("taskdefs/{file}"), text);
    Templates::parse(&source(TASK_DEFINITION_FILE, task), &source(SERVICE_FILE, service), fills, URI)
}

fn committed() -> Templates {
    parse(TASK, SERVICE, fills()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn digest(letter: char) -> Digest {
    Digest(format!("sha256:{}", letter.to_string().repeat(64)))
}

fn rendered() -> Rendered {
    render(&committed(), &digest('a')).expect("it renders")
}

/// What is wrong with the committed templates after these replacements, each of which must change something.
fn faults_after(changes: &[(&str, &str)]) -> String {
    let (mut task, mut service) = (TASK.to_owned(), SERVICE.to_owned());
    for (from, to) in changes {
        assert!(task.contains(from) != service.contains(from), "{from}");
        task = task.replacen(from, to, 1);
        service = service.replacen(from, to, 1);
    }
    match parse(&task, &service, fills()) {
        Ok(_) => panic!("{changes:?} is taken"),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn the_committed_templates_say_what_they_are() {
    let templates = committed();
    assert_eq!(templates.container(), "worker");
    assert_eq!(templates.family(), "shop-events");
    assert_eq!(templates.platform(), "linux/amd64");
    assert!(templates.own_rollback());
    assert_eq!(deployment_alarms(&templates), ["shop-events-damage", "shop-events-no-progress"]);
    assert_eq!(
        (templates.fills["SUBNETS"].as_str(), templates.fills["MEMORY"].as_str()),
        ("subnet-a,subnet-b", "2048")
    );
    let mut arm = fills();
    arm.insert("CPU_ARCHITECTURE".into(), "ARM64".into());
    assert_eq!(parse(TASK, SERVICE, arm).expect("it loads").platform(), "linux/arm64");
}

#[test]
fn the_committed_service_is_what_the_deployer_relies_on() {
    let service = rendered().service;
    assert_eq!(
        service["deploymentConfiguration"]["deploymentCircuitBreaker"],
        json!({
        "enable": true, "rollback": true, "resetOnHealthyTask": false,
        "thresholdConfiguration": {"type": "COUNT", "value": 2}})
    );
    assert_eq!(service["availabilityZoneRebalancing"], "DISABLED");
    assert_eq!(service["desiredCount"], 1);
    assert_eq!(
        service["networkConfiguration"]["awsvpcConfiguration"]["subnets"],
        json!(["subnet-a", "subnet-b"])
    );
}

#[test]
fn the_body_of_register_is_golden() {
    let tags = [("landfall:release".to_owned(), rendered().release.to_string())];
    let body = register_body(&rendered(), &tags);
    let golden: Value = serde_json::from_str(include_str!("register.golden.json")).expect("JSON");
    assert_eq!(body, golden, "if this is meant, write it to register.golden.json:\n{body:#}");
}

#[test]
fn the_id_is_the_hash_of_digest_task_definition_and_service() {
    // Held against sha256sum over the same bytes.
    let templates = Templates {
        task_definition: json!({"family": "f", "containerDefinitions": [{"name": "w", "image": IMAGE}]}),
        service: json!({"serviceName": "s", "a": [1, true]}),
        fills: BTreeMap::new(),
        repository_uri: "r".into(),
    };
    let rendered = render(&templates, &"sha256:aa".into()).expect("it renders");
    let hashed = concat!(
        "sha256:aa",
        r#"{"containerDefinitions":[{"image":"r@sha256:aa","name":"w"}],"family":"f"}"#,
        r#"{"a":[1,true],"serviceName":"s"}"#,
    );
    let hex: String = Sha256::digest(hashed).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(rendered.release.as_str(), &hex[..16]);
    assert_eq!(
        rendered.task_definition["containerDefinitions"][0]["environment"],
        json!([{"name": "LANDFALL_RELEASE", "value": rendered.release.as_str()}])
    );
}

#[test]
fn templates_that_nobody_checked_are_an_error_not_a_panic() {
    let mut templates = committed();
    templates.task_definition["containerDefinitions"][0]["environment"] = json!("x");
    assert_eq!(render(&templates, &digest('a')), Err(RenderError::NoList("environment")));
    for task in [json!({}), json!([]), json!({"containerDefinitions": [{"image": "other"}]})] {
        templates.task_definition = task;
        assert_eq!(render(&templates, &digest('a')), Err(RenderError::NoWorker));
        assert_eq!((templates.container(), templates.family()), ("", ""));
    }
}

#[test]
fn a_cloned_task_definition_loses_fields_or_new_keys_break_registration() {
    // Nothing is cloned from ECS, nothing is dropped by a typed SDK: what AWS takes and this code never heard of is sent.
    let with = TASK.replacen(
        "\"stopTimeout\": 120,",
        "\"stopTimeout\": 120, \"versionConsistency\": \"enabled\",",
        1,
    );
    let templates = parse(&with, SERVICE, fills()).expect("AWS knows it");
    let body = register_body(&render(&templates, &digest('a')).expect("it renders"), &[]);
    assert_eq!(body["containerDefinitions"][0]["versionConsistency"], "enabled");
    let describe_only = TASK.replacen("\"family\"", "\"revision\": 3, \"family\"", 1);
    let told = parse(&describe_only, SERVICE, fills()).expect_err("AWS refuses it").to_string();
    assert!(told.contains("`revision` is no key of RegisterTaskDefinition"), "{told}");
}

#[test]
fn the_update_takes_what_update_service_takes_and_never_the_number_of_tasks() {
    let rendered = rendered();
    let revision = RevisionArn::from("arn:aws:ecs:eu-west-1:111122223333:task-definition/shop-events:7");
    let body = update_body(&rendered, &revision, true, false);
    assert_eq!(keys::UPDATE_SERVICE.check(&body), []);
    let left_out: Vec<_> =
        rendered.service.as_object().expect("a map").keys().filter(|key| body.get(*key).is_none()).collect();
    assert_eq!(left_out, ["desiredCount", "launchType", "serviceName"]);
    assert_eq!((&body["service"], &body["cluster"]), (&json!("shop-events"), &json!("data")));
    assert_eq!(body["taskDefinition"], revision.as_str());
    assert_eq!(body["deploymentConfiguration"], rendered.service["deploymentConfiguration"]);
    assert_eq!(body.get("forceNewDeployment"), None);
    assert_eq!(update_body(&rendered, &revision, true, true)["forceNewDeployment"], true);
}

#[test]
fn own_rollback_off_changes_these_two_flags_and_nothing_else() {
    let rendered = rendered();
    let revision = RevisionArn::from("r");
    let mut on = update_body(&rendered, &revision, true, false);
    let off = update_body(&rendered, &revision, false, false);
    assert_ne!(on, off);
    on["deploymentConfiguration"]["deploymentCircuitBreaker"]["rollback"] = json!(false);
    on["deploymentConfiguration"]["alarms"]["rollback"] = json!(false);
    assert_eq!(on, off);
    assert!(wants_own_rollback(&rendered.service) && !wants_own_rollback(&off));
}

#[test]
fn own_rollback_alone_names_the_service_and_its_deployment_configuration() {
    let service = rendered().service;
    for on in [true, false] {
        let body = own_rollback_body(&service, on);
        assert_eq!(keys::UPDATE_SERVICE.check(&body), []);
        let keys: BTreeSet<_> = body.as_object().expect("a map").keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["cluster", "deploymentConfiguration", "service"]));
        assert_eq!(wants_own_rollback(&body), on);
    }
    // Settings without either part say that it is off all the same.
    let bare = own_rollback_body(&json!({"serviceName": "s"}), false);
    assert_eq!(keys::UPDATE_SERVICE.check(&bare), []);
    assert!(!wants_own_rollback(&bare));
    assert_eq!(bare["deploymentConfiguration"]["alarms"]["rollback"], false);
}

#[test]
fn scaling_says_only_how_many() {
    let body = scale_body(&rendered().service, 0);
    assert_eq!(body, json!({"cluster": "data", "service": "shop-events", "desiredCount": 0}));
}

#[test]
fn creating_carries_the_release_as_client_token_and_merges_tags() {
    let with = SERVICE.replacen(
        "\"enableExecuteCommand\"",
        "\"tags\": [{\"key\": \"team\", \"value\": \"data\"}, {\"key\": \"landfall:tag\", \"value\": \"x\"}], \"enableExecuteCommand\"",
        1,
    );
    let templates = parse(TASK, &with, fills()).expect("it loads");
    let rendered = render(&templates, &digest('a')).expect("it renders");
    let body =
        create_body(&rendered, &"rev".into(), "token", &[("landfall:tag".to_owned(), "v1".to_owned())]);
    assert_eq!(keys::CREATE_SERVICE.check(&body), []);
    assert_eq!(body["clientToken"], "token");
    assert_eq!(body["desiredCount"], 1);
    assert_eq!(
        body["tags"],
        json!([{"key": "team", "value": "data"}, {"key": "landfall:tag", "value": "v1"}])
    );
}

#[test]
fn a_hole_without_a_value_is_told_with_file_line_and_what_to_set() {
    let mut fills = fills();
    fills.remove("LOG_GROUP");
    fills.insert("SECURITY_GROUP".into(), fills["SECURITY_GROUPS"].clone());
    fills.insert("SECURITY_GROUPS".into(), String::new());
    let told = parse(TASK, SERVICE, fills).expect_err("two are missing").to_string();
    for expected in [
        "taskdefs/worker.taskdef.json:44:29: `containerDefinitions[0].logConfiguration.options.awslogs-group`: the hole \
         `LOG_GROUP` has no value",
        "set FILL_LOG_GROUP in the deployer's environment",
        "    |                             ^^^^^^^^^^^^",
        "taskdefs/worker.service.json:28:26: `networkConfiguration.awsvpcConfiguration.securityGroups`: the hole \
         `SECURITY_GROUPS` is set to nothing",
        "did you mean `SECURITY_GROUP`? Else set FILL_SECURITY_GROUPS in the deployer's environment, or write a default: \
         `${SECURITY_GROUPS[]:-…}`",
        "2 faults",
    ] {
        assert!(told.contains(expected), "{expected}\n---\n{told}");
    }
}

#[test]
fn what_aws_would_refuse_is_told_before_a_release_is_on_its_way() {
    for (from, to, expected) in [
        ("\"interval\"", "\"intervall\"", "did you mean `interval`?"),
        ("\"retries\": 6", "\"retries\": 11", "ECS takes 1 to 10"),
        ("\"stopTimeout\": 120", "\"stopTimeout\": 300", "ECS takes 2 to 120"),
        ("\"startPeriod\": 300", "\"startPeriod\": 301", "ECS takes 0 to 300"),
        ("\"memory\": \"${MEMORY:-2048}\"", "\"memory\": \"1536\"", "2048 to 8192 MiB in steps of 1024"),
        ("\"cpu\": \"${CPU:-1024}\"", "\"cpu\": \"1000\"", "write one of 256, 512, 1024"),
        ("\"cpu\": \"${CPU:-1024}\"", "\"cpu\": \"a lot\"", "write CPU units or \"1 vCPU\""),
        ("\"cpu\": \"${CPU:-1024}\",", "", "`cpu` is missing"),
        ("\"${MEMORY#:-2048}\"", "4096", "`memory` is 4096 MiB together, the task's 2048"),
        ("\"${MEMORY#:-2048}\"", "\"${MEMORY:-2048}\"", "a hole gives one as \"${NAME#}\""),
        ("\"memory\": \"${MEMORY#:-2048}\",", "", "`containerDefinitions[0].memory` is missing"),
        ("\"family\": \"${SERVICE}\"", "\"family\": \"a.b\"", "letters, digits, `-` and `_`"),
        ("\"image\": \"${IMAGE}\"", "\"image\": \"x\"", "no container has the image `${IMAGE}`"),
        ("\"image\": \"${IMAGE}\"", "\"image\": \"x-${IMAGE}\"", "the image stands alone"),
        ("\"user\": \"65532:65532\"", "\"user\": \"${IMAGE}\"", "only the worker's container does"),
        ("\"essential\": true", "\"essential\": false", "no rollout ever fails"),
        ("\"networkMode\": \"awsvpc\"", "\"networkMode\": \"bridge\"", "write \"awsvpc\""),
        ("\"LINUX\"", "\"WINDOWS_SERVER_2022_CORE\"", "does not run on"),
        ("{ \"name\": \"AWS_REGION\"", "{ \"name\": \"LANDFALL_RELEASE\"", "LANDFALL_RELEASE is set here"),
        ("\"essential\": true", "\"essential\": true, \"essential\": true", "stands here a second time"),
        ("\"desiredCount\": 1,", "", "`desiredCount` is missing"),
        ("\"desiredCount\": 1", "\"desiredCount\": -1", "`desiredCount` is -1"),
        ("\"maximumPercent\": 200", "\"maximumPercent\": 100", "no task can be replaced"),
        ("\"maximumPercent\": 200", "\"maximumPercents\": 200", "did you mean `maximumPercent`?"),
        ("\"ROLLING\"", "\"BLUE_GREEN\"", "the deployer works with \"ROLLING\" alone"),
        (
            "\"launchType\"",
            "\"taskDefinition\": \"x\", \"launchType\"",
            "the deployer puts the release's revision there",
        ),
        ("\"${CLUSTER}\"", "\"other\"", "the deployer watches \"data\""),
        ("\"COUNT\"", "\"COUNTS\"", "did you mean \"COUNT\"?"),
        ("\"platformVersion\": \"LATEST\"", "\"platformVersion\": \"${IMAGE}\"", "takes the image"),
        ("\"propagateTags\"", "\"${X}\"", "a key has no holes"),
    ] {
        let told = faults_after(&[(from, to)]);
        assert!(told.contains(expected), "{from} -> {to}: {told}");
        assert!(told.contains(".json:"), "{told}");
    }
}

#[test]
fn two_containers_with_the_image_are_refused() {
    let second =
        "{ \"name\": \"worker\", \"image\": \"${IMAGE}\", \"memory\": 1 }, { \"name\": \"worker\", \"image\"";
    let told = faults_after(&[("{\n      \"name\": \"worker\",\n      \"image\"", second)]);
    assert!(told.contains("a second container has the image `${IMAGE}`"), "{told}");
    assert!(told.contains("a second container is named \"worker\""), "{told}");
}

#[test]
fn broken_json_is_told_with_its_line() {
    let told = faults_after(&[("\"networkMode\": \"awsvpc\",", "\"networkMode\": awsvpc,")]);
    assert!(told.contains("taskdefs/worker.taskdef.json:4:18: not JSON: expected value"), "{told}");
    let told = parse("", "[]", fills()).expect_err("both are wrong").to_string();
    assert!(told.contains("not JSON: EOF") && told.contains("this is a list"), "{told}");
}

#[test]
fn every_fargate_size_of_aws_is_taken_and_its_neighbours_are_not() {
    let check = |cpu: i64, memory: i64| {
        let task = json!({"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "containerDefinitions": [],
            "cpu": cpu.to_string(), "memory": memory.to_string()});
        limits::task_definition(&task).is_empty()
    };
    let taken: Vec<usize> = [256, 512, 1024, 2048, 4096, 8192, 16384]
        .map(|cpu| (1..=300).filter(|half_gb| check(cpu, half_gb * 512)).count())
        .to_vec();
    assert_eq!(taken, [3, 4, 7, 13, 23, 12, 12]);
    assert!(!check(256, 1536) && !check(512, 512) && !check(8192, 20480 + 1024));
    let words = json!({"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": ".5 vCPU", "memory": "2GB"});
    assert_eq!(limits::task_definition(&words), []);
}

/// Every string and number of a value, by JSON pointer.
fn leaves(value: &Value, pointer: String, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(value, format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), into);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, format!("{pointer}/{index}"), into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => into.push(pointer),
    }
}

/// All keys and items of `part` are in `whole`, and its values too, but where `may_differ` says so by the path.
fn assert_held(part: &Value, whole: &Value, path: &str, may_differ: &dyn Fn(&str, &Value) -> bool) {
    match part {
        Value::Object(map) => {
            for (key, value) in map {
                let found = whole.get(key).unwrap_or_else(|| panic!("{path}.{key} is lost"));
                assert_held(value, found, &format!("{path}.{key}"), may_differ);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let found = whole.get(index).unwrap_or_else(|| panic!("{path}[{index}] is lost"));
                assert_held(value, found, &format!("{path}[{index}]"), may_differ);
            }
        }
        leaf => assert!(leaf == whole || may_differ(path, leaf), "{path}: {leaf} became {whole}"),
    }
}

#[test]
fn no_key_is_lost_between_the_files_and_the_requests() {
    let is_hole = |_: &str, leaf: &Value| leaf.as_str().is_some_and(|text| text.contains("${"));
    let raw_task: Value = serde_json::from_str(TASK).expect("JSON");
    let raw_service: Value = serde_json::from_str(SERVICE).expect("JSON");
    let rendered = rendered();
    assert_held(&raw_task, &register_body(&rendered, &[]), "task", &is_hole);
    assert_held(&raw_service, &create_body(&rendered, &"r".into(), "token", &[]), "service", &is_hole);
    // And nothing is added but what is said.
    let mut register = register_body(&rendered, &[]);
    let environment = register["containerDefinitions"][0]["environment"].as_array_mut().expect("a list");
    assert_eq!(environment.pop().expect("ours")["name"], RELEASE_VARIABLE);
    register["containerDefinitions"][0]["image"] = IMAGE.into();
    assert_eq!(register, committed().task_definition);
    let mut create = create_body(&rendered, &"r".into(), "token", &[]);
    let create = create.as_object_mut().expect("a map");
    assert_eq!(
        (create.remove("taskDefinition"), create.remove("clientToken").is_some()),
        (Some("r".into()), true)
    );
    assert_eq!(Value::Object(create.clone()), committed().service);
}

/// Any JSON, with values that may look like holes and do not count as such any more.
fn json_of_any_shape() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[a-z${}]{0,6}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn of_shape(more: &Value, service: &Value) -> Templates {
    Templates {
        task_definition: json!({"more": more, "containerDefinitions": [{"name": "side", "image": "x"}, {"image": IMAGE}]}),
        service: service.clone(),
        fills: BTreeMap::new(),
        repository_uri: URI.into(),
    }
}

proptest! {
    #[test]
    fn the_same_inputs_give_the_same_release(more in json_of_any_shape(), service in json_of_any_shape()) {
        let once = render(&of_shape(&more, &service), &digest('a')).expect("it renders");
        let reread: Value = serde_json::from_str(&serde_json::to_string_pretty(&more).expect("JSON")).expect("JSON");
        let twice = render(&of_shape(&reread, &service), &digest('a')).expect("it renders");
        prop_assert_eq!(&once, &twice);
        prop_assert_eq!(once.release.as_str().len(), 16);
        prop_assert_ne!(once.release, render(&of_shape(&more, &service), &digest('b')).expect("it renders").release);
    }

    #[test]
    fn different_templates_give_different_releases(a in json_of_any_shape(), b in json_of_any_shape()) {
        prop_assume!(a != b);
        let release = |more: &Value, service: &Value| render(&of_shape(more, service), &digest('a')).expect("it renders").release;
        let none = json!({});
        prop_assert_ne!(release(&a, &none), release(&b, &none));
        prop_assert_ne!(release(&none, &a), release(&none, &b));
        prop_assert_ne!(release(&a, &b), release(&b, &a));
    }

    #[test]
    fn any_changed_value_of_the_committed_templates_changes_the_release(which in any::<prop::sample::Index>(), of_task in any::<bool>()) {
        let before = committed();
        let mut after = committed();
        let value = if of_task { &mut after.task_definition } else { &mut after.service };
        let mut pointers = Vec::new();
        leaves(value, String::new(), &mut pointers);
        pointers.retain(|pointer| pointer != "/containerDefinitions/0/image");
        let pointer = which.get(&pointers);
        let leaf = value.pointer_mut(pointer).expect("it is there");
        *leaf = match leaf.take() {
            Value::Bool(flag) => Value::from(!flag),
            Value::Number(number) => Value::from(number.as_i64().expect("whole") + 1),
            Value::String(text) => Value::from(format!("{text}x")),
            other => panic!("{pointer}: {other}"),
        };
        let release = |templates: &Templates| render(templates, &digest('a')).expect("it renders").release;
        prop_assert_ne!(release(&before), release(&after), "{}", pointer);
    }

    #[test]
    fn any_changed_fill_changes_the_release_and_no_hole_is_left(which in any::<prop::sample::Index>(), more in "[a-z0-9]{1,6}") {
        let mut changed = fills();
        let names: Vec<String> =
            fills().into_keys().filter(|name| name != "CLUSTER" && name != "SERVICE").collect();
        let name = which.get(&names);
        changed.get_mut(name).expect("it is there").push_str(&more);
        let templates = parse(TASK, SERVICE, changed).expect("it loads");
        let after = render(&templates, &digest('a')).expect("it renders");
        prop_assert_ne!(&after.release, &rendered().release, "{}", name);
        for body in [register_body(&after, &[]), create_body(&after, &"r".into(), "token", &[]), update_body(&after, &"r".into(), true, false)] {
            prop_assert_eq!(body.to_string().matches("${").count(), 0, "{}", body);
        }
        prop_assert_eq!(keys::REGISTER_TASK_DEFINITION.check(&after.task_definition), []);
    }

    #[test]
    fn rendering_never_leaves_a_hole(texts in prop::collection::vec("(\\$\\{[A-Z]{1,2}(\\[\\]|#)?(:-[a-z0-9]{0,3})?\\}|[a-z ]{0,3}){0,3}", 1..4),
        values in prop::collection::btree_map("[A-Z]{1,2}", "[0-9]{0,3}", 0..8)) {
        // Either every hole is filled, or it is told: nothing in between.
        let mut task: Value = serde_json::from_str(TASK).expect("JSON");
        task["containerDefinitions"][0]["command"] = texts.iter().cloned().map(Value::from).collect();
        let mut all = fills();
        all.extend(values);
        match parse(&task.to_string(), SERVICE, all) {
            Ok(templates) => {
                let rendered = render(&templates, &digest('a')).expect("it renders");
                let holes = rendered.task_definition.to_string().matches("${").count();
                prop_assert_eq!(holes, 0);
            }
            Err(faults) => prop_assert!(!faults.0.is_empty()),
        }
    }

    #[test]
    fn any_text_for_a_template_is_answered_without_a_panic(text in "[\\[\\]{}\":,$#a-z0-9 \n.-]{0,60}", cut in 0_usize..TASK.len()) {
        let _ = parse(&text, &text, fills());
        if let Some(start) = TASK.get(..cut) {
            let _ = parse(start, SERVICE, fills());
        }
    }
}
