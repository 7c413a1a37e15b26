//! Errors: what librdkafka's codes mean to the worker.
//!
//! A code that may pass is left to librdkafka, which retries; one that would stand for ever, or would skip records
//! without a word, ends the source.
//! Pure. Neighbours: poll and admin ask it.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::{KafkaError, TopicPartition};

/// How librdkafka spells `RD_KAFKA_RESP_ERR__LOG_TRUNCATION`; a test holds it against the library.
const LOG_TRUNCATION: &str = "Local: Partition log truncation detected";

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
        Code::TopicAuthorizationFailed => {
            denied("read the topics (by MSK IAM: kafka-cluster:DescribeTopic and ReadData on them)")
        }
        Code::GroupAuthorizationFailed => {
            denied("join the consumer group (by MSK IAM: kafka-cluster:AlterGroup and DescribeGroup on it)")
        }
        Code::ClusterAuthorizationFailed => {
            denied("use the cluster (by MSK IAM: kafka-cluster:Connect on it)")
        }
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
    /// The brokers may know no such topic; asked again before it is believed.
    Missing,
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
        Code::AutoOffsetReset if reason.contains(LOG_TRUNCATION) => OfPartition::Truncated,
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset => OfPartition::OutOfRange,
        Code::TopicAuthorizationFailed => OfPartition::Failed("read"),
        Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition => OfPartition::Missing,
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

#[cfg(test)]
mod tests {
    #![allow(unsafe_code)] // One look into librdkafka.

    use super::*;

    #[test]
    fn a_truncated_log_is_told_by_the_library_in_these_words() {
        let code = rdkafka_sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__LOG_TRUNCATION;
        // SAFETY: librdkafka's texts are static.
        let text = unsafe { std::ffi::CStr::from_ptr(rdkafka_sys::rd_kafka_err2str(code)) };
        assert_eq!(text.to_str(), Ok(LOG_TRUNCATION));
        let reason = format!("Partition log truncation detected at 999: {LOG_TRUNCATION} (broker 1)");
        assert_eq!(of_partition(Code::AutoOffsetReset, &reason), OfPartition::Truncated);
        let range =
            "fetch failed due to requested offset not available on the broker: Broker: Offset out of range";
        assert_eq!(of_partition(Code::AutoOffsetReset, range), OfPartition::OutOfRange);
    }

    #[test]
    fn what_would_skip_records_ends_the_source() {
        for code in [Code::BadMessage, Code::BadCompression, Code::NotImplemented, Code::MessageSizeTooLarge]
        {
            assert!(matches!(of_partition(code, ""), OfPartition::Failed(_)), "{code:?}");
        }
        assert_eq!(of_partition(Code::NotLeaderForPartition, ""), OfPartition::Passing);
    }

    #[test]
    fn a_refused_login_is_final_only_before_the_first_answer() {
        let login = |met| meaning(Code::Authentication, "SASL authentication error", "b:9098", met);
        assert!(matches!(login(false), Meaning::Failed(KafkaError::Denied { .. })));
        assert!(matches!(login(true), Meaning::Unreachable));
        assert!(matches!(meaning(Code::AllBrokersDown, "1/1 down", "b:9098", false), Meaning::Unreachable));
        assert!(matches!(meaning(Code::BrokerTransportFailure, "", "b:9098", false), Meaning::Passing));
    }

    #[test]
    fn a_missing_topic_is_found_in_the_text() {
        let reason = "Subscribed topic not available: shop.clicks: Broker: Unknown topic or partition";
        match meaning(Code::UnknownTopicOrPartition, reason, "b", true) {
            Meaning::Missing { topic } => assert_eq!(topic, "shop.clicks"),
            other => panic!("{other:?}"),
        }
    }
}
