//! Report: every line that the pipeline logs and every figure that it publishes, in one place.
//!
//! Neighbours: pipeline before it; logs, metrics and health after it.

use ledger::append::AppendError;
use ledger::entry::Entry;
use ledger::settle::{Settled, Which};
use ledger::store::StoreError;
use tracing::{error, info, warn};

use super::HoldAt;
use crate::batch::cursors::Cursors;
use crate::batch::seal::SealReason;
use crate::chain;
use crate::commit;
use crate::kafka::TopicPartition;

/// Where the pipeline's news go.
#[derive(Clone, Debug, Default)]
pub struct Report {}

impl Report {
    pub(super) fn opened(&self, entry: &Entry) {
        info!(sequence = entry.sequence.0, release = entry.writer.release, "opened");
    }

    pub(super) fn assigned(&self, partitions: &[TopicPartition], all: usize) {
        info!(partitions = names(partitions), all, "assigned");
    }

    pub(super) fn assignment(&self, _all: usize) {}

    pub(super) fn revoked(&self, partitions: &[TopicPartition]) {
        info!(partitions = names(partitions), "revoked");
    }

    pub(super) fn partitions_lost(&self, partitions: &[TopicPartition]) {
        warn!(partitions = names(partitions), "lost");
    }

    pub(super) fn read(&self, _records: u64, _bytes: u64) {}

    pub(super) fn buffered(&self, _bytes: u64) {}

    pub(super) fn committed(&self, entry: &Entry, reason: SealReason, seconds: f64, _utc_ms: i64) {
        let totals = commit::totals(&entry.topics);
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

    pub(super) fn settled(&self, which: Which, settled: &Settled) {
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
        warn!(error = %chain(error), "append in doubt; asking again");
    }

    pub(super) fn fenced(&self, error: &AppendError) {
        warn!(error = %chain(error), "fenced");
    }

    pub(super) fn moved_elsewhere(&self, partition: &str) {
        warn!(partition, "the ledger moved without us");
    }

    pub(super) fn batch_dropped(&self, reason: &str) {
        warn!(reason, "batch dropped");
    }

    pub(super) fn lost_records(&self, partition: &TopicPartition, lost: u64) {
        error!(%partition, lost, "records lost to retention; going on from the oldest that is there");
    }

    pub(super) fn kafka_unreachable(&self, reason: &str) {
        warn!(reason, "Kafka does not answer");
    }

    pub(super) fn store_unreachable(&self, error: &StoreError) {
        warn!(error = %chain(error), "the store does not answer");
    }

    pub(super) fn store_answers(&self) {}

    pub(super) fn lag(&self, _cursors: &Cursors, _since_ms: Option<u64>, _now_ms: u64) {}

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
