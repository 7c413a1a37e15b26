//! Prometheus: a snapshot in the text exposition format, version 0.0.4.
//!
//! Neighbours: metrics. Pure.

use std::fmt::Write;

use super::Snapshot;
use super::names::{
    COMMIT_BOUNDS_S, COMMIT_PROMETHEUS, COUNTERS, GAUGES, LAG_RECORDS_PROMETHEUS, LAG_SECONDS_PROMETHEUS,
};

/// Of the answer to `/metrics`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writing to a string cannot go wrong, so that the results are left.
pub fn render(pipeline: &str, now: &Snapshot) -> String {
    let mut text = String::with_capacity(8 << 10);
    let pipeline = escape(pipeline);
    for name in &COUNTERS {
        let full = format!("landfall_{}_total", name.prometheus);
        head(&mut text, &full, "counter", name.help);
        let _ = writeln!(text, "{full}{{pipeline=\"{pipeline}\"}} {}", now.count(name.counter));
    }
    for name in &GAUGES {
        let full = format!("landfall_{}", name.prometheus);
        if name.prometheus == LAG_RECORDS_PROMETHEUS || name.prometheus == LAG_SECONDS_PROMETHEUS {
            lag(&mut text, &full, name.help, &pipeline, now);
        } else if let Some(value) = (name.value)(now) {
            head(&mut text, &full, "gauge", name.help);
            let _ = writeln!(text, "{full}{{pipeline=\"{pipeline}\"}} {value}");
        }
    }
    commits(&mut text, &pipeline, now);
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn lag(text: &mut String, full: &str, help: &str, pipeline: &str, now: &Snapshot) {
    head(text, full, "gauge", help);
    for (partition, lag) in &now.vitals.lag {
        let value = match (full.ends_with(LAG_RECORDS_PROMETHEUS), lag.age) {
            (true, _) => lag.records as f64,
            (false, Some(age)) => age.as_secs_f64(),
            (false, None) if lag.records == 0 => 0.0,
            (false, None) => continue,
        };
        let (topic, number) = (escape(&partition.topic), partition.partition);
        let _ = writeln!(
            text,
            "{full}{{pipeline=\"{pipeline}\",topic=\"{topic}\",partition=\"{number}\"}} {value}"
        );
    }
}

fn commits(text: &mut String, pipeline: &str, now: &Snapshot) {
    let full = format!("landfall_{COMMIT_PROMETHEUS}");
    head(text, &full, "histogram", "From sealing a flush to its entry in the ledger.");
    let mut total = 0;
    let bounds = COMMIT_BOUNDS_S.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(now.commits) {
        total += count;
        let _ = writeln!(text, "{full}_bucket{{pipeline=\"{pipeline}\",le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(text, "{full}_sum{{pipeline=\"{pipeline}\"}} {}", now.commit_seconds);
    let _ = writeln!(text, "{full}_count{{pipeline=\"{pipeline}\"}} {total}");
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::tests::{at, lag as lag_of, partition};
    use crate::metrics::{Counter, Metrics};

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::new(at(0));
        metrics.add(Counter::RecordsRead, 7);
        metrics.assigned(at(1), &[partition(0), partition(1)]);
        metrics.lag(at(2), lag_of(&[0, 5]));
        metrics.committed(at(3), Duration::from_millis(300));
        metrics.committed(at(3), Duration::from_secs(500));
        let text = render("sh\"op", &metrics.snapshot(at(13)));
        for line in [
            "# TYPE landfall_records_read_total counter",
            "landfall_records_read_total{pipeline=\"sh\\\"op\"} 7",
            "landfall_lag_records{pipeline=\"sh\\\"op\",topic=\"shop-events\",partition=\"1\"} 5",
            "landfall_lag_seconds{pipeline=\"sh\\\"op\",topic=\"shop-events\",partition=\"0\"} 0",
            "landfall_without_progress_seconds{pipeline=\"sh\\\"op\"} 10",
            "landfall_commit_seconds_bucket{pipeline=\"sh\\\"op\",le=\"0.25\"} 0",
            "landfall_commit_seconds_bucket{pipeline=\"sh\\\"op\",le=\"0.5\"} 1",
            "landfall_commit_seconds_bucket{pipeline=\"sh\\\"op\",le=\"+Inf\"} 2",
            "landfall_commit_seconds_count{pipeline=\"sh\\\"op\"} 2",
            "landfall_commit_seconds_sum{pipeline=\"sh\\\"op\"} 500.3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_every_name_is_announced_once() {
        let metrics = Metrics::new(at(0));
        let text = render("shop", &metrics.snapshot(at(1)));
        let mut announced = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(announced.insert(rest.split(' ').next().expect("a name").to_owned()), "{line}");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a sample");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = series.split('{').next().expect("a name");
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
                assert!(announced.contains(name) || announced.contains(base.unwrap_or("")), "{line}");
            }
        }
    }
}
