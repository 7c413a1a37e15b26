//! Exit codes, from sysexits.h, as the deployer's table of verdicts reads them.

use std::process::ExitCode;

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
