//! Aws: the calls that the deployer makes, answered in this process, counted, and throttled if asked.
//!
//! Order: a call is counted, then perhaps throttled (nothing happened then), then answered.
//! Neighbours: http below it; lambda starts the deployer against it. Its ECS is the model in `local`.
//!
//! Nothing here is a claim about AWS: what is measured is how often the deployer asks, and what it makes of the answers.

pub mod ecr;
pub mod ecs;
pub mod http;
pub mod lambda;
mod s3;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::clock::now_ms;
use ecr::Ecr;
use ecs::Cluster;
use http::{Answer, Request};
use s3::S3;

pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "eu-west-1";
/// Of the repository and the cluster.
pub const NAME: &str = "bench";
pub const SERVICE: &str = "bench-worker";
pub const JOURNAL: &str = "lake/_landfall/releases.json";

/// All that has a state.
#[derive(Default)]
pub struct World {
    pub cluster: Cluster,
    pub ecr: Ecr,
    s3: S3,
    /// By the names of IAM's actions.
    pub calls: BTreeMap<String, u64>,
    /// Of a hundred calls to ECS and ECR, so many are throttled.
    pub throttled_percent: u64,
    pub throttled: u64,
    dice: Dice,
    /// When the service was pointed at which image.
    pub pointed: Vec<(u64, String)>,
}

/// The stand-in, serving.
#[derive(Clone)]
pub struct Aws {
    world: Arc<Mutex<World>>,
    port: u16,
}

impl Aws {
    pub fn start() -> io::Result<Aws> {
        let world = Arc::new(Mutex::new(World::default()));
        let answering = world.clone();
        let port = http::serve(Arc::new(move |request| locked(&answering).answer(&request)))?;
        Ok(Aws { world, port })
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        locked(&self.world)
    }
}

fn locked(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn answer(&mut self, request: &Request) -> Answer {
        let target = request.header("x-amz-target");
        if let Some((service, action)) = target.split_once('.') {
            let prefix = if service.starts_with("AmazonEC2ContainerRegistry") { "ecr" } else { "ecs" };
            self.count(prefix, action);
            if self.throttles() {
                return refusal(400, "ThrottlingException", "Rate exceeded");
            }
            let body: Value = match serde_json::from_slice(&request.body) {
                Ok(body) => body,
                Err(error) => return refusal(400, "SerializationException", &error.to_string()),
            };
            return if prefix == "ecr" { self.ecr(action, &body) } else { self.ecs(action, &body) };
        }
        if let Some((_, action)) = request.path.split_once("/operation/") {
            self.count("cloudwatch", action);
            return cloudwatch(action);
        }
        let action = match request.method.as_str() {
            "PUT" => "PutObject",
            "GET" if request.query.contains("list-type=2") => "ListBucket",
            _ => "GetObject",
        };
        self.count("s3", action);
        self.s3.answer(request)
    }

    fn count(&mut self, service: &str, action: &str) {
        *self.calls.entry(format!("{service}:{action}")).or_default() += 1;
    }

    fn throttles(&mut self) -> bool {
        let throttles = self.dice.below(100) < self.throttled_percent;
        self.throttled += u64::from(throttles);
        throttles
    }

    fn ecr(&mut self, action: &str, body: &Value) -> Answer {
        match self.ecr.call(action, body) {
            Ok(body) => Answer::new(200, "application/x-amz-json-1.1", body),
            Err(code) => refusal(400, code, code),
        }
    }

    fn ecs(&mut self, action: &str, body: &Value) -> Answer {
        let now = now_ms();
        match self.cluster.call(action, body, now) {
            Ok(answer) => {
                if let Some(revision) = body["taskDefinition"].as_str().filter(|_| points(action)) {
                    let image = self.image_of(revision);
                    self.pointed.push((now, image));
                }
                Answer::new(200, "application/x-amz-json-1.1", answer.to_string())
            }
            Err(error) => Answer::new(error.status(), "application/x-amz-json-1.1", error.body().to_string()),
        }
    }

    /// The digest that a revision runs.
    fn image_of(&self, revision: &str) -> String {
        let found = self.cluster.ecs.definitions().find(revision);
        let worker = found.and_then(|id| self.cluster.ecs.definition(id).containers.first());
        worker.and_then(|worker| worker.digest.as_deref()).unwrap_or_default().to_owned()
    }

    /// What the deployer wrote last.
    pub fn journal(&self) -> Option<Value> {
        serde_json::from_slice(self.s3.object(JOURNAL)?).ok()
    }

    pub fn calls_of(&self, action: &str) -> u64 {
        self.calls.get(action).copied().unwrap_or(0)
    }
}

fn points(action: &str) -> bool {
    action == "UpdateService" || action == "CreateService"
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({ "__type": code, "message": message });
    Answer::new(status, "application/x-amz-json-1.1", body.to_string())
}

/// No alarm is there, and every metric is taken. CloudWatch speaks CBOR (RFC 8949): `{"MetricAlarms": []}` and `{}`.
fn cloudwatch(action: &str) -> Answer {
    let body = match action {
        "DescribeAlarms" => [&[0xa1, 0x6c][..], b"MetricAlarms", &[0x80]].concat(),
        _ => vec![0xa0],
    };
    let mut answer = Answer::new(200, "application/cbor", body);
    answer.headers.push(("smithy-protocol", "rpc-v2-cbor".to_owned()));
    answer
}

/// Numbers by chance, the same for the same seed: splitmix64.
#[derive(Debug, Default)]
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.below(at as u64 + 1) as usize;
            items.swap(at, other);
        }
    }
}
