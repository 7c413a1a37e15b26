use std::collections::BTreeSet;

mod back;
mod gone;
mod words;

use super::text::lines;
use super::*;
use crate::journal::{Freeze, GoingBack, Intent, Pin, Stopped, Verdict, Wanted};
use crate::observe::facts::{
    Alarm, Child, Health, Image, Known, Observed, Rollout, RolloutState, Scan, Service, Stop, Task, TaskState,
};
use crate::policy::{OnNoTarget, ScanGate, Severity, Supersede};

const MINUTE: i64 = 60_000;
const NOW: Moment = Moment(1_000 * MINUTE);

fn digest(letter: &str) -> Digest {
    Digest(format!("sha256:{letter}{letter}"))
}

fn release(letter: &str) -> ReleaseId {
    ReleaseId(format!("release-{letter}"))
}

fn arn(number: u32) -> RevisionArn {
    RevisionArn(format!("arn:aws:ecs:r:1:task-definition/clicks:{number}"))
}

fn release_of(digest: &Digest) -> ReleaseId {
    ReleaseId(format!("release-{}", &digest.short()[..1]))
}

/// Everything that a plan is made of; tests change one thing.
struct Case {
    policy: Policy,
    observed: Observed,
    journal: Option<Journal>,
    pushed: Option<Digest>,
    now: Moment,
}

fn image(letter: &str, tag: &str) -> Image {
    Image {
        digest: digest(letter),
        tags: vec![tag.to_owned()],
        pushed_at: Moment(NOW.0 - 30 * MINUTE),
        children: Some(Vec::new()),
        scan: Scan::Pending,
    }
}

fn record(letter: &str, tag: &str, number: u32, verdict: Verdict) -> Record {
    Record {
        tags: vec![tag.to_owned()],
        version: Some(tag.trim_start_matches('v').to_owned()),
        pushed_at: Moment(NOW.0 - 30 * MINUTE),
        revision: Some(arn(number)),
        verdict,
        pointed_at: Some(Moment(NOW.0 - 20 * MINUTE)),
        verdict_at: Some(Moment(NOW.0 - i64::from(100 - number) * MINUTE)),
        ..Record::of(release(letter), digest(letter), Moment(NOW.0 - 20 * MINUTE))
    }
}

fn rollout(number: u32, state: RolloutState, minutes_ago: i64) -> Rollout {
    Rollout {
        id: format!("{number}-{minutes_ago}"),
        revision: arn(number),
        state,
        reason: "circuit breaker".to_owned(),
        created_at: Moment(NOW.0 - minutes_ago * MINUTE),
        failed_tasks: 2,
    }
}

fn task(number: u32, letter: &str, state: TaskState) -> Task {
    let healthy = Health::Healthy;
    Task {
        id: "t".into(),
        revision: arn(number),
        state,
        healthy,
        digest: Some(digest(letter)),
        started_at: None,
    }
}

fn exited(number: u32, letter: &str, code: i32, minutes_ago: i64) -> Task {
    let stop = Stop {
        at: Moment(NOW.0 - minutes_ago * MINUTE),
        code: "EssentialContainerExited".to_owned(),
        exit_code: Some(code),
        ..Stop::default()
    };
    task(number, letter, TaskState::Stopped(stop))
}

fn pin(letter: &str) -> Pin {
    Pin { release: release(letter), digest: Some(digest(letter)), by: "ann".to_owned(), at: NOW }
}

impl Case {
    /// `a` (v1.0.0, clicks:41) runs and is proven; nothing else is there.
    fn at_rest() -> Case {
        let service = Service {
            revision: arn(41),
            desired: 1,
            running: 1,
            own_rollback: true,
            rollouts: vec![rollout(41, RolloutState::Successful, 500)],
        };
        let journal = Journal {
            format: 1,
            revision: 7,
            current: Some(release("a")),
            releases: vec![record("a", "v1.0.0", 41, Verdict::Healthy)],
            ..Journal::default()
        };
        Case {
            policy: Policy::default(),
            observed: Observed {
                images: Known::Known(vec![image("a", "v1.0.0")]),
                service: Known::Known(Some(service)),
                tasks: Known::Known(vec![task(41, "a", TaskState::Running)]),
                alarms: Known::Known(Vec::new()),
                rejected: Known::Known(BTreeSet::new()),
                revisions: Known::Known(Vec::new()),
                inactive: Known::Known(Vec::new()),
            },
            journal: Some(journal),
            pushed: None,
            now: NOW,
        }
    }

    /// Beside it `b` (v1.1.0, clicks:42) is under proof, the service pointed at it 10 minutes ago.
    fn proving(state: RolloutState) -> Case {
        let mut case = Case::at_rest();
        case.images().push(image("b", "v1.1.0"));
        let mut candidate = record("b", "v1.1.0", 42, Verdict::Proving);
        candidate.pointed_at = Some(Moment(NOW.0 - 10 * MINUTE));
        candidate.verdict_at = None;
        case.journal().releases.push(candidate);
        case.journal().candidate = Some(release("b"));
        case.service().revision = arn(42);
        case.service().rollouts.insert(0, rollout(42, state, 10));
        case
    }

    fn images(&mut self) -> &mut Vec<Image> {
        let Known::Known(images) = &mut self.observed.images else { panic!("the images are known") };
        images
    }

    fn service(&mut self) -> &mut Service {
        let Known::Known(Some(service)) = &mut self.observed.service else { panic!("there is a service") };
        service
    }

    fn tasks(&mut self) -> &mut Vec<Task> {
        let Known::Known(tasks) = &mut self.observed.tasks else { panic!("the tasks are known") };
        tasks
    }

    fn reject(&mut self, what: &str) {
        let Known::Known(rejected) = &mut self.observed.rejected else { panic!("the ledger is known") };
        rejected.insert(what.to_owned());
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("there is a journal")
    }

    fn plan(&self) -> Plan {
        plan(&Inputs {
            policy: &self.policy,
            observed: &self.observed,
            journal: self.journal.as_ref(),
            release_of: &release_of,
            own_rollback: true,
            platform: "linux/arm64",
            pushed: self.pushed.as_ref(),
            rules: Rules::ALL,
            now: self.now,
        })
    }

    fn text(&self) -> String {
        lines(&self.plan().decision).join("\n")
    }
}

fn why(plan: &Plan) -> &str {
    &plan.decision.why
}

#[test]
fn at_rest_nothing_is_planned_and_nothing_is_written() {
    let plan = Case::at_rest().plan();
    assert_eq!((&plan.journal, &plan.action), (&None, &None));
    assert_eq!(why(&plan), "the newest image that the policy admits runs");
}

#[test]
fn a_newer_image_is_registered_first() {
    let mut case = Case::at_rest();
    case.images().push(image("b", "v1.1.0"));
    assert_eq!(
        case.text(),
        "+ task definition for v1.1.0   image @sha256:aa -> @sha256:bb\n  \
         because: `v1.1.0` is the newest image that the policy admits (1.1.0)\n  \
         then: point the service at it"
    );
    let journal = case.plan().journal.expect("it is announced");
    assert_eq!(journal.candidate, Some(release("b")));
    assert_eq!(journal.intent.map(|intent| (intent.id, intent.announced_at)), Some((8, NOW)));
}

#[test]
fn a_registered_release_is_deployed_and_the_plan_tells_how_to_undo_it() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.service().revision = arn(41);
    case.service().rollouts.remove(0);
    case.journal().record_mut(&release("b")).expect("it is there").pointed_at = None;
    assert_eq!(
        case.text(),
        "~ task definition clicks:41 -> clicks:42   image @sha256:aa -> @sha256:bb\n  \
         then: ECS starts its task beside the old one; then it is judged\n\
         ? undo: service -> clicks:41 (v1.0.0)"
    );
}

#[test]
fn a_crashing_release_is_rejected_before_the_service_goes_back() {
    let mut case = Case::proving(RolloutState::Failed);
    case.tasks().extend([exited(42, "b", 70, 8), exited(42, "b", 70, 7)]);
    let plan = case.plan();
    let journal = plan.journal.expect("the way back begins");
    let back = journal.going_back.clone().expect("it goes back");
    assert_eq!(
        (&back.to, back.rejects.as_deref(), back.cause),
        (&release("a"), Some("release-b"), Cause::Crash)
    );
    case.journal = Some(journal);
    assert_eq!(
        case.text(),
        "- release-b may not write any more\n  \
         because: it met a bug of its own (exit code 70)\n  \
         then: point the service at clicks:41 (v1.0.0)\n\
         ? undo: release release-b"
    );
    case.reject("release-b");
    assert_eq!(
        case.text(),
        "~ task definition clicks:42 -> clicks:41   image @sha256:aa   ECS's own rollback off\n  \
         because: it met a bug of its own (exit code 70)\n  \
         then: when its deployment is complete, ECS's own rollback is switched on again"
    );
}

#[test]
fn the_gates_verdict_rejects_the_image_under_any_tag() {
    let mut case = Case::proving(RolloutState::Failed);
    case.tasks().push(exited(42, "b", 65, 8));
    let back = case.plan().journal.and_then(|journal| journal.going_back).expect("it goes back");
    assert_eq!((back.rejects.as_deref(), back.cause), (Some("sha256:bb"), Cause::Data));
}

fn going_back() -> Case {
    let mut case = Case::proving(RolloutState::Failed);
    case.reject("release-b");
    case.journal().going_back = Some(GoingBack {
        from: release("b"),
        to: release("a"),
        rejects: Some("release-b".to_owned()),
        reason: "it crashed".to_owned(),
        cause: Cause::Crash,
        begun_at: Moment(NOW.0 - 5 * MINUTE),
        pointed_at: Some(Moment(NOW.0 - 4 * MINUTE)),
        failed_times: 0,
        retry_at: None,
        failed: Vec::new(),
    });
    case.service().revision = arn(41);
    case.service().own_rollback = false;
    case.service().rollouts.insert(0, rollout(41, RolloutState::Successful, 4));
    case
}

#[test]
fn ecs_own_rollback_is_switched_on_again_before_the_way_back_ends() {
    let mut case = going_back();
    assert_eq!(
        case.text(),
        "~ ECS's own rollback off -> on\n  because: clicks:41 (v1.0.0) runs again\n  then: the way back ends"
    );
    case.service().own_rollback = true;
    let plan = case.plan();
    let journal = plan.journal.expect("it ends");
    assert_eq!((journal.going_back, journal.candidate), (None, None));
    assert_eq!(journal.current, Some(release("a")));
    assert_eq!(plan.tallies, [Tally::Rollback(Cause::Crash)]);
}

#[test]
fn while_ecs_goes_back_by_itself_nothing_is_done_but_telling() {
    let mut case = Case::proving(RolloutState::RollingBack);
    case.service().revision = arn(41);
    let plan = case.plan();
    assert_eq!(plan.action, None);
    assert!(matches!(plan.happened.as_slice(), [Happened::EcsGoesBack { .. }]));
    case.journal = plan.journal;
    assert!(case.plan().happened.is_empty(), "it is told once");
}

#[test]
fn without_a_proven_release_nothing_is_rejected_and_a_person_is_paged() {
    let mut case = Case::proving(RolloutState::Failed);
    case.tasks().push(exited(42, "b", 70, 8));
    case.journal().record_mut(&release("a")).expect("it is there").verdict = Verdict::Superseded;
    let plan = case.plan();
    assert_eq!(plan.action, None);
    assert!(matches!(plan.happened.as_slice(), [Happened::NoTarget { stopped: false, .. }]));
    case.policy.on_no_target = OnNoTarget::Stop;
    let journal = case.plan().journal.expect("it is noted");
    assert_eq!(journal.stopped.map(|stopped| stopped.by), Some("landfall".to_owned()));
}

#[test]
fn a_target_whose_image_or_revision_is_gone_is_no_target() {
    let mut case = Case::proving(RolloutState::Failed);
    case.tasks().push(exited(42, "b", 70, 8));
    case.images().remove(0);
    assert!(matches!(case.plan().happened.as_slice(), [Happened::NoTarget { .. }]));
    case.images().push(image("a", "v1.0.0"));
    case.observed.inactive = Known::Known(vec![arn(41)]);
    assert!(matches!(case.plan().happened.as_slice(), [Happened::NoTarget { .. }]));
}

#[test]
fn surroundings_at_fault_block_a_release_and_never_reject_it() {
    let mut case = Case::proving(RolloutState::Failed);
    case.tasks().push(exited(42, "b", 69, 8));
    let plan = case.plan();
    let journal = plan.journal.expect("it is noted");
    let record = journal.record(&release("b")).expect("it is there");
    assert_eq!((record.verdict, record.retry_at), (Verdict::Blocked, Some(Moment(NOW.0 + 5 * MINUTE))));
    assert_eq!(journal.going_back.map(|back| back.rejects), Some(None));
    assert_eq!(plan.tallies.last(), Some(&Tally::Blocked(Cause::Surroundings)));
}

#[test]
fn one_that_waits_gives_way_to_a_newer_one_and_one_under_proof_does_not() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.images().push(image("c", "v1.2.0"));
    assert_eq!(case.plan().action, None, "it is under proof");
    case.policy.supersede = Supersede::AtOnce;
    assert_eq!(case.plan().action, Some(Action::Register { release: release("c") }));
    case.policy.supersede = Supersede::AfterVerdict;
    case.journal().record_mut(&release("b")).expect("it is there").pointed_at = None;
    let plan = case.plan();
    assert_eq!(plan.action, Some(Action::Register { release: release("c") }));
    let verdict = plan.journal.and_then(|journal| journal.record(&release("b")).map(|record| record.verdict));
    assert_eq!(verdict, Some(Verdict::Superseded));
}

#[test]
fn an_older_image_that_is_pushed_late_is_left_alone() {
    let mut case = Case::at_rest();
    case.images().push(Image { pushed_at: NOW, ..image("b", "v0.9.0") });
    let plan = case.plan();
    assert_eq!((plan.journal, plan.action), (None, None));
    assert_eq!(plan.tallies, []);
}

#[test]
fn a_registry_that_forgot_what_runs_downgrades_nothing() {
    let mut case = Case::at_rest();
    *case.images() = vec![image("b", "v0.9.0")];
    let plan = case.plan();
    assert_eq!(plan.action, None);
    assert_eq!(
        (why(&plan), &*plan.tallies),
        ("`v0.9.0` is not newer than what runs", &[Tally::Skipped(Skip::Older)][..])
    );
}

#[test]
fn the_same_image_under_another_tag_is_no_new_release() {
    let mut case = Case::at_rest();
    case.images()[0].tags.push("v3.0.0".to_owned());
    let plan = case.plan();
    assert_eq!((plan.journal, plan.action), (None, None));
}

#[test]
fn what_could_not_be_read_plans_nothing() {
    let unknown = |what: &str| (what.to_owned(), "timeout".to_owned());
    let mut case = Case::proving(RolloutState::Failed);
    let (what, why_not) = unknown("the repository");
    case.observed.images = Known::Unknown { what, why: why_not };
    let plan = case.plan();
    assert_eq!((&plan.journal, &plan.action), (&None, &None));
    assert_eq!(why(&plan), "the repository could not be read: timeout");
    assert_eq!(plan.tallies, [Tally::Skipped(Skip::Unknown)]);
    let mut case = Case::proving(RolloutState::Failed);
    let (what, why) = unknown("the service");
    case.observed.service = Known::Unknown { what, why };
    assert_eq!(case.plan().action, None);
}

#[test]
fn a_call_that_was_just_announced_is_left_to_whoever_makes_it() {
    let mut case = Case::at_rest();
    case.images().push(image("b", "v1.1.0"));
    let mut journal = case.plan().journal.expect("it is announced");
    journal.intent.as_mut().expect("it is announced").announced_at = Moment(NOW.0 - LEASE_MS + 1);
    case.journal = Some(journal);
    let plan = case.plan();
    assert_eq!((&plan.journal, &plan.action), (&None, &None));
    case.now = Moment(NOW.0 + 1);
    let plan = case.plan();
    assert_eq!(plan.action, Some(Action::Register { release: release("b") }), "it is nobody's any more");
}

#[test]
fn a_registration_whose_reply_was_lost_is_found_by_its_tag() {
    let mut case = Case::at_rest();
    case.images().push(image("b", "v1.1.0"));
    case.journal = case.plan().journal;
    case.observed.revisions =
        Known::Known(vec![Revision { arn: arn(42), release: Some(release("b")), image: Some(digest("b")) }]);
    let revision = arn(42);
    let force = false;
    let expected = Action::Point { release: release("b"), revision, own_rollback: true, force };
    assert_eq!(case.plan().action, Some(expected));
}

#[test]
fn a_service_without_a_journal_is_adopted_and_not_deployed_to() {
    let mut case = Case::at_rest();
    case.journal = None;
    case.observed.revisions =
        Known::Known(vec![Revision { arn: arn(41), release: Some(release("a")), image: Some(digest("a")) }]);
    let plan = case.plan();
    let journal = plan.journal.expect("it is written down");
    assert_eq!((plan.action, journal.current), (None, Some(release("a"))));
    assert_eq!(plan.happened, [Happened::Adopted { release: release("a") }]);
}

#[test]
fn the_first_release_creates_the_service() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.observed.service = Known::Known(None);
    case.journal().current = None;
    case.journal().record_mut(&release("b")).expect("it is there").pointed_at = None;
    assert!(case.text().starts_with("+ service at clicks:42   image @sha256:bb\n"), "{}", case.text());
}

#[test]
fn while_it_is_stopped_nothing_but_stopping_is_done() {
    let mut case = Case::at_rest();
    case.images().push(image("b", "v1.1.0"));
    case.journal().stopped =
        Some(Stopped { by: "ann".to_owned(), at: NOW, desired: 1, reason: "so".to_owned() });
    assert_eq!(
        case.text(),
        "~ tasks 1 -> 0\n  because: stopped by ann\n  then: looks again at once\n? undo: start"
    );
    case.service().desired = 0;
    let plan = case.plan();
    assert_eq!((plan.action, plan.tallies), (None, vec![Tally::Skipped(Skip::Stopped)]));
}

#[test]
fn a_freeze_holds_new_releases_and_lets_a_way_back_go_on() {
    let freeze = Some(Freeze { by: "ann".to_owned(), at: NOW, until: None, reason: "launch".to_owned() });
    let mut case = Case::at_rest();
    case.images().push(image("b", "v1.1.0"));
    case.journal().freeze = freeze.clone();
    let plan = case.plan();
    assert_eq!((&plan.action, why(&plan)), (&None, "frozen by ann: launch"));
    let mut case = going_back();
    case.journal().freeze = freeze;
    assert_eq!(case.plan().action, Some(Action::OwnRollback { on: true }));
}

#[test]
fn a_pinned_release_is_deployed_once_and_after_its_failure_not_again() {
    let mut case = Case::at_rest();
    case.images().insert(0, image("b", "v0.9.0"));
    case.journal().pin = Some(pin("b"));
    assert_eq!(case.plan().action, Some(Action::Register { release: release("b") }));
    case.reject("release-b");
    let plan = case.plan();
    assert_eq!(plan.action, None);
    assert_eq!(why(&plan), "`v0.9.0` is pinned, and was rejected; `unpin`, or `release` it");
}

#[test]
fn what_people_rejected_goes_into_the_ledger_before_anything_else() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.journal()
        .wanted_rejects
        .push(Wanted { what: "sha256:cc".to_owned(), reason: "ann: bad".to_owned() });
    assert_eq!(
        case.plan().action,
        Some(Action::Reject { what: "sha256:cc".to_owned(), reason: "ann: bad".to_owned() })
    );
    case.reject("sha256:cc");
    assert_eq!(case.plan().journal.map(|journal| journal.wanted_rejects), Some(Vec::new()));
}

#[test]
fn a_service_that_somebody_pointed_elsewhere_is_put_right_three_times_an_hour() {
    let mut case = Case::at_rest();
    case.service().revision = arn(40);
    let plan = case.plan();
    assert!(matches!(&plan.action, Some(Action::Point { revision, .. }) if *revision == arn(41)));
    case.journal().drifts = vec![NOW; 3];
    let plan = case.plan();
    assert_eq!(plan.action, None);
    assert!(matches!(plan.happened.as_slice(), [Happened::Drift { restored: false, .. }]));
}

#[test]
fn an_image_without_this_platform_is_passed_over() {
    let mut case = Case::at_rest();
    let child = Child { digest: digest("d"), platform: "linux/amd64".to_owned() };
    case.images().push(Image { children: Some(vec![child]), ..image("b", "v1.1.0") });
    let plan = case.plan();
    assert_eq!(plan.action, None);
    assert!(why(&plan).starts_with("`v1.1.0` has no image for linux/arm64: push one"), "{}", why(&plan));
}

#[test]
fn an_unfinished_scan_is_waited_for_and_a_bad_one_keeps_the_image_out() {
    let mut case = Case::at_rest();
    case.policy.scan = ScanGate { passes: Some(Severity::Medium), wait_ms: 60 * MINUTE };
    case.images().push(image("b", "v1.1.0"));
    assert_eq!(case.plan().tallies, [Tally::Skipped(Skip::ScanPending)]);
    case.images()[1].scan = Scan::Done(Some(Severity::High));
    assert_eq!(case.plan().tallies, [Tally::Skipped(Skip::ScanFindings)]);
    case.images()[1].scan = Scan::Done(Some(Severity::Low));
    assert_eq!(case.plan().action, Some(Action::Register { release: release("b") }));
}

#[test]
fn a_push_whose_event_never_came_is_found_and_counted() {
    let mut case = Case::at_rest();
    case.images().push(image("b", "v1.1.0"));
    assert!(case.plan().tallies.contains(&Tally::PushLost));
    case.pushed = Some(digest("b"));
    assert!(!case.plan().tallies.contains(&Tally::PushLost));
}

#[test]
fn a_refused_call_waits_and_the_same_call_is_not_made_at_once() {
    let mut case = Case::at_rest();
    case.images().push(image("b", "v1.1.0"));
    case.journal().last_error = Some(crate::journal::LastError {
        action: Action::Register { release: release("b") },
        text: "register: denied".to_owned(),
        denied: true,
        at: Moment(NOW.0 - 30_000),
        times: 1,
    });
    let plan = case.plan();
    assert_eq!(plan.action, None);
    assert!(matches!(plan.happened.as_slice(), [Happened::Refused { denied: true, .. }]));
    case.now = Moment(NOW.0 + MINUTE);
    assert_eq!(case.plan().action, Some(Action::Register { release: release("b") }));
}

#[test]
fn an_old_intent_of_a_deployment_that_never_was_is_as_if_it_had_not_been() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.service().revision = arn(41);
    case.service().rollouts.remove(0);
    let at = Moment(NOW.0 - 10 * MINUTE);
    let action = Action::Point { release: release("b"), revision: arn(42), own_rollback: true, force: false };
    case.journal().intent = Some(Intent { id: 7, action: action.clone(), announced_at: at });
    assert_eq!(case.plan().action, Some(action));
}

#[test]
fn a_deployment_that_ecs_took_back_before_anybody_looked_is_not_made_again() {
    let mut case = Case::proving(RolloutState::RolledBack);
    case.service().revision = arn(41);
    let at = Moment(NOW.0 - 10 * MINUTE);
    let action = Action::Point { release: release("b"), revision: arn(42), own_rollback: true, force: false };
    case.journal().intent = Some(Intent { id: 7, action, announced_at: at });
    case.tasks().push(exited(42, "b", 70, 8));
    let plan = case.plan();
    assert_eq!(plan.action, None);
    assert_eq!(plan.journal.and_then(|journal| journal.going_back).map(|back| back.to), Some(release("a")));
}

#[test]
fn a_rollback_of_ecs_to_what_is_rejected_is_not_waited_for() {
    let mut case = going_back();
    case.service().revision = arn(42);
    case.service().rollouts[0].state = RolloutState::RollingBack;
    assert!(matches!(case.plan().action, Some(Action::Point { revision, .. }) if revision == arn(41)));
}

#[test]
fn what_ecs_did_not_complete_is_adopted_as_unproven_and_a_stopped_service_as_stopped() {
    let mut case = Case::at_rest();
    case.journal = None;
    case.service().rollouts[0].state = RolloutState::RollbackFailed;
    let journal = case.plan().journal.expect("it is written down");
    assert_eq!((journal.current, journal.stopped), (None, None));
    let mut case = Case::at_rest();
    case.journal = None;
    case.service().desired = 0;
    let journal = case.plan().journal.expect("it is written down");
    assert_eq!(journal.stopped.map(|stopped| stopped.desired), Some(1));
}

#[test]
fn a_service_is_not_put_right_to_a_release_that_may_not_write() {
    let mut case = Case::at_rest();
    case.service().revision = arn(40);
    case.reject("release-a");
    assert_eq!(case.plan().action, None);
}

#[test]
fn a_revision_that_somebody_deregistered_is_registered_again() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.service().revision = arn(41);
    case.service().rollouts.remove(0);
    case.journal().record_mut(&release("b")).expect("it is there").pointed_at = None;
    case.observed.inactive = Known::Known(vec![arn(42)]);
    assert_eq!(case.plan().action, Some(Action::Register { release: release("b") }));
}

#[test]
fn a_deployment_that_never_began_is_asked_for_again_by_force() {
    let mut case = Case::proving(RolloutState::InProgress);
    case.service().rollouts.remove(0);
    assert!(matches!(case.plan().action, Some(Action::Point { force: true, .. })));
}

#[test]
fn an_index_whose_platforms_were_not_read_is_not_released_blindly() {
    let mut case = Case::at_rest();
    case.images().push(Image { children: None, ..image("b", "v1.1.0") });
    assert_eq!(case.plan().action, None);
}

#[test]
fn an_alarm_that_rang_before_is_waited_for() {
    let mut case = Case::proving(RolloutState::Successful);
    let alarm = |in_alarm| Alarm { name: "damage".to_owned(), in_alarm, since: Moment(0) };
    case.observed.alarms = Known::Known(vec![alarm(true)]);
    let running = task(42, "b", TaskState::Running);
    case.tasks().push(Task { started_at: Some(Moment(NOW.0 - 20 * MINUTE)), ..running });
    let record = case.journal().record_mut(&release("b")).expect("it is there");
    record.completed_at = Some(Moment(NOW.0 - 20 * MINUTE));
    record.alarms_before = vec!["damage".to_owned()];
    assert!(why(&case.plan()).contains("still in ALARM"));
    case.observed.alarms = Known::Known(vec![alarm(false)]);
    assert_eq!(case.plan().journal.and_then(|journal| journal.current), Some(release("b")));
}
