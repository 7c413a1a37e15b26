//! Identity: who writes: release, image, task definition and task, as every ledger entry carries them.
//!
//! Order: on ECS the metadata endpoint is asked before anything else, a few times, within a bound; what it does not
//! say stays empty, and elsewhere host and process stand for the task.
//! Neighbours: http before it; the ledger's entries and the memory budget take what it finds.

use std::time::Duration;

use ledger::entry::Writer;
use serde::Deserialize;

use crate::clock::Clock;
use crate::http;

/// ECS sets it in every container. Source: "Amazon ECS task metadata endpoint version 4".
pub const METADATA_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// The deployer sets it: the release's id.
pub const RELEASE_VARIABLE: &str = "LANDFALL_RELEASE";
/// The release outside any deployment.
pub const RELEASE_DEFAULT: &str = "local";

/// The endpoint may take a moment after the container's start.
const ATTEMPTS: u32 = 4;
const ATTEMPT_MAX: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(250);

/// Who this process is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    pub writer: Writer,
    /// The container's memory limit, else the task's, in bytes, by ECS.
    pub memory_limit: Option<u64>,
}

/// What ECS says about this container.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EcsTask {
    /// `sha256:…`; none when the task definition names the image by tag.
    pub image: Option<String>,
    /// `family:revision`.
    pub revision: Option<String>,
    /// The last part of the task's ARN.
    pub task: Option<String>,
    pub memory_limit: Option<u64>,
}

/// Finds out, asking the metadata endpoint where there is one. Blocks, for at most five seconds.
pub fn discover(env: &dyn Fn(&str) -> Option<String>, clock: &dyn Clock) -> Identity {
    let filled = |name: &str| env(name).filter(|value| !value.is_empty());
    let ecs = filled(METADATA_VARIABLE).map(|url| ask(&url, clock)).unwrap_or_default();
    let host = || {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .or_else(|| filled("HOSTNAME"))
            .unwrap_or_else(|| "localhost".to_owned())
    };
    Identity {
        writer: Writer {
            release: filled(RELEASE_VARIABLE).unwrap_or_else(|| RELEASE_DEFAULT.to_owned()),
            image: ecs.image.unwrap_or_default(),
            revision: ecs.revision.unwrap_or_default(),
            task: ecs.task.unwrap_or_else(|| format!("{}/{}", host(), std::process::id())),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        memory_limit: ecs.memory_limit,
    }
}

fn ask(url: &str, clock: &dyn Clock) -> EcsTask {
    let url = url.trim_end_matches('/');
    let get = |url: &str| {
        for attempt in 1..=ATTEMPTS {
            match http::get(url, ATTEMPT_MAX / 2, clock) {
                Ok(answer) if answer.status == 200 => return Some(answer.body),
                Ok(answer) => tracing::warn!(url, attempt, status = answer.status, "ECS metadata"),
                Err(error) => {
                    tracing::warn!(url, attempt, error = &error as &dyn std::error::Error, "ECS metadata")
                }
            }
            std::thread::sleep(PAUSE);
        }
        None
    };
    // Where the first does not answer, the second would only double the wait.
    let Some(container) = get(url) else { return EcsTask::default() };
    let task = get(&format!("{url}/task")).unwrap_or_default();
    parse(&container, &task)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerMetadata {
    /// As the task definition names it. `ImageID` is the digest of the image's configuration, which no registry
    /// knows it by.
    image: Option<String>,
    limits: Limits,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TaskMetadata {
    #[serde(rename = "TaskARN")]
    arn: Option<String>,
    #[serde(rename = "Family")]
    family: Option<String>,
    #[serde(rename = "Revision")]
    revision: Option<String>,
    #[serde(rename = "Limits")]
    limits: Limits,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Limits {
    /// MiB.
    memory: Option<f64>,
}

/// What the answers of `$ECS_CONTAINER_METADATA_URI_V4` and its `/task` say; anything unreadable says nothing.
pub fn parse(container: &[u8], task: &[u8]) -> EcsTask {
    let container: ContainerMetadata = serde_json::from_slice(container).unwrap_or_default();
    let task: TaskMetadata = serde_json::from_slice(task).unwrap_or_default();
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let bytes = |limits: &Limits| {
        limits.memory.filter(|mib| *mib > 0.0 && mib.is_finite()).map(|mib| (mib * 1_048_576.0) as u64)
    };
    EcsTask {
        image: filled(container.image).and_then(|image| digest(&image).map(str::to_owned)),
        revision: filled(task.family)
            .zip(filled(task.revision))
            .map(|(family, revision)| format!("{family}:{revision}")),
        task: filled(task.arn).and_then(|arn| arn.rsplit('/').next().map(str::to_owned)),
        memory_limit: bytes(&container.limits).or_else(|| bytes(&task.limits)),
    }
}

/// `sha256:…` of `repository@sha256:…`.
fn digest(image: &str) -> Option<&str> {
    let (_, digest) = image.rsplit_once('@')?;
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    /// In the shape of the example in "Amazon ECS task metadata endpoint version 4", Fargate.
    const CONTAINER: &str = r#"{
        "DockerId": "cd189a933e5849daa93386466019ab50-2495160603",
        "Name": "worker",
        "DockerName": "worker",
        "Image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/shop@sha256:25f3695bedfb454a50f12d127839a68ad3caf91e451c1da073db34c542c4d2cb",
        "ImageID": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "Labels": {"com.amazonaws.ecs.cluster": "arn:aws:ecs:us-west-2:111122223333:cluster/default"},
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 10, "Memory": 512},
        "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["192.0.2.3"]}]
    }"#;
    const TASK: &str = r#"{
        "Cluster": "arn:aws:ecs:us-west-2:111122223333:cluster/default",
        "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/e9028f8d5d8e4f258373e7b93ce9a3c3",
        "Family": "shop",
        "Revision": "17",
        "DesiredStatus": "RUNNING",
        "Limits": {"CPU": 0.25, "Memory": 1024},
        "LaunchType": "FARGATE"
    }"#;

    #[test]
    fn a_task_on_fargate_knows_its_image_revision_task_and_memory() {
        assert_eq!(
            parse(CONTAINER.as_bytes(), TASK.as_bytes()),
            EcsTask {
                image: Some(
                    "sha256:25f3695bedfb454a50f12d127839a68ad3caf91e451c1da073db34c542c4d2cb".to_owned()
                ),
                revision: Some("shop:17".to_owned()),
                task: Some("e9028f8d5d8e4f258373e7b93ce9a3c3".to_owned()),
                memory_limit: Some(512 << 20),
            }
        );
    }

    #[test]
    fn the_tasks_memory_counts_where_the_container_has_no_limit() {
        let container = CONTAINER.replace(r#""Memory": 512"#, r#""Memory": 0"#);
        assert_eq!(parse(container.as_bytes(), TASK.as_bytes()).memory_limit, Some(1 << 30));
    }

    #[test]
    fn an_image_by_tag_has_no_digest_and_its_id_is_none() {
        let at = CONTAINER.find("@sha256").expect("it is there");
        let container = format!(
            "{}:v1\"{}",
            &CONTAINER[..at],
            &CONTAINER[CONTAINER.find("\",\n        \"ImageID").expect("it is there") + 1..]
        );
        assert_eq!(parse(container.as_bytes(), TASK.as_bytes()).image, None);
    }

    #[test]
    fn unreadable_answers_say_nothing() {
        for answer in ["", "null", "[]", "{\"Limits\": 3}", "<html>", "{\"Image\": \"x@sha256:zz\"}"] {
            assert_eq!(parse(answer.as_bytes(), answer.as_bytes()), EcsTask::default(), "{answer}");
        }
    }

    #[test]
    fn outside_ecs_host_and_process_stand_for_the_task() {
        let identity = discover(&|_| None, &SystemClock::start());
        assert_eq!(identity.writer.release, "local");
        assert!(identity.writer.task.ends_with(&format!("/{}", std::process::id())), "{identity:?}");
        assert_eq!((identity.writer.image.as_str(), identity.memory_limit), ("", None));
    }

    #[test]
    fn a_dead_metadata_endpoint_costs_a_bounded_wait_and_nothing_else() {
        let clock = SystemClock::start();
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port();
        let env = |name: &str| match name {
            METADATA_VARIABLE => Some(format!("http://127.0.0.1:{port}/v4/x")),
            RELEASE_VARIABLE => Some("r1".to_owned()),
            _ => None,
        };
        assert_eq!(discover(&env, &clock).writer.release, "r1");
        assert!(clock.moment().0 < Duration::from_secs(5));
    }
}
