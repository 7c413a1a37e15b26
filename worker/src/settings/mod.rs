//! Settings: what `pipeline/pipeline.toml` says, parsed once, with every fault reported at once.
//!
//! Data only: no room builds itself from here, `main` passes each its part.
//! Files: load (sections) → reader (keys, types, variables) → fault; auth, names, partition and limits judge values.
//! Neighbours: none.

mod auth;
pub mod fault;
mod limits;
mod load;
mod names;
mod partition;
mod reader;
mod substitute;
#[cfg(test)]
mod tests;
pub mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use self::fault::{Fault, Source};

pub use self::fault::Faults;
pub use self::load::{FILE, LISTEN_DEFAULT, load, parse};
pub use self::partition::partition_faults;

/// The whole job.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pipeline's name: the default consumer group and the metrics' dimension.
    pub name: String,
    pub kafka: KafkaSettings,
    pub records: RecordSettings,
    pub output: OutputSettings,
    pub memory: MemorySettings,
    pub health: HealthSettings,
    pub metrics: MetricsSettings,
    /// Where all this was read, so that what turns out wrong later can still be shown at its place.
    pub origin: Origin,
}

/// The file that settings came from; the default knows no places.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    source: Source,
    places: BTreeMap<String, Range<usize>>,
}

impl Origin {
    /// A fault about `key` (`output.path`, `output.partition_by[1]`), at its place if the file has it, else at its
    /// section's.
    pub fn fault(&self, key: &str, wrong: impl Into<String>, right: impl Into<String>) -> Fault {
        let section = key.rsplit_once('.').map_or(key, |(section, _)| section);
        let span = self.places.get(key).or_else(|| self.places.get(section));
        Fault {
            file: self.source.file.clone(),
            place: span.map(|span| self.source.place(span.clone())),
            wrong: wrong.into(),
            right: right.into(),
        }
    }

    /// Whether the file has this key.
    pub fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }
}

/// `[kafka]`: where records come from.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port`, comma-separated.
    pub bootstrap: String,
    pub topics: Vec<String>,
    /// ASCII without `:`; MSK publishes no lag for any other.
    pub group: String,
    pub auth: Auth,
    pub start: Start,
    pub on_data_loss: OnDataLoss,
    pub session_timeout: Duration,
    /// A revocation's flush must be over within this.
    pub revoke_timeout: Duration,
    /// Passed to librdkafka as they are; what Landfall's promises rest on is refused here.
    pub options: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// For who only looks, where no settings say more: no login, no topics.
    pub fn plain(bootstrap: &str) -> KafkaSettings {
        KafkaSettings {
            bootstrap: bootstrap.to_owned(),
            topics: Vec::new(),
            group: "landfall".to_owned(),
            auth: Auth::None,
            start: Start::Earliest,
            on_data_loss: OnDataLoss::Fail,
            session_timeout: Duration::from_secs(30),
            revoke_timeout: Duration::from_secs(30),
            options: BTreeMap::new(),
        }
    }
}

/// `[kafka.auth]`.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Plain text.
    None,
    Tls {
        ca: Option<PathBuf>,
    },
    Scram {
        mechanism: ScramMechanism,
        username: String,
        password: Secret,
        tls: bool,
        ca: Option<PathBuf>,
    },
    /// SASL/OAUTHBEARER over TLS with a token signed by IAM.
    MskIam {
        region: Option<String>,
        role_arn: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScramMechanism {
    Sha256,
    Sha512,
}

/// A value that no log and no error shows.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// Where a topic that the ledger does not know starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    Earliest,
    Latest,
}

/// What happens when Kafka no longer has the offsets that are due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnDataLoss {
    Fail,
    Continue,
}

/// `[records]`: what a record is.
#[derive(Clone, Debug)]
pub struct RecordSettings {
    /// `schema.sql`, beside pipeline.toml.
    pub schema_file: PathBuf,
    pub on_error: OnError,
    pub tombstones: Tombstones,
    pub metadata: MetadataColumns,
}

/// What happens to a record that does not fit the schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnError {
    DeadLetter,
    Fail,
}

/// What happens to a record with a null value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tombstones {
    /// Left out and counted as filtered.
    Skip,
    /// A dead letter.
    DeadLetter,
}

/// Columns that Landfall adds: where each row came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MetadataColumns {
    pub topic: bool,
    pub partition: bool,
    pub offset: bool,
    pub timestamp: bool,
    pub key: bool,
    pub headers: bool,
}

impl Default for MetadataColumns {
    fn default() -> Self {
        MetadataColumns {
            topic: true,
            partition: true,
            offset: true,
            timestamp: true,
            key: false,
            headers: false,
        }
    }
}

/// `[output]`: where rows go.
#[derive(Clone, Debug)]
pub struct OutputSettings {
    /// `s3://bucket/prefix` or `file:///directory`.
    pub path: String,
    /// For S3-compatible servers.
    pub endpoint: Option<String>,
    pub path_style: bool,
    pub region: Option<String>,
    /// Hive-style directories, outermost first; empty = none.
    pub partition_by: Vec<PartitionField>,
    /// A flush when any file reaches it, encoded.
    pub file_bytes_max: u64,
    /// Encoded and buffered bytes of a row group at which it is closed.
    pub row_group_bytes: u64,
    /// A flush when the oldest row waits this long.
    pub age_max: Duration,
    /// A flush when nothing came for this long.
    pub idle_max: Duration,
    /// zstd, 1 to 22.
    pub zstd_level: i32,
}

/// `dt=date(event_time)`: one directory level.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartitionField {
    /// The directory's name before `=`.
    pub name: String,
    /// A column's path, `event_time` or `order.country`, or a metadata column such as `_timestamp`.
    pub column: Vec<String>,
    pub transform: PartitionTransform,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartitionTransform {
    Identity,
    /// `2026-11-22`, UTC.
    Date,
    /// `07`, UTC.
    Hour,
    /// `2026`, UTC.
    Year,
    /// `11`, UTC.
    Month,
    /// `22`, UTC.
    Day,
}

/// `[memory]`.
#[derive(Clone, Copy, Debug)]
pub struct MemorySettings {
    /// Bytes of the whole process; none = the container's limit.
    pub limit: Option<u64>,
    /// The largest record that Kafka may hand over, bytes.
    pub record_bytes_max: u64,
}

/// `[health]`.
#[derive(Clone, Copy, Debug)]
pub struct HealthSettings {
    /// `/health` and `/metrics`; none = no listener.
    pub listen: Option<SocketAddr>,
    /// Unhealthy when assigned partitions have lag and nothing was committed for this long.
    pub no_progress_max: Duration,
}

/// `[metrics]`.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    pub cloudwatch: bool,
    pub namespace: String,
    pub interval: Duration,
}
