//! Metrics: from what a plan counts to what CloudWatch takes in one PutMetricData.

use std::collections::BTreeMap;

use super::names::{Metric, Sets, Unit, cause, skip};
use crate::plan::Tally;
use crate::release::Moment;

/// One request: namespace [`super::names::NAMESPACE`]; at most 25 data, far below CloudWatch's 1,000.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Value of the dimension `Pipeline`, which every datum has.
    pub pipeline: String,
    pub at: Moment,
    pub data: Vec<Datum>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    pub name: &'static str,
    /// Value of the dimension `Reason`, where it has one.
    pub reason: Option<&'static str>,
    pub unit: Unit,
    /// Counts are summed up into one value; seconds are told one by one, at most [`VALUES_MAX`] of them.
    pub values: Vec<f64>,
}

/// CloudWatch takes 150 values a datum.
pub const VALUES_MAX: usize = 150;

/// What a plan does not count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Beside {
    /// Invocations that were refused or not finished.
    pub errors: u32,
    /// Notices that ask for a person now.
    pub pages: u32,
}

/// What is to be sent; none: nothing happened.
pub fn batch(pipeline: &str, tallies: &[Tally], beside: Beside, at: Moment) -> Option<Batch> {
    let mut sums: BTreeMap<(Metric, Option<&'static str>), Vec<f64>> = BTreeMap::new();
    let mut add = |metric: Metric, reason: Option<&'static str>, value: f64| {
        let values = sums.entry((metric, reason)).or_default();
        match (metric.name().unit, values.as_mut_slice()) {
            (Unit::Count, [sum, ..]) => *sum += value,
            (Unit::Count, []) => values.push(value),
            (Unit::Seconds, told) if told.len() < VALUES_MAX => values.push(value),
            (Unit::Seconds, _) => {}
        }
    };
    for tally in tallies {
        let (metric, reason, value) = counted(*tally);
        let sets = metric.name().sets;
        if sets != Sets::Reasons {
            add(metric, None, value);
        }
        if sets != Sets::Total {
            add(metric, reason, value);
        }
    }
    for (metric, count) in [(Metric::Errors, beside.errors), (Metric::Pages, beside.pages)] {
        if count > 0 {
            add(metric, None, f64::from(count));
        }
    }
    let data: Vec<Datum> = sums
        .into_iter()
        .map(|((metric, reason), values)| {
            let name = metric.name();
            Datum { name: name.name, reason, unit: name.unit, values }
        })
        .collect();
    (!data.is_empty()).then(|| Batch { pipeline: pipeline.to_owned(), at, data })
}

fn counted(tally: Tally) -> (Metric, Option<&'static str>, f64) {
    match tally {
        Tally::DeploymentStarted => (Metric::Deployments, None, 1.0),
        Tally::DeploymentHealthy => (Metric::DeploymentsHealthy, None, 1.0),
        Tally::Rollback(why) => (Metric::Rollbacks, Some(cause(why)), 1.0),
        // By what it was held up is in the log line and the notice.
        Tally::Blocked(_) => (Metric::Blocked, None, 1.0),
        Tally::Skipped(why) => (Metric::Skipped, Some(skip(why)), 1.0),
        Tally::PushLost => (Metric::EventsLost, None, 1.0),
        Tally::PushToRunningSeconds(seconds) => (Metric::PushToRunningSeconds, None, seconds.max(0.0)),
        Tally::PushToVerdictSeconds(seconds) => (Metric::PushToVerdictSeconds, None, seconds.max(0.0)),
        Tally::Drift => (Metric::Drift, None, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::journal::Cause;
    use crate::plan::Skip;
    use crate::report::names::{NAMES, SKIPS};

    fn everything() -> Vec<Tally> {
        let mut tallies = vec![
            Tally::DeploymentStarted,
            Tally::DeploymentHealthy,
            Tally::PushLost,
            Tally::PushToRunningSeconds(41.5),
            Tally::PushToVerdictSeconds(700.0),
            Tally::Drift,
        ];
        tallies.extend(Cause::ALL.map(Tally::Rollback));
        tallies.extend(Cause::ALL.map(Tally::Blocked));
        tallies.extend(SKIPS.map(Tally::Skipped));
        tallies
    }

    #[test]
    fn all_that_can_ever_be_sent_is_at_most_25_metrics_a_pipeline() {
        let batch = batch("shop", &everything(), Beside { errors: 1, pages: 1 }, Moment(7)).unwrap();
        let metrics: BTreeSet<_> = batch.data.iter().map(|datum| (datum.name, datum.reason)).collect();
        assert_eq!(metrics.len(), batch.data.len(), "one datum for each");
        assert_eq!(metrics.len(), 25);
        let sent: BTreeSet<_> = metrics.iter().map(|(name, _)| *name).collect();
        let named: BTreeSet<_> = NAMES.iter().map(|name| name.name).collect();
        assert_eq!(sent, named, "every name can be sent");
    }

    #[test]
    fn names_stand_in_the_order_of_their_metrics() {
        for (at, name) in NAMES.iter().enumerate() {
            assert_eq!(name.metric as usize, at, "{}", name.name);
            assert_eq!(name.metric.name().name, name.name);
            assert!(name.help.ends_with('.'), "{}", name.name);
        }
    }

    #[test]
    fn counts_are_summed_and_seconds_are_not() {
        let tallies = [
            Tally::Rollback(Cause::Crash),
            Tally::Rollback(Cause::Crash),
            Tally::Rollback(Cause::Person),
            Tally::PushToRunningSeconds(3.0),
            Tally::PushToRunningSeconds(5.0),
            // AWS's clock and ours differ.
            Tally::PushToRunningSeconds(-0.2),
            Tally::Skipped(Skip::Frozen),
            Tally::Skipped(Skip::Pinned),
        ];
        let batch = batch("shop", &tallies, Beside::default(), Moment(7)).unwrap();
        let found: Vec<_> =
            batch.data.iter().map(|datum| (datum.name, datum.reason, datum.values.clone())).collect();
        assert_eq!(
            found,
            [
                ("Rollbacks", None, vec![3.0]),
                ("Rollbacks", Some("crash"), vec![2.0]),
                ("Rollbacks", Some("person"), vec![1.0]),
                ("Skipped", Some("held"), vec![2.0]),
                ("PushToRunningSeconds", None, vec![3.0, 5.0, 0.0]),
            ]
        );
        assert_eq!((batch.pipeline.as_str(), batch.at), ("shop", Moment(7)));
    }

    #[test]
    fn when_nothing_happened_nothing_is_sent() {
        assert_eq!(batch("shop", &[], Beside::default(), Moment(7)), None);
        let errors = batch("shop", &[], Beside { errors: 2, pages: 0 }, Moment(7)).unwrap();
        assert_eq!(errors.data.len(), 1);
        assert_eq!((errors.data[0].name, errors.data[0].values.as_slice()), ("Errors", &[2.0][..]));
    }

    #[test]
    fn a_datum_never_has_more_values_than_cloudwatch_takes() {
        let tallies = vec![Tally::PushToVerdictSeconds(1.0); 1_000];
        let batch = batch("shop", &tallies, Beside::default(), Moment(7)).unwrap();
        assert_eq!(batch.data[0].values.len(), VALUES_MAX);
    }
}
