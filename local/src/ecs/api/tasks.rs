//! Calls about tasks.

use serde_json::{Value, json};

use super::{missing, page, texts};
use crate::ecs::error::EcsError;
use crate::ecs::ids::TaskId;
use crate::ecs::model::{Service, Task};
use crate::ecs::{Answer, Ecs, view};

impl Ecs {
    /// By `desiredStatus`: RUNNING if not said, so that a task that is stopping is among the STOPPED. From new to old.
    pub fn list_tasks(&self, request: &Value) -> Answer {
        self.check_cluster(request)?;
        let word = |key: &str| request.get(key).and_then(Value::as_str);
        let stopped = match word("desiredStatus") {
            None | Some("RUNNING" | "PENDING") => false,
            Some("STOPPED") => true,
            Some(other) => return Err(EcsError::InvalidParameter(format!("Invalid desiredStatus {other}."))),
        };
        let services = match word("serviceName") {
            Some(_) => std::slice::from_ref(self.service_named(request, "serviceName")?),
            None => self.services(),
        };
        let of = |it: &Task| {
            let family = &self.definition(it.definition).family;
            it.stopping == stopped
                && word("startedBy").is_none_or(|by| it.started_by.to_string() == by)
                && word("family").is_none_or(|wanted| **family == *wanted)
        };
        let mut found: Vec<TaskId> = services
            .iter()
            .flat_map(|s| s.tasks.iter().chain(&s.stopped).filter(|it| of(it)).map(|it| it.id))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        page(request, "taskArns", found.into_iter().map(|id| self.config.task_arn(id)).collect())
    }

    /// Tasks that are there, and those that stopped in the last hour.
    pub fn describe_tasks(&self, request: &Value) -> Answer {
        self.check_cluster(request)?;
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for name in texts(request, "tasks", 100)? {
            let id = TaskId::parse(name);
            let of = |s: &Service| {
                let task = s.tasks.iter().chain(&s.stopped).find(|it| Some(it.id) == id)?;
                Some(view::task(self, s, task))
            };
            match self.services.iter().find_map(of) {
                Some(task) => found.push(task),
                None => failures.push(missing(name)),
            }
        }
        Ok(json!({ "tasks": found, "failures": failures }))
    }
}
