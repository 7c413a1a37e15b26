use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ledger::store::faulty::{Faulty, Fired, Verdict as Fate};
use ledger::store::memory::MemoryStore;
use ledger::store::{Fault, Operation};
use serde_json::json;

use super::*;
use crate::apply::widen::Widened;
use crate::journal::store::JournalObject;
use crate::journal::{self, FORMAT, Intent, Keep, Notice, Urgency, Verdict};
use crate::plan::Decision;
use crate::release::Digest;

const NOW: Moment = Moment(1_000_000);

/// AWS and the ledger, as far as they are told: what arrived, and what is to fail.
#[derive(Default)]
struct Outside {
    calls: Mutex<Vec<String>>,
    failing: Mutex<BTreeMap<&'static str, CallFault>>,
    /// Is carried out, but its reply is lost.
    lost: Mutex<Option<&'static str>>,
}

impl Outside {
    fn fail(&self, call: &'static str, fault: CallFault) {
        self.failing.lock().unwrap().insert(call, fault);
    }

    fn heal(&self) {
        self.failing.lock().unwrap().clear();
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn take(&self, call: &'static str, what: String) -> Result<(), CallError> {
        let error = |fault| CallError { what: call.to_owned(), fault, source: "injected".into() };
        let said = format!("{call} {what}");
        let failing = self.failing.lock().unwrap();
        if let Some((_, fault)) = failing.iter().find(|(prefix, _)| said.starts_with(**prefix)) {
            return Err(error(*fault));
        }
        drop(failing);
        self.calls.lock().unwrap().push(said);
        if *self.lost.lock().unwrap() == Some(call) {
            return Err(error(CallFault::Unknown));
        }
        Ok(())
    }
}

#[async_trait]
impl Deploy for Outside {
    async fn register(&self, body: &Value) -> Result<RevisionArn, CallError> {
        self.take("register", body.to_string())?;
        Ok(RevisionArn::from("arn:…:task-definition/shop:7"))
    }

    async fn create(&self, body: &Value) -> Result<(), CallError> {
        self.take("create", body.to_string())
    }

    async fn update(&self, body: &Value) -> Result<(), CallError> {
        self.take("update", body.to_string())
    }

    async fn delete(&self, body: &Value) -> Result<(), CallError> {
        self.take("delete", body.to_string())
    }

    async fn tag(
        &self,
        revision: &RevisionArn,
        tags: &[(String, String)],
        service_too: bool,
    ) -> Result<(), CallError> {
        self.take("tag", format!("{revision} {tags:?} {service_too}"))
    }
}

#[async_trait]
impl Fence for Outside {
    async fn reject(&self, what: &str, reason: &str) -> Result<(), CallError> {
        self.take("reject", format!("{what}: {reason}"))
    }

    async fn release(&self, what: &str, reason: &str) -> Result<(), CallError> {
        self.take("release", format!("{what}: {reason}"))
    }
}

#[async_trait]
impl Keeper for Outside {
    async fn keep(&self, digest: &Digest, tag: &str) -> Result<(), CallError> {
        self.take("keep", format!("{digest} {tag}"))
    }
}

#[async_trait]
impl Notifier for Outside {
    async fn notify(&self, subject: &str, _text: &str) -> Result<(), CallError> {
        self.take("notify", subject.to_owned())
    }
}

#[async_trait]
impl Scaler for Outside {
    async fn scale(&self, wanted: Option<Scaling>) -> Result<(), CallError> {
        self.take("scale", format!("{wanted:?}"))
    }
}

#[async_trait]
impl Catalog for Outside {
    async fn widen(&self, release: &ReleaseId) -> Result<Option<Widened>, CallError> {
        self.take("widen", release.to_string())?;
        Ok(Some(Widened::default()))
    }
}

struct Plainly;

impl Bodies for Plainly {
    fn register(&self, record: &Record) -> Result<Value, BodyError> {
        Ok(json!({ "register": record.release }))
    }

    fn create(&self, record: &Record, revision: &RevisionArn) -> Result<Value, BodyError> {
        Ok(json!({ "create": record.release, "at": revision }))
    }

    fn update(
        &self,
        record: &Record,
        revision: &RevisionArn,
        own_rollback: bool,
        force: bool,
    ) -> Result<Value, BodyError> {
        Ok(json!([record.release, revision, own_rollback, force]))
    }

    fn own_rollback(&self, on: bool) -> Result<Value, BodyError> {
        Ok(json!({ "own_rollback": on }))
    }

    fn scale(&self, desired: u32) -> Result<Value, BodyError> {
        Ok(json!({ "desired": desired }))
    }

    fn delete(&self) -> Value {
        json!({ "delete": true })
    }

    fn mirror(&self, record: &Record) -> Vec<(String, String)> {
        vec![("verdict".to_owned(), format!("{:?}", record.verdict))]
    }
}

/// One deployer's world. The journal's object keeps a real store's atomicity.
struct Stage {
    memory: MemoryStore,
    faulty: Faulty,
    journals: JournalObject,
    outside: Outside,
}

impl Stage {
    fn new() -> Stage {
        let memory = MemoryStore::new();
        let faulty = Faulty::new(Arc::new(memory.clone()));
        let journals = JournalObject::new(Arc::new(faulty.clone()));
        Stage { memory, faulty, journals, outside: Outside::default() }
    }

    fn world(&self) -> World<'_> {
        let outside = &self.outside;
        World {
            journals: &self.journals,
            deploy: outside,
            fence: outside,
            keeper: outside,
            notifier: outside,
            bodies: &Plainly,
            scaler: outside,
            scaling: None,
            catalog: None,
            announce_first: true,
        }
    }

    /// Somebody else, whose requests are not disturbed.
    fn other(&self) -> JournalObject {
        JournalObject::new(Arc::new(self.memory.clone()))
    }

    async fn stored(&self) -> Journal {
        self.other().read().await.unwrap().unwrap().0
    }

    /// Applies a plan made from the journal that is stored now.
    async fn apply(&self, plan: &Plan) -> Applied {
        self.apply_at(plan, NOW).await
    }

    async fn apply_at(&self, plan: &Plan, now: Moment) -> Applied {
        let read = self.journals.read().await.unwrap();
        apply(plan, read, &self.world(), now).await
    }
}

fn release() -> ReleaseId {
    ReleaseId::from("0123456789abcdef")
}

fn journal(revision: u64) -> Journal {
    let mut journal = Journal { format: FORMAT, revision, ..Journal::default() };
    journal.releases.push(Record::of(release(), Digest::from("sha256:aa"), Moment(0)));
    journal
}

fn plan(journal: Option<Journal>, action: Option<Action>) -> Plan {
    let decision = Decision {
        release: None,
        what: "x".to_owned(),
        change: "= x".to_owned(),
        why: "y".to_owned(),
        next: "z".to_owned(),
        undo: None,
    };
    Plan { journal, action, decision, happened: Vec::new(), tallies: Vec::new() }
}

fn announcing(revision: u64, action: &Action) -> Plan {
    let mut journal = journal(revision);
    journal.intent = Some(Intent { id: revision, action: action.clone(), announced_at: NOW });
    plan(Some(journal), Some(action.clone()))
}

fn every_action() -> Vec<(Action, &'static str)> {
    let revision = RevisionArn::from("shop:7");
    vec![
        (Action::Register { release: release() }, "register"),
        (Action::Create { release: release(), revision: revision.clone() }, "create"),
        (Action::Point { release: release(), revision, own_rollback: false, force: true }, "update"),
        (Action::OwnRollback { on: true }, "update"),
        (Action::Scale { desired: 0 }, "update"),
        (Action::Delete, "delete"),
        (Action::Reject { what: "sha256:aa".to_owned(), reason: "bad".to_owned() }, "reject"),
        (Action::Release { what: "sha256:aa".to_owned(), reason: "good".to_owned() }, "release"),
    ]
}

#[tokio::test]
async fn every_action_is_announced_made_and_settled() {
    for (action, call) in every_action() {
        let stage = Stage::new();
        let applied = stage.apply(&announcing(1, &action)).await;
        assert!(matches!(applied, Applied::Done), "{action:?}: {applied:?}");
        let calls = stage.outside.calls();
        let made: Vec<&String> = calls.iter().filter(|made| made.starts_with(call)).collect();
        assert_eq!(made.len(), 1, "{calls:?}");
        let stored = stage.stored().await;
        assert_eq!((stored.intent, stored.last_error), (None, None), "{action:?}");
    }
}

#[tokio::test]
async fn a_registered_revision_stands_in_the_record() {
    let stage = Stage::new();
    stage.apply(&announcing(1, &Action::Register { release: release() })).await;
    let stored = stage.stored().await;
    let revision = Some(RevisionArn::from("arn:…:task-definition/shop:7"));
    assert_eq!(stored.record(&release()).unwrap().revision, revision);
    assert!(stored.revision > 1);
}

#[tokio::test]
async fn the_intent_is_stored_before_the_call() {
    let stage = Stage::new();
    stage.faulty.next(Operation::Put, "", 1, Fate::Fail(Fault::Denied));
    let applied = stage.apply(&announcing(1, &Action::Scale { desired: 0 })).await;
    assert!(matches!(applied, Applied::Refused { doing: Doing::Announcing, .. }), "{applied:?}");
    assert_eq!(stage.outside.calls(), Vec::<String>::new());
    stage.faulty.next(Operation::Put, "", 1, Fate::LoseRequest);
    let applied = stage.apply(&announcing(1, &Action::Scale { desired: 0 })).await;
    assert!(matches!(applied, Applied::InDoubt { doing: Doing::Announcing, .. }), "{applied:?}");
    assert_eq!(stage.outside.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn the_loser_of_a_race_does_nothing() {
    let stage = Stage::new();
    stage.other().write(&journal(1), None).await.unwrap();
    let read = stage.journals.read().await.unwrap();
    let (_, tag) = read.clone().unwrap();
    stage.other().write(&journal(2), Some(&tag)).await.unwrap();
    let applied = apply(&announcing(2, &Action::OwnRollback { on: false }), read, &stage.world(), NOW).await;
    assert!(matches!(applied, Applied::Raced), "{applied:?}");
    assert_eq!(stage.outside.calls(), Vec::<String>::new());
    assert_eq!(stage.stored().await, journal(2));
}

#[tokio::test]
async fn a_call_whose_outcome_nobody_knows_leaves_its_intent() {
    for (action, call) in every_action() {
        for fault in [CallFault::Unknown, CallFault::Throttled] {
            let stage = Stage::new();
            stage.outside.fail(call, fault);
            let applied = stage.apply(&announcing(1, &action)).await;
            assert!(matches!(applied, Applied::InDoubt { doing: Doing::Calling(_), .. }), "{applied:?}");
            let stored = stage.stored().await;
            assert_eq!(stored.intent.map(|intent| intent.action), Some(action.clone()));
            assert_eq!(stored.last_error, None);
        }
    }
}

#[tokio::test]
async fn a_lost_reply_is_finished_by_the_next_look() {
    let stage = Stage::new();
    let action = Action::Scale { desired: 0 };
    *stage.outside.lost.lock().unwrap() = Some("update");
    assert!(matches!(stage.apply(&announcing(1, &action)).await, Applied::InDoubt { .. }));
    *stage.outside.lost.lock().unwrap() = None;
    // The planner finds the intent old and does it again: twice equals once.
    let again = plan(None, Some(action));
    assert!(matches!(stage.apply(&again).await, Applied::Done));
    assert_eq!(stage.outside.calls().len(), 2);
    assert_eq!(stage.stored().await.intent, None);
}

#[tokio::test]
async fn a_refusal_clears_the_intent_and_is_remembered_and_counted() {
    for (fault, denied) in [(CallFault::Refused, false), (CallFault::Denied, true)] {
        let stage = Stage::new();
        let action = Action::Scale { desired: 3 };
        stage.outside.fail("update", fault);
        let applied = stage.apply(&announcing(1, &action)).await;
        assert!(matches!(applied, Applied::Refused { doing: Doing::Calling(_), .. }), "{applied:?}");
        for times in 1..=2 {
            let mut next = stage.stored().await;
            let last = next.last_error.clone().unwrap();
            assert_eq!((last.times, last.denied, last.text.as_str()), (times, denied, "update: injected"));
            assert_eq!(next.intent, None);
            next.revision += 1;
            next.intent = Some(Intent { id: next.revision, action: action.clone(), announced_at: NOW });
            stage.apply(&plan(Some(next), Some(action.clone()))).await;
        }
        stage.outside.heal();
        let mut next = stage.stored().await;
        next.revision += 1;
        next.intent = Some(Intent { id: next.revision, action: action.clone(), announced_at: NOW });
        assert!(matches!(stage.apply(&plan(Some(next), Some(action))).await, Applied::Done));
        assert_eq!(stage.stored().await.last_error, None);
    }
}

#[tokio::test]
async fn what_others_wrote_meanwhile_survives_settling() {
    let stage = Stage::new();
    let action = Action::Register { release: release() };
    // As the call is made, another writes into the journal: the settling write finds it changed.
    let seen = announce(announcing(1, &action).journal.as_ref().unwrap(), None, &stage.world()).await;
    let seen = seen.unwrap().unwrap();
    let mut theirs = seen.0.clone();
    theirs.revision += 1;
    theirs.told.push("somebody else was here".to_owned());
    stage.other().write(&theirs, Some(&seen.1)).await.unwrap();
    let made = Ok(Made::Registered(RevisionArn::from("shop:9")));
    let (applied, _) = settle(seen, 1, &action, made, &stage.world(), NOW).await;
    assert!(matches!(applied, Applied::Done), "{applied:?}");
    let stored = stage.stored().await;
    assert_eq!(stored.told, ["somebody else was here"]);
    assert_eq!(stored.intent, None);
    assert_eq!(stored.record(&release()).unwrap().revision, Some(RevisionArn::from("shop:9")));
}

#[tokio::test]
async fn an_intent_that_another_announced_since_is_not_cleared() {
    let stage = Stage::new();
    let action = Action::Scale { desired: 0 };
    let seen = announce(announcing(1, &action).journal.as_ref().unwrap(), None, &stage.world()).await;
    let seen = seen.unwrap().unwrap();
    let theirs = announcing(5, &Action::OwnRollback { on: true }).journal.unwrap();
    stage.other().write(&theirs, Some(&seen.1)).await.unwrap();
    let (applied, _) = settle(seen, 1, &action, Ok(Made::Plain), &stage.world(), NOW).await;
    assert!(matches!(applied, Applied::Done), "{applied:?}");
    assert_eq!(stage.stored().await, theirs);
}

#[tokio::test]
async fn a_settling_write_in_doubt_is_found_out_or_leaves_the_intent() {
    let stage = Stage::new();
    let action = Action::Scale { desired: 0 };
    stage.faulty.next(Operation::Replace, "", 1, Fate::LoseReply);
    assert!(matches!(stage.apply(&announcing(1, &action)).await, Applied::Done));
    assert_eq!(stage.faulty.fired(Fired::LostReply), 1);
    assert_eq!(stage.stored().await.intent, None);

    let stage = Stage::new();
    stage.faulty.next(Operation::Replace, "", 100, Fate::LoseRequest);
    let applied = stage.apply(&announcing(1, &action)).await;
    assert!(matches!(applied, Applied::InDoubt { doing: Doing::Settling(_), .. }), "{applied:?}");
    assert!(stage.stored().await.intent.is_some());
}

#[tokio::test]
async fn an_action_that_was_not_announced_is_never_made() {
    let stage = Stage::new();
    let applied = stage.apply(&plan(Some(journal(1)), Some(Action::Scale { desired: 0 }))).await;
    assert!(matches!(applied, Applied::Refused { doing: Doing::Announcing, .. }), "{applied:?}");
    let applied = stage.apply(&plan(None, Some(Action::Scale { desired: 0 }))).await;
    assert!(matches!(applied, Applied::Refused { doing: Doing::Announcing, .. }), "{applied:?}");
    assert_eq!(stage.outside.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_release_without_a_record_is_refused_and_told() {
    let stage = Stage::new();
    let action = Action::Register { release: ReleaseId::from("feedfeedfeedfeed") };
    let applied = stage.apply(&announcing(1, &action)).await;
    assert!(matches!(applied, Applied::Refused { doing: Doing::Calling(_), .. }), "{applied:?}");
    let text = stage.stored().await.last_error.unwrap().text;
    assert_eq!(
        text,
        "prepare to register release feedfeedfeedfeed: the journal has no record of release feedfeedfeedfeed"
    );
}

fn with_chores(revision: u64) -> Journal {
    let mut journal = journal(revision);
    let notice = |id: u64| Notice {
        id,
        at: NOW,
        urgency: Urgency::Warning,
        subject: format!("notice {id}"),
        text: String::new(),
    };
    journal.outbox = vec![notice(1), notice(2)];
    journal.current = Some(release());
    let record = journal.record_mut(&release()).unwrap();
    record.keep = Some(Keep { tag: "landfall-keep-1".to_owned(), done: false });
    record.revision = Some(RevisionArn::from("shop:7"));
    record.verdict = Verdict::Healthy;
    record.mirrored = Some(Verdict::Proving);
    journal
}

#[tokio::test]
async fn chores_are_done_once_and_written_down() {
    let stage = Stage::new();
    assert!(matches!(stage.apply(&plan(Some(with_chores(1)), None)).await, Applied::Done));
    let calls = stage.outside.calls();
    assert_eq!(
        calls,
        [
            "notify notice 1",
            "notify notice 2",
            "keep sha256:aa landfall-keep-1",
            "tag shop:7 [(\"verdict\", \"Healthy\")] true"
        ]
    );
    let stored = stage.stored().await;
    let record = stored.record(&release()).unwrap();
    assert!(stored.outbox.is_empty() && record.keep.as_ref().unwrap().done);
    assert_eq!(record.mirrored, Some(Verdict::Healthy));
    assert!(matches!(stage.apply(&plan(None, None)).await, Applied::Nothing));
    assert_eq!(stage.outside.calls(), Vec::<String>::new());
    assert_eq!(stage.stored().await, stored);
}

#[tokio::test]
async fn a_chore_that_fails_fails_nothing_and_is_done_at_the_next_look() {
    let stage = Stage::new();
    for chore in ["notify", "keep", "tag"] {
        stage.outside.fail(chore, CallFault::Unknown);
    }
    assert!(matches!(stage.apply(&plan(Some(with_chores(1)), None)).await, Applied::Done));
    assert_eq!(stage.stored().await, with_chores(1));
    stage.outside.heal();
    assert!(matches!(stage.apply(&plan(None, None)).await, Applied::Nothing));
    assert_eq!(stage.outside.calls().len(), 4);
    assert!(stage.stored().await.outbox.is_empty());
}

#[tokio::test]
async fn chores_keep_what_others_wrote_meanwhile() {
    let stage = Stage::new();
    stage.other().write(&with_chores(1), None).await.unwrap();
    let read = stage.journals.read().await.unwrap();
    let mut theirs = with_chores(2);
    theirs.outbox.push(Notice { id: 3, ..theirs.outbox[0].clone() });
    stage.other().write(&theirs, Some(&read.clone().unwrap().1)).await.unwrap();
    apply(&plan(None, None), read, &stage.world(), NOW).await;
    let left: Vec<u64> = stage.stored().await.outbox.iter().map(|notice| notice.id).collect();
    assert_eq!(left, [3]);
}

#[tokio::test]
async fn a_revision_that_cannot_be_tagged_is_given_up_and_a_missing_permission_is_not() {
    for (fault, shown) in
        [(CallFault::Refused, Some(Verdict::Healthy)), (CallFault::Denied, Some(Verdict::Proving))]
    {
        let stage = Stage::new();
        stage.outside.fail("tag", fault);
        stage.apply(&plan(Some(with_chores(1)), None)).await;
        assert_eq!(stage.stored().await.record(&release()).unwrap().mirrored, shown);
    }
}

#[tokio::test]
async fn a_look_does_no_more_than_a_few_chores_and_none_waits_for_ever() {
    let stage = Stage::new();
    let mut crowded = with_chores(1);
    crowded.outbox.clear();
    for number in 0..5 {
        let mut record = crowded.releases[0].clone();
        record.release = ReleaseId(format!("{number:016x}"));
        record.digest = Digest(format!("sha256:{number}"));
        record.revision = Some(RevisionArn(format!("shop:{number}")));
        crowded.releases.push(record);
    }
    // One fails for ever: the others do not wait for it.
    stage.outside.fail("keep sha256:4", CallFault::Denied);
    stage.outside.fail("tag shop:4", CallFault::Denied);
    stage.apply(&plan(Some(crowded), None)).await;
    assert!(stage.outside.calls().len() <= chores::PER_LOOK_WITHOUT_NOTICES);
    for minute in 1..30 {
        stage.apply_at(&plan(None, None), NOW.after_ms(minute * 60_000)).await;
        assert!(stage.outside.calls().len() <= chores::PER_LOOK_WITHOUT_NOTICES);
    }
    let stored = stage.stored().await;
    let undone: Vec<&str> = stored
        .releases
        .iter()
        .filter(|record| !record.keep.as_ref().unwrap().done || record.mirrored != Some(Verdict::Healthy))
        .map(|record| record.digest.as_str())
        .collect();
    assert_eq!(undone, ["sha256:4"]);
}

const SCALING: Scaling = Scaling { tasks_max: 4, lag_seconds: 300 };

/// Looks once with this scaling set, over this journal; what was called for it, and the journal after.
async fn scaled(stage: &Stage, journal: Option<Journal>, scaling: Option<Scaling>) -> (Vec<String>, Journal) {
    let read = stage.journals.read().await.unwrap();
    let world = World { scaling, ..stage.world() };
    apply(&plan(journal, None), read, &world, NOW).await;
    let calls = stage.outside.calls().into_iter().filter(|call| call.starts_with("scale")).collect();
    (calls, stage.stored().await)
}

#[tokio::test]
async fn the_service_scales_as_it_is_set_once_something_proved_itself() {
    let stage = Stage::new();
    let mut unproven = journal(1);
    unproven.current = None;
    let (calls, _) = scaled(&stage, Some(unproven), Some(SCALING)).await;
    assert_eq!(calls, [""; 0]);
    let mut proven = stage.stored().await;
    (proven.current, proven.revision) = (Some(release()), 2);
    stage.outside.fail("scale", CallFault::Denied);
    let (_, after) = scaled(&stage, Some(proven), Some(SCALING)).await;
    let doubtful = Some(journal::Scaled { scaling: SCALING, done: false });
    assert_eq!(after.scaling, doubtful, "nobody knows: whoever takes it back must");
    stage.outside.heal();
    let (calls, after) = scaled(&stage, None, Some(SCALING)).await;
    let done = Some(journal::Scaled { scaling: SCALING, done: true });
    assert_eq!((calls, after.scaling), (vec![format!("scale {:?}", Some(SCALING))], done));
    let (calls, _) = scaled(&stage, None, Some(SCALING)).await;
    assert_eq!(calls, [""; 0], "once");
    let more = Scaling { tasks_max: 8, ..SCALING };
    let (calls, _) = scaled(&stage, None, Some(more)).await;
    assert_eq!(calls, [format!("scale {:?}", Some(more))]);
    let (calls, after) = scaled(&stage, None, None).await;
    assert_eq!((calls, after.scaling), (vec!["scale None".to_owned()], None));
}

#[tokio::test]
async fn what_a_person_stopped_or_a_stack_gave_up_is_not_scaled() {
    let stopped = |journal: &mut Journal| {
        let (by, reason) = ("ann".to_owned(), String::new());
        journal.stopped = Some(journal::Stopped { by, at: NOW, desired: 2, reason });
    };
    let retired = |journal: &mut Journal| {
        let stack = "arn:…".to_owned();
        journal.retired = Some(journal::Retired { stack, at: NOW, leaves_service: false });
    };
    // Also where nobody knows whether it was registered.
    for (rests, done) in [(&stopped as &dyn Fn(&mut Journal), true), (&retired, true), (&stopped, false)] {
        let stage = Stage::new();
        let mut journal = journal(1);
        let was = journal::Scaled { scaling: SCALING, done };
        (journal.current, journal.scaling) = (Some(release()), Some(was));
        rests(&mut journal);
        let (calls, after) = scaled(&stage, Some(journal), Some(SCALING)).await;
        assert_eq!((calls, after.scaling), (vec!["scale None".to_owned()], None));
    }
}

#[tokio::test]
async fn a_table_gets_the_columns_of_what_proved_itself_once() {
    let stage = Stage::new();
    let widens = |calls: Vec<String>| calls.into_iter().filter(|call| call.starts_with("widen")).count();
    let mut journal = with_chores(1);
    journal.record_mut(&release()).unwrap().verdict = Verdict::Proving;
    for (next, failing, expected, done) in [
        (Some(journal), false, 0, false),
        (Some(with_chores(2)), true, 0, false),
        (None, false, 1, true),
        (None, false, 0, true),
    ] {
        if failing {
            stage.outside.fail("widen", CallFault::Throttled);
        }
        let read = stage.journals.read().await.unwrap();
        let world = World { catalog: Some(&stage.outside), ..stage.world() };
        apply(&plan(next, None), read, &world, NOW).await;
        stage.outside.heal();
        assert_eq!(widens(stage.outside.calls()), expected);
        assert_eq!(stage.stored().await.record(&release()).unwrap().catalogued, done);
    }
}

#[test]
fn what_was_being_done_reads_as_a_sentences_part() {
    let revision = RevisionArn::from("arn:aws:ecs:r:1:task-definition/shop:7");
    let point = Action::Point { release: release(), revision, own_rollback: true, force: false };
    let text = Doing::Settling(point).to_string();
    assert_eq!(text, "write down what came of this: point the service at shop:7 of release 0123456789abcdef");
}

#[tokio::test]
async fn whoever_stores_a_journal_stores_it_within_its_bounds() {
    let journals = JournalObject::new(Arc::new(MemoryStore::new()));
    let mut next = Journal { format: FORMAT, ..Journal::default() };
    next.releases = (0..journal::RECORDS_MAX + 3)
        .map(|number| {
            let release = ReleaseId(format!("{number:016x}"));
            Record { verdict: Verdict::Rejected, ..Record::of(release, Digest::from("sha256:aa"), NOW) }
        })
        .collect();
    let stored = store(&mut next, None, &journals).await.expect("it is within its bounds");
    assert!(matches!(stored, Written::Written(_)));
    let (found, _) = journals.read().await.expect("it is readable").expect("it is there");
    assert_eq!((found.releases.len(), &found), (journal::RECORDS_MAX, &next));
}
