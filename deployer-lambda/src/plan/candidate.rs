//! Candidate: the release under proof, from its choice to its verdict.
//!
//! Order: register → create, or point → judge → verdict. One release at a time: once the service points at it, it
//! gets its verdict before the next one starts.
//! Neighbours: desired before it, judge beside it, back after it. Pure.

use super::back::{self, named};
use super::desired::{Choice, Desired, desired, frozen};
use super::draft::Draft;
use super::{Decision, Facts, Happened, Inputs, LEASE_MS, Plan, Skip, Step, Tally};
use crate::journal::{Action, Cause, Keep, Record, Verdict};
use crate::judge::{Fault, Finding, SKEW_MS, Whose, given_up, judge, runs_it};
use crate::observe::facts::Service;
use crate::policy::{OnNoTarget, Supersede};
use crate::release::{Moment, ReleaseId};

/// A push is looked for on its own only when its event is so late.
const EVENT_LATE_MS: i64 = 120_000;

/// The next step of the release under proof.
pub(super) fn step(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) -> Step {
    let id = draft.journal.candidate.clone()?;
    let Some(record) = draft.journal.record(&id).cloned() else {
        draft.journal.candidate = None;
        return None;
    };
    if facts.rejects(&draft.journal, &record) {
        return Some(rejected_meanwhile(draft, inputs, facts, &record));
    }
    if let Some(plan) = replaced(draft, inputs, facts, &record, None) {
        return Some(plan);
    }
    // What is current is nothing new: a freeze does not keep it from running again.
    if record.pointed_at.is_none()
        && draft.journal.current.as_ref() != Some(&id)
        && let Some(words) = frozen(inputs, &draft.journal).filter(|_| inputs.rules.people_win)
    {
        draft.tallies.push(Tally::Skipped(Skip::Frozen));
        return Some(draft.nothing(Some(&id), &words, "when the freeze ends it goes on"));
    }
    // One that somebody deregistered is registered again.
    let registered = record
        .revision
        .clone()
        .filter(|revision| record.pointed_at.is_some() || !facts.inactive.contains(revision));
    let Some(revision) = registered else { return Some(register(draft, &record)) };
    if let Some(retry_at) = record.retry_at.filter(|retry_at| inputs.now < *retry_at) {
        draft.tallies.push(Tally::Skipped(Skip::Blocked));
        let minutes = retry_at.since_ms(inputs.now) / 60_000 + 1;
        return Some(draft.nothing(Some(&id), &record.reason, &format!("tried again in {minutes} minutes")));
    }
    if record.pointed_at.is_none() {
        return Some(point(draft, inputs, facts, &record, revision));
    }
    let Some(service) = facts.service else {
        if record.pointed_at.is_some_and(|at| inputs.now.since_ms(at) > LEASE_MS + SKEW_MS) {
            // Picked anew, it is created by a request of its own: ECS might take the old one's token for answered.
            draft.journal.candidate = None;
            return Some(draft.noted(Some(&id), "give it up", "the service is gone", "looks afresh"));
        }
        return Some(draft.nothing(Some(&id), "ECS does not show the service yet", "looks again"));
    };
    if never_began(&record, service, inputs.now) {
        // The service was at this revision already when the call came: without force that starts nothing.
        return Some(point(draft, inputs, facts, &record, revision));
    }
    Some(verdict(draft, inputs, facts, service, &record))
}

/// The service points at it, and long after that ECS shows no deployment which did that.
fn never_began(record: &Record, service: &Service, now: Moment) -> bool {
    let (Some(revision), Some(pointed_at)) = (&record.revision, record.pointed_at) else { return false };
    let since = pointed_at.after_ms(-SKEW_MS);
    service.revision == *revision
        && now.since_ms(pointed_at) > LEASE_MS + SKEW_MS
        && !service.rollouts.iter().any(|it| it.revision == *revision && it.created_at >= since)
}

/// A person, or the release itself by another way, was faster: the ledger rejects it.
fn rejected_meanwhile(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>, record: &Record) -> Plan {
    let id = &record.release;
    let words = "it was rejected in the ledger before its verdict";
    let here = facts.service.is_some_and(|service| record.revision.as_ref() == Some(&service.revision));
    if !here {
        return end(draft, inputs, record, Verdict::Rejected, words);
    }
    let Some(to) = facts.target(&draft.journal, id).map(|record| record.release.clone()) else {
        return back::give_up(draft, inputs, facts, id, words);
    };
    back::begin(draft, inputs, id, &to, Some(id.0.clone()), Cause::Person, words)
}

/// Before the service points at it a newer image takes its place; afterwards only where the policy says so, or where it
/// failed and stays, `failed` for this.
fn replaced(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    record: &Record,
    failed: Option<&str>,
) -> Step {
    let waits = record.pointed_at.is_none();
    let at_once = inputs.policy.supersede == Supersede::AtOnce
        || !inputs.rules.one_release_at_a_time
        || failed.is_some();
    if !waits && !at_once {
        return None;
    }
    let pinned_elsewhere =
        draft.journal.pin.as_ref().is_some_and(|pin| !pin.means(&record.release, &record.digest));
    match desired(inputs, facts, &draft.journal) {
        Desired::Release(choice) if choice.release != record.release => {
            let newer = super::desired::is_newer(inputs, &choice, record);
            let changed = choice.image.digest == record.digest;
            if !(newer || changed || pinned_elsewhere) {
                return None;
            }
            let words = format!("`{}` came before its verdict", choice.tag);
            let (verdict, words) = match failed {
                Some(words) => (Verdict::Rejected, words),
                None => (Verdict::Superseded, words.as_str()),
            };
            set_verdict(draft, &record.release, verdict, words, inputs.now);
            Some(start(draft, inputs, &choice))
        }
        Desired::Nothing { words, .. } | Desired::Held { words, .. } if pinned_elsewhere && waits => {
            Some(end(draft, inputs, record, Verdict::Superseded, &words))
        }
        Desired::Release(_) | Desired::Held { .. } | Desired::Nothing { .. } => None,
    }
}

fn register(draft: &mut Draft, record: &Record) -> Plan {
    let id = &record.release;
    let what = format!("register a task definition for {} @{}", tag(record), record.digest.short());
    let decision = Decision::new(Some(id), what, &record.reason, "point the service at it", None);
    draft.act(Action::Register { release: id.clone() }, decision)
}

fn point(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    record: &Record,
    revision: crate::release::RevisionArn,
) -> Plan {
    let id = record.release.clone();
    let ringing =
        facts.alarms.iter().filter(|alarm| alarm.in_alarm).map(|alarm| alarm.name.clone()).collect();
    if let Some(record) = draft.journal.record_mut(&id) {
        record.pointed_at = Some(inputs.now);
        record.alarms_before = ringing;
        record.running_at = None;
        record.completed_at = None;
        record.retry_at = None;
        record.verdict = Verdict::Proving;
    }
    let Some(service) = facts.service else {
        // What scaled the one before may have gone with it.
        if let Some(scaled) = draft.journal.scaling.as_mut() {
            scaled.done = false;
        }
        let what = format!("create the service on {}", named(record));
        let (next, undo) = ("ECS starts its first task; then it is judged", Some("stop".to_owned()));
        let decision = Decision::new(Some(&id), what, &record.reason, next, undo);
        return draft.act(Action::Create { release: id, revision }, decision);
    };
    let force = service.revision == revision;
    let current = draft.journal.current.as_ref().and_then(|current| draft.journal.record(current));
    let undo = current.map(|current| format!("service -> {}", named(current)));
    let what = format!("point the service at {}, from {}", named(record), service.revision.short());
    let next = "ECS starts its task beside the old one; then it is judged";
    let decision = Decision::new(Some(&id), what, &record.reason, next, undo);
    // Where it is off, a way back has not come to its end; there, and where what is left is rejected, what ECS completed
    // last may not write.
    let is_safe = service.own_rollback && !leaves_rejected(draft, facts, service, record);
    let own_rollback = inputs.own_rollback && (is_safe || !inputs.rules.own_rollback_off_when_going_back);
    draft.act(Action::Point { release: id, revision, own_rollback, force }, decision)
}

/// Whether ECS's own rollback from this release would lead to what may not write.
fn leaves_rejected(draft: &Draft, facts: &Facts<'_>, service: &Service, record: &Record) -> bool {
    let is_left = |it: &&Record| {
        let points_at = it.revision.as_ref() == Some(&service.revision);
        it.release != record.release && (points_at || draft.journal.current.as_ref() == Some(&it.release))
    };
    draft.journal.releases.iter().filter(is_left).any(|it| facts.rejects(&draft.journal, it))
}

fn own_rollback_off(draft: &mut Draft, id: &ReleaseId) -> Plan {
    let what = "switch ECS's own rollback off";
    let why = "what ECS would go back to was rejected since, and may not write";
    let next = "it is switched on again when nothing is under way";
    draft.act(Action::OwnRollback { on: false }, Decision::new(Some(id), what, why, next, None))
}

/// What became of it, and what follows.
fn verdict(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    service: &Service,
    record: &Record,
) -> Plan {
    let id = &record.release;
    if record.running_at.is_none() && facts.tasks.iter().any(|task| runs_it(task, record)) {
        draft.tallies.push(Tally::PushToRunningSeconds(seconds_since_push(inputs, record)));
        if let Some(record) = draft.journal.record_mut(id) {
            record.running_at = Some(inputs.now);
        }
    }
    let (policy, rules) = (inputs.policy, inputs.rules);
    match judge(record, service, facts.tasks, facts.alarms, policy, rules, inputs.now) {
        Finding::Proving { waits_for, complete, slow } => {
            if complete
                && record.completed_at.is_none()
                && let Some(record) = draft.journal.record_mut(id)
            {
                record.completed_at = Some(inputs.now);
            }
            if service.own_rollback && leaves_rejected(draft, facts, service, record) {
                return own_rollback_off(draft, id);
            }
            if slow && draft.first_time("slow", id.as_str()) {
                draft.happened.push(Happened::Slow { release: id.clone(), words: waits_for.clone() });
            }
            draft.nothing(Some(id), &waits_for, "the next event or the schedule looks again")
        }
        // To what was never proven: it may be as bad, and then that never ends.
        Finding::EcsGoesBack { fault, .. }
            if fault.whose != Whose::Surroundings && facts.target(&draft.journal, id).is_none() =>
        {
            failed_somehow(draft, inputs, facts, record, &fault, true)
        }
        // A rollback to what cannot run may never end: after a long while it is not waited for any more.
        Finding::EcsGoesBack { words, .. }
            if record.pointed_at.is_some_and(|at| back::takes_too_long(inputs, at)) =>
        {
            failed_somehow(draft, inputs, facts, record, &given_up(&words), false)
        }
        Finding::EcsGoesBack { words, .. } => {
            if draft.first_time("ecs-goes-back", &this_try(record)) {
                if let Some(record) = draft.journal.record_mut(id) {
                    record.reason = words.clone();
                }
                draft.happened.push(Happened::EcsGoesBack { release: id.clone(), words: words.clone() });
            }
            draft.nothing(
                Some(id),
                &format!("ECS is rolling back by itself: {words}"),
                "when it has finished, it is judged",
            )
        }
        Finding::Proved => healthy(draft, inputs, record),
        // Where ECS does not list any more what it took back: it was seen at it.
        Finding::Displaced { .. } if draft.was_told("ecs-goes-back", &this_try(record)) => {
            failed_somehow(draft, inputs, facts, record, &given_up(&record.reason), true)
        }
        Finding::Displaced { words } => {
            draft.happened.push(Happened::Displaced { release: id.clone(), words: words.clone() });
            let words = format!("somebody pointed the service elsewhere: {words}");
            end(draft, inputs, record, Verdict::Superseded, &words)
        }
        Finding::Failed { fault, went_back } => {
            failed_somehow(draft, inputs, facts, record, &fault, went_back)
        }
    }
}

/// One try of a release, for what is told once.
fn this_try(record: &Record) -> String {
    format!("{}@{}", record.release, record.blocked_times)
}

/// By whose fault it is.
fn failed_somehow(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    record: &Record,
    fault: &Fault,
    went_back: bool,
) -> Plan {
    match fault.whose {
        Whose::Release | Whose::Image => failed(draft, inputs, facts, record, fault, went_back),
        Whose::Surroundings if !inputs.rules.blocked_never_rejects => {
            failed(draft, inputs, facts, record, fault, went_back)
        }
        Whose::Surroundings => blocked(draft, inputs, facts, record, fault, went_back),
    }
}

fn healthy(draft: &mut Draft, inputs: &Inputs<'_>, record: &Record) -> Plan {
    let id = &record.release;
    let words =
        "ECS completed its deployment, its digest runs, and no fault of its own showed through the bake";
    set_verdict(draft, id, Verdict::Healthy, words, inputs.now);
    let number = draft.journal.keep_next.max(1);
    draft.journal.keep_next = number + 1;
    if let Some(record) = draft.journal.record_mut(id) {
        record.keep = Some(Keep { tag: format!("landfall-keep-{number}"), done: false });
        record.blocked_times = 0;
    }
    draft.journal.current = Some(id.clone());
    draft.journal.candidate = None;
    draft.tallies.push(Tally::DeploymentHealthy);
    draft.tallies.push(Tally::PushToVerdictSeconds(seconds_since_push(inputs, record)));
    draft.happened.push(Happened::Healthy { release: id.clone() });
    draft.noted(Some(id), &format!("call {} healthy", named(record)), words, "newer images are looked at")
}

/// The release is at fault: back to the proven one, if there is one.
fn failed(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    record: &Record,
    fault: &Fault,
    went_back: bool,
) -> Plan {
    let id = &record.release;
    let what = match fault.whose {
        Whose::Image => record.digest.0.clone(),
        Whose::Release | Whose::Surroundings => id.0.clone(),
    };
    // Where ECS went back by itself, it is taken back already.
    if !inputs.policy.rollback && !went_back {
        if let Some(plan) = replaced(draft, inputs, facts, record, Some(&fault.words)) {
            return plan;
        }
        if draft.first_time("no-rollback", id.as_str()) {
            let words = fault.words.clone();
            let (release, stopped) = (id.clone(), false);
            draft.happened.push(Happened::NoTarget { release, words, stopped, rejected: false });
        }
        let why = format!("{}; the policy says `rollback = false`", fault.words);
        return draft.nothing(Some(id), &why, "a person types `rollback`, or pushes a newer image");
    }
    match facts.target(&draft.journal, id).map(|target| target.release.clone()) {
        Some(to) => back::begin(draft, inputs, id, &to, Some(what), fault.cause, &fault.words),
        None if inputs.rules.reject_only_with_a_target => {
            back::give_up(draft, inputs, facts, id, &fault.words)
        }
        None => {
            let reason = fault.words.clone();
            let decision = Decision::new(Some(id), "reject it in the ledger", &reason, "", None);
            end(draft, inputs, record, Verdict::Rejected, &reason);
            draft
                .journal
                .wanted_rejects
                .push(crate::journal::Wanted { what: what.clone(), reason: reason.clone() });
            draft.act(Action::Reject { what, reason }, decision)
        }
    }
}

/// The surroundings are at fault: keep or restore the good one, try again later, tell a person. Never reject.
fn blocked(
    draft: &mut Draft,
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    record: &Record,
    fault: &Fault,
    went_back: bool,
) -> Plan {
    let id = &record.release;
    let doublings = record.blocked_times.min(16);
    let wait = (inputs.policy.retry_first_ms << doublings).min(inputs.policy.retry_max_ms);
    let retry_at = inputs.now.after_ms(wait);
    if let Some(record) = draft.journal.record_mut(id) {
        record.verdict = Verdict::Blocked;
        record.reason = fault.words.clone();
        record.blocked_times += 1;
        record.retry_at = Some(retry_at);
        record.pointed_at = None;
    }
    draft.tallies.push(Tally::Blocked(fault.cause));
    let words = fault.words.clone();
    draft.happened.push(Happened::Blocked { release: id.clone(), words, retry_at });
    let good = facts.target(&draft.journal, id).map(|target| target.release.clone());
    match good {
        Some(to) if !went_back => back::begin(draft, inputs, id, &to, None, fault.cause, &fault.words),
        Some(_) | None => {
            let next = format!("tried again in {} minutes", wait / 60_000);
            draft.noted(Some(id), &format!("call {} blocked", named(record)), &fault.words, &next)
        }
    }
}

/// Looks for something new to release.
pub(super) fn begin(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) -> Plan {
    if let Some(plan) = current_was_rejected(draft, inputs, facts) {
        return plan;
    }
    match desired(inputs, facts, &draft.journal) {
        Desired::Release(choice) => start(draft, inputs, &choice),
        Desired::Held { choice, skip, words } => {
            held(draft, &choice, skip, &words);
            draft.nothing(Some(&choice.release), &words, "it starts as soon as nothing is in its way")
        }
        Desired::Nothing { words, skip } => {
            if let Some(skip) = skip {
                passed_over(draft, inputs, facts, skip, &words);
            }
            let current = draft.journal.current.clone();
            draft.nothing(current.as_ref(), &words, "a push wakes it")
        }
    }
}

/// What runs may not write any more: a person rejected it in the ledger.
fn current_was_rejected(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) -> Step {
    let record = draft.journal.record(draft.journal.current.as_ref()?)?.clone();
    if !facts.rejects(&draft.journal, &record) {
        return None;
    }
    let words = "it was rejected in the ledger and may not write";
    let to = facts.target(&draft.journal, &record.release).map(|target| target.release.clone());
    match to {
        // Nothing is there to be pointed elsewhere: what is created next is the proven one, or a newer image.
        Some(to) if facts.service.is_none() => {
            let what = draft.journal.record(&to).map_or_else(|| to.to_string(), named);
            set_verdict(draft, &record.release, Verdict::Rejected, words, inputs.now);
            draft.journal.current = Some(to.clone());
            let next = "the service is created again";
            Some(draft.noted(Some(&to), &format!("go back to {what}, without a service"), words, next))
        }
        Some(to) => {
            let rejects = Some(record.release.0.clone());
            Some(back::begin(draft, inputs, &record.release, &to, rejects, Cause::Person, words))
        }
        None => {
            let stopped = inputs.policy.on_no_target == OnNoTarget::Stop;
            back::page_no_target(draft, facts, &record.release, words, stopped);
            None
        }
    }
}

fn held(draft: &mut Draft, choice: &Choice<'_>, skip: Skip, words: &str) {
    draft.tallies.push(Tally::Skipped(skip));
    if draft.first_time(&format!("held-{skip:?}"), choice.release.as_str()) {
        draft.happened.push(Happened::Held {
            release: choice.release.clone(),
            digest: choice.image.digest.clone(),
            tag: choice.tag.clone(),
            skip,
            words: words.to_owned(),
        });
    }
}

/// Counts why the newest image is not released; what a person can do something about is told once an image.
fn passed_over(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>, skip: Skip, words: &str) {
    let told = match skip {
        Skip::Unapproved | Skip::ScanFindings | Skip::ScanPending | Skip::WrongPlatform => true,
        Skip::Older
        | Skip::Rejected
        | Skip::Frozen
        | Skip::Pinned
        | Skip::Stopped
        | Skip::Busy
        | Skip::Blocked
        | Skip::Unknown => false,
    };
    let newest = told.then(|| super::desired::choices(inputs, facts.images).into_iter().next()).flatten();
    match newest {
        Some(choice) => held(draft, &choice, skip, words),
        None => draft.tallies.push(Tally::Skipped(skip)),
    }
}

/// The image becomes the candidate, and its task definition is registered.
fn start(draft: &mut Draft, inputs: &Inputs<'_>, choice: &Choice<'_>) -> Plan {
    let now = inputs.now;
    let image = choice.image;
    let version = choice.rank.version();
    let pin = draft.journal.pin.as_ref().filter(|pin| pin.means(&choice.release, &image.digest));
    let reason = match (pin, &version) {
        (Some(pin), _) if pin.release == choice.release => {
            format!("`{}` is pinned by {}", choice.tag, pin.by)
        }
        (Some(pin), _) => {
            format!(
                "`{}` is pinned by {}; its settings changed since, so it is another release",
                choice.tag, pin.by
            )
        }
        (None, Some(version)) => {
            format!("`{}` is the newest image that the policy admits ({version})", choice.tag)
        }
        (None, None) => format!("`{}` is the newest image that the policy admits", choice.tag),
    };
    let first = draft.journal.releases.is_empty();
    let pushed = inputs.pushed == Some(&image.digest) || draft.journal.pushes.contains(&image.digest);
    let told = draft.journal.told.iter().any(|topic| topic.ends_with(choice.release.as_str()));
    let known = draft.journal.record(&choice.release).is_some();
    if !first && !pushed && !told && !known && now.since_ms(image.pushed_at) > EVENT_LATE_MS {
        draft.tallies.push(Tally::PushLost);
    }
    let earlier = draft.journal.record(&choice.release).cloned();
    draft.journal.releases.retain(|record| record.release != choice.release);
    draft.journal.releases.push(Record {
        children: image.children.clone().unwrap_or_default(),
        tags: image.tags.clone(),
        version,
        pushed_at: image.pushed_at,
        // A revision is a release: one that was registered before is taken again.
        revision: earlier.as_ref().and_then(|record| record.revision.clone()),
        reason: reason.clone(),
        blocked_times: earlier.map_or(0, |record| record.blocked_times),
        ..Record::of(choice.release.clone(), image.digest.clone(), now)
    });
    draft.journal.candidate = Some(choice.release.clone());
    draft.tallies.push(Tally::DeploymentStarted);
    draft.happened.push(Happened::Started { release: choice.release.clone() });
    let record = draft.journal.releases.last().cloned();
    match record {
        Some(record) if record.revision.is_none() => register(draft, &record),
        Some(_) | None => {
            draft.noted(Some(&choice.release), "take it up again", &reason, "point the service at it")
        }
    }
}

/// The candidate's verdict, and nothing is under proof any more.
fn end(draft: &mut Draft, inputs: &Inputs<'_>, record: &Record, verdict: Verdict, words: &str) -> Plan {
    set_verdict(draft, &record.release, verdict, words, inputs.now);
    draft.journal.candidate = None;
    draft.noted(Some(&record.release), &format!("end its proof: {verdict:?}"), words, "looks again at once")
}

pub(super) fn set_verdict(
    draft: &mut Draft,
    release: &ReleaseId,
    verdict: Verdict,
    words: &str,
    now: Moment,
) {
    // What was proven stays so, where something else only came before it was proven again.
    let is_current = draft.journal.current.as_ref() == Some(release);
    if let Some(record) = draft.journal.record_mut(release) {
        let was_proven = is_current && record.keep.is_some();
        let verdict = if was_proven && verdict == Verdict::Superseded { Verdict::Healthy } else { verdict };
        record.verdict = verdict;
        record.reason = words.to_owned();
        record.verdict_at = Some(now);
    }
}

fn seconds_since_push(inputs: &Inputs<'_>, record: &Record) -> f64 {
    inputs.now.since_ms(record.pushed_at) as f64 / 1000.0
}

fn tag(record: &Record) -> &str {
    record.tags.first().map_or("an untagged image", String::as_str)
}
