//! Event: what woke us: a hint that something changed, or a person's command.
//!
//! Order: parsed once, at the edge; only the fields that are used. A hint decides nothing: it is a reason to look.
//! Neighbours: settings before it (whose account, region, repository); observe after it. Pure.

use serde::{Deserialize, Serialize};

use crate::release::Digest;

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
