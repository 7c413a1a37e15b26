//! Cursors: where each assigned partition stands between the ledger's position and what was read.
//!
//! Order: a record is admitted before it is decoded, so that gaps are seen in the order in which Kafka told them;
//! what became of it is counted after. When everything admitted is counted, the ranges add up.
//! Pure: no I/O, no clock. Neighbours: kafka's batches before it, commit after it.

use std::collections::{BTreeMap, HashMap};

use ledger::entry::{NextOffset, OffsetRange, PartitionRange, TopicRange};

use crate::decode::RunCounts;
use crate::kafka::records::{Batch, Run};
use crate::kafka::{Generation, Placement, TopicPartition, Watermarks};

/// One assigned partition.
#[derive(Clone, Debug)]
struct Cursor {
    generation: Generation,
    /// The ledger's position: where the open batch starts.
    from: i64,
    /// Everything below was admitted, or has no record.
    next: i64,
    written: u64,
    filtered: u64,
    dead_lettered: u64,
    absent: Vec<OffsetRange>,
    lost: Vec<OffsetRange>,
    leader_epoch: i32,
    /// Timestamp of the oldest record that is not committed, else of the newest that is; milliseconds, UTC.
    oldest_ms: Option<i64>,
    newest_ms: Option<i64>,
    ends: Option<Watermarks>,
}

/// All partitions that the group gave to this worker.
#[derive(Clone, Debug, Default)]
pub struct Cursors {
    by_partition: HashMap<TopicPartition, Cursor>,
    /// KIP-516 topic ids, for the entries.
    topic_ids: HashMap<String, String>,
}

impl Cursors {
    /// Remembers a topic's id for the entries to come.
    pub fn name_topic(&mut self, topic: &str, id: &str) {
        self.topic_ids.insert(topic.to_owned(), id.to_owned());
    }

    /// A partition is read from `position` on, whatever was open in it before.
    pub fn place(&mut self, partition: &TopicPartition, position: NextOffset, generation: Generation) {
        let leader_epoch = self.by_partition.get(partition).map_or(-1, |old| old.leader_epoch);
        let cursor = Cursor {
            generation,
            from: position.0,
            next: position.0,
            written: 0,
            filtered: 0,
            dead_lettered: 0,
            absent: Vec::new(),
            lost: Vec::new(),
            leader_epoch,
            oldest_ms: None,
            newest_ms: None,
            ends: None,
        };
        self.by_partition.insert(partition.clone(), cursor);
    }

    /// Retention took everything before `log_start`; the offsets up to there count as lost. Returns how many.
    pub fn skip_lost(&mut self, partition: &TopicPartition, log_start: i64) -> u64 {
        let Some(cursor) = self.by_partition.get_mut(partition) else { return 0 };
        if log_start <= cursor.next {
            return 0;
        }
        let lost = OffsetRange(cursor.next, log_start - 1);
        cursor.lost.push(lost);
        cursor.next = log_start;
        lost.count()
    }

    /// A partition is no longer ours.
    pub fn remove(&mut self, partition: &TopicPartition) {
        self.by_partition.remove(partition);
    }

    pub fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    pub fn len(&self) -> usize {
        self.by_partition.len()
    }

    /// Since which placement a partition is read.
    pub fn generation(&self, partition: &TopicPartition) -> Option<Generation> {
        self.by_partition.get(partition).map(|cursor| cursor.generation)
    }

    /// The partition is placed anew where it stands: batches fetched before are dropped.
    pub fn renew(&mut self, partition: &TopicPartition, generation: Generation) {
        if let Some(cursor) = self.by_partition.get_mut(partition) {
            cursor.generation = generation;
        }
    }

    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.by_partition.keys()
    }

    /// The ledger's position that a partition's open batch starts from.
    pub fn from(&self, partition: &TopicPartition) -> Option<NextOffset> {
        self.by_partition.get(partition).map(|cursor| NextOffset(cursor.from))
    }

    /// Where reading goes on.
    pub fn placement(&self, partition: &TopicPartition) -> Option<Placement> {
        let cursor = self.by_partition.get(partition)?;
        Some(Placement {
            partition: partition.clone(),
            offset: NextOffset(cursor.next),
            leader_epoch: (cursor.leader_epoch >= 0).then_some(cursor.leader_epoch),
        })
    }

    /// The runs of the batch that are to be decoded: those of partitions that are ours, fetched since they were
    /// placed. Offsets that Kafka skipped are noted as absent.
    pub fn admit(&mut self, batch: &Batch) -> Vec<Run> {
        let mut admitted = Vec::with_capacity(batch.runs.len());
        for run in &batch.runs {
            let Some(cursor) = self.by_partition.get_mut(&run.partition) else { continue };
            if batch.generation < cursor.generation {
                continue;
            }
            let mut current: Option<Run> = None;
            for index in run.range.clone() {
                let record = batch.messages.get(index);
                if record.offset < cursor.next {
                    // Delivered before within this placement: a client that repeats itself must not double a row.
                    admitted.extend(current.take());
                    continue;
                }
                cursor.skip_absent(record.offset);
                cursor.next = record.offset + 1;
                cursor.leader_epoch = record.leader_epoch.unwrap_or(cursor.leader_epoch);
                cursor.oldest_ms = cursor.oldest_ms.or(record.timestamp_ms);
                cursor.newest_ms = record.timestamp_ms.or(cursor.newest_ms);
                let open = current
                    .get_or_insert_with(|| Run { partition: run.partition.clone(), range: index..index });
                open.range.end = index + 1;
            }
            admitted.extend(current);
        }
        admitted
    }

    /// The partition's end was reached: what was skipped on the way holds no record. True when that moved it.
    pub fn at_end(&mut self, partition: &TopicPartition, next: NextOffset, generation: Generation) -> bool {
        let Some(cursor) = self.by_partition.get_mut(partition) else { return false };
        if generation < cursor.generation || next.0 <= cursor.next {
            return false;
        }
        cursor.skip_absent(next.0);
        cursor.next = next.0;
        true
    }

    /// What became of admitted runs.
    pub fn count(&mut self, counts: &[RunCounts]) {
        for run in counts {
            if let Some(cursor) = self.by_partition.get_mut(&run.partition) {
                cursor.written += run.written;
                cursor.filtered += run.filtered;
                cursor.dead_lettered += run.dead_lettered;
            }
        }
    }

    /// Both ends of a partition, as last asked.
    pub fn observe(&mut self, partition: &TopicPartition, ends: Watermarks) {
        if let Some(cursor) = self.by_partition.get_mut(partition) {
            cursor.ends = Some(ends);
        }
    }

    /// Records between what the ledger holds and the last stable offset, where that is known, and the timestamp of
    /// the oldest of them as far as it was read (else of the record before it, which is older still).
    pub fn lag(&self) -> impl Iterator<Item = (&TopicPartition, u64, Option<i64>)> {
        self.by_partition.iter().filter_map(|(partition, cursor)| {
            let ends = cursor.ends?;
            let lag = (ends.last_stable - cursor.from).max(0) as u64;
            Some((partition, lag, cursor.oldest_ms.or(cursor.newest_ms)))
        })
    }

    /// Whether any offset moved since the last commit.
    pub fn moved(&self) -> bool {
        self.by_partition.values().any(|cursor| cursor.next > cursor.from)
    }

    /// What the next entry says of every partition that moved. Everything admitted must be counted.
    pub fn ranges(&self) -> BTreeMap<String, TopicRange> {
        let mut topics: BTreeMap<String, TopicRange> = BTreeMap::new();
        for (partition, cursor) in self.by_partition.iter().filter(|(_, cursor)| cursor.next > cursor.from) {
            let topic = topics.entry(partition.topic.to_string()).or_default();
            topic.id = self.topic_ids.get(&*partition.topic).cloned().unwrap_or_default();
            topic.partitions.insert(partition.partition, cursor.range());
        }
        topics
    }

    /// The entry is in the log: the next batch starts where this one ended.
    pub fn committed(&mut self) {
        for cursor in self.by_partition.values_mut() {
            cursor.from = cursor.next;
            (cursor.written, cursor.filtered, cursor.dead_lettered) = (0, 0, 0);
            cursor.absent.clear();
            cursor.lost.clear();
            cursor.oldest_ms = None;
        }
    }
}

impl Cursor {
    fn skip_absent(&mut self, to: i64) {
        if to <= self.next {
            return;
        }
        match self.absent.last_mut() {
            Some(last) if last.1 + 1 == self.next => last.1 = to - 1,
            Some(_) | None => self.absent.push(OffsetRange(self.next, to - 1)),
        }
    }

    fn range(&self) -> PartitionRange {
        PartitionRange {
            from: NextOffset(self.from),
            to: NextOffset(self.next),
            written: self.written,
            filtered: self.filtered,
            dead_lettered: self.dead_lettered,
            absent: self.absent.clone(),
            lost: self.lost.clone(),
            leader_epoch: self.leader_epoch,
            log_start: self.ends.map_or(-1, |ends| ends.log_start),
            last_stable: self.ends.map_or(-1, |ends| ends.last_stable),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kafka::records::OwnedRecord;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition { topic: Arc::from("clicks"), partition: number }
    }

    fn batch(generation: u64, offsets: &[i64]) -> Batch {
        let records: Vec<OwnedRecord> =
            offsets.iter().map(|offset| OwnedRecord { offset: *offset, ..OwnedRecord::default() }).collect();
        Batch {
            generation: Generation(generation),
            runs: vec![Run { partition: partition(0), range: 0..records.len() }],
            messages: Box::new(records),
            bytes: 0,
        }
    }

    fn placed_at(offset: i64, generation: u64) -> Cursors {
        let mut cursors = Cursors::default();
        cursors.place(&partition(0), NextOffset(offset), Generation(generation));
        cursors
    }

    fn only(cursors: &Cursors) -> PartitionRange {
        cursors.ranges()["clicks"].partitions[&0].clone()
    }

    #[test]
    fn offsets_that_kafka_skips_are_absent() {
        let mut cursors = placed_at(10, 1);
        assert_eq!(cursors.admit(&batch(1, &[12, 13, 17])).len(), 1);
        assert!(cursors.at_end(&partition(0), NextOffset(20), Generation(1)));
        let range = only(&cursors);
        assert_eq!((range.from.0, range.to.0), (10, 20));
        assert_eq!(range.absent, [OffsetRange(10, 11), OffsetRange(14, 16), OffsetRange(18, 19)]);
    }

    #[test]
    fn a_batch_fetched_before_the_placement_is_dropped() {
        let mut cursors = placed_at(100, 2);
        assert!(cursors.admit(&batch(1, &[200, 201])).is_empty());
        assert!(!cursors.moved());
        assert!(!cursors.at_end(&partition(0), NextOffset(300), Generation(1)));
        assert!(!cursors.moved());
    }

    #[test]
    fn a_record_delivered_twice_is_admitted_once() {
        let mut cursors = placed_at(0, 1);
        cursors.admit(&batch(1, &[0, 1, 2]));
        let runs = cursors.admit(&batch(1, &[1, 2, 3]));
        assert_eq!(runs, [Run { partition: partition(0), range: 2..3 }]);
    }

    #[test]
    fn a_partition_that_is_not_ours_is_dropped() {
        let mut cursors = Cursors::default();
        assert!(cursors.admit(&batch(1, &[0])).is_empty());
    }

    #[test]
    fn what_retention_took_is_lost_and_not_absent() {
        let mut cursors = placed_at(5, 1);
        assert_eq!(cursors.skip_lost(&partition(0), 9), 4);
        cursors.admit(&batch(1, &[9]));
        let range = only(&cursors);
        assert_eq!((range.lost, range.absent), (vec![OffsetRange(5, 8)], vec![]));
    }

    #[test]
    fn a_new_batch_starts_where_the_committed_one_ended() {
        let mut cursors = placed_at(0, 1);
        cursors.admit(&batch(1, &[0, 1]));
        cursors.committed();
        assert!(!cursors.moved());
        assert_eq!(cursors.from(&partition(0)), Some(NextOffset(2)));
    }
}
