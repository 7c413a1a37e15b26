//! The whole of Landfall as on AWS, but for AWS: the image as the Dockerfile makes it, in a registry, in real containers.
//!
//! podman and runc run what ministack's ECS asks for, with what the task definition says (`peers/containers/agent.py`);
//! the stack is the one that users deploy, but for what `infra/local.py` lists, and its Lambda is our own binary. Kafka is
//! Apache Kafka, the output is in ministack's S3, and DuckDB counts. ministack has neither rollouts to list nor events of
//! its own: pushes are announced here, and a look of the schedule stands for the events of ECS. Start the peers with
//! `tests/run`, as root.

#[path = "../../../deployer-lambda/tests/emulators/calls.rs"]
mod calls;
mod image;
mod recipe;
mod stack;

use std::time::Duration;

use image::{Built, Container, Engine};
use serde_json::{Value, json};
use stack::Stack;
use tests::clock;
use tests::oracle::Output;
use tests::peers;
use tests::scene::Scene;

const REGION: &str = "us-east-1";
const WHAT: &str = "the image in real containers";
/// Bounds what should take a few seconds; the machine may have two busy cores.
const SOON: Duration = Duration::from_secs(60);
/// Bounds a rollout: a pull, a start, a rebalance, a stop.
const LATER: Duration = Duration::from_secs(180);
const PARTITIONS: i32 = 3;

/// Waits until `look` finds something.
fn until<T>(what: &str, wait: Duration, look: impl FnMut() -> Option<T>) -> T {
    clock::until(wait, look).unwrap_or_else(|| panic!("{what}: not within {wait:?}"))
}

/// Everything that the story is told with.
struct Stage {
    engine: Engine,
    scene: Scene,
    topic: String,
    stack: Stack,
}

impl Stage {
    /// The stack without an image; `None`, said aloud, where a peer is absent.
    fn set_up() -> Option<Stage> {
        let engine = Engine::find(WHAT)?;
        let endpoint = peers::containers(WHAT)?;
        let python = peers::python(WHAT)?;
        let mut scene = Scene::new("shop")?.on_s3(&endpoint, &endpoint);
        let name = scene.pipeline.name.clone();
        let bucket = format!("lake-{name}");
        scene.output =
            Output::S3 { endpoint: endpoint.clone(), bucket: bucket.clone(), prefix: name.clone() };
        // Each container has one of its own, as on Fargate.
        scene.pipeline.listen = "${HEALTH_LISTEN}".to_owned();
        // As on ECS, but sooner.
        scene.pipeline.metrics = "interval = \"1s\"";
        let topic = scene.topic("clicks", PARTITIONS, &[]);
        let stack = Stack::create(&python, &endpoint, &name, &bucket, &scene.kafka_address);
        Some(Stage { engine, scene, topic, stack })
    }

    /// Builds the pipeline as it now is into an image, pushes it and tells of it.
    fn release(&self, tag: &str) -> Built {
        let built = self.engine.build(&self.stack.name, tag, &self.scene.pipeline);
        self.stack.push(&built);
        built
    }

    /// Sends some records and waits until DuckDB sees each of this test's once.
    fn flows(&mut self, records: i64) {
        self.scene.produce(&self.topic, PARTITIONS, records);
        self.scene.wait_until_at_end(&self.topic, PARTITIONS, LATER);
        let count = self.scene.count_when_settled(SOON);
        count.assert_exact();
        assert_eq!(count.rows, self.scene.expected.len() as u64);
    }

    fn running(&self) -> Vec<Container> {
        self.engine.running(&self.stack.service)
    }

    /// The one container that runs, once it is of this image.
    fn runs(&self, image: &Built) -> Container {
        until(&format!("{} alone in a container", image.tag), LATER, || {
            let mut running = self.running();
            (running.len() == 1 && running[0].digest == image.digest).then(|| running.remove(0))
        })
    }

    /// The newest entry of the ledger says who wrote it, as ECS's metadata told the worker.
    fn signed_by(&self, container: &Container, revision: u64) {
        let head = self.scene.oracle.head(&self.scene.output).expect("a ledger");
        let writer = &head["writer"];
        assert_eq!(writer["image"], json!(container.digest), "{writer}");
        assert_eq!(writer["task"], json!(container.task), "{writer}");
        assert_eq!(writer["revision"], json!(format!("{}:{revision}", self.stack.service)), "{writer}");
    }

    /// Output and ledger are there, and whoever comes next goes on with them.
    fn outlives_the_stack(&mut self) {
        self.scene.pipeline.listen = "none".to_owned();
        self.scene.pipeline.metrics = "cloudwatch = false";
        let (code, proof) = self.scene.verify();
        assert_eq!(code, Some(0), "{proof}");
        let mut heir = self.scene.worker("heir");
        self.scene.wait_until_at_end(&self.topic, PARTITIONS, LATER);
        assert_eq!(heir.drain(SOON).code, Some(0));
        self.scene.count_when_settled(SOON).assert_exact();
    }

    /// Looks until the image's record says so.
    fn judged(&self, image: &Built, verdict: &str) -> Value {
        until(&format!("{} judged {verdict}", image.tag), LATER, || {
            self.stack.look();
            self.stack.record(image).filter(|record| record["verdict"] == verdict)
        })
    }
}

#[test]
fn a_push_runs_a_crash_is_rolled_back_and_deleting_the_stack_leaves_the_data() {
    let Some(mut stage) = Stage::set_up() else { return };
    assert_eq!(stage.stack.points_at(), None, "without an image there is no service");

    let first = stage.release("1.0.0");
    stage.flows(600);
    let container = stage.runs(&first);
    stage.signed_by(&container, 1);
    assert_confined(&stage, &container);
    stage.judged(&first, "healthy");
    assert_eq!(stage.stack.points_at(), Some(1));
    until("the worker's metrics", SOON, || stage.stack.has_metric("LagSeconds").then_some(()));

    // What a typo in the schema does: the worker leaves with exit code 78 at once, again and again.
    let schema =
        std::mem::replace(&mut stage.scene.pipeline.schema, "CREATE TABLE events (id BIGINTEGER);\n");
    let crashing = stage.release("1.1.0");
    until("the second revision", SOON, || (stage.stack.revisions() == 2).then_some(()));
    let ends = until("two tasks that crashed", LATER, || {
        let ends = stage.stack.exit_codes(&crashing);
        (ends.len() >= 2).then_some(ends)
    });
    assert!(ends.iter().all(|code| *code == Some(78)), "settings: {ends:?}");
    let breaker = "circuit breaker was triggered";
    until("ECS takes it back", SOON, || stage.stack.has_said(breaker).then_some(()));
    stage.judged(&crashing, "rejected");
    assert_eq!(stage.stack.points_at(), Some(1), "rolled back");
    assert_eq!(stage.runs(&first).id, container.id, "the good one was never stopped");
    stage.flows(600);
    stage.stack.announce(&crashing);
    stage.stack.look();
    stage.stack.look();
    assert_eq!((stage.stack.points_at(), stage.stack.revisions()), (Some(1), 2), "a rejected image stays so");

    stage.scene.pipeline.schema = schema;
    stage.scene.pipeline.age_max = "2s";
    let mended = stage.release("1.1.1");
    let next = stage.runs(&mended);
    assert_ne!(next.id, container.id);
    stage.flows(600);
    stage.signed_by(&next, 3);
    stage.judged(&mended, "healthy");
    assert_eq!(stage.stack.points_at(), Some(3));
    until("the first worker's orderly end", SOON, || {
        stage.stack.logs(&container.task).iter().any(|line| line["message"] == "done").then_some(())
    });

    // Some of these may be left unread.
    stage.scene.produce(&stage.topic, PARTITIONS, 60);
    stage.stack.delete();
    until("no container", SOON, || stage.running().is_empty().then_some(()));
    assert!(!stage.stack.is_active(), "the service is gone");
    stage.outlives_the_stack();
}

/// As the task definition says, and without a shell.
fn assert_confined(stage: &Stage, container: &Container) {
    let said = &container.inspected;
    assert_eq!(said["Config"]["User"], "65532:65532");
    assert_eq!(said["HostConfig"]["ReadonlyRootfs"], json!(true));
    assert_eq!(said["HostConfig"]["Init"], json!(true));
    assert_eq!(said["HostConfig"]["Memory"], json!(2048_u64 << 20));
    let processes = stage.engine.processes(container);
    assert!(processes.len() == 2, "the init process and the worker: {processes:?}");
    assert!(
        processes.iter().all(|process| process == "nonroot none"),
        "user and capabilities: {processes:?}"
    );
    let (code, told) = stage.engine.exec(container, &["/usr/local/bin/worker", "health"]);
    assert_eq!(code, Some(0), "the health check of the task definition: {told}");
    let (code, told) = stage.engine.exec(container, &["/bin/sh", "-c", "true"]);
    assert_eq!(code, Some(127), "there is a shell: {told}");
    let memory = stage.stack.logs(&container.task).into_iter().find(|line| line["message"] == "memory");
    let memory = memory.expect("the worker tells its memory");
    assert_eq!(memory["total"], json!(512_u64 << 20), "the pipeline's limit: {memory}");
}

#[test]
fn a_change_of_the_job_changes_one_layer_and_labels_tell_where_an_image_is_from() {
    let Some(engine) = Engine::find(WHAT) else { return };
    let pipeline = tests::pipeline::Pipeline::new("layers", vec!["clicks".to_owned()]);
    let repository = format!("layers-{}", uuid::Uuid::new_v4().simple());
    let first = engine.build(&repository, "1.0.0", &pipeline);
    let other = tests::pipeline::Pipeline { age_max: "2s", ..pipeline };
    let other = engine.build(&repository, "1.0.1", &other);
    assert_eq!(first.layers.len(), other.layers.len());
    let (job, below) = first.layers.split_last().expect("layers");
    let (other_job, other_below) = other.layers.split_last().expect("layers");
    assert_eq!(below, other_below, "the binary and all below it stay");
    assert_ne!(job, other_job);

    let config = &first.config["config"];
    let labels = &config["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], "1.0.0");
    assert_eq!(labels["org.opencontainers.image.revision"], image::REVISION);
    assert_eq!(labels["org.opencontainers.image.source"], image::SOURCE);
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Entrypoint"], json!(["/usr/local/bin/worker"]));
}
