//! Policy: what a person wrote into `taskdefs/policy.toml`, parsed and checked once.
//!
//! Order: a tag is admitted first, then ordered: what names no release is neither newer nor older.
//! Neighbours: journal before it, for an urgency; settings and templates beside it; plan and judge decide by it. Pure.

pub(crate) mod parse;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::fault::{Faults, Source};
use crate::journal::Urgency;
use crate::release::Moment;

/// Tags that the deployer itself puts on images so that ECR keeps them. They name no release.
pub const KEEP_PREFIX: &str = "landfall-keep-";

const MINUTE_MS: i64 = 60_000;

/// Which images may be released, when, and what happens when one fails. Every field has a default that is right for
/// most: an empty file is a policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The repository in ECR, where the file names one.
    pub repository: Option<String>,
    pub tags: TagRule,
    pub order: Order,
    /// How long a release must run without a fault after ECS called its deployment complete.
    pub bake_ms: i64,
    /// Whether a person must approve every image by `approve`.
    pub approval: bool,
    pub freezes: Vec<FreezeWindow>,
    pub scan: ScanGate,
    /// Whether failed releases are taken back by the deployer at all.
    pub rollback: bool,
    pub on_no_target: OnNoTarget,
    pub supersede: Supersede,
    /// A rollout that takes longer is told to a person; it is never called failed for that.
    pub rollout_slow_ms: i64,
    /// Between two tries of a release that its surroundings blocked: first and longest wait.
    pub retry_first_ms: i64,
    pub retry_max_ms: i64,
    /// Notices of less urgency are not sent.
    pub notify: Urgency,
}

/// Which tags name a release.
#[derive(Clone, Debug)]
pub enum TagRule {
    /// `v1.2.3` or `1.2.3` within the range; pre-releases only where the range names one.
    Semver(semver::VersionReq),
    /// A shell pattern such as `main-*`. Ordered by version, it takes only tags that are versions.
    Pattern(glob::Pattern),
}

/// Which of two images is newer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By semantic version, then by the time of the push.
    Version,
    /// By the time of the push alone.
    PushTime,
}

/// What to do when a release fails and nothing proven is left to go back to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNoTarget {
    /// Keep it running and page.
    Keep,
    /// Scale to zero and page.
    Stop,
}

/// When a newer image may replace a candidate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supersede {
    /// Not before its verdict.
    AfterVerdict,
    /// At once; the candidate ends as `superseded`.
    AtOnce,
}

/// Findings of an image scan, worst last.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Undefined,
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// Which scan findings keep an image out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ScanGate {
    /// The highest severity that passes; none: scans are not asked for.
    pub passes: Option<Severity>,
    /// How long after the push a scan may take; past it the image is held and a person told.
    pub wait_ms: i64,
}

/// No new release starts from a time that `cron` names until `minutes` later.
#[derive(Clone, Debug)]
pub struct FreezeWindow {
    pub cron: croner::Cron,
    pub minutes: i64,
    pub zone: chrono_tz::Tz,
    pub reason: String,
}

/// What a tag that is admitted says of its image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Admitted {
    Version(semver::Version),
    /// The policy does not read versions in it.
    Name,
}

/// A freeze that is on.
#[derive(Clone, Copy, Debug)]
pub struct Frozen<'p> {
    pub window: &'p FreezeWindow,
    /// When it ends, unless it comes again before.
    pub until: Moment,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            repository: None,
            tags: TagRule::Semver(semver::VersionReq::STAR),
            order: Order::Version,
            bake_ms: 10 * MINUTE_MS,
            approval: false,
            freezes: Vec::new(),
            scan: ScanGate { passes: None, wait_ms: 30 * MINUTE_MS },
            rollback: true,
            on_no_target: OnNoTarget::Keep,
            supersede: Supersede::AfterVerdict,
            rollout_slow_ms: 30 * MINUTE_MS,
            retry_first_ms: 5 * MINUTE_MS,
            retry_max_ms: 60 * MINUTE_MS,
            notify: Urgency::Info,
        }
    }
}

impl Policy {
    /// What a file `policy.toml` with this text says, or all that is wrong with it.
    pub fn parse(text: &str) -> Result<Policy, Faults> {
        Policy::read(&Source::new("policy.toml", text))
    }

    /// [`Policy::parse`] of a file of any name.
    pub fn read(source: &Source) -> Result<Policy, Faults> {
        parse::parse(source)
    }

    /// Whether a tag names a release.
    pub fn admits(&self, tag: &str) -> Option<Admitted> {
        if tag.starts_with(KEEP_PREFIX) {
            return None;
        }
        match (&self.tags, self.order) {
            (TagRule::Semver(range), Order::Version | Order::PushTime) => {
                version_of(tag).filter(|version| range.matches(version)).map(Admitted::Version)
            }
            (TagRule::Pattern(pattern), Order::Version) => {
                version_of(tag).filter(|_| pattern.matches(tag)).map(Admitted::Version)
            }
            (TagRule::Pattern(pattern), Order::PushTime) => pattern.matches(tag).then_some(Admitted::Name),
        }
    }

    /// What an image's tags say together: the highest version among them.
    pub fn admits_any<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> Option<Admitted> {
        tags.into_iter().filter_map(|tag| self.admits(tag)).max_by(by_version)
    }

    /// Which of two images is newer: `Greater` when it is `a`. Build metadata (`+…`) does not count, as semver says.
    pub fn newer(&self, a: (&Admitted, Moment), b: (&Admitted, Moment)) -> Ordering {
        match self.order {
            Order::Version => by_version(a.0, b.0).then(a.1.cmp(&b.1)),
            Order::PushTime => a.1.cmp(&b.1),
        }
    }

    /// The freeze that is on; of several the one that ends last.
    pub fn frozen(&self, now: Moment) -> Option<Frozen<'_>> {
        let frozen = |window| FreezeWindow::until(window, now).map(|until| Frozen { window, until });
        self.freezes.iter().filter_map(frozen).max_by_key(|frozen| frozen.until)
    }

    /// Whether a notice of this urgency is sent.
    pub fn notifies(&self, urgency: Urgency) -> bool {
        rank(urgency) >= rank(self.notify)
    }
}

fn rank(urgency: Urgency) -> u8 {
    match urgency {
        Urgency::Info => 0,
        Urgency::Warning => 1,
        Urgency::Page => 2,
    }
}

fn by_version(a: &Admitted, b: &Admitted) -> Ordering {
    match (a, b) {
        (Admitted::Version(a), Admitted::Version(b)) => a.cmp_precedence(b),
        (Admitted::Version(_), Admitted::Name) => Ordering::Greater,
        (Admitted::Name, Admitted::Version(_)) => Ordering::Less,
        (Admitted::Name, Admitted::Name) => Ordering::Equal,
    }
}

/// `1.2.3`, `v1.2.3`, and as a tag takes no `+`, `1.2.3_7` for `1.2.3+7`, as Helm does. `1` and `1.2` are none.
pub fn version_of(tag: &str) -> Option<semver::Version> {
    let plain = tag.strip_prefix('v').unwrap_or(tag);
    semver::Version::parse(&plain.replacen('_', "+", 1)).ok()
}

impl FreezeWindow {
    /// When it ends, if it is on. A start that a clock's change skips comes right after the change; one that the
    /// change repeats comes once, the first time. It lasts as long as it says by a stopwatch, whatever the clock does.
    fn until(&self, now: Moment) -> Option<Moment> {
        let now = DateTime::<Utc>::from_timestamp_millis(now.0)?;
        // The only error that a checked pattern leaves: it never began before.
        let began = self.cron.find_previous_occurrence(&now.with_timezone(&self.zone), true).ok()?;
        let ends = began.with_timezone(&Utc) + TimeDelta::try_minutes(self.minutes)?;
        (now < ends).then(|| Moment(ends.timestamp_millis()))
    }
}
