//! People: wishes that only bind the plan: pin, approval, freeze, stop.

use super::back::{rejection_of, running};
use super::name::{Named, find, shown_record};
use super::{Answer, Facts, Refusal, known};
use crate::clock::{moment_of, rfc3339};
use crate::journal::{Approval, Freeze, Journal, Pin, RECORDS_MAX, Stopped, Verdict, Wanted};
use crate::plan::target::is_rejected;

/// Releases an image. What the policy would not choose by itself is pinned, or the next look would leave it again.
pub fn deploy(facts: &Facts<'_>, what: &str, by: &str) -> Result<Answer, Refusal> {
    let named = find(facts, what)?;
    may_run(facts, &named)?;
    let name = named.shown();
    let is_newest = facts.desired == Some(&named.release);
    let pinned = facts.journal.pin.as_ref();
    let waits = waits(facts);
    if let Some(answer) = try_again(facts, &named) {
        return Ok(answer);
    }
    if is_newest && pinned.is_none() {
        return Ok(Answer::nothing(match running(facts) {
            Ok(record) if record.release == named.release => format!("{name} runs already"),
            Ok(_) | Err(_) => format!("{name} is what the policy asks for: the next look takes it{waits}"),
        }));
    }
    if pinned.is_some_and(|pin| pin.means(&named.release, &named.digest)) {
        return Ok(Answer::nothing(format!("{name} is pinned already{waits}")));
    }
    let mut journal = facts.journal.clone();
    if is_newest {
        let left = journal.pin.take().map(|pin| pin.release.0).unwrap_or_default();
        let said = format!("{name} is next, and what comes after it too: release {left} is unpinned{waits}");
        return Ok(Answer::changes(journal, said));
    }
    journal.pin =
        Some(Pin { release: named.release, digest: Some(named.digest), by: by.to_owned(), at: facts.now });
    Ok(Answer::changes(
        journal,
        format!("{name} is next, and pinned: nothing newer is released before `unpin`{waits}"),
    ))
}

/// A release that its surroundings blocked is tried at once instead of when its time comes.
fn try_again(facts: &Facts<'_>, named: &Named<'_>) -> Option<Answer> {
    let mut journal = facts.journal.clone();
    let record = journal.record_mut(&named.release)?;
    if record.verdict != Verdict::Blocked || record.retry_at.is_none_or(|at| at <= facts.now) {
        return None;
    }
    record.retry_at = Some(facts.now);
    let is_next = facts.desired == Some(&named.release)
        || journal.pin.as_ref().is_some_and(|pin| pin.means(&named.release, &named.digest));
    is_next.then(|| Answer::changes(journal, format!("{} is tried again at once", named.shown())))
}

pub fn pin(facts: &Facts<'_>, what: Option<&str>, by: &str) -> Result<Answer, Refusal> {
    let (release, digest, name) = match what {
        Some(what) => {
            let named = find(facts, what)?;
            may_run(facts, &named)?;
            (named.release.clone(), named.digest.clone(), named.shown())
        }
        None => {
            let record = running(facts)?;
            (record.release.clone(), record.digest.clone(), shown_record(record))
        }
    };
    if facts.journal.pin.as_ref().is_some_and(|pin| pin.release == release && pin.digest.is_some()) {
        return Ok(Answer::nothing(format!("{name} is pinned already")));
    }
    let mut journal = facts.journal.clone();
    journal.pin = Some(Pin { release, digest: Some(digest), by: by.to_owned(), at: facts.now });
    Ok(Answer::changes(journal, format!("{name} is pinned: nothing else is released before `unpin`")))
}

pub fn unpin(facts: &Facts<'_>) -> Answer {
    let mut journal = facts.journal.clone();
    match journal.pin.take() {
        None => Answer::nothing("nothing is pinned"),
        Some(pin) => {
            let said =
                format!("release {} is unpinned: the next look takes what the policy asks for", pin.release);
            Answer::changes(journal, said)
        }
    }
}

/// Approves an image: by digest, so that a moved tag carries no approval with it.
pub fn approve(facts: &Facts<'_>, what: &str, by: &str) -> Result<Answer, Refusal> {
    let named = find(facts, what)?;
    may_run(facts, &named)?;
    let name = named.shown();
    if let Some(given) = facts.journal.approvals.iter().find(|approval| approval.digest == named.digest) {
        let said = format!("{name} was approved by {} at {}", given.by, rfc3339(given.at));
        return Ok(Answer::nothing(said));
    }
    let mut journal = facts.journal.clone();
    journal.approvals.push(Approval { digest: named.digest, by: by.to_owned(), at: facts.now });
    let over = journal.approvals.len().saturating_sub(RECORDS_MAX);
    journal.approvals.drain(..over);
    let said = if facts.policy.approval {
        format!("{name} is approved")
    } else {
        format!("{name} is approved; the policy does not ask for it (`approval` in policy.toml)")
    };
    Ok(Answer::changes(journal, said))
}

pub fn stop(facts: &Facts<'_>, reason: &str, by: &str) -> Result<Answer, Refusal> {
    if let Some(stopped) = &facts.journal.stopped {
        let said = format!("{} stopped it at {}: {}", stopped.by, rfc3339(stopped.at), stopped.reason);
        return Ok(Answer::nothing(said));
    }
    let service = known(&facts.observed.service)?.as_ref().ok_or(Refusal::NoService)?;
    let mut journal = facts.journal.clone();
    let desired = service.desired.max(1);
    journal.scale_to = None;
    journal.stopped =
        Some(Stopped { by: by.to_owned(), at: facts.now, desired, reason: reason.trim().to_owned() });
    let said = format!(
        "the service goes to 0 tasks and stays there; `start` brings back {desired}. Kafka keeps what comes meanwhile, \
         as long as the topic's retention lasts"
    );
    Ok(Answer::changes(journal, said))
}

pub fn start(facts: &Facts<'_>) -> Answer {
    let mut journal = facts.journal.clone();
    match journal.stopped.take() {
        None => Answer::nothing("the service is not stopped"),
        Some(stopped) => {
            journal.scale_to = Some(stopped.desired);
            Answer::changes(journal, format!("the service goes back to {} tasks", stopped.desired))
        }
    }
}

pub fn freeze(facts: &Facts<'_>, until: Option<&str>, reason: &str, by: &str) -> Result<Answer, Refusal> {
    let end = match until {
        None => None,
        Some(text) => match moment_of(text) {
            Some(end) if end > facts.now => Some(end),
            Some(_) | None => return Err(Refusal::BadTime { got: text.chars().take(100).collect() }),
        },
    };
    let reason = reason.trim().to_owned();
    if facts.journal.freeze.as_ref().is_some_and(|freeze| freeze.until == end && freeze.reason == reason) {
        return Ok(Answer::nothing("it is frozen already"));
    }
    let mut journal = facts.journal.clone();
    journal.freeze = Some(Freeze { by: by.to_owned(), at: facts.now, until: end, reason });
    let end = end.map_or_else(|| "`unfreeze`".to_owned(), rfc3339);
    let said =
        format!("no new release starts before {end}; a verdict or a way back that is under way goes on");
    Ok(Answer::changes(journal, said))
}

pub fn unfreeze(facts: &Facts<'_>) -> Answer {
    let mut journal = facts.journal.clone();
    match journal.freeze.take() {
        None => Answer::nothing("nothing is frozen, but for the windows in policy.toml"),
        Some(_) => {
            Answer::changes(journal, "new releases may start again, but for the windows in policy.toml")
        }
    }
}

/// There, and not rejected.
fn may_run(facts: &Facts<'_>, named: &Named<'_>) -> Result<(), Refusal> {
    if named.image.is_none() {
        return Err(Refusal::ImageGone { name: named.shown() });
    }
    let rejected = known(&facts.observed.rejected)?;
    let children = named.image.iter().filter_map(|image| image.children.as_deref()).flatten();
    if is_rejected(facts.journal, rejected, &named.release, &named.digest, children) {
        let reason = rejection_of(facts.journal, &named.release, &named.digest);
        return Err(Refusal::Rejected { name: named.shown(), reason });
    }
    Ok(())
}

/// What holds a deployment back although a person asked for it: the end of a sentence.
fn waits(facts: &Facts<'_>) -> String {
    let journal: &Journal = facts.journal;
    let mut holds = Vec::new();
    if let Some(stopped) = &journal.stopped {
        holds.push(format!("it is stopped ({})", stopped.reason));
    }
    if let Some(freeze) =
        journal.freeze.as_ref().filter(|freeze| freeze.until.is_none_or(|end| end > facts.now))
    {
        holds.push(format!("it is frozen ({})", freeze.reason));
    }
    if let Some(back) = &journal.going_back {
        holds.push(format!("the way back to {} is not finished", back.to));
    }
    if facts.policy.approval {
        holds.push("the policy asks for `approve`".to_owned());
    }
    if holds.is_empty() { String::new() } else { format!("; but {}", holds.join(", and ")) }
}

/// A wish about the ledger, once.
pub fn want(wishes: &mut Vec<Wanted>, what: &str, reason: &str, by: &str) {
    if wishes.iter().all(|wanted| wanted.what != what) {
        wishes.push(Wanted { what: what.to_owned(), reason: format!("{by}: {}", reason.trim()) });
    }
}
