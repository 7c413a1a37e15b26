//! Calls about service deployments and service revisions.

use serde_json::{Value, json};

use super::{missing, page, text, texts};
use crate::ecs::error::EcsError;
use crate::ecs::model::{Ms, Rollout, Service, Status};
use crate::ecs::{Answer, Ecs, view};

impl Ecs {
    /// From new to old; `status` and `createdAt` (`after`, `before`, in seconds) narrow it.
    pub fn list_service_deployments(&self, request: &Value) -> Answer {
        self.check_cluster(request)?;
        let s = self.service_named(request, "service")?;
        let wanted = request.get("status").and_then(Value::as_array).filter(|wanted| !wanted.is_empty());
        let bound = |key: &str| request.pointer(&format!("/createdAt/{key}")).and_then(Value::as_f64);
        let (after, before) = (bound("after"), bound("before"));
        let fits = |it: &&Rollout| {
            let created = view_seconds(it.created_at);
            wanted.is_none_or(|wanted| wanted.iter().any(|status| status == it.status.name()))
                && after.is_none_or(|after| created > after)
                && before.is_none_or(|before| created < before)
        };
        let all: Vec<Value> =
            s.rollouts.iter().rev().filter(fits).map(|it| view::brief(self, s, it)).collect();
        page(request, "serviceDeployments", all)
    }

    pub fn describe_service_deployments(&self, request: &Value) -> Answer {
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for arn in texts(request, "serviceDeploymentArns", 20)? {
            match self.rollout_at(arn) {
                Some((s, at)) => found.push(view::rollout(self, s, &s.rollouts[at])),
                None => failures.push(missing(arn)),
            }
        }
        Ok(json!({ "serviceDeployments": found, "failures": failures }))
    }

    pub fn describe_service_revisions(&self, request: &Value) -> Answer {
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for arn in texts(request, "serviceRevisionArns", 20)? {
            let all = self.services.iter().flat_map(|s| s.revisions.iter().map(move |it| (s, it)));
            match all.into_iter().find(|(s, it)| self.config.revision_arn(&s.name, it.id) == arn) {
                Some((s, it)) => found.push(view::revision(self, s, it)),
                None => failures.push(missing(arn)),
            }
        }
        Ok(json!({ "serviceRevisions": found, "failures": failures }))
    }

    /// "Stopping Amazon ECS service deployments": the documentation admits ROLLBACK only. Also where the deployment is
    /// not set to roll back.
    pub fn stop_service_deployment(&mut self, request: &Value, now: Ms) -> Answer {
        let arn = text(request, "serviceDeploymentArn")?;
        match request.get("stopType").and_then(Value::as_str) {
            None | Some("ROLLBACK") => {}
            Some(other) => {
                return Err(EcsError::InvalidParameter(format!(
                    "The stop type {other} is not supported. Use ROLLBACK."
                )));
            }
        }
        let (s, at) = self.rollout_at(arn).ok_or(EcsError::ServiceDeploymentNotFound)?;
        let (name, status) = (s.name.clone(), s.rollouts[at].status);
        match status {
            Status::Pending | Status::InProgress => {}
            Status::StopRequested | Status::RollbackRequested | Status::RollbackInProgress => {
                return Ok(json!({ "serviceDeploymentArn": arn }));
            }
            Status::Stopped | Status::RollbackSuccessful | Status::RollbackFailed | Status::Successful => {
                return Err(EcsError::Conflict(format!(
                    "The service deployment is {}, only one that is under way can be stopped.",
                    status.name()
                )));
            }
        }
        self.touch(now);
        if let Some(s) = self.services.iter_mut().find(|s| s.name == name) {
            s.rollouts[at].status = Status::RollbackRequested;
            s.rollouts[at].updated_at = now;
        }
        Ok(json!({ "serviceDeploymentArn": arn }))
    }

    fn rollout_at(&self, arn: &str) -> Option<(&Service, usize)> {
        let of =
            |s: &Service| s.rollouts.iter().position(|it| self.config.rollout_arn(&s.name, it.id) == arn);
        self.services.iter().find_map(|s| of(s).map(|at| (s, at)))
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into the 53 bits of a double")]
fn view_seconds(at: Ms) -> f64 {
    at as f64 / 1000.0
}
