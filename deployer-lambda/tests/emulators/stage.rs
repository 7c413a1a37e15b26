//! Stage: one pipeline in ministack: repository, cluster, the function with its aliases, the rule that invokes it.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::calls::Calls;
use super::{ACCOUNT, REGION};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// ministack refuses `aws.*` from who is not AWS, as AWS does.
const SOURCE: &str = "landfall.tests.ecr";
const PATTERN: &str = include_str!("../../patterns/push.json");
/// Which the rule's target makes of [`SOURCE`]: all else of the event is passed on as it came.
const AS_ECR: &str = r#"{"version": "0", "id": <id>, "detail-type": <kind>, "source": "aws.ecr",
    "account": <account>, "time": <time>, "region": <region>, "resources": [], "detail": <detail>}"#;

pub struct Stage {
    pub aws: Calls,
    /// Of repository, cluster, pipeline, and in all other names.
    pub name: String,
    pub service: String,
    function: String,
}

/// An image that was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub digest: String,
    pub tag: String,
}

impl Stage {
    /// `policy`: the text of policy.toml in the function's package.
    pub fn new(aws: Calls, policy: &str) -> Stage {
        let name = format!("shop-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let stage =
            Stage { aws, service: format!("{name}-worker"), function: format!("{name}-deployer"), name };
        stage.aws.call("ecr", "create_repository", json!({"repositoryName": stage.name}));
        stage.aws.call("ecs", "create_cluster", json!({"clusterName": stage.name}));
        for alarm in ["damage", "stall"] {
            let metric = json!({"AlarmName": format!("{}-{alarm}", stage.name), "Namespace": "Landfall", "Threshold": 1.0,
                "MetricName": "Damage", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold"});
            stage.aws.call("cloudwatch", "put_metric_alarm", metric);
        }
        stage.install(policy);
        stage.let_in();
        stage
    }

    /// The package as it is released: `bootstrap` and `taskdefs/`.
    fn package(policy: &str) -> Value {
        let taskdefs: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../taskdefs");
        json!({"$zip": {
            "bootstrap": env!("CARGO_BIN_EXE_deployer-lambda"),
            "taskdefs/worker.taskdef.json": taskdefs.join("worker.taskdef.json"),
            "taskdefs/worker.service.json": taskdefs.join("worker.service.json"),
            "taskdefs/policy.toml": {"text": policy},
        }})
    }

    fn install(&self, policy: &str) {
        let role = |of: &str| format!("arn:aws:iam::{ACCOUNT}:role/{}-{of}", self.name);
        let alarm = |of: &str| format!("{}-{of}", self.name);
        let variables = json!({
            "AWS_ENDPOINT_URL": self.aws.endpoint(), "S3_ENDPOINT": self.aws.endpoint(), "S3_PATH_STYLE": "true",
            "ACCOUNT": ACCOUNT, "PIPELINE": self.name, "CLUSTER": self.name, "SERVICE": self.service,
            "REPOSITORY": self.name, "S3_OUTPUT_PATH": format!("s3://landfall-tests/{}", self.name),
            "FILL_DAMAGE_ALARM": alarm("damage"), "FILL_NO_PROGRESS_ALARM": alarm("stall"),
            "FILL_SUBNETS": "subnet-1,subnet-2", "FILL_SECURITY_GROUPS": "sg-1",
            "FILL_TASK_ROLE_ARN": role("task"), "FILL_EXECUTION_ROLE_ARN": role("execution"),
            "FILL_KAFKA_BOOTSTRAP": "broker:9098", "FILL_LOG_GROUP": format!("/landfall/{}", self.name),
        });
        let made = self.aws.call(
            "lambda",
            "create_function",
            json!({"FunctionName": self.function, "Runtime": "provided.al2023", "Handler": "bootstrap",
                "Role": role("deployer"), "Timeout": 60, "MemorySize": 256, "Publish": true,
                "Code": {"ZipFile": Stage::package(policy)}, "Environment": {"Variables": variables}}),
        );
        for alias in ["events", "read", "operate", "approve"] {
            let alias =
                json!({"FunctionName": self.function, "Name": alias, "FunctionVersion": made["Version"]});
            self.aws.call("lambda", "create_alias", alias);
        }
    }

    /// Another policy.toml, as a deployment of the function brings it: a new version behind the same aliases.
    pub fn reinstall(&self, policy: &str) {
        let code = json!({"FunctionName": self.function, "ZipFile": Stage::package(policy), "Publish": true});
        let version = self.aws.call("lambda", "update_function_code", code)["Version"].clone();
        for alias in ["events", "read", "operate", "approve"] {
            let alias = json!({"FunctionName": self.function, "Name": alias, "FunctionVersion": version});
            self.aws.call("lambda", "update_alias", alias);
        }
    }

    /// The rule, with the pattern that the stack uses but for its source.
    fn let_in(&self) {
        let mut pattern: Value =
            serde_json::from_str(&PATTERN.replace("${Repository}", &self.name)).expect("a pattern");
        assert_eq!(pattern["source"], json!(["aws.ecr"]));
        pattern["source"] = json!([SOURCE]);
        let rule = json!({"Name": self.name, "EventPattern": pattern.to_string()});
        self.aws.call("events", "put_rule", rule);
        let function = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}:events", self.function);
        let paths = json!({"id": "$.id", "kind": "$.detail-type", "account": "$.account", "time": "$.time",
            "region": "$.region", "detail": "$.detail"});
        let target = json!({"Id": "deployer", "Arn": function,
            "InputTransformer": {"InputPathsMap": paths, "InputTemplate": AS_ECR}});
        let put = self.aws.call("events", "put_targets", json!({"Rule": self.name, "Targets": [target]}));
        assert_eq!(put["FailedEntryCount"], 0, "{put}");
    }

    /// A manifest of one platform; without a tag, as a part of an index.
    pub fn put_manifest(&self, seed: u8, tag: Option<&str>) -> Pushed {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{seed:064x}"), "size": 2});
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []});
        self.put(&manifest, OCI_MANIFEST, tag)
    }

    /// An index of manifests, as `docker buildx` pushes it.
    pub fn put_index(&self, platforms: &[(&str, &Pushed)], tag: &str) -> Pushed {
        let entry = |(architecture, image): &(&str, &Pushed)| {
            json!({"mediaType": OCI_MANIFEST, "digest": image.digest, "size": 2,
                "platform": {"os": "linux", "architecture": architecture}})
        };
        let entries: Vec<Value> = platforms.iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        self.put(&index, OCI_INDEX, Some(tag))
    }

    fn put(&self, manifest: &Value, kind: &str, tag: Option<&str>) -> Pushed {
        let mut image = json!({"repositoryName": self.name, "imageManifest": manifest.to_string(),
            "imageManifestMediaType": kind});
        if let Some(tag) = tag {
            image["imageTag"] = json!(tag);
        }
        let put = self.aws.call("ecr", "put_image", image);
        let digest = put["image"]["imageId"]["imageDigest"].as_str().expect("a digest").to_owned();
        Pushed { digest, tag: tag.unwrap_or_default().to_owned() }
    }

    /// What ECR says of a push; ministack says nothing by itself.
    pub fn announce(&self, pushed: &Pushed) {
        self.announce_in(&self.name, pushed);
    }

    pub fn announce_in(&self, repository: &str, pushed: &Pushed) {
        let detail = json!({"result": "SUCCESS", "repository-name": repository, "image-digest": pushed.digest,
            "action-type": "PUSH", "image-tag": pushed.tag, "manifest-media-type": OCI_MANIFEST});
        let entry = json!({"Source": SOURCE, "DetailType": "ECR Image Action", "Detail": detail.to_string()});
        let put = self.aws.call("events", "put_events", json!({"Entries": [entry]}));
        assert_eq!(put["FailedEntryCount"], 0, "{put}");
    }

    /// As `aws lambda invoke` does.
    ///
    /// # Panics
    /// The function failed: what it answers is no failure of ours.
    pub fn invoke(&self, alias: &str, payload: &Value) -> Value {
        let asked =
            json!({"FunctionName": self.function, "Qualifier": alias, "Payload": payload.to_string()});
        let answer = self.aws.call("lambda", "invoke", asked);
        assert_eq!(answer.get("FunctionError"), None, "{payload}: {answer}");
        serde_json::from_str(answer["Payload"].as_str().expect("a payload")).expect("the answer is JSON")
    }

    pub fn schedule(&self) -> Value {
        let event = json!({"version": "0", "id": Uuid::new_v4(), "detail-type": "Scheduled Event",
            "source": "aws.events", "account": ACCOUNT, "region": REGION, "time": "2026-11-22T07:00:00Z",
            "resources": [], "detail": {}});
        self.invoke("events", &event)
    }

    pub fn journal(&self) -> Option<Value> {
        let key = format!("{}/_landfall/releases.json", self.name);
        let found = self.aws.try_call("s3", "get_object", json!({"Bucket": "landfall-tests", "Key": key}));
        match found {
            Ok(object) => Some(
                serde_json::from_str(object["Body"].as_str().expect("a body")).expect("the journal is JSON"),
            ),
            Err(refused) if refused.code == "NoSuchKey" => None,
            Err(refused) => panic!("read the journal: {}: {}", refused.code, refused.message),
        }
    }

    /// The journal's record of an image.
    pub fn record(&self, image: &Pushed) -> Option<Value> {
        let journal = self.journal()?;
        let records = journal["releases"].as_array().expect("releases").clone();
        records.into_iter().find(|record| record["digest"] == json!(image.digest))
    }

    pub fn ecs_service(&self) -> Option<Value> {
        let asked = json!({"cluster": self.name, "services": [self.service], "include": ["TAGS"]});
        let answer = self.aws.call("ecs", "describe_services", asked);
        answer["services"].as_array().expect("services").first().cloned()
    }

    /// The number of the revision that the service points at.
    pub fn points_at(&self) -> Option<u64> {
        let service = self.ecs_service()?;
        let arn = service["taskDefinition"].as_str().expect("an ARN");
        arn.rsplit(':').next().expect("a revision").parse().ok()
    }

    /// All that were ever registered.
    pub fn revisions(&self) -> usize {
        let asked = json!({"familyPrefix": self.service});
        let answer = self.aws.call("ecs", "list_task_definitions", asked);
        answer["taskDefinitionArns"].as_array().expect("ARNs").len()
    }

    pub fn revision(&self, number: u64) -> Value {
        let asked = json!({"taskDefinition": format!("{}:{number}", self.service), "include": ["TAGS"]});
        self.aws.call("ecs", "describe_task_definition", asked)
    }

    /// How often a metric of this pipeline was put, whatever its other dimensions.
    pub fn counted(&self, metric: &str) -> f64 {
        let asked = json!({"Namespace": "Landfall", "MetricName": metric,
            "Dimensions": [{"Name": "Pipeline", "Value": self.name}], "Period": 3600, "Statistics": ["SampleCount"],
            "StartTime": "2020-01-01T00:00:00Z", "EndTime": "2100-01-01T00:00:00Z"});
        let answer = self.aws.call("cloudwatch", "get_metric_statistics", asked);
        let points = answer["Datapoints"].as_array().expect("data points");
        points.iter().filter_map(|point| point["SampleCount"].as_f64()).sum()
    }
}

/// Waits until `look` finds something, for a minute.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..300 {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(Duration::from_millis(200));
    }
    panic!("waited a minute in vain: {what}");
}
