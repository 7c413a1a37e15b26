//! What a person reads where nothing is done; and pins, which mean an image.

use super::*;

const NONE: &str = "the repository holds no image that the policy admits";
const DO: &str = "push a tag that matches, or change `images` in policy.toml";

#[test]
fn a_repository_without_an_admitted_image_is_told_as_that() {
    let mut case = Case::at_rest();
    case.images().clear();
    assert_eq!(why(&case.plan()), format!("{NONE}; what runs stays: {DO}"));
    case.images().push(image("b", "latest"));
    assert_eq!(why(&case.plan()), format!("{NONE}; what runs stays: {DO}"));
}

#[test]
fn before_the_first_image_nothing_is_said_to_run() {
    let mut case = Case::at_rest();
    case.images().clear();
    case.journal = None;
    case.observed.service = Known::Known(None);
    case.tasks().clear();
    assert_eq!(why(&case.plan()), format!("{NONE}: {DO}"));
}

#[test]
fn a_pinned_image_is_released_anew_when_the_templates_changed() {
    let mut case = Case::at_rest();
    case.images().insert(0, image("b", "v0.9.0"));
    case.journal().pin = Some(Pin { release: ReleaseId::from("by-old-templates"), ..pin("b") });
    let plan = case.plan();
    assert_eq!(plan.action, Some(Action::Register { release: release("b") }));
    assert_eq!(why(&plan), "`v0.9.0` is pinned by ann; its settings changed since, so it is another release");
    case.journal().current = Some(release("b"));
    case.journal().releases.push(record("b", "v0.9.0", 42, Verdict::Healthy));
    case.service().revision = arn(42);
    let plan = case.plan();
    assert_eq!((&plan.action, why(&plan)), (&None, "what runs is pinned; `unpin` lets newer images in"));
}

#[test]
fn a_pin_of_an_older_build_means_its_release_alone() {
    let mut case = Case::at_rest();
    case.images().insert(0, image("b", "v0.9.0"));
    case.journal().pin = Some(Pin { digest: None, ..pin("b") });
    assert_eq!(case.plan().action, Some(Action::Register { release: release("b") }));
    case.journal().pin = Some(Pin { release: ReleaseId::from("gone"), digest: None, ..pin("b") });
    let plan = case.plan();
    let words =
        "release gone is pinned, and no image that the policy admits makes it: push it again, or `unpin`";
    assert_eq!((&plan.action, why(&plan)), (&None, words));
}
