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
fn what_ecs_gave_up_and_does_not_run_is_deployed_again_three_times_an_hour_then_a_person_is_paged() {
    let mut case = Case::at_rest();
    case.service().rollouts[0].state = RolloutState::Failed;
    assert_eq!(case.plan().action, None, "a task runs");
    case.service().running = 0;
    let expected =
        Action::Point { release: release("a"), revision: arn(41), own_rollback: true, force: true };
    let plan = case.plan();
    assert_eq!(plan.action, Some(expected.clone()));
    assert!(matches!(plan.happened.as_slice(), [Happened::NothingRuns { again: true, .. }]));
    case.journal().drifts = vec![NOW; 3];
    let plan = case.plan();
    assert!(matches!(plan.happened.as_slice(), [Happened::NothingRuns { again: false, .. }]));
    assert_eq!(
        (plan.action, plan.decision.why.as_str()),
        (None, "the newest image that the policy admits is deployed, and no task of it runs now")
    );
    // Once; and a newer image still comes in.
    case.journal = plan.journal;
    assert_eq!(case.plan().happened, []);
    case.images().push(image("b", "v1.1.0"));
    assert_eq!(case.plan().action, Some(Action::Register { release: release("b") }));
    case.images().pop();
    case.now = NOW.after_ms(61 * MINUTE);
    assert_eq!(case.plan().action, Some(expected));
    // When it ran again, the next time is told anew.
    case.service().running = 1;
    case.journal = case.plan().journal;
    assert_eq!(case.journal().told, [""; 0]);
    case.now = NOW;
    case.service().running = 0;
    case.journal().drifts.clear();
    case.service().desired = 0;
    assert_eq!(case.plan().action, None, "none is wanted");
}

#[test]
fn what_is_rejected_while_its_successor_is_under_proof_is_nothing_to_go_back_to() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.reject("release-a");
    assert_eq!(case.plan().action, Some(Action::OwnRollback { on: false }));
    case.service().own_rollback = false;
    assert_eq!(case.plan().action, None);
}

#[test]
fn where_nothing_is_proven_ecs_own_rollback_from_a_bad_release_is_not_waited_for() {
    let mut case = Case::proving(RolloutState::RollingBack);
    case.service().revision = arn(41);
    case.tasks().push(exited(42, "b", 65, 8));
    assert_eq!(why(&case.plan()), "ECS is rolling back by itself: circuit breaker");
    case.journal().record_mut(&release("a")).expect("it is there").verdict = Verdict::Superseded;
    assert!(matches!(case.plan().happened.as_slice(), [Happened::NoTarget { .. }]));
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

/// The service is at the target already, where a deployment of it failed; the next one was refused or lost.
fn next_try_did_not_begin() -> Case {
    let mut case = target_fails(1);
    case.journal().going_back.as_mut().expect("it goes back").pointed_at = None;
    case
}

#[test]
fn a_try_that_was_refused_or_lost_is_made_again_and_an_old_failed_one_is_no_arrival() {
    let expected =
        Action::Point { release: release("a"), revision: arn(41), own_rollback: false, force: true };
    let plan = next_try_did_not_begin().plan();
    assert_eq!(plan.action, Some(expected.clone()));
    let failed_times = plan.journal.and_then(|journal| journal.going_back).map(|back| back.failed_times);
    assert_eq!(failed_times, Some(1), "what did not begin did not fail");
    // Nor where ECS lists none of its deployments any more.
    let mut case = next_try_did_not_begin();
    case.service().rollouts.retain(|rollout| rollout.revision != arn(41));
    assert_eq!(case.plan().action, Some(expected));
    // One that somebody else began is waited for.
    let mut case = next_try_did_not_begin();
    case.service().rollouts.push(rollout(41, RolloutState::InProgress, 0));
    assert_eq!(case.plan().action, None);
}

#[test]
fn ecs_own_rollback_is_not_waited_for_for_ever() {
    // On the way back.
    let mut case = going_back();
    let back = case.journal().going_back.as_mut().expect("it goes back");
    (back.begun_at, back.pointed_at) = (NOW, None);
    case.service().revision = arn(40);
    case.service().rollouts = vec![rollout(42, RolloutState::RollingBack, 9)];
    assert_eq!(why(&case.plan()), "ECS is rolling back by itself");
    case.now = NOW.after_ms(61 * MINUTE);
    assert!(matches!(case.plan().action, Some(Action::Point { revision, .. }) if revision == arn(41)));
    // Where nobody announced anything.
    let mut case = Case::at_rest();
    case.service().revision = arn(42);
    case.service().rollouts.push(rollout(42, RolloutState::RollingBack, 9));
    assert_eq!(why(&case.plan()), "ECS is rolling back by itself");
    case.now = NOW.after_ms(61 * MINUTE);
    assert!(matches!(case.plan().action, Some(Action::Point { revision, .. }) if revision == arn(41)));
    // Where it leads to what is current, and no task of that runs.
    case.service().revision = arn(41);
    case.service().running = 0;
    assert!(matches!(case.plan().action, Some(Action::Point { force: true, .. })));
}

#[test]
fn what_only_its_surroundings_took_back_is_not_rejected_when_no_target_is_left() {
    let mut case = going_back();
    case.observed.rejected = Known::Known(BTreeSet::new());
    case.journal().going_back.as_mut().expect("it goes back").rejects = None;
    case.journal().record_mut(&release("b")).expect("it is there").verdict = Verdict::Blocked;
    case.images().retain(|image| image.digest != digest("a"));
    let plan = case.plan();
    assert!(matches!(plan.happened.as_slice(), [Happened::NoTarget { rejected: false, stopped: false, .. }]));
    let journal = plan.journal.expect("the way back ends");
    assert_eq!(journal.going_back, None);
    assert_eq!(journal.record(&release("b")).map(|it| it.verdict), Some(Verdict::Blocked));
}

#[test]
fn where_people_take_back_what_fails_a_newer_image_takes_its_place_all_the_same() {
    let mut case = Case::proving(RolloutState::Failed);
    case.policy.rollback = false;
    case.tasks().push(exited(42, "b", 70, 8));
    let plan = case.plan();
    assert_eq!(plan.action, None);
    assert!(why(&plan).ends_with("the policy says `rollback = false`"), "{}", why(&plan));
    case.images().push(image("c", "v1.2.0"));
    let plan = case.plan();
    assert_eq!(plan.action, Some(Action::Register { release: release("c") }));
    // It failed: it does not come again when that one does.
    let left = plan.journal.and_then(|journal| journal.record(&release("b")).map(|it| it.verdict));
    assert_eq!(left, Some(Verdict::Rejected));
}

#[test]
fn what_ecs_took_back_by_itself_is_over_whatever_the_policy_says() {
    let mut case = Case::proving(RolloutState::RolledBack);
    case.policy.rollback = false;
    case.service().revision = arn(41);
    case.tasks().push(exited(42, "b", 70, 8));
    let back = case.plan().journal.and_then(|journal| journal.going_back);
    assert_eq!(back.map(|back| back.to), Some(release("a")));
}

#[test]
fn a_page_without_a_target_knows_whether_the_release_may_write() {
    for rejected in [false, true] {
        let mut case = Case::proving(RolloutState::Failed);
        case.tasks().push(exited(42, "b", 70, 8));
        case.images().retain(|image| image.digest != digest("a"));
        if rejected {
            case.reject("release-b");
        }
        let plan = case.plan();
        assert!(
            matches!(plan.happened.as_slice(), [Happened::NoTarget { rejected: told, .. }] if *told == rejected)
        );
    }
}

#[test]
fn a_proven_release_that_was_blocked_is_proven_still_when_a_newer_one_takes_its_place() {
    let mut case = Case::at_rest();
    case.images().push(image("c", "v1.2.0"));
    let keep = crate::journal::Keep { tag: "landfall-keep-1".to_owned(), done: true };
    let record = case.journal().record_mut(&release("a")).expect("it is there");
    (record.verdict, record.pointed_at, record.keep) = (Verdict::Blocked, None, Some(keep));
    case.journal().candidate = Some(release("a"));
    let journal = case.plan().journal.expect("the newer one begins");
    assert_eq!(journal.candidate, Some(release("c")));
    assert_eq!(journal.record(&release("a")).map(|it| it.verdict), Some(Verdict::Healthy));
}
