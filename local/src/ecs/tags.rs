//! Tags, and what ECS lets be one.
//!
//! Neighbours: definition and api keep them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::error::EcsError;

pub type Tags = BTreeMap<String, String>;

/// *Tag*, ECS API Reference: at most 50 a resource; a key of 1 to 128, a value of up to 256 characters out of letters,
/// digits, spaces and `+ - = . _ : / @`.
pub fn parse(list: Option<&Value>) -> Result<Tags, EcsError> {
    let mut tags = Tags::new();
    let list = match list {
        None | Some(Value::Null) => return Ok(tags),
        Some(list) => list.as_array().ok_or_else(|| invalid("Tags must be a list."))?,
    };
    for tag in list {
        let text = |key: &str| tag.get(key).and_then(Value::as_str);
        let (key, value) = (text("key").unwrap_or_default(), text("value").unwrap_or_default());
        let (key_fits, value_fits) = ((1..=128).contains(&key.chars().count()), value.chars().count() <= 256);
        if !key_fits || !value_fits || !allowed(key) || !allowed(value) || key.starts_with("aws:") {
            return Err(invalid(&format!(
                "The tag `{key}` = `{value}` is not allowed: 1 to 128 and up to 256 characters out of letters, \
                 digits, spaces and + - = . _ : / @."
            )));
        }
        tags.insert(key.into(), value.into());
    }
    bounded(&tags)?;
    Ok(tags)
}

/// Tags added to those that are there; all or none.
pub fn add(to: &mut Tags, more: Tags) -> Result<(), EcsError> {
    let mut all = to.clone();
    all.extend(more);
    bounded(&all)?;
    *to = all;
    Ok(())
}

pub fn view(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

fn bounded(tags: &Tags) -> Result<(), EcsError> {
    if tags.len() > 50 {
        return Err(invalid("The maximum number of tags a resource is 50."));
    }
    Ok(())
}

fn allowed(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c))
}

fn invalid(message: &str) -> EcsError {
    EcsError::InvalidParameter(message.into())
}
