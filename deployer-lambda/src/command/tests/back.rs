//! Leaving what runs, rejecting, and taking a rejection back.

use super::*;

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
        failed: Vec::new(),
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
    assert_eq!(world.journal.pin, Some(pin('a', "ada")));
    assert!(answer.said.contains("unpin"), "{}", answer.said);
}

#[test]
fn a_rollback_lifts_the_pin_on_what_it_leaves() {
    let mut world = World::new();
    world.journal.pin = Some(pin('c', "bob"));
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
fn a_digest_that_is_rejected_is_rejected_under_any_tag_and_by_its_platform() {
    let mut world = World::new();
    world.images()[3].tags = vec!["v5.0.0".to_owned()];
    for rejected in [digest('d'), digest('D')] {
        world.ledger_rejects(rejected.as_str());
        assert_eq!(world.refused(json!({"command": "deploy", "what": "v5.0.0"})).kind(), "rejected");
    }
}

#[test]
fn rejecting_what_does_not_run_is_left_to_the_ledger() {
    let mut world = World::new();
    world.journal.candidate = Some(release('b'));
    world.journal.pin = Some(pin('b', "bob"));
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

/// `d` is the candidate, and the service was pointed at it; `revision` is where it points now.
fn proving_d(service_at: u32, states: &[(u32, RolloutState)]) -> World {
    let mut world = World::new();
    let mut candidate = record('d', "v4.0.0", 4, Verdict::Proving);
    candidate.pointed_at = Some(NOW.after_ms(-60_000));
    world.journal.releases.push(candidate);
    world.journal.candidate = Some(release('d'));
    let Known::Known(Some(service)) = &mut world.observed.service else { panic!("there is a service") };
    service.revision = revision(service_at);
    service.rollouts = states
        .iter()
        .map(|(number, state)| Rollout {
            id: number.to_string(),
            revision: revision(*number),
            state: *state,
            reason: "circuit breaker".to_owned(),
            created_at: NOW.after_ms(-60_000),
            failed_tasks: 2,
        })
        .collect();
    world
}

#[test]
fn a_rollback_while_ecs_leaves_the_bad_release_rejects_that_and_never_what_ecs_goes_back_to() {
    // ECS shows the service at the good one as soon as it begins.
    for state in [RolloutState::RollingBack, RolloutState::RolledBack] {
        let mut world = proving_d(3, &[(4, state), (3, RolloutState::Successful)]);
        let answer = world.told(rollback());
        let back = world.journal.going_back.as_ref().unwrap();
        assert_eq!((&back.from, &back.to), (&release('d'), &release('c')));
        assert_eq!(back.rejects, Some(release('d').0));
        assert!(
            answer.said.ends_with("the service is leaving it already, and that goes on"),
            "{}",
            answer.said
        );
    }
}

#[test]
fn a_rollback_of_the_release_under_proof_leaves_it() {
    let mut world = proving_d(4, &[(4, RolloutState::InProgress)]);
    let answer = world.told(rollback());
    let back = world.journal.going_back.as_ref().unwrap();
    assert_eq!((&back.from, &back.to), (&release('d'), &release('c')));
    assert!(!answer.said.contains("leaving it already"), "{}", answer.said);
}

#[test]
fn a_rollback_while_ecs_leaves_what_was_proven_leaves_that() {
    let mut world = proving_d(2, &[(3, RolloutState::RollingBack)]);
    world.journal.candidate = None;
    world.told(rollback());
    let back = world.journal.going_back.as_ref().unwrap();
    assert_eq!((&back.from, &back.to), (&release('c'), &release('b')));
}

#[test]
fn a_rollback_that_expects_what_ecs_goes_back_to_is_told_what_it_would_leave() {
    let mut world = proving_d(3, &[(4, RolloutState::RollingBack)]);
    let mut command = rollback();
    command["expect"] = json!("v3.0.0");
    let refusal = world.refused(command.clone());
    assert_eq!(refusal.kind(), "not-expected");
    let text = refusal.to_string();
    assert!(text.contains("v4.0.0") && text.contains("which is being left already"), "{text}");
    command["expect"] = json!("v4.0.0");
    world.told(command);
}

#[test]
fn a_candidate_that_waits_for_its_try_is_not_what_a_rollback_leaves() {
    let mut world = proving_d(3, &[(3, RolloutState::Successful)]);
    let record = world.journal.record_mut(&release('d')).unwrap();
    (record.verdict, record.pointed_at) = (Verdict::Blocked, None);
    world.told(rollback());
    assert_eq!(world.journal.going_back.as_ref().unwrap().from, release('c'));
}

#[test]
fn rejecting_what_ecs_is_leaving_goes_on_to_leave_it() {
    let mut world = proving_d(3, &[(4, RolloutState::RollingBack)]);
    world.told(json!({"command": "reject", "what": "v4.0.0", "reason": "why"}));
    let back = world.journal.going_back.as_ref().unwrap();
    assert_eq!((&back.from, &back.to), (&release('d'), &release('c')));
}
