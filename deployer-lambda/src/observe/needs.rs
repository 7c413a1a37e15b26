//! Needs: what tasks need beside their image, read from the rendered task definition, and whether it is there.
//!
//! Order: first what is needed, as data; then each is asked for once, however often it is named. What could not be asked
//! is *unknown* or *denied*, never missing.
//! Neighbours: ports before it; command tells it. Only `verify` asks: a look without a person never does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::Value;

use super::ports::{CallError, CallFault, Needs};

/// Asked at the same time: `ssm:DescribeParameters` is throttled early.
const AT_ONCE: usize = 4;
/// For all questions together. A person waits, and Lambda's time is bounded.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Who runs the tasks.
pub const TASKS: &str = "ecs-tasks.amazonaws.com";
/// The stage of a secret that ECS takes where none is named.
const CURRENT: &str = "AWSCURRENT";

/// One thing that is to be there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Need {
    pub want: Want,
    /// As the task definition names it.
    pub name: String,
    /// Where in the task definition.
    pub places: Vec<String>,
    /// The hole of the template that this name fills, if it fills one.
    pub hole: Option<String>,
}

/// What it is, in the words of the call that tells.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Want {
    /// `arn`: where it was named by one.
    Role { name: String, arn: Option<String> },
    Secret {
        /// Name or ARN, without what ECS may put behind an ARN.
        id: String,
        region: Option<String>,
        /// A key of the JSON in it.
        key: Option<String>,
        stage: Option<String>,
        version: Option<String>,
    },
    /// An ARN does not tell whether the name begins with a slash.
    Parameter { names: Vec<String>, region: Option<String>, account: Option<String> },
    /// `made_at_start`: the task makes it where it is missing.
    LogGroup { name: String, region: Option<String>, made_at_start: bool },
    /// Neither a secret's nor a parameter's ARN.
    Other,
}

/// A role, as IAM tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    pub arn: String,
    /// Who may assume it: a policy document.
    pub trust: Value,
}

/// A secret, without its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Secret {
    /// Or scheduled for it: it cannot be read any more.
    pub deleted: bool,
    /// Its versions and their stages.
    pub versions: BTreeMap<String, BTreeSet<String>>,
}

/// A need, and what was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answered {
    pub need: Need,
    pub state: State,
}

/// What was found; each with a sentence for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    There(String),
    /// AWS says that there is none.
    Missing(String),
    /// It is there, and tasks cannot use it.
    Unfit(String),
    /// The deployer's role may not ask.
    Denied(String),
    /// Nobody could tell.
    Unknown(String),
}

/// What a rendered task definition needs, in the order of its text. `fills`: the templates' holes and what filled them.
pub fn needs_of(task_definition: &Value, fills: &BTreeMap<String, String>) -> Vec<Need> {
    let mut found = Found { needs: Vec::new(), fills };
    for field in ["taskRoleArn", "executionRoleArn"] {
        if let Some(role) = text(task_definition, field) {
            let name = role.rsplit('/').next().unwrap_or(role).to_owned();
            let arn = role.starts_with("arn:").then(|| role.to_owned());
            found.add(Want::Role { name, arn }, role, field.to_owned());
        }
    }
    for (at, container) in list(task_definition, "containerDefinitions").enumerate() {
        let number = at.to_string();
        let path = format!("containerDefinitions[{}]", text(container, "name").unwrap_or(&number));
        found.secrets(container, "secrets", &path);
        if let Some(secret) =
            container.get("repositoryCredentials").and_then(|it| text(it, "credentialsParameter"))
        {
            // ECS takes only Secrets Manager's here, by name or ARN.
            let want = if secret.starts_with("arn:") { by_arn(secret) } else { plain_secret(secret) };
            found.add(want, secret, format!("{path}.repositoryCredentials.credentialsParameter"));
        }
        let Some(log) = container.get("logConfiguration") else { continue };
        found.secrets(log, "secretOptions", &format!("{path}.logConfiguration"));
        let options = log.get("options").filter(|_| text(log, "logDriver") == Some("awslogs"));
        if let Some((options, group)) =
            options.and_then(|options| Some((options, text(options, "awslogs-group")?)))
        {
            let want = Want::LogGroup {
                name: group.to_owned(),
                region: text(options, "awslogs-region").map(str::to_owned),
                made_at_start: text(options, "awslogs-create-group") == Some("true"),
            };
            found.add(want, group, format!("{path}.logConfiguration.options.awslogs-group"));
        }
    }
    found.needs
}

struct Found<'f> {
    needs: Vec<Need>,
    fills: &'f BTreeMap<String, String>,
}

impl Found<'_> {
    fn add(&mut self, want: Want, name: &str, place: String) {
        if let Some(known) = self.needs.iter_mut().find(|need| need.want == want && need.name == name) {
            known.places.push(place);
            return;
        }
        let hole = self.fills.iter().find(|(_, value)| *value == name).map(|(hole, _)| hole.clone());
        self.needs.push(Need { want, name: name.to_owned(), places: vec![place], hole });
    }

    fn secrets(&mut self, holder: &Value, field: &str, path: &str) {
        for (at, secret) in list(holder, field).enumerate() {
            let Some(from) = text(secret, "valueFrom") else { continue };
            let number = at.to_string();
            let name = text(secret, "name").unwrap_or(&number);
            let want = if from.starts_with("arn:") { by_arn(from) } else { parameter(from, None, None) };
            self.add(want, from, format!("{path}.{field}[{name}].valueFrom"));
        }
    }
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// `arn:aws:secretsmanager:<region>:<account>:secret:<name>[:<key>:<stage>:<version>]` or
/// `arn:aws:ssm:<region>:<account>:parameter/<name>`. Source: "Pass sensitive data to an Amazon ECS container".
fn by_arn(arn: &str) -> Want {
    let parts: Vec<&str> = arn.split(':').collect();
    let part = |at: usize| parts.get(at).filter(|part| !part.is_empty()).map(|part| (*part).to_owned());
    match parts.as_slice() {
        [_, _, "secretsmanager", _, _, "secret", _, ..] => Want::Secret {
            id: parts[..7].join(":"),
            region: part(3),
            key: part(7),
            stage: part(8),
            version: part(9),
        },
        [_, _, "ssm", _, _, path, ..] if path.starts_with("parameter/") => {
            parameter(&path["parameter".len()..], part(3), part(4))
        }
        _ => Want::Other,
    }
}

fn plain_secret(name: &str) -> Want {
    Want::Secret { id: name.to_owned(), region: None, key: None, stage: None, version: None }
}

/// `/name` is asked for as `name` as well: their ARNs are the same.
fn parameter(name: &str, region: Option<String>, account: Option<String>) -> Want {
    // A colon begins a version or a label; names have none.
    let name = name.split(':').next().unwrap_or(name);
    let names = match name.strip_prefix('/') {
        Some(bare) if account.is_some() && !bare.contains('/') => vec![bare.to_owned(), name.to_owned()],
        Some(_) | None => vec![name.to_owned()],
    };
    Want::Parameter { names, region, account }
}

/// Asks for each. `account` is the deployer's, where its role and parameters are.
pub async fn survey(port: &dyn Needs, needs: Vec<Need>, account: &str) -> Vec<Answered> {
    let over = tokio::time::sleep(TIME_MAX).shared();
    let ask = |need: Need| {
        let over = over.clone();
        async move {
            let state = tokio::select! {
                biased;
                state = look(port, &need.want, account) => state,
                () = over => State::Unknown(format!("no time was left: {} s are for all", TIME_MAX.as_secs())),
            };
            Answered { need, state }
        }
    };
    stream::iter(needs).map(ask).buffered(AT_ONCE).collect().await
}

async fn look(port: &dyn Needs, want: &Want, account: &str) -> State {
    let state = match want {
        Want::Role { name, arn } => {
            port.role(name).await.map(|role| role.map_or_else(absent, |role| of_role(&role, arn.as_deref())))
        }
        Want::Secret { id, region, key, stage, version } => port
            .secret(id, region.as_deref())
            .await
            .map(|secret| secret.map_or_else(absent, |secret| of_secret(&secret, key, stage, version))),
        Want::Parameter { account: Some(other), .. } if other != account => Ok(State::Unknown(format!(
            "it is in account {other}, and SSM tells only of the deployer's own, {account}"
        ))),
        Want::Parameter { names, region, .. } => port
            .parameter(names, region.as_deref())
            .await
            .map(|there| if there { State::There("it is there".to_owned()) } else { absent() }),
        Want::LogGroup { name, region, made_at_start } => {
            port.log_group(name, region.as_deref()).await.map(|there| match (there, made_at_start) {
                (true, _) => State::There("it is there".to_owned()),
                (false, false) => absent(),
                (false, true) => State::There(
                    "the first task makes it, if its execution role may `logs:CreateLogGroup`".to_owned(),
                ),
            })
        }
        Want::Other => Ok(State::Unknown("it is neither a secret's ARN nor a parameter's".to_owned())),
    };
    state.unwrap_or_else(|error| unanswered(&error))
}

fn absent() -> State {
    State::Missing("AWS says that there is none".to_owned())
}

fn unanswered(error: &CallError) -> State {
    match error.fault {
        CallFault::Denied => State::Denied(error.chain()),
        CallFault::Unknown | CallFault::Throttled | CallFault::Refused => State::Unknown(error.chain()),
    }
}

fn of_role(role: &Role, arn: Option<&str>) -> State {
    if let Some(arn) = arn.filter(|arn| *arn != role.arn) {
        return State::Unfit(format!("there is {}, which is not {arn}", role.arn));
    }
    match trust(&role.trust, TASKS) {
        Trust::Yes => State::There(format!("{TASKS} may assume it")),
        Trust::Conditional => {
            State::There(format!("{TASKS} may assume it, on a condition that is not checked here"))
        }
        Trust::No => State::Unfit(format!("its trust policy does not let {TASKS} assume it")),
    }
}

fn of_secret(
    secret: &Secret,
    key: &Option<String>,
    stage: &Option<String>,
    version: &Option<String>,
) -> State {
    if secret.deleted {
        return State::Unfit("it is scheduled for deletion, and cannot be read any more".to_owned());
    }
    let has_stage = |stage: &str| secret.versions.values().any(|stages| stages.contains(stage));
    if let Some(version) = version
        && !secret.versions.contains_key(version)
    {
        return State::Unfit(format!("it has no version `{version}`"));
    }
    match stage {
        Some(stage) if !has_stage(stage) => {
            return State::Unfit(format!("none of its versions has the stage `{stage}`"));
        }
        None if version.is_none() && !has_stage(CURRENT) => {
            return State::Unfit(format!("it has no value: no version has the stage `{CURRENT}`"));
        }
        Some(_) | None => {}
    }
    State::There(match key {
        Some(key) => format!("it is there; whether it has the key `{key}` only its value would tell"),
        None => "it is there".to_owned(),
    })
}

/// Whether a role's policy lets somebody assume it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trust {
    Yes,
    /// On a condition that only a request has.
    Conditional,
    No,
}

/// Source: IAM, "Policy evaluation logic": an explicit deny wins.
fn trust(policy: &Value, service: &str) -> Trust {
    let (mut allowed, mut allowed_if, mut denied, mut denied_if) = (false, false, false, false);
    let statements = one_or_many(policy.get("Statement"));
    for statement in statements.filter(|statement| assumes(statement) && names(statement, service)) {
        let empty = |condition: &Value| condition.as_object().is_some_and(|tests| tests.is_empty());
        let on_condition = statement.get("Condition").is_some_and(|condition| !empty(condition));
        match (statement.get("Effect").and_then(Value::as_str), on_condition) {
            (Some("Allow"), false) => allowed = true,
            (Some("Allow"), true) => allowed_if = true,
            (Some("Deny"), false) => denied = true,
            (Some("Deny"), true) => denied_if = true,
            // IAM stores no other effect.
            (_, _) => {}
        }
    }
    match (allowed || allowed_if, denied) {
        (false, _) | (true, true) => Trust::No,
        (true, false) if allowed && !denied_if => Trust::Yes,
        (true, false) => Trust::Conditional,
    }
}

fn assumes(statement: &Value) -> bool {
    one_or_many(statement.get("Action")).filter_map(Value::as_str).any(|action| {
        ["sts:assumerole", "sts:*", "sts:assume*", "*"].contains(&action.to_ascii_lowercase().as_str())
    })
}

fn names(statement: &Value, service: &str) -> bool {
    let Some(principal) = statement.get("Principal") else { return false };
    principal == "*" || one_or_many(principal.get("Service")).any(|named| named == service)
}

/// IAM writes a list of one as the thing itself.
fn one_or_many(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    let many = value.and_then(Value::as_array).into_iter().flatten();
    value.filter(|value| !value.is_array()).into_iter().chain(many)
}

#[cfg(test)]
mod tests;
