//! Serve: from Lambda's invocations to what is done, and back as JSON.
//!
//! Order: the event is parsed before anything is asked of AWS. What is wrong with the *event* is answered and logged
//! once: Lambda and EventBridge would only retry it. What goes wrong with *us* is the invocation's failure, so that
//! asynchronous retries and the dead-letter queue work. CloudFormation is answered whatever happens: without an answer a
//! stack hangs until CloudFormation gives up.
//! Neighbours: event and clock before it, reconcile behind the trait, apply's port for CloudFormation. Never: SDKs.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json};

use crate::apply::ports::Answerer;
use crate::clock::Clock;
use crate::event::{Alias, Place, Sender, StackChange, StackRequest, Woken, parse};
use crate::logs;
use crate::release::Moment;

/// Left of the invocation's time for writing down what was begun: nothing new is begun after `until`.
pub const MARGIN_MS: i64 = 5_000;
/// Left for saying that we failed: whoever has not come back by then is given up, as if the process had died.
pub const LAST_MS: i64 = 1_500;
/// Left for the answer itself.
const ANSWER_MS: i64 = 300;
/// Left for telling CloudFormation.
const STACK_ANSWER_MS: i64 = 20_000;
/// An event's or command's work takes no longer, whatever the function's timeout is: an announced call belongs to its
/// invocation for three minutes (`plan::LEASE_MS`).
const WORK_MS: i64 = 60_000;

/// Anything that keeps an invocation from doing its work.
pub type Fault = Box<dyn Error + Send + Sync>;

/// What an invocation sets going. Kept by reconcile.
#[async_trait]
pub trait Reconcile: Send + Sync {
    /// Looks, plans and applies until there is nothing more to do or until `until`, and answers what was decided as a
    /// JSON object. A refused command is an answer (`Refusal::json`), no error.
    ///
    /// The future may be dropped at any await, [`LAST_MS`] before Lambda would kill the process.
    async fn run(&self, woken: &Woken, until: Moment) -> Result<Value, Fault>;

    /// An invocation that was refused, or that ended before its work was done: for the metric `Errors`.
    async fn failed(&self);
}

/// What a function that could not be set up can still do. Kept by reconcile.
#[async_trait]
pub trait LastResort: Send + Sync {
    /// Deletes the service, if it is there and Landfall's. A sentence.
    async fn delete_service(&self, until: Moment) -> Result<String, Fault>;
}

/// What Lambda hands over with an invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub payload: Value,
    pub function_arn: String,
    /// When Lambda kills us.
    pub deadline: Moment,
}

impl From<LambdaEvent<Value>> for Invocation {
    fn from(event: LambdaEvent<Value>) -> Invocation {
        let deadline = Moment(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        let function_arn = event.context.invoked_function_arn;
        Invocation { payload: event.payload, function_arn, deadline }
    }
}

/// What works without settings.
#[derive(Clone, Copy)]
pub struct Outside<'o> {
    pub answerer: &'o dyn Answerer,
    pub last_resort: &'o dyn LastResort,
}

/// We failed. Lambda's runtime makes of it `{"errorType": "Failed", "errorMessage": …}`.
pub struct Failed(pub String);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Failed> for Diagnostic {
    fn from(failed: Failed) -> Diagnostic {
        Diagnostic { error_type: "Failed".to_owned(), error_message: failed.0 }
    }
}

/// Answers one invocation.
///
/// # Errors
/// What went wrong with us, already logged.
pub async fn handle(
    world: &dyn Reconcile,
    answerer: &dyn Answerer,
    here: &Place,
    clock: &dyn Clock,
    invocation: &Invocation,
) -> Result<Value, Failed> {
    let alias = Alias::of(&invocation.function_arn);
    let woken = match parse(&invocation.payload, here, alias) {
        Ok(woken) => woken,
        Err(error) => {
            tracing::warn!(kind = error.kind(), alias = alias.name(), "refuse the invocation: {error}");
            // Who may only read must not be able to make us send anything anywhere.
            if alias.takes_events()
                && let Some(Ok(sender)) = Sender::read(&invocation.payload)
            {
                tell_stack(answerer, clock, invocation.deadline, &sender, &Err(error.to_string())).await?;
            }
            count_failure(world, clock, invocation.deadline).await;
            return Ok(json!({"ok": false, "kind": error.kind(), "error": error.to_string()}));
        }
    };
    if let Woken::Nothing { why } = &woken {
        tracing::debug!(why, "nothing to look for");
        return Ok(json!({"ok": true, "ignored": why}));
    }
    let (until, last) = times(clock.now(), invocation.deadline, &woken);
    let outcome = match within(clock, last, world.run(&woken, until)).await {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => Err(chain(&*error)),
        None => {
            Err("the invocation's time is over: what was announced is finished by the next look; raise the \
                     function's timeout if this repeats"
                .to_owned())
        }
    };
    if let Err(failed) = &outcome {
        tracing::error!(woke = woken.named(), "could not finish: {failed}");
        count_failure(world, clock, invocation.deadline).await;
    }
    if let Woken::Stack(request) = &woken {
        let said = outcome.clone().map(|answer| answer["said"].as_str().unwrap_or("done").to_owned());
        tell_stack(answerer, clock, invocation.deadline, &request.sender, &said).await?;
        // It is told: trying the same again is CloudFormation's to ask for.
        return Ok(outcome.unwrap_or_else(|failed| json!({"ok": false, "kind": "failed", "error": failed})));
    }
    outcome.map_err(Failed)
}

/// When nothing new is begun any more, and when whoever has not come back is given up.
fn times(now: Moment, deadline: Moment, woken: &Woken) -> (Moment, Moment) {
    let deadline = match woken {
        Woken::Stack(_) => deadline.after_ms(-STACK_ANSWER_MS),
        Woken::Hint(_) | Woken::Command(_) | Woken::Nothing { .. } => deadline.min(now.after_ms(WORK_MS)),
    };
    (deadline.after_ms(-MARGIN_MS), deadline.after_ms(-LAST_MS))
}

async fn tell_stack(
    answerer: &dyn Answerer,
    clock: &dyn Clock,
    deadline: Moment,
    sender: &Sender,
    outcome: &Result<String, String>,
) -> Result<(), Failed> {
    let answer = sender.answer(outcome);
    tracing::info!(status = answer["Status"].as_str(), "tell CloudFormation: {}", answer["Reason"]);
    let telling = answerer.answer(&sender.response_url, &answer);
    let failed = match within(clock, deadline.after_ms(-ANSWER_MS), telling).await {
        Some(Ok(())) => return Ok(()),
        Some(Err(error)) => error.chain(),
        None => "the invocation's time is over".to_owned(),
    };
    // Asynchronous retries do it again, which is safe.
    tracing::error!("CloudFormation was not told: {failed}");
    Err(Failed(format!("tell CloudFormation: {failed}")))
}

/// The metric is worth no more than what is left of the invocation's time.
async fn count_failure(world: &dyn Reconcile, clock: &dyn Clock, deadline: Moment) {
    if within(clock, deadline.after_ms(-ANSWER_MS), world.failed()).await.is_none() {
        tracing::warn!("the failure is not counted: no time is left");
    }
}

/// With all its causes: `read the journal: get object: connection reset`.
fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(&format!(": {error}"));
        cause = error.source();
    }
    said
}

/// What `work` comes to; none: it did not by then.
async fn within<T>(clock: &dyn Clock, by: Moment, work: impl Future<Output = T>) -> Option<T> {
    let left_ms = by.since_ms(clock.now());
    tokio::time::timeout(Duration::from_millis(left_ms.unsigned_abs()), work).await.ok()
}

/// Serves invocations until Lambda ends the process.
///
/// # Errors
/// The runtime API cannot be spoken to.
pub async fn serve(
    world: Arc<dyn Reconcile>,
    answerer: &dyn Answerer,
    here: Place,
    clock: Arc<dyn Clock>,
) -> Result<(), lambda_runtime::Error> {
    let (world, here, clock) = (&*world, &here, &*clock);
    let answer = move |event: LambdaEvent<Value>| async move {
        handle(world, answerer, here, clock, &Invocation::from(event)).await
    };
    lambda_runtime::run(service_fn(answer)).await
}

/// Serves a function that could not be set up: every invocation fails with the reason, and CloudFormation is told it.
///
/// # Errors
/// The runtime API cannot be spoken to.
async fn serve_broken(
    faults: &str,
    outside: Outside<'_>,
    clock: &dyn Clock,
) -> Result<(), lambda_runtime::Error> {
    let answer = move |event: LambdaEvent<Value>| async move {
        handle_broken(faults, outside, clock, &Invocation::from(event)).await
    };
    lambda_runtime::run(service_fn(answer)).await
}

/// Its stack may still be deleted, and the service with it; anything else fails.
async fn handle_broken(
    faults: &str,
    outside: Outside<'_>,
    clock: &dyn Clock,
    invocation: &Invocation,
) -> Result<Value, Failed> {
    tracing::error!("could not be set up: {faults}");
    let deadline = invocation.deadline;
    let failed = || Failed(faults.to_owned());
    if !Alias::of(&invocation.function_arn).takes_events() {
        return Err(failed());
    }
    let Some(Ok(sender)) = Sender::read(&invocation.payload) else { return Err(failed()) };
    let outcome = match StackRequest::read(&invocation.payload) {
        Some(Ok(StackRequest { change: StackChange::Delete, .. })) => {
            let last = deadline.after_ms(-STACK_ANSWER_MS);
            let deleting = outside.last_resort.delete_service(last.after_ms(-MARGIN_MS));
            match within(clock, last, deleting).await {
                Some(Ok(said)) => Ok(format!("{said}; the deployer is not set up: {faults}")),
                Some(Err(error)) => Err(format!("{}; the deployer is not set up: {faults}", chain(&*error))),
                None => {
                    Err(format!("the service was not deleted in time; the deployer is not set up: {faults}"))
                }
            }
        }
        Some(Ok(_) | Err(_)) | None => Err(faults.to_owned()),
    };
    tell_stack(outside.answerer, clock, deadline, &sender, &outcome).await?;
    Ok(json!({"ok": false, "kind": "not-set-up", "error": faults}))
}

/// The whole process: logs, then `init` once (settings, templates, policy, clients), then invocations until Lambda ends
/// it. What `init` could not do is told to every invocation.
pub fn main<I>(clock: Arc<dyn Clock>, outside: Outside<'_>, init: impl FnOnce() -> I) -> ExitCode
where
    I: Future<Output = Result<(Arc<dyn Reconcile>, Place), Fault>>,
{
    logs::init();
    // One thread: an invocation waits for AWS most of its time, and is alone in its process.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let served = match init().await {
            Ok((world, here)) => serve(world, outside.answerer, here, clock).await,
            Err(error) => serve_broken(&chain(&*error), outside, &*clock).await,
        };
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("could not serve: {}", chain(&*error));
                ExitCode::FAILURE
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::clock::ManualClock;
    use crate::observe::ports::CallError;

    /// Answers as it is told, and keeps what it was asked.
    struct Scripted {
        answer: Option<Result<Value, String>>,
        seen: Mutex<Vec<(String, Moment)>>,
        failures: Mutex<u32>,
    }

    #[async_trait]
    impl Reconcile for Scripted {
        async fn run(&self, woken: &Woken, until: Moment) -> Result<Value, Fault> {
            self.seen.lock().unwrap().push((woken.named(), until));
            match &self.answer {
                Some(Ok(answer)) => Ok(answer.clone()),
                Some(Err(error)) => Err(error.clone().into()),
                None => std::future::pending().await,
            }
        }

        async fn failed(&self) {
            *self.failures.lock().unwrap() += 1;
        }
    }

    /// Keeps what CloudFormation was told.
    #[derive(Default)]
    struct Told(Mutex<Vec<(String, Value)>>);

    #[async_trait]
    impl Answerer for Told {
        async fn answer(&self, url: &str, answer: &Value) -> Result<(), CallError> {
            self.0.lock().unwrap().push((url.to_owned(), answer.clone()));
            Ok(())
        }
    }

    impl Told {
        fn all(&self) -> Vec<(String, Value)> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Scripted {
        fn new(answer: Option<Result<Value, String>>) -> Scripted {
            Scripted { answer, seen: Mutex::default(), failures: Mutex::default() }
        }

        fn seen(&self) -> Vec<(String, Moment)> {
            self.seen.lock().unwrap().clone()
        }

        fn failures(&self) -> u32 {
            *self.failures.lock().unwrap()
        }
    }

    fn here() -> Place {
        Place {
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            repository: "landfall/worker".to_owned(),
            cluster: "data".to_owned(),
            service: "shop-events".to_owned(),
        }
    }

    async fn handled(world: &Scripted, payload: &str, alias: &str, left_ms: i64) -> Result<Value, Failed> {
        handled_and_told(world, &Told::default(), payload, alias, left_ms).await
    }

    async fn handled_and_told(
        world: &Scripted,
        told: &Told,
        payload: &str,
        alias: &str,
        left_ms: i64,
    ) -> Result<Value, Failed> {
        let clock = ManualClock::at(Moment(1_000_000));
        let payload = serde_json::from_str(payload).unwrap();
        let function_arn = format!("arn:aws:lambda:eu-west-1:123456789012:function:landfall:{alias}");
        let invocation = Invocation { payload, function_arn, deadline: Moment(1_000_000 + left_ms) };
        handle(world, told, &here(), &clock, &invocation).await
    }

    const PUSH: &str = include_str!("../tests/events/ecr-push.json");
    const DELETE: &str = include_str!("../tests/events/ecr-delete.json");
    const STACK: &str = include_str!("../tests/events/stack-delete.json");

    #[tokio::test]
    async fn an_event_is_reconciled_with_a_margin_before_the_deadline() {
        let world = Scripted::new(Some(Ok(json!({"ok": true, "what": "nothing"}))));
        let answer = handled(&world, PUSH, "events", 60_000).await.unwrap();
        assert_eq!(answer, json!({"ok": true, "what": "nothing"}));
        let until = Moment(1_060_000 - MARGIN_MS);
        assert_eq!(world.seen(), [("push of v1.4.0 (4b7c1f0e6a52)".to_owned(), until)]);
        assert_eq!(world.failures(), 0);
    }

    #[tokio::test]
    async fn a_wrong_event_is_answered_and_never_retried() {
        let world = Scripted::new(Some(Ok(json!({}))));
        for (payload, alias, kind) in [
            ("{}", "events", "unknown-event"),
            ("[]", "events", "not-an-object"),
            (r#"{"command": "stop", "reason": "why"}"#, "read", "not-allowed"),
            (PUSH, "operate", "not-allowed"),
        ] {
            let answer = handled(&world, payload, alias, 60_000).await.unwrap();
            assert_eq!((&answer["ok"], &answer["kind"]), (&json!(false), &json!(kind)), "{answer}");
            assert!(answer["error"].as_str().is_some_and(|error| error.len() > 20), "{answer}");
        }
        assert!(world.seen().is_empty(), "nothing was asked of AWS");
        assert_eq!(world.failures(), 4);
    }

    #[tokio::test]
    async fn what_is_no_reason_to_look_costs_no_look() {
        let world = Scripted::new(Some(Ok(json!({}))));
        let answer = handled(&world, DELETE, "events", 60_000).await.unwrap();
        assert_eq!(answer, json!({"ok": true, "ignored": "DELETE of an image"}));
        assert!(world.seen().is_empty());
        assert_eq!(world.failures(), 0);
    }

    #[tokio::test]
    async fn our_own_failure_fails_the_invocation_so_that_it_is_retried() {
        let world = Scripted::new(Some(Err("read the journal".to_owned())));
        let failed = handled(&world, PUSH, "events", 60_000).await.unwrap_err();
        let diagnostic = Diagnostic::from(failed);
        assert_eq!(
            (diagnostic.error_type.as_str(), diagnostic.error_message.as_str()),
            ("Failed", "read the journal")
        );
        assert_eq!(world.failures(), 1);
    }

    #[tokio::test]
    async fn a_reconcile_that_does_not_come_back_is_given_up_before_lambda_kills_us() {
        let world = Scripted::new(None);
        // 50 ms are left before the last moment.
        let failed = handled(&world, PUSH, "events", LAST_MS + 50).await.unwrap_err();
        assert!(failed.0.contains("time is over"), "{failed:?}");
        assert_eq!(world.failures(), 1);
    }

    #[tokio::test]
    async fn cloudformation_is_told_whatever_happens() {
        for (outcome, alias, left_ms, status) in [
            (Some(Ok(json!({"ok": true, "said": "the service is gone"}))), "events", 600_000, "SUCCESS"),
            (Some(Err("read the journal".to_owned())), "events", 600_000, "FAILED"),
            // Never comes back.
            (None, "events", STACK_ANSWER_MS + LAST_MS + 50, "FAILED"),
        ] {
            let (world, told) = (Scripted::new(outcome), Told::default());
            handled_and_told(&world, &told, STACK, alias, left_ms).await.unwrap();
            let told = told.all();
            assert_eq!(told.len(), 1);
            assert!(
                told[0].0.starts_with("https://cloudformation-custom-resource-response"),
                "{}",
                told[0].0
            );
            assert_eq!(
                (&told[0].1["Status"], &told[0].1["LogicalResourceId"]),
                (&json!(status), &json!("Deployer"))
            );
        }
    }

    #[tokio::test]
    async fn cloudformation_is_told_where_one_field_is_odd_and_nobody_where_people_come_in() {
        let mut odd: Value = serde_json::from_str(STACK).unwrap();
        odd["RequestType"] = json!("Rename");
        for (payload, alias, status) in [
            (odd.to_string(), "events", Some("FAILED")),
            (odd.to_string(), "read", None),
            (STACK.to_owned(), "read", None),
            (STACK.to_owned(), "operate", None),
        ] {
            let (world, told) = (Scripted::new(None), Told::default());
            let answer = handled_and_told(&world, &told, &payload, alias, 600_000).await.unwrap();
            assert_eq!(answer["ok"], json!(false));
            let told: Vec<Value> =
                told.all().into_iter().map(|(_, answer)| answer["Status"].clone()).collect();
            assert_eq!(told, status.into_iter().map(Value::from).collect::<Vec<_>>(), "{alias}");
            assert!(world.seen().is_empty(), "nothing was asked of AWS");
        }
    }

    /// Deletes, or says why not.
    struct Remains(Result<&'static str, &'static str>);

    #[async_trait]
    impl LastResort for Remains {
        async fn delete_service(&self, _: Moment) -> Result<String, Fault> {
            self.0.map(str::to_owned).map_err(Fault::from)
        }
    }

    #[tokio::test]
    async fn a_function_that_is_not_set_up_says_why_and_still_deletes_its_service() {
        let clock = ManualClock::at(Moment(0));
        let create = STACK.replace(r#""Delete""#, r#""Create""#);
        assert_ne!(create, STACK);
        for (payload, alias, deletes, expected) in [
            (PUSH, "events", Ok("gone"), Err("policy.toml is wrong")),
            (STACK, "events", Ok("gone"), Ok("SUCCESS gone; ")),
            (STACK, "events", Err("denied"), Ok("FAILED denied; ")),
            (STACK, "read", Ok("gone"), Err("policy.toml is wrong")),
            (&create, "events", Ok("gone"), Ok("FAILED ")),
        ] {
            let (told, remains) = (Told::default(), Remains(deletes));
            let outside = Outside { answerer: &told, last_resort: &remains };
            let function_arn = format!("arn:aws:lambda:eu-west-1:123456789012:function:landfall:{alias}");
            let payload = serde_json::from_str(payload).unwrap();
            let invocation = Invocation { payload, function_arn, deadline: Moment(60_000) };
            let answered = handle_broken("policy.toml is wrong", outside, &clock, &invocation).await;
            let told = told.all();
            let said =
                told.first().map(|(_, it)| format!("{} {}", it["Status"], it["Reason"]).replace('"', ""));
            match expected {
                Err(failed) => assert_eq!((answered.unwrap_err().0.as_str(), said), (failed, None)),
                Ok(begins) => {
                    let said = said.unwrap();
                    assert!(said.starts_with(begins) && said.ends_with("policy.toml is wrong"), "{said}");
                }
            }
        }
    }

    #[test]
    fn an_events_work_ends_while_its_announced_call_is_still_its_own() {
        let hint = Woken::Hint(crate::event::Hint::Schedule);
        let (until, last) = times(Moment(0), Moment(900_000), &hint);
        assert!(until < last && last.0 < crate::plan::LEASE_MS, "{until:?} {last:?}");
    }

    #[test]
    fn an_error_is_told_with_all_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("read the journal")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("connection reset"));
        assert_eq!(chain(&error), "read the journal: connection reset");
    }
}
