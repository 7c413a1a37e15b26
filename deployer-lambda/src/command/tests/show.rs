//! Names, and what is only shown.

use super::*;

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
        change: "+ task definition for v4.0.0".to_owned(),
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
    assert_eq!(details["next"]["text"][2], "  then: point the service at it");
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
    let image = format!("~ image @sha256:{} -> @sha256:{}", old.short(), new.short());
    let change = format!("~ task definition.containerDefinitions[worker].image: \"{old}\" -> \"{new}\"");
    assert_eq!(diff.details["text"], json!([image, change]));
    assert_eq!(
        (&diff.details["from"]["tags"], &diff.details["to"]["tags"]),
        (&json!(["v3.0.0"]), &json!(["v4.0.0"]))
    );
    assert_eq!(diff.said, "another image, 1 keys differ");
    let same = world.told(json!({"command": "diff", "what": "v3.0.0"}));
    assert_eq!(same.details["text"], json!([]));
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
    let text = [
        &format!("= image @sha256:{}", digest('c').short()),
        "~ task definition.containerDefinitions[worker].cpu: 512 -> 256",
        "- task definition.memory: \"2048\"",
    ];
    assert_eq!(diff.details["text"], json!(text));
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
        change: "= nothing".to_owned(),
        why: "v3.0.0 is the newest".to_owned(),
        next: "wait for a push".to_owned(),
        undo: None,
    });
    let plan = world.told(json!({"command": "plan"}));
    assert_eq!((plan.said.as_str(), plan.journal), ("nothing: v3.0.0 is the newest", None));
    let text = ["= nothing", "  because: v3.0.0 is the newest", "  then: wait for a push"];
    assert_eq!(plan.details["plan"]["text"], json!(text));
}

#[test]
fn every_refusal_is_an_answer_with_a_kind_and_what_to_do() {
    let refusal = World::new().refused(json!({"command": "approve", "what": "v9.9.9"}));
    let answer = refusal.json("approve");
    assert_eq!((&answer["ok"], &answer["kind"]), (&json!(false), &json!("not-found")));
    assert_eq!(answer["error"], json!(refusal.to_string()));
}
