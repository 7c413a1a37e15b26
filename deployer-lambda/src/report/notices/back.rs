//! Back: the way back, and what keeps it from its end.
//!
//! Neighbours: notices asks for it. Pure.

use serde_json::json;

use super::{End, Subject, Whereabouts, Words, bare, ended, looks};
use crate::clock::rfc3339;
use crate::journal::{Cause, Urgency};
use crate::release::{Moment, RevisionArn};

pub(super) fn going_back(
    at: &Whereabouts,
    from: Subject<'_>,
    to: Subject<'_>,
    cause: Cause,
    why: &str,
    end: Option<End<'_>>,
) -> Words {
    let by_person = cause == Cause::Person;
    Words {
        urgency: if by_person { Urgency::Info } else { Urgency::Warning },
        subject: format!("{} is being rolled back to {}", from.called(), to.called()),
        happened: format!("{} is left: {why}.{}", from.whole(), ended(end)),
        did: format!("{} is being brought back; another notice tells when it runs.", to.whole()),
        look: looks(at, end),
        commands: vec![("how it stands now", at.status())],
    }
}

pub(super) fn rolled_back(
    at: &Whereabouts,
    from: Subject<'_>,
    to: Subject<'_>,
    (cause, is_rejected): (Cause, bool),
    why: &str,
    end: Option<End<'_>>,
) -> Words {
    let by_person = cause == Cause::Person;
    let command = |verb: &str| json!({"command": verb, "what": from.release, "reason": "..."});
    let (so, hint, command) = if is_rejected {
        (
            "The one that was left is rejected: it is not released again, unless a person says so.",
            "let the rejected one be released again, if it was not its fault",
            command("release"),
        )
    } else {
        (
            "The one that was left is not rejected: it is tried again when its surroundings may be well.",
            "give the one that was left up",
            command("reject"),
        )
    };
    Words {
        urgency: if by_person { Urgency::Info } else { Urgency::Warning },
        subject: format!("rolled back from {} to {}", from.called(), to.called()),
        happened: format!("{} was left: {why}.{}", from.whole(), ended(end)),
        did: format!("{} runs again. {so}", to.whole()),
        look: looks(at, end),
        commands: vec![("how it stands now", at.status()), (hint, at.command("operate", &command))],
    }
}

pub(super) fn ecs_rolled_back(at: &Whereabouts, from: Subject<'_>, to: &RevisionArn, reason: &str) -> Words {
    Words {
        urgency: Urgency::Warning,
        subject: format!("ECS rolled {} back by itself", from.called()),
        happened: format!(
            "ECS gave {} up and went back to {}: {}.",
            from.whole(),
            to.short(),
            bare(reason)
        ),
        did: "Nothing while ECS is at it. When it has ended, the release gets its verdict, and a notice tells it."
            .to_owned(),
        look: looks(at, None),
        commands: vec![("how it stands now", at.status())],
    }
}

pub(super) fn way_back_failed(
    at: &Whereabouts,
    to: Subject<'_>,
    why: &str,
    retry_at: Moment,
    gives_up: bool,
) -> Words {
    let when = rfc3339(retry_at);
    let did = if gives_up {
        format!(
            "No other proven release is left to go back to. It is tried again at {when} and later on; a newer image is \
             released as soon as it is pushed."
        )
    } else {
        format!("It is tried again at {when}, and nothing else is done meanwhile.")
    };
    Words {
        urgency: Urgency::Page,
        subject: format!("going back to {} failed", to.called()),
        happened: format!("{} was proven here before, and did not come up again: {why}.", to.whole()),
        did,
        look: looks(at, None),
        commands: vec![
            ("how it stands now", at.status()),
            ("take all tasks away, so that nothing half-good writes", {
                at.command("operate", &json!({"command": "stop", "reason": "..."}))
            }),
        ],
    }
}

pub(super) fn no_target(
    at: &Whereabouts,
    release: Subject<'_>,
    why: &str,
    (is_stopped, is_rejected): (bool, bool),
    end: Option<End<'_>>,
) -> Words {
    let did = match (is_stopped, is_rejected) {
        (true, _) => {
            "No proven release is left to go back to. The service was scaled to 0 tasks, as the policy says \
             (on_no_target). Kafka keeps what comes meanwhile, as long as the topic's retention lasts."
        }
        (false, true) => {
            "No proven release is left to go back to. The service was left as it is, as the policy says \
             (on_no_target). The ledger rejects the release: it writes nothing."
        }
        (false, false) => {
            "No proven release is left to go back to. It was left running, as the policy says (on_no_target): ECS goes \
             on starting it. Nothing is rejected."
        }
    };
    let command = match (is_stopped, is_rejected) {
        (true, _) => ("start it again", json!({"command": "start"})),
        (false, true) => {
            ("let it write again", json!({"command": "release", "what": release.release, "reason": "..."}))
        }
        (false, false) => {
            ("stop it until there is a repaired image", json!({"command": "stop", "reason": "..."}))
        }
    };
    Words {
        urgency: Urgency::Page,
        subject: format!("{} fails and there is nothing to go back to", release.called()),
        happened: format!("{} failed: {why}.{}", release.whole(), ended(end)),
        did: did.to_owned(),
        look: looks(at, end),
        commands: vec![
            (command.0, at.command("operate", &command.1)),
            ("what was ever released here", at.command("read", &json!({"command": "history"}))),
        ],
    }
}
