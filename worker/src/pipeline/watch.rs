//! Watch: what must happen even when no record comes: reading the head, settling what others left, measuring lag.
//!
//! Neighbours: pipeline.

use std::time::Duration;

use futures::{StreamExt, stream};
use ledger::entry::EntryId;
use ledger::head::LedgerError;
use ledger::rewind::Signature;
use ledger::settle::Which;

use super::{Pipeline, Stop};
use crate::clock::rfc3339;
use crate::kafka::{KafkaError, TopicPartition, Watermarks};

/// A fence or a rejection must be seen even by a worker that has nothing to append.
pub(crate) const HEAD_EVERY: Duration = Duration::from_secs(15);
const SETTLE_EVERY: Duration = Duration::from_secs(15);
const LAG_EVERY: Duration = Duration::from_secs(10);
const SETTLE_MAX: Duration = Duration::from_secs(30);
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(6 * 60 * 60);
const ENDS_AT_ONCE: usize = 8;
const PATIENCE_FIRST: Duration = Duration::from_millis(500);
const PATIENCE_MAX: Duration = Duration::from_secs(15);
/// A partition whose ends no broker tells for longer, although brokers answer, is more than an election.
const ELECTION_MAX: Duration = Duration::from_secs(120);

/// What a measuring of the lag found.
pub(super) type Ends = Vec<(TopicPartition, Result<Watermarks, KafkaError>)>;

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
            self.measure_lag();
            self.report.retried(self.sink.take_retries());
        }
        self.take_measured();
        if take(&mut self.due.sweep_ms, SWEEP_EVERY, now_ms) {
            self.sweep().await;
        }
        Ok(())
    }

    /// Another writer, a rejection or a rewind is seen here at the latest. It is looked for even when nothing new was
    /// read: an assignment, a sweep, or an append beside other partitions may have read past it already.
    async fn watch_head(&mut self) -> Result<(), Stop> {
        self.refresh().await?;
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
        let settling = self.settler.settle(&mut self.view, which, self.clock.monotonic_ms());
        // Only the start waits for all of it; a store that hangs must not hold up data and rebalances. Cut short, it
        // goes on at the next settling.
        let bound = if which == Which::All { Duration::MAX } else { SETTLE_MAX };
        let Ok(settled) = tokio::time::timeout(bound, settling).await else {
            tracing::warn!(?which, seconds = SETTLE_MAX.as_secs(), "not settled in time; tried again");
            return Ok(());
        };
        match settled {
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

    /// Both ends of a partition. A broker that is away, or a partition between two leaders, is waited for: an outage
    /// must not end the worker, and a restart would only meet it again.
    pub(super) async fn ends(&mut self, partition: &TopicPartition) -> Result<Watermarks, Stop> {
        let begun_ms = self.clock.monotonic_ms();
        let mut wait = PATIENCE_FIRST;
        loop {
            let error = match self.source.watermarks(partition).await {
                Ok(ends) => return Ok(ends),
                Err(error) => error,
            };
            let passing = match error {
                KafkaError::Unreachable { .. } => true,
                // A leader is being elected, or the broker asked has not heard of the partition yet.
                KafkaError::Client { .. } | KafkaError::NoSuchTopic { .. } => {
                    self.seconds_since(begun_ms) < ELECTION_MAX.as_secs_f64()
                }
                KafkaError::Denied { .. } | KafkaError::Setting { .. } => false,
            };
            if !passing || self.shutdown.is_cancelled() {
                return Err(error.into());
            }
            self.report.kafka_unreachable(&crate::chain(&error).to_string());
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(PATIENCE_MAX);
        }
    }

    /// Begins to ask for the ends of all partitions, beside the loop: brokers that do not answer must not hold the
    /// data up. While a measuring goes on, none is begun.
    fn measure_lag(&mut self) {
        if !self.measuring.is_empty() {
            return;
        }
        let partitions: Vec<_> = self.cursors.partitions().cloned().collect();
        let source = self.source.clone();
        self.measuring.spawn(async move {
            let asked = partitions.into_iter().map(|partition| {
                let source = source.clone();
                async move {
                    let ends = source.watermarks(&partition).await;
                    (partition, ends)
                }
            });
            stream::iter(asked).buffer_unordered(ENDS_AT_ONCE).collect().await
        });
    }

    /// Takes what was measured since the last tick.
    fn take_measured(&mut self) {
        let Some(measured) = self.measuring.try_join_next() else { return };
        let measured = measured.unwrap_or_else(|error| {
            tracing::warn!(error = %crate::chain(&error), "lag not measured");
            Ends::new()
        });
        for (partition, ends) in measured {
            match ends {
                Ok(ends) => self.cursors.observe(&partition, ends),
                Err(error) => tracing::debug!(%partition, error = %crate::chain(&error), "lag not measured"),
            }
        }
        self.report.lag(&self.cursors);
    }

    /// Uploads that a crash left behind. Never in the way of the data: a failure is tried again hours later.
    async fn sweep(&mut self) {
        let committed_at = rfc3339(self.clock.utc_ms());
        let signature =
            Signature { entry_id: EntryId((self.new_id)()), writer: self.writer.clone(), committed_at };
        let now = std::time::UNIX_EPOCH + Duration::from_millis(self.clock.utc_ms().max(0) as u64);
        match self.view.sweep(&signature, now).await {
            Ok(Some(entry)) => self.report.swept(&entry),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = %crate::chain(&error), "abandoned uploads not swept"),
        }
    }
}
