//! Aws: keeps the ports of observe and apply with the SDKs, one file a service, one function a call; what is asked
//! seldom goes without an SDK (plain).
//!
//! Order: a call that changes something is sent once, and again only where nothing happened (throttled); a refusal is
//! believed only from the only try. Reads are sent up to three times.
//! Neighbours: the ports of observe and apply, the metrics of report. The only room that knows the SDKs; it decides nothing.

mod answer;
mod body;
mod calls;
mod cloudwatch;
mod ecr;
mod ecs;
mod error;
mod fence;
mod glue;
mod needs;
mod plain;
mod rollouts;
mod scaling;
mod sns;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

pub use answer::Presigned;
pub use calls::{ACTIONS, Call};
pub use error::AwsError;
pub use fence::{LedgerFence, signature};
pub use glue::GlueTable;

use crate::observe::ports::{CallError, CallFault};

/// Tries of one read, the first included; and of one change, as long as nothing happened.
const TRIES_MAX: u32 = 3;
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(2);
const ATTEMPT: Duration = Duration::from_secs(5);
/// A call with all its tries. A Lambda that waits longer would rather look again.
const OPERATION: Duration = Duration::from_secs(15);

/// What in AWS this deployer is for: one service, and what belongs to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Target {
    /// Name or ARN.
    pub cluster: String,
    /// The service's name.
    pub service: String,
    /// Of the task definition.
    pub family: String,
    /// The worker's container in the task definition.
    pub container: String,
    /// The repository's name in this account and region.
    pub repository: String,
    /// The metrics' dimension.
    pub pipeline: String,
    /// The worker's, in CloudWatch.
    pub metrics_namespace: String,
    /// The SNS topic's ARN; none: notices are only logged.
    pub topic: Option<String>,
}

/// The SDKs, for one target. Clones share connections.
#[derive(Clone, Debug)]
pub struct Aws {
    ecs: aws_sdk_ecs::Client,
    ecr: aws_sdk_ecr::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
    sns: aws_sdk_sns::Client,
    plain: plain::Plain,
    target: Target,
}

impl Aws {
    /// Sends nothing. `config` is [`surroundings`], or a test's.
    pub fn new(config: &SdkConfig, target: Target) -> Aws {
        // With the limits put on here, no configuration from elsewhere lets a call hang.
        let config = config.to_builder().timeout_config(limits()).retry_config(retries()).build();
        Aws {
            ecs: aws_sdk_ecs::Client::new(&config),
            ecr: aws_sdk_ecr::Client::new(&config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
            sns: aws_sdk_sns::Client::new(&config),
            plain: plain::Plain::new(&config),
            target,
        }
    }

    fn own_region(&self, call: Call) -> Result<&str, CallError> {
        self.region_of(call, &self.target.service, None)
    }

    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// Region, credentials and endpoints (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_ECS`, …) from the environment.
pub async fn surroundings() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(limits())
        .retry_config(retries())
        .load()
        .await
}

fn limits() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build()
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(TRIES_MAX).with_max_backoff(BACKOFF_MAX)
}

/// For changes: the SDK would send again after a timeout too, and then nobody could tell what a refusal refused.
fn once() -> RetryConfig {
    RetryConfig::disabled()
}

/// Makes a change, and makes it again while it is throttled: then nothing happened.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut wait = BACKOFF_FIRST;
    for _ in 1..TRIES_MAX {
        match call().await {
            Err(error) if error.fault == CallFault::Throttled => tokio::time::sleep(wait).await,
            outcome => return outcome,
        }
        wait = (wait * 2).min(BACKOFF_MAX);
    }
    call().await
}

/// AWS's time in ours.
fn moment(time: &aws_sdk_ecs::primitives::DateTime) -> crate::release::Moment {
    // Out of range of an i64 of milliseconds lies no time that AWS tells.
    crate::release::Moment(time.to_millis().unwrap_or_default())
}
