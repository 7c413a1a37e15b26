//! Oracle: what must hold whatever happens. It knows how the images behave; the deployer does not.
//!
//! Order: it is asked at every announcement, every written journal, every call and every step of ECS; the first
//! violation ends the run.

use std::collections::{BTreeMap, BTreeSet};

use deployer::journal::{Action, GoingBack, Intent, Journal, Pin, Record, Verdict};
use deployer::observe::facts::TaskState;
use deployer::plan::LEASE_MS;
use deployer::policy::{Admitted, Supersede};
use deployer::release::{Digest, Moment, ReleaseId, RevisionArn};
use local::ecs::{Health, Status};
use serde_json::Value;

use super::images::{Behaviour, Made};
use super::ports::Looked;
use super::{MINUTE, SERVICE, State, templates};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writer {
    Deployer,
    Person,
}

#[derive(Debug, Default)]
pub struct Oracle {
    pub violation: Option<String>,
    /// What a journal announced, and when.
    announced: Vec<(Action, i64)>,
    /// When the ledger was told: by the calendar's count, and by the clock.
    pub rejected_at: BTreeMap<String, (u64, i64)>,
    /// Which image's task made the alarm go off.
    pub alarm_by: Option<String>,
    /// Releases and digests that people named.
    asked: BTreeSet<String>,
    people_rejected: BTreeSet<String>,
    adopted: BTreeSet<String>,
    foreign_at: Option<i64>,
    service_gone: bool,
    journal_gone: bool,
}

impl Oracle {
    pub fn foreign(&mut self, at: i64) {
        self.foreign_at = Some(at);
    }

    /// With it goes what ECS knew of its deployments.
    pub fn service_deleted(&mut self, at: i64) {
        self.foreign_at = Some(at);
        self.service_gone = true;
    }

    /// What people had asked for is forgotten with it.
    pub fn journal_deleted(&mut self) {
        self.journal_gone = true;
    }

    pub fn journal_was_deleted(&self) -> bool {
        self.journal_gone
    }

    pub fn adopted_a_bad_one(&self, state: &State) -> bool {
        self.adopted.iter().any(|release| !is_good(state, release))
    }
}

fn made<'s>(state: &'s State, release: &str) -> Option<&'s Made> {
    state
        .images
        .iter()
        .find(|image| (0..2).any(|build| templates::release_of(build, &image.digest).as_str() == release))
}

fn is_good(state: &State, release: &str) -> bool {
    made(state, release).is_some_and(|image| image.behaviour == Behaviour::Good)
}

/// What is written is to be an announcement by an invocation that could read everything.
pub fn announces(state: &mut State, journal: &Journal, looked: &Looked) {
    let new = journal.intent.as_ref().filter(|intent| {
        state.journal.as_ref().is_none_or(|(before, _)| before.intent.as_ref() != Some(*intent))
    });
    if let (Some(intent), Some(unread)) = (new, looked.unread) {
        state.violated(|| format!("{:?} is announced although nobody could {unread}", intent.action));
    }
    let Some((release, _)) = new.and_then(|intent| pointed(&intent.action)) else { return };
    let names = names_of(state, release);
    let known = names
        .iter()
        .find(|name| state.oracle.rejected_at.get(*name).is_some_and(|(tick, _)| *tick < looked.ledger_at));
    if let Some(name) = known.cloned() {
        state.violated(|| format!("a release is deployed although the ledger rejects {name}"));
    }
}

fn pointed(action: &Action) -> Option<(&ReleaseId, &RevisionArn)> {
    match action {
        Action::Point { release, revision, .. } | Action::Create { release, revision } => {
            Some((release, revision))
        }
        Action::Register { .. }
        | Action::OwnRollback { .. }
        | Action::Scale { .. }
        | Action::Delete
        | Action::Reject { .. }
        | Action::Release { .. } => None,
    }
}

fn names_of(state: &State, release: &ReleaseId) -> Vec<String> {
    let digest = made(state, release.as_str()).map(|image| image.digest.0.clone());
    [Some(release.0.clone()), digest].into_iter().flatten().collect()
}

/// A journal replaces another.
pub fn written(state: &mut State, before: Option<&Journal>, after: &Journal, writer: Writer) {
    match writer {
        Writer::Person => by_person(state, before, after),
        Writer::Deployer => by_deployer(state, before, after),
    }
}

fn by_person(state: &mut State, before: Option<&Journal>, after: &Journal) {
    let oracle = &mut state.oracle;
    oracle.asked.extend(after.pin.iter().map(|pin| pin.release.0.clone()));
    // The image is what is pinned, whatever the templates make of it.
    let pinned = after.pin.iter().filter_map(|pin| pin.digest.as_ref());
    oracle.asked.extend(pinned.flat_map(|digest| (0..2).map(|build| templates::release_of(build, digest).0)));
    oracle.people_rejected.extend(after.wanted_rejects.iter().map(|wanted| wanted.what.clone()));
    if let Some(back) = after.going_back.as_ref().filter(|_| before.is_none_or(|b| b.going_back.is_none())) {
        oracle.asked.insert(back.to.0.clone());
        oracle.people_rejected.extend(back.rejects.clone());
        let back = back.clone();
        never_what_ecs_goes_back_to(state, &back);
    }
}

/// Whoever types `rollback` while ECS goes back by itself wants what ECS leaves to be gone.
fn never_what_ecs_goes_back_to(state: &mut State, back: &GoingBack) {
    let Some(s) = state.ecs.service(SERVICE) else { return };
    let primary = s.primary();
    if !primary.is_rollback || primary.state != local::ecs::RolloutState::InProgress {
        return;
    }
    let to = state.release_at(primary.definition).unwrap_or_default().to_owned();
    // Where somebody else moved the service meanwhile, nobody can say what was meant.
    let by_rollback = back.reason.contains("so I want it") && state.oracle.foreign_at.is_none();
    if by_rollback && back.from.as_str() == to {
        state.violated(|| format!("a rollback rejects {to}, to which ECS goes back by itself"));
    }
    state.fire("rollback typed while ECS goes back");
}

fn by_deployer(state: &mut State, before: Option<&Journal>, after: &Journal) {
    let blank = Journal::default();
    let Some(before) = before else {
        adopts(state, after);
        if let Some(intent) = &after.intent {
            announced(state, &blank, after, intent);
        }
        return;
    };
    if let Some(intent) = after.intent.as_ref().filter(|intent| before.intent.as_ref() != Some(*intent)) {
        if before.intent.as_ref().is_some_and(|old| state.now - old.announced_at.0 < LEASE_MS) {
            let done = before.intent.as_ref().map(|old| old.action.clone());
            state.say(|_| format!("{done:?} is over, next is {:?}", intent.action));
        }
        announced(state, before, after, intent);
    }
    if after.pin != before.pin || after.freeze != before.freeze {
        state.violated(|| "a pin or a freeze changed, and no person asked for it".to_owned());
    }
    let by_landfall = |journal: &Journal| journal.stopped.as_ref().is_some_and(|it| it.by == "landfall");
    if after.stopped != before.stopped && !by_landfall(after) {
        state.violated(|| "it was stopped or started, and no person asked for it".to_owned());
    }
    for record in &after.releases {
        let old = before.record(&record.release);
        if old.is_none_or(|old| old.verdict != record.verdict) {
            verdict(state, before, after, old, record);
        }
    }
    if let Some(back) = &after.going_back
        && before.going_back.as_ref().is_none_or(|old| old.to != back.to)
    {
        let proven = before.record(&back.to).is_some_and(|record| is_proven(record.verdict));
        if !proven || back.to == back.from {
            state.violated(|| format!("the way back leads to {}, which was never proven", back.to));
        }
    }
}

/// Whether ECS really heard of it: an announced call may never have been made.
fn is_pointed(state: &State, record: &Record) -> bool {
    let Some(at) = record.pointed_at else { return false };
    let since = u64::try_from(at.0 - MINUTE).unwrap_or_default();
    state.ecs.service(SERVICE).is_some_and(|s| {
        s.rollouts.iter().any(|it| {
            let definition = state.ecs.definition(s.revision(it.target).definition);
            it.created_at >= since
                && record.revision.as_ref().is_some_and(|arn| *definition.arn == *arn.as_str())
        })
    })
}

fn is_proven(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Healthy | Verdict::Quiet => true,
        Verdict::Proving | Verdict::Rejected | Verdict::Blocked | Verdict::Superseded => false,
    }
}

/// A first journal beside a running service knows what runs.
fn adopts(state: &mut State, after: &Journal) {
    let Some(service) = state.ecs.service(SERVICE) else { return };
    let runs = |record: &Record| {
        record.revision.as_ref().is_some_and(|arn| {
            service.revisions.iter().any(|it| *state.ecs.definition(it.definition).arn == *arn.as_str())
        })
    };
    if after.releases.iter().any(runs) {
        let adopted = after.current.iter().chain(&after.candidate).map(|id| id.0.clone()).collect::<Vec<_>>();
        state.oracle.adopted.extend(adopted);
    } else if state.now - i64::try_from(service.created_at).unwrap_or(0) > MINUTE {
        state.violated(|| {
            "a journal is begun beside a running service, and does not know what runs".to_owned()
        });
    }
}

fn announced(state: &mut State, before: &Journal, after: &Journal, intent: &Intent) {
    let now = state.now;
    state.oracle.announced.retain(|(_, at)| now - at < LEASE_MS);
    state.oracle.announced.push((intent.action.clone(), now));
    state.say(|_| format!("announced: {:?}", intent.action));
    match &intent.action {
        Action::Point { release, .. } | Action::Create { release, .. } => {
            deploys(state, before, after, release);
        }
        Action::Scale { desired } => {
            let asked = match desired {
                0 => before.stopped.is_some() || after.stopped.is_some(),
                many => before.scale_to == Some(*many),
            };
            if !asked {
                state.violated(|| format!("scaled to {desired}, and nobody asked for it"));
            }
        }
        Action::Reject { what, reason } => {
            let asked = before.wanted_rejects.iter().any(|wanted| wanted.what == *what);
            let target = before.going_back.as_ref().and_then(|back| before.record(&back.to));
            if !asked && !target.is_some_and(|record| is_proven(record.verdict)) {
                state.violated(|| format!("{what} is rejected, and there is nothing proven to go to"));
            }
            blames(state, what, reason);
        }
        Action::Delete => state.violated(|| "the service is deleted, and its stack is there".to_owned()),
        Action::Register { .. } | Action::OwnRollback { .. } | Action::Release { .. } => {}
    }
}

/// Only the release that is at fault is rejected, unless a person wants it.
fn blames(state: &mut State, what: &str, reason: &str) {
    let digest = state.image(what).map(|image| image.behaviour);
    let behaviour = digest.or_else(|| made(state, what).map(|image| image.behaviour));
    let asked = names(state, what).iter().any(|name| state.oracle.people_rejected.contains(name));
    // Who makes an alarm ring nobody can know but the world: another image's may fall into the proof of a good one.
    let digest = state.image(what).or_else(|| made(state, what)).map(|image| image.digest.0.clone());
    let by_another =
        reason.contains("alarm") && state.oracle.alarm_by.is_some() && state.oracle.alarm_by != digest;
    if behaviour == Some(Behaviour::Good) && !asked && !by_another {
        state.violated(|| format!("{what} is rejected, and it is good"));
    }
}

/// All that a release or an image is called.
fn names(state: &State, what: &str) -> Vec<String> {
    let image = state.image(what).or_else(|| made(state, what));
    let mut names = vec![what.to_owned()];
    if let Some(image) = image {
        names.push(image.digest.0.clone());
        names.extend((0..2).map(|build| templates::release_of(build, &image.digest).0));
    }
    names
}

/// The service is about to be pointed at a release.
fn deploys(state: &mut State, before: &Journal, after: &Journal, release: &ReleaseId) {
    let going_back =
        [&before.going_back, &after.going_back].into_iter().flatten().any(|it| it.to == *release);
    if going_back {
        let proven = after.record(release).is_some_and(|record| is_proven(record.verdict));
        if !proven {
            state.violated(|| format!("goes back to {release}, which was never proven"));
        }
        return;
    }
    let pointed = before.candidate.as_ref().and_then(|id| before.record(id)).filter(|record| {
        is_pointed(state, record) && record.verdict == Verdict::Proving && record.release != *release
    });
    if let Some(other) = pointed.filter(|_| state.policy.supersede == Supersede::AfterVerdict) {
        let other = other.release.clone();
        state.violated(|| format!("{release} is deployed while {other} is under proof"));
    }
    // What is current is nothing new, and may be deployed again at any time; also what was found running.
    let found = before.releases.is_empty().then_some(&after.current);
    if [Some(&before.current), found].into_iter().flatten().any(|it| it.as_ref() == Some(release)) {
        return;
    }
    if after.candidate.as_ref() != Some(release) {
        state.violated(|| format!("{release} is deployed, and is neither candidate, current nor target"));
    }
    let frozen =
        before.freeze.as_ref().is_some_and(|it| it.until.is_none_or(|until| Moment(state.now) < until));
    if frozen {
        state.violated(|| format!("{release} is deployed in a freeze"));
    }
    let approved = |digest: &Digest| before.approvals.iter().any(|approval| approval.digest == *digest);
    let unapproved = after.record(release).is_some_and(|record| !approved(&record.digest));
    // What was found running had its approval, and that went with the journal.
    if state.policy.approval && unapproved && !state.oracle.adopted.contains(release.as_str()) {
        state.violated(|| format!("{release} is deployed, and nobody approved it"));
    }
    if before.stopped.is_some() {
        state.violated(|| format!("{release} is deployed although the service was stopped"));
    }
    if before.pin.as_ref().is_some_and(|pin| !means(state, pin, release)) {
        state.violated(|| format!("{release} is deployed although another is pinned"));
    }
    if made(state, release.as_str()).is_some_and(|image| !image.runs_here()) {
        state.violated(|| format!("{release} is deployed, and has no image for this platform"));
    }
    newer(state, before, after, release);
}

fn means(state: &State, pin: &Pin, release: &ReleaseId) -> bool {
    made(state, release.as_str()).is_some_and(|image| pin.means(release, &image.digest))
}

/// Nothing older than what was proven is deployed, unless a person asks for it.
fn newer(state: &mut State, before: &Journal, after: &Journal, release: &ReleaseId) {
    if state.oracle.asked.contains(release.as_str()) {
        return;
    }
    let Some(record) = after.record(release) else { return };
    let rank = |record: &Record| {
        let version = record.version.as_deref().and_then(|text| text.parse().ok());
        (version.map_or(Admitted::Name, Admitted::Version), record.pushed_at)
    };
    let (mine, at) = rank(record);
    let newer = before.releases.iter().find(|other| {
        let (theirs, then) = rank(other);
        let lives =
            !state.ledger.contains(other.release.as_str()) && !state.ledger.contains(other.digest.as_str());
        is_proven(other.verdict)
            && lives
            && other.digest != record.digest
            && state.policy.newer((&theirs, then), (&mine, at)) == std::cmp::Ordering::Greater
    });
    if let Some(newer) = newer {
        let newer = newer.release.clone();
        state.violated(|| format!("{release} is deployed, and is older than {newer}, which is proven"));
    }
}

fn verdict(state: &mut State, before: &Journal, after: &Journal, old: Option<&Record>, record: &Record) {
    let release = &record.release;
    match record.verdict {
        Verdict::Healthy | Verdict::Quiet => {
            let complete = state.ecs.service(SERVICE).is_some_and(|s| {
                s.rollouts.iter().any(|it| {
                    let definition = state.ecs.definition(s.revision(it.target).definition);
                    it.status == Status::Successful
                        && record.revision.as_ref().is_some_and(|arn| *definition.arn == *arn.as_str())
                })
            });
            let was_proven = old.is_some_and(|old| old.keep.is_some());
            let forgotten = was_proven && state.oracle.service_gone;
            if !complete && !forgotten {
                state.violated(|| {
                    format!("{release} is called healthy, and ECS never completed its deployment")
                });
            }
            if !is_good(state, release.as_str()) {
                state.violated(|| format!("{release} is called healthy, and it is bad"));
            }
        }
        Verdict::Rejected => blames(state, release.as_str(), &record.reason),
        Verdict::Superseded => {
            let was_pointed =
                old.is_some_and(|old| old.verdict == Verdict::Proving && is_pointed(state, old));
            let elsewhere = state.ecs.service(SERVICE).is_none_or(|s| {
                let definition = state.ecs.definition(s.primary().definition);
                record.revision.as_ref().is_none_or(|arn| *definition.arn != *arn.as_str())
            });
            let displaced =
                state.oracle.foreign_at.is_some() || state.old_api || elsewhere && state.oracle.journal_gone;
            let allowed = displaced || state.policy.supersede == Supersede::AtOnce;
            if was_pointed && !allowed && before.candidate.as_ref() == Some(release) {
                state.violated(|| format!("{release} gets no verdict, and only we touched the service"));
            }
        }
        Verdict::Proving | Verdict::Blocked => {}
    }
    let _ = after;
}

/// RegisterTaskDefinition.
pub fn registers(state: &mut State, body: &Value, looked: &Looked) {
    let tags = body["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = tags.iter().find(|tag| tag["key"] == "landfall:release").and_then(|tag| tag["value"].as_str());
    let release = of.unwrap_or_default().to_owned();
    let is_it =
        |action: &Action| matches!(action, Action::Register { release: id } if id.as_str() == release);
    must_be_announced(state, "RegisterTaskDefinition", looked, is_it);
}

/// CreateService.
pub fn creates(state: &mut State, body: &Value, looked: &Looked) {
    let arn = body["taskDefinition"].as_str().unwrap_or_default().to_owned();
    let is_it =
        |action: &Action| matches!(action, Action::Create { revision, .. } if revision.as_str() == arn);
    must_be_announced(state, "CreateService", looked, is_it);
    let made_long_ago = state.ecs.service(SERVICE).is_some_and(|s| state.ms() > s.created_at + 240_000);
    if made_long_ago {
        state.violated(|| "CreateService, and the service was there long ago".to_owned());
    }
}

/// UpdateService.
pub fn updates(state: &mut State, body: &Value, looked: &Looked) {
    let arn = body["taskDefinition"].as_str().map(str::to_owned);
    let tasks = body["desiredCount"].as_u64();
    let is_it = |action: &Action| match action {
        Action::Point { revision, .. } => arn.as_deref() == Some(revision.as_str()),
        Action::Scale { desired } => tasks == Some(u64::from(*desired)),
        Action::OwnRollback { .. } => arn.is_none() && tasks.is_none(),
        Action::Register { .. }
        | Action::Create { .. }
        | Action::Delete
        | Action::Reject { .. }
        | Action::Release { .. } => false,
    };
    must_be_announced(state, "UpdateService", looked, is_it);
    if arn.is_some() && tasks.is_some() {
        state.violated(|| "a deployment sets the number of tasks".to_owned());
    }
}

/// A rejection in the ledger.
pub fn rejects(state: &mut State, what: &str, looked: &Looked) {
    let is_it =
        |action: &Action| matches!(action, Action::Reject { what: announced, .. } if announced == what);
    must_be_announced(state, "a rejection", looked, is_it);
}

fn must_be_announced(state: &mut State, call: &str, looked: &Looked, is_it: impl Fn(&Action) -> bool) {
    let now = state.now;
    let announced = state.oracle.announced.iter().any(|(action, at)| now - at < LEASE_MS && is_it(action));
    if !announced {
        state.violated(|| format!("{call} is made before it is announced"));
    }
    if let Some(unread) = looked.unread {
        state.violated(|| format!("{call} is made although nobody could {unread}"));
    }
}

/// ECS has made a step: it must not go back by itself to what may not write.
pub fn ecs_moved(state: &mut State) {
    let Some(s) = state.ecs.service(SERVICE) else { return };
    let primary = s.primary();
    let requested = s.rollout(primary.rollout).failed_by == Some(local::ecs::model::Cause::Requested);
    if state.oracle.foreign_at.is_some()
        || !primary.is_rollback
        || requested
        || primary.state != local::ecs::RolloutState::InProgress
    {
        return;
    }
    let release = state.release_at(primary.definition).unwrap_or_default().to_owned();
    let names = names_of(state, &ReleaseId(release));
    // A person may reject it later: the deployment is told then, but may not listen any more.
    let began = i64::try_from(s.rollout(primary.rollout).created_at).ok();
    let before = |name: &&String| {
        let at = state.oracle.rejected_at.get(*name);
        at.zip(began).is_some_and(|((_, rejected), began)| *rejected < began)
    };
    let rejected = names.iter().find(before).cloned();
    if let Some(name) = rejected {
        state.violated(|| format!("ECS rolls back to {name}, which is rejected"));
    }
}

/// What should run in the end. None: no image is good.
pub fn expected(state: &State) -> Option<ReleaseId> {
    // For another's alarm, with nothing to go back to: only the journal says so.
    let blamed = |release: &ReleaseId| {
        let record = state.journal.as_ref().and_then(|(journal, _)| journal.record(release));
        record.is_some_and(|it| it.verdict == Verdict::Rejected && it.reason.contains("alarm"))
    };
    let fits = |image: &&Made| {
        let release = templates::release_of(state.build, &image.digest);
        let rejected =
            state.ledger.contains(release.as_str()) || state.ledger.contains(image.digest.as_str());
        image.is_sound(&state.policy) && !rejected && !blamed(&release)
    };
    let newest = state.images.iter().filter(fits).max_by(|a, b| newer_of(state, a, b))?;
    Some(templates::release_of(state.build, &newest.digest))
}

/// By the policy's order.
fn newer_of(state: &State, a: &Made, b: &Made) -> std::cmp::Ordering {
    let rank = |image: &Made| {
        let admitted = state.policy.admits_any(image.tags.iter().map(String::as_str));
        (admitted, Moment(image.pushed_at.unwrap_or_default()))
    };
    match (rank(a), rank(b)) {
        ((Some(a), at), (Some(b), bt)) => state.policy.newer((&a, at), (&b, bt)),
        ((a, _), (b, _)) => a.is_some().cmp(&b.is_some()),
    }
}

/// What is not yet as it should be in the end; None: all of it is.
pub fn unsettled(state: &State) -> Option<String> {
    let want = expected(state);
    let Some((journal, _)) = &state.journal else {
        return want.map(|release| format!("there is no journal, and {release} should run"));
    };
    if let Some(intent) = &journal.intent {
        return Some(format!("an intent is left: {:?}", intent.action));
    }
    if !journal.outbox.is_empty() || !journal.wanted_rejects.is_empty() || !journal.wanted_releases.is_empty()
    {
        return Some("notices or wishes are left".to_owned());
    }
    if let Some(waits) = state.unapproved().next() {
        return Some(format!("{} waits for approval", waits.digest.short()));
    }
    if state.fails_for_good() && (state.untidy || !state.has_proven()) {
        return None;
    }
    let stands = journal.stopped.is_some() || journal.pin.is_some() || journal.freeze.is_some();
    if stands && !state.untidy {
        return Some("people have not tidied up".to_owned());
    }
    if journal.stopped.is_some() {
        let desired = state.ecs.service(SERVICE).map_or(0, |s| s.desired);
        return (desired != 0).then(|| format!("it is stopped, and has {desired} tasks"));
    }
    if let Some(back) = &journal.going_back {
        return Some(format!("a way back to {} is left", back.to));
    }
    let frozen = journal.freeze.is_some();
    let wanted = match &journal.pin {
        Some(pin) => {
            let image = made(state, pin.release.as_str());
            let fits = image.is_some_and(|image| image.is_sound(&state.policy));
            let now = image.map(|image| templates::release_of(state.build, &image.digest));
            now.filter(|now| fits && !names_of(state, now).iter().any(|name| state.ledger.contains(name)))
        }
        None => want,
    };
    // In a freeze, and where the wanted one cannot run, what runs stays; how it stands is judged all the same.
    let wanted = wanted.filter(|_| !frozen);
    if wanted.is_none() && (frozen || journal.pin.is_some() || journal.current.is_none()) {
        return None;
    }
    // What keeps an alarm ringing that rang before it came cannot be told from what found it ringing: it is blocked
    // again and again, and that is right.
    let keeps_ringing = journal
        .candidate
        .as_ref()
        .and_then(|id| made(state, id.as_str()))
        .is_some_and(|image| image.behaviour == Behaviour::RaisesAlarm);
    if keeps_ringing
        && journal.candidate.as_ref().and_then(|id| journal.record(id)).is_some_and(|it| it.blocked_times > 0)
    {
        return None;
    }
    if let Some(candidate) = &journal.candidate {
        return Some(format!("{candidate} is still under proof"));
    }
    // With the templates of before it may be newer than all that may run with today's.
    let is_newer = |wanted: &ReleaseId| {
        let current = journal.current.as_ref().and_then(|id| journal.record(id));
        let image = made(state, wanted.as_str());
        current.zip(image).is_some_and(|(current, image)| {
            let rejected = names_of(state, &current.release).iter().any(|name| state.ledger.contains(name));
            let other = state.image(current.digest.as_str());
            !rejected && other.is_some_and(|other| newer_of(state, other, image).is_gt())
        })
    };
    let is_wanted = |wanted: &ReleaseId| journal.current.as_ref() == Some(wanted) || is_newer(wanted);
    if let Some(wanted) = wanted.filter(|wanted| !is_wanted(wanted)) {
        return Some(format!("{wanted} should run, and the journal says {:?}", journal.current));
    }
    runs_what_is_current(state, journal)
}

fn runs_what_is_current(state: &State, journal: &Journal) -> Option<String> {
    let record = journal.current.as_ref().and_then(|id| journal.record(id))?;
    let Some(service) = state.service() else { return Some("there is no service".to_owned()) };
    if record.revision.as_ref() != Some(&service.revision) {
        return Some(format!(
            "{} is current, and the service is at {}",
            record.release,
            service.revision.short()
        ));
    }
    if !service.own_rollback {
        return Some("ECS's own rollback is off".to_owned());
    }
    if service.desired != 1 || journal.scale_to.is_some() {
        return Some(format!("{} tasks are wanted", service.desired));
    }
    let s = state.ecs.service(SERVICE)?;
    let runs = s.tasks.iter().any(|task| {
        task.is_live()
            && task.health == Health::Healthy
            && state.digest_of(task.definition).as_ref() == Some(&record.digest)
    });
    let told = state.tasks().iter().any(|task| task.state == TaskState::Running && judge_runs(task, record));
    if !runs || !told {
        return Some(format!("no healthy task runs {}", record.digest.short()));
    }
    let pending = journal.releases.iter().any(|record| {
        let there = state.image(record.digest.as_str()).is_some_and(Made::is_there);
        let keep = there && record.keep.as_ref().is_some_and(|keep| !keep.done);
        keep || (record.revision.is_some() && record.mirrored != Some(record.verdict))
    });
    pending.then(|| "tags are left to be put".to_owned())
}

fn judge_runs(task: &deployer::observe::facts::Task, record: &Record) -> bool {
    deployer::judge::runs_it(task, record)
}
