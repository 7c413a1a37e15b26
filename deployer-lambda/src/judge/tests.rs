use super::*;
use crate::journal::Verdict;
use crate::observe::facts::Stop;
use crate::release::{ReleaseId, RevisionArn};

const MINUTE: i64 = 60_000;
const NOW: Moment = Moment(1_000 * MINUTE);

fn arn(number: u32) -> RevisionArn {
    RevisionArn(format!("task-definition/clicks:{number}"))
}

fn ago(minutes: i64) -> Moment {
    Moment(NOW.0 - minutes * MINUTE)
}

/// A release that the service was pointed at `pointed` minutes ago.
fn record(pointed: i64) -> Record {
    Record {
        revision: Some(arn(42)),
        verdict: Verdict::Proving,
        pointed_at: Some(ago(pointed)),
        ..Record::of(ReleaseId::from("b"), Digest::from("sha256:bb"), ago(pointed))
    }
}

fn complete(pointed: i64, completed: i64) -> Record {
    Record { completed_at: Some(ago(completed)), ..record(pointed) }
}

fn rollout(number: u32, state: RolloutState, minutes_ago: i64) -> Rollout {
    Rollout {
        id: minutes_ago.to_string(),
        revision: arn(number),
        state,
        reason: "tasks failed to start".to_owned(),
        created_at: ago(minutes_ago),
        failed_tasks: 0,
    }
}

fn service(at: u32, rollouts: &[Rollout]) -> Service {
    Service { revision: arn(at), desired: 1, running: 1, own_rollback: true, rollouts: rollouts.to_vec() }
}

fn task(digest: &str, state: TaskState) -> Task {
    let digest = Some(Digest::from(digest));
    let started_at = Some(ago(18));
    Task { id: "t".into(), revision: arn(42), state, healthy: Health::Healthy, digest, started_at }
}

fn exited(code: i32, minutes_ago: i64) -> Task {
    let stop = Stop {
        at: ago(minutes_ago),
        code: "EssentialContainerExited".to_owned(),
        exit_code: Some(code),
        ..Stop::default()
    };
    task("sha256:bb", TaskState::Stopped(stop))
}

fn running() -> Task {
    task("sha256:bb", TaskState::Running)
}

fn find(record: &Record, service: &Service, tasks: &[Task]) -> Finding {
    judge(record, service, tasks, &[], &Policy::default(), Rules::ALL, NOW)
}

fn whose(finding: &Finding) -> Whose {
    let Finding::Failed { fault, .. } = finding else { panic!("{finding:?}") };
    fault.whose
}

#[test]
fn complete_by_ecs_is_not_proven_before_the_bake_is_over() {
    let there = service(42, &[rollout(42, RolloutState::Successful, 20)]);
    let early = find(&complete(20, 9), &there, &[running()]);
    assert!(matches!(early, Finding::Proving { complete: true, slow: false, .. }), "{early:?}");
    assert_eq!(find(&complete(20, 10), &there, &[running()]), Finding::Proved);
}

#[test]
fn a_release_whose_task_was_started_again_begins_its_bake_again() {
    let there = service(42, &[rollout(42, RolloutState::Successful, 200)]);
    let again = Task { started_at: Some(ago(4)), ..running() };
    let finding = find(&complete(200, 190), &there, &[again]);
    assert!(
        matches!(&finding, Finding::Proving { waits_for, .. } if waits_for.contains("4 of 10")),
        "{finding:?}"
    );
}

#[test]
fn an_alarm_that_never_ends_blocks_the_release_so_that_a_newer_one_may_come() {
    let there = service(42, &[rollout(42, RolloutState::Successful, 60)]);
    let alarm = Alarm { name: "damage".to_owned(), in_alarm: true, since: ago(90) };
    let record = Record { alarms_before: vec!["damage".to_owned()], ..complete(60, 41) };
    let policy = Policy::default();
    let finding = judge(&record, &there, &[running()], &[alarm], &policy, Rules::ALL, NOW);
    assert_eq!(whose(&finding), Whose::Surroundings);
}

#[test]
fn a_deployment_that_ecs_does_not_list_any_more_is_judged_by_its_tasks() {
    let finding =
        find(&record(20), &service(41, &[rollout(41, RolloutState::Successful, 2)]), &[exited(70, 15)]);
    assert!(matches!(finding, Finding::Failed { went_back: true, .. }), "{finding:?}");
}

#[test]
fn complete_by_ecs_while_another_digest_runs_is_no_success() {
    let there = service(42, &[rollout(42, RolloutState::Successful, 20)]);
    let other = find(&complete(20, 15), &there, &[task("sha256:aa", TaskState::Running)]);
    assert!(
        matches!(&other, Finding::Proving { waits_for, .. } if waits_for.contains("no task runs its digest"))
    );
}

#[test]
fn a_platforms_image_of_the_index_is_the_release() {
    let mut record = complete(20, 15);
    let platform = "linux/arm64".to_owned();
    record.children.push(crate::observe::facts::Child { digest: Digest::from("sha256:b1"), platform });
    let there = service(42, &[rollout(42, RolloutState::Successful, 20)]);
    assert_eq!(find(&record, &there, &[task("sha256:b1", TaskState::Running)]), Finding::Proved);
}

#[test]
fn a_rollback_of_ecs_is_never_a_success() {
    let back = [rollout(42, RolloutState::RolledBack, 20), rollout(41, RolloutState::Successful, 500)];
    let finding = find(&record(20), &service(41, &back), &[exited(70, 15)]);
    assert!(matches!(finding, Finding::Failed { went_back: true, .. }), "{finding:?}");
    let going = [rollout(42, RolloutState::RollingBack, 20)];
    let finding = find(&record(20), &service(41, &going), &[exited(70, 15)]);
    assert!(matches!(finding, Finding::EcsGoesBack { .. }), "{finding:?}");
}

#[test]
fn a_time_that_ran_out_is_never_a_failure() {
    let there = service(42, &[rollout(42, RolloutState::InProgress, 300)]);
    let finding = find(&record(300), &there, &[]);
    assert!(matches!(finding, Finding::Proving { slow: true, complete: false, .. }), "{finding:?}");
}

#[test]
fn the_success_of_another_deployment_is_not_ours() {
    let before = [rollout(42, RolloutState::Successful, 200), rollout(41, RolloutState::Successful, 100)];
    let finding = find(&record(20), &service(42, &before), &[running()]);
    assert!(matches!(finding, Finding::Proving { complete: false, .. }), "an earlier try: {finding:?}");
}

#[test]
fn a_service_that_points_elsewhere_was_displaced_and_its_release_is_not_at_fault() {
    let there = [rollout(43, RolloutState::InProgress, 3), rollout(42, RolloutState::Stopped, 20)];
    let finding = find(&record(20), &service(43, &there), &[]);
    assert!(matches!(finding, Finding::Displaced { .. }), "{finding:?}");
    assert!(matches!(find(&record(20), &service(41, &[]), &[]), Finding::Displaced { .. }));
}

#[test]
fn one_crash_in_the_bake_is_restarted_and_two_are_a_failure() {
    let there = service(42, &[rollout(42, RolloutState::Successful, 20)]);
    let one = find(&complete(20, 8), &there, &[running(), exited(70, 5)]);
    assert!(matches!(one, Finding::Proving { complete: true, .. }), "{one:?}");
    let two = find(&complete(20, 8), &there, &[running(), exited(70, 5), exited(70, 3)]);
    assert_eq!(whose(&two), Whose::Release);
}

#[test]
fn where_the_surroundings_had_a_hand_in_it_the_release_is_not_blamed() {
    let there = service(42, &[rollout(42, RolloutState::Failed, 20)]);
    assert_eq!(whose(&find(&record(20), &there, &[exited(70, 15), exited(69, 12)])), Whose::Surroundings);
    assert_eq!(whose(&find(&record(20), &there, &[exited(70, 15), exited(65, 12)])), Whose::Image);
    assert_eq!(whose(&find(&record(20), &there, &[])), Whose::Surroundings, "nobody tells why");
}

#[test]
fn an_earlier_trys_crashes_do_not_count() {
    let there = service(42, &[rollout(42, RolloutState::Failed, 5)]);
    assert_eq!(whose(&find(&record(5), &there, &[exited(70, 30)])), Whose::Surroundings);
}

#[test]
fn a_new_alarm_in_the_bake_is_a_failure() {
    let there = service(42, &[rollout(42, RolloutState::Successful, 20)]);
    let alarm = Alarm { name: "damage".to_owned(), in_alarm: true, since: ago(2) };
    let policy = Policy::default();
    let finding =
        judge(&complete(20, 8), &there, &[running()], std::slice::from_ref(&alarm), &policy, Rules::ALL, NOW);
    assert_eq!(whose(&finding), Whose::Release);
    let before = Record { alarms_before: vec!["damage".to_owned()], ..complete(20, 8) };
    let finding = judge(&before, &there, &[running()], &[alarm], &policy, Rules::ALL, NOW);
    assert!(matches!(finding, Finding::Proving { .. }), "{finding:?}");
}
