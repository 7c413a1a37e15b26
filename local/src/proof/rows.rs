//! Rows: Arrow arrays, as they come out of Parquet, in canonical spelling.
//!
//! Neighbours: proof reads files with it. Pure.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};

use crate::canonical::Value;

/// All values of one row whose column's name passes `wanted`, in the file's order.
pub fn row(batch: &RecordBatch, row: usize, wanted: impl Fn(&str) -> bool) -> Vec<(String, Value)> {
    let schema = batch.schema_ref();
    schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| wanted(field.name()))
        .map(|(field, column)| (field.name().clone(), value(column, row)))
        .collect()
}

/// The value of one cell.
pub fn value(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Value::Int(8, array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Value::Int(16, array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Int(32, array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(64, array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => Value::float(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Value::double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            Value::Decimal { unscaled: array.as_primitive::<Decimal128Type>().value(row), scale: *scale }
        }
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if matches!(&**zone, "+00:00" | "UTC") => {
            Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Utf8 => Value::text(array.as_string::<i32>().value(row)),
        DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::List(_) => Value::List(values(&array.as_list::<i32>().value(row))),
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            Value::map(values(entries.column(0)).into_iter().zip(values(entries.column(1))).collect())
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let fields = fields.iter().zip(columns);
            Value::Struct(fields.map(|(field, column)| (field.name().clone(), value(column, row))).collect())
        }
        other => Value::Foreign(other.to_string()),
    }
}

fn values(array: &dyn Array) -> Vec<Value> {
    (0..array.len()).map(|index| value(array, index)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array,
        StringArray, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    };
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn scalars_keep_their_type() {
        let decimals = Decimal128Array::from(vec![1250]).with_precision_and_scale(12, 2).unwrap();
        let micros = TimestampMicrosecondArray::from(vec![7]);
        let cases: Vec<(ArrayRef, Value)> = vec![
            (Arc::new(Int8Array::from(vec![-3])), Value::Int(8, -3)),
            (Arc::new(BooleanArray::from(vec![true])), Value::Bool(true)),
            (Arc::new(Float64Array::from(vec![0.5])), Value::double(0.5)),
            (Arc::new(decimals), Value::Decimal { unscaled: 1250, scale: 2 }),
            (Arc::new(Date32Array::from(vec![20_000])), Value::Date(20_000)),
            (Arc::new(micros.clone().with_timezone("+00:00")), Value::Timestamp(7)),
            (Arc::new(BinaryArray::from(vec![b"\xff".as_slice()])), Value::Bytes(vec![0xff])),
            (Arc::new(StringArray::from(vec![None::<&str>])), Value::Null),
        ];
        for (array, expected) in cases {
            assert_eq!(value(&array, 0), expected, "{:?}", array.data_type());
        }
        // A time without its zone, or of another unit, is not what was declared.
        assert!(matches!(value(&micros, 0), Value::Foreign(_)));
        let millis = TimestampMillisecondArray::from(vec![7]).with_timezone("+00:00");
        assert!(matches!(value(&millis, 0), Value::Foreign(_)));
    }

    #[test]
    fn nested_values_are_spelled_whole() {
        let mut list = ListBuilder::new(Int32Builder::new());
        list.append_value([Some(1), None]);
        list.append_null();
        let list: ArrayRef = Arc::new(list.finish());
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for (key, value) in [("b", Some("2")), ("a", None)] {
            map.keys().append_value(key);
            map.values().append_option(value);
        }
        map.append(true).unwrap();
        map.append(true).unwrap();
        let map: ArrayRef = Arc::new(map.finish());
        let pair = StructArray::from(vec![
            (Arc::new(Field::new("list", list.data_type().clone(), true)), list),
            (Arc::new(Field::new("map", map.data_type().clone(), true)), map),
        ]);
        assert_eq!(
            value(&pair, 0),
            Value::record([
                ("list", Value::List(vec![Value::Int(32, 1), Value::Null])),
                (
                    "map",
                    Value::Map(vec![(Value::text("a"), Value::Null), (Value::text("b"), Value::text("2"))])
                ),
            ])
        );
        assert_eq!(value(&pair, 1), Value::record([("list", Value::Null), ("map", Value::Map(vec![]))]));
    }
}
