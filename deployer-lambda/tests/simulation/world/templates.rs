//! Templates: a small worker and its service, in two builds that differ in memory: two releases of each image.

use std::cell::RefCell;
use std::collections::BTreeMap;

use deployer::release::{Digest, ReleaseId};
use deployer::render::{Rendered, Templates, render};
use serde_json::json;

pub const ALARMS: [&str; 2] = ["damage", "no-progress"];

pub fn templates(build: usize) -> Templates {
    let memory = 512 * (build + 1);
    Templates {
        task_definition: json!({
            "family": "shop-worker", "cpu": "256", "memory": memory.to_string(),
            "runtimePlatform": { "cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX" },
            "containerDefinitions": [{
                "name": "worker", "image": "${IMAGE}", "memory": memory, "stopTimeout": 120,
                "healthCheck": {
                    "command": ["CMD", "worker", "health"], "interval": 10, "retries": 3, "startPeriod": 30,
                    "timeout": 5,
                },
            }],
        }),
        service: json!({
            "cluster": "default", "serviceName": "shop", "desiredCount": 1, "launchType": "FARGATE",
            "deploymentConfiguration": {
                "minimumHealthyPercent": 100, "maximumPercent": 200, "bakeTimeInMinutes": 1,
                "deploymentCircuitBreaker": {
                    "enable": true, "rollback": true, "resetOnHealthyTask": false,
                    "thresholdConfiguration": { "type": "COUNT", "value": 2 },
                },
                "alarms": { "enable": true, "rollback": true, "alarmNames": ALARMS },
            },
        }),
        fills: BTreeMap::new(),
        repository_uri: "111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop".to_owned(),
    }
}

pub fn rendered(build: usize, digest: &Digest) -> Rendered {
    render(&templates(build), digest).expect("the templates have a worker")
}

thread_local! {
    static RELEASES: RefCell<BTreeMap<(usize, Digest), ReleaseId>> = const { RefCell::new(BTreeMap::new()) };
}

/// Rendering is dear, and its answer never changes.
pub fn release_of(build: usize, digest: &Digest) -> ReleaseId {
    RELEASES.with_borrow_mut(|known| {
        let key = (build, digest.clone());
        known.entry(key).or_insert_with(|| rendered(build, digest).release).clone()
    })
}
