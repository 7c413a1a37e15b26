//! Watch: what CloudWatch keeps of metrics, and the alarms that it evaluates from them.
//!
//! Order: every datum that arrives is kept, then the alarms on its metric are asked; an alarm goes by the newest value
//! alone. CloudWatch waits for whole periods; nobody looks on for so long here.
//! Neighbours: cbor reads requests and writes answers; mod tells ECS of alarms. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::ecs::Ms;
use crate::ecs::events::iso;

/// Values of one metric that are kept, the newest.
const VALUES_KEPT: usize = 1_000;

/// `StateValue`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    InsufficientData,
    Ok,
    Alarm,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::InsufficientData => "INSUFFICIENT_DATA",
            State::Ok => "OK",
            State::Alarm => "ALARM",
        }
    }
}

/// An alarm on one metric of one namespace, whatever its dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    pub name: String,
    pub namespace: String,
    pub metric: String,
    /// ALARM from here on.
    pub at_least: f64,
    pub state: State,
    pub reason: String,
    pub since: Ms,
}

/// An alarm that went from one state into another.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub alarm: Alarm,
    pub before: State,
}

impl Change {
    /// `CloudWatch Alarm State Change`. Source: "Alarm events and EventBridge".
    pub fn detail(&self) -> Value {
        let alarm = &self.alarm;
        json!({
            "alarmName": alarm.name,
            "state": { "value": alarm.state.name(), "reason": alarm.reason, "timestamp": iso(alarm.since) },
            "previousState": { "value": self.before.name() },
            "configuration": { "metrics": [{ "id": "m1", "returnData": true, "metricStat": {
                "metric": { "namespace": alarm.namespace, "name": alarm.metric, "dimensions": {} },
                "period": 60, "stat": "Maximum",
            }}]},
        })
    }
}

/// Namespace, metric and its dimensions as text.
pub type Name = (String, String, String);

/// All metrics and alarms.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    series: BTreeMap<Name, VecDeque<(Ms, f64)>>,
    alarms: Vec<Alarm>,
}

impl Watch {
    pub fn add_alarm(&mut self, name: &str, namespace: &str, metric: &str, at_least: f64, now: Ms) {
        self.alarms.push(Alarm {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            metric: metric.to_owned(),
            at_least,
            state: State::InsufficientData,
            reason: "Unchecked: Initial alarm creation".to_owned(),
            since: now,
        });
    }

    /// PutMetricData. A datum without a value is refused, and with it the request.
    pub fn put(&mut self, request: &Value, now: Ms) -> Result<Vec<Change>, String> {
        let namespace = request["Namespace"].as_str().filter(|it| !it.is_empty());
        let namespace = namespace.ok_or("The parameter Namespace is required.")?.to_owned();
        let data = request["MetricData"].as_array().ok_or("The parameter MetricData is required.")?;
        let read: Result<Vec<(String, String, f64)>, String> = data.iter().map(datum).collect();
        let mut changes = Vec::new();
        for (metric, dimensions, value) in read? {
            let series = self.series.entry((namespace.clone(), metric.clone(), dimensions)).or_default();
            series.push_back((now, value));
            if series.len() > VALUES_KEPT {
                series.pop_front();
            }
            let names: Vec<(String, State, String)> = self
                .alarms
                .iter()
                .filter(|alarm| alarm.namespace == namespace && alarm.metric == metric)
                .map(|alarm| {
                    let rings = value >= alarm.at_least;
                    let is = if rings { "at least" } else { "below" };
                    let why = format!("{metric} is {value}, {is} the threshold of {}", alarm.at_least);
                    (alarm.name.clone(), if rings { State::Alarm } else { State::Ok }, why)
                })
                .collect();
            for (name, state, why) in names {
                changes.extend(self.set(&name, state, &why, now));
            }
        }
        Ok(changes)
    }

    /// Puts an alarm into a state; none: it is in it, or not there.
    pub fn set(&mut self, name: &str, state: State, reason: &str, now: Ms) -> Option<Change> {
        let alarm = self.alarms.iter_mut().find(|alarm| alarm.name == name)?;
        let before = std::mem::replace(&mut alarm.state, state);
        if before == state {
            return None;
        }
        alarm.reason = reason.to_owned();
        alarm.since = now;
        Some(Change { alarm: alarm.clone(), before })
    }

    /// DescribeAlarms: those named, or all.
    pub fn alarms(&self, request: &Value) -> Vec<&Alarm> {
        let names = request["AlarmNames"].as_array().filter(|names| !names.is_empty());
        let asked = |alarm: &&Alarm| names.is_none_or(|names| names.iter().any(|name| *name == *alarm.name));
        self.alarms.iter().filter(asked).collect()
    }

    /// The newest value of a metric, whatever its dimensions.
    pub fn newest(&self, namespace: &str, metric: &str) -> Option<f64> {
        let of = |(name, _): &(&Name, &VecDeque<(Ms, f64)>)| name.0 == namespace && name.1 == metric;
        let newest = self.series.iter().filter(of).filter_map(|(_, values)| values.back());
        newest.max_by_key(|(at, _)| *at).map(|(_, value)| *value)
    }

    /// The sum of all values of a metric, whatever its dimensions.
    pub fn sum(&self, namespace: &str, metric: &str) -> f64 {
        let of = |(name, _): &(&Name, &VecDeque<(Ms, f64)>)| name.0 == namespace && name.1 == metric;
        self.series.iter().filter(of).flat_map(|(_, values)| values).map(|(_, value)| value).sum()
    }
}

/// Name, dimensions, and the value: the greatest, where there are many.
fn datum(datum: &Value) -> Result<(String, String, f64), String> {
    let name = datum["MetricName"].as_str().ok_or("The parameter MetricName is required.")?;
    let values = datum["Values"].as_array().into_iter().flatten().filter_map(Value::as_f64);
    let value = datum["Value"]
        .as_f64()
        .or_else(|| datum["StatisticValues"]["Maximum"].as_f64())
        .or_else(|| values.reduce(f64::max))
        .ok_or_else(|| format!("The metric {name} has no value."))?;
    let dimensions = datum["Dimensions"].as_array().cloned().unwrap_or_default();
    let dimensions: Vec<String> = dimensions
        .iter()
        .map(|it| {
            format!(
                "{}={}",
                it["Name"].as_str().unwrap_or_default(),
                it["Value"].as_str().unwrap_or_default()
            )
        })
        .collect();
    Ok((name.to_owned(), dimensions.join(","), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(watch: &mut Watch, metric: &str, value: f64, now: Ms) -> Vec<Change> {
        let request = json!({ "Namespace": "Landfall", "MetricData": [
            { "MetricName": metric, "Value": value, "Dimensions": [{ "Name": "Pipeline", "Value": "shop" }] }
        ]});
        watch.put(&request, now).unwrap()
    }

    #[test]
    fn an_alarm_goes_off_at_its_threshold_and_comes_back_below_it() {
        let mut watch = Watch::default();
        watch.add_alarm("damage", "Landfall", "Damage", 1.0, 0);
        assert_eq!(put(&mut watch, "Files", 9.0, 1), []);
        let changes = put(&mut watch, "Damage", 1.0, 2);
        assert_eq!((changes[0].before, changes[0].alarm.state), (State::InsufficientData, State::Alarm));
        assert_eq!(changes[0].detail()["state"]["value"], "ALARM");
        assert_eq!(put(&mut watch, "Damage", 2.0, 3), [], "it is in ALARM already");
        assert_eq!(put(&mut watch, "Damage", 0.0, 4)[0].alarm.state, State::Ok);
        assert_eq!((watch.newest("Landfall", "Damage"), watch.sum("Landfall", "Damage")), (Some(0.0), 3.0));
    }

    #[test]
    fn many_values_count_as_their_greatest_and_none_is_refused() {
        let mut watch = Watch::default();
        let many = json!({ "Namespace": "N", "MetricData": [
            { "MetricName": "CommitSeconds", "Values": [0.1, 2.5, 0.5], "Counts": [4.0, 1.0, 2.0] }
        ]});
        watch.put(&many, 1).unwrap();
        assert_eq!(watch.newest("N", "CommitSeconds"), Some(2.5));
        let none = json!({ "Namespace": "N", "MetricData": [{ "MetricName": "X" }] });
        assert!(watch.put(&none, 1).unwrap_err().contains("X has no value"));
        assert!(watch.put(&json!({ "MetricData": [] }), 1).unwrap_err().contains("Namespace"));
    }

    #[test]
    fn alarms_are_described_by_name() {
        let mut watch = Watch::default();
        watch.add_alarm("a", "N", "A", 1.0, 0);
        watch.add_alarm("b", "N", "B", 1.0, 0);
        let names = |request: Value| {
            watch.alarms(&request).iter().map(|alarm| alarm.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(json!({})), ["a", "b"]);
        assert_eq!(names(json!({ "AlarmNames": ["b", "c"] })), ["b"]);
    }
}
