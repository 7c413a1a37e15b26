//! Breaker, alarms, rollbacks, and what there is to roll back to.

use super::*;

fn alarms(rollback: bool) -> Value {
    json!({ "alarms": { "enable": true, "rollback": rollback, "alarmNames": ["damage", "progress"] } })
}

#[test]
fn after_two_failures_the_breaker_trips_and_goes_back_to_what_completed_last() {
    for way in [Rollback::NewIdSameTasks, Rollback::NewIdNewTasks, Rollback::OldId] {
        let variants = Variants { rollback: way, ..Variants::default() };
        let mut w = World::up_with(variants, "one", 1, both(percent(100, 200), breaker(true)));
        let (good, was) = (w.describe()["taskDefinition"].clone(), w.s().primary().id);
        let bad = w.define("bad", |_| crashes());
        w.deploy(&bad);
        w.run_until("the breaker trips", |w| w.s().primary().is_rollback);
        assert_eq!(w.started("bad"), 2, "{way:?}");
        let rollout = w.rollouts()[0].clone();
        assert_eq!(rollout["status"], "ROLLBACK_IN_PROGRESS");
        assert_eq!(
            rollout["deploymentCircuitBreaker"],
            json!({ "status": "TRIGGERED", "failureCount": 2, "threshold": 2 })
        );
        w.until_settled();
        assert_eq!((w.running(), w.fewest), (vec!["one".to_owned()], 1), "{way:?}");
        assert_eq!(w.rollouts()[0]["status"], "ROLLBACK_SUCCESSFUL");
        let described = w.describe();
        assert_eq!(described["taskDefinition"], good, "{way:?}");
        assert_eq!(described["deployments"][0]["rolloutState"], "COMPLETED");
        assert_eq!(w.s().primary().id == was, way == Rollback::OldId, "{way:?}");
        assert_eq!(w.started("one"), if way == Rollback::NewIdNewTasks { 2 } else { 1 });
    }
}

#[test]
fn a_rollback_makes_no_new_revision_and_no_new_service_deployment() {
    let mut w = World::up("one", 1, breaker(true));
    let first = w.rollouts()[0]["targetServiceRevision"]["arn"].clone();
    let bad = w.define("bad", |_| crashes());
    w.deploy(&bad);
    let (revisions, rollouts) = (w.s().revisions.len(), w.s().rollouts.len());
    w.until_settled();
    assert_eq!((w.s().revisions.len(), w.s().rollouts.len()), (revisions, rollouts));
    let rollback = w.rollouts()[0]["rollback"].clone();
    assert_eq!(rollback["serviceRevisionArn"], first);
    assert!(
        rollback["reason"].as_str().unwrap().starts_with("ECS deployment circuit breaker: rolling back to")
    );
    assert_eq!(w.describe()["currentServiceRevisions"][0]["arn"], first);
}

#[test]
fn with_nothing_completed_the_deployment_stalls_and_starts_no_more_tasks() {
    for (stall, status) in [(Stall::Final, "ROLLBACK_FAILED"), (Stall::InProgress, "IN_PROGRESS")] {
        let mut w = World::with(Variants { stall, ..Variants::default() });
        let bad = w.define("bad", |_| crashes());
        w.create(&bad, 1, breaker(true));
        w.run_for(60 * MINUTE);
        assert_eq!(w.started("bad"), 2);
        let described = w.describe();
        assert_eq!(described["deployments"][0]["rolloutState"], "FAILED");
        assert_eq!(described["deployments"][0]["failedTasks"], 2);
        assert_eq!(w.rollouts()[0]["status"], status);
        let good = w.good("good");
        w.deploy(&good);
        w.until_settled();
        assert_eq!(
            (w.running(), w.rollouts()[0]["status"].clone()),
            (vec!["good".to_owned()], json!("SUCCESSFUL"))
        );
    }
}

#[test]
fn without_rollback_the_deployment_fails_and_the_old_task_runs_on() {
    let mut w = World::up("one", 1, breaker(false));
    let bad = w.define("bad", |_| crashes());
    w.deploy(&bad);
    w.run_for(60 * MINUTE);
    assert_eq!((w.started("bad"), w.running()), (2, vec!["one".to_owned()]));
    let described = w.describe();
    let states: Vec<_> =
        described["deployments"].as_array().unwrap().iter().map(|it| it["rolloutState"].clone()).collect();
    assert_eq!(states, ["FAILED", "COMPLETED"]);
    assert_eq!(w.rollouts()[0]["status"], "STOPPED");
}

#[test]
fn without_a_breaker_ecs_tries_for_ever() {
    let mut w = World::up("one", 1, json!({}));
    let bad = w.define("bad", |_| crashes());
    w.deploy(&bad);
    w.run_for(60 * MINUTE);
    assert!(w.started("bad") > 100, "{}", w.started("bad"));
    assert_eq!((w.s().primary().state, w.fewest), (RolloutState::InProgress, 1));
}

#[test]
fn a_task_whose_health_check_never_passes_is_a_failure_when_it_is_stopped() {
    let mut w = World::up("one", 1, breaker(true));
    let sick = w.define("sick", |_| never_passes());
    w.deploy(&sick);
    w.until_settled();
    assert_eq!((w.started("sick"), w.running(), w.fewest), (2, vec!["one".to_owned()], 1));
    let sick: Vec<&Task> = w.s().stopped.iter().filter(|task| w.image(task.definition) == "sick").collect();
    assert_eq!(sick.len(), 2);
    for task in sick {
        assert_eq!(task.stopped_reason, Some(arc("Task failed container health checks")));
        assert_eq!((task.stop_code, task.exit_code), (Some(StopCode::ServiceSchedulerInitiated), Some(0)));
        // 30 s to start, in which two checks do not count; then three do.
        assert_eq!(task.stopping_at.unwrap() - task.started_at.unwrap(), 50 * SECOND);
    }
}

#[test]
fn tasks_that_cannot_be_pulled_or_placed_count_as_failed_to_start() {
    for (what, reason, counts) in [
        (StartFailure::Resources, "CannotPullContainerError: not found", true),
        (StartFailure::Placement, "Capacity is unavailable at this time", true),
        (StartFailure::Placement, "Capacity is unavailable at this time", false),
    ] {
        let variants = Variants { placement_counts: counts, ..Variants::default() };
        let mut w = World::up_with(variants, "one", 1, breaker(true));
        let bad = w.define("bad", move |_| Act { fails_to_start: Some((what, reason)), ..Act::default() });
        w.deploy(&bad);
        w.run_for(20 * MINUTE);
        assert_eq!(w.started("bad") == 2, counts, "{}", w.started("bad"));
        let described =
            w.s().stopped.iter().filter(|it| it.stop_code == Some(StopCode::TaskFailedToStart)).count();
        assert_eq!(described, if what == StartFailure::Resources { 2 } else { 0 });
        let told = w.names_of_events().iter().filter(|it| *it == "SERVICE_TASK_PLACEMENT_FAILURE").count();
        assert_eq!(told > 0, what == StartFailure::Placement);
    }
}

#[test]
fn tasks_that_never_run_are_started_ever_more_seldom_and_those_that_crash_are_not() {
    let mut w = World::up("one", 1, json!({}));
    let bad =
        w.define("bad", |_| Act { fails_to_start: Some((StartFailure::Resources, "no")), ..Act::default() });
    w.deploy(&bad);
    w.run_for(60 * MINUTE);
    assert!((8..=10).contains(&w.started("bad")), "{}", w.started("bad"));
    assert!(w.names_of_events().contains(&"SERVICE_TASK_START_IMPAIRED".to_owned()));
    let waits: Vec<Ms> = {
        let started: Vec<Ms> = w.s().stopped.iter().map(|task| task.created_at).collect();
        started.windows(2).map(|pair| pair[1] - pair[0]).collect()
    };
    assert!(waits.is_sorted(), "{waits:?}");
    let good = w.good("good");
    w.deploy(&good);
    w.run_for(5 * SECOND);
    assert_eq!(w.started("good"), 1, "a new definition does not wait");
}

#[test]
fn a_task_that_runs_ends_the_growing_wait() {
    let mut w = World::up("one", 1, json!({}));
    let fails = Act { fails_to_start: Some((StartFailure::Resources, "no")), ..Act::default() };
    let bad = w.define("bad", move |nth| if nth == 4 { crashes() } else { fails.clone() });
    w.deploy(&bad);
    w.run_until("it was tried often", |w| w.started("bad") == 8);
    let created: Vec<Ms> = w.s().stopped.iter().map(|task| task.created_at).collect();
    let waits: Vec<Ms> = created.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 3 s to pull, then 10, 20, 40 and 80 s; the crash after 6 s waits 5, and the next failure 10 again.
    assert_eq!(waits, [13_000, 23_000, 43_000, 83_000, 11_000, 13_000]);
}

#[test]
fn a_healthy_task_resets_the_count_only_where_it_is_set_to() {
    // Of two tasks at a time every second one crashes, the others are well.
    let odd_ones_crash = |nth: u32| if nth.is_multiple_of(2) { crashes() } else { Act::default() };
    for (reset, trips) in [(true, false), (false, true)] {
        let mut configuration = both(percent(100, 200), breaker(true));
        configuration["deploymentCircuitBreaker"]["resetOnHealthyTask"] = json!(reset);
        configuration["deploymentCircuitBreaker"]["thresholdConfiguration"]["value"] = json!(4);
        let mut w = World::up("one", 4, configuration);
        let flaky = w.define("flaky", odd_ones_crash);
        w.deploy(&flaky);
        w.until_settled();
        assert_eq!(w.rollouts()[0]["status"] == "ROLLBACK_SUCCESSFUL", trips, "reset {reset}");
    }
}

#[test]
fn health_that_flaps_fails_a_baking_deployment_only_if_failures_add_up_in_the_bake() {
    // Healthy at once, unhealthy from the 4th check on.
    let flaps = |_| Act { checks: |nth| nth <= 3, ..Act::default() };
    for (reset, breaker_in_bake, trips) in [(true, true, false), (false, true, true), (false, false, false)] {
        let variants = Variants { breaker_in_bake, ..Variants::default() };
        let mut configuration = both(breaker(true), json!({ "bakeTimeInMinutes": 10 }));
        configuration["deploymentCircuitBreaker"]["resetOnHealthyTask"] = json!(reset);
        let mut w = World::up_with(variants, "one", 1, json!({}));
        let flapping = w.define("flapping", flaps);
        w.update(json!({ "taskDefinition": flapping, "deploymentConfiguration": configuration }));
        w.until_settled();
        assert!(w.started("flapping") >= 2);
        let went_back = w.rollouts()[0]["status"] == "ROLLBACK_SUCCESSFUL";
        assert_eq!(went_back, trips, "reset {reset}, breaker in bake {breaker_in_bake}");
    }
}

#[test]
fn an_exit_after_health_counts_only_in_one_reading() {
    let dies_late = |_| Act { exits: Some((MINUTE, 70)), ..Act::default() };
    for (late_exit_counts, trips) in [(true, true), (false, false)] {
        let variants = Variants { late_exit_counts, breaker_in_bake: true, ..Variants::default() };
        let mut w =
            World::up_with(variants, "one", 1, both(breaker(true), json!({ "bakeTimeInMinutes": 30 })));
        let late = w.define("late", dies_late);
        w.deploy(&late);
        w.run_for(20 * MINUTE);
        assert_eq!(w.started("late") == 2, trips, "{}", w.started("late"));
        assert_eq!(w.rollouts()[0]["status"] == "ROLLBACK_SUCCESSFUL", trips);
    }
}

#[test]
fn thresholds_are_counts_or_shares_of_the_desired_count() {
    use crate::ecs::settings::Threshold::{BoundedPercent, Count, UnboundedPercent};
    assert_eq!(Count(2).failures(100), 2);
    assert_eq!((BoundedPercent(50).failures(1), BoundedPercent(50).failures(9)), (3, 5));
    assert_eq!(BoundedPercent(50).failures(1000), 200);
    assert_eq!((UnboundedPercent(50).failures(1), UnboundedPercent(50).failures(1000)), (1, 500));
}

#[test]
fn without_a_threshold_three_failures_in_a_row_trip_the_breaker() {
    let mut w =
        World::up("one", 1, json!({ "deploymentCircuitBreaker": { "enable": true, "rollback": true } }));
    let bad = w.define("bad", |_| crashes());
    w.deploy(&bad);
    w.until_settled();
    assert_eq!(w.started("bad"), 3);
}

#[test]
fn an_alarm_fails_a_deployment_also_while_it_bakes() {
    for rollback in [true, false] {
        let mut w = World::up("one", 1, both(alarms(rollback), json!({ "bakeTimeInMinutes": 10 })));
        let two = w.good("two");
        w.deploy(&two);
        w.run_for(5 * MINUTE);
        assert_eq!(w.running(), ["two"]);
        w.ecs.set_alarm("damage", true, w.now);
        w.until_settled();
        let rollout = w.rollouts()[0].clone();
        assert_eq!(rollout["alarms"]["status"], "TRIGGERED");
        assert_eq!(rollout["alarms"]["triggeredAlarmNames"], json!(["damage"]));
        let (status, image) = if rollback { ("ROLLBACK_SUCCESSFUL", "one") } else { ("STOPPED", "two") };
        assert_eq!((rollout["status"].clone(), w.running()), (json!(status), vec![image.to_owned()]));
    }
}

#[test]
fn an_alarm_that_is_in_alarm_when_the_deployment_starts_is_ignored_for_that_deployment() {
    let mut w = World::up("one", 1, both(alarms(true), json!({ "bakeTimeInMinutes": 10 })));
    w.ecs.set_alarm("damage", true, w.now);
    let two = w.good("two");
    w.deploy(&two);
    w.run_for(2 * MINUTE);
    // It comes back, and is still ignored; another one is not.
    w.ecs.set_alarm("damage", false, w.now);
    w.run_for(MINUTE);
    w.ecs.set_alarm("damage", true, w.now);
    w.run_for(MINUTE);
    assert_eq!(w.s().primary().state, RolloutState::InProgress);
    w.ecs.set_alarm("progress", true, w.now);
    w.until_settled();
    assert_eq!(w.rollouts()[0]["status"], "ROLLBACK_SUCCESSFUL");
    assert_eq!(w.rollouts()[0]["alarms"]["triggeredAlarmNames"], json!(["progress"]));
}

#[test]
fn an_alarm_outside_a_deployment_and_one_of_another_name_do_nothing() {
    let mut w = World::up("one", 1, alarms(true));
    w.ecs.set_alarm("damage", true, w.now);
    w.run_for(10 * MINUTE);
    assert_eq!(w.s().primary().state, RolloutState::Completed);
    w.ecs.set_alarm("damage", false, w.now);
    let two = w.good("two");
    w.deploy(&two);
    w.run_for(SECOND);
    w.ecs.set_alarm("somebody else's", true, w.now);
    w.until_settled();
    assert_eq!(w.rollouts()[0]["status"], "SUCCESSFUL");
}

#[test]
fn a_deployment_can_be_stopped_on_request_also_with_rollback_off() {
    let mut w = World::up("one", 1, breaker(false));
    let two = w.define("two", |_| Act { pull_ms: 10 * MINUTE, ..Act::default() });
    w.deploy(&two);
    w.run_for(30 * SECOND);
    w.stop_rollout();
    assert_eq!(w.rollouts()[0]["status"], "ROLLBACK_REQUESTED");
    w.stop_rollout();
    w.run_for(0);
    assert_eq!(w.rollouts()[0]["status"], "ROLLBACK_IN_PROGRESS");
    w.stop_rollout();
    w.until_settled();
    assert_eq!(
        (w.rollouts()[0]["status"].clone(), w.running()),
        (json!("ROLLBACK_SUCCESSFUL"), vec!["one".to_owned()])
    );
    let arn = w.rollouts()[0]["serviceDeploymentArn"].clone();
    let again = w.ecs.call("StopServiceDeployment", &json!({ "serviceDeploymentArn": arn }), w.now);
    assert_eq!(again.unwrap_err().code(), "ConflictException");
}

#[test]
fn stopping_the_first_deployment_has_nothing_to_go_back_to() {
    let mut w = World::new();
    let one = w.good("one");
    w.create(&one, 1, json!({}));
    w.run_for(SECOND);
    w.stop_rollout();
    w.run_for(SECOND);
    assert_eq!(w.rollouts()[0]["status"], "ROLLBACK_FAILED");
    assert_eq!(w.s().primary().state, RolloutState::Failed);
}

#[test]
fn after_its_bake_the_bad_one_is_what_completed_last() {
    // Why whoever goes back after that must switch ECS's own rollback off: here ECS returns to what was just left.
    let mut w = World::up("one", 1, breaker(true));
    let bad = w.good("bad-for-data");
    w.deploy(&bad);
    w.until_settled();
    let back = w.define("back", |_| crashes());
    w.deploy(&back);
    w.until_settled();
    assert_eq!(w.running(), ["bad-for-data"]);
}

#[test]
fn a_rollback_whose_target_fails_too_ends_rollback_failed_in_one_reading_and_is_tried_on_in_the_other() {
    for (rollback_can_fail, status) in [(true, "ROLLBACK_FAILED"), (false, "ROLLBACK_IN_PROGRESS")] {
        let variants = Variants { rollback_can_fail, ..Variants::default() };
        let mut w = World::up_with(variants, "one", 1, both(percent(0, 100), breaker(true)));
        let bad = w.define("bad", |_| crashes());
        // The good one cannot be pulled any more.
        w.plays.get_mut("one").unwrap().0 =
            Box::new(|_| Act { fails_to_start: Some((StartFailure::Resources, "gone")), ..Act::default() });
        w.deploy(&bad);
        w.run_for(60 * MINUTE);
        assert_eq!(w.rollouts()[0]["status"], status);
    }
}

#[test]
fn an_update_supersedes_a_rollback_too() {
    for (superseded_rollback_failed, status) in [(true, "ROLLBACK_FAILED"), (false, "STOPPED")] {
        let variants =
            Variants { superseded_rollback_failed, rollback: Rollback::NewIdNewTasks, ..Variants::default() };
        let mut w = World::up_with(variants, "one", 1, breaker(true));
        let (bad, three) = (w.define("bad", |_| crashes()), w.good("three"));
        w.deploy(&bad);
        w.run_until("it rolls back", |w| w.s().primary().is_rollback);
        w.deploy(&three);
        w.until_settled();
        let ended: Vec<_> = w.rollouts().iter().map(|it| it["status"].clone()).collect();
        assert_eq!(ended, [json!("SUCCESSFUL"), json!(status), json!("SUCCESSFUL")]);
        assert_eq!((w.running(), w.fewest), (vec!["three".to_owned()], 1));
    }
}

#[test]
fn a_configuration_alone_reaches_the_deployment_under_way_only_in_one_reading() {
    for (config_applies, goes_back) in [(Applies::AtOnce, false), (Applies::NextDeployment, true)] {
        let variants = Variants { config_applies, ..Variants::default() };
        let mut w = World::up_with(variants, "one", 1, breaker(true));
        let bad = w.define("bad", |_| Act { pull_ms: MINUTE, ..crashes() });
        w.deploy(&bad);
        w.run_for(SECOND);
        w.update(json!({ "deploymentConfiguration": breaker(false) }));
        w.until_settled();
        assert_eq!(w.rollouts()[0]["status"] == "ROLLBACK_SUCCESSFUL", goes_back);
    }
}
