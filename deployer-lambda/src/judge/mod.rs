//! Judge: what became of the release under proof.
//!
//! Order: ECS's word on *our* deployment first, then what runs, then the time. A rollback of ECS's is never a success;
//! a time that ran out is never a failure. What the table does not know is the surroundings' fault.
//! Neighbours: observe and policy before it; plan after it. Pure.
//!
//! The place of the data verdict: between "complete" and "proved", with the ledger's entries of this release as
//! further facts.

pub mod remedy;
mod table;

use crate::journal::{Cause, Record};
use crate::observe::facts::{Alarm, Health, Rollout, RolloutState, Service, Task, TaskState};
use crate::policy::Policy;
use crate::release::{Digest, Moment};
use crate::rules::Rules;
use table::Meaning;

/// AWS's clock and ours may differ by so much.
pub const SKEW_MS: i64 = 60_000;
/// Tasks of a complete deployment that end by the release's fault before it counts as failed: one is restarted.
const CRASHES_MAX: usize = 2;

/// Whose fault it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    pub whose: Whose,
    pub cause: Cause,
    /// What was seen, as a sentence without a full stop.
    pub words: String,
}

/// Who is at fault, and so what may not run again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// This release: the image with these settings.
    Release,
    /// The image, under any tag and any settings: it ruins data.
    Image,
    /// Kafka, S3, the registry, capacity, permissions, people, or nobody knows.
    Surroundings,
}

/// What became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    Proving {
        /// What it waits for.
        waits_for: String,
        /// ECS calls its deployment complete.
        complete: bool,
        /// It takes longer than a person would expect.
        slow: bool,
    },
    /// ECS is going back by itself: mostly nothing is done but telling.
    EcsGoesBack {
        words: String,
        /// Why, as far as its tasks tell by now.
        fault: Fault,
    },
    Proved,
    Failed {
        fault: Fault,
        /// ECS has gone back by itself: the service does not point at it any more.
        went_back: bool,
    },
    /// The service points elsewhere, and neither we nor ECS's rollback did it.
    Displaced {
        words: String,
    },
}

/// Judges the release that the service was pointed at.
pub fn judge(
    record: &Record,
    service: &Service,
    tasks: &[Task],
    alarms: &[Alarm],
    policy: &Policy,
    rules: Rules,
    now: Moment,
) -> Finding {
    let (Some(revision), Some(pointed_at)) = (&record.revision, record.pointed_at) else {
        return proving("its deployment has not begun", false, false);
    };
    let slow = now.since_ms(pointed_at) > policy.rollout_slow_ms;
    let points_here = service.revision == *revision;
    let own: Vec<&Task> = tasks.iter().filter(|task| task.revision == *revision).collect();
    let Some(rollout) = ours(record, service, rules) else {
        let waited = now.since_ms(pointed_at) > SKEW_MS;
        return match (points_here, waited) {
            (true, _) => proving("ECS shows no deployment of it yet", false, slow),
            (false, false) => proving("ECS does not show yet that the service points at it", false, slow),
            // Where ECS lists only what has tasks, a deployment that it took back is gone: its tasks still tell.
            (false, true) => match worst(stops(&own, pointed_at)) {
                Some(fault) => Finding::Failed { fault, went_back: true },
                None => Finding::Displaced { words: format!("it points at {}", service.revision.short()) },
            },
        };
    };
    let failed = |went_back| Finding::Failed { fault: fault(&rollout.reason, &own, pointed_at), went_back };
    match rollout.state {
        RolloutState::Pending | RolloutState::InProgress => {
            let seen = seen(&own, rollout);
            proving(&format!("ECS deploys it: {seen}"), false, slow)
        }
        RolloutState::RollingBack => {
            let fault = fault(&rollout.reason, &own, pointed_at);
            Finding::EcsGoesBack { words: rollout.reason.clone(), fault }
        }
        RolloutState::RolledBack => failed(true),
        RolloutState::RollbackFailed | RolloutState::Failed => failed(!points_here),
        RolloutState::Stopped if points_here => {
            proving("its deployment was stopped and the service still points at it", false, true)
        }
        RolloutState::Stopped => {
            Finding::Displaced { words: format!("it points at {}", service.revision.short()) }
        }
        RolloutState::Successful if !points_here && rules.our_deployment_only => {
            Finding::Displaced { words: format!("it points at {}", service.revision.short()) }
        }
        RolloutState::Successful => complete(record, &own, alarms, policy, now),
    }
}

/// The newest deployment of this revision since the service was pointed at it; an earlier try's does not count.
fn ours<'s>(record: &Record, service: &'s Service, rules: Rules) -> Option<&'s Rollout> {
    let since = record.pointed_at?.after_ms(-SKEW_MS);
    let revision = record.revision.as_ref()?;
    // From old to new, so that of two of the same millisecond the newer one is taken.
    let candidates = service.rollouts.iter().rev();
    if !rules.our_deployment_only {
        return candidates.max_by_key(|rollout| rollout.created_at);
    }
    candidates
        .filter(|rollout| rollout.revision == *revision && rollout.created_at >= since)
        .max_by_key(|rollout| rollout.created_at)
}

/// Complete by ECS: does it hold through the bake?
fn complete(record: &Record, own: &[&Task], alarms: &[Alarm], policy: &Policy, now: Moment) -> Finding {
    let completed_at = record.completed_at.unwrap_or(now);
    let failed = |fault| Finding::Failed { fault, went_back: false };
    let ringing: Vec<&str> = alarms.iter().filter(|a| a.in_alarm).map(|alarm| alarm.name.as_str()).collect();
    if let Some(alarm) =
        ringing.iter().find(|name| !record.alarms_before.iter().any(|before| before == *name))
    {
        let words = format!("alarm `{alarm}` went off after it took over");
        return failed(Fault { whose: Whose::Release, cause: Cause::Alarm, words });
    }
    let stops: Vec<Meaning> = stops(own, completed_at);
    let crashes = stops.iter().filter(|meaning| meaning.is_the_releases()).count();
    if crashes >= CRASHES_MAX
        && let Some(fault) = worst(stops)
    {
        return failed(fault);
    }
    let waits = |what: &str| proving(what, true, false);
    let mut running = own.iter().filter(|task| runs_it(task, record)).peekable();
    if running.peek().is_none() {
        let what = "complete by ECS, but no task runs its digest";
        return proving(what, true, now.since_ms(completed_at) > policy.rollout_slow_ms);
    }
    if own.iter().any(|task| task.state == TaskState::Running && task.healthy == Health::Unhealthy) {
        return waits("complete by ECS, but a task is unhealthy");
    }
    if let Some(alarm) = ringing.first() {
        if now.since_ms(completed_at) > policy.bake_ms + policy.rollout_slow_ms {
            // It may be this release that keeps it ringing, and nothing newer could come while it waits.
            let words = format!("alarm `{alarm}` went off before it took over, and does not end");
            return failed(Fault { whose: Whose::Surroundings, cause: Cause::Alarm, words });
        }
        return waits(&format!("alarm `{alarm}`, which went off before it took over, is still in ALARM"));
    }
    // Without a break: one that was started again, whyever, begins again to prove itself.
    let oldest = running.filter_map(|task| task.started_at).min().unwrap_or(completed_at);
    let baked = now.since_ms(completed_at.max(oldest));
    if baked < policy.bake_ms {
        let (minutes, of) = (baked / 60_000, policy.bake_ms / 60_000);
        return waits(&format!("complete by ECS; {minutes} of {of} minutes of bake have passed"));
    }
    Finding::Proved
}

/// Whether this task runs the release's image: the index's digest, or that of one of its platforms.
pub fn runs_it(task: &Task, record: &Record) -> bool {
    let is_ours = |digest: &Digest| {
        *digest == record.digest || record.children.iter().any(|child| child.digest == *digest)
    };
    task.state == TaskState::Running && task.digest.as_ref().is_some_and(is_ours)
}

fn proving(waits_for: &str, complete: bool, slow: bool) -> Finding {
    Finding::Proving { waits_for: waits_for.to_owned(), complete, slow }
}

fn seen(own: &[&Task], rollout: &Rollout) -> String {
    let running = own.iter().filter(|task| task.state == TaskState::Running).count();
    let healthy = own.iter().filter(|task| task.healthy == Health::Healthy).count();
    format!("{running} of its tasks run, {healthy} healthy, {} failed", rollout.failed_tasks)
}

fn stops(own: &[&Task], since: Moment) -> Vec<Meaning> {
    let since = since.after_ms(-SKEW_MS);
    own.iter()
        .filter_map(|task| match &task.state {
            TaskState::Stopped(stop) if stop.at >= since => Some(table::meaning(stop)),
            TaskState::Stopped(_) | TaskState::Starting | TaskState::Running | TaskState::Stopping => None,
        })
        .collect()
}

/// Why ECS gave the deployment up. The release is at fault only where nothing else had a hand in it.
fn fault(reason: &str, own: &[&Task], since: Moment) -> Fault {
    worst(stops(own, since)).unwrap_or_else(|| given_up(reason))
}

/// What ECS's own words tell, where no task does.
pub fn given_up(reason: &str) -> Fault {
    let lower = reason.to_ascii_lowercase();
    if lower.contains("alarm") {
        let words = format!("ECS gave it up for an alarm: {reason}");
        return Fault { whose: Whose::Release, cause: Cause::Alarm, words };
    }
    let words = format!("ECS gave it up and no task tells why: {reason}");
    Fault { whose: Whose::Surroundings, cause: Cause::Unclear, words }
}

/// One fault of many stops: the surroundings' if any of them is theirs, else the image's, else the release's.
fn worst(stops: Vec<Meaning>) -> Option<Fault> {
    let rank = |fault: &Fault| match fault.whose {
        Whose::Surroundings => 2,
        Whose::Image => 1,
        Whose::Release => 0,
    };
    stops.into_iter().filter_map(Meaning::fault).max_by_key(rank)
}

#[cfg(test)]
mod tests;
