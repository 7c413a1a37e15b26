//! A service that is gone, or is to go with its stack.

use super::*;
use crate::journal::Retired;

fn retired() -> Case {
    let mut case = Case::proving(RolloutState::InProgress);
    let stack = "arn:…:stack/shop/1".to_owned();
    case.journal().retired = Some(Retired { stack, at: NOW, leaves_service: false });
    case
}

#[test]
fn with_its_stack_the_service_goes_tasks_first_whatever_is_under_way() {
    let mut case = retired();
    let plan = case.plan();
    assert_eq!(plan.action, Some(Action::Scale { desired: 0 }));
    let journal = plan.journal.expect("written");
    assert_eq!((journal.candidate, journal.going_back), (None, None));

    case.service().desired = 0;
    *case.tasks() = vec![task(41, "a", TaskState::Stopping), exited(42, "b", 0, 1)];
    let plan = case.plan();
    assert_eq!((plan.action, plan.decision.what.as_str()), (None, "nothing"));
    assert!(plan.decision.next.contains("its 1 tasks"), "{}", plan.decision.next);

    *case.tasks() = vec![exited(41, "a", 0, 1)];
    assert_eq!(case.plan().action, Some(Action::Delete));
}

#[test]
fn a_service_that_landfall_only_found_stays_when_its_stack_goes() {
    let mut case = retired();
    case.journal().retired.as_mut().expect("it is retired").leaves_service = true;
    assert_eq!(case.plan().action, None);
}

#[test]
fn a_retired_deployer_releases_nothing() {
    let mut case = retired();
    case.observed.service = Known::Known(None);
    case.tasks().clear();
    case.images().push(image("c", "v9.0.0"));
    case.pushed = Some(digest("c"));
    assert_eq!(case.plan().action, None);
}

#[test]
fn a_service_that_somebody_deleted_is_created_again() {
    let mut case = Case::at_rest();
    case.observed.service = Known::Known(None);
    case.tasks().clear();
    let plan = case.plan();
    assert_eq!(plan.decision.what, "take it up again");
    case.journal = plan.journal;
    let scaling = crate::journal::Scaling { tasks_max: 4, lag_seconds: 600 };
    case.journal().scaling = Some(crate::journal::Scaled { scaling, done: true });
    let plan = case.plan();
    assert!(
        matches!(plan.action, Some(Action::Create { ref release, .. }) if *release == self::release("a"))
    );
    let scaled = plan.journal.and_then(|journal| journal.scaling);
    assert!(scaled.is_some_and(|scaled| !scaled.done), "the new one is registered anew: {scaled:?}");

    // Nor is it replaced by an older one.
    let mut case = Case::at_rest();
    case.observed.service = Known::Known(None);
    *case.images() = vec![image("b", "v0.9.0")];
    assert_eq!(case.plan().action, None);
}

#[test]
fn a_service_that_goes_under_proof_is_not_waited_for_for_ever() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.observed.service = Known::Known(None);
    case.tasks().clear();
    let plan = case.plan();
    assert_eq!((&plan.action, why(&plan)), (&None, "the service is gone"));
    case.journal = plan.journal;
    assert_eq!(case.journal().candidate, None);
}

/// The service is gone; no task is left.
fn without_service(mut case: Case) -> Case {
    case.observed.service = Known::Known(None);
    case.tasks().clear();
    case
}

/// `b` (v1.1.0) is current and proven, `a` was before it.
fn at_rest_on_b() -> Case {
    let mut case = Case::at_rest();
    case.images().push(image("b", "v1.1.0"));
    case.journal().releases.push(record("b", "v1.1.0", 42, Verdict::Healthy));
    case.journal().current = Some(release("b"));
    case
}

/// Plans until a call is due, as the loop does; more than this many looks would be one too many.
fn until_a_call(case: &mut Case) -> (Option<Action>, Vec<Happened>) {
    let mut happened = Vec::new();
    for _ in 0..5 {
        let plan = case.plan();
        happened.extend(plan.happened);
        if plan.action.is_some() || plan.journal.is_none() {
            return (plan.action, happened);
        }
        case.journal = plan.journal;
    }
    panic!("no call after five looks");
}

#[test]
fn a_service_that_ran_what_is_rejected_now_is_created_again_with_what_was_proven_before() {
    let mut case = without_service(at_rest_on_b());
    case.reject("release-b");
    let (action, happened) = until_a_call(&mut case);
    assert!(
        matches!(action, Some(Action::Create { ref release, .. }) if *release == self::release("a")),
        "{action:?}"
    );
    let way_back = |it: &Happened| matches!(it, Happened::GoingBack { .. } | Happened::WentBack { .. });
    assert!(!happened.iter().any(way_back), "there is no service to be pointed back: {happened:?}");
}

#[test]
fn a_way_back_whose_service_goes_ends_with_its_target_created_and_the_other_rejected() {
    let mut case = without_service(going_back());
    let back = case.journal().going_back.as_mut().expect("it goes back");
    back.rejects = Some("release-b".to_owned());
    case.journal().candidate = Some(release("b"));
    case.observed.rejected = Known::Known(BTreeSet::new());
    let (action, _) = until_a_call(&mut case);
    assert!(matches!(action, Some(Action::Reject { ref what, .. }) if what == "release-b"), "{action:?}");
    assert_eq!(case.journal().record(&release("b")).map(|it| it.verdict), Some(Verdict::Rejected));
    case.reject("release-b");
    let (action, _) = until_a_call(&mut case);
    assert!(
        matches!(action, Some(Action::Create { ref release, .. }) if *release == self::release("a")),
        "{action:?}"
    );
}

#[test]
fn while_a_person_has_stopped_it_a_service_that_is_gone_stays_gone() {
    let mut case = without_service(Case::at_rest());
    case.journal().stopped =
        Some(Stopped { by: "ann".to_owned(), at: NOW, desired: 1, reason: String::new() });
    case.images().push(image("b", "v1.1.0"));
    let plan = case.plan();
    assert_eq!((&plan.action, why(&plan)), (&None, "stopped by ann"));
    assert_eq!(plan.journal, None, "nothing is taken up");
}
