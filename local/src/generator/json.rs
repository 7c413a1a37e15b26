//! Json: the many ways in which producers write the same value.
//!
//! Neighbours: the event builds a tree, this writes it. Pure.

/// A value before it is text.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    /// A number or a boolean, as it will stand in the text.
    Raw(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How a producer writes. Every style is valid JSON for the same value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Everything beyond ASCII as `\uXXXX`, surrogate pairs included.
    pub ascii: bool,
    /// White space between tokens, new lines too.
    pub spaced: bool,
    /// `/` as `\/`, as PHP does.
    pub escaped_slashes: bool,
}

impl Json {
    pub fn write(&self, style: Style) -> Vec<u8> {
        let mut out = String::new();
        self.write_into(style, &mut out);
        out.into_bytes()
    }

    fn write_into(&self, style: Style, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Raw(raw) => out.push_str(raw),
            Json::Text(text) => write_text(text, style, out),
            Json::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    separate(index, style, out);
                    item.write_into(style, out);
                }
                out.push(']');
            }
            Json::Object(fields) => {
                out.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    separate(index, style, out);
                    write_text(name, style, out);
                    out.push_str(if style.spaced { " : " } else { ":" });
                    value.write_into(style, out);
                }
                out.push_str(if style.spaced { "\n}" } else { "}" });
            }
        }
    }

    /// The value of an object's field; `None` when there is no such field or this is no object.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut Json> {
        match self {
            Json::Object(fields) => fields.iter_mut().find(|f| f.0 == name).map(|f| &mut f.1),
            Json::Null | Json::Raw(_) | Json::Text(_) | Json::List(_) => None,
        }
    }

    /// Takes a field out of an object.
    pub fn remove(&mut self, name: &str) {
        if let Json::Object(fields) = self {
            fields.retain(|f| f.0 != name);
        }
    }
}

fn separate(index: usize, style: Style, out: &mut String) {
    match (index, style.spaced) {
        (0, false) => {}
        (0, true) => out.push('\n'),
        (_, false) => out.push(','),
        (_, true) => out.push_str(" ,\n\t"),
    }
}

fn write_text(text: &str, style: Style, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '/' if style.escaped_slashes => out.push_str("\\/"),
            c if (c as u32) < 0x20 || (style.ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_says_the_same() {
        let json = Json::Object(vec![
            ("a/b".into(), Json::Text("naïve \"quote\" \\ \u{1} 😀\n".into())),
            ("n".into(), Json::Raw("12.50".into())),
            ("list".into(), Json::List(vec![Json::Null, Json::Raw("true".into())])),
            ("empty".into(), Json::Object(vec![])),
        ]);
        let expected = serde_json::json!({
            "a/b": "naïve \"quote\" \\ \u{1} 😀\n", "n": 12.5, "list": [null, true], "empty": {}
        });
        for bits in 0..8 {
            let style = Style { ascii: bits & 1 != 0, spaced: bits & 2 != 0, escaped_slashes: bits & 4 != 0 };
            let bytes = json.write(style);
            let parsed: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(parsed, expected, "{style:?}");
            assert!(!style.ascii || bytes.is_ascii());
        }
    }
}
