//! World: one seed's run. Decides whose call goes on, what is lost, who dies, and what time it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ledger::settle::Which;
use ledger::store::faulty::{Call, Faulty, Fired, Verdict};
use ledger::store::memory::MemoryStore;
use ledger::store::{Fault, Operation, Store, UploadId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

use super::judge::{Judge, now};
use super::processes::{Process, deploy, sweep, write};

const STEPS_MAX: usize = 140;
/// Faults a process, so that retries come to an end.
const FAULTS_MAX: u32 = 14;

/// What a run left behind.
pub struct Outcome {
    pub log: Vec<String>,
    pub tally: BTreeMap<&'static str, u64>,
    pub violation: Option<String>,
}

/// What all processes of one run share: the store, the time, and the run's own notes.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Notes>>, pub MemoryStore);

#[derive(Default)]
struct Notes {
    now_ms: u64,
    number: u64,
    log: Vec<String>,
    tally: BTreeMap<&'static str, u64>,
    violation: Option<String>,
    /// What each key's upload would make.
    uploads: BTreeMap<String, (UploadId, Bytes)>,
    /// Completions that the store had accepted before their caller stopped listening: they land whatever
    /// happens to the upload or the object meanwhile, but within fifteen minutes.
    slow: BTreeSet<String>,
}

impl Shared {
    fn notes<T>(&self, with: impl FnOnce(&mut Notes) -> T) -> T {
        with(&mut self.0.lock().unwrap())
    }

    pub fn now_ms(&self) -> u64 {
        self.notes(|notes| notes.now_ms)
    }

    pub fn store_now(&self) -> SystemTime {
        self.1.now()
    }

    /// Never the same twice; the same in every run of a seed.
    pub fn next_number(&self) -> u64 {
        self.notes(|notes| {
            notes.number += 1;
            notes.number
        })
    }

    pub fn say(&self, line: String) {
        self.notes(|notes| notes.log.push(line));
    }

    pub fn count(&self, what: &'static str, times: u64) {
        self.notes(|notes| *notes.tally.entry(what).or_default() += times);
    }

    pub fn violated(&self, what: String) {
        self.notes(|notes| notes.violation.get_or_insert(what).len());
    }

    pub fn remember(&self, key: &str, upload: &UploadId, body: &Bytes) {
        self.notes(|notes| notes.uploads.insert(key.to_owned(), (upload.clone(), body.clone())));
    }

    fn advance(&self, by: Duration) {
        self.1.advance(by);
        self.notes(|notes| notes.now_ms += by.as_millis() as u64);
    }

    /// Marks a late completion as slow if the store could have accepted it just now.
    fn accept_slow_completion(&self, key: &str) {
        let open = now(self.1.list_uploads(key)).unwrap();
        self.notes(|notes| {
            let upload = notes.uploads.get(key).map(|(upload, _)| upload);
            if open.iter().any(|open| Some(&open.upload_id) == upload) {
                notes.slow.insert(key.to_owned());
            }
        });
    }

    fn is_slow(&self, key: &str) -> bool {
        self.notes(|notes| notes.slow.contains(key))
    }

    /// Lands a slow completion as the worst store would: over an abort and over a delete.
    fn land_slow_completion(&self, key: &str) -> bool {
        let Some((upload, body)) =
            self.notes(|notes| if notes.slow.remove(key) { notes.uploads.get(key).cloned() } else { None })
        else {
            return false;
        };
        let deleted = now(self.1.head(&format!("_landfall/superseded/{key}"))).unwrap().is_some();
        now(self.1.abort_upload(key, &upload)).unwrap();
        self.1.overwrite(key, body);
        self.count("slow completion landed", 1);
        self.count("slow completion brought a deleted object back", u64::from(deleted));
        true
    }
}

struct Running {
    name: String,
    release: Option<&'static str>,
    faulty: Faulty,
    task: JoinHandle<Option<Process>>,
}

struct World {
    rng: StdRng,
    shared: Shared,
    running: Vec<Running>,
    /// Processes that are no more; their requests may still be on the way.
    dead: Vec<Faulty>,
    survivors: Vec<Process>,
    judge: Judge,
    started: u64,
    crashes_left: u32,
}

/// Runs one seed from an empty store to the end.
pub fn run(seed: u64) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let shared = Shared(Arc::default(), MemoryStore::new());
        let mut world = World {
            rng: StdRng::seed_from_u64(seed),
            shared: shared.clone(),
            running: Vec::new(),
            dead: Vec::new(),
            survivors: Vec::new(),
            judge: Judge::default(),
            started: 0,
            crashes_left: 3,
        };
        world.start_writer("good");
        world.start_writer("bad");
        let (deploy_at, day_at) = (world.rng.random_range(20..100), world.rng.random_range(20..STEPS_MAX));
        for step in 0..STEPS_MAX {
            world.breathe().await;
            if step == deploy_at {
                world.start_deployer();
            }
            if step == day_at {
                world.wait(Duration::from_secs(25 * 60 * 60));
                world.start_sweeper();
            }
            world.step().await;
        }
        // On paused time this is over at once when everybody waits for somebody.
        let rest = tokio::time::timeout(Duration::from_secs(1_000_000), world.come_to_rest()).await;
        assert!(rest.is_ok(), "the processes wait for each other");
        shared.notes(|notes| Outcome {
            log: std::mem::take(&mut notes.log),
            tally: std::mem::take(&mut notes.tally),
            violation: notes.violation.take(),
        })
    })
}

impl World {
    fn start(
        &mut self,
        what: &str,
        release: Option<&'static str>,
        spawn: impl FnOnce(Shared, Faulty, String, u64) -> JoinHandle<Option<Process>>,
    ) {
        self.started += 1;
        let name = format!("{what}-{}", self.started);
        self.shared.say(format!("start {name}"));
        let faulty = Faulty::new(Arc::new(self.shared.1.clone()));
        faulty.set_script(trouble(self.shared.clone(), StdRng::seed_from_u64(self.rng.random())));
        let task = spawn(self.shared.clone(), faulty.clone(), name.clone(), self.rng.random());
        self.running.push(Running { name, release, faulty, task });
    }

    fn start_writer(&mut self, release: &'static str) {
        self.start(release, Some(release), |shared, faulty, name, seed| {
            tokio::spawn(
                async move { write(Process::open(shared, faulty, name, seed).await?, release).await },
            )
        });
    }

    fn start_deployer(&mut self) {
        self.start("deployer", None, |shared, faulty, name, seed| {
            tokio::spawn(async move { deploy(Process::open(shared, faulty, name, seed).await?).await })
        });
    }

    fn start_sweeper(&mut self) {
        self.start("sweeper", None, |shared, faulty, name, seed| {
            tokio::spawn(async move { sweep(Process::open(shared, faulty, name, seed).await?).await })
        });
    }

    /// Lets everyone run until all wait; every back-off is shorter than this.
    async fn breathe(&mut self) {
        tokio::time::sleep(Duration::from_secs(6)).await;
        let mut at = 0;
        while at < self.running.len() {
            if !self.running[at].task.is_finished() {
                at += 1;
                continue;
            }
            let ended = self.running.remove(at);
            self.shared.say(format!("{} ends", ended.name));
            match ended.task.await {
                Ok(process) => self.survivors.extend(process),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
            self.dead.push(ended.faulty);
        }
        if let Err(violation) = self.judge.look(&self.shared.1) {
            self.shared.violated(violation);
        }
    }

    /// Makes one thing happen.
    async fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..74 => self.release_someone(),
            74..84 => self.deliver_something().await,
            84..88 => self.crash_someone(),
            88..93 => self.wait(Duration::from_secs(40)),
            93..95 => self.wait(Duration::from_secs(16 * 60)),
            95..98 if self.running.len() < 2 => self.start_writer("good"),
            98..100 if self.running.len() < 2 => self.start_writer("bad"),
            _ => self.release_someone(),
        }
    }

    fn release_someone(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.running.len());
        let chosen = &self.running[at];
        let waiting = chosen.faulty.paused();
        if chosen.faulty.release() > 0 {
            self.shared.say(format!("{} goes on with {waiting:?}", chosen.name));
        }
    }

    /// A request that its sender gave up, or did not live to see answered, arrives.
    async fn deliver_something(&mut self) {
        let senders: Vec<Faulty> =
            self.running.iter().map(|running| &running.faulty).chain(&self.dead).cloned().collect();
        let late: Vec<(Faulty, usize, Operation, String)> = senders
            .iter()
            .flat_map(|faulty| {
                let late = faulty.late().into_iter().enumerate();
                late.map(|(at, (operation, key))| (faulty.clone(), at, operation, key)).collect::<Vec<_>>()
            })
            .collect();
        if late.is_empty() {
            return;
        }
        let (faulty, at, operation, key) = &late[self.rng.random_range(0..late.len())];
        let slow = *operation == Operation::CompleteUpload && self.shared.is_slow(key);
        if slow && self.rng.random_bool(0.8) {
            return; // Slow ones are worth most just before their fifteen minutes are over.
        }
        let landed_slow = slow && self.shared.land_slow_completion(key);
        let before = self.shared.1.keys().len();
        faulty.deliver_late_at(*at).await;
        let put = *operation == Operation::Put && self.shared.1.keys().len() > before;
        self.shared.count("late put landed", u64::from(put));
        self.shared.say(format!("late {operation} {key} arrives, slow: {landed_slow}"));
    }

    fn crash_someone(&mut self) {
        if self.crashes_left == 0 || self.running.is_empty() {
            return;
        }
        self.crashes_left -= 1;
        let at = self.rng.random_range(0..self.running.len());
        let crashed = self.running.remove(at);
        crashed.task.abort();
        self.shared.say(format!("{} dies", crashed.name));
        self.shared.count("crash", 1);
        self.dead.push(crashed.faulty);
        match crashed.release {
            Some(release) => self.start_writer(release),
            None if crashed.name.starts_with("deployer") => self.start_deployer(),
            None => self.start_sweeper(),
        }
    }

    /// Time passes. A slow completion lands within fifteen minutes or never.
    fn wait(&mut self, by: Duration) {
        if by >= Duration::from_secs(15 * 60) {
            let slow: Vec<String> = self.shared.notes(|notes| notes.slow.iter().cloned().collect());
            for key in slow {
                if self.rng.random_bool(0.7) {
                    self.shared.land_slow_completion(&key);
                    self.shared.say(format!("slow completion of {key} lands"));
                }
            }
            self.shared.notes(|notes| notes.slow.clear());
        }
        self.shared.advance(by);
        self.shared.say(format!("{} s pass", by.as_secs()));
    }

    /// No more faults: everyone comes to an end, everything on its way arrives, everyone settles.
    async fn come_to_rest(&mut self) {
        while !self.running.is_empty() {
            for running in &self.running {
                running.faulty.set_script(|_| Verdict::Pass);
                running.faulty.release();
            }
            self.breathe().await;
        }
        for faulty in &self.dead {
            faulty.set_script(|_| Verdict::Pass);
        }
        self.tally_faults();
        self.settle_all().await;
        self.wait(Duration::from_secs(16 * 60));
        for faulty in &self.dead {
            faulty.deliver_late().await;
        }
        let last = Faulty::new(Arc::new(self.shared.1.clone()));
        let last = Process::open(self.shared.clone(), last, "last".to_owned(), 0).await;
        self.survivors.extend(last);
        for _ in 0..2 {
            self.settle_all().await;
            self.shared.advance(Duration::from_secs(15 * 60));
        }
        self.settle_all().await;
        for process in &self.survivors {
            if process.view.settled_through() != process.view.sequence() {
                let through = process.view.settled_through();
                self.shared.violated(format!("{} has settled only up to {through}", process.name));
            }
        }
        let verdict = self.judge.conclude(&self.shared.1).and_then(|()| self.judge.rejection_held("bad"));
        if let Err(violation) = verdict {
            self.shared.violated(violation);
        }
        self.shared.say(format!("at rest: {:?}", self.shared.1.keys()));
    }

    async fn settle_all(&mut self) {
        for process in &mut self.survivors {
            process.view.refresh().await.unwrap();
            process.settle(Which::All).await;
        }
    }

    fn tally_faults(&self) {
        for faulty in &self.dead {
            for (kind, what) in [
                (Fired::LostRequest, "request lost"),
                (Fired::LostReply, "reply lost"),
                (Fired::Late, "request late"),
                (Fired::Failed, "conflict"),
                (Fired::Paused, "paused"),
            ] {
                self.shared.count(what, faulty.fired(kind));
            }
        }
    }
}

/// A process's bad luck: most calls wait for their turn, some are lost, late or refused for now. Bad spells hit
/// one call after another, so that retries run out too.
fn trouble(shared: Shared, mut rng: StdRng) -> impl FnMut(&Call<'_>) -> Verdict + Send {
    let mut faults_left = FAULTS_MAX;
    let mut spell: Option<(Verdict, u32)> = None;
    move |call| {
        let ledger_put = call.operation == Operation::Put;
        if let Some((verdict, left)) = spell.as_mut().filter(|_| ledger_put) {
            let verdict = *verdict;
            *left -= 1;
            if *left == 0 {
                spell = None;
            }
            return verdict;
        }
        if faults_left == 0 || rng.random_bool(0.75) {
            return if rng.random_bool(0.7) { Verdict::PauseBefore } else { Verdict::PauseAfter };
        }
        faults_left -= 1;
        let verdict = match rng.random_range(0..10) {
            0..3 => Verdict::LoseRequest,
            3..6 => Verdict::LoseReply,
            6..9 => Verdict::Late,
            _ => Verdict::Fail(Fault::Conflict),
        };
        if ledger_put && verdict != Verdict::LoseReply && rng.random_bool(0.3) {
            spell = Some((verdict, 7));
        }
        if verdict == Verdict::Late && call.operation == Operation::CompleteUpload {
            shared.accept_slow_completion(call.key);
        }
        verdict
    }
}
