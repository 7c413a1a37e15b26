//! Script: what will happen, from the seed alone; and how a run ends.

use deployer::plan::Rules;
use deployer::policy::{OnNoTarget, Order, ScanGate, Severity, Supersede};

use super::calendar::Due;
use super::executor::Sim;
use super::images::{Behaviour, Made};
use super::people::{self, Wish};
use super::{Fired, HOUR, MINUTE, Outage, Rates, SECOND, START, Shared, State, oracle};

/// How a run is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub seed: u64,
    pub rules: Rules,
    pub log: bool,
    pub twice: bool,
    /// Only the images are bad: nothing depends on who comes first.
    pub gentle: bool,
}

impl Run {
    pub fn of(seed: u64) -> Run {
        Run { seed, rules: Rules::ALL, log: false, twice: false, gentle: false }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Ran {
    pub violation: Option<String>,
    pub fired: Fired,
    pub log: Vec<String>,
    /// What is there in the end.
    pub end: String,
}

pub fn play(run: Run) -> Ran {
    let shared = Shared::new(run.seed);
    {
        let mut state = shared.lock();
        state.rules = run.rules;
        state.twice = run.twice;
        state.log = run.log.then(Vec::new);
        write(&mut state, run.gentle);
    }
    let mut sim = Sim::new(shared.clone());
    let chaos_until = {
        let last = shared
            .lock()
            .calendar
            .iter()
            .filter(|(_, due)| matches!(due, Due::Push(_)))
            .map(|(at, _)| at.0)
            .max();
        last.unwrap_or(START) + 25 * MINUTE
    };
    sim.run_until(chaos_until);
    calm(&mut shared.lock(), run.gentle);
    settle(&mut sim, chaos_until + 10 * HOUR);
    let state = shared.lock();
    Ran {
        violation: state.oracle.violation.clone(),
        fired: state.fired.clone(),
        log: state.log.clone().unwrap_or_default(),
        end: end(&state),
    }
}

/// Until all is as it should be, and for a while after that.
fn settle(sim: &mut Sim, at_most: i64) {
    loop {
        let now = sim.now();
        sim.run_until(now + 5 * MINUTE);
        if sim.violation().is_some() {
            return;
        }
        let left = oracle::unsettled(&sim.shared.lock());
        match left {
            None => break,
            Some(left) if now > at_most => {
                return sim.shared.lock().violated(|| format!("it never comes to rest: {left}"));
            }
            Some(_) => {}
        }
    }
    // A bad release that nothing can take the place of is tried for ever.
    let restless = |state: &State| {
        let proving = state.journal.as_ref().is_some_and(|(journal, _)| journal.candidate.is_some());
        state.untidy || proving || oracle::expected(state).is_none()
    };
    if restless(&sim.shared.lock()) {
        return;
    }
    let counts = |state: &State| (state.registered, state.updates);
    let before = counts(&sim.shared.lock());
    let now = sim.now();
    sim.run_until(now + 20 * MINUTE);
    let mut state = sim.shared.lock();
    if let Some(left) = oracle::unsettled(&state) {
        state.violated(|| format!("it does not stay at rest: {left}"));
    }
    if counts(&state) != before {
        state.violated(|| "at rest, it still changes the service".to_owned());
    }
}

fn end(state: &State) -> String {
    let journal = state.journal.as_ref().map(|(journal, _)| journal);
    let service = state.service();
    let verdicts: Vec<String> = journal
        .iter()
        .flat_map(|journal| &journal.releases)
        .map(|record| format!("{} {:?}", record.release, record.verdict))
        .collect();
    format!(
        "current {:?}, tasks {:?}, own rollback {:?}, rejected {:?}, {}",
        journal.and_then(|journal| journal.current.clone()),
        service.as_ref().map(|service| service.desired),
        service.as_ref().map(|service| service.own_rollback),
        state.ledger,
        verdicts.join(", "),
    )
}

/// Faults stop, people tidy up, mostly; and mostly a good image comes.
fn calm(state: &mut State, gentle: bool) {
    state.chaos = false;
    state.outages.clear();
    state.say(|_| "from here on nothing goes wrong".to_owned());
    let foreign = |due: &Due| match due {
        Due::Person(_)
        | Due::Foreign
        | Due::ServiceDeleted
        | Due::Spot
        | Due::JournalDeleted
        | Due::Expire
        | Due::Deregister
        | Due::NewBuild
        | Due::Retag { .. }
        | Due::Outage(..) => true,
        Due::Push(_)
        | Due::Deliver(_)
        | Due::Schedule
        | Due::Report(..)
        | Due::AlarmOn(_)
        | Due::AlarmSweep
        | Due::Land(_) => false,
    };
    state.calendar.retain(|_, due| !foreign(due));
    state.untidy = !gentle && state.rng.permille(200);
    if !state.untidy {
        for at in [1, 3, 5, 20, 40, 90, 150, 240] {
            state.later(at * MINUTE, Due::Person(Wish::Tidy));
        }
    }
    if gentle {
        return;
    }
    if state.policy.approval {
        for at in 1..40 {
            state.later(at * 6 * MINUTE, Due::Person(Wish::Approve));
        }
    }
    if state.rng.permille(500) || state.oracle.journal_was_deleted() {
        let number = state.images.len() as u64 + 50;
        let mut made = Made::new(number, "v2.0.0", Behaviour::Good);
        if state.rng.permille(300) {
            made = made.multi(number, true);
        }
        state.later(2 * MINUTE, Due::Push(made));
    }
}

fn write(state: &mut State, gentle: bool) {
    let rng = &mut state.rng;
    state.old_api = rng.permille(80);
    state.rates = Rates {
        crash: rng.pick(&[0, 100, 300]),
        throttle: rng.pick(&[0, 20, 80]),
        refuse: rng.pick(&[0, 0, 15]),
        unknown: rng.pick(&[0, 30, 100]),
        read_fails: rng.pick(&[0, 5, 20]),
        event_lost: rng.pick(&[0, 300, 900]),
        event_doubled: rng.pick(&[0, 300]),
        event_late: rng.pick(&[0, 300]),
        slow: rng.pick(&[0, 100, 400]),
        answered: 60,
    };
    let policy = &mut state.policy;
    policy.order = if rng.permille(200) { Order::PushTime } else { Order::Version };
    policy.supersede = if rng.permille(120) { Supersede::AtOnce } else { Supersede::AfterVerdict };
    policy.on_no_target = if rng.permille(120) { OnNoTarget::Stop } else { OnNoTarget::Keep };
    if rng.permille(150) {
        policy.scan = ScanGate { passes: Some(Severity::Medium), wait_ms: 30 * MINUTE };
    }
    if !gentle {
        policy.approval = rng.permille(100);
        policy.rollback = !rng.permille(60);
    }
    state.later(SECOND, Due::Schedule);
    pushes(state);
    if gentle {
        state.rates = Rates::default();
    } else {
        trouble(state);
    }
}

fn pushes(state: &mut State) {
    let count = state.rng.within(2, 6);
    let mut order: Vec<i64> = (0..count).collect();
    if state.rng.permille(400) {
        let (from, to) = (state.rng.index(order.len()), state.rng.index(order.len()));
        let late = order.remove(from);
        order.insert(to, late);
    }
    let mut at = SECOND;
    for (place, number) in order.iter().enumerate() {
        let good = if place == 0 { 850 } else { 450 };
        let behaviour = if state.rng.permille(good) { Behaviour::Good } else { bad(state) };
        let id = u64::try_from(*number).unwrap_or_default() + 1;
        let mut made = Made::new(id, &format!("v1.{number}.0"), behaviour);
        if state.rng.permille(300) {
            let ours = state.rng.permille(850);
            made = made.multi(id, ours);
        }
        made.scan_ms = state.rng.within(0, 8 * MINUTE);
        made.scan_bad = state.rng.permille(100);
        let digest = made.digest.clone();
        state.later(at, Due::Push(made));
        if state.policy.approval && state.rng.permille(800) {
            let after = state.rng.within(SECOND, 30 * MINUTE);
            state.later(at + after, Due::Person(Wish::Approve));
        }
        if state.rng.permille(100) {
            let tag = format!("v1.{}.5", state.rng.below(7));
            let after = state.rng.within(MINUTE, 40 * MINUTE);
            state.later(at + after, Due::Retag { digest, tag });
        }
        at += if state.rng.permille(250) { SECOND } else { state.rng.within(MINUTE, 22 * MINUTE) };
    }
}

fn bad(state: &mut State) -> Behaviour {
    match state.rng.below(8) {
        0..=2 => Behaviour::Crashes(state.rng.pick(&[1, 70, 78])),
        3 => Behaviour::NeverHealthy,
        4 => Behaviour::RefusesData,
        5 | 6 => Behaviour::CrashesLater(70),
        _ => Behaviour::RaisesAlarm,
    }
}

fn trouble(state: &mut State) {
    let outages = [
        (350, Outage::Kafka(if state.rng.permille(500) { 69 } else { 77 })),
        (250, Outage::Pulls),
        (300, Outage::RegistryReads),
        (200, Outage::LedgerReads),
        (200, Outage::EcsReads),
    ];
    for (often, outage) in outages {
        if state.rng.permille(often) {
            let at = state.rng.within(MINUTE, 80 * MINUTE);
            let lasts = state.rng.within(2 * MINUTE, 20 * MINUTE);
            state.later(at, Due::Outage(outage, true));
            state.later(at + lasts, Due::Outage(outage, false));
        }
    }
    let once = [
        (250, Due::Spot),
        (250, Due::Foreign),
        (100, Due::Foreign),
        (150, Due::ServiceDeleted),
        (120, Due::JournalDeleted),
        (120, Due::NewBuild),
        (200, Due::Expire),
        (150, Due::Deregister),
    ];
    for (often, due) in once {
        if state.rng.permille(often) {
            let at = state.rng.within(MINUTE, 90 * MINUTE);
            state.later(at, due);
        }
    }
    for _ in 0..state.rng.pick(&[0, 0, 1, 1, 2, 3]) {
        people::visit(state);
    }
}
