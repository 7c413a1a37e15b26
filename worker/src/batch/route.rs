//! Route: which Hive directory each row goes to, `dt=2026-11-22/hour=07`.
//!
//! Order: within a directory, rows keep the order in which they came.
//! Neighbours: settings say by what, schema where that is; encode gets one file a directory. Pure.
//!
//! A directory's name is a column to every reader, so no file may hold a column of that name (pyarrow refuses the
//! table, Athena the declaration). A directory that takes a top-level column as it is, under its own name,
//! therefore replaces it, as Spark's `partitionBy` does; any other clash is refused. As in Hive, an empty string
//! is written as null is, and a value too long for a directory is cut. Who must keep those apart gives the
//! directory another name: then the column stays in the file.

mod text;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef, TimeUnit};
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;

use crate::schema::{PathError, resolve};
use crate::settings::{PartitionField, PartitionTransform};

pub use self::text::NULL_DIRECTORY;
use self::text::{append, calendar_key, write_calendar, write_text, write_value};

/// As many bytes as leave a value room in a directory's name.
const NAME_BYTES_MAX: usize = 64;
/// From runs of this many rows on, copying runs costs less than copying rows.
const RUN_ROWS_MIN: usize = 16;
const SECONDS_A_DAY: i64 = 86_400;

/// Where rows lie below `data/`, without slashes at its ends; empty when nothing is partitioned.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PartitionPath(Arc<str>);

impl PartitionPath {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PartitionPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why rows cannot be partitioned like this.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    #[error("partition by `{name}`")]
    Column { name: String, source: PathError },
    #[error("partition by `{name}`: column `{column}` is {found}; {transform:?} needs {needed}")]
    Type {
        name: String,
        column: String,
        found: DataType,
        transform: PartitionTransform,
        needed: &'static str,
    },
    #[error(
        "partition by `{name}`: the files have a column of that name with other values; choose another name"
    )]
    Clash { name: String },
    #[error("partition by `{name}`: the name stands twice")]
    Twice { name: String },
    #[error("partition by `{name}`: a name is a letter, then up to 63 letters, digits, `_` or `-`")]
    Name { name: String },
    #[error("partition by every column: nothing is left for the files")]
    NothingLeft,
    #[error("sort {rows} rows into directories")]
    Take { rows: usize, source: ArrowError },
}

/// How rows of one schema are partitioned.
#[derive(Clone, Debug)]
pub struct PartitionSpec {
    fields: Vec<Level>,
    /// Columns that stay in the file; none = all.
    kept: Option<Vec<usize>>,
    file_schema: SchemaRef,
}

#[derive(Clone, Debug)]
struct Level {
    name: String,
    /// Indexes of columns from the top, the last one's type is `kind`'s.
    path: Vec<usize>,
    transform: PartitionTransform,
}

impl PartitionSpec {
    /// Checks names, columns and types; reports every fault.
    pub fn new(fields: &[PartitionField], schema: &Schema) -> Result<Self, Vec<PartitionError>> {
        let mut faults = Vec::new();
        let mut levels: Vec<Level> = Vec::new();
        let mut dropped = Vec::new();
        for field in fields {
            if let Err(fault) = check_name(field, &levels) {
                faults.push(fault);
            }
            match column(field, schema) {
                Ok(path) => {
                    let clash = schema.fields().iter().position(|one| same_name(one.name(), &field.name));
                    match clash {
                        Some(column)
                            if path == [column] && field.transform == PartitionTransform::Identity =>
                        {
                            dropped.push(column);
                        }
                        Some(_) => faults.push(PartitionError::Clash { name: field.name.clone() }),
                        None => {}
                    }
                    levels.push(Level { name: field.name.clone(), path, transform: field.transform });
                }
                Err(fault) => faults.push(fault),
            }
        }
        if !dropped.is_empty() && dropped.len() == schema.fields().len() {
            faults.push(PartitionError::NothingLeft);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let kept: Vec<usize> =
            (0..schema.fields().len()).filter(|column| !dropped.contains(column)).collect();
        let file_schema = Arc::new(schema.project(&kept).expect("indexes are the schema's own"));
        Ok(PartitionSpec { fields: levels, kept: (!dropped.is_empty()).then_some(kept), file_schema })
    }

    /// The columns that files hold: the schema's without those that a directory replaces.
    pub fn file_schema(&self) -> &SchemaRef {
        &self.file_schema
    }

    /// The rows of each directory, with the file's columns, in the order in which directories first appear.
    /// Rows of one directory alone, or side by side, are not copied.
    pub fn route(&self, rows: &RecordBatch) -> Result<Vec<(PartitionPath, RecordBatch)>, PartitionError> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let taken = |source| PartitionError::Take { rows: rows.num_rows(), source };
        let groups = self.groups(rows);
        let kept = match &self.kept {
            Some(kept) => rows.project(kept).map_err(taken)?,
            None => rows.clone(),
        };
        if groups.paths.len() == 1 {
            return Ok(groups.paths.into_iter().map(|path| (path.finish(), kept.clone())).collect());
        }
        let members = groups.members();
        let cut = |(path, members): (Path, Vec<u32>)| {
            let (first, length) = (members[0] as usize, members.len());
            let runs = 1 + members.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
            let part = if runs == 1 {
                kept.slice(first, length)
            } else if length >= runs * RUN_ROWS_MIN {
                // Few late rows between many that are not: copied run by run.
                let mut mine = vec![false; kept.num_rows()];
                members.iter().for_each(|&row| mine[row as usize] = true);
                filter_record_batch(&kept, &BooleanArray::from(mine)).map_err(taken)?
            } else {
                take_record_batch(&kept, &UInt32Array::from(members)).map_err(taken)?
            };
            Ok((path.finish(), part))
        };
        groups.paths.into_iter().zip(members).map(cut).collect()
    }

    fn groups(&self, rows: &RecordBatch) -> Groups {
        let mut groups = Groups { of_row: vec![0; rows.num_rows()], paths: vec![Path::default()] };
        for level in &self.fields {
            let (array, nulls) = column_at(rows, &level.path);
            level.refine(&array, nulls.as_ref(), &mut groups);
        }
        groups
    }
}

fn check_name(field: &PartitionField, before: &[Level]) -> Result<(), PartitionError> {
    let name = field.name.clone();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    // pyarrow and Hive take a directory that begins with `_` for hidden.
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !begins_well || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        return Err(PartitionError::Name { name });
    }
    if before.iter().any(|level| same_name(&level.name, &name)) {
        return Err(PartitionError::Twice { name });
    }
    Ok(())
}

/// As Athena and Spark compare them.
fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Where the field's column stands, if it is one that the transform can read.
fn column(field: &PartitionField, schema: &Schema) -> Result<Vec<usize>, PartitionError> {
    let found = resolve(schema, &field.column)
        .map_err(|source| PartitionError::Column { name: field.name.clone(), source })?;
    check_type(field, &found.data_type)?;
    Ok(found.indices)
}

fn check_type(field: &PartitionField, found: &DataType) -> Result<(), PartitionError> {
    let instant = match found {
        DataType::Timestamp(_, None) => true,
        DataType::Timestamp(_, Some(zone)) => matches!(zone.as_ref(), "UTC" | "+00:00"),
        _ => false,
    };
    let (fits, needed) = match field.transform {
        PartitionTransform::Identity => (
            matches!(
                found,
                DataType::Utf8
                    | DataType::LargeUtf8
                    | DataType::Utf8View
                    | DataType::Boolean
                    | DataType::Date32
                    | DataType::Int8
                    | DataType::Int16
                    | DataType::Int32
                    | DataType::Int64
            ),
            "a string, an integer, a boolean or a date",
        ),
        PartitionTransform::Hour => (instant, "a timestamp in UTC"),
        PartitionTransform::Date
        | PartitionTransform::Year
        | PartitionTransform::Month
        | PartitionTransform::Day => (instant || *found == DataType::Date32, "a timestamp in UTC or a date"),
    };
    if fits {
        return Ok(());
    }
    Err(PartitionError::Type {
        name: field.name.clone(),
        column: field.column.join("."),
        found: found.clone(),
        transform: field.transform,
        needed,
    })
}

/// A column, and where it or any struct around it is null.
fn column_at(rows: &RecordBatch, path: &[usize]) -> (ArrayRef, Option<NullBuffer>) {
    let mut array = rows.column(path[0]).clone();
    let mut nulls = array.nulls().cloned();
    for &index in &path[1..] {
        array = array.as_struct().column(index).clone();
        nulls = NullBuffer::union(nulls.as_ref(), array.nulls());
    }
    (array, nulls)
}

/// A directory's path while levels are added.
#[derive(Clone, Debug, Default)]
struct Path(String);

impl Path {
    fn finish(self) -> PartitionPath {
        PartitionPath(self.0.into())
    }
}

/// Which directory each row goes to, level by level.
struct Groups {
    of_row: Vec<u32>,
    paths: Vec<Path>,
}

impl Groups {
    /// Splits each group by the value that `key` gives a row. Neighbours are mostly alike, so a row like the one
    /// before it costs one comparison.
    fn refine<K: Copy + Eq + Hash>(
        &mut self,
        key: impl Fn(usize) -> K,
        name: &str,
        text: impl Fn(K, &mut String),
    ) {
        let before = std::mem::take(&mut self.paths);
        let mut seen: HashMap<(u32, K), u32> = HashMap::new();
        let mut last = None;
        for (row, group) in self.of_row.iter_mut().enumerate() {
            let here = (*group, key(row));
            if let Some((like, to)) = last
                && like == here
            {
                *group = to;
                continue;
            }
            let paths = &mut self.paths;
            let to = *seen.entry(here).or_insert_with(|| {
                let mut path = before[here.0 as usize].clone();
                if !path.0.is_empty() {
                    path.0.push('/');
                }
                path.0.push_str(name);
                path.0.push('=');
                text(here.1, &mut path.0);
                paths.push(path);
                u32::try_from(paths.len() - 1).expect("a batch has fewer than 2^32 rows")
            });
            *group = to;
            last = Some((here, to));
        }
    }

    /// The rows of each group, in order.
    fn members(&self) -> Vec<Vec<u32>> {
        let mut members = vec![Vec::new(); self.paths.len()];
        for (row, &group) in (0..).zip(&self.of_row) {
            members[group as usize].push(row);
        }
        members
    }
}

impl Level {
    fn refine(&self, array: &ArrayRef, nulls: Option<&NullBuffer>, groups: &mut Groups) {
        let present = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        match array.data_type() {
            DataType::Utf8 => {
                let array = array.as_string::<i32>();
                let key = |row| present(row).then(|| array.value(row));
                groups.refine(key, &self.name, write_text);
            }
            DataType::LargeUtf8 => {
                let array = array.as_string::<i64>();
                groups.refine(|row| present(row).then(|| array.value(row)), &self.name, write_text);
            }
            DataType::Utf8View => {
                let array = array.as_string_view();
                groups.refine(|row| present(row).then(|| array.value(row)), &self.name, write_text);
            }
            DataType::Boolean => {
                let array = array.as_boolean();
                let key = |row| present(row).then(|| array.value(row));
                groups.refine(key, &self.name, |value, path| write_value(path, value));
            }
            DataType::Int8 => {
                let values = array.as_primitive::<Int8Type>().values();
                self.refine_number(|row| i64::from(values[row]), present, groups);
            }
            DataType::Int16 => {
                let values = array.as_primitive::<Int16Type>().values();
                self.refine_number(|row| i64::from(values[row]), present, groups);
            }
            DataType::Int32 => {
                let values = array.as_primitive::<Int32Type>().values();
                self.refine_number(|row| i64::from(values[row]), present, groups);
            }
            DataType::Int64 => {
                let values = array.as_primitive::<Int64Type>().values();
                self.refine_number(|row| values[row], present, groups);
            }
            DataType::Date32 => {
                let values = array.as_primitive::<Date32Type>().values();
                self.refine_time(|row| i64::from(values[row]), 1, present, groups);
            }
            DataType::Timestamp(unit, _) => {
                let values = match unit {
                    TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
                    TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
                    TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
                    TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
                };
                let a_second = match unit {
                    TimeUnit::Second => 1,
                    TimeUnit::Millisecond => 1_000,
                    TimeUnit::Microsecond => 1_000_000,
                    TimeUnit::Nanosecond => 1_000_000_000,
                };
                self.refine_time(|row| values[row], a_second * SECONDS_A_DAY, present, groups);
            }
            other => unreachable!("PartitionSpec::new refuses {other}"),
        }
    }

    fn refine_number(
        &self,
        value: impl Fn(usize) -> i64,
        present: impl Fn(usize) -> bool,
        groups: &mut Groups,
    ) {
        let key = |row| present(row).then(|| value(row));
        groups.refine(key, &self.name, |value, path| write_value(path, value));
    }

    /// `value` counts from 1970 in units of which a day has `a_day`.
    fn refine_time(
        &self,
        value: impl Fn(usize) -> i64,
        a_day: i64,
        present: impl Fn(usize) -> bool,
        groups: &mut Groups,
    ) {
        // Compared as days or hours, which few rows differ in; turned into text once a directory.
        let transform = self.transform;
        if transform == PartitionTransform::Hour {
            let an_hour = a_day / 24;
            let key = |row| present(row).then(|| value(row).rem_euclid(a_day) / an_hour);
            groups.refine(key, &self.name, |hour, path| match hour {
                Some(hour) => append(path, format_args!("{hour:02}")),
                None => path.push_str(NULL_DIRECTORY),
            });
            return;
        }
        let key = |row| present(row).then(|| calendar_key(transform, value(row).div_euclid(a_day)));
        groups.refine(key, &self.name, |key, path| match key {
            Some(key) => write_calendar(transform, key, path),
            None => path.push_str(NULL_DIRECTORY),
        });
    }
}

#[cfg(test)]
mod tests;
