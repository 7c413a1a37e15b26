//! The binary: reads the command line, calls one function a command, and turns what comes back into an exit code.

mod cli;

use std::io::{IsTerminal, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ledger::head::{LedgerError, read_newest};
use ledger::store::{S3Options, Store};
use worker::clock::SystemClock;
use worker::exit::Exit;
use worker::job::Job;
use worker::kafka::KafkaError;
use worker::pipeline::HoldAt;
use worker::settings::{Faults, KafkaSettings, LISTEN_DEFAULT, Settings};
use worker::verify::{Brokers, Existing, VerifyError, VerifyOptions, verify};
use worker::{allocator, check, health, history, kafka, logs, settings};

use self::cli::{
    CheckArgs, Cli, Command, HealthArgs, LedgerArgs, PipelineArg, RunArgs, StoreArg, VerifyArgs,
};

/// What still blocks a thread when a command is over is left to the end of the process after this.
const RUNTIME_END_MAX: Duration = Duration::from_secs(2);

/// Why a command ended otherwise than well.
enum Failure {
    /// Settings: told one by one.
    Faults(Faults),
    Error(Exit, anyhow::Error),
}

fn main() -> ExitCode {
    // Where it cannot be, `memory.limit` is kept less closely; nothing else depends on it.
    let one_heap = allocator::share_one_heap();
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    logs::init();
    tracing::debug!(one_heap, "allocator");
    // A long-running worker's stderr is read by machines, unless a person sits in front of it.
    let for_people = std::io::stderr().is_terminal() || !matches!(cli.command, Command::Run(_));
    // What panicked has been logged by the hook; nothing is used after it.
    match std::panic::catch_unwind(AssertUnwindSafe(|| dispatch(cli))) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(failure)) => tell(failure, for_people).into(),
        Err(_) => Exit::Bug.into(),
    }
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Run(args) => run(&args),
        Command::Check(args) => dry_run(&args),
        Command::Verify(args) => prove(&args),
        Command::Ledger(args) => print_ledger(&args),
        Command::Health(args) => ask_health(&args),
    }
}

fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let clock = Arc::new(SystemClock::start());
    let job = Job::new(load(&args.pipeline)?).map_err(Failure::Faults)?;
    let hold_at = args.hold_at.map(|at| match at {
        cli::HoldAt::UploadOpen => HoldAt::UploadOpen,
        cli::HoldAt::EntryLogged => HoldAt::EntryLogged,
    });
    block_on(async {
        worker::run::run(job, clock, hold_at)
            .await
            .map_err(|error| Failure::Error(error.exit(), error.into()))
    })?;
    Ok(Exit::Done)
}

fn dry_run(args: &CheckArgs) -> Result<Exit, Failure> {
    let settings = settings_of(&args.pipeline, &|_| None);
    let report = block_on(async { Ok(check::check(settings, Arc::new(SystemClock::start())).await) })?;
    // The exit code is the answer; a closed stdout changes nothing about it.
    let _ = match args.json {
        true => writeln!(std::io::stdout(), "{}", report.to_json()),
        false => writeln!(std::io::stdout(), "{report}"),
    };
    Ok(report.exit())
}

fn prove(args: &VerifyArgs) -> Result<Exit, Failure> {
    let (url, s3) = store_of(&args.store)?;
    let report = block_on(async {
        let store =
            ledger::store::open_existing(&url, &s3).await.map_err(|error| failed((&error).into(), error))?;
        let brokers = match &args.kafka {
            Some(bootstrap) => Some(brokers(&args.store, bootstrap, store.as_ref()).await?),
            None => None,
        };
        let kafka = brokers.as_ref().map(|brokers| brokers as &dyn Existing);
        let options = VerifyOptions { from: args.from, kafka };
        verify(store.as_ref(), options).await.map_err(|error| failed(exit_of_verify(&error), error))
    })?;
    // The exit code is the answer; a closed stdout changes nothing about it.
    let _ = writeln!(std::io::stdout(), "{report}");
    Ok(report.exit())
}

/// Kafka at `bootstrap`, with the pipeline's login where its settings can be read.
async fn brokers(args: &StoreArg, bootstrap: &str, store: &dyn Store) -> Result<Brokers, Failure> {
    let given = |name: &str| match name {
        "KAFKA_BOOTSTRAP" => Some(bootstrap.to_owned()),
        "S3_OUTPUT_PATH" => args.store.clone(),
        _ => None,
    };
    let settings = settings_of(&args.pipeline, &given);
    let mut limits = kafka::Limits { prefetch_bytes: 16 << 20, record_bytes_max: 8 << 20 };
    let kafka = match settings {
        Ok(settings) => {
            limits.record_bytes_max = settings.memory.record_bytes_max;
            KafkaSettings { bootstrap: bootstrap.to_owned(), ..settings.kafka }
        }
        Err(faults) => {
            if args.pipeline.pipeline.exists() {
                tracing::warn!(%faults, "the pipeline's settings cannot be read: Kafka is asked without a login");
            }
            KafkaSettings::plain(bootstrap)
        }
    };
    let ids = match read_newest(store).await {
        Ok(newest) => newest.map(|entry| entry.topics).unwrap_or_default(),
        // The report says what is wrong with the log.
        Err(error) => {
            tracing::debug!(error = %worker::chain(&error), "topics not known");
            Default::default()
        }
    };
    let ids =
        ids.into_iter().map(|(topic, range)| (topic, Some(range.id).filter(|id| !id.is_empty()))).collect();
    Brokers::reach(&kafka, limits, &ids).await.map_err(|error| failed((&error).into(), error))
}

fn exit_of_verify(error: &VerifyError) -> Exit {
    match error {
        VerifyError::Store(error) => error.into(),
        VerifyError::Ledger(LedgerError::Store(error)) => error.into(),
        VerifyError::Entry(_) | VerifyError::Ledger(_) => Exit::Unproven,
        VerifyError::Kafka { source, .. } => {
            source.downcast_ref::<KafkaError>().map_or(Exit::Unreachable, Exit::from)
        }
    }
}

fn print_ledger(args: &LedgerArgs) -> Result<Exit, Failure> {
    let options = history::Options { newest: args.newest, from: args.from, json: args.json };
    let (url, s3) = store_of(&args.store)?;
    block_on(async {
        let store =
            ledger::store::open_existing(&url, &s3).await.map_err(|error| failed((&error).into(), error))?;
        history::print(store.as_ref(), &options, &mut std::io::stdout()).await.map_err(|error| {
            let exit = match &error {
                history::HistoryError::Store(error) => error.into(),
                history::HistoryError::Output(_) => Exit::TryAgain,
            };
            Failure::Error(exit, error.into())
        })
    })?;
    Ok(Exit::Done)
}

fn ask_health(args: &HealthArgs) -> Result<Exit, Failure> {
    let default = || LISTEN_DEFAULT.parse().expect("the default is an address");
    let url = match (&args.url, load(&args.pipeline)) {
        (Some(url), _) => url.clone(),
        (None, Ok(settings)) => match settings.health.listen {
            Some(listen) => health::ask::url(listen),
            None => {
                let error =
                    anyhow::anyhow!("ask the worker: `health.listen` is \"none\", so that it cannot answer");
                return Err(Failure::Error(Exit::Settings, error));
            }
        },
        // The worker may run with settings that this shell does not have.
        (None, Err(_)) => health::ask::url(default()),
    };
    // Whatever is wrong, a health check has two answers: 0 and 1.
    match health::ask::ask(&url, &SystemClock::start()) {
        Ok(answer) => {
            // The answer is the exit code; the sentence is for those who look.
            let _ = writeln!(std::io::stdout(), "{}", answer.sentence);
            Ok(if answer.is_well { Exit::Done } else { Exit::Unproven })
        }
        Err(error) => Err(Failure::Error(Exit::Unproven, error.into())),
    }
}

/// The pipeline's settings.
fn load(args: &PipelineArg) -> Result<Settings, Failure> {
    settings_of(args, &|_| None).map_err(Failure::Faults)
}

/// The pipeline's settings, with what was `given` before what the environment says.
fn settings_of(args: &PipelineArg, given: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Faults> {
    let variable = |name: &str| given(name).or_else(|| std::env::var(name).ok());
    settings::load(&args.pipeline, &variable, kafka::OWNED_OPTIONS)
}

/// The store that was named, else the pipeline's; in both cases reached as the pipeline says, if it says so.
fn store_of(args: &StoreArg) -> Result<(String, S3Options), Failure> {
    match (&args.store, load(&args.pipeline)) {
        (named, Ok(settings)) => {
            let s3 = worker::run::s3_options(&settings.output);
            Ok((named.clone().unwrap_or(settings.output.path), s3))
        }
        (Some(named), Err(_)) => Ok((named.clone(), S3Options::default())),
        (None, Err(faults)) => Err(faults),
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")
        .map_err(|error| Failure::Error(Exit::TryAgain, error))?;
    let done = runtime.block_on(work);
    // Questions to brokers that do not answer block their threads: the end must not wait for them.
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    done
}

fn failed(exit: Exit, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Error(exit, error.into())
}

/// Says why, as text for people or as log lines for machines.
fn tell(failure: Failure, for_people: bool) -> Exit {
    match failure {
        Failure::Faults(faults) if for_people => {
            eprintln!("{faults}\n\n{} in the settings", counted(faults.0.len()));
            Exit::Settings
        }
        Failure::Faults(faults) => {
            for fault in &faults.0 {
                tracing::error!(fault = fault.sentence(), "settings");
            }
            Exit::Settings
        }
        Failure::Error(exit, error) => {
            if for_people {
                eprintln!("{error:#}");
            } else {
                tracing::error!(error = format!("{error:#}"), exit = exit.code(), "stop");
            }
            exit
        }
    }
}

fn counted(faults: usize) -> String {
    if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") }
}
