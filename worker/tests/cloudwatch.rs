//! Metrics to a CloudWatch that we did not write (ministack, which `tests/run` starts).

#![allow(clippy::disallowed_methods, reason = "a test against a server lives in real time")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Statistic};
use worker::clock::Moment;
use worker::metrics::cloudwatch::{CloudWatch, PutMetrics, data};
use worker::metrics::{Counter, Metrics};

#[tokio::test]
async fn what_is_put_can_be_read_under_its_pipeline() {
    const VARIABLE: &str = "LANDFALL_TEST_S3_MINISTACK";
    let Some(endpoint) = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty()) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{VARIABLE} is not set");
        eprintln!("skipped: a CloudWatch, which tests/run starts ({VARIABLE})");
        return;
    };
    let config = aws_sdk_cloudwatch::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint)
        .build();
    let client = Client::from_conf(config);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let pipeline = format!("shop-{}", since_1970.as_nanos());

    let metrics = Metrics::new(Moment::default());
    let before = metrics.snapshot(Moment::default());
    metrics.add(Counter::RecordsRead, 42);
    metrics.committed(Moment::default(), Duration::from_millis(300));
    metrics.committed(Moment::default(), Duration::from_secs(3));
    let put = CloudWatch::with_client(&pipeline, "Landfall/Test", client.clone());
    let figures = data(&before, &metrics.snapshot(Moment(Duration::from_secs(60))));
    put.put(&figures, since_1970.as_millis() as i64).await.expect("taken");

    let seconds = since_1970.as_secs() as i64;
    let read = async |name: &str, statistic: Statistic| {
        let answer = client
            .get_metric_statistics()
            .namespace("Landfall/Test")
            .metric_name(name)
            .dimensions(Dimension::builder().name("Pipeline").value(&pipeline).build())
            .start_time(DateTime::from_secs(seconds - 600))
            .end_time(DateTime::from_secs(seconds + 600))
            .period(3600)
            .statistics(statistic.clone())
            .send()
            .await
            .expect("answered");
        let points = answer.datapoints();
        assert!(!points.is_empty(), "{name} is there");
        points
            .iter()
            .filter_map(|point| if statistic == Statistic::Sum { point.sum() } else { point.sample_count() })
            .sum::<f64>()
    };
    assert_eq!(read("RecordsRead", Statistic::Sum).await, 42.0);
    assert_eq!(read("Files", Statistic::SampleCount).await, 1.0);
    assert_eq!(read("CommitSeconds", Statistic::SampleCount).await, 2.0);
}
