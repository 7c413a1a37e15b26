//! Text: a value as the name of a directory, as Hive writes it.
//!
//! Neighbours: route alone.

use std::fmt::{self, Write};

use crate::settings::PartitionTransform;

/// What Hive, Spark, DuckDB and pyarrow read as null.
pub const NULL_DIRECTORY: &str = "__HIVE_DEFAULT_PARTITION__";

/// A value's bytes, escaped, in a directory's name: a local file system allows 255, the field's name among them, S3
/// 1,024 for the whole key.
pub(super) const VALUE_BYTES_MAX: usize = 160;

/// What rows of one directory share: the day, or the part of it that `transform` keeps.
pub(super) fn calendar_key(transform: PartitionTransform, days: i64) -> i64 {
    match transform {
        PartitionTransform::Year => civil(days).0,
        PartitionTransform::Month => civil(days).1,
        PartitionTransform::Day => civil(days).2,
        PartitionTransform::Date | PartitionTransform::Identity | PartitionTransform::Hour => days,
    }
}

pub(super) fn write_calendar(transform: PartitionTransform, key: i64, path: &mut String) {
    match transform {
        PartitionTransform::Year => write_year(key, path),
        PartitionTransform::Month | PartitionTransform::Day | PartitionTransform::Hour => {
            append(path, format_args!("{key:02}"));
        }
        PartitionTransform::Date | PartitionTransform::Identity => {
            let (year, month, day) = civil(key);
            write_year(year, path);
            append(path, format_args!("-{month:02}-{day:02}"));
        }
    }
}

/// Four digits; more, or a year before 0, with a sign. Source: ISO 8601, expanded representations.
fn write_year(year: i64, path: &mut String) {
    match year {
        0..=9999 => append(path, format_args!("{year:04}")),
        _ => append(path, format_args!("{year:+05}")),
    }
}

/// Year, month and day of a number of days since 1970-01-01, proleptic Gregorian. Calendar crates end before
/// microseconds do.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March, so that a leap day is a year's last; 400 years (an era) repeat exactly.
    let since_era_0 = days + 719_468;
    let era = since_era_0.div_euclid(146_097);
    let day_of_era = since_era_0.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

pub(super) fn write_value(path: &mut String, value: Option<impl fmt::Display>) {
    match value {
        Some(value) => append(path, format_args!("{value}")),
        None => path.push_str(NULL_DIRECTORY),
    }
}

pub(super) fn append(path: &mut String, text: fmt::Arguments<'_>) {
    path.write_fmt(text).expect("a String takes everything");
}

/// Appends a string as Hive does: `%XX` for what means something in a path or to a shell, the rest as it is.
pub(super) fn write_text(value: Option<&str>, path: &mut String) {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        path.push_str(NULL_DIRECTORY);
        return;
    };
    let start = path.len();
    if value == NULL_DIRECTORY {
        // DuckDB and Spark compare before they unescape.
        path.push_str("%5F");
        path.push_str(&value[1..]);
        return;
    }
    let mut cut_at = start;
    for c in value.chars() {
        if is_special(c) {
            append(path, format_args!("%{:02X}", u32::from(c)));
        } else {
            path.push(c);
        }
        if path.len() - start <= VALUE_BYTES_MAX - 17 {
            cut_at = path.len();
        }
        if path.len() - start > VALUE_BYTES_MAX {
            path.truncate(cut_at);
            append(path, format_args!("~{:016x}", fnv1a(value.as_bytes())));
            return;
        }
    }
}

/// Source: Hive's `FileUtils.escapePathName`; Spark's `ExternalCatalogUtils` has the same.
fn is_special(c: char) -> bool {
    c.is_ascii_control()
        || matches!(c, '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^')
}

/// Tells long values with one beginning apart; the same on every machine and in every version.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
