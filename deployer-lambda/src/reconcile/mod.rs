//! Reconcile: look, plan, apply, and look again, until nothing is left to do or the time is over.
//!
//! Order: the journal is read first, then the world; a plan is made of both; its notices go into the same journal as
//! its intent. Whoever loses a race looks again. What cannot be read plans nothing.
//! Neighbours: observe, plan, apply, report. Generic over its ports: the simulation runs this very loop.

pub mod lambda;
mod stack;
mod tell;
mod write_down;

use crate::apply::{self, Applied, Doing, apply};
use crate::clock::Clock;
use crate::event::Hint;
use crate::journal::Journal;
use crate::observe::facts::{Image, Observed};
use crate::observe::ports::{CallError, JournalTag};
use crate::observe::{self, Look, observe};
use crate::plan::{self, Decision, Inputs, Plan, Rules, Tally, desired};
use crate::policy::Policy;
use crate::release::{Digest, Moment, ReleaseId};

pub use stack::stack;
pub use tell::Teller;
pub use write_down::{WrittenDown, write_down};

/// Steps of one invocation: a release takes three, a way back five.
const STEPS_MAX: u32 = 16;
/// Times that others may write the journal first before this invocation leaves it to them.
const RACES_MAX: u32 = 4;

/// All that the loop needs.
#[derive(Clone, Copy)]
pub struct World<'w> {
    pub look: observe::World<'w>,
    pub act: apply::World<'w>,
    pub policy: &'w Policy,
    /// Which release an image makes with the templates of this build.
    pub release_of: &'w (dyn Fn(&Digest) -> ReleaseId + Sync),
    /// `linux/arm64`: what the task definition runs on.
    pub platform: &'w str,
    /// The alarms that the service's deployments watch.
    pub alarms: &'w [String],
    /// Whether the service's settings let ECS roll back by itself.
    pub own_rollback: bool,
    pub teller: &'w Teller,
    pub clock: &'w dyn Clock,
    pub rules: Rules,
}

/// The journal as it was read, and all that was observed with it.
pub struct Seen {
    pub journal: Option<(Journal, JournalTag)>,
    pub observed: Observed,
    pub at: Moment,
}

/// What one invocation came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every decision, the last one last.
    pub decisions: Vec<Decision>,
    pub tallies: Vec<Tally>,
    /// Notices that ask for a person now.
    pub pages: u32,
    /// What was refused or left in doubt, in words.
    pub trouble: Option<String>,
    /// The trouble is a refusal: nothing happened, and trying again changes nothing before somebody acts.
    pub refused: bool,
}

/// Looks at everything once.
///
/// # Errors
/// The journal cannot be read: nothing is planned.
pub async fn see(world: &World<'_>, details: bool) -> Result<Seen, CallError> {
    let journal = world.act.journals.read().await?;
    let admits = |images: &[Image]| {
        // What a person pinned may be older than all that is looked at closely.
        let pin = journal.as_ref().and_then(|(journal, _)| journal.pin.as_ref());
        let pinned = pin.and_then(|pin| {
            // A pin of an older build knows no digest.
            let made_by = |image: &&Image| match &pin.digest {
                Some(digest) => image.digest == *digest,
                None => (world.release_of)(&image.digest) == pin.release,
            };
            images.iter().find(made_by).map(|image| image.digest.clone())
        });
        pinned.into_iter().chain(desired::admitted(world.policy, images)).collect()
    };
    let look = Look {
        journal: journal.as_ref().map(|(journal, _)| journal),
        admits: &admits,
        alarm_names: world.alarms,
        platform: world.platform,
        scans: world.policy.scan.passes.is_some(),
        details,
    };
    let observed = observe(&world.look, &look).await;
    Ok(Seen { journal, observed, at: world.clock.now() })
}

/// The plan of what was seen.
pub fn plan_of(world: &World<'_>, seen: &Seen, pushed: Option<&Digest>) -> Plan {
    plan::plan(&Inputs {
        policy: world.policy,
        observed: &seen.observed,
        journal: seen.journal.as_ref().map(|(journal, _)| journal),
        release_of: world.release_of,
        own_rollback: world.own_rollback,
        platform: world.platform,
        pushed,
        rules: world.rules,
        now: seen.at,
    })
}

/// Reconciles. Nothing new is begun after `until`.
///
/// # Errors
/// The journal cannot be read; whatever was begun is found by the next look.
pub async fn run(world: &World<'_>, hint: &Hint, until: Moment) -> Result<Outcome, CallError> {
    let pushed = match hint {
        Hint::Push { digest, .. } => Some(digest),
        Hint::Scan { .. }
        | Hint::Deployment { .. }
        | Hint::Service { .. }
        | Hint::Task
        | Hint::Alarm { .. }
        | Hint::Schedule => None,
    };
    let mut outcome = Outcome::default();
    let mut races = 0;
    for _ in 0..STEPS_MAX {
        let seen = see(world, false).await?;
        let mut plan = plan_of(world, &seen, pushed);
        let pages = world.teller.tell(&mut plan, &seen, world.policy);
        let applied = apply(&plan, seen.journal, &world.act, seen.at).await;
        let goes_on = match &applied {
            Applied::Nothing => false,
            Applied::Done => true,
            Applied::Raced => {
                races += 1;
                tracing::debug!(races, "somebody else wrote the journal first: looking again");
                if races > RACES_MAX {
                    break;
                }
                continue;
            }
            Applied::Refused { doing, error } => {
                outcome.trouble = Some(trouble(doing, error, "nothing happened"));
                outcome.refused = true;
                false
            }
            Applied::InDoubt { doing, error } => {
                outcome.trouble =
                    Some(trouble(doing, error, "nobody knows whether it happened; the next look decides"));
                false
            }
        };
        let announced = !matches!(&applied, Applied::Refused { doing, .. } | Applied::InDoubt { doing, .. }
            if *doing == Doing::Announcing);
        let only_noted = plan.action.is_none();
        outcome.decisions.push(plan.decision);
        // What was not written did not happen.
        if announced {
            outcome.tallies.extend(plan.tallies);
            outcome.pages += pages;
        }
        if !goes_on || (only_noted && says_the_same(&outcome)) || world.clock.now() >= until {
            break;
        }
    }
    Ok(outcome)
}

/// A step that only noted something is followed by another look, unless it said the same before.
fn says_the_same(outcome: &Outcome) -> bool {
    matches!(outcome.decisions.as_slice(), [.., before, last] if before == last)
}

fn trouble(doing: &Doing, error: &CallError, so: &str) -> String {
    let text = format!("{}; {so}", error.chain());
    tracing::warn!(?doing, "{text}");
    text
}
