//! `deployer-lambda`: Lambda's `bootstrap`. Everything is in the library.

use std::process::ExitCode;
use std::sync::Arc;

use deployer::clock::SystemClock;
use deployer::{aws, reconcile, serve};

fn main() -> ExitCode {
    let outside = serve::Outside { answerer: &aws::Presigned, last_resort: &reconcile::lambda::Remains };
    serve::main(Arc::new(SystemClock), outside, reconcile::lambda::init)
}
