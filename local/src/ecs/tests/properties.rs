//! What holds for every run: thousands of seeded worlds, with every combination of the readings of AWS.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn worlds() -> u64 {
    std::env::var("LANDFALL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// Percentages with which a deployment of `desired` tasks can move.
fn percents(rng: &mut StdRng, desired: u32) -> (u32, u32) {
    loop {
        let (minimum, maximum) = (rng.random_range(0..=100), rng.random_range(100..=250));
        let fewest = (desired * minimum).div_ceil(100);
        let most = desired * maximum / 100;
        if most > fewest && (most > desired || fewest < desired) && (minimum, maximum) != (100, 100) {
            return (minimum, maximum);
        }
    }
}

fn well(rng: &mut StdRng) -> Act {
    Act {
        pull_ms: rng.random_range(0..30) * SECOND,
        boot_ms: rng.random_range(0..10) * SECOND,
        term_ms: rng.random_bool(0.8).then(|| rng.random_range(0..25) * SECOND),
        checks: if rng.random_bool(0.5) { |_| true } else { |nth| nth > 2 },
        ..Act::default()
    }
}

fn anyhow(rng: &mut StdRng) -> Act {
    let act = well(rng);
    match rng.random_range(0..5) {
        0 => Act { exits: Some((rng.random_range(0..60) * SECOND, rng.random_range(0..80))), ..act },
        1 => Act { fails_to_start: Some((StartFailure::Resources, "CannotPullContainerError")), ..act },
        2 => Act { fails_to_start: Some((StartFailure::Placement, "Capacity is unavailable")), ..act },
        3 => Act { checks: |nth| nth.is_multiple_of(7), ..act },
        _ => act,
    }
}

#[test]
fn a_good_rollout_converges_within_its_limits() {
    for seed in 0..worlds() {
        let mut rng = StdRng::seed_from_u64(seed);
        let variants = Variants { stopping_takes_room: true, ..Variants::pick(rng.random()) };
        let desired = rng.random_range(1..=6);
        let (minimum, maximum) = percents(&mut rng, desired);
        let mut w = World::up_with(variants, "one", desired, percent(minimum, maximum));
        let plain = if rng.random_bool(0.5) { "plain-two" } else { "two" };
        let mut of_tasks = StdRng::seed_from_u64(seed + 1);
        let two = w.define(plain, move |_| well(&mut of_tasks));
        w.deploy(&two);
        w.until_settled();
        assert_eq!(w.rollouts()[0]["status"], "SUCCESSFUL", "seed {seed}");
        assert_eq!(w.running(), vec![plain; desired as usize], "seed {seed}");
        let (fewest, most) = ((desired * minimum).div_ceil(100), desired * maximum / 100);
        assert!(w.most <= most.max(desired), "seed {seed}: {} tasks, {most} allowed", w.most);
        assert!(w.fewest >= fewest.min(desired), "seed {seed}: {} healthy, {fewest} wanted", w.fewest);
    }
}

/// Deploys anything at any time, with alarms, stops and scaling; then one good definition.
fn chaos(seed: u64) -> World {
    let mut rng = StdRng::seed_from_u64(seed);
    let variants = Variants::pick(rng.random());
    let stopping_takes_room = variants.stopping_takes_room;
    let mut w = World::with(variants);
    let (minimum, maximum) = percents(&mut rng, 1);
    let configuration = both(
        both(percent(minimum, maximum), breaker(rng.random_bool(0.7))),
        json!({
            "bakeTimeInMinutes": rng.random_range(0..3),
            "alarms": { "enable": true, "rollback": rng.random_bool(0.5), "alarmNames": ["damage"] },
        }),
    );
    let first = w.good("one");
    w.create(&first, 1, configuration);
    let mut fates = StdRng::seed_from_u64(seed + 1);
    for round in 0..rng.random_range(2..8) {
        w.run_for(rng.random_range(0..300) * SECOND);
        match rng.random_range(0..6) {
            0 => w.ecs.set_alarm("damage", true, w.now),
            1 => w.ecs.set_alarm("damage", false, w.now),
            2 => {
                let under_way = !w.s().rollouts.last().unwrap().status.is_final();
                if under_way {
                    w.stop_rollout();
                }
            }
            3 => drop(w.update(json!({ "forceNewDeployment": true }))),
            _ => {
                let mut fate = StdRng::seed_from_u64(fates.random());
                let next = w.define(&format!("round-{round}"), move |_| anyhow(&mut fate));
                w.deploy(&next);
            }
        }
        if stopping_takes_room {
            assert!(w.most <= (maximum / 100).max(1), "seed {seed}: {} tasks", w.most);
        }
        assert!(w.most_live <= (maximum / 100).max(1), "seed {seed}: {} live tasks", w.most_live);
        check_shape(&w, seed);
    }
    w.run_for(rng.random_range(0..600) * SECOND);
    w
}

/// What is true of every service at every time.
fn check_shape(w: &World, seed: u64) {
    let s = w.s();
    let under_way =
        s.rollouts.iter().filter(|it| matches!(it.status, Status::InProgress | Status::RollbackInProgress));
    assert!(under_way.count() <= 1, "seed {seed}: two service deployments at a time");
    for task in &s.tasks {
        let known = s.deployments.iter().any(|it| it.id == task.deployment);
        assert!(known, "seed {seed}: task {} of no deployment\n{}", task.id.0, w.log.join("\n"));
    }
    let primary = s.primary();
    if primary.state == RolloutState::Completed {
        assert_eq!(s.last_completed, Some((primary.id, primary.revision)), "seed {seed}");
    }
    for it in &s.rollouts {
        assert_eq!(it.finished_at.is_some(), it.status.is_final(), "seed {seed}: {:?}", it.status);
    }
}

#[test]
fn after_any_history_a_good_definition_converges() {
    let (mut rolled_back, mut stopped, mut failed) = (0, 0, 0);
    for seed in 0..worlds() {
        let mut w = chaos(seed);
        let count = |of: Status| w.s().rollouts.iter().filter(|it| it.status == of).count();
        rolled_back += count(Status::RollbackSuccessful);
        stopped += count(Status::Stopped);
        failed += count(Status::RollbackFailed);
        w.ecs.set_alarm("damage", false, w.now);
        let good = w.good("good");
        w.deploy(&good);
        w.until_settled();
        assert_eq!(w.rollouts()[0]["status"], "SUCCESSFUL", "seed {seed}:\n{}", w.log.join("\n"));
        assert_eq!(w.running(), ["good"], "seed {seed}");
        w.run_for(30 * MINUTE);
        check_shape(&w, seed);
        assert_eq!((w.running(), w.s().deployments.len()), (vec!["good".to_owned()], 1), "seed {seed}");
    }
    // A world in which nothing goes wrong proves nothing.
    let seeds = worlds() as usize;
    assert!(
        rolled_back * 10 > seeds && stopped * 10 > seeds && failed * 50 > seeds,
        "{rolled_back} {stopped} {failed}"
    );
}

#[test]
fn the_same_inputs_give_the_same_log() {
    let mut lines = 0;
    for seed in 0..20 {
        let (a, b) = (chaos(seed), chaos(seed));
        lines += a.log.len();
        assert_eq!(a.log, b.log, "seed {seed}");
        let json = |w: &World| w.events.iter().map(|it| it.json(&w.ecs)).collect::<Vec<_>>();
        assert_eq!(json(&a), json(&b), "seed {seed}");
    }
    assert!(lines > 500, "too little happened: {lines} lines");
}

#[test]
fn nothing_happens_between_the_times_that_are_foretold() {
    for seed in 0..20 {
        let mut w = chaos(seed);
        for _ in 0..20 {
            let Some(next) = w.next().filter(|next| *next > w.now + 1) else { continue };
            let between = w.now + (next - w.now) / 2;
            assert!(
                w.ecs.step(between).is_empty(),
                "seed {seed}: something at {between}, foretold was {next}"
            );
            w.now = next;
            w.step();
        }
    }
}

#[test]
fn one_of_all_variants_is_picked_by_the_bits() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut seen = [[0_u32; 2]; 4];
    let mut ways = [0_u32; 3];
    for _ in 0..1000 {
        let it = Variants::pick(rng.random());
        for (at, is) in [
            it.running_digest == Digest::Child,
            it.current_lag_ms > 0,
            it.defaults_filled,
            it.config_applies == Applies::AtOnce,
        ]
        .into_iter()
        .enumerate()
        {
            seen[at][usize::from(is)] += 1;
        }
        ways[it.rollback as usize] += 1;
    }
    assert!(seen.iter().flatten().all(|count| *count > 400), "{seen:?}");
    assert!(ways.iter().all(|count| *count > 250), "{ways:?}");
}
