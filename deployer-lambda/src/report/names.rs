//! Every metric that there is: names, units, what it means.
//!
//! CloudWatch charges for each name and set of dimensions: the sets are `{Pipeline}` and `{Pipeline, Reason}`, and with
//! all reasons they are 25 a pipeline. That is why skips go by groups. What did not happen is not sent, and costs
//! nothing in that hour. Release, digest and task never become a dimension: the log line and the journal have them.
//! Neighbours: report. The worker's metrics have the same namespace and other names.

use crate::journal::Cause;
use crate::plan::Skip;

pub const NAMESPACE: &str = "Landfall";
pub const PIPELINE: &str = "Pipeline";
pub const REASON: &str = "Reason";

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Metric {
    Deployments,
    DeploymentsHealthy,
    Rollbacks,
    Blocked,
    Skipped,
    EventsLost,
    PushToRunningSeconds,
    PushToVerdictSeconds,
    Drift,
    Pages,
    Errors,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    Count,
    Seconds,
}

/// By what a metric is told apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sets {
    /// `{Pipeline}` alone.
    Total,
    /// `{Pipeline, Reason}` alone: nobody alarms on the sum.
    Reasons,
    /// Both: an alarm watches the sum, a person asks why.
    Both,
}

#[derive(Clone, Copy, Debug)]
pub struct Name {
    pub metric: Metric,
    pub name: &'static str,
    pub unit: Unit,
    pub sets: Sets,
    pub help: &'static str,
}

const fn name(metric: Metric, name: &'static str, unit: Unit, sets: Sets, help: &'static str) -> Name {
    Name { metric, name, unit, sets, help }
}

/// In the order of [`Metric`].
pub const NAMES: [Name; 11] = {
    use Sets::{Both, Reasons, Total};
    use Unit::{Count, Seconds};
    [
        name(Metric::Deployments, "Deployments", Count, Total, "Releases that the service was pointed at."),
        name(
            Metric::DeploymentsHealthy,
            "DeploymentsHealthy",
            Count,
            Total,
            "Releases that proved themselves.",
        ),
        name(Metric::Rollbacks, "Rollbacks", Count, Both, "Ways back that were begun."),
        name(
            Metric::Blocked,
            "Blocked",
            Count,
            Total,
            "Releases held up by their surroundings, once for each try.",
        ),
        name(
            Metric::Skipped,
            "Skipped",
            Count,
            Reasons,
            "Looks that left the newest image where it was, by reason.",
        ),
        name(
            Metric::EventsLost,
            "EventsLost",
            Count,
            Total,
            "Pushes whose event never came, found by looking.",
        ),
        name(
            Metric::PushToRunningSeconds,
            "PushToRunningSeconds",
            Seconds,
            Total,
            "From the push to the first task that runs it.",
        ),
        name(
            Metric::PushToVerdictSeconds,
            "PushToVerdictSeconds",
            Seconds,
            Total,
            "From the push to the verdict, whatever it is.",
        ),
        name(
            Metric::Drift,
            "Drift",
            Count,
            Total,
            "Times that the service ran a revision that nobody announced.",
        ),
        name(Metric::Pages, "Pages", Count, Total, "Notices that ask for a person now."),
        name(
            Metric::Errors,
            "Errors",
            Count,
            Total,
            "Invocations that were refused, or that ended before their work was done.",
        ),
    ]
};

impl Metric {
    pub fn name(self) -> &'static Name {
        &NAMES[self as usize]
    }
}

pub fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Crash => "crash",
        Cause::OutOfMemory => "out-of-memory",
        Cause::Unhealthy => "unhealthy",
        Cause::Settings => "settings",
        Cause::Data => "data",
        Cause::Alarm => "alarm",
        Cause::Surroundings => "surroundings",
        Cause::Person => "person",
        Cause::Unclear => "unclear",
    }
}

pub const SKIPS: [Skip; 12] = [
    Skip::Older,
    Skip::Rejected,
    Skip::Frozen,
    Skip::Pinned,
    Skip::Stopped,
    Skip::Unapproved,
    Skip::ScanPending,
    Skip::ScanFindings,
    Skip::WrongPlatform,
    Skip::Busy,
    Skip::Blocked,
    Skip::Unknown,
];

/// Reasons of `Skipped`, by what would have to change.
pub fn skip(skip: Skip) -> &'static str {
    match skip {
        Skip::Older => "older",
        Skip::Rejected => "rejected",
        // A person decides.
        Skip::Frozen | Skip::Pinned | Skip::Stopped | Skip::Unapproved => "held",
        Skip::ScanPending | Skip::ScanFindings => "scan",
        Skip::WrongPlatform => "platform",
        // The next look may decide otherwise.
        Skip::Busy | Skip::Blocked | Skip::Unknown => "later",
    }
}
