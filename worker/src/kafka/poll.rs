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
//! Two traps of librdkafka 2.12.1, and what is done about them:
//! - A rebalance pauses *all* partitions, drops what was fetched, and resumes each after the last offset that the
//!   application took. `rd_kafka_q_serve_rkmessages` counts the end-of-partition mark at offset N as if record N
//!   had been taken: the resumed partition would silently skip it. So after each answer to a rebalance, the
//!   partitions that stay are placed anew where *we* know we are ([`Poller::replace_retained`]).
//! - The same function notes what was taken only after it has taken all, so that a pause in between fetches records
//!   twice. So records below the next expected offset are dropped here.
//!
//! Neighbours: client below it, outbox above it.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use tokio::sync::oneshot;

use super::client::{Client, partition_list, placement_list};
use super::context::Notice;
use super::errors::{self, Meaning};
use super::native::{Message, NativeMessages};
use super::outbox::Outbox;
use super::records::{Batch, Run};
use super::wake::Sleep;
use super::{Event, Generation, KafkaError, NextOffset, Placement, TopicPartition, admin};

/// The longest sleep; records, events, commands and room end it earlier.
const IDLE: Duration = Duration::from_millis(100);
/// Records of one batch at most.
const BATCH_RECORDS_MAX: usize = 4096;
/// Seeking only waits for librdkafka's own thread.
const SEEK_MAX: Duration = Duration::from_secs(5);
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

/// A partition that is being read.
struct Reading {
    /// Where it was placed last.
    placed: Placement,
    /// The offset that is due: nothing below it is handed over (again).
    next: i64,
    /// Of the record before `next`.
    epoch: Option<i32>,
    /// A record or an end came since it was placed.
    moved: bool,
    /// librdkafka stopped fetching it (out of range, truncated): seeking would be refused.
    stopped: bool,
}

impl Reading {
    fn at(placed: Placement) -> Reading {
        Reading { next: placed.offset.0, epoch: placed.leader_epoch, placed, moved: false, stopped: false }
    }

    fn here(&self) -> Placement {
        Placement {
            partition: self.placed.partition.clone(),
            offset: NextOffset(self.next),
            leader_epoch: self.epoch,
        }
    }
}

pub(super) struct Poller {
    client: Arc<Client>,
    outbox: Arc<Outbox>,
    commands: Receiver<Command>,
    sleep: Sleep,
    readings: HashMap<TopicPartition, Reading>,
    generation: Generation,
    /// The group waits for our answer; until then only seeking is safe, because any assignment would be taken for
    /// that answer.
    asked: bool,
    /// Something came from a broker: from here on a refused login is an outage and not a wrong password.
    met: bool,
    /// A topic is being asked for, because the brokers say that they don't know it.
    confirming: Arc<AtomicBool>,
    /// An outage was told; the next sign of life ends it.
    unreachable: bool,
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
            unreachable: false,
            confirming: Arc::default(),
            // Few at first: nobody knows yet how large they are.
            record_bytes: 64 * 1024,
        }
    }

    /// Until it is told to close, or nobody is left to tell it.
    pub(super) fn run(mut self) {
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
            Meaning::Unreachable if !self.unreachable => {
                self.unreachable = true;
                self.outbox.push(Event::Unreachable { reason });
            }
            Meaning::Unreachable => {}
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
        self.unreachable = false;
    }

    fn assign(&mut self, placements: Vec<Placement>, generation: Generation) -> Result<(), KafkaError> {
        let failed = |error: ClientError| errors::client("assign partitions", &error);
        self.start(&placements).map_err(failed)?;
        self.asked = false;
        self.generation = self.generation.max(generation);
        self.forward(&placements)?;
        for placement in &placements {
            self.readings.insert(placement.partition.clone(), Reading::at(placement.clone()));
        }
        self.replace_retained(&placements)?;
        // An assignment is fetched from at once; only a seek asks the leader whether its log still holds the epoch.
        let dated: Vec<Placement> =
            placements.into_iter().filter(|placement| placement.leader_epoch.is_some()).collect();
        self.seek(&dated)
    }

    /// Forwards, assigns, and forwards again; see client for why twice.
    fn start(&mut self, placements: &[Placement]) -> Result<(), ClientError> {
        for placement in placements {
            if let Err(error) = self.client.forward(&placement.partition) {
                tracing::error!(%error, "forward a partition");
                return Err(ClientError::Subscription(error.to_string()));
            }
        }
        self.client.consumer().incremental_assign(&placement_list(placements)?)
    }

    fn forward(&self, placements: &[Placement]) -> Result<(), KafkaError> {
        placements.iter().try_for_each(|placement| self.client.forward(&placement.partition))
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        // Those that were never assigned would make librdkafka refuse the whole.
        let known: Vec<&TopicPartition> =
            partitions.iter().filter(|one| self.readings.contains_key(*one)).collect();
        self.client
            .consumer()
            .incremental_unassign(&partition_list(known))
            .map_err(|error| errors::client("give up partitions", &error))?;
        self.asked = false;
        for partition in partitions {
            self.readings.remove(partition);
        }
        self.replace_retained(&[])
    }

    fn reposition(&mut self, placements: Vec<Placement>, generation: Generation) -> Result<(), KafkaError> {
        if let Some(stranger) =
            placements.iter().find(|placement| !self.readings.contains_key(&placement.partition))
        {
            return Err(KafkaError::Client {
                action: format!("reposition {}", stranger.partition),
                reason: "it is not being read".to_owned(),
            });
        }
        self.generation = self.generation.max(generation);
        let (stopped, running): (Vec<Placement>, Vec<Placement>) =
            placements.into_iter().partition(|placement| self.readings[&placement.partition].stopped);
        for placement in &stopped {
            let mut reading = Reading::at(placement.clone());
            reading.stopped = true;
            self.readings.insert(placement.partition.clone(), reading);
        }
        self.seek(&running)?;
        for placement in running {
            self.readings.insert(placement.partition.clone(), Reading::at(placement));
        }
        // While the group waits for an answer, restarting would be that answer: it is done right after it.
        if self.asked { Ok(()) } else { self.restart(&stopped) }
    }

    /// Places partitions that stay where we know we are, whatever librdkafka thinks; see the top of the module.
    fn replace_retained(&mut self, just_placed: &[Placement]) -> Result<(), KafkaError> {
        let fresh: HashSet<&TopicPartition> =
            just_placed.iter().map(|placement| &placement.partition).collect();
        let (mut running, mut stopped) = (Vec::new(), Vec::new());
        for (partition, reading) in self.readings.iter().filter(|(partition, _)| !fresh.contains(partition)) {
            match (reading.stopped, reading.moved) {
                (false, _) => running.push(reading.here()),
                // Repositioned while the group waited: now it can be restarted.
                (true, false) => stopped.push(reading.here()),
                // Told to the pipeline, which has not answered yet.
                (true, true) => tracing::debug!(%partition, "stands still until it is repositioned"),
            }
        }
        self.seek(&running)?;
        self.restart(&stopped)
    }

    /// Moves partitions that are being fetched. Their version is raised before this returns.
    fn seek(&mut self, placements: &[Placement]) -> Result<(), KafkaError> {
        if placements.is_empty() {
            return Ok(());
        }
        let failed = |error: &ClientError| errors::client("seek", error);
        let list = placement_list(placements).map_err(|error| failed(&error))?;
        let sought =
            self.client.consumer().seek_partitions(list, SEEK_MAX).map_err(|error| failed(&error))?;
        let mut refused = Vec::new();
        for element in sought.elements() {
            if let Err(error) = element.error() {
                let at = |placement: &&Placement| {
                    *placement.partition.topic == *element.topic()
                        && placement.partition.partition == element.partition()
                };
                tracing::debug!(topic = element.topic(), partition = element.partition(), %error, "seek was refused");
                refused.extend(placements.iter().find(at).cloned());
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        if self.asked {
            for placement in refused {
                let mut reading = Reading::at(placement.clone());
                reading.stopped = true;
                self.readings.insert(placement.partition, reading);
            }
            return Ok(());
        }
        self.restart(&refused)
    }

    /// Gives partitions up and takes them again: the only way to read on after librdkafka stopped fetching one.
    fn restart(&mut self, placements: &[Placement]) -> Result<(), KafkaError> {
        if placements.is_empty() {
            return Ok(());
        }
        let failed = |error: ClientError| errors::client("restart partitions", &error);
        let list = partition_list(placements.iter().map(|placement| &placement.partition));
        self.client.consumer().incremental_unassign(&list).map_err(failed)?;
        self.start(placements).map_err(failed)?;
        self.forward(placements)?;
        for placement in placements {
            self.readings.insert(placement.partition.clone(), Reading::at(placement.clone()));
        }
        Ok(())
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

    /// Groups neighbours and drops what nobody reads or what was handed over before.
    fn runs(&mut self, messages: Vec<Message>) -> (Vec<Message>, Vec<Run>) {
        let mut kept: Vec<Message> = Vec::with_capacity(messages.len());
        let mut runs: Vec<Run> = Vec::new();
        let mut stretch = messages.into_iter().peekable();
        while let Some(first) = stretch.next() {
            let key = (first.topic_key(), first.partition());
            let partition = TopicPartition {
                topic: first.topic().unwrap_or_default().into(),
                partition: first.partition(),
            };
            let start = kept.len();
            let Some((known, reading)) = self.readings.get_key_value(&partition) else {
                tracing::debug!(%partition, "drop records of a partition that is not read");
                while stretch.next_if(|next| (next.topic_key(), next.partition()) == key).is_some() {}
                continue;
            };
            let known = known.clone();
            let mut next = reading.next;
            let mut message = Some(first);
            while let Some(current) = message {
                if current.offset() >= next {
                    next = current.offset() + 1;
                    kept.push(current);
                }
                message = stretch.next_if(|after| (after.topic_key(), after.partition()) == key);
            }
            if kept.len() > start {
                let epoch = kept[kept.len() - 1].leader_epoch();
                if let Some(reading) = self.readings.get_mut(&known) {
                    reading.next = next;
                    reading.epoch = epoch.or(reading.epoch);
                    reading.moved = true;
                }
                runs.push(Run { partition: known, range: start..kept.len() });
            }
        }
        (kept, runs)
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
