//! Key: which names all stores take, so that a log written to one can stand in another.
//!
//! Order: a key is checked before any request is sent.
//! Neighbours: none. Pure.

use super::{Fault, Operation, StoreError};

/// S3's limit on a key, its prefix included. Source: "Naming Amazon S3 objects".
pub const KEY_BYTES_MAX: usize = 1024;

/// Why a key is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    #[error("a key has at least one character")]
    Empty,
    #[error("a key has at most {KEY_BYTES_MAX} bytes")]
    TooLong,
    #[error("a key is relative to the output prefix: it has no empty part and no `/` at either end")]
    EmptySegment,
    #[error("a key has no `.` or `..` as a part: they would name another place in a directory")]
    Dots,
    #[error("a key has no control characters")]
    Control,
}

/// Checks a whole key: parts separated by single `/`, none of them empty, `.` or `..`.
pub fn check_key(key: &str) -> Result<(), KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong);
    }
    if key.chars().any(char::is_control) {
        return Err(KeyError::Control);
    }
    for segment in key.split('/') {
        match segment {
            "" => return Err(KeyError::EmptySegment),
            "." | ".." => return Err(KeyError::Dots),
            _ => {}
        }
    }
    Ok(())
}

/// The same as a store's refusal.
pub(super) fn checked(operation: Operation, key: &str, url: &str) -> Result<(), StoreError> {
    check_key(key).map_err(|why| StoreError {
        operation,
        key: key.to_owned(),
        url: url.to_owned(),
        fault: Fault::Refused,
        source: Box::new(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_and_odd_keys_pass() {
        for key in ["a", "data/dt=2026-11-22/hour=07/x.parquet", "a b/ü+%2F", "..a/b..", "a/.b", "…"] {
            assert_eq!(check_key(key), Ok(()), "{key}");
        }
    }

    #[test]
    fn keys_that_leave_the_root_are_refused() {
        assert_eq!(check_key("../a"), Err(KeyError::Dots));
        assert_eq!(check_key("a/../../b"), Err(KeyError::Dots));
        assert_eq!(check_key("a/./b"), Err(KeyError::Dots));
        assert_eq!(check_key("/a"), Err(KeyError::EmptySegment));
        assert_eq!(check_key("a//b"), Err(KeyError::EmptySegment));
        assert_eq!(check_key("a/"), Err(KeyError::EmptySegment));
        assert_eq!(check_key(""), Err(KeyError::Empty));
        assert_eq!(check_key("a\0b"), Err(KeyError::Control));
        assert_eq!(check_key(&"k".repeat(1025)), Err(KeyError::TooLong));
    }
}
