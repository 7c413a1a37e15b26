//! Back: from a failed release to the proven one; and from where nobody announced to where the journal says.
//!
//! Order: the target is checked before anything is rejected; reject (ledger) → rewind (its place: between the two) →
//! point the service at the target with ECS's own rollback off, for ECS's "last completed" may be the bad one → when
//! that deployment is complete, its own rollback on again → tell.
//! While ECS goes back by itself nothing is done but telling.
//! A target whose deployment failed three times makes room for another proven one. When none is left, a person is paged
//! and newer images come in again; until one does, the newest proven release is tried like any that is blocked.
//! Neighbours: draft, judge's facts. Pure.

use super::draft::Draft;
use super::{Decision, Facts, Happened, Inputs, Step, Tally};
use crate::journal::{Action, Cause, GoingBack, Record, Stopped, Verdict};
use crate::judge::SKEW_MS;
use crate::observe::facts::{Rollout, RolloutState, Service};
use crate::policy::OnNoTarget;
use crate::release::{Moment, ReleaseId};

/// Between two deployments of the target, when the first failed.
const RETRY_MS: i64 = 300_000;
/// Deployments of one target that fail before another one is tried.
const TRIES_MAX: u32 = 3;
/// Within this time the service is put right this often; after that people are left to sort it out.
const DRIFT_WINDOW_MS: i64 = 3_600_000;
const DRIFTS_MAX: usize = 3;

/// The next step of a way back that has begun.
pub(super) fn step(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) -> Step {
    let back = draft.journal.going_back.clone()?;
    let Some(service) = facts.service else {
        draft.journal.going_back = None;
        return Some(draft.noted(
            Some(&back.from),
            "give the way back up",
            "the service is gone",
            "looks afresh",
        ));
    };
    let Some(to) = checked_target(draft, facts, &back) else {
        return Some(no_target(draft, inputs, &back));
    };
    if let Some(what) = back.rejects.as_ref().filter(|what| !facts.rejected.contains(*what)) {
        let action = Action::Reject { what: what.clone(), reason: back.reason.clone() };
        let undo = Some(format!("release {what}"));
        let next = format!("point the service at {}", named(&to));
        return Some(draft.act(
            action,
            Decision::new(Some(&back.from), "reject it in the ledger", &back.reason, &next, undo),
        ));
    }
    if ecs_goes_back(draft, service, facts) {
        let next = "when ECS has finished, the service is where it should be, or is put there";
        return Some(draft.nothing(Some(&back.from), "ECS is rolling back by itself", next));
    }
    let revision = to.revision.clone()?;
    if service.revision != revision {
        return Some(point(draft, inputs, &back, &to, false));
    }
    match state(&back, service, &revision.0) {
        Arrival::There => arrived(draft, service, &back, &to, inputs),
        Arrival::OnTheWay(words) => {
            let next = "when it is complete, the way back ends";
            Some(draft.nothing(Some(&back.to), &words, next))
        }
        Arrival::Failed(words) => Some(failed(draft, inputs, facts, &back, &to, &words)),
    }
}

/// Whether ECS rolls back by itself, and may be waited for: to what may not write it would roll back for ever.
fn ecs_goes_back(draft: &Draft, service: &Service, facts: &Facts<'_>) -> bool {
    let mut there = draft.journal.releases.iter();
    let to = there.find(|record| record.revision.as_ref() == Some(&service.revision));
    service.rollouts.iter().any(|rollout| rollout.state == RolloutState::RollingBack)
        && !to.is_some_and(|record| facts.rejects(&draft.journal, record))
}

/// How far the target's deployment is.
enum Arrival {
    There,
    OnTheWay(String),
    Failed(String),
}

fn state(back: &GoingBack, service: &Service, revision: &str) -> Arrival {
    let since = back.pointed_at.map(|at| at.after_ms(-SKEW_MS));
    let newest: Option<&Rollout> = service
        .rollouts
        .iter()
        .rev()
        .filter(|rollout| {
            rollout.revision.0 == revision && since.is_none_or(|since| rollout.created_at >= since)
        })
        .max_by_key(|rollout| rollout.created_at);
    let Some(rollout) = newest else {
        // ECS's own rollback makes no deployment of the target; ours does.
        return if since.is_none() {
            Arrival::There
        } else {
            Arrival::OnTheWay("ECS shows no deployment of the target yet".to_owned())
        };
    };
    match rollout.state {
        RolloutState::Pending | RolloutState::InProgress => {
            Arrival::OnTheWay("ECS deploys the proven release".to_owned())
        }
        RolloutState::Successful => Arrival::There,
        // With no deployment of ours in play these are old: ECS's own rollback has put the service here.
        RolloutState::Stopped
        | RolloutState::RollingBack
        | RolloutState::RolledBack
        | RolloutState::RollbackFailed
        | RolloutState::Failed
            if since.is_none() =>
        {
            Arrival::There
        }
        RolloutState::Stopped
        | RolloutState::RollingBack
        | RolloutState::RolledBack
        | RolloutState::RollbackFailed
        | RolloutState::Failed => Arrival::Failed(rollout.reason.clone()),
    }
}

/// The target that was chosen, or another one if it cannot run any more.
fn checked_target(draft: &mut Draft, facts: &Facts<'_>, back: &GoingBack) -> Option<Record> {
    let chosen = draft.journal.record(&back.to);
    if let Some(record) = chosen.filter(|record| facts.is_target(&draft.journal, record)) {
        return Some(record.clone());
    }
    let other = facts.grounds().choose(&draft.journal, &back.from, &back.failed)?.clone();
    turn_to(draft, &other);
    Some(other)
}

/// The way back leads here from now on.
fn turn_to(draft: &mut Draft, to: &Record) {
    if let Some(back) = draft.journal.going_back.as_mut() {
        back.to = to.release.clone();
        back.pointed_at = None;
        back.failed_times = 0;
        back.retry_at = None;
    }
}

fn no_target(draft: &mut Draft, inputs: &Inputs<'_>, back: &GoingBack) -> super::Plan {
    draft.journal.going_back = None;
    give_up(draft, inputs, &back.from, &back.reason)
}

/// Nothing proven is left: keep it running or stop it, and page. Nothing is rejected: what runs could not write.
pub(super) fn give_up(draft: &mut Draft, inputs: &Inputs<'_>, from: &ReleaseId, words: &str) -> super::Plan {
    let what = leave(draft, inputs, from, words);
    let next = "a newer image is released as soon as it is pushed";
    draft.noted(Some(from), what, &format!("nothing proven is left to go back to: {words}"), next)
}

/// What is written down of that, and what it is called.
fn leave(draft: &mut Draft, inputs: &Inputs<'_>, from: &ReleaseId, words: &str) -> &'static str {
    let stopped = inputs.policy.on_no_target == OnNoTarget::Stop;
    page_no_target(draft, from, words, stopped);
    end_rejected(draft, inputs, from, words)
}

/// The release is over; where the policy says so, all of it is stopped.
fn end_rejected(draft: &mut Draft, inputs: &Inputs<'_>, from: &ReleaseId, words: &str) -> &'static str {
    let now = inputs.now;
    if let Some(record) = draft.journal.record_mut(from) {
        record.verdict = Verdict::Rejected;
        record.verdict_at = Some(now);
        record.reason = words.to_owned();
    }
    if draft.journal.candidate.as_ref() == Some(from) {
        draft.journal.candidate = None;
    }
    match inputs.policy.on_no_target {
        OnNoTarget::Keep => "keep it running and page",
        OnNoTarget::Stop => {
            let (by, reason) = ("landfall".to_owned(), words.to_owned());
            draft.journal.stopped = Some(Stopped { by, at: now, desired: 1, reason });
            "stop it and page"
        }
    }
}

fn page_gives_up(draft: &mut Draft, inputs: &Inputs<'_>, from: &ReleaseId, to: &ReleaseId, words: &str) {
    if draft.first_time("no-target", from.as_str()) {
        let retry_at = inputs.now.after_ms(inputs.policy.retry_first_ms);
        let (to, words) = (to.clone(), words.to_owned());
        draft.happened.push(Happened::WayBackFailed { to, words, retry_at, gives_up: true });
    }
}

pub(super) fn page_no_target(draft: &mut Draft, release: &ReleaseId, words: &str, stopped: bool) {
    if draft.first_time("no-target", release.as_str()) {
        let (release, words) = (release.clone(), words.to_owned());
        draft.happened.push(Happened::NoTarget { release, words, stopped });
    }
}

/// Begins the way back.
pub(super) fn begin(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    from: &ReleaseId,
    to: &ReleaseId,
    rejects: Option<String>,
    cause: Cause,
    words: &str,
) -> super::Plan {
    draft.journal.going_back = Some(GoingBack {
        from: from.clone(),
        to: to.clone(),
        rejects,
        reason: words.to_owned(),
        cause,
        begun_at: inputs.now,
        pointed_at: None,
        failed_times: 0,
        retry_at: None,
        failed: Vec::new(),
    });
    let (from_, to_) = (from.clone(), to.clone());
    draft.happened.push(Happened::GoingBack { from: from_, to: to_, cause, words: words.to_owned() });
    draft.noted(
        Some(from),
        &format!("go back to release {to}"),
        words,
        "reject it, then point the service back",
    )
}

fn point(draft: &mut Draft, inputs: &Inputs<'_>, back: &GoingBack, to: &Record, force: bool) -> super::Plan {
    let now = inputs.now;
    if let Some(back) = draft.journal.going_back.as_mut() {
        back.pointed_at = Some(now);
        back.retry_at = None;
    }
    let action = Action::Point {
        release: to.release.clone(),
        revision: to.revision.clone().unwrap_or_default(),
        own_rollback: inputs.own_rollback && !inputs.rules.own_rollback_off_when_going_back,
        force,
    };
    let what = format!("point the service at {}, ECS's own rollback off", named(to));
    let next = "when its deployment is complete, ECS's own rollback is switched on again";
    draft.act(action, Decision::new(Some(&back.from), &what, &back.reason, next, None))
}

/// A deployment of the target failed: once more in a while, then another target, then none.
fn failed(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    back: &GoingBack,
    to: &Record,
    words: &str,
) -> super::Plan {
    let now = inputs.now;
    match back.retry_at {
        Some(retry_at) if now >= retry_at => point(draft, inputs, back, to, true),
        Some(_) => draft.nothing(Some(&back.to), words, "the proven release is tried again in a few minutes"),
        None if back.failed_times + 1 >= TRIES_MAX => next_target(draft, inputs, facts, back, to, words),
        None => {
            let retry_at = now.after_ms(RETRY_MS);
            if let Some(back) = draft.journal.going_back.as_mut() {
                back.failed_times += 1;
                back.retry_at = Some(retry_at);
            }
            let to = back.to.clone();
            draft.happened.push(Happened::WayBackFailed {
                to: to.clone(),
                words: words.to_owned(),
                retry_at,
                gives_up: false,
            });
            draft.noted(
                Some(&to),
                "wait and page",
                words,
                "the proven release is tried again in five minutes",
            )
        }
    }
}

/// This target did not run however often it was tried: another proven one, if there is one.
fn next_target(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    back: &GoingBack,
    to: &Record,
    words: &str,
) -> super::Plan {
    let mut failed = back.failed.clone();
    failed.push(to.release.clone());
    let why = format!("{} was deployed {TRIES_MAX} times and never ran: {words}", named(to));
    if let Some(other) = facts.grounds().choose(&draft.journal, &back.from, &failed).cloned() {
        if let Some(back) = draft.journal.going_back.as_mut() {
            back.failed = failed;
        }
        turn_to(draft, &other);
        let what = format!("go back to {} instead", named(&other));
        return draft.noted(Some(&back.from), &what, &why, "point the service at it");
    }
    draft.journal.going_back = None;
    if back.rejects.is_none() {
        // Only its surroundings took it back: it is tried again at its time, or a newer image is.
        page_no_target(draft, &back.from, &why, false);
        let next = "it is tried again when its time has come, or a newer image as soon as it is pushed";
        return draft.noted(Some(&back.from), "give the way back up and page", &why, next);
    }
    let reason = format!("{}; and {why}", back.reason);
    let best = facts.target(&draft.journal, &back.from).map(|record| record.release.clone());
    let what = match &best {
        Some(best) if inputs.policy.on_no_target == OnNoTarget::Keep => {
            page_gives_up(draft, inputs, &back.from, best, &why);
            end_rejected(draft, inputs, &back.from, &reason)
        }
        Some(_) | None => leave(draft, inputs, &back.from, &reason),
    };
    if let Some(best) = best {
        block(draft, inputs, &best, &why);
    }
    let next = "the proven release is tried again in a while, or a newer image as soon as it is pushed";
    draft.noted(Some(&back.from), what, &why, next)
}

/// The proven release is to run, and is tried as one that its surroundings block: a newer image takes its place.
fn block(draft: &mut Draft, inputs: &Inputs<'_>, release: &ReleaseId, why: &str) {
    let retry_at = inputs.now.after_ms(inputs.policy.retry_first_ms);
    if let Some(record) = draft.journal.record_mut(release) {
        record.verdict = Verdict::Blocked;
        record.reason = why.to_owned();
        record.blocked_times = 1;
        record.retry_at = Some(retry_at);
        record.pointed_at = None;
    }
    draft.journal.current = Some(release.clone());
    draft.journal.candidate = Some(release.clone());
}

/// The target runs: ECS's own rollback on again, then the verdicts.
fn arrived(draft: &mut Draft, service: &Service, back: &GoingBack, to: &Record, inputs: &Inputs<'_>) -> Step {
    if inputs.own_rollback && !service.own_rollback {
        let what = "switch ECS's own rollback on again";
        let why = format!("{} runs again", named(to));
        return Some(draft.act(
            Action::OwnRollback { on: true },
            Decision::new(Some(&back.to), what, &why, "the way back ends", None),
        ));
    }
    let now = inputs.now;
    draft.journal.going_back = None;
    draft.journal.current = Some(back.to.clone());
    if draft.journal.candidate.as_ref() == Some(&back.from) && back.rejects.is_some() {
        draft.journal.candidate = None;
    }
    if let Some(from) = draft.journal.record_mut(&back.from) {
        if back.rejects.is_some() {
            from.verdict = Verdict::Rejected;
            from.reason = back.reason.clone();
            from.retry_at = None;
        }
        from.pointed_at = None;
        from.verdict_at = Some(now);
    }
    draft.tallies.push(Tally::Rollback(back.cause));
    draft.happened.push(Happened::WentBack {
        rejected: back.rejects.is_some(),
        from: back.from.clone(),
        to: back.to.clone(),
        cause: back.cause,
        words: back.reason.clone(),
    });
    let what = format!("{} runs again", named(to));
    Some(draft.noted(Some(&back.to), &what, &back.reason, "newer images are looked at again"))
}

/// The service stands where nobody announced it: put right, a few times.
pub(super) fn drift(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) -> Step {
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
    if ecs_goes_back(draft, service, facts) {
        let next = "when ECS has finished, the service is looked at again";
        return Some(draft.nothing(Some(&current), "ECS is rolling back by itself", next));
    }
    let since = Moment(inputs.now.0 - DRIFT_WINDOW_MS);
    draft.journal.drifts.retain(|at| *at >= since);
    let found = service.revision.clone();
    let restored = draft.journal.drifts.len() < DRIFTS_MAX && facts.can_run(&record);
    if draft.first_time("drift", current.as_str()) || restored {
        draft.happened.push(Happened::Drift { release: current.clone(), found: found.clone(), restored });
    }
    if !restored {
        // Fighting on would only start deployments; a newer push is still released.
        return None;
    }
    draft.journal.drifts.push(inputs.now);
    draft.tallies.push(Tally::Drift);
    let action =
        Action::Point { release: current.clone(), revision, own_rollback: inputs.own_rollback, force: false };
    let what = format!("point the service at {} again", named(&record));
    let why = format!("it points at {}, which nobody announced", found.short());
    let undo = Some(format!("deploy the image of {}", found.short()));
    Some(draft.act(action, Decision::new(Some(&current), &what, &why, "looks again at once", undo)))
}

/// ECS gave up deploying what is current, and nothing runs: it starts no task again before there is a new deployment.
fn start_again(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    service: &Service,
    record: &Record,
) -> Step {
    let newest = service.rollouts.iter().rev().max_by_key(|rollout| rollout.created_at)?;
    let gave_up = matches!(newest.state, RolloutState::Failed | RolloutState::RollbackFailed);
    let nothing_runs = service.desired > 0 && service.running == 0;
    if !gave_up || !nothing_runs || facts.rejects(&draft.journal, record) || !facts.can_run(record) {
        return None;
    }
    let since = Moment(inputs.now.0 - DRIFT_WINDOW_MS);
    draft.journal.drifts.retain(|at| *at >= since);
    if draft.journal.drifts.len() >= DRIFTS_MAX {
        return None;
    }
    draft.journal.drifts.push(inputs.now);
    draft.tallies.push(Tally::Drift);
    let action = Action::Point {
        release: record.release.clone(),
        revision: record.revision.clone()?,
        own_rollback: inputs.own_rollback && service.own_rollback,
        force: true,
    };
    let what = format!("deploy {} again", named(record));
    let why = format!("no task of it runs, and ECS gave its deployment up: {}", newest.reason);
    let decision = Decision::new(Some(&record.release), &what, &why, "ECS starts its tasks again", None);
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

/// `clicks:41 (v1.2.0)`.
pub(super) fn named(record: &Record) -> String {
    let revision = record.revision.as_ref().map_or("an unregistered revision", |arn| arn.short());
    match record.tags.first() {
        Some(tag) => format!("{revision} ({tag})"),
        None => revision.to_owned(),
    }
}
