//! People: what was asked for by command and is not done yet.
//!
//! Order: a deleted stack before all else; then rejections and their lifting, then stopping, then starting again. While
//! retired or stopped nothing else is done.
//! Neighbours: draft; command writes what is wanted into the journal. Pure.

use super::draft::Draft;
use super::{Decision, Facts, Inputs, Plan, Skip, Step, Tally};
use crate::journal::{Action, Retired};

pub(super) fn step(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) -> Step {
    if let Some(retired) = draft.journal.retired.clone() {
        return Some(retire(draft, facts, &retired));
    }
    draft.journal.wanted_rejects.retain(|wanted| !facts.rejected.contains(&wanted.what));
    draft.journal.wanted_releases.retain(|wanted| facts.rejected.contains(&wanted.what));
    if let Some(wanted) = draft.journal.wanted_rejects.first().cloned() {
        let action = Action::Reject { what: wanted.what.clone(), reason: wanted.reason.clone() };
        let undo = format!("release {}", wanted.what);
        return Some(draft.act(action, decision("reject it in the ledger", &wanted.reason, Some(undo))));
    }
    if let Some(wanted) = draft.journal.wanted_releases.first().cloned() {
        let action = Action::Release { what: wanted.what.clone(), reason: wanted.reason.clone() };
        let undo = format!("reject {}", wanted.what);
        return Some(draft.act(action, decision("release it in the ledger", &wanted.reason, Some(undo))));
    }
    if let Some(stopped) = draft.journal.stopped.clone().filter(|_| inputs.rules.people_win) {
        let why = format!("stopped by {}", stopped.by);
        // Nor is a service that is gone created again.
        if facts.service.is_some_and(|service| service.desired > 0) {
            return Some(draft.act(
                Action::Scale { desired: 0 },
                decision("scale to 0 tasks", &why, Some("start".to_owned())),
            ));
        }
        draft.tallies.push(Tally::Skipped(Skip::Stopped));
        return Some(draft.nothing(None, &why, "`start` goes on"));
    }
    let service = facts.service?;
    let to = draft.journal.scale_to.take()?;
    if service.desired == to {
        return None;
    }
    // It stands in the journal until it shows: a call that was lost is made again.
    draft.journal.scale_to = Some(to);
    let what = format!("scale to {to} tasks");
    Some(draft.act(Action::Scale { desired: to }, decision(&what, "started again", Some("stop".to_owned()))))
}

/// The service goes with its stack: its tasks first, so that each commits what it has.
fn retire(draft: &mut Draft, facts: &Facts<'_>, retired: &Retired) -> Plan {
    let why = "its stack is deleted";
    // Whatever was under way ends with the service.
    draft.journal.candidate = None;
    draft.journal.going_back = None;
    draft.journal.scale_to = None;
    let Some(service) = facts.service.filter(|_| !retired.leaves_service) else {
        return draft.nothing(None, why, "a stack that is created again looks after it again");
    };
    if service.desired > 0 {
        return draft.act(Action::Scale { desired: 0 }, decision("scale to 0 tasks", why, None));
    }
    let up = facts.tasks.iter().filter(|task| task.is_up()).count();
    if up > 0 {
        let next = format!("when its {up} tasks have ended, the service is deleted");
        return draft.nothing(None, why, &next);
    }
    draft.act(Action::Delete, decision("delete the service", why, None))
}

fn decision(what: &str, why: &str, undo: Option<String>) -> Decision {
    Decision::new(None, what, why, "looks again at once", undo)
}
