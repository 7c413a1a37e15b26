//! Happening: what is worth a notice, and whom it is about.
//!
//! Neighbours: notices finds the words. Pure.

use crate::journal::{Cause, Record};
use crate::observe::facts::{Scan, Stop};
use crate::policy::Severity;
use crate::release::{Digest, Moment, ReleaseId, RevisionArn};

/// The release that a notice is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub tags: &'a [String],
    pub release: &'a ReleaseId,
    pub digest: &'a Digest,
}

impl<'a> From<&'a Record> for Subject<'a> {
    fn from(record: &'a Record) -> Subject<'a> {
        Subject { tags: &record.tags, release: &record.release, digest: &record.digest }
    }
}

impl Subject<'_> {
    /// As people call it: by its tag, where it has one.
    pub(super) fn called(&self) -> &str {
        let tag = self.tags.iter().find(|tag| !tag.starts_with("landfall-keep-"));
        tag.map_or_else(|| self.digest.short(), String::as_str)
    }

    pub(super) fn whole(&self) -> String {
        format!("{} (release {}, image {})", self.called(), self.release, self.digest)
    }
}

/// How a task of the release ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub task: &'a str,
    pub stop: &'a Stop,
}

/// What is worth a notice. `why` completes "it failed: …".
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// A release began its proof.
    Started {
        release: Subject<'a>,
        before: Option<Subject<'a>>,
    },
    /// A service without a journal was taken over as it is.
    Adopted {
        release: Subject<'a>,
    },
    /// The way back has begun; its end has its own notice.
    GoingBack {
        from: Subject<'a>,
        to: Subject<'a>,
        cause: Cause,
        why: &'a str,
        end: Option<End<'a>>,
    },
    /// The good one runs again. `end` is of the task that tells most.
    RolledBack {
        is_rejected: bool,
        from: Subject<'a>,
        to: Subject<'a>,
        cause: Cause,
        why: &'a str,
        end: Option<End<'a>>,
    },
    /// The release's surroundings are at fault.
    Blocked {
        release: Subject<'a>,
        why: &'a str,
        runs: Option<Subject<'a>>,
        retry_at: Moment,
        end: Option<End<'a>>,
    },
    /// It failed, and nothing proven is left to go back to.
    NoTarget {
        release: Subject<'a>,
        why: &'a str,
        is_stopped: bool,
        /// The ledger lets it write no more.
        is_rejected: bool,
        end: Option<End<'a>>,
    },
    /// ECS gave up what is current, and no task of it runs.
    NothingRuns {
        release: Subject<'a>,
        why: &'a str,
        is_tried_again: bool,
    },
    /// `is_quiet`: complete, but no data came.
    Healthy {
        release: Subject<'a>,
        before: Option<Subject<'a>>,
        is_quiet: bool,
    },
    WaitingForApproval {
        release: Subject<'a>,
    },
    ScanHeld {
        release: Subject<'a>,
        scan: Scan,
        passes: Severity,
    },
    /// ECS went back by itself, by circuit breaker or alarm. `reason` is ECS's.
    EcsRolledBack {
        from: Subject<'a>,
        to: &'a RevisionArn,
        reason: &'a str,
    },
    /// The service was found on a revision that nobody announced.
    Drift {
        expected: Subject<'a>,
        found: &'a RevisionArn,
        is_put_right: bool,
    },
    /// Somebody pointed the service elsewhere while the release was under proof.
    Displaced {
        release: Subject<'a>,
        why: &'a str,
    },
    /// The newest image may not be released, for another reason than approval or scan.
    Held {
        release: Subject<'a>,
        why: &'a str,
    },
    /// A deployment of the proven release failed on the way back.
    WayBackFailed {
        to: Subject<'a>,
        why: &'a str,
        retry_at: Moment,
        /// No other proven release is left to try.
        gives_up: bool,
    },
    RolloutSlow {
        release: Subject<'a>,
        minutes: i64,
        reason: &'a str,
    },
    /// A call was understood and refused.
    Refused {
        why: &'a str,
        is_denied: bool,
    },
}
