//! Plan: what to do next, as a pure function of what was observed.
//!
//! Order: unknown facts plan nothing; then an announced call is finished or dropped; then what people asked for; then
//! the way back; then the release under proof; only then something new. A plan holds at most one call to the outside,
//! announced in the journal that it carries. Whoever applies a plan observes and plans again.
//! Neighbours: observe, judge and journal before it; apply after it. Never: clocks, AWS, tokio.

mod adopt;
mod back;
mod candidate;
pub mod desired;
mod draft;
mod drift;
mod intent;
mod people;
pub mod target;
pub mod text;

use std::collections::BTreeSet;

use crate::journal::{Action, Cause, Journal, Record};
use crate::observe::facts::{Alarm, Image, Known, Observed, Revision, Service, Task};
use crate::policy::Policy;
use crate::release::{Digest, Moment, ReleaseId, RevisionArn};
pub use crate::rules::{Rule, Rules};
use draft::Draft;
use target::{Grounds, Standing};

pub use intent::LEASE_MS;

/// All that a plan is made of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub policy: &'a Policy,
    pub observed: &'a Observed,
    /// `None`: there is none. Unknown is no input: who can't read it plans nothing.
    pub journal: Option<&'a Journal>,
    /// Which release an image makes with the templates of this build.
    pub release_of: &'a (dyn Fn(&Digest) -> ReleaseId + Sync),
    /// Whether the service's settings let ECS roll back by itself.
    pub own_rollback: bool,
    /// What the task definition runs on: `linux/arm64`.
    pub platform: &'a str,
    /// The image whose push woke us.
    pub pushed: Option<&'a Digest>,
    pub rules: Rules,
    pub now: Moment,
}

/// What to do, why, and how it could be undone.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The journal as it is to be; none: it stays. Where there is an action, its intent stands in it.
    pub journal: Option<Journal>,
    /// The call that the journal's intent announces.
    pub action: Option<Action>,
    pub decision: Decision,
    /// What people are told and the metrics count, once the journal is written.
    pub happened: Vec<Happened>,
    pub tallies: Vec<Tally>,
}

/// A decision as a person reads it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Decision {
    pub release: Option<ReleaseId>,
    /// What is done, or that nothing is: a sentence without a full stop.
    pub what: String,
    /// The change as one line of [`text`], with its sign: `~ tasks 1 -> 0`.
    pub change: String,
    pub why: String,
    /// What comes next, or what it waits for.
    pub next: String,
    /// How this step is undone, where it can be.
    pub undo: Option<String>,
}

impl Decision {
    fn new(
        release: Option<&ReleaseId>,
        what: impl Into<String>,
        why: &str,
        next: &str,
        undo: Option<String>,
    ) -> Decision {
        let (release, what) = (release.cloned(), what.into());
        // Only the whole plan tells the change.
        Decision { release, what, change: String::new(), why: why.to_owned(), next: next.to_owned(), undo }
    }
}

/// What a person is to be told: report finds the words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Happened {
    /// A release began its proof.
    Started {
        release: ReleaseId,
    },
    Healthy {
        release: ReleaseId,
    },
    /// The way back begins.
    GoingBack {
        from: ReleaseId,
        to: ReleaseId,
        cause: Cause,
        words: String,
    },
    /// The good one runs again; the other is rejected, or only blocked for a while.
    WentBack {
        rejected: bool,
        from: ReleaseId,
        to: ReleaseId,
        cause: Cause,
        words: String,
    },
    /// ECS rolls back by itself.
    EcsGoesBack {
        release: ReleaseId,
        words: String,
    },
    /// A release failed and nothing proven is left.
    NoTarget {
        release: ReleaseId,
        words: String,
        stopped: bool,
        /// It may not write: the ledger rejects it.
        rejected: bool,
    },
    /// ECS gave up what is current, and no task of it runs.
    NothingRuns {
        release: ReleaseId,
        words: String,
        /// It is deployed again; else that was tried often enough.
        again: bool,
    },
    Blocked {
        release: ReleaseId,
        words: String,
        retry_at: Moment,
    },
    /// A deployment of the proven release failed on the way back.
    WayBackFailed {
        to: ReleaseId,
        words: String,
        retry_at: Moment,
        /// No other target is left: newer images come in again.
        gives_up: bool,
    },
    /// It takes long; nothing is concluded from that.
    Slow {
        release: ReleaseId,
        words: String,
    },
    /// The newest image may not be released yet.
    Held {
        release: ReleaseId,
        digest: Digest,
        tag: String,
        skip: Skip,
        words: String,
    },
    /// Somebody pointed the service elsewhere.
    Displaced {
        release: ReleaseId,
        words: String,
    },
    /// The service was found on a revision that nobody announced.
    Drift {
        release: ReleaseId,
        found: RevisionArn,
        restored: bool,
    },
    /// AWS or the ledger refused an announced call.
    Refused {
        words: String,
        denied: bool,
    },
    /// A service without a journal was taken over as it is.
    Adopted {
        release: ReleaseId,
    },
}

/// One thing that the metrics count. Reasons are closed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tally {
    DeploymentStarted,
    DeploymentHealthy,
    Rollback(Cause),
    Blocked(Cause),
    Skipped(Skip),
    /// A push whose event never came was found by looking.
    PushLost,
    PushToRunningSeconds(f64),
    PushToVerdictSeconds(f64),
    Drift,
}

/// Why the newest image is not being released: closed, for the metrics' dimension `Reason`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Skip {
    Older,
    Rejected,
    Frozen,
    Pinned,
    Stopped,
    Unapproved,
    ScanPending,
    ScanFindings,
    WrongPlatform,
    Busy,
    Blocked,
    Unknown,
}

/// The facts, all of them read.
struct Facts<'a> {
    images: &'a [Image],
    service: Option<&'a Service>,
    tasks: &'a [Task],
    alarms: &'a [Alarm],
    rejected: &'a BTreeSet<String>,
    revisions: &'a [Revision],
    inactive: &'a [RevisionArn],
}

/// What a room of the plan says: this is it, or nothing of mine to do here.
type Step = Option<Plan>;

/// Plans the next step.
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    let mut plan = step(inputs);
    plan.decision.change = text::change(&plan, inputs.observed);
    plan
}

fn step(inputs: &Inputs<'_>) -> Plan {
    let facts = match facts(inputs) {
        Ok(facts) => facts,
        Err((what, why)) => {
            let mut draft = Draft::new(inputs);
            draft.tallies.push(Tally::Skipped(Skip::Unknown));
            let why = format!("{what} could not be read: {why}");
            return draft.nothing(None, &why, "the next event or the schedule looks again");
        }
    };
    let mut draft = Draft::new(inputs);
    adopt::look(&mut draft, inputs, &facts);
    note_push(&mut draft, inputs, &facts);
    None.or_else(|| intent::step(&mut draft, inputs, &facts))
        .or_else(|| people::step(&mut draft, inputs, &facts))
        .or_else(|| back::step(&mut draft, inputs, &facts))
        .or_else(|| candidate::step(&mut draft, inputs, &facts))
        .or_else(|| drift::step(&mut draft, inputs, &facts))
        .unwrap_or_else(|| candidate::begin(&mut draft, inputs, &facts))
}

/// All facts, or what is unknown and why.
fn facts<'a>(inputs: &Inputs<'a>) -> Result<Facts<'a>, (String, String)> {
    /// `None` only where the rule is taken away.
    fn read<T>(known: &Known<T>, rules: Rules) -> Result<Option<&T>, (String, String)> {
        match known {
            Known::Known(value) => Ok(Some(value)),
            Known::Unknown { .. } if !rules.unknown_plans_nothing => Ok(None),
            Known::Unknown { what, why } => Err((what.clone(), why.clone())),
        }
    }
    fn list<T>(known: &Known<Vec<T>>, rules: Rules) -> Result<&[T], (String, String)> {
        Ok(read(known, rules)?.map_or(&[], Vec::as_slice))
    }
    static NOBODY: BTreeSet<String> = BTreeSet::new();
    let (seen, rules) = (inputs.observed, inputs.rules);
    Ok(Facts {
        images: list(&seen.images, rules)?,
        service: read(&seen.service, rules)?.and_then(Option::as_ref),
        tasks: list(&seen.tasks, rules)?,
        alarms: list(&seen.alarms, rules)?,
        rejected: read(&seen.rejected, rules)?.unwrap_or(&NOBODY),
        revisions: list(&seen.revisions, rules)?,
        inactive: list(&seen.inactive, rules)?,
    })
}

/// Remembers that this push's event came, so that one that never came can be told.
fn note_push(draft: &mut Draft, inputs: &Inputs<'_>, facts: &Facts<'_>) {
    let Some(pushed) = inputs.pushed else { return };
    let admitted = facts.images.iter().any(|image| {
        image.digest == *pushed && inputs.policy.admits_any(image.tags.iter().map(String::as_str)).is_some()
    });
    if admitted && !draft.journal.pushes.contains(pushed) {
        draft.journal.pushes.push(pushed.clone());
    }
}

impl<'a> Facts<'a> {
    fn grounds(&self) -> Grounds<'a> {
        Grounds { images: self.images, rejected: self.rejected, inactive: self.inactive }
    }

    /// Whether the release may not run.
    fn rejects(&self, journal: &Journal, record: &Record) -> bool {
        self.grounds().rejects(journal, record)
    }

    /// Whether the release may be gone back to.
    fn is_target(&self, journal: &Journal, record: &Record) -> bool {
        self.grounds().standing(journal, record) == Standing::Target
    }

    /// Whether the release could run again: its image in the registry, its revision registered.
    fn can_run(&self, record: &Record) -> bool {
        self.grounds().running(record) == Standing::Target
    }

    /// The proven release to go back to from `from`.
    fn target<'j>(&self, journal: &'j Journal, from: &ReleaseId) -> Option<&'j Record> {
        self.grounds().choose(journal, from, &[])
    }
}

#[cfg(test)]
mod tests;
