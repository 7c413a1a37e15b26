//! Stack: what the deployer does when the stack that it belongs to is created, updated or deleted.
//!
//! Order: a deletion is written into the journal first, so that no push that is still on its way starts anything again;
//! then the loop takes the tasks down and deletes the service; then, whatever became of that, ECS is told to delete it:
//! a stack whose deletion hangs is the worst end. This is the only place that waits.
//! Neighbours: the loop; lambda calls it.

use std::time::Duration;

use super::{Outcome, World, run};
use crate::apply::store;
use crate::event::{Hint, StackChange};
use crate::journal::{FORMAT, Journal, Retired};
use crate::observe::ports::{CallError, CallFault, Written};
use crate::release::Moment;

/// A deletion takes no longer: twice the time that ECS gives a task to stop, and one more minute.
const GONE_WITHIN_MS: i64 = 300_000;
/// Between two looks at tasks that are stopping.
const POLL: Duration = Duration::from_secs(5);
/// After a refusal the plan makes the same call again no sooner than a minute later.
const REFUSED_MS: i64 = 65_000;
const TRIES_MAX: u32 = 2;
/// Times that others may write the journal first.
const RACES_MAX: u32 = 5;

/// Carries out what a stack's change asks for. A sentence for the stack's list of events, or why it failed; beside it
/// what was decided.
pub async fn stack(
    world: &World<'_>,
    change: StackChange,
    stack_id: &str,
    until: Moment,
) -> (Result<String, String>, Outcome) {
    match change {
        StackChange::Create | StackChange::Update => settled(world, until).await,
        StackChange::Delete => deleted(world, stack_id, until).await,
    }
}

/// Looks at once, so that what cannot work is told while somebody is watching.
async fn settled(world: &World<'_>, until: Moment) -> (Result<String, String>, Outcome) {
    if let Err(error) = retire(world, None).await {
        return (Err(error.chain()), Outcome::default());
    }
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
    let began = world.clock.now();
    let gone_by = until.min(began.after_ms(GONE_WITHIN_MS));
    let mut all = Outcome::default();
    let retired = Retired { stack: stack_id.to_owned(), at: began };
    let mut fault = retire(world, Some(&retired)).await.err().map(|error| error.chain());
    // Without a journal nothing is orderly; what is left is to delete.
    while fault.is_none() {
        match run(world, &Hint::Schedule, gone_by).await {
            Ok(outcome) => all.add(outcome),
            Err(error) => fault = Some(error.chain()),
        }
        match world.look.cluster.service().await {
            Ok(None) => return (Ok("the service is gone; data, ledger and journal stay".to_owned()), all),
            Ok(Some(_)) if world.clock.now() >= gone_by => {
                fault = Some("its tasks did not end in time".to_owned());
            }
            Ok(Some(_)) => tokio::time::sleep(POLL).await,
            Err(error) => fault = Some(error.chain()),
        }
    }
    let fault = fault.unwrap_or_default();
    tracing::warn!("the service could not be taken down in order: {fault}; it is deleted now");
    let said = match world.act.deploy.delete(&world.act.bodies.delete()).await {
        Ok(()) => Ok(format!("ECS was told to delete the service, for: {fault}")),
        Err(error) => Err(format!("{}; before that: {fault}", error.chain())),
    };
    (said, all)
}

/// Writes down whether the deployer is retired, unless the journal says so already.
async fn retire(world: &World<'_>, retired: Option<&Retired>) -> Result<(), CallError> {
    for _ in 0..RACES_MAX {
        let read = world.act.journals.read().await?;
        let is_retired = read.as_ref().is_some_and(|(journal, _)| journal.retired.is_some());
        if is_retired == retired.is_some() {
            return Ok(());
        }
        let blank = Journal { format: FORMAT, ..Journal::default() };
        let (mut journal, tag) = match read {
            Some((journal, tag)) => (journal, Some(tag)),
            None => (blank, None),
        };
        journal.retired = retired.cloned();
        journal.revision += 1;
        journal.updated_at = journal.updated_at.max(world.clock.now());
        if retired.is_none() {
            // Nothing of it runs any more: the newest image is a first release again.
            journal.current = None;
            journal.stopped = None;
        }
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
