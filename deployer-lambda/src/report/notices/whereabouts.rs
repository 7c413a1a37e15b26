//! Whereabouts: where people are to look, and the commands they type there.
//!
//! Neighbours: notices. Pure.

use serde_json::{Value, json};

use super::{End, bare};
use crate::clock::rfc3339;
use crate::event::Place;

/// Where things are to be looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Whereabouts {
    pub pipeline: String,
    /// The Lambda function's name, for the commands to type.
    pub function: String,
    pub place: Place,
    pub logs: Option<Logs>,
}

/// Where the worker's container logs to, by the awslogs driver.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logs {
    pub group: String,
    /// `<awslogs-stream-prefix>/<container>`; a task's stream is this, a slash and the task's id.
    pub stream_prefix: String,
}

impl Logs {
    /// Of the first container of a rendered task definition; none where it does not log to CloudWatch.
    pub fn of(task_definition: &Value) -> Option<Logs> {
        let container = task_definition.pointer("/containerDefinitions/0")?;
        let options = container.pointer("/logConfiguration/options")?;
        let text = |from: &Value, name: &str| from.get(name).and_then(Value::as_str).map(str::to_owned);
        let (prefix, name) = (text(options, "awslogs-stream-prefix")?, text(container, "name")?);
        Some(Logs { group: text(options, "awslogs-group")?, stream_prefix: format!("{prefix}/{name}") })
    }
}

impl Whereabouts {
    pub(super) fn status(&self) -> String {
        self.command("read", &json!({"command": "status"}))
    }

    pub(super) fn who_updated(&self) -> String {
        format!(
            "aws cloudtrail lookup-events --region {} --max-results 10 \
             --lookup-attributes AttributeKey=EventName,AttributeValue=UpdateService",
            self.place.region
        )
    }

    /// A command as it is typed into a shell.
    pub(super) fn command(&self, alias: &str, payload: &Value) -> String {
        format!(
            "aws lambda invoke --region {} --function-name {} --qualifier {alias} \
             --cli-binary-format raw-in-base64-out --payload '{payload}' /dev/stdout",
            self.place.region, self.function
        )
    }
}

/// ECS's page and the logs.
pub(super) fn looks(at: &Whereabouts, end: Option<End<'_>>) -> Vec<String> {
    let place = &at.place;
    let mut looks = vec![format!(
        "the service: https://{}/ecs/v2/clusters/{}/services/{}/deployments?region={}",
        console(&place.region),
        place.cluster_name(),
        place.service_name(),
        place.region
    )];
    if let Some(logs) = &at.logs {
        let stream = match end {
            Some(end) => format!("{}/{}", logs.stream_prefix, end.task),
            None => logs.stream_prefix.clone(),
        };
        looks.push(format!("its log: group {}, stream {stream}", logs.group));
        looks.push(format!(
            "the same as text: aws logs tail {} --region {} --since 1h --log-stream-name-prefix {stream}",
            logs.group, place.region
        ));
    }
    looks
}

pub(super) fn console(region: &str) -> String {
    let domain = match region.split('-').next() {
        Some("cn") => "console.amazonaws.cn",
        _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    format!("{region}.{domain}")
}

/// How a task ended, as a sentence with a space before it.
pub(super) fn ended(end: Option<End<'_>>) -> String {
    let Some(End { task, stop }) = end else { return String::new() };
    let mut said = format!(" Task {task} stopped at {}", rfc3339(stop.at));
    if let Some(code) = stop.exit_code {
        said.push_str(&format!(" with exit code {code}{}", exit_code(code)));
    }
    for words in [&stop.reason, &stop.container_reason] {
        if !words.is_empty() {
            said.push_str(&format!("; ECS says: {}", bare(words)));
        }
    }
    said.push('.');
    said
}

/// README's table of the worker's exit codes, in a few words.
fn exit_code(code: i32) -> &'static str {
    match code {
        0 => " (it left by itself)",
        64 => " (its command line is wrong)",
        65 => " (it refused the data, or is rejected)",
        66 => " (no such topic, or not the one that the ledger knows)",
        69 => " (Kafka or S3 cannot be reached)",
        70 => " (a bug)",
        75 => " (a passing fault that did not pass)",
        77 => " (Kafka or S3 denied it)",
        78 => " (its settings or schema are wrong)",
        137 => " (killed: out of memory, or it did not stop in time)",
        139 => " (it crashed: segmentation fault)",
        143 => " (it was told to stop)",
        _ => "",
    }
}
