//! Places: where each value of a JSON text stands, so that a fault can be underlined; and keys that stand twice, of
//! which a parser silently takes one.
//!
//! Order: only after serde_json took the text: what is scanned here is known to be JSON, and not too deep.
//! Neighbours: load. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

/// By path: `containerDefinitions[0].image`; the root is the empty path.
#[derive(Debug, Default)]
pub struct Places {
    spans: BTreeMap<String, Span>,
    /// Keys that stand twice in their object: their path and the second one's place.
    pub doubled: Vec<(String, Range<usize>)>,
}

#[derive(Clone, Debug)]
struct Span {
    key: Option<Range<usize>>,
    value: Range<usize>,
}

impl Places {
    pub fn of(text: &str) -> Places {
        let mut scan = Scan { text, at: 0, places: Places::default() };
        scan.value(String::new(), None);
        scan.places
    }

    /// Of the value at a path, or of the nearest thing above it that stands in the text.
    pub fn value(&self, path: &str) -> Range<usize> {
        self.nearest(path).1.value.clone()
    }

    /// Of the key at a path, else of its value.
    pub fn key(&self, path: &str) -> Range<usize> {
        match self.nearest(path) {
            (true, Span { key: Some(key), .. }) => key.clone(),
            (_, span) => span.value.clone(),
        }
    }

    fn nearest(&self, path: &str) -> (bool, &Span) {
        let mut above = path;
        loop {
            if let Some(span) = self.spans.get(above) {
                return (above == path, span);
            }
            above = &above[..above.rfind(['.', '[']).unwrap_or(0)];
        }
    }
}

/// `a.b`, or `b` at the root.
pub fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    places: Places,
}

impl Scan<'_> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, between: &[u8]) {
        while self.byte().is_some_and(|byte| byte.is_ascii_whitespace() || between.contains(&byte)) {
            self.at += 1;
        }
    }

    /// Past a string; its place with the quotes.
    fn string(&mut self) -> Range<usize> {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.byte() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        start..self.at
    }

    fn value(&mut self, path: String, key: Option<Range<usize>>) {
        self.skip(b"");
        let start = self.at;
        match self.byte() {
            Some(b'{') => self.object(&path),
            Some(b'[') => self.list(&path),
            Some(b'"') => {
                self.string();
            }
            _ => {
                while self.byte().is_some_and(|byte| !b",]}".contains(&byte) && !byte.is_ascii_whitespace()) {
                    self.at += 1;
                }
            }
        }
        self.places.spans.insert(path, Span { key, value: start..self.at });
    }

    fn object(&mut self, path: &str) {
        self.at += 1;
        let mut seen = Vec::new();
        loop {
            self.skip(b",");
            if self.byte() != Some(b'"') {
                self.at += 1;
                return;
            }
            let span = self.string();
            let raw = &self.text[span.clone()];
            let key: String = serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned());
            let inner = below(path, &key);
            self.skip(b":");
            if seen.contains(&key) {
                self.places.doubled.push((inner.clone(), span.clone()));
            }
            seen.push(key);
            self.value(inner, Some(span));
        }
    }

    fn list(&mut self, path: &str) {
        self.at += 1;
        for index in 0.. {
            self.skip(b",");
            if matches!(self.byte(), Some(b']') | None) {
                self.at += 1;
                return;
            }
            self.value(format!("{path}[{index}]"), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn keys_and_values_are_found() {
        let text = "{ \"a\": [ {\"b\\n\" : \"x\\\"]\"}, 1.5 ],\n\"c\":true}";
        let places = Places::of(text);
        let at = |range: Range<usize>| &text[range];
        assert_eq!(at(places.value("a[0].b\n")), "\"x\\\"]\"");
        assert_eq!(at(places.key("a[0].b\n")), "\"b\\n\"");
        assert_eq!(at(places.value("a[1]")), "1.5");
        assert_eq!(at(places.value("c")), "true");
        assert_eq!(at(places.value("c[7].d")), "true", "what is not there stands at what is above it");
        assert_eq!(at(places.key("")), text);
    }

    #[test]
    fn a_key_that_stands_twice_is_told() {
        let text = "{\"a\": {\"b\": 1, \"b\": 2}, \"b\": 3}";
        let doubled = Places::of(text).doubled;
        assert_eq!(doubled, [("a.b".to_owned(), 15..18)]);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            "[ -~ü\"\\\\{}\\[\\],:]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\ü]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn check(text: &str, places: &Places, path: &str, value: &Value) {
        let found: Value = serde_json::from_str(&text[places.value(path)]).expect("a value stands there");
        assert_eq!(&found, value, "{path}");
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| check(text, places, &below(path, key), value))
            }
            Value::Array(items) => {
                let each = |(index, item)| check(text, places, &format!("{path}[{index}]"), item);
                items.iter().enumerate().for_each(each);
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn every_value_of_any_json_stands_where_it_is_said(value in json(), pretty in any::<bool>()) {
            // An empty key, or a key that looks like a path, would make paths ambiguous; templates have neither.
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("it is written");
            prop_assume!(!text.contains("\"\":"));
            check(&text, &Places::of(&text), "", &value);
        }
    }
}
