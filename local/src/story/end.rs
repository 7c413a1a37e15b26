//! End: what the lake proves, and the last line.
//!
//! Order: nothing runs any more. The worker's own proof first, then ours, which asks the files alone.
//! Neighbours: proof compares; mod asks for both.

use std::sync::Arc;

use super::StoryError;
use crate::book::{Book, Sent};
use crate::clock::Stopwatch;
use crate::generator::Generator;
use crate::narrate::{Narrator, number, seconds};
use crate::proof::{Expected, Report, prove};
use crate::stage::Stage;

/// The worker's own proof, from the ledger.
pub(super) async fn verify(stage: &Stage, narrator: &Narrator) -> Result<bool, StoryError> {
    narrator.say(format!("worker verify --store {}", stage.lake_url));
    let output = stage.verify().output().await.map_err(StoryError::Verify)?;
    let answer = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        // A line for each partition would hide the others; they are indented.
        for line in answer.lines().filter(|line| !line.starts_with(' ')) {
            narrator.print(&format!("         | {line}"));
        }
    } else {
        narrator.complain(&format!("worker verify found fault ({}):", output.status));
        narrator.complain(&answer);
        narrator.complain(&String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}

/// Our own proof, from the files.
pub(super) async fn compare(
    stage: &Stage,
    book: &Arc<Book>,
    narrator: &Narrator,
) -> Result<Report, StoryError> {
    narrator.say("comparing every row of the Parquet with what was sent, by listing the directories");
    let watch = Stopwatch::start();
    let (lake, topic) = (stage.lake.clone(), stage.broker.topic.clone());
    let (generator, book) = (stage.generator.clone(), book.clone());
    let proved = tokio::task::spawn_blocking(move || {
        let content = |sent: &Sent| sent_content(&generator, sent);
        prove(&lake, &Expected { topic: &topic, book: &book, content: &content })
    });
    let report = proved.await??;
    narrator.say(format!(
        "read {} rows of {} Parquet files ({:.1} MiB) and {} dead letters in {}",
        number(report.in_parquet),
        number(report.data_files),
        report.data_bytes as f64 / 1_048_576.0,
        number(report.dead_lettered),
        seconds(watch.elapsed())
    ));
    Ok(report)
}

/// Only events are ever compared; a tombstone is in no file.
fn sent_content(generator: &Generator, sent: &Sent) -> crate::canonical::Value {
    generator.messages(sent.index).0.content
}

pub(super) fn conclude(stage: &Stage, narrator: &Narrator, book: &Book, report: &Report, verified: bool) {
    for finding in &report.findings {
        narrator.complain(&format!("  {finding}"));
    }
    let faults = [
        (report.different, "with other values than were sent"),
        (report.misplaced, "rows that should be dead letters, or the other way round"),
        (report.unexpected, "that were never sent"),
    ];
    for (count, what) in faults.iter().filter(|(count, _)| *count > 0) {
        narrator.complain(&format!("{} {what}", number(*count)));
    }
    let counts = book.counts();
    let lake = stage.lake.display();
    narrator.print("");
    if report.is_proven() && verified {
        narrator.print("Every event is in the lake once, with every value as it was sent.");
    } else {
        narrator.print("NOT proved: see above.");
    }
    if counts.filtered > 0 {
        narrator
            .print(&format!("{} tombstones were filtered, as the pipeline asks.", number(counts.filtered)));
    }
    narrator.print(&format!("Files: {lake}/data   Logs: {}", stage.logs.display()));
    narrator.print("Look at them with DuckDB:");
    narrator.print(&format!(
        "  duckdb -c \"SELECT dt, event_type, count(*) AS events, sum(total) AS total FROM \
         read_parquet('{lake}/data/**/*.parquet', hive_partitioning = true) GROUP BY ALL ORDER BY ALL\""
    ));
    narrator.print("");
    narrator.print(&closing_line(book, report));
}

/// The last line; tombstones are not events, so that its figures add up.
fn closing_line(book: &Book, report: &Report) -> String {
    format!(
        "{} produced, {} in Parquet, {} dead-lettered, {} lost, {} duplicated",
        book.counts().events(),
        report.in_parquet,
        report.dead_lettered,
        report.lost,
        report.duplicated
    )
}
