//! Timing: from a worker's start to its first committed file, split into what is ours and what is not.
//!
//! Neighbours: story asks at the end; the figures come from the worker's log lines.

use std::time::Duration;

use crate::narrate::seconds;
use crate::worker_process::WorkerProcess;

/// The breakdown, a line a step; a line that says so when the log does not have them.
pub fn lines(worker: &WorkerProcess) -> Vec<String> {
    let at = |message: &str| worker.line(|line| line.message == message).map(|line| line.at);
    let number = worker.number;
    let (Some(opened), Some(assigned), Some(committed)) = (at("opened"), at("assigned"), at("committed"))
    else {
        return vec![format!("worker {number}'s log does not say how long its start took")];
    };
    let flush = worker
        .line(|line| line.message == "committed")
        .and_then(|line| line.field("seconds").as_f64())
        .map_or(Duration::ZERO, Duration::from_secs_f64);
    let join = assigned.saturating_sub(opened);
    let filling = committed.saturating_sub(assigned).saturating_sub(flush);
    vec![
        format!(
            "worker {number} from its start to its first committed files: {}, of which",
            seconds(committed)
        ),
        format!("  {} start, settings, ledger, topics", seconds(opened)),
        format!("  {} the broker's group: waiting for the dead member's session to end", seconds(join)),
        format!("  {} reading until a flush was due (age, idleness)", seconds(filling)),
        format!("  {} flush: encode, upload, append", seconds(flush)),
    ]
}
