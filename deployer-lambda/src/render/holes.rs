//! Holes: `${NAME}` in a template's strings.
//!
//! | hole | takes |
//! |---|---|
//! | `${NAME}` | the value, within a string |
//! | `"${NAME[]}"` | the whole string becomes a list of strings: the value's parts between commas |
//! | `"${NAME#}"` | the whole string becomes a whole number |
//! | `${NAME:-default}`, `${NAME[]:-a,b}`, `${NAME#:-7}` | the default where there is no value, or an empty one |
//! | `$${` | a plain `${` |
//!
//! Order: after JSON is parsed, so that a value can only ever be a value. A value is taken as it is, not filled again.
//! Neighbours: load. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Text,
    List,
    Number,
}

/// A hole as it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hole {
    pub name: String,
    form: Form,
    default: Option<String>,
    /// `${NAME#:-7}`.
    pub spelled: String,
}

enum Piece {
    Plain(String),
    Hole(Hole),
    Malformed(String),
}

/// Why a string cannot be filled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Problem {
    NoValue(Hole),
    /// A list or a number within a longer string.
    NotAlone(Hole),
    NotNumber(Hole, String),
    /// `${` without `}`, or with something else than a name inside.
    Malformed(String),
}

/// The holes in a string, well-formed ones.
pub fn holes(text: &str) -> impl Iterator<Item = Hole> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Hole(hole) => Some(hole),
        Piece::Plain(_) | Piece::Malformed(_) => None,
    })
}

/// What a string becomes.
pub fn fill(text: &str, fills: &BTreeMap<String, String>) -> Result<Value, Vec<Problem>> {
    let pieces = pieces(text);
    let is_alone = pieces.len() == 1;
    let mut filled = String::with_capacity(text.len());
    let mut problems = Vec::new();
    for piece in pieces {
        let hole = match piece {
            Piece::Plain(text) => {
                filled.push_str(&text);
                continue;
            }
            Piece::Malformed(text) => {
                problems.push(Problem::Malformed(text));
                continue;
            }
            Piece::Hole(hole) => hole,
        };
        let given = fills.get(&hole.name).filter(|value| !value.is_empty());
        let Some(value) = given.or(hole.default.as_ref()) else {
            problems.push(Problem::NoValue(hole));
            continue;
        };
        match (hole.form, is_alone) {
            (Form::Text, true | false) => filled.push_str(value),
            (Form::List | Form::Number, false) => problems.push(Problem::NotAlone(hole)),
            (Form::List, true) => {
                let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
                return Ok(items.map(Value::from).collect());
            }
            (Form::Number, true) => match value.trim().parse::<i64>() {
                Ok(number) => return Ok(Value::from(number)),
                Err(_) => {
                    let value = value.clone();
                    problems.push(Problem::NotNumber(hole, value));
                }
            },
        }
    }
    if problems.is_empty() { Ok(Value::String(filled)) } else { Err(problems) }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            plain.push_str(&rest[..at - 1]);
            plain.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        plain.push_str(&rest[..at]);
        if !plain.is_empty() {
            pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        }
        let Some(end) = rest[at..].find('}') else {
            pieces.push(Piece::Malformed(rest[at..].to_owned()));
            return pieces;
        };
        pieces.push(piece(&rest[at..=at + end]));
        rest = &rest[at + end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    pieces
}

/// `spelled` begins with `${` and ends with `}`.
fn piece(spelled: &str) -> Piece {
    let inside = &spelled[2..spelled.len() - 1];
    let (head, default) = match inside.split_once(":-") {
        Some((head, default)) => (head, Some(default.to_owned())),
        None => (inside, None),
    };
    let (name, form) = match (head.strip_suffix("[]"), head.strip_suffix('#')) {
        (Some(name), _) => (name, Form::List),
        (None, Some(name)) => (name, Form::Number),
        (None, None) => (head, Form::Text),
    };
    if !is_name(name) {
        return Piece::Malformed(spelled.to_owned());
    }
    Piece::Hole(Hole { name: name.to_owned(), form, default, spelled: spelled.to_owned() })
}

pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn filled(text: &str) -> Result<Value, Vec<Problem>> {
        let fills = [("A", "x"), ("LIST", "a, b,,c,"), ("N", "512"), ("EMPTY", ""), ("NESTED", "${A}\"")];
        fill(text, &fills.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    #[test]
    fn holes_take_values_and_defaults() {
        assert_eq!(filled("${A}-${A:-y}-${B:-z}${EMPTY:-}"), Ok(json!("x-x-z")));
        assert_eq!(filled("${LIST[]}"), Ok(json!(["a", "b", "c"])));
        assert_eq!(filled("${NONE[]:-}"), Ok(json!([])));
        assert_eq!(filled("${N#}"), Ok(json!(512)));
        assert_eq!(filled("${NONE#:-7}"), Ok(json!(7)));
        assert_eq!(filled(""), Ok(json!("")));
    }

    #[test]
    fn a_value_is_not_filled_again_and_a_doubled_dollar_escapes() {
        assert_eq!(filled("${NESTED}"), Ok(json!("${A}\"")));
        assert_eq!(filled("$${A} $ $$ $5"), Ok(json!("${A} $ $$ $5")));
    }

    #[test]
    fn every_problem_of_a_string_is_told() {
        let problems = filled("${B} ${N#} ${1} ${EMPTY} ${C").expect_err("problems");
        let kinds: Vec<&str> = problems
            .iter()
            .map(|problem| match problem {
                Problem::NoValue(hole) | Problem::NotAlone(hole) | Problem::NotNumber(hole, _) => {
                    &*hole.spelled
                }
                Problem::Malformed(text) => text,
            })
            .collect();
        assert_eq!(kinds, ["${B}", "${N#}", "${1}", "${EMPTY}", "${C"]);
        let problems = filled("${A#}").expect_err("no number");
        assert!(matches!(&problems[..], [Problem::NotNumber(_, value)] if value == "x"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_a_panic(text in "[$\\{\\}:\\[\\]#a-zA-Z_ü-]{0,24}") {
            let _ = filled(&text);
        }

        #[test]
        fn text_without_a_brace_is_unchanged(text in "[^{]{0,40}") {
            prop_assert_eq!(filled(&text), Ok(json!(text)));
        }
    }
}
