use serde_json::{Value, json};

use super::{Alias, Command, EventError, Hint, Place, Verb, Woken, parse};
use crate::release::Digest;

const INDEX: &str = "sha256:4b7c1f0e6a52d9c83be1475f90aa62d7e3b8c15d2f6094ab7de83c1150f2a96e";
const CHILD: &str = "sha256:9d20e5b7f3418ac6d15be27093f4c86a1e7bd5023c984f61ab0d7e38254c19f0";

macro_rules! recorded {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../tests/events/", $name, ".json"))).unwrap()
    };
}

fn here() -> Place {
    Place {
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        repository: "landfall/worker".to_owned(),
        cluster: "arn:aws:ecs:eu-west-1:123456789012:cluster/data".to_owned(),
        service: "shop-events".to_owned(),
    }
}

fn hint(payload: &Value) -> Hint {
    match parse(payload, &here(), Alias::Events) {
        Ok(Woken::Hint(hint)) => hint,
        other => panic!("{other:?} for {payload}"),
    }
}

fn nothing(payload: &Value) -> String {
    match parse(payload, &here(), Alias::Events) {
        Ok(Woken::Nothing { why }) => why,
        other => panic!("{other:?} for {payload}"),
    }
}

fn refused(payload: &Value, alias: Alias) -> EventError {
    match parse(payload, &here(), alias) {
        Err(error) => error,
        Ok(woken) => panic!("{woken:?} for {payload}"),
    }
}

fn asked(payload: Value, alias: Alias) -> Command {
    match parse(&payload, &here(), alias) {
        Ok(Woken::Command(command)) => command,
        other => panic!("{other:?} for {payload}"),
    }
}

#[test]
fn pushes_and_replications_name_digest_and_tag() {
    let push = Hint::Push { digest: Digest::from(INDEX), tag: "v1.4.0".to_owned() };
    assert_eq!(hint(&recorded!("ecr-push")), push);
    assert_eq!(hint(&recorded!("ecr-replication")), push);
    let untagged = Hint::Push { digest: Digest::from(CHILD), tag: String::new() };
    assert_eq!(hint(&recorded!("ecr-push-untagged")), untagged);
    let mut absent = recorded!("ecr-push-untagged");
    absent["detail"].as_object_mut().unwrap().remove("image-tag").unwrap();
    assert_eq!(hint(&absent), untagged);
}

#[test]
fn a_deleted_image_a_failed_push_and_our_own_tag_are_no_reason_to_look() {
    assert_eq!(nothing(&recorded!("ecr-delete")), "DELETE of an image");
    assert_eq!(nothing(&recorded!("ecr-push-failed")), "PUSH of an image ended as FAILED");
    assert_eq!(nothing(&recorded!("ecr-replication-failed")), "REPLICATE of an image ended as FAILED");
    assert_eq!(nothing(&recorded!("ecr-push-keep")), "our own tag landfall-keep-7");
}

#[test]
fn scans_of_both_kinds_name_the_digest() {
    let scan = Hint::Scan { digest: Digest::from(CHILD) };
    assert_eq!(hint(&recorded!("ecr-scan")), scan);
    assert_eq!(hint(&recorded!("inspector-scan")), scan);
}

#[test]
fn ecs_alarms_and_both_schedules_are_hints() {
    let deployment = |name: &str| Hint::Deployment { name: name.to_owned() };
    assert_eq!(hint(&recorded!("ecs-deployment-failed")), deployment("SERVICE_DEPLOYMENT_FAILED"));
    assert_eq!(hint(&recorded!("ecs-deployment-completed")), deployment("SERVICE_DEPLOYMENT_COMPLETED"));
    assert_eq!(hint(&recorded!("ecs-deployment-as-documented")), deployment("SERVICE_DEPLOYMENT_COMPLETED"));
    let impaired = Hint::Service { name: "SERVICE_TASK_START_IMPAIRED".to_owned() };
    assert_eq!(hint(&recorded!("ecs-service-impaired")), impaired);
    assert_eq!(hint(&recorded!("ecs-task-stopped")), Hint::Task);
    let alarm = Hint::Alarm { name: "landfall-shop-events-damage".to_owned() };
    assert_eq!(hint(&recorded!("alarm-raised")), alarm);
    assert_eq!(hint(&recorded!("schedule-rule")), Hint::Schedule);
    assert_eq!(hint(&recorded!("schedule-scheduler")), Hint::Schedule);
}

#[test]
fn the_start_of_ecs_own_rollback_is_a_hint_like_any_other() {
    // Only its `reason` tells it from the start of a deployment, and words decide nothing.
    assert_eq!(hint(&recorded!("ecs-deployment-rollback")), hint(&recorded!("ecs-deployment-in-progress")));
}

#[test]
fn wrong_account_region_repository_cluster_and_service_are_refused_with_what_was_expected() {
    let cases = [
        ("ecr-push", "/account", json!("999999999999"), "account", "123456789012"),
        ("ecr-push", "/region", json!("us-east-1"), "region", "eu-west-1"),
        ("ecr-push", "/detail/repository-name", json!("other"), "repository", "landfall/worker"),
        ("ecr-scan", "/detail/repository-name", json!("worker"), "repository", "landfall/worker"),
        (
            "inspector-scan",
            "/detail/repository-name",
            json!("arn:aws:ecr:eu-west-1:123456789012:repository/other"),
            "repository",
            "landfall/worker",
        ),
        (
            "ecs-service-steady",
            "/resources",
            json!(["arn:aws:ecs:eu-west-1:123456789012:service/other/shop-events"]),
            "cluster",
            "data",
        ),
        (
            "ecs-deployment-failed",
            "/resources",
            json!(["arn:aws:ecs:eu-west-1:123456789012:service/data/clicks"]),
            "service",
            "shop-events",
        ),
        ("ecs-task-stopped", "/detail/clusterArn", json!("arn:…:cluster/other"), "cluster", "data"),
        ("ecs-task-stopped", "/detail/group", json!("service:clicks"), "service", "shop-events"),
        ("ecs-task-stopped", "/detail/group", json!("family:shop-events"), "service", "shop-events"),
        ("alarm-raised", "/account", json!("999999999999"), "account", "123456789012"),
        ("schedule-rule", "/region", json!("us-east-1"), "region", "eu-west-1"),
    ];
    for (name, at, value, field, expected) in cases {
        let file = format!("{}/tests/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let mut event: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        *event.pointer_mut(at).unwrap() = value;
        let error = refused(&event, Alias::Events);
        assert_eq!(error.kind(), "wrong-place", "{name} {at}: {error}");
        let text = error.to_string();
        assert!(text.contains(field) && text.contains(expected), "{name} {at}: {text}");
    }
}

#[test]
fn an_arn_of_the_old_form_takes_the_cluster_from_the_detail() {
    let mut event = recorded!("ecs-service-steady");
    event["resources"] = json!(["arn:aws:ecs:eu-west-1:123456789012:service/shop-events"]);
    assert_eq!(hint(&event), Hint::Service { name: "SERVICE_STEADY_STATE".to_owned() });
    event["detail"]["clusterArn"] = json!("arn:aws:ecs:eu-west-1:123456789012:cluster/other");
    assert_eq!(refused(&event, Alias::Events).kind(), "wrong-place");
}

#[test]
fn unknown_and_malformed_events_are_refused_with_what_would_be_right() {
    for payload in [json!(null), json!([]), json!("status"), json!(7)] {
        assert_eq!(refused(&payload, Alias::Events).kind(), "not-an-object");
    }
    let other = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {}});
    let text = refused(&other, Alias::Events).to_string();
    assert!(text.contains("`aws.s3`") && text.contains("`ECR Image Action`"), "{text}");
    assert_eq!(refused(&json!({}), Alias::Events).kind(), "unknown-event");
    // Nobody but ECR may speak of pushes: whoever may put events on a bus chooses the detail-type, not the source.
    let mut forged = recorded!("ecr-push");
    forged["source"] = json!("my.app");
    assert_eq!(refused(&forged, Alias::Events).kind(), "unknown-event");
}

#[test]
fn an_event_breaks_on_nothing_that_we_do_not_use() {
    let mut event = recorded!("ecs-task-stopped");
    event["detail"]["containers"] = json!("a new shape");
    event["detail"]["version"] = json!("seven");
    event["time"] = json!(null);
    assert_eq!(hint(&event), Hint::Task);
}

#[test]
fn what_we_use_is_named_when_it_is_missing() {
    for (mut event, field) in [
        (recorded!("ecr-push"), "image-digest"),
        (recorded!("alarm-raised"), "alarmName"),
        (recorded!("ecs-deployment-failed"), "eventName"),
        (recorded!("ecs-task-stopped"), "clusterArn"),
    ] {
        event["detail"].as_object_mut().unwrap().remove(field).unwrap();
        let error = refused(&event, Alias::Events);
        assert_eq!(error.kind(), "malformed-event");
        assert!(error.to_string().contains(field), "{error}");
    }
    let mut event = recorded!("ecr-push");
    event["detail"]["image-digest"] = json!("sha256:latest");
    assert_eq!(refused(&event, Alias::Events).kind(), "malformed-event");
    let mut event = recorded!("ecs-service-steady");
    event["resources"] = json!([]);
    assert!(refused(&event, Alias::Events).to_string().contains("resources"));
}

#[test]
fn a_strangers_text_in_an_error_is_bounded() {
    let mut event = recorded!("ecr-push");
    event["detail"]["repository-name"] = json!("ä".repeat(100_000));
    assert!(refused(&event, Alias::Events).to_string().chars().count() < 400);
    let command = json!({"command": "x".repeat(100_000)});
    assert!(refused(&command, Alias::Operate).to_string().chars().count() < 400);
}

#[test]
fn the_alias_is_the_invoked_arns_qualifier() {
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:landfall-deployer";
    assert_eq!(Alias::of(arn), Alias::Unqualified);
    assert_eq!(Alias::of(&format!("{arn}:$LATEST")), Alias::Unqualified);
    assert_eq!(Alias::of(&format!("{arn}:17")), Alias::Unqualified);
    assert_eq!(Alias::of("landfall-deployer:operate"), Alias::Unqualified);
    for alias in [Alias::Events, Alias::Read, Alias::Operate, Alias::Approve] {
        assert_eq!(Alias::of(&format!("{arn}:{alias}")), alias);
    }
}

/// The least that each command takes.
fn every_command() -> Vec<Value> {
    let least = |name: &str| match name {
        "deploy" | "approve" => json!({"command": name, "what": "v1"}),
        "rollback" | "stop" | "freeze" => json!({"command": name, "reason": "why"}),
        "reject" | "release" => json!({"command": name, "what": "v1", "reason": "why"}),
        _ => json!({"command": name}),
    };
    Verb::NAMES.iter().map(|name| least(name)).collect()
}

#[test]
fn every_command_is_understood_by_its_name() {
    for payload in every_command() {
        let name = payload["command"].as_str().unwrap().to_owned();
        let alias = if name == "approve" { Alias::Approve } else { Alias::Operate };
        let command = asked(payload, alias);
        assert_eq!((command.verb.name(), command.by.as_str()), (name.as_str(), alias.name()));
    }
}

#[test]
fn an_alias_bounds_what_may_be_asked_and_a_refusal_names_the_right_one() {
    for payload in every_command() {
        let name = payload["command"].as_str().unwrap().to_owned();
        let needs = match name.as_str() {
            "status" | "history" | "diff" | "plan" | "verify" => "read",
            "approve" => "approve",
            _ => "operate",
        };
        for alias in [Alias::Events, Alias::Read, Alias::Operate, Alias::Approve, Alias::Unqualified] {
            let may = match alias {
                Alias::Events => false,
                Alias::Read | Alias::Unqualified => needs == "read",
                Alias::Operate => needs != "approve",
                Alias::Approve => needs != "operate",
            };
            match parse(&payload, &here(), alias) {
                Ok(Woken::Command(_)) => assert!(may, "{alias} may not {name}"),
                Err(error) => {
                    assert!(!may, "{alias} may {name}: {error}");
                    assert_eq!(error.kind(), "not-allowed");
                    assert!(error.to_string().ends_with(&format!("alias `{needs}`")), "{error}");
                }
                Ok(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn events_come_in_only_where_people_do_not() {
    for alias in [Alias::Events, Alias::Unqualified] {
        assert!(parse(&recorded!("ecr-push"), &here(), alias).is_ok());
    }
    for alias in [Alias::Read, Alias::Operate, Alias::Approve] {
        let error = refused(&recorded!("ecr-push"), alias);
        assert!(error.to_string().ends_with("alias `events`"), "{error}");
    }
}

#[test]
fn a_command_carries_who_asked() {
    let command = asked(recorded!("command-rollback"), Alias::Operate);
    assert_eq!(command.by, "ada");
    let expected = Verb::Rollback {
        to: None,
        expect: Some("v1.4.0".to_owned()),
        reason: "orders without totals since 09:20".to_owned(),
    };
    assert_eq!(command.verb, expected);
    assert_eq!(asked(recorded!("command-status"), Alias::Read).by, "read");
}

#[test]
fn a_command_with_a_wrong_word_says_which() {
    let cases = [
        (json!({"command": "deplyo", "what": "v1"}), "unknown-command", "`deplyo`"),
        (json!({"command": 7}), "unknown-command", "`7`"),
        (json!({"command": "deploy"}), "malformed-command", "what"),
        (json!({"command": "deploy", "what": "v1", "tag": "v1"}), "malformed-command", "tag"),
        (json!({"command": "status", "verbose": true}), "malformed-command", "verbose"),
        (json!({"command": "rollback"}), "malformed-command", "reason"),
        (json!({"command": "rollback", "reason": " "}), "malformed-command", "reason"),
        (json!({"command": "stop", "reason": "x".repeat(501)}), "malformed-command", "500"),
        (json!({"command": "deploy", "what": ""}), "malformed-command", "names no image"),
        (json!({"command": "status", "by": 7}), "malformed-command", "by"),
        (json!({"command": "status", "by": "x".repeat(101)}), "malformed-command", "100"),
    ];
    for (payload, kind, word) in cases {
        let error = refused(&payload, Alias::Operate);
        assert_eq!(error.kind(), kind, "{payload}: {error}");
        assert!(error.to_string().contains(word), "{payload}: {error}");
    }
}
