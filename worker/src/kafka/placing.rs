//! Placing: where each partition is read from, and what of it was handed over.
//!
//! Two traps of librdkafka 2.12.1, and what is done about them:
//! - A rebalance pauses *all* partitions, drops what was fetched, and resumes each after the last offset that the
//!   application took. `rd_kafka_q_serve_rkmessages` counts the end-of-partition mark at offset N as if record N
//!   had been taken: the resumed partition would silently skip it. So after each answer to a rebalance, the
//!   partitions that stay are placed anew where *we* know we are ([`Poller::replace_retained`]).
//! - The same function notes what was taken only after it has taken all, so that a pause in between fetches records
//!   twice. So records below the next expected offset are dropped here.
//!
//! Order: while the group waits for an answer only seeking is safe: librdkafka takes any (un)assignment for the
//! answer. A partition that it stopped fetching cannot be sought; its restart waits until after the answer.
//! Neighbours: poll, whose other half this is.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as ClientError;

use super::client::{partition_list, placement_list};
use super::native::Message;
use super::poll::Poller;
use super::records::Run;
use super::{Generation, KafkaError, NextOffset, Placement, TopicPartition, errors};

/// Seeking only waits for librdkafka's own thread.
const SEEK_MAX: Duration = Duration::from_secs(5);

/// A partition that is being read.
pub(super) struct Reading {
    /// Where it was placed last.
    pub(super) placed: Placement,
    /// The offset that is due: nothing below it is handed over (again).
    pub(super) next: i64,
    /// Of the record before `next`.
    epoch: Option<i32>,
    /// A record or an end came since it was placed.
    pub(super) moved: bool,
    /// librdkafka stopped fetching it (out of range, truncated): seeking would be refused.
    pub(super) stopped: bool,
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

impl Poller {
    pub(super) fn assign(
        &mut self,
        placements: Vec<Placement>,
        generation: Generation,
    ) -> Result<(), KafkaError> {
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

    pub(super) fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
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

    pub(super) fn reposition(
        &mut self,
        placements: Vec<Placement>,
        generation: Generation,
    ) -> Result<(), KafkaError> {
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
        for placement in &running {
            self.readings.insert(placement.partition.clone(), Reading::at(placement.clone()));
        }
        self.seek(&running)?;
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
    pub(super) fn restart(&mut self, placements: &[Placement]) -> Result<(), KafkaError> {
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

    /// Groups neighbours and drops what nobody reads or what was handed over before.
    pub(super) fn runs(&mut self, messages: Vec<Message>) -> (Vec<Message>, Vec<Run>) {
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
}
