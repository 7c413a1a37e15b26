//! What a file's bytes must hold, read back by parquet's own reader.

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use arrow_select::concat::concat_batches;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use proptest::prelude::*;

use super::*;

fn schema() -> SchemaRef {
    let point = Fields::from(vec![
        Field::new("x", DataType::Float64, true),
        Field::new("ok", DataType::Boolean, true),
    ]);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
        Field::new("point", DataType::Struct(point), true),
        Field::new("tags", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true),
        Field::new("at", utc, true),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
    ]))
}

/// Rows `start..start + length` of an endless table that is always the same.
fn rows(start: usize, length: usize) -> RecordBatch {
    let range = start as i64..(start + length) as i64;
    let scattered = |i: i64| i.wrapping_mul(0x5851_F42D_4C95_7F2D).rotate_left(17);
    let present = |i: i64, every: i64| (i % every != 0).then_some(i);
    let mut tags =
        ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for i in range.clone() {
        for tag in 0..i % 4 {
            tags.values().append_value(format!("tag-{tag}"));
        }
        tags.append(i % 7 != 0);
    }
    let x: ArrayRef =
        Arc::new(Float64Array::from_iter(range.clone().map(|i| present(i, 5).map(|i| i as f64 / 3.0))));
    let ok: ArrayRef =
        Arc::new(BooleanArray::from_iter(range.clone().map(|i| present(i, 6).map(|i| i % 2 == 0))));
    let DataType::Struct(point) = schema().field(3).data_type().clone() else { unreachable!() };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(range.clone().map(|i| format!("{:016x}", scattered(i))))),
        Arc::new(StringArray::from_iter(
            range.clone().map(|i| present(i, 9).map(|i| ["view", "buy"][i as usize % 2])),
        )),
        Arc::new(Int64Array::from_iter(range.clone().map(|i| present(i, 4).map(scattered)))),
        Arc::new(StructArray::new(point, vec![x, ok], None)),
        Arc::new(tags.finish()),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(
                range.clone().map(|i| 1_795_000_000_000_000 + i * 977),
            )
            .with_timezone("UTC"),
        ),
        Arc::new(Int32Array::from_iter_values(range.clone().map(|i| (i / 100 % 3) as i32))),
        Arc::new(Int64Array::from_iter_values(range)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn read(file: Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn metadata(file: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(file)
        .unwrap()
}

fn file_of(batches: &[RecordBatch], options: &EncodeOptions) -> Bytes {
    let mut writer = FileWriter::new(schema(), options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    let finished = writer.finish(Vec::new()).unwrap();
    finished.parts.concat().into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn parts_put_together_are_a_file_with_every_row_in_order(
        lengths in proptest::collection::vec(0usize..3000, 1..8),
        row_group_bytes in 20_000u64..300_000,
        part_bytes in 10_000usize..200_000,
        close_every in 1usize..6,
        take_every in 1usize..4,
    ) {
        let options = EncodeOptions { row_group_bytes, part_bytes, ..EncodeOptions::default() };
        let mut writer = FileWriter::new(schema(), &options).unwrap();
        let (mut parts, mut total) = (Vec::new(), 0);
        for (index, &length) in lengths.iter().enumerate() {
            writer.write(&rows(total, length)).unwrap();
            total += length;
            if index % close_every == 0 {
                writer.close_row_group().unwrap();
            }
            if index % take_every == 0 {
                parts.extend(writer.take_parts(part_bytes));
            }
            prop_assert_eq!(writer.rows(), total as u64);
        }
        let finished = writer.finish(Vec::new()).unwrap();
        parts.extend(finished.parts);
        for part in &parts[..parts.len() - 1] {
            prop_assert_eq!(part.len(), part_bytes);
        }
        let file = Bytes::from(parts.concat());
        prop_assert_eq!(finished.bytes, file.len() as u64);
        prop_assert_eq!(finished.rows, total as u64);
        prop_assert_eq!(read(file), rows(0, total));
    }
}

#[test]
fn a_file_without_rows_opens() {
    let file = file_of(&[], &EncodeOptions::default());
    assert_eq!(read(file).num_rows(), 0);
}

#[test]
fn every_column_has_a_page_index_with_pages_of_bounded_rows() {
    let file = file_of(&[rows(0, 20_000)], &EncodeOptions::default());
    let metadata = metadata(&file);
    assert_eq!(metadata.num_row_groups(), 1);
    let index = metadata.page_index().expect("policy is `Required`");
    for column in 0..metadata.row_group(0).num_columns() {
        assert!(index.column_index(0, column).is_some(), "column {column}");
        let pages = index.offset_index(0, column).expect("an offset index").page_locations();
        assert!(pages.len() >= 3, "column {column}: {} pages", pages.len());
        for pair in pages.windows(2) {
            assert!(pair[1].first_row_index - pair[0].first_row_index <= PAGE_ROWS_MAX as i64);
        }
    }
}

#[test]
fn pages_are_where_the_page_index_says() {
    let file = file_of(&[rows(0, 50_000), rows(50_000, 50_000)], &EncodeOptions::default());
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    // Rows in the middle of pages, one page skipped between them.
    let wanted = RowSelection::from_consecutive_ranges([20_000..20_010, 40_000..41_000].into_iter(), 100_000);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
    let found: Vec<RecordBatch> =
        reader.with_row_selection(wanted).build().unwrap().map(|batch| batch.unwrap()).collect();
    let expected = concat_batches(&schema(), &[rows(20_000, 10), rows(40_000, 1000)]).unwrap();
    assert_eq!(concat_batches(&schema(), &found).unwrap(), expected);
}

#[test]
fn one_value_may_be_larger_than_any_page() {
    let text: ArrayRef =
        Arc::new(StringArray::from(vec!["a".to_owned(), "b".repeat(6_000_000), "c".to_owned()]));
    let rows = RecordBatch::try_from_iter([("text", text)]).unwrap();
    let mut writer = FileWriter::new(rows.schema(), &EncodeOptions::default()).unwrap();
    writer.write(&rows).unwrap();
    let file = writer.finish(Vec::new()).unwrap().parts.concat();
    assert_eq!(read(file.into()), rows);
}

#[test]
fn files_may_be_written_by_any_thread() {
    fn assert_send<T: Send>(_: &T) {}
    let mut writer = FileWriter::new(schema(), &EncodeOptions::default()).unwrap();
    assert_send(&writer);
    writer.write(&rows(0, 10_000)).unwrap();
    let writer = std::thread::spawn(move || {
        writer.write(&rows(10_000, 10_000)).unwrap();
        writer
    })
    .join()
    .unwrap();
    assert_eq!(read(writer.finish(Vec::new()).unwrap().parts.concat().into()), rows(0, 20_000));
}

#[test]
fn encodings_follow_the_data() {
    let file = file_of(&[rows(0, 20_000)], &EncodeOptions::default());
    let metadata = metadata(&file);
    let has = |path: &str, encoding: Encoding| {
        let columns = metadata.row_group(0).columns();
        let column = columns.iter().find(|column| column.column_path().string() == path).unwrap();
        column.encodings().any(|one| one == encoding)
    };
    assert!(has("_offset", Encoding::DELTA_BINARY_PACKED));
    assert!(has("at", Encoding::DELTA_BINARY_PACKED));
    assert!(has("kind", Encoding::RLE_DICTIONARY));
    assert!(has("_partition", Encoding::RLE_DICTIONARY));
    assert!(has("tags.list.element", Encoding::RLE_DICTIONARY));
    assert!(!has("id", Encoding::RLE_DICTIONARY));
    assert!(!has("count", Encoding::RLE_DICTIONARY));
}

#[test]
fn the_footer_carries_who_wrote_it_and_what_it_was_told() {
    let mut writer = FileWriter::new(schema(), &EncodeOptions::default()).unwrap();
    writer.write(&rows(0, 10)).unwrap();
    let finished = writer.finish(vec![("landfall.entry_id".into(), "e-1".into())]).unwrap();
    let metadata = metadata(&finished.parts.concat().into());
    let file = metadata.file_metadata();
    assert_eq!(file.created_by(), Some(concat!("landfall ", env!("CARGO_PKG_VERSION"))));
    let pairs = file.key_value_metadata().expect("pairs were given");
    assert!(pairs.iter().any(|pair| pair.key == "landfall.entry_id" && pair.value.as_deref() == Some("e-1")));
}

#[test]
fn a_row_group_is_closed_near_its_bytes() {
    let options = EncodeOptions { row_group_bytes: 400_000, ..EncodeOptions::default() };
    let file = file_of(&[rows(0, 100_000)], &options);
    let metadata = metadata(&file);
    assert!(metadata.num_row_groups() > 2);
    for group in &metadata.row_groups()[..metadata.num_row_groups() - 1] {
        let bytes: i64 = group.columns().iter().map(|column| column.compressed_size()).sum();
        assert!((200_000..=800_000).contains(&bytes), "{bytes}");
    }
}

#[test]
fn the_size_told_while_writing_is_near_the_files_own() {
    let mut writer = FileWriter::new(schema(), &EncodeOptions::default()).unwrap();
    for batch in 0..20 {
        writer.write(&rows(batch * 5000, 5000)).unwrap();
    }
    let told = writer.encoded_bytes() as f64;
    let bytes = writer.finish(Vec::new()).unwrap().bytes as f64;
    assert!((0.8..1.3).contains(&(told / bytes)), "told {told}, became {bytes}");
}

#[test]
fn closing_a_row_group_and_taking_its_parts_gives_memory_back() {
    let mut writer = FileWriter::new(schema(), &EncodeOptions::default()).unwrap();
    writer.write(&rows(0, 50_000)).unwrap();
    let (open, sheddable) = (writer.memory_bytes(), writer.sheddable_bytes() as f64);
    writer.close_row_group().unwrap();
    let closed = writer.sheddable_bytes() as f64;
    let parts = writer.take_parts(64 * 1024);
    assert!((0.8..1.25).contains(&(closed / sheddable)), "{sheddable} told, {closed} came");
    let left = writer.memory_bytes();
    assert!(left < 400 * 1024 && left < open / 2, "{open} before, {left} after");
    assert!(!parts.is_empty());
}

#[test]
fn a_level_that_zstd_does_not_know_is_refused() {
    for zstd_level in [0, -5, 23] {
        let options = EncodeOptions { zstd_level, ..EncodeOptions::default() };
        assert!(matches!(FileWriter::new(schema(), &options), Err(EncodeError::Level { .. })));
    }
}
