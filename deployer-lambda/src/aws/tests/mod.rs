//! Against a server of the test's own on 127.0.0.1: what is sent, to the byte, and what answers are taken for.

mod cbor;
mod glue;
mod needs;
mod scaling;
mod server;
mod sigv4;

use std::collections::BTreeSet;
use std::sync::Arc;

use ledger::store::faulty::Faulty;
use ledger::store::memory::MemoryStore;
use ledger::store::{Operation, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use self::server::{Answer, Server};
use super::*;
use crate::apply::ports::{Answerer as _, Deploy as _, Keeper as _, Notifier as _};
use crate::journal::store::JournalObject;
use crate::journal::{FORMAT, Journal};
use crate::observe::facts::{Child, RolloutState, Scan, TaskState};
use crate::observe::ports::{Alarms as _, Cluster as _, JournalStore as _, Registry as _};
use crate::observe::{self, Look};
use crate::policy::Severity;
use crate::release::{Digest, Moment, RevisionArn};
use crate::report::names::Unit;
use crate::report::{Batch, Datum};

fn aws(server: &Server) -> Aws {
    let credentials = aws_sdk_ecs::config::Credentials::new(sigv4::KEY_ID, sigv4::SECRET, None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(aws_config::Region::new(sigv4::REGION))
        .credentials_provider(aws_sdk_ecs::config::SharedCredentialsProvider::new(credentials))
        .endpoint_url(server.url())
        .build();
    let target = Target {
        cluster: "main".to_owned(),
        service: "shop".to_owned(),
        family: "shop-worker".to_owned(),
        container: "worker".to_owned(),
        repository: "shop".to_owned(),
        pipeline: "shop".to_owned(),
        metrics_namespace: "Landfall".to_owned(),
        topic: Some("arn:aws:sns:eu-west-1:123456789012:pages".to_owned()),
    };
    Aws::new(&config, target)
}

/// A body with what a typed SDK would drop, reorder or write otherwise.
fn body() -> Value {
    serde_json::from_str(
        r#"{"zeta": 1, "family": "shop-worker", "keyOfTheYear2031": {"deep": [1.50, null, "ä→ \"x\""]},
            "containerDefinitions": [{"name": "worker", "memory": 512, "alsoNew": true}], "tags": []}"#,
    )
    .unwrap()
}

#[tokio::test]
async fn rendered_bodies_are_sent_byte_for_byte_and_signed() {
    let arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-worker:7";
    let server = Server::start(move |request| match request.operation() {
        "RegisterTaskDefinition" => Answer::json(&json!({"taskDefinition": {"taskDefinitionArn": arn}})),
        _ => Answer::json(&json!({"service": {"status": "ACTIVE"}})),
    })
    .await;
    let aws = aws(&server);
    assert_eq!(aws.register(&body()).await.unwrap(), RevisionArn::from(arn));
    aws.create(&body()).await.unwrap();
    aws.update(&body()).await.unwrap();
    let requests = server.requests();
    let targets: Vec<&str> = requests.iter().map(|request| request.header("x-amz-target")).collect();
    assert_eq!(
        targets,
        [
            "AmazonEC2ContainerServiceV20141113.RegisterTaskDefinition",
            "AmazonEC2ContainerServiceV20141113.CreateService",
            "AmazonEC2ContainerServiceV20141113.UpdateService"
        ]
    );
    for request in &requests {
        assert_eq!(request.body, body().to_string().as_bytes());
        assert_eq!(request.header("content-length"), body().to_string().len().to_string());
        assert_eq!(request.header("content-type"), "application/x-amz-json-1.1");
        assert_eq!(sigv4::signature_in(request), sigv4::signature_of(request, "ecs"));
    }
    // The check can fail: another body has another signature.
    let mut forged = requests[0].clone();
    forged.body.push(b' ');
    assert_ne!(sigv4::signature_in(&forged), sigv4::signature_of(&forged, "ecs"));
}

#[tokio::test]
async fn a_change_is_sent_again_only_while_nothing_happened() {
    let crowded = "Too many concurrent attempts to create a new revision of the specified family.";
    let server = Server::start(move |request| match request.nth {
        1 => Answer::error(400, "ClientException", crowded),
        2 => Answer::error(400, "ThrottlingException", "Rate exceeded"),
        _ => Answer::json(&json!({"taskDefinition": {"taskDefinitionArn": "arn:x:1"}})),
    })
    .await;
    aws(&server).register(&body()).await.unwrap();
    assert_eq!(server.requests().len(), 3);

    let server = Server::start(move |_| Answer::error(400, "ClientException", crowded)).await;
    let error = aws(&server).register(&body()).await.unwrap_err();
    assert_eq!((error.fault, server.requests().len()), (CallFault::Throttled, 3));

    for answer in [Answer::error(500, "ServerException", "oops"), Answer::error(503, "", ""), Answer::HangUp]
    {
        let server = Server::start(move |_| answer.clone()).await;
        for sent in [1, 2] {
            let error = aws(&server).update(&body()).await.unwrap_err();
            assert_eq!(
                (error.fault, server.requests().len()),
                (CallFault::Unknown, sent),
                "{}",
                error.chain()
            );
        }
    }
}

#[tokio::test]
async fn reads_are_tried_again() {
    let server = Server::start(|request| match request.nth {
        1 | 2 => Answer::error(500, "ServerException", "oops"),
        _ => Answer::json(&json!({"services": [], "failures": []})),
    })
    .await;
    assert_eq!(aws(&server).service().await.unwrap(), None);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_missing_permission_names_the_action_to_allow() {
    let said = "User: x is not authorized to perform: iam:PassRole on resource: y";
    let server = Server::start(move |request| match request.operation() {
        "UpdateService" => Answer::error(400, "AccessDeniedException", said),
        _ => Answer::error(400, "AccessDeniedException", "no"),
    })
    .await;
    let aws = aws(&server);
    let error = aws.update(&body()).await.unwrap_err();
    assert_eq!(error.fault, CallFault::Denied);
    assert_eq!(error.what, "update service `shop`");
    assert!(
        error.chain().contains("allow `iam:PassRole` in the policy of the deployer's role"),
        "{}",
        error.chain()
    );
    let error = aws.images().await.unwrap_err();
    assert_eq!(error.fault, CallFault::Denied);
    assert!(error.chain().contains("allow `ecr:DescribeImages`"), "{}", error.chain());
}

#[tokio::test]
async fn nobody_listening_is_unknown() {
    let server = Server::start(|_| Answer::HangUp).await;
    let aws = aws(&server);
    server.stop();
    let error = aws.update(&body()).await.unwrap_err();
    assert_eq!(error.fault, CallFault::Unknown);
    assert!(error.chain().contains("check the network"), "{}", error.chain());
}

#[tokio::test]
async fn a_server_that_never_answers_is_unknown_within_the_limit_of_a_try() {
    let server = Server::start(|_| Answer::Silence).await;
    let aws = aws(&server);
    let limit = ATTEMPT + Duration::from_secs(5);
    let error = tokio::time::timeout(limit, aws.update(&body())).await.unwrap().unwrap_err();
    assert_eq!((error.fault, server.requests().len()), (CallFault::Unknown, 1));
    assert!(error.chain().contains("no answer in time"), "{}", error.chain());
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_a_person_must_act() {
    let server = Server::start(|_| Answer::HangUp).await;
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(aws_config::Region::new(sigv4::REGION))
        .credentials_provider(aws_sdk_ecs::config::SharedCredentialsProvider::new(NoCredentials))
        .endpoint_url(server.url())
        .build();
    let error = Aws::new(&config, aws(&server).target).service().await.unwrap_err();
    assert_eq!((error.fault, server.requests().len()), (CallFault::Denied, 0), "{}", error.chain());
    assert!(error.chain().contains("give the function a role"), "{}", error.chain());
}

#[derive(Debug)]
struct NoCredentials;

impl aws_sdk_ecs::config::ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        use aws_credential_types::provider::error::CredentialsError;
        let none = Err(CredentialsError::not_loaded("nothing is set"));
        aws_credential_types::provider::future::ProvideCredentials::ready(none)
    }
}

#[tokio::test]
async fn a_service_is_read_and_one_that_is_missing_or_inactive_is_none() {
    for none in [
        json!({"services": [], "failures": [{"arn": "a", "reason": "MISSING"}]}),
        json!({"services": [{"status": "INACTIVE", "taskDefinition": "x:1"}], "failures": []}),
    ] {
        let server = Server::start(move |_| Answer::json(&none)).await;
        assert_eq!(aws(&server).service().await.unwrap(), None);
    }
    let found = json!({"services": [{
        "status": "ACTIVE", "taskDefinition": "arn:x:7", "desiredCount": 2, "runningCount": 1,
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true}},
        "deployments": [{"id": "ecs-svc/1", "status": "PRIMARY", "taskDefinition": "arn:x:7", "failedTasks": 1,
                         "rolloutState": "IN_PROGRESS", "rolloutStateReason": "r", "createdAt": 1.5}]}]});
    let server = Server::start(move |_| Answer::json(&found)).await;
    let service = aws(&server).service().await.unwrap().unwrap();
    assert_eq!((service.desired, service.running, service.own_rollback), (2, 1, true));
    let rollout = &service.rollouts[0];
    assert_eq!((rollout.created_at, rollout.failed_tasks, rollout.reason.as_str()), (Moment(1_500), 1, "r"));
    assert_eq!(server.json(0), json!({"cluster": "main", "services": ["shop"]}));
    let other = json!({"services": [], "failures": [{"arn": "a", "reason": "SOMETHING"}]});
    let server = Server::start(move |_| Answer::json(&other)).await;
    assert_eq!(aws(&server).service().await.unwrap_err().fault, CallFault::Unknown);
}

#[tokio::test]
async fn deployments_are_told_by_their_target_revision_newest_first() {
    let server = Server::start(|request| {
        Answer::json(&match request.operation() {
            "ListServiceDeployments" if !request.text().contains("nextToken") => json!({
                "serviceDeployments": [{"serviceDeploymentArn": "d1", "createdAt": 10.0}], "nextToken": "more"}),
            "ListServiceDeployments" => json!({
                "serviceDeployments": [{"serviceDeploymentArn": "d2", "createdAt": 20.0}]}),
            "DescribeServiceDeployments" => json!({"serviceDeployments": [
                {"serviceDeploymentArn": "d1", "createdAt": 10.0, "status": "SUCCESSFUL",
                 "targetServiceRevision": {"arn": "sr1"}},
                {"serviceDeploymentArn": "d2", "createdAt": 20.0, "status": "ROLLBACK_IN_PROGRESS",
                 "targetServiceRevision": {"arn": "sr2"}, "rollback": {"reason": "breaker", "serviceRevisionArn": "sr1"},
                 "deploymentCircuitBreaker": {"status": "TRIGGERED", "failureCount": 2, "threshold": 2}}]}),
            "DescribeServiceRevisions" => json!({"serviceRevisions": [
                {"serviceRevisionArn": "sr1", "taskDefinition": "arn:x:1"},
                {"serviceRevisionArn": "sr2", "taskDefinition": "arn:x:2"}]}),
            other => panic!("{other}"),
        })
    })
    .await;
    let rollouts = aws(&server).rollouts().await.unwrap();
    let told: Vec<(&str, &str, RolloutState, u32)> = rollouts
        .iter()
        .map(|rollout| (rollout.id.as_str(), rollout.revision.as_str(), rollout.state, rollout.failed_tasks))
        .collect();
    let expected =
        [("d2", "arn:x:2", RolloutState::RollingBack, 2), ("d1", "arn:x:1", RolloutState::Successful, 0)];
    assert_eq!(told, expected);
    assert_eq!(server.json(2), json!({"serviceDeploymentArns": ["d2", "d1"]}));
    let server = Server::start(|_| Answer::json(&json!({"serviceDeployments": []}))).await;
    assert_eq!(aws(&server).rollouts().await.unwrap(), []);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn tasks_are_described_a_hundred_at_a_time() {
    let server = Server::start(|request| {
        let arns = |from: usize, to: usize| (from..to).map(|n| format!("t/{n:03}")).collect::<Vec<_>>();
        let asked = request.json();
        Answer::json(&match (
            request.operation(),
            asked["desiredStatus"].as_str(),
            asked["nextToken"].as_str(),
        ) {
            ("ListTasks", Some("RUNNING"), None) => json!({"taskArns": arns(0, 100), "nextToken": "more"}),
            ("ListTasks", Some("RUNNING"), Some(_)) => json!({"taskArns": arns(100, 140)}),
            // One stopped in between.
            ("ListTasks", Some("STOPPED"), None) => json!({"taskArns": arns(139, 150)}),
            ("DescribeTasks", _, _) => {
                let asked = asked["tasks"].as_array().unwrap();
                assert!(asked.len() <= 100);
                let tasks: Vec<Value> =
                    asked.iter().map(|arn| json!({"taskArn": arn, "lastStatus": "RUNNING"})).collect();
                json!({"tasks": tasks, "failures": []})
            }
            other => panic!("{other:?}"),
        })
    })
    .await;
    let tasks = aws(&server).tasks().await.unwrap();
    let ids: BTreeSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!((tasks.len(), ids.len()), (150, 150));
    assert!(tasks.iter().all(|task| task.state == TaskState::Running));
}

#[tokio::test]
async fn revisions_tell_their_release_and_their_image() {
    let server = Server::start(|request| {
        Answer::json(&match request.operation() {
            "ListTaskDefinitions" => json!({"taskDefinitionArns": ["a:2", "a:1"]}),
            _ if request.text().contains("a:2") => json!({
                "taskDefinition": {"taskDefinitionArn": "a:2", "status": "ACTIVE",
                    "containerDefinitions": [{"name": "log", "image": "l"}, {"name": "worker", "image": "r@sha256:bb"}]},
                "tags": [{"key": "landfall:release", "value": "0123456789abcdef"}]}),
            _ => json!({"taskDefinition": {"taskDefinitionArn": "a:1", "status": "INACTIVE"}}),
        })
    })
    .await;
    let aws = aws(&server);
    let revisions = aws.revisions().await.unwrap();
    assert_eq!(revisions[0].release.as_ref().map(|release| release.as_str()), Some("0123456789abcdef"));
    assert_eq!(revisions[0].image, Some(Digest::from("sha256:bb")));
    assert_eq!((revisions[1].arn.as_str(), &revisions[1].release), ("a:1", &None));
    let both = [RevisionArn::from("a:2"), RevisionArn::from("a:1")];
    assert_eq!(aws.inactive(&both).await.unwrap(), [RevisionArn::from("a:1")]);
    let server =
        Server::start(|_| Answer::error(400, "ClientException", "Unable to describe task definition.")).await;
    assert_eq!(self::aws(&server).inactive(&both).await.unwrap(), both);
}

#[tokio::test]
async fn the_consoles_tags_go_to_the_revision_and_to_the_service_that_runs_it() {
    let server = Server::start(|_| Answer::json(&json!({}))).await;
    let revision = RevisionArn::from("arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-worker:7");
    let tags = [("landfall:verdict".to_owned(), "healthy".to_owned())];
    aws(&server).tag(&revision, &tags, true).await.unwrap();
    assert_eq!(server.json(0)["resourceArn"], revision.as_str());
    assert_eq!(server.json(1)["resourceArn"], "arn:aws:ecs:eu-west-1:123456789012:service/main/shop");
    assert_eq!(server.json(1)["tags"], json!([{"key": "landfall:verdict", "value": "healthy"}]));
    aws(&server).tag(&revision, &tags, false).await.unwrap();
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn images_are_read_page_by_page_and_indexes_by_their_manifest() {
    let manifest =
        r#"{"manifests": [{"digest": "sha256:c1", "platform": {"os": "linux", "architecture": "arm64"}}]}"#;
    let server = Server::start(move |request| {
        let index = "application/vnd.oci.image.index.v1+json";
        Answer::json(&match request.operation() {
            "DescribeImages" if request.json()["nextToken"].is_null() => json!({
                "imageDetails": [{"imageDigest": "sha256:i1", "imageTags": ["v1"], "imagePushedAt": 3.0,
                                  "imageManifestMediaType": index}], "nextToken": "more"}),
            "DescribeImages" => json!({"imageDetails": [{"imageDigest": "sha256:m2"}]}),
            "BatchGetImage" => json!({
                "images": [{"imageId": {"imageDigest": "sha256:i1"}, "imageManifest": manifest,
                            "imageManifestMediaType": index}],
                "failures": [{"imageId": {"imageDigest": "sha256:i9"}, "failureCode": "ImageNotFound"}]}),
            other => panic!("{other}"),
        })
    })
    .await;
    let aws = aws(&server);
    let images = aws.images().await.unwrap();
    assert_eq!(images.len(), 2);
    assert_eq!((images[0].pushed_at, &images[0].children), (Moment(3_000), &None));
    assert_eq!(server.json(0)["maxResults"], 1000);
    let children = aws.children(&["sha256:i1".into(), "sha256:i9".into()]).await.unwrap();
    let child = Child { digest: "sha256:c1".into(), platform: "linux/arm64".to_owned() };
    assert_eq!(children.into_iter().collect::<Vec<_>>(), [("sha256:i1".into(), vec![child])]);
}

#[tokio::test]
async fn a_scan_that_was_never_begun_is_pending() {
    let server = Server::start(|request| {
        if request.text().contains("sha256:aa") {
            return Answer::error(400, "ScanNotFoundException", "none");
        }
        Answer::json(&json!({"imageScanStatus": {"status": "COMPLETE"},
                             "imageScanFindings": {"findingSeverityCounts": {"HIGH": 2}}}))
    })
    .await;
    let scans = aws(&server).scans(&["sha256:aa".into(), "sha256:bb".into()]).await.unwrap();
    assert_eq!(scans[&Digest::from("sha256:aa")], Scan::Pending);
    assert_eq!(scans[&Digest::from("sha256:bb")], Scan::Done(Some(Severity::High)));
}

/// Keeps `sha256:aa` where the tag names `holder` already; none: it is free.
async fn keeping(code: &'static str, holder: &'static str) -> (Result<(), CallError>, Vec<Value>) {
    let server = Server::start(move |request| match request.operation() {
        "BatchGetImage" => {
            let by_tag = request.text().contains("imageTag");
            let digest = if by_tag { holder } else { "sha256:aa" };
            Answer::json(&json!({"images": [{"imageId": {"imageDigest": digest}, "imageManifest": "{ \"a\":1}",
                "imageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json"}], "failures": []}))
        }
        _ if code.is_empty() => Answer::json(&json!({"image": {}})),
        _ => Answer::error(400, code, "already"),
    })
    .await;
    let kept = aws(&server).keep(&"sha256:aa".into(), "landfall-keep-1").await;
    (kept, (0..server.requests().len()).map(|nth| server.json(nth)).collect())
}

#[tokio::test]
async fn an_image_is_kept_by_putting_its_very_manifest_again() {
    let (kept, sent) = keeping("", "").await;
    kept.unwrap();
    assert_eq!(sent[1]["imageManifest"], "{ \"a\":1}");
    assert_eq!(sent[1]["imageManifestMediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(
        (&sent[1]["imageTag"], &sent[1]["imageDigest"]),
        (&json!("landfall-keep-1"), &json!("sha256:aa"))
    );
    keeping("ImageAlreadyExistsException", "").await.0.unwrap();
    keeping("ImageTagAlreadyExistsException", "sha256:aa").await.0.unwrap();
    let (kept, _) = keeping("ImageTagAlreadyExistsException", "sha256:bb").await;
    assert_eq!(kept.unwrap_err().fault, CallFault::Refused);
}

#[tokio::test]
async fn an_image_that_is_gone_cannot_be_kept() {
    let gone = json!({"images": [], "failures": [{"imageId": {"imageDigest": "sha256:aa"},
                      "failureCode": "ImageNotFound"}]});
    let server = Server::start(move |_| Answer::json(&gone)).await;
    let error = aws(&server).keep(&"sha256:aa".into(), "landfall-keep-1").await.unwrap_err();
    assert_eq!(error.fault, CallFault::Refused);
    assert!(error.chain().contains("not in the repository any more"), "{}", error.chain());
}

#[tokio::test]
async fn alarms_of_both_kinds_are_read() {
    let server = Server::start(|_| {
        Answer::cbor(&json!({
            "MetricAlarms": [{"AlarmName": "damage", "StateValue": "ALARM"},
                             {"AlarmName": "quiet", "StateValue": "INSUFFICIENT_DATA"}],
            "CompositeAlarms": [{"AlarmName": "both", "StateValue": "OK"}]}))
    })
    .await;
    let names = ["damage".to_owned(), "quiet".to_owned(), "both".to_owned()];
    let alarms = aws(&server).alarms(&names).await.unwrap();
    let told: Vec<(&str, bool)> = alarms.iter().map(|alarm| (alarm.name.as_str(), alarm.in_alarm)).collect();
    assert_eq!(told, [("damage", true), ("quiet", false), ("both", false)]);
    let sent = &server.requests()[0];
    assert!(sent.path.ends_with("/operation/DescribeAlarms"), "{}", sent.path);
    assert!(sent.text().contains("CompositeAlarm") && sent.text().contains("MetricAlarm"));
    assert_eq!(self::aws(&server).alarms(&[]).await.unwrap(), []);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn metrics_are_sent_once_even_when_nobody_answers() {
    let rollbacks = Datum { name: "Rollbacks", reason: Some("crash"), unit: Unit::Count, values: vec![1.0] };
    let (pipeline, at) = ("shop".to_owned(), Moment(1_700_000_000_000));
    let batch = Batch { pipeline, at, data: vec![rollbacks] };
    let server = Server::start(|_| Answer::cbor(&json!({}))).await;
    aws(&server).put_metrics("Landfall", &batch).await.unwrap();
    let sent = &server.requests()[0];
    assert!(sent.path.ends_with("/operation/PutMetricData"), "{}", sent.path);
    for part in ["Landfall", "Rollbacks", "Pipeline", "shop", "Reason", "crash", "Count"] {
        assert!(sent.text().contains(part), "{part}");
    }
    let server = Server::start(|_| Answer::HangUp).await;
    let error = aws(&server).put_metrics("Landfall", &batch).await.unwrap_err();
    assert_eq!((error.fault, server.requests().len()), (CallFault::Unknown, 1));
}

#[tokio::test]
async fn notices_are_published_in_a_form_that_sns_takes() {
    let answer = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
                  <MessageId>1</MessageId></PublishResult></PublishResponse>";
    let server = Server::start(move |_| Answer::Text(200, "text/xml", answer.to_owned())).await;
    aws(&server).notify("shop: v1 → v2", "what happened").await.unwrap();
    let sent = server.requests()[0].text();
    assert!(sent.contains("Action=Publish") && sent.contains("Subject=shop%3A%20v1%20%3E%20v2"), "{sent}");
    let mut quiet = aws(&server);
    quiet.target.topic = None;
    quiet.notify("shop", "what happened").await.unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_idle_look_at_a_thousand_images_costs_six_calls() {
    let server = Server::start(|request| {
        if request.path.ends_with("/operation/DescribeAlarms") {
            return Answer::cbor(&json!({"MetricAlarms": [], "CompositeAlarms": []}));
        }
        let images: Vec<Value> = (0..1000)
            .map(|n| {
                json!({"imageDigest": format!("sha256:{n}"), "imageTags": [format!("v1.0.{n}")],
                            "imagePushedAt": f64::from(n)})
            })
            .collect();
        Answer::json(&match request.operation() {
            "DescribeImages" => json!({"imageDetails": images}),
            "DescribeServices" => json!({"services": [{"status": "ACTIVE", "taskDefinition": "x:1"}]}),
            other => panic!("{other}"),
        })
    })
    .await;
    let store = Faulty::new(Arc::new(MemoryStore::new()));
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let journals = JournalObject::new(shared.clone());
    journals.write(&Journal { format: FORMAT, revision: 1, ..Journal::default() }, None).await.unwrap();
    let fence = LedgerFence::new(shared, || signature(Moment(0), Uuid::new_v4()));
    crate::apply::ports::Fence::reject(&fence, "sha256:7", "bad").await.unwrap();
    let asked =
        || [Operation::Get, Operation::List].map(|operation| store.calls_of(operation)).iter().sum::<u64>();
    let (before, aws) = (asked(), aws(&server));
    let (journal, _) = journals.read().await.unwrap().unwrap();
    let world = observe::World { registry: &aws, cluster: &aws, alarms: &aws, rejections: &fence };
    let admits =
        |images: &[crate::observe::facts::Image]| images.iter().rev().map(|i| i.digest.clone()).collect();
    let look = Look {
        journal: Some(&journal),
        admits: &admits,
        alarm_names: &["damage".to_owned()],
        platform: "linux/arm64",
        scans: false,
        details: false,
    };
    let observed = observe::observe(&world, &look).await;
    assert_eq!(observed.images.known().unwrap().len(), 1000);
    assert_eq!(observed.rejected.known().unwrap().len(), 1);
    assert!(observed.service.known().unwrap().is_some());
    let calls = server.requests().len() as u64 + asked() - before;
    assert_eq!(calls, 6);
}

#[tokio::test]
async fn cloudformation_is_told_by_a_put_to_its_own_url_and_again_where_that_fails() {
    let server = Server::start(|request| match request.nth {
        1 => Answer::Text(503, "text/plain", "slow down".to_owned()),
        _ => Answer::Text(200, "text/plain", String::new()),
    })
    .await;
    let url = format!("{}/arn%3Aaws%3Acloudformation/x?X-Amz-Signature=3f1d%2B", server.url());
    Presigned.answer(&url, &json!({"Status": "SUCCESS"})).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let told = &requests[1];
    assert_eq!((told.method.as_str(), told.json()), ("PUT", json!({"Status": "SUCCESS"})));
    assert_eq!(told.path, "/arn%3Aaws%3Acloudformation/x?X-Amz-Signature=3f1d%2B");
    // The URL is signed for a request without a content type.
    assert_eq!(told.header("content-type"), "");
}

#[tokio::test]
async fn an_address_that_takes_no_answer_is_told_with_what_it_says() {
    let server = Server::start(|_| Answer::Text(403, "text/plain", "Request has expired".to_owned())).await;
    let error = Presigned.answer(&format!("{}/x?y", server.url()), &json!({})).await.unwrap_err();
    assert!(error.chain().contains("403: Request has expired"), "{}", error.chain());
    assert_eq!(server.requests().len(), 1, "a refusal is not asked again");
}
