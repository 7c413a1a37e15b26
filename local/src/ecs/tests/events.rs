//! What EventBridge is told, and how.

use super::*;

fn of<'a>(w: &'a World, detail_type: &str) -> Vec<&'a Event> {
    w.events.iter().filter(|event| event.detail_type() == detail_type).collect()
}

#[test]
fn a_deployment_is_told_when_it_starts_and_when_it_completes() {
    let mut w = World::up("one", 1, json!({}));
    let two = w.good("two");
    w.deploy(&two);
    w.until_settled();
    let told: Vec<Value> = of(&w, "ECS Deployment State Change").iter().map(|it| it.json(&w.ecs)).collect();
    let id = w.s().primary().id.to_string();
    assert_eq!(told.len(), 2);
    assert_eq!(
        told[0],
        json!({
            "version": "0", "id": told[0]["id"], "detail-type": "ECS Deployment State Change", "source": "aws.ecs",
            "account": "111122223333", "time": told[0]["time"], "region": "eu-central-1",
            "resources": ["arn:aws:ecs:eu-central-1:111122223333:service/default/worker"],
            "detail": {
                "eventType": "INFO", "eventName": "SERVICE_DEPLOYMENT_IN_PROGRESS", "deploymentId": id,
                "updatedAt": told[0]["time"], "reason": format!("ECS deployment {id} in progress."),
            },
        })
    );
    assert_eq!(told[1]["detail"]["eventName"], "SERVICE_DEPLOYMENT_COMPLETED");
    assert_eq!(told[1]["detail"]["reason"], format!("ECS deployment {id} completed."));
    assert_ne!(told[0]["id"], told[1]["id"]);
}

#[test]
fn a_rollback_tells_of_itself_only_in_the_reason_and_ends_as_completed() {
    let mut w = World::up("one", 1, breaker(true));
    let was = w.s().primary().id;
    let bad = w.define("bad", |_| crashes());
    w.deploy(&bad);
    w.until_settled();
    let told: Vec<Value> = of(&w, "ECS Deployment State Change").iter().map(|it| it.json(&w.ecs)).collect();
    let names: Vec<_> = told.iter().map(|it| it["detail"]["eventName"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "SERVICE_DEPLOYMENT_IN_PROGRESS",
            "SERVICE_DEPLOYMENT_FAILED",
            "SERVICE_DEPLOYMENT_IN_PROGRESS",
            "SERVICE_DEPLOYMENT_COMPLETED",
        ]
    );
    assert_eq!(told[1]["detail"]["eventType"], "ERROR");
    assert_eq!(told[1]["detail"]["reason"], "ECS deployment circuit breaker: task failed to start.");
    let reason = format!("ECS deployment circuit breaker: rolling back to deploymentId {was}.");
    assert_eq!(told[2]["detail"]["reason"], reason);
}

#[test]
fn a_task_tells_each_change_with_a_rising_version_and_keeps_its_health_to_itself() {
    let mut w = World::up("one", 1, json!({}));
    let bad = w.define("bad", |_| Act { exits: Some((SECOND, 78)), ..Act::default() });
    w.deploy(&bad);
    w.run_until("it stops", |w| w.s().stopped.iter().any(|task| w.image(task.definition) == "bad"));
    let id = w.s().stopped.back().unwrap().id;
    let told: Vec<Value> =
        w.events.iter().filter(|it| it.of_task() == Some(id)).map(|it| it.json(&w.ecs)).collect();
    let seen: Vec<(u64, &str, &str)> = told
        .iter()
        .map(|it| &it["detail"])
        .map(|it| {
            (
                it["version"].as_u64().unwrap(),
                it["lastStatus"].as_str().unwrap(),
                it["desiredStatus"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (1, "PROVISIONING", "RUNNING"),
            (2, "PENDING", "RUNNING"),
            (3, "RUNNING", "RUNNING"),
            (4, "STOPPED", "STOPPED")
        ]
    );
    let last = &told[3]["detail"];
    assert_eq!(told[3]["resources"], json!([last["taskArn"]]));
    assert_eq!(last["stopCode"], "EssentialContainerExited");
    assert_eq!(last["stoppedReason"], "Essential container in task exited");
    assert_eq!(
        (&last["containers"][0]["exitCode"], &last["containers"][0]["imageDigest"]),
        (&json!(78), &json!("sha256:bad"))
    );
    assert_eq!(last["group"], "service:worker");
    assert_eq!(last["taskDefinitionArn"], bad);
    assert!(last.get("healthStatus").is_none() && last["containers"][0].get("healthStatus").is_none());
    for key in ["createdAt", "pullStoppedAt", "startedAt", "stoppedAt", "updatedAt"] {
        let time = last[key].as_str().unwrap_or_else(|| panic!("{key} is no text: {last}"));
        assert!(time.starts_with("2026-") && time.ends_with('Z') && time.len() == 24, "{key}: {time}");
    }
}

#[test]
fn an_event_tells_what_was_true_when_it_was_made() {
    let mut w = World::up("one", 1, json!({}));
    let two = w.good("two");
    w.deploy(&two);
    w.run_for(0);
    let first = of(&w, "ECS Task State Change")[0].clone();
    let before = first.json(&w.ecs);
    w.until_settled();
    assert_eq!(first.json(&w.ecs), before);
}

#[test]
fn a_service_action_has_ecs_shape() {
    let mut w = World::new();
    let one = w.good("one");
    w.create(&one, 1, json!({}));
    w.until_settled();
    let steady = of(&w, "ECS Service Action")[0].json(&w.ecs);
    assert_eq!(
        steady["detail"],
        json!({
            "eventType": "INFO", "eventName": "SERVICE_STEADY_STATE",
            "clusterArn": "arn:aws:ecs:eu-central-1:111122223333:cluster/default",
            "createdAt": steady["detail"]["createdAt"],
        })
    );
    let text = w.describe()["events"][1]["message"].clone();
    assert_eq!(text, "(service worker) has reached a steady state.");
}
