//! Images: what is pushed, and how its tasks behave. Only the world knows the latter.

use deployer::observe::facts::{Child, Image, Scan};
use deployer::policy::{Policy, Severity};
use deployer::release::{Digest, Moment};

use super::State;

pub const PLATFORM: &str = "linux/arm64";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behaviour {
    Good,
    /// Its task ends so, soon after its start.
    Crashes(i32),
    NeverHealthy,
    /// The gate refuses the data: exit code 65.
    RefusesData,
    /// Healthy at first; after a while it ends so, again and again.
    CrashesLater(i32),
    /// Healthy; after a while an alarm goes off.
    RaisesAlarm,
}

#[derive(Clone, Debug)]
pub struct Made {
    pub digest: Digest,
    pub tags: Vec<String>,
    /// None: not yet.
    pub pushed_at: Option<i64>,
    pub gone: bool,
    /// Of an index.
    pub children: Option<Vec<Child>>,
    pub behaviour: Behaviour,
    /// How long a scan takes, and whether it finds something bad.
    pub scan_ms: i64,
    pub scan_bad: bool,
}

/// A digest that looks like one; its first digits tell images apart.
pub fn digest(number: u64) -> Digest {
    let first = super::rng::Rng::new(number).bits();
    Digest(format!("sha256:{first:016x}{number:048x}"))
}

impl Made {
    pub fn new(number: u64, tag: &str, behaviour: Behaviour) -> Made {
        Made {
            digest: digest(number),
            tags: vec![tag.to_owned()],
            pushed_at: None,
            gone: false,
            children: None,
            behaviour,
            scan_ms: 60_000,
            scan_bad: false,
        }
    }

    /// An index of two platforms, or of one that is not ours.
    pub fn multi(mut self, number: u64, ours: bool) -> Made {
        let child =
            |at: u64, platform: &str| Child { digest: digest(number * 10 + at), platform: platform.into() };
        let mut children = vec![child(1_000_001, "linux/amd64")];
        if ours {
            children.push(child(1_000_002, PLATFORM));
        }
        self.children = Some(children);
        self
    }

    pub fn is_there(&self) -> bool {
        self.pushed_at.is_some() && !self.gone
    }

    pub fn runs_here(&self) -> bool {
        self.children.as_ref().is_none_or(|children| children.iter().any(|child| child.platform == PLATFORM))
    }

    pub fn scan(&self, now: i64) -> Scan {
        match self.pushed_at {
            Some(at) if now >= at + self.scan_ms => {
                Scan::Done(Some(if self.scan_bad { Severity::Critical } else { Severity::Low }))
            }
            Some(_) | None => Scan::Pending,
        }
    }

    /// As DescribeImages tells it.
    pub fn described(&self, now: i64) -> Image {
        Image {
            digest: self.digest.clone(),
            tags: self.tags.clone(),
            pushed_at: Moment(self.pushed_at.unwrap_or_default()),
            children: if self.children.is_some() { None } else { Some(Vec::new()) },
            scan: self.scan(now),
        }
    }

    /// Whether it should run, if it is the newest: by what only the world knows.
    pub fn is_sound(&self, policy: &Policy) -> bool {
        let scanned = policy.scan.passes.is_none() || !self.scan_bad;
        self.is_there() && self.runs_here() && scanned && self.behaviour == Behaviour::Good
    }
}

impl State {
    pub fn image(&self, digest: &str) -> Option<&Made> {
        self.images.iter().find(|image| image.digest.as_str() == digest)
    }

    pub fn image_mut(&mut self, digest: &str) -> Option<&mut Made> {
        self.images.iter_mut().find(|image| image.digest.as_str() == digest)
    }
}
