//! Kafka to Parquet on S3, exactly once.
//!
//! Rooms in flow order: settings → schema → kafka → decode → batch → encode → sink → commit, driven by pipeline; job
//! and run build them; check tries them; health and metrics look on; verify and history read what is there.

pub mod settings;

pub mod schema;

pub mod kafka;

pub mod decode;

pub mod batch;

pub mod encode;

pub mod sink;

pub mod commit;

pub mod pipeline;

pub mod job;

pub mod run;

pub mod check;

pub mod verify;

pub mod history;

pub mod health;

pub mod metrics;

pub mod logs;

pub mod http;

pub mod budget;

pub mod allocator;

pub mod identity;

pub mod clock;

pub mod exit;

use std::error::Error;
use std::fmt;

/// An error with all its causes, for the one line in which it is logged.
pub fn chain(error: &dyn Error) -> impl fmt::Display + '_ {
    struct Chain<'e>(&'e dyn Error);
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.0)?;
            let mut cause = self.0.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
            Ok(())
        }
    }
    Chain(error)
}
