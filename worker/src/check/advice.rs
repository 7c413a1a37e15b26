//! Advice: what a person can do about an error that Kafka or the store gave.
//!
//! Neighbours: check. Pure.

use crate::exit::Exit;
use crate::kafka::KafkaError;

pub fn kafka(error: &KafkaError) -> &'static str {
    match error {
        KafkaError::Unreachable { .. } => {
            "check KAFKA_BOOTSTRAP, security groups and DNS, and that the port fits [kafka.auth] (MSK: 9092 none, 9094 \
             tls, 9096 scram, 9098 msk-iam)"
        }
        KafkaError::NoSuchTopic { .. } => {
            "create it, or correct kafka.topics; a topic that this login may not describe is not seen either"
        }
        KafkaError::Denied { .. } => {
            "check [kafka.auth]; MSK IAM needs kafka-cluster:Connect, DescribeTopic, ReadData, DescribeGroup and \
             AlterGroup, other clusters ACLs to Describe and Read the topics and the group"
        }
        KafkaError::Setting { .. } => "correct [kafka] in pipeline.toml",
        KafkaError::Client { .. } => {
            "try again; if it stays, the reason above is the broker's or the client's own"
        }
    }
}

/// The store's errors say themselves what to check; this is what else there is to say.
pub fn store(exit: Exit) -> &'static str {
    match exit {
        Exit::Denied => {
            "s3:// needs s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, and s3:GetObject, \
             s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload under the prefix"
        }
        Exit::Unreachable => "check the endpoint, DNS and the route to S3 (a VPC endpoint, or NAT)",
        Exit::Settings => "correct [output] in pipeline.toml, or S3_OUTPUT_PATH",
        Exit::Bug => "run `worker verify`: it says what is wrong with the log",
        Exit::DataRefused => "the log was written by a newer worker: run that one",
        Exit::Done | Exit::Unproven | Exit::Usage | Exit::NoTopic | Exit::TryAgain => "try again",
    }
}
