//! What the model of ECS starts runs as processes, and what becomes of them is told to it. The worker is a script here.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use local::cloud::function::Outcome;
use local::cloud::image::{self, Known};
use local::cloud::{Cloud, Outlets, serve};
use local::ecs::model::RolloutState;
use local::ecs::{Config, Health, StopCode};
use local::lambda_process::{self, Bootstrap, LambdaError};
use local::tasks::{HoldAt, Started, Tasks};
use serde_json::json;

/// `health` passes when `$HOME_OF_TEST/well` is there; `run` says who it is and waits for SIGTERM.
const WORKER: &str = r#"#!/bin/sh
if [ "$1" = health ]; then test -f "$HOME_OF_TEST/well"; exit; fi
echo "{\"message\":\"started\",\"words\":\"$*\",\"release\":\"$LANDFALL_RELEASE\",\"here\":\"$(ls | tr '\n' ' ')\"}" >&2
trap 'exit 0' TERM
while :; do sleep 0.02; done
"#;

struct Scene {
    cloud: Arc<Cloud>,
    tasks: Arc<Tasks>,
    home: tempfile::TempDir,
    outlets: Option<Outlets>,
    url: String,
}

impl Scene {
    async fn new() -> Scene {
        let config = Config {
            cluster: "main".into(),
            steady_ms: 50,
            restart_delay_ms: 50,
            backoff_first_ms: 50,
            checks_hurry: 100,
            ..Config::default()
        };
        let (cloud, outlets) = Cloud::new(config, "deployer", Duration::from_secs(60));
        cloud.act(|world, _| world.ecr.create("shop"));
        let url = format!("http://{}", serve(cloud.clone()).await.unwrap());
        let home = tempfile::tempdir().unwrap();
        let logs = home.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let surroundings = [("HOME_OF_TEST", home.path().to_str().unwrap()), ("PATH", "/usr/bin:/bin")];
        let surroundings = surroundings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let tasks = Tasks::new(cloud.clone(), url.clone(), logs, surroundings);
        Scene { cloud, tasks, home, outlets: Some(outlets), url }
    }

    /// Pushes an image whose worker is this script; its digest.
    fn push(&self, script: &str, tag: &str) -> String {
        let (worker, source) =
            (self.home.path().join(format!("worker-{tag}")), self.home.path().join("source"));
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("pipeline.toml"), "").unwrap();
        fs::write(&worker, script).unwrap();
        fs::set_permissions(&worker, fs::Permissions::from_mode(0o755)).unwrap();
        let root = self.home.path().join(tag);
        image::build(&root, &worker, &source, |_, text| text).unwrap();
        let image = image::read(&root, &mut Known::default()).unwrap();
        self.cloud.push("shop", image, tag).unwrap().digest
    }

    /// A service of that image, with a health check each tenth of a second.
    fn create(&self, image: &str) {
        let path = "/usr/local/bin/worker";
        let definition = json!({ "family": "shop", "containerDefinitions": [{
            "name": "worker", "image": format!("registry/shop@{image}"), "entryPoint": [path], "command": ["run"],
            "environment": [{ "name": "LANDFALL_RELEASE", "value": "r1" }], "stopTimeout": 20,
            "healthCheck": { "command": ["CMD", path, "health"], "interval": 10, "retries": 2, "startPeriod": 20 },
        }]});
        let breaker = json!({ "deploymentCircuitBreaker": { "enable": true, "rollback": true,
            "thresholdConfiguration": { "type": "COUNT", "value": 2 } } });
        let service = json!({ "cluster": "main", "serviceName": "shop", "taskDefinition": "shop", "desiredCount": 1,
            "deploymentConfiguration": breaker });
        self.cloud.act(|world, now| {
            world.ecs.call("RegisterTaskDefinition", &definition, now).unwrap();
            world.ecs.call("CreateService", &service, now).unwrap();
        });
    }

    fn well(&self) {
        fs::write(self.home.path().join("well"), "").unwrap();
    }

    /// Runs everything until `done`, for half a minute at most.
    async fn until(&mut self, mut done: impl FnMut(&Scene, &[Started]) -> bool) {
        let commands = self.outlets.as_mut().map(|outlets| {
            let (_, closed) = tokio::sync::mpsc::unbounded_channel();
            std::mem::replace(&mut outlets.commands, closed)
        });
        let waits = async {
            let started = self.tasks.started();
            loop {
                let now = started.borrow().clone();
                if done(self, &now) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = waits => {}
            never = self.cloud.run() => match never {},
            never = self.tasks.clone().run(commands.unwrap()) => match never {},
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("{:#?}", self.tasks.started().borrow()),
        }
    }

    fn state(&self) -> RolloutState {
        self.cloud.look(|world| world.ecs.service("shop").unwrap().primary().state)
    }

    fn scale(&self, desired: u32) {
        let request = json!({ "cluster": "main", "service": "shop", "desiredCount": desired });
        self.cloud.act(|world, now| world.ecs.call("UpdateService", &request, now).unwrap());
    }
}

#[tokio::test]
async fn a_task_is_a_process_with_its_definitions_environment_and_ends_when_it_is_told() {
    let mut scene = Scene::new().await;
    let digest = scene.push(WORKER, "1.0.0");
    scene.well();
    scene.create(&digest);
    let mut scaled = false;
    let mut last = Vec::new();
    scene
        .until(|scene, started| {
            if scene.state() == RolloutState::Completed && !scaled {
                scene.scale(0);
                scaled = true;
            }
            last = started.to_vec();
            started.iter().any(|it| it.exit.is_some())
        })
        .await;
    let worker = &last[0];
    assert_eq!(
        (worker.exit, worker.digest.as_str(), worker.revision.as_str()),
        (Some(0), &*digest, "shop:1")
    );
    let line = worker.log.line(|line| line.message == "started").unwrap();
    assert_eq!((line.field("words"), line.field("release")), (&json!("run"), &json!("r1")));
    assert_eq!(line.field("here"), "image.json pipeline usr ", "it starts in its image");
}

#[tokio::test]
async fn a_worker_that_is_killed_is_started_again_and_only_the_first_stands_still() {
    let mut scene = Scene::new().await;
    let digest = scene.push(WORKER, "1.0.0");
    scene.well();
    scene.create(&digest);
    scene.tasks.hold([HoldAt::EntryLogged]);
    let mut killed = false;
    let mut last = Vec::new();
    scene
        .until(|scene, started| {
            if let (Some(first), false) = (started.first(), killed) {
                if first.log.line(|line| line.message == "started").is_none() {
                    return false;
                }
                scene.tasks.kill(first.task);
                killed = true;
            }
            last = started.to_vec();
            started.len() == 2 && started[1].log.line(|line| line.message == "started").is_some()
        })
        .await;
    assert_eq!(
        (last[0].exit, last[0].hold_at, last[1].hold_at),
        (Some(137), Some(HoldAt::EntryLogged), None)
    );
    let words =
        |at: usize| last[at].log.line(|line| line.message == "started").unwrap().field("words").clone();
    assert_eq!((words(0), words(1)), (json!("run --hold-at entry-logged"), json!("run")));
}

#[tokio::test]
async fn a_worker_that_never_gets_well_is_stopped_and_its_deployment_fails() {
    let mut scene = Scene::new().await;
    let digest = scene.push(WORKER, "1.0.0");
    scene.create(&digest);
    scene.until(|scene, _| scene.state() == RolloutState::Failed).await;
    scene.cloud.look(|world| {
        let service = world.ecs.service("shop").unwrap();
        let stopped = service.stopped.iter().chain(&service.tasks).filter(|task| task.stopping);
        let all: Vec<_> = stopped.collect();
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|task| task.health == Health::Unhealthy));
        assert!(all.iter().all(|task| task.stop_code == Some(StopCode::ServiceSchedulerInitiated)));
    });
}

#[tokio::test]
async fn a_worker_that_ends_by_itself_is_told_with_its_exit_code() {
    let mut scene = Scene::new().await;
    let digest = scene.push("#!/bin/sh\nexit 78\n", "1.0.0");
    scene.create(&digest);
    scene.until(|scene, _| scene.state() == RolloutState::Failed).await;
    let exits = scene.cloud.look(|world| {
        let stopped = world.ecs.service("shop").unwrap().stopped.iter();
        stopped.map(|task| task.exit_code).collect::<Vec<_>>()
    });
    assert_eq!(exits, [Some(78), Some(78)]);
}

#[tokio::test]
async fn an_image_that_is_not_there_cannot_be_pulled() {
    let mut scene = Scene::new().await;
    scene.create(&format!("sha256:{}", "0".repeat(64)));
    scene.until(|scene, _| scene.state() == RolloutState::Failed).await;
    scene.cloud.look(|world| {
        let task = world.ecs.service("shop").unwrap().stopped.front().unwrap();
        assert_eq!(task.stop_code, Some(StopCode::TaskFailedToStart));
        assert!(task.stopped_reason.as_deref().unwrap().starts_with("CannotPullContainerError"));
    });
}

#[tokio::test]
async fn a_function_that_does_not_start_is_not_started_for_ever() {
    let scene = Scene::new().await;
    let program = scene.home.path().join("bootstrap");
    fs::write(&program, "#!/bin/sh\necho \"REGION is $AWS_REGION\" >&2\nexit 3\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let bootstrap = Bootstrap {
        program,
        environment: lambda_process::surroundings("deployer", 128, &scene.url, "eu-central-1"),
        log: scene.home.path().join("deployer.jsonl"),
    };
    let waits = scene.cloud.function.invoke("events", json!({}));
    let error = lambda_process::run(scene.cloud.clone(), bootstrap).await;
    let LambdaError::Fruitless { times, status, tail } = error else { panic!("{error}") };
    assert_eq!((times, status.as_str()), (3, "exit status: 3"));
    assert!(tail.contains("REGION is eu-central-1"), "{tail}");
    assert!(!scene.cloud.function.is_idle(), "what waits is not lost");
    drop(waits);
}

#[tokio::test]
async fn an_invocation_whose_process_ends_has_failed() {
    let scene = Scene::new().await;
    let answered = scene.cloud.function.invoke("events", json!({}));
    scene.cloud.function.next().await;
    scene.cloud.function.lost("the process ended: exit status: 1");
    assert!(matches!(answered.await, Ok(Outcome::Failed(_))));
}
