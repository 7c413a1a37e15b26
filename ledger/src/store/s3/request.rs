//! Request: how long a call to S3 may take, and how often it was sent.
//!
//! Neighbours: s3.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// Tries of one call, the first included.
const TRIES_MAX: u32 = 3;
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Time limits of calls, so that none hangs for ever.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// One try of a call with little to send and to do.
    pub quick: Duration,
    /// One try of a call that carries a part or makes S3 assemble or copy. 8 MiB in five minutes is 28 KiB/s.
    pub long: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(5),
            quick: Duration::from_secs(30),
            long: Duration::from_secs(300),
        }
    }
}

impl Patience {
    pub(super) fn quick(&self) -> Builder {
        self.limits(self.quick)
    }

    pub(super) fn long(&self) -> Builder {
        self.limits(self.long)
    }

    pub(super) fn body(&self) -> Duration {
        self.long
    }

    fn limits(&self, a_try: Duration) -> Builder {
        let limits = TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(a_try)
            .operation_timeout((a_try + BACKOFF_MAX) * TRIES_MAX);
        aws_sdk_s3::Config::builder().timeout_config(limits.build())
    }
}

pub(super) fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(TRIES_MAX).with_max_backoff(BACKOFF_MAX)
}

/// Counts how often a call was sent.
#[derive(Clone, Debug)]
pub(super) struct Tries(Arc<AtomicU32>);

impl Tries {
    pub(super) fn new() -> Tries {
        Tries(Arc::new(AtomicU32::new(0)))
    }

    pub(super) fn sent(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Tries {
    fn name(&self) -> &'static str {
        "Tries"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
