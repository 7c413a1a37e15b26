//! Kafka: records out of the brokers, and what the group says about partitions.
//!
//! Order: an assignment is announced, answered with offsets from the ledger, and only then read; a revocation is
//! announced, answered when the flush is over, and only then given up.
//! Neighbours: settings before it, decode after it. Never: ledger, store.

mod admin;
mod auth;
mod client;
mod clock;
pub mod config;
mod context;
mod errors;
mod native;
mod onlooker;
mod outbox;
mod placing;
mod poll;
pub mod records;
mod source;
mod wake;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ledger::entry::{NextOffset, Positions};

pub use self::config::{Limits, OWNED_OPTIONS, client_config};
pub use self::onlooker::{Existing, Onlooker, Sample, SampleSize};
use self::records::Batch;
pub use self::source::KafkaSource;

/// One partition of one topic.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// Counts how often reading was placed anew. A batch of an older generation than its partition's placement was
/// fetched before it and must be dropped.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Generation(pub u64);

/// Where to read a partition from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placement {
    pub partition: TopicPartition,
    pub offset: NextOffset,
    /// Of the record before `offset`, to find a truncated log (KIP-320); none = not known.
    pub leader_epoch: Option<i32>,
}

/// What the source tells, in the order in which it happened.
#[derive(Debug)]
pub enum Event {
    /// The group gave us these partitions; nothing is read before [`Source::assign`].
    Assigned(Vec<TopicPartition>),
    /// The group wants these back; they are ours until [`Source::unassign`].
    Revoked(Vec<TopicPartition>),
    /// These are no longer ours and may be another's already. Answered by [`Source::unassign`] too.
    Lost(Vec<TopicPartition>),
    Records(Batch),
    /// Everything before `next` was read or holds no record (markers, aborted, compacted).
    AtEnd {
        partition: TopicPartition,
        next: NextOffset,
        generation: Generation,
    },
    /// Kafka has no such offset (any more); reading this partition stands still.
    OutOfRange {
        partition: TopicPartition,
        generation: Generation,
        reason: String,
    },
    /// The leader's log ends before what was read, on another epoch: unclean election.
    Truncated {
        partition: TopicPartition,
        generation: Generation,
        reason: String,
    },
    /// No broker answers. The client goes on trying.
    Unreachable {
        reason: String,
    },
    /// Nothing more will come.
    Failed(KafkaError),
}

/// A topic as the brokers describe it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicInfo {
    pub name: Arc<str>,
    /// KIP-516; none where the broker does not tell (librdkafka's mock cluster).
    pub id: Option<String>,
    pub partitions: Vec<i32>,
}

/// Both ends of a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Watermarks {
    /// The oldest offset that can be read.
    pub log_start: i64,
    /// One after the newest that a read-committed reader can see.
    pub last_stable: i64,
}

/// What the pipeline needs of Kafka.
#[async_trait]
pub trait Source: Send + Sync {
    /// The next event; waits for one. After [`Event::Failed`] it never answers again.
    async fn next(&self) -> Event;

    /// Resolves once the group wants partitions back, or took them, and [`Source::next`] has not told so yet: whoever
    /// is busy should come to an end.
    async fn wanted_back(&self);

    /// Joins the group. Until then only [`Source::topics`] and [`Source::watermarks`] are asked.
    async fn join(&self) -> Result<(), KafkaError>;

    /// Starts to read these, in addition to what is read. Batches taken from here on carry `generation`.
    async fn assign(&self, placements: Vec<Placement>, generation: Generation) -> Result<(), KafkaError>;

    /// Stops to read these and completes the revocation.
    async fn unassign(&self, partitions: Vec<TopicPartition>) -> Result<(), KafkaError>;

    /// Goes back (or on) within partitions that are being read.
    async fn reposition(&self, placements: Vec<Placement>, generation: Generation) -> Result<(), KafkaError>;

    /// Mirrors positions into the group, for the tools that look there. Never decides anything.
    async fn commit_offsets(&self, positions: Positions) -> Result<(), KafkaError>;

    /// The subscribed topics, asked afresh. A topic that is deleted and made again is read on without a word, where
    /// it has that many records: only its id tells, so it is to be asked before offsets are appended.
    async fn topics(&self) -> Result<Vec<TopicInfo>, KafkaError>;

    /// Both ends of a partition, asked afresh.
    async fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks, KafkaError>;

    /// Leaves the group and joins the polling thread.
    async fn close(&self) -> Result<(), KafkaError>;
}

/// Why Kafka did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    #[error("reach Kafka at `{bootstrap}`: {reason}")]
    Unreachable { bootstrap: String, reason: String },
    #[error("read topic `{topic}`: the brokers know no such topic")]
    NoSuchTopic { topic: String },
    #[error("{action}: {reason}")]
    Denied { action: String, reason: String },
    #[error("set up the Kafka client: {reason}")]
    Setting { reason: String },
    #[error("{action}: {reason}")]
    Client { action: String, reason: String },
}
