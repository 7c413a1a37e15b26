//! Context: what librdkafka calls back, turned into notices for the polling thread.
//!
//! Order: a callback only notes and returns. The default `rebalance` would unassign as soon as it returns; ours
//! leaves the partitions where they are until the command comes.
//! Neighbours: client owns it, poll reads the notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::TopicPartition;

/// What a callback noted.
#[derive(Debug)]
pub(super) enum Notice {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
    Error { code: RDKafkaErrorCode, reason: String },
}

#[derive(Default)]
pub(super) struct Context {
    notices: Mutex<Vec<Notice>>,
    /// From here on revocations are answered at once: nobody is left to ask.
    closing: AtomicBool,
}

impl Context {
    pub(super) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_closing(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    fn note(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }
}

impl ClientContext for Context {
    /// Tokens are set by their own thread (see auth): this one must not wait for IAM.
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = false;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: ClientError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        self.note(Notice::Error { code, reason: reason.to_owned() });
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Context>,
        err: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::SeqCst) {
            // A closing client takes any assignment for an unassignment.
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "unassign while closing");
            }
            return;
        }
        let partitions = partitions_of(list);
        self.note(match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Notice::Assigned(partitions),
            _ if consumer.assignment_lost() => Notice::Lost(partitions),
            _ => Notice::Revoked(partitions),
        });
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let mut names: Vec<Arc<str>> = Vec::new();
    list.elements()
        .iter()
        .map(|element| {
            let topic = names.iter().find(|name| &***name == element.topic()).cloned().unwrap_or_else(|| {
                let name: Arc<str> = element.topic().into();
                names.push(Arc::clone(&name));
                name
            });
            TopicPartition { topic, partition: element.partition() }
        })
        .collect()
}
