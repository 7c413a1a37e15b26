//! Run: builds every room from the job and lets the pipeline drive them, until a signal or a fault.
//!
//! Order: memory is divided before a client is started; `/health` answers before the first record; CloudWatch is told
//! last.
//! Neighbours: job before it, pipeline after it.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use ledger::columns::Column;
use ledger::store::{OpenError, S3Options, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::batch::seal::Limits;
use crate::budget::{self, Budget, LimitSource, TooLittle};
use crate::clock::Clock;
use crate::exit::Exit;
use crate::health::{self, server};
use crate::identity::{self, Identity};
use crate::job::{DecoderPool, Job};
use crate::kafka::{self, KafkaError, KafkaSource};
use crate::metrics::{Metrics, cloudwatch};
use crate::pipeline::{HoldAt, Parts, Pipeline, Report, Rules, Stop};
use crate::schema;
use crate::settings::{MemorySettings, OutputSettings};

/// Why the worker did not run, or does not any more.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("divide memory")]
    Memory(#[from] TooLittle),
    #[error("open the output")]
    Open(#[from] OpenError),
    #[error("answer health checks")]
    Listen(#[from] server::ListenError),
    #[error("start the Kafka client")]
    Kafka(#[from] KafkaError),
    #[error("listen for signals")]
    Signal(#[from] std::io::Error),
    #[error("move records")]
    Stop(#[from] Stop),
}

impl RunError {
    pub fn exit(&self) -> Exit {
        match self {
            RunError::Memory(_) | RunError::Listen(_) => Exit::Settings,
            RunError::Open(error) => error.into(),
            RunError::Kafka(error) => error.into(),
            RunError::Signal(_) => Exit::TryAgain,
            RunError::Stop(stop) => stop.exit(),
        }
    }
}

/// Moves records until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
pub async fn run(job: Job, clock: Arc<dyn Clock>, hold_at: Option<HoldAt>) -> Result<(), RunError> {
    let shutdown = CancellationToken::new();
    watch_signals(shutdown.clone())?;
    let who = discover(clock.clone()).await;
    let budget = divide_memory(&job, &who)?;
    let settings = &job.settings;
    let metrics = Metrics::new(clock.moment());
    let ended = CancellationToken::new();
    let _ended = ended.clone().drop_guard();
    if let Some(listen) = settings.health.listen {
        let limits =
            health::Limits { no_progress_max: settings.health.no_progress_max, start_max: health::START_MAX };
        let view = server::View {
            pipeline: settings.name.as_str().into(),
            metrics: metrics.clone(),
            limits,
            clock: clock.clone(),
        };
        let bound = server::serve(listen, view, ended.clone()).await?;
        tracing::info!(%bound, "answering /health and /metrics");
    }
    let cloudwatch = settings.metrics.cloudwatch.then(|| {
        let port = Arc::new(cloudwatch::CloudWatch::new(&settings.name, &settings.metrics.namespace));
        let interval = settings.metrics.interval;
        tokio::spawn(cloudwatch::report(metrics.clone(), clock.clone(), port, interval, ended.clone()))
    });
    let ran = Pipeline::run(parts(&job, clock, who, budget, metrics, shutdown, hold_at).await?).await;
    ended.cancel();
    if let Some(cloudwatch) = cloudwatch {
        // It bounds its last request itself; a panic in it has been logged and must not hide why we stop.
        let _ = cloudwatch.await;
    }
    Ok(ran?)
}

async fn parts(
    job: &Job,
    clock: Arc<dyn Clock>,
    who: Identity,
    budget: Budget,
    metrics: Metrics,
    shutdown: CancellationToken,
    hold_at: Option<HoldAt>,
) -> Result<Parts, RunError> {
    let settings = &job.settings;
    let output = &settings.output;
    let store = ledger::store::open(&output.path, &s3_options(output)).await?;
    let limits = kafka::Limits {
        prefetch_bytes: budget.kafka_queue,
        record_bytes_max: settings.memory.record_bytes_max,
    };
    // Beside the start, which does not wait for it.
    let columns = schema::hive::columns(job.spec.file_schema());
    tokio::spawn(tell_columns(store.clone(), who.writer.release.clone(), columns));
    let source = KafkaSource::start(&settings.kafka, limits)?;
    let rules = Rules {
        limits: Limits {
            file_bytes_max: output.file_bytes_max,
            age_max: output.age_max,
            idle_max: output.idle_max,
            memory_bytes_max: budget.open_files,
        },
        start: settings.kafka.start,
        on_data_loss: settings.kafka.on_data_loss,
        revoke_timeout: settings.kafka.revoke_timeout,
        decoders: thread::available_parallelism().map_or(1, usize::from),
        // The other half is for the Arrow arrays that they become.
        decoding_bytes_max: budget.records_in_flight / 2,
        hold_at,
    };
    Ok(Parts {
        source: Arc::new(source),
        store,
        decoder: Arc::new(DecoderPool::new(job.decoders.clone())),
        files: job.file_options(),
        report: Report::new(metrics, clock.clone()),
        clock,
        writer: who.writer,
        rules,
        new_id: Arc::new(Uuid::now_v7),
        shutdown,
    })
}

/// Writes down what the release's files hold, for who keeps a table over them. Nothing here depends on it.
async fn tell_columns(store: Arc<dyn Store>, release: String, columns: Vec<Column>) {
    if release == identity::RELEASE_DEFAULT {
        // No deployer looks for it, and the next job that is run by hand may have other columns.
        return;
    }
    if let Err(error) = ledger::columns::write(store.as_ref(), &release, columns).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(
            release,
            error,
            "the columns are not written down: a Glue table does not learn of new ones"
        );
    }
}

/// How the settings' store is reached.
pub fn s3_options(output: &OutputSettings) -> S3Options {
    S3Options {
        endpoint: output.endpoint.clone(),
        path_style: output.path_style,
        region: output.region.clone(),
    }
}

/// Who this process is; asked on a thread that may block.
pub(crate) async fn discover(clock: Arc<dyn Clock>) -> Identity {
    let blocking = move || identity::discover(&|name| std::env::var(name).ok(), clock.as_ref());
    tokio::task::spawn_blocking(blocking).await.expect("asking who we are does not panic")
}

/// The bytes that this process may take, and who says so.
pub(crate) fn memory_limit(memory: MemorySettings, who: &Identity) -> (u64, LimitSource) {
    budget::limit(&budget::read(Path::new("/"), memory.limit, who.memory_limit))
}

fn divide_memory(job: &Job, who: &Identity) -> Result<Budget, TooLittle> {
    let memory = job.settings.memory;
    let (total, source) = memory_limit(memory, who);
    let budget = Budget::of(total, memory.record_bytes_max)?;
    tracing::info!(
        total,
        ?source,
        kafka_queue = budget.kafka_queue,
        records_in_flight = budget.records_in_flight,
        open_files = budget.open_files,
        "memory"
    );
    Ok(budget)
}

/// The first signal asks for the drain. The second ends the process: the ledger has what was committed, and the next
/// start reads the rest again.
fn watch_signals(shutdown: CancellationToken) -> Result<(), std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.is_cancelled() {
                tracing::warn!("second signal: ending at once");
                std::process::exit(Exit::TryAgain.code().into());
            }
            shutdown.cancel();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use ledger::store::memory::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_deployed_release_tells_its_columns_and_what_is_run_by_hand_does_not() {
        let store = MemoryStore::new();
        let columns = vec![Column { name: "id".to_owned(), kind: "bigint".to_owned() }];
        for (release, told) in
            [("5f0c1d2e3a4b5968", Some(columns.clone())), (identity::RELEASE_DEFAULT, None)]
        {
            tell_columns(Arc::new(store.clone()), release.to_owned(), columns.clone()).await;
            assert_eq!(ledger::columns::read(&store, release).await.expect("it is readable"), told);
        }
    }
}
