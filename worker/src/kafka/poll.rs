//! Poll: the thread that keeps the membership alive, takes records and obeys commands, one at a time.
//!
//! It never waits for anyone but librdkafka: with no room in the outbox it leaves records where they are and goes
//! on polling. Nothing is paused for that: `queued.max.messages.kbytes` bounds what librdkafka fetches, whereas
//! pausing would throw away what is fetched and fetch it again.
//!
//! Order: commands run between two takes, so that a batch is wholly before or wholly after a placement. Every
//! placement raises the partition's version in librdkafka, and `rd_kafka_consume_batch_queue` drops what was
//! fetched under an older one.
//!
//! Neighbours: client below it, outbox above it; placing is its other half.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::oneshot;

use super::client::Client;
use super::context::Notice;
use super::errors::{self, Meaning};
use super::native::{Message, NativeMessages};
use super::outbox::Outbox;
use super::placing::Reading;
use super::records::Batch;
use super::wake::Sleep;
use super::{Event, Generation, KafkaError, NextOffset, Placement, TopicPartition, admin};

/// The longest sleep; records, events, commands and room end it earlier.
const IDLE: Duration = Duration::from_millis(100);
/// Records of one batch at most.
const BATCH_RECORDS_MAX: usize = 4096;
/// While nobody answers, librdkafka says so at each attempt to connect: the first and then each of so many is told.
const OUTAGES_PER_EVENT: u32 = 10;
/// Leaving the group takes one round trip; twice this is what `close` costs at most.
const CLOSE_POLLS: u32 = 50;
const CLOSE_POLL: Duration = Duration::from_millis(100);

pub(super) type Reply = oneshot::Sender<Result<(), KafkaError>>;

/// What the pipeline asks for.
pub(super) enum Command {
    Assign { placements: Vec<Placement>, generation: Generation, reply: Reply },
    Unassign { partitions: Vec<TopicPartition>, reply: Reply },
    Reposition { placements: Vec<Placement>, generation: Generation, reply: Reply },
    Close { reply: Reply },
}

/// Tells the reader when the polling thread dies of a bug.
struct TellPanic(Arc<Outbox>);

impl Drop for TellPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.push(Event::Failed(KafkaError::Client {
                action: "poll Kafka".to_owned(),
                reason: "the polling thread panicked".to_owned(),
            }));
        }
    }
}

pub(super) struct Poller {
    pub(super) client: Arc<Client>,
    outbox: Arc<Outbox>,
    commands: Receiver<Command>,
    sleep: Sleep,
    pub(super) readings: HashMap<TopicPartition, Reading>,
    pub(super) generation: Generation,
    /// The group waits for our answer; until then only seeking is safe, because any assignment would be taken for
    /// that answer.
    pub(super) asked: bool,
    /// Something came from a broker: from here on a refused login is an outage and not a wrong password.
    met: bool,
    /// A topic is being asked for, because the brokers say that they don't know it.
    confirming: Arc<AtomicBool>,
    /// Since the last sign of life.
    outages: u32,
    /// Mean bytes of a record in the batch before, to ask for about as many as fit.
    record_bytes: u64,
}

impl Poller {
    pub(super) fn new(
        client: Arc<Client>,
        outbox: Arc<Outbox>,
        commands: Receiver<Command>,
        sleep: Sleep,
    ) -> Poller {
        Poller {
            client,
            outbox,
            commands,
            sleep,
            readings: HashMap::new(),
            generation: Generation::default(),
            asked: false,
            met: false,
            outages: 0,
            confirming: Arc::default(),
            // Few at first: nobody knows yet how large they are.
            record_bytes: 64 * 1024,
        }
    }

    /// Until it is told to close, or nobody is left to tell it.
    pub(super) fn run(mut self) {
        // A reader would wait for ever for a thread that panicked.
        let _tell = TellPanic(Arc::clone(&self.outbox));
        loop {
            match self.client.serve_events() {
                Ok(notices) => notices.into_iter().for_each(|notice| self.heed(notice)),
                Err(error) => self.outbox.push(Event::Failed(error)),
            }
            match self.commands.try_recv() {
                Ok(Command::Close { reply }) => {
                    let closed = self.close();
                    let _ = reply.send(closed); // Nobody waits any more: nothing to tell.
                    return;
                }
                Ok(command) => {
                    self.obey(command);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    if let Err(error) = self.close() {
                        tracing::warn!(%error, "the Kafka client was dropped without being closed");
                    }
                    return;
                }
            }
            if self.take() == 0 {
                self.sleep.sleep(IDLE);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let (done, reply) = match command {
            Command::Assign { placements, generation, reply } => (self.assign(placements, generation), reply),
            Command::Unassign { partitions, reply } => (self.unassign(&partitions), reply),
            Command::Reposition { placements, generation, reply } => {
                (self.reposition(placements, generation), reply)
            }
            Command::Close { reply } => (Ok(()), reply),
        };
        let _ = reply.send(done); // The caller gave up: the next event tells it where it stands.
    }

    fn heed(&mut self, notice: Notice) {
        match notice {
            Notice::Assigned(partitions) => {
                self.life();
                self.asked = true;
                if partitions.is_empty() {
                    self.answer_empty(true);
                } else {
                    self.outbox.push(Event::Assigned(partitions));
                }
            }
            Notice::Revoked(partitions) => {
                self.life();
                self.asked = true;
                if partitions.is_empty() {
                    self.answer_empty(false);
                } else {
                    self.outbox.push(Event::Revoked(partitions));
                }
            }
            Notice::Lost(partitions) => {
                self.asked = true;
                self.outbox.push(Event::Lost(partitions));
            }
            Notice::Error { code, reason } => self.heed_error(code, reason),
        }
    }

    /// librdkafka waits for an answer to an empty rebalance too, with every partition paused.
    fn answer_empty(&mut self, assigned: bool) {
        let done = if assigned { self.assign(Vec::new(), self.generation) } else { self.unassign(&[]) };
        if let Err(error) = done {
            self.outbox.push(Event::Failed(error));
        }
    }

    fn heed_error(&mut self, code: RDKafkaErrorCode, reason: String) {
        match errors::meaning(code, &reason, &self.client.bootstrap, self.met) {
            Meaning::Failed(error) => {
                let fatal = self.client.consumer().client().fatal_error();
                self.outbox.push(Event::Failed(match (error, fatal) {
                    (KafkaError::Client { action, .. }, Some((_, reason))) => {
                        KafkaError::Client { action, reason }
                    }
                    (error, _) => error,
                }));
            }
            Meaning::Missing { topic } => self.confirm_missing(topic),
            Meaning::Unreachable => {
                if self.outages.is_multiple_of(OUTAGES_PER_EVENT) {
                    self.outbox.push(Event::Unreachable { reason });
                }
                self.outages += 1;
            }
            Meaning::Passing => tracing::warn!(?code, reason, "Kafka client"),
        }
    }

    /// A broker that just started may not know a topic yet: asks again, on a thread of its own, which ends by itself.
    fn confirm_missing(&mut self, topic: String) {
        if self.confirming.swap(true, Ordering::SeqCst) {
            return;
        }
        let (client, outbox, confirming) =
            (Arc::clone(&self.client), Arc::clone(&self.outbox), Arc::clone(&self.confirming));
        let asker = thread::Builder::new().name("kafka-topic".to_owned()).spawn(move || {
            if admin::is_missing(&client, &topic) {
                outbox.push(Event::Failed(KafkaError::NoSuchTopic { topic }));
            }
            confirming.store(false, Ordering::SeqCst);
        });
        if let Err(error) = asker {
            tracing::warn!(%error, "start a thread to ask for a topic");
            self.confirming.store(false, Ordering::SeqCst);
        }
    }

    /// A broker answered.
    fn life(&mut self) {
        self.met = true;
        self.outages = 0;
    }

    /// Hands over what is there and fits; returns how many messages were taken.
    fn take(&mut self) -> usize {
        let room = self.outbox.room();
        if room == 0 {
            return 0;
        }
        let fit = usize::try_from(room / self.record_bytes.max(1)).unwrap_or(usize::MAX);
        let taken = self.client.take(fit.clamp(1, BATCH_RECORDS_MAX), Duration::ZERO).0;
        let count = taken.len();
        if count > 0 {
            self.life();
        }
        let mut records = Vec::with_capacity(count);
        for message in taken {
            if message.is_record() {
                records.push(message);
            } else {
                // In order: what was before the end is handed over before it.
                self.hand_over(mem::take(&mut records));
                self.heed_partition(&message);
            }
        }
        self.hand_over(records);
        count
    }

    fn hand_over(&mut self, messages: Vec<Message>) {
        let (messages, runs) = self.runs(messages);
        if messages.is_empty() {
            return;
        }
        let count = messages.len() as u64;
        let messages = NativeMessages::new(messages, Arc::clone(&self.client));
        let bytes = messages.bytes();
        self.record_bytes = (bytes / count).max(1);
        self.outbox.push(Event::Records(Batch {
            generation: self.generation,
            messages: Box::new(messages),
            runs,
            bytes,
        }));
    }

    /// The end of a partition, or what is wrong with it.
    fn heed_partition(&mut self, message: &Message) {
        let code = message.code();
        let Some(topic) = message.topic() else {
            return self.heed_error(code, message.reason());
        };
        let partition = TopicPartition { topic: topic.into(), partition: message.partition() };
        let Some(reading) = self.readings.get_mut(&partition) else {
            tracing::debug!(%partition, ?code, "drop an error of a partition that is not read");
            return;
        };
        let generation = self.generation;
        match errors::of_partition(code, &message.reason()) {
            errors::OfPartition::AtEnd => {
                if message.offset() < reading.next {
                    return; // Read before, and told already.
                }
                reading.next = message.offset();
                reading.moved = true;
                let next = NextOffset(message.offset());
                self.outbox.push(Event::AtEnd { partition, next, generation });
            }
            errors::OfPartition::OutOfRange => {
                // This error carries no version. One that is about an offset that we never asked for since the last
                // placement is of before it: ask again, and see whether it comes again.
                if !reading.moved && message.offset() >= 0 && message.offset() != reading.placed.offset.0 {
                    let placed = reading.placed.clone();
                    reading.stopped = true;
                    if !self.asked
                        && let Err(error) = self.restart(&[placed])
                    {
                        self.outbox.push(Event::Failed(error));
                    }
                    return;
                }
                reading.stopped = true;
                // What is due is asked for by whoever answers this; a rebalance must not restart it meanwhile.
                reading.moved = true;
                self.outbox.push(Event::OutOfRange { partition, generation, reason: message.reason() });
            }
            errors::OfPartition::Truncated => {
                reading.stopped = true;
                reading.moved = true;
                self.outbox.push(Event::Truncated { partition, generation, reason: message.reason() });
            }
            errors::OfPartition::Missing => self.confirm_missing(partition.topic.to_string()),
            errors::OfPartition::Failed(action) => {
                let reason = message.reason();
                self.outbox.push(Event::Failed(errors::at_partition(
                    action,
                    code,
                    &partition,
                    message.offset(),
                    reason,
                )));
            }
            errors::OfPartition::Passing => {
                tracing::warn!(%partition, ?code, reason = message.reason(), "Kafka client");
            }
        }
    }

    /// Leaves the group, within a bound.
    fn close(&mut self) -> Result<(), KafkaError> {
        self.client.consumer().context().set_closing();
        self.readings.clear();
        let consumer = self.client.consumer();
        if let Err(error) = consumer.close_queue() {
            tracing::debug!(%error, "close the consumer");
        }
        if self.asked {
            // A rebalance that nobody answered holds the close up.
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "unassign while closing");
            }
        }
        for _ in 0..CLOSE_POLLS {
            if consumer.closed() {
                return Ok(());
            }
            // Records no longer matter: the ledger says where the next one begins.
            drop(consumer.poll(CLOSE_POLL));
        }
        // Dropping an unclosed consumer would wait for ever: it is left to the end of the process.
        mem::forget(Arc::clone(&self.client));
        Err(KafkaError::Client {
            action: "leave the consumer group".to_owned(),
            reason: format!(
                "no answer within {} s; the broker ends the membership by the session timeout",
                (CLOSE_POLL * CLOSE_POLLS).as_secs()
            ),
        })
    }
}
