//! Back: from a failed release to the proven one.
//!
//! Order: the target is checked before anything is rejected; reject (ledger) → rewind (its place: between the two) →
//! point the service at the target with ECS's own rollback off, for ECS's "last completed" may be the bad one → when
//! that deployment is complete, its own rollback on again → tell.
//! While ECS goes back by itself nothing is done but telling.
//! A target whose deployment failed three times makes room for another proven one. When none is left, a person is paged
//! and newer images come in again; until one does, the newest proven release is tried like any that is blocked.
//! Neighbours: candidate begins it; draft, judge's facts. Pure.

use super::candidate::set_verdict;
use super::draft::Draft;
use super::{Decision, Facts, Happened, Inputs, Plan, Step, Tally};
use crate::journal::{Action, Cause, GoingBack, Record, Stopped, Verdict, Wanted};
use crate::judge::SKEW_MS;
use crate::observe::facts::{Rollout, RolloutState, Service};
use crate::policy::OnNoTarget;
use crate::release::{Moment, ReleaseId};

/// Between two deployments of the target, when the first failed.
const RETRY_MS: i64 = 300_000;
/// Deployments of one target that fail before another one is tried.
const TRIES_MAX: u32 = 3;

/// The next step of a way back that has begun.
pub(super) fn step(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) -> Step {
    let back = draft.journal.going_back.clone()?;
    let Some(service) = facts.service else { return Some(without_service(draft, inputs, facts, &back)) };
    let Some(to) = checked_target(draft, facts, &back) else {
        return Some(no_target(draft, inputs, facts, &back));
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
    if ecs_goes_back(draft, inputs, facts, service, Some(back.begun_at)) {
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

/// Nothing is there to be pointed back: what was to be left is left, and what is created next is the proven one, or a
/// newer image.
fn without_service(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>, back: &GoingBack) -> Plan {
    if let Some(to) = checked_target(draft, facts, back) {
        draft.journal.current = Some(to.release);
        if let Some(what) = back.rejects.clone() {
            let wanted = Wanted { what, reason: back.reason.clone() };
            // No other wish waits: those of people come before the way back.
            if !facts.rejected.contains(&wanted.what) {
                draft.journal.wanted_rejects.push(wanted);
            }
            reject(draft, inputs, &back.from, &back.reason);
        }
    }
    draft.journal.going_back = None;
    draft.noted(Some(&back.from), "end the way back", "the service is gone", "the service is created again")
}

/// Whether ECS rolls back by itself, and is waited for: not where that leads to what may not write, for it would never
/// end; nor for long, `since` then or since its deployment began, for what cannot run keeps it from its end too.
pub(super) fn ecs_goes_back(
    draft: &Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    service: &Service,
    since: Option<Moment>,
) -> bool {
    let mut there = draft.journal.releases.iter();
    let to = there.find(|record| record.revision.as_ref() == Some(&service.revision));
    let mut rollouts = service.rollouts.iter();
    let goes = rollouts.any(|rollout| {
        let since = since.unwrap_or(rollout.created_at);
        rollout.state == RolloutState::RollingBack && !takes_too_long(inputs, since)
    });
    goes && !to.is_some_and(|record| facts.rejects(&draft.journal, record))
}

/// Whether ECS's own rollback is not waited for any more.
pub(super) fn takes_too_long(inputs: &Inputs<'_>, since: Moment) -> bool {
    inputs.now.since_ms(since) > 2 * inputs.policy.rollout_slow_ms
}

/// How far the target's deployment is.
enum Arrival {
    There,
    OnTheWay(String),
    Failed(String),
}

fn state(back: &GoingBack, service: &Service, revision: &str) -> Arrival {
    let since = back.pointed_at.map(|at| at.after_ms(-SKEW_MS));
    let of_target = |rollout: &&Rollout| {
        rollout.revision.0 == revision && since.is_none_or(|since| rollout.created_at >= since)
    };
    let newest = service.rollouts.iter().rev().filter(of_target).max_by_key(|rollout| rollout.created_at);
    match newest.map(|rollout| (rollout.state, &rollout.reason)) {
        Some((RolloutState::Pending | RolloutState::InProgress, _)) => {
            Arrival::OnTheWay("ECS deploys the proven release".to_owned())
        }
        Some((RolloutState::Successful, _)) if since.is_some() => Arrival::There,
        None if since.is_some() => Arrival::OnTheWay("ECS shows no deployment of the target yet".to_owned()),
        Some((
            RolloutState::Stopped
            | RolloutState::RollingBack
            | RolloutState::RolledBack
            | RolloutState::RollbackFailed
            | RolloutState::Failed,
            reason,
        )) if since.is_some() => Arrival::Failed(reason.clone()),
        // What is left are old ones. ECS's own rollback, which makes none, has put the service here; unless one of ours
        // failed, and the next one was refused or lost.
        Some((_, reason)) if back.failed_times > 0 => Arrival::Failed(reason.clone()),
        None if back.failed_times > 0 => Arrival::Failed("its last deployment failed".to_owned()),
        Some(_) | None => Arrival::There,
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

fn no_target(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>, back: &GoingBack) -> Plan {
    draft.journal.going_back = None;
    let why = "nothing proven is left to go back to";
    match back.rejects {
        Some(_) => give_up(draft, inputs, facts, &back.from, &back.reason),
        None => stay_blocked(draft, facts, &back.from, &format!("{why}: {}", back.reason)),
    }
}

/// Only its surroundings took it back: it is tried again at its time, or a newer image is.
fn stay_blocked(draft: &mut Draft, facts: &Facts<'_>, from: &ReleaseId, why: &str) -> Plan {
    page_no_target(draft, facts, from, why, false);
    let next = "it is tried again when its time has come, or a newer image as soon as it is pushed";
    draft.noted(Some(from), "give the way back up and page", why, next)
}

/// Nothing proven is left: keep it running or stop it, and page. Nothing is rejected: what runs could not write.
pub(super) fn give_up(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    from: &ReleaseId,
    words: &str,
) -> Plan {
    let what = leave(draft, inputs, facts, from, words);
    let next = "a newer image is released as soon as it is pushed";
    draft.noted(Some(from), what, &format!("nothing proven is left to go back to: {words}"), next)
}

/// What is written down of that, and what it is called.
fn leave(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    from: &ReleaseId,
    words: &str,
) -> &'static str {
    let stopped = inputs.policy.on_no_target == OnNoTarget::Stop;
    page_no_target(draft, facts, from, words, stopped);
    end_rejected(draft, inputs, from, words)
}

/// The release is over; where the policy says so, all of it is stopped.
fn end_rejected(draft: &mut Draft, inputs: &Inputs<'_>, from: &ReleaseId, words: &str) -> &'static str {
    reject(draft, inputs, from, words);
    match inputs.policy.on_no_target {
        OnNoTarget::Keep => "keep it running and page",
        OnNoTarget::Stop => {
            let (by, reason) = ("landfall".to_owned(), words.to_owned());
            draft.journal.stopped = Some(Stopped { by, at: inputs.now, desired: 1, reason });
            "stop it and page"
        }
    }
}

/// It is not released again, and not under proof any more.
fn reject(draft: &mut Draft, inputs: &Inputs<'_>, release: &ReleaseId, words: &str) {
    set_verdict(draft, release, Verdict::Rejected, words, inputs.now);
    if draft.journal.candidate.as_ref() == Some(release) {
        draft.journal.candidate = None;
    }
}

fn page_gives_up(draft: &mut Draft, inputs: &Inputs<'_>, from: &ReleaseId, to: &ReleaseId, words: &str) {
    if draft.first_time("no-target", from.as_str()) {
        let retry_at = inputs.now.after_ms(inputs.policy.retry_first_ms);
        let (to, words) = (to.clone(), words.to_owned());
        draft.happened.push(Happened::WayBackFailed { to, words, retry_at, gives_up: true });
    }
}

pub(super) fn page_no_target(
    draft: &mut Draft,
    facts: &Facts<'_>,
    release: &ReleaseId,
    words: &str,
    stopped: bool,
) {
    if draft.first_time("no-target", release.as_str()) {
        let rejected = draft.journal.record(release).is_some_and(|it| facts.rejects(&draft.journal, it));
        let (release, words) = (release.clone(), words.to_owned());
        draft.happened.push(Happened::NoTarget { release, words, stopped, rejected });
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
) -> Plan {
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
    let what = format!("go back to {}", draft.journal.record(to).map_or_else(|| to.to_string(), named));
    draft.noted(Some(from), &what, words, "reject it, then point the service back")
}

fn point(draft: &mut Draft, inputs: &Inputs<'_>, back: &GoingBack, to: &Record, force: bool) -> Plan {
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
) -> Plan {
    let now = inputs.now;
    match back.retry_at {
        Some(retry_at) if now >= retry_at => point(draft, inputs, back, to, true),
        Some(_) => draft.nothing(Some(&back.to), words, "the proven release is tried again in a few minutes"),
        // The last try was refused or lost: it did not fail.
        None if back.pointed_at.is_none() => point(draft, inputs, back, to, true),
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
) -> Plan {
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
        return stay_blocked(draft, facts, &back.from, &why);
    }
    let reason = format!("{}; and {why}", back.reason);
    let best = facts.target(&draft.journal, &back.from).map(|record| record.release.clone());
    let what = match &best {
        Some(best) if inputs.policy.on_no_target == OnNoTarget::Keep => {
            page_gives_up(draft, inputs, &back.from, best, &why);
            end_rejected(draft, inputs, &back.from, &reason)
        }
        Some(_) | None => leave(draft, inputs, facts, &back.from, &reason),
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

/// `clicks:41 (v1.2.0)`.
pub(super) fn named(record: &Record) -> String {
    let revision = record.revision.as_ref().map_or("an unregistered revision", |arn| arn.short());
    match record.tags.first() {
        Some(tag) => format!("{revision} ({tag})"),
        None => revision.to_owned(),
    }
}
