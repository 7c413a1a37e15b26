//! Event: what woke us: a hint that something changed, or a person's command.
//!
//! Order: parsed once, at the edge; only the fields that are used. A hint decides nothing: it is a reason to look.
//! Whose it is comes first (account, region, repository, service), then whether the alias may: a refusal never asks
//! AWS anything.
//! Neighbours: settings before it (whose account, region, repository); observe after it. Pure.

mod alias;
mod parse;
mod shapes;
mod stack;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use alias::Alias;
pub use parse::{BY_MAX, REASON_MAX, parse};
pub use stack::{Sender, StackChange, StackRequest};

use crate::release::Digest;

/// What this deployer looks after. Cluster and service by name or ARN.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    pub account: String,
    pub region: String,
    pub repository: String,
    pub cluster: String,
    pub service: String,
}

impl Place {
    pub fn cluster_name(&self) -> &str {
        last_part(&self.cluster)
    }

    pub fn service_name(&self) -> &str {
        last_part(&self.service)
    }
}

/// `arn:aws:ecs:…:service/cluster/shop` and `shop` are both `shop`.
fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// What an invocation is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Woken {
    Hint(Hint),
    Command(Command),
    /// CloudFormation: the stack that this deployer belongs to is created, updated or deleted.
    Stack(StackRequest),
    /// Well-formed and ours, but no reason to look: a deleted image, a push that did not succeed, our own tag.
    Nothing {
        why: String,
    },
}

impl Woken {
    /// For logs, in a few words.
    pub fn named(&self) -> String {
        match self {
            Woken::Hint(hint) => hint.named(),
            Woken::Command(command) => format!("command `{}` by {}", command.verb.name(), command.by),
            Woken::Stack(request) => format!("{} of the stack", request.change.word()),
            Woken::Nothing { why } => format!("nothing: {why}"),
        }
    }
}

/// Why an invocation is refused. The event is at fault, not we: it is answered and never retried.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    #[error(
        "the payload is {got}: send an EventBridge event, or a command such as `{{\"command\": \"status\"}}`"
    )]
    NotAnObject { got: &'static str },
    #[error(
        "no event that is known: source {source_name}, detail-type {detail_type}; expected one of {KNOWN_EVENTS}, \
         or a command such as `{{\"command\": \"status\"}}`"
    )]
    UnknownEvent { source_name: String, detail_type: String },
    #[error("read the event `{detail_type}`: {fault}")]
    Malformed { detail_type: String, fault: String },
    #[error(
        "the event `{detail_type}` is of {field} `{got}`: this deployer looks after {field} `{expected}`"
    )]
    WrongPlace { detail_type: String, field: &'static str, got: String, expected: String },
    #[error("no command `{got}`: expected one of {}", Verb::NAMES.join(", "))]
    UnknownCommand { got: String },
    #[error("read the command `{command}`: {fault}")]
    MalformedCommand { command: String, fault: String },
    #[error("the alias `{alias}` may not `{command}`: invoke the function's alias `{needed}`")]
    CommandNotAllowed { alias: Alias, command: &'static str, needed: Alias },
    #[error("the alias `{alias}` takes no events: send them to the function's alias `events`")]
    EventNotAllowed { alias: Alias },
}

const KNOWN_EVENTS: &str = "`ECR Image Action`, `ECR Replication Action`, `ECR Image Scan` (aws.ecr), `Inspector2 Scan` \
    (aws.inspector2), `ECS Deployment State Change`, `ECS Service Action`, `ECS Task State Change` (aws.ecs), \
    `CloudWatch Alarm State Change` (aws.cloudwatch), `Scheduled Event` (aws.events, aws.scheduler)";

impl EventError {
    /// For machines: closed, and never given a new meaning.
    pub fn kind(&self) -> &'static str {
        match self {
            EventError::NotAnObject { .. } => "not-an-object",
            EventError::UnknownEvent { .. } => "unknown-event",
            EventError::Malformed { .. } => "malformed-event",
            EventError::WrongPlace { .. } => "wrong-place",
            EventError::UnknownCommand { .. } => "unknown-command",
            EventError::MalformedCommand { .. } => "malformed-command",
            EventError::CommandNotAllowed { .. } | EventError::EventNotAllowed { .. } => "not-allowed",
        }
    }
}

/// Why we look.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hint {
    /// `ECR Image Action`, PUSH. Tag empty for children, attestations and pushes by digest.
    Push {
        digest: Digest,
        tag: String,
    },
    /// `ECR Image Scan`.
    Scan {
        digest: Digest,
    },
    /// `ECS Deployment State Change`.
    Deployment {
        name: String,
    },
    /// `ECS Service Action`.
    Service {
        name: String,
    },
    /// `ECS Task State Change`.
    Task,
    /// `CloudWatch Alarm State Change`.
    Alarm {
        name: String,
    },
    Schedule,
}

impl Hint {
    /// For logs, in a few words.
    pub fn named(&self) -> String {
        match self {
            Hint::Push { digest, tag } if tag.is_empty() => format!("push of {}", digest.short()),
            Hint::Push { digest, tag } => format!("push of {tag} ({})", digest.short()),
            Hint::Scan { digest } => format!("scan of {}", digest.short()),
            Hint::Deployment { name } | Hint::Service { name } => name.clone(),
            Hint::Task => "a task of the service changed".to_owned(),
            Hint::Alarm { name } => format!("alarm {name}"),
            Hint::Schedule => "the schedule".to_owned(),
        }
    }
}

/// What a person asked for, and who.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Command {
    pub verb: Verb,
    /// As the caller names himself; else the alias.
    pub by: String,
}

/// The commands. `what` names an image or release as a person does: a tag, a digest, or a release id or the start of
/// one of at least six digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verb {
    Status {},
    History {
        #[serde(default)]
        limit: Option<usize>,
    },
    /// What differs between the running release and the desired one.
    Diff {
        #[serde(default)]
        what: Option<String>,
    },
    /// What the next step would be.
    Plan {},
    /// Whether an image could be released: there, of the right CPU, roles, secrets and log group there.
    Verify {
        #[serde(default)]
        what: Option<String>,
    },
    /// Releases this image, an older one too; an older one is pinned.
    Deploy {
        what: String,
    },
    Pin {
        #[serde(default)]
        what: Option<String>,
    },
    Unpin {},
    /// Leaves what runs, rejecting it. `expect`: refuses when something else runs. `to`: else the newest proven.
    Rollback {
        #[serde(default)]
        to: Option<String>,
        #[serde(default)]
        expect: Option<String>,
        reason: String,
    },
    Approve {
        what: String,
    },
    Reject {
        what: String,
        reason: String,
    },
    /// Takes a rejection back.
    Release {
        what: String,
        reason: String,
    },
    Stop {
        reason: String,
    },
    Start {},
    Freeze {
        #[serde(default)]
        until: Option<String>,
        reason: String,
    },
    Unfreeze {},
}

impl Verb {
    pub const NAMES: [&'static str; 16] = [
        "status", "history", "diff", "plan", "verify", "deploy", "pin", "unpin", "rollback", "approve",
        "reject", "release", "stop", "start", "freeze", "unfreeze",
    ];
}
