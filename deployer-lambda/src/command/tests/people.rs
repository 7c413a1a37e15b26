//! Pin, approval, freeze, stop, deploy; and what is not known.

use super::*;

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
    assert_eq!(world.journal.pin, Some(pin('c', "ada")));
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
fn what_is_pinned_is_the_image_whatever_release_the_templates_make_of_it() {
    let mut world = World::new();
    world.told(json!({"command": "pin"}));
    assert_eq!(world.journal.pin, Some(pin('c', "ada")));
    world.journal.pin.as_mut().unwrap().release = ReleaseId::from("0123456789abcdef");
    let again = world.told(json!({"command": "deploy", "what": "v3.0.0"}));
    assert_eq!(again.journal, None, "{}", again.said);
    assert!(again.said.contains("is pinned already"), "{}", again.said);
    world.told(rollback());
    assert_eq!(world.journal.pin, None, "it would bring back what is left");
}
