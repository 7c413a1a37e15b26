//! Stack: `infra/stack.yaml` in ministack, and what is asked of it: pushes, looks, the journal, the service, logs.
//!
//! Neighbours: image, whose manifests are pushed to its repository. Only AWS's API is spoken here, by boto3.

use std::fs;

use serde_json::{Value, json};
use tests::oracle::ask;
use tests::worker;
use uuid::Uuid;

use super::REGION;
use super::calls::Calls;
use super::image::{Built, OCI_MANIFEST, root};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containers/stack.py");
const ACCOUNT: &str = "123456789012";
/// What `infra/local.py` makes of `aws.ecr` in the stack's rule.
const SOURCE: &str = "landfall.tests.ecr";
/// The verdict is to come with the next look.
const POLICY: &str = "[proof]\nbake = \"0s\"\n";

pub struct Stack {
    /// Of the pipeline, and of its repository and cluster.
    pub name: String,
    pub service: String,
    bucket: String,
    aws: Calls,
    python: String,
}

impl Stack {
    /// With the deployer's package as it is released, but for the policy.
    pub fn create(python: &str, endpoint: &str, name: &str, bucket: &str, kafka: &str) -> Stack {
        let stack = Stack {
            name: name.to_owned(),
            service: format!("landfall-{name}"),
            bucket: bucket.to_owned(),
            aws: Calls::new(python, endpoint),
            python: python.to_owned(),
        };
        let taskdef = |file: &str| fs::read_to_string(root().join("taskdefs").join(file)).expect("committed");
        let files = json!({
            "bootstrap": {"path": worker::beside("deployer-lambda")},
            "taskdefs/worker.taskdef.json": {"text": taskdef("worker.taskdef.json")},
            "taskdefs/worker.service.json": {"text": taskdef("worker.service.json")},
            "taskdefs/policy.toml": {"text": POLICY},
        });
        let parameters = json!({"Pipeline": name, "KafkaBootstrap": kafka, "BucketName": bucket,
            "RepositoryName": name, "ClusterName": name, "Egress": "public-ip",
            "DeployerBucket": format!("packages-{name}"), "DeployerKey": "deployer.zip"});
        let answer = stack.script(json!({"ask": "create", "files": files, "parameters": parameters}));
        assert_eq!(answer["status"], "CREATE_COMPLETE", "{:#}", answer["events"]);
        stack
    }

    /// Waits until it is gone.
    pub fn delete(&self) {
        let answer = self.script(json!({"ask": "delete"}));
        assert_eq!(answer["status"], Value::Null, "{:#}", answer["events"]);
    }

    fn script(&self, mut request: Value) -> Value {
        request["endpoint"] = json!(self.aws.endpoint());
        request["name"] = json!(self.service);
        ask(&self.python, SCRIPT, &request)
    }

    /// The manifest goes to ECR and the layers to the registry, which stands for ECR where images are pulled.
    pub fn push(&self, image: &Built) {
        let put = json!({"repositoryName": self.name, "imageManifest": image.manifest, "imageTag": image.tag,
            "imageManifestMediaType": OCI_MANIFEST});
        let put = self.aws.call("ecr", "put_image", put);
        assert_eq!(put["image"]["imageId"]["imageDigest"], json!(image.digest), "one digest in both");
        self.announce(image);
    }

    /// What ECR says of a push; ministack says nothing by itself.
    pub fn announce(&self, image: &Built) {
        let detail = json!({"result": "SUCCESS", "repository-name": self.name, "image-digest": image.digest,
            "action-type": "PUSH", "image-tag": image.tag, "manifest-media-type": OCI_MANIFEST});
        let entry = json!({"Source": SOURCE, "DetailType": "ECR Image Action", "Detail": detail.to_string()});
        let put = self.aws.call("events", "put_events", json!({"Entries": [entry]}));
        assert_eq!(put["FailedEntryCount"], 0, "{put}");
    }

    /// What the schedule sends.
    pub fn look(&self) -> Value {
        let event = json!({"version": "0", "id": Uuid::new_v4(), "detail-type": "Scheduled Event",
            "source": "aws.events", "account": ACCOUNT, "region": REGION, "time": "2026-11-22T07:00:00Z",
            "resources": [], "detail": {}});
        let asked = json!({"FunctionName": format!("{}-deployer", self.service), "Qualifier": "events",
            "Payload": event.to_string()});
        let answer = self.aws.call("lambda", "invoke", asked);
        assert_eq!(answer.get("FunctionError"), None, "{answer}");
        serde_json::from_str(answer["Payload"].as_str().expect("a payload")).expect("the answer is JSON")
    }

    /// The journal's record of an image.
    pub fn record(&self, image: &Built) -> Option<Value> {
        let key = format!("{}/_landfall/releases.json", self.name);
        let asked = json!({"Bucket": self.bucket, "Key": key});
        let object = self.found("s3", "get_object", asked, "NoSuchKey")?;
        let journal: Value = serde_json::from_str(object["Body"].as_str().expect("a body")).expect("JSON");
        let records = journal["releases"].as_array().expect("releases").clone();
        records.into_iter().find(|record| record["digest"] == json!(image.digest))
    }

    /// An answer; `None` if AWS says that there is no such thing, by this code.
    fn found(&self, service: &str, call: &str, asked: Value, absent: &str) -> Option<Value> {
        match self.aws.try_call(service, call, asked) {
            Ok(answer) => Some(answer),
            Err(refused) if refused.code == absent => None,
            Err(refused) => panic!("{service}.{call}: {}: {}", refused.code, refused.message),
        }
    }

    fn ecs_service(&self) -> Option<Value> {
        let asked = json!({"cluster": self.name, "services": [self.service]});
        let answer = self.found("ecs", "describe_services", asked, "ClusterNotFoundException")?;
        answer["services"].as_array().expect("services").first().cloned()
    }

    pub fn is_active(&self) -> bool {
        self.ecs_service().is_some_and(|service| service["status"] == "ACTIVE")
    }

    /// The number of the revision that the service points at.
    pub fn points_at(&self) -> Option<u64> {
        let service = self.ecs_service()?;
        service["taskDefinition"].as_str().expect("an ARN").rsplit(':').next()?.parse().ok()
    }

    /// Whether this is among the service's events.
    pub fn has_said(&self, words: &str) -> bool {
        let service = self.ecs_service().expect("the service is there");
        let events = service["events"].as_array().expect("events");
        events.iter().any(|event| event["message"].as_str().is_some_and(|message| message.contains(words)))
    }

    /// All that were ever registered.
    pub fn revisions(&self) -> usize {
        let answer = self.aws.call("ecs", "list_task_definitions", json!({"familyPrefix": self.service}));
        answer["taskDefinitionArns"].as_array().expect("ARNs").len()
    }

    /// Of tasks with this image that stopped.
    pub fn exit_codes(&self, image: &Built) -> Vec<Option<i64>> {
        let asked = json!({"cluster": self.name, "serviceName": self.service, "desiredStatus": "STOPPED"});
        let listed = self.aws.call("ecs", "list_tasks", asked);
        if listed["taskArns"].as_array().expect("ARNs").is_empty() {
            return Vec::new();
        }
        let asked = json!({"cluster": self.name, "tasks": listed["taskArns"]});
        let answer = self.aws.call("ecs", "describe_tasks", asked);
        let containers = answer["tasks"].as_array().expect("tasks").iter().map(|task| &task["containers"][0]);
        let of_it = containers.filter(|container| container["imageDigest"] == json!(image.digest));
        of_it.map(|container| container["exitCode"].as_i64()).collect()
    }

    /// What a task's worker logged, as ECS sends it to CloudWatch.
    pub fn logs(&self, task: &str) -> Vec<Value> {
        let asked = json!({"logGroupName": format!("/landfall/{}/worker", self.name),
            "logStreamName": format!("{}/worker/{task}", self.service), "startFromHead": true});
        let answer =
            self.found("logs", "get_log_events", asked, "ResourceNotFoundException").unwrap_or_default();
        let Some(events) = answer["events"].as_array() else { return Vec::new() };
        let lines = events.iter().map(|event| event["message"].as_str().expect("text"));
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))).collect()
    }

    /// Whether it was ever put for this pipeline.
    pub fn has_metric(&self, name: &str) -> bool {
        let asked = json!({"Namespace": "Landfall", "MetricName": name,
            "Dimensions": [{"Name": "Pipeline", "Value": self.name}]});
        let answer = self.aws.call("cloudwatch", "list_metrics", asked);
        !answer["Metrics"].as_array().expect("metrics").is_empty()
    }

    /// For a person who looks at a failed test.
    fn tell(&self) {
        println!("service: {:#}", self.ecs_service().unwrap_or_default());
        for group in [format!("/landfall/{}/worker", self.name), format!("/landfall/{}/deployer", self.name)]
        {
            let Ok(answer) =
                self.aws.try_call("logs", "filter_log_events", json!({"logGroupName": group, "limit": 200}))
            else {
                continue;
            };
            println!("{group}:");
            for event in answer["events"].as_array().into_iter().flatten() {
                println!("  {}", event["message"].as_str().unwrap_or_default());
            }
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
    }
}
