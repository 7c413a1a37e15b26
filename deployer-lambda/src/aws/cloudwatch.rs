//! Cloudwatch: the state of alarms, and metrics.
//!
//! Order: a metric is sent once: a second time would be counted twice.
//! Neighbours: aws; which metrics there are is not decided here.

use async_trait::async_trait;
use aws_sdk_cloudwatch::types::{AlarmType, Dimension, MetricDatum, StandardUnit, StateValue};

use super::{Aws, Call, moment, once, patiently};
use crate::observe::facts::Alarm;
use crate::observe::ports::{Alarms, CallError};
use crate::release::Moment;

/// Source: "DescribeAlarms".
const ALARMS_A_CALL: usize = 100;
/// Source: "PutMetricData".
const DATA_A_CALL: usize = 1000;

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    pub name: &'static str,
    pub value: f64,
    pub unit: Unit,
    /// Name and value; the closed ones of the metrics' table.
    pub dimensions: Vec<(&'static str, String)>,
    pub at: Moment,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    Count,
    Seconds,
}

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
    pub async fn put_metrics(&self, namespace: &str, data: &[Datum]) -> Result<(), CallError> {
        let config = || aws_sdk_cloudwatch::Config::builder().retry_config(once());
        for data in data.chunks(DATA_A_CALL) {
            patiently(|| async {
                let request = self.cloudwatch.put_metric_data().namespace(namespace);
                let request = request.set_metric_data(Some(data.iter().map(datum).collect()));
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

fn datum(datum: &Datum) -> MetricDatum {
    let unit = match datum.unit {
        Unit::Count => StandardUnit::Count,
        Unit::Seconds => StandardUnit::Seconds,
    };
    let dimensions =
        datum.dimensions.iter().map(|(name, value)| Dimension::builder().name(*name).value(value).build());
    MetricDatum::builder()
        .metric_name(datum.name)
        .value(datum.value)
        .unit(unit)
        .timestamp(aws_sdk_cloudwatch::primitives::DateTime::from_millis(datum.at.0))
        .set_dimensions(Some(dimensions.collect()))
        .build()
}
