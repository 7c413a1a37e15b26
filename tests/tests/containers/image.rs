//! Image: the worker's image as the Dockerfile makes it, its push to the registry, and the containers it becomes.
//!
//! Neighbours: stack, which takes what was pushed. Only buildah and podman are asked here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, str};

use serde_json::Value;
use tempfile::TempDir;
use tests::metrics::Listener;
use tests::pipeline::Pipeline;
use tests::{peers, worker};

pub const REVISION: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567";
pub const SOURCE: &str = "https://example.com/landfall";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A tag in the registry.
#[derive(Clone, Debug)]
pub struct Built {
    pub tag: String,
    pub digest: String,
    /// As the registry has it.
    pub manifest: String,
    /// Digests, the base's first.
    pub layers: Vec<String>,
    /// What `docker inspect` shows.
    pub config: Value,
}

/// A container that runs.
#[derive(Clone, Debug)]
pub struct Container {
    pub id: String,
    /// Of its image.
    pub digest: String,
    /// The last part of the task's ARN.
    pub task: String,
    pub inspected: Value,
}

/// podman, buildah and the registry that `tests/run` started.
pub struct Engine {
    directory: PathBuf,
    registry: String,
    /// In place of the stage that compiles: the binary that cargo built, stripped as a release is.
    compiled: TempDir,
}

impl Engine {
    pub fn find(what: &str) -> Option<Engine> {
        let directory = PathBuf::from(peers::engine(what)?);
        let registry = peers::registry(what)?;
        let compiled = TempDir::with_prefix("landfall-build-").expect("a temporary directory");
        let out = compiled.path().join("out");
        fs::create_dir(&out).expect("make the directory");
        let mut strip = Command::new("strip");
        run(strip.arg("-o").arg(out.join("worker")).arg(worker::binary()));
        Some(Engine { directory, registry, compiled })
    }

    /// With the files that `tests/run` wrote, so that the system's are left alone.
    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (variable, file) in [
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
            ("CONTAINERS_REGISTRIES_CONF", "registries.conf"),
        ] {
            command.env(variable, self.directory.join(file));
        }
        command
    }

    /// Target `worker` with this pipeline, as a user builds a job of one's own, and pushed.
    pub fn build(&self, repository: &str, tag: &str, pipeline: &Pipeline) -> Built {
        let context = TempDir::with_prefix("landfall-context-").expect("a temporary directory");
        pipeline.write(&context.path().join("jobs/shop"));
        let name = format!("{}/{repository}:{tag}", self.registry);
        let compiled = format!("build={}", self.compiled.path().display());
        let mut build = self.tool("buildah");
        build.args([
            "bud",
            "--quiet",
            "--layers",
            "--pull-never",
            "--isolation",
            "chroot",
            "--target",
            "worker",
        ]);
        build.args(["--build-context", &compiled, "--build-arg", "PIPELINE=jobs/shop"]);
        for (label, value) in [("VERSION", tag), ("REVISION", REVISION), ("SOURCE", SOURCE)] {
            build.args(["--build-arg", &format!("{label}={value}")]);
        }
        run(build.arg("--tag").arg(&name).arg("--file").arg(root().join("Dockerfile")).arg(context.path()));
        let digest_file = context.path().join("digest");
        let mut push = self.tool("buildah");
        push.args(["push", "--quiet", "--tls-verify=false", "--digestfile"]);
        run(push.arg(&digest_file).arg(&name));
        let digest = fs::read_to_string(&digest_file).expect("the digest that was pushed").trim().to_owned();
        let manifest = self.registry(&format!("/v2/{repository}/manifests/{digest}"));
        let parsed: Value = serde_json::from_str(&manifest).expect("a manifest");
        let text = |value: &Value| value.as_str().expect("a digest").to_owned();
        let layers = parsed["layers"].as_array().expect("layers");
        let layers = layers.iter().map(|layer| text(&layer["digest"])).collect();
        let config = self.registry(&format!("/v2/{repository}/blobs/{}", text(&parsed["config"]["digest"])));
        let config = serde_json::from_str(&config).expect("a configuration");
        Built { tag: tag.to_owned(), digest, manifest, layers, config }
    }

    fn registry(&self, path: &str) -> String {
        let listener = Listener { address: self.registry.clone() };
        let (status, body) = listener.get_as(path, OCI_MANIFEST).expect("the registry answers");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The one podman that sees the containers: it is in a PID namespace of its own.
    fn podman(&self, arguments: &[&str]) -> Command {
        let mut podman = self.tool("podman");
        podman.arg("--url").arg(format!("unix://{}", self.directory.join("podman.sock").display()));
        podman.args(arguments);
        podman
    }

    /// Containers of a family of task definitions.
    pub fn running(&self, family: &str) -> Vec<Container> {
        let label = format!("label=com.amazonaws.ecs.task-definition-family={family}");
        let listed = run(&mut self.podman(&["ps", "--no-trunc", "--quiet", "--filter", &label]));
        listed.lines().filter_map(|id| self.inspect(id)).collect()
    }

    /// `None`: it went in the meantime.
    fn inspect(&self, id: &str) -> Option<Container> {
        let output = self.podman(&["inspect", id]).output().expect("podman starts");
        let inspected: Value = serde_json::from_slice(&output.stdout).ok()?;
        let inspected = inspected.get(0)?.clone();
        let labels: BTreeMap<String, String> =
            serde_json::from_value(inspected["Config"]["Labels"].clone()).expect("labels");
        let image = inspected["ImageName"].as_str().expect("an image");
        let (_, digest) = image.split_once('@').expect("images are named by digest");
        let task = labels["com.amazonaws.ecs.task-arn"].rsplit('/').next().expect("an ARN").to_owned();
        Some(Container { id: id.to_owned(), digest: digest.to_owned(), task, inspected })
    }

    /// User and bounding set of capabilities of each process in it.
    pub fn processes(&self, container: &Container) -> Vec<String> {
        let told = run(&mut self.podman(&["top", &container.id, "user", "capbnd"]));
        told.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// A command's exit code in the container, and what it said.
    pub fn exec(&self, container: &Container, command: &[&str]) -> (Option<i32>, String) {
        let output = self.podman(&["exec", &container.id]).args(command).output().expect("podman starts");
        (output.status.code(), said(&output))
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What it wrote.
///
/// # Panics
/// It failed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    str::from_utf8(&output.stdout).expect("text").to_owned()
}
