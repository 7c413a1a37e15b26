//! Draft: the journal as it will be, and how a plan is made of it.
//!
//! Order: facts are noted in the journal first; then at most one action, whose intent is put in last.
//! Neighbours: plan's steps write it. Pure.

use super::{Decision, Happened, Inputs, Plan, Skip, Tally};
use crate::journal::{Action, FORMAT, Intent, Journal, LastError};
use crate::release::{Moment, ReleaseId};

/// A refused call is made again after a minute, two, four, and so on.
const REFUSED_FIRST_MS: i64 = 60_000;
const REFUSED_MAX_MS: i64 = 1_800_000;

pub(super) struct Draft {
    before: Option<Journal>,
    pub journal: Journal,
    pub happened: Vec<Happened>,
    pub tallies: Vec<Tally>,
    now: Moment,
}

impl Draft {
    pub fn new(inputs: &Inputs<'_>) -> Draft {
        let journal = inputs.journal.cloned().unwrap_or(Journal { format: FORMAT, ..Journal::default() });
        Draft {
            before: inputs.journal.cloned(),
            journal,
            happened: Vec::new(),
            tallies: Vec::new(),
            now: inputs.now,
        }
    }

    /// Whether this topic is new; it is told from now on.
    pub fn first_time(&mut self, topic: &str, about: &str) -> bool {
        let new = !self.was_told(topic, about);
        if new {
            self.journal.told.push(format!("{topic}:{about}"));
        }
        new
    }

    pub fn was_told(&self, topic: &str, about: &str) -> bool {
        self.journal.told.contains(&format!("{topic}:{about}"))
    }

    /// The topic may be told again.
    pub fn forget(&mut self, topic: &str, about: &str) {
        let key = format!("{topic}:{about}");
        self.journal.told.retain(|told| *told != key);
    }

    /// A plan without a call; what was noted is written all the same.
    pub fn nothing(&mut self, release: Option<&ReleaseId>, why: &str, next: &str) -> Plan {
        self.noted(release, "nothing", why, next)
    }

    /// A plan that only writes the journal.
    pub fn noted(&mut self, release: Option<&ReleaseId>, what: &str, why: &str, next: &str) -> Plan {
        self.plan(None, Decision::new(release, what, why, next, None))
    }

    /// A plan with a call; one that was refused a moment ago is not made again at once.
    pub fn act(&mut self, action: Action, decision: Decision) -> Plan {
        let refused = self.before.as_ref().and_then(|journal| journal.last_error.clone());
        if let Some(last) = refused.filter(|last| last.action == action) {
            let wait = match last.times.checked_sub(1) {
                Some(doublings) => (REFUSED_FIRST_MS << doublings.min(16)).min(REFUSED_MAX_MS),
                None => 0,
            };
            if self.now < last.at.after_ms(wait) {
                return self.decline(last, decision, wait);
            }
        }
        self.plan(Some(action), decision)
    }

    /// As if the call had never been thought of; a person is told once.
    fn decline(&mut self, last: LastError, decision: Decision, wait: i64) -> Plan {
        let told = std::mem::take(&mut self.journal.told);
        self.journal = self.before.clone().unwrap_or_default();
        self.journal.told = told;
        self.happened.clear();
        self.tallies.clear();
        self.tallies.push(Tally::Skipped(Skip::Blocked));
        if self.first_time("refused", &last.text) {
            let (words, denied) = (last.text.clone(), last.denied);
            self.happened.push(Happened::Refused { words, denied });
        }
        let next = format!("tried again {} minutes after the last time", wait / 60_000);
        let why = format!("it was refused: {}", last.text);
        let what = format!("nothing, instead of: {}", decision.what);
        self.noted(decision.release.as_ref(), &what, &why, &next)
    }

    fn plan(&mut self, action: Option<Action>, decision: Decision) -> Plan {
        let mut journal = std::mem::take(&mut self.journal);
        if let Some(action) = &action {
            let id = journal.revision + 1;
            let intent = Intent { id, action: action.clone(), announced_at: self.now };
            journal.intent = Some(intent);
        }
        let changed = self.before.as_ref() != Some(&journal);
        // An empty journal is not worth a first write.
        let blank = self.before.is_none() && journal == Journal { format: FORMAT, ..Journal::default() };
        let journal = (changed && !blank).then(|| {
            journal.revision += 1;
            journal.updated_at = self.now;
            journal
        });
        Plan {
            journal,
            action,
            decision,
            happened: std::mem::take(&mut self.happened),
            tallies: std::mem::take(&mut self.tallies),
        }
    }
}
