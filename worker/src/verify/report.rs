//! Report: what a verification found, as a person reads it.
//!
//! Neighbours: verify. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::fmt;

use ledger::entry::{NextOffset, OffsetRange, PartitionRange, Sequence};

use crate::exit::Exit;

/// Findings of one sort that are kept; the others are counted.
const FINDINGS_MAX: usize = 20;

/// How much was proved; each holds those before it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// The log is whole, and every partition's ranges follow one another without a gap.
    Ranges,
    /// Every range's counts add up, every file that the log promises is there with as many bytes and rows, and no
    /// other file is.
    Counts,
    /// Every offset that counts as a row or a dead letter is in exactly one file.
    Rows,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Ranges => "ranges: the log is whole and every partition's ranges follow one another",
            Level::Counts => "counts: all counts add up, and the files are those of the log and no others",
            Level::Rows => "rows: every offset written or dead-lettered is in exactly one file",
        })
    }
}

/// Something wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    NoLog,
    Hole {
        first: Sequence,
        last: Sequence,
    },
    Stranger {
        key: String,
    },
    Unreadable {
        sequence: Sequence,
        why: String,
    },
    Broken {
        sequence: Sequence,
        why: String,
    },
    Rewind {
        sequence: Sequence,
        why: String,
    },
    Chain {
        sequence: Sequence,
        topic: String,
        partition: i32,
        from: NextOffset,
        position: NextOffset,
    },
    Head {
        topic: String,
        partition: i32,
        reached: Option<NextOffset>,
        position: NextOffset,
    },
    NamedTwice {
        key: String,
        first: Sequence,
        second: Sequence,
    },
    Missing {
        sequence: Sequence,
        key: String,
    },
    Size {
        sequence: Sequence,
        key: String,
        said: u64,
        found: u64,
    },
    Stray {
        key: String,
        bytes: u64,
    },
    SupersededVisible {
        sequence: Sequence,
        key: String,
    },
    NotParquet {
        sequence: Sequence,
        key: String,
        why: String,
    },
    FileRows {
        sequence: Sequence,
        key: String,
        said: u64,
        found: u64,
    },
    PartitionRows {
        sequence: Sequence,
        topic: String,
        partition: i32,
        what: &'static str,
        said: u64,
        found: u64,
    },
    Duplicate {
        sequence: Sequence,
        key: String,
        topic: String,
        partition: i32,
        offset: i64,
    },
    Outside {
        sequence: Sequence,
        key: String,
        topic: String,
        partition: i32,
        offset: i64,
    },
    NotAbsent {
        sequence: Sequence,
        topic: String,
        partition: i32,
        range: OffsetRange,
    },
    Gap {
        sequence: Sequence,
        topic: String,
        partition: i32,
        missing: u64,
        first: i64,
    },
    InKafka {
        sequence: Sequence,
        topic: String,
        partition: i32,
        offset: i64,
    },
}

impl Finding {
    /// The lowest level that does not hold any more.
    fn breaks(&self) -> Level {
        match self {
            Finding::NoLog
            | Finding::Hole { .. }
            | Finding::Stranger { .. }
            | Finding::Unreadable { .. }
            | Finding::Broken { .. }
            | Finding::Rewind { .. }
            | Finding::Chain { .. }
            | Finding::Head { .. } => Level::Ranges,
            Finding::NamedTwice { .. }
            | Finding::Missing { .. }
            | Finding::Size { .. }
            | Finding::Stray { .. }
            | Finding::SupersededVisible { .. }
            | Finding::NotParquet { .. }
            | Finding::FileRows { .. }
            | Finding::InKafka { .. } => Level::Counts,
            Finding::PartitionRows { .. }
            | Finding::Duplicate { .. }
            | Finding::Outside { .. }
            | Finding::NotAbsent { .. }
            | Finding::Gap { .. } => Level::Rows,
        }
    }

    /// What its sort is called.
    pub fn sort(&self) -> &'static str {
        match self {
            Finding::NoLog => "no log",
            Finding::Hole { .. } => "hole in the log",
            Finding::Stranger { .. } => "stranger in the log",
            Finding::Unreadable { .. } => "unreadable entry",
            Finding::Broken { .. } => "broken entry",
            Finding::Rewind { .. } => "wrong rewind",
            Finding::Chain { .. } => "ranges do not follow",
            Finding::Head { .. } => "wrong position",
            Finding::NamedTwice { .. } => "file named twice",
            Finding::Missing { .. } => "missing file",
            Finding::Size { .. } => "wrong size",
            Finding::Stray { .. } => "stray file",
            Finding::SupersededVisible { .. } => "superseded file visible",
            Finding::NotParquet { .. } => "unreadable file",
            Finding::FileRows { .. } => "wrong rows in file",
            Finding::PartitionRows { .. } => "wrong count",
            Finding::Duplicate { .. } => "duplicate",
            Finding::Outside { .. } => "offset outside",
            Finding::NotAbsent { .. } => "not absent",
            Finding::Gap { .. } => "gap",
            Finding::InKafka { .. } => "absent here, but in Kafka",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::NoLog => f.write_str("there is no ledger here; check the path"),
            Finding::Hole { first, last } if first == last => write!(f, "entry {first} is not there"),
            Finding::Hole { first, last } => write!(f, "entries {first} to {last} are not there"),
            Finding::Stranger { key } => write!(f, "`{key}` is no entry"),
            Finding::Unreadable { sequence, why } => write!(f, "entry {sequence}: {why}"),
            Finding::Broken { sequence, why } | Finding::Rewind { sequence, why } => {
                write!(f, "entry {sequence}: {why}")
            }
            Finding::Chain { sequence, topic, partition, from, position } => write!(
                f,
                "{topic}[{partition}]: entry {sequence} starts at {from}, the live ones before it end at {position}"
            ),
            Finding::Head { topic, partition, reached: Some(reached), position } => write!(
                f,
                "{topic}[{partition}]: the newest entry says {position}, the live ones end at {reached}"
            ),
            Finding::Head { topic, partition, reached: None, position } => {
                write!(f, "{topic}[{partition}]: the newest entry says {position}, no live one says why")
            }
            Finding::NamedTwice { key, first, second } => {
                write!(f, "`{key}` is named by entry {first} and by entry {second}")
            }
            Finding::Missing { sequence, key } => write!(f, "`{key}` of entry {sequence} is not there"),
            Finding::Size { sequence, key, said, found } => {
                write!(f, "`{key}` of entry {sequence} has {found} bytes, the entry says {said}")
            }
            Finding::Stray { key, bytes } => write!(f, "`{key}`, {bytes} bytes, is named by no entry"),
            Finding::SupersededVisible { sequence, key } => {
                write!(f, "`{key}` of entry {sequence}, which a rewind took out, is still there")
            }
            Finding::NotParquet { sequence, key, why } => write!(f, "`{key}` of entry {sequence}: {why}"),
            Finding::FileRows { sequence, key, said, found } => {
                write!(f, "`{key}` of entry {sequence} has {found} rows, the entry says {said}")
            }
            Finding::PartitionRows { sequence, topic, partition, what, said, found } => {
                write!(f, "{topic}[{partition}]: entry {sequence} says {said} {what}, its files hold {found}")
            }
            Finding::Duplicate { sequence, key, topic, partition, offset } => write!(
                f,
                "{topic}[{partition}] offset {offset} of entry {sequence} is there more than once, at last in `{key}`"
            ),
            Finding::Outside { sequence, key, topic, partition, offset } => write!(
                f,
                "{topic}[{partition}] offset {offset} is in `{key}`, and entry {sequence} does not cover it"
            ),
            Finding::NotAbsent { sequence, topic, partition, range } => write!(
                f,
                "{topic}[{partition}]: entry {sequence} says there are no records at {} to {}, its files hold some",
                range.0, range.1
            ),
            Finding::Gap { sequence, topic, partition, missing, first } => write!(
                f,
                "{topic}[{partition}]: {missing} offsets of entry {sequence} are in no file, the first at or after \
                 {first}"
            ),
            Finding::InKafka { sequence, topic, partition, offset } => write!(
                f,
                "{topic}[{partition}] offset {offset}: entry {sequence} says that there is no record, Kafka has one"
            ),
        }
    }
}

/// Something that is not wrong and not finished.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pending {
    /// The entry is logged, the file's upload still waits to be completed.
    Unsettled { sequence: Sequence, key: String },
    /// A rewind is logged, the file still waits to be removed.
    Rewinding { sequence: Sequence, key: String },
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pending::Unsettled { sequence, key } => {
                write!(f, "`{key}` of entry {sequence} is logged and not yet visible")
            }
            Pending::Rewinding { sequence, key } => {
                write!(f, "`{key}` of entry {sequence} is taken out and not yet removed")
            }
        }
    }
}

/// What live entries say of one partition, added up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    pub from: NextOffset,
    pub to: NextOffset,
    pub written: u64,
    pub filtered: u64,
    pub dead_lettered: u64,
    pub absent: u64,
    pub lost: u64,
}

impl Totals {
    pub(super) fn add(&mut self, range: &PartitionRange) {
        let count = |ranges: &[OffsetRange]| ranges.iter().map(|range| range.count()).sum::<u64>();
        self.to = range.to;
        self.written += range.written;
        self.filtered += range.filtered;
        self.dead_lettered += range.dead_lettered;
        self.absent += count(&range.absent);
        self.lost += count(&range.lost);
    }
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct Report {
    pub store: String,
    pub first: Sequence,
    pub last: Sequence,
    /// Live entries that moved offsets.
    pub live: u64,
    pub superseded: u64,
    pub files: u64,
    pub bytes: u64,
    pub partitions: BTreeMap<(String, i32), Totals>,
    /// Files without the metadata columns: their rows cannot be told apart.
    pub unmarked_files: u64,
    /// Absent offsets that Kafka was asked about, and those it no longer knows.
    pub absences: Option<Absences>,
    /// `--from` was given: older files are not told from stray ones.
    pub partly: bool,
    findings: Vec<Finding>,
    pub pending: Vec<Pending>,
    counts: BTreeMap<&'static str, u64>,
    broken: Option<Level>,
}

/// What Kafka said about absent offsets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Absences {
    pub checked: u64,
    /// Older than what Kafka still has.
    pub untold: u64,
}

impl Report {
    pub(super) fn new(store: String) -> Report {
        Report { store, ..Report::default() }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.sort()).or_insert(0);
        *count += 1;
        let level = finding.breaks();
        self.broken = Some(self.broken.map_or(level, |broken| broken.min(level)));
        if *count <= FINDINGS_MAX as u64 {
            self.findings.push(finding);
        }
    }

    /// What is wrong, at most 20 of a sort.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings there are of each sort.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// What holds; `None` when not even the log does.
    pub fn proved(&self) -> Option<Level> {
        let reached = if self.unmarked_files == 0 { Level::Rows } else { Level::Counts };
        match self.broken {
            None => Some(reached),
            Some(Level::Ranges) => None,
            Some(Level::Counts) => Some(Level::Ranges),
            Some(Level::Rows) => Some(Level::Counts),
        }
    }

    /// 0 only when nothing is wrong and nothing is unfinished.
    pub fn exit(&self) -> Exit {
        match (self.broken, self.pending.is_empty()) {
            (Some(_), _) => Exit::Unproven,
            (None, false) => Exit::TryAgain,
            (None, true) => Exit::Done,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.store)?;
        writeln!(
            f,
            "entries {} to {}: {} live, {} superseded; {} files, {} bytes",
            self.first, self.last, self.live, self.superseded, self.files, self.bytes
        )?;
        for ((topic, partition), totals) in &self.partitions {
            write!(f, "  {topic}[{partition}] {}..{}: {} written", totals.from, totals.to, totals.written)?;
            let others = [
                (totals.filtered, "filtered"),
                (totals.dead_lettered, "dead-lettered"),
                (totals.absent, "absent"),
                (totals.lost, "lost to retention"),
            ];
            for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
                write!(f, ", {count} {what}")?;
            }
            writeln!(f)?;
        }
        if self.partly {
            writeln!(f, "entries before {} were not read: stray files were not looked for", self.first)?;
        }
        if self.unmarked_files > 0 {
            writeln!(
                f,
                "{} files have no _topic, _partition and _offset: their rows were only counted",
                self.unmarked_files
            )?;
        }
        if let Some(absences) = self.absences {
            writeln!(
                f,
                "Kafka has no record at {} absent offsets; of {} it knows no more",
                absences.checked, absences.untold
            )?;
        }
        self.fmt_findings(f)?;
        match self.proved() {
            Some(level) => write!(f, "proved {level}")?,
            None => f.write_str("proved nothing")?,
        }
        match self.pending.len() {
            0 => Ok(()),
            waiting => write!(f, "; but for {waiting} files that are not settled yet"),
        }
    }
}

impl Report {
    fn fmt_findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sort, count) in &self.counts {
            for finding in self.findings.iter().filter(|finding| finding.sort() == *sort) {
                writeln!(f, "{sort}: {finding}")?;
            }
            if *count > FINDINGS_MAX as u64 {
                writeln!(f, "{sort}: and {} more", count - FINDINGS_MAX as u64)?;
            }
        }
        for pending in self.pending.iter().take(FINDINGS_MAX) {
            writeln!(f, "not settled: {pending}")?;
        }
        if self.pending.len() > FINDINGS_MAX {
            writeln!(f, "not settled: and {} more", self.pending.len() - FINDINGS_MAX)?;
        }
        Ok(())
    }
}
