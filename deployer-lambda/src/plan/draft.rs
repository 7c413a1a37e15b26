//! Draft: the journal as it will be, and how a plan is made of it.
//!
//! Order: facts are noted in the journal first; then at most one action, whose intent is put in last.
//! Neighbours: plan's steps write it. Pure.

use super::{Decision, Happened, Inputs, Plan, Tally};
use crate::journal::{Action, FORMAT, Intent, Journal};
use crate::release::{Moment, ReleaseId};

pub(super) struct Draft {
    before: Option<Journal>,
    pub journal: Journal,
    pub happened: Vec<Happened>,
    pub tallies: Vec<Tally>,
    now: Moment,
    announces: bool,
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
            announces: inputs.rules.intents_before_calls,
        }
    }

    /// Whether this topic is new; it is told from now on.
    pub fn first_time(&mut self, topic: &str, about: &str) -> bool {
        let key = format!("{topic}:{about}");
        if self.journal.told.contains(&key) {
            return false;
        }
        self.journal.told.push(key);
        true
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
        let decision = Decision {
            release: release.cloned(),
            what: what.to_owned(),
            why: why.to_owned(),
            next: next.to_owned(),
            undo: None,
        };
        self.plan(None, decision)
    }

    /// A plan with a call.
    pub fn act(&mut self, action: Action, decision: Decision) -> Plan {
        self.plan(Some(action), decision)
    }

    fn plan(&mut self, action: Option<Action>, decision: Decision) -> Plan {
        let mut journal = std::mem::take(&mut self.journal);
        if let Some(action) = &action {
            let id = journal.revision + 1;
            let intent = Intent { id, action: action.clone(), announced_at: self.now };
            journal.intent = self.announces.then_some(intent);
        }
        let changed = action.is_some() && self.announces || self.before.as_ref() != Some(&journal);
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
