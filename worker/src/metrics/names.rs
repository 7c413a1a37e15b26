//! Every metric that there is: names, units, what it means.
//!
//! Labels are bounded: `pipeline`, and for lag `topic` and `partition`, in Prometheus; the one dimension `Pipeline` in
//! CloudWatch, where each name costs money (and is charged only for the hours in which it was sent: what is rare is
//! sent only when it is not zero).
//! Neighbours: metrics.

use super::Snapshot;

/// CloudWatch's units; Prometheus has them in the name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    Count,
    Bytes,
    Seconds,
}

/// What is counted since the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counter {
    RecordsRead,
    RecordsWritten,
    RecordsFiltered,
    RecordsDeadLettered,
    RecordsAbsent,
    RecordsLost,
    BytesIn,
    BytesOut,
    Files,
    Fenced,
    DroppedBatches,
    Rebalances,
    KafkaErrors,
    StoreErrors,
    Damage,
}

/// How a counter is shown.
#[derive(Clone, Copy, Debug)]
pub struct CounterName {
    pub counter: Counter,
    /// Without the prefix `landfall_` and the suffix `_total`.
    pub prometheus: &'static str,
    /// None = Prometheus only.
    pub cloudwatch: Option<&'static str>,
    pub unit: Unit,
    /// Zero mostly: CloudWatch hears of it only when it is not.
    pub rare: bool,
    pub help: &'static str,
}

const fn counter(
    counter: Counter,
    prometheus: &'static str,
    cloudwatch: Option<&'static str>,
    unit: Unit,
    rare: bool,
    help: &'static str,
) -> CounterName {
    CounterName { counter, prometheus, cloudwatch, unit, rare, help }
}

/// In the order of [`Counter`].
pub const COUNTERS: [CounterName; 15] = {
    use Counter::*;
    use Unit::{Bytes, Count};
    [
        counter(RecordsRead, "records_read", Some("RecordsRead"), Count, false, "Records taken from Kafka."),
        counter(
            RecordsWritten,
            "records_written",
            Some("RecordsWritten"),
            Count,
            false,
            "Rows in committed files.",
        ),
        counter(
            RecordsFiltered,
            "records_filtered",
            Some("RecordsFiltered"),
            Count,
            true,
            "Tombstones left out.",
        ),
        counter(
            RecordsDeadLettered,
            "records_dead_lettered",
            Some("RecordsDeadLettered"),
            Count,
            false,
            "Records that did not fit the schema, in committed dead-letter files.",
        ),
        counter(
            RecordsAbsent,
            "records_absent",
            None,
            Count,
            true,
            "Offsets without a record: transaction markers, aborted and compacted records.",
        ),
        counter(
            RecordsLost,
            "records_lost",
            Some("RecordsLost"),
            Count,
            true,
            "Offsets that Kafka had deleted before they were read.",
        ),
        counter(
            BytesIn,
            "in_bytes",
            Some("BytesIn"),
            Bytes,
            false,
            "Keys, values and headers taken from Kafka.",
        ),
        counter(BytesOut, "out_bytes", Some("BytesOut"), Bytes, false, "Bytes of committed files."),
        counter(
            Files,
            "files",
            Some("Files"),
            Count,
            false,
            "Files committed, those of dead letters included.",
        ),
        counter(Fenced, "fenced", Some("Fenced"), Count, true, "Flushes that another worker had overtaken."),
        counter(
            DroppedBatches,
            "dropped_batches",
            Some("DroppedBatches"),
            Count,
            true,
            "Flushes dropped whole; their records are read again.",
        ),
        counter(Rebalances, "rebalances", None, Count, true, "Assignments and revocations by the group."),
        counter(KafkaErrors, "kafka_errors", None, Count, true, "Calls to Kafka that did not succeed."),
        counter(
            StoreErrors,
            "store_errors",
            Some("StoreErrors"),
            Count,
            true,
            "Calls to S3 that did not succeed.",
        ),
        counter(
            Damage,
            "damage",
            Some("Damage"),
            Count,
            true,
            "Committed files found missing for fifteen minutes; alarm at one.",
        ),
    ]
};

/// Seconds from sealing a flush to its entry in the ledger.
pub const COMMIT_PROMETHEUS: &str = "commit_seconds";
pub const COMMIT_CLOUDWATCH: &str = "CommitSeconds";
/// Upper bounds; what is above the last counts as `COMMIT_ABOVE_S`.
pub const COMMIT_BOUNDS_S: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
pub const COMMIT_ABOVE_S: f64 = 300.0;

/// What is measured now.
#[derive(Clone, Copy)]
pub struct GaugeName {
    /// Without the prefix `landfall_`.
    pub prometheus: &'static str,
    pub cloudwatch: Option<&'static str>,
    pub unit: Unit,
    pub help: &'static str,
    /// None while nobody knows.
    pub value: fn(&Snapshot) -> Option<f64>,
}

/// Lag stands apart in Prometheus, because there it is by partition.
pub const LAG_RECORDS_PROMETHEUS: &str = "lag_records";
pub const LAG_SECONDS_PROMETHEUS: &str = "lag_seconds";

pub const GAUGES: [GaugeName; 7] = [
    GaugeName {
        prometheus: LAG_RECORDS_PROMETHEUS,
        cloudwatch: Some("LagRecords"),
        unit: Unit::Count,
        help: "Records in Kafka that no committed file holds yet.",
        value: |now| now.lag_records().map(|records| records as f64),
    },
    GaugeName {
        prometheus: LAG_SECONDS_PROMETHEUS,
        cloudwatch: Some("LagSeconds"),
        unit: Unit::Seconds,
        help: "Age of the oldest record that no committed file holds yet.",
        value: Snapshot::lag_seconds,
    },
    GaugeName {
        prometheus: "without_progress_seconds",
        cloudwatch: Some("SecondsWithoutProgress"),
        unit: Unit::Seconds,
        help: "How long there has been lag without a commit; 0 when there is none.",
        value: |now| Some(now.without_progress().as_secs_f64()),
    },
    GaugeName {
        prometheus: "buffered_bytes",
        cloudwatch: Some("BufferedBytes"),
        unit: Unit::Bytes,
        help: "Rows and encoded bytes in files that are open.",
        value: |now| Some(now.buffered_bytes as f64),
    },
    GaugeName {
        prometheus: "assigned_partitions",
        cloudwatch: None,
        unit: Unit::Count,
        help: "Partitions that this worker reads.",
        value: |now| Some(now.vitals.assigned.unwrap_or(0) as f64),
    },
    GaugeName {
        prometheus: "kafka_unreachable",
        cloudwatch: Some("KafkaUnreachable"),
        unit: Unit::Count,
        help: "1 while no broker answers.",
        value: |now| Some(if now.vitals.kafka_down.is_some() { 1.0 } else { 0.0 }),
    },
    GaugeName {
        prometheus: "store_unreachable",
        cloudwatch: Some("StoreUnreachable"),
        unit: Unit::Count,
        help: "1 while S3 does not answer.",
        value: |now| Some(if now.vitals.store_down.is_some() { 1.0 } else { 0.0 }),
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_counter_stands_at_its_own_place() {
        for (index, name) in COUNTERS.iter().enumerate() {
            assert_eq!(name.counter as usize, index, "{name:?}");
        }
    }

    #[test]
    fn names_are_given_once_and_cloudwatch_gets_twenty_at_most() {
        let prometheus: BTreeSet<&str> = COUNTERS
            .iter()
            .map(|name| name.prometheus)
            .chain(GAUGES.iter().map(|name| name.prometheus))
            .chain([COMMIT_PROMETHEUS])
            .collect();
        assert_eq!(prometheus.len(), COUNTERS.len() + GAUGES.len() + 1);
        let cloudwatch: Vec<&str> = COUNTERS
            .iter()
            .filter_map(|name| name.cloudwatch)
            .chain(GAUGES.iter().filter_map(|name| name.cloudwatch))
            .chain([COMMIT_CLOUDWATCH])
            .collect();
        assert_eq!(cloudwatch.iter().collect::<BTreeSet<_>>().len(), cloudwatch.len());
        assert!(cloudwatch.len() <= 20, "{}", cloudwatch.len());
    }
}
