//! The stand-in for AWS, asked by the deployer's own adapters: the AWS SDKs, unmodified.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use deployer::apply::ports::{Deploy as _, Keeper as _, Notifier as _};
use deployer::aws::{Aws, Target};
use deployer::observe::facts::{Health, RolloutState, Scan, TaskState};
use deployer::observe::ports::{Alarms as _, CallFault, Cluster as _, Needs as _, Registry as _};
use deployer::release::{Digest, Moment, RevisionArn};
use deployer::report::names::Unit;
use deployer::report::{Batch, Datum};
use local::cloud::image::{self, Known};
use local::cloud::{Cloud, Outlets, serve};
use local::ecs::{Config, TaskCommand, TaskReport};
use serde_json::{Value, json};

const REPOSITORY: &str = "landfall/shop";

struct Scene {
    cloud: Arc<Cloud>,
    outlets: Outlets,
    aws: Aws,
    url: String,
    home: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Scene {
        let config =
            Config { cluster: "main".into(), steady_ms: 0, restart_delay_ms: 0, ..Config::default() };
        let (cloud, outlets) = Cloud::new(config, "deployer", Duration::from_secs(60));
        cloud.act(|world, now| {
            world.ecr.create(REPOSITORY);
            world.watch.add_alarm("shop-damage", "Landfall", "Damage", 1.0, now);
        });
        let url = format!("http://{}", serve(cloud.clone()).await.expect("the scene stands"));
        let credentials = Credentials::new("local", "local", None, None, "local");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&url)
            .build();
        let target = Target {
            cluster: "main".into(),
            service: "shop".into(),
            family: "shop".into(),
            container: "worker".into(),
            repository: REPOSITORY.into(),
            pipeline: "shop".to_owned(),
            metrics_namespace: "Landfall".to_owned(),
            topic: Some("arn:aws:sns:eu-central-1:111122223333:shop".into()),
        };
        Scene {
            cloud,
            outlets,
            aws: Aws::new(&config, target),
            url,
            home: tempfile::tempdir().expect("the scene stands"),
        }
    }

    /// Builds an image whose pipeline says `text`, pushes it, and gives its digest.
    fn push(&self, text: &str, tag: &str) -> Digest {
        let (worker, source) = (self.home.path().join("worker"), self.home.path().join("source"));
        fs::create_dir_all(&source).expect("the scene stands");
        fs::write(&worker, "#!/bin/sh\n").expect("the scene stands");
        fs::write(source.join("pipeline.toml"), text).expect("the scene stands");
        let root = self.home.path().join(tag);
        image::build(&root, &worker, &source, |_, text| text).expect("the scene stands");
        let image = image::read(&root, &mut Known::default()).expect("the scene stands");
        Digest::from(self.cloud.push(REPOSITORY, image, tag).expect("the scene stands").digest.as_str())
    }

    async fn register(&self, digest: &Digest) -> RevisionArn {
        let image = format!("111122223333.dkr.ecr.eu-central-1.amazonaws.com/{REPOSITORY}@{digest}");
        let body = json!({
            "family": "shop", "memory": "2048", "somethingNew": { "kept": true },
            "containerDefinitions": [{ "name": "worker", "image": image, "memory": 1024 }],
            "tags": [{ "key": "landfall:release", "value": "abc" }],
        });
        self.aws.register(&body).await.expect("the scene stands")
    }

    /// Obeys the model: every task runs and is done for when it is told to stop.
    fn obey(&mut self) {
        while let Ok(command) = self.outlets.commands.try_recv() {
            match command {
                TaskCommand::Start { task, .. } => {
                    self.cloud.report(task, TaskReport::Running).expect("the scene stands")
                }
                TaskCommand::Stop { task, .. } => {
                    self.cloud
                        .report(task, TaskReport::Exited { code: 0, reason: None })
                        .expect("the scene stands");
                }
                TaskCommand::Kill { .. } => {}
            }
        }
    }

    fn events(&mut self, kind: &str) -> Vec<Value> {
        let mut found = Vec::new();
        while let Ok(event) = self.outlets.events.try_recv() {
            if event["detail-type"] == kind {
                found.push(event);
            }
        }
        found
    }
}

#[tokio::test]
async fn an_image_is_pushed_told_of_found_and_kept() {
    let mut scene = Scene::new().await;
    let digest = scene.push("a", "1.0.0");
    let told = scene.events("ECR Image Action");
    assert_eq!(told.len(), 1);
    let detail = &told[0]["detail"];
    assert_eq!((&detail["image-digest"], &detail["image-tag"]), (&json!(digest), &json!("1.0.0")));
    assert_eq!((&told[0]["source"], &told[0]["account"]), (&json!("aws.ecr"), &json!("111122223333")));

    let images = scene.aws.images().await.unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!((&images[0].digest, images[0].tags.as_slice()), (&digest, &["1.0.0".to_owned()][..]));
    assert_eq!(images[0].children, Some(Vec::new()), "no index");
    assert!(images[0].pushed_at > Moment(1_700_000_000_000));
    assert_eq!(scene.aws.scans(std::slice::from_ref(&digest)).await.unwrap()[&digest], Scan::Pending);

    for _ in 0..2 {
        scene.aws.keep(&digest, "landfall-keep-1").await.expect("kept, the second time too");
    }
    assert_eq!(scene.aws.images().await.unwrap()[0].tags, ["1.0.0", "landfall-keep-1"]);
    assert_eq!(scene.events("ECR Image Action")[0]["detail"]["image-tag"], "landfall-keep-1");
    let other = scene.push("b", "1.1.0");
    let taken = scene.aws.keep(&other, "landfall-keep-1").await.unwrap_err();
    assert_eq!(taken.fault, CallFault::Refused, "{}", taken.chain());
}

#[tokio::test]
async fn a_service_is_made_pointed_at_another_revision_and_described() {
    let mut scene = Scene::new().await;
    assert_eq!(scene.aws.service().await.unwrap(), None);
    let digest = scene.push("a", "1.0.0");
    let first = scene.register(&digest).await;
    let create = json!({ "cluster": "main", "serviceName": "shop", "desiredCount": 1, "clientToken": "t",
        "taskDefinition": first.as_str() });
    for _ in 0..2 {
        scene.aws.create(&create).await.expect("made, or there with the same token");
    }
    scene.obey();
    let second = scene.register(&scene.push("b", "1.1.0")).await;
    let update = json!({ "cluster": "main", "service": "shop", "taskDefinition": second.as_str() });
    scene.aws.update(&update).await.unwrap();
    scene.obey();

    let service = scene.aws.service().await.unwrap().expect("it is there");
    assert_eq!((&service.revision, service.desired), (&second, 1));
    let rollouts = scene.aws.rollouts().await.unwrap();
    let told: Vec<(&RevisionArn, RolloutState)> =
        rollouts.iter().map(|it| (&it.revision, it.state)).collect();
    assert_eq!(told, [(&second, RolloutState::InProgress), (&first, RolloutState::Stopped)]);
    let tasks = scene.aws.tasks().await.unwrap();
    let runs = tasks.iter().find(|task| task.revision == first).expect("the old one is there still");
    assert_eq!((&runs.digest, runs.healthy), (&Some(digest), Health::Unknown));
    assert_eq!(runs.state, TaskState::Running);

    let revisions = scene.aws.revisions().await.unwrap();
    assert_eq!(revisions[0].arn, second);
    assert_eq!(revisions[0].release.as_ref().map(|release| release.as_str()), Some("abc"));
    let strange = RevisionArn::from("shop:9");
    let inactive = scene.aws.inactive(&[first.clone(), strange.clone()]).await.unwrap();
    assert_eq!(inactive, [strange]);
    scene.aws.tag(&second, &[("landfall:verdict".into(), "healthy".into())], true).await.unwrap();
    let kept = scene.cloud.look(|world| world.ecs.service("shop").unwrap().tags["landfall:verdict"].clone());
    assert_eq!(kept, "healthy");
    assert!(!scene.events("ECS Deployment State Change").is_empty());
}

#[tokio::test]
async fn what_ecs_refuses_is_refused_with_its_own_code() {
    let scene = Scene::new().await;
    let update = json!({ "cluster": "main", "service": "nope", "taskDefinition": "shop:1" });
    let error = scene.aws.update(&update).await.unwrap_err();
    assert_eq!(error.fault, CallFault::Refused);
    assert!(error.chain().contains("ServiceNotFoundException"), "{}", error.chain());
}

#[tokio::test]
async fn metrics_are_kept_and_an_alarm_goes_off_and_is_told_of() {
    let mut scene = Scene::new().await;
    let names = ["shop-damage".to_owned(), "unknown".to_owned()];
    let before = scene.aws.alarms(&names).await.unwrap();
    assert_eq!((before.len(), before[0].in_alarm), (1, false));
    let damage = Datum { name: "Damage", reason: None, unit: Unit::Count, values: vec![0.0, 2.0] };
    let (pipeline, at) = ("shop".to_owned(), Moment(1_790_000_000_000));
    scene.aws.put_metrics("Landfall", &Batch { pipeline, at, data: vec![damage] }).await.unwrap();
    let after = scene.aws.alarms(&names).await.unwrap();
    assert!(after[0].in_alarm && after[0].since > Moment(0));
    let told = scene.events("CloudWatch Alarm State Change");
    let states: Vec<&Value> = told.iter().map(|event| &event["detail"]["state"]["value"]).collect();
    assert_eq!(states, ["OK", "ALARM"]);
    assert_eq!(scene.cloud.look(|world| world.watch.sum("Landfall", "Damage")), 2.0);
}

#[tokio::test]
async fn a_notice_arrives_as_it_was_sent() {
    let mut scene = Scene::new().await;
    scene.aws.notify("shop: 1.1.0 rolled back", "What happened: 50% & more\nWhat to type: …").await.unwrap();
    let notice = scene.outlets.notices.recv().await.unwrap();
    assert_eq!(notice.subject, "shop: 1.1.0 rolled back");
    assert_eq!(notice.text, "What happened: 50% & more\nWhat to type: …");
}

#[tokio::test]
async fn a_task_learns_who_it_is_from_the_metadata_endpoint() {
    let mut scene = Scene::new().await;
    let digest = scene.push("a", "1.0.0");
    let revision = scene.register(&digest).await;
    let create = json!({ "cluster": "main", "serviceName": "shop", "desiredCount": 1,
        "taskDefinition": revision.as_str() });
    scene.aws.create(&create).await.unwrap();
    scene.obey();
    let task = scene.cloud.look(|world| world.ecs.service("shop").unwrap().tasks[0].id);
    let url = format!("{}/v4/{task}", scene.url);
    let asked = move |name: &str| (name == "ECS_CONTAINER_METADATA_URI_V4").then(|| url.clone());
    let clock = worker::clock::SystemClock::start();
    let identity = tokio::task::spawn_blocking(move || worker::identity::discover(&asked, &clock));
    let identity = identity.await.unwrap();
    assert_eq!(identity.writer.image, digest.as_str());
    assert_eq!((identity.writer.revision.as_str(), identity.writer.task), ("shop:1", task.to_string()));
    assert_eq!(identity.memory_limit, Some(1024 << 20));
}

/// The one that AWS documents, byte by byte over a socket.
#[tokio::test]
async fn the_runtime_api_hands_out_an_invocation_and_takes_its_answer() {
    let scene = Scene::new().await;
    let answered = scene.cloud.function.invoke("operate", json!({ "command": "status" }));
    let base = format!("{}/2018-06-01/runtime/invocation", scene.url);
    let (head, body) = http(&scene.url, &format!("GET {base}/next HTTP/1.1\r\n"), "").await;
    assert_eq!(body, r#"{"command":"status"}"#);
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(name)).unwrap_or_default();
        line.split_once(": ").map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    assert_eq!(
        header("lambda-runtime-invoked-function-arn"),
        "arn:aws:lambda:eu-central-1:111122223333:function:deployer:operate"
    );
    assert!(header("lambda-runtime-deadline-ms").parse::<u64>().unwrap() > 1_700_000_000_000);
    let id = header("lambda-runtime-aws-request-id");
    let post = format!("POST {base}/{id}/response HTTP/1.1\r\n");
    let (head, _) = http(&scene.url, &post, r#"{"ok":true}"#).await;
    assert!(head.starts_with("HTTP/1.1 202"), "{head}");
    let expected = local::cloud::function::Outcome::Answered(json!({ "ok": true }));
    assert_eq!(answered.await.unwrap(), expected);
    let (head, _) = http(&scene.url, &post, "{}").await;
    assert!(head.starts_with("HTTP/1.1 400"), "answered once: {head}");
}

async fn http(url: &str, request_line: &str, body: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(host).await.expect("the scene stands");
    let path = request_line.replace(url, "");
    let length = body.len();
    let request =
        format!("{path}host: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("the scene stands");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the scene stands");
    let (head, body) = answer.split_once("\r\n\r\n").expect("the scene stands");
    (head.to_owned(), body.to_owned())
}

#[test]
fn the_example_of_an_image_is_the_repositorys_own_pipeline() {
    let home = tempfile::tempdir().unwrap();
    let worker = home.path().join("worker");
    fs::write(&worker, "x").unwrap();
    let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipeline");
    let root = home.path().join("image");
    image::build(&root, &worker, &pipeline, |_, text| text).unwrap();
    let read = image::read(&root, &mut Known::default()).unwrap();
    let manifest = serde_json::from_str(&read.manifest).unwrap();
    let names: Vec<String> = image::files_of(&manifest).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["pipeline/pipeline.toml", "pipeline/schema.sql", image::WORKER_PATH]);
}

/// What `verify` asks for beside the image is not here; it is refused, so that nobody takes it for missing.
#[tokio::test]
async fn roles_secrets_parameters_and_log_groups_are_neither_there_nor_missing() {
    let scene = Scene::new().await;
    let names = ["/shop".to_owned()];
    let faults = [
        scene.aws.role("shop").await.map(drop).unwrap_err().fault,
        scene.aws.secret("shop", None).await.map(drop).unwrap_err().fault,
        scene.aws.parameter(&names, None).await.map(drop).unwrap_err().fault,
        scene.aws.log_group("/shop", None).await.map(drop).unwrap_err().fault,
    ];
    assert_eq!(faults, [CallFault::Refused; 4]);
}
