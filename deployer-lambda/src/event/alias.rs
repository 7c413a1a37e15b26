//! Alias: which of the function's aliases was invoked: it bounds what may be asked for. IAM decides who may invoke it.

use std::fmt;

use super::Verb;

/// The invoked ARN's qualifier.
///
/// | alias | events | status, history, diff, plan, verify | deploy, pin, rollback, reject, stop, freeze, … | approve |
/// |---|---|---|---|---|
/// | `events` | yes | | | |
/// | `read` | | yes | | |
/// | `operate` | | yes | yes | |
/// | `approve` | | yes | | yes |
/// | none, `$LATEST`, a version or any other | yes | yes | | |
///
/// Without an alias nothing can be changed by a person: whoever may invoke the bare function (an EventBridge rule that
/// was set up by hand, a test in the console) may look, and may make the deployer look. Events are refused where people
/// come in: who may only read must not be able to make us act, nor tell us of pushes that never were.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alias {
    Events,
    Read,
    Operate,
    Approve,
    Unqualified,
}

impl Alias {
    /// Of `arn:aws:lambda:<region>:<account>:function:<name>[:<qualifier>]`.
    pub fn of(invoked_function_arn: &str) -> Alias {
        match invoked_function_arn.split(':').nth(7) {
            Some("events") => Alias::Events,
            Some("read") => Alias::Read,
            Some("operate") => Alias::Operate,
            Some("approve") => Alias::Approve,
            Some(_) | None => Alias::Unqualified,
        }
    }

    pub fn takes_events(self) -> bool {
        match self {
            Alias::Events | Alias::Unqualified => true,
            Alias::Read | Alias::Operate | Alias::Approve => false,
        }
    }

    /// Whether this alias may be asked for what needs `needed`, which is `read`, `operate` or `approve`.
    pub fn allows(self, needed: Alias) -> bool {
        match self {
            Alias::Events => false,
            Alias::Read | Alias::Unqualified => needed == Alias::Read,
            Alias::Operate => matches!(needed, Alias::Read | Alias::Operate),
            Alias::Approve => matches!(needed, Alias::Read | Alias::Approve),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Alias::Events => "events",
            Alias::Read => "read",
            Alias::Operate => "operate",
            Alias::Approve => "approve",
            Alias::Unqualified => "unqualified",
        }
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Verb {
    /// As it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Verb::Status {} => "status",
            Verb::History { .. } => "history",
            Verb::Diff { .. } => "diff",
            Verb::Plan {} => "plan",
            Verb::Verify { .. } => "verify",
            Verb::Deploy { .. } => "deploy",
            Verb::Pin { .. } => "pin",
            Verb::Unpin {} => "unpin",
            Verb::Rollback { .. } => "rollback",
            Verb::Approve { .. } => "approve",
            Verb::Reject { .. } => "reject",
            Verb::Release { .. } => "release",
            Verb::Stop { .. } => "stop",
            Verb::Start {} => "start",
            Verb::Freeze { .. } => "freeze",
            Verb::Unfreeze {} => "unfreeze",
        }
    }

    /// The alias that it takes.
    pub fn needs(&self) -> Alias {
        match self {
            Verb::Status {}
            | Verb::History { .. }
            | Verb::Diff { .. }
            | Verb::Plan {}
            | Verb::Verify { .. } => Alias::Read,
            Verb::Deploy { .. }
            | Verb::Pin { .. }
            | Verb::Unpin {}
            | Verb::Rollback { .. }
            | Verb::Reject { .. }
            | Verb::Release { .. }
            | Verb::Stop { .. }
            | Verb::Start {}
            | Verb::Freeze { .. }
            | Verb::Unfreeze {} => Alias::Operate,
            Verb::Approve { .. } => Alias::Approve,
        }
    }
}
