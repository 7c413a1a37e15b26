//! The model, driven by a world in which every task of an image does what that image is told to do.

mod calls;
mod events;
mod failing;
mod properties;
mod rollout;
mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::config::{MINUTE, SECOND};
use super::*;

/// Some day in 2026.
pub const START: Ms = 1_790_000_000_000;

/// What one task does.
#[derive(Clone)]
pub struct Act {
    pub pull_ms: Ms,
    pub boot_ms: Ms,
    pub fails_to_start: Option<(StartFailure, &'static str)>,
    /// After RUNNING.
    pub exits: Option<(Ms, i32)>,
    /// Whether its n-th health check, from 1, passes.
    pub checks: fn(u32) -> bool,
    /// How long it takes from SIGTERM to its exit; None: it waits for SIGKILL.
    pub term_ms: Option<Ms>,
}

impl Default for Act {
    fn default() -> Act {
        Act {
            pull_ms: 3 * SECOND,
            boot_ms: 2 * SECOND,
            fails_to_start: None,
            exits: None,
            checks: |_| true,
            term_ms: Some(SECOND),
        }
    }
}

pub fn crashes() -> Act {
    Act { exits: Some((SECOND, 1)), ..Act::default() }
}

pub fn never_passes() -> Act {
    Act { checks: |_| false, ..Act::default() }
}

/// What comes to a task by itself.
#[derive(Clone)]
enum Coming {
    Report(TaskReport),
    Check { nth: u32, passes: fn(u32) -> bool, every: Ms },
}

type Play = Box<dyn FnMut(u32) -> Act>;

pub struct World {
    pub ecs: Ecs,
    pub now: Ms,
    coming: BTreeMap<(Ms, u64), (TaskId, Coming)>,
    sequence: u64,
    /// By what stands behind `sha256:` in the image; how many of its tasks have been started.
    plays: BTreeMap<String, (Play, u32)>,
    acts: BTreeMap<TaskId, Act>,
    pub log: Vec<String>,
    pub events: Vec<Event>,
    pub steps: u32,
    /// The most tasks at a time, stopping ones included, and of those the live ones.
    pub most: u32,
    pub most_live: u32,
    /// The fewest healthy ones since it was last set.
    pub fewest: u32,
}

impl World {
    pub fn new() -> World {
        World::with(Variants::default())
    }

    pub fn with(variants: Variants) -> World {
        World {
            ecs: Ecs::new(Config { variants, ..Config::default() }),
            now: START,
            coming: BTreeMap::new(),
            sequence: 0,
            plays: BTreeMap::new(),
            acts: BTreeMap::new(),
            log: Vec::new(),
            events: Vec::new(),
            steps: 0,
            most: 0,
            most_live: 0,
            fewest: u32::MAX,
        }
    }

    /// Registers a definition of `image`, whose n-th task, from 0, does as `play` says.
    pub fn define(&mut self, image: &str, play: impl FnMut(u32) -> Act + 'static) -> String {
        self.plays.insert(image.into(), (Box::new(play), 0));
        self.register(&definition(image))
    }

    pub fn good(&mut self, image: &str) -> String {
        self.define(image, |_| Act::default())
    }

    pub fn register(&mut self, body: &Value) -> String {
        let answer = self.call("RegisterTaskDefinition", body);
        answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap().into()
    }

    pub fn call(&mut self, action: &str, request: &Value) -> Value {
        self.ecs.call(action, request, self.now).unwrap_or_else(|error| panic!("{action}: {error}"))
    }

    pub fn create(&mut self, definition: &str, desired: u32, configuration: Value) -> Value {
        let request = json!({
            "serviceName": "worker", "taskDefinition": definition, "desiredCount": desired,
            "deploymentConfiguration": configuration, "clientToken": "first",
        });
        self.call("CreateService", &request)
    }

    pub fn update(&mut self, mut request: Value) -> Value {
        request["service"] = json!("worker");
        self.call("UpdateService", &request)
    }

    pub fn deploy(&mut self, definition: &str) {
        self.update(json!({ "taskDefinition": definition }));
    }

    /// A service of `image`, up and completed.
    pub fn up(image: &str, desired: u32, configuration: Value) -> World {
        World::up_with(Variants::default(), image, desired, configuration)
    }

    pub fn up_with(variants: Variants, image: &str, desired: u32, configuration: Value) -> World {
        let mut w = World::with(variants);
        let definition = w.good(image);
        w.create(&definition, desired, configuration);
        w.until_settled();
        assert_eq!(w.s().primary().state, RolloutState::Completed, "the first deployment did not complete");
        w.watch_from_here();
        w
    }

    pub fn watch_from_here(&mut self) {
        (self.most, self.most_live, self.fewest) = (0, 0, u32::MAX);
        self.log.clear();
        self.events.clear();
    }

    pub fn s(&self) -> &Service {
        self.ecs.service("worker").unwrap()
    }

    pub fn describe(&mut self) -> Value {
        self.call("DescribeServices", &json!({ "services": ["worker"] }))["services"][0].clone()
    }

    pub fn rollouts(&mut self) -> Vec<Value> {
        let listed = self.call("ListServiceDeployments", &json!({ "service": "worker" }));
        let arns: Vec<Value> = listed["serviceDeployments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["serviceDeploymentArn"].clone())
            .collect();
        let all = self.call("DescribeServiceDeployments", &json!({ "serviceDeploymentArns": arns }));
        all["serviceDeployments"].as_array().unwrap().clone()
    }

    pub fn stop_rollout(&mut self) {
        let arn = self.rollouts()[0]["serviceDeploymentArn"].clone();
        self.call("StopServiceDeployment", &json!({ "serviceDeploymentArn": arn, "stopType": "ROLLBACK" }));
    }

    /// The images of the tasks that are live, each once per task.
    pub fn running(&self) -> Vec<String> {
        let live = self.s().tasks.iter().filter(|task| task.is_live());
        live.map(|task| self.image(task.definition)).collect()
    }

    fn image(&self, definition: DefinitionId) -> String {
        let image = &self.ecs.definition(definition).containers[0].image;
        image.rsplit(':').next().unwrap().into()
    }

    /// How often a task of that image was started.
    pub fn started(&self, image: &str) -> u32 {
        self.plays[image].1
    }

    pub fn names_of_events(&self) -> Vec<String> {
        let name = |event: &Event| event.json(&self.ecs)["detail"]["eventName"].as_str().map(str::to_owned);
        self.events.iter().filter_map(name).collect()
    }

    pub fn run_for(&mut self, ms: Ms) {
        let until = self.now + ms;
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    /// Until something holds; it has to within a day.
    pub fn run_until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        let until = self.now + 24 * 60 * MINUTE;
        while !holds(self) {
            let next = self.next().filter(|next| *next <= until);
            let next = next.unwrap_or_else(|| panic!("never: {what}\n{}", self.log.join("\n")));
            self.now = self.now.max(next);
            self.step();
        }
    }

    pub fn until_settled(&mut self) {
        self.run_until("the deployment ends", |w| {
            w.s().primary().state != RolloutState::InProgress
                && w.s().rollouts.last().unwrap().status.is_final()
        });
    }

    fn next(&mut self) -> Option<Ms> {
        let coming = self.coming.first_key_value().map(|((at, _), _)| *at);
        coming.into_iter().chain(self.ecs.next_event_at()).min()
    }

    fn step(&mut self) {
        self.steps += 1;
        assert!(
            self.steps < 200_000,
            "goes round in circles:\n{}",
            self.log[self.log.len() - 50..].join("\n")
        );
        while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (task, coming) = entry.remove();
            self.come(task, coming);
        }
        for output in self.ecs.step(self.now) {
            match output {
                Output::Task(command) => self.obey(command),
                Output::Event(event) => {
                    self.log.push(format!("{} {}", self.now - START, short(&event)));
                    self.events.push(event);
                }
            }
        }
        let Some(s) = self.ecs.service("worker") else { return };
        self.most = self.most.max(s.count_all(|_| true));
        self.most_live = self.most_live.max(s.count_all(Task::is_live));
        self.fewest = self.fewest.min(s.count_all(Task::is_ready));
    }

    fn come(&mut self, task: TaskId, coming: Coming) {
        let report = match coming {
            Coming::Report(report) => report,
            Coming::Check { nth, passes, every } => {
                self.later(task, every, Coming::Check { nth: nth + 1, passes, every });
                TaskReport::Checked { passed: passes(nth) }
            }
        };
        let runs = report == TaskReport::Running;
        if self.ecs.report(task, report, self.now).is_err() {
            // It is gone: what was still to come of it comes to nothing.
            self.coming.retain(|_, (of, _)| *of != task);
            return;
        }
        if runs && self.ecs.task(task).unwrap().is_live() {
            let act = self.acts[&task].clone();
            if let Some((after, code)) = act.exits {
                self.later(task, after, Coming::Report(TaskReport::Exited { code, reason: None }));
            }
            let definition = self.ecs.task(task).unwrap().definition;
            if let Some(check) = &self.ecs.definition(definition).health {
                let every = check.interval_ms;
                self.later(task, every, Coming::Check { nth: 1, passes: act.checks, every });
            }
        }
    }

    fn obey(&mut self, command: TaskCommand) {
        match command {
            TaskCommand::Start { task, definition, .. } => {
                let image = self.image(definition);
                self.log.push(format!("{} start {image} {}", self.now - START, task.0));
                let (play, count) = self.plays.get_mut(&image).unwrap();
                let act = play(*count);
                *count += 1;
                match act.fails_to_start {
                    Some((what, reason)) => {
                        let report = TaskReport::FailedToStart { what, reason: reason.into() };
                        self.later(task, act.pull_ms, Coming::Report(report));
                    }
                    None => {
                        let pulled = TaskReport::Pulled { digest: None };
                        self.later(task, act.pull_ms, Coming::Report(pulled));
                        self.later(task, act.pull_ms + act.boot_ms, Coming::Report(TaskReport::Running));
                    }
                }
                self.acts.insert(task, act);
            }
            TaskCommand::Stop { task, .. } => {
                self.log.push(format!("{} stop {}", self.now - START, task.0));
                if let Some(after) = self.acts[&task].term_ms {
                    self.later(task, after, Coming::Report(TaskReport::Exited { code: 0, reason: None }));
                }
            }
            TaskCommand::Kill { task } => {
                self.log.push(format!("{} kill {}", self.now - START, task.0));
                self.later(task, 0, Coming::Report(TaskReport::Exited { code: 137, reason: None }));
            }
        }
    }

    fn later(&mut self, task: TaskId, after: Ms, coming: Coming) {
        self.sequence += 1;
        self.coming.insert((self.now + after, self.sequence), (task, coming));
    }
}

fn short(event: &Event) -> String {
    match &event.kind {
        EventKind::Deployment { what, deployment, reason } => format!("{what:?} {} {reason}", deployment.0),
        EventKind::Action(action) => format!("{action:?}"),
        EventKind::Task(task) => {
            format!("task {} {:?} {:?} v{}", task.id.0, task.status, task.health, task.version)
        }
    }
}

/// A definition with a health check: every 10 s, 3 retries, 30 s to start; images that start with `plain` have none.
pub fn definition(image: &str) -> Value {
    let mut body = json!({
        "family": "worker", "cpu": "256", "memory": "512",
        "containerDefinitions": [{
            "name": "worker", "image": format!("1.dkr.ecr.eu-central-1.amazonaws.com/worker@sha256:{image}"),
            "stopTimeout": 20,
            "healthCheck": {
                "command": ["CMD", "worker", "health"], "interval": 10, "retries": 3, "startPeriod": 30, "timeout": 5,
            },
        }],
    });
    if image.starts_with("plain") {
        body["containerDefinitions"][0].as_object_mut().unwrap().remove("healthCheck");
    }
    body
}

/// The breaker that Landfall sets: 2 failures, all counted.
pub fn breaker(rollback: bool) -> Value {
    json!({ "deploymentCircuitBreaker": {
        "enable": true, "rollback": rollback, "resetOnHealthyTask": false,
        "thresholdConfiguration": { "type": "COUNT", "value": 2 },
    }})
}

pub fn percent(minimum: u32, maximum: u32) -> Value {
    json!({ "minimumHealthyPercent": minimum, "maximumPercent": maximum })
}

pub fn both(a: Value, b: Value) -> Value {
    let (Value::Object(mut a), Value::Object(b)) = (a, b) else { panic!("two objects") };
    a.extend(b);
    Value::Object(a)
}

fn arc(text: &str) -> Arc<str> {
    text.into()
}
