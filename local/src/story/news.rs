//! News: what ECS does and what the deployer decides, told as it happens; and EventBridge between the two.
//!
//! Order: an event is handed to the deployer, which answers invocations in the order of their making; what it fails at is
//! handed to it again, twice. What happens while it works is told after its answer, for its answer is the cause.
//! Neighbours: cloud makes events; the deployer's answers are its decisions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::StoryError;
use crate::cloud::function::Outcome;
use crate::cloud::sns::Notice;
use crate::cloud::{Cloud, is_handed_on, scheduled};
use crate::ecs::TaskId;
use crate::narrate::Narrator;
use crate::tasks::Started;

/// On AWS it is five minutes.
const SCHEDULE_EVERY: Duration = Duration::from_secs(2);
/// The first try included, as Lambda does for events.
const TRIES_MAX: u32 = 3;
/// What a decision to do nothing is called.
const NOTHING: &str = "nothing";

/// The deployer, as those see it who invoke it.
#[derive(Debug)]
pub struct Deployer {
    cloud: Arc<Cloud>,
    narrator: Narrator,
    /// What it said last.
    last: Mutex<String>,
}

impl Deployer {
    pub fn new(cloud: Arc<Cloud>, narrator: Narrator) -> Deployer {
        Deployer { cloud, narrator, last: Mutex::default() }
    }

    /// A command by direct invocation, as `aws lambda invoke` makes it.
    pub async fn command(&self, alias: &'static str, command: Value) -> Result<Value, StoryError> {
        self.narrator.say(format!("invoke the deployer as `{alias}`: {command}"));
        let answered = self.cloud.function.invoke(alias, command.clone()).await;
        match answered.unwrap_or_else(|_| Outcome::failed("the answer was lost")) {
            Outcome::Answered(answer) if answer["ok"] == json!(true) => {
                if let Some(said) = answer["said"].as_str() {
                    self.narrator.say(format!("deployer answers: {said}"));
                }
                self.hear(&answer);
                Ok(answer)
            }
            Outcome::Answered(answer) | Outcome::Failed(answer) => {
                let what = command["command"].as_str().unwrap_or_default().to_owned();
                Err(StoryError::Refused { what, answer: answer.to_string() })
            }
        }
    }

    /// Tells what it decided, unless it decided the same before.
    fn hear(&self, answer: &Value) {
        for decision in answer["decisions"].as_array().into_iter().flatten() {
            let part = |name: &str| decision[name].as_str().unwrap_or_default();
            let what = part("what");
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if *last == what {
                continue;
            }
            what.clone_into(&mut last);
            if what == NOTHING {
                self.narrator.say(format!("deployer: nothing to do: {}", part("why")));
                continue;
            }
            // The plan's own text, as the golden tests keep it.
            let mut lines = decision["text"].as_array().into_iter().flatten().filter_map(Value::as_str);
            self.narrator.say(format!("deployer plans: {}", lines.next().unwrap_or("says nothing")));
            lines.for_each(|line| self.narrator.print(&format!("         | {line}")));
        }
        if let Some(trouble) = answer["trouble"].as_str() {
            self.narrator.say(format!("deployer has trouble: {trouble}"));
        }
    }
}

/// An event on its way.
struct Delivery {
    event: Value,
    tries: u32,
    answer: oneshot::Receiver<Outcome>,
}

pub struct News<'a> {
    pub deployer: &'a Deployer,
    pub tasks: watch::Receiver<Vec<Started>>,
    pub events: UnboundedReceiver<Value>,
    pub notices: UnboundedReceiver<Notice>,
}

impl News<'_> {
    /// Tells and delivers, for as long as it is polled.
    pub async fn run(mut self) -> StoryError {
        let mut schedule = interval(SCHEDULE_EVERY);
        schedule.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way: VecDeque<Delivery> = VecDeque::new();
        let mut untold: Vec<String> = Vec::new();
        loop {
            if under_way.is_empty() {
                self.tell(&mut untold);
            }
            tokio::select! {
                Some(event) = self.events.recv() => {
                    untold.extend(self.line(&event));
                    if is_handed_on(&event) {
                        under_way.push_back(self.hand_on(event, 1));
                    }
                }
                Some(notice) = self.notices.recv() => {
                    untold.push(format!("mail from SNS: {}", notice.subject));
                }
                _ = schedule.tick() => {
                    if self.deployer.cloud.function.is_idle() {
                        under_way.push_back(self.hand_on(scheduled(&self.deployer.cloud), 1));
                    }
                }
                Some(outcome) = first_answer(&mut under_way) => {
                    let Some(delivery) = under_way.pop_front() else { continue };
                    match outcome {
                        Outcome::Answered(answer) => self.deployer.hear(&answer),
                        Outcome::Failed(why) if delivery.tries >= TRIES_MAX => {
                            return StoryError::Deployer { times: delivery.tries, why: why.to_string() };
                        }
                        Outcome::Failed(_) => under_way.push_back(self.hand_on(delivery.event, delivery.tries + 1)),
                    }
                    self.tell(&mut untold);
                }
            }
        }
    }

    fn tell(&self, untold: &mut Vec<String>) {
        untold.drain(..).for_each(|line| self.deployer.narrator.say(line));
    }

    fn hand_on(&self, event: Value, tries: u32) -> Delivery {
        let answer = self.deployer.cloud.function.invoke("events", event.clone());
        Delivery { event, tries, answer }
    }

    fn line(&self, event: &Value) -> Option<String> {
        let detail = &event["detail"];
        let text = |name: &str| detail[name].as_str().unwrap_or_default();
        match event["detail-type"].as_str()? {
            "ECS Deployment State Change" => {
                let what = text("eventName").trim_start_matches("SERVICE_DEPLOYMENT_").to_lowercase();
                Some(format!("ECS: deployment {}: {}", what.replace('_', " "), text("reason")))
            }
            "ECS Task State Change" => self.task_line(detail),
            "CloudWatch Alarm State Change" => {
                let state = |name: &str| detail[name]["value"].as_str().unwrap_or_default();
                // That there are data at last is no news.
                let is_news = [state("state"), state("previousState")].contains(&"ALARM");
                is_news.then(|| format!("CloudWatch: alarm {} is {}", text("alarmName"), state("state")))
            }
            _ => None,
        }
    }

    fn task_line(&self, detail: &Value) -> Option<String> {
        let id = TaskId::parse(detail["taskArn"].as_str()?)?;
        let started = self.tasks.borrow();
        let started = started.iter().find(|it| it.task == id);
        let who = started.map_or_else(
            || "a task that did not start".to_owned(),
            |it| format!("worker {} ({}, pid {})", it.number, it.revision, it.pid),
        );
        let wanted = detail["desiredStatus"].as_str();
        match (detail["lastStatus"].as_str()?, wanted) {
            ("RUNNING", Some("RUNNING")) => Some(format!("ECS: {who} runs")),
            ("DEACTIVATING", _) => Some(format!(
                "ECS: SIGTERM to {who}: {}",
                detail["stoppedReason"].as_str().unwrap_or_default()
            )),
            ("STOPPED", _) => {
                let code = detail["containers"][0]["exitCode"].as_i64();
                let code = code.map_or_else(String::new, |code| format!(" with exit code {code}"));
                Some(format!(
                    "ECS: {who} ended{code}: {}",
                    detail["stoppedReason"].as_str().unwrap_or_default()
                ))
            }
            _ => None,
        }
    }
}

/// The first of them that is answered. Events and retries are answered in the order of their making; one whose answer
/// was lost has failed.
async fn first_answer(under_way: &mut VecDeque<Delivery>) -> Option<Outcome> {
    let first = under_way.front_mut()?;
    Some((&mut first.answer).await.unwrap_or_else(|_| Outcome::failed("the answer was lost")))
}
