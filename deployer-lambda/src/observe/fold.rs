//! Fold: which of the repository's images matter, and what is known of them.
//!
//! Order: kept is what the policy admits and what the journal's records name. Platforms that a record knows are not
//! asked for again: an index never changes.
//! Neighbours: observe. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Child, Image, Scan};
use super::{CANDIDATES_MAX, SCANNED_MAX};
use crate::journal::{Journal, Record, Verdict};
use crate::release::Digest;

/// The digests that are looked at closely, newest first.
pub(super) fn candidates(
    admitted: &[Digest],
    journal: Option<&Journal>,
    rejected: Option<&BTreeSet<String>>,
) -> Vec<Digest> {
    let is_rejected = |digest: &&Digest| {
        let by_digest = rejected.is_some_and(|rejected| rejected.contains(digest.as_str()));
        let mut records = records(journal).filter(|record| record.digest == **digest);
        // Also what failed with nothing to go back to, which the ledger was not told.
        let by_release = records.any(|record| {
            record.verdict == Verdict::Rejected
                || rejected.is_some_and(|rejected| rejected.contains(record.release.as_str()))
        });
        by_digest || by_release
    };
    admitted.iter().filter(|digest| !is_rejected(digest)).take(CANDIDATES_MAX).cloned().collect()
}

/// Indexes whose platforms must be asked for: of candidates, and of what is under way, as far as no record knows them.
pub(super) fn unread(images: &[Image], candidates: &[Digest], journal: Option<&Journal>) -> Vec<Digest> {
    let known = known_children(journal);
    let under_way: BTreeSet<&Digest> = journal.into_iter().flat_map(under_way).collect();
    let wanted = |image: &&Image| {
        image.children.is_none()
            && !known.contains_key(&image.digest)
            && (candidates.contains(&image.digest) || under_way.contains(&image.digest))
    };
    images.iter().filter(wanted).map(|image| image.digest.clone()).collect()
}

/// Keeps what matters, and puts in what is known. `asked`: indexes that were asked for; one of them that `children`
/// does not tell is gone.
pub(super) fn fold(
    images: Vec<Image>,
    admitted: &[Digest],
    journal: Option<&Journal>,
    asked: &[Digest],
    children: &BTreeMap<Digest, Vec<Child>>,
) -> Vec<Image> {
    let known = known_children(journal);
    let scans: BTreeMap<Digest, Scan> =
        images.iter().map(|image| (image.digest.clone(), image.scan)).collect();
    let admitted: BTreeSet<&Digest> = admitted.iter().collect();
    let named: BTreeSet<&Digest> = records(journal).map(|record| &record.digest).collect();
    let mut kept = Vec::new();
    for mut image in images {
        let is_gone = asked.contains(&image.digest) && !children.contains_key(&image.digest);
        if is_gone || !(admitted.contains(&image.digest) || named.contains(&image.digest)) {
            continue;
        }
        if image.children.is_none() {
            let found = children.get(&image.digest).map(Vec::as_slice);
            image.children = found.or_else(|| known.get(&image.digest).copied()).map(<[Child]>::to_vec);
        }
        image.scan = whole_scan(&image, &scans);
        kept.push(image);
    }
    kept
}

/// Of the newest candidates that run on `platform`: what DescribeImages told no scan of. The platforms' images where it
/// is an index.
pub(super) fn unscanned(images: &[Image], candidates: &[Digest], platform: &str) -> Vec<Digest> {
    let runs_here = |image: &&Image| match image.children.as_deref() {
        None | Some([]) => true,
        Some(children) => children.iter().any(|child| child.runs_on(platform)),
    };
    let found = candidates
        .iter()
        .filter_map(|digest| images.iter().find(|image| image.digest == *digest))
        .filter(runs_here);
    let pending = found.take(SCANNED_MAX).filter(|image| image.scan == Scan::Pending);
    let parts = pending.flat_map(|image| match image.children.as_deref() {
        None | Some([]) => vec![image.digest.clone()],
        Some(children) => children.iter().map(|child| child.digest.clone()).collect(),
    });
    // Each once: two indexes may share a platform's image.
    parts.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Puts in what asking for the scans told.
pub(super) fn with_scans(mut images: Vec<Image>, scans: &BTreeMap<Digest, Scan>) -> Vec<Image> {
    for image in images.iter_mut().filter(|image| image.scan == Scan::Pending) {
        image.scan = whole_scan(image, scans);
    }
    images
}

/// The worst of an index's platforms as far as they are told; else its own.
fn whole_scan(image: &Image, scans: &BTreeMap<Digest, Scan>) -> Scan {
    let children = image.children.as_deref().unwrap_or_default();
    let told = children
        .iter()
        .filter_map(|child| scans.get(&child.digest))
        .copied()
        .max_by_key(|scan| badness(*scan));
    told.or_else(|| scans.get(&image.digest).copied()).unwrap_or(image.scan)
}

/// An answer that is still to come may be worse than every one that is there; none at all will not get better.
fn badness(scan: Scan) -> (u8, Option<crate::policy::Severity>) {
    match scan {
        Scan::Done(worst) => (0, worst),
        Scan::Pending => (1, None),
        Scan::NoAnswer => (2, None),
    }
}

fn records(journal: Option<&Journal>) -> impl Iterator<Item = &Record> {
    journal.into_iter().flat_map(|journal| journal.releases.iter())
}

fn known_children(journal: Option<&Journal>) -> BTreeMap<&Digest, &[Child]> {
    let known = records(journal).filter(|record| !record.children.is_empty());
    known.map(|record| (&record.digest, record.children.as_slice())).collect()
}

/// What runs, is being proven, or is gone back to.
fn under_way(journal: &Journal) -> impl Iterator<Item = &Digest> {
    let back = journal.going_back.iter().flat_map(|back| [&back.from, &back.to]);
    let releases = journal.current.iter().chain(&journal.candidate).chain(back);
    releases.filter_map(|release| journal.record(release)).map(|record| &record.digest)
}
