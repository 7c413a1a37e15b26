//! Acts: what is done to Landfall, one thing after the other, and what must come of it.
//!
//! Order: each act waits for its end, and then checks that what it meant to provoke has happened; else the run has
//! failed, whatever the files say.
//! Neighbours: stage and cloud are acted on; journal, ledger and the model of ECS are looked at.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use deployer::journal::{self, Journal, Record, Verdict};
use ledger::head::read_newest;
use serde_json::json;
use tokio::sync::watch as channel;
use tokio::time::{sleep, timeout};

use super::news::Deployer;
use super::{LOOK_EVERY, STANDSTILL_MAX, StoryError};
use crate::book::Book;
use crate::clock::Stopwatch;
use crate::cloud::image::{self, Known};
use crate::ecs::Task;
use crate::ecs::model::Status;
use crate::narrate::{Narrator, number, seconds};
use crate::producer::Production;
use crate::stage::{REPOSITORY, SERVICE, Stage};
use crate::tasks::{HoldAt, Started, alive};
use crate::watch::{LedgerTail, Totals};
use crate::worker_process::WorkerLog;

/// A worker must come to its holding point within this: a group join, a takeover and a flush.
const HOLD_WITHIN: Duration = Duration::from_secs(120);
/// A successor must have settled what was left within this.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// From a push to a task.
const START_WITHIN: Duration = Duration::from_secs(60);
/// From a push to a verdict, and from a bad one to the good release's return.
const VERDICT_WITHIN: Duration = Duration::from_secs(240);
/// From `stop` to the end of the last process.
const DRAIN_WITHIN: Duration = Duration::from_secs(130);
/// How many tasks the service's circuit breaker lets fail.
const FAILURES: usize = 2;

pub struct Play<'a> {
    stage: &'a Stage,
    narrator: &'a Narrator,
    deployer: &'a Deployer,
    totals: channel::Receiver<Totals>,
    known: Known,
    /// Digests of the images so far.
    first: String,
    second: String,
    late: String,
}

impl<'a> Play<'a> {
    pub fn new(
        stage: &'a Stage,
        narrator: &'a Narrator,
        deployer: &'a Deployer,
        totals: channel::Receiver<Totals>,
    ) -> Play<'a> {
        let [first, second, late] = [const { String::new() }; 3];
        Play { stage, narrator, deployer, totals, known: Known::default(), first, second, late }
    }

    /// The first image is deployed. Two of its workers die where it hurts most, and the third puts it right.
    pub async fn first_image(&mut self) -> Result<(), StoryError> {
        self.title("a first image");
        self.stage.tasks.hold([HoldAt::UploadOpen, HoldAt::EntryLogged]);
        self.first = self.push("1.0.0", "the repository's own pipeline", |_, text| text).await?;
        self.kill_with_an_upload_open().await?;
        self.kill_with_an_entry_logged().await?;
        self.settled_after_both().await?;
        let digest = self.first.clone();
        self.proven("1.0.0", &digest).await
    }

    /// A good image takes over while its predecessor still works.
    pub async fn second_image(&mut self) -> Result<(), StoryError> {
        self.title("a second image, as good as the first");
        let change = |name: &str, text: String| match name {
            "pipeline.toml" => text.replace("# zstd_level = 1", "zstd_level = 3"),
            _ => text,
        };
        self.second = self.push("1.1.0", "zstd level 3", change).await?;
        let digest = self.second.clone();
        self.proven("1.1.0", &digest).await?;
        let told = self.handover().ok_or_else(|| {
            claim("the second image's handover", "ECS stopped the old worker before the new one ran")
        })?;
        self.narrator.say(told);
        Ok(())
    }

    /// An image that ends by itself, at once.
    pub async fn crashing_image(&mut self) -> Result<(), StoryError> {
        self.title("a third image, which crashes");
        let change = |name: &str, text: String| match name {
            "pipeline.toml" => text.replace("[output]", "[outputs]"),
            _ => text,
        };
        let digest = self.push("1.2.0", "a misspelt section in pipeline.toml", change).await?;
        self.taken_back("1.2.0", &digest).await?;
        let exits: Vec<Option<i32>> = self.started_of(&digest).iter().map(|it| it.exit).collect();
        if exits.len() != FAILURES || exits.iter().any(|exit| *exit != Some(78)) {
            let what = format!("its workers ended with {exits:?}, not {FAILURES} of them with exit code 78");
            return Err(claim("the third image", &what));
        }
        Ok(())
    }

    /// A build of an older version that comes after newer ones.
    pub async fn late_build(&mut self) -> Result<(), StoryError> {
        self.title("an older build, pushed late");
        let change = |name: &str, text: String| match name {
            "pipeline.toml" => text.replace("# zstd_level = 1", "zstd_level = 2"),
            _ => text,
        };
        let before = self.stage.tasks.started().borrow().len();
        let digest = self.push("1.0.1", "older than what runs", change).await?;
        self.late = digest.clone();
        let heard = async |play: &Play<'_>| {
            let pushes = play.journal().await?.map(|journal| journal.pushes).unwrap_or_default();
            Ok(pushes.iter().any(|pushed| pushed.as_str() == digest).then_some(()))
        };
        self.until("the deployer to hear of 1.0.1", START_WITHIN, heard).await?;
        self.deployer.command("read", json!({ "command": "plan" })).await?;
        let journal = self.journal().await?.unwrap_or_default();
        let picked = record_of(&journal, &digest).is_some_and(|record| record.pointed_at.is_some());
        let runs = !self.started_of(&digest).is_empty();
        if picked || runs || self.stage.tasks.started().borrow().len() != before {
            return Err(claim("the older build", "it was deployed"));
        }
        self.runs_only("the older build", &self.second)?;
        self.narrator.say("1.0.1 is ignored: 1.1.0 goes on running");
        Ok(())
    }

    /// An image that runs and works, but whose health check never passes.
    pub async fn image_that_never_gets_well(&mut self) -> Result<(), StoryError> {
        self.title("a fourth image, whose health check never passes");
        let change = |name: &str, text: String| match name {
            "pipeline.toml" => text.replace("\"${HEALTH_LISTEN:-127.0.0.1:9464}\"", "\"none\""),
            _ => text,
        };
        let digest = self.push("1.3.0", "it answers no health check", change).await?;
        self.taken_back("1.3.0", &digest).await?;
        let unhealthy = self.stage.cloud.look(|world| {
            let service = world.ecs.service(SERVICE);
            let stopped = service.into_iter().flat_map(|service| &service.stopped);
            let is_so = |task: &&Task| {
                task.pulled_digest.as_deref() == Some(&digest)
                    && task.stopped_reason.as_deref().is_some_and(|reason| reason.contains("health check"))
            };
            stopped.filter(is_so).count()
        });
        if unhealthy != FAILURES {
            let what = format!("{unhealthy} of its workers were stopped for their health, not {FAILURES}");
            return Err(claim("the fourth image", &what));
        }
        Ok(())
    }

    /// Until all is sent, and all that is sent is in the ledger.
    pub async fn last_events(&mut self, production: Production) -> Result<Arc<Book>, StoryError> {
        self.title("the last events");
        while !production.is_over() {
            sleep(LOOK_EVERY).await;
        }
        let book = Arc::new(tokio::task::spawn_blocking(|| production.finish()).await??);
        let counts = book.counts();
        self.narrator.say(format!(
            "all sent: {} events, {} of them broken, and {} tombstones; waiting for the ledger to have them",
            number(counts.events()),
            number(counts.dead_letters),
            number(counts.filtered)
        ));
        let ends = book.ends();
        let (mut moved, mut entries) = (Stopwatch::start(), 0);
        loop {
            let now = self.totals.borrow().clone();
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

    /// The deployer stops the service: the last worker drains. Its log.
    pub async fn stop(&mut self) -> Result<WorkerLog, StoryError> {
        self.runs_only("the end", &self.second)?;
        if !self.started_of(&self.late).is_empty() {
            return Err(claim("the end", "the older build was deployed after all"));
        }
        self.signed_by_a_task()?;
        let watch = Stopwatch::start();
        let command = json!({ "command": "stop", "reason": "the story is over", "by": "cargo local" });
        self.deployer.command("operate", command).await?;
        let what = "the last worker to drain and leave";
        self.until(what, DRAIN_WITHIN, async |play| Ok(alive(&play.started()).is_empty().then_some(())))
            .await?;
        let last = self.started_of(&self.second).pop();
        let last = last.ok_or_else(|| claim("the end", "the second image has no worker"))?;
        if last.exit != Some(0) {
            let what = format!("worker {} left with {:?}, not with exit code 0", last.number, last.exit);
            return Err(claim("the end", &format!("{what}; its log ends with\n{}", last.log.tail())));
        }
        let after = seconds(watch.elapsed());
        self.narrator.say(format!("worker {} drained and left with exit code 0 after {after}", last.number));
        Ok(last.log)
    }

    /// The ledger tells which task of which image wrote, because ECS tells each task who it is.
    fn signed_by_a_task(&self) -> Result<(), StoryError> {
        let entry = self.totals.borrow().last_append.clone();
        let writer = entry.as_ref().map(|entry| &entry.writer);
        let task = |writer: &&ledger::entry::Writer| {
            self.started().iter().any(|it| it.task.to_string() == writer.task && it.digest == writer.image)
        };
        if writer.filter(task).is_some() {
            return Ok(());
        }
        Err(claim("the end", &format!("the newest entry with offsets is by {writer:?}, no task of this run")))
    }

    fn title(&self, what: &str) {
        self.narrator.say(format!("── {what}"));
    }

    /// Makes an image of the example, changed by `change`, and pushes it.
    async fn push(
        &mut self,
        tag: &str,
        what: &str,
        change: fn(&str, String) -> String,
    ) -> Result<String, StoryError> {
        let root = self.stage.images.join(tag);
        let (worker, pipeline) = (self.stage.worker.clone(), self.stage.pipeline.clone());
        let mut known = std::mem::take(&mut self.known);
        let made = tokio::task::spawn_blocking(move || {
            image::build(&root, &worker, &pipeline, change)?;
            let image = image::read(&root, &mut known)?;
            Ok::<_, image::ImageError>((image, known))
        });
        let (image, known) = made.await??;
        self.known = known;
        let digest = image.digest.clone();
        let others = [&self.first, &self.second];
        if others.contains(&&digest) {
            return Err(claim("a push", &format!("{tag} is the same image as one before")));
        }
        self.stage.cloud.push(REPOSITORY, image, tag)?;
        self.narrator.say(format!("push {REPOSITORY}:{tag} ({}): {what}", short(&digest)));
        Ok(digest)
    }

    /// Worker 1: everything is uploaded, nothing is named. What it had is as if it never was.
    async fn kill_with_an_upload_open(&self) -> Result<(), StoryError> {
        let worker = self.held(1, HoldAt::UploadOpen).await?;
        let uploads = self.stage.store.list_uploads("").await?;
        let mut tail = LedgerTail::new(self.stage.store.clone(), self.stage.broker.topic.clone());
        let entries = tail.look().await?;
        let named: BTreeSet<String> =
            entries.iter().flat_map(|entry| &entry.files).map(|file| file.key.clone()).collect();
        if uploads.is_empty() {
            return Err(claim("worker 1's hold", "no upload is open"));
        }
        if let Some(upload) = uploads.iter().find(|upload| named.contains(&upload.key)) {
            return Err(claim(
                "worker 1's hold",
                &format!("an entry names the open upload `{}`", upload.key),
            ));
        }
        if tail.totals.rows > 0 {
            return Err(claim("worker 1's hold", "rows are in the ledger already"));
        }
        self.narrator.say(format!(
            "worker 1 stands with {} uploads open that no ledger entry names; SIGKILL to pid {}",
            uploads.len(),
            worker.pid
        ));
        self.stage.tasks.kill(worker.task);
        Ok(())
    }

    /// Worker 2: the entry is in the log, its files are not visible. Its rows count from here on, whoever finishes them.
    async fn kill_with_an_entry_logged(&self) -> Result<(), StoryError> {
        let worker = self.held(2, HoldAt::EntryLogged).await?;
        let at = "worker 2's hold";
        let mut totals = self.totals.clone();
        let seen = timeout(SETTLE_WITHIN, totals.wait_for(|totals| totals.last_append.is_some())).await;
        let entry = match seen {
            Ok(Ok(totals)) => totals.last_append.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        let entry = entry.ok_or_else(|| claim(at, "no entry is in the log"))?;
        if entry.files.is_empty() {
            return Err(claim(at, "the entry names no file"));
        }
        for file in &entry.files {
            if self.stage.store.head(&file.key).await?.is_some() {
                return Err(claim(at, "a file of the entry is visible already"));
            }
        }
        self.narrator.say(format!(
            "worker 2 stands with entry {} in the log and none of its {} files visible; SIGKILL to pid {}",
            entry.sequence,
            entry.files.len(),
            worker.pid
        ));
        self.stage.tasks.kill(worker.task);
        Ok(())
    }

    /// Worker 3 finishes what its predecessor promised.
    async fn settled_after_both(&self) -> Result<(), StoryError> {
        let Some(entry) = self.totals.borrow().last_append.clone() else { return Ok(()) };
        self.nth(3).await?;
        for file in &entry.files {
            let visible = async |play: &Play<'_>| Ok(play.stage.store.head(&file.key).await?.map(drop));
            self.until("worker 3 to settle what worker 2 left", SETTLE_WITHIN, visible).await?;
        }
        self.narrator.say(format!(
            "worker 3 settled entry {} of its dead predecessor: all {} files are visible",
            entry.sequence,
            entry.files.len()
        ));
        Ok(())
    }

    async fn held(&self, nth: u32, at: HoldAt) -> Result<Started, StoryError> {
        let worker = self.nth(nth).await?;
        self.narrator.say(format!("worker {nth} is to be killed at `{}`", at.name()));
        let what = format!("hold at `{}`", at.name());
        let held = worker.log.wait_for(&what, HOLD_WITHIN, |line| {
            line.message == "holding" && line.field("at").as_str() == Some(at.name())
        });
        held.await?;
        Ok(worker)
    }

    /// The n-th worker of this run, once it is started.
    async fn nth(&self, nth: u32) -> Result<Started, StoryError> {
        let find = async |play: &Play<'_>| Ok(play.started().into_iter().find(|it| it.number == nth));
        self.until(&format!("ECS to start worker {nth}"), START_WITHIN, find).await
    }

    /// The deployer calls it good, and it alone runs.
    async fn proven(&self, tag: &str, digest: &str) -> Result<(), StoryError> {
        let what = format!("the deployer to prove {tag}");
        let record = self.verdict(&what, digest, |journal, record| {
            let is_current = journal.current.as_ref() == Some(&record.release);
            is_current && matches!(record.verdict, Verdict::Healthy | Verdict::Quiet)
        });
        let record = record.await?;
        self.runs_only(tag, digest)?;
        self.narrator.say(format!("{tag} is proven: {}", record.reason));
        Ok(())
    }

    /// The deployer rejects it, the ledger knows, and the second image alone runs.
    async fn taken_back(&self, tag: &str, digest: &str) -> Result<(), StoryError> {
        let what = format!("the deployer to reject {tag} and to go back");
        let record = self.verdict(&what, digest, |journal, record| {
            let is_over = journal.going_back.is_none() && journal.candidate.is_none();
            is_over && record.verdict == Verdict::Rejected
        });
        let record = record.await?;
        let newest = read_newest(self.stage.store.as_ref()).await?;
        let rejected = newest.map(|entry| entry.rejected).unwrap_or_default();
        if !rejected.contains(record.release.as_str()) && !rejected.contains(digest) {
            return Err(claim(tag, "the ledger does not reject it"));
        }
        let failed = self.stage.cloud.look(|world| {
            let service = world.ecs.service(SERVICE)?;
            let revision = record.revision.as_ref()?;
            let its = service.rollouts.iter().rev().find(|rollout| {
                *world.ecs.definition(service.revision(rollout.target).definition).arn == *revision.as_str()
            });
            its.map(|rollout| rollout.status)
        });
        if failed.is_none_or(|status| status == Status::Successful || !status.is_final()) {
            return Err(claim(tag, &format!("ECS calls its deployment {failed:?}")));
        }
        let only = async |play: &Play<'_>| Ok(play.runs_only(tag, &play.second).ok());
        self.until("the second image to run alone again", START_WITHIN, only).await?;
        self.narrator.say(format!("{tag} is rejected: {}", record.reason));
        Ok(())
    }

    async fn verdict(
        &self,
        what: &str,
        digest: &str,
        fits: impl Fn(&Journal, &Record) -> bool,
    ) -> Result<Record, StoryError> {
        let look = async |play: &Play<'_>| {
            let Some(journal) = play.journal().await? else { return Ok(None) };
            Ok(record_of(&journal, digest).filter(|record| fits(&journal, record)).cloned())
        };
        self.until(what, VERDICT_WITHIN, look).await
    }

    async fn journal(&self) -> Result<Option<Journal>, StoryError> {
        let bytes = self.stage.store.get(journal::KEY).await?;
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(StoryError::Journal)).transpose()
    }

    /// What runs is this image and no other.
    fn runs_only(&self, at: &str, digest: &str) -> Result<(), StoryError> {
        let alive = alive(&self.started());
        if !alive.is_empty() && alive.values().all(|runs| runs == digest) {
            return Ok(());
        }
        let runs: Vec<String> =
            alive.iter().map(|(number, digest)| format!("worker {number} of {}", short(digest))).collect();
        Err(claim(at, &format!("{} should run alone, and there run: {}", short(digest), runs.join(", "))))
    }

    /// How the second image took over; none where there was a gap.
    fn handover(&self) -> Option<String> {
        let (started, first, second) = (self.started(), &self.first, &self.second);
        self.stage.cloud.look(|world| {
            let service = world.ecs.service(SERVICE)?;
            let all = || service.tasks.iter().chain(&service.stopped);
            let of = |digest: &String| -> Vec<&Task> {
                all().filter(|task| task.pulled_digest.as_deref() == Some(digest)).collect()
            };
            let new =
                of(second).into_iter().filter(|task| task.was_healthy).min_by_key(|task| task.started_at)?;
            let old = of(first).into_iter().max_by_key(|task| task.started_at)?;
            let beside = old.stopping_at?.checked_sub(new.started_at?)?;
            let number = |task: &Task| started.iter().find(|it| it.task == task.id).map(|it| it.number);
            let (new, old, after) = (number(new)?, number(old)?, seconds(Duration::from_millis(beside)));
            Some(format!("no gap: worker {new} ran for {after} and was well before ECS stopped worker {old}"))
        })
    }

    fn started(&self) -> Vec<Started> {
        self.stage.tasks.started().borrow().clone()
    }

    fn started_of(&self, digest: &str) -> Vec<Started> {
        self.started().into_iter().filter(|it| it.digest == digest).collect()
    }

    /// Looks until there is something. `what` completes "wait for …".
    async fn until<T>(
        &self,
        what: &str,
        within: Duration,
        look: impl AsyncFn(&Play<'a>) -> Result<Option<T>, StoryError>,
    ) -> Result<T, StoryError> {
        let watch = Stopwatch::start();
        loop {
            if let Some(found) = look(self).await? {
                return Ok(found);
            }
            if watch.elapsed() > within {
                let stands = self.stands().await?;
                return Err(StoryError::Overdue { what: what.to_owned(), seconds: within.as_secs(), stands });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// For whoever waited in vain.
    async fn stands(&self) -> Result<String, StoryError> {
        let journal = self.journal().await?.unwrap_or_default();
        let records: Vec<String> = journal
            .releases
            .iter()
            .map(|record| format!("{} is {:?}: {}", record.tags.join(", "), record.verdict, record.reason))
            .collect();
        let alive: Vec<String> = alive(&self.started())
            .iter()
            .map(|(number, digest)| format!("{number} of {}", short(digest)))
            .collect();
        Ok(format!(
            "the journal says: {}; alive are workers {}; the deployer's log is {}",
            records.join("; "),
            alive.join(", "),
            self.stage.bootstrap.log.display()
        ))
    }
}

/// The newest release of that image.
fn record_of<'j>(journal: &'j Journal, digest: &str) -> Option<&'j Record> {
    journal.releases.iter().rev().find(|record| record.digest.as_str() == digest)
}

fn claim(at: &str, what: &str) -> StoryError {
    StoryError::Claim { at: at.to_owned(), what: what.to_owned() }
}

/// Twelve hex digits.
fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}
