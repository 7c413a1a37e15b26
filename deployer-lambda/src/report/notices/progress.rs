//! Progress: what goes as it should: a release begins, proves itself, is taken over.
//!
//! Neighbours: notices asks for it. Pure.

use serde_json::json;

use super::{Subject, Whereabouts, Words, looks};
use crate::journal::Urgency;

pub(super) fn started(at: &Whereabouts, release: Subject<'_>, before: Option<Subject<'_>>) -> Words {
    let before =
        before.map_or_else(String::new, |before| format!(" {} runs until it is up.", before.whole()));
    Words {
        urgency: Urgency::Info,
        subject: format!("{} is being released", release.called()),
        happened: format!("{} is the newest image that the policy admits.", release.whole()),
        did: format!("The service was pointed at it.{before} Its verdict has its own notice."),
        look: looks(at, None),
        commands: vec![("how it stands now", at.status())],
    }
}

pub(super) fn adopted(at: &Whereabouts, release: Subject<'_>) -> Words {
    Words {
        urgency: Urgency::Info,
        subject: format!("the service was adopted with {}", release.called()),
        happened: format!("The service was there before Landfall, and runs {}.", release.whole()),
        did: "It was taken over as it is; nothing was changed.".to_owned(),
        look: looks(at, None),
        commands: vec![("how it stands now", at.status())],
    }
}

pub(super) fn healthy(
    at: &Whereabouts,
    release: Subject<'_>,
    before: Option<Subject<'_>>,
    is_quiet: bool,
) -> Words {
    let before = before.map_or_else(String::new, |before| format!(" It came after {}.", before.whole()));
    let (subject, happened) = if is_quiet {
        (
            format!("{} runs, unproven by data", release.called()),
            "its deployment completed and nothing failed, but no data came that could have proven it",
        )
    } else {
        (
            format!("{} is healthy", release.called()),
            "its deployment completed and nothing failed through the bake",
        )
    };
    let back = json!({"command": "rollback", "expect": release.release, "reason": "..."});
    Words {
        urgency: Urgency::Info,
        subject,
        happened: format!("{} runs: {happened}.{before}", release.whole()),
        did: "Its image is kept in the registry, as a release to go back to.".to_owned(),
        look: Vec::new(),
        commands: vec![("leave it again, if you see what we do not", at.command("operate", &back))],
    }
}
