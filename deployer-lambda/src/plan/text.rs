//! Text: a plan as a person reads it, and as a golden test keeps it: one sign a line.
//!
//! `+` is new, `~` changes, `-` may not any more, `=` stays; then why, what comes next, and how it is undone.
//! The log, the answers of commands and the golden tests all show this.
//! Neighbours: plan before it; report, command and reconcile show it. Pure.

use serde_json::Value;

use super::{Decision, Plan};
use crate::journal::{Action, Journal, Record};
use crate::observe::facts::Observed;
use crate::release::{Digest, ReleaseId};

/// A decision, line by line.
pub fn lines(decision: &Decision) -> Vec<String> {
    let more = [
        ("  because:", decision.why.as_str()),
        ("  then:", &decision.next),
        ("? undo:", decision.undo.as_deref().unwrap_or_default()),
    ];
    let more = more.iter().filter(|(_, words)| !words.is_empty());
    std::iter::once(decision.change.clone())
        .chain(more.map(|(sign, words)| format!("{sign} {words}")))
        .collect()
}

/// One value that differs between two releases: `~ service.deploymentConfiguration.maximumPercent: 100 -> 200`.
pub fn difference(path: &str, before: Option<&Value>, after: Option<&Value>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => format!("~ {path}: {before} -> {after}"),
        (None, Some(after)) => format!("+ {path}: {after}"),
        (Some(before), None) => format!("- {path}: {before}"),
        (None, None) => format!("= {path}: none"),
    }
}

/// From one image to the other, or that it stays.
pub fn image(from: &Digest, to: &Digest) -> String {
    if from == to {
        return format!("= image {}", shown(to));
    }
    format!("~ image {} -> {}", shown(from), shown(to))
}

/// What a plan changes, in one line.
pub(super) fn change(plan: &Plan, observed: &Observed) -> String {
    let blank = Journal::default();
    let journal = plan.journal.as_ref().unwrap_or(&blank);
    match &plan.action {
        Some(action) => call(action, journal, observed),
        None => format!("= {}", plan.decision.what),
    }
}

fn call(action: &Action, journal: &Journal, observed: &Observed) -> String {
    let service = observed.service.known().and_then(Option::as_ref);
    match action {
        Action::Register { release } => {
            format!("+ task definition for {}{}", called(journal, release), images(journal, release))
        }
        Action::Create { release, revision } => {
            format!("+ service at {}{}", revision.short(), images(journal, release))
        }
        Action::Point { release, revision, own_rollback, force } => {
            let from = service.map_or("nothing", |service| service.revision.short());
            let images = images(journal, release);
            let off = if *own_rollback { "" } else { "   ECS's own rollback off" };
            let again = if *force { "   a new deployment" } else { "" };
            format!("~ task definition {from} -> {}{images}{off}{again}", revision.short())
        }
        Action::OwnRollback { on } => {
            let word = |on: bool| if on { "on" } else { "off" };
            format!("~ ECS's own rollback {} -> {}", word(!on), word(*on))
        }
        Action::Scale { desired } => {
            let from = service.map_or(0, |service| service.desired);
            format!("~ tasks {from} -> {desired}")
        }
        Action::Delete => "- service".to_owned(),
        Action::Reject { what, .. } => format!("- {what} may not write any more"),
        Action::Release { what, .. } => format!("+ {what} may write again"),
    }
}

/// `v1.2.0`, or the release's id where its image has no tag.
fn called(journal: &Journal, release: &ReleaseId) -> String {
    let tag = journal.record(release).and_then(|record| record.tags.first());
    tag.cloned().unwrap_or_else(|| release.to_string())
}

/// From the image that runs to this one.
fn images(journal: &Journal, release: &ReleaseId) -> String {
    let digest = |release: &ReleaseId| journal.record(release).map(|record: &Record| &record.digest);
    let current = journal.current.as_ref().filter(|current| *current != release).and_then(digest);
    match (current, digest(release)) {
        (Some(from), Some(to)) if from == to => format!("   image {}", shown(to)),
        (Some(from), Some(to)) => format!("   image {} -> {}", shown(from), shown(to)),
        (None, Some(to)) => format!("   image {}", shown(to)),
        (_, None) => String::new(),
    }
}

fn shown(digest: &Digest) -> String {
    format!("@sha256:{}", digest.short())
}
