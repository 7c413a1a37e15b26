//! Shapes: other people's events, as far as they are used. What is not used may be absent or of any shape.
//!
//! Sources: Amazon ECR user guide, "Amazon ECR events and EventBridge"; Amazon ECS developer guide, "Amazon ECS events";
//! Amazon CloudWatch user guide, "Alarm events and EventBridge"; EventBridge Scheduler user guide; Amazon Inspector user
//! guide, "Amazon EventBridge schema".

use serde::Deserialize;
use serde_json::Value;

/// What every EventBridge event has around its detail.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    pub account: String,
    pub region: String,
    #[serde(default)]
    pub resources: Vec<String>,
    /// An object; EventBridge Scheduler sends a string.
    #[serde(default)]
    pub detail: Value,
}

/// `ECR Image Action` and `ECR Replication Action`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageAction {
    pub result: String,
    pub action_type: String,
    pub repository_name: String,
    pub image_digest: String,
    /// Empty or absent for what has no tag: children of an index, attestations.
    #[serde(default)]
    pub image_tag: Option<String>,
}

/// `ECR Image Scan` (repository by name) and `Inspector2 Scan` (repository by ARN).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageScan {
    pub repository_name: String,
    pub image_digest: String,
}

/// `ECS Deployment State Change` and `ECS Service Action`. The service stands in the envelope's resources.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChange {
    pub event_name: String,
    /// Absent in the documentation's deployment events, there in those that ECS sends.
    #[serde(default)]
    pub cluster_arn: Option<String>,
}

/// `ECS Task State Change`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskChange {
    pub cluster_arn: String,
    /// `service:<name>`; absent for tasks that were started by hand.
    #[serde(default)]
    pub group: Option<String>,
}

/// `CloudWatch Alarm State Change`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmChange {
    pub alarm_name: String,
}
