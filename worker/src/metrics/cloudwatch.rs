//! CloudWatch: one PutMetricData an interval, from the difference between two snapshots.
//!
//! Order: a task of its own asks, waits and gives up; nothing waits for it. What could not be sent is part of the next
//! difference, so that a failing CloudWatch costs no memory. (A request that timed out may have been carried out, and
//! is then counted twice: these figures watch, they do not account; the ledger does.)
//! Neighbours: metrics. AWS stands behind the port `PutMetrics`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::DisplayErrorContext;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use tokio_util::sync::CancellationToken;

use super::names::{COMMIT_ABOVE_S, COMMIT_BOUNDS_S, COMMIT_CLOUDWATCH, COUNTERS, GAUGES, Unit};
use super::{Metrics, Snapshot};
use crate::clock::{Clock, Moment};

/// The only dimension: each name × dimensions costs money.
const DIMENSION: &str = "Pipeline";
/// One request, all its tries and the search for credentials included.
const PUT_MAX: Duration = Duration::from_secs(10);
/// At the end nobody waits longer for the last figures.
const LAST_PUT_MAX: Duration = Duration::from_secs(3);
/// A CloudWatch that fails for hours is told of at this pace.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// One metric's figures for one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    pub name: &'static str,
    pub unit: Unit,
    /// Values, and how often each; never empty, never more than CloudWatch's 150.
    pub values: Vec<(f64, f64)>,
}

/// What happened between two snapshots, and how things stand at the second.
pub fn data(before: &Snapshot, after: &Snapshot) -> Vec<Datum> {
    let one = |name, unit, value| Datum { name, unit, values: vec![(value, 1.0)] };
    let mut data = Vec::with_capacity(20);
    for counter in &COUNTERS {
        let Some(name) = counter.cloudwatch else { continue };
        let count = after.count(counter.counter).saturating_sub(before.count(counter.counter));
        if count > 0 || !counter.rare {
            data.push(one(name, counter.unit, count as f64));
        }
    }
    for gauge in &GAUGES {
        if let (Some(name), Some(value)) = (gauge.cloudwatch, (gauge.value)(after)) {
            data.push(one(name, gauge.unit, value));
        }
    }
    let bounds = COMMIT_BOUNDS_S.into_iter().chain([COMMIT_ABOVE_S]);
    let commits: Vec<(f64, f64)> = bounds
        .zip(after.commits.iter().zip(before.commits))
        .map(|(bound, (after, before))| (bound, after.saturating_sub(before) as f64))
        .filter(|(_, count)| *count > 0.0)
        .collect();
    if !commits.is_empty() {
        data.push(Datum { name: COMMIT_CLOUDWATCH, unit: Unit::Seconds, values: commits });
    }
    data
}

/// What is needed of CloudWatch. An error is a reason for people.
#[async_trait]
pub trait PutMetrics: Send + Sync {
    async fn put(&self, data: &[Datum], utc_ms: i64) -> Result<(), String>;
}

/// Sends until `stop`, then once more. Spawn it; it waits for nothing but CloudWatch and disturbs nobody.
pub async fn report(
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    port: Arc<dyn PutMetrics>,
    interval: Duration,
    stop: CancellationToken,
) {
    let mut before = metrics.snapshot(clock.moment());
    let mut complaint = Complaint::default();
    loop {
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(interval) => false,
        };
        let after = metrics.snapshot(clock.moment());
        let within = if stopped { LAST_PUT_MAX } else { PUT_MAX.min(interval) };
        let put = async { port.put(&data(&before, &after), clock.utc_ms()).await };
        let answer = tokio::select! {
            answer = tokio::time::timeout(within, put) => answer,
            // The end does not wait for a request that hangs; it sends once more by itself.
            () = stop.cancelled(), if !stopped => continue,
        };
        match answer.unwrap_or_else(|_| Err(format!("no answer within {within:?}"))) {
            Ok(()) => before = after,
            Err(reason) => {
                if let Some(failures) = complaint.failed(after.at) {
                    tracing::warn!(
                        reason,
                        failures,
                        "CloudWatch does not take the metrics; the data goes on"
                    );
                }
            }
        }
        if stopped {
            return;
        }
    }
}

/// Tells of the first failure, and then of those since, once in a while.
#[derive(Debug, Default)]
struct Complaint {
    failures: u64,
    told: Option<Moment>,
}

impl Complaint {
    fn failed(&mut self, now: Moment) -> Option<u64> {
        self.failures += 1;
        if self.told.is_some_and(|told| now.since(told) < WARN_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.failures))
    }
}

/// CloudWatch itself. Credentials, region and endpoint come from the standard chain (the ECS task role included, and
/// `AWS_ENDPOINT_URL` for a server of one's own) and are looked up with the first request, not before.
pub struct CloudWatch {
    pipeline: String,
    namespace: String,
    client: tokio::sync::OnceCell<Client>,
}

impl CloudWatch {
    pub fn new(pipeline: &str, namespace: &str) -> CloudWatch {
        CloudWatch {
            pipeline: pipeline.to_owned(),
            namespace: namespace.to_owned(),
            client: tokio::sync::OnceCell::new(),
        }
    }

    /// With a client of one's own.
    pub fn with_client(pipeline: &str, namespace: &str, client: Client) -> CloudWatch {
        CloudWatch {
            pipeline: pipeline.to_owned(),
            namespace: namespace.to_owned(),
            client: tokio::sync::OnceCell::new_with(Some(client)),
        }
    }

    async fn client(&self) -> &Client {
        let connect = async || {
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .operation_attempt_timeout(Duration::from_secs(4))
                .operation_timeout(PUT_MAX)
                .build();
            let config = aws_config::defaults(BehaviorVersion::latest())
                .retry_config(RetryConfig::standard().with_max_attempts(2))
                .timeout_config(timeouts)
                .load()
                .await;
            Client::new(&config)
        };
        self.client.get_or_init(connect).await
    }
}

#[async_trait]
impl PutMetrics for CloudWatch {
    async fn put(&self, data: &[Datum], utc_ms: i64) -> Result<(), String> {
        let dimension = Dimension::builder().name(DIMENSION).value(&self.pipeline).build();
        let time = DateTime::from_millis(utc_ms);
        let data = data.iter().map(|datum| to_sdk(datum, dimension.clone(), time)).collect();
        let request =
            self.client().await.put_metric_data().namespace(&self.namespace).set_metric_data(Some(data));
        request.send().await.map(drop).map_err(|error| DisplayErrorContext(error).to_string())
    }
}

fn to_sdk(datum: &Datum, dimension: Dimension, time: DateTime) -> MetricDatum {
    let builder = MetricDatum::builder().metric_name(datum.name).dimensions(dimension).timestamp(time).unit(
        match datum.unit {
            Unit::Count => StandardUnit::Count,
            Unit::Bytes => StandardUnit::Bytes,
            Unit::Seconds => StandardUnit::Seconds,
        },
    );
    match datum.values.as_slice() {
        [(value, 1.0)] => builder.value(*value).build(),
        values => values
            .iter()
            .fold(builder, |builder, (value, count)| builder.values(*value).counts(*count))
            .build(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::clock::SystemClock;
    use crate::metrics::Counter;
    use crate::metrics::tests::{at, lag, partition};

    fn value(data: &[Datum], name: &str) -> Option<f64> {
        data.iter().find(|datum| datum.name == name).map(|datum| datum.values[0].0)
    }

    #[test]
    fn counters_are_sent_as_differences_and_gauges_as_they_stand() {
        let metrics = Metrics::new(at(0));
        metrics.add(Counter::RecordsRead, 100);
        metrics.assigned(at(0), &[partition(0)]);
        metrics.lag(at(0), lag(&[9]));
        let before = metrics.snapshot(at(0));
        metrics.add(Counter::RecordsRead, 11);
        metrics.buffered(77);
        let data = data(&before, &metrics.snapshot(at(60)));
        assert_eq!(value(&data, "RecordsRead"), Some(11.0));
        assert_eq!(value(&data, "RecordsWritten"), Some(0.0), "a common counter is told at zero");
        assert_eq!(value(&data, "BufferedBytes"), Some(77.0));
        assert_eq!(value(&data, "LagRecords"), Some(9.0));
        assert_eq!(value(&data, "SecondsWithoutProgress"), Some(60.0));
    }

    #[test]
    fn what_is_rare_or_unknown_is_sent_only_when_there_is_something_to_say() {
        let metrics = Metrics::new(at(0));
        let before = metrics.snapshot(at(0));
        let quiet = data(&before, &before);
        assert_eq!((value(&quiet, "Fenced"), value(&quiet, "LagRecords")), (None, None));
        assert_eq!(value(&quiet, COMMIT_CLOUDWATCH), None);
        metrics.add(Counter::Fenced, 1);
        assert_eq!(value(&data(&before, &metrics.snapshot(at(1))), "Fenced"), Some(1.0));
    }

    #[test]
    fn commit_times_are_a_distribution_of_the_interval() {
        let metrics = Metrics::new(at(0));
        metrics.committed(at(0), Duration::from_millis(300));
        let before = metrics.snapshot(at(0));
        for took in [400, 450, 700, 999_000] {
            metrics.committed(at(1), Duration::from_millis(took));
        }
        let data = data(&before, &metrics.snapshot(at(2)));
        let commits = data.iter().find(|datum| datum.name == COMMIT_CLOUDWATCH).expect("there were some");
        assert_eq!(commits.values, [(0.5, 2.0), (1.0, 1.0), (COMMIT_ABOVE_S, 1.0)]);
        let sent =
            to_sdk(commits, Dimension::builder().name(DIMENSION).value("p").build(), DateTime::from_secs(1));
        assert_eq!((sent.values(), sent.counts()), (&[0.5, 1.0, 300.0][..], &[2.0, 1.0, 1.0][..]));
        assert_eq!((sent.value(), sent.dimensions().len()), (None, 1));
    }

    #[test]
    fn complaints_come_once_in_a_while_and_count_what_they_left_out() {
        let mut complaint = Complaint::default();
        assert_eq!(complaint.failed(at(0)), Some(1));
        assert_eq!(complaint.failed(at(60)), None);
        assert_eq!(complaint.failed(at(599)), None);
        assert_eq!(complaint.failed(at(600)), Some(3));
    }

    /// Plays one answer after the other, then takes everything; notes what was read of `RecordsRead`.
    #[derive(Default)]
    struct Scripted {
        script: Mutex<Vec<Script>>,
        taken: Mutex<Vec<f64>>,
    }

    #[derive(Clone, Copy)]
    enum Script {
        Refuse,
        Hang,
    }

    #[async_trait]
    impl PutMetrics for Scripted {
        async fn put(&self, data: &[Datum], _: i64) -> Result<(), String> {
            let script = self.script.lock().expect("not poisoned").pop();
            match script {
                Some(Script::Refuse) => Err("throttled".into()),
                Some(Script::Hang) => std::future::pending().await,
                None => {
                    self.taken.lock().expect("not poisoned").extend(value(data, "RecordsRead"));
                    Ok(())
                }
            }
        }
    }

    /// Ten records read, some intervals later the end.
    async fn run(script: Vec<Script>) -> Vec<f64> {
        let port = Arc::new(Scripted { script: Mutex::new(script), taken: Mutex::default() });
        let metrics = Metrics::new(at(0));
        let stop = CancellationToken::new();
        let clock = Arc::new(SystemClock::start());
        let task = tokio::spawn(report(
            metrics.clone(),
            clock,
            Arc::<Scripted>::clone(&port) as Arc<dyn PutMetrics>,
            Duration::from_millis(20),
            stop.clone(),
        ));
        tokio::time::sleep(Duration::from_millis(5)).await;
        metrics.add(Counter::RecordsRead, 10);
        tokio::time::sleep(Duration::from_millis(200)).await;
        metrics.add(Counter::RecordsRead, 5);
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(2), task)
            .await
            .expect("it ends")
            .expect("it does not panic");
        port.taken.lock().expect("not poisoned").clone()
    }

    #[tokio::test]
    async fn what_was_not_taken_is_part_of_the_next_report_and_the_end_reports_once_more() {
        for script in [vec![], vec![Script::Refuse; 3], vec![Script::Refuse, Script::Hang, Script::Refuse]] {
            let taken = run(script).await;
            assert_eq!(taken.iter().sum::<f64>(), 15.0, "{taken:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_within_its_time() {
        let config = aws_sdk_cloudwatch::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_sdk_cloudwatch::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_cloudwatch::config::Credentials::new("k", "s", None, None, "test"))
            .endpoint_url("http://127.0.0.1:9")
            .retry_config(RetryConfig::disabled())
            .build();
        let cloudwatch = CloudWatch::with_client("p", "n", Client::from_conf(config));
        let datum = Datum { name: "Files", unit: Unit::Count, values: vec![(1.0, 1.0)] };
        let answer = tokio::time::timeout(PUT_MAX, cloudwatch.put(&[datum], 0)).await.expect("in time");
        assert!(answer.is_err_and(|reason| !reason.contains("\n")), "a reason on one line");
    }
}
