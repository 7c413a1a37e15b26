//! What Landfall claims of Kafka and S3, against an Apache Kafka and S3 servers that we did not write.
//!
//! Every test has topics, a group and an output of its own. Each ends with DuckDB counting every offset once by
//! plain listing, and asserts that what it meant to provoke did happen. Start the peers with `tests/run`.

mod absences;
mod broker_faults;
mod crashes;
mod faults;
mod losses;
mod readers;
mod store_faults;
mod whole_way;
mod zombies;

use std::time::Duration;

/// Bounds waits that should take a second or two; the machine may have two busy cores.
const SOON: Duration = Duration::from_secs(30);
/// Bounds waits that include a session timeout and a rebalance.
const LATER: Duration = Duration::from_secs(60);
