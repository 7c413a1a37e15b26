use serde_json::{Value, json};

use super::*;
use crate::event::Place;
use crate::journal::Cause;
use crate::observe::facts::{Scan, Stop};
use crate::policy::Severity;
use crate::release::{Digest, ReleaseId, RevisionArn};

const NOW: Moment = Moment(1_795_744_860_000);

fn at() -> Whereabouts {
    Whereabouts {
        pipeline: "shop-events".to_owned(),
        function: "landfall-shop-events".to_owned(),
        place: Place {
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            repository: "landfall/worker".to_owned(),
            cluster: "arn:aws:ecs:eu-west-1:123456789012:cluster/data".to_owned(),
            service: "shop-events".to_owned(),
        },
        logs: Some(Logs {
            group: "/landfall/shop-events".to_owned(),
            stream_prefix: "worker/worker".to_owned(),
        }),
    }
}

/// Owned parts that subjects borrow from.
struct Parts {
    tags: Vec<String>,
    release: ReleaseId,
    digest: Digest,
}

impl Parts {
    fn new(tag: &str, release: &str, letter: &str) -> Parts {
        let digest = Digest(format!("sha256:{}", letter.repeat(64)));
        let tags = vec!["landfall-keep-3".to_owned(), tag.to_owned()];
        Parts { tags, release: ReleaseId::from(release), digest }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { tags: &self.tags, release: &self.release, digest: &self.digest }
    }
}

fn bad() -> Parts {
    Parts::new("v1.5.0", "5f0c1d2e3a4b5968", "b")
}

fn good() -> Parts {
    Parts::new("v1.4.0", "0123456789abcdef", "a")
}

fn stop() -> Stop {
    Stop {
        at: Moment(1_795_744_800_000),
        code: "EssentialContainerExited".to_owned(),
        reason: "Essential container in task exited".to_owned(),
        exit_code: Some(78),
        container_reason: String::new(),
    }
}

/// Every kind, so that what holds for all is checked for all.
fn all(check: impl Fn(&Happening<'_>)) {
    let (bad, good, stop) = (bad(), good(), stop());
    let (from, to) = (bad.subject(), good.subject());
    let end = Some(End { task: "c13b4cb40f1f4fe4a2971f76ae5a47ad", stop: &stop });
    let one = RevisionArn::from("arn:…/shop-events:41");
    // A full stop of somebody else's is not doubled.
    let why = "its settings are wrong.";
    let all = [
        Happening::Started { release: from, before: Some(to) },
        Happening::Adopted { release: from },
        Happening::GoingBack { from, to, cause: Cause::Crash, why, end },
        Happening::GoingBack { from, to, cause: Cause::Person, why, end: None },
        Happening::Displaced { release: from, why },
        Happening::Held { release: from, why },
        Happening::WayBackFailed { to, why, retry_at: NOW, gives_up: false },
        Happening::WayBackFailed { to, why, retry_at: NOW, gives_up: true },
        Happening::RolledBack { is_rejected: true, from, to, cause: Cause::Settings, why, end },
        Happening::RolledBack { is_rejected: true, from, to, cause: Cause::Person, why, end: None },
        Happening::Blocked { release: from, why, runs: Some(to), retry_at: NOW, end },
        Happening::Blocked { release: from, why, runs: None, retry_at: NOW, end: None },
        Happening::NoTarget { release: from, why, is_stopped: false, is_rejected: false, end },
        Happening::NoTarget { release: from, why, is_stopped: false, is_rejected: true, end },
        Happening::NothingRuns { release: from, why, is_tried_again: true },
        Happening::NothingRuns { release: from, why, is_tried_again: false },
        Happening::NoTarget { release: from, why, is_stopped: true, is_rejected: true, end: None },
        Happening::Healthy { release: to, before: None, is_quiet: false },
        Happening::Healthy { release: from, before: Some(to), is_quiet: true },
        Happening::WaitingForApproval { release: from },
        Happening::ScanHeld { release: from, scan: Scan::Pending, passes: Severity::High },
        Happening::ScanHeld { release: from, scan: Scan::NoAnswer, passes: Severity::High },
        Happening::ScanHeld {
            release: from,
            scan: Scan::Done(Some(Severity::Critical)),
            passes: Severity::High,
        },
        Happening::EcsRolledBack { from, to: &one, reason: "ECS deployment circuit breaker: rolling back." },
        Happening::Drift { expected: to, found: &one, is_put_right: true },
        Happening::Drift { expected: to, found: &one, is_put_right: false },
        Happening::RolloutSlow { release: from, minutes: 31, reason: "" },
    ];
    all.iter().for_each(check);
}

#[test]
fn a_rollback_reads_as_it_should_at_3_am() {
    let (bad, good, stop) = (bad(), good(), stop());
    let happening = Happening::RolledBack {
        is_rejected: true,
        from: bad.subject(),
        to: good.subject(),
        cause: Cause::Settings,
        why: "its tasks ended with exit code 78 twice in a row",
        end: Some(End { task: "c13b4cb40f1f4fe4a2971f76ae5a47ad", stop: &stop }),
    };
    golden("rolled-back", include_str!("../golden/rolled-back.txt"), &notice(&happening, &at(), 7, NOW));
}

#[test]
fn a_page_without_a_target_reads_as_it_should_at_3_am() {
    let (bad, stop) = (bad(), stop());
    let happening = Happening::NoTarget {
        release: bad.subject(),
        why: "its tasks ended with exit code 78 twice in a row",
        is_stopped: false,
        is_rejected: false,
        end: Some(End { task: "c13b4cb40f1f4fe4a2971f76ae5a47ad", stop: &stop }),
    };
    golden("no-target", include_str!("../golden/no-target.txt"), &notice(&happening, &at(), 8, NOW));
}

fn golden(name: &str, expected: &str, notice: &Notice) {
    let found = format!("{}\n\n{}", notice.subject, notice.text);
    assert_eq!(found, expected, "src/report/golden/{name}.txt is to read:\n{found}");
}

#[test]
fn every_subject_is_short_ascii_on_one_line_and_names_the_pipeline() {
    all(|happening| {
        let notice = notice(happening, &at(), 1, NOW);
        assert!(notice.subject.len() <= SUBJECT_MAX, "{}", notice.subject);
        assert!(notice.subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", notice.subject);
        assert!(notice.subject.starts_with("shop-events: "), "{}", notice.subject);
        assert_eq!((notice.id, notice.at), (1, NOW));
    });
    let long = Parts::new(&format!("früh\n{}", "x".repeat(128)), "5f0c1d2e3a4b5968", "b");
    let notice = notice(&Happening::WaitingForApproval { release: long.subject() }, &at(), 1, NOW);
    assert_eq!(notice.subject.len(), SUBJECT_MAX);
    assert!(notice.subject.starts_with("shop-events: fr?h xxx"), "{}", notice.subject);
}

#[test]
fn every_notice_tells_what_happened_what_was_done_and_what_to_type() {
    all(|happening| {
        let notice = notice(happening, &at(), 1, NOW);
        for part in ["What happened\n  ", "\nWhat Landfall did\n  ", "\nWhat to type\n  # ", "\n  aws "] {
            assert!(notice.text.contains(part), "{part:?} is missing in\n{}", notice.text);
        }
        let prose = notice.text.split("What to type").next().unwrap();
        assert!(!prose.contains(".."), "two full stops in\n{prose}");
    });
}

#[test]
fn every_command_to_type_is_a_command_of_ours_for_its_alias() {
    use crate::event::{Alias, Woken, parse};
    all(|happening| {
        let notice = notice(happening, &at(), 1, NOW);
        for line in notice.text.lines().filter(|line| line.contains("aws lambda invoke")) {
            let payload = line.split('\'').nth(1).unwrap();
            let payload: Value = serde_json::from_str(payload).unwrap();
            let alias = line.split("--qualifier ").nth(1).unwrap().split(' ').next().unwrap();
            let arn = format!("arn:aws:lambda:eu-west-1:123456789012:function:f:{alias}");
            let woken = parse(&payload, &at().place, Alias::of(&arn));
            assert!(matches!(woken, Ok(Woken::Command(_))), "{line}: {woken:?}");
        }
    });
}

#[test]
fn a_page_is_sent_only_where_a_person_must_act_now() {
    all(|happening| {
        let urgency = notice(happening, &at(), 1, NOW).urgency;
        let expected = match happening {
            Happening::NoTarget { .. }
            | Happening::NothingRuns { is_tried_again: false, .. }
            | Happening::WayBackFailed { .. }
            | Happening::Blocked { runs: None, .. }
            | Happening::Refused { is_denied: true, .. }
            | Happening::Drift { is_put_right: false, .. } => Urgency::Page,
            Happening::Started { .. }
            | Happening::Adopted { .. }
            | Happening::Healthy { .. }
            | Happening::WaitingForApproval { .. }
            | Happening::GoingBack { cause: Cause::Person, .. }
            | Happening::RolledBack { cause: Cause::Person, .. } => Urgency::Info,
            Happening::RolledBack { .. }
            | Happening::GoingBack { .. }
            | Happening::Displaced { .. }
            | Happening::Held { .. }
            | Happening::Blocked { .. }
            | Happening::ScanHeld { .. }
            | Happening::EcsRolledBack { .. }
            | Happening::Drift { .. }
            | Happening::Refused { .. }
            | Happening::NothingRuns { is_tried_again: true, .. }
            | Happening::RolloutSlow { .. } => Urgency::Warning,
        };
        assert_eq!(urgency, expected, "{happening:?}");
    });
}

#[test]
fn where_the_worker_logs_to_is_read_from_its_task_definition() {
    let options =
        json!({"awslogs-group": "/landfall/shop", "awslogs-stream-prefix": "w", "mode": "non-blocking"});
    let definition = json!({"containerDefinitions": [
        {"name": "worker", "logConfiguration": {"logDriver": "awslogs", "options": options}}
    ]});
    let logs = Logs { group: "/landfall/shop".to_owned(), stream_prefix: "w/worker".to_owned() };
    assert_eq!(Logs::of(&definition), Some(logs));
    assert_eq!(Logs::of(&json!({"containerDefinitions": [{"name": "worker"}]})), None);
}

#[test]
fn the_console_is_the_regions_own() {
    assert_eq!(console("eu-west-1"), "eu-west-1.console.aws.amazon.com");
    assert_eq!(console("cn-north-1"), "cn-north-1.console.amazonaws.cn");
    assert_eq!(console("us-gov-west-1"), "us-gov-west-1.console.amazonaws-us-gov.com");
}
