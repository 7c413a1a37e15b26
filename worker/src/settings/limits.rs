//! Limits: settings that are right by themselves and contradict each other.
//!
//! Neighbours: load; budget says how much memory the settings need. Pure.

use std::time::Duration;

use super::Settings;
use super::fault::Fault;
use super::units::{show_bytes, show_duration};
use crate::budget;

/// An upload older than an hour is never committed; half of that is left for a slow store.
pub(super) const AGE_MAX: Duration = Duration::from_secs(30 * 60);
pub(super) const AGE_WHY: &str = ": uploads older than an hour are never committed";

/// Each at the place of the setting that is the easier to change.
pub(super) fn contradictions(settings: &Settings) -> Vec<Fault> {
    let mut faults = Vec::new();
    let output = &settings.output;
    let mut tell =
        |key: &str, wrong: String, right: String| faults.push(settings.origin.fault(key, wrong, right));
    if output.row_group_bytes > output.file_bytes_max {
        tell(
            "output.row_group_bytes",
            format!(
                "a row group of {} is larger than a file of {} (file_bytes_max)",
                show_bytes(output.row_group_bytes),
                show_bytes(output.file_bytes_max)
            ),
            "make `row_group_bytes` at most `file_bytes_max`".to_owned(),
        );
    }
    if output.idle_max > output.age_max {
        tell(
            "output.idle_max",
            format!(
                "`idle_max` of {} never comes: `age_max` flushes after {}",
                show_duration(output.idle_max),
                show_duration(output.age_max)
            ),
            "make `idle_max` at most `age_max`".to_owned(),
        );
    }
    if settings.health.no_progress_max <= output.age_max {
        tell(
            "health.no_progress_max",
            format!(
                "`no_progress_max` of {} calls a worker sick that flushes every {} (age_max)",
                show_duration(settings.health.no_progress_max),
                show_duration(output.age_max)
            ),
            "make `no_progress_max` at least twice `age_max`".to_owned(),
        );
    }
    if let Some(limit) = settings.memory.limit {
        let needed = budget::needed(settings.memory.record_bytes_max);
        if limit < needed {
            tell(
                "memory.limit",
                format!(
                    "{} is too little for records of up to {} (record_bytes_max)",
                    show_bytes(limit),
                    show_bytes(settings.memory.record_bytes_max)
                ),
                format!("allow at least {}, or lower `record_bytes_max`", show_bytes(needed)),
            );
        }
    }
    let metadata = settings.records.metadata;
    for (index, field) in output.partition_by.iter().enumerate() {
        let is_off = match field.column[0].as_str() {
            "_topic" => !metadata.topic,
            "_partition" => !metadata.partition,
            "_offset" => !metadata.offset,
            "_timestamp" => !metadata.timestamp,
            "_key" => !metadata.key,
            "_headers" => !metadata.headers,
            _ => false,
        };
        if is_off {
            let column = &field.column[0];
            let place = format!("output.partition_by[{index}]");
            let place = if settings.origin.has(&place) { place } else { "records.metadata".to_owned() };
            tell(
                &place,
                format!("`{}` is a partition by `{column}`, which `records.metadata` leaves out", field.name),
                format!("add \"{}\" to `metadata`, or set `output.partition_by`", &column[1..]),
            );
        }
    }
    faults
}
