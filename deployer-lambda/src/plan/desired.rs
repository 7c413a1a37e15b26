//! Desired: the newest image that the policy admits, and why it may have to wait.
//!
//! Order: by version or by the time of the push, never by arrival. Nothing older than what is proven is desired
//! unless a person pinned it: a registry that lost images must not downgrade production.
//! Neighbours: policy and observe before it. Pure.

use std::cmp::Ordering;

use super::target::is_rejected;
use super::{Facts, Inputs, Skip};
use crate::journal::{Journal, Pin, Record, Verdict};
use crate::observe::facts::{Image, Scan};
use crate::policy::{Admitted, Policy};
use crate::release::{Digest, Moment, ReleaseId};

/// How new an image is.
#[derive(Clone, Debug)]
pub struct Rank {
    pub admitted: Admitted,
    pub pushed_at: Moment,
}

impl Rank {
    fn newer(&self, other: &Rank, inputs: &Inputs<'_>) -> Ordering {
        if !inputs.rules.order_by_version {
            return self.pushed_at.cmp(&other.pushed_at);
        }
        inputs.policy.newer((&self.admitted, self.pushed_at), (&other.admitted, other.pushed_at))
    }

    /// `1.2.3`, where the tag is a version.
    pub fn version(&self) -> Option<String> {
        match &self.admitted {
            Admitted::Version(version) => Some(version.to_string()),
            Admitted::Name => None,
        }
    }
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

/// All images that the policy admits, newest first.
pub(super) fn choices<'a>(inputs: &Inputs<'_>, images: &'a [Image]) -> Vec<Choice<'a>> {
    let mut choices: Vec<Choice<'a>> = images
        .iter()
        .filter_map(|image| {
            let admitted = inputs.policy.admits_any(image.tags.iter().map(String::as_str))?;
            let tag = image.tags.iter().find(|tag| inputs.policy.admits(tag).as_ref() == Some(&admitted))?;
            let rank = Rank { admitted, pushed_at: image.pushed_at };
            Some(Choice { image, release: (inputs.release_of)(&image.digest), rank, tag: tag.clone() })
        })
        .collect();
    choices.sort_by(|a, b| b.rank.newer(&a.rank, inputs));
    choices
}

/// The digests that the policy admits, newest first: what observing looks at closely.
pub fn admitted(policy: &Policy, images: &[Image]) -> Vec<Digest> {
    let mut admitted: Vec<(Admitted, &Image)> = images
        .iter()
        .filter_map(|image| Some((policy.admits_any(image.tags.iter().map(String::as_str))?, image)))
        .collect();
    admitted.sort_by(|a, b| policy.newer((&b.0, b.1.pushed_at), (&a.0, a.1.pushed_at)));
    admitted.into_iter().map(|(_, image)| image.digest.clone()).collect()
}

/// How new a release was, as its record tells.
pub(super) fn rank_of(record: &Record) -> Rank {
    let version = record.version.as_deref().and_then(|text| semver::Version::parse(text).ok());
    let admitted = version.map_or(Admitted::Name, Admitted::Version);
    Rank { admitted, pushed_at: record.pushed_at }
}

/// Whether an image is newer than a record's.
pub(super) fn is_newer(inputs: &Inputs<'_>, choice: &Choice<'_>, record: &Record) -> bool {
    choice.rank.newer(&rank_of(record), inputs) == Ordering::Greater
}

/// What should run next, beside `current`.
pub(super) fn desired<'a>(inputs: &Inputs<'_>, facts: &Facts<'a>, journal: &Journal) -> Desired<'a> {
    let choices = choices(inputs, facts.images);
    if let Some(pin) = journal.pin.as_ref().filter(|_| inputs.rules.people_win) {
        return pinned(inputs, facts, choices, journal, pin);
    }
    let current = journal.current.as_ref().and_then(|release| journal.record(release));
    let mut passed: Option<(Skip, String)> = None;
    for choice in choices {
        let is_current = current.is_some_and(|record| record.release == choice.release);
        let same_image = current.is_some_and(|record| record.digest == choice.image.digest);
        // A service that is gone runs nothing: what it ran is created again.
        if is_current && facts.service.is_some() {
            break;
        }
        if current.is_some_and(|record| !is_newer(inputs, &choice, record)) && !same_image {
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
        None => Desired::Nothing { words: at_rest(inputs, facts, current), skip: None },
    }
}

/// Why nothing is to be done, where nothing was passed over.
fn at_rest(inputs: &Inputs<'_>, facts: &Facts<'_>, current: Option<&Record>) -> String {
    let admitted = facts.images.iter().any(|image| {
        let tags = image.tags.iter().map(String::as_str);
        inputs.policy.admits_any(tags).is_some()
    });
    let is_idle = facts.service.is_some_and(|service| service.desired > 0 && service.running == 0);
    match current {
        Some(_) if admitted && is_idle => {
            "the newest image that the policy admits is deployed, and no task of it runs now".to_owned()
        }
        Some(_) if admitted => "the newest image that the policy admits runs".to_owned(),
        Some(_) | None => {
            let runs = if current.is_some() { "; what runs stays" } else { "" };
            let what = "push a tag that matches, or change `images` in policy.toml";
            format!("the repository holds no image that the policy admits{runs}: {what}")
        }
    }
}

/// Whether it may not run, under any of its names.
fn rejects(facts: &Facts<'_>, journal: &Journal, choice: &Choice<'_>) -> bool {
    let (image, children) = (choice.image, choice.image.children.as_deref().unwrap_or_default());
    is_rejected(journal, facts.rejected, &choice.release, &image.digest, children)
}

/// A pinned release is what runs, whatever else is there; but what is rejected, frozen or unapproved waits, pinned or not.
fn pinned<'a>(
    inputs: &Inputs<'_>,
    facts: &Facts<'_>,
    choices: Vec<Choice<'a>>,
    journal: &Journal,
    pin: &Pin,
) -> Desired<'a> {
    let nothing = |words: String| Desired::Nothing { words, skip: Some(Skip::Pinned) };
    let runs = || nothing("what runs is pinned; `unpin` lets newer images in".to_owned());
    // What a person pinned is the image: with other templates it makes another release.
    let made = choices.iter().position(|choice| choice.release == pin.release);
    let same = || choices.iter().position(|choice| pin.digest.as_ref() == Some(&choice.image.digest));
    let Some(choice) = made.or_else(same).and_then(|at| choices.into_iter().nth(at)) else {
        let known = pin.digest.as_ref().map_or_else(String::new, |it| format!(" (image {})", it.short()));
        return match journal.current.as_ref() == Some(&pin.release) {
            true => runs(),
            false => nothing(format!(
                "release {}{known} is pinned, and no image that the policy admits makes it: push it again, or `unpin`",
                pin.release
            )),
        };
    };
    let release = &choice.release;
    if journal.current.as_ref() == Some(release) && facts.service.is_some() {
        return runs();
    }
    // It failed since it was pinned: trying it again and again would help nobody.
    let failed = journal.record(release).is_some_and(|record| {
        record.verdict == Verdict::Rejected && record.verdict_at.is_none_or(|at| at >= pin.at)
    });
    if failed || rejects(facts, journal, &choice) {
        return nothing(format!("`{}` is pinned, and was rejected; `unpin`, or `release` it", choice.tag));
    }
    match hindrance(inputs, journal, &choice) {
        None => open(inputs, journal, choice),
        Some((skip, words, Waits::Here)) => Desired::Held { choice, skip, words },
        Some((_, words, Waits::No)) => nothing(format!("{words}; it is pinned")),
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
    if rejected || rejects(facts, journal, choice) {
        return Some((Skip::Rejected, format!("`{tag}` was rejected; `release` takes that back"), Waits::No));
    }
    hindrance(inputs, journal, choice)
}

/// What stands against it, whoever wants it, and however it did before.
fn hindrance(inputs: &Inputs<'_>, journal: &Journal, choice: &Choice<'_>) -> Option<(Skip, String, Waits)> {
    let tag = &choice.tag;
    if choice.image.children.is_none() {
        // Only the newest are looked at closely; one that is not is not released blindly.
        return Some((Skip::Unknown, format!("the platforms of `{tag}` were not read"), Waits::No));
    }
    if let Some(children) = choice.image.children.as_ref().filter(|children| !children.is_empty())
        && !children.iter().any(|child| child.runs_on(inputs.platform))
    {
        let platform = inputs.platform;
        let words = format!(
            "`{tag}` has no image for {platform}: push one that has, or change the task definition's CPU (the stack's \
             CpuArchitecture)"
        );
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
        .map(|frozen| format!("the policy freezes releases now: {}", frozen.window.reason))
}
