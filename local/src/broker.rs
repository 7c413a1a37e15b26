//! Broker: an embedded one for a first look, or a real one with a topic of this run's own.
//!
//! Order: the topic is there before anyone sends or reads.
//! Neighbours: story starts and ends it; producer and worker get its address.

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaErrorCode;

/// The topic of the repository's example pipeline.
const EXAMPLE_TOPIC: &str = "shop-events";
const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no broker to run on.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("start the embedded broker")]
    Embedded {
        #[source]
        source: KafkaError,
    },
    #[error("{action} (is a broker there, and may this client do that?)")]
    Admin {
        action: String,
        #[source]
        source: KafkaError,
    },
    #[error("{action}: the broker answers {code}")]
    Refused { action: String, code: RDKafkaErrorCode },
}

/// A broker with this run's topic.
pub struct Broker {
    pub bootstrap: String,
    pub topic: String,
    pub group: String,
    /// Lives as long as this does, on loopback.
    embedded: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("bootstrap", &self.bootstrap).field("topic", &self.topic).finish()
    }
}

impl Broker {
    /// librdkafka's mock cluster, in this process.
    pub fn embedded(partitions: u16) -> Result<Broker, BrokerError> {
        let start = || {
            let cluster = MockCluster::new(1)?;
            cluster.create_topic(EXAMPLE_TOPIC, i32::from(partitions), 1)?;
            Ok(cluster)
        };
        let cluster = start().map_err(|source| BrokerError::Embedded { source })?;
        Ok(Broker {
            bootstrap: cluster.bootstrap_servers(),
            topic: EXAMPLE_TOPIC.to_owned(),
            group: EXAMPLE_TOPIC.to_owned(),
            embedded: Some(cluster),
        })
    }

    /// A topic of a new name on a broker that stands already.
    pub async fn given(bootstrap: &str, partitions: u16, run: &str) -> Result<Broker, BrokerError> {
        let name = format!("landfall-local-{run}");
        let broker =
            Broker { bootstrap: bootstrap.to_owned(), topic: name.clone(), group: name, embedded: None };
        let action = format!("create topic `{}` at `{bootstrap}`", broker.topic);
        let wanted = NewTopic::new(&broker.topic, i32::from(partitions), TopicReplication::Fixed(-1));
        let created = match broker.admin() {
            Ok(admin) => admin.create_topics(&[wanted], &options()).await,
            Err(source) => Err(source),
        };
        match created.map(|mut results| results.pop()) {
            Ok(Some(Ok(_))) => Ok(broker),
            Ok(Some(Err((_, code)))) => Err(BrokerError::Refused { action, code }),
            Ok(None) => Err(BrokerError::Refused { action, code: RDKafkaErrorCode::Unknown }),
            Err(source) => Err(BrokerError::Admin { action, source }),
        }
    }

    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Takes this run's topic off a broker that is not ours.
    pub async fn clean_up(&self) -> Result<(), BrokerError> {
        if self.is_embedded() {
            return Ok(());
        }
        let deleted = match self.admin() {
            Ok(admin) => admin.delete_topics(&[&self.topic], &options()).await,
            Err(source) => Err(source),
        };
        let action = format!("delete topic `{}` at `{}`", self.topic, self.bootstrap);
        match deleted.map(|mut results| results.pop()) {
            Ok(Some(Err((_, code)))) => Err(BrokerError::Refused { action, code }),
            Ok(_) => Ok(()),
            Err(source) => Err(BrokerError::Admin { action, source }),
        }
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
        ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT)).operation_timeout(Some(ADMIN_TIMEOUT))
}
