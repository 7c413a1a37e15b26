use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::json;

use super::*;

const ACCOUNT: &str = "123456789012";
const SECRET: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:kafka-AbCdEf";
const ROLE: &str = "arn:aws:iam::123456789012:role/service/shop-task";

fn needs(task_definition: &Value) -> Vec<Need> {
    needs_of(task_definition, &BTreeMap::new())
}

fn of_one_secret(value_from: &str) -> Want {
    let secret = json!({"name": "PASSWORD", "valueFrom": value_from});
    let found = needs(&json!({"containerDefinitions": [{"name": "worker", "secrets": [secret]}]}));
    assert_eq!(found.len(), 1);
    found[0].want.clone()
}

#[test]
fn a_task_definition_names_all_that_it_needs_and_where() {
    let log = json!({"logDriver": "awslogs", "options": {"awslogs-group": "/shop/worker", "awslogs-region": "eu-west-1"}});
    let remote = json!({"logDriver": "splunk", "options": {"awslogs-group": "not-asked"},
                        "secretOptions": [{"name": "token", "valueFrom": "/shop/splunk"}]});
    let task_definition = json!({
        "taskRoleArn": ROLE, "executionRoleArn": "shop-execution",
        "containerDefinitions": [
            {"name": "worker", "secrets": [{"name": "PASSWORD", "valueFrom": SECRET}], "logConfiguration": log,
             "repositoryCredentials": {"credentialsParameter": "registry-login"}},
            {"secrets": [{"name": "AGAIN", "valueFrom": SECRET}], "logConfiguration": log},
            {"name": "side", "logConfiguration": remote},
            {"name": "plain"},
        ],
    });
    let fills = BTreeMap::from([("LOG_GROUP".to_owned(), "/shop/worker".to_owned())]);
    let found = needs_of(&task_definition, &fills);
    let told: Vec<(&str, Vec<&str>)> = found
        .iter()
        .map(|need| (need.name.as_str(), need.places.iter().map(String::as_str).collect()))
        .collect();
    let expected = [
        (ROLE, vec!["taskRoleArn"]),
        ("shop-execution", vec!["executionRoleArn"]),
        (
            SECRET,
            vec![
                "containerDefinitions[worker].secrets[PASSWORD].valueFrom",
                "containerDefinitions[1].secrets[AGAIN].valueFrom",
            ],
        ),
        ("registry-login", vec!["containerDefinitions[worker].repositoryCredentials.credentialsParameter"]),
        (
            "/shop/worker",
            vec![
                "containerDefinitions[worker].logConfiguration.options.awslogs-group",
                "containerDefinitions[1].logConfiguration.options.awslogs-group",
            ],
        ),
        ("/shop/splunk", vec!["containerDefinitions[side].logConfiguration.secretOptions[token].valueFrom"]),
    ];
    assert_eq!(told, expected);
    let role = Want::Role { name: "shop-task".to_owned(), arn: Some(ROLE.to_owned()) };
    assert_eq!((&found[0].want, found[4].hole.as_deref()), (&role, Some("LOG_GROUP")));
    assert_eq!(found[3].want, plain_secret("registry-login"));
    assert_eq!(needs(&json!({})), []);
}

#[test]
fn an_arn_tells_what_to_ask_whom_for() {
    let region = || Some("eu-west-1".to_owned());
    let secret = |key: Option<&str>, stage: Option<&str>, version: Option<&str>| Want::Secret {
        id: SECRET.to_owned(),
        region: region(),
        key: key.map(str::to_owned),
        stage: stage.map(str::to_owned),
        version: version.map(str::to_owned),
    };
    assert_eq!(of_one_secret(SECRET), secret(None, None, None));
    assert_eq!(of_one_secret(&format!("{SECRET}:user::")), secret(Some("user"), None, None));
    assert_eq!(of_one_secret(&format!("{SECRET}::AWSPREVIOUS:")), secret(None, Some("AWSPREVIOUS"), None));
    assert_eq!(of_one_secret(&format!("{SECRET}:user::v-1")), secret(Some("user"), None, Some("v-1")));
    let parameter = |names: &[&str]| Want::Parameter {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        region: region(),
        account: Some(ACCOUNT.to_owned()),
    };
    let arn = "arn:aws:ssm:eu-west-1:123456789012:parameter";
    assert_eq!(of_one_secret(&format!("{arn}/shop/password")), parameter(&["/shop/password"]));
    assert_eq!(of_one_secret(&format!("{arn}/password:3")), parameter(&["password", "/password"]));
    let plain = |name: &str| Want::Parameter { names: vec![name.to_owned()], region: None, account: None };
    assert_eq!(of_one_secret("/password"), plain("/password"));
    for other in ["arn:aws:s3:::bucket/key", "arn:aws:ssm:eu-west-1:123456789012:document/x", "arn:"] {
        assert_eq!(of_one_secret(other), Want::Other);
    }
}

#[test]
fn a_role_is_trusted_by_whom_its_policy_names_and_a_deny_wins() {
    let condition = json!({"StringEquals": {"aws:SourceAccount": ACCOUNT}});
    let allow = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": TASKS}});
    let with = |mut statement: Value, field: &str, value: Value| {
        statement[field] = value;
        statement
    };
    let deny = with(allow.clone(), "Effect", json!("Deny"));
    let conditional = with(allow.clone(), "Condition", condition.clone());
    let cases = [
        (json!(allow), Trust::Yes),
        (json!([allow]), Trust::Yes),
        (json!([with(allow.clone(), "Action", json!(["sts:TagSession", "sts:assumerole"]))]), Trust::Yes),
        (
            json!([with(allow.clone(), "Principal", json!({"Service": ["lambda.amazonaws.com", TASKS]}))]),
            Trust::Yes,
        ),
        (json!([with(allow.clone(), "Principal", json!("*"))]), Trust::Yes),
        (json!([with(allow.clone(), "Condition", json!({}))]), Trust::Yes),
        (json!([conditional]), Trust::Conditional),
        (json!([conditional, allow]), Trust::Yes),
        (json!([allow, with(deny.clone(), "Condition", condition)]), Trust::Conditional),
        (json!([allow, deny]), Trust::No),
        (json!([deny]), Trust::No),
        (json!([with(allow.clone(), "Principal", json!({"Service": "ec2.amazonaws.com"}))]), Trust::No),
        (json!([with(allow.clone(), "Principal", json!({"AWS": TASKS}))]), Trust::No),
        (json!([with(allow.clone(), "Action", json!("sts:TagSession"))]), Trust::No),
        (json!([]), Trust::No),
    ];
    for (statements, expected) in cases {
        assert_eq!(trust(&json!({"Statement": statements}), TASKS), expected, "{statements}");
    }
    assert_eq!(trust(&json!({}), TASKS), Trust::No);
}

/// One of each; the names say what there is. Keeps what it is asked for.
#[derive(Default)]
struct Here {
    asked: Mutex<Vec<String>>,
}

fn fails(name: &str) -> Result<(), CallError> {
    let fault = match name {
        "denied" => CallFault::Denied,
        "silent" => CallFault::Unknown,
        _ => return Ok(()),
    };
    Err(CallError { what: format!("ask for `{name}`"), fault, source: "no".into() })
}

#[async_trait]
impl Needs for Here {
    async fn role(&self, name: &str) -> Result<Option<Role>, CallError> {
        self.asked.lock().unwrap().push(name.to_owned());
        if name == "slow" {
            std::future::pending::<()>().await;
        }
        fails(name)?;
        let principal = if name == "stranger" { "ec2.amazonaws.com" } else { TASKS };
        let statement =
            json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": principal}});
        let arn = format!("arn:aws:iam::{ACCOUNT}:role/service/{name}");
        Ok((name != "absent").then(|| Role { arn, trust: json!({"Statement": [statement]}) }))
    }

    async fn secret(&self, id: &str, _: Option<&str>) -> Result<Option<Secret>, CallError> {
        fails(id)?;
        let stages = if id == "empty" {
            vec![]
        } else {
            vec![("v-1".to_owned(), BTreeSet::from([CURRENT.to_owned()]))]
        };
        Ok((id != "absent")
            .then(|| Secret { deleted: id == "deleted", versions: stages.into_iter().collect() }))
    }

    async fn parameter(&self, names: &[String], _: Option<&str>) -> Result<bool, CallError> {
        self.asked.lock().unwrap().extend(names.iter().cloned());
        Ok(names[0] != "absent")
    }

    async fn log_group(&self, name: &str, _: Option<&str>) -> Result<bool, CallError> {
        Ok(name != "absent")
    }
}

async fn state_of(here: &Here, want: Want) -> State {
    let need = Need { want, name: "x".to_owned(), places: Vec::new(), hole: None };
    let mut answered = survey(here, vec![need], ACCOUNT).await;
    answered.remove(0).state
}

/// The state's name and sentence.
fn shown(state: &State) -> (&'static str, &str) {
    match state {
        State::There(why) => ("there", why),
        State::Missing(why) => ("missing", why),
        State::Unfit(why) => ("unfit", why),
        State::Denied(why) => ("denied", why),
        State::Unknown(why) => ("unknown", why),
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_apart_from_what_nobody_could_tell() {
    let here = Here::default();
    let role = |name: &str| Want::Role { name: name.to_owned(), arn: None };
    let cases = [
        ("task", "there"),
        ("absent", "missing"),
        ("stranger", "unfit"),
        ("denied", "denied"),
        ("silent", "unknown"),
    ];
    for (name, expected) in cases {
        let state = state_of(&here, role(name)).await;
        assert_eq!(shown(&state).0, expected, "{name}: {state:?}");
    }
    let elsewhere =
        Want::Role { name: "task".to_owned(), arn: Some("arn:aws:iam::210987654321:role/task".to_owned()) };
    assert_eq!(shown(&state_of(&here, elsewhere).await).0, "unfit");
    let cases = [
        ("kafka", "there"),
        ("absent", "missing"),
        ("deleted", "unfit"),
        ("empty", "unfit"),
        ("denied", "denied"),
    ];
    for (id, expected) in cases {
        let state = state_of(&here, plain_secret(id)).await;
        assert_eq!(shown(&state).0, expected, "{id}: {state:?}");
    }
    let version = |stage: Option<&str>, version: Option<&str>| Want::Secret {
        id: "kafka".to_owned(),
        region: None,
        key: Some("user".to_owned()),
        stage: stage.map(str::to_owned),
        version: version.map(str::to_owned),
    };
    let state = state_of(&here, version(None, Some("v-1"))).await;
    assert!(shown(&state).0 == "there" && shown(&state).1.contains("`user`"), "{state:?}");
    assert_eq!(shown(&state_of(&here, version(None, Some("v-2"))).await).0, "unfit");
    assert_eq!(shown(&state_of(&here, version(Some("AWSPREVIOUS"), None)).await).0, "unfit");
    let group =
        |name: &str, made_at_start| Want::LogGroup { name: name.to_owned(), region: None, made_at_start };
    assert_eq!(shown(&state_of(&here, group("here", false)).await).0, "there");
    assert_eq!(shown(&state_of(&here, group("absent", false)).await).0, "missing");
    assert_eq!(shown(&state_of(&here, group("absent", true)).await).0, "there");
    assert_eq!(shown(&state_of(&here, Want::Other).await).0, "unknown");
}

#[tokio::test]
async fn a_parameter_of_another_account_is_not_looked_for_in_this_one() {
    let here = Here::default();
    let of = |account: &str| parameter("/password", Some("eu-west-1".to_owned()), Some(account.to_owned()));
    assert_eq!(shown(&state_of(&here, of("210987654321")).await).0, "unknown");
    assert_eq!(*here.asked.lock().unwrap(), Vec::<String>::new());
    assert_eq!(shown(&state_of(&here, of(ACCOUNT)).await).0, "there");
    assert_eq!(*here.asked.lock().unwrap(), ["password", "/password"]);
}

#[tokio::test(start_paused = true)]
async fn questions_without_an_answer_end_in_time_and_keep_no_other_from_being_asked() {
    let here = Here::default();
    let role = |name: &str| Need {
        want: Want::Role { name: name.to_owned(), arn: None },
        name: name.to_owned(),
        places: Vec::new(),
        hole: None,
    };
    let names: Vec<&str> = ["slow"; AT_ONCE - 1].into_iter().chain(["first", "last"]).collect();
    let answered = survey(&here, names.iter().copied().map(role).collect(), ACCOUNT).await;
    let told: Vec<(&str, &str)> =
        answered.iter().map(|answered| (answered.need.name.as_str(), shown(&answered.state).0)).collect();
    let mut expected = vec![("slow", "unknown"); AT_ONCE - 1];
    expected.extend([("first", "there"), ("last", "there")]);
    assert_eq!(told, expected);
}
