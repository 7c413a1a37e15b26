use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::journal::{Approval, Cause, Freeze, GoingBack, Pin, Record, Stopped, Verdict, Wanted};
use crate::observe::facts::{Child, Health, Image, Scan, Service, Task, TaskState};
use crate::policy::Severity;
use crate::release::RevisionArn;

const NOW: Moment = Moment(1_795_744_860_000);

fn digest(letter: char) -> Digest {
    Digest(format!("sha256:{}", letter.to_string().repeat(64)))
}

/// What the templates make of an image here: sixteen times the digest's first digit.
fn release(letter: char) -> ReleaseId {
    ReleaseId(letter.to_string().repeat(16))
}

fn revision(number: u32) -> RevisionArn {
    RevisionArn(format!("arn:aws:ecs:eu-west-1:123456789012:task-definition/shop:{number}"))
}

fn render(digest: &Digest) -> Result<Rendered, String> {
    let letter = digest.as_str().chars().nth(7).unwrap();
    let container = json!({"name": "worker", "image": digest, "cpu": 256});
    Ok(Rendered {
        release: release(letter),
        task_definition: json!({
            "family": "shop",
            "runtimePlatform": {"cpuArchitecture": "ARM64"},
            "containerDefinitions": [container],
        }),
        service: json!({"platformVersion": "1.4.0"}),
    })
}

fn policy() -> Policy {
    Policy::parse("[scan]\npasses = \"high\"").unwrap()
}

fn image(letter: char, tag: &str) -> Image {
    let pushed_at = Moment(1_000 * i64::from(u32::from(letter)));
    let child = Child { digest: digest(letter.to_ascii_uppercase()), platform: "linux/arm64/v8".to_owned() };
    let tags = vec![tag.to_owned()];
    Image { digest: digest(letter), tags, pushed_at, children: Some(vec![child]), scan: Scan::Done(None) }
}

fn record(letter: char, tag: &str, number: u32, verdict: Verdict) -> Record {
    Record {
        release: release(letter),
        digest: digest(letter),
        children: Vec::new(),
        tags: vec![tag.to_owned()],
        version: Some(tag.trim_start_matches('v').to_owned()),
        pushed_at: Moment(1_000 * i64::from(u32::from(letter))),
        revision: Some(revision(number)),
        verdict,
        reason: "why".to_owned(),
        picked_at: Moment(i64::from(number)),
        pointed_at: None,
        running_at: None,
        completed_at: Some(Moment(1)),
        verdict_at: Some(Moment(i64::from(number))),
        blocked_times: 0,
        retry_at: None,
        alarms_before: Vec::new(),
        keep: None,
        mirrored: None,
    }
}

struct World {
    journal: Journal,
    observed: Observed,
    policy: Policy,
    desired: Option<ReleaseId>,
    decision: Option<Decision>,
    running_task_definition: Option<Value>,
    needs: Vec<Answered>,
}

impl World {
    /// v1 and v2 were healthy, v3 runs and is healthy too; v4 was pushed and is what the policy asks for.
    fn new() -> World {
        let journal = Journal {
            current: Some(release('c')),
            releases: vec![
                record('a', "v1.0.0", 1, Verdict::Healthy),
                record('b', "v2.0.0", 2, Verdict::Healthy),
                record('c', "v3.0.0", 3, Verdict::Healthy),
            ],
            ..Journal::default()
        };
        let images =
            vec![image('a', "v1.0.0"), image('b', "v2.0.0"), image('c', "v3.0.0"), image('d', "v4.0.0")];
        let observed = Observed {
            images: Known::Known(images),
            service: Known::Known(Some(Service {
                revision: revision(3),
                desired: 1,
                running: 1,
                own_rollback: true,
                rollouts: Vec::new(),
            })),
            tasks: Known::Known(Vec::new()),
            alarms: Known::Known(Vec::new()),
            rejected: Known::Known(BTreeSet::new()),
            revisions: Known::Known(Vec::new()),
            inactive: Known::Known(Vec::new()),
        };
        let desired = Some(release('d'));
        World {
            journal,
            observed,
            policy: policy(),
            desired,
            decision: None,
            running_task_definition: None,
            needs: Vec::new(),
        }
    }

    fn ask(&self, command: Value) -> Result<Answer, Refusal> {
        let verb: Verb = serde_json::from_value(command).unwrap();
        let facts = Facts {
            journal: &self.journal,
            observed: &self.observed,
            policy: &self.policy,
            now: NOW,
            rendered: &render,
            desired: self.desired.as_ref(),
            decision: self.decision.as_ref(),
            running_task_definition: self.running_task_definition.as_ref(),
            needs: &self.needs,
        };
        answer(&Command { verb, by: "ada".to_owned() }, &facts)
    }

    /// Asks, and stores what the answer wants stored.
    fn told(&mut self, command: Value) -> Answer {
        let answer = self.ask(command.clone()).unwrap_or_else(|refusal| panic!("{command}: {refusal}"));
        if let Some(journal) = &answer.journal {
            self.journal = journal.clone();
        }
        answer
    }

    fn refused(&self, command: Value) -> Refusal {
        match self.ask(command.clone()) {
            Err(refusal) => refusal,
            Ok(answer) => panic!("{command}: {answer:?}"),
        }
    }

    fn verdict(&mut self, letter: char, verdict: Verdict) {
        self.journal.record_mut(&release(letter)).unwrap().verdict = verdict;
    }

    fn images(&mut self) -> &mut Vec<Image> {
        match &mut self.observed.images {
            Known::Known(images) => images,
            Known::Unknown { .. } => panic!("unknown"),
        }
    }

    fn ledger_rejects(&mut self, what: &str) {
        self.observed.rejected = Known::Known(BTreeSet::from([what.to_owned()]));
    }
}

fn rollback() -> Value {
    json!({"command": "rollback", "reason": "totals are wrong"})
}

#[test]
fn a_rollback_goes_to_the_newest_healthy_release_and_rejects_what_it_leaves() {
    let mut world = World::new();
    let answer = world.told(rollback());
    let expected = GoingBack {
        from: release('c'),
        to: release('b'),
        rejects: Some(release('c').0),
        reason: "ada rolled it back: totals are wrong".to_owned(),
        cause: Cause::Person,
        begun_at: NOW,
        pointed_at: None,
        failed_times: 0,
        retry_at: None,
    };
    assert_eq!(world.journal.going_back, Some(expected));
    assert_eq!(world.journal.pin, None, "the newest healthy one needs no pin");
    assert!(answer.said.contains("from v3.0.0") && answer.said.contains("to v2.0.0"), "{}", answer.said);
}

#[test]
fn a_rollback_to_an_older_release_pins_it() {
    let mut world = World::new();
    let mut command = rollback();
    command["to"] = json!("v1.0.0");
    let answer = world.told(command);
    assert_eq!(world.journal.going_back.as_ref().unwrap().to, release('a'));
    assert_eq!(world.journal.pin, Some(Pin { release: release('a'), by: "ada".to_owned(), at: NOW }));
    assert!(answer.said.contains("unpin"), "{}", answer.said);
}

#[test]
fn a_rollback_lifts_the_pin_on_what_it_leaves() {
    let mut world = World::new();
    world.journal.pin = Some(Pin { release: release('c'), by: "bob".to_owned(), at: NOW });
    world.told(rollback());
    assert_eq!(world.journal.pin, None);
}

#[test]
fn a_quiet_release_is_gone_back_to_only_without_a_healthy_one_and_only_when_complete() {
    let mut world = World::new();
    world.verdict('b', Verdict::Quiet);
    world.told(rollback());
    assert_eq!(world.journal.going_back.as_ref().unwrap().to, release('a'), "the healthy one, though older");
    let mut world = World::new();
    world.verdict('a', Verdict::Quiet);
    world.verdict('b', Verdict::Quiet);
    world.journal.record_mut(&release('b')).unwrap().completed_at = None;
    world.told(rollback());
    assert_eq!(world.journal.going_back.as_ref().unwrap().to, release('a'), "b never completed");
}

#[test]
fn a_rollback_needs_a_target_that_is_proven_there_and_not_rejected() {
    let mut world = World::new();
    world.images().retain(|image| image.digest != digest('b'));
    world.told(rollback());
    assert_eq!(world.journal.going_back.as_ref().unwrap().to, release('a'), "b's image is gone");

    let mut world = World::new();
    world.ledger_rejects(release('b').as_str());
    world.told(rollback());
    assert_eq!(world.journal.going_back.as_ref().unwrap().to, release('a'), "the ledger rejects b");

    let mut world = World::new();
    world.images().retain(|image| image.digest == digest('c'));
    let refusal = world.refused(rollback());
    assert_eq!(refusal.kind(), "image-gone");
    assert!(refusal.to_string().contains("v2.0.0"), "{refusal}");

    let mut world = World::new();
    world.observed.inactive = Known::Known(vec![revision(1), revision(2)]);
    assert_eq!(world.refused(rollback()).kind(), "revision-gone");

    let mut world = World::new();
    world.verdict('a', Verdict::Blocked);
    world.verdict('b', Verdict::Rejected);
    assert_eq!(world.refused(rollback()).kind(), "no-target");
}

#[test]
fn a_rollback_is_refused_while_one_is_under_way() {
    let mut world = World::new();
    world.told(rollback());
    let refusal = world.refused(rollback());
    assert_eq!(refusal.kind(), "going-back");
    assert!(refusal.to_string().contains("from v3.0.0"), "{refusal}");
    let reject = json!({"command": "reject", "what": "v1.0.0", "reason": "why"});
    assert_eq!(world.refused(reject).kind(), "going-back", "the target may be about to change");
}

#[test]
fn a_rollback_that_expects_something_else_changes_nothing() {
    let mut world = World::new();
    let mut command = rollback();
    command["expect"] = json!("v2.0.0");
    let refusal = world.refused(command.clone());
    assert_eq!(refusal.kind(), "not-expected");
    assert!(refusal.to_string().contains("v3.0.0"), "{refusal}");
    for expected in ["v3.0.0", "cccccc", digest('c').as_str(), release('c').as_str()] {
        command["expect"] = json!(expected);
        assert!(world.ask(command.clone()).is_ok(), "{expected}");
    }
    // A tag that has moved to another image names that image.
    world.images()[2].tags.clear();
    world.images()[3].tags = vec!["v3.0.0".to_owned()];
    command["expect"] = json!("v3.0.0");
    assert_eq!(world.refused(command).kind(), "not-expected");
}

#[test]
fn a_rollback_to_what_runs_was_never_proven_or_is_rejected_is_refused() {
    let mut world = World::new();
    let to = |what: &str| json!({"command": "rollback", "to": what, "reason": "why"});
    assert_eq!(world.refused(to("v3.0.0")).kind(), "running");
    assert_eq!(world.refused(to("v4.0.0")).kind(), "not-proven");
    world.verdict('a', Verdict::Blocked);
    assert_eq!(world.refused(to("v1.0.0")).kind(), "not-proven");
    world.verdict('a', Verdict::Rejected);
    assert_eq!(world.refused(to("v1.0.0")).kind(), "rejected");
    world.ledger_rejects(digest('b').as_str());
    assert_eq!(world.refused(to("v2.0.0")).kind(), "rejected");
    world.images().retain(|image| image.digest != digest('a'));
    world.verdict('a', Verdict::Healthy);
    assert_eq!(world.refused(to("v1.0.0")).kind(), "image-gone");
}

#[test]
fn unknown_facts_change_nothing_but_never_stop_a_freeze() {
    let unknown = || Known::Unknown { what: "the registry".to_owned(), why: "timeout".to_owned() };
    let mut world = World::new();
    world.observed.images = unknown();
    for command in [
        rollback(),
        json!({"command": "deploy", "what": "v1.0.0"}),
        json!({"command": "approve", "what": "v4.0.0"}),
        json!({"command": "reject", "what": "v1.0.0", "reason": "why"}),
    ] {
        assert_eq!(world.refused(command).kind(), "unknown");
    }
    let mut world = World::new();
    world.observed.rejected = Known::Unknown { what: "the ledger".to_owned(), why: "denied".to_owned() };
    assert_eq!(world.refused(rollback()).kind(), "unknown");
    world.observed.service = Known::Unknown { what: "the service".to_owned(), why: "throttled".to_owned() };
    assert_eq!(world.refused(json!({"command": "stop", "reason": "why"})).kind(), "unknown");
    world.told(json!({"command": "freeze", "reason": "why"}));
    let status = world.told(json!({"command": "status"}));
    assert_eq!(status.details["unknown"][0], "could not read the service: throttled");
}

#[test]
fn deploying_an_older_release_pins_it_and_the_newest_needs_no_pin() {
    let mut world = World::new();
    let answer = world.told(json!({"command": "deploy", "what": "v4.0.0"}));
    assert!(answer.journal.is_none() && answer.said.contains("next look"), "{}", answer.said);
    world.told(json!({"command": "deploy", "what": "v1.0.0"}));
    assert_eq!(world.journal.pin.as_ref().unwrap().release, release('a'));
    let again = world.told(json!({"command": "deploy", "what": "v1.0.0"}));
    assert!(again.journal.is_none(), "twice equals once");
    world.told(json!({"command": "deploy", "what": "v4.0.0"}));
    assert_eq!(world.journal.pin, None, "the newest again");
    world.desired = Some(release('c'));
    let runs = world.told(json!({"command": "deploy", "what": "v3.0.0"}));
    assert!(runs.journal.is_none() && runs.said.ends_with("runs already"), "{}", runs.said);
}

#[test]
fn deploying_a_rejected_release_is_refused_until_it_is_released() {
    let mut world = World::new();
    world.verdict('b', Verdict::Rejected);
    world.ledger_rejects(release('b').as_str());
    let deploy = json!({"command": "deploy", "what": "v2.0.0"});
    let refusal = world.refused(deploy.clone());
    assert_eq!(refusal.kind(), "rejected");
    assert!(refusal.to_string().contains("`release`"), "{refusal}");
    world.told(json!({"command": "release", "what": "v2.0.0", "reason": "it was the producer"}));
    world.told(deploy);
    assert_eq!(world.journal.pin.as_ref().unwrap().release, release('b'));
}

#[test]
fn a_digest_that_is_rejected_is_rejected_under_any_tag_and_by_its_platform() {
    let mut world = World::new();
    world.images()[3].tags = vec!["v5.0.0".to_owned()];
    for rejected in [digest('d'), digest('D')] {
        world.ledger_rejects(rejected.as_str());
        assert_eq!(world.refused(json!({"command": "deploy", "what": "v5.0.0"})).kind(), "rejected");
    }
}

#[test]
fn deploying_says_what_holds_it_back() {
    let mut world = World::new();
    world.policy.approval = true;
    world.told(json!({"command": "freeze", "reason": "black friday"}));
    let answer = world.told(json!({"command": "deploy", "what": "v1.0.0"}));
    assert!(answer.said.contains("black friday") && answer.said.contains("`approve`"), "{}", answer.said);
}

#[test]
fn deploying_a_blocked_release_tries_it_at_once() {
    let mut world = World::new();
    let mut blocked = record('d', "v4.0.0", 4, Verdict::Blocked);
    blocked.retry_at = Some(NOW.after_ms(60_000));
    world.journal.releases.push(blocked);
    world.told(json!({"command": "deploy", "what": "v4.0.0"}));
    assert_eq!(world.journal.record(&release('d')).unwrap().retry_at, Some(NOW));
}

#[test]
fn pinning_without_a_name_keeps_what_runs() {
    let mut world = World::new();
    world.told(json!({"command": "pin"}));
    assert_eq!(world.journal.pin, Some(Pin { release: release('c'), by: "ada".to_owned(), at: NOW }));
    assert!(world.told(json!({"command": "pin"})).journal.is_none());
    world.told(json!({"command": "unpin"}));
    assert_eq!(world.journal.pin, None);
    assert!(world.told(json!({"command": "unpin"})).journal.is_none());
}

#[test]
fn an_approval_is_of_the_digest_and_given_once() {
    let mut world = World::new();
    world.policy.approval = true;
    world.told(json!({"command": "approve", "what": "v4.0.0"}));
    assert_eq!(world.journal.approvals, [Approval { digest: digest('d'), by: "ada".to_owned(), at: NOW }]);
    assert!(world.told(json!({"command": "approve", "what": "dddddd"})).journal.is_none());
}

#[test]
fn rejecting_what_does_not_run_is_left_to_the_ledger() {
    let mut world = World::new();
    world.journal.candidate = Some(release('b'));
    world.journal.pin = Some(Pin { release: release('b'), by: "bob".to_owned(), at: NOW });
    let reject = json!({"command": "reject", "what": "v2.0.0", "reason": "loses refunds"});
    world.told(reject.clone());
    let wanted = Wanted { what: release('b').0, reason: "ada: loses refunds".to_owned() };
    assert_eq!(world.journal.wanted_rejects, [wanted]);
    assert_eq!((&world.journal.candidate, &world.journal.pin), (&None, &None));
    let record = world.journal.record(&release('b')).unwrap();
    assert_eq!((record.verdict, record.verdict_at), (Verdict::Rejected, Some(NOW)));
    assert_eq!(record.reason, "ada rejected it: loses refunds");
    assert!(world.told(reject).journal.is_none(), "twice equals once");
    let deploy = json!({"command": "deploy", "what": "v2.0.0"});
    assert_eq!(world.refused(deploy).kind(), "rejected", "before the ledger knows it");
}

#[test]
fn rejecting_by_a_whole_digest_means_the_image_under_any_settings() {
    let mut world = World::new();
    let mut other = record('b', "v2.0.0", 9, Verdict::Superseded);
    other.release = ReleaseId::from("9999999999999999");
    world.journal.releases.push(other);
    world.told(json!({"command": "reject", "what": digest('b'), "reason": "why"}));
    assert_eq!(world.journal.wanted_rejects[0].what, digest('b').0);
    let rejected = world.journal.releases.iter().filter(|record| record.verdict == Verdict::Rejected);
    assert_eq!(rejected.count(), 2);
}

#[test]
fn rejecting_what_runs_leaves_it_where_there_is_a_target_and_is_refused_otherwise() {
    let mut world = World::new();
    let reject = json!({"command": "reject", "what": "v3.0.0", "reason": "why"});
    world.told(reject.clone());
    let back = world.journal.going_back.as_ref().unwrap();
    assert_eq!((&back.from, &back.to), (&release('c'), &release('b')));
    assert!(world.journal.wanted_rejects.is_empty(), "rejected by the way back, once the target is settled");
    let mut world = World::new();
    world.journal.releases.drain(..2);
    assert_eq!(world.refused(reject).kind(), "no-target");
    assert_eq!(world.journal.record(&release('c')).unwrap().verdict, Verdict::Healthy);
}

#[test]
fn rejecting_a_release_whose_tasks_still_run_waits_for_the_handover() {
    let mut world = World::new();
    world.observed.tasks = Known::Known(vec![Task {
        id: "t".to_owned(),
        revision: revision(2),
        state: TaskState::Running,
        healthy: Health::Healthy,
        digest: None,
        started_at: None,
    }]);
    let reject = json!({"command": "reject", "what": "v2.0.0", "reason": "why"});
    assert_eq!(world.refused(reject).kind(), "still-running");
}

#[test]
fn a_rejection_taken_back_makes_the_release_eligible_again() {
    let mut world = World::new();
    world.verdict('b', Verdict::Rejected);
    world.ledger_rejects(release('b').as_str());
    let release_it = json!({"command": "release", "what": "v2.0.0", "reason": "it was the producer"});
    world.told(release_it.clone());
    assert_eq!(world.journal.wanted_releases[0].what, release('b').0);
    let record = world.journal.record(&release('b')).unwrap();
    assert_eq!(record.verdict, Verdict::Superseded);
    assert_eq!(record.reason, "ada took the rejection back: it was the producer");
    assert!(world.told(release_it).journal.is_none(), "twice equals once");
    let other = json!({"command": "release", "what": "v1.0.0", "reason": "why"});
    assert_eq!(world.refused(other).kind(), "not-rejected");
}

#[test]
fn a_rejection_that_the_ledger_never_heard_of_is_just_forgotten() {
    let mut world = World::new();
    world.told(json!({"command": "reject", "what": "v1.0.0", "reason": "why"}));
    world.told(json!({"command": "release", "what": "v1.0.0", "reason": "a mistake"}));
    assert!(world.journal.wanted_rejects.is_empty() && world.journal.wanted_releases.is_empty());
    assert_eq!(world.journal.record(&release('a')).unwrap().verdict, Verdict::Superseded);
    // And the other way round.
    world.ledger_rejects(release('b').as_str());
    world.told(json!({"command": "release", "what": "v2.0.0", "reason": "why"}));
    world.told(json!({"command": "reject", "what": "v2.0.0", "reason": "it was bad after all"}));
    assert!(world.journal.wanted_releases.is_empty() && world.journal.wanted_rejects.is_empty());
    assert_eq!(world.journal.record(&release('b')).unwrap().verdict, Verdict::Rejected);
}

#[test]
fn a_rejection_whose_image_and_record_are_gone_is_named_as_the_ledger_does() {
    let mut world = World::new();
    world.ledger_rejects("0011223344556677");
    world.told(json!({"command": "release", "what": "0011223344556677", "reason": "why"}));
    assert_eq!(world.journal.wanted_releases[0].what, "0011223344556677");
}

#[test]
fn stopping_remembers_how_many_tasks_to_come_back_to() {
    let mut world = World::new();
    if let Known::Known(Some(service)) = &mut world.observed.service {
        service.desired = 3;
    }
    world.told(json!({"command": "stop", "reason": "the topic is being moved"}));
    let reason = "the topic is being moved".to_owned();
    assert_eq!(world.journal.stopped, Some(Stopped { by: "ada".to_owned(), at: NOW, desired: 3, reason }));
    let again = world.told(json!({"command": "stop", "reason": "again"}));
    assert!(again.journal.is_none() && again.said.contains("the topic is being moved"), "{}", again.said);
    world.told(json!({"command": "start"}));
    assert_eq!((&world.journal.stopped, world.journal.scale_to), (&None, Some(3)));
    assert!(world.told(json!({"command": "start"})).journal.is_none());
    world.observed.service = Known::Known(None);
    assert_eq!(world.refused(json!({"command": "stop", "reason": "why"})).kind(), "no-service");
}

#[test]
fn a_freeze_ends_at_a_time_to_come_or_by_unfreeze() {
    let mut world = World::new();
    for until in ["2026-11-25", "tomorrow", "2020-01-01T00:00:00Z"] {
        let refusal = world.refused(json!({"command": "freeze", "until": until, "reason": "why"}));
        assert_eq!(refusal.kind(), "bad-time");
        assert!(refusal.to_string().contains(until), "{refusal}");
    }
    let freeze = json!({"command": "freeze", "until": "2026-12-24T18:00:00+01:00", "reason": "holidays"});
    world.told(freeze.clone());
    let expected = Freeze {
        by: "ada".to_owned(),
        at: NOW,
        until: Some(Moment(1_798_131_600_000)),
        reason: "holidays".to_owned(),
    };
    assert_eq!(world.journal.freeze, Some(expected));
    assert!(world.told(freeze).journal.is_none());
    world.told(json!({"command": "unfreeze"}));
    assert_eq!(world.journal.freeze, None);
}

#[test]
fn a_name_that_may_mean_several_is_refused_with_all_of_them() {
    let mut world = World::new();
    world.images()[0].digest = Digest(format!("sha256:{}1", "d".repeat(63)));
    let refusal = world.refused(json!({"command": "approve", "what": "dddddd"}));
    assert_eq!(refusal.kind(), "ambiguous");
    let text = refusal.to_string();
    assert!(text.contains("v1.0.0") && text.contains("v4.0.0"), "{text}");
    // What is exact beats what merely starts so.
    world.images()[0].tags = vec!["dddddd".to_owned()];
    assert!(world.ask(json!({"command": "approve", "what": "dddddd"})).is_ok());
}

#[test]
fn a_name_is_a_tag_a_digest_a_platforms_digest_or_the_start_of_a_release_id() {
    let world = World::new();
    let whole = digest('d');
    for what in
        ["v4.0.0", "dddddd", "sha256:ddddddd", whole.as_str(), digest('D').as_str(), release('d').as_str()]
    {
        let answer = world.ask(json!({"command": "approve", "what": what})).unwrap();
        assert_eq!(answer.journal.unwrap().approvals[0].digest, whole, "{what}");
    }
    assert_eq!(world.refused(json!({"command": "approve", "what": "ddddd"})).kind(), "too-short");
    let refusal = world.refused(json!({"command": "approve", "what": "v9.9.9"}));
    assert_eq!(refusal.kind(), "not-found");
    assert!(refusal.to_string().ends_with("there are v4.0.0, v3.0.0, v2.0.0, v1.0.0"), "{refusal}");
}

#[test]
fn a_tag_that_only_the_journal_remembers_still_names_its_release() {
    let mut world = World::new();
    world.images()[0].tags.clear();
    world.told(json!({"command": "rollback", "to": "v1.0.0", "reason": "why"}));
    assert_eq!(world.journal.going_back.as_ref().unwrap().to, release('a'));
}

#[test]
fn what_runs_is_told_or_why_it_cannot_be() {
    let mut world = World::new();
    world.decision = Some(Decision {
        release: Some(release('d')),
        what: "register v4.0.0".to_owned(),
        why: "it is the newest".to_owned(),
        next: "point the service at it".to_owned(),
        undo: None,
    });
    world.journal.candidate = Some(release('b'));
    world.told(json!({"command": "freeze", "reason": "holidays"}));
    let status = world.told(json!({"command": "status"}));
    let details = &status.details;
    assert_eq!(details["runs"]["release"], json!(release('c')));
    assert_eq!(details["runs"]["verdict"], "healthy");
    assert_eq!(details["runs"]["revision"], "shop:3");
    assert_eq!(details["candidate"]["tags"], json!(["v2.0.0"]));
    assert_eq!(details["next"]["next"], "point the service at it");
    assert_eq!(details["freeze"]["until"], "unfreeze");
    assert_eq!(details["releases"].as_array().unwrap().len(), 3);
    assert_eq!(details["releases"][0]["tags"], json!(["v3.0.0"]), "newest first");
    assert!(
        status.said.starts_with("v3.0.0 (release cccccccccccccccc, image cccccccccccc) runs"),
        "{}",
        status.said
    );
    assert!(status.said.ends_with("next: point the service at it"), "{}", status.said);
    assert_eq!(status.json("status")["ok"], true);

    world.journal.releases.clear();
    let status = world.told(json!({"command": "status"}));
    assert!(status.said.contains("shop:3") && status.said.contains("adopted"), "{}", status.said);
    assert_eq!(world.refused(rollback()).kind(), "unrecorded");
    world.observed.service = Known::Known(None);
    assert_eq!(world.told(json!({"command": "status"})).details["runs"], Value::Null);
}

#[test]
fn the_history_is_newest_first_and_bounded() {
    let mut world = World::new();
    let history = world.told(json!({"command": "history", "limit": 2}));
    let releases = history.details["releases"].as_array().unwrap();
    assert_eq!(releases.len(), 2);
    assert_eq!(releases[0]["release"], json!(release('c')));
    assert_eq!(history.said, "2 of 3 releases that the journal knows");
}

#[test]
fn a_diff_names_every_key_that_changes() {
    let mut world = World::new();
    let diff = world.told(json!({"command": "diff"}));
    let (old, new) = (digest('c'), digest('d'));
    let change = format!("task definition.containerDefinitions[worker].image: \"{old}\" -> \"{new}\"");
    assert_eq!(diff.details["changes"], json!([change]));
    assert_eq!(
        (&diff.details["from"]["tags"], &diff.details["to"]["tags"]),
        (&json!(["v3.0.0"]), &json!(["v4.0.0"]))
    );
    assert_eq!(diff.said, "another image, 1 keys differ");
    let same = world.told(json!({"command": "diff", "what": "v3.0.0"}));
    assert_eq!(same.details["changes"], json!([]));
}

#[test]
fn a_diff_after_the_templates_changed_takes_what_was_registered() {
    let mut world = World::new();
    let before = ReleaseId::from("0000000000000000");
    world.journal.releases[2].release = before.clone();
    world.journal.current = Some(before);
    let diff = world.told(json!({"command": "diff", "what": "v3.0.0"}));
    let unknown = diff.details["unknown"].as_array().unwrap();
    assert_eq!(unknown.len(), 2, "neither task definition nor service is known: {unknown:?}");
    let mut registered = render(&digest('c')).unwrap().task_definition;
    registered["containerDefinitions"][0]["cpu"] = json!(512);
    registered["memory"] = json!("2048");
    world.running_task_definition = Some(registered);
    let diff = world.told(json!({"command": "diff", "what": "v3.0.0"}));
    let changes = [
        "task definition.containerDefinitions[worker].cpu: 512 -> 256",
        "task definition.memory: \"2048\" -> none",
    ];
    assert_eq!(diff.details["changes"], json!(changes));
    assert!(diff.said.starts_with("the same image"), "{}", diff.said);
}

#[test]
fn verifying_tells_each_check_and_what_is_not_known() {
    let mut world = World::new();
    let result = |answer: &Answer, check: &str| {
        let checks = answer.details["checks"].as_array().unwrap().clone();
        let found = checks.into_iter().find(|found| found["check"] == check).unwrap();
        found["result"].as_str().unwrap().to_owned()
    };
    let verify = json!({"command": "verify"});
    let good = world.told(verify.clone());
    assert!(good.said.ends_with("no fault was found"), "{}", good.said);
    assert_eq!(good.details["release"], json!(release('d')));
    world.images()[3].children =
        Some(vec![Child { digest: digest('e'), platform: "linux/amd64".to_owned() }]);
    world.images()[3].scan = Scan::Done(Some(Severity::Critical));
    world.ledger_rejects(digest('d').as_str());
    let bad = world.told(verify.clone());
    assert!(bad.said.ends_with("3 of 4 checks found a fault: platform, scan, rejection"), "{}", bad.said);
    for check in ["platform", "scan", "rejection"] {
        assert_eq!(result(&bad, check), "fault");
    }
    world.images()[3].children = Some(Vec::new());
    world.images()[3].scan = Scan::Pending;
    let unknown = world.told(verify);
    assert_eq!(
        (result(&unknown, "platform").as_str(), result(&unknown, "scan").as_str()),
        ("unknown", "unknown")
    );
    assert!(unknown.said.ends_with("1 of 4 checks found a fault: rejection; not checked: platform, scan"));
}

#[test]
fn verifying_tells_what_tasks_need_and_what_to_do_about_it() {
    use crate::observe::needs::{Need, State, Want};
    let group = |hole: Option<&str>| Need {
        want: Want::LogGroup {
            name: "/shop".to_owned(),
            region: Some("eu-west-1".to_owned()),
            made_at_start: false,
        },
        name: "/shop".to_owned(),
        places: vec!["containerDefinitions[worker].logConfiguration.options.awslogs-group".to_owned()],
        hole: hole.map(str::to_owned),
    };
    let asked = |needs: Vec<(Need, State)>| {
        let mut world = World::new();
        world.needs = needs.into_iter().map(|(need, state)| Answered { need, state }).collect();
        world.told(json!({"command": "verify"}))
    };
    let verdict = |answer: &Answer| answer.details["verdict"].as_str().unwrap().to_owned();
    let why = || "why".to_owned();

    let good = asked(vec![(group(None), State::There(why()))]);
    assert_eq!((verdict(&good).as_str(), &good.details["needs"][0]["result"]), ("good", &json!("ok")));
    assert!(good.details["needs"][0].get("remedy").is_none() && good.said.ends_with("no fault was found"));

    let missing = asked(vec![(group(Some("LOG_GROUP")), State::Missing(why()))]);
    assert_eq!(verdict(&missing), "fault");
    assert!(missing.said.ends_with("1 of 5 checks found a fault: log group `/shop`"), "{}", missing.said);
    let expected = json!({
        "need": "log group", "name": "/shop", "result": "missing", "why": "why",
        "where": ["containerDefinitions[worker].logConfiguration.options.awslogs-group"],
        "remedy": "create the log group: `aws logs create-log-group --log-group-name /shop --region eu-west-1`, \
                   or fill `${LOG_GROUP}` with another",
    });
    assert_eq!(missing.details["needs"], json!([expected]));

    for (state, result) in [(State::Unknown(why()), "unknown"), (State::Denied(why()), "denied")] {
        let open = asked(vec![(group(None), State::There(why())), (group(None), state.clone())]);
        assert_eq!(
            (verdict(&open).as_str(), &open.details["needs"][1]["result"]),
            ("unknown", &json!(result))
        );
        assert!(
            open.said.ends_with("no fault was found, but not all could be checked: log group `/shop`"),
            "{}",
            open.said
        );
        let remedy = open.details["needs"][1]["remedy"].as_str().unwrap();
        let by_hand = "`aws logs describe-log-groups --log-group-name-prefix /shop --region eu-west-1`";
        assert!(remedy.ends_with(by_hand), "{remedy}");
        let both = asked(vec![(group(None), state), (group(None), State::Unfit(why()))]);
        assert_eq!(verdict(&both), "fault");
        assert!(
            both.said
                .ends_with("1 of 6 checks found a fault: log group `/shop`; not checked: log group `/shop`"),
            "{}",
            both.said
        );
    }
}

#[test]
fn the_plan_is_shown_and_not_carried_out() {
    let mut world = World::new();
    assert_eq!(world.told(json!({"command": "plan"})).said, "nothing is planned");
    world.decision = Some(Decision {
        release: None,
        what: "nothing".to_owned(),
        why: "v3.0.0 is the newest".to_owned(),
        next: "wait for a push".to_owned(),
        undo: None,
    });
    let plan = world.told(json!({"command": "plan"}));
    assert_eq!((plan.said.as_str(), plan.journal), ("nothing: v3.0.0 is the newest", None));
}

#[test]
fn every_refusal_is_an_answer_with_a_kind_and_what_to_do() {
    let refusal = World::new().refused(json!({"command": "approve", "what": "v9.9.9"}));
    let answer = refusal.json("approve");
    assert_eq!((&answer["ok"], &answer["kind"]), (&json!(false), &json!("not-found")));
    assert_eq!(answer["error"], json!(refusal.to_string()));
}
