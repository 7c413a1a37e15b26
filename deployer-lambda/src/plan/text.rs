//! Text: a plan as a person reads it, and as a golden test keeps it: one sign a line.
//!
//! `+` is new, `~` changes, `-` may not any more, `=` stays; then why, what comes next, and how it is undone.
//! Neighbours: plan. Pure.

use std::fmt::Write as _;

use super::Plan;
use crate::journal::{Action, Journal, Record};
use crate::observe::facts::Observed;
use crate::release::{Digest, ReleaseId};

/// The plan, in a few lines.
pub fn text(plan: &Plan, observed: &Observed) -> String {
    let blank = Journal::default();
    let journal = plan.journal.as_ref().unwrap_or(&blank);
    let decision = &plan.decision;
    let mut text = match &plan.action {
        Some(action) => change(action, journal, observed),
        None => format!("= {}", decision.what),
    };
    let mut add = |sign: &str, words: &str| {
        if !words.is_empty() {
            // Writing into a String never fails.
            let _ = write!(text, "\n{sign} {words}");
        }
    };
    add("  because:", &decision.why);
    add("  then:", &decision.next);
    add("? undo:", decision.undo.as_deref().unwrap_or_default());
    text
}

fn change(action: &Action, journal: &Journal, observed: &Observed) -> String {
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
    let shown = |digest: &Digest| format!("@sha256:{}", digest.short());
    let current = journal.current.as_ref().filter(|current| *current != release).and_then(digest);
    match (current, digest(release)) {
        (Some(from), Some(to)) if from == to => format!("   image {}", shown(to)),
        (Some(from), Some(to)) => format!("   image {} -> {}", shown(from), shown(to)),
        (None, Some(to)) => format!("   image {}", shown(to)),
        (_, None) => String::new(),
    }
}
