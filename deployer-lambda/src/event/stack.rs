//! Stack: what CloudFormation asks of the custom resource that stands for the deployer in its stack.
//!
//! Order: whatever is wrong, CloudFormation waits long for an answer that does not come; so the address to answer to
//! is read first, and apart from everything else.
//! Source: CloudFormation user guide, "Custom resource request and response reference". Pure.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::EventError;

/// Always the same: another one would tell CloudFormation to delete the resource that had the old one.
const PHYSICAL_ID: &str = "landfall-deployer";
/// An answer has at most 4,096 bytes. Source: as above.
const REASON_CHARS_MAX: usize = 700;

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum StackChange {
    Create,
    Update,
    Delete,
}

impl StackChange {
    pub fn word(self) -> &'static str {
        match self {
            StackChange::Create => "creation",
            StackChange::Update => "update",
            StackChange::Delete => "deletion",
        }
    }
}

/// Whose request it is, and where its answer goes: a presigned URL of S3, which is as good as a password.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct Sender {
    #[serde(rename = "ResponseURL")]
    pub response_url: String,
    pub stack_id: String,
    request_id: String,
    logical_resource_id: String,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("stack_id", &self.stack_id).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StackRequest {
    pub change: StackChange,
    pub sender: Sender,
}

fn malformed(fault: impl fmt::Display) -> EventError {
    let detail_type = "CloudFormation's custom resource request".to_owned();
    EventError::Malformed { detail_type, fault: fault.to_string() }
}

impl StackRequest {
    /// Of an invocation's payload; none: it is no request of CloudFormation's.
    pub fn read(payload: &Value) -> Option<Result<StackRequest, EventError>> {
        let sender = Sender::read(payload)?;
        let change = StackChange::deserialize(&payload["RequestType"]);
        Some(sender.and_then(|sender| {
            let change = change.map_err(|error| malformed(format!("`RequestType`: {error}")))?;
            Ok(StackRequest { change, sender })
        }))
    }
}

impl Sender {
    /// Of an invocation's payload, whatever else is odd in it; none: it is no request of CloudFormation's.
    pub fn read(payload: &Value) -> Option<Result<Sender, EventError>> {
        payload.get("ResponseURL")?;
        let sender = Sender::deserialize(payload).map_err(malformed);
        Some(sender.and_then(|sender| {
            let is_url = ["https://", "http://"].iter().any(|scheme| sender.response_url.starts_with(scheme));
            if is_url { Ok(sender) } else { Err(malformed("`ResponseURL` is no URL")) }
        }))
    }

    /// What CloudFormation is told: `Ok` with a sentence for its list of events, or why it failed.
    pub fn answer(&self, outcome: &Result<String, String>) -> Value {
        let (status, reason) = match outcome {
            Ok(said) => ("SUCCESS", said),
            Err(fault) => ("FAILED", fault),
        };
        json!({
            "Status": status,
            "Reason": reason.chars().take(REASON_CHARS_MAX).collect::<String>(),
            "PhysicalResourceId": PHYSICAL_ID,
            "StackId": self.stack_id,
            "RequestId": self.request_id,
            "LogicalResourceId": self.logical_resource_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> Value {
        serde_json::from_str(include_str!("../../tests/events/stack-delete.json")).unwrap()
    }

    #[test]
    fn a_request_of_cloudformation_is_read_and_answered_under_one_name() {
        let request = StackRequest::read(&payload()).unwrap().unwrap();
        assert_eq!(request.change, StackChange::Delete);
        for (outcome, status) in [(Ok("gone".to_owned()), "SUCCESS"), (Err("denied".to_owned()), "FAILED")] {
            let answer = request.sender.answer(&outcome);
            assert_eq!(answer["Status"], status);
            assert_eq!(answer["PhysicalResourceId"], payload()["PhysicalResourceId"]);
            for key in ["StackId", "RequestId", "LogicalResourceId"] {
                assert_eq!(answer[key], payload()[key]);
            }
        }
        let long = request.sender.answer(&Err("ä".repeat(10_000)));
        assert!(long.to_string().len() < 4096);
    }

    #[test]
    fn where_the_answer_goes_is_in_no_log() {
        let request = StackRequest::read(&payload()).unwrap().unwrap();
        assert!(!format!("{request:?}").contains("https://"), "{request:?}");
    }

    #[test]
    fn what_is_no_request_is_left_to_others_and_a_malformed_one_says_what_is_wrong() {
        assert!(StackRequest::read(&json!({"source": "aws.ecs"})).is_none());
        let mut odd = payload();
        odd["RequestType"] = json!("Rename");
        let error = StackRequest::read(&odd).unwrap().unwrap_err();
        assert!(error.to_string().contains("Rename"), "{error}");
        assert!(Sender::read(&odd).unwrap().is_ok(), "who asked can be told so");
        odd = payload();
        odd["ResponseURL"] = json!("file:///etc/passwd");
        assert!(StackRequest::read(&odd).unwrap().is_err());
    }
}
