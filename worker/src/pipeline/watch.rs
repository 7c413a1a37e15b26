//! Watch: what must happen even when no record comes: reading the head, settling what others left, measuring lag.
//!
//! Neighbours: pipeline.

use std::time::Duration;

use futures::future::join_all;
use ledger::entry::EntryId;
use ledger::head::LedgerError;
use ledger::rewind::Signature;
use ledger::settle::Which;
use uuid::Uuid;

use super::{Pipeline, Stop};
use crate::clock::rfc3339;

/// A fence or a rejection must be seen even by a worker that has nothing to append.
pub(crate) const HEAD_EVERY: Duration = Duration::from_secs(15);
const SETTLE_EVERY: Duration = Duration::from_secs(15);
const LAG_EVERY: Duration = Duration::from_secs(10);
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(6 * 60 * 60);
const ENDS_AT_ONCE: usize = 8;
const PATIENCE_FIRST: Duration = Duration::from_millis(500);
const PATIENCE_MAX: Duration = Duration::from_secs(15);

/// When each duty is due next, monotonic milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    head_ms: u64,
    settle_ms: u64,
    lag_ms: u64,
    sweep_ms: u64,
}

impl Due {
    pub(super) fn starting(now_ms: u64) -> Due {
        let in_a_while = now_ms + HEAD_EVERY.as_millis() as u64;
        Due { head_ms: in_a_while, settle_ms: in_a_while, lag_ms: now_ms, sweep_ms: in_a_while }
    }
}

/// Whether a duty is due; if so it is put off by `every`.
fn take(due_ms: &mut u64, every: Duration, now_ms: u64) -> bool {
    let due = now_ms >= *due_ms;
    if due {
        *due_ms = now_ms + every.as_millis() as u64;
    }
    due
}

impl Pipeline {
    pub(super) async fn on_tick(&mut self) -> Result<(), Stop> {
        let now_ms = self.clock.monotonic_ms();
        if take(&mut self.due.head_ms, HEAD_EVERY, now_ms) {
            self.watch_head().await?;
        }
        if take(&mut self.due.settle_ms, SETTLE_EVERY, now_ms) {
            self.settle(Which::Overdue).await?;
        }
        if take(&mut self.due.lag_ms, LAG_EVERY, now_ms) {
            self.measure_lag().await;
        }
        if take(&mut self.due.sweep_ms, SWEEP_EVERY, now_ms) {
            self.sweep().await;
        }
        Ok(())
    }

    /// Another writer, a rejection or a rewind is seen here at the latest.
    async fn watch_head(&mut self) -> Result<(), Stop> {
        let before = self.view.sequence();
        self.refresh().await?;
        if self.view.sequence() == before {
            return Ok(());
        }
        self.refuse_rejected()?;
        let moved = self.cursors.partitions().find(|partition| {
            let position = self.view.position(&partition.topic, partition.partition);
            position.is_some() && position != self.cursors.from(partition)
        });
        match moved.map(ToString::to_string) {
            Some(partition) => {
                self.report.moved_elsewhere(&partition);
                self.drop_batch("another writer or a rewind moved its partitions").await
            }
            None => Ok(()),
        }
    }

    /// Reads the log's end; an outage of the store is waited for.
    pub(super) async fn refresh(&mut self) -> Result<(), Stop> {
        let mut wait = PATIENCE_FIRST;
        loop {
            let error = match self.view.refresh().await {
                Ok(_) => {
                    self.report.store_answers();
                    return Ok(());
                }
                Err(LedgerError::Store(error)) if error.is_unknown() => error,
                Err(error) => return Err(error.into()),
            };
            self.report.store_unreachable(&error);
            if self.shutdown.is_cancelled() {
                return Err(error.into());
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(PATIENCE_MAX);
        }
    }

    /// Makes the store agree with the log, as far as it can now; the rest is tried again.
    pub(super) async fn settle(&mut self, which: Which) -> Result<(), Stop> {
        match self.settler.settle(&mut self.view, which, self.clock.monotonic_ms()).await {
            Ok(settled) => {
                self.report.settled(which, &settled);
                Ok(())
            }
            Err(LedgerError::Store(error)) if error.is_unknown() => {
                self.report.store_unreachable(&error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn measure_lag(&mut self) {
        let partitions: Vec<_> = self.cursors.partitions().cloned().collect();
        for some in partitions.chunks(ENDS_AT_ONCE) {
            let asked = some.iter().map(|partition| self.source.watermarks(partition));
            for (partition, ends) in some.iter().zip(join_all(asked).await) {
                match ends {
                    Ok(ends) => self.cursors.observe(partition, ends),
                    Err(error) => {
                        tracing::debug!(%partition, error = %crate::chain(&error), "lag not measured")
                    }
                }
            }
        }
        self.report.lag(&self.cursors);
        self.report.retried(self.sink.take_retries());
    }

    /// Uploads that a crash left behind. Never in the way of the data: a failure is tried again hours later.
    async fn sweep(&mut self) {
        let committed_at = rfc3339(self.clock.utc_ms());
        let signature =
            Signature { entry_id: EntryId(Uuid::now_v7()), writer: self.writer.clone(), committed_at };
        let now = std::time::UNIX_EPOCH + Duration::from_millis(self.clock.utc_ms().max(0) as u64);
        match self.view.sweep(&signature, now).await {
            Ok(Some(entry)) => self.report.swept(&entry),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = %crate::chain(&error), "abandoned uploads not swept"),
        }
    }
}
