//! Back: leaving what runs, rejecting, and taking a rejection back.

use std::collections::BTreeSet;

use super::name::{find, shown_record};
use super::people::want;
use super::{Answer, Facts, Named, Refusal, known};
use crate::journal::{Cause, GoingBack, Journal, Pin, Record, Verdict};
use crate::observe::facts::RolloutState;
use crate::plan::target::{Grounds, Standing, is_proven, ranked};
use crate::policy::Order;
use crate::release::{Digest, Moment, ReleaseId, RevisionArn};

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

/// What `rollback` leaves, and whether it is being left already.
struct Leaving<'a> {
    record: &'a Record,
    already: bool,
}

impl Leaving<'_> {
    fn shown(&self) -> String {
        let already = if self.already { ", which is being left already" } else { "" };
        format!("{}{already}", shown_record(self.record))
    }
}

/// The release under proof, once the service was pointed at it, and whatever ECS is going away from by itself; else
/// what runs. ECS shows the service at the good release as soon as it begins to roll back: that is never meant.
fn leaving<'a>(facts: &Facts<'a>) -> Result<Leaving<'a>, Refusal> {
    let service = known(&facts.observed.service)?.as_ref().ok_or(Refusal::NoService)?;
    let journal = facts.journal;
    let at = |revision: &RevisionArn| {
        journal.releases.iter().rev().find(|record| record.revision.as_ref() == Some(revision))
    };
    let candidate = journal.candidate.as_ref().and_then(|release| journal.record(release));
    if let Some(record) = candidate.filter(|record| record.pointed_at.is_some()) {
        return Ok(Leaving { record, already: record.revision.as_ref() != Some(&service.revision) });
    }
    let by_ecs = service.rollouts.iter().find(|rollout| rollout.state == RolloutState::RollingBack);
    match by_ecs.and_then(|rollout| at(&rollout.revision)) {
        Some(record) => Ok(Leaving { record, already: true }),
        None => running(facts).map(|record| Leaving { record, already: false }),
    }
}

/// Leaves what runs: only writes down where to; the plan goes, and rejects what it left.
///
/// While a release is under proof, or ECS is going back from one by itself, that release is what is left, although the
/// service may point at the good one already: whoever types `rollback` wants the bad one gone, and never what ECS goes
/// back to. A release that waits for its try and does not run is not left; `reject` is for that.
pub fn rollback(
    facts: &Facts<'_>,
    to: Option<&str>,
    expect: Option<&str>,
    reason: &str,
    by: &str,
) -> Result<Answer, Refusal> {
    not_going_back(facts)?;
    let leaving = leaving(facts)?;
    let from = leaving.record;
    if let Some(expected) = expect {
        let named = find(facts, expected)?;
        let is_expected =
            if named.records.is_empty() { named.digest == from.digest } else { names(&named, from) };
        if !is_expected {
            return Err(Refusal::NotExpected { expected: expected.to_owned(), left: leaving.shown() });
        }
    }
    let target = match to {
        None => target(facts, from)?,
        Some(to) => target_named(facts, from, to)?,
    };
    Ok(go_back(facts, &leaving, target, reason, by))
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

fn go_back(facts: &Facts<'_>, leaving: &Leaving<'_>, target: &Record, reason: &str, by: &str) -> Answer {
    let from = leaving.record;
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
        failed: Vec::new(),
    });
    let mut said =
        format!("going back from {} to {}; the former is rejected", shown_record(from), shown_record(target));
    if leaving.already {
        said.push_str("; the service is leaving it already, and that goes on");
    }
    // A pin on what is left would bring it back.
    if journal.pin.as_ref().is_some_and(|pin| pin.means(&from.release, &from.digest)) {
        journal.pin = None;
        said.push_str(", its pin is lifted");
    }
    if is_older_than_another(facts, from, target) {
        journal.pin = Some(Pin {
            release: target.release.clone(),
            digest: Some(target.digest.clone()),
            by: by.to_owned(),
            at: facts.now,
        });
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

fn grounds<'a>(facts: &Facts<'a>) -> Result<Grounds<'a>, Refusal> {
    Grounds::of(facts.observed).map_err(|(what, why)| Refusal::Unknown { what, why })
}

/// Where the plan would go by itself.
fn target<'a>(facts: &Facts<'a>, from: &Record) -> Result<&'a Record, Refusal> {
    let grounds = grounds(facts)?;
    if let Some(record) = grounds.choose(facts.journal, &from.release, &[]) {
        return Ok(record);
    }
    // What is wrong with the first that could be one is what a person wants to know.
    let others = ranked(facts.journal, &from.release);
    let gone = others.into_iter().find_map(|record| match grounds.standing(facts.journal, record) {
        Standing::ImageGone => Some(Refusal::ImageGone { name: shown_record(record) }),
        Standing::RevisionGone => Some(Refusal::RevisionGone { name: shown_record(record) }),
        Standing::Target | Standing::NotProven | Standing::Rejected => None,
    });
    Err(gone.unwrap_or_else(|| Refusal::NoTarget { from: shown_record(from) }))
}

fn target_named<'a>(facts: &Facts<'a>, from: &Record, to: &str) -> Result<&'a Record, Refusal> {
    let named = find(facts, to)?;
    let grounds = grounds(facts)?;
    let others: Vec<&'a Record> =
        named.records.iter().copied().filter(|record| record.release != from.release).collect();
    // Of several releases of an image the proven one is meant.
    let meant = others.iter().copied().find(|record| is_proven(record)).or(others.first().copied());
    let Some(record) = meant else {
        return Err(match names(&named, from) {
            true => Refusal::Running { name: named.shown() },
            false => Refusal::NotProven { name: named.shown(), verdict: "never tried".to_owned() },
        });
    };
    let name = shown_record(record);
    match grounds.standing(facts.journal, record) {
        Standing::Target => Ok(record),
        Standing::NotProven => {
            Err(Refusal::NotProven { name: named.shown(), verdict: word(record.verdict).to_owned() })
        }
        Standing::Rejected => {
            let reason = rejection_of(facts.journal, &record.release, &record.digest);
            Err(Refusal::Rejected { name, reason })
        }
        Standing::ImageGone => Err(Refusal::ImageGone { name }),
        Standing::RevisionGone => Err(Refusal::RevisionGone { name }),
    }
}

/// Never again. What runs can only be rejected by leaving it.
pub fn reject(facts: &Facts<'_>, what: &str, reason: &str, by: &str) -> Result<Answer, Refusal> {
    let named = find(facts, what)?;
    not_going_back(facts)?;
    let is_meant = |record: &Record| {
        record.release == named.release || (named.by_digest && record.digest == named.digest)
    };
    if known(&facts.observed.service)?.is_some() {
        let runs = Leaving { record: running(facts)?, already: false };
        for left in [leaving(facts)?, runs] {
            if is_meant(left.record) {
                let target = target(facts, left.record)?;
                return Ok(go_back(facts, &left, target, reason, by));
            }
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
    if journal.pin.as_ref().is_some_and(|pin| {
        is_rejected(&pin.release) || (named.by_digest && pin.digest.as_ref() == Some(&named.digest))
    }) {
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
    tasks.iter().any(|task| task.is_up() && record.revision.as_ref() == Some(&task.revision))
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
