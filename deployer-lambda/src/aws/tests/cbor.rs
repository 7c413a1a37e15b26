//! Enough of CBOR (RFC 8949) to answer the CloudWatch client.

use serde_json::Value;

pub fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, value);
    bytes
}

fn put(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => bytes.push(0xf6),
        Value::Bool(false) => bytes.push(0xf4),
        Value::Bool(true) => bytes.push(0xf5),
        Value::Number(number) => {
            bytes.push(0xfb);
            bytes.extend(number.as_f64().unwrap_or_default().to_be_bytes());
        }
        Value::String(text) => {
            head(bytes, 3, text.len());
            bytes.extend(text.as_bytes());
        }
        Value::Array(items) => {
            head(bytes, 4, items.len());
            items.iter().for_each(|item| put(bytes, item));
        }
        Value::Object(fields) => {
            head(bytes, 5, fields.len());
            for (key, field) in fields {
                put(bytes, &Value::String(key.clone()));
                put(bytes, field);
            }
        }
    }
}

fn head(bytes: &mut Vec<u8>, major: u8, length: usize) {
    match u8::try_from(length) {
        Ok(short @ 0..24) => bytes.push(major << 5 | short),
        Ok(byte) => bytes.extend([major << 5 | 24, byte]),
        Err(_) => {
            bytes.push(major << 5 | 26);
            bytes.extend(u32::try_from(length).expect("a test's answer is short").to_be_bytes());
        }
    }
}
