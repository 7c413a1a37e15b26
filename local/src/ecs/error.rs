//! The errors that ECS answers with, as values.
//!
//! Order: a call checks everything before it changes anything, so that an error means: nothing happened.
//! Neighbours: api raises them; whoever speaks HTTP turns them into `__type` and a status.

use serde_json::{Value, json};
use thiserror::Error;

/// What an ECS call can answer but its result. Names as in the *Amazon ECS API Reference*, "Errors" of each action and
/// "Common Errors"; the text is ECS's own where it is known. The text is the whole message: codes stand in `code`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EcsError {
    #[error("{0}")]
    AccessDenied(String),
    /// A request that cannot be carried out as it stands, and `Too many concurrent attempts …`, which can.
    #[error("{0}")]
    Client(String),
    #[error("Cluster not found.")]
    ClusterNotFound,
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("{0}")]
    Server(String),
    #[error("Service deployment not found.")]
    ServiceDeploymentNotFound,
    #[error("Service was not ACTIVE.")]
    ServiceNotActive,
    #[error("Service not found.")]
    ServiceNotFound,
    #[error("Rate exceeded")]
    Throttling,
    #[error("{0}")]
    UnsupportedFeature(String),
}

impl EcsError {
    /// ECS's answer to two RegisterTaskDefinition of one family at the same time.
    pub fn concurrent_registration() -> EcsError {
        EcsError::Client(
            "Too many concurrent attempts to create a new revision of the specified family.".into(),
        )
    }

    /// The name of the exception on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            EcsError::AccessDenied(_) => "AccessDeniedException",
            EcsError::Client(_) => "ClientException",
            EcsError::ClusterNotFound => "ClusterNotFoundException",
            EcsError::Conflict(_) => "ConflictException",
            EcsError::InvalidParameter(_) => "InvalidParameterException",
            EcsError::Server(_) => "ServerException",
            EcsError::ServiceDeploymentNotFound => "ServiceDeploymentNotFoundException",
            EcsError::ServiceNotActive => "ServiceNotActiveException",
            EcsError::ServiceNotFound => "ServiceNotFoundException",
            EcsError::Throttling => "ThrottlingException",
            EcsError::UnsupportedFeature(_) => "UnsupportedFeatureException",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self) -> u16 {
        match self {
            EcsError::Server(_) => 500,
            EcsError::AccessDenied(_)
            | EcsError::Client(_)
            | EcsError::ClusterNotFound
            | EcsError::Conflict(_)
            | EcsError::InvalidParameter(_)
            | EcsError::ServiceDeploymentNotFound
            | EcsError::ServiceNotActive
            | EcsError::ServiceNotFound
            | EcsError::Throttling
            | EcsError::UnsupportedFeature(_) => 400,
        }
    }

    /// The body of the answer, as the protocol `awsJson1_1` has it.
    pub fn body(&self) -> Value {
        json!({ "__type": self.code(), "message": self.to_string() })
    }
}

/// A report that the model cannot take. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReportError {
    /// No such task, or it stopped so long ago that it is forgotten.
    #[error("find task `{0}`: unknown, or stopped long ago")]
    Unknown(super::ids::TaskId),
    /// The task has stopped; a late report says nothing any more.
    #[error("report on task `{0}`: it has stopped already")]
    Stopped(super::ids::TaskId),
    /// A task runs before it is healthy, and only one that is not running yet can fail to start.
    #[error("report on task `{0}`: `{1}` does not follow from what was reported before")]
    OutOfOrder(super::ids::TaskId, &'static str),
}
