//! Plan: which encoding each leaf column gets, learnt from the rows themselves.
//!
//! A dictionary costs a hash of every value and pays only where values repeat; deltas pay where neighbours are
//! near. Nobody is asked to know that of their columns: a sample of the first rows tells.
//! Neighbours: encode's writer. Pure.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};

/// Values looked at, for each column.
const SAMPLE_VALUES: usize = 8192;
/// Fewer rows than this say little; what they teach is used once and not kept.
const SAMPLE_ROWS_MIN: usize = 1024;
/// Data changes; after as many files the plan is learnt anew.
const PLAN_FILES: u32 = 64;
/// A dictionary that may outgrow this is not begun: falling back in the middle costs both ways.
const DICTIONARY_BYTES_MAX: f64 = 256.0 * 1024.0;

/// How the values of one leaf column are encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    /// Distinct values once, then their indexes, run-length encoded.
    Dictionary,
    /// As they are.
    Plain,
    /// Differences of neighbours, bit-packed (integers only).
    Delta,
}

/// One coding a leaf column, in the schema's depth-first order, as Parquet orders its columns.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ColumnPlan {
    pub(super) columns: Vec<Coding>,
}

impl ColumnPlan {
    /// Without any data: by type alone.
    pub fn by_type(schema: &Schema) -> Self {
        let mut columns = Vec::new();
        for field in schema.fields() {
            visit_types(field.data_type(), &mut |leaf| columns.push(coding_by_type(leaf)));
        }
        ColumnPlan { columns }
    }

    /// From a sample of these rows. A column without a value in them gets its type's coding.
    pub fn learn(rows: &RecordBatch) -> Self {
        let mut columns = Vec::new();
        for column in rows.columns() {
            visit_leaves(column, &mut |leaf| columns.push(coding_of(leaf)));
        }
        ColumnPlan { columns }
    }
}

/// A plan that all files of one schema share: the first rows teach it.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    kept: Arc<Mutex<Option<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    plan: Arc<ColumnPlan>,
    files_left: u32,
}

impl Learned {
    /// The plan for a file that begins with these rows.
    pub(super) fn plan(&self, rows: &RecordBatch) -> Arc<ColumnPlan> {
        // A panic elsewhere leaves an older plan behind, which is as good.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_mut().filter(|kept| kept.files_left > 0) {
            kept.files_left -= 1;
            return kept.plan.clone();
        }
        let plan = Arc::new(ColumnPlan::learn(rows));
        if rows.num_rows() >= SAMPLE_ROWS_MIN {
            *kept = Some(Kept { plan: plan.clone(), files_left: PLAN_FILES });
        }
        plan
    }
}

fn coding_by_type(leaf: &DataType) -> Coding {
    match leaf {
        DataType::Timestamp(_, _) | DataType::Int64 => Coding::Delta,
        DataType::Boolean | DataType::Float32 | DataType::Float64 => Coding::Plain,
        _ => Coding::Dictionary,
    }
}

/// Calls `each` with every leaf of a type, in Parquet's order.
fn visit_types(data_type: &DataType, each: &mut impl FnMut(&DataType)) {
    match data_type {
        DataType::Struct(fields) => {
            for field in fields {
                visit_types(field.data_type(), each);
            }
        }
        DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => {
            visit_types(field.data_type(), each);
        }
        leaf => each(leaf),
    }
}

/// Calls `each` with every leaf array, in Parquet's order. Rows that a parent's null hides may show; for a sample
/// that is near enough.
fn visit_leaves(array: &ArrayRef, each: &mut impl FnMut(&ArrayRef)) {
    match array.data_type() {
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                visit_leaves(column, each);
            }
        }
        DataType::List(_) => visit_leaves(array.as_list::<i32>().values(), each),
        DataType::LargeList(_) => visit_leaves(array.as_list::<i64>().values(), each),
        DataType::Map(_, _) => {
            let map = array.as_map();
            visit_leaves(map.keys(), each);
            visit_leaves(map.values(), each);
        }
        _ => each(array),
    }
}

fn coding_of(leaf: &ArrayRef) -> Coding {
    let Some(sample) = Sample::take(leaf) else {
        return coding_by_type(leaf.data_type());
    };
    let packed = packed_bits(leaf);
    if sample.repeats() {
        // Kafka's offsets repeat, each partition has its own, and still are sequences: what packs smaller wins.
        let index_bits = (sample.distinct as f64).log2();
        return match packed {
            Some((bits, _)) if bits + 1.0 < index_bits => Coding::Delta,
            Some(_) | None => Coding::Dictionary,
        };
    }
    match packed {
        Some((bits, width)) if bits <= 0.75 * width => Coding::Delta,
        Some(_) | None => Coding::Plain,
    }
}

/// What a sample says of a column's values.
#[derive(Debug, Default)]
struct Sample {
    values: usize,
    bytes: usize,
    distinct: usize,
    /// Values seen exactly once, and exactly twice.
    once: usize,
    twice: usize,
}

impl Sample {
    /// None when there is nothing to learn from: no values, or a type without a choice.
    fn take(leaf: &ArrayRef) -> Option<Sample> {
        let hash = RandomState::new();
        let mut counts: HashMap<u64, u32> = HashMap::with_capacity(SAMPLE_VALUES);
        let mut sample = Sample::default();
        visit_values(leaf, &mut |value| {
            sample.values += 1;
            sample.bytes += value.len();
            *counts.entry(hash.hash_one(value)).or_default() += 1;
        });
        if sample.values == 0 {
            return None;
        }
        sample.distinct = counts.len();
        sample.once = counts.values().filter(|&&count| count == 1).count();
        sample.twice = counts.values().filter(|&&count| count == 2).count();
        Some(sample)
    }

    /// Whether a dictionary pays: values repeat within the sample, and all there may be (Chao's lower bound of
    /// the number of kinds) fit a small dictionary page.
    fn repeats(&self) -> bool {
        let unseen = (self.once * self.once) as f64 / (2.0 * (self.twice as f64 + 1.0));
        let kinds = self.distinct as f64 + unseen;
        let bytes_each = self.bytes as f64 / self.values as f64 + 4.0;
        self.distinct * 2 <= self.values && kinds * bytes_each <= DICTIONARY_BYTES_MAX
    }
}

/// Calls `each` with the bytes of the first values that are not null.
fn visit_values(leaf: &ArrayRef, each: &mut impl FnMut(&[u8])) {
    let present = (0..leaf.len()).filter(|&index| leaf.is_valid(index)).take(SAMPLE_VALUES);
    match leaf.data_type() {
        DataType::Utf8 => present.for_each(|index| each(leaf.as_string::<i32>().value(index).as_bytes())),
        DataType::LargeUtf8 => {
            present.for_each(|index| each(leaf.as_string::<i64>().value(index).as_bytes()))
        }
        DataType::Utf8View => present.for_each(|index| each(leaf.as_string_view().value(index).as_bytes())),
        DataType::Binary => present.for_each(|index| each(leaf.as_binary::<i32>().value(index))),
        DataType::LargeBinary => present.for_each(|index| each(leaf.as_binary::<i64>().value(index))),
        DataType::BinaryView => present.for_each(|index| each(leaf.as_binary_view().value(index))),
        DataType::Dictionary(_, _) => {
            // The producer knows that values repeat; the keys say how much.
            if let Some(keys) = leaf.as_any_dictionary_opt() {
                let keys = keys.normalized_keys();
                present.for_each(|index| each(&keys[index].to_le_bytes()));
            }
        }
        primitive => {
            let Some(width) = primitive.primitive_width() else { return };
            let data = leaf.to_data();
            let bytes = data.buffers()[0].as_slice();
            present.for_each(|index| {
                let start = (data.offset() + index) * width;
                each(&bytes[start..start + width]);
            });
        }
    }
}

/// The bits that integers need on average as packed deltas, and as they are; none for other types. Decimals are
/// integers in Parquet up to 18 digits.
fn packed_bits(leaf: &ArrayRef) -> Option<(f64, f64)> {
    let width = match leaf.data_type() {
        DataType::Int32 | DataType::Date32 => 32.0,
        DataType::Decimal128(digits, _) if *digits <= 9 => 32.0,
        DataType::Int64 | DataType::Timestamp(_, _) => 64.0,
        DataType::Decimal128(digits, _) if *digits <= 18 => 64.0,
        _ => return None,
    };
    let mut values = Vec::with_capacity(SAMPLE_VALUES);
    visit_values(leaf, &mut |bytes| values.push(low_i64(bytes)));
    let deltas: Vec<i64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    if deltas.is_empty() {
        return None;
    }
    // As the encoding does it: each block stores its smallest delta, then the distances from it.
    let bits = |block: &[i64]| {
        let least = block.iter().min().copied().unwrap_or(0);
        let most = block.iter().max().copied().unwrap_or(0);
        f64::from(64 - most.wrapping_sub(least).cast_unsigned().leading_zeros()) * block.len() as f64
    };
    Some((deltas.chunks(64).map(bits).sum::<f64>() / deltas.len() as f64, width))
}

/// The value of a little-endian integer, cut to 64 bits.
fn low_i64(bytes: &[u8]) -> i64 {
    if let Ok(four) = bytes.try_into() {
        return i64::from(i32::from_le_bytes(four));
    }
    let mut eight = [0; 8];
    let length = bytes.len().min(8);
    eight[..length].copy_from_slice(&bytes[..length]);
    i64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::{
        BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, StructArray,
        TimestampMicrosecondArray,
    };
    use arrow_schema::Field;

    use super::*;

    fn plan_of(column: ArrayRef) -> Coding {
        let rows = RecordBatch::try_from_iter([("c", column)]).unwrap();
        ColumnPlan::learn(&rows).columns[0]
    }

    /// Spread over the whole range, the same every time.
    fn scattered(index: i64) -> i64 {
        index.wrapping_mul(0x5851_F42D_4C95_7F2D).rotate_left(17).wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    #[test]
    fn few_words_get_a_dictionary_and_ids_do_not() {
        let words = StringArray::from_iter_values((0..5000).map(|i| ["view", "cart", "buy"][i % 3]));
        let ids = StringArray::from_iter_values((0..5000).map(|i| format!("{:x}", scattered(i))));
        assert_eq!(plan_of(Arc::new(words)), Coding::Dictionary);
        assert_eq!(plan_of(Arc::new(ids)), Coding::Plain);
    }

    #[test]
    fn words_too_many_for_a_page_get_no_dictionary() {
        // Each value twice, so half of the sample repeats, but the kinds are far more than were seen.
        let names = StringArray::from_iter_values((0..8000).map(|i| format!("{:0>100}", i / 2)));
        assert_eq!(plan_of(Arc::new(names)), Coding::Plain);
    }

    #[test]
    fn sequences_and_times_get_deltas_and_random_numbers_do_not() {
        let sequence = Int64Array::from_iter_values(1_000_000..1_005_000);
        let times = TimestampMicrosecondArray::from_iter_values(
            (0..5000).map(|i| 1_795_000_000_000_000 + i * 1000 + scattered(i) % 900),
        );
        let numbers = Int64Array::from_iter_values((0..5000).map(scattered));
        let prices = Decimal128Array::from_iter_values((0..5000).map(|i| i128::from(scattered(i) % 9_999)))
            .with_precision_and_scale(10, 2)
            .unwrap();
        assert_eq!(plan_of(Arc::new(sequence)), Coding::Delta);
        assert_eq!(plan_of(Arc::new(times)), Coding::Delta);
        assert_eq!(plan_of(Arc::new(numbers)), Coding::Plain);
        assert_eq!(plan_of(Arc::new(prices)), Coding::Delta);
    }

    #[test]
    fn offsets_of_partitions_in_lockstep_get_deltas_though_they_repeat() {
        let offsets = Int64Array::from_iter_values((0..8000).map(|i| 7_000_000 + i % 1000));
        assert_eq!(plan_of(Arc::new(offsets)), Coding::Delta);
    }

    #[test]
    fn small_counts_get_a_dictionary() {
        let counts = Int64Array::from_iter_values((0..8000).map(|i| scattered(i).rem_euclid(9)));
        let same = Int64Array::from_iter_values((0..8000).map(|_| 3));
        assert_eq!(plan_of(Arc::new(counts)), Coding::Dictionary);
        assert_eq!(plan_of(Arc::new(same)), Coding::Dictionary);
    }

    #[test]
    fn measurements_stay_as_they_are() {
        let doubles = Float64Array::from_iter_values((0..5000).map(|i| scattered(i) as f64));
        assert_eq!(plan_of(Arc::new(doubles)), Coding::Plain);
    }

    #[test]
    fn a_column_of_nulls_is_planned_by_its_type() {
        assert_eq!(plan_of(Arc::new(Int64Array::new_null(100))), Coding::Delta);
        assert_eq!(plan_of(Arc::new(StringArray::new_null(100))), Coding::Dictionary);
        assert_eq!(plan_of(Arc::new(BooleanArray::new_null(100))), Coding::Plain);
    }

    #[test]
    fn leaves_come_in_the_order_of_parquets_columns() {
        let mut tags = ListBuilder::new(StringBuilder::new());
        let mut counts = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        for _ in 0..3 {
            tags.values().append_value("red");
            tags.append(true);
            counts.keys().append_value("a");
            counts.values().append_value(1);
            counts.append(true).unwrap();
        }
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true]));
        let nested = StructArray::from(vec![
            (Arc::new(Field::new("n", DataType::Int64, true)), inner),
            (Arc::new(Field::new("b", DataType::Boolean, true)), flag),
        ]);
        let rows = RecordBatch::try_from_iter([
            ("tags", Arc::new(tags.finish()) as ArrayRef),
            ("counts", Arc::new(counts.finish())),
            ("nested", Arc::new(nested)),
        ])
        .unwrap();
        let parquet = parquet::arrow::ArrowSchemaConverter::new().convert(&rows.schema()).unwrap();
        assert_eq!(ColumnPlan::by_type(&rows.schema()).columns.len(), parquet.num_columns());
        assert_eq!(ColumnPlan::learn(&rows).columns.len(), parquet.num_columns());
    }

    #[test]
    fn what_enough_rows_taught_is_kept_for_the_next_files_and_then_learnt_anew() {
        let learned = Learned::default();
        let batch = |values: Vec<i64>| {
            RecordBatch::try_from_iter([("c", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap()
        };
        let few = batch(vec![7; 10]);
        let same = batch(vec![7; 2000]);
        let numbers = batch((0..2000).map(scattered).collect());

        assert_eq!(learned.plan(&few).columns, [Coding::Dictionary]);
        assert_eq!(learned.plan(&numbers).columns, [Coding::Plain], "ten rows teach nobody");
        for _ in 0..PLAN_FILES {
            assert_eq!(learned.plan(&same).columns, [Coding::Plain]);
        }
        assert_eq!(learned.plan(&same).columns, [Coding::Dictionary]);
    }
}
