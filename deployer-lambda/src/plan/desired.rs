//! Desired: the newest image that the policy admits, and why it may have to wait.
//!
//! Order: by version or by the time of the push, never by arrival. Nothing older than what is proven is desired
//! unless a person pinned it: a registry that lost images must not downgrade production.
//! Neighbours: policy and observe before it. Pure.

use super::{Facts, Inputs, Skip};
use crate::journal::{Journal, Record, Verdict};
use crate::observe::facts::{Image, Scan};
use crate::policy::{Order, Policy, TagRule};
use crate::release::{Moment, ReleaseId};

/// How new an image is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rank {
    /// None where the order is by push, or tags are no versions.
    pub version: Option<semver::Version>,
    pub pushed_at: Moment,
}

/// An image and the release that it makes.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    pub image: &'a Image,
    pub release: ReleaseId,
    pub rank: Rank,
    /// The admitted tag, the newest where there are several.
    pub tag: String,
}

/// What should run.
pub(super) enum Desired<'a> {
    /// This, and nothing is in its way.
    Release(Choice<'a>),
    /// This, but not yet.
    Held { choice: Choice<'a>, skip: Skip, words: String },
    /// What runs, runs rightly. Names what was passed over and why, if anything.
    Nothing { words: String, skip: Option<Skip> },
}

/// How new an image with these tags is; `None`: the policy admits none of them.
pub fn rank(policy: &Policy, tags: &[String], pushed_at: Moment) -> Option<Rank> {
    admitted(policy, tags, pushed_at).map(|(rank, _)| rank)
}

fn admitted(policy: &Policy, tags: &[String], pushed_at: Moment) -> Option<(Rank, String)> {
    tags.iter()
        .filter_map(|tag| {
            let version = match &policy.tags {
                TagRule::Semver(range) => {
                    let version = semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()?;
                    range.matches(&version).then_some(Some(version))?
                }
                TagRule::Pattern(pattern) => pattern.matches(tag).then_some(None)?,
            };
            let version = match policy.order {
                Order::Version => version,
                Order::PushTime => None,
            };
            Some((Rank { version, pushed_at }, tag.clone()))
        })
        .max()
}

/// All images that the policy admits, newest first.
pub(super) fn choices<'a>(inputs: &Inputs<'_>, images: &'a [Image]) -> Vec<Choice<'a>> {
    let mut choices: Vec<Choice<'a>> = images
        .iter()
        .filter_map(|image| {
            let (mut rank, tag) = admitted(inputs.policy, &image.tags, image.pushed_at)?;
            if !inputs.rules.order_by_version {
                rank.version = None;
            }
            Some(Choice { image, release: (inputs.release_of)(&image.digest), rank, tag })
        })
        .collect();
    choices.sort_by(|a, b| b.rank.cmp(&a.rank));
    choices
}

/// How new a release was, as its record tells.
pub(super) fn rank_of(inputs: &Inputs<'_>, record: &Record) -> Rank {
    let version = record.version.as_deref().and_then(|text| semver::Version::parse(text).ok());
    let by_version = inputs.policy.order == Order::Version && inputs.rules.order_by_version;
    Rank { version: version.filter(|_| by_version), pushed_at: record.pushed_at }
}

/// What should run next, beside `current`.
pub(super) fn desired<'a>(inputs: &Inputs<'_>, facts: &Facts<'a>, journal: &Journal) -> Desired<'a> {
    let choices = choices(inputs, facts.images);
    if let Some(pin) = journal.pin.as_ref().filter(|_| inputs.rules.people_win) {
        return pinned(choices, journal, &pin.release);
    }
    let current = journal.current.as_ref().and_then(|release| journal.record(release));
    let floor = current.map(|record| rank_of(inputs, record));
    let mut passed: Option<(Skip, String)> = None;
    for choice in choices {
        let is_current = current.is_some_and(|record| record.release == choice.release);
        let same_image = current.is_some_and(|record| record.digest == choice.image.digest);
        if is_current {
            break;
        }
        if floor.as_ref().is_some_and(|floor| choice.rank <= *floor) && !same_image {
            passed.get_or_insert((Skip::Older, format!("`{}` is not newer than what runs", choice.tag)));
            break;
        }
        match obstacle(inputs, facts, journal, &choice) {
            None => return open(inputs, journal, choice),
            Some((skip, words, Waits::Here)) => return Desired::Held { choice, skip, words },
            Some((skip, words, Waits::No)) => drop(passed.get_or_insert((skip, words))),
        }
    }
    match passed {
        Some((skip, words)) => Desired::Nothing { words, skip: Some(skip) },
        None => {
            Desired::Nothing { words: "the newest image that the policy admits runs".to_owned(), skip: None }
        }
    }
}

/// A pinned release is what runs, whatever else is there.
fn pinned<'a>(choices: Vec<Choice<'a>>, journal: &Journal, pin: &ReleaseId) -> Desired<'a> {
    let nothing = |words: String| Desired::Nothing { words, skip: Some(Skip::Pinned) };
    if journal.current.as_ref() == Some(pin) {
        return nothing("what runs is pinned; `unpin` lets newer images in".to_owned());
    }
    match choices.into_iter().find(|choice| choice.release == *pin) {
        Some(choice) => Desired::Release(choice),
        None => nothing(format!("release {pin} is pinned, and no image in the registry makes it")),
    }
}

/// Whether an image that may not be released yet is waited for, or the next one is looked at.
enum Waits {
    Here,
    No,
}

/// What stands against releasing it.
fn obstacle(
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    journal: &Journal,
    choice: &Choice<'_>,
) -> Option<(Skip, String, Waits)> {
    let tag = &choice.tag;
    let known = journal.record(&choice.release);
    let rejected = known.is_some_and(|record| record.verdict == Verdict::Rejected);
    if rejected || facts.rejects(&choice.release, &choice.image.digest) {
        return Some((Skip::Rejected, format!("`{tag}` was rejected; `release` takes that back"), Waits::No));
    }
    if let Some(children) = choice.image.children.as_ref().filter(|children| !children.is_empty())
        && !children.iter().any(|child| child.platform == inputs.platform)
    {
        let words = format!("`{tag}` has no image for {}", inputs.platform);
        return Some((Skip::WrongPlatform, words, Waits::No));
    }
    if let Some(held) = scan(inputs, choice) {
        return Some(held);
    }
    let approved = journal.approvals.iter().any(|approval| approval.digest == choice.image.digest);
    if inputs.policy.approval && !approved {
        return Some((Skip::Unapproved, format!("`{tag}` waits for `approve`"), Waits::No));
    }
    None
}

fn scan(inputs: &Inputs<'_>, choice: &Choice<'_>) -> Option<(Skip, String, Waits)> {
    let passes = inputs.policy.scan.passes?;
    let tag = &choice.tag;
    match choice.image.scan {
        Scan::Done(Some(worst)) if worst > passes => {
            let words =
                format!("the scan of `{tag}` found something {worst:?}; the policy lets {passes:?} pass");
            Some((Skip::ScanFindings, words, Waits::No))
        }
        Scan::Done(_) => None,
        Scan::Pending if inputs.now.since_ms(choice.image.pushed_at) < inputs.policy.scan.wait_ms => {
            Some((Skip::ScanPending, format!("the scan of `{tag}` is not finished"), Waits::Here))
        }
        Scan::Pending => {
            let words = format!("the scan of `{tag}` did not finish within the policy's time");
            Some((Skip::ScanPending, words, Waits::No))
        }
        Scan::NoAnswer => Some((Skip::ScanFindings, format!("the registry cannot scan `{tag}`"), Waits::No)),
    }
}

/// Nothing is wrong with the image; is now the time?
fn open<'a>(inputs: &Inputs<'_>, journal: &Journal, choice: Choice<'a>) -> Desired<'a> {
    if !inputs.rules.people_win {
        return Desired::Release(choice);
    }
    match frozen(inputs, journal) {
        Some(words) => Desired::Held { choice, skip: Skip::Frozen, words },
        None => Desired::Release(choice),
    }
}

/// Why no new release may start now.
pub(super) fn frozen(inputs: &Inputs<'_>, journal: &Journal) -> Option<String> {
    if let Some(freeze) = &journal.freeze
        && freeze.until.is_none_or(|until| inputs.now < until)
    {
        return Some(format!("frozen by {}: {}", freeze.by, freeze.reason));
    }
    inputs
        .policy
        .frozen(inputs.now)
        .map(|window| format!("the policy freezes releases now: {}", window.reason))
}
