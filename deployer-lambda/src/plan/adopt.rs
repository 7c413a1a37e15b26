//! Adopt: a service without a journal is taken over as it is; it is no first release.
//!
//! Order: before everything else, so that what runs is known before anything newer is looked at.
//! Neighbours: draft. Pure.

use super::draft::Draft;
use super::{Facts, Happened, Inputs};
use crate::journal::{Record, Stopped, Verdict};
use crate::observe::facts::RolloutState;
use crate::policy::Admitted;
use crate::release::{Digest, ReleaseId};

/// Notes what runs, where there is a service and no journal.
pub(super) fn look(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) {
    let Some(service) = facts.service.filter(|_| inputs.journal.is_none()) else { return };
    if !inputs.rules.adopt_without_a_journal {
        return;
    }
    let revision = facts.revisions.iter().find(|revision| revision.arn == service.revision);
    let digest = revision.and_then(|revision| revision.image.clone()).unwrap_or(Digest(String::new()));
    let image = facts.images.iter().find(|image| image.digest == digest);
    let release = revision
        .and_then(|revision| revision.release.clone())
        .unwrap_or_else(|| ReleaseId::adopted(&service.revision));
    let rollout = service.rollouts.iter().rev().max_by_key(|rollout| rollout.created_at);
    // What ECS did not complete is not proven: it gets its verdict like any other.
    let underway = rollout.is_some_and(|rollout| {
        rollout.revision == service.revision && rollout.state != RolloutState::Successful
    });
    let tags = image.map(|image| image.tags.clone()).unwrap_or_default();
    let pushed_at = image.map(|image| image.pushed_at).unwrap_or_default();
    let admitted = inputs.policy.admits_any(tags.iter().map(String::as_str));
    let version = match admitted {
        Some(Admitted::Version(version)) => Some(version.to_string()),
        Some(Admitted::Name) | None => None,
    };
    let record = Record {
        children: image.and_then(|image| image.children.clone()).unwrap_or_default(),
        tags,
        version,
        pushed_at,
        revision: Some(service.revision.clone()),
        verdict: if underway { Verdict::Proving } else { Verdict::Healthy },
        reason: "found running without a journal, and taken over as it is".to_owned(),
        pointed_at: Some(rollout.map_or(inputs.now, |rollout| rollout.created_at)),
        verdict_at: (!underway).then_some(inputs.now),
        ..Record::of(release.clone(), digest, inputs.now)
    };
    draft.journal.releases.push(record);
    if service.desired == 0 {
        // Somebody stopped it, and the journal that knew who is gone. Nothing could prove itself there.
        draft.journal.stopped = Some(Stopped {
            by: "landfall".to_owned(),
            at: inputs.now,
            desired: 1,
            reason: "found with 0 tasks and without a journal".to_owned(),
        });
    }
    if underway {
        draft.journal.candidate = Some(release.clone());
    } else {
        draft.journal.current = Some(release.clone());
    }
    draft.happened.push(Happened::Adopted { release });
}
