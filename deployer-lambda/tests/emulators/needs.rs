//! What `verify` asks AWS for, against stand-ins that we did not write: roles, secrets, parameters, log groups.

use std::collections::BTreeMap;

use deployer::observe::needs::{Answered, State, needs_of, survey};
use serde_json::{Value, json};
use uuid::Uuid;

use super::adapters::adapter;
use super::{ACCOUNT, Calls, REGION, Stage, ministack, peer};

/// A task definition that needs two of everything, of which the second is nowhere; and one parameter by its bare name.
struct World {
    name: String,
    task_definition: Value,
}

impl World {
    fn make(aws: &Calls) -> World {
        let name = format!("shop-{}", Uuid::new_v4().simple());
        let role = |name: &str, service: &str| {
            let statement =
                json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}});
            let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
            let args = json!({"RoleName": name, "Path": "/landfall/", "AssumeRolePolicyDocument": policy});
            aws.call("iam", "create_role", args)["Role"]["Arn"].as_str().expect("an ARN").to_owned()
        };
        let task = role(&format!("{name}-task"), "ecs-tasks.amazonaws.com");
        let stranger = role(&format!("{name}-stranger"), "ec2.amazonaws.com");
        let secret = |suffix: &str| {
            let args = json!({"Name": format!("{name}{suffix}"), "SecretString": "{\"user\": \"u\"}"});
            aws.call("secretsmanager", "create_secret", args)["ARN"].as_str().expect("an ARN").to_owned()
        };
        let (kept, leaving) = (secret(""), secret("-leaving"));
        aws.call("secretsmanager", "delete_secret", json!({"SecretId": leaving, "RecoveryWindowInDays": 7}));
        let parameter = |name: &str| {
            let args = json!({"Name": name, "Value": "v", "Type": "SecureString"});
            aws.call("ssm", "put_parameter", args);
        };
        parameter(&format!("/{name}/password"));
        parameter(&name);
        let group = format!("/landfall/{name}");
        aws.call("logs", "create_log_group", json!({"logGroupName": format!("{group}-longer")}));
        aws.call("logs", "create_log_group", json!({"logGroupName": group}));

        let from = |name: &str, value_from: String| json!({"name": name, "valueFrom": value_from});
        let ssm = |rest: &str| format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{rest}");
        let log = |group: &str| json!({"logDriver": "awslogs", "options": {"awslogs-group": group, "awslogs-region": REGION}});
        let secrets = json!([
            from("ALL", kept.clone()),
            from("KEY", format!("{kept}:user::")),
            from("OLD", format!("{kept}::AWSPREVIOUS:")),
            from("LEAVING", leaving),
            from("NOWHERE", format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-none-AbCdEf")),
            from("PATH", ssm(&format!("{name}/password"))),
            from("BARE", ssm(&name)),
            from("NAMED", format!("/{name}/password")),
            from("NO_PARAMETER", format!("/{name}/none")),
        ]);
        let task_definition = json!({
            "taskRoleArn": task, "executionRoleArn": stranger,
            "containerDefinitions": [
                {"name": "worker", "secrets": secrets, "logConfiguration": log(&group)},
                {"name": "side", "logConfiguration": log(&format!("{group}-lo"))},
            ],
        });
        World { name, task_definition }
    }

    async fn ask(&self, endpoint: &str) -> Vec<Answered> {
        let needs = needs_of(&self.task_definition, &BTreeMap::new());
        survey(&adapter(endpoint, &self.name), needs, ACCOUNT).await
    }
}

/// Place and state, short enough to read.
fn told(answered: &[Answered]) -> Vec<(String, &'static str)> {
    let short =
        |place: &str| place.trim_end_matches(".valueFrom").rsplit(['[', '.']).next().map(str::to_owned);
    let state = |state: &State| match state {
        State::There(_) => "there",
        State::Missing(_) => "missing",
        State::Unfit(_) => "unfit",
        State::Denied(_) => "denied",
        State::Unknown(_) => "unknown",
    };
    answered.iter().map(|it| (short(&it.need.places[0]).unwrap_or_default(), state(&it.state))).collect()
}

async fn every_need_is_answered_by(aws: Calls) {
    let world = World::make(&aws);
    let answered = world.ask(aws.endpoint()).await;
    let expected = [
        ("taskRoleArn", "there"),
        ("executionRoleArn", "unfit"),
        ("ALL]", "there"),
        ("KEY]", "there"),
        ("OLD]", "unfit"),
        ("LEAVING]", "unfit"),
        ("NOWHERE]", "missing"),
        ("PATH]", "there"),
        ("BARE]", "there"),
        ("NAMED]", "there"),
        ("NO_PARAMETER]", "missing"),
        ("awslogs-group", "there"),
        ("awslogs-group", "missing"),
    ];
    let expected: Vec<(String, &str)> =
        expected.into_iter().map(|(place, state)| (place.to_owned(), state)).collect();
    assert_eq!(told(&answered), expected, "{answered:#?}");

    aws.call("iam", "delete_role", json!({"RoleName": format!("{}-task", world.name)}));
    let answered = world.ask(aws.endpoint()).await;
    assert_eq!(told(&answered)[0], ("taskRoleArn".to_owned(), "missing"), "{:?}", answered[0]);
}

#[tokio::test]
async fn moto_answers_for_every_need() {
    let Some(aws) = peer("LANDFALL_TEST_S3_STRICT") else { return };
    every_need_is_answered_by(aws).await;
}

#[tokio::test]
async fn ministack_answers_for_every_need() {
    let Some(aws) = ministack() else { return };
    every_need_is_answered_by(aws).await;
}

/// By the function itself, which is told of AWS by `AWS_ENDPOINT_URL` alone.
#[test]
fn the_function_says_what_a_release_still_needs_and_how_to_get_it() {
    let Some(aws) = ministack() else { return };
    let stage = Stage::new(aws, "");
    let image = stage.put_manifest(1, Some("v1.0.0"));
    let verify = || stage.invoke("read", &json!({"command": "verify", "what": image.tag}));
    let need = |answer: &Value, kind: &str| -> Value {
        let needs = answer["needs"].as_array().unwrap_or_else(|| panic!("{answer}"));
        needs.iter().find(|need| need["need"] == kind).unwrap_or_else(|| panic!("{answer}")).clone()
    };
    let answer = verify();
    let group = need(&answer, "log group");
    assert_eq!((&answer["verdict"], &group["result"]), (&json!("fault"), &json!("missing")), "{answer}");
    assert_eq!(
        group["where"],
        json!(["containerDefinitions[worker].logConfiguration.options.awslogs-group"])
    );
    let remedy = group["remedy"].as_str().expect("a remedy");
    assert!(
        remedy.contains("create-log-group") && remedy.ends_with("or fill `${LOG_GROUP}` with another"),
        "{remedy}"
    );
    stage.aws.call("logs", "create_log_group", json!({"logGroupName": group["name"]}));
    assert_eq!(need(&verify(), "log group")["result"], "ok");
}
