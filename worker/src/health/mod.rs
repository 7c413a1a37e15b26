//! Health: whether ECS should let this task be.
//!
//! Order: sick means that a restart may help, so that only what the worker itself does wrong counts: lag and no
//! commit although Kafka and S3 answer. An outage of theirs raises an alarm, not a restart loop; a worker without
//! partitions has nothing to do and is well.
//! Neighbours: metrics before it; server answers with it, ask asks for it.

pub mod ask;
pub mod server;

use std::time::Duration;

use serde::Serialize;

use crate::metrics::{Outage, Snapshot};
use crate::settings::units::show_duration;

/// Longer than joining a group takes, shorter than a container's start period.
pub const START_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Lag without a commit.
    pub no_progress_max: Duration,
    /// Until the first assignment; without one the worker counts as started then, because others may have it all.
    pub start_max: Duration,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Not yet: the group has given nothing. (The gate's place: until it has passed.)
    Starting,
    Healthy,
    Sick,
}

/// A verdict with its reason, for machines and for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Health {
    pub status: Verdict,
    /// Why, as a sentence.
    pub sentence: String,
    /// What does not answer, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<String>,
    /// None before the first assignment.
    pub assigned_partitions: Option<usize>,
    /// None until it has been read.
    pub lag_records: Option<u64>,
    pub lag_seconds: Option<f64>,
    pub seconds_without_progress: f64,
    /// None before the first.
    pub seconds_since_commit: Option<f64>,
}

impl Health {
    /// What a health check makes of it: while it starts, a task is not yet well.
    pub fn is_well(&self) -> bool {
        match self.status {
            Verdict::Healthy => true,
            Verdict::Starting | Verdict::Sick => false,
        }
    }
}

/// How the worker is, by what its metrics say.
pub fn health(now: &Snapshot, limits: &Limits) -> Health {
    let outages = outages(now);
    let (status, sentence) = verdict(now, limits, &outages);
    let seconds = |duration: Duration| (duration.as_secs_f64() * 1000.0).round() / 1000.0;
    Health {
        status,
        sentence,
        outages,
        assigned_partitions: now.vitals.assigned,
        lag_records: now.lag_records(),
        lag_seconds: now.lag_seconds(),
        seconds_without_progress: seconds(now.without_progress()),
        seconds_since_commit: now.vitals.committed.map(|committed| seconds(now.at.since(committed))),
    }
}

fn outages(now: &Snapshot) -> Vec<String> {
    let told = |name: &str, outage: &Option<Outage>| {
        outage.as_ref().map(|outage| {
            format!(
                "{name} has not answered for {}: {}",
                show_duration(now.at.since(outage.since)),
                outage.reason
            )
        })
    };
    [told("Kafka", &now.vitals.kafka_down), told("the store", &now.vitals.store_down)]
        .into_iter()
        .flatten()
        .collect()
}

fn verdict(now: &Snapshot, limits: &Limits, outages: &[String]) -> (Verdict, String) {
    let vitals = &now.vitals;
    if vitals.draining {
        return (Verdict::Healthy, "draining: commits what it has, then leaves".to_owned());
    }
    let up = now.at.since(vitals.started);
    let Some(assigned) = vitals.assigned else {
        if up < limits.start_max {
            return (Verdict::Starting, format!("joining the group for {}", show_duration(up)));
        }
        if !outages.is_empty() {
            return (Verdict::Healthy, waiting(outages));
        }
        return (Verdict::Healthy, "the group has given no partitions yet".to_owned());
    };
    if assigned == 0 {
        return (Verdict::Healthy, "no partitions assigned: other workers have them all".to_owned());
    }
    if !outages.is_empty() {
        return (Verdict::Healthy, waiting(outages));
    }
    let limit = show_duration(limits.no_progress_max);
    // The pipeline reads lag every few seconds; when even that has stopped, it hangs.
    let silent = now.at.since(vitals.lag_read.unwrap_or(vitals.in_order).max(vitals.in_order));
    if silent > limits.no_progress_max {
        let silent = show_duration(silent);
        return (
            Verdict::Sick,
            format!("the pipeline has not stirred for {silent}, more than {limit}: it hangs"),
        );
    }
    let lag = now.lag_records().unwrap_or(0);
    let without = now.without_progress();
    if without > limits.no_progress_max {
        let without = show_duration(without);
        return (
            Verdict::Sick,
            format!(
                "{lag} records behind and nothing committed for {without}, more than {limit}, although Kafka and the store answer"
            ),
        );
    }
    match now.lag_records() {
        None => (Verdict::Healthy, format!("{assigned} partitions assigned, lag not read yet")),
        Some(0) => (Verdict::Healthy, format!("{assigned} partitions assigned, no lag")),
        Some(lag) => (
            Verdict::Healthy,
            format!(
                "{assigned} partitions assigned, {lag} records behind, in order {} ago",
                show_duration(without)
            ),
        ),
    }
}

fn waiting(outages: &[String]) -> String {
    format!("waiting, because a restart would not help: {}", outages.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::metrics::tests::{at, lag, partition};

    const LIMITS: Limits =
        Limits { no_progress_max: Duration::from_secs(600), start_max: Duration::from_secs(60) };

    fn status(metrics: &Metrics, seconds: u64) -> Verdict {
        health(&metrics.snapshot(at(seconds)), &LIMITS).status
    }

    fn behind() -> Metrics {
        let metrics = Metrics::new(at(0));
        metrics.assigned(at(10), &[partition(0), partition(1)]);
        metrics.lag(at(10), lag(&[0, 5]));
        metrics
    }

    #[test]
    fn a_worker_starts_until_its_first_assignment_or_a_bounded_time() {
        let metrics = Metrics::new(at(0));
        assert_eq!(status(&metrics, 59), Verdict::Starting);
        assert!(!health(&metrics.snapshot(at(59)), &LIMITS).is_well());
        assert_eq!(status(&metrics, 60), Verdict::Healthy);
        metrics.assigned(at(5), &[partition(0)]);
        assert_eq!(status(&metrics, 6), Verdict::Healthy);
    }

    #[test]
    fn a_worker_without_partitions_is_healthy_for_ever() {
        let metrics = behind();
        metrics.assigned(at(20), &[]);
        assert_eq!(status(&metrics, 1_000_000), Verdict::Healthy);
    }

    #[test]
    fn lag_without_a_commit_is_sick_after_the_limit_and_not_before() {
        let metrics = behind();
        metrics.lag(at(600), lag(&[0, 9]));
        assert_eq!(status(&metrics, 610), Verdict::Healthy);
        assert_eq!(status(&metrics, 611), Verdict::Sick);
        let sick = health(&metrics.snapshot(at(611)), &LIMITS);
        assert!(
            sick.sentence.starts_with("9 records behind and nothing committed for 10m1s, more than 10m"),
            "{sick:?}"
        );
        metrics.committed(at(612), Duration::from_secs(1));
        assert_eq!(status(&metrics, 613), Verdict::Healthy);
    }

    #[test]
    fn no_lag_and_no_commit_is_healthy() {
        let metrics = behind();
        for seconds in (10..5000).step_by(10) {
            metrics.lag(at(seconds), lag(&[0, 0]));
        }
        assert_eq!(status(&metrics, 5000), Verdict::Healthy);
    }

    #[test]
    fn an_outage_of_kafka_or_the_store_is_healthy_with_a_reason() {
        let metrics = behind();
        metrics.store_unreachable(at(20), "connection refused");
        let health = health(&metrics.snapshot(at(90_000)), &LIMITS);
        assert_eq!(health.status, Verdict::Healthy);
        assert!(health.sentence.contains("the store has not answered for 1d"), "{health:?}");
        metrics.store_answers(at(90_000));
        metrics.lag(at(90_001), lag(&[5]));
        assert_eq!(status(&metrics, 90_010), Verdict::Healthy, "the time starts anew");
        metrics.kafka_unreachable(at(90_020), "no broker");
        assert_eq!(status(&metrics, 99_000), Verdict::Healthy);
    }

    #[test]
    fn an_outage_from_the_start_on_is_no_endless_start() {
        let metrics = Metrics::new(at(0));
        metrics.kafka_unreachable(at(1), "no broker");
        assert_eq!(status(&metrics, 30), Verdict::Starting);
        assert_eq!(status(&metrics, 61), Verdict::Healthy);
    }

    #[test]
    fn a_pipeline_that_does_not_even_read_lag_any_more_hangs() {
        let metrics = behind();
        metrics.lag(at(100), lag(&[0, 0]));
        assert_eq!(status(&metrics, 700), Verdict::Healthy);
        assert_eq!(status(&metrics, 701), Verdict::Sick);
        let never_read = Metrics::new(at(0));
        never_read.assigned(at(10), &[partition(0)]);
        assert_eq!(status(&never_read, 610), Verdict::Healthy);
        assert_eq!(status(&never_read, 611), Verdict::Sick);
    }

    #[test]
    fn a_worker_that_drains_is_left_alone() {
        let metrics = behind();
        metrics.draining();
        assert_eq!(status(&metrics, 9_999), Verdict::Healthy);
    }
}
