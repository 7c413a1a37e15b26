//! Stop: why the pipeline ends, and with which exit code.

use ledger::append::AppendError;
use ledger::head::LedgerError;
use ledger::store::StoreError;

use crate::batch::files::FilesError;
use crate::exit::Exit;
use crate::kafka::KafkaError;
use crate::sink::SinkError;

/// Why nothing more is read. Whatever was open is read again by the next start.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error("write to the ledger: `{what}` was rejected; deploy another image, or release it")]
    Rejected { what: String },
    #[error("decode record: {0}")]
    BadRecord(String),
    #[error(
        "read {topic}: its topic id is {found}, the ledger knows {known}: the topic was deleted and created again; \
         use another output path, or another topic name"
    )]
    Recreated { topic: String, known: String, found: String },
    #[error(
        "read {partition}: the ledger stands at {position}, the log ends at {end}: records were lost or the topic \
         was created again; use another output path, or restore the topic"
    )]
    BehindLedger { partition: String, position: i64, end: i64 },
    #[error(
        "read {partition}: offset {wanted} is wanted, the oldest that Kafka still has is {oldest}; set \
         on_data_loss = \"continue\" to go on from there and count the loss"
    )]
    DataLoss { partition: String, wanted: i64, oldest: i64 },
    #[error(
        "read {partition}: {reason}; the log was truncated below what was read (unclean leader election)"
    )]
    Truncated { partition: String, reason: String },
    #[error("use Kafka")]
    Kafka(#[from] KafkaError),
    #[error("use the store")]
    Store(#[from] StoreError),
    #[error("use the ledger")]
    Ledger(#[from] LedgerError),
    #[error("append to the ledger")]
    Append(#[from] AppendError),
    #[error("upload")]
    Sink(#[from] SinkError),
    #[error("write open files")]
    Files(#[from] FilesError),
    #[error("run a task")]
    Task(#[from] tokio::task::JoinError),
    #[error("drain before the end: {0}; the next start reads it again")]
    Undrained(String),
}

impl Stop {
    /// What the deployer's table reads.
    pub fn exit(&self) -> Exit {
        match self {
            Stop::Rejected { .. } | Stop::BadRecord(_) | Stop::DataLoss { .. } => Exit::DataRefused,
            Stop::Recreated { .. } | Stop::BehindLedger { .. } | Stop::Truncated { .. } => Exit::NoTopic,
            Stop::Kafka(error) => error.into(),
            Stop::Store(error) | Stop::Sink(SinkError::Store(error)) => error.into(),
            Stop::Ledger(error) => error.into(),
            Stop::Append(error) => append_exit(error),
            Stop::Files(_) | Stop::Task(_) | Stop::Sink(SinkError::Task(_)) => Exit::Bug,
            Stop::Undrained(_) => Exit::TryAgain,
        }
    }
}

fn append_exit(error: &AppendError) -> Exit {
    match error {
        AppendError::Rejected { .. } => Exit::DataRefused,
        AppendError::Ledger(error) => error.into(),
        AppendError::Swept { .. }
        | AppendError::Fenced { .. }
        | AppendError::InDoubt { .. }
        | AppendError::Crowded => Exit::TryAgain,
        AppendError::BadDraft(_) => Exit::Bug,
    }
}
