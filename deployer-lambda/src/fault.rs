//! Fault: what is wrong with what a person wrote, where it stands and what would be right; all of it at once.
//!
//! Neighbours: policy, settings and render collect faults; main prints them. Pure.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A text that was read, to say where a fault stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
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
    /// The line itself.
    pub excerpt: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// A file, or `environment`.
    pub file: PathBuf,
    /// None when it is about the whole file, or a variable.
    pub place: Option<Place>,
    pub wrong: String,
    /// What would be right, as advice; empty where `wrong` says it all.
    pub right: String,
}

/// Everything that is wrong, by file and place. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults(pub Vec<Fault>);

/// Files are written by hand; more than this is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Source {
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Source {
        Source { file: file.into(), text: text.into() }
    }

    /// Reads a file.
    pub fn read(file: &Path) -> Result<Source, Fault> {
        let fault = |wrong: String| {
            Fault {
            file: file.to_owned(),
            place: None,
            wrong,
            right: "it travels in the Lambda's package, under `taskdefs/`; LANDFALL_TASKDEFS names another directory"
                .to_owned(),
        }
        };
        let meta = std::fs::metadata(file).map_err(|error| fault(format!("read the file: {error}")))?;
        if meta.len() > FILE_BYTES_MAX {
            return Err(fault(format!("the file has {} bytes, more than {FILE_BYTES_MAX}", meta.len())));
        }
        let text = std::fs::read_to_string(file).map_err(|error| fault(format!("read the file: {error}")))?;
        Ok(Source::new(file, text))
    }

    /// Where the bytes `span` stand.
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = boundary(&self.text, span.start);
        let end = boundary(&self.text, span.end).max(start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        Place {
            line: self.text[..line_start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end.min(line_end)].trim_end().chars().count().max(1),
            excerpt: self.text[line_start..line_end].trim_end_matches('\r').to_owned(),
        }
    }

    /// Something is wrong at the bytes `span`.
    pub fn fault(&self, span: Range<usize>, wrong: impl Into<String>, right: impl Into<String>) -> Fault {
        Fault {
            file: self.file.clone(),
            place: Some(self.place(span)),
            wrong: wrong.into(),
            right: right.into(),
        }
    }

    /// Something is wrong with the whole.
    pub fn fault_whole(&self, wrong: impl Into<String>, right: impl Into<String>) -> Fault {
        Fault { file: self.file.clone(), place: None, wrong: wrong.into(), right: right.into() }
    }
}

fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Fault {
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
        if let Some(place) = &self.place {
            let margin = " ".repeat(place.line.to_string().len());
            // Tabs stay tabs, or the underline would stand beside what it marks.
            let indent: String = place
                .excerpt
                .chars()
                .take(place.column - 1)
                .map(|c| if c == '\t' { c } else { ' ' })
                .collect();
            write!(f, "\n  {} | {}", place.line, place.excerpt)?;
            write!(f, "\n  {margin} | {indent}{}", "^".repeat(place.width))?;
        }
        if self.right.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.right) }
    }
}

impl Faults {
    /// `value`, if nothing is wrong.
    pub fn unless<T>(mut faults: Vec<Fault>, value: Option<T>) -> Result<T, Faults> {
        match value {
            Some(value) if faults.is_empty() => Ok(value),
            _ => {
                let key = |fault: &Fault| {
                    (fault.file.clone(), fault.place.as_ref().map(|place| (place.line, place.column)))
                };
                faults.sort_by_key(key);
                faults.dedup();
                Err(Faults(faults))
            }
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            write!(f, "{fault}\n\n")?;
        }
        match self.0.len() {
            1 => f.write_str("1 fault"),
            number => write!(f, "{number} faults"),
        }
    }
}

impl std::error::Error for Faults {}

/// A value as a fault quotes it: on one line, and not longer than one reads.
pub fn shown(text: &str) -> String {
    let mut quoted: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() > 80 {
        quoted.push('…');
    }
    format!("\"{quoted}\"")
}

/// "did you mean `x`?", or what is known here.
pub fn did_you_mean<'k>(word: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            format!("known here: {}", known.map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The known word that a person most likely meant, if any is near.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_").chars().take(64).collect::<Vec<_>>();
    let word = plain(word);
    known
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
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
    fn a_fault_underlines_what_it_is_about() {
        let source = Source::new("policy.toml", "[images]\n\tversions = \"ü\"\n");
        let at = source.text.find("\"ü\"").expect("it is there");
        let fault = source.fault(at..at + "\"ü\"".len(), "`images.versions` is \"ü\"", "write a range");
        assert_eq!(
            fault.to_string(),
            "policy.toml:2:13: `images.versions` is \"ü\"\n  2 | \tversions = \"ü\"\n    | \t           ^^^\n  write a range"
        );
    }

    #[test]
    fn a_place_past_the_end_or_inside_a_character_is_still_a_place() {
        let source = Source::new("x", "ü");
        assert_eq!(source.place(1..900).column, 1);
        assert_eq!(source.place(900..901).line, 1);
    }

    #[test]
    fn the_nearest_word_is_suggested_only_when_it_is_near() {
        let known = ["stopTimeout", "startTimeout", "healthCheck"];
        assert_eq!(nearest("stopTimeOut", known.into_iter()), Some("stopTimeout"));
        assert_eq!(nearest("healthcheck", known.into_iter()), Some("healthCheck"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }

    #[test]
    fn faults_stand_in_the_order_of_the_files() {
        let source = Source::new("b", "x\ny\n");
        let faults = vec![
            source.fault(2..3, "second", ""),
            source.fault(0..1, "first", ""),
            source.fault(0..1, "first", ""),
            Source::new("a", "").fault_whole("before", ""),
        ];
        let Faults(told) = Faults::unless::<()>(faults, Some(())).expect_err("faults");
        let said: Vec<_> = told.iter().map(|fault| fault.wrong.as_str()).collect();
        assert_eq!(said, ["before", "first", "second"]);
    }
}
