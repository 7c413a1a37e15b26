//! Plan: what to do next, as a pure function of what was observed.
//!
//! Order: at most one call to the outside in a plan, announced in the journal that the plan carries. Unknown facts
//! plan nothing. Whoever applies a plan observes and plans again.
//! Neighbours: observe, judge and journal before it; apply after it. Never: clocks, AWS, tokio.

use crate::journal::{Action, Cause, Journal};
use crate::release::ReleaseId;

/// What to do, why, and how it could be undone.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The journal as it is to be; none: it stays. Where there is an action, its intent stands in it.
    pub journal: Option<Journal>,
    /// The call that the journal's intent announces.
    pub action: Option<Action>,
    pub decision: Decision,
    /// What the metrics count, once the journal is written.
    pub tallies: Vec<Tally>,
}

/// A decision as a person reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    pub release: Option<ReleaseId>,
    /// What is done, or that nothing is: a sentence without a full stop.
    pub what: String,
    pub why: String,
    /// What comes next, or what it waits for.
    pub next: String,
    /// How this step is undone, where it can be.
    pub undo: Option<String>,
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
    Paged,
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
