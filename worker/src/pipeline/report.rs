//! Report: every line that the pipeline logs and every figure that it publishes, in one place.
//!
//! Neighbours: pipeline before it; logs, metrics and health after it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ledger::append::AppendError;
use ledger::entry::Entry;
use ledger::head::View;
use ledger::settle::{Settled, Which};
use ledger::store::StoreError;
use tracing::{error, info, warn};

use super::HoldAt;
use crate::batch::cursors::Cursors;
use crate::batch::seal::SealReason;
use crate::chain;
use crate::clock::Clock;
use crate::commit;
use crate::kafka::TopicPartition;
use crate::metrics::{Counter, Lag, Metrics};

/// When things happened for the first time, milliseconds since the process started.
#[derive(Debug, Default)]
struct Milestones {
    opened_ms: OnceLock<u64>,
    assigned_ms: OnceLock<u64>,
    record_ms: OnceLock<u64>,
    committed: OnceLock<()>,
}

/// Where the pipeline's news go.
#[derive(Clone, Debug)]
pub struct Report {
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    first: Arc<Milestones>,
}

impl Report {
    /// `clock` counts from the process's start.
    pub fn new(metrics: Metrics, clock: Arc<dyn Clock>) -> Report {
        Report { metrics, clock, first: Arc::default() }
    }

    fn mark(&self, milestone: &OnceLock<u64>) {
        milestone.get_or_init(|| self.clock.monotonic_ms());
    }

    /// The log is read, the topics are known, the group is about to be joined.
    pub(super) fn opened(&self, view: &View) {
        self.mark(&self.first.opened_ms);
        self.metrics.store_answers(self.clock.moment());
        let release = view.newest().map(|newest| newest.writer.release.as_str());
        info!(sequence = view.sequence().0, release, "opened");
    }

    pub(super) fn assigned(&self, partitions: &[TopicPartition], cursors: &Cursors) {
        self.mark(&self.first.assigned_ms);
        self.metrics.kafka_answers(self.clock.moment());
        self.metrics.add(Counter::Rebalances, 1);
        info!(partitions = names(partitions), all = cursors.len(), "assigned");
        self.assignment(cursors);
    }

    pub(super) fn assignment(&self, cursors: &Cursors) {
        let all: Vec<TopicPartition> = cursors.partitions().cloned().collect();
        self.metrics.assigned(self.clock.moment(), &all);
    }

    pub(super) fn revoked(&self, partitions: &[TopicPartition]) {
        self.metrics.add(Counter::Rebalances, 1);
        info!(partitions = names(partitions), "revoked");
    }

    pub(super) fn partitions_lost(&self, partitions: &[TopicPartition]) {
        self.metrics.add(Counter::Rebalances, 1);
        warn!(partitions = names(partitions), "lost");
    }

    pub(super) fn read(&self, records: u64, bytes: u64) {
        self.mark(&self.first.record_ms);
        self.metrics.kafka_answers(self.clock.moment());
        self.metrics.add(Counter::RecordsRead, records);
        self.metrics.add(Counter::BytesIn, bytes);
    }

    pub(super) fn buffered(&self, bytes: u64) {
        self.metrics.buffered(bytes);
    }

    pub(super) fn committed(&self, entry: &Entry, reason: SealReason, seconds: f64) {
        let totals = commit::totals(&entry.topics);
        self.metrics.committed(self.clock.moment(), Duration::from_secs_f64(seconds));
        self.metrics.store_answers(self.clock.moment());
        for (counter, count) in [
            (Counter::RecordsWritten, totals.written),
            (Counter::RecordsFiltered, totals.filtered),
            (Counter::RecordsDeadLettered, totals.dead_lettered),
            (Counter::RecordsAbsent, totals.absent),
            (Counter::Files, entry.files.len() as u64),
            (Counter::BytesOut, entry.files.iter().map(|file| file.bytes).sum()),
        ] {
            self.metrics.add(counter, count);
        }
        info!(
            sequence = entry.sequence.0,
            records = totals.written,
            dead_lettered = totals.dead_lettered,
            filtered = totals.filtered,
            absent = totals.absent,
            files = entry.files.len(),
            bytes = entry.files.iter().map(|file| file.bytes).sum::<u64>(),
            reason = reason.name(),
            seconds,
            "committed"
        );
    }

    /// Once: how long each stretch from the process's start to the first visible file took.
    pub(super) fn first_file(&self) {
        let now_ms = self.clock.monotonic_ms();
        if self.first.committed.set(()).is_ok() {
            let at = |milestone: &OnceLock<u64>| milestone.get().copied();
            info!(
                opened_ms = at(&self.first.opened_ms),
                assigned_ms = at(&self.first.assigned_ms),
                first_record_ms = at(&self.first.record_ms),
                visible_ms = now_ms,
                "first entry settled; milliseconds since the process started"
            );
        }
    }

    pub(super) fn settled(&self, which: Which, settled: &Settled) {
        self.metrics.add(Counter::StoreErrors, settled.trouble.len() as u64);
        self.metrics.add(Counter::Damage, settled.damage.len() as u64);
        for trouble in &settled.trouble {
            warn!(error = %chain(trouble), "not settled yet; tried again");
        }
        for damage in &settled.damage {
            error!(
                sequence = damage.sequence.0,
                key = damage.key,
                "damage: a file that the ledger promises is gone"
            );
        }
        if settled.visible > 0 || settled.removed > 0 {
            info!(?which, visible = settled.visible, removed = settled.removed, "settled");
        }
    }

    pub(super) fn in_doubt(&self, error: &AppendError) {
        self.metrics.add(Counter::StoreErrors, 1);
        self.metrics.store_unreachable(self.clock.moment(), chain(error).to_string());
        warn!(error = %chain(error), "append in doubt; asking again");
    }

    pub(super) fn fenced(&self, error: &AppendError) {
        self.metrics.add(Counter::Fenced, 1);
        warn!(error = %chain(error), "fenced");
    }

    pub(super) fn moved_elsewhere(&self, partition: &str) {
        self.metrics.add(Counter::Fenced, 1);
        warn!(partition, "fenced");
    }

    pub(super) fn batch_dropped(&self, reason: &str) {
        self.metrics.add(Counter::DroppedBatches, 1);
        warn!(reason, "batch dropped");
    }

    pub(super) fn lost_records(&self, partition: &TopicPartition, lost: u64) {
        self.metrics.add(Counter::RecordsLost, lost);
        error!(%partition, lost, "records lost to retention; going on from the oldest that is there");
    }

    pub(super) fn kafka_unreachable(&self, reason: &str) {
        self.metrics.add(Counter::KafkaErrors, 1);
        self.metrics.kafka_unreachable(self.clock.moment(), reason);
        warn!(reason, "Kafka does not answer");
    }

    pub(super) fn store_unreachable(&self, error: &StoreError) {
        self.metrics.add(Counter::StoreErrors, 1);
        self.metrics.store_unreachable(self.clock.moment(), chain(error).to_string());
        warn!(error = %chain(error), "the store does not answer");
    }

    pub(super) fn store_answers(&self) {
        self.metrics.store_answers(self.clock.moment());
    }

    /// The sink's requests that were sent again.
    pub(super) fn retried(&self, requests: u64) {
        self.metrics.add(Counter::StoreErrors, requests);
    }

    pub(super) fn lag(&self, cursors: &Cursors) {
        let utc_ms = self.clock.utc_ms();
        let lag = cursors.lag().map(|(partition, records, oldest_ms)| {
            let age = oldest_ms.map(|ms| Duration::from_millis((utc_ms - ms).max(0) as u64));
            (partition.clone(), Lag { records, age })
        });
        self.metrics.lag(self.clock.moment(), lag.collect());
    }

    pub(super) fn swept(&self, entry: &Entry) {
        info!(sequence = entry.sequence.0, "swept abandoned uploads");
    }

    pub(super) fn holding(&self, at: HoldAt) {
        let at = match at {
            HoldAt::UploadOpen => "upload-open",
            HoldAt::EntryLogged => "entry-logged",
        };
        info!(at, "holding");
    }

    pub(super) fn draining(&self) {
        self.metrics.draining();
        info!("draining");
    }

    pub(super) fn done(&self) {
        info!("done");
    }
}

/// A few names and how many more: a thousand partitions must not make a line of their own size.
fn names(partitions: &[TopicPartition]) -> String {
    let mut text: Vec<String> = partitions.iter().take(8).map(ToString::to_string).collect();
    if partitions.len() > 8 {
        text.push(format!("and {} more", partitions.len() - 8));
    }
    text.join(", ")
}
