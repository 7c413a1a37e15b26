//! Source: the port's implementation, a thin front of the polling thread.
//!
//! Order: a command waits for the polling thread's reply, so that what `next` gives afterwards is of after it.
//! Neighbours: config before it; poll, admin and auth behind it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use crossbeam_channel::Sender;
use ledger::entry::Positions;
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::auth::TokenThread;
use super::client::Client;
use super::config::{Limits, client_config};
use super::outbox::Outbox;
use super::poll::{Command, Poller, Reply};
use super::wake::{Wake, wake_pair};
use super::{
    Event, Generation, KafkaError, Placement, Source, TopicInfo, TopicPartition, Watermarks, admin, errors,
};
use crate::settings::KafkaSettings;

/// How long `close` waits for the polling thread, which has its own, shorter bound.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// A member of the consumer group.
pub struct KafkaSource {
    client: Arc<Client>,
    outbox: Arc<Outbox>,
    topics: Vec<String>,
    /// None once it is closed.
    commands: Mutex<Option<Sender<Command>>>,
    wake: Wake,
    poller: Mutex<Option<JoinHandle<()>>>,
    /// Dropped with the source; ends its thread.
    _tokens: Option<TokenThread>,
}

impl KafkaSource {
    /// Starts the client and the polling thread; no broker is waited for, no group is joined.
    ///
    /// # Errors
    /// [`KafkaError::Setting`] when librdkafka refuses the settings.
    pub fn start(settings: &KafkaSettings, limits: Limits) -> Result<KafkaSource, KafkaError> {
        let config = client_config(settings, limits)?;
        let (wake, sleep) = wake_pair();
        let client = Arc::new(Client::start(&config, &wake)?);
        let tokens = TokenThread::start_if_needed(settings, &client)?;
        let outbox = Arc::new(Outbox::new(limits.handed_over_bytes(), wake.clone()));
        let (commands, inbox) = crossbeam_channel::unbounded();
        let poller = Poller::new(Arc::clone(&client), Arc::clone(&outbox), inbox, sleep);
        let poller = thread::Builder::new()
            .name("kafka-poll".to_owned())
            .spawn(move || poller.run())
            .map_err(|error| KafkaError::Client {
                action: "start the polling thread".to_owned(),
                reason: error.to_string(),
            })?;
        Ok(KafkaSource {
            client,
            outbox,
            topics: settings.topics.clone(),
            commands: Mutex::new(Some(commands)),
            wake,
            poller: Mutex::new(Some(poller)),
            _tokens: tokens,
        })
    }

    async fn command(&self, build: impl FnOnce(Reply) -> Command) -> Result<(), KafkaError> {
        let gone = || KafkaError::Client {
            action: "ask the polling thread".to_owned(),
            reason: "the source is closed".to_owned(),
        };
        let (reply, answer) = oneshot::channel();
        {
            let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
            commands.as_ref().ok_or_else(gone)?.send(build(reply)).map_err(|_| gone())?;
        }
        self.wake.wake();
        answer.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl Source for KafkaSource {
    async fn next(&self) -> Event {
        self.outbox.next().await
    }

    async fn wanted_back(&self) {
        self.outbox.wanted_back().await;
    }

    async fn join(&self) -> Result<(), KafkaError> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        self.client.consumer().subscribe(&topics).map_err(|error| errors::client("subscribe", &error))
    }

    async fn assign(&self, placements: Vec<Placement>, generation: Generation) -> Result<(), KafkaError> {
        self.command(|reply| Command::Assign { placements, generation, reply }).await
    }

    async fn unassign(&self, partitions: Vec<TopicPartition>) -> Result<(), KafkaError> {
        self.command(|reply| Command::Unassign { partitions, reply }).await
    }

    async fn reposition(&self, placements: Vec<Placement>, generation: Generation) -> Result<(), KafkaError> {
        self.command(|reply| Command::Reposition { placements, generation, reply }).await
    }

    async fn commit_offsets(&self, positions: Positions) -> Result<(), KafkaError> {
        if positions.values().all(|partitions| partitions.is_empty()) {
            return Ok(());
        }
        admin::ask(&self.client, move |client| {
            let mut list = TopicPartitionList::new();
            for (topic, partitions) in &positions {
                for (partition, next) in partitions {
                    list.add_partition_offset(topic, *partition, Offset::Offset(next.0))
                        .map_err(|error| errors::client("mirror offsets into the consumer group", &error))?;
                }
            }
            admin::commit(client, &list)
        })
        .await
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, KafkaError> {
        let topics = self.topics.clone();
        admin::ask(&self.client, move |client| admin::topics(client, &topics)).await
    }

    async fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks, KafkaError> {
        let partition = partition.clone();
        admin::ask(&self.client, move |client| admin::watermarks(client, &partition)).await
    }

    async fn close(&self) -> Result<(), KafkaError> {
        let late = || KafkaError::Client {
            action: "leave the consumer group".to_owned(),
            reason: format!("the polling thread did not end within {} s", CLOSE_MAX.as_secs()),
        };
        let closed = tokio::time::timeout(CLOSE_MAX, self.command(|reply| Command::Close { reply })).await;
        // Without commands the thread ends by itself, whatever became of the reply.
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).take();
        let closed = closed.map_err(|_| late())?;
        let poller = self.poller.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(poller) = poller {
            // It replied as its last act: this joins at once.
            let joined = tokio::task::spawn_blocking(move || poller.join());
            match tokio::time::timeout(CLOSE_MAX, joined).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(_))) => {
                    return Err(KafkaError::Client {
                        action: "end the polling thread".to_owned(),
                        reason: "it panicked".to_owned(),
                    });
                }
                Ok(Err(_)) | Err(_) => return Err(late()),
            }
        }
        closed
    }
}
