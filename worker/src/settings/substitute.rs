//! Substitution: `${VAR}` and `${VAR:-default}` in strings, from the environment.
//!
//! Order: after the file is parsed, so that what a variable holds can only ever be part of one string.
//! Neighbours: reader. Pure: the environment is an argument.

/// Why a string cannot be filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Problem {
    /// The variable is not set, and there is no default.
    Unset(String),
    /// The variable is set to nothing, and there is no default.
    Empty(String),
    /// `${` without `}`, or with something else than a name inside.
    Malformed(String),
}

/// `$${` stands for `${`; any other `$` for itself. A variable's content is taken as it is, not filled in again.
/// An empty variable counts as not set, as in a shell's `:-`.
pub(super) fn substitute(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<Problem>> {
    let mut filled = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            filled.push_str(&rest[..at - 1]);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            problems.push(Problem::Malformed(rest[at..].to_owned()));
            rest = "";
            break;
        };
        let inside = &rest[at + 2..at + end];
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_variable_name(name) {
            problems.push(Problem::Malformed(rest[at..=at + end].to_owned()));
        } else {
            match (env(name), default) {
                (Some(value), _) if !value.is_empty() => filled.push_str(&value),
                (_, Some(default)) => filled.push_str(default),
                (Some(_), None) => problems.push(Problem::Empty(name.to_owned())),
                (None, None) => problems.push(Problem::Unset(name.to_owned())),
            }
        }
        rest = &rest[at + end + 1..];
    }
    filled.push_str(rest);
    if problems.is_empty() { Ok(filled) } else { Err(problems) }
}

fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("b-1".into()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}\"\n[evil]".into()),
            _ => None,
        }
    }

    fn filled(text: &str) -> Result<String, Vec<Problem>> {
        substitute(text, &env)
    }

    #[test]
    fn variables_and_defaults_are_filled_in() {
        assert_eq!(filled("${HOST}:9092,${X:-b-2:9092}"), Ok("b-1:9092,b-2:9092".into()));
        assert_eq!(filled("${EMPTY:-d}${X:-}"), Ok("d".into()));
    }

    #[test]
    fn a_dollar_stands_for_itself_and_a_doubled_one_escapes() {
        assert_eq!(filled("a$b $$ $${HOST} $5"), Ok("a$b $$ ${HOST} $5".into()));
    }

    #[test]
    fn what_a_variable_holds_is_not_filled_in_again() {
        assert_eq!(filled("${NESTED}"), Ok("${HOST}\"\n[evil]".into()));
    }

    #[test]
    fn every_problem_of_a_string_is_told() {
        assert_eq!(
            filled("${A}-${EMPTY}-${1B}-${C"),
            Err(vec![
                Problem::Unset("A".into()),
                Problem::Empty("EMPTY".into()),
                Problem::Malformed("${1B}".into()),
                Problem::Malformed("${C".into()),
            ])
        );
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_a_panic(text in "[$\\{\\}:a-zA-Z_ü-]{0,24}") {
            let _ = filled(&text);
        }

        #[test]
        fn text_without_a_brace_is_unchanged(text in "[^{]{0,40}") {
            prop_assert_eq!(filled(&text), Ok(text));
        }
    }
}
