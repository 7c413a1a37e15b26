//! Observe: what is there: ECR, the service, its tasks, alarms, the ledger's rejections.
//!
//! Order: everything is read before anything is planned, at the same time where one read does not need another. A
//! read that did not succeed is *unknown*, never empty: an outage of the registry must not look like "no newer image".
//! Neighbours: event before it, judge and plan after it; the ports are kept by aws.

pub mod facts;
mod fold;
pub mod needs;
pub mod ports;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::facts::{Child, Image, Known, Observed, Revision, Rollout, Scan, Service, Task};
use self::ports::{Alarms, CallError, Cluster, Registry, Rejections};
use crate::journal::{Action, Journal, Verdict};
use crate::release::{Digest, RevisionArn};

/// Of the admitted images that nobody rejected, the platforms of so many, newest first, are read: images that cannot
/// run here must not hide older ones that can. One call tells them all.
pub const CANDIDATES_MAX: usize = 20;
/// Of those that can run here, so many are asked for their scans, newest first: each of their parts costs a call.
pub const SCANNED_MAX: usize = 3;

/// Proven revisions that are checked to be there still, newest first.
pub const TARGETS_MAX: usize = 5;

/// Whom to ask.
#[derive(Clone, Copy)]
pub struct World<'w> {
    pub registry: &'w dyn Registry,
    pub cluster: &'w dyn Cluster,
    pub alarms: &'w dyn Alarms,
    pub rejections: &'w dyn Rejections,
}

/// What to ask for.
#[derive(Clone, Copy)]
pub struct Look<'l> {
    /// As it was read before; an unreadable journal plans nothing, and needs no look.
    pub journal: Option<&'l Journal>,
    /// The digests that the policy admits among these images, newest first. Where a person names an image, it may stand
    /// in front: then it is looked at closely.
    pub admits: &'l (dyn Fn(&[Image]) -> Vec<Digest> + Sync),
    /// The alarms that the service's deployments watch.
    pub alarm_names: &'l [String],
    /// `linux/arm64`: what the task definition runs on.
    pub platform: &'l str,
    /// Whether the policy gates on scans.
    pub scans: bool,
    /// Tasks and rollouts although nothing is under way: a person asks.
    pub details: bool,
}

impl Look<'_> {
    /// Something is under way, or nobody knows what is.
    fn details(&self) -> bool {
        self.details
            || self.journal.is_none_or(|journal| {
                journal.candidate.is_some()
                    || journal.going_back.is_some()
                    || journal.intent.is_some()
                    || journal.retired.is_some()
            })
    }

    /// The newest proven revisions, where one of them may be gone back to.
    fn targets(&self) -> Vec<RevisionArn> {
        let in_need =
            self.journal.filter(|journal| journal.candidate.is_some() || journal.going_back.is_some());
        let proven = in_need
            .into_iter()
            .flat_map(|journal| journal.releases.iter().rev())
            .filter(|record| matches!(record.verdict, Verdict::Healthy | Verdict::Quiet));
        let to = in_need.and_then(|journal| journal.record(&journal.going_back.as_ref()?.to));
        // What is to be deployed may have been deregistered as well.
        let next = in_need.and_then(|journal| journal.record(journal.candidate.as_ref()?));
        let next = next.filter(|record| record.pointed_at.is_none());
        let mut targets: Vec<RevisionArn> =
            to.into_iter().chain(next).chain(proven).filter_map(|r| r.revision.clone()).collect();
        let mut seen = BTreeSet::new();
        targets.retain(|target| seen.insert(target.clone()));
        targets.truncate(TARGETS_MAX);
        targets
    }

    /// Whether the journal has the service somewhere else.
    fn is_elsewhere(&self, revision: &RevisionArn) -> bool {
        let current = self.journal.and_then(|journal| journal.record(journal.current.as_ref()?));
        current.and_then(|record| record.revision.as_ref()).is_some_and(|announced| announced != revision)
    }

    fn revisions(&self) -> bool {
        self.journal.is_none_or(|journal| {
            let announced = journal.intent.as_ref().map(|intent| &intent.action);
            matches!(announced, Some(Action::Register { .. }))
        })
    }
}

/// Reads what there is. An idle look costs six calls of AWS, the journal's one and the ledger's two
/// included, and one more while the newest images are indexes that no record knows.
pub async fn observe(world: &World<'_>, look: &Look<'_>) -> Observed {
    let targets = look.targets();
    let (images, service, rollouts, tasks, revisions, inactive, alarms, rejected) = tokio::join!(
        world.registry.images(),
        world.cluster.service(),
        rollouts(world, look.details()),
        tasks(world, look.details()),
        revisions(world, look.revisions()),
        inactive(world, &targets),
        world.alarms.alarms(look.alarm_names),
        world.rejections.rejected(),
    );
    // Before a service that stands elsewhere is put right: who is at it?
    let astray = matches!(&service, Ok(Some(service)) if look.is_elsewhere(&service.revision));
    let rollouts = if astray && !look.details() { world.cluster.rollouts().await } else { rollouts };
    // Of a service that is not there ECS answers with an error.
    let tasks = if matches!(service, Ok(None)) { Ok(Vec::new()) } else { tasks };
    let rejected = known("who is rejected", rejected);
    let images = match images {
        Ok(images) => closely(world, look, images, &rejected).await,
        Err(error) => Err(error),
    };
    Observed {
        images: known("the repository", images),
        service: known("the service", service_with(service, rollouts)),
        tasks: known("the service's tasks", tasks),
        alarms: known("the alarms", alarms),
        rejected,
        revisions: known("the task definition's revisions", revisions),
        inactive: known("the proven revisions", inactive),
    }
}

/// The images that matter, and of the newest of them what DescribeImages does not tell.
async fn closely(
    world: &World<'_>,
    look: &Look<'_>,
    images: Vec<Image>,
    rejected: &Known<BTreeSet<String>>,
) -> Result<Vec<Image>, CallError> {
    let admitted = (look.admits)(&images);
    let candidates = fold::candidates(&admitted, look.journal, rejected.known());
    let indexes = fold::unread(&images, &candidates, look.journal);
    let children = children(world, &indexes).await?;
    let images = fold::fold(images, &admitted, look.journal, &indexes, &children);
    if !look.scans {
        return Ok(images);
    }
    let unscanned = fold::unscanned(&images, &candidates, look.platform);
    let scans = scans(world, &unscanned).await?;
    Ok(fold::with_scans(images, &scans))
}

async fn children(world: &World<'_>, indexes: &[Digest]) -> Result<BTreeMap<Digest, Vec<Child>>, CallError> {
    if indexes.is_empty() { Ok(BTreeMap::new()) } else { world.registry.children(indexes).await }
}

async fn scans(world: &World<'_>, digests: &[Digest]) -> Result<BTreeMap<Digest, Scan>, CallError> {
    if digests.is_empty() { Ok(BTreeMap::new()) } else { world.registry.scans(digests).await }
}

async fn rollouts(world: &World<'_>, wanted: bool) -> Result<Vec<Rollout>, CallError> {
    if wanted { world.cluster.rollouts().await } else { Ok(Vec::new()) }
}

async fn tasks(world: &World<'_>, wanted: bool) -> Result<Vec<Task>, CallError> {
    if wanted { world.cluster.tasks().await } else { Ok(Vec::new()) }
}

async fn revisions(world: &World<'_>, wanted: bool) -> Result<Vec<Revision>, CallError> {
    if wanted { world.cluster.revisions().await } else { Ok(Vec::new()) }
}

async fn inactive(world: &World<'_>, targets: &[RevisionArn]) -> Result<Vec<RevisionArn>, CallError> {
    if targets.is_empty() { Ok(Vec::new()) } else { world.cluster.inactive(targets).await }
}

/// The better account of the service's deployments, where there is one. Without a service there are none, whatever
/// asking for them said.
fn service_with(
    service: Result<Option<Service>, CallError>,
    rollouts: Result<Vec<Rollout>, CallError>,
) -> Result<Option<Service>, CallError> {
    let Some(mut service) = service? else { return Ok(None) };
    let rollouts = rollouts?;
    if !rollouts.is_empty() {
        service.rollouts = rollouts;
    }
    Ok(Some(service))
}

fn known<T>(what: &str, read: Result<T, CallError>) -> Known<T> {
    match read {
        Ok(value) => Known::Known(value),
        Err(error) => Known::Unknown { what: what.to_owned(), why: error.chain() },
    }
}
