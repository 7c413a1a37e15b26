//! `deploymentConfiguration`, read once.
//!
//! Neighbours: api parses it, scheduler and deployment obey it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::config::MINUTE;
use super::error::EcsError;
use super::model::Ms;

/// `deploymentCircuitBreaker.thresholdConfiguration`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threshold {
    Count(u32),
    /// Of desiredCount, at least 3 and at most 200; the default, with 50.
    BoundedPercent(u32),
    UnboundedPercent(u32),
}

impl Threshold {
    /// How many failures fail the deployment. "How the Amazon ECS deployment circuit breaker detects failures": rounded
    /// up.
    pub fn failures(self, desired: u32) -> u32 {
        let share = |percent: u32| (u64::from(desired) * u64::from(percent)).div_ceil(100);
        match self {
            Threshold::Count(count) => count.max(1),
            Threshold::BoundedPercent(percent) => u32::try_from(share(percent).clamp(3, 200)).unwrap_or(200),
            Threshold::UnboundedPercent(percent) => u32::try_from(share(percent).max(1)).unwrap_or(u32::MAX),
        }
    }
}

/// `deploymentCircuitBreaker`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Breaker {
    pub enable: bool,
    pub rollback: bool,
    pub reset_on_healthy: bool,
    pub threshold: Threshold,
}

/// `alarms`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Alarms {
    pub enable: bool,
    pub rollback: bool,
    pub names: BTreeSet<Arc<str>>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// As it was sent, merged over what was there.
    pub raw: Map<String, Value>,
    pub minimum_percent: u32,
    pub maximum_percent: u32,
    pub bake_ms: Ms,
    pub breaker: Breaker,
    pub alarms: Alarms,
}

impl Settings {
    pub fn parse(raw: Map<String, Value>) -> Result<Settings, EcsError> {
        let number = |of: Option<&Value>, name: &str, default: u32| match of {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_u64()
                .and_then(|value| u32::try_from(value).ok())
                .ok_or_else(|| invalid(format!("{name} must be a whole number, it is {value}."))),
        };
        let minimum_percent = number(raw.get("minimumHealthyPercent"), "minimumHealthyPercent", 100)?;
        let maximum_percent = number(raw.get("maximumPercent"), "maximumPercent", 200)?;
        if (minimum_percent, maximum_percent) == (100, 100) {
            return Err(invalid(
                "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments."
                    .into(),
            ));
        }
        if maximum_percent < 100 || minimum_percent > maximum_percent {
            return Err(invalid(format!(
                "maximumPercent must be at least 100 and not below minimumHealthyPercent, they are {maximum_percent} \
                 and {minimum_percent}."
            )));
        }
        let bake = number(raw.get("bakeTimeInMinutes"), "bakeTimeInMinutes", 0)?;
        if bake > 1440 {
            return Err(invalid(format!("bakeTimeInMinutes must be within 0 and 1440, it is {bake}.")));
        }
        Ok(Settings {
            minimum_percent,
            maximum_percent,
            bake_ms: Ms::from(bake) * MINUTE,
            breaker: breaker(raw.get("deploymentCircuitBreaker"))?,
            alarms: alarms(raw.get("alarms"))?,
            raw,
        })
    }

    /// The fewest healthy tasks that a deployment leaves: rounded up.
    pub fn fewest(&self, desired: u32) -> u32 {
        let share = (u64::from(desired) * u64::from(self.minimum_percent)).div_ceil(100);
        u32::try_from(share).unwrap_or(u32::MAX)
    }

    /// The most tasks at a time: rounded down.
    pub fn most(&self, desired: u32) -> u32 {
        u32::try_from(u64::from(desired) * u64::from(self.maximum_percent) / 100).unwrap_or(u32::MAX)
    }
}

fn breaker(raw: Option<&Value>) -> Result<Breaker, EcsError> {
    let flag = |key: &str| raw.and_then(|raw| raw.get(key)).and_then(Value::as_bool);
    Ok(Breaker {
        enable: flag("enable").unwrap_or(false),
        rollback: flag("rollback").unwrap_or(false),
        reset_on_healthy: flag("resetOnHealthyTask").unwrap_or(true),
        threshold: threshold(raw.and_then(|raw| raw.get("thresholdConfiguration")))?,
    })
}

fn threshold(raw: Option<&Value>) -> Result<Threshold, EcsError> {
    let Some(raw) = raw.filter(|raw| !raw.is_null()) else { return Ok(Threshold::BoundedPercent(50)) };
    let value = raw.get("value").map_or(Some(50), Value::as_u64).and_then(|value| u32::try_from(value).ok());
    let value = value
        .filter(|value| *value > 0)
        .ok_or_else(|| invalid(format!("thresholdConfiguration.value must be a positive number: {raw}.")))?;
    match raw.get("type").and_then(Value::as_str).unwrap_or("BOUNDED_PERCENT") {
        "COUNT" => Ok(Threshold::Count(value)),
        "BOUNDED_PERCENT" => Ok(Threshold::BoundedPercent(value)),
        "UNBOUNDED_PERCENT" => Ok(Threshold::UnboundedPercent(value)),
        other => Err(invalid(format!(
            "thresholdConfiguration.type must be COUNT, BOUNDED_PERCENT or UNBOUNDED_PERCENT, it is {other}."
        ))),
    }
}

fn alarms(raw: Option<&Value>) -> Result<Alarms, EcsError> {
    let Some(raw) = raw.filter(|raw| !raw.is_null()) else { return Ok(Alarms::default()) };
    let flag = |key: &str| raw.get(key).and_then(Value::as_bool).unwrap_or(false);
    let names = raw.get("alarmNames").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: BTreeSet<Arc<str>> = names.iter().filter_map(Value::as_str).map(Arc::from).collect();
    if flag("enable") && names.is_empty() {
        return Err(invalid("alarms.enable needs at least one name in alarms.alarmNames.".into()));
    }
    Ok(Alarms { enable: flag("enable"), rollback: flag("rollback"), names })
}

fn invalid(message: String) -> EcsError {
    EcsError::InvalidParameter(message)
}
