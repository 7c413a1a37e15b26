//! Parse: from an invocation's payload to what it asks of us.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::shapes::{AlarmChange, Envelope, ImageAction, ImageScan, ServiceChange, TaskChange};
use super::{Alias, Command, EventError, Hint, Place, StackRequest, Verb, Woken, last_part};
use crate::release::Digest;

/// Characters of a reason that the journal keeps.
pub const REASON_MAX: usize = 500;
/// Characters of a caller's name.
pub const BY_MAX: usize = 100;
/// Our own tags, `landfall-keep-<n>`: they say nothing new about an image.
const KEEP_PREFIX: &str = "landfall-keep-";

/// What an invocation asks for. `alias` is the invoked ARN's.
///
/// # Errors
/// The payload is nothing that we know, not ours, or not for this alias. Retrying never helps.
pub fn parse(payload: &Value, here: &Place, alias: Alias) -> Result<Woken, EventError> {
    let Value::Object(fields) = payload else {
        return Err(EventError::NotAnObject { got: kind_of(payload) });
    };
    if fields.contains_key("command") {
        return command(fields, alias).map(Woken::Command);
    }
    let woken = match StackRequest::read(payload) {
        Some(request) => Woken::Stack(request?),
        None => event(payload, fields, here)?,
    };
    if alias.takes_events() { Ok(woken) } else { Err(EventError::EventNotAllowed { alias }) }
}

fn event(payload: &Value, fields: &Map<String, Value>, here: &Place) -> Result<Woken, EventError> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let (source, detail_type) = (text("source"), text("detail-type"));
    match (source, detail_type) {
        (Some("aws.ecr"), Some(named @ ("ECR Image Action" | "ECR Replication Action"))) => {
            Event::read(named, payload, here)?.image()
        }
        (Some("aws.ecr"), Some(named @ "ECR Image Scan"))
        | (Some("aws.inspector2"), Some(named @ "Inspector2 Scan")) => {
            Event::read(named, payload, here)?.scan()
        }
        (Some("aws.ecs"), Some(named @ "ECS Deployment State Change")) => {
            let name = Event::read(named, payload, here)?.service()?;
            Ok(Woken::Hint(Hint::Deployment { name }))
        }
        (Some("aws.ecs"), Some(named @ "ECS Service Action")) => {
            let name = Event::read(named, payload, here)?.service()?;
            Ok(Woken::Hint(Hint::Service { name }))
        }
        (Some("aws.ecs"), Some(named @ "ECS Task State Change")) => Event::read(named, payload, here)?.task(),
        (Some("aws.cloudwatch"), Some(named @ "CloudWatch Alarm State Change")) => {
            let AlarmChange { alarm_name } = Event::read(named, payload, here)?.detail()?;
            Ok(Woken::Hint(Hint::Alarm { name: alarm_name }))
        }
        (Some("aws.events" | "aws.scheduler"), Some(named @ "Scheduled Event")) => {
            Event::read(named, payload, here)?;
            Ok(Woken::Hint(Hint::Schedule))
        }
        (source, detail_type) => {
            Err(EventError::UnknownEvent { source_name: shown(source), detail_type: shown(detail_type) })
        }
    }
}

/// An event of a known kind, of our account and region.
struct Event<'a> {
    named: &'a str,
    envelope: Envelope,
    here: &'a Place,
}

impl<'a> Event<'a> {
    fn read(named: &'a str, payload: &Value, here: &'a Place) -> Result<Event<'a>, EventError> {
        let envelope: Envelope = deserialize(named, payload)?;
        let event = Event { named, envelope, here };
        event.expect("account", &event.envelope.account, &here.account)?;
        event.expect("region", &event.envelope.region, &here.region)?;
        Ok(event)
    }

    fn detail<T: DeserializeOwned>(&self) -> Result<T, EventError> {
        deserialize(self.named, &self.envelope.detail)
    }

    fn expect(&self, field: &'static str, got: &str, expected: &str) -> Result<(), EventError> {
        if got == expected {
            return Ok(());
        }
        Err(EventError::WrongPlace {
            detail_type: self.named.to_owned(),
            field,
            got: clipped(got, 200),
            expected: expected.to_owned(),
        })
    }

    fn image(&self) -> Result<Woken, EventError> {
        let action: ImageAction = self.detail()?;
        self.expect("repository", &action.repository_name, &self.here.repository)?;
        let tag = action.image_tag.unwrap_or_default();
        let nothing = |why: String| Ok(Woken::Nothing { why });
        if action.result != "SUCCESS" {
            return nothing(format!("{} of an image ended as {}", action.action_type, action.result));
        }
        match action.action_type.as_str() {
            "PUSH" | "REPLICATE" => {}
            other => return nothing(format!("{other} of an image")),
        }
        if tag.starts_with(KEEP_PREFIX) {
            return nothing(format!("our own tag {tag}"));
        }
        Ok(Woken::Hint(Hint::Push { digest: self.digest(&action.image_digest)?, tag }))
    }

    fn scan(&self) -> Result<Woken, EventError> {
        let scan: ImageScan = self.detail()?;
        // Inspector names `arn:aws:ecr:<region>:<account>:repository/<name>`; names may have slashes.
        let name = match scan.repository_name.split_once(":repository/") {
            Some((_, name)) => name,
            None => &scan.repository_name,
        };
        self.expect("repository", name, &self.here.repository)?;
        Ok(Woken::Hint(Hint::Scan { digest: self.digest(&scan.image_digest)? }))
    }

    fn service(&self) -> Result<String, EventError> {
        let change: ServiceChange = self.detail()?;
        let resource = self.envelope.resources.iter().find_map(|arn| arn.split_once(":service/"));
        let Some((_, named)) = resource else {
            return Err(self.malformed("no ARN of a service in `resources`"));
        };
        // ARNs of before 2018 have no cluster in them.
        let cluster = named.rsplit_once('/').map(|(cluster, _)| cluster);
        if let Some(cluster) = cluster.or(change.cluster_arn.as_deref()) {
            self.expect("cluster", last_part(cluster), self.here.cluster_name())?;
        }
        self.expect("service", last_part(named), self.here.service_name())?;
        Ok(change.event_name)
    }

    fn task(&self) -> Result<Woken, EventError> {
        let change: TaskChange = self.detail()?;
        self.expect("cluster", last_part(&change.cluster_arn), self.here.cluster_name())?;
        let group = change.group.unwrap_or_default();
        self.expect("service", group.strip_prefix("service:").unwrap_or("none"), self.here.service_name())?;
        Ok(Woken::Hint(Hint::Task))
    }

    fn digest(&self, text: &str) -> Result<Digest, EventError> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest {
            Ok(Digest::from(text))
        } else {
            Err(self.malformed(&format!("`image-digest` is `{}`, no sha256 digest", clipped(text, 100))))
        }
    }

    fn malformed(&self, fault: &str) -> EventError {
        EventError::Malformed { detail_type: self.named.to_owned(), fault: fault.to_owned() }
    }
}

fn command(fields: &Map<String, Value>, alias: Alias) -> Result<Command, EventError> {
    let name = match fields.get("command") {
        Some(Value::String(name)) => name.clone(),
        Some(other) => return Err(EventError::UnknownCommand { got: clipped(&other.to_string(), 100) }),
        None => return Err(EventError::UnknownCommand { got: "none".to_owned() }),
    };
    if !Verb::NAMES.contains(&name.as_str()) {
        return Err(EventError::UnknownCommand { got: clipped(&name, 100) });
    }
    let malformed = |fault: String| EventError::MalformedCommand { command: name.clone(), fault };
    let mut rest = fields.clone();
    let by = match rest.remove("by") {
        None => alias.name().to_owned(),
        Some(Value::String(by)) if !by.trim().is_empty() => by.trim().to_owned(),
        Some(_) => return Err(malformed("`by` is to be your name".to_owned())),
    };
    let verb: Verb =
        serde_json::from_value(Value::Object(rest)).map_err(|error| malformed(error.to_string()))?;
    if by.chars().count() > BY_MAX {
        return Err(malformed(format!("`by` has more than {BY_MAX} characters")));
    }
    check_words(&verb).map_err(malformed)?;
    if !alias.allows(verb.needs()) {
        return Err(EventError::CommandNotAllowed { alias, command: verb.name(), needed: verb.needs() });
    }
    Ok(Command { verb, by })
}

/// What people wrote goes into the journal and into mails: it is there, and not too long.
fn check_words(verb: &Verb) -> Result<(), String> {
    let (reason, what) = match verb {
        Verb::Status {}
        | Verb::History { .. }
        | Verb::Plan {}
        | Verb::Unpin {}
        | Verb::Start {}
        | Verb::Unfreeze {} => (None, None),
        Verb::Diff { what } | Verb::Verify { what } | Verb::Pin { what } => (None, what.as_ref()),
        Verb::Deploy { what } | Verb::Approve { what } => (None, Some(what)),
        Verb::Rollback { to, reason, .. } => (Some(reason), to.as_ref()),
        Verb::Reject { what, reason } | Verb::Release { what, reason } => (Some(reason), Some(what)),
        Verb::Stop { reason } | Verb::Freeze { reason, .. } => (Some(reason), None),
    };
    if reason.is_some_and(|reason| reason.trim().is_empty()) {
        return Err("`reason` is empty: a sentence for whoever reads it later".to_owned());
    }
    if reason.is_some_and(|reason| reason.chars().count() > REASON_MAX) {
        return Err(format!("`reason` has more than {REASON_MAX} characters"));
    }
    if what.is_some_and(|what| what.trim().is_empty()) {
        return Err("it names no image: a tag, a digest, or at least six digits of a release id".to_owned());
    }
    Ok(())
}

fn deserialize<T: DeserializeOwned>(named: &str, value: &Value) -> Result<T, EventError> {
    T::deserialize(value)
        .map_err(|error| EventError::Malformed { detail_type: named.to_owned(), fault: error.to_string() })
}

fn shown(text: Option<&str>) -> String {
    text.map_or_else(|| "none".to_owned(), |text| format!("`{}`", clipped(text, 100)))
}

/// Errors are logged: a stranger's text in them is bounded.
fn clipped(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
