//! Application Auto Scaling: what is sent, and what counts as done.

use super::*;
use crate::apply::ports::Scaler as _;
use crate::journal::Scaling;

#[tokio::test]
async fn a_target_and_a_policy_over_the_workers_own_metric_are_registered() {
    let server = Server::start(|_| Answer::json(&json!({}))).await;
    aws(&server).scale(Some(Scaling { tasks_max: 4, lag_seconds: 300 })).await.unwrap();
    let requests = server.requests();
    let service = json!({
        "ServiceNamespace": "ecs", "ResourceId": "service/main/shop", "ScalableDimension": "ecs:service:DesiredCount",
    });
    let mut target = service.clone();
    target["MinCapacity"] = json!(1);
    target["MaxCapacity"] = json!(4);
    assert_eq!(requests[0].header("x-amz-target"), "AnyScaleFrontendService.RegisterScalableTarget");
    assert_eq!(requests[0].json(), target);
    assert_eq!(
        sigv4::signature_in(&requests[0]),
        sigv4::signature_of(&requests[0], "application-autoscaling")
    );
    let mut policy = service;
    policy["PolicyName"] = json!("landfall-lag");
    policy["PolicyType"] = json!("TargetTrackingScaling");
    policy["TargetTrackingScalingPolicyConfiguration"] = json!({
        "TargetValue": 300.0,
        "CustomizedMetricSpecification": {
            "Namespace": "Landfall", "MetricName": "LagSeconds", "Statistic": "Maximum", "Unit": "Seconds",
            "Dimensions": [{"Name": "Pipeline", "Value": "shop"}],
        },
        "ScaleOutCooldown": 180,
        "ScaleInCooldown": 900,
    });
    assert_eq!(requests[1].header("x-amz-target"), "AnyScaleFrontendService.PutScalingPolicy");
    assert_eq!((requests[1].json(), requests.len()), (policy, 2));
}

#[tokio::test]
async fn a_target_that_is_not_there_is_deregistered_and_a_missing_permission_is_told() {
    for (code, expected) in [
        ("ObjectNotFoundException", None),
        ("AccessDeniedException", Some("allow `application-autoscaling:DeregisterScalableTarget`")),
    ] {
        let server = Server::start(move |_| Answer::error(400, code, "no")).await;
        let done = aws(&server).scale(None).await;
        match expected {
            None => done.unwrap(),
            Some(advice) => {
                let told = done.unwrap_err().chain();
                assert!(told.contains(advice), "{told}");
            }
        }
    }
}
