//! The deployer's simulation: its own loop, `reconcile::run`, over a world that goes wrong by seed, against an oracle.
//!
//! A failing seed is printed; `LANDFALL_SEED=n cargo test -p deployer-lambda --test simulation one_seed -- --nocapture`
//! tells its story. `LANDFALL_SEEDS` sets how many are run.

mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use deployer::plan::{Rule, Rules};
use world::Fired;
use world::script::{Ran, Run, play};

fn seeds(otherwise: u64) -> u64 {
    std::env::var("LANDFALL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Plays all of them on all cores. The first violation by number, and what fired.
fn play_all(runs: u64, of: impl Fn(u64) -> Run + Sync) -> (Option<(u64, Ran)>, Fired) {
    let next = AtomicU64::new(0);
    let failed: Mutex<Option<(u64, Ran)>> = Mutex::new(None);
    let fired: Mutex<Fired> = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Fired::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs || failed.lock().expect("no thread panics with it").is_some() {
                        break;
                    }
                    let ran = play(of(seed));
                    for (what, times) in &ran.fired {
                        *own.entry(what).or_default() += times;
                    }
                    if ran.violation.is_some() {
                        let mut failed = failed.lock().expect("no thread panics with it");
                        if failed.as_ref().is_none_or(|(other, _)| *other > seed) {
                            *failed = Some((seed, ran));
                        }
                    }
                }
                let mut fired = fired.lock().expect("no thread panics with it");
                for (what, times) in own {
                    *fired.entry(what).or_default() += times;
                }
            });
        }
    });
    (
        failed.into_inner().expect("no thread panics with it"),
        fired.into_inner().expect("no thread panics with it"),
    )
}

fn told(seed: u64, run: Run) -> String {
    let ran = play(Run { log: true, ..run });
    let log = ran.log;
    let from = log.len().saturating_sub(60);
    format!("seed {seed}: {}\n{}\n", ran.violation.unwrap_or_default(), log[from..].join("\n"))
}

#[test]
fn whatever_goes_wrong_the_newest_good_release_runs_in_the_end() {
    let (failed, fired) = play_all(seeds(10_000), Run::of);
    if let Some((seed, _)) = failed {
        panic!("{}LANDFALL_SEED={seed}", told(seed, Run::of(seed)));
    }
    println!("{fired:#?}");
}

#[test]
fn every_kind_of_fault_really_fires() {
    let (failed, fired) = play_all(1_500, Run::of);
    assert!(failed.is_none());
    for kind in [
        "call landed late",
        "command carried out",
        "denied",
        "event doubled",
        "event late",
        "event lost",
        "foreign StopServiceDeployment",
        "foreign UpdateService",
        "image expired",
        "image retagged",
        "invocation died",
        "invocation ran out of time",
        "invocations at the same time",
        "journal deleted",
        "new templates",
        "outage",
        "race lost",
        "read failed",
        "read in an outage",
        "reply lost",
        "request lost",
        "revision deregistered",
        "rollback typed while ECS goes back",
        "service deleted by hand",
        "spot interruption",
        "throttled",
    ] {
        assert!(fired.get(kind).is_some_and(|times| *times > 0), "{kind} never fires: {fired:#?}");
    }
}

#[test]
fn the_same_seed_twice_gives_the_same_log() {
    let mut lines = 0;
    for seed in 0..30 {
        let run = Run { log: true, ..Run::of(seed) };
        let (a, b) = (play(run), play(run));
        lines += a.log.len();
        assert_eq!((a.log, a.end), (b.log, b.end), "seed {seed}");
    }
    assert!(lines > 3_000, "too little happens: {lines} lines");
}

#[test]
fn every_call_made_twice_ends_as_if_it_were_made_once() {
    let mut doubled = 0;
    for seed in 0..400 {
        // In any world the oracle holds; where it does not matter who comes first, the end is the same.
        let any = play(Run { twice: true, ..Run::of(seed) });
        assert_eq!(any.violation, None, "seed {seed}");
        let gentle = Run { gentle: true, ..Run::of(seed) };
        let (once, twice) = (play(gentle), play(Run { twice: true, ..gentle }));
        assert_eq!(twice.violation, None, "seed {seed}");
        doubled += twice.fired.get("call made twice").copied().unwrap_or_default();
        assert_eq!(once.end, twice.end, "seed {seed}");
    }
    assert!(doubled > 4_000, "only {doubled} calls were made twice");
}

#[test]
fn a_thousand_idle_reconciles_register_nothing_and_write_nothing() {
    let shared = world::Shared::new(1);
    let made = world::images::Made::new(1, "v1.0.0", world::images::Behaviour::Good);
    shared.lock().later(world::SECOND, world::calendar::Due::Push(made));
    shared.lock().later(world::SECOND, world::calendar::Due::Schedule);
    let mut sim = world::executor::Sim::new(shared.clone());
    sim.run_until(world::START + world::HOUR);
    assert_eq!(world::oracle::unsettled(&shared.lock()), None);
    let counts =
        |state: &world::State| (state.registered, state.updates, state.bodies_written, state.notices);
    let before = counts(&shared.lock());
    assert_eq!((before.0, before.1), (1, 0), "it was registered and created, and never updated");
    for _ in 0..1_000 {
        let outcome = sim.reconcile().expect("everything can be read");
        assert_eq!(outcome.decisions.len(), 1);
    }
    assert_eq!(counts(&shared.lock()), before);
}

/// What breaks when this rule does not hold: the first seed of so many.
fn without(rule: Rule) -> (u64, String) {
    let rules = Rules::without(rule);
    let (failed, _) = play_all(RULE_SEEDS, |seed| Run { rules, ..Run::of(seed) });
    let (seed, ran) =
        failed.unwrap_or_else(|| panic!("{rule:?} is for nothing: {RULE_SEEDS} seeds hold without it"));
    (seed, ran.violation.unwrap_or_default())
}

const RULE_SEEDS: u64 = 10_000;

#[test]
fn each_of_the_ten_rules_taken_away_breaks_something() {
    for rule in Rule::ALL {
        let (seed, violation) = without(rule);
        println!("without {rule:?}, seed {seed}: {violation}");
    }
}

#[test]
fn one_seed() {
    let seed = std::env::var("LANDFALL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let ran = play(Run { log: true, ..Run::of(seed) });
    println!("{}\n{}", ran.log.join("\n"), ran.end);
    assert_eq!(ran.violation, None, "seed {seed}");
}

/// How often each violation comes, with the first seed of each: where to begin after a change.
#[test]
#[ignore = "for people: it only tells"]
fn survey() {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for seed in 0..seeds(1_000) {
        if let Some(violation) = play(Run::of(seed)).violation {
            let kind: String =
                violation.chars().filter(|c| !c.is_ascii_digit() && !"abcdef".contains(*c)).collect();
            let (times, _) = kinds.entry(kind).or_insert((0, seed));
            *times += 1;
        }
    }
    for (kind, (times, seed)) in kinds {
        println!("{times} times, first seed {seed}: {kind}");
    }
}
