//! Back: leaving what runs, rejecting, and taking a rejection back.

use std::collections::BTreeSet;

use super::name::{find, shown_record};
use super::people::want;
use super::{Answer, Facts, Named, Refusal, known};
use crate::journal::{Cause, GoingBack, Journal, Pin, Record, Verdict};
use crate::observe::facts::{Child, TaskState};
use crate::policy::Order;
use crate::release::{Digest, Moment, ReleaseId};

/// Whether a release may be gone back to: healthy, or quiet after ECS called its deployment complete.
pub fn is_proven(record: &Record) -> bool {
    match record.verdict {
        Verdict::Healthy => true,
        Verdict::Quiet => record.completed_at.is_some(),
        Verdict::Proving | Verdict::Rejected | Verdict::Blocked | Verdict::Superseded => false,
    }
}

/// Whether a release may not run: by the ledger, which knows the release or one of its digests, or by a person whose
/// word the ledger has not heard yet.
pub fn is_rejected<'c>(
    journal: &Journal,
    ledger: &BTreeSet<String>,
    release: &ReleaseId,
    digest: &Digest,
    children: impl IntoIterator<Item = &'c Child>,
) -> bool {
    let names = [release.as_str(), digest.as_str()].into_iter();
    let names: Vec<&str> = names.chain(children.into_iter().map(|child| child.digest.as_str())).collect();
    let wanted =
        |wishes: &[crate::journal::Wanted], name: &str| wishes.iter().any(|wanted| wanted.what == name);
    names.iter().any(|name| {
        let is_held = ledger.contains(*name) && !wanted(&journal.wanted_releases, name);
        is_held || wanted(&journal.wanted_rejects, name)
    })
}

fn is_record_rejected(facts: &Facts<'_>, ledger: &BTreeSet<String>, record: &Record) -> bool {
    record.verdict == Verdict::Rejected
        || is_rejected(facts.journal, ledger, &record.release, &record.digest, &record.children)
}

/// Why, in the words of whoever rejected it.
pub fn rejection_of(journal: &Journal, release: &ReleaseId, digest: &Digest) -> String {
    let is_meant = |record: &&Record| record.release == *release || record.digest == *digest;
    let rejected = |record: &&Record| record.verdict == Verdict::Rejected;
    let said =
        journal.releases.iter().rev().filter(is_meant).find(rejected).map(|record| record.reason.clone());
    said.unwrap_or_else(|| "by the ledger".to_owned())
}

/// Newest first, as the policy orders.
pub fn newest_first(records: &mut [&Record], order: Order) {
    records.sort_by_key(|record| std::cmp::Reverse(key(record, order)));
}

fn key(record: &Record, order: Order) -> (Option<semver::Version>, Moment, Moment) {
    let version = match order {
        Order::Version => record
            .version
            .as_deref()
            .and_then(|text| semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()),
        Order::PushTime => None,
    };
    (version, record.pushed_at, record.picked_at)
}

/// The record of what the service is pointed at.
pub fn running<'a>(facts: &Facts<'a>) -> Result<&'a Record, Refusal> {
    let service = known(&facts.observed.service)?.as_ref().ok_or(Refusal::NoService)?;
    let runs = |record: &&Record| record.revision.as_ref() == Some(&service.revision);
    let record = facts.journal.releases.iter().rev().find(runs);
    record.ok_or_else(|| Refusal::Unrecorded { revision: service.revision.short().to_owned() })
}

/// Leaves what runs: only writes down where to; the plan goes, and rejects what it left.
pub fn rollback(
    facts: &Facts<'_>,
    to: Option<&str>,
    expect: Option<&str>,
    reason: &str,
    by: &str,
) -> Result<Answer, Refusal> {
    not_going_back(facts)?;
    let from = running(facts)?;
    if let Some(expected) = expect {
        let named = find(facts, expected)?;
        let is_expected =
            if named.records.is_empty() { named.digest == from.digest } else { names(&named, from) };
        if !is_expected {
            return Err(Refusal::NotExpected { expected: expected.to_owned(), runs: shown_record(from) });
        }
    }
    let target = match to {
        None => target(facts, from)?,
        Some(to) => target_named(facts, from, to)?,
    };
    Ok(go_back(facts, from, target, reason, by))
}

fn names(named: &Named<'_>, record: &Record) -> bool {
    named.records.iter().any(|known| known.release == record.release)
}

fn not_going_back(facts: &Facts<'_>) -> Result<(), Refusal> {
    let shown = |release: &ReleaseId| {
        facts.journal.record(release).map_or_else(|| format!("release {release}"), shown_record)
    };
    match &facts.journal.going_back {
        None => Ok(()),
        Some(back) => Err(Refusal::GoingBack { from: shown(&back.from), to: shown(&back.to) }),
    }
}

fn go_back(facts: &Facts<'_>, from: &Record, target: &Record, reason: &str, by: &str) -> Answer {
    let mut journal = facts.journal.clone();
    journal.going_back = Some(GoingBack {
        from: from.release.clone(),
        to: target.release.clone(),
        rejects: Some(from.release.0.clone()),
        reason: format!("{by} rolled it back: {}", reason.trim()),
        cause: Cause::Person,
        begun_at: facts.now,
        pointed_at: None,
        failed_times: 0,
        retry_at: None,
    });
    let mut said =
        format!("going back from {} to {}; the former is rejected", shown_record(from), shown_record(target));
    // A pin on what is left would bring it back.
    if journal.pin.as_ref().is_some_and(|pin| pin.release == from.release) {
        journal.pin = None;
        said.push_str(", its pin is lifted");
    }
    if is_older_than_another(facts, from, target) {
        journal.pin = Some(Pin { release: target.release.clone(), by: by.to_owned(), at: facts.now });
        said.push_str(
            ". A newer release is healthy too, so the target is pinned: `unpin` lets newer ones come again",
        );
    }
    Answer::changes(journal, said)
}

/// Whether the policy would leave the target again for a newer one that was healthy.
fn is_older_than_another(facts: &Facts<'_>, from: &Record, target: &Record) -> bool {
    let order = facts.policy.order;
    facts.journal.releases.iter().any(|record| {
        record.release != from.release
            && record.verdict == Verdict::Healthy
            && key(record, order) > key(target, order)
    })
}

/// The healthy release that was proven last, else the quiet one, that could run again: as the plan chooses by itself.
fn target<'a>(facts: &Facts<'a>, from: &Record) -> Result<&'a Record, Refusal> {
    let ledger = known(&facts.observed.rejected)?;
    let is_other = |record: &&Record| record.release != from.release && is_proven(record);
    let mut records: Vec<&Record> = facts.journal.releases.iter().filter(is_other).collect();
    records.retain(|record| !is_record_rejected(facts, ledger, record));
    records.sort_by_key(|record| (record.verdict != Verdict::Healthy, std::cmp::Reverse(record.verdict_at)));
    let mut fault = Refusal::NoTarget { from: shown_record(from) };
    for (at, record) in records.into_iter().enumerate() {
        match can_run(facts, record) {
            Ok(()) => return Ok(record),
            // What is wrong with the first choice is what a person wants to know.
            Err(refusal) if at == 0 => fault = refusal,
            Err(_) => {}
        }
    }
    Err(fault)
}

/// Whether it could run again: its image in the registry, its revision registered.
fn can_run(facts: &Facts<'_>, record: &Record) -> Result<(), Refusal> {
    let (images, inactive) = (known(&facts.observed.images)?, known(&facts.observed.inactive)?);
    if !images.iter().any(|image| image.digest == record.digest) {
        return Err(Refusal::ImageGone { name: shown_record(record) });
    }
    match &record.revision {
        Some(revision) if !inactive.contains(revision) => Ok(()),
        Some(_) | None => Err(Refusal::RevisionGone { name: shown_record(record) }),
    }
}

fn target_named<'a>(facts: &Facts<'a>, from: &Record, to: &str) -> Result<&'a Record, Refusal> {
    let named = find(facts, to)?;
    let others: Vec<&'a Record> =
        named.records.iter().copied().filter(|record| record.release != from.release).collect();
    let Some(target) = others.iter().copied().find(|record| is_proven(record)) else {
        return Err(match (others.first(), names(&named, from)) {
            (Some(record), _) if record.verdict == Verdict::Rejected => {
                Refusal::Rejected { name: named.shown(), reason: record.reason.clone() }
            }
            (Some(record), _) => {
                Refusal::NotProven { name: named.shown(), verdict: word(record.verdict).to_owned() }
            }
            (None, true) => Refusal::Running { name: named.shown() },
            (None, false) => Refusal::NotProven { name: named.shown(), verdict: "never tried".to_owned() },
        });
    };
    if is_record_rejected(facts, known(&facts.observed.rejected)?, target) {
        let reason = rejection_of(facts.journal, &target.release, &target.digest);
        return Err(Refusal::Rejected { name: shown_record(target), reason });
    }
    can_run(facts, target).map(|()| target)
}

/// Never again. What runs can only be rejected by leaving it.
pub fn reject(facts: &Facts<'_>, what: &str, reason: &str, by: &str) -> Result<Answer, Refusal> {
    let named = find(facts, what)?;
    not_going_back(facts)?;
    let is_meant = |record: &Record| {
        record.release == named.release || (named.by_digest && record.digest == named.digest)
    };
    if known(&facts.observed.service)?.is_some() {
        let runs = running(facts)?;
        if is_meant(runs) {
            let target = target(facts, runs)?;
            return Ok(go_back(facts, runs, target, reason, by));
        }
    }
    let is_busy = |record: &&Record| is_meant(record) && has_tasks(facts, record);
    known(&facts.observed.tasks)?;
    if let Some(busy) = facts.journal.releases.iter().find(is_busy) {
        return Err(Refusal::StillRunning { name: shown_record(busy) });
    }
    let target = if named.by_digest { named.digest.as_str() } else { named.release.as_str() };
    let ledger = known(&facts.observed.rejected)?;
    let mut journal = facts.journal.clone();
    journal.wanted_releases.retain(|wanted| wanted.what != target);
    if !ledger.contains(target) {
        want(&mut journal.wanted_rejects, target, reason, by);
    }
    for record in journal.releases.iter_mut().filter(|record| is_meant(record)) {
        if record.verdict != Verdict::Rejected {
            record.verdict = Verdict::Rejected;
            record.reason = format!("{by} rejected it: {}", reason.trim());
            record.verdict_at = Some(facts.now);
        }
    }
    let is_rejected = |release: &ReleaseId| {
        *release == named.release || (named.by_digest && facts.journal.record(release).is_some_and(&is_meant))
    };
    let mut said = format!("{} is rejected: it is never released before `release`", named.shown());
    if journal.candidate.as_ref().is_some_and(is_rejected) {
        journal.candidate = None;
        said.push_str("; it is the candidate no more");
    }
    if journal.pin.as_ref().is_some_and(|pin| is_rejected(&pin.release)) {
        journal.pin = None;
        said.push_str("; its pin is lifted");
    }
    if journal == *facts.journal {
        return Ok(Answer::nothing(format!("{} is rejected already", named.shown())));
    }
    Ok(Answer::changes(journal, said))
}

fn has_tasks(facts: &Facts<'_>, record: &Record) -> bool {
    let tasks = facts.observed.tasks.known().map_or(&[][..], Vec::as_slice);
    tasks.iter().any(|task| {
        let is_up = match task.state {
            TaskState::Starting | TaskState::Running | TaskState::Stopping => true,
            TaskState::Stopped(_) => false,
        };
        is_up && record.revision.as_ref() == Some(&task.revision)
    })
}

/// Takes a rejection back: of the release, and of its image where that was rejected.
pub fn release(facts: &Facts<'_>, what: &str, reason: &str, by: &str) -> Result<Answer, Refusal> {
    not_going_back(facts)?;
    let ledger = known(&facts.observed.rejected)?;
    // What was rejected long ago may have neither image nor record: the ledger's own name for it will do.
    let (names, name) = match find(facts, what) {
        Ok(named) => (names_of(&named), named.shown()),
        Err(Refusal::NotFound { .. }) if ledger.contains(what.trim()) => {
            (BTreeSet::from([what.trim().to_owned()]), what.trim().to_owned())
        }
        Err(refusal) => return Err(refusal),
    };
    let mut journal = facts.journal.clone();
    journal.wanted_rejects.retain(|wanted| !names.contains(&wanted.what));
    for held in names.intersection(ledger) {
        want(&mut journal.wanted_releases, held, reason, by);
    }
    let is_meant =
        |record: &Record| names.contains(record.release.as_str()) || names.contains(record.digest.as_str());
    for record in journal.releases.iter_mut().filter(|record| is_meant(record)) {
        // Another release of the same image stays rejected where the ledger holds it by its own name.
        let own = record.release.as_str();
        let is_wanted = facts.journal.wanted_rejects.iter().any(|wanted| wanted.what == own);
        let is_held = !names.contains(own) && (ledger.contains(own) || is_wanted);
        if record.verdict == Verdict::Rejected && !is_held {
            record.verdict = Verdict::Superseded;
            record.reason = format!("{by} took the rejection back: {}", reason.trim());
            record.verdict_at = Some(facts.now);
        }
    }
    if journal == *facts.journal {
        return if journal.wanted_releases.iter().any(|wanted| names.contains(&wanted.what)) {
            Ok(Answer::nothing(format!("the rejection of {name} is being taken back already")))
        } else {
            Err(Refusal::NotRejected { name })
        };
    }
    Ok(Answer::changes(journal, format!("the rejection of {name} is taken back: it may be released again")))
}

/// Under what names the ledger may hold it.
fn names_of(named: &Named<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::from([named.release.0.clone(), named.digest.0.clone()]);
    names.extend(named.records.iter().map(|record| record.release.0.clone()));
    let of_records = named.records.iter().flat_map(|record| &record.children);
    let of_image = named.image.iter().filter_map(|image| image.children.as_deref()).flatten();
    names.extend(of_records.chain(of_image).map(|child| child.digest.0.clone()));
    names
}

/// A verdict as people read it.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Proving => "proving",
        Verdict::Healthy => "healthy",
        Verdict::Quiet => "quiet",
        Verdict::Rejected => "rejected",
        Verdict::Blocked => "blocked",
        Verdict::Superseded => "superseded",
    }
}
