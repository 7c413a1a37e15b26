//! Source: events as the worker's batches, borrowed from one piece of memory as librdkafka's are.

use std::sync::Arc;

use worker::kafka::records::{Batch, Messages, Record, Run};
use worker::kafka::{Generation, TopicPartition};

use crate::events::Events;

const PARTITIONS: usize = 8;
/// Neighbouring records of one partition.
const RUN_RECORDS: usize = 512;

/// Records `first..first + records` of the events.
struct Window {
    events: Arc<Events>,
    first: usize,
    records: usize,
}

impl Messages for Window {
    fn len(&self) -> usize {
        self.records
    }

    fn get(&self, index: usize) -> Record<'_> {
        let index = self.first + index;
        Record {
            offset: (index / RUN_RECORDS / PARTITIONS * RUN_RECORDS + index % RUN_RECORDS) as i64,
            timestamp_ms: Some(self.events.timestamps_ms[index]),
            leader_epoch: Some(0),
            key: None,
            value: Some(self.events.get(index)),
        }
    }

    fn headers(&self, _index: usize, _each: &mut dyn FnMut(&str, Option<&[u8]>)) {}
}

/// All events in batches of `batch_records`.
pub fn batches(events: &Arc<Events>, batch_records: usize) -> Vec<Batch> {
    let topic: Arc<str> = "events".into();
    (0..events.len())
        .step_by(batch_records)
        .map(|first| {
            let records = batch_records.min(events.len() - first);
            let begin = if first == 0 { 0 } else { events.ends[first - 1] };
            Batch {
                generation: Generation(0),
                bytes: (events.ends[first + records - 1] - begin) as u64,
                runs: runs(&topic, first, records),
                messages: Box::new(Window { events: events.clone(), first, records }),
            }
        })
        .collect()
}

fn runs(topic: &Arc<str>, first: usize, records: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < records {
        let index = first + at;
        let end = records.min(at + RUN_RECORDS - index % RUN_RECORDS);
        let partition = (index / RUN_RECORDS % PARTITIONS) as i32;
        runs.push(Run { partition: TopicPartition { topic: topic.clone(), partition }, range: at..end });
        at = end;
    }
    runs
}
