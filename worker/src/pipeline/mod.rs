//! Pipeline: drives the rooms in their order: kafka → decode → batch → encode → sink → commit.
//!
//! Order: one loop owns everything that is open. A batch is admitted, decoded on another thread, written, and counted;
//! a flush waits for all of that, then uploads, appends, settles and mirrors offsets, in this order. A rebalance is
//! answered in between two of these steps, never inside one.
//! Neighbours: every room; health and metrics look on through `report`.

mod assign;
mod flush;
mod open;
mod report;
mod stop;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use ledger::entry::Writer;
use ledger::head::View;
use ledger::settle::Settler;
use ledger::store::Store;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::batch::cursors::Cursors;
use crate::batch::files::{FileOptions, FilesError, OpenFiles, PartOut};
use crate::batch::seal::{Limits, Open, SealReason, seal_reason};
use crate::clock::Clock;
use crate::decode::{DecodeFailure, Decoded};
use crate::kafka::records::{Batch, Run};
use crate::kafka::{Event, Generation, Source};
use crate::settings::{OnDataLoss, Start};
use crate::sink::Sink;

pub use self::report::Report;
pub use self::stop::Stop;
pub(crate) use self::watch::{HEAD_EVERY, SWEEP_EVERY};

const TICK: Duration = Duration::from_millis(250);
/// The whole drain must be over well inside ECS's longest stopTimeout of 120 s.
const DRAIN_MAX: Duration = Duration::from_secs(90);

/// Turns batches into rows, from any thread.
pub trait Decode: Send + Sync {
    fn decode(&self, batch: &Batch, runs: &[Run]) -> Result<Decoded, DecodeFailure>;
}

/// A point at which a crash test wants the worker to stand still until it is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HoldAt {
    /// Everything is uploaded, nothing is named.
    UploadOpen,
    /// The entry is in the log, nothing is settled.
    EntryLogged,
}

/// Makes ids of entries and files, never one twice: UUIDs of version 7, but for simulations.
pub type NewId = Arc<dyn Fn() -> Uuid + Send + Sync>;

/// What the pipeline is made of; each room is built by `main`.
pub struct Parts {
    pub source: Arc<dyn Source>,
    pub store: Arc<dyn Store>,
    pub decoder: Arc<dyn Decode>,
    pub files: FileOptions,
    pub clock: Arc<dyn Clock>,
    pub writer: Writer,
    pub report: Report,
    pub rules: Rules,
    pub new_id: NewId,
    /// Cancelled by the first SIGTERM or SIGINT.
    pub shutdown: CancellationToken,
}

/// The settings that the loop itself needs.
#[derive(Clone, Debug)]
pub struct Rules {
    pub limits: Limits,
    pub start: Start,
    pub on_data_loss: OnDataLoss,
    pub revoke_timeout: Duration,
    /// Batches decoded at the same time.
    pub decoders: usize,
    /// Bytes of messages that may wait to be decoded.
    pub decoding_bytes_max: u64,
    pub hold_at: Option<HoldAt>,
}

/// The loop and all that it owns.
pub struct Pipeline {
    source: Arc<dyn Source>,
    decoder: Arc<dyn Decode>,
    clock: Arc<dyn Clock>,
    writer: Writer,
    report: Report,
    rules: Rules,
    new_id: NewId,
    shutdown: CancellationToken,
    view: View,
    settler: Settler,
    cursors: Cursors,
    generation: Generation,
    /// In the order of admission.
    decoding: FuturesOrdered<JoinHandle<InDecode>>,
    decoding_bytes: u64,
    /// Away only while an encoding thread has it.
    files: Option<OpenFiles>,
    sink: Sink,
    since_ms: Option<u64>,
    last_record_ms: u64,
    due: watch::Due,
    /// At most one measuring of the lag, beside the loop; aborted with it.
    measuring: JoinSet<watch::Ends>,
}

/// A batch that came back from its decoding thread.
struct InDecode {
    bytes: u64,
    result: Result<Decoded, DecodeFailure>,
}

impl Pipeline {
    /// Runs until told to stop. `Ok` means drained: everything read is committed and the group was left.
    ///
    /// Once told to stop it ends within [`DRAIN_MAX`], whatever it waits for: what is cut short is not named by the
    /// log, or in doubt, and the next start reads which.
    pub async fn run(parts: Parts) -> Result<(), Stop> {
        let shutdown = parts.shutdown.clone();
        let out_of_time = async move {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN_MAX).await;
        };
        tokio::select! {
            biased;
            ended = Pipeline::until_drained(parts) => ended,
            () = out_of_time => Err(Stop::Undrained(format!("{} s were not enough", DRAIN_MAX.as_secs()))),
        }
    }

    async fn until_drained(parts: Parts) -> Result<(), Stop> {
        let mut pipeline = open::open(parts).await?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let source = pipeline.source.clone();
        loop {
            let room = pipeline.has_room();
            tokio::select! {
                biased;
                () = pipeline.shutdown.cancelled() => break,
                Some(done) = pipeline.decoding.next() => pipeline.absorb(done?).await?,
                _ = tick.tick() => pipeline.on_tick().await?,
                event = source.next(), if room => pipeline.on_event(event).await?,
                // Full of what the store does not take, it would not hear that the group waits for partitions.
                () = source.wanted_back(), if !room && pipeline.since_ms.is_some() => {
                    pipeline.flush(SealReason::Revoked, None).await?;
                }
            }
            if let Some(reason) = pipeline.seal_reason() {
                pipeline.flush(reason, None).await?;
            }
        }
        pipeline.drain().await
    }

    /// Whether another batch may be taken on.
    fn has_room(&self) -> bool {
        let waiting = self.decoding.len() < self.rules.decoders + 1;
        waiting
            && self.decoding_bytes < self.rules.decoding_bytes_max
            && self.memory_bytes() < self.memory_hard_max()
    }

    async fn on_event(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Records(batch) => {
                self.take_on(batch);
                Ok(())
            }
            Event::AtEnd { partition, next, generation } => {
                if self.cursors.at_end(&partition, next, generation) {
                    self.touch();
                }
                Ok(())
            }
            Event::Assigned(partitions) => self.on_assigned(partitions).await,
            Event::Revoked(partitions) => self.on_revoked(partitions).await,
            Event::Lost(partitions) => self.on_lost(partitions).await,
            Event::OutOfRange { partition, generation, reason } => {
                self.on_out_of_range(partition, generation, &reason).await
            }
            Event::Truncated { partition, generation: _, reason } => {
                Err(Stop::Truncated { partition: partition.to_string(), reason })
            }
            Event::Unreachable { reason } => {
                self.report.kafka_unreachable(&reason);
                Ok(())
            }
            Event::Failed(error) => Err(error.into()),
        }
    }

    /// Admits a batch and sends it to a decoding thread.
    fn take_on(&mut self, batch: Batch) {
        let runs = self.cursors.admit(&batch);
        self.report.read(runs.iter().map(|run| run.range.len() as u64).sum(), batch.payload_bytes());
        if runs.is_empty() {
            return;
        }
        self.touch();
        self.last_record_ms = self.clock.monotonic_ms();
        let (bytes, decoder) = (batch.bytes, self.decoder.clone());
        self.decoding_bytes += bytes;
        let work = move || InDecode { bytes, result: decoder.decode(&batch, &runs) };
        self.decoding.push_back(tokio::task::spawn_blocking(work));
    }

    fn touch(&mut self) {
        self.since_ms.get_or_insert(self.clock.monotonic_ms());
    }

    /// Writes decoded rows into their files, on an encoding thread, and sends parts on their way.
    async fn absorb(&mut self, done: InDecode) -> Result<(), Stop> {
        self.decoding_bytes -= done.bytes;
        let decoded = done.result.map_err(|failure| Stop::BadRecord(failure.to_string()))?;
        self.cursors.count(&decoded.counts);
        let new_id = self.new_id.clone();
        self.encode(move |files| files.write(&decoded.rows, &decoded.dead_letters, &mut || new_id())).await?;
        if self.memory_bytes() >= self.rules.limits.memory_bytes_max {
            self.encode(OpenFiles::shed).await?;
        }
        self.report.buffered(self.memory_bytes());
        Ok(())
    }

    /// Runs `work` on the open files, away from the loop's thread; uploads what it gives.
    async fn encode<F>(&mut self, work: F) -> Result<(), Stop>
    where
        F: FnOnce(&mut OpenFiles) -> Result<Vec<PartOut>, FilesError> + Send + 'static,
    {
        let mut files = self.files.take().expect("only one encoding at a time, and it is awaited");
        let (files, parts) = tokio::task::spawn_blocking(move || {
            let parts = work(&mut files);
            (files, parts)
        })
        .await?;
        self.files = Some(files);
        for part in parts? {
            self.sink.upload(part);
        }
        Ok(())
    }

    /// Waits until everything admitted is written.
    async fn absorb_all(&mut self) -> Result<(), Stop> {
        while let Some(done) = self.decoding.next().await {
            self.absorb(done?).await?;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> u64 {
        let files = self.files.as_ref().map_or(0, OpenFiles::memory_bytes);
        files + self.sink.in_flight_bytes() + self.decoding_bytes
    }

    /// Past this nothing more is taken on until uploads are through.
    fn memory_hard_max(&self) -> u64 {
        self.rules.limits.memory_bytes_max + self.rules.limits.memory_bytes_max / 4
    }

    fn seal_reason(&self) -> Option<SealReason> {
        let files = self.files.as_ref()?;
        let open = Open {
            since_ms: self.since_ms,
            last_record_ms: self.last_record_ms,
            largest_file_bytes: files.largest_file_bytes(),
            memory_bytes: files.memory_bytes(),
        };
        seal_reason(&open, &self.rules.limits, self.clock.monotonic_ms())
    }

    /// SIGTERM: commit what is open, leave the group.
    async fn drain(&mut self) -> Result<(), Stop> {
        self.report.draining();
        self.flush(SealReason::Shutdown, None).await?;
        self.source.close().await?;
        self.report.done();
        Ok(())
    }
}
