//! Report: what a check found, line by line, for people and for machines.
//!
//! Neighbours: check fills it; main prints it. Pure: no I/O, no clock.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::exit::Exit;

/// Lists longer than this are cut in the text.
const DETAILS_MAX: usize = 60;
/// Columns of the text before a line's own words.
const INDENT: usize = 21;

/// How a step went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Ok,
    /// It will run; somebody should know this first.
    Warning,
    /// It will not run, or not as it should; the code that `run` would end with.
    Problem(Exit),
    /// Not tried, because of a problem before it.
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem(_) => "problem",
            Verdict::Skipped => "skipped",
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// One step, or one thing that it found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Line {
    pub verdict: Verdict,
    /// `kafka`, `schema`, …
    pub step: &'static str,
    /// What, where and why.
    pub what: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Line {
    pub fn ok(step: &'static str, what: impl Into<String>) -> Line {
        Line { verdict: Verdict::Ok, step, what: what.into(), details: Vec::new(), advice: None }
    }

    pub fn warning(step: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Line {
        Line { verdict: Verdict::Warning, advice: Some(advice.into()), ..Line::ok(step, what) }
    }

    pub fn problem(
        step: &'static str,
        exit: Exit,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Line {
        let advice = Some(advice.into()).filter(|advice| !advice.is_empty());
        Line { verdict: Verdict::Problem(exit), advice, ..Line::ok(step, what) }
    }

    pub fn skipped(step: &'static str, why: impl Into<String>) -> Line {
        Line { verdict: Verdict::Skipped, ..Line::ok(step, why) }
    }

    pub fn with(mut self, details: impl IntoIterator<Item = String>) -> Line {
        self.details.extend(details);
        self
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = self.what.lines();
        write!(f, "{:<9}{:<12}{}", self.verdict.word(), self.step, rows.next().unwrap_or_default())?;
        let shown = self.details.iter().take(DETAILS_MAX).flat_map(|detail| detail.lines());
        for row in rows.chain(shown) {
            write!(f, "\n{:INDENT$}{row}", "")?;
        }
        if self.details.len() > DETAILS_MAX {
            write!(f, "\n{:INDENT$}and {} more", "", self.details.len() - DETAILS_MAX)?;
        }
        for (index, row) in self.advice.iter().flat_map(|advice| advice.lines()).enumerate() {
            write!(f, "\n{:INDENT$}{}{row}", "", if index == 0 { "→ " } else { "  " })?;
        }
        Ok(())
    }
}

/// Everything that a check found, in the order in which it looked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub lines: Vec<Line>,
    /// None where the sample did not come that far.
    pub projection: Option<super::project::Projection>,
}

impl Report {
    pub fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// The code of the worst problem.
    pub fn exit(&self) -> Exit {
        let problems = self.lines.iter().filter_map(|line| match line.verdict {
            Verdict::Problem(exit) => Some(exit),
            Verdict::Ok | Verdict::Warning | Verdict::Skipped => None,
        });
        problems.max_by_key(|exit| weight(*exit)).unwrap_or(Exit::Done)
    }

    /// One JSON object on one line.
    pub fn to_json(&self) -> String {
        let mut whole = serde_json::to_value(self).expect("strings, numbers and lists are JSON");
        whole["exit"] = self.exit().code().into();
        whole.to_string()
    }

    fn count(&self, of: impl Fn(Verdict) -> bool) -> usize {
        self.lines.iter().filter(|line| of(line.verdict)).count()
    }
}

/// What this release can only mend itself outweighs what its surroundings may still become.
fn weight(exit: Exit) -> u8 {
    match exit {
        Exit::Done => 0,
        Exit::TryAgain => 1,
        Exit::Unreachable => 2,
        Exit::NoTopic => 3,
        Exit::Denied => 4,
        Exit::Unproven | Exit::DataRefused => 5,
        Exit::Usage | Exit::Settings => 6,
        Exit::Bug => 7,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        let problems = self.count(|verdict| matches!(verdict, Verdict::Problem(_)));
        let warnings = self.count(|verdict| verdict == Verdict::Warning);
        let counted =
            |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        write!(f, "\n{}, {}; nothing was written", counted(problems, "problem"), counted(warnings, "warning"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_why_and_what_to_do() {
        let line = Line::problem("kafka", Exit::Unreachable, "reach Kafka at `a:1`: no answer", "check a")
            .with(["one".to_owned(), "two".to_owned()]);
        let text = line.to_string();
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "problem  kafka       reach Kafka at `a:1`: no answer");
        assert_eq!(rows[1], format!("{:INDENT$}one", ""));
        assert_eq!(rows[3], format!("{:INDENT$}→ check a", ""));
    }

    #[test]
    fn the_worst_problem_is_the_exit() {
        let mut report = Report::default();
        assert_eq!(report.exit(), Exit::Done);
        report.add(Line::warning("sample", "small", "wait"));
        report.add(Line::skipped("sample", "no Kafka"));
        assert_eq!(report.exit(), Exit::Done);
        report.add(Line::problem("kafka", Exit::Unreachable, "a", "b"));
        assert_eq!(report.exit(), Exit::Unreachable);
        report.add(Line::problem("memory", Exit::Settings, "a", "b"));
        report.add(Line::problem("topics", Exit::NoTopic, "a", "b"));
        assert_eq!(report.exit(), Exit::Settings);
        assert!(report.to_string().ends_with("3 problems, 1 warning; nothing was written"), "{report}");
    }

    #[test]
    fn machines_get_the_same_lines() {
        let mut report = Report::default();
        report.add(Line::problem("topics", Exit::NoTopic, "no such topic", "create it"));
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert_eq!(json["exit"], 66);
        assert_eq!(json["lines"][0]["verdict"], "problem");
        assert_eq!(json["lines"][0]["do"], "create it");
    }
}
