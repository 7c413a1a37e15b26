//! The field: what users of other systems suffer from when they deploy a singleton to ECS. Each pain has a test of its
//! name here, over the simulated world; "a cloned task definition loses fields, or new keys break registration" has its
//! own beside the templates, in `render`.

#[path = "simulation/world/mod.rs"]
mod world;

use deployer::journal::{Journal, Verdict};
use deployer::release::ReleaseId;
use world::calendar::Due;
use world::executor::Sim;
use world::images::{Behaviour, Made};
use world::{MINUTE, Outage, SECOND, SERVICE, START, Shared, State, oracle, templates};

/// A quiet world in which these images are pushed at these minutes.
fn told(pushes: &[(i64, &str, Behaviour)]) -> Sim {
    told_with(pushes, |_| {})
}

fn told_with(pushes: &[(i64, &str, Behaviour)], change: impl FnOnce(&mut State)) -> Sim {
    let shared = Shared::new(7);
    {
        let mut state = shared.lock();
        state.log = Some(Vec::new());
        state.later(SECOND, Due::Schedule);
        for (number, (minute, tag, behaviour)) in (1..).zip(pushes) {
            state.later(minute * MINUTE + SECOND, Due::Push(Made::new(number, tag, *behaviour)));
        }
        change(&mut state);
    }
    Sim::new(shared)
}

fn run(sim: &mut Sim, minutes: i64) {
    sim.run_until(START + minutes * MINUTE);
    let violation = sim.violation();
    assert_eq!(violation, None, "{}", sim.log().join("\n"));
}

/// The release that the n-th push makes.
fn release(number: u64) -> ReleaseId {
    templates::release_of(0, &world::images::digest(number))
}

fn journal(sim: &Sim) -> Journal {
    let state = sim.shared.lock();
    let (journal, _) = state.journal.as_ref().expect("there is a journal");
    (**journal).clone()
}

fn verdict(sim: &Sim, number: u64) -> Option<Verdict> {
    journal(sim).record(&release(number)).map(|record| record.verdict)
}

fn updates(sim: &Sim) -> u64 {
    sim.shared.lock().updates
}

fn notices(sim: &Sim) -> Vec<String> {
    let log = sim.log();
    log.iter().filter_map(|line| line.split_once("notice: shop: ").map(|(_, text)| text.to_owned())).collect()
}

/// How often the service was pointed at a revision of that number.
fn deployed(sim: &Sim, revision: u32) -> usize {
    let needle = format!("shop-worker:{revision}\" tasks");
    sim.log().iter().filter(|line| line.contains("UpdateService") && line.contains(&needle)).count()
}

const GOOD: Behaviour = Behaviour::Good;

#[test]
fn a_rollback_is_never_reported_as_success_nor_a_superseded_deployment_as_a_rollback() {
    let mut sim = told(&[(0, "v1.0.0", GOOD), (30, "v1.1.0", Behaviour::Crashes(70))]);
    run(&mut sim, 60);
    let said = notices(&sim);
    assert!(said.iter().any(|it| it.contains("v1.1.0 is being rolled back")), "{said:?}");
    assert!(!said.iter().any(|it| it.contains("v1.1.0 is healthy")), "{said:?}");
    assert_eq!(verdict(&sim, 2), Some(Verdict::Rejected));
    // Superseded by a person's own deployment: told as that, and nothing is rejected.
    let mut sim = told(&[(0, "v1.0.0", GOOD), (30, "v1.1.0", GOOD)]);
    run(&mut sim, 31);
    {
        let mut state = sim.shared.lock();
        let first = state.ecs.definitions().list("shop-worker", true)[0].to_owned();
        let request = serde_json::json!({ "service": SERVICE, "taskDefinition": first });
        let at = state.ms();
        state.ecs.call("UpdateService", &request, at).expect("ECS takes it");
        state.oracle.foreign(at as i64);
    }
    run(&mut sim, 90);
    let said = notices(&sim);
    assert!(said.iter().any(|it| it.contains("was taken off the service by somebody")), "{said:?}");
    assert!(!said.iter().any(|it| it.contains("rolled back")), "{said:?}");
    assert!(sim.shared.lock().ledger.is_empty());
}

#[test]
fn a_rollback_never_goes_to_a_revision_that_never_worked() {
    let pushes = [
        (0, "v1.0.0", GOOD),
        (30, "v1.1.0", Behaviour::NeverHealthy),
        (60, "v1.2.0", Behaviour::CrashesLater(70)),
    ];
    let mut sim = told(&pushes);
    run(&mut sim, 120);
    assert_eq!(journal(&sim).current, Some(release(1)), "not the next lower revision");
    assert_eq!((verdict(&sim, 2), verdict(&sim, 3)), (Some(Verdict::Rejected), Some(Verdict::Rejected)));
    assert_eq!(deployed(&sim, 2), 1, "the one between was only tried itself");
}

#[test]
fn the_watcher_does_not_deploy_the_bad_image_again_after_the_rollback() {
    let mut sim = told(&[(0, "v1.0.0", GOOD), (30, "v1.1.0", Behaviour::CrashesLater(70))]);
    sim.shared
        .lock()
        .later(90 * MINUTE, Due::Retag { digest: world::images::digest(2), tag: "v1.9.0".to_owned() });
    run(&mut sim, 12 * 60);
    assert_eq!(deployed(&sim, 2), 1, "in half a day, and under a newer tag");
    assert_eq!(journal(&sim).current, Some(release(1)));
}

#[test]
fn an_older_build_does_not_win_a_race() {
    let pushes = [(0, "v1.0.0", GOOD), (30, "v1.2.0", GOOD), (31, "v1.1.0", GOOD), (70, "v1.1.1", GOOD)];
    let mut sim = told(&pushes);
    run(&mut sim, 150);
    assert_eq!(journal(&sim).current, Some(release(2)));
    assert_eq!((verdict(&sim, 3), verdict(&sim, 4)), (None, None));
}

#[test]
fn newer_images_for_other_machines_hide_no_good_one() {
    let mut sim = told_with(&[(0, "v1.0.0", GOOD)], |state| {
        // The five newest cannot run here; the sixth can.
        for (number, tag) in (2..).zip(["v1.7.0", "v1.6.0", "v1.5.0", "v1.4.0", "v1.3.0", "v1.2.0"]) {
            let image = Made::new(number, tag, GOOD).multi(number, tag == "v1.2.0");
            state.later(30 * MINUTE + SECOND, Due::Push(image));
        }
    });
    run(&mut sim, 90);
    assert_eq!(journal(&sim).current, Some(release(7)), "{}", sim.log().join("\n"));
    assert_eq!((2..7).filter_map(|number| verdict(&sim, number)).count(), 0, "none of the others was tried");
}

#[test]
fn a_crash_loop_trips_within_minutes() {
    let mut sim = told(&[(0, "v1.0.0", GOOD), (30, "v1.1.0", Behaviour::Crashes(1))]);
    run(&mut sim, 40);
    let journal = journal(&sim);
    let record = journal.record(&release(2)).expect("it was tried");
    assert_eq!((record.verdict, journal.current.as_ref()), (Verdict::Rejected, Some(&release(1))));
    let took = record.verdict_at.expect("there is a verdict").since_ms(record.picked_at);
    assert!(took < 5 * MINUTE, "{took} ms");
    let starts = sim.log().iter().filter(|line| line.contains("Crashes(1))")).count();
    assert!(starts <= 3, "{starts} tasks were started");
}

#[test]
fn a_timeout_is_not_taken_for_failure() {
    // Pulls do not work for two hours: the rollout is slow, and told, but the release is not at fault.
    let mut sim = told_with(&[(0, "v1.0.0", GOOD), (30, "v1.1.0", GOOD)], |state| {
        state.later(29 * MINUTE, Due::Outage(Outage::Pulls, true));
        state.later(150 * MINUTE, Due::Outage(Outage::Pulls, false));
    });
    run(&mut sim, 145);
    assert!(matches!(verdict(&sim, 2), Some(Verdict::Blocked | Verdict::Proving)), "{:?}", verdict(&sim, 2));
    assert!(sim.shared.lock().ledger.is_empty(), "nothing is rejected");
    run(&mut sim, 5 * 60);
    assert_eq!(journal(&sim).current, Some(release(2)), "it is tried again, and proves itself");
}

#[test]
fn infrastructure_code_that_puts_the_old_image_back_is_put_right() {
    let mut sim = told(&[(0, "v1.0.0", GOOD), (30, "v1.1.0", GOOD)]);
    run(&mut sim, 60);
    {
        let mut state = sim.shared.lock();
        let first = state.ecs.definitions().list("shop-worker", true)[0].to_owned();
        let request = serde_json::json!({ "service": SERVICE, "taskDefinition": first });
        let at = state.ms();
        state.ecs.call("UpdateService", &request, at).expect("ECS takes it");
    }
    run(&mut sim, 80);
    assert_eq!(oracle::unsettled(&sim.shared.lock()), None, "the newer one runs again");
    assert!(
        notices(&sim).iter().any(|it| it.contains("shop-worker:1") || it.contains("somebody")),
        "{:?}",
        notices(&sim)
    );
}

#[test]
fn a_rollbacks_target_that_is_gone_is_no_target() {
    let pushes = [(0, "v1.0.0", GOOD), (30, "v1.1.0", GOOD), (60, "v1.2.0", Behaviour::CrashesLater(70))];
    // The newest proven one is deregistered: the one before it is gone to.
    let mut sim = told(&pushes);
    run(&mut sim, 59);
    {
        let mut state = sim.shared.lock();
        let second = state.ecs.definitions().list("shop-worker", true)[1].to_owned();
        let request = serde_json::json!({ "taskDefinition": second });
        let at = state.ms();
        state.ecs.call("DeregisterTaskDefinition", &request, at).expect("ECS takes it");
    }
    run(&mut sim, 120);
    let went = journal(&sim);
    assert_eq!(went.record(&release(3)).map(|record| record.verdict), Some(Verdict::Rejected));
    let target = went.releases.iter().find(|record| record.release == release(1));
    assert_eq!(target.map(|record| record.verdict), Some(Verdict::Healthy));
    assert!(sim.log().iter().any(|line| line.contains("go back to shop-worker:1 (v1.0.0)")));
    // Images that are proven are tagged, so that the lifecycle keeps them.
    let state = sim.shared.lock();
    let kept = |image: &Made| image.tags.iter().any(|tag| tag.starts_with("landfall-keep-"));
    assert!(state.images.iter().take(2).all(kept));
}

#[test]
fn consumer_deployments_neither_duplicate_nor_replay_data() {
    // What keeps data right is the ledger: a release that is taken back is rejected there before the service moves, so
    // that nothing it still writes counts; and no deployment sets the number of tasks.
    let mut sim = told(&[(0, "v1.0.0", GOOD), (30, "v1.1.0", Behaviour::CrashesLater(70))]);
    run(&mut sim, 60);
    let log = sim.log();
    let at = |needle: &str| log.iter().position(|line| line.contains(needle));
    let rejected = at("the ledger rejects").expect("it is rejected");
    let moved =
        log.iter().position(|line| line.contains("UpdateService") && line.contains("shop-worker:1\" tasks"));
    assert!(moved.is_some_and(|moved| rejected < moved), "{rejected} {moved:?}");
    let updates = log.iter().filter(|line| line.contains("UpdateService ") && line.contains("force"));
    assert!(updates.clone().count() > 1 && updates.clone().all(|line| line.contains("tasks null")));
}

#[test]
fn a_registry_outage_does_not_read_as_no_newer_image_and_downgrades_nothing() {
    let mut sim = told_with(&[(0, "v1.0.0", GOOD), (30, "v1.1.0", GOOD)], |state| {
        state.later(60 * MINUTE, Due::Outage(Outage::RegistryReads, true));
        state.later(90 * MINUTE, Due::Outage(Outage::RegistryReads, false));
    });
    run(&mut sim, 59);
    let before = updates(&sim);
    run(&mut sim, 100);
    assert_eq!((updates(&sim), journal(&sim).current), (before, Some(release(2))));
    assert!(sim.log().iter().any(|line| line.contains("the repository could not be read")));
    // And when it forgot the newer image altogether.
    sim.shared.lock().images[1].gone = true;
    run(&mut sim, 4 * 60);
    assert_eq!((updates(&sim), journal(&sim).current), (before, Some(release(2))));
}
