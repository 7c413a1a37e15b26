//! Intent: what to do about a call that was announced and is not known to be over.
//!
//! Order: a call that shows in what was observed is over; a young one is somebody's, who may be at it; an old one is
//! nobody's: it is dropped, and what is right now is planned afresh.
//! Neighbours: draft. Pure.

use super::draft::Draft;
use super::{Facts, Inputs, Skip, Step, Tally};
use crate::journal::{Action, Intent};
use crate::judge::SKEW_MS;
use crate::release::Moment;

/// For so long an announced call belongs to who announced it: longer than a Lambda of ours may run, its calls' time
/// limits included.
pub const LEASE_MS: i64 = 180_000;

pub(super) fn step(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) -> Step {
    let Some(intent) = draft.journal.intent.clone() else {
        undo_refused(draft);
        return None;
    };
    if is_done(&intent, facts) {
        finish(draft, &intent, facts);
        return None;
    }
    if inputs.now.since_ms(intent.announced_at) < LEASE_MS {
        draft.tallies.push(Tally::Skipped(Skip::Busy));
        let why = format!("{} was announced and is being made", name(&intent.action));
        return Some(draft.nothing(
            None,
            &why,
            "whoever makes it goes on; else it is dropped after three minutes",
        ));
    }
    draft.journal.intent = None;
    undo(draft, &intent.action, intent.announced_at);
    None
}

/// What a refused call announced did not happen.
fn undo_refused(draft: &mut Draft) {
    if let Some(last) = draft.journal.last_error.clone() {
        undo(draft, &last.action, last.at);
    }
}

/// Whether what was observed shows that the call was made.
fn is_done(intent: &Intent, facts: &Facts<'_>) -> bool {
    let service = facts.service;
    match &intent.action {
        Action::Register { release } => {
            facts.revisions.iter().any(|revision| revision.release.as_ref() == Some(release))
        }
        Action::Create { .. } => service.is_some(),
        Action::Point { revision, own_rollback, force, .. } => service.is_some_and(|service| {
            let since = intent.announced_at.after_ms(-SKEW_MS);
            // Also where ECS has gone back from it since: else what it took back would be deployed again.
            let deployed = service.rollouts.iter().any(|r| r.revision == *revision && r.created_at >= since);
            let stands = service.revision == *revision && service.own_rollback == *own_rollback;
            deployed || (stands && !force)
        }),
        Action::OwnRollback { on } => service.is_none_or(|service| service.own_rollback == *on),
        Action::Scale { desired } => service.is_none_or(|service| service.desired == *desired),
        Action::Delete => service.is_none(),
        Action::Reject { what, .. } => facts.rejected.contains(what),
        Action::Release { what, .. } => !facts.rejected.contains(what),
    }
}

fn finish(draft: &mut Draft, intent: &Intent, facts: &Facts<'_>) {
    draft.journal.intent = None;
    if let Action::Register { release } = &intent.action {
        let found = facts.revisions.iter().find(|revision| revision.release.as_ref() == Some(release));
        let arn = found.map(|revision| revision.arn.clone());
        if let Some(record) = draft.journal.record_mut(release) {
            record.revision = arn;
        }
    }
}

/// It was not made: as if it had not been announced.
fn undo(draft: &mut Draft, action: &Action, at: Moment) {
    match action {
        Action::Point { release, .. } | Action::Create { release, .. } => {
            let not_since = |pointed_at: Option<Moment>| pointed_at.filter(|pointed_at| *pointed_at > at);
            if let Some(back) = draft.journal.going_back.as_mut().filter(|back| back.to == *release) {
                back.pointed_at = not_since(back.pointed_at);
            } else if let Some(record) = draft.journal.record_mut(release) {
                record.pointed_at = not_since(record.pointed_at);
            }
        }
        Action::Register { .. }
        | Action::OwnRollback { .. }
        | Action::Scale { .. }
        | Action::Delete
        | Action::Reject { .. }
        | Action::Release { .. } => {}
    }
}

/// The AWS call, as a person knows it.
fn name(action: &Action) -> &'static str {
    match action {
        Action::Register { .. } => "RegisterTaskDefinition",
        Action::Create { .. } => "CreateService",
        Action::Point { .. } | Action::OwnRollback { .. } | Action::Scale { .. } => "UpdateService",
        Action::Delete => "DeleteService",
        Action::Reject { .. } => "a rejection in the ledger",
        Action::Release { .. } => "a release in the ledger",
    }
}
