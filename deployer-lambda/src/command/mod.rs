//! Command: what people ask for, as pure functions on the journal.
//!
//! Order: everything is looked up and checked before the journal is touched; a refusal changes nothing. A command only
//! writes down what a person wants: the plan carries it out, one announced call at a time. Whoever stores the answer's
//! journal replaces what `facts` was read from (compare and set), and raises its revision.
//! Each command twice equals once.
//! Neighbours: event (the verbs), journal and observe before it; reconcile calls it. Never: AWS, clocks.

mod back;
mod name;
mod people;
mod show;
mod verify;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub use name::{Named, find};
pub use show::{Side, decision, diff};

use crate::event::{Command, Verb};
use crate::journal::Journal;
use crate::observe::facts::{Known, Observed};
use crate::observe::needs::Answered;
use crate::plan::Decision;
use crate::policy::Policy;
use crate::release::{Digest, Moment, ReleaseId};
use crate::render::Rendered;

/// What is known when a person asks.
pub struct Facts<'a> {
    pub journal: &'a Journal,
    pub observed: &'a Observed,
    pub policy: &'a Policy,
    pub now: Moment,
    /// What today's templates make of an image; else a sentence.
    pub rendered: &'a dyn Fn(&Digest) -> Result<Rendered, String>,
    /// What the policy alone asks for: the newest image that it admits and nobody rejected, whatever pin, freeze and
    /// approval say. None: there is none, or it is not known.
    pub desired: Option<&'a ReleaseId>,
    /// What comes next: the plan of now, not carried out.
    pub decision: Option<&'a Decision>,
    /// What the service's revision was registered with, where it was read. Only `diff` uses it, where today's
    /// templates are not those that the running release was made from.
    pub running_task_definition: Option<&'a Value>,
    /// What tasks need beside their image, and whether it is there. Only `verify` uses it, and only for it is it asked.
    pub needs: &'a [Answered],
}

/// What a person is told, and what is to be stored first.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The journal as it is to be; none: nothing changes.
    pub journal: Option<Journal>,
    /// A sentence or two.
    pub said: String,
    /// For machines, and for people who want to know more.
    pub details: Map<String, Value>,
}

impl Answer {
    fn changes(journal: Journal, said: impl Into<String>) -> Answer {
        Answer { journal: Some(journal), said: said.into(), details: Map::new() }
    }

    fn nothing(said: impl Into<String>) -> Answer {
        Answer { journal: None, said: said.into(), details: Map::new() }
    }

    fn shows(said: impl Into<String>, details: Value) -> Answer {
        let details = match details {
            Value::Object(details) => details,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Answer { journal: None, said: said.into(), details }
    }

    /// As the invocation answers.
    pub fn json(&self, command: &str) -> Value {
        let mut all = Map::from_iter([
            ("ok".to_owned(), json!(true)),
            ("command".to_owned(), json!(command)),
            ("said".to_owned(), json!(self.said)),
        ]);
        all.extend(self.details.clone());
        Value::Object(all)
    }
}

/// Why a command is not carried out. Nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("could not read {what}: {why}; nothing was changed, ask again")]
    Unknown { what: String, why: String },
    #[error("nothing is called `{what}`: no image has that tag or digest, and no release id starts so{}", near(.known))]
    NotFound { what: String, known: Vec<String> },
    #[error("`{what}` may be any of these: {}; name one by its digest or release id", .candidates.join("; "))]
    Ambiguous { what: String, candidates: Vec<String> },
    #[error("`{what}` is too short: a release id or digest is named by at least {DIGITS_MIN} of its digits")]
    TooShort { what: String },
    #[error("there is no service yet: the first release creates it")]
    NoService,
    #[error(
        "the service runs {revision}, which no release in the journal names; it is adopted by the next look, ask again"
    )]
    Unrecorded { revision: String },
    #[error(
        "you expect to leave `{expected}`, and it would be {left}; nothing was changed, look with `status`"
    )]
    NotExpected { expected: String, left: String },
    #[error("going back from {from} to {to} is under way; wait for its end, `status` tells it")]
    GoingBack { from: String, to: String },
    #[error(
        "nothing to go back to: no release but {from} has ever been proven here; push a repaired image, or `stop`"
    )]
    NoTarget { from: String },
    #[error("{name} was never proven here (it is {verdict}): roll back to a proven one, or `deploy` it")]
    NotProven { name: String, verdict: String },
    #[error("{name} runs already: there is nothing to go back to there")]
    Running { name: String },
    #[error(
        "{name} cannot be deployed: its image is no longer in the registry; push it again, or name another"
    )]
    ImageGone { name: String },
    #[error("the task definition revision of {name} is no longer registered: `deploy` makes a new one")]
    RevisionGone { name: String },
    #[error("{name} is rejected ({reason}); take that back first by `release`")]
    Rejected { name: String, reason: String },
    #[error("{name} is not rejected")]
    NotRejected { name: String },
    #[error(
        "tasks of {name} are still running: rejecting it now would make them end in the middle; wait for the handover"
    )]
    StillRunning { name: String },
    #[error(
        "`until` is `{got}`: expected a time to come, as `2026-12-24T18:00:00Z` or `2026-12-24T18:00:00+01:00`"
    )]
    BadTime { got: String },
    #[error("render {name}: {why}")]
    Render { name: String, why: String },
}

/// Digits by which a release or digest may be named.
pub const DIGITS_MIN: usize = 6;

fn near(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; there are {}", known.join(", ")) }
}

impl Refusal {
    /// For machines: closed, and never given a new meaning.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::Unknown { .. } => "unknown",
            Refusal::NotFound { .. } => "not-found",
            Refusal::Ambiguous { .. } => "ambiguous",
            Refusal::TooShort { .. } => "too-short",
            Refusal::NoService => "no-service",
            Refusal::Unrecorded { .. } => "unrecorded",
            Refusal::NotExpected { .. } => "not-expected",
            Refusal::GoingBack { .. } => "going-back",
            Refusal::NoTarget { .. } => "no-target",
            Refusal::NotProven { .. } => "not-proven",
            Refusal::Running { .. } => "running",
            Refusal::ImageGone { .. } => "image-gone",
            Refusal::RevisionGone { .. } => "revision-gone",
            Refusal::Rejected { .. } => "rejected",
            Refusal::NotRejected { .. } => "not-rejected",
            Refusal::StillRunning { .. } => "still-running",
            Refusal::BadTime { .. } => "bad-time",
            Refusal::Render { .. } => "render",
        }
    }

    /// As the invocation answers: it is no failure of ours, and asking the same again changes nothing.
    pub fn json(&self, command: &str) -> Value {
        json!({"ok": false, "command": command, "kind": self.kind(), "error": self.to_string()})
    }
}

/// What becomes of a command.
///
/// # Errors
/// It makes no sense, or what it needs to know is not known: nothing is to be changed.
pub fn answer(command: &Command, facts: &Facts<'_>) -> Result<Answer, Refusal> {
    let by = command.by.as_str();
    match &command.verb {
        Verb::Status {} => Ok(show::status(facts)),
        Verb::History { limit } => Ok(show::history(facts, *limit)),
        Verb::Diff { what } => show::differences(facts, what.as_deref()),
        Verb::Plan {} => Ok(show::plan(facts)),
        Verb::Verify { what } => verify::verify(facts, what.as_deref()),
        Verb::Deploy { what } => people::deploy(facts, what, by),
        Verb::Pin { what } => people::pin(facts, what.as_deref(), by),
        Verb::Unpin {} => Ok(people::unpin(facts)),
        Verb::Rollback { to, expect, reason } => {
            back::rollback(facts, to.as_deref(), expect.as_deref(), reason, by)
        }
        Verb::Approve { what } => people::approve(facts, what, by),
        Verb::Reject { what, reason } => back::reject(facts, what, reason, by),
        Verb::Release { what, reason } => back::release(facts, what, reason, by),
        Verb::Stop { reason } => people::stop(facts, reason, by),
        Verb::Start {} => Ok(people::start(facts)),
        Verb::Freeze { until, reason } => people::freeze(facts, until.as_deref(), reason, by),
        Verb::Unfreeze {} => Ok(people::unfreeze(facts)),
    }
}

/// What was read, or the refusal that says what was not.
fn known<T>(fact: &Known<T>) -> Result<&T, Refusal> {
    match fact {
        Known::Known(value) => Ok(value),
        Known::Unknown { what, why } => Err(Refusal::Unknown { what: what.clone(), why: why.clone() }),
    }
}
