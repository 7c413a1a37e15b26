//! Ports: what observing needs to be told, whoever tells it.
//!
//! Neighbours: facts before it; aws and the simulation keep these promises.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::facts::{Alarm, Child, Image, Revision, Rollout, Scan, Service, Task};
use super::needs::{Role, Secret};
use crate::journal::Journal;
use crate::release::{Digest, RevisionArn};

/// A call to the outside that brought no answer.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct CallError {
    /// Verb and object: "describe service `shop`".
    pub what: String,
    pub fault: CallFault,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl CallError {
    /// What was being done, and every cause, in one line.
    pub fn chain(&self) -> String {
        let mut chain = self.what.clone();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self.source.as_ref());
        while let Some(error) = cause {
            let text = error.to_string();
            // The SDK's own errors repeat what ours say of them, and "service error" says nothing.
            if !chain.contains(&text) && text != "service error" {
                chain = format!("{chain}: {text}");
            }
            cause = error.source();
        }
        chain
    }
}

/// By what the caller should do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallFault {
    /// Nothing was heard, or the server's fault: it may have been carried out. Look before doing it again.
    Unknown,
    /// Too many requests, or "too many concurrent attempts": nothing happened; later.
    Throttled,
    /// Credentials do not suffice: nothing happened; a person must act.
    Denied,
    /// Understood and refused: nothing happened; asking again changes nothing.
    Refused,
}

impl From<ledger::store::Fault> for CallFault {
    fn from(fault: ledger::store::Fault) -> CallFault {
        use ledger::store::Fault;
        match fault {
            Fault::Unknown | Fault::Conflict => CallFault::Unknown,
            Fault::Denied => CallFault::Denied,
            Fault::NoSuchBucket | Fault::NoSuchUpload | Fault::Refused => CallFault::Refused,
        }
    }
}

/// ECR, for one repository.
#[async_trait]
pub trait Registry: Send + Sync {
    /// All images, untagged ones too, as DescribeImages tells: `children` is empty for manifests, `None` for indexes.
    /// What is no image of a container (signatures, charts) is left out, and so is what cannot be pulled.
    async fn images(&self) -> Result<Vec<Image>, CallError>;
    /// The platforms of these indexes (BatchGetImage). Digests that are gone are left out.
    async fn children(&self, indexes: &[Digest]) -> Result<BTreeMap<Digest, Vec<Child>>, CallError>;
    /// What the scans of these images found (DescribeImageScanFindings): the newer basic scanning tells nothing in
    /// DescribeImages. Where that is all there is, an empty map.
    async fn scans(&self, digests: &[Digest]) -> Result<BTreeMap<Digest, Scan>, CallError> {
        let _ = digests;
        Ok(BTreeMap::new())
    }
}

/// ECS, for one service.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// By one call; its rollouts are those that DescribeServices tells.
    async fn service(&self) -> Result<Option<Service>, CallError>;
    /// The service's deployments by the API of their own, newest first; empty where that lists none.
    async fn rollouts(&self) -> Result<Vec<Rollout>, CallError> {
        Ok(Vec::new())
    }
    async fn tasks(&self) -> Result<Vec<Task>, CallError>;
    /// The newest registered revisions of the family, newest first, at most a page.
    async fn revisions(&self) -> Result<Vec<Revision>, CallError>;
    /// Whether Landfall registered this revision, by its tags; not where it was only found running.
    async fn is_ours(&self, revision: &RevisionArn) -> Result<bool, CallError>;
    /// Of these revisions, those that are not ACTIVE any more (DescribeTaskDefinition).
    async fn inactive(&self, revisions: &[RevisionArn]) -> Result<Vec<RevisionArn>, CallError>;
}

/// CloudWatch: the alarms of these names.
#[async_trait]
pub trait Alarms: Send + Sync {
    async fn alarms(&self, names: &[String]) -> Result<Vec<Alarm>, CallError>;
}

/// What tasks need beside their image. Asked only by `verify`; no value is ever read. A region that is not named is the
/// deployer's own. `None` and `false`: AWS says that there is none.
#[async_trait]
pub trait Needs: Send + Sync {
    /// By its name, without path (GetRole).
    async fn role(&self, name: &str) -> Result<Option<Role>, CallError>;
    /// By its name or ARN (DescribeSecret).
    async fn secret(&self, id: &str, region: Option<&str>) -> Result<Option<Secret>, CallError>;
    /// Whether there is one with any of these names (DescribeParameters).
    async fn parameter(&self, names: &[String], region: Option<&str>) -> Result<bool, CallError>;
    /// Whether there is one of just this name (DescribeLogGroups).
    async fn log_group(&self, name: &str, region: Option<&str>) -> Result<bool, CallError>;
}

/// The ledger: who may not write.
#[async_trait]
pub trait Rejections: Send + Sync {
    async fn rejected(&self) -> Result<BTreeSet<String>, CallError>;
}

/// Names one stored body of the journal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalTag(pub String);

/// What writing the journal found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Written {
    Written(JournalTag),
    /// Somebody else wrote it: look again.
    Changed,
}

/// The journal's object.
#[async_trait]
pub trait JournalStore: Send + Sync {
    async fn read(&self) -> Result<Option<(Journal, JournalTag)>, CallError>;
    /// Replaces the body that `read` gave; `None`: there was none. A [`CallFault::Unknown`] may have been carried out.
    async fn write(&self, journal: &Journal, over: Option<&JournalTag>) -> Result<Written, CallError>;
}
