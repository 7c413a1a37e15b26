//! Target: whether a release may be gone back to, and which one is; for the plan, and for people's commands.
//!
//! Order: proven first, then not rejected, then able to run. The newest healthy one is taken, else the newest quiet
//! one that ECS completed.
//! Neighbours: journal and observe before it; plan and command ask it. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::journal::{Journal, Record, Verdict};
use crate::observe::facts::{Child, Image, Known, Observed};
use crate::release::{Digest, ReleaseId, RevisionArn};

/// What the choice is made of, all of it read.
#[derive(Clone, Copy)]
pub struct Grounds<'a> {
    pub images: &'a [Image],
    /// By the ledger: release ids and digests.
    pub rejected: &'a BTreeSet<String>,
    /// Proven revisions that are no longer registered.
    pub inactive: &'a [RevisionArn],
}

/// Whether a release is a target, or why not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    Target,
    NotProven,
    Rejected,
    ImageGone,
    RevisionGone,
}

impl<'a> Grounds<'a> {
    /// # Errors
    /// What could not be read, and why: whether there is a target is not known.
    pub fn of(observed: &'a Observed) -> Result<Grounds<'a>, (String, String)> {
        fn read<T>(known: &Known<T>) -> Result<&T, (String, String)> {
            match known {
                Known::Known(value) => Ok(value),
                Known::Unknown { what, why } => Err((what.clone(), why.clone())),
            }
        }
        Ok(Grounds {
            images: read(&observed.images)?,
            rejected: read(&observed.rejected)?,
            inactive: read(&observed.inactive)?,
        })
    }

    pub fn standing(&self, journal: &Journal, record: &Record) -> Standing {
        if record.verdict == Verdict::Rejected || self.rejects(journal, record) {
            return Standing::Rejected;
        }
        if !is_proven(record) {
            return Standing::NotProven;
        }
        self.running(record)
    }

    /// Whether it could run again: [`Standing::Target`], or what is gone.
    pub fn running(&self, record: &Record) -> Standing {
        if !self.images.iter().any(|image| image.digest == record.digest) {
            return Standing::ImageGone;
        }
        match &record.revision {
            Some(revision) if !self.inactive.contains(revision) => Standing::Target,
            Some(_) | None => Standing::RevisionGone,
        }
    }

    pub fn rejects(&self, journal: &Journal, record: &Record) -> bool {
        // A record that was adopted, or picked before its index was read, knows no platforms: the registry may.
        let image = self.images.iter().find(|image| image.digest == record.digest);
        let of_image = image.and_then(|image| image.children.as_deref()).unwrap_or_default();
        let children = record.children.iter().chain(of_image);
        is_rejected(journal, self.rejected, &record.release, &record.digest, children)
    }

    /// The release to go back to from `from`, none of `failed`.
    pub fn choose<'j>(
        &self,
        journal: &'j Journal,
        from: &ReleaseId,
        failed: &[ReleaseId],
    ) -> Option<&'j Record> {
        let mut ranked = ranked(journal, from).into_iter();
        ranked.find(|record| {
            !failed.contains(&record.release) && self.standing(journal, record) == Standing::Target
        })
    }
}

/// Healthy, or quiet after ECS called its deployment complete.
pub fn is_proven(record: &Record) -> bool {
    match record.verdict {
        Verdict::Healthy => true,
        Verdict::Quiet => record.completed_at.is_some(),
        Verdict::Proving | Verdict::Rejected | Verdict::Blocked | Verdict::Superseded => false,
    }
}

/// All that were proven but `from`, the best target first, whether or not they can run.
pub fn ranked<'j>(journal: &'j Journal, from: &ReleaseId) -> Vec<&'j Record> {
    // From new to old, so that of two of the same moment the newer one is taken.
    let others = journal.releases.iter().rev();
    let mut proven: Vec<&Record> =
        others.filter(|record| record.release != *from && is_proven(record)).collect();
    proven.sort_by_key(|record| (record.verdict != Verdict::Healthy, Reverse(record.verdict_at)));
    proven
}

/// Whether a release may not run: by the ledger, which knows the release or one of its digests, or by a person whose
/// word the ledger has not heard yet.
pub fn is_rejected<'c>(
    journal: &Journal,
    ledger: &BTreeSet<String>,
    release: &ReleaseId,
    digest: &Digest,
    children: impl IntoIterator<Item = &'c Child>,
) -> bool {
    let names = [release.as_str(), digest.as_str()].into_iter();
    let mut names = names.chain(children.into_iter().map(|child| child.digest.as_str()));
    let wanted =
        |wishes: &[crate::journal::Wanted], name: &str| wishes.iter().any(|wanted| wanted.what == name);
    names.any(|name| {
        let is_held = ledger.contains(name) && !wanted(&journal.wanted_releases, name);
        is_held || wanted(&journal.wanted_rejects, name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Wanted;
    use crate::observe::facts::Scan;
    use crate::release::Moment;

    fn record(name: &str, verdict: Verdict, verdict_at: i64) -> Record {
        Record {
            verdict,
            verdict_at: Some(Moment(verdict_at)),
            completed_at: Some(Moment(1)),
            revision: Some(RevisionArn(format!("arn:{name}"))),
            ..Record::of(ReleaseId::from(name), Digest(format!("sha256:{name}")), Moment(0))
        }
    }

    struct Case {
        journal: Journal,
        images: Vec<Image>,
        rejected: BTreeSet<String>,
        inactive: Vec<RevisionArn>,
    }

    impl Case {
        /// `a` was proven first, then `b`; all images are there.
        fn new() -> Case {
            let releases = vec![record("a", Verdict::Healthy, 1), record("b", Verdict::Healthy, 2)];
            let image = |name: &str| Image {
                digest: Digest(format!("sha256:{name}")),
                tags: Vec::new(),
                pushed_at: Moment(0),
                children: Some(vec![Child {
                    digest: Digest(format!("sha256:{name}-arm64")),
                    platform: "linux/arm64".to_owned(),
                }]),
                scan: Scan::Pending,
            };
            Case {
                journal: Journal { releases, ..Journal::default() },
                images: vec![image("a"), image("b")],
                rejected: BTreeSet::new(),
                inactive: Vec::new(),
            }
        }

        fn grounds(&self) -> Grounds<'_> {
            Grounds { images: &self.images, rejected: &self.rejected, inactive: &self.inactive }
        }

        fn standing(&self) -> Standing {
            self.grounds().standing(&self.journal, &self.journal.releases[1])
        }

        fn chosen(&self) -> Option<&str> {
            let from = ReleaseId::from("c");
            self.grounds().choose(&self.journal, &from, &[]).map(|record| record.release.as_str())
        }
    }

    #[test]
    fn the_release_that_was_proven_last_is_the_target_and_never_one_that_failed_as_such() {
        let case = Case::new();
        assert_eq!((case.standing(), case.chosen()), (Standing::Target, Some("b")));
        let (from, failed) = (ReleaseId::from("c"), [ReleaseId::from("b")]);
        let other = case.grounds().choose(&case.journal, &from, &failed);
        assert_eq!(other.map(|record| record.release.as_str()), Some("a"));
        assert_eq!(case.grounds().choose(&case.journal, &ReleaseId::from("a"), &failed), None);
    }

    #[test]
    fn a_quiet_one_comes_after_every_healthy_one_and_only_if_it_was_completed() {
        let mut case = Case::new();
        case.journal.releases[1].verdict = Verdict::Quiet;
        assert_eq!((case.standing(), case.chosen()), (Standing::Target, Some("a")));
        case.journal.releases.remove(0);
        assert_eq!(case.chosen(), Some("b"));
        case.journal.releases[0].completed_at = None;
        assert_eq!(case.chosen(), None);
    }

    #[test]
    fn a_target_is_proven_not_rejected_in_the_registry_and_registered() {
        let mut case = Case::new();
        case.inactive.push(RevisionArn::from("arn:b"));
        assert_eq!((case.standing(), case.chosen()), (Standing::RevisionGone, Some("a")));
        case.images.pop();
        assert_eq!(case.standing(), Standing::ImageGone);
        case.journal.releases[1].verdict = Verdict::Blocked;
        assert_eq!(case.standing(), Standing::NotProven);
        case.journal.releases[1].verdict = Verdict::Rejected;
        assert_eq!(case.standing(), Standing::Rejected);
    }

    #[test]
    fn the_ledger_rejects_an_index_by_any_name_that_it_has_and_a_persons_word_counts_before_it() {
        for name in ["b", "sha256:b", "sha256:b-arm64"] {
            let mut case = Case::new();
            case.rejected.insert(name.to_owned());
            assert_eq!((case.standing(), case.chosen()), (Standing::Rejected, Some("a")), "{name}");
            let wanted = Wanted { what: name.to_owned(), reason: "so".to_owned() };
            case.journal.wanted_releases.push(wanted.clone());
            assert_eq!(case.standing(), Standing::Target, "{name} is to be released");
            let mut case = Case::new();
            case.journal.wanted_rejects.push(wanted);
            assert_eq!(case.standing(), Standing::Rejected, "{name} is to be rejected");
        }
    }
}
