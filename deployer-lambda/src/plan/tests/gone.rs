//! A service that is gone, or is to go with its stack.

use super::*;
use crate::journal::Retired;

fn retired() -> Case {
    let mut case = Case::proving(RolloutState::InProgress);
    case.journal().retired = Some(Retired { stack: "arn:…:stack/shop/1".to_owned(), at: NOW });
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
    let plan = case.plan();
    assert!(
        matches!(plan.action, Some(Action::Create { ref release, .. }) if *release == self::release("a"))
    );

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
