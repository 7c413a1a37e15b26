//! One task: health, stopping, and what it is called.

use super::*;

#[test]
fn without_a_health_check_a_task_is_healthy_40_seconds_after_running() {
    let mut w = World::new();
    let plain = w.good("plain");
    w.create(&plain, 1, json!({}));
    w.run_for(5 * SECOND + 40 * SECOND - 1);
    let task = &w.s().tasks[0];
    assert_eq!((task.status, task.is_ready(), task.health), (TaskStatus::Running, false, Health::Unknown));
    assert_eq!(w.s().primary().state, RolloutState::InProgress);
    w.run_for(1);
    assert!(w.s().tasks[0].is_ready());
    w.run_for(5 * SECOND);
    assert_eq!(w.s().primary().state, RolloutState::Completed);
}

#[test]
fn with_a_health_check_the_first_pass_makes_it_healthy() {
    let mut w = World::new();
    let one = w.good("one");
    w.create(&one, 1, json!({}));
    w.run_for(15 * SECOND - 1);
    assert_eq!(w.s().tasks[0].health, Health::Unknown);
    w.run_for(1);
    assert_eq!(w.s().tasks[0].health, Health::Healthy);
    assert!(w.s().tasks[0].is_ready());
}

#[test]
fn checks_that_fail_in_the_start_period_do_not_count() {
    // Every 10 s, the start period is 30 s, three retries: the third, the fourth and the fifth count.
    for (passes_from, healthy) in [(5, true), (6, false)] {
        let checks: fn(u32) -> bool = if passes_from == 5 { |nth| nth >= 5 } else { |nth| nth >= 6 };
        let mut w = World::new();
        let slow = w.define("slow", move |_| Act { checks, ..Act::default() });
        w.create(&slow, 1, json!({}));
        w.run_for(5 * SECOND + 49 * SECOND);
        assert_eq!(w.s().tasks[0].health, Health::Unknown, "four checks failed, two of them count");
        w.run_for(SECOND);
        let expected = if healthy { Health::Healthy } else { Health::Unhealthy };
        assert_eq!(w.s().tasks[0].health, expected, "passes from check {passes_from}");
        let check = w.ecs.definition(w.s().tasks[0].definition).health.clone().unwrap();
        assert_eq!(check.unhealthy_after_ms(), 50 * SECOND);
    }
}

#[test]
fn failures_count_in_the_start_period_too_once_it_was_healthy() {
    let mut w = World::new();
    let one = w.define("one", |_| Act { checks: |_| true, ..Act::default() });
    w.create(&one, 1, json!({}));
    w.run_for(16 * SECOND);
    let task = w.s().tasks[0].id;
    for _ in 0..3 {
        w.ecs.report(task, TaskReport::Checked { passed: false }, w.now).unwrap();
    }
    assert_eq!(w.s().tasks[0].health, Health::Unhealthy);
}

#[test]
fn a_verdict_of_the_agent_is_taken_as_it_is() {
    let mut w = World::up("one", 1, json!({}));
    let task = w.s().tasks[0].id;
    w.ecs.report(task, TaskReport::HealthChanged(Health::Unhealthy), w.now).unwrap();
    assert_eq!(w.s().tasks[0].health, Health::Unhealthy);
    assert_eq!(w.s().count_all(Task::is_ready), 0);
}

#[test]
fn an_unhealthy_task_is_replaced_first_and_then_stopped() {
    let mut w = World::up("one", 1, percent(100, 200));
    let sick = w.s().tasks[0].id;
    w.plays.get_mut("one").unwrap().0 = Box::new(|_| Act::default());
    for _ in 0..3 {
        w.ecs.report(sick, TaskReport::Checked { passed: false }, w.now).unwrap();
    }
    w.coming.retain(|_, (task, _)| *task != sick);
    w.run_for(SECOND);
    assert_eq!(w.s().count_all(Task::is_live), 2);
    w.run_for(2 * MINUTE);
    assert_eq!(w.ecs.task(sick).unwrap().status, TaskStatus::Stopped);
    assert_eq!((w.s().count_all(Task::is_ready), w.rollouts().len()), (1, 1));
}

#[test]
fn where_there_is_no_room_an_unhealthy_task_is_stopped_first() {
    let mut w = World::up("one", 1, percent(0, 100));
    let sick = w.s().tasks[0].id;
    w.coming.retain(|_, (task, _)| *task != sick);
    w.ecs.report(sick, TaskReport::HealthChanged(Health::Unhealthy), w.now).unwrap();
    w.run_for(2 * MINUTE);
    assert_eq!((w.most, w.ecs.task(sick).unwrap().status), (1, TaskStatus::Stopped));
    assert_eq!(w.s().count_all(Task::is_ready), 1);
}

#[test]
fn a_task_that_does_not_heed_sigterm_is_killed_after_its_stop_timeout() {
    for (term_ms, killed) in [(None, true), (Some(25 * SECOND), true), (Some(19 * SECOND), false)] {
        let mut w = World::new();
        let deaf = w.define("deaf", move |_| Act { term_ms, ..Act::default() });
        w.create(&deaf, 1, json!({}));
        w.until_settled();
        let task = w.s().tasks[0].id;
        w.update(json!({ "desiredCount": 0 }));
        w.run_for(0);
        let kill_at = w.s().tasks[0].kill_at;
        assert_eq!(kill_at, Some(w.now + 20 * SECOND));
        w.run_for(MINUTE);
        let code = w.ecs.task(task).unwrap().exit_code;
        assert_eq!(code, Some(if killed { 137 } else { 0 }), "{term_ms:?}");
        assert_eq!(w.log.iter().filter(|line| line.contains(" kill ")).count(), usize::from(killed));
    }
}

#[test]
fn a_definition_that_names_no_stop_timeout_has_30_seconds() {
    let mut w = World::new();
    let mut body = definition("one");
    body["containerDefinitions"][0].as_object_mut().unwrap().remove("stopTimeout");
    w.register(&body);
    assert_eq!(w.ecs.definition(DefinitionId(0)).stop_timeout_ms, 30 * SECOND);
}

#[test]
fn a_task_that_ends_by_itself_is_replaced_after_a_moment() {
    let mut w = World::up("one", 1, json!({}));
    let task = w.s().tasks[0].id;
    let reason = Some(arc("OutOfMemoryError: Container killed due to memory usage"));
    w.ecs.report(task, TaskReport::Exited { code: 137, reason: reason.clone() }, w.now).unwrap();
    w.run_for(4 * SECOND);
    assert_eq!(w.started("one"), 1);
    w.run_for(MINUTE);
    assert_eq!((w.started("one"), w.s().count_all(Task::is_ready)), (2, 1));
    let gone = w.ecs.task(task).unwrap();
    assert_eq!((gone.stop_code, gone.exit_code), (Some(StopCode::EssentialContainerExited), Some(137)));
    assert_eq!(
        (gone.stopped_reason.clone(), gone.container_reason.clone()),
        (Some(arc("Essential container in task exited")), reason)
    );
    assert_eq!(w.rollouts().len(), 1);
}

#[test]
fn a_task_that_is_interrupted_is_no_failure_of_its_deployment() {
    let mut w = World::up("one", 1, breaker(true));
    let two = w.define("two", |_| Act { boot_ms: MINUTE, ..Act::default() });
    w.deploy(&two);
    for _ in 0..3 {
        w.run_for(20 * SECOND);
        let task = w.s().tasks.iter().find(|it| w.image(it.definition) == "two" && it.is_live()).unwrap().id;
        let reason = arc("Your Spot Task was interrupted.");
        w.ecs
            .report(task, TaskReport::Interrupted { code: StopCode::SpotInterruption, reason }, w.now)
            .unwrap();
    }
    w.until_settled();
    assert_eq!((w.started("two"), w.running()), (4, vec!["two".to_owned()]));
    let first = w.s().stopped.iter().find(|it| w.image(it.definition) == "two").unwrap();
    assert_eq!((first.stop_code, first.exit_code), (Some(StopCode::SpotInterruption), Some(0)));
}

#[test]
fn reports_that_cannot_be_are_refused_and_late_ones_of_a_stopping_task_do_nothing() {
    let mut w = World::up("one", 1, json!({}));
    let task = w.s().tasks[0].id;
    let now = w.now;
    for report in [
        TaskReport::Running,
        TaskReport::Pulled { digest: None },
        TaskReport::FailedToStart { what: StartFailure::Resources, reason: arc("no") },
    ] {
        let error = w.ecs.report(task, report, now).unwrap_err();
        assert!(matches!(error, ReportError::OutOfOrder(..)), "{error}");
    }
    assert_eq!(w.ecs.report(TaskId(999), TaskReport::Running, now), Err(ReportError::Unknown(TaskId(999))));
    w.update(json!({ "desiredCount": 0 }));
    w.run_for(0);
    assert_eq!(w.ecs.report(task, TaskReport::HealthChanged(Health::Unhealthy), now), Ok(()));
    assert_eq!(w.s().tasks[0].health, Health::Healthy);
    w.run_for(MINUTE);
    assert_eq!(w.ecs.report(task, TaskReport::Running, now), Err(ReportError::Stopped(task)));
}

#[test]
fn stopped_tasks_are_described_for_an_hour() {
    let mut w = World::up("one", 1, json!({}));
    let task = w.s().tasks[0].id;
    w.update(json!({ "desiredCount": 0 }));
    w.run_for(59 * MINUTE);
    let arn = w.ecs.config().task_arn(task);
    let request = json!({ "tasks": [arn] });
    assert_eq!(w.call("DescribeTasks", &request)["tasks"][0]["lastStatus"], "STOPPED");
    assert_eq!(w.call("ListTasks", &json!({ "desiredStatus": "STOPPED" }))["taskArns"], json!([arn]));
    w.run_for(2 * MINUTE);
    w.step();
    assert_eq!(w.call("DescribeTasks", &request)["failures"][0]["reason"], "MISSING");
}
