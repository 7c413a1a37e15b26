//! Function: what Lambda keeps of one function: invocations that wait, and those that are being worked on.
//!
//! Order: first come, first served, one at a time a process; an invocation is answered once. What a process had when it
//! ended has failed.
//! Neighbours: server speaks the runtime API, the driver of the function's process tells of its end.
//!
//! Source: "Using the Lambda runtime API for custom runtimes".

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};

use crate::ecs::ids::uuid;

/// Invocations that may wait. Lambda keeps asynchronous ones for six hours; here something is wrong long before.
const WAITING_MAX: usize = 1_000;

/// What came of an invocation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Answered(Value),
    /// The function's own failure, or its process's end.
    Failed(Value),
}

impl Outcome {
    pub fn failed(what: &str) -> Outcome {
        Outcome::Failed(json!({ "errorType": "Runtime.ExitError", "errorMessage": what }))
    }
}

/// What the function gets.
#[derive(Debug)]
pub struct Invocation {
    pub id: String,
    pub alias: &'static str,
    pub payload: Value,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Invocation>,
    given: BTreeMap<String, oneshot::Sender<Outcome>>,
    made: u64,
    asked: u64,
}

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Without qualifier.
    pub arn: String,
    /// An invocation may take so long.
    pub timeout: Duration,
    state: Mutex<State>,
    arrived: Notify,
}

impl Function {
    pub fn new(arn: String, timeout: Duration) -> Function {
        Function { arn, timeout, state: Mutex::default(), arrived: Notify::new() }
    }

    /// Invokes it; the answer comes when it comes. `alias` qualifies the invoked ARN.
    pub fn invoke(&self, alias: &'static str, payload: Value) -> oneshot::Receiver<Outcome> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        if state.waiting.len() >= WAITING_MAX {
            // Whoever asked may have gone; then nobody needs to know.
            let _ = answer.send(Outcome::failed("TooManyRequestsException: Rate Exceeded."));
            return answered;
        }
        state.made += 1;
        let id = uuid(state.made);
        state.waiting.push_back(Invocation { id, alias, payload, answer });
        self.arrived.notify_one();
        answered
    }

    /// The next invocation, for the process that asks; waits for one.
    pub async fn next(&self) -> (String, &'static str, Value) {
        self.state().asked += 1;
        loop {
            let arrived = self.arrived.notified();
            if let Some(next) = self.take() {
                return next;
            }
            arrived.await;
        }
    }

    fn take(&self) -> Option<(String, &'static str, Value)> {
        let mut state = self.state();
        let next = state.waiting.pop_front()?;
        state.given.insert(next.id.clone(), next.answer);
        Some((next.id, next.alias, next.payload))
    }

    /// False: there is no such invocation, or it was answered.
    pub fn answer(&self, id: &str, outcome: Outcome) -> bool {
        let Some(answer) = self.state().given.remove(id) else { return false };
        // Nobody waits for the answer to an event.
        let _ = answer.send(outcome);
        true
    }

    /// Its process has ended.
    pub fn lost(&self, why: &str) {
        for (_, answer) in std::mem::take(&mut self.state().given) {
            let _ = answer.send(Outcome::failed(why));
        }
    }

    /// How often a process has asked for work: none, if it never came so far.
    pub fn times_asked(&self) -> u64 {
        self.state().asked
    }

    /// Whether nothing waits and nothing is worked on.
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.waiting.is_empty() && state.given.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function() -> Function {
        Function::new("arn:aws:lambda:r:1:function:f".into(), Duration::from_secs(60))
    }

    #[tokio::test]
    async fn invocations_are_worked_on_in_the_order_of_their_arrival() {
        let function = function();
        let first = function.invoke("events", json!(1));
        let second = function.invoke("operate", json!(2));
        let (id, alias, payload) = function.next().await;
        assert_eq!((alias, payload), ("events", json!(1)));
        assert!(!function.is_idle());
        assert!(function.answer(&id, Outcome::Answered(json!("one"))));
        assert!(!function.answer(&id, Outcome::Answered(json!("again"))), "answered once");
        let (id, alias, _) = function.next().await;
        assert_eq!(alias, "operate");
        function.answer(&id, Outcome::Failed(json!({})));
        assert_eq!(first.await.unwrap(), Outcome::Answered(json!("one")));
        assert_eq!(second.await.unwrap(), Outcome::Failed(json!({})));
        assert!(function.is_idle());
    }

    #[tokio::test]
    async fn who_asks_before_there_is_work_gets_it_when_it_comes() {
        let function = std::sync::Arc::new(function());
        let asking = tokio::spawn({
            let function = function.clone();
            async move { function.next().await.2 }
        });
        tokio::task::yield_now().await;
        function.invoke("read", json!("work"));
        assert_eq!(asking.await.unwrap(), json!("work"));
    }

    #[tokio::test]
    async fn what_a_process_had_when_it_ended_has_failed_and_the_rest_waits() {
        let function = function();
        let had = function.invoke("events", json!(1));
        let waits = function.invoke("events", json!(2));
        function.next().await;
        function.lost("it ended with exit code 1");
        let Outcome::Failed(why) = had.await.unwrap() else { panic!("it cannot have been answered") };
        assert_eq!(why["errorMessage"], "it ended with exit code 1");
        let (id, _, payload) = function.next().await;
        assert_eq!(payload, json!(2));
        function.answer(&id, Outcome::Answered(Value::Null));
        assert!(waits.await.is_ok());
    }

    #[tokio::test]
    async fn too_many_are_refused() {
        let function = function();
        let kept: Vec<_> = (0..WAITING_MAX).map(|n| function.invoke("events", json!(n))).collect();
        let Outcome::Failed(why) = function.invoke("events", json!(0)).await.unwrap() else {
            panic!("refused")
        };
        assert!(why["errorMessage"].as_str().unwrap().starts_with("TooManyRequests"));
        drop(kept);
    }
}
