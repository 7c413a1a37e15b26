//! Story: the run from its first line to its last.
//!
//! Order: events flow all the while. Worker 1 is killed with an upload open, worker 2 with an entry logged and not
//! settled, worker 3 puts both right, goes on to the end, drains and exits; only then is the lake judged.
//! Neighbours: every room here; main starts it and answers Ctrl-C.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ledger::store::StoreError;
use tokio::sync::watch as channel;
use tokio::time::sleep;

use crate::book::{Book, Sent};
use crate::broker::BrokerError;
use crate::clock::Stopwatch;
use crate::generator::Generator;
use crate::narrate::{Narrator, Standing, number, seconds};
use crate::producer::{Covered, Order, ProducerError, Production};
use crate::proof::{Expected, ProofError, Report, prove};
use crate::stage::{Stage, StageError};
use crate::timing;
use crate::watch::{LedgerTail, Totals, WatchError, describe};
use crate::worker_process::{HoldAt, WorkerError, WorkerProcess};

/// A worker must come to its holding point within this: a group join, a takeover and a flush.
const HOLD_WITHIN: Duration = Duration::from_secs(120);
/// A successor must have settled what was left within this.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// Without a new ledger entry for so long, waiting for the last events is given up.
const STANDSTILL_MAX: Duration = Duration::from_secs(90);
/// From SIGTERM to the end of the process.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two lines about where things stand, where there is no display.
const STANDING_EVERY: Duration = Duration::from_secs(10);

/// Why the story has no end.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Producer(#[from] ProducerError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error("look at the store")]
    Store(#[from] StoreError),
    #[error("follow the ledger")]
    Watch(#[from] WatchError),
    #[error("read the lake")]
    Proof(#[from] ProofError),
    #[error("run `worker verify`")]
    Verify(#[source] io::Error),
    #[error("run a task")]
    Task(#[from] tokio::task::JoinError),
    #[error("check at worker {number}'s hold: {what}")]
    Claim { number: u32, what: String },
    #[error("wait for the last events: no ledger entry for {} s, and {missing} messages are in none", STANDSTILL_MAX.as_secs())]
    Standstill { missing: u64 },
}

/// Tells the whole story; the answer is whether everything was proved.
///
/// `enough` turns true when a run without an end is to come to one.
pub async fn tell(
    stage: Stage,
    narrator: &Narrator,
    mut enough: channel::Receiver<bool>,
) -> Result<bool, StoryError> {
    introduce(&stage, narrator);
    let covered = Covered::default();
    let production = Production::start(Order {
        bootstrap: stage.broker.bootstrap.clone(),
        topic: stage.broker.topic.clone(),
        generator: stage.generator.clone(),
        events: stage.events,
        covered: stage.broker.is_embedded().then(|| covered.clone()),
    })?;
    let (sender, totals) = channel::channel(Totals::default());
    let follower = Follower {
        tail: LedgerTail::new(stage.store.clone(), stage.broker.topic.clone()),
        narrator: narrator.clone(),
        book: production.book(),
        planned: stage.events.unwrap_or(0),
        covered,
        totals: sender,
    };
    let stopper = production.stopper();
    let ending = async {
        if enough.wait_for(|enough| *enough).await.is_ok() {
            stopper.stop();
        }
        std::future::pending::<Infallible>().await
    };
    let acts = async {
        kill_with_an_upload_open(&stage, narrator).await?;
        kill_with_an_entry_logged(&stage, narrator, &totals).await?;
        let mut worker = settle_after_both(&stage, narrator, &totals).await?;
        let book = last_events(&mut worker, narrator, production, &totals).await?;
        drain(&mut worker, narrator).await?;
        Ok::<_, StoryError>((worker, book))
    };
    // The follower ends by itself only when the ledger cannot be read.
    let (worker, book) = tokio::select! {
        played = acts => played?,
        never = ending => match never {},
        lost = follower.follow() => return Err(lost.into()),
    };
    narrator.end_display();
    timing::lines(&worker).iter().for_each(|line| narrator.say(line));
    let verified = verify(&stage, narrator).await?;
    let report = compare(&stage, &book, narrator).await?;
    conclude(&stage, narrator, &book, &report, verified);
    if verified && report.is_proven() {
        stage.broker.clean_up().await?;
    }
    Ok(verified && report.is_proven())
}

fn introduce(stage: &Stage, narrator: &Narrator) {
    let broker = &stage.broker;
    let kind = if broker.is_embedded() { "embedded broker" } else { "broker" };
    let load = match stage.events {
        Some(events) => {
            format!("{} shop events at {}/s", number(events), number(stage.generator.rate.into()))
        }
        None => format!("shop events at {}/s until Ctrl-C", number(stage.generator.rate.into())),
    };
    let (topic, partitions, seed) = (&broker.topic, stage.generator.partitions, stage.generator.seed);
    narrator.say(format!("{kind} at {}, topic `{topic}` of {partitions} partitions", broker.bootstrap));
    narrator.say(format!("{load}, seed {seed}: about 3% late, 1% broken on purpose, a few tombstones"));
    narrator.say(format!("output: {}", stage.lake_url));
}

/// Follows the ledger and shows where things stand, for as long as it is polled.
struct Follower {
    tail: LedgerTail,
    narrator: Narrator,
    book: Arc<Mutex<Book>>,
    planned: u64,
    covered: Covered,
    totals: channel::Sender<Totals>,
}

impl Follower {
    async fn follow(mut self) -> WatchError {
        let mut since_said = Stopwatch::start();
        loop {
            let entries = match self.tail.look().await {
                Ok(entries) => entries,
                Err(error) => return error,
            };
            for entry in &entries {
                self.narrator.say(describe(entry));
            }
            if !entries.is_empty() {
                self.publish();
            }
            let standing = self.standing();
            self.narrator.show(standing);
            if self.narrator.says_standing() && since_said.elapsed() >= STANDING_EVERY {
                self.narrator.say_standing(standing);
                since_said = Stopwatch::start();
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn publish(&self) {
        let positions = self.tail.totals.positions.clone();
        *self.covered.lock().unwrap_or_else(PoisonError::into_inner) = positions;
        self.totals.send_replace(self.tail.totals.clone());
    }

    fn standing(&self) -> Standing {
        let totals = &self.tail.totals;
        Standing {
            sent: self.book.lock().unwrap_or_else(PoisonError::into_inner).counts().messages(),
            planned: self.planned,
            covered: totals.rows + totals.dead_letters + totals.filtered,
            rows: totals.rows,
            dead_letters: totals.dead_letters,
            files: totals.files,
        }
    }
}

async fn start(
    stage: &Stage,
    narrator: &Narrator,
    number: u32,
    hold_at: Option<HoldAt>,
) -> Result<WorkerProcess, StoryError> {
    let worker = WorkerProcess::start(stage.launch(number, hold_at)).await?;
    let until = hold_at.map_or(String::new(), |at| format!(", to be killed at `{}`", at.name()));
    narrator.say(format!("worker {number} starts (pid {}){until}", worker.pid));
    Ok(worker)
}

async fn wait_for_hold(worker: &mut WorkerProcess, at: HoldAt) -> Result<(), StoryError> {
    let what = format!("hold at `{}`", at.name());
    let held = worker.wait_for(&what, HOLD_WITHIN, |line| {
        line.message == "holding" && line.field("at").as_str() == Some(at.name())
    });
    held.await?;
    Ok(())
}

/// Worker 1: everything is uploaded, nothing is named. What it had is as if it never was.
async fn kill_with_an_upload_open(stage: &Stage, narrator: &Narrator) -> Result<(), StoryError> {
    let mut worker = start(stage, narrator, 1, Some(HoldAt::UploadOpen)).await?;
    wait_for_hold(&mut worker, HoldAt::UploadOpen).await?;
    let (number_, pid) = (worker.number, worker.pid);
    let claim = |what: String| StoryError::Claim { number: number_, what };
    let uploads = stage.store.list_uploads("").await?;
    let mut tail = LedgerTail::new(stage.store.clone(), stage.broker.topic.clone());
    let named: BTreeSet<String> =
        tail.look().await?.iter().flat_map(|entry| &entry.files).map(|file| file.key.clone()).collect();
    if uploads.is_empty() {
        return Err(claim("no upload is open".into()));
    }
    if let Some(upload) = uploads.iter().find(|upload| named.contains(&upload.key)) {
        return Err(claim(format!("an entry names the open upload `{}`", upload.key)));
    }
    if tail.totals.rows > 0 {
        return Err(claim("rows are in the ledger already".into()));
    }
    narrator.say(format!(
        "worker 1 stands with {} uploads open that no ledger entry names; SIGKILL to pid {pid}",
        uploads.len()
    ));
    worker.kill().await?;
    Ok(())
}

/// Worker 2: the entry is in the log, its files are not visible. Its rows count from here on, whoever finishes them.
async fn kill_with_an_entry_logged(
    stage: &Stage,
    narrator: &Narrator,
    totals: &channel::Receiver<Totals>,
) -> Result<(), StoryError> {
    let mut worker = start(stage, narrator, 2, Some(HoldAt::EntryLogged)).await?;
    wait_for_hold(&mut worker, HoldAt::EntryLogged).await?;
    let (number_, pid) = (worker.number, worker.pid);
    let claim = |what: &str| StoryError::Claim { number: number_, what: what.to_owned() };
    let mut totals = totals.clone();
    let seen =
        tokio::time::timeout(SETTLE_WITHIN, totals.wait_for(|totals| totals.last_append.is_some())).await;
    let entry = match seen {
        Ok(Ok(totals)) => totals.last_append.clone(),
        Ok(Err(_)) | Err(_) => None,
    };
    let entry = entry.ok_or_else(|| claim("no entry is in the log"))?;
    if entry.files.is_empty() {
        return Err(claim("the entry names no file"));
    }
    for file in &entry.files {
        if stage.store.head(&file.key).await?.is_some() {
            return Err(claim("a file of the entry is visible already"));
        }
    }
    narrator.say(format!(
        "worker 2 stands with entry {} in the log and none of its {} files visible; SIGKILL to pid {pid}",
        entry.sequence,
        entry.files.len()
    ));
    worker.kill().await?;
    Ok(())
}

/// Worker 3 finishes what its predecessor promised.
async fn settle_after_both(
    stage: &Stage,
    narrator: &Narrator,
    totals: &channel::Receiver<Totals>,
) -> Result<WorkerProcess, StoryError> {
    let left = totals.borrow().last_append.clone();
    let mut worker = start(stage, narrator, 3, None).await?;
    let Some(entry) = left else { return Ok(worker) };
    let waited = Stopwatch::start();
    for file in &entry.files {
        while stage.store.head(&file.key).await?.is_none() {
            worker.check_alive("settle what worker 2 left").await?;
            if waited.elapsed() > SETTLE_WITHIN {
                let what = format!("`{}` is still not visible", file.key);
                return Err(StoryError::Claim { number: worker.number, what });
            }
            sleep(LOOK_EVERY).await;
        }
    }
    narrator.say(format!(
        "worker 3 settled entry {} of its dead predecessor: all {} files are visible",
        entry.sequence,
        entry.files.len()
    ));
    Ok(worker)
}

/// Until all is sent, and all that is sent is in the ledger.
async fn last_events(
    worker: &mut WorkerProcess,
    narrator: &Narrator,
    production: Production,
    totals: &channel::Receiver<Totals>,
) -> Result<Arc<Book>, StoryError> {
    while !production.is_over() {
        worker.check_alive("take in the events").await?;
        sleep(LOOK_EVERY).await;
    }
    let book = Arc::new(tokio::task::spawn_blocking(|| production.finish()).await??);
    let counts = book.counts();
    narrator.say(format!(
        "all sent: {} events, {} of them broken, and {} tombstones; waiting for the ledger to have them",
        number(counts.events()),
        number(counts.dead_letters),
        number(counts.filtered)
    ));
    let ends = book.ends();
    let (mut moved, mut entries) = (Stopwatch::start(), 0);
    loop {
        worker.check_alive("take in the last events").await?;
        let now = totals.borrow().clone();
        if now.covers(&ends) {
            return Ok(book);
        }
        if now.entries > entries {
            (moved, entries) = (Stopwatch::start(), now.entries);
        }
        if moved.elapsed() > STANDSTILL_MAX {
            let covered = now.rows + now.dead_letters + now.filtered;
            return Err(StoryError::Standstill { missing: counts.messages().saturating_sub(covered) });
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn drain(worker: &mut WorkerProcess, narrator: &Narrator) -> Result<(), StoryError> {
    narrator.say(format!("all is in the ledger; SIGTERM to worker 3 (pid {})", worker.pid));
    let watch = Stopwatch::start();
    worker.terminate(DRAIN_WITHIN).await?;
    narrator.say(format!("worker 3 drained and left with exit code 0 after {}", seconds(watch.elapsed())));
    Ok(())
}

/// The worker's own proof, from the ledger.
async fn verify(stage: &Stage, narrator: &Narrator) -> Result<bool, StoryError> {
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
async fn compare(stage: &Stage, book: &Arc<Book>, narrator: &Narrator) -> Result<Report, StoryError> {
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

fn conclude(stage: &Stage, narrator: &Narrator, book: &Book, report: &Report, verified: bool) {
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
    narrator.print(&format!("Files: {lake}/data   Workers' logs: {}", stage.logs.display()));
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
