//! Tell: the words for what a plan says happened, into the journal that the plan writes.
//!
//! Neighbours: plan and report.

use super::Seen;
use crate::journal::{Journal, Record, Urgency};
use crate::observe::facts::{Task, TaskState};
use crate::plan::{Happened, Plan, Skip};
use crate::policy::Policy;
use crate::release::{Digest, ReleaseId, RevisionArn};
use crate::report::notices::{End, Happening, Subject, Whereabouts, notice};

/// Knows where people are to look.
#[derive(Clone, Debug)]
pub struct Teller {
    pub at: Whereabouts,
}

impl Teller {
    /// Puts the plan's notices into its journal's outbox; the answer is how many of them ask for a person now.
    pub fn tell(&self, plan: &mut Plan, seen: &Seen, policy: &Policy) -> u32 {
        let Some(journal) = plan.journal.as_mut() else { return 0 };
        let tasks = seen.observed.tasks.known().map(Vec::as_slice).unwrap_or_default();
        let mut pages = 0;
        for (place, happened) in (0u64..).zip(&plan.happened) {
            let scene = Scene { journal, tasks, seen, policy };
            let Some(happening) = scene.happening(happened) else { continue };
            // Unique for ever: the journal's revision rises with every write.
            let notice = notice(&happening, &self.at, journal.revision * 100 + place, seen.at);
            if notice.urgency == Urgency::Page {
                pages += 1;
            }
            if policy.notifies(notice.urgency) {
                journal.outbox.push(notice);
            }
        }
        pages
    }
}

struct Scene<'a> {
    journal: &'a Journal,
    tasks: &'a [Task],
    seen: &'a Seen,
    policy: &'a Policy,
}

impl<'a> Scene<'a> {
    fn record(&self, release: &ReleaseId) -> Option<&'a Record> {
        self.journal.record(release)
    }

    fn subject(&self, release: &ReleaseId) -> Option<Subject<'a>> {
        self.record(release).map(Subject::from)
    }

    fn current(&self) -> Option<Subject<'a>> {
        self.journal.current.as_ref().and_then(|release| self.subject(release))
    }

    /// The release that was proven before this one.
    fn before(&self, release: &ReleaseId) -> Option<Subject<'a>> {
        self.current().filter(|current| current.release != release)
    }

    /// How its last task ended.
    fn end(&self, release: &ReleaseId) -> Option<End<'a>> {
        let revision: &RevisionArn = self.record(release)?.revision.as_ref()?;
        let ended = self.tasks.iter().filter(|task| task.revision == *revision);
        ended
            .filter_map(|task| match &task.state {
                TaskState::Stopped(stop) => Some(End { task: &task.id, stop }),
                TaskState::Starting | TaskState::Running | TaskState::Stopping => None,
            })
            .max_by_key(|end| end.stop.at)
    }

    /// None: what it is about is not in the journal any more, and nothing can be said of it.
    fn happening(&self, happened: &'a Happened) -> Option<Happening<'a>> {
        Some(match happened {
            Happened::Started { release } => {
                Happening::Started { release: self.subject(release)?, before: self.before(release) }
            }
            Happened::Healthy { release } => Happening::Healthy {
                release: self.subject(release)?,
                before: self.before(release),
                is_quiet: false,
            },
            Happened::GoingBack { from, to, cause, words } => Happening::GoingBack {
                from: self.subject(from)?,
                to: self.subject(to)?,
                cause: *cause,
                why: words,
                end: self.end(from),
            },
            Happened::WentBack { from, to, cause, words, rejected } => Happening::RolledBack {
                is_rejected: *rejected,
                from: self.subject(from)?,
                to: self.subject(to)?,
                cause: *cause,
                why: words,
                end: self.end(from),
            },
            Happened::EcsGoesBack { release, words } => {
                let service = self.seen.observed.service.known()?.as_ref()?;
                Happening::EcsRolledBack {
                    from: self.subject(release)?,
                    to: &service.revision,
                    reason: words,
                }
            }
            Happened::NoTarget { release, words, stopped, rejected } => Happening::NoTarget {
                release: self.subject(release)?,
                why: words,
                is_stopped: *stopped,
                is_rejected: *rejected,
                end: self.end(release),
            },
            Happened::Blocked { release, words, retry_at } => Happening::Blocked {
                release: self.subject(release)?,
                why: words,
                runs: self.before(release),
                retry_at: *retry_at,
                end: self.end(release),
            },
            Happened::WayBackFailed { to, words, retry_at, gives_up } => Happening::WayBackFailed {
                to: self.subject(to)?,
                why: words,
                retry_at: *retry_at,
                gives_up: *gives_up,
            },
            Happened::NothingRuns { release, words, again } => {
                Happening::NothingRuns { release: self.subject(release)?, why: words, is_tried_again: *again }
            }
            Happened::Slow { release, words } => {
                let pointed_at = self.record(release)?.pointed_at?;
                let minutes = self.seen.at.since_ms(pointed_at) / 60_000;
                Happening::RolloutSlow { release: self.subject(release)?, minutes, reason: words }
            }
            Happened::Held { release, digest, tag, skip, words } => {
                let release = Subject { tags: std::slice::from_ref(tag), release, digest };
                self.held(release, *skip, words)
            }
            Happened::Displaced { release, words } => {
                Happening::Displaced { release: self.subject(release)?, why: words }
            }
            Happened::Drift { release, found, restored } => {
                Happening::Drift { expected: self.subject(release)?, found, is_put_right: *restored }
            }
            Happened::Refused { words, denied } => Happening::Refused { why: words, is_denied: *denied },
            Happened::Adopted { release } => Happening::Adopted { release: self.subject(release)? },
        })
    }

    fn held(&self, release: Subject<'a>, skip: Skip, why: &'a str) -> Happening<'a> {
        match (skip, self.policy.scan.passes, self.scan(release.digest)) {
            (Skip::Unapproved, _, _) => Happening::WaitingForApproval { release },
            (Skip::ScanPending | Skip::ScanFindings, Some(passes), Some(scan)) => {
                Happening::ScanHeld { release, scan, passes }
            }
            _ => Happening::Held { release, why },
        }
    }

    fn scan(&self, digest: &Digest) -> Option<crate::observe::facts::Scan> {
        let images = self.seen.observed.images.known()?;
        images.iter().find(|image| image.digest == *digest).map(|image| image.scan)
    }
}
