//! People: images that wait: for a person, for a scan, for something else.
//!
//! Neighbours: notices asks for it. Pure.

use serde_json::json;

use super::{Subject, Whereabouts, Words, console};
use crate::journal::Urgency;
use crate::observe::facts::Scan;
use crate::policy::Severity;

pub(super) fn waiting(at: &Whereabouts, release: Subject<'_>) -> Words {
    let approve = json!({"command": "approve", "what": release.digest, "by": "..."});
    Words {
        urgency: Urgency::Info,
        subject: format!("{} waits for approval", release.called()),
        happened: format!("{} was pushed, and the policy asks for a person's approval.", release.whole()),
        did: "Nothing: what runs goes on running.".to_owned(),
        look: Vec::new(),
        commands: vec![
            ("what would change", {
                at.command("read", &json!({"command": "diff", "what": release.digest}))
            }),
            ("approve it", at.command("approve", &approve)),
        ],
    }
}

pub(super) fn scan_held(at: &Whereabouts, release: Subject<'_>, scan: Scan, passes: Severity) -> Words {
    let passes = severity(passes);
    let found = match scan {
        Scan::Pending => "its scan has not ended in the time that the policy gives it".to_owned(),
        Scan::NoAnswer => "the scan gives no answer for it (failed, not supported or expired)".to_owned(),
        Scan::Done(None) => "its scan ended without a finding".to_owned(),
        Scan::Done(Some(worst)) => format!("its worst finding is {}", severity(worst)),
    };
    let place = &at.place;
    let url = format!(
        "https://{}/ecr/repositories/private/{}/{}?region={}",
        console(&place.region),
        place.account,
        place.repository,
        place.region
    );
    Words {
        urgency: Urgency::Warning,
        subject: format!("{} is held back by its scan", release.called()),
        happened: format!("{} is not released: {found}, and the policy lets {passes} pass.", release.whole()),
        did: "What runs goes on running. A newer image, or another answer of the scan, lets releases go on."
            .to_owned(),
        look: vec![format!("its findings: {url}")],
        commands: vec![("the findings as text", {
            format!(
                "aws ecr describe-image-scan-findings --region {} --repository-name {} --image-id imageDigest={}",
                place.region, place.repository, release.digest
            )
        })],
    }
}

pub(super) fn held(at: &Whereabouts, release: Subject<'_>, why: &str) -> Words {
    Words {
        urgency: Urgency::Warning,
        subject: format!("{} is not released", release.called()),
        happened: format!("{} is the newest image, and it may not be released: {why}.", release.whole()),
        did: "What runs goes on running.".to_owned(),
        look: Vec::new(),
        commands: vec![("all that is checked", {
            at.command("read", &json!({"command": "verify", "what": release.digest}))
        })],
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Undefined => "UNDEFINED",
        Severity::Informational => "INFORMATIONAL",
        Severity::Low => "LOW",
        Severity::Medium => "MEDIUM",
        Severity::High => "HIGH",
        Severity::Critical => "CRITICAL",
    }
}
