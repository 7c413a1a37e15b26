//! The adapters against AWS stand-ins that we did not write: ministack, which `tests/run` starts.
//!
//! It knows no service deployments (its list is empty) and runs no tasks without a container engine: these stand in
//! the room's own tests, against a server that answers as AWS documents it.

use std::collections::BTreeSet;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudwatch::types::{ComparisonOperator, StateValue, Statistic};
use aws_sdk_ecs::config::{Credentials, SharedCredentialsProvider};
use deployer::apply::ports::{Deploy as _, Keeper as _, Notifier as _};
use deployer::aws::{Aws, Target};
use deployer::observe::ports::{Alarms as _, CallFault, Cluster as _, Registry as _};
use deployer::release::{Digest, Moment, ReleaseId};
use deployer::report::names::Unit;
use deployer::report::{Batch, Datum};
use serde_json::{Value, json};
use uuid::Uuid;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// `None`: not tested, and said so.
fn config() -> Option<SdkConfig> {
    const VARIABLE: &str = "LANDFALL_TEST_S3_MINISTACK";
    let Some(endpoint) = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty()) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{VARIABLE} is not set");
        eprintln!("skipped: AWS's stand-in, which tests/run starts ({VARIABLE})");
        return None;
    };
    let credentials = Credentials::new("test", "test", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint);
    Some(config.build())
}

/// Names that nobody else has.
fn target() -> Target {
    let name = format!("shop-{}", Uuid::new_v4().simple());
    Target {
        cluster: format!("{name}-cluster"),
        service: format!("{name}-service"),
        family: format!("{name}-worker"),
        container: "worker".to_owned(),
        repository: name,
        ..Target::default()
    }
}

fn manifest(seed: u8) -> String {
    let blob = |kind: &str| json!({"mediaType": kind, "digest": format!("sha256:{seed:064x}"), "size": 1});
    let (config, layers) = (blob(OCI_CONFIG), json!([]));
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}).to_string()
}

struct Repository {
    client: aws_sdk_ecr::Client,
    name: String,
}

impl Repository {
    async fn put(&self, manifest: &str, kind: &str, tag: Option<&str>) -> Digest {
        let put = self.client.put_image().repository_name(&self.name).image_manifest(manifest);
        let put = put.image_manifest_media_type(kind).set_image_tag(tag.map(str::to_owned));
        let put = put.send().await.expect("the image is put");
        let id = put.image().and_then(|image| image.image_id()).expect("it has an id");
        Digest::from(id.image_digest().expect("it has a digest"))
    }
}

#[tokio::test]
async fn images_their_platforms_and_one_more_tag() {
    let Some(config) = config() else { return };
    let target = target();
    let repository =
        Repository { client: aws_sdk_ecr::Client::new(&config), name: target.repository.clone() };
    let created = repository.client.create_repository().repository_name(&repository.name).send().await;
    created.expect("the repository is made");
    let aws = Aws::new(&config, target);
    assert_eq!(aws.images().await.expect("answered"), []);

    let plain = repository.put(&manifest(1), OCI_MANIFEST, Some("v1.0.0")).await;
    let arm = repository.put(&manifest(2), OCI_MANIFEST, None).await;
    let entry = |digest: &Digest, architecture: &str, os: &str| {
        json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 1,
               "platform": {"architecture": architecture, "os": os}})
    };
    let entries = json!([entry(&arm, "arm64", "linux"), entry(&arm, "unknown", "unknown")]);
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).to_string();
    let index = repository.put(&index, OCI_INDEX, Some("v1.1.0")).await;

    let images = aws.images().await.expect("answered");
    let found = |digest: &Digest| images.iter().find(|image| image.digest == *digest).expect("it is listed");
    assert_eq!(
        (found(&plain).tags.as_slice(), &found(&plain).children),
        (&["v1.0.0".to_owned()][..], &Some(vec![]))
    );
    assert_eq!((found(&index).tags.as_slice(), &found(&index).children), (&["v1.1.0".to_owned()][..], &None));
    assert!(found(&index).pushed_at > Moment(1_700_000_000_000));

    let gone = Digest(format!("sha256:{}", "0".repeat(64)));
    let children = aws.children(&[index.clone(), gone.clone()]).await.expect("answered");
    assert_eq!(children.keys().collect::<Vec<_>>(), [&index]);
    let platforms: Vec<(&Digest, &str)> =
        children[&index].iter().map(|child| (&child.digest, child.platform.as_str())).collect();
    assert_eq!(platforms, [(&arm, "linux/arm64")]);

    for digest in [&index, &plain] {
        let tag = format!("landfall-keep-{}", &digest.short()[..4]);
        aws.keep(digest, &tag).await.expect("kept");
        aws.keep(digest, &tag).await.expect("kept again");
        let images = aws.images().await.expect("answered");
        let kept = images.iter().find(|image| image.tags.contains(&tag)).expect("the tag is there");
        assert_eq!(kept.digest, *digest, "its manifest was put as it was");
    }
    let error = aws.keep(&gone, "landfall-keep-9").await.expect_err("it is not there");
    assert_eq!(error.fault, CallFault::Refused);
}

#[tokio::test]
async fn a_service_from_its_registration_to_its_next_revision() {
    let Some(config) = config() else { return };
    let target = target();
    let ecs = aws_sdk_ecs::Client::new(&config);
    ecs.create_cluster().cluster_name(&target.cluster).send().await.expect("the cluster is made");
    let aws = Aws::new(&config, target.clone());
    assert_eq!(aws.service().await.expect("answered"), None);
    assert_eq!(aws.revisions().await.expect("answered"), []);

    let task_definition = |digit: char| -> Value {
        let digest = format!("sha256:{}", digit.to_string().repeat(64));
        json!({"family": target.family, "networkMode": "awsvpc", "cpu": "256", "memory": "512",
               "requiresCompatibilities": ["FARGATE"],
               "containerDefinitions": [{"name": "worker", "image": format!("r@{digest}"), "memory": 512,
                                         "stopTimeout": 120, "keyOfTheYear2031": true}],
               "tags": [{"key": "landfall:release", "value": digit.to_string().repeat(16)}]})
    };
    let first = aws.register(&task_definition('a')).await.expect("registered");
    let second = aws.register(&task_definition('b')).await.expect("registered");
    let revisions = aws.revisions().await.expect("answered");
    let arns: Vec<_> = revisions.iter().map(|revision| revision.arn.clone()).collect();
    assert_eq!(arns, [second.clone(), first.clone()]);
    assert_eq!(revisions[1].release, Some(ReleaseId("a".repeat(16))));
    assert_eq!(revisions[1].image, Some(Digest(format!("sha256:{}", "a".repeat(64)))));

    let network = json!({"awsvpcConfiguration": {"subnets": ["subnet-1"]}});
    aws.create(&json!({"cluster": target.cluster, "serviceName": target.service, "taskDefinition": first,
                       "desiredCount": 1, "launchType": "FARGATE", "networkConfiguration": network,
                       "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true}}}))
        .await
        .expect("created");
    let service = aws.service().await.expect("answered").expect("it is there");
    assert_eq!((&service.revision, service.desired, service.own_rollback), (&first, 1, true));

    aws.update(&json!({"cluster": target.cluster, "service": target.service, "taskDefinition": second,
                       "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": false}}}))
        .await
        .expect("updated");
    let service = aws.service().await.expect("answered").expect("it is there");
    assert_eq!((&service.revision, service.own_rollback), (&second, false));
    assert_eq!(service.rollouts.first().map(|rollout| &rollout.revision), Some(&second));
    aws.rollouts().await.expect("answered");
    aws.tasks().await.expect("answered");

    let tags = [("landfall:verdict".to_owned(), "healthy".to_owned())];
    aws.tag(&second, &tags, true).await.expect("tagged");
    ecs.deregister_task_definition().task_definition(first.as_str()).send().await.expect("deregistered");
    assert_eq!(aws.inactive(&[first.clone(), second]).await.expect("answered"), [first]);
}

#[tokio::test]
async fn alarms_metrics_and_a_notice() {
    let Some(config) = config() else { return };
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&config);
    let mut target = target();
    let name = target.repository.clone();
    for alarm in ["damage", "stall"] {
        cloudwatch
            .put_metric_alarm()
            .alarm_name(format!("{name}-{alarm}"))
            .namespace("Landfall")
            .metric_name("DeadLettered")
            .statistic(Statistic::Sum)
            .period(60)
            .evaluation_periods(1)
            .threshold(1.0)
            .comparison_operator(ComparisonOperator::GreaterThanThreshold)
            .send()
            .await
            .expect("the alarm is made");
    }
    let both = format!("{name}-both");
    let rule = format!("ALARM(\"{name}-damage\")");
    let composite = cloudwatch.put_composite_alarm().alarm_name(&both).alarm_rule(rule).send().await;
    composite.expect("the composite alarm is made");
    let set =
        cloudwatch.set_alarm_state().alarm_name(format!("{name}-damage")).state_value(StateValue::Alarm);
    set.state_reason("a test").send().await.expect("it is set");

    let sns = aws_sdk_sns::Client::new(&config);
    let topic = sns.create_topic().name(&name).send().await.expect("the topic is made");
    target.topic = topic.topic_arn().map(str::to_owned);
    let aws = Aws::new(&config, target);
    let names = ["damage", "stall", "both", "none"].map(|alarm| format!("{name}-{alarm}"));
    let alarms = aws.alarms(&names).await.expect("answered");
    let told: BTreeSet<&str> = alarms.iter().map(|alarm| alarm.name.as_str()).collect();
    assert_eq!(told, names[..3].iter().map(String::as_str).collect());
    let damage = alarms.iter().find(|alarm| alarm.name == names[0]).expect("it is told");
    assert!(damage.in_alarm && damage.since > Moment(1_700_000_000_000));
    let stall = alarms.iter().find(|alarm| alarm.name == names[1]).expect("it is told");
    assert!(!stall.in_alarm);

    let (pipeline, at) = (name.clone(), Moment(damage.since.0));
    let rollbacks = Datum { name: "Rollbacks", reason: None, unit: Unit::Count, values: vec![1.0] };
    aws.put_metrics("Landfall/Test", &Batch { pipeline, at, data: vec![rollbacks] }).await.expect("taken");
    let listed = cloudwatch.list_metrics().namespace("Landfall/Test").metric_name("Rollbacks").send().await;
    let listed = listed.expect("answered");
    let ours = listed.metrics().iter().filter(|metric| {
        metric.dimensions().iter().any(|dimension| dimension.value() == Some(name.as_str()))
    });
    assert_eq!(ours.count(), 1);
    aws.notify("shop: v1 → v2, rolled back", "what happened").await.expect("published");
}
