//! Cloudwatch: the state of alarms, and metrics.
//!
//! Order: a metric is sent once: a second time would be counted twice.
//! Neighbours: aws; which metrics there are is report's to say.

use async_trait::async_trait;
use aws_sdk_cloudwatch::types::{AlarmType, Dimension, MetricDatum, StandardUnit, StateValue};

use super::{Aws, Call, moment, once, patiently};
use crate::observe::facts::Alarm;
use crate::observe::ports::{Alarms, CallError};
use crate::release::Moment;
use crate::report::metrics::{Batch, Datum};
use crate::report::names::{self, Unit};

/// Source: "DescribeAlarms".
const ALARMS_A_CALL: usize = 100;
/// Source: "PutMetricData".
const DATA_A_CALL: usize = 1000;

#[async_trait]
impl Alarms for Aws {
    /// Alarms that are not there are left out.
    async fn alarms(&self, names: &[String]) -> Result<Vec<Alarm>, CallError> {
        let mut alarms = Vec::new();
        for names in names.chunks(ALARMS_A_CALL) {
            let answer = self
                .cloudwatch
                .describe_alarms()
                .set_alarm_names(Some(names.to_vec()))
                // Without this, composite ones are left out without a word.
                .alarm_types(AlarmType::MetricAlarm)
                .alarm_types(AlarmType::CompositeAlarm)
                .max_records(100)
                .send()
                .await
                .map_err(|error| Call::DescribeAlarms.failed(&names.join("`, `"), error))?;
            alarms.extend(answer.metric_alarms().iter().map(|alarm| {
                let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
                alarm_of(alarm.alarm_name(), alarm.state_value(), since.map(moment))
            }));
            alarms.extend(answer.composite_alarms().iter().map(|alarm| {
                let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
                alarm_of(alarm.alarm_name(), alarm.state_value(), since.map(moment))
            }));
        }
        Ok(alarms)
    }
}

impl Aws {
    /// Sends metrics; nothing to send is no call.
    pub async fn put_metrics(&self, namespace: &str, batch: &Batch) -> Result<(), CallError> {
        let config = || aws_sdk_cloudwatch::Config::builder().retry_config(once());
        let data: Vec<MetricDatum> = batch.data.iter().flat_map(|datum| data(batch, datum)).collect();
        for data in data.chunks(DATA_A_CALL) {
            patiently(|| async {
                let request = self.cloudwatch.put_metric_data().namespace(namespace);
                let request = request.set_metric_data(Some(data.to_vec()));
                let sent = request.customize().config_override(config()).send().await;
                sent.map(drop).map_err(|error| Call::PutMetricData.failed(namespace, error))
            })
            .await?;
        }
        Ok(())
    }
}

/// INSUFFICIENT_DATA is no alarm: it is what a quiet topic looks like.
fn alarm_of(name: Option<&str>, state: Option<&StateValue>, since: Option<Moment>) -> Alarm {
    Alarm {
        name: name.unwrap_or_default().to_owned(),
        in_alarm: state == Some(&StateValue::Alarm),
        since: since.unwrap_or_default(),
    }
}

/// One for each value.
fn data(batch: &Batch, datum: &Datum) -> impl Iterator<Item = MetricDatum> {
    let unit = match datum.unit {
        Unit::Count => StandardUnit::Count,
        Unit::Seconds => StandardUnit::Seconds,
    };
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let dimensions = std::iter::once(dimension(names::PIPELINE, &batch.pipeline));
    let dimensions = dimensions.chain(datum.reason.map(|reason| dimension(names::REASON, reason)));
    let whole = MetricDatum::builder()
        .metric_name(datum.name)
        .unit(unit)
        .timestamp(aws_sdk_cloudwatch::primitives::DateTime::from_millis(batch.at.0))
        .set_dimensions(Some(dimensions.collect()));
    datum.values.iter().map(move |value| whole.clone().value(*value).build())
}
