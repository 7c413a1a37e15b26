//! Chores: what must happen some time, in any order: notices, tags that keep images, the console's tags.
//!
//! Order: done first, then written down, so that nothing is forgotten; each twice equals once, but for a notice, which
//! may come twice with the same id. A chore that fails waits for the next look, and never fails this one.
//! Neighbours: apply.

use std::collections::BTreeSet;

use super::{Seen, World, amend};
use crate::journal::{Journal, Notice, Record, Verdict};
use crate::observe::ports::{CallError, CallFault};
use crate::release::{Moment, ReleaseId};

/// Of one look. A reconcile without change must stay cheap whatever fails.
const NOTICES_MAX: usize = 10;
const KEEPS_MAX: usize = 1;
const MIRRORS_MAX: usize = 2;
#[cfg(test)]
pub(super) const PER_LOOK_WITHOUT_NOTICES: usize = KEEPS_MAX + MIRRORS_MAX;

/// What was done, to be written down.
#[derive(Debug, Default)]
struct Done {
    notices: BTreeSet<u64>,
    kept: BTreeSet<ReleaseId>,
    mirrored: Vec<(ReleaseId, Verdict)>,
}

pub(super) async fn run(seen: Seen, world: &World<'_>, now: Moment) {
    let mut done = Done::default();
    for notice in seen.0.outbox.iter().take(NOTICES_MAX) {
        if told(notice, world).await {
            done.notices.insert(notice.id);
        }
    }
    for record in turn(pending_keeps(&seen.0), now, KEEPS_MAX) {
        if kept(record, world).await {
            done.kept.insert(record.release.clone());
        }
    }
    for record in turn(pending_mirrors(&seen.0), now, MIRRORS_MAX) {
        if mirrored(record, &seen.0, world).await {
            done.mirrored.push((record.release.clone(), record.verdict));
        }
    }
    if done.notices.is_empty() && done.kept.is_empty() && done.mirrored.is_empty() {
        return;
    }
    if let Err(error) = amend(seen, |journal| write_down(journal, &done), world, now).await {
        tracing::warn!(error = error.chain(), "chores are done but not written down: they are done again");
    }
}

/// Not always the same ones, so that one that fails for ever does not keep the others waiting for ever.
fn turn<T>(mut pending: Vec<T>, now: Moment, most: usize) -> Vec<T> {
    if pending.len() > most {
        let minute = usize::try_from(now.0 / 60_000).unwrap_or(0);
        let start = minute % pending.len();
        pending.rotate_left(start);
        pending.truncate(most);
    }
    pending
}

fn pending_keeps(journal: &Journal) -> Vec<&Record> {
    let pending = |record: &&Record| record.keep.as_ref().is_some_and(|keep| !keep.done);
    journal.releases.iter().rev().filter(pending).collect()
}

fn pending_mirrors(journal: &Journal) -> Vec<&Record> {
    let pending = |record: &&Record| record.revision.is_some() && record.mirrored != Some(record.verdict);
    journal.releases.iter().rev().filter(pending).collect()
}

async fn told(notice: &Notice, world: &World<'_>) -> bool {
    let sent = world.notifier.notify(&notice.subject, &notice.text).await;
    succeeded(sent, &format!("notice {} waits: {}", notice.id, notice.subject))
}

async fn kept(record: &Record, world: &World<'_>) -> bool {
    let Some(keep) = &record.keep else { return false };
    let put = world.keeper.keep(&record.digest, &keep.tag).await;
    succeeded(put, &format!("image {} is not kept by `{}` yet", record.digest.short(), keep.tag))
}

/// A revision that cannot be tagged (it may be gone) is as good as mirrored: nobody will look at it.
async fn mirrored(record: &Record, journal: &Journal, world: &World<'_>) -> bool {
    let Some(revision) = &record.revision else { return false };
    // What the service runs, as far as this journal made it so.
    let pointed =
        |release: &&ReleaseId| journal.record(release).is_some_and(|record| record.pointed_at.is_some());
    let runs = journal.candidate.as_ref().filter(pointed).or(journal.current.as_ref());
    let service_too = runs == Some(&record.release);
    let tagged = world.deploy.tag(revision, &world.bodies.mirror(record), service_too).await;
    let given_up = tagged.as_ref().is_err_and(|error| error.fault == CallFault::Refused);
    succeeded(tagged, &format!("{} does not show its verdict", revision.short())) || given_up
}

fn succeeded(outcome: Result<(), CallError>, what: &str) -> bool {
    if let Err(error) = &outcome {
        tracing::warn!(error = error.chain(), "{what}");
    }
    outcome.is_ok()
}

/// Whether something changed.
fn write_down(journal: &mut Journal, done: &Done) -> bool {
    let before = journal.clone();
    journal.outbox.retain(|notice| !done.notices.contains(&notice.id));
    for record in &mut journal.releases {
        if let Some(keep) = record.keep.as_mut().filter(|_| done.kept.contains(&record.release)) {
            keep.done = true;
        }
        if let Some((_, shown)) = done.mirrored.iter().find(|(release, _)| *release == record.release) {
            record.mirrored = Some(*shown);
        }
    }
    *journal != before
}
