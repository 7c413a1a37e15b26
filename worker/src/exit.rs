//! Exit codes, from sysexits.h, as the deployer's table of verdicts reads them; and which error means which.
//!
//! Every command asks here, so that the same fault has the same code wherever it is met.
//! Neighbours: the rooms' errors; every command.

use std::io;
use std::process::ExitCode;

use ledger::entry::EntryError;
use ledger::head::LedgerError;
use ledger::store::file::FileError;
use ledger::store::{Fault, OpenError, StoreError};

use crate::kafka::KafkaError;

/// Why the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// 0: drained and left.
    Done,
    /// 1: `verify` found something wrong.
    Unproven,
    /// 64: the command line is wrong.
    Usage,
    /// 65: this release may not write: rejected, or it ruins the data.
    DataRefused,
    /// 66: no such topic, or not the one that the ledger knows.
    NoTopic,
    /// 69: Kafka or S3 cannot be reached.
    Unreachable,
    /// 70: a bug.
    Bug,
    /// 75: try again: a passing fault outlasted the retries.
    TryAgain,
    /// 77: Kafka or S3 denied it.
    Denied,
    /// 78: settings or schema are wrong.
    Settings,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Unproven => 1,
            Exit::Usage => 64,
            Exit::DataRefused => 65,
            Exit::NoTopic => 66,
            Exit::Unreachable => 69,
            Exit::Bug => 70,
            Exit::TryAgain => 75,
            Exit::Denied => 77,
            Exit::Settings => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl From<&KafkaError> for Exit {
    fn from(error: &KafkaError) -> Exit {
        match error {
            KafkaError::Unreachable { .. } => Exit::Unreachable,
            KafkaError::NoSuchTopic { .. } => Exit::NoTopic,
            KafkaError::Denied { .. } => Exit::Denied,
            KafkaError::Setting { .. } => Exit::Settings,
            KafkaError::Client { .. } => Exit::TryAgain,
        }
    }
}

impl From<&StoreError> for Exit {
    fn from(error: &StoreError) -> Exit {
        match error.fault {
            // What is refused is the place as it was named: a file for a directory, a server that is no S3.
            Fault::NoSuchBucket | Fault::Refused => Exit::Settings,
            Fault::Denied => Exit::Denied,
            Fault::Unknown | Fault::Conflict => Exit::Unreachable,
            Fault::NoSuchUpload => Exit::TryAgain,
        }
    }
}

impl From<&OpenError> for Exit {
    fn from(error: &OpenError) -> Exit {
        match error {
            OpenError::Malformed { .. } | OpenError::Region { .. } => Exit::Settings,
            OpenError::File { source, .. } => match source {
                FileError::Io { source, .. } => match source.kind() {
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::Denied,
                    _ => Exit::Settings,
                },
                _ => Exit::Settings,
            },
        }
    }
}

impl From<&LedgerError> for Exit {
    fn from(error: &LedgerError) -> Exit {
        match error {
            LedgerError::Store(error) => error.into(),
            LedgerError::Entry(EntryError::UnknownFormat { .. }) => Exit::DataRefused,
            LedgerError::Entry(EntryError::Malformed { .. } | EntryError::Broken { .. })
            | LedgerError::Hole(_)
            | LedgerError::Stranger(_) => Exit::Bug,
        }
    }
}
