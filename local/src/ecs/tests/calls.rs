//! The calls: what they answer, refuse and keep.

use super::*;

fn refused(w: &mut World, action: &str, request: Value) -> (&'static str, String) {
    let error = w.ecs.call(action, &request, w.now).unwrap_err();
    assert_eq!(error.body()["__type"], error.code());
    (error.code(), error.to_string())
}

#[test]
fn a_task_definition_is_kept_with_every_key_that_was_sent() {
    let mut w = World::new();
    let mut body = definition("one");
    body["aFieldOfTheFuture"] = json!({ "nested": [1, 2.5, null, "ü"] });
    body["tags"] = json!([{ "key": "landfall:release", "value": "r1" }]);
    let arn = w.register(&body);
    assert_eq!(arn, "arn:aws:ecs:eu-central-1:111122223333:task-definition/worker:1");
    assert_eq!(
        w.register(&definition("two")),
        arn.replace(":1", ":2")
            .replace("arn:aws:ecs:eu-central-1:211122223333", "arn:aws:ecs:eu-central-1:111122223333")
    );
    let answer =
        w.call("DescribeTaskDefinition", &json!({ "taskDefinition": "worker:1", "include": ["TAGS"] }));
    assert_eq!(answer["tags"], body["tags"]);
    let described = &answer["taskDefinition"];
    assert_eq!(described["aFieldOfTheFuture"], body["aFieldOfTheFuture"]);
    assert_eq!(
        described["containerDefinitions"][0]["healthCheck"],
        body["containerDefinitions"][0]["healthCheck"]
    );
    assert_eq!((&described["revision"], &described["status"]), (&json!(1), &json!("ACTIVE")));
    assert_eq!(described["containerDefinitions"][0]["mountPoints"], json!([]), "ECS fills in");
    body.as_object_mut().unwrap().remove("tags");
    assert_eq!(w.ecs.definition(DefinitionId(0)).body, body);
    let without = w.call("DescribeTaskDefinition", &json!({ "taskDefinition": arn }));
    assert!(without.get("tags").is_none());
}

#[test]
fn definitions_are_listed_newest_first_on_request_and_only_active_ones() {
    let mut w = World::new();
    for image in ["one", "two", "three"] {
        w.register(&definition(image));
    }
    w.call("DeregisterTaskDefinition", &json!({ "taskDefinition": "worker:2" }));
    let list = |w: &mut World, request: Value| -> Vec<String> {
        let answer = w.call("ListTaskDefinitions", &request);
        let arns = answer["taskDefinitionArns"].as_array().unwrap();
        arns.iter().map(|arn| arn.as_str().unwrap().rsplit(':').next().unwrap().to_owned()).collect()
    };
    assert_eq!(list(&mut w, json!({ "familyPrefix": "worker", "sort": "DESC" })), ["3", "1"]);
    assert_eq!(list(&mut w, json!({ "status": "INACTIVE" })), ["2"]);
    let first = w.call("ListTaskDefinitions", &json!({ "maxResults": 1 }));
    assert_eq!(list(&mut w, json!({ "maxResults": 1, "nextToken": first["nextToken"] })), ["3"]);
    let newest = w.call("DescribeTaskDefinition", &json!({ "taskDefinition": "worker" }));
    assert_eq!(newest["taskDefinition"]["revision"], 3);
}

#[test]
fn what_ecs_would_refuse_is_refused_and_nothing_changes() {
    let mut w = World::up("one", 1, json!({}));
    let mut no_image = definition("x");
    no_image["containerDefinitions"][0]["image"] = json!("");
    let mut long_start = definition("x");
    long_start["containerDefinitions"][0]["healthCheck"]["startPeriod"] = json!(301);
    let mut bad_tag = definition("x");
    bad_tag["tags"] = json!([{ "key": "reason", "value": "what?!" }]);
    for (action, request, code) in [
        ("RegisterTaskDefinition", json!({ "containerDefinitions": [] }), "ClientException"),
        (
            "RegisterTaskDefinition",
            json!({ "family": "worker", "containerDefinitions": [] }),
            "ClientException",
        ),
        ("RegisterTaskDefinition", no_image, "ClientException"),
        ("RegisterTaskDefinition", long_start, "ClientException"),
        ("RegisterTaskDefinition", bad_tag, "InvalidParameterException"),
        ("DescribeTaskDefinition", json!({ "taskDefinition": "worker:9" }), "ClientException"),
        ("DescribeTaskDefinition", json!({ "taskDefinition": "worker:0" }), "ClientException"),
        (
            "CreateService",
            json!({ "serviceName": "b", "taskDefinition": "worker" }),
            "InvalidParameterException",
        ),
        ("UpdateService", json!({ "service": "worker", "taskDefinition": "worker:9" }), "ClientException"),
        ("UpdateService", json!({ "service": "nobody" }), "ServiceNotFoundException"),
        ("UpdateService", json!({ "service": "worker", "desiredCount": -1 }), "InvalidParameterException"),
        ("UpdateService", json!({ "service": "worker", "cluster": "other" }), "ClusterNotFoundException"),
        (
            "UpdateService",
            json!({ "service": "worker", "deploymentConfiguration": percent(100, 100) }),
            "InvalidParameterException",
        ),
        (
            "UpdateService",
            json!({ "service": "worker", "deploymentConfiguration": { "strategy": "BLUE_GREEN" } }),
            "UnsupportedFeatureException",
        ),
        ("ListServiceDeployments", json!({ "service": "nobody" }), "ServiceNotFoundException"),
        (
            "StopServiceDeployment",
            json!({ "serviceDeploymentArn": "arn:aws:ecs:x" }),
            "ServiceDeploymentNotFoundException",
        ),
        ("ListTasks", json!({ "nextToken": "x" }), "InvalidParameterException"),
        ("RunTask", json!({}), "UnsupportedFeatureException"),
    ] {
        let (found, message) = refused(&mut w, action, request.clone());
        assert_eq!(found, code, "{action} {request}: {message}");
        assert!(!message.is_empty());
    }
    assert_eq!((w.rollouts().len(), w.s().desired), (1, 1));
    assert_eq!(w.call("ListTaskDefinitions", &json!({}))["taskDefinitionArns"].as_array().unwrap().len(), 1);
}

#[test]
fn an_inactive_definition_cannot_be_deployed() {
    let mut w = World::up("one", 1, json!({}));
    let two = w.good("two");
    w.call("DeregisterTaskDefinition", &json!({ "taskDefinition": two }));
    let (code, message) =
        refused(&mut w, "UpdateService", json!({ "service": "worker", "taskDefinition": two }));
    assert_eq!((code, message.as_str()), ("ClientException", "TaskDefinition is inactive"));
}

#[test]
fn creating_twice_with_one_client_token_is_creating_once() {
    let mut w = World::new();
    let one = w.good("one");
    let first = w.create(&one, 1, json!({}));
    let again = w.create(&one, 1, json!({}));
    assert_eq!(first["service"]["serviceArn"], again["service"]["serviceArn"]);
    assert_eq!(w.rollouts().len(), 1);
    for request in [
        json!({ "serviceName": "worker", "taskDefinition": one, "desiredCount": 1, "clientToken": "second" }),
        json!({ "serviceName": "worker", "taskDefinition": one, "desiredCount": 1 }),
    ] {
        let (code, message) = refused(&mut w, "CreateService", request);
        assert_eq!(
            (code, message.as_str()),
            ("InvalidParameterException", "Creation of service was not idempotent.")
        );
    }
}

#[test]
fn services_that_are_not_there_are_failures_and_not_errors() {
    let mut w = World::up("one", 1, json!({}));
    let arn = w.ecs.config().service_arn("worker");
    let answer = w.call("DescribeServices", &json!({ "services": ["nobody", arn], "cluster": "default" }));
    assert_eq!(answer["services"][0]["serviceName"], "worker");
    assert_eq!(answer["failures"][0]["reason"], "MISSING");
}

#[test]
fn settings_that_the_model_does_not_know_are_kept_and_an_update_changes_them() {
    let mut w = World::new();
    let one = w.good("one");
    let request = json!({
        "serviceName": "worker", "taskDefinition": one, "desiredCount": 1, "launchType": "FARGATE",
        "availabilityZoneRebalancing": "DISABLED", "propagateTags": "SERVICE",
        "tags": [{ "key": "a", "value": "1" }],
    });
    w.call("CreateService", &request);
    w.update(json!({ "availabilityZoneRebalancing": "ENABLED" }));
    let described = w.describe();
    assert_eq!(described["availabilityZoneRebalancing"], "ENABLED");
    assert_eq!(described["propagateTags"], "SERVICE");
    assert!(described.get("tags").is_none() && described.get("clientToken").is_none());
    let tagged = w.call("DescribeServices", &json!({ "services": ["worker"], "include": ["TAGS"] }));
    assert_eq!(tagged["services"][0]["tags"], request["tags"]);
}

#[test]
fn a_deployment_configuration_is_merged_or_replaces_by_variant() {
    for (config_replaces, minimum) in [(false, json!(0)), (true, Value::Null)] {
        let variants = Variants { config_replaces, ..Variants::default() };
        let mut w = World::up_with(variants, "one", 1, percent(0, 100));
        w.update(json!({ "deploymentConfiguration": { "maximumPercent": 200 } }));
        let described = w.describe();
        assert_eq!(described["deploymentConfiguration"]["minimumHealthyPercent"], minimum);
        assert_eq!(w.s().settings.minimum_percent, if config_replaces { 100 } else { 0 });
    }
}

#[test]
fn tags_are_added_listed_and_taken_away() {
    let mut w = World::up("one", 1, json!({}));
    for arn in [w.ecs.config().service_arn("worker"), w.describe()["taskDefinition"].as_str().unwrap().into()]
    {
        let tag = |value: &str| json!({ "resourceArn": arn, "tags": [{ "key": "landfall:verdict", "value": value }] });
        w.call("TagResource", &tag("proving"));
        w.call("TagResource", &tag("healthy"));
        let listed = w.call("ListTagsForResource", &json!({ "resourceArn": arn }));
        assert_eq!(listed["tags"], json!([{ "key": "landfall:verdict", "value": "healthy" }]));
        let (code, _) = refused(&mut w, "TagResource", tag("a\nb"));
        assert_eq!(code, "InvalidParameterException");
        w.call("UntagResource", &json!({ "resourceArn": arn, "tagKeys": ["landfall:verdict"] }));
        assert_eq!(w.call("ListTagsForResource", &json!({ "resourceArn": arn }))["tags"], json!([]));
    }
    let many: Vec<Value> = (0..51).map(|n| json!({ "key": format!("k{n}"), "value": "" })).collect();
    let arn = w.ecs.config().service_arn("worker");
    let (code, _) = refused(&mut w, "TagResource", json!({ "resourceArn": arn, "tags": many }));
    assert_eq!(code, "InvalidParameterException");
}

#[test]
fn tasks_tell_the_digest_of_the_index_or_of_the_platform_by_variant() {
    for (running_digest, revision_digest, runs, revises) in [
        (Digest::Index, Digest::Index, "sha256:one", "sha256:one"),
        (Digest::Child, Digest::Index, "sha256:child", "sha256:one"),
        (Digest::Index, Digest::Child, "sha256:one", "sha256:child"),
    ] {
        let variants = Variants { running_digest, revision_digest, ..Variants::default() };
        let mut w = World::with(variants);
        w.ecs.set_child("sha256:one", "sha256:child");
        let one = w.good("one");
        w.create(&one, 1, json!({}));
        w.run_for(SECOND);
        let task = |w: &mut World| {
            let arns = w.call("ListTasks", &json!({ "serviceName": "worker" }))["taskArns"].clone();
            w.call("DescribeTasks", &json!({ "tasks": arns }))["tasks"][0].clone()
        };
        assert!(task(&mut w)["containers"][0].get("imageDigest").is_none(), "not pulled yet");
        w.run_for(MINUTE);
        let task = task(&mut w);
        assert_eq!(task["containers"][0]["imageDigest"], runs);
        assert_eq!((&task["lastStatus"], &task["healthStatus"]), (&json!("RUNNING"), &json!("HEALTHY")));
        assert_eq!(task["startedBy"], w.describe()["deployments"][0]["id"]);
        let arn = w.rollouts()[0]["targetServiceRevision"]["arn"].clone();
        let revision = w.call("DescribeServiceRevisions", &json!({ "serviceRevisionArns": [arn] }));
        assert_eq!(revision["serviceRevisions"][0]["containerImages"][0]["imageDigest"], revises);
    }
}

#[test]
fn a_tag_is_resolved_once_for_a_revision_by_the_first_task_that_pulls_it() {
    let mut w = World::new();
    let mut body = definition("one");
    body["containerDefinitions"][0]["image"] = json!("1.dkr.ecr.eu-central-1.amazonaws.com/worker:v1");
    w.plays.insert("v1".into(), (Box::new(|_| Act { pull_ms: 60 * MINUTE, ..Act::default() }), 0));
    let arn = w.register(&body);
    w.create(&arn, 1, json!({}));
    w.run_for(SECOND);
    let task = w.s().tasks[0].id;
    w.ecs.report(task, TaskReport::Pulled { digest: Some(arc("sha256:resolved")) }, w.now).unwrap();
    assert_eq!(w.s().revisions[0].digests, [Some(arc("sha256:resolved"))]);
    assert_eq!(w.ecs.running_digest(&w.s().tasks[0], 0), Some(arc("sha256:resolved")));
}

#[test]
fn service_deployments_are_listed_from_new_to_old_and_by_status() {
    let mut w = World::up("one", 1, breaker(true));
    let bad = w.define("bad", |_| crashes());
    w.deploy(&bad);
    w.until_settled();
    let list = |w: &mut World, request: Value| -> Vec<Value> {
        let answer = w.call("ListServiceDeployments", &request);
        answer["serviceDeployments"].as_array().unwrap().iter().map(|it| it["status"].clone()).collect()
    };
    assert_eq!(list(&mut w, json!({ "service": "worker" })), ["ROLLBACK_SUCCESSFUL", "SUCCESSFUL"]);
    assert_eq!(list(&mut w, json!({ "service": "worker", "status": ["SUCCESSFUL"] })), ["SUCCESSFUL"]);
    let second = w.rollouts()[0]["createdAt"].as_f64().unwrap();
    let after = json!({ "service": "worker", "createdAt": { "after": second - 1.0 } });
    assert_eq!(list(&mut w, after), ["ROLLBACK_SUCCESSFUL"]);
    let none = w.call("DescribeServiceDeployments", &json!({ "serviceDeploymentArns": ["arn:x"] }));
    assert_eq!(none["failures"], json!([{ "arn": "arn:x", "reason": "MISSING" }]));
}

#[test]
fn a_deployment_that_only_drains_may_be_called_so() {
    for (draining, name) in [(true, "DRAINING"), (false, "ACTIVE")] {
        let variants = Variants { draining, ..Variants::default() };
        let mut w = World::up_with(variants, "one", 1, json!({}));
        let two = w.good("two");
        w.deploy(&two);
        w.run_until("the old task stops", |w| w.s().tasks.iter().any(|task| task.stopping));
        assert_eq!(w.describe()["deployments"][1]["status"], name);
    }
}

#[test]
fn errors_have_ecs_names_and_statuses() {
    for (error, code, status) in [
        (EcsError::Throttling, "ThrottlingException", 400),
        (EcsError::concurrent_registration(), "ClientException", 400),
        (EcsError::Server("down".into()), "ServerException", 500),
    ] {
        assert_eq!((error.code(), error.status()), (code, status));
        assert_eq!(error.body()["message"], error.to_string());
    }
    assert!(EcsError::concurrent_registration().to_string().starts_with("Too many concurrent attempts"));
}

#[test]
fn a_deleted_service_drains_and_then_another_may_have_its_name() {
    let mut w = World::up("one", 1, json!({}));
    let two = w.good("two");
    assert_eq!(
        refused(&mut w, "DeleteService", json!({ "service": "worker" })),
        ("InvalidParameterException", "The service cannot be stopped while it is scaled above 0.".to_owned())
    );
    let answer = w.call("DeleteService", &json!({ "service": "worker", "force": true }));
    assert_eq!(
        (&answer["service"]["status"], &answer["service"]["desiredCount"]),
        (&json!("DRAINING"), &json!(0))
    );
    let update = json!({ "service": "worker", "taskDefinition": two });
    assert_eq!(refused(&mut w, "UpdateService", update.clone()).0, "ServiceNotActiveException");
    w.run_for(MINUTE);
    assert!(w.ecs.services().is_empty(), "its last task has ended");
    assert_eq!(refused(&mut w, "UpdateService", update).0, "ServiceNotFoundException");
    w.create(&two, 1, json!({}));
    w.until_settled();
    assert_eq!(w.running(), ["two"]);
}
