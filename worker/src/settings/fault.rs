//! Faults: what is wrong with the settings, where it stands and what would be right; all of them at once.
//!
//! No fault shows a value that may be a secret: neither what a variable held nor the line of a password.
//! Neighbours: the other files of this room; `main` prints them.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// The text that settings were read from, to say where a fault stands.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub file: PathBuf,
    pub text: String,
}

/// A place in a [`Source`]. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    /// Characters to underline; at least 1, none past the line's end.
    pub width: usize,
    /// The line itself; none where it may hold a secret.
    pub excerpt: Option<String>,
}

impl Source {
    /// Where the bytes `span` stand.
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = floor_char_boundary(&self.text, span.start);
        let end = floor_char_boundary(&self.text, span.end).max(start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        Place {
            line: self.text[..line_start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end.min(line_end)].trim_end().chars().count().max(1),
            excerpt: (!may_hold_a_secret(line)).then(|| line.to_owned()),
        }
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Errors end up in logs, and a password may stand in the file itself.
fn may_hold_a_secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["password", "secret", "token", "private", ".pem"].iter().any(|word| line.contains(word))
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    pub file: PathBuf,
    /// None when it is about the whole file.
    pub place: Option<Place>,
    pub wrong: String,
    /// What would be right, as advice; empty where `wrong` says it all.
    pub right: String,
}

impl Fault {
    /// `file:line:column: wrong; right`, on one line.
    pub fn sentence(&self) -> String {
        match self.right.as_str() {
            "" => format!("{}: {}", self.address(), self.wrong),
            right => format!("{}: {}; {right}", self.address(), self.wrong),
        }
    }

    fn address(&self) -> String {
        match &self.place {
            Some(place) => format!("{}:{}:{}", self.file.display(), place.line, place.column),
            None => self.file.display().to_string(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address(), self.wrong)?;
        if let Some(place) = &self.place
            && let Some(excerpt) = &place.excerpt
        {
            let number = place.line.to_string();
            let margin = " ".repeat(number.len());
            // Tabs stay tabs, or the underline would stand beside what it marks.
            let indent: String =
                excerpt.chars().take(place.column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
            write!(f, "\n  {number} | {excerpt}")?;
            write!(f, "\n  {margin} | {indent}{}", "^".repeat(place.width))?;
        }
        if self.right.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.right) }
    }
}

/// Everything that is wrong, in the order of the file. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Sorted by place, those about the whole file first.
    pub fn in_order(mut faults: Vec<Fault>) -> Faults {
        faults.sort_by_key(|fault| fault.place.as_ref().map(|place| (place.line, place.column)));
        faults.dedup();
        Faults(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { file: "pipeline/pipeline.toml".into(), text: text.into() }
    }

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let source = source("a = 1\nü = \"ö\" # x\n");
        let at = source.text.find("\"ö\"").expect("it is there");
        let place = source.place(at..at + "\"ö\"".len());
        assert_eq!((place.line, place.column, place.width), (2, 5, 3));
        assert_eq!(place.excerpt.as_deref(), Some("ü = \"ö\" # x"));
    }

    #[test]
    fn a_place_past_the_end_or_inside_a_character_is_still_a_place() {
        let source = source("ü");
        assert_eq!(source.place(1..900).column, 1);
        assert_eq!(source.place(900..901).line, 1);
    }

    #[test]
    fn a_span_of_several_lines_is_underlined_on_its_first() {
        let source = source("x = [\n 1,\n 2]\n");
        assert_eq!(source.place(4..source.text.len()).width, 1);
    }

    #[test]
    fn a_line_with_a_password_is_never_shown() {
        let place = source("password = \"hunter2\"").place(11..20);
        assert_eq!(place.excerpt, None);
    }

    #[test]
    fn a_fault_underlines_what_it_is_about() {
        let source = source("[kafka]\n\ttopics = []\n");
        let fault = Fault {
            file: source.file.clone(),
            place: Some(source.place(18..20)),
            wrong: "`kafka.topics` is empty".into(),
            right: "name at least one topic".into(),
        };
        assert_eq!(
            fault.to_string(),
            "pipeline/pipeline.toml:2:11: `kafka.topics` is empty\n  2 | \ttopics = []\n    | \t         ^^\n  name at least one topic"
        );
    }
}
