//! Reader: takes values out of the parsed file, notes where each stood, and collects what is wrong.
//!
//! Order: every key of a section is asked for before the section is closed; what nobody asked for is unknown.
//! A file with broken syntax is read as far as it can be, but then says nothing about unknown or missing keys:
//! they may only be misplaced.
//! Neighbours: substitute, units, fault.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Source};
use super::substitute::{Problem, substitute};
use super::units;

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a key held.
#[derive(Clone, Debug)]
pub(super) enum Found<T> {
    /// The file does not have it.
    Absent,
    /// Told already.
    Faulty,
    Is(T, Range<usize>),
}

impl<T> Found<T> {
    pub fn ok(self) -> Option<T> {
        match self {
            Found::Is(value, _) => Some(value),
            Found::Absent | Found::Faulty => None,
        }
    }

    pub fn or(self, default: T) -> T {
        self.ok().unwrap_or(default)
    }
}

impl Found<String> {
    /// For optional strings: an empty one, as `"${VAR:-}"` gives, is as good as none.
    pub fn filled(self) -> Option<String> {
        self.ok().filter(|text| !text.is_empty())
    }
}

/// One table of the file.
pub(super) struct Section<'d> {
    /// `kafka.auth`; empty for the root.
    path: String,
    table: Option<&'d DeTable<'d>>,
    /// Its header; none when the file has no such section.
    span: Option<Range<usize>>,
    asked: BTreeSet<&'static str>,
}

impl<'d> Section<'d> {
    pub fn root(table: &'d DeTable<'d>) -> Section<'d> {
        Section { path: String::new(), table: Some(table), span: None, asked: BTreeSet::new() }
    }

    /// Whether the file has it.
    pub fn is_there(&self) -> bool {
        self.table.is_some()
    }

    pub fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.insert(key);
        self.table?.get(key)
    }
}

pub(super) struct Reader<'a> {
    source: &'a Source,
    env: Env<'a>,
    pub faults: Vec<Fault>,
    /// Where each value that was read stood, by its full key; list items by `key[index]`.
    pub places: BTreeMap<String, Range<usize>>,
    broken_lines: BTreeSet<usize>,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Source, env: Env<'a>, syntax: Vec<toml::de::Error>) -> Reader<'a> {
        let mut reader = Reader {
            source,
            env,
            faults: Vec::new(),
            places: BTreeMap::new(),
            broken_lines: BTreeSet::new(),
        };
        for error in syntax {
            let place = error.span().map(|span| source.place(span));
            // One slip often makes the parser complain several times; the first complaint is the useful one.
            if place.as_ref().is_some_and(|place| !reader.broken_lines.insert(place.line)) {
                continue;
            }
            let right = match error.message() {
                "duplicate key" => "leave one out",
                _ => {
                    "write strings in quotes, keys as `name = value`, sections as `[name]` (https://toml.io)"
                }
            };
            reader.faults.push(Fault {
                file: source.file.clone(),
                place,
                wrong: format!("not TOML: {}", error.message().trim().replace('\n', ", ")),
                right: right.to_owned(),
            });
        }
        reader
    }

    /// Notes that what stands at `span` is wrong.
    pub fn wrong(&mut self, span: Range<usize>, wrong: impl Into<String>, right: impl Into<String>) {
        let place = self.source.place(span);
        if !self.broken_lines.contains(&place.line) {
            self.faults.push(Fault {
                file: self.source.file.clone(),
                place: Some(place),
                wrong: wrong.into(),
                right: right.into(),
            });
        }
    }

    /// Notes that a key is not there although it must be.
    pub fn missing(&mut self, section: &Section<'_>, key: &str, right: impl Into<String>) {
        if self.broken_lines.is_empty() {
            self.faults.push(Fault {
                file: self.source.file.clone(),
                place: section.span.clone().map(|span| self.source.place(span)),
                wrong: format!("`{}` is missing", section.full(key)),
                right: right.into(),
            });
        }
    }

    fn wrong_type<T>(&mut self, key: &str, value: &Spanned<DeValue<'_>>, right: &str) -> Found<T> {
        self.wrong(value.span(), format!("`{key}` is {}", kind_of(value.get_ref())), right);
        Found::Faulty
    }

    pub fn section<'d>(&mut self, parent: &mut Section<'d>, key: &'static str) -> Section<'d> {
        let path = parent.full(key);
        let table = parent.take(key).and_then(|value| match value.get_ref() {
            DeValue::Table(table) => {
                self.places.insert(path.clone(), value.span());
                Some(table)
            }
            _ => {
                self.wrong_type::<()>(&path, value, &format!("make it a section: `[{path}]`"));
                None
            }
        });
        let span = self.places.get(&path).cloned();
        Section { path, table, span, asked: BTreeSet::new() }
    }

    /// Every key of this section has been asked for: tells of those that nobody knows.
    pub fn close(&mut self, section: Section<'_>) {
        let Some(table) = section.table else { return };
        if !self.broken_lines.is_empty() {
            return;
        }
        for key in table.keys().filter(|key| !section.asked.contains(key.get_ref().as_ref())) {
            let right = match nearest(key.get_ref(), section.asked.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!(
                    "known here: {}",
                    section.asked.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            self.wrong(key.span(), format!("`{}` is not a setting", section.full(key.get_ref())), right);
        }
    }

    pub fn text(&mut self, section: &mut Section<'_>, key: &'static str) -> Found<String> {
        let path = section.full(key);
        match section.take(key) {
            Some(value) => self.text_of(path, value),
            None => Found::Absent,
        }
    }

    fn text_of(&mut self, path: String, value: &Spanned<DeValue<'_>>) -> Found<String> {
        match value.get_ref() {
            DeValue::String(text) => {
                self.places.insert(path.clone(), value.span());
                match substitute(text, self.env) {
                    Ok(text) => Found::Is(text, value.span()),
                    Err(problems) => {
                        for problem in problems {
                            self.unfilled(&path, value.span(), problem);
                        }
                        Found::Faulty
                    }
                }
            }
            _ => self.wrong_type(&path, value, "write it as a string, in quotes"),
        }
    }

    fn unfilled(&mut self, path: &str, span: Range<usize>, problem: Problem) {
        let (needle, wrong, right) = match problem {
            Problem::Unset(name) => (
                format!("${{{name}"),
                format!("`{path}` takes the environment variable {name}, which is not set"),
                how_to_set(&name),
            ),
            Problem::Empty(name) => (
                format!("${{{name}"),
                format!("`{path}` takes the environment variable {name}, which is set to nothing"),
                format!("{}; where nothing is meant, write `${{{name}:-}}`", how_to_set(&name)),
            ),
            Problem::Malformed(text) => (
                text.clone(),
                format!("`{path}`: `{text}` names no environment variable"),
                "write `${NAME}` or `${NAME:-default}`; `$${` stands for `${` itself".to_owned(),
            ),
        };
        // Points at the variable itself, unless the file spells it with escapes.
        let at = self.source.text.get(span.clone()).and_then(|raw| raw.find(&needle));
        let place = match at {
            Some(at) => {
                let start = span.start + at;
                let width = self.source.text[start..span.end].find('}').map_or(needle.len(), |end| end + 1);
                start..start + width
            }
            None => span,
        };
        self.wrong(place, wrong, right);
    }

    /// A list of strings; a fault in one of them spoils it.
    pub fn texts(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
    ) -> Found<Vec<(String, Range<usize>)>> {
        let path = section.full(key);
        let Some(value) = section.take(key) else { return Found::Absent };
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong_type(&path, value, "write it as a list of strings: `[\"…\"]`");
        };
        self.places.insert(path.clone(), value.span());
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Found::Is(text, span) = self.text_of(format!("{path}[{index}]"), item) {
                texts.push((text, span));
            }
        }
        if texts.len() == items.len() { Found::Is(texts, value.span()) } else { Found::Faulty }
    }

    pub fn flag(&mut self, section: &mut Section<'_>, key: &'static str) -> Found<bool> {
        let right = "write `true` or `false`";
        self.parsed(section, key, right, |value| value.as_bool(), |text| text.parse().ok())
    }

    pub fn integer(&mut self, section: &mut Section<'_>, key: &'static str, right: &str) -> Found<i64> {
        self.parsed(section, key, right, integer_of, |text| text.parse().ok())
    }

    pub fn bytes(&mut self, section: &mut Section<'_>, key: &'static str) -> Found<u64> {
        let right = "write a size: \"128MiB\", \"1GB\", or a number of bytes";
        let whole = |value: &DeValue<'_>| integer_of(value).and_then(|number| u64::try_from(number).ok());
        self.parsed(section, key, right, whole, units::parse_bytes)
    }

    pub fn duration(&mut self, section: &mut Section<'_>, key: &'static str) -> Found<Duration> {
        let right = "write a duration with its unit: \"60s\", \"5m\", \"1h30m\"";
        self.parsed(section, key, right, |_| None, units::parse_duration)
    }

    pub fn choice<T: Clone>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Found<T> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let right = format!("write one of {}", names.join(", "));
        let pick =
            |text: &str| choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| choice.clone());
        self.parsed(section, key, &right, |_| None, pick)
    }

    /// A value of its own TOML type, or a string (as `"${VAR}"` is) that reads as one.
    fn parsed<T>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        right: &str,
        of_value: impl Fn(&DeValue<'_>) -> Option<T>,
        of_text: impl Fn(&str) -> Option<T>,
    ) -> Found<T> {
        let path = section.full(key);
        let Some(value) = section.take(key) else { return Found::Absent };
        if let DeValue::String(_) = value.get_ref() {
            return match self.text_of(path.clone(), value) {
                Found::Is(text, span) => match of_text(text.trim()) {
                    Some(parsed) => Found::Is(parsed, span),
                    None => {
                        self.wrong(span, format!("`{path}` is {}", shown(&text)), right);
                        Found::Faulty
                    }
                },
                Found::Absent | Found::Faulty => Found::Faulty,
            };
        }
        match of_value(value.get_ref()) {
            Some(parsed) => {
                self.places.insert(path, value.span());
                Found::Is(parsed, value.span())
            }
            None => self.wrong_type(&path, value, right),
        }
    }

    /// A section of free keys and scalar values. `a.b = 1` without quotes is a table within a table in TOML and
    /// means the key `a.b` here.
    pub fn options(
        &mut self,
        parent: &mut Section<'_>,
        key: &'static str,
    ) -> Vec<(String, String, Range<usize>)> {
        let section = self.section(parent, key);
        let mut found = Vec::new();
        if let Some(table) = section.table {
            self.flatten(table, "", &section.path, &mut found);
        }
        found
    }

    fn flatten(
        &mut self,
        table: &DeTable<'_>,
        prefix: &str,
        path: &str,
        found: &mut Vec<(String, String, Range<usize>)>,
    ) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let full = format!("{path}.{name}");
            match value.get_ref() {
                DeValue::Table(inner) => self.flatten(inner, &format!("{name}."), path, found),
                DeValue::String(_) => {
                    if let Found::Is(text, _) = self.text_of(full, value) {
                        found.push((name, text, key.span()));
                    }
                }
                DeValue::Integer(number) if number.radix() == 10 => {
                    found.push((name, number.as_str().to_owned(), key.span()));
                }
                DeValue::Boolean(flag) => found.push((name, flag.to_string(), key.span())),
                DeValue::Float(number) => found.push((name, number.as_str().to_owned(), key.span())),
                DeValue::Integer(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
                    self.wrong_type::<()>(
                        &full,
                        value,
                        "write it as librdkafka takes it: a string or a number",
                    );
                }
            }
        }
    }
}

fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Not the value itself: it may be a password that lacks its quotes.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// A value as a fault quotes it: on one line, and not longer than one reads.
pub(super) fn shown(text: &str) -> String {
    let mut quoted: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() > 80 {
        quoted.push('…');
    }
    format!("\"{quoted}\"")
}

/// Two variables are set by every deployment, so that they get an example.
fn how_to_set(name: &str) -> String {
    let example = match name {
        "KAFKA_BOOTSTRAP" => "b-1.example.com:9098,b-2.example.com:9098",
        "S3_OUTPUT_PATH" => "s3://bucket/prefix",
        _ => "…",
    };
    format!(
        "set it: `export {name}={example}`, in ECS under `environment` in the task definition; or write a default: \
         `${{{name}:-…}}`"
    )
}

/// The known word that a person most likely meant, if any is near.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let word: Vec<char> = word.to_lowercase().replace('-', "_").chars().take(64).collect();
    known
        .map(|candidate| (distance(&word, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace) between two words: Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_only_when_it_is_near() {
        let known = ["bootstrap", "topics", "group", "on_data_loss"];
        assert_eq!(nearest("bootstap", known.into_iter()), Some("bootstrap"));
        assert_eq!(nearest("Topic", known.into_iter()), Some("topics"));
        assert_eq!(nearest("on-data-loss", known.into_iter()), Some("on_data_loss"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }

    #[test]
    fn long_and_odd_values_are_quoted_on_one_line() {
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert!(shown(&"x".repeat(500)).chars().count() < 90);
    }
}
