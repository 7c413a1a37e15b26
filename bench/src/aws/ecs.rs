//! Ecs: the model of ECS in `local`, and tasks that pull, start, pass their health checks, and go when they are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use local::ecs::{Config, Digest, Ecs, EcsError, Ms, Output, TaskCommand, TaskId, TaskReport, Variants};
use serde_json::Value;

const PULL_MS: Ms = 2_000;
const BOOT_MS: Ms = 1_000;
const DRAIN_MS: Ms = 500;

#[derive(Debug)]
enum Coming {
    Report(TaskReport),
    Check,
}

pub struct Cluster {
    pub ecs: Ecs,
    coming: BTreeMap<(Ms, u64), (TaskId, Coming)>,
    counted: u64,
    /// As EventBridge would deliver them.
    pub events: Vec<Value>,
}

impl Cluster {
    pub fn new() -> Cluster {
        let variants = Variants { running_digest: Digest::Child, ..Variants::default() };
        let ecs = Ecs::new(Config {
            region: super::REGION.into(),
            account: super::ACCOUNT.into(),
            cluster: super::NAME.into(),
            variants,
            ..Config::default()
        });
        Cluster { ecs, coming: BTreeMap::new(), counted: 0, events: Vec::new() }
    }

    pub fn call(&mut self, action: &str, request: &Value, now: Ms) -> Result<Value, EcsError> {
        let answer = self.ecs.call(action, request, now);
        self.turn(now);
        answer
    }

    /// What time brings.
    pub fn turn(&mut self, now: Ms) {
        while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= now) {
            let (task, coming) = entry.remove();
            let report = match coming {
                Coming::Report(report) => report,
                Coming::Check => TaskReport::Checked { passed: true },
            };
            let goes_on = matches!(report, TaskReport::Running | TaskReport::Checked { .. });
            // A task that is gone has nothing more to come.
            if self.ecs.report(task, report, now).is_err() {
                continue;
            }
            let check = self.ecs.task(task).and_then(|it| self.ecs.definition(it.definition).health.as_ref());
            if let Some(every) = check.map(|check| check.interval_ms).filter(|_| goes_on) {
                self.later(now + every, task, Coming::Check);
            }
        }
        for output in self.ecs.step(now) {
            match output {
                Output::Event(event) => {
                    let event = event.json(&self.ecs);
                    self.events.push(event);
                }
                Output::Task(TaskCommand::Start { task, .. }) => {
                    self.later(now + PULL_MS, task, Coming::Report(TaskReport::Pulled { digest: None }));
                    self.later(now + PULL_MS + BOOT_MS, task, Coming::Report(TaskReport::Running));
                }
                Output::Task(TaskCommand::Stop { task, .. }) => {
                    let gone = TaskReport::Exited { code: 0, reason: None };
                    self.later(now + DRAIN_MS, task, Coming::Report(gone));
                }
                Output::Task(TaskCommand::Kill { task }) => {
                    let killed = TaskReport::Exited { code: 137, reason: Some(Arc::from("killed")) };
                    self.later(now, task, Coming::Report(killed));
                }
            }
        }
    }

    fn later(&mut self, at: Ms, task: TaskId, coming: Coming) {
        self.counted += 1;
        self.coming.insert((at, self.counted), (task, coming));
    }
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster::new()
    }
}
