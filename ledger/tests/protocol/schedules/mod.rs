//! Seeded schedules over the real code: whatever interferes, the invariants hold in the end.
//!
//! Order: every call to the store is a point where another process may go first, the call may be lost, or the
//! caller may die. `world` picks what happens next, `processes` is what worker and deployer do, `judge` looks at
//! the store alone.

mod judge;
mod processes;
mod world;

use std::collections::BTreeMap;

use world::{Outcome, run};

/// How many seeds the property is tried on, unless `LANDFALL_SEEDS` says otherwise: 15 s on two idle cores.
const SEEDS: u64 = 2_000;

/// Says which seed it was when anything below panics.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}: paste it into `one_seed`", self.0);
        }
    }
}

fn run_checked(seed: u64) -> Outcome {
    let _announce = Announce(seed);
    let outcome = run(seed);
    if let Some(violation) = &outcome.violation {
        panic!("seed {seed}: {violation}\n{}", outcome.log.join("\n"));
    }
    outcome
}

/// Runs many seeds on all cores; adds up what happened.
fn run_many(seeds: std::ops::Range<u64>) -> BTreeMap<&'static str, u64> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut total = BTreeMap::new();
    std::thread::scope(|scope| {
        let share = |first| {
            let seeds = seeds.clone();
            scope.spawn(move || {
                let mut tally: BTreeMap<&'static str, u64> = BTreeMap::new();
                for seed in seeds.skip(first).step_by(threads) {
                    for (what, count) in run_checked(seed).tally {
                        *tally.entry(what).or_default() += count;
                    }
                }
                tally
            })
        };
        let shares: Vec<_> = (0..threads).map(share).collect();
        for share in shares {
            for (what, count) in share.join().unwrap() {
                *total.entry(what).or_default() += count;
            }
        }
    });
    total
}

/// Everything that the schedules mean to provoke did happen: a simulator can be deterministic and useless.
fn assert_all_happened(tally: &BTreeMap<&'static str, u64>) {
    for what in [
        "request lost",
        "reply lost",
        "request late",
        "conflict",
        "paused",
        "crash",
        "late put landed",
        "slow completion landed",
        "slow completion brought a deleted object back",
        "appended",
        "opened",
        "fenced",
        "swept",
        "rejected",
        "rejected although named",
        "in doubt",
        "found again after a doubt",
        "rewound",
        "rewound twice",
        "sweep named",
        "superseded object removed",
    ] {
        assert!(tally.get(what).is_some_and(|count| *count > 0), "`{what}` never happened: {tally:#?}");
    }
}

#[test]
fn any_interleaving_keeps_every_offset_in_exactly_one_place() {
    let seeds = std::env::var("LANDFALL_SEEDS").ok().map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let tally = run_many(0..seeds);
    println!("{seeds} seeds: {tally:#?}");
    assert_all_happened(&tally);
}

/// The place to paste a failing seed into.
#[test]
fn one_seed() {
    let outcome = run_checked(0);
    println!("{}", outcome.log.join("\n"));
}

#[test]
fn the_same_seed_twice_is_the_same_run() {
    for seed in 0..20 {
        let (one, two) = (run_checked(seed), run_checked(seed));
        assert!(one.log.len() > 20, "a run of seed {seed} does something");
        assert_eq!(one.log, two.log, "seed {seed}");
    }
    assert_ne!(run_checked(0).log, run_checked(1).log);
}
