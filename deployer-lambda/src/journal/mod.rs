//! Journal: what the deployer did and why, in `_landfall/releases.json`.
//!
//! Order: an intent is written before its call. Every writer replaces what it read (compare and set); the loser of a
//! race looks again. The ledger is the authority on rejection; the journal explains.
//! Neighbours: release before it; plan writes the next journal, apply stores it. Types are pure; `store` is not.

mod bounds;
#[cfg(test)]
pub(crate) mod samples;
pub mod store;

use serde::{Deserialize, Serialize};

pub use bounds::Forgotten;

use crate::observe::facts::Child;
pub use crate::policy::Urgency;
use crate::release::{Digest, Moment, ReleaseId, RevisionArn};

/// The format this build writes and reads.
pub const FORMAT: u32 = 1;
/// Under the output prefix, beside the ledger.
pub const KEY: &str = "_landfall/releases.json";
/// Releases that are remembered.
pub const RECORDS_MAX: usize = 100;
/// Pushes that are remembered to tell a lost event.
pub const PUSHES_MAX: usize = 50;
/// Notices that wait to be sent.
pub const OUTBOX_MAX: usize = 50;

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Journal {
    pub format: u32,
    /// Rises with every write, so that no two bodies are the same.
    pub revision: u64,
    pub updated_at: Moment,
    /// The call that is being made, or was when its maker died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// The release that the service is to run: the last one proven, or adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<ReleaseId>,
    /// The release under proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<ReleaseId>,
    /// A way back that is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub going_back: Option<GoingBack>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// Stopped on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Its stack was deleted: the service goes, and nothing is looked after before a stack is there again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<Retired>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// What people rejected and the ledger does not know yet: announced one by one as `Action::Reject`, then struck.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted_rejects: Vec<Wanted>,
    /// Rejections that people took back and the ledger still holds: announced as `Action::Release`, then struck.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted_releases: Vec<Wanted>,
    /// Newest last.
    #[serde(default)]
    pub releases: Vec<Record>,
    /// Digests whose push event came, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pushes: Vec<Digest>,
    /// Notices that are still to be sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbox: Vec<Notice>,
    /// The number of the next `landfall-keep-<n>`.
    #[serde(default)]
    pub keep_next: u64,
    /// Times that the service was found on a revision that nobody announced, and was put right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drifts: Vec<Moment>,
    /// What was told and is not to be told again: "topic:release", newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// Tasks to scale to, once: by `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_to: Option<u32>,
    /// How Application Auto Scaling is told to scale the service; none: it is not, for sure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaled>,
    /// The announced call that was refused last; gone once a call of its kind is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
}

/// How the service's number of tasks, one at least, follows its lag.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Scaling {
    pub tasks_max: u32,
    /// That is aimed at.
    pub lag_seconds: u32,
}

/// Written down before it is asked for: who takes it back must know that it may be there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Scaled {
    pub scaling: Scaling,
    /// It was asked for, and AWS said yes.
    pub done: bool,
}

/// A call that AWS or the ledger understood and refused: nothing happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LastError {
    pub action: Action,
    /// What, why and what to do, in one line.
    pub text: String,
    /// Credentials do not suffice: a person must act.
    pub denied: bool,
    /// Of the last time.
    pub at: Moment,
    /// How often in a row; 0 once a person did something about it, so that it is made again at once.
    pub times: u32,
}

/// A call that was announced. Whoever finds it old finishes or drops it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Intent {
    /// The journal's revision that announced it.
    pub id: u64,
    pub action: Action,
    pub announced_at: Moment,
}

/// A call that changes something outside. Coarse: one for each effect. Doing one twice equals doing it once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// RegisterTaskDefinition, from the templates and the release's image.
    Register { release: ReleaseId },
    /// CreateService, with the release id as client token.
    Create { release: ReleaseId, revision: RevisionArn },
    /// UpdateService to a revision, with the service's settings.
    /// `force`: a new deployment even of the revision that the service points at already.
    Point { release: ReleaseId, revision: RevisionArn, own_rollback: bool, force: bool },
    /// UpdateService: only whether ECS may roll back by itself. Starts no deployment.
    OwnRollback { on: bool },
    /// UpdateService: only the number of tasks; by `stop` and `start`, and before it is deleted.
    Scale { desired: u32 },
    /// DeleteService, once its stack is deleted and its tasks are gone.
    Delete,
    /// The ledger: `what`, a release id or a digest, may not write any more.
    Reject { what: String, reason: String },
    /// The ledger: it may again.
    Release { what: String, reason: String },
}

/// One release, from the first look to its verdict.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    pub release: ReleaseId,
    pub digest: Digest,
    /// Of an index: its platforms' images. The running digest may be one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    pub tags: Vec<String>,
    /// By which it is ordered, where tags are versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub pushed_at: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionArn>,
    pub verdict: Verdict,
    /// A sentence.
    pub reason: String,
    /// When it became the candidate.
    pub picked_at: Moment,
    /// When the service was last pointed at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointed_at: Option<Moment>,
    /// When a task with its digest was first seen running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_at: Option<Moment>,
    /// When ECS called its deployment complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict_at: Option<Moment>,
    /// How often its surroundings blocked it, and when to try again.
    #[serde(default)]
    pub blocked_times: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Moment>,
    /// Deployment alarms that were in ALARM when it was pointed at: ECS ignores them, we wait for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms_before: Vec<String>,
    /// The tag that keeps its image in ECR, and whether it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// The verdict that the console's tags show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<Verdict>,
    /// The table over the output has its columns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub catalogued: bool,
}

impl Record {
    /// A release that was picked and nothing more.
    pub fn of(release: ReleaseId, digest: Digest, picked_at: Moment) -> Record {
        Record {
            release,
            digest,
            children: Vec::new(),
            tags: Vec::new(),
            version: None,
            pushed_at: Moment::default(),
            revision: None,
            verdict: Verdict::Proving,
            reason: String::new(),
            picked_at,
            pointed_at: None,
            running_at: None,
            completed_at: None,
            verdict_at: None,
            blocked_times: 0,
            retry_at: None,
            alarms_before: Vec::new(),
            keep: None,
            mirrored: None,
            catalogued: false,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Keep {
    pub tag: String,
    pub done: bool,
}

/// What became of a release.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Under proof.
    Proving,
    /// Complete by ECS, its digest running, no fault through the bake.
    Healthy,
    /// Complete, but no data came: nothing was proved by data.
    Quiet,
    /// The release is at fault: never again, until a person releases it.
    Rejected,
    /// Its surroundings are at fault: tried again.
    Blocked,
    /// A newer one, or a person, came before its verdict.
    Superseded,
}

/// The way back from a failed release.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GoingBack {
    pub from: ReleaseId,
    pub to: ReleaseId,
    /// What may not write any more, once the target is settled: release id or digest. None: nothing is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<String>,
    /// A sentence.
    pub reason: String,
    /// The metrics' dimension.
    pub cause: Cause,
    pub begun_at: Moment,
    /// When the service was pointed at the target by us; none while it was not, or where ECS went back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointed_at: Option<Moment>,
    /// How often a deployment of the target failed, and when to try again.
    #[serde(default)]
    pub failed_times: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Moment>,
    /// Earlier targets, which did not run however often they were tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<ReleaseId>,
}

/// Why a release was taken back: closed, for the metrics' dimension `Reason`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    Crash,
    OutOfMemory,
    Unhealthy,
    Settings,
    Data,
    Alarm,
    Surroundings,
    Person,
    Unclear,
}

impl Cause {
    pub const ALL: [Cause; 9] = [
        Cause::Crash,
        Cause::OutOfMemory,
        Cause::Unhealthy,
        Cause::Settings,
        Cause::Data,
        Cause::Alarm,
        Cause::Surroundings,
        Cause::Person,
        Cause::Unclear,
    ];
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pin {
    pub release: ReleaseId,
    /// Its image: what is meant, where other templates make another release of it. None: an older build pinned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    pub by: String,
    pub at: Moment,
}

impl Pin {
    /// Whether this release is what was pinned, or another one of the same image.
    pub fn means(&self, release: &ReleaseId, digest: &Digest) -> bool {
        self.release == *release || self.digest.as_ref() == Some(digest)
    }
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Freeze {
    pub by: String,
    pub at: Moment,
    /// None: until `unfreeze`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    pub reason: String,
}

/// By whom and when the deployer was told to give its service up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Retired {
    /// The ARN of the stack that was deleted.
    pub stack: String,
    pub at: Moment,
    /// The service is no work of Landfall's: it was there before and runs what it ran, so it stays.
    #[serde(default)]
    pub leaves_service: bool,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stopped {
    pub by: String,
    pub at: Moment,
    /// Tasks to come back to.
    pub desired: u32,
    #[serde(default)]
    pub reason: String,
}

/// A change of the ledger's rejections that is still to be made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Wanted {
    /// A release id or an image digest.
    pub what: String,
    pub reason: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Approval {
    pub digest: Digest,
    pub by: String,
    pub at: Moment,
}

/// What a person is told. Sent at least once; `id` tells a repetition.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notice {
    pub id: u64,
    pub at: Moment,
    pub urgency: Urgency,
    /// What happened, in one line: the mail's subject.
    pub subject: String,
    /// What happened, what Landfall did, what to look at, the command to type.
    pub text: String,
}

impl Journal {
    pub fn record(&self, release: &ReleaseId) -> Option<&Record> {
        self.releases.iter().find(|record| record.release == *release)
    }

    pub fn record_mut(&mut self, release: &ReleaseId) -> Option<&mut Record> {
        self.releases.iter_mut().find(|record| record.release == *release)
    }
}
