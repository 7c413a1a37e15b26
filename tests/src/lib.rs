//! The harness of the whole-system tests: real Kafka, real S3 servers, the real worker as a child process, and
//! judges that are not ours (DuckDB, pyarrow, Spark).
//!
//! `tests/run` starts the peers and passes their addresses in the environment; a test whose peer is not there says
//! so, and fails under `CI=true`.

pub mod clock;
pub mod kafka;
pub mod line;
pub mod memory;
pub mod metrics;
pub mod oracle;
pub mod peers;
pub mod pipeline;
pub mod proxy;
pub mod scene;
pub mod signals;
pub mod worker;
