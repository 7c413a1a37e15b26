//! Drift: from where nobody announced to where the journal says, while nothing is under proof and nothing on its way
//! back.
//!
//! Order: the revision first, then tasks that ECS gave up, then ECS's own rollback. Within an hour the service is put
//! right three times; after that a person is told, and only what is newer comes in.
//! Neighbours: back before it; draft. Pure.

use super::back::{ecs_goes_back, named, takes_too_long};
use super::draft::Draft;
use super::{Decision, Facts, Happened, Inputs, Step, Tally};
use crate::journal::{Action, Record};
use crate::observe::facts::{RolloutState, Service};
use crate::release::{Moment, ReleaseId};

/// Within this time the service is put right this often; after that people are left to sort it out.
const WINDOW_MS: i64 = 3_600_000;
const TIMES_MAX: usize = 3;

/// The service stands where nobody announced it: put right, a few times.
pub(super) fn step(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) -> Step {
    let service = facts.service?;
    let current = draft.journal.current.clone()?;
    let record = draft.journal.record(&current)?.clone();
    let revision = record.revision.clone()?;
    if service.revision == revision {
        draft.forget("drift", current.as_str());
        let again = start_again(draft, inputs, facts, service, &record);
        return again.or_else(|| settle_own_rollback(draft, inputs, service, &current));
    }
    if facts.rejects(&draft.journal, &record) {
        // It could not write there. Where there is another to go to, that is looked for next.
        return None;
    }
    if ecs_goes_back(draft, inputs, facts, service, None) {
        let next = "when ECS has finished, the service is looked at again";
        return Some(draft.nothing(Some(&current), "ECS is rolling back by itself", next));
    }
    let found = service.revision.clone();
    let restored = once_more(draft, inputs, facts, &record);
    if draft.first_time("drift", current.as_str()) || restored {
        draft.happened.push(Happened::Drift { release: current.clone(), found: found.clone(), restored });
    }
    if !restored {
        // Fighting on would only start deployments; a newer push is still released.
        return None;
    }
    let action =
        Action::Point { release: current.clone(), revision, own_rollback: inputs.own_rollback, force: false };
    let what = format!("point the service at {} again", named(&record));
    let why = format!("it points at {}, which nobody announced", found.short());
    let undo = Some(format!("deploy the image of {}", found.short()));
    Some(draft.act(action, Decision::new(Some(&current), &what, &why, "looks again at once", undo)))
}

/// Whether the service is put right again within this hour; if it is, that counts.
fn once_more(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>, record: &Record) -> bool {
    let since = Moment(inputs.now.0 - WINDOW_MS);
    draft.journal.drifts.retain(|at| *at >= since);
    let again = draft.journal.drifts.len() < TIMES_MAX && facts.can_run(record);
    if again {
        draft.journal.drifts.push(inputs.now);
        draft.tallies.push(Tally::Drift);
    }
    again
}

/// ECS gave up deploying what is current, and nothing runs: it starts no task again before there is a new deployment.
/// After a few of those a person is paged, and newer images still come in.
fn start_again(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    service: &Service,
    record: &Record,
) -> Step {
    let id = &record.release;
    if service.running > 0 {
        draft.forget("nothing-runs", id.as_str());
        draft.forget("nothing-will-run", id.as_str());
        return None;
    }
    let newest = service.rollouts.iter().rev().max_by_key(|rollout| rollout.created_at)?;
    let why = match newest.state {
        RolloutState::Failed | RolloutState::RollbackFailed => {
            format!("no task of it runs, and ECS gave its deployment up: {}", newest.reason)
        }
        RolloutState::RollingBack if takes_too_long(inputs, newest.created_at) => {
            format!("no task of it runs, and ECS's own rollback does not end: {}", newest.reason)
        }
        RolloutState::RollingBack
        | RolloutState::Pending
        | RolloutState::InProgress
        | RolloutState::Successful
        | RolloutState::Stopped
        | RolloutState::RolledBack => return None,
    };
    if service.desired == 0 || facts.rejects(&draft.journal, record) {
        return None;
    }
    let again = once_more(draft, inputs, facts, record);
    let topic = if again { "nothing-runs" } else { "nothing-will-run" };
    if draft.first_time(topic, id.as_str()) {
        draft.happened.push(Happened::NothingRuns { release: id.clone(), words: why.clone(), again });
    }
    if !again {
        return None;
    }
    let action = Action::Point {
        release: id.clone(),
        revision: record.revision.clone()?,
        own_rollback: inputs.own_rollback && service.own_rollback,
        force: true,
    };
    let what = format!("deploy {} again", named(record));
    let decision = Decision::new(Some(id), &what, &why, "ECS starts its tasks again", None);
    Some(draft.act(action, decision))
}

/// A way back that lost its last step leaves ECS's own rollback off.
fn settle_own_rollback(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    service: &Service,
    current: &ReleaseId,
) -> Step {
    let at_rest = !service.rollouts.iter().any(|rollout| {
        matches!(rollout.state, RolloutState::Pending | RolloutState::InProgress | RolloutState::RollingBack)
    });
    if service.own_rollback || !inputs.own_rollback || draft.journal.candidate.is_some() || !at_rest {
        return None;
    }
    let what = "switch ECS's own rollback on again";
    let why = "it is off, and nothing is on its way back";
    Some(draft.act(
        Action::OwnRollback { on: true },
        Decision::new(Some(current), what, why, "looks again at once", None),
    ))
}
