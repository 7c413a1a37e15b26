//! A world around the deployer: ECR, the model of ECS with tasks that behave by seed, alarms, the ledger's rejections,
//! the journal, people. All of it in one state, without threads, timers or chance but the seed's.
//!
//! Order: an effect is one change of the state, between two polls of an invocation; what it brings forth (tasks, events)
//! comes by the calendar. The oracle looks at every effect.
//! Flow: script (what will happen) → calendar → ports (what invocations see and do) → oracle.

#![allow(dead_code, reason = "shared by two tests; each uses a part")]

pub mod calendar;
pub mod cluster;
pub mod executor;
pub mod images;
pub mod oracle;
pub mod people;
pub mod ports;
pub mod rng;
pub mod script;
pub mod tasks;
pub mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use deployer::clock::ManualClock;
use deployer::journal::Journal;
use deployer::plan::Rules;
use deployer::policy::Policy;
use deployer::release::Moment;
use local::ecs::{Config, Ecs, TaskId, Variants};

use calendar::Due;
use images::Made;
use oracle::Oracle;
use rng::Rng;

/// Some day in 2026.
pub const START: i64 = 1_790_000_000_000;
pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const SERVICE: &str = "shop";

/// What is out of order for a while.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Outage {
    /// New tasks end so: 69 (unreachable) or 77 (denied).
    Kafka(i32),
    Pulls,
    RegistryReads,
    LedgerReads,
    EcsReads,
}

/// How bad the world is, in times of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub crash: u64,
    pub throttle: u64,
    pub refuse: u64,
    pub unknown: u64,
    pub read_fails: u64,
    pub event_lost: u64,
    pub event_doubled: u64,
    pub event_late: u64,
    pub slow: u64,
    /// Somebody types `rollback` when he reads that ECS goes back by itself.
    pub answered: u64,
}

/// Counted, so that a simulation in which nothing happens is found out.
pub type Fired = BTreeMap<&'static str, u64>;

pub struct State {
    pub now: i64,
    pub rng: Rng,
    pub rules: Rules,
    pub policy: Policy,
    /// Which build of the templates the function has.
    pub build: usize,
    pub rates: Rates,
    /// Faults still happen.
    pub chaos: bool,
    /// Each changing call is made twice.
    pub twice: bool,
    /// People leave pins, freezes and stops as they are.
    pub untidy: bool,
    /// ListServiceDeployments lists none: only DescribeServices tells.
    pub old_api: bool,
    pub ecs: Ecs,
    pub images: Vec<Made>,
    pub ledger: BTreeSet<String>,
    pub journal: Option<(Arc<Journal>, u64)>,
    pub bodies_written: u64,
    pub registered: u64,
    pub updates: u64,
    pub notices: u64,
    pub alarms: BTreeSet<&'static str>,
    pub outages: BTreeSet<Outage>,
    pub calendar: BTreeMap<(i64, u64), Due>,
    pub sequence: u64,
    pub coming: BTreeMap<TaskId, tasks::Fate>,
    pub oracle: Oracle,
    pub fired: Fired,
    pub log: Option<Vec<String>>,
}

/// What all invocations share.
#[derive(Clone)]
pub struct Shared {
    pub state: Arc<Mutex<State>>,
    pub clock: Arc<ManualClock>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while he holds it")
    }

    pub fn new(seed: u64) -> Shared {
        let mut rng = Rng::new(seed);
        let variants = Variants::pick(rng.bits());
        let state = State {
            now: START,
            rng,
            rules: Rules::ALL,
            policy: Policy { bake_ms: 7 * MINUTE, retry_max_ms: 20 * MINUTE, ..Policy::default() },
            build: 0,
            rates: Rates::default(),
            chaos: true,
            twice: false,
            untidy: false,
            old_api: false,
            ecs: Ecs::new(Config { variants, steady_again_ms: None, ..Config::default() }),
            images: Vec::new(),
            ledger: BTreeSet::new(),
            journal: None,
            bodies_written: 0,
            registered: 0,
            updates: 0,
            notices: 0,
            alarms: BTreeSet::new(),
            outages: BTreeSet::new(),
            calendar: BTreeMap::new(),
            sequence: 0,
            coming: BTreeMap::new(),
            oracle: Oracle::default(),
            fired: Fired::new(),
            log: None,
        };
        Shared { state: Arc::new(Mutex::new(state)), clock: Arc::new(ManualClock::at(Moment(START))) }
    }
}

impl State {
    pub fn fire(&mut self, what: &'static str) {
        *self.fired.entry(what).or_default() += 1;
    }

    /// Only built when somebody reads it.
    pub fn say(&mut self, line: impl FnOnce(&State) -> String) {
        if self.log.is_some() {
            let line = format!("{:>9.3} {}", (self.now - START) as f64 / 1000.0, line(self));
            if let Some(log) = self.log.as_mut() {
                log.push(line);
            }
        }
    }

    pub fn ms(&self) -> u64 {
        u64::try_from(self.now).unwrap_or_default()
    }

    /// Whether a read brings no answer this time.
    pub fn read_fails(&mut self) -> bool {
        self.chaos && self.rng.permille(self.rates.read_fails)
    }

    pub fn down(&self, outage: Outage) -> bool {
        self.outages.contains(&outage)
    }

    pub fn violated(&mut self, what: impl FnOnce() -> String) {
        if self.oracle.violation.is_none() {
            let what = what();
            self.say(|_| format!("VIOLATION {what}"));
            self.oracle.violation = Some(what);
        }
    }
}
