//! Kafka to Parquet on S3, exactly once.
//!
//! Rooms in flow order: settings → schema → kafka → decode → batch → encode → sink → commit, driven by pipeline;
//! health and metrics look on.

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

pub mod clock;

pub mod verify;

pub mod exit;

pub mod budget;

pub mod identity;

pub mod http;

pub mod logs;

pub mod metrics;

pub mod health;

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

pub mod history;
