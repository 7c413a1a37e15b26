//! Trouble: what stands in the way of a release, or meddled with it.
//!
//! Neighbours: notices asks for it. Pure.

use serde_json::json;

use super::{End, Subject, Whereabouts, Words, bare, ended, looks};
use crate::clock::rfc3339;
use crate::journal::Urgency;
use crate::release::{Moment, RevisionArn};

pub(super) fn blocked(
    at: &Whereabouts,
    release: Subject<'_>,
    why: &str,
    runs: Option<Subject<'_>>,
    retry_at: Moment,
    end: Option<End<'_>>,
) -> Words {
    let keeps = match runs {
        Some(runs) => format!("{} goes on running.", runs.whole()),
        None => "Nothing else was running: the service has no working release now.".to_owned(),
    };
    Words {
        urgency: if runs.is_some() { Urgency::Warning } else { Urgency::Page },
        subject: format!("{} is blocked by its surroundings", release.called()),
        happened: format!(
            "{} did not come up, and it seems not to be its fault: {why}.{}",
            release.whole(),
            ended(end)
        ),
        did: format!("{keeps} It is tried again at {}; it is not rejected.", rfc3339(retry_at)),
        look: looks(at, end),
        commands: vec![
            ("try again at once, when the cause is gone", {
                at.command("operate", &json!({"command": "deploy", "what": release.release}))
            }),
            (
                "give it up",
                at.command(
                    "operate",
                    &json!({"command": "reject", "what": release.release, "reason": "..."}),
                ),
            ),
        ],
    }
}

pub(super) fn nothing_runs(at: &Whereabouts, release: Subject<'_>, why: &str, is_tried_again: bool) -> Words {
    let (urgency, did) = if is_tried_again {
        (Urgency::Warning, "It is deployed again; up to three times within an hour.")
    } else {
        let did = "It was deployed again three times, or it cannot be any more (its image or its task definition is \
                   gone). It is tried again in an hour. A newer image is released as soon as it is pushed.";
        (Urgency::Page, did)
    };
    Words {
        urgency,
        subject: format!("no task of {} runs", release.called()),
        happened: format!("{} is to run, and does not: {why}.", release.whole()),
        did: did.to_owned(),
        look: looks(at, None),
        commands: vec![
            ("how it stands now", at.status()),
            ("all that a task needs, checked", {
                at.command("read", &json!({"command": "verify", "what": release.release}))
            }),
        ],
    }
}

pub(super) fn refused(at: &Whereabouts, why: &str, is_denied: bool) -> Words {
    let did =
        "Nothing was changed. It is tried again, less and less often, and as soon as something changes.";
    Words {
        urgency: if is_denied { Urgency::Page } else { Urgency::Warning },
        subject: if is_denied {
            "the deployer lacks a permission"
        } else {
            "AWS refused a call of the deployer"
        }
        .to_owned(),
        happened: format!("The next step could not be taken: {why}."),
        did: did.to_owned(),
        look: Vec::new(),
        commands: vec![("how it stands now", at.status())],
    }
}

pub(super) fn slow(at: &Whereabouts, release: Subject<'_>, minutes: i64, reason: &str) -> Words {
    let back = json!({"command": "rollback", "expect": release.release, "reason": "..."});
    let says = if reason.is_empty() {
        "ECS says nothing about it".to_owned()
    } else {
        format!("ECS says: {reason}")
    };
    Words {
        urgency: Urgency::Warning,
        subject: format!("the rollout of {} takes long", release.called()),
        happened: format!(
            "{} has been rolling out for {minutes} minutes and is not complete. {}.",
            release.whole(),
            bare(&says)
        ),
        did: "Nothing: slow is not failed. It is called failed when ECS or its tasks say so.".to_owned(),
        look: looks(at, None),
        commands: vec![("leave it, if you know that it will not come up", at.command("operate", &back))],
    }
}

pub(super) fn displaced(at: &Whereabouts, release: Subject<'_>, why: &str) -> Words {
    Words {
        urgency: Urgency::Warning,
        subject: format!("{} was taken off the service by somebody", release.called()),
        happened: format!(
            "{} was under proof and is no longer what the service runs: {why}.",
            release.whole()
        ),
        did: "It got no verdict: it is not rejected, and it is not fought for.".to_owned(),
        look: looks(at, None),
        commands: vec![
            ("who called UpdateService", at.who_updated()),
            ("release it again", {
                at.command("operate", &json!({"command": "deploy", "what": release.release}))
            }),
        ],
    }
}

pub(super) fn drift(
    at: &Whereabouts,
    expected: Subject<'_>,
    found: &RevisionArn,
    is_put_right: bool,
) -> Words {
    let did = if is_put_right {
        format!("The service was pointed at {} again.", expected.called())
    } else {
        "Nothing: it came back after it had been put right before, and two who fight over a service do harm."
            .to_owned()
    };
    let found_name = found.short();
    Words {
        urgency: if is_put_right { Urgency::Warning } else { Urgency::Page },
        subject: format!("the service ran {found_name}, which nobody announced"),
        happened: format!(
            "The service was to run {} and was found on {found_name}. Somebody changed it past Landfall: by hand, or \
             by a CloudFormation stack or a Terraform plan that owns the service's task definition.",
            expected.whole()
        ),
        did,
        look: looks(at, None),
        commands: vec![("who called UpdateService", at.who_updated()), ("how it stands now", at.status())],
    }
}
