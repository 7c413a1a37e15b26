//! Apply: makes the announced call, and writes what came of it.
//!
//! Order: the journal with the intent is stored first; then the call; then the journal without the intent. A call
//! whose outcome nobody knows leaves its intent: the next look decides. Chores come last and never fail anything.
//! Neighbours: plan and journal before it; the ports are kept by aws, the bodies by render.

mod bodies;
mod chores;
pub mod ports;
#[cfg(test)]
mod tests;
pub mod widen;

use std::fmt;

use serde_json::Value;

pub use self::bodies::Templated;
use self::ports::{Catalog, Deploy, Fence, Keeper, Notifier, Scaler};
use crate::journal::{Action, Journal, LastError, Record, Scaling};
use crate::observe::ports::{CallError, CallFault, JournalStore, JournalTag, Written};
use crate::plan::Plan;
use crate::release::{Moment, ReleaseId, RevisionArn};

/// Times that a small change is made again on a journal that others wrote meanwhile.
const RACES_MAX: u32 = 5;

/// Whom to tell.
#[derive(Clone, Copy)]
pub struct World<'w> {
    pub journals: &'w dyn JournalStore,
    pub deploy: &'w dyn Deploy,
    pub fence: &'w dyn Fence,
    pub keeper: &'w dyn Keeper,
    pub notifier: &'w dyn Notifier,
    pub bodies: &'w dyn Bodies,
    pub scaler: &'w dyn Scaler,
    /// How the service's number of tasks is to follow its lag, if it is.
    pub scaling: Option<Scaling>,
    /// None: there is no table to keep.
    pub catalog: Option<&'w dyn Catalog>,
    /// Always, outside the simulation, which takes this rule away to see what it is for.
    pub announce_first: bool,
}

/// What the templates make of a release: the requests' JSON.
pub trait Bodies: Send + Sync {
    fn register(&self, record: &Record) -> Result<Value, BodyError>;
    fn create(&self, record: &Record, revision: &RevisionArn) -> Result<Value, BodyError>;
    fn update(
        &self,
        record: &Record,
        revision: &RevisionArn,
        own_rollback: bool,
        force: bool,
    ) -> Result<Value, BodyError>;
    fn own_rollback(&self, on: bool) -> Result<Value, BodyError>;
    fn scale(&self, desired: u32) -> Result<Value, BodyError>;
    fn delete(&self) -> Value;
    /// Tags for the console, sanitised.
    fn mirror(&self, record: &Record) -> Vec<(String, String)>;
}

/// Why there is no body for a call.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the journal has no record of release {0}")]
    NoRecord(ReleaseId),
    /// The templates changed since the release was picked: what would be sent is another release.
    #[error("the templates make release {made} of this image now, not {wanted}: they were changed since")]
    OtherRelease { made: ReleaseId, wanted: ReleaseId },
    #[error("render the templates")]
    Render(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What became of a plan.
#[derive(Debug)]
pub enum Applied {
    /// Nothing was to be done.
    Nothing,
    /// Somebody else wrote the journal first: nothing was done; look again.
    Raced,
    /// The journal is written and the call, if there was one, is made.
    Done,
    /// Nothing happened outside, and asking again changes nothing before somebody acts. The journal says so.
    Refused { doing: Doing, error: CallError },
    /// Nobody knows, or it is to be tried later: the intent stands, if it was written, and the next look decides.
    InDoubt { doing: Doing, error: CallError },
}

/// What was being done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Doing {
    /// Writing the plan's journal: no call was made.
    Announcing,
    Calling(Action),
    /// Writing what came of a call that was made.
    Settling(Action),
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doing::Announcing => f.write_str("write the plan into the journal"),
            Doing::Calling(action) => f.write_str(&verb(action)),
            Doing::Settling(action) => write!(f, "write down what came of this: {}", verb(action)),
        }
    }
}

/// The journal as it was last seen in the store.
type Seen = (Journal, JournalTag);

/// Makes a plan come true, then does the chores. `read` is the journal that the plan was made from.
pub async fn apply(plan: &Plan, read: Option<Seen>, world: &World<'_>, now: Moment) -> Applied {
    let (applied, seen) = step(plan, read, world, now).await;
    if let Some(seen) = seen {
        chores::run(seen, world, now).await;
    }
    applied
}

/// The plan's one step. Beside it the journal as it is now, where that is known: else chores wait for the next look.
async fn step(plan: &Plan, read: Option<Seen>, world: &World<'_>, now: Moment) -> (Applied, Option<Seen>) {
    if let (false, Some(journal), Some(action)) = (world.announce_first, &plan.journal, &plan.action) {
        // What then stands in the journal comes too late for whoever looks meanwhile.
        if let Err(error) = call(action, journal, world).await {
            return (unmade(Doing::Calling(action.clone()), error), None);
        }
    }
    let seen = match &plan.journal {
        None => read,
        Some(next) => match announce(next, read.as_ref().map(|(_, tag)| tag), world).await {
            Ok(Some(seen)) => Some(seen),
            Ok(None) => return (Applied::Raced, None),
            Err(error) => return (unmade(Doing::Announcing, error), None),
        },
    };
    let Some(action) = &plan.action else {
        return (if plan.journal.is_some() { Applied::Done } else { Applied::Nothing }, seen);
    };
    let Some((journal, tag)) = seen.filter(|(journal, _)| announced(journal, action).is_some()) else {
        let why = "a plan's action must stand in its journal as the intent: this is a bug";
        let error = CallError {
            what: "make the announced call".to_owned(),
            fault: CallFault::Refused,
            source: why.into(),
        };
        return (Applied::Refused { doing: Doing::Announcing, error }, None);
    };
    let id = announced(&journal, action).unwrap_or_default();
    match call(action, &journal, world).await {
        Ok(made) => settle((journal, tag), id, action, Ok(made), world, now).await,
        Err(error) => match error.fault {
            CallFault::Unknown | CallFault::Throttled => {
                (Applied::InDoubt { doing: Doing::Calling(action.clone()), error }, Some((journal, tag)))
            }
            CallFault::Refused | CallFault::Denied => {
                settle((journal, tag), id, action, Err(error), world, now).await
            }
        },
    }
}

/// The intent's id, if it announces this action.
fn announced(journal: &Journal, action: &Action) -> Option<u64> {
    journal.intent.as_ref().filter(|intent| intent.action == *action).map(|intent| intent.id)
}

/// By what is known: a refusal and a missing permission did nothing; anything else is in doubt.
fn unmade(doing: Doing, error: CallError) -> Applied {
    match error.fault {
        CallFault::Refused | CallFault::Denied => Applied::Refused { doing, error },
        CallFault::Unknown | CallFault::Throttled => Applied::InDoubt { doing, error },
    }
}

/// Stores a journal within its bounds: the one way in which any is written.
///
/// # Errors
/// As the store's.
pub async fn store(
    next: &mut Journal,
    over: Option<&JournalTag>,
    journals: &dyn JournalStore,
) -> Result<Written, CallError> {
    let forgotten = next.bound();
    if forgotten.records > 0 || forgotten.notices > 0 {
        let (records, notices) = (forgotten.records, forgotten.notices);
        tracing::warn!(records, notices, "the journal is at its bounds: the oldest is forgotten");
    }
    journals.write(next, over).await
}

/// Stores the plan's journal. `None`: somebody else was first.
async fn announce(
    next: &Journal,
    over: Option<&JournalTag>,
    world: &World<'_>,
) -> Result<Option<Seen>, CallError> {
    let mut next = next.clone();
    match store(&mut next, over, world.journals).await? {
        Written::Written(tag) => Ok(Some((next, tag))),
        Written::Changed => Ok(None),
    }
}

/// What a call brought that the journal needs.
enum Made {
    Registered(RevisionArn),
    Plain,
}

async fn call(action: &Action, journal: &Journal, world: &World<'_>) -> Result<Made, CallError> {
    let record =
        |release: &ReleaseId| journal.record(release).ok_or_else(|| BodyError::NoRecord(release.clone()));
    let body = |body: Result<Value, BodyError>| {
        body.map_err(|error| CallError {
            what: format!("prepare to {}", verb(action)),
            fault: CallFault::Refused,
            source: Box::new(error),
        })
    };
    match action {
        Action::Register { release } => {
            let body = body(record(release).and_then(|record| world.bodies.register(record)))?;
            return world.deploy.register(&body).await.map(Made::Registered);
        }
        Action::Create { release, revision } => {
            let body = body(record(release).and_then(|record| world.bodies.create(record, revision)))?;
            world.deploy.create(&body).await?;
        }
        Action::Point { release, revision, own_rollback, force } => {
            let update = |record: &Record| world.bodies.update(record, revision, *own_rollback, *force);
            world.deploy.update(&body(record(release).and_then(update))?).await?;
        }
        Action::OwnRollback { on } => world.deploy.update(&body(world.bodies.own_rollback(*on))?).await?,
        Action::Scale { desired } => world.deploy.update(&body(world.bodies.scale(*desired))?).await?,
        Action::Delete => world.deploy.delete(&world.bodies.delete()).await?,
        Action::Reject { what, reason } => world.fence.reject(what, reason).await?,
        Action::Release { what, reason } => world.fence.release(what, reason).await?,
    }
    Ok(Made::Plain)
}

fn verb(action: &Action) -> String {
    match action {
        Action::Register { release } => format!("register release {release}"),
        Action::Create { release, .. } => format!("create the service with release {release}"),
        Action::Point { release, revision, .. } => {
            format!("point the service at {} of release {release}", revision.short())
        }
        Action::OwnRollback { on: true } => "switch ECS's own rollback on".to_owned(),
        Action::OwnRollback { on: false } => "switch ECS's own rollback off".to_owned(),
        Action::Scale { desired } => format!("scale the service to {desired}"),
        Action::Delete => "delete the service".to_owned(),
        Action::Reject { what, .. } => format!("reject `{what}`"),
        Action::Release { what, .. } => format!("release `{what}`"),
    }
}

/// Writes what came of a call, on whatever the journal is by now: the intent goes only if it is still the same.
async fn settle(
    seen: Seen,
    id: u64,
    action: &Action,
    outcome: Result<Made, CallError>,
    world: &World<'_>,
    now: Moment,
) -> (Applied, Option<Seen>) {
    let change = |journal: &mut Journal| {
        if journal.intent.as_ref().is_none_or(|intent| intent.id != id) {
            // Whoever found it old has settled it.
            return false;
        }
        journal.intent = None;
        note(journal, action, &outcome, now);
        true
    };
    match amend(seen, change, world, now).await {
        Err(error) => (Applied::InDoubt { doing: Doing::Settling(action.clone()), error }, None),
        Ok(seen) => match outcome {
            Ok(_) => (Applied::Done, seen),
            Err(error) => (Applied::Refused { doing: Doing::Calling(action.clone()), error }, seen),
        },
    }
}

/// What the journal learns from a call's outcome.
fn note(journal: &mut Journal, action: &Action, outcome: &Result<Made, CallError>, now: Moment) {
    let same_kind = |last: &LastError| std::mem::discriminant(&last.action) == std::mem::discriminant(action);
    match outcome {
        Ok(made) => {
            if let (Made::Registered(arn), Action::Register { release }) = (made, action)
                && let Some(record) = journal.record_mut(release)
            {
                record.revision = Some(arn.clone());
            }
            journal.last_error = journal.last_error.take().filter(|last| !same_kind(last));
        }
        Err(error) => {
            let before = journal.last_error.take().filter(|last| last.action == *action);
            journal.last_error = Some(LastError {
                action: action.clone(),
                text: error.chain(),
                denied: error.fault == CallFault::Denied,
                at: now,
                times: before.map_or(1, |last| last.times.saturating_add(1)),
            });
        }
    }
}

/// Makes a small change on the journal as it is, again on each newer one. The change tells whether there is something
/// to write. `None`: the journal is gone.
async fn amend(
    seen: Seen,
    change: impl Fn(&mut Journal) -> bool,
    world: &World<'_>,
    now: Moment,
) -> Result<Option<Seen>, CallError> {
    let (mut journal, mut tag) = seen;
    let mut doubt = None;
    for _ in 0..RACES_MAX {
        let mut next = journal.clone();
        if !change(&mut next) {
            return Ok(Some((journal, tag)));
        }
        next.revision += 1;
        next.updated_at = next.updated_at.max(now);
        match store(&mut next, Some(&tag), world.journals).await {
            Ok(Written::Written(tag)) => return Ok(Some((next, tag))),
            Ok(Written::Changed) => {}
            Err(error) if error.fault == CallFault::Unknown => doubt = Some(error),
            Err(error) => return Err(error),
        }
        match world.journals.read().await? {
            Some(found) => (journal, tag) = found,
            None => return Ok(None),
        }
    }
    Err(doubt.unwrap_or_else(|| CallError {
        what: "write the journal".to_owned(),
        fault: CallFault::Unknown,
        source: format!("others wrote it {RACES_MAX} times in a row").into(),
    }))
}
