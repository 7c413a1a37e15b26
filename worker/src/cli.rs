//! Command line: what can be asked of the worker.
//!
//! Neighbours: main.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::entry::Sequence;
use worker::exit::Exit;

/// Kafka to Parquet on S3, exactly once.
#[derive(Debug, Parser)]
#[command(name = "worker", version, arg_required_else_help = true, after_help = AFTER)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "\
Environment: KAFKA_BOOTSTRAP and S3_OUTPUT_PATH as pipeline.toml takes them, LANDFALL_PIPELINE for --pipeline,
LANDFALL_RELEASE (the release's id), LANDFALL_LOG (a filter such as `debug` or `worker::commit=trace`).
Exit codes: 0 done, 64 usage, 65 this release may not write, 66 no such topic, 69 Kafka or S3 unreachable, 70 a bug,
75 try again, 77 permission, 78 settings.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Moves records until SIGTERM, then commits what it has and leaves
    Run(RunArgs),
    /// Tries everything and writes nothing: settings, schema, Kafka, S3, what it will cost
    Check(CheckArgs),
    /// Proves from the store that every offset is there once; exit 0 only if so
    Verify(VerifyArgs),
    /// Prints the log of commits, the newest last
    Ledger(LedgerArgs),
    /// Asks the worker beside it how it is: exit 0 well, 1 not
    Health(HealthArgs),
}

#[derive(Args, Clone, Debug)]
pub struct PipelineArg {
    /// The directory with pipeline.toml and schema.sql
    #[arg(long, value_name = "DIR", env = "LANDFALL_PIPELINE", default_value = "pipeline")]
    pub pipeline: PathBuf,
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    pub pipeline: PipelineArg,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub pipeline: PipelineArg,
    /// Stands still at a point, to be killed there by a test
    #[arg(long, value_enum, hide = true)]
    pub hold_at: Option<HoldAt>,
}

/// Where a crash is worth a test.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum HoldAt {
    /// Parts are uploaded, no entry names them.
    UploadOpen,
    /// The entry is in the ledger, its files are not visible yet.
    EntryLogged,
}

#[derive(Args, Clone, Debug)]
pub struct StoreArg {
    #[command(flatten)]
    pub pipeline: PipelineArg,
    /// s3://bucket/prefix or file:///directory; default: the pipeline's output.path
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub store: StoreArg,
    /// Starts at this entry and takes what came before for granted
    #[arg(long, value_name = "SEQUENCE", value_parser = sequence)]
    pub from: Option<Sequence>,
    /// Asks Kafka whether absent offsets are absent; logs in as the pipeline does, if it says how
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
}

#[derive(Args, Debug)]
pub struct LedgerArgs {
    #[command(flatten)]
    pub store: StoreArg,
    /// Only the newest N [default: 20, or all with --from]
    #[arg(short = 'n', long = "newest", value_name = "N")]
    pub newest: Option<usize>,
    /// Nothing older than this entry
    #[arg(long, value_name = "SEQUENCE", value_parser = sequence)]
    pub from: Option<Sequence>,
    /// Each entry as it is stored, one a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct HealthArgs {
    #[command(flatten)]
    pub pipeline: PipelineArg,
    /// Default: from the pipeline's health.listen
    #[arg(long, value_name = "http://HOST:PORT/health")]
    pub url: Option<String>,
}

fn sequence(text: &str) -> Result<Sequence, std::num::ParseIntError> {
    text.parse().map(Sequence)
}

/// Reads the command line; the error is the exit code, what is to be said has been said.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    Cli::try_parse_from(args).map_err(|error| {
        // A closed stdout is no reason for another exit code.
        let _ = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
            _ => Exit::Usage,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, Exit> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_definition_holds_together() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn commands_take_what_the_contract_says() {
        assert!(matches!(
            parsed("worker run --pipeline p --hold-at entry-logged").map(|cli| cli.command),
            Ok(Command::Run(RunArgs { hold_at: Some(HoldAt::EntryLogged), .. }))
        ));
        let verify = parsed("worker verify --store file:///x --from 7 --kafka a:1 --pipeline p")
            .map(|cli| cli.command);
        let Ok(Command::Verify(verify)) = verify else { panic!("{verify:?}") };
        assert_eq!((verify.from, verify.kafka.as_deref()), (Some(Sequence(7)), Some("a:1")));
        assert_eq!(verify.store.store.as_deref(), Some("file:///x"));
        let ledger = parsed("worker ledger -n 3 --json").map(|cli| cli.command);
        let Ok(Command::Ledger(ledger)) = ledger else { panic!("{ledger:?}") };
        assert_eq!((ledger.newest, ledger.json, ledger.from), (Some(3), true, None));
        assert!(matches!(
            parsed("worker check --json").map(|cli| cli.command),
            Ok(Command::Check(CheckArgs { json: true, .. }))
        ));
        assert!(matches!(
            parsed("worker health --url http://x/health").map(|cli| cli.command),
            Ok(Command::Health(_))
        ));
    }

    #[test]
    fn a_wrong_line_is_a_usage_error_and_help_is_not() {
        for line in [
            "worker",
            "worker runn",
            "worker run --hold-at never",
            "worker ledger -n x",
            "worker ledger --from -1",
        ] {
            assert_eq!(parsed(line).err(), Some(Exit::Usage), "{line}");
        }
        assert_eq!(parsed("worker --help").err(), Some(Exit::Done));
        assert_eq!(parsed("worker --version").err(), Some(Exit::Done));
    }
}
