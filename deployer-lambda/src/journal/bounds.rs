//! Bounds: what the journal forgets, so that it stays small for ever.
//!
//! Order: what is under way, what runs, what is pinned and the newest proven releases are never forgotten; else the
//! oldest goes first.
//! Neighbours: journal. Pure.

use std::collections::BTreeSet;

use super::{Action, Journal, OUTBOX_MAX, PUSHES_MAX, RECORDS_MAX, Urgency, Verdict};
use crate::release::ReleaseId;

/// Times of drift that are remembered.
const DRIFTS_MAX: usize = 20;
const APPROVALS_MAX: usize = 100;
/// Things told once that are remembered.
const TOLD_MAX: usize = 200;
/// Proven releases that stay, as targets of a way back.
const PROVEN_KEPT: usize = 10;

/// What was forgotten, for the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    pub records: usize,
    pub notices: usize,
}

impl Journal {
    /// Forgets what is over the bounds.
    pub fn bound(&mut self) -> Forgotten {
        keep_newest(&mut self.pushes, PUSHES_MAX);
        keep_newest(&mut self.drifts, DRIFTS_MAX);
        keep_newest(&mut self.approvals, APPROVALS_MAX);
        keep_newest(&mut self.told, TOLD_MAX);
        Forgotten { records: self.bound_records(), notices: self.bound_outbox() }
    }

    fn bound_records(&mut self) -> usize {
        let needed = self.needed();
        let mut over = self.releases.len().saturating_sub(RECORDS_MAX);
        let before = self.releases.len();
        self.releases.retain(|record| {
            let goes = over > 0 && !needed.contains(&record.release);
            over -= usize::from(goes);
            !goes
        });
        before - self.releases.len()
    }

    /// Releases that something in the journal still speaks of. Fewer than [`RECORDS_MAX`] by far.
    fn needed(&self) -> BTreeSet<ReleaseId> {
        let mut needed: BTreeSet<ReleaseId> =
            [&self.current, &self.candidate].into_iter().flatten().cloned().collect();
        needed.extend(self.pin.iter().map(|pin| pin.release.clone()));
        needed.extend(self.going_back.iter().flat_map(|back| [back.from.clone(), back.to.clone()]));
        needed.extend(self.intent.iter().filter_map(|intent| intent.action.release()).cloned());
        let proven = |verdict: Verdict| {
            let records = self.releases.iter().rev().filter(move |record| record.verdict == verdict);
            records.take(PROVEN_KEPT).map(|record| record.release.clone())
        };
        needed.extend(proven(Verdict::Healthy));
        needed.extend(proven(Verdict::Quiet));
        needed
    }

    /// The oldest that is only good to know goes first, then the oldest.
    fn bound_outbox(&mut self) -> usize {
        let before = self.outbox.len();
        for dispensable in [Some(Urgency::Info), Some(Urgency::Warning), None] {
            let mut over = self.outbox.len().saturating_sub(OUTBOX_MAX);
            self.outbox.retain(|notice| {
                let goes = over > 0 && dispensable.is_none_or(|urgency| notice.urgency == urgency);
                over -= usize::from(goes);
                !goes
            });
        }
        before - self.outbox.len()
    }
}

impl Action {
    /// The release that it is about.
    pub fn release(&self) -> Option<&ReleaseId> {
        match self {
            Action::Register { release } | Action::Create { release, .. } | Action::Point { release, .. } => {
                Some(release)
            }
            Action::OwnRollback { .. }
            | Action::Scale { .. }
            | Action::Delete
            | Action::Reject { .. }
            | Action::Release { .. } => None,
        }
    }
}

fn keep_newest<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Notice, Record};
    use crate::release::{Digest, Moment};

    fn record(number: usize, verdict: Verdict) -> Record {
        Record {
            release: ReleaseId(format!("{number:016x}")),
            verdict,
            ..Record::of(ReleaseId::default(), Digest::from("sha256:aa"), Moment(0))
        }
    }

    #[test]
    fn the_oldest_record_goes_but_never_what_runs_or_was_proven_last() {
        let mut journal = Journal::default();
        journal.releases.push(record(0, Verdict::Healthy));
        journal.releases.push(record(1, Verdict::Blocked));
        journal.releases.extend((2..RECORDS_MAX + 5).map(|number| record(number, Verdict::Rejected)));
        journal.current = Some(record(0, Verdict::Healthy).release);
        journal.candidate = Some(record(1, Verdict::Blocked).release);
        assert_eq!(journal.bound(), Forgotten { records: 5, notices: 0 });
        assert_eq!(journal.releases.len(), RECORDS_MAX);
        let left: Vec<&str> = journal.releases.iter().take(3).map(|record| record.release.as_str()).collect();
        assert_eq!(left, ["0000000000000000", "0000000000000001", "0000000000000007"]);
        assert_eq!(journal.bound(), Forgotten::default());
    }

    #[test]
    fn a_page_is_never_dropped_for_news() {
        let notice =
            |id, urgency| Notice { id, at: Moment(0), urgency, subject: String::new(), text: String::new() };
        let mut journal = Journal::default();
        journal.outbox.push(notice(0, Urgency::Page));
        journal.outbox.push(notice(1, Urgency::Info));
        journal.outbox.extend((2..OUTBOX_MAX as u64 + 2).map(|id| notice(id, Urgency::Warning)));
        assert_eq!(journal.bound(), Forgotten { records: 0, notices: 2 });
        let left: Vec<u64> = journal.outbox.iter().take(2).map(|notice| notice.id).collect();
        assert_eq!((journal.outbox.len(), left), (OUTBOX_MAX, vec![0, 3]));
    }
}
