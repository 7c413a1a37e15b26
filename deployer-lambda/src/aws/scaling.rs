//! Scaling: the service's number of tasks follows its lag, by Application Auto Scaling.
//!
//! Order: the target, then its policy; a target that goes takes its policy and that one's alarms along. Each call twice
//! equals once.
//! Source: Application Auto Scaling API Reference; "Target tracking scaling policies" of its user guide.
//! Neighbours: aws.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::ecs::cluster_name;
use super::error::code_of;
use super::plain::Service;
use super::{Aws, Call, Target};
use crate::apply::ports::Scaler;
use crate::journal::Scaling;
use crate::observe::ports::CallError;

const SERVICE: Service = Service { id: "Application Auto Scaling", target: "AnyScaleFrontendService" };
const POLICY: &str = "landfall-lag";
/// A new task takes its partitions and reads what was left, before the next one is thought of.
const SCALE_OUT_COOLDOWN_SECONDS: u32 = 180;
/// Each change moves partitions between tasks: fewer of them, and only after a quiet while.
const SCALE_IN_COOLDOWN_SECONDS: u32 = 900;

#[async_trait]
impl Scaler for Aws {
    async fn scale(&self, wanted: Option<Scaling>) -> Result<(), CallError> {
        match wanted {
            Some(scaling) => self.register_target(scaling).await,
            None => self.deregister_target().await,
        }
    }
}

impl Aws {
    async fn register_target(&self, scaling: Scaling) -> Result<(), CallError> {
        let target = &self.target;
        let mut asked = self.scalable();
        asked["MinCapacity"] = 1.into();
        asked["MaxCapacity"] = scaling.tasks_max.into();
        let (name, region) = (target.service.as_str(), self.own_region(Call::RegisterScalableTarget)?);
        self.plain.json(Call::RegisterScalableTarget, SERVICE, region, name, &asked).await?;
        let mut asked = self.scalable();
        asked["PolicyName"] = POLICY.into();
        asked["PolicyType"] = "TargetTrackingScaling".into();
        asked["TargetTrackingScalingPolicyConfiguration"] = json!({
            "TargetValue": f64::from(scaling.lag_seconds),
            "CustomizedMetricSpecification": {
                "Namespace": target.metrics_namespace,
                "MetricName": "LagSeconds",
                "Dimensions": [{ "Name": "Pipeline", "Value": target.pipeline }],
                "Statistic": "Maximum",
                "Unit": "Seconds",
            },
            "ScaleOutCooldown": SCALE_OUT_COOLDOWN_SECONDS,
            "ScaleInCooldown": SCALE_IN_COOLDOWN_SECONDS,
        });
        self.plain.json(Call::PutScalingPolicy, SERVICE, region, name, &asked).await.map(drop)
    }

    async fn deregister_target(&self) -> Result<(), CallError> {
        let (name, region) = (self.target.service.as_str(), self.own_region(Call::DeregisterScalableTarget)?);
        let asked = self.scalable();
        match self.plain.json(Call::DeregisterScalableTarget, SERVICE, region, name, &asked).await {
            Err(error) if code_of(&error) == Some("ObjectNotFoundException") => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn scalable(&self) -> Value {
        let Target { cluster, service, .. } = &self.target;
        json!({
            "ServiceNamespace": "ecs",
            "ResourceId": format!("service/{}/{service}", cluster_name(cluster)),
            "ScalableDimension": "ecs:service:DesiredCount",
        })
    }
}
