//! Stack: what the deployer does when the stack that it belongs to is created, updated or deleted.
//!
//! Order: a deletion is written into the journal first, so that no push that is still on its way starts anything again;
//! then the loop takes the tasks down and deletes the service; then, whatever became of that, ECS is told to delete it:
//! a stack whose deletion hangs is the worst end. A service that Landfall only found, and never pointed elsewhere, stays.
//! This is the only place that waits.
//! Neighbours: the loop; lambda calls it.

use std::time::Duration;

use serde_json::Value;

use super::{Outcome, World, run};
use crate::apply::ports::Deploy;
use crate::apply::store;
use crate::clock::Clock;
use crate::event::{Hint, StackChange};
use crate::journal::{Action, FORMAT, Journal, Retired};
use crate::observe::ports::{CallError, CallFault, Cluster, Written};
use crate::plan::Decision;
use crate::release::Moment;

/// A deletion in order takes no longer: twice the time that ECS gives a task to stop, and one more minute.
const GONE_WITHIN_MS: i64 = 300_000;
/// What is deleted at once has its tasks stopped by ECS, which gives them two minutes.
const DRAINED_WITHIN_MS: i64 = 150_000;
/// Between two looks at tasks that are stopping.
const POLL: Duration = Duration::from_secs(5);
/// After a refusal the plan makes the same call again no sooner than a minute later.
const REFUSED_MS: i64 = 65_000;
const TRIES_MAX: u32 = 2;
/// Times that others may write the journal first.
const RACES_MAX: u32 = 5;

const STAYS: &str = "the service was there before Landfall and still runs what it ran then: it stays; delete it yourself, \
                     if it is to go";

/// Carries out what a stack's change asks for. A sentence for the stack's list of events, or why it failed; beside it
/// what was decided.
pub async fn stack(
    world: &World<'_>,
    change: StackChange,
    stack_id: &str,
    until: Moment,
) -> (Result<String, String>, Outcome) {
    match change {
        StackChange::Create | StackChange::Update => {
            let comes = |journal: &mut Journal| takes_up(journal, change, stack_id);
            if let Err(error) = write_down(world, comes).await {
                return (Err(error.chain()), Outcome::default());
            }
            settled(world, until).await
        }
        StackChange::Delete => deleted(world, stack_id, until).await,
    }
}

/// What a stack that comes or changes means to the journal; whether it changed.
fn takes_up(journal: &mut Journal, change: StackChange, stack_id: &str) -> bool {
    let mut changed = false;
    // An update that comes late, after its stack's deletion, begins nothing.
    let is_late = |retired: &Retired| change == StackChange::Update && retired.stack == stack_id;
    if let Some(retired) = journal.retired.take_if(|retired| !is_late(retired)) {
        if !retired.leaves_service {
            // Nothing of it runs any more: the newest image is a first release again.
            journal.current = None;
            journal.stopped = None;
        }
        changed = true;
    }
    // Somebody did something: what was refused may not be now.
    if let Some(last) = journal.last_error.as_mut().filter(|last| last.times > 0) {
        last.times = 0;
        changed = true;
    }
    changed
}

/// Looks at once, so that what cannot work is told while somebody is watching.
async fn settled(world: &World<'_>, until: Moment) -> (Result<String, String>, Outcome) {
    let mut all = Outcome::default();
    for tries_left in (0..TRIES_MAX).rev() {
        match run(world, &Hint::Schedule, until).await {
            Err(error) => return (Err(error.chain()), all),
            Ok(outcome) => all.add(outcome),
        }
        let has_time = world.clock.now().after_ms(REFUSED_MS) < until;
        if !all.refused || tries_left == 0 || !has_time {
            break;
        }
        // Roles that the stack made a moment ago are not known everywhere in AWS yet.
        tokio::time::sleep(Duration::from_millis(REFUSED_MS.unsigned_abs())).await;
    }
    let decided = all.decisions.iter().map(|decision| format!("{}: {}", decision.what, decision.why));
    let said = decided.collect::<Vec<_>>().join("; ");
    match &all.trouble {
        // What is in doubt is looked at again; only what nobody but a person can mend fails the stack.
        Some(trouble) if all.refused => (Err(trouble.clone()), all),
        Some(trouble) => (Ok(format!("{said}; {trouble}")), all),
        None => (Ok(said), all),
    }
}

async fn deleted(world: &World<'_>, stack_id: &str, until: Moment) -> (Result<String, String>, Outcome) {
    let (began, cluster) = (world.clock.now(), world.look.cluster);
    let gone_by = until.min(began.after_ms(GONE_WITHIN_MS));
    let leaves_service = !is_to_go(cluster).await;
    let retired = Retired { stack: stack_id.to_owned(), at: began, leaves_service };
    let mut all = Outcome::default();
    let mut why_not;
    loop {
        match take_down(world, &retired, gone_by, &mut all).await {
            Ok(()) if leaves_service => return (Ok(STAYS.to_owned()), all),
            Ok(()) => return (Ok("the service is gone; data, ledger and journal stay".to_owned()), all),
            Err(NotYet::Hopeless(why)) => {
                why_not = why;
                break;
            }
            Err(NotYet::Waits(why)) => why_not = why,
        }
        if world.clock.now() >= gone_by {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    if leaves_service {
        // Only the journal does not know that the stack is gone, and nobody is left to read it.
        return (Ok(format!("{STAYS}; {why_not}")), all);
    }
    tracing::warn!("the service could not be taken down in order: {why_not}; it is deleted now");
    let said = delete_now(cluster, world.act.deploy, &world.act.bodies.delete(), world.clock, until).await;
    let said = match said {
        Ok(said) => Ok(format!("{said}; not in order, for: {why_not}")),
        Err(error) => Err(format!("{}; before that: {why_not}", error.chain())),
    };
    (said, all)
}

/// Why the service is not gone yet.
enum NotYet {
    /// Another look may find it gone.
    Waits(String),
    /// More looks would find the same.
    Hopeless(String),
}

impl From<CallError> for NotYet {
    fn from(error: CallError) -> NotYet {
        match error.fault {
            CallFault::Unknown | CallFault::Throttled => NotYet::Waits(error.chain()),
            CallFault::Refused | CallFault::Denied => NotYet::Hopeless(error.chain()),
        }
    }
}

/// One look of a deletion in order: the journal, then the loop, then whether it is gone.
async fn take_down(
    world: &World<'_>,
    retired: &Retired,
    until: Moment,
    all: &mut Outcome,
) -> Result<(), NotYet> {
    let goes = |journal: &mut Journal| {
        let is_new = journal.retired.is_none();
        journal.retired.get_or_insert_with(|| retired.clone());
        is_new
    };
    write_down(world, goes).await?;
    all.add(run(world, &Hint::Schedule, until).await?);
    if let Some(trouble) = &all.trouble {
        let trouble = trouble.clone();
        return Err(if all.refused { NotYet::Hopeless(trouble) } else { NotYet::Waits(trouble) });
    }
    let said = |last: &Decision| format!("the last look said: {}; {}", last.why, last.next);
    let waits = all.decisions.last().map_or_else(String::new, said);
    let is_gone = retired.leaves_service || world.look.cluster.service().await?.is_none();
    let journal = world.act.journals.read().await?.map(|(journal, _)| journal);
    let intent = journal.and_then(|journal| journal.intent);
    // One that was announced before may still be made: then it is to go too.
    match intent.map(|intent| intent.action) {
        Some(Action::Create { .. }) => Err(NotYet::Waits("its creation had begun".to_owned())),
        _ if is_gone => Ok(()),
        _ => Err(NotYet::Waits(waits)),
    }
}

/// Whether there is a service that Landfall made or pointed at a release. What cannot be told is: the stack's roles go,
/// and no task runs without them.
async fn is_to_go(cluster: &dyn Cluster) -> bool {
    match cluster.service().await {
        Ok(Some(service)) => cluster.is_ours(&service.revision).await.unwrap_or_else(|error| {
            tracing::warn!("whose the service is cannot be told: {}", error.chain());
            true
        }),
        Ok(None) | Err(_) => true,
    }
}

/// Deletes the service whatever runs in it, and waits for that, if it is there and Landfall's. A sentence.
///
/// # Errors
/// ECS does not delete it.
pub(super) async fn delete_now(
    cluster: &dyn Cluster,
    deploy: &dyn Deploy,
    body: &Value,
    clock: &dyn Clock,
    until: Moment,
) -> Result<String, CallError> {
    if !is_to_go(cluster).await {
        return Ok(STAYS.to_owned());
    }
    deploy.delete(body).await?;
    let until = until.min(clock.now().after_ms(DRAINED_WITHIN_MS));
    loop {
        match cluster.service().await {
            Ok(None) => return Ok("the service is gone".to_owned()),
            Ok(Some(_)) | Err(_) if clock.now() >= until => {
                return Ok("ECS was told to delete the service, and is at it".to_owned());
            }
            Ok(Some(_)) | Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Writes a change into the journal, as long as others are faster. The change tells whether there is something to write.
async fn write_down(world: &World<'_>, change: impl Fn(&mut Journal) -> bool) -> Result<(), CallError> {
    for _ in 0..RACES_MAX {
        let (mut journal, tag) = match world.act.journals.read().await? {
            Some((journal, tag)) => (journal, Some(tag)),
            None => (Journal { format: FORMAT, ..Journal::default() }, None),
        };
        if !change(&mut journal) {
            return Ok(());
        }
        journal.revision += 1;
        journal.updated_at = journal.updated_at.max(world.clock.now());
        if store(&mut journal, tag.as_ref(), world.act.journals).await? != Written::Changed {
            return Ok(());
        }
    }
    Err(CallError {
        what: "write into the journal that the stack changed".to_owned(),
        fault: CallFault::Throttled,
        source: "others wrote it every time".into(),
    })
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        let Outcome { decisions, tallies, pages, trouble, refused } = other;
        for decision in decisions {
            // Waiting is told once.
            if self.decisions.last() != Some(&decision) {
                self.decisions.push(decision);
            }
        }
        self.tallies.extend(tallies);
        self.pages += pages;
        self.trouble = trouble;
        self.refused = refused;
    }
}

#[cfg(test)]
mod tests;
