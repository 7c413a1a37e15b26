//! Flush: everything open becomes one entry.
//!
//! Order: write what is decoded → finish files → upload all parts → are the topics still the same? → append → settle →
//! mirror offsets into Kafka.
//! Up to the append it may be given up, and then its uploads are aborted; an append in doubt is resolved before
//! anything else happens, and its uploads are never touched.
//! Neighbours: pipeline; sink, commit and the ledger do the steps.

use std::time::Duration;

use ledger::append::{AppendError, Draft, DraftFile, UPLOAD_AGE_MAX};
use ledger::entry::{Entry, EntryId};
use ledger::settle::Which;

use super::{HoldAt, Pipeline, Stop};
use crate::batch::seal::SealReason;
use crate::clock::rfc3339;
use crate::commit;
use crate::sink::SinkError;

/// Whether a topic was created anew is asked within this; no answer is no proof.
const TOPICS_MAX: Duration = Duration::from_secs(5);
/// Pause before an append in doubt is taken up again.
const DOUBT_PAUSE: Duration = Duration::from_secs(5);

impl Pipeline {
    /// Seals and commits everything open. With a bound it gives up and drops the batch when uploads take longer.
    pub(super) async fn flush(&mut self, reason: SealReason, bound: Option<Duration>) -> Result<(), Stop> {
        self.absorb_all().await?;
        if !self.cursors.moved() {
            self.since_ms = None;
            return Ok(());
        }
        let started_ms = self.clock.monotonic_ms();
        let entry_id = EntryId((self.new_id)());
        let topics = self.cursors.ranges();
        let Some(files) = self.upload(commit::footer(entry_id, &self.writer, &topics), bound).await? else {
            return self.drop_batch("the flush was not over in time").await;
        };
        if files.iter().any(|file| file.age > UPLOAD_AGE_MAX) {
            // The store was slow rather than away; the ledger would refuse to name them.
            return self.drop_batch("its uploads became too old to be named").await;
        }
        self.hold(HoldAt::UploadOpen).await;
        self.check_topics_again().await?;
        let committed_at = rfc3339(self.clock.utc_ms());
        let draft = commit::draft(entry_id, &self.writer, committed_at, topics, files);
        let Some(entry) = self.append(&draft).await? else { return Ok(()) };
        self.sink.forget();
        self.cursors.committed();
        self.since_ms = None;
        let seconds = self.seconds_since(started_ms);
        self.report.committed(&entry, reason, seconds);
        self.hold(HoldAt::EntryLogged).await;
        self.settle(Which::Own(entry.sequence)).await?;
        self.report.first_file();
        self.mirror(&entry).await;
        Ok(())
    }

    /// Finishes the files and gets every part into the store. `None`: not within the bound, or the store gave up.
    async fn upload(
        &mut self,
        footer: Vec<(String, String)>,
        bound: Option<Duration>,
    ) -> Result<Option<Vec<DraftFile>>, Stop> {
        let mut open = self.files.take().expect("only one encoding at a time, and it is awaited");
        let (open, sealed) = tokio::task::spawn_blocking(move || {
            let sealed = open.seal(&footer);
            (open, sealed)
        })
        .await?;
        self.files = Some(open);
        let sealed = sealed?;
        let source = self.source.clone();
        let upload = self.sink.seal(sealed);
        let uploaded = tokio::select! {
            biased;
            uploaded = upload => Some(uploaded),
            () = out_of_time(bound, async move { source.wanted_back().await }, self.rules.revoke_timeout) => None,
        };
        match uploaded {
            Some(Ok(files)) => Ok(Some(files)),
            Some(Err(SinkError::Store(error))) if error.is_unknown() => {
                tracing::error!(error = %crate::chain(&error), "gave up an upload; its records are read again");
                Ok(None)
            }
            Some(Err(error)) => Err(error.into()),
            None => Ok(None),
        }
    }

    /// A topic that was created anew while it was read goes on at the same offsets with other records: the batch may
    /// hold some, and must not be committed as the old topic's. A broker that does not answer is no reason to wait,
    /// since nothing came from it.
    async fn check_topics_again(&mut self) -> Result<(), Stop> {
        match tokio::time::timeout(TOPICS_MAX, self.source.topics()).await {
            Ok(Ok(topics)) => self.check_topics(&topics),
            Ok(Err(error)) => {
                tracing::debug!(error = %crate::chain(&error), "topics not asked for");
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// Gets the draft into the log, or finds out that it can't be. `None`: the batch was dropped.
    async fn append(&mut self, draft: &Draft) -> Result<Option<Entry>, Stop> {
        let begun_ms = self.clock.monotonic_ms();
        loop {
            let error = match self.view.append(draft).await {
                Ok(entry) => return Ok(Some(entry)),
                Err(error) => error,
            };
            match error {
                AppendError::InDoubt { .. } => {
                    self.report.in_doubt(&error);
                    if self.shutdown.is_cancelled() || self.seconds_since(begun_ms) > 1800.0 {
                        self.sink.forget();
                        return Err(error.into());
                    }
                    // Nothing may read the log in between: only the append itself knows which entry is its own.
                    tokio::time::sleep(DOUBT_PAUSE).await;
                }
                AppendError::Fenced { .. } => {
                    self.report.fenced(&error);
                    self.drop_batch("fenced: another writer moved these partitions").await?;
                    return Ok(None);
                }
                AppendError::Swept { .. } | AppendError::Crowded => {
                    tracing::warn!(error = %crate::chain(&error), "entry not appended");
                    self.drop_batch("its entry could not be appended").await?;
                    return Ok(None);
                }
                AppendError::Rejected { named: true, .. } => {
                    self.sink.forget();
                    return Err(error.into());
                }
                AppendError::Rejected { named: false, .. }
                | AppendError::BadDraft(_)
                | AppendError::Ledger(_) => {
                    // Nothing of this batch is in the log: abort before the end, so that nothing lingers for a day.
                    drop(self.sink.abandon().await);
                    return Err(error.into());
                }
            }
        }
    }

    /// Kafka's committed offsets mirror the ledger for the tools that look there; they decide nothing.
    async fn mirror(&mut self, entry: &Entry) {
        if let Err(error) = self.source.commit_offsets(commit::positions(&entry.topics)).await {
            tracing::warn!(error = %crate::chain(&error), "offsets not mirrored into the consumer group");
        }
    }

    /// Crash tests wait here for their SIGKILL.
    async fn hold(&mut self, at: HoldAt) {
        if self.rules.hold_at == Some(at) {
            self.report.holding(at);
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn seconds_since(&self, from_ms: u64) -> f64 {
        self.clock.monotonic_ms().saturating_sub(from_ms) as f64 / 1000.0
    }
}

/// Resolves when a flush must be given up: after its own bound, or after `grace` once the group wants partitions back.
async fn out_of_time(bound: Option<Duration>, wanted_back: impl Future<Output = ()>, grace: Duration) {
    match bound {
        Some(bound) => tokio::time::sleep(bound).await,
        None => {
            wanted_back.await;
            tokio::time::sleep(grace).await;
        }
    }
}
