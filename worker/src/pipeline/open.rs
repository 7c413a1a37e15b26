//! Open: before the first record, learn where everything stands and say who takes over.
//!
//! Order: read the log → settle what others left → may I write? → are the topics the ones the log knows? → give new
//! partitions their first position, in an `open` entry → only then join the group.
//! Neighbours: pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesOrdered;
use ledger::append::{AppendError, Draft};
use ledger::entry::{EntryId, Kind, NextOffset, PartitionRange, TopicRange};
use ledger::head::{LedgerError, View};
use ledger::settle::{Settler, Which};
use ledger::store::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::watch::Due;
use super::{Parts, Pipeline, Report, Stop};
use crate::batch::cursors::Cursors;
use crate::batch::files::OpenFiles;
use crate::clock::{Clock, rfc3339};
use crate::kafka::{Event, Generation, TopicInfo, TopicPartition};
use crate::settings::Start;
use crate::sink::Sink;

/// How long a store that does not answer is asked again before the start is given up.
const FIRST_READ_MAX: Duration = Duration::from_secs(15);
const FIRST_READ_PAUSE: Duration = Duration::from_secs(1);

/// Makes the pipeline, ready for the first event.
pub(super) async fn open(parts: Parts) -> Result<Pipeline, Stop> {
    let Parts { source, store, decoder, files, clock, writer, report, rules, new_id, shutdown } = parts;
    let view = first_view(&store, clock.as_ref(), &report, &shutdown).await?;
    let mut pipeline = Pipeline {
        sink: Sink::new(store, clock.clone()),
        since_ms: None,
        last_record_ms: 0,
        due: Due::starting(clock.monotonic_ms()),
        measuring: JoinSet::new(),
        files: Some(OpenFiles::new(files)),
        settler: Settler::default(),
        cursors: Cursors::default(),
        generation: Generation::default(),
        decoding: FuturesOrdered::new(),
        decoding_bytes: 0,
        source,
        decoder,
        clock,
        writer,
        report,
        rules,
        new_id,
        shutdown,
        view,
    };
    pipeline.refuse_rejected()?;
    pipeline.settle(Which::All).await?;
    let topics = pipeline.first_topics().await?;
    pipeline.check_topics(&topics)?;
    pipeline.take_over(&topics).await?;
    pipeline.report.opened(&pipeline.view);
    pipeline.source.join().await?;
    Ok(pipeline)
}

/// Reads the log for the first time. A store that throttles or hiccups is asked again for a while; one that is not
/// there at all ends the start, so that a wrong setting shows soon.
async fn first_view(
    store: &Arc<dyn Store>,
    clock: &dyn Clock,
    report: &Report,
    shutdown: &CancellationToken,
) -> Result<View, Stop> {
    let begun_ms = clock.monotonic_ms();
    loop {
        let error = match View::open(store.clone()).await {
            Ok(view) => return Ok(view),
            Err(LedgerError::Store(error)) if error.is_unknown() => error,
            Err(error) => return Err(error.into()),
        };
        let waited_ms = clock.monotonic_ms().saturating_sub(begun_ms);
        if shutdown.is_cancelled() || u128::from(waited_ms) >= FIRST_READ_MAX.as_millis() {
            return Err(error.into());
        }
        report.store_unreachable(&error);
        tokio::time::sleep(FIRST_READ_PAUSE).await;
    }
}

impl Pipeline {
    /// A rejected release or image stops before it does anything.
    pub(super) fn refuse_rejected(&self) -> Result<(), Stop> {
        match self.view.rejected(&self.writer) {
            Some(what) => Err(Stop::Rejected { what: what.to_owned() }),
            None => Ok(()),
        }
    }

    /// Asks for the topics. The question itself only ever times out where a login is refused: the client's own error
    /// says why, and sooner.
    async fn first_topics(&mut self) -> Result<Vec<TopicInfo>, Stop> {
        // Not the whole pipeline: it is not to be shared between threads.
        let (source, report) = (&self.source, &self.report);
        let refused = async {
            loop {
                match source.next().await {
                    Event::Failed(error) => return error,
                    Event::Unreachable { reason } => report.kafka_unreachable(&reason),
                    // Nothing else comes before the group is joined.
                    Event::Assigned(_)
                    | Event::Revoked(_)
                    | Event::Lost(_)
                    | Event::Records(_)
                    | Event::AtEnd { .. }
                    | Event::OutOfRange { .. }
                    | Event::Truncated { .. } => {}
                }
            }
        };
        tokio::select! {
            biased;
            topics = source.topics() => Ok(topics?),
            error = refused => Err(error.into()),
        }
    }

    /// A topic that was deleted and created again has other records under the same offsets.
    pub(super) fn check_topics(&mut self, topics: &[TopicInfo]) -> Result<(), Stop> {
        for topic in topics {
            let Some(id) = &topic.id else { continue };
            match self.view.topic_id(&topic.name) {
                Some(known) if known != id => {
                    let (topic, known, found) = (topic.name.to_string(), known.to_owned(), id.clone());
                    return Err(Stop::Recreated { topic, known, found });
                }
                Some(_) | None => self.cursors.name_topic(&topic.name, id),
            }
        }
        Ok(())
    }

    /// Appends the `open` entry where this release is not the log's last writer, or a partition has no position.
    async fn take_over(&mut self, topics: &[TopicInfo]) -> Result<(), Stop> {
        loop {
            let ranges = self.first_positions(topics).await?;
            let ours = self.view.newest().is_some_and(|newest| newest.writer.release == self.writer.release);
            if ours && ranges.values().all(|range| range.partitions.is_empty()) {
                return Ok(());
            }
            let draft = Draft {
                kind: Kind::Open,
                entry_id: EntryId((self.new_id)()),
                writer: self.writer.clone(),
                committed_at: rfc3339(self.clock.utc_ms()),
                topics: ranges,
                files: Vec::new(),
            };
            match self.view.append(&draft).await {
                // It names no file: settled as soon as it is looked at, or every later entry would wait behind it.
                Ok(entry) => return self.settle(Which::Own(entry.sequence)).await,
                // Another task opened the same partitions first: its positions count.
                Err(AppendError::Fenced { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// First positions of partitions that the log does not know. A topic it knows has got new partitions: they start
    /// at their beginning whatever `start` says, or records before this start would be skipped.
    async fn first_positions(&mut self, topics: &[TopicInfo]) -> Result<BTreeMap<String, TopicRange>, Stop> {
        let mut ranges: BTreeMap<String, TopicRange> = BTreeMap::new();
        for topic in topics {
            let known = self.view.newest().and_then(|newest| newest.positions.get(&*topic.name)).cloned();
            let range = ranges.entry(topic.name.to_string()).or_default();
            range.id = topic.id.clone().unwrap_or_default();
            for number in &topic.partitions {
                if known.as_ref().is_some_and(|known| known.contains_key(number)) {
                    continue;
                }
                let partition = TopicPartition { topic: topic.name.clone(), partition: *number };
                let ends = self.ends(&partition).await?;
                let first = match (self.rules.start, &known) {
                    (Start::Earliest, _) | (Start::Latest, Some(_)) => ends.log_start,
                    (Start::Latest, None) => ends.last_stable,
                };
                let (from, to) = (NextOffset(first), NextOffset(first));
                let first = PartitionRange {
                    from,
                    to,
                    leader_epoch: -1,
                    log_start: ends.log_start,
                    last_stable: ends.last_stable,
                    ..PartitionRange::default()
                };
                range.partitions.insert(*number, first);
            }
        }
        Ok(ranges)
    }
}
