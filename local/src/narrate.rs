//! Narrate: tells the story. Plain lines with the time; on a terminal a progress display below them as well.
//!
//! Neighbours: story and watch speak through it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::Stopwatch;

/// Where things stand, for the progress display.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Messages that the brokers have, tombstones included.
    pub sent: u64,
    /// All that there will be; 0 = nobody knows.
    pub planned: u64,
    /// Messages that ledger entries cover.
    pub covered: u64,
    pub rows: u64,
    pub dead_letters: u64,
    pub files: u64,
}

/// The storyteller.
#[derive(Clone, Debug)]
pub struct Narrator {
    /// From here on lines have a time.
    began: Arc<OnceLock<Stopwatch>>,
    /// Only on a terminal.
    bar: Option<ProgressBar>,
}

impl Narrator {
    /// `terminal`: whether a person looks on.
    pub fn new(terminal: bool) -> Narrator {
        let bar = terminal.then(|| {
            let bar = ProgressBar::new(0);
            let template = "{spinner} {wide_bar} {pos}/{len} in the ledger  {msg}";
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        Narrator { began: Arc::default(), bar }
    }

    /// The clock starts: the preparations are over.
    pub fn begin(&self) {
        self.began.get_or_init(Stopwatch::start);
    }

    /// One line, with the time since the beginning.
    pub fn say(&self, line: impl AsRef<str>) {
        let line = line.as_ref();
        match self.began.get() {
            Some(began) => self.print(&format!("{:>6.1}s  {line}", began.elapsed().as_secs_f64())),
            None => self.print(&format!("         {line}")),
        }
    }

    /// A line as it is.
    pub fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// A line as it is, on stderr.
    pub fn complain(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Moves the display, where there is one.
    pub fn show(&self, standing: Standing) {
        if let Some(bar) = &self.bar {
            bar.set_length(standing.planned.max(standing.sent));
            bar.set_position(standing.covered);
            bar.set_message(format!("{} files", number(standing.files)));
            bar.tick();
        }
    }

    /// Where no display shows it, a line says it now and then.
    pub fn says_standing(&self) -> bool {
        self.bar.is_none()
    }

    pub fn say_standing(&self, standing: Standing) {
        self.say(format!(
            "{} messages sent; in the ledger: {} rows, {} dead letters, {} files; {} messages to go",
            number(standing.sent),
            number(standing.rows),
            number(standing.dead_letters),
            number(standing.files),
            number(standing.sent.saturating_sub(standing.covered)),
        ));
    }

    /// Takes the display away.
    pub fn end_display(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `1234567` as `1,234,567`.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1.25 s`.
pub fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let grouped: Vec<String> = [0, 999, 1_000, 1_234_567].map(number).into();
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
    }
}
