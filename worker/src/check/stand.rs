//! Stand: whether the log's positions and Kafka's topics fit together, as `run` would ask before it reads.
//!
//! Neighbours: check asks both; the pipeline's own errors say what is wrong. Pure: no I/O, no clock.

use std::collections::BTreeMap;

use ledger::entry::Writer;
use ledger::head::View;

use super::report::Line;
use super::show::{counted, grouped};
use crate::kafka::{TopicInfo, TopicPartition, Watermarks};
use crate::pipeline::Stop;
use crate::settings::{OnDataLoss, Start};

const STEP: &str = "ledger";
/// Partitions with the same trouble that are named.
const NAMED_MAX: usize = 5;

/// What Kafka told.
#[derive(Clone, Debug, Default)]
pub struct Kafka {
    pub topics: Vec<TopicInfo>,
    pub watermarks: BTreeMap<TopicPartition, Watermarks>,
}

/// What the log says by itself: how long it is, who wrote last, what is not settled, whether we may write.
pub fn of_log(view: &View, writer: &Writer) -> Vec<Line> {
    let Some(newest) = view.newest() else {
        return vec![Line::ok(STEP, "a new log: the first run begins it")];
    };
    let partitions = newest.positions.values().map(BTreeMap::len).sum::<usize>();
    let by = &newest.writer.release;
    let mut lines = vec![Line::ok(
        STEP,
        format!(
            "stands at entry {}, of {} by release `{by}`, with {}",
            grouped(newest.sequence.0),
            newest.committed_at,
            counted(partitions, "partition"),
        ),
    )];
    if *by != writer.release {
        let what = format!("release `{}` takes over from `{by}`", writer.release);
        lines.push(Line::ok(STEP, what));
    }
    let unsettled = view.unsettled().count();
    if unsettled > 0 {
        let what = format!(
            "the newest {unsettled} entries are not known to be settled: another worker is at it, or the next run \
             completes their files"
        );
        lines.push(Line::ok(STEP, what));
    }
    if let Some(what) = view.rejected(writer) {
        let stop = Stop::Rejected { what: what.to_owned() };
        lines.push(Line::problem(STEP, stop.exit(), stop.to_string(), ""));
    }
    lines
}

/// Whether what the log wants next is what Kafka has.
pub fn of_positions(view: &View, kafka: &Kafka, start: Start, on_data_loss: OnDataLoss) -> Vec<Line> {
    let mut lines = Vec::new();
    for topic in &kafka.topics {
        match (view.topic_id(&topic.name), &topic.id) {
            (Some(known), Some(found)) if known != found => {
                let (topic, known, found) = (topic.name.to_string(), known.to_owned(), found.clone());
                lines.push(stopped(&Stop::Recreated { topic, known, found }));
            }
            _ => {}
        }
    }
    let (mut backlog, mut new) = (0, 0);
    let (mut stops, mut losses) = (Vec::new(), Vec::new());
    for (partition, ends) in &kafka.watermarks {
        let topic_known =
            view.newest().is_some_and(|newest| newest.positions.contains_key(&*partition.topic));
        let position = match (view.position(&partition.topic, partition.partition), start) {
            (Some(position), _) => position.0,
            (None, Start::Latest) if !topic_known => {
                new += 1;
                ends.last_stable
            }
            (None, Start::Earliest | Start::Latest) => {
                new += 1;
                ends.log_start
            }
        };
        if position > ends.last_stable {
            let (partition, end) = (partition.to_string(), ends.last_stable);
            stops.push(Stop::BehindLedger { partition, position, end });
        } else if position < ends.log_start {
            let (wanted, oldest) = (position, ends.log_start);
            let partition = partition.to_string();
            match on_data_loss {
                OnDataLoss::Fail => stops.push(Stop::DataLoss { partition, wanted, oldest }),
                OnDataLoss::Continue => {
                    losses.push(format!("{partition}: offsets {wanted} to {}", oldest - 1))
                }
            }
        }
        backlog += (ends.last_stable - position.max(ends.log_start)).max(0);
    }
    let more = stops.len().saturating_sub(NAMED_MAX);
    lines.extend(stops.iter().take(NAMED_MAX).map(stopped));
    if more > 0
        && let Some(last) = lines.last_mut()
    {
        last.details.push(format!("and {more} more partitions like these"));
    }
    if !losses.is_empty() {
        let what = format!(
            "{}: Kafka has deleted records that were not read yet",
            counted(losses.len(), "partition")
        );
        let advice = "on_data_loss = \"continue\" jumps over them and counts them as lost; give the topic a longer \
                      retention";
        lines.push(Line::warning(STEP, what, advice).with(losses.into_iter().take(NAMED_MAX)));
    }
    let backlog = backlog.unsigned_abs();
    let from = match start {
        Start::Earliest => "at the oldest record",
        Start::Latest => "at the newest record",
    };
    let mut what = format!("{} records wait to be read", grouped(backlog));
    if new > 0 {
        what.push_str(&format!("; {} not in the log yet", counted(new, "partition")));
        let known = |topic: &TopicInfo| {
            view.newest().is_some_and(|newest| newest.positions.contains_key(&*topic.name))
        };
        if !kafka.topics.iter().all(known) {
            what.push_str(&format!(", new topics start {from}"));
        }
    }
    lines.push(Line::ok(STEP, what));
    lines
}

fn stopped(stop: &Stop) -> Line {
    // Its own text says what to do.
    Line::problem(STEP, stop.exit(), stop.to_string(), "")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ledger::append::Draft;
    use ledger::entry::{EntryId, Kind, NextOffset, PartitionRange, TopicRange};
    use ledger::store::memory::MemoryStore;
    use uuid::Uuid;

    use super::*;
    use crate::check::report::Verdict;
    use crate::exit::Exit;

    fn writer(release: &str) -> Writer {
        Writer { release: release.to_owned(), version: "0".to_owned(), ..Writer::default() }
    }

    /// A log by release `r1` in which partition 0 of topic `t`, id `first`, stands at 100.
    async fn log() -> View {
        let mut view = View::open(Arc::new(MemoryStore::new())).await.expect("opened");
        let at = NextOffset(100);
        let range = PartitionRange { from: at, to: at, leader_epoch: -1, ..PartitionRange::default() };
        let range = TopicRange { id: "first".to_owned(), partitions: BTreeMap::from([(0, range)]) };
        let draft = Draft {
            kind: Kind::Open,
            entry_id: EntryId(Uuid::from_u128(1)),
            writer: writer("r1"),
            committed_at: "2026-11-22T07:00:00.000Z".to_owned(),
            topics: BTreeMap::from([("t".to_owned(), range)]),
            files: Vec::new(),
        };
        view.append(&draft).await.expect("appended");
        view
    }

    fn kafka(id: &str, ends: &[(i64, i64)]) -> Kafka {
        let name: Arc<str> = Arc::from("t");
        let watermarks = (0..).zip(ends).map(|(partition, (log_start, last_stable))| {
            let ends = Watermarks { log_start: *log_start, last_stable: *last_stable };
            (TopicPartition { topic: name.clone(), partition }, ends)
        });
        let partitions = (0..ends.len() as i32).collect();
        let topic = TopicInfo { name: name.clone(), id: Some(id.to_owned()), partitions };
        Kafka { topics: vec![topic], watermarks: watermarks.collect() }
    }

    fn exits(lines: &[Line]) -> Vec<Exit> {
        lines
            .iter()
            .filter_map(|line| match line.verdict {
                Verdict::Problem(exit) => Some(exit),
                Verdict::Ok | Verdict::Warning | Verdict::Skipped => None,
            })
            .collect()
    }

    #[tokio::test]
    async fn a_log_that_fits_says_what_waits() {
        let kafka = kafka("first", &[(0, 150), (10, 30)]);
        let lines = of_positions(&log().await, &kafka, Start::Latest, OnDataLoss::Fail);
        assert_eq!(lines.len(), 1, "{lines:?}");
        // A partition that appeared later starts at its beginning, whatever `start` says.
        assert_eq!(lines[0].what, "70 records wait to be read; 1 partition not in the log yet");
    }

    #[tokio::test]
    async fn what_would_stop_the_run_is_a_problem_with_its_code() {
        let view = log().await;
        let of = |kafka: &Kafka, on_data_loss| of_positions(&view, kafka, Start::Earliest, on_data_loss);
        let fail = OnDataLoss::Fail;
        assert_eq!(exits(&of(&kafka("second", &[(0, 150)]), fail)), [Exit::NoTopic], "created again");
        assert_eq!(exits(&of(&kafka("first", &[(0, 99)]), fail)), [Exit::NoTopic], "ends before the log");
        assert_eq!(exits(&of(&kafka("first", &[(101, 150)]), fail)), [Exit::DataRefused], "data loss");
        let lossy = of(&kafka("first", &[(105, 150)]), OnDataLoss::Continue);
        assert_eq!(exits(&lossy), []);
        assert_eq!(lossy[0].verdict, Verdict::Warning);
        assert_eq!(lossy[0].details, ["t[0]: offsets 100 to 104"]);
    }

    #[tokio::test]
    async fn a_rejected_release_is_told_before_it_runs() {
        let mut view = log().await;
        let signature = ledger::rewind::Signature {
            entry_id: EntryId(Uuid::from_u128(2)),
            writer: writer("deployer"),
            committed_at: "2026-11-22T07:00:01.000Z".to_owned(),
        };
        view.reject("r2", &signature, "it ruins records").await.expect("rejected");
        assert_eq!(exits(&of_log(&view, &writer("r2"))), [Exit::DataRefused]);
        assert_eq!(exits(&of_log(&view, &writer("r3"))), []);
    }

    #[tokio::test]
    async fn a_new_log_starts_where_the_settings_say() {
        let view = View::open(Arc::new(MemoryStore::new())).await.expect("opened");
        assert_eq!(of_log(&view, &writer("r1")).len(), 1);
        let kafka = kafka("first", &[(10, 30)]);
        let latest = of_positions(&view, &kafka, Start::Latest, OnDataLoss::Fail);
        assert!(latest[0].what.starts_with("0 records wait"), "{latest:?}");
        let earliest = of_positions(&view, &kafka, Start::Earliest, OnDataLoss::Fail);
        assert!(earliest[0].what.starts_with("20 records wait"), "{earliest:?}");
    }
}
