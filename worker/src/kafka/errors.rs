//! Errors: what librdkafka's codes mean to the worker.
//!
//! A code that may pass is left to librdkafka, which retries; one that would stand for ever, or would skip records
//! without a word, ends the source.
//! Pure. Neighbours: poll and admin ask it.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::{KafkaError, TopicPartition};

/// What an error of the whole client means.
#[derive(Debug)]
pub(super) enum Meaning {
    Failed(KafkaError),
    /// The brokers may know no such topic; asked again before it is believed.
    Missing {
        topic: String,
    },
    Unreachable,
    /// librdkafka deals with it.
    Passing,
}

/// `met`: a broker answered this client before.
pub(super) fn meaning(code: Code, reason: &str, bootstrap: &str, met: bool) -> Meaning {
    let denied = |action: &str| {
        Meaning::Failed(KafkaError::Denied { action: action.to_owned(), reason: reason.to_owned() })
    };
    match code {
        Code::AllBrokersDown => Meaning::Unreachable,
        Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL if met => Meaning::Unreachable,
        Code::Authentication | Code::SaslAuthenticationFailed => {
            denied(&format!("log in to Kafka at `{bootstrap}`"))
        }
        Code::SSL => denied(&format!("agree on TLS with Kafka at `{bootstrap}`")),
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
            denied(&format!("log in to Kafka at `{bootstrap}`"))
        }
        Code::TopicAuthorizationFailed => denied("read the topics"),
        Code::GroupAuthorizationFailed => denied("join the consumer group"),
        Code::ClusterAuthorizationFailed => denied("use the cluster"),
        Code::UnknownTopicOrPartition | Code::UnknownTopic => Meaning::Missing { topic: topic_in(reason) },
        Code::Fatal
        | Code::FencedInstanceId
        | Code::InconsistentGroupProtocol
        | Code::InvalidSessionTimeout => Meaning::Failed(KafkaError::Client {
            action: "stay in the consumer group".to_owned(),
            reason: reason.to_owned(),
        }),
        _ => Meaning::Passing,
    }
}

/// librdkafka tells the topic only in its text: "Subscribed topic not available: <topic>: <error>".
fn topic_in(reason: &str) -> String {
    let rest = reason.strip_prefix("Subscribed topic not available: ").unwrap_or(reason);
    rest.split_once(": ").map_or(rest, |(topic, _)| topic).to_owned()
}

/// What an error of one partition means.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum OfPartition {
    AtEnd,
    OutOfRange,
    Truncated,
    /// Would stand for ever, or would skip records.
    Failed(&'static str),
    /// librdkafka fetches again.
    Passing,
}

/// With `auto.offset.reset=error` both an offset out of range and a truncated log come as the same code; only the
/// text tells them apart.
pub(super) fn of_partition(code: Code, reason: &str) -> OfPartition {
    match code {
        Code::PartitionEOF => OfPartition::AtEnd,
        Code::LogTruncation => OfPartition::Truncated,
        Code::AutoOffsetReset if reason.contains(&Code::LogTruncation.to_string()) => OfPartition::Truncated,
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset => OfPartition::OutOfRange,
        Code::TopicAuthorizationFailed => OfPartition::Failed("read"),
        Code::UnknownPartition | Code::UnknownTopic => OfPartition::Failed("read"),
        // librdkafka goes on behind a record batch that it cannot open.
        Code::BadMessage | Code::BadCompression | Code::NotImplemented | Code::UnsupportedCompressionType => {
            OfPartition::Failed("open the record batch")
        }
        Code::MessageSizeTooLarge => OfPartition::Failed("fetch"),
        _ => OfPartition::Passing,
    }
}

pub(super) fn at_partition(
    action: &str,
    code: Code,
    partition: &TopicPartition,
    offset: i64,
    reason: String,
) -> KafkaError {
    match code {
        Code::TopicAuthorizationFailed => {
            KafkaError::Denied { action: format!("{action} {partition}"), reason }
        }
        Code::UnknownPartition | Code::UnknownTopic => {
            KafkaError::NoSuchTopic { topic: partition.topic.to_string() }
        }
        _ => KafkaError::Client { action: format!("{action} of {partition} at offset {offset}"), reason },
    }
}

pub(super) fn client(action: &str, error: &ClientError) -> KafkaError {
    KafkaError::Client { action: action.to_owned(), reason: error.to_string() }
}

/// Of a question that was asked and not answered as hoped.
pub(super) fn of_question(action: String, code: Code, bootstrap: &str) -> KafkaError {
    match code {
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::MessageTimedOut
        | Code::NetworkException => {
            KafkaError::Unreachable { bootstrap: bootstrap.to_owned(), reason: format!("{action}: {code}") }
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed => KafkaError::Denied { action, reason: code.to_string() },
        _ => KafkaError::Client { action, reason: code.to_string() },
    }
}
