//! Lambda: the runtime API, and the real binary behind it.
//!
//! Source: "Using the Lambda runtime API for custom runtimes".

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::http::{self, Answer, Request};
use super::{ACCOUNT, NAME, REGION, SERVICE};
use crate::clock::{Stopwatch, now_ms};

/// As the stack sets it.
const TIMEOUT_MS: u64 = 60_000;
/// A function that says nothing for longer is not there.
const SILENCE: Duration = Duration::from_secs(90);

/// One process of the function.
pub struct Function {
    child: Child,
    invocations: Sender<Invocation>,
    answers: Receiver<Answered>,
    /// From the start of the process until it asked for its first invocation.
    pub init: Duration,
}

struct Invocation {
    alias: &'static str,
    payload: Value,
}

enum Answered {
    /// It asked for an invocation.
    Ready,
    Answer(Value),
    Failed(Value),
}

impl Function {
    /// `taskdefs`: the directory with templates and policy. `log`: where its log goes.
    pub fn start(binary: &Path, endpoint: &str, taskdefs: &Path, log: &Path) -> Result<Function> {
        let (invocations, queue) = channel();
        let (tell, answers) = channel();
        let shared = Arc::new(Mutex::new((queue, tell)));
        let port = http::serve(Arc::new(move |request| answer(&request, &shared)))?;
        let watch = Stopwatch::start();
        let child = Command::new(binary)
            .env_clear()
            .envs(variables(port, endpoint, taskdefs))
            .stdin(Stdio::null())
            .stdout(File::options().create(true).append(true).open(log)?)
            .stderr(File::options().create(true).append(true).open(log)?)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let mut function = Function { child, invocations, answers, init: Duration::ZERO };
        match function.answers.recv_timeout(SILENCE) {
            Ok(Answered::Ready) => function.init = watch.wall(),
            Ok(Answered::Answer(_) | Answered::Failed(_)) | Err(_) => {
                bail!("the function did not ask for an invocation; its log is {}", log.display())
            }
        }
        Ok(function)
    }

    /// What it answers, and how long that took.
    pub fn invoke(&mut self, alias: &'static str, payload: Value) -> Result<(Value, Duration)> {
        let watch = Stopwatch::start();
        self.invocations.send(Invocation { alias, payload }).context("the runtime API is gone")?;
        loop {
            match self.answers.recv_timeout(SILENCE) {
                // It asked for the next one after it had answered the last.
                Ok(Answered::Ready) => {}
                Ok(Answered::Answer(answer)) => return Ok((answer, watch.wall())),
                Ok(Answered::Failed(error)) => bail!("the function failed: {error}"),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    bail!("the function did not answer")
                }
            }
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // As Lambda ends a process that is of no use any more; it may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(request: &Request, shared: &Mutex<(Receiver<Invocation>, Sender<Answered>)>) -> Answer {
    let locked = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let (queue, tell) = &*locked;
    let accepted = |said: Answered| {
        // Whoever waited for it has given up.
        let _ = tell.send(said);
        Answer::new(202, "application/json", "{}")
    };
    let body = || serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    if request.path.ends_with("/invocation/next") {
        let _ = tell.send(Answered::Ready);
        return match queue.recv() {
            Ok(invocation) => next(&invocation),
            Err(_) => Answer::new(410, "application/json", "{}"),
        };
    }
    if request.path.ends_with("/response") {
        return accepted(Answered::Answer(body()));
    }
    accepted(Answered::Failed(body()))
}

fn next(invocation: &Invocation) -> Answer {
    let mut answer = Answer::new(200, "application/json", invocation.payload.to_string());
    let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{NAME}:{}", invocation.alias);
    answer.headers.extend([
        ("lambda-runtime-aws-request-id", format!("{:032x}", now_ms())),
        ("lambda-runtime-deadline-ms", (now_ms() + TIMEOUT_MS).to_string()),
        ("lambda-runtime-invoked-function-arn", arn),
        ("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000".to_owned()),
    ]);
    answer
}

fn variables(port: u16, endpoint: &str, taskdefs: &Path) -> Vec<(String, String)> {
    let role = |of: &str| format!("arn:aws:iam::{ACCOUNT}:role/{of}");
    let pairs = [
        ("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{port}")),
        ("AWS_LAMBDA_FUNCTION_NAME", NAME.to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "bench".to_owned()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "bench".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("S3_ENDPOINT", endpoint.to_owned()),
        ("S3_PATH_STYLE", "true".to_owned()),
        ("LANDFALL_TASKDEFS", taskdefs.display().to_string()),
        ("LANDFALL_LOG", "info".to_owned()),
        ("ACCOUNT", ACCOUNT.to_owned()),
        ("PIPELINE", NAME.to_owned()),
        ("CLUSTER", NAME.to_owned()),
        ("SERVICE", SERVICE.to_owned()),
        ("REPOSITORY", NAME.to_owned()),
        ("S3_OUTPUT_PATH", "s3://bucket/lake".to_owned()),
        ("FILL_DAMAGE_ALARM", "bench-damage".to_owned()),
        ("FILL_NO_PROGRESS_ALARM", "bench-stall".to_owned()),
        ("FILL_SUBNETS", "subnet-1,subnet-2".to_owned()),
        ("FILL_SECURITY_GROUPS", "sg-1".to_owned()),
        ("FILL_TASK_ROLE_ARN", role("task")),
        ("FILL_EXECUTION_ROLE_ARN", role("execution")),
        ("FILL_KAFKA_BOOTSTRAP", "broker:9098".to_owned()),
        ("FILL_LOG_GROUP", "/landfall/bench".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The repository's templates, with this policy. ECS's own bake is set to none: the benchmark would wait for it.
pub fn taskdefs(into: &Path, policy: &str) -> io::Result<()> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../taskdefs");
    std::fs::create_dir_all(into)?;
    std::fs::copy(from.join("worker.taskdef.json"), into.join("worker.taskdef.json"))?;
    let service = std::fs::read_to_string(from.join("worker.service.json"))?;
    let mut service: Value = serde_json::from_str(&service)?;
    service["deploymentConfiguration"]["bakeTimeInMinutes"] = json!(0);
    std::fs::write(into.join("worker.service.json"), service.to_string())?;
    std::fs::write(into.join("policy.toml"), policy)
}

/// ECR's event of a push.
pub fn pushed(digest: &str, tag: &str) -> Value {
    let detail = json!({"result": "SUCCESS", "repository-name": NAME, "image-digest": digest, "action-type": "PUSH",
        "image-tag": tag, "manifest-media-type": super::ecr::OCI_INDEX});
    event("aws.ecr", "ECR Image Action", &detail)
}

/// ECR's event of a finished scan.
pub fn scanned(digest: &str, tag: &str) -> Value {
    let detail = json!({"scan-status": "COMPLETE", "repository-name": NAME, "image-digest": digest, "image-tags": [tag],
        "finding-severity-counts": {}});
    event("aws.ecr", "ECR Image Scan", &detail)
}

pub fn schedule() -> Value {
    event("aws.events", "Scheduled Event", &json!({}))
}

fn event(source: &str, kind: &str, detail: &Value) -> Value {
    json!({"version": "0", "id": format!("{:032x}", now_ms()), "detail-type": kind, "source": source,
        "account": ACCOUNT, "time": "2026-11-22T07:00:00Z", "region": REGION, "resources": [], "detail": detail})
}
