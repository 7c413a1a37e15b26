//! Metrics: what the worker counts and measures, for whoever looks on.
//!
//! Order: rooms add per batch, on atomics; assignments, lag and outages, which change seldom, stand behind a lock. A
//! [`Snapshot`] is taken of both; Prometheus, CloudWatch and health are functions of snapshots.
//! Neighbours: every room may add; prometheus, cloudwatch and health read.

pub mod cloudwatch;
pub mod names;
pub mod prometheus;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::names::Counter;
use self::names::{COMMIT_BOUNDS_S, COUNTERS};
use crate::clock::Moment;
use crate::kafka::TopicPartition;

/// One bucket more than bounds, for what is above the last.
const COMMIT_BUCKETS: usize = COMMIT_BOUNDS_S.len() + 1;

/// A handle; clones count into the same registry.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    counters: [AtomicU64; COUNTERS.len()],
    commits: [AtomicU64; COMMIT_BUCKETS],
    commit_micros: AtomicU64,
    buffered_bytes: AtomicU64,
    vitals: Mutex<Vitals>,
}

/// How far behind a partition is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lag {
    /// From the ledger's position to the last stable offset.
    pub records: u64,
    /// Age of the oldest of them; none when nobody knows.
    pub age: Option<Duration>,
}

/// Why something does not answer, and since when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outage {
    pub since: Moment,
    pub reason: String,
}

/// What changes seldom.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    pub started: Moment,
    /// None until the group has answered for the first time.
    pub assigned: Option<usize>,
    /// Of the partitions assigned.
    pub lag: BTreeMap<TopicPartition, Lag>,
    /// When lag was last read; none = not since partitions were assigned.
    pub lag_read: Option<Moment>,
    pub committed: Option<Moment>,
    /// The last moment at which there was nothing to complain of: a commit, no lag, the assignment, the end of an
    /// outage.
    pub in_order: Moment,
    pub kafka_down: Option<Outage>,
    pub store_down: Option<Outage>,
    pub draining: bool,
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub at: Moment,
    pub counters: [u64; COUNTERS.len()],
    /// By `COMMIT_BOUNDS_S`, the last for what is above.
    pub commits: [u64; COMMIT_BUCKETS],
    pub commit_seconds: f64,
    pub buffered_bytes: u64,
    pub vitals: Vitals,
}

impl Metrics {
    pub fn new(now: Moment) -> Metrics {
        Metrics(Arc::new(Registry {
            counters: Default::default(),
            commits: Default::default(),
            commit_micros: AtomicU64::new(0),
            buffered_bytes: AtomicU64::new(0),
            vitals: Mutex::new(Vitals { started: now, in_order: now, ..Vitals::default() }),
        }))
    }

    /// Per batch, never per record.
    pub fn add(&self, counter: Counter, count: u64) {
        // Relaxed: each figure stands for itself.
        self.0.counters[counter as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Bytes held by open files, now.
    pub fn buffered(&self, bytes: u64) {
        self.0.buffered_bytes.store(bytes, Ordering::Relaxed);
    }

    /// An entry of ours is in the ledger; sealing and logging it took `took`.
    pub fn committed(&self, now: Moment, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket =
            COMMIT_BOUNDS_S.iter().position(|bound| seconds <= *bound).unwrap_or(COMMIT_BOUNDS_S.len());
        self.0.commits[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.commit_micros.fetch_add(micros, Ordering::Relaxed);
        let mut vitals = self.vitals();
        vitals.committed = Some(now);
        vitals.in_order = now;
    }

    /// The group has answered: these partitions are ours now, and no others.
    pub fn assigned(&self, now: Moment, partitions: &[TopicPartition]) {
        let mut vitals = self.vitals();
        // From some to some does not count: a storm of rebalances is no progress.
        if vitals.assigned.unwrap_or(0) == 0 {
            vitals.in_order = now;
            vitals.lag_read = None;
        }
        vitals.assigned = Some(partitions.len());
        vitals.lag.retain(|partition, _| partitions.contains(partition));
    }

    /// The lag of every assigned partition, as just read.
    pub fn lag(&self, now: Moment, lag: BTreeMap<TopicPartition, Lag>) {
        let mut vitals = self.vitals();
        if lag.values().all(|lag| lag.records == 0) {
            vitals.in_order = now;
        }
        vitals.lag = lag;
        vitals.lag_read = Some(now);
    }

    /// No broker answers.
    pub fn kafka_unreachable(&self, now: Moment, reason: impl Into<String>) {
        begin(&mut self.vitals().kafka_down, now, reason.into());
    }

    /// A broker has answered.
    pub fn kafka_answers(&self, now: Moment) {
        let mut vitals = self.vitals();
        if vitals.kafka_down.take().is_some() {
            vitals.in_order = now;
        }
    }

    /// The store does not answer.
    pub fn store_unreachable(&self, now: Moment, reason: impl Into<String>) {
        begin(&mut self.vitals().store_down, now, reason.into());
    }

    /// The store has answered.
    pub fn store_answers(&self, now: Moment) {
        let mut vitals = self.vitals();
        if vitals.store_down.take().is_some() {
            vitals.in_order = now;
        }
    }

    /// The end has begun: nothing more is read.
    pub fn draining(&self) {
        self.vitals().draining = true;
    }

    pub fn snapshot(&self, now: Moment) -> Snapshot {
        let vitals = self.vitals().clone();
        Snapshot {
            at: now,
            counters: std::array::from_fn(|index| self.0.counters[index].load(Ordering::Relaxed)),
            commits: std::array::from_fn(|index| self.0.commits[index].load(Ordering::Relaxed)),
            commit_seconds: self.0.commit_micros.load(Ordering::Relaxed) as f64 / 1e6,
            buffered_bytes: self.0.buffered_bytes.load(Ordering::Relaxed),
            vitals,
        }
    }

    /// Nothing can be left half done under this lock, so that a panic elsewhere need not end the reports.
    fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.0.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An outage keeps its beginning; its reason is the newest.
fn begin(outage: &mut Option<Outage>, now: Moment, reason: String) {
    let since = outage.as_ref().map_or(now, |outage| outage.since);
    *outage = Some(Outage { since, reason });
}

impl Snapshot {
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// None until lag has been read.
    pub fn lag_records(&self) -> Option<u64> {
        self.vitals.lag_read.map(|_| self.vitals.lag.values().map(|lag| lag.records).sum())
    }

    /// Of the partition that is furthest behind; 0 when none is behind.
    pub fn lag_seconds(&self) -> Option<f64> {
        let records = self.lag_records()?;
        let oldest = self.vitals.lag.values().filter_map(|lag| lag.age).max();
        if records == 0 { Some(0.0) } else { oldest.map(|age| age.as_secs_f64()) }
    }

    /// How long there has been lag on our partitions without a commit, outages included.
    pub fn without_progress(&self) -> Duration {
        let has_lag = self.lag_records().is_some_and(|records| records > 0);
        if has_lag && self.vitals.assigned.unwrap_or(0) > 0 {
            self.at.since(self.vitals.in_order)
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    pub fn partition(number: i32) -> TopicPartition {
        TopicPartition { topic: "shop-events".into(), partition: number }
    }

    pub fn lag(records: &[u64]) -> BTreeMap<TopicPartition, Lag> {
        let lag = |records: u64| Lag { records, age: (records > 0).then(|| Duration::from_secs(records)) };
        records
            .iter()
            .enumerate()
            .map(|(number, records)| (partition(number as i32), lag(*records)))
            .collect()
    }

    #[test]
    fn clones_count_into_the_same_registry() {
        let metrics = Metrics::new(at(0));
        let handles: Vec<_> = (0..4)
            .map(|_| {
                let metrics = metrics.clone();
                std::thread::spawn(move || (0..1000).for_each(|_| metrics.add(Counter::RecordsRead, 2)))
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().expect("it counts"));
        let snapshot = metrics.snapshot(at(1));
        assert_eq!((snapshot.count(Counter::RecordsRead), snapshot.count(Counter::Files)), (8000, 0));
    }

    #[test]
    fn time_without_progress_runs_only_while_there_is_lag() {
        let metrics = Metrics::new(at(0));
        let without = |seconds| metrics.snapshot(at(seconds)).without_progress().as_secs();
        metrics.assigned(at(10), &[partition(0), partition(1)]);
        assert_eq!(without(100), 0);
        metrics.lag(at(100), lag(&[0, 0]));
        metrics.lag(at(110), lag(&[5, 7]));
        assert_eq!(without(150), 50);
        metrics.assigned(at(150), &[partition(0)]);
        assert_eq!(without(160), 60, "a rebalance is no progress");
        metrics.committed(at(160), Duration::from_millis(40));
        assert_eq!(without(165), 5);
        metrics.assigned(at(170), &[]);
        assert_eq!(without(900), 0);
        metrics.assigned(at(900), &[partition(0)]);
        metrics.lag(at(901), lag(&[5]));
        assert_eq!(without(905), 5);
    }

    #[test]
    fn the_end_of_an_outage_starts_the_time_anew() {
        let metrics = Metrics::new(at(0));
        metrics.assigned(at(0), &[partition(0)]);
        metrics.lag(at(1), lag(&[5]));
        metrics.store_unreachable(at(10), "timeout");
        metrics.store_unreachable(at(20), "refused");
        let outage = metrics.snapshot(at(30)).vitals.store_down;
        assert_eq!(outage, Some(Outage { since: at(10), reason: "refused".into() }));
        metrics.store_answers(at(40));
        metrics.store_answers(at(44));
        assert_eq!(metrics.snapshot(at(45)).without_progress().as_secs(), 5);
    }

    #[test]
    fn lag_is_unknown_until_it_is_read_and_leaves_with_its_partition() {
        let metrics = Metrics::new(at(0));
        metrics.assigned(at(0), &[partition(0), partition(1)]);
        assert_eq!(metrics.snapshot(at(0)).lag_records(), None);
        metrics.lag(at(1), lag(&[5, 7]));
        let snapshot = metrics.snapshot(at(1));
        assert_eq!((snapshot.lag_records(), snapshot.lag_seconds()), (Some(12), Some(7.0)));
        metrics.assigned(at(2), &[partition(0)]);
        assert_eq!(metrics.snapshot(at(2)).lag_records(), Some(5));
    }
}
