//! Cbor: CloudWatch's requests and answers as the protocol rpc-v2-cbor has them.
//!
//! Neighbours: watch knows what they mean. Source: "Smithy RPC v2 CBOR protocol"; RFC 8949.

use std::convert::Infallible;

use minicbor::data::{IanaTag, Type};
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Number, Value};

use super::watch::Alarm;
use crate::ecs::Ms;

/// Deeper than any request of CloudWatch's.
const DEPTH_MAX: usize = 16;

/// A request's body. Times lose their tag: they are seconds.
pub fn read(body: &[u8]) -> Result<Value, Error> {
    value(&mut Decoder::new(body), DEPTH_MAX)
}

fn value(from: &mut Decoder<'_>, depth: usize) -> Result<Value, Error> {
    if depth == 0 {
        return Err(Error::message("nested too deep"));
    }
    Ok(match from.datatype()? {
        Type::Bool => from.bool()?.into(),
        Type::Null | Type::Undefined => {
            from.skip()?;
            Value::Null
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => from.u64()?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => from.i64()?.into(),
        Type::F16 | Type::F32 | Type::F64 => Number::from_f64(from.f64()?).map_or(Value::Null, Value::Number),
        Type::String => from.str()?.into(),
        Type::StringIndef => from.str_iter()?.collect::<Result<String, _>>()?.into(),
        Type::Tag => {
            from.tag()?;
            value(from, depth - 1)?
        }
        Type::Array | Type::ArrayIndef => {
            let mut all = Vec::new();
            let mut left = from.array()?;
            while more(from, &mut left)? {
                all.push(value(from, depth - 1)?);
            }
            all.into()
        }
        Type::Map | Type::MapIndef => {
            let mut all = Map::new();
            let mut left = from.map()?;
            while more(from, &mut left)? {
                let key = from.str()?.to_owned();
                all.insert(key, value(from, depth - 1)?);
            }
            all.into()
        }
        other => return Err(Error::message(format!("{other} is in no request of CloudWatch's"))),
    })
}

/// Whether another item follows; `left` is none where the end is marked.
fn more(from: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, Error> {
    match left {
        Some(0) => Ok(false),
        Some(count) => {
            *count -= 1;
            Ok(true)
        }
        None if from.datatype()? == Type::Break => {
            from.skip()?;
            Ok(false)
        }
        None => Ok(true),
    }
}

type Written = Result<(), minicbor::encode::Error<Infallible>>;

fn write(put: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written) -> Vec<u8> {
    let mut to = Encoder::new(Vec::new());
    put(&mut to).expect("a vector takes every byte");
    to.into_writer()
}

/// PutMetricData's answer has nothing in it.
pub fn nothing() -> Vec<u8> {
    write(|to| to.map(0).map(drop))
}

pub fn error(code: &str, message: &str) -> Vec<u8> {
    write(|to| to.map(2)?.str("__type")?.str(code)?.str("message")?.str(message).map(drop))
}

pub fn alarms(alarms: &[&Alarm]) -> Vec<u8> {
    write(|to| {
        to.map(2)?.str("MetricAlarms")?.array(alarms.len() as u64)?;
        for alarm in alarms {
            to.map(8)?.str("AlarmName")?.str(&alarm.name)?.str("StateValue")?.str(alarm.state.name())?;
            to.str("StateReason")?.str(&alarm.reason)?;
            to.str("Namespace")?.str(&alarm.namespace)?.str("MetricName")?.str(&alarm.metric)?;
            to.str("Threshold")?.f64(alarm.at_least)?;
            for key in ["StateUpdatedTimestamp", "StateTransitionedTimestamp"] {
                to.str(key)?.tag(IanaTag::Timestamp)?.f64(seconds(alarm.since))?;
            }
        }
        to.str("CompositeAlarms")?.array(0).map(drop)
    })
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into the 53 bits of a double")]
fn seconds(at: Ms) -> f64 {
    at as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cloud::watch::State;

    #[test]
    fn a_request_with_and_without_lengths_reads_the_same() {
        let plain = write(|to| {
            to.map(2)?.str("Namespace")?.str("N")?.str("MetricData")?.array(1)?;
            to.map(2)?.str("Value")?.f64(1.5)?.str("Timestamp")?.tag(IanaTag::Timestamp)?.u32(7).map(drop)
        });
        let marked = write(|to| {
            to.begin_map()?
                .str("Namespace")?
                .begin_str()?
                .str("N")?
                .end()?
                .str("MetricData")?
                .begin_array()?;
            to.begin_map()?.str("Value")?.f32(1.5)?.str("Timestamp")?.tag(IanaTag::Timestamp)?.u8(7)?;
            to.end()?.end()?.end().map(drop)
        });
        let expected = json!({ "Namespace": "N", "MetricData": [{ "Value": 1.5, "Timestamp": 7 }] });
        assert_eq!(read(&plain).unwrap(), expected);
        assert_eq!(read(&marked).unwrap(), expected);
    }

    #[test]
    fn what_is_cut_off_or_nested_for_ever_is_an_error() {
        assert!(read(&[]).is_err());
        assert!(read(&[0x82, 0x01]).is_err());
        assert!(read(&[0x81; 100]).is_err());
    }

    #[test]
    fn an_alarm_reads_back() {
        let alarm = Alarm {
            name: "damage".into(),
            namespace: "N".into(),
            metric: "Damage".into(),
            at_least: 1.0,
            state: State::Alarm,
            reason: "r".into(),
            since: 1_500,
        };
        let back = read(&alarms(&[&alarm])).unwrap();
        assert_eq!(back["MetricAlarms"][0]["StateValue"], "ALARM");
        assert_eq!(back["MetricAlarms"][0]["StateTransitionedTimestamp"], 1.5);
        assert_eq!(read(&error("ResourceNotFound", "x")).unwrap()["__type"], "ResourceNotFound");
    }
}
