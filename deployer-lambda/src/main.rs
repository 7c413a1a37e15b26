//! `deployer-lambda`: Lambda's `bootstrap`. Everything is in the library.

use std::process::ExitCode;
use std::sync::Arc;

use deployer::clock::SystemClock;
use deployer::{aws, reconcile, serve};

fn main() -> ExitCode {
    serve::main(Arc::new(SystemClock), &aws::Presigned, reconcile::lambda::init)
}
