//! A way back whose target does not run.

use super::*;

/// On the way back from `b` to `a`, whose deployment failed.
fn target_fails(failed_times: u32) -> Case {
    let mut case = going_back();
    case.service().rollouts[0].state = RolloutState::Failed;
    case.journal().going_back.as_mut().expect("it goes back").failed_times = failed_times;
    case
}

/// `z` (v0.9.0, clicks:40) was proven before `a`.
fn with_another(mut case: Case) -> Case {
    case.images().push(image("z", "v0.9.0"));
    case.journal().releases.insert(0, record("z", "v0.9.0", 40, Verdict::Healthy));
    case
}

#[test]
fn a_target_whose_deployment_failed_is_tried_again_in_a_while() {
    let mut case = with_another(target_fails(1));
    let plan = case.plan();
    assert!(matches!(plan.happened.as_slice(), [Happened::WayBackFailed { .. }]));
    case.journal = plan.journal;
    assert_eq!(case.plan().action, None);
    case.now = NOW.after_ms(5 * MINUTE);
    assert!(
        matches!(case.plan().action, Some(Action::Point { force: true, revision, .. }) if revision == arn(41))
    );
}

#[test]
fn after_its_third_failure_another_proven_release_is_the_target() {
    let mut case = with_another(target_fails(2));
    let plan = case.plan();
    assert_eq!(plan.decision.what, "go back to clicks:40 (v0.9.0) instead");
    assert_eq!(why(&plan), "clicks:41 (v1.0.0) was deployed 3 times and never ran: circuit breaker");
    case.journal = plan.journal;
    let back = case.journal().going_back.clone().expect("it goes on");
    assert_eq!((&back.to, &back.failed, back.failed_times), (&release("z"), &vec![release("a")], 0));
    assert!(matches!(case.plan().action, Some(Action::Point { revision, .. }) if revision == arn(40)));
}

#[test]
fn a_target_that_failed_is_not_taken_again_when_its_successor_is_gone() {
    let mut case = with_another(target_fails(0));
    let back = case.journal().going_back.as_mut().expect("it goes back");
    (back.to, back.failed) = (release("z"), vec![release("a")]);
    case.images().retain(|image| image.digest != digest("z"));
    let plan = case.plan();
    assert!(matches!(plan.happened.as_slice(), [Happened::NoTarget { .. }]));
    assert_eq!(plan.journal.and_then(|journal| journal.going_back), None);
}

#[test]
fn when_no_target_is_left_a_person_is_paged_and_newer_images_are_released() {
    let mut case = target_fails(2);
    let plan = case.plan();
    assert!(
        matches!(plan.happened.as_slice(), [Happened::WayBackFailed { to, gives_up: true, .. }] if *to == release("a"))
    );
    let mut stops = target_fails(2);
    stops.policy.on_no_target = OnNoTarget::Stop;
    let stopped = stops.plan();
    assert!(matches!(stopped.happened.as_slice(), [Happened::NoTarget { stopped: true, .. }]));
    assert!(stopped.journal.is_some_and(|journal| journal.stopped.is_some()));
    case.journal = plan.journal;
    assert_eq!(case.journal().going_back, None);
    assert_eq!(case.journal().record(&release("b")).map(|it| it.verdict), Some(Verdict::Rejected));
    // Until one comes, the proven one is tried as any that is blocked; ECS's own rollback stays off.
    let waits = case.plan();
    assert_eq!((&waits.action, waits.decision.release.clone()), (&None, Some(release("a"))));
    let mut later = Case { now: NOW.after_ms(60 * MINUTE), ..case };
    later.journal().freeze =
        Some(Freeze { by: "ann".to_owned(), at: NOW, until: None, reason: "launch".to_owned() });
    let expected =
        Action::Point { release: release("a"), revision: arn(41), own_rollback: false, force: true };
    assert_eq!(later.plan().action, Some(expected), "a freeze keeps nothing proven from running");
    later.journal().freeze = None;
    later.images().push(image("c", "v1.2.0"));
    assert_eq!(later.plan().action, Some(Action::Register { release: release("c") }));
}

#[test]
fn what_only_its_surroundings_took_back_is_not_rejected_when_the_target_never_runs() {
    let mut case = target_fails(2);
    let retry_at = NOW.after_ms(30 * MINUTE);
    case.journal().going_back.as_mut().expect("it goes back").rejects = None;
    let blocked = case.journal().record_mut(&release("b")).expect("it is there");
    (blocked.verdict, blocked.pointed_at, blocked.retry_at) = (Verdict::Blocked, None, Some(retry_at));
    let journal = case.plan().journal.expect("the way back ends");
    assert_eq!((&journal.going_back, &journal.candidate), (&None, &Some(release("b"))));
    let record = journal.record(&release("b")).expect("it is there");
    assert_eq!((record.verdict, record.retry_at), (Verdict::Blocked, Some(retry_at)));
}

#[test]
fn a_platforms_digest_in_the_ledger_keeps_the_whole_index_out() {
    let child = Child { digest: Digest::from("sha256:arm"), platform: "linux/arm64".to_owned() };
    let mut case = Case::at_rest();
    case.images().push(Image { children: Some(vec![child.clone()]), ..image("b", "v1.1.0") });
    assert!(case.plan().action.is_some());
    case.reject("sha256:arm");
    let plan = case.plan();
    assert_eq!((&plan.action, why(&plan)), (&None, "`v1.1.0` was rejected; `release` takes that back"));
    // Nor may it go on once it is under proof, nor be gone back to.
    let mut case = Case::proving(RolloutState::InProgress);
    case.journal().record_mut(&release("b")).expect("it is there").children = vec![child.clone()];
    case.reject("sha256:arm");
    assert_eq!(case.plan().journal.and_then(|it| it.going_back).map(|it| it.to), Some(release("a")));
    let mut case = Case::proving(RolloutState::Failed);
    case.tasks().push(exited(42, "b", 70, 8));
    case.images()[0].children = Some(vec![child]);
    case.reject("sha256:arm");
    assert!(matches!(case.plan().happened.as_slice(), [Happened::NoTarget { .. }]));
}

#[test]
fn what_ecs_gave_up_and_does_not_run_is_deployed_again_three_times_an_hour() {
    let mut case = Case::at_rest();
    case.service().rollouts[0].state = RolloutState::Failed;
    assert_eq!(case.plan().action, None, "a task runs");
    case.service().running = 0;
    let expected =
        Action::Point { release: release("a"), revision: arn(41), own_rollback: true, force: true };
    assert_eq!(case.plan().action, Some(expected));
    case.journal().drifts = vec![NOW; 3];
    assert_eq!(case.plan().action, None);
    case.journal().drifts.clear();
    case.service().desired = 0;
    assert_eq!(case.plan().action, None, "none is wanted");
}

#[test]
fn ecs_may_not_go_back_by_itself_to_what_is_rejected() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.service().revision = arn(41);
    case.service().rollouts.remove(0);
    case.journal().record_mut(&release("b")).expect("it is there").pointed_at = None;
    assert!(matches!(case.plan().action, Some(Action::Point { own_rollback: true, .. })));
    case.reject("release-a");
    assert!(matches!(case.plan().action, Some(Action::Point { own_rollback: false, .. })));
}
