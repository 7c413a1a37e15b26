//! Story: the run from its first line to its last.
//!
//! Order: events flow all the while. A first image is pushed and deployed; its worker is killed with an upload open,
//! and the next one with an entry logged and not settled; ECS starts a third, which puts both right. A second image
//! takes over; a third crashes and is taken back; an older one is pushed late and ignored; a fourth never gets well and
//! is taken back. Then the deployer stops the service, the last worker drains and exits; only then is the lake judged.
//! Neighbours: every room here; main starts it and answers Ctrl-C.
//!
//! acts play, news tells what ECS and the deployer do, follow tells what the ledger says, end proves.

mod acts;
mod end;
mod follow;
mod news;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use ledger::head::LedgerError;
use ledger::store::StoreError;
use tokio::sync::watch as channel;

use crate::broker::BrokerError;
use crate::cloud::Outlets;
use crate::cloud::ecr::EcrError;
use crate::cloud::image::ImageError;
use crate::lambda_process::{self, LambdaError};
use crate::narrate::{Narrator, number};
use crate::producer::{Covered, Order, ProducerError, Production};
use crate::proof::ProofError;
use crate::stage::{Stage, StageError};
use crate::timing;
use crate::watch::{LedgerTail, Totals, WatchError};
use crate::worker_process::WorkerError;
use acts::Play;
use follow::Follower;
use news::{Deployer, News};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Without a new ledger entry for so long, waiting for the last events is given up.
const STANDSTILL_MAX: Duration = Duration::from_secs(90);

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
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    #[error("make an image")]
    Image(#[from] ImageError),
    #[error("push an image")]
    Push(#[from] EcrError),
    #[error("look at the store")]
    Store(#[from] StoreError),
    #[error("read the deployer's journal")]
    Journal(#[source] serde_json::Error),
    #[error("read who is rejected")]
    Ledger(#[from] LedgerError),
    #[error("follow the ledger")]
    Watch(#[from] WatchError),
    #[error("read the lake")]
    Proof(#[from] ProofError),
    #[error("run `worker verify`")]
    Verify(#[source] io::Error),
    #[error("run a task")]
    Task(#[from] tokio::task::JoinError),
    #[error("invoke the deployer: it failed {times} times at the same event: {why}")]
    Deployer { times: u32, why: String },
    #[error("ask the deployer to {what}: it answers {answer}")]
    Refused { what: String, answer: String },
    #[error("check at {at}: {what}")]
    Claim { at: String, what: String },
    #[error("wait for {what}: nothing for {seconds} s; {stands}")]
    Overdue { what: String, seconds: u64, stands: String },
    #[error("wait for the last events: no ledger entry for {} s, and {missing} messages are in none", STANDSTILL_MAX.as_secs())]
    Standstill { missing: u64 },
}

/// Tells the whole story; the answer is whether everything was proved.
///
/// `enough` turns true when a run without an end is to come to one. To be run on the main thread: see tether.
pub async fn tell(
    stage: Stage,
    outlets: Outlets,
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
    let deployer = Deployer::new(stage.cloud.clone(), narrator.clone());
    let Outlets { commands, events, notices } = outlets;
    let news = News { deployer: &deployer, tasks: stage.tasks.started(), events, notices };
    let mut play = Play::new(&stage, narrator, &deployer, totals);
    let acts = async {
        play.first_image().await?;
        play.second_image().await?;
        play.crashing_image().await?;
        play.late_build().await?;
        play.image_that_never_gets_well().await?;
        let book = play.last_events(production).await?;
        let last = play.stop().await?;
        Ok::<_, StoryError>((book, last))
    };
    let played = tokio::select! {
        played = acts => played?,
        never = ending => match never {},
        never = stage.cloud.run() => match never {},
        never = stage.tasks.clone().run(commands) => match never {},
        // These end by themselves only when something is broken.
        broken = lambda_process::run(stage.cloud.clone(), stage.bootstrap.clone()) => return Err(broken.into()),
        lost = follower.follow() => return Err(lost.into()),
        failed = news.run() => return Err(failed),
    };
    let (book, last) = played;
    narrator.end_display();
    timing::lines(&last).iter().for_each(|line| narrator.say(line));
    let verified = end::verify(&stage, narrator).await?;
    let report = end::compare(&stage, &book, narrator).await?;
    end::conclude(&stage, narrator, &book, &report, verified);
    if verified && report.is_proven() {
        stage.broker.clean_up().await?;
        stage.clean_up()?;
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
    narrator.say("an emulator stands for ECS, ECR, CloudWatch, SNS and Lambda; start periods, checks and bakes are shortened");
}
