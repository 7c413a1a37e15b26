//! Ports: what applying needs to be done, whoever does it. Every call done twice equals once.

use async_trait::async_trait;
use serde_json::Value;

use super::widen::Widened;
use crate::journal::Scaling;
use crate::observe::ports::CallError;
use crate::release::{Digest, ReleaseId, RevisionArn};

/// ECS, for one service. Bodies are the requests' JSON as AWS spells it.
#[async_trait]
pub trait Deploy: Send + Sync {
    /// RegisterTaskDefinition.
    async fn register(&self, body: &Value) -> Result<RevisionArn, CallError>;
    /// CreateService; the body carries a client token.
    async fn create(&self, body: &Value) -> Result<(), CallError>;
    /// UpdateService.
    async fn update(&self, body: &Value) -> Result<(), CallError>;
    /// DeleteService. A service that is not there, or whose cluster is not, is deleted.
    async fn delete(&self, body: &Value) -> Result<(), CallError>;
    /// TagResource, of a revision and, where it is what the service runs, of the service: the console's view. Keys and
    /// values are sanitised already.
    async fn tag(
        &self,
        revision: &RevisionArn,
        tags: &[(String, String)],
        service_too: bool,
    ) -> Result<(), CallError>;
}

/// The ledger's rejections.
#[async_trait]
pub trait Fence: Send + Sync {
    async fn reject(&self, what: &str, reason: &str) -> Result<(), CallError>;
    async fn release(&self, what: &str, reason: &str) -> Result<(), CallError>;
}

/// ECR: one more tag on an image.
#[async_trait]
pub trait Keeper: Send + Sync {
    async fn keep(&self, digest: &Digest, tag: &str) -> Result<(), CallError>;
}

/// Application Auto Scaling, for the service.
#[async_trait]
pub trait Scaler: Send + Sync {
    /// Its number of tasks follows its lag; or `None`: it follows nothing.
    async fn scale(&self, wanted: Option<Scaling>) -> Result<(), CallError>;
}

/// Who keeps a table over the output.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Gives the table the columns that the release has and it has not. `None`: nobody wrote down what the release has.
    async fn widen(&self, release: &ReleaseId) -> Result<Option<Widened>, CallError>;
}

/// CloudFormation: hears what became of its request.
#[async_trait]
pub trait Answerer: Send + Sync {
    /// Puts the answer to the request's URL, again where that fails.
    async fn answer(&self, url: &str, answer: &Value) -> Result<(), CallError>;
}

/// SNS: tells a person.
#[async_trait]
pub trait Notifier: Send + Sync {
    async fn notify(&self, subject: &str, text: &str) -> Result<(), CallError>;
}
