//! What a rolling deployment does when all goes well.

use super::*;

#[test]
fn with_100_and_200_percent_the_new_task_is_healthy_before_the_old_one_stops() {
    let mut w = World::up("one", 1, percent(100, 200));
    let two = w.good("two");
    w.deploy(&two);
    w.until_settled();
    assert_eq!((w.most_live, w.fewest), (2, 1));
    assert_eq!(w.running(), ["two"]);
    assert_eq!(w.rollouts()[0]["status"], "SUCCESSFUL");
}

#[test]
fn with_0_and_100_percent_the_old_task_is_gone_before_the_new_one_starts() {
    let mut w = World::up("one", 1, percent(0, 100));
    let two = w.good("two");
    w.deploy(&two);
    w.until_settled();
    assert_eq!((w.most, w.most_live, w.fewest), (1, 1, 0));
    assert_eq!(w.running(), ["two"]);
}

#[test]
fn where_stopping_tasks_take_no_room_the_new_one_starts_beside_the_one_that_stops() {
    let variants = Variants { stopping_takes_room: false, ..Variants::default() };
    let mut w = World::up_with(variants, "one", 1, percent(0, 100));
    let two = w.good("two");
    w.deploy(&two);
    w.until_settled();
    assert_eq!((w.most, w.most_live), (2, 1));
}

#[test]
fn the_minimum_rounds_up_and_the_maximum_rounds_down() {
    let mut w = World::up("one", 3, percent(50, 150));
    let two = w.good("two");
    w.deploy(&two);
    w.until_settled();
    // 3 × 150 % are 4.5, and 3 × 50 % are 1.5.
    assert_eq!(w.most, 4);
    assert!(w.fewest >= 2, "{}", w.fewest);
    assert_eq!(w.running(), ["two"; 3]);
}

#[test]
fn a_maximum_without_room_for_one_more_task_blocks_the_deployment() {
    let mut w = World::up("one", 3, percent(100, 125));
    let two = w.good("two");
    w.deploy(&two);
    w.run_for(60 * MINUTE);
    assert_eq!(w.s().primary().state, RolloutState::InProgress);
    assert_eq!(w.running(), ["one"; 3]);
}

#[test]
fn a_deployment_completes_when_its_tasks_are_healthy_and_the_old_ones_are_gone() {
    let mut w = World::new();
    let slow_to_stop = w.define("one", |_| Act { term_ms: Some(19 * SECOND), ..Act::default() });
    w.create(&slow_to_stop, 1, percent(100, 200));
    w.until_settled();
    let two = w.good("two");
    w.deploy(&two);
    w.run_until("the old task is told to stop", |w| w.s().tasks.iter().any(|task| task.stopping));
    w.run_for(18 * SECOND);
    assert_eq!(w.s().primary().state, RolloutState::InProgress);
    assert_eq!(w.describe()["deployments"].as_array().unwrap().len(), 2);
    w.until_settled();
    let described = w.describe();
    assert_eq!(described["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(described["deployments"][0]["rolloutState"], "COMPLETED");
    assert_eq!(described["taskDefinition"], two);
}

#[test]
fn bake_time_delays_completion_and_not_the_end_of_the_old_task() {
    let mut w = World::up("one", 1, json!({ "bakeTimeInMinutes": 5 }));
    let two = w.good("two");
    w.deploy(&two);
    w.run_for(2 * MINUTE);
    assert_eq!(w.running(), ["two"]);
    let baking = w.rollouts()[0].clone();
    assert_eq!((&baking["status"], &baking["lifecycleStage"]), (&json!("IN_PROGRESS"), &json!("BAKE_TIME")));
    w.run_for(3 * MINUTE);
    assert_eq!(w.s().primary().state, RolloutState::InProgress, "not before 5 minutes of steady state");
    w.run_for(2 * MINUTE);
    assert_eq!(w.s().primary().state, RolloutState::Completed);
}

#[test]
fn alarms_alone_bake_where_ecs_computes_the_time_from_them() {
    let variants = Variants { alarm_bake_ms: 3 * MINUTE, ..Variants::default() };
    let alarms = json!({ "alarms": { "enable": true, "rollback": true, "alarmNames": ["damage"] } });
    let mut w = World::up_with(variants, "one", 1, alarms);
    let two = w.good("two");
    w.deploy(&two);
    w.run_for(3 * MINUTE);
    assert_eq!(w.s().primary().state, RolloutState::InProgress);
    w.run_for(2 * MINUTE);
    assert_eq!(w.s().primary().state, RolloutState::Completed);
}

#[test]
fn an_update_under_way_is_superseded_by_the_next_and_its_service_deployment_stops() {
    let mut w = World::up("one", 1, percent(100, 200));
    let (two, three) = (w.good("two"), w.good("three"));
    w.deploy(&two);
    w.run_for(5 * SECOND);
    assert_eq!(w.rollouts()[0]["status"], "IN_PROGRESS");
    w.deploy(&three);
    let asked: Vec<_> = w.rollouts().iter().map(|it| it["status"].clone()).collect();
    assert_eq!(asked, ["PENDING", "STOP_REQUESTED", "SUCCESSFUL"]);
    w.until_settled();
    let ended: Vec<_> = w.rollouts().iter().map(|it| it["status"].clone()).collect();
    assert_eq!(ended, ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]);
    assert_eq!((w.running(), w.fewest, w.most), (vec!["three".to_owned()], 1, 2));
}

#[test]
fn nothing_but_another_definition_or_setting_or_force_starts_a_deployment() {
    let mut w = World::up("one", 1, percent(100, 200));
    let one = w.describe()["taskDefinition"].clone();
    for request in [
        json!({ "taskDefinition": one }),
        json!({ "desiredCount": 2 }),
        json!({ "deploymentConfiguration": breaker(true) }),
        json!({ "healthCheckGracePeriodSeconds": 5 }),
    ] {
        w.update(request.clone());
        assert_eq!(w.rollouts().len(), 1, "{request}");
    }
    for (count, request) in [
        json!({ "forceNewDeployment": true }),
        json!({ "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"] } } }),
    ]
    .into_iter()
    .enumerate()
    {
        w.update(request.clone());
        assert_eq!(w.rollouts().len(), count + 2, "{request}");
    }
    w.update(json!({ "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"] } } }));
    assert_eq!(w.rollouts().len(), 3, "the same setting again");
}

#[test]
fn where_the_same_definition_deploys_it_does() {
    let variants = Variants { same_definition_deploys: true, ..Variants::default() };
    let mut w = World::up_with(variants, "one", 1, json!({}));
    let one = w.describe()["taskDefinition"].as_str().unwrap().to_owned();
    w.deploy(&one);
    assert_eq!(w.rollouts().len(), 2);
}

#[test]
fn the_desired_count_scales_out_and_in_without_a_deployment() {
    let mut w = World::up("one", 1, json!({}));
    w.update(json!({ "desiredCount": 3 }));
    w.run_for(2 * MINUTE);
    assert_eq!(w.running(), ["one"; 3]);
    w.update(json!({ "desiredCount": 0 }));
    w.run_for(2 * MINUTE);
    assert!(w.running().is_empty());
    assert_eq!(w.rollouts().len(), 1);
    let stopped = w.s().stopped.back().unwrap();
    assert_eq!(stopped.stop_code, Some(StopCode::ServiceSchedulerInitiated));
    assert!(
        stopped
            .stopped_reason
            .as_ref()
            .unwrap()
            .starts_with("Scaling activity initiated by (deployment ecs-svc/")
    );
}

#[test]
fn an_old_task_that_dies_during_a_deployment_is_replaced_by_its_like() {
    for (old_is_replaced, expected) in [(true, 2), (false, 1)] {
        let variants = Variants { old_is_replaced, ..Variants::default() };
        let mut w = World::up_with(variants, "one", 1, percent(100, 200));
        let two = w.define("two", |_| Act { pull_ms: 3 * MINUTE, ..Act::default() });
        w.deploy(&two);
        w.run_for(30 * SECOND);
        let old = w.s().tasks[0].id;
        w.ecs.report(old, TaskReport::Exited { code: 1, reason: None }, w.now).unwrap();
        w.until_settled();
        assert_eq!((w.started("one"), w.running()), (expected, vec!["two".to_owned()]));
    }
}

#[test]
fn a_service_of_no_tasks_is_steady_at_once() {
    let mut w = World::new();
    let one = w.good("one");
    w.create(&one, 0, json!({}));
    w.run_for(5 * SECOND);
    assert_eq!(w.rollouts()[0]["status"], "SUCCESSFUL");
    assert_eq!(w.started("one"), 0);
}

#[test]
fn a_new_service_deployment_may_stay_pending_for_a_while() {
    let variants = Variants { pending_ms: 5 * SECOND, ..Variants::default() };
    let mut w = World::up_with(variants, "one", 1, json!({}));
    let two = w.good("two");
    w.deploy(&two);
    w.run_for(4 * SECOND);
    assert_eq!((w.rollouts()[0]["status"].clone(), w.started("two")), (json!("PENDING"), 0));
    w.run_for(SECOND);
    assert_eq!((w.rollouts()[0]["status"].clone(), w.started("two")), (json!("IN_PROGRESS"), 1));
}

#[test]
fn current_service_deployment_may_lag_behind() {
    let variants = Variants { current_lag_ms: 20 * SECOND, ..Variants::default() };
    let mut w = World::up_with(variants, "one", 1, json!({}));
    w.run_for(MINUTE);
    let before = w.describe()["currentServiceDeployment"].clone();
    assert_eq!(before, w.rollouts()[0]["serviceDeploymentArn"]);
    let two = w.good("two");
    w.deploy(&two);
    w.run_for(19 * SECOND);
    assert_eq!(w.describe()["currentServiceDeployment"], before);
    w.run_for(SECOND);
    assert_eq!(w.describe()["currentServiceDeployment"], w.rollouts()[0]["serviceDeploymentArn"]);
}

#[test]
fn steady_state_is_told_once_when_it_comes_and_again_every_six_hours() {
    let mut w = World::up("one", 1, json!({}));
    w.run_for(7 * 60 * MINUTE);
    assert_eq!(w.names_of_events(), ["SERVICE_STEADY_STATE"]);
}

#[test]
fn of_old_tasks_those_that_are_not_healthy_go_first() {
    let mut w = World::up("one", 1, percent(0, 200));
    let slow = w.define("slow", |_| Act { pull_ms: 10 * MINUTE, ..Act::default() });
    w.deploy(&slow);
    w.run_for(SECOND);
    assert_eq!(w.running(), ["one", "slow"]);
    let three = w.good("three");
    w.deploy(&three);
    w.run_for(5 * SECOND);
    assert_eq!((w.running(), w.fewest), (vec!["one".to_owned(), "three".to_owned()], 1));
}
