//! Chores: what must happen some time, in any order: the scaling of the service, notices, tags that keep images, the
//! console's tags, the columns of the table over the output.
//!
//! Order: done first, then written down, so that nothing is forgotten; each twice equals once, but for a notice, which
//! may come twice with the same id. A chore that fails waits for the next look, and never fails this one.
//! Neighbours: apply.

use std::collections::BTreeSet;

use super::ports::Catalog;
use super::widen::Widened;
use super::{Seen, World, amend};
use crate::journal::{Journal, Notice, Record, Scaled, Scaling, Verdict};
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
    /// What the journal is to say of it.
    scaling: Option<Option<Scaled>>,
    catalogued: Option<ReleaseId>,
}

impl Done {
    fn is_nothing(&self) -> bool {
        let Done { notices, kept, mirrored, scaling, catalogued } = self;
        notices.is_empty()
            && kept.is_empty()
            && mirrored.is_empty()
            && scaling.is_none()
            && catalogued.is_none()
    }
}

pub(super) async fn run(seen: Seen, world: &World<'_>, now: Moment) {
    let mut done = Done::default();
    let Some(seen) = announced(seen, world, now).await else { return };
    if let Some(wanted) = pending_scaling(&seen.0, world)
        && scaled(wanted, world).await
    {
        done.scaling = Some(wanted.map(|scaling| Scaled { scaling, done: true }));
    }
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
    if let Some((record, catalog)) = pending_catalogue(&seen.0).zip(world.catalog)
        && catalogued(record, catalog).await
    {
        done.catalogued = Some(record.release.clone());
    }
    if done.is_nothing() {
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

/// What the service's scaling is to be, where it is another now. Not before something proved itself; and where nothing
/// is to run, nothing may bring tasks back.
fn pending_scaling(journal: &Journal, world: &World<'_>) -> Option<Option<Scaling>> {
    let rests = journal.stopped.is_some() || journal.retired.is_some() || journal.current.is_none();
    let wanted = world.scaling.filter(|_| !rests);
    let done = journal.scaling.filter(|it| it.done).map(|it| it.scaling);
    let doubtful = journal.scaling.is_some_and(|it| !it.done);
    (wanted != done || doubtful).then_some(wanted)
}

/// What is about to be registered stands in the journal first: a reply that is lost must not leave a target of which
/// nobody knows, for it would bring tasks back after a `stop`. None: others were faster, or the store does not answer.
async fn announced(seen: Seen, world: &World<'_>, now: Moment) -> Option<Seen> {
    let Some(Some(scaling)) = pending_scaling(&seen.0, world) else { return Some(seen) };
    let asked = Some(Scaled { scaling, done: false });
    let change = |journal: &mut Journal| {
        let changed = journal.scaling != asked;
        journal.scaling = asked;
        changed
    };
    match amend(seen, change, world, now).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::warn!(error = error.chain(), "chores wait: the journal cannot be written");
            None
        }
    }
}

/// What runs, once it is proven: a table never learns of the columns of what is taken back.
fn pending_catalogue(journal: &Journal) -> Option<&Record> {
    let record = journal.record(journal.current.as_ref()?)?;
    (record.verdict == Verdict::Healthy && !record.catalogued).then_some(record)
}

fn pending_keeps(journal: &Journal) -> Vec<&Record> {
    let pending = |record: &&Record| record.keep.as_ref().is_some_and(|keep| !keep.done);
    journal.releases.iter().rev().filter(pending).collect()
}

fn pending_mirrors(journal: &Journal) -> Vec<&Record> {
    let pending = |record: &&Record| record.revision.is_some() && record.mirrored != Some(record.verdict);
    journal.releases.iter().rev().filter(pending).collect()
}

async fn scaled(wanted: Option<Scaling>, world: &World<'_>) -> bool {
    let done = succeeded(
        world.scaler.scale(wanted).await,
        "the number of tasks does not follow the lag as it is set",
    );
    if done {
        match wanted {
            Some(Scaling { tasks_max, lag_seconds }) => {
                tracing::info!(tasks_max, lag_seconds, "the number of tasks follows the lag");
            }
            None => tracing::info!("the number of tasks follows nothing"),
        }
    }
    done
}

async fn catalogued(record: &Record, catalog: &dyn Catalog) -> bool {
    let release = record.release.as_str();
    match catalog.widen(&record.release).await {
        Ok(Some(Widened { gained, odd, .. })) => {
            if !gained.is_empty() {
                tracing::info!(release, columns = gained.join(", "), "the table has the release's columns");
            }
            for odd in odd {
                tracing::warn!(
                    release,
                    "the table does not fit: {odd}; write a new column beside the old one"
                );
            }
            true
        }
        Ok(None) => {
            tracing::info!(release, "the worker wrote no columns down: the table stays as it is");
            true
        }
        Err(error) => {
            tracing::warn!(
                error = error.chain(),
                release,
                "the table does not have the release's columns yet"
            );
            false
        }
    }
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
    if let Some(scaling) = done.scaling {
        journal.scaling = scaling;
    }
    journal.outbox.retain(|notice| !done.notices.contains(&notice.id));
    for record in &mut journal.releases {
        if let Some(keep) = record.keep.as_mut().filter(|_| done.kept.contains(&record.release)) {
            keep.done = true;
        }
        record.catalogued |= done.catalogued.as_ref() == Some(&record.release);
        if let Some((_, shown)) = done.mirrored.iter().find(|(release, _)| *release == record.release) {
            record.mirrored = Some(*shown);
        }
    }
    *journal != before
}
