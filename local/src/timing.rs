//! Timing: from a worker's start to its first committed files, split into what is ours and what is not.
//!
//! Neighbours: story asks at the end; the figures come from the worker's own log.

use std::time::Duration;

use crate::narrate::seconds;
use crate::worker_process::{LogLine, WorkerLog};

/// The worker says this once, with its milestones.
const MILESTONES: &str = "first entry settled";

/// When what happened, since the process was started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Milestones {
    opened: Duration,
    assigned: Duration,
    /// The files can be read.
    visible: Duration,
    /// How long encoding, uploading and appending took.
    flush: Duration,
    /// From the entry to the files.
    settle: Duration,
}

impl Milestones {
    fn read(milestones: &LogLine, committed: &LogLine) -> Option<Milestones> {
        let at = |name: &str| milestones.field(name).as_u64().map(Duration::from_millis);
        // The worker's clock starts a little after its process.
        let lead_in = milestones.at.saturating_sub(at("visible_ms")?);
        Some(Milestones {
            opened: at("opened_ms")? + lead_in,
            assigned: at("assigned_ms")? + lead_in,
            visible: milestones.at,
            flush: Duration::try_from_secs_f64(committed.field("seconds").as_f64()?).ok()?,
            settle: milestones.at.saturating_sub(committed.at),
        })
    }

    fn ours(self) -> Duration {
        self.opened + self.flush + self.settle
    }
}

/// The breakdown, a line a step; a line that says so when the log does not have it.
pub fn lines(worker: &WorkerLog) -> Vec<String> {
    let first = |beginning: &str| worker.line(|line| line.message.starts_with(beginning));
    let milestones = match (first(MILESTONES), first("committed")) {
        (Some(milestones), Some(committed)) => Milestones::read(&milestones, &committed),
        (Some(_) | None, None) | (None, Some(_)) => None,
    };
    let number = worker.number;
    let Some(m) = milestones else {
        return vec![format!("worker {number} had nothing left to commit: no time from start to first file")];
    };
    let group = m.assigned.saturating_sub(m.opened);
    let filling = m.visible.saturating_sub(m.assigned + m.flush + m.settle);
    vec![
        format!(
            "worker {number} from its start to its first committed files: {}, {} of it our own:",
            seconds(m.visible),
            seconds(m.ours())
        ),
        format!("  {} start, settings, ledger, topics", seconds(m.opened)),
        format!("  {} the broker's group: until the dead member's session ends", seconds(group)),
        format!("  {} reading until the flush was due", seconds(filling)),
        format!("  {} encode, upload, append", seconds(m.flush)),
        format!("  {} settle: the files are visible", seconds(m.settle)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at_ms: u64, json: &str) -> LogLine {
        LogLine::parse(json, Duration::from_millis(at_ms)).unwrap()
    }

    #[test]
    fn a_start_is_split_into_its_steps() {
        let milestones = line(
            16_100,
            r#"{"message":"first entry settled; …","opened_ms":100,"assigned_ms":11400,"visible_ms":16000}"#,
        );
        let committed = line(16_000, r#"{"message":"committed","seconds":0.25}"#);
        let read = Milestones::read(&milestones, &committed).unwrap();
        assert_eq!(read.opened, Duration::from_millis(200));
        assert_eq!(read.assigned, Duration::from_millis(11_500));
        assert_eq!(read.ours(), Duration::from_millis(200 + 250 + 100));
        let without = line(1, r#"{"message":"first entry settled"}"#);
        assert_eq!(Milestones::read(&without, &committed), None);
    }
}
