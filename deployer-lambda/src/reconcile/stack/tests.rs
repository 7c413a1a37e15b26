//! A stack that comes and goes, over a cluster of one service whose tasks take a while to end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::apply::ports::{Deploy, Fence, Keeper, Notifier, Scaler};
use crate::apply::{self, Bodies, BodyError};
use crate::clock::Clock;
use crate::event::Place;
use crate::journal::{Record, Scaling};
use crate::observe::facts::{Alarm, Child, Health, Image, Revision, Scan, Service, Task, TaskState};
use crate::observe::ports::{Alarms, Cluster, JournalStore, JournalTag, Registry, Rejections};
use crate::plan::Rules;
use crate::policy::Policy;
use crate::reconcile::Teller;
use crate::release::{Digest, ReleaseId, RevisionArn};
use crate::report::Whereabouts;

/// tokio's time, which stands still but for sleeping.
#[derive(Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Moment {
        Moment(i64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

/// AWS, and the journal's bucket.
#[derive(Default)]
struct Account {
    images: Vec<Image>,
    service: Mutex<Option<Service>>,
    /// Looks before a stopping task has ended.
    drains: Mutex<u32>,
    journal: Mutex<Option<Journal>>,
    bucket_is_gone: bool,
    refuses: bool,
    /// Looks at the journal that bring no answer, from now on.
    silent: Mutex<u32>,
    /// Landfall only found the service.
    is_foreign: bool,
    /// Looks before what was deleted is gone.
    dying: Mutex<u32>,
    calls: Mutex<Vec<String>>,
}

fn error(what: &str, fault: CallFault) -> CallError {
    CallError { what: what.to_owned(), fault, source: "not here".into() }
}

impl Account {
    fn called(&self, call: &str) -> Result<(), CallError> {
        self.calls.lock().unwrap().push(call.to_owned());
        if self.refuses { Err(error(call, CallFault::Denied)) } else { Ok(()) }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn with_a_service(drains: u32) -> Account {
        let service = Service {
            revision: RevisionArn::from("shop:1"),
            desired: 1,
            running: 1,
            own_rollback: true,
            rollouts: Vec::new(),
        };
        let (service, drains) = (Mutex::new(Some(service)), Mutex::new(drains));
        Account { service, drains, journal: Mutex::new(Some(Journal::default())), ..Account::default() }
    }

    async fn stack(&self, change: StackChange) -> (Result<String, String>, Outcome) {
        self.stack_at(change, 0).await
    }

    async fn stack_at(&self, change: StackChange, late_ms: u64) -> (Result<String, String>, Outcome) {
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(late_ms)).await;
        let (policy, clock) = (Policy::default(), Paused(began));
        let place = Place {
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            repository: "shop".to_owned(),
            cluster: "main".to_owned(),
            service: "shop".to_owned(),
        };
        let (pipeline, function) = ("shop".to_owned(), "landfall-shop".to_owned());
        let teller = Teller { at: Whereabouts { pipeline, function, place, logs: None } };
        let release_of = |digest: &Digest| ReleaseId(digest.short().to_owned());
        let world = World {
            look: crate::observe::World { registry: self, cluster: self, alarms: self, rejections: self },
            act: apply::World {
                journals: self,
                deploy: self,
                fence: self,
                keeper: self,
                notifier: self,
                bodies: self,
                scaler: self,
                scaling: None,
                catalog: None,
                announce_first: true,
            },
            policy: &policy,
            release_of: &release_of,
            platform: "linux/arm64",
            alarms: &[],
            own_rollback: true,
            teller: &teller,
            clock: &clock,
            rules: Rules::ALL,
        };
        stack(&world, change, "arn:…:stack/shop/1", Moment(1_000_000)).await
    }
}

#[async_trait]
impl Registry for Account {
    async fn images(&self) -> Result<Vec<Image>, CallError> {
        Ok(self.images.clone())
    }

    async fn children(&self, _: &[Digest]) -> Result<BTreeMap<Digest, Vec<Child>>, CallError> {
        Ok(BTreeMap::new())
    }
}

#[async_trait]
impl Cluster for Account {
    async fn service(&self) -> Result<Option<Service>, CallError> {
        let mut service = self.service.lock().unwrap();
        let mut dying = self.dying.lock().unwrap();
        if service.as_ref().is_some_and(|service| service.running == 0) {
            match dying.checked_sub(1) {
                Some(left) => *dying = left,
                None => *service = None,
            }
        }
        Ok(service.clone())
    }

    async fn tasks(&self) -> Result<Vec<Task>, CallError> {
        let desired = self.service.lock().unwrap().as_ref().map_or(0, |service| service.desired);
        let mut drains = self.drains.lock().unwrap();
        if desired == 0 && *drains == 0 {
            return Ok(Vec::new());
        }
        if desired == 0 {
            *drains -= 1;
        }
        Ok(vec![Task {
            id: "t".to_owned(),
            revision: RevisionArn::from("shop:1"),
            state: if desired == 0 { TaskState::Stopping } else { TaskState::Running },
            healthy: Health::Healthy,
            digest: None,
            started_at: None,
        }])
    }

    async fn revisions(&self) -> Result<Vec<Revision>, CallError> {
        Ok(Vec::new())
    }

    async fn is_ours(&self, _: &RevisionArn) -> Result<bool, CallError> {
        Ok(!self.is_foreign)
    }

    async fn inactive(&self, _: &[RevisionArn]) -> Result<Vec<RevisionArn>, CallError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Alarms for Account {
    async fn alarms(&self, _: &[String]) -> Result<Vec<Alarm>, CallError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Rejections for Account {
    async fn rejected(&self) -> Result<BTreeSet<String>, CallError> {
        Ok(BTreeSet::new())
    }
}

#[async_trait]
impl JournalStore for Account {
    async fn read(&self) -> Result<Option<(Journal, JournalTag)>, CallError> {
        if self.bucket_is_gone {
            return Err(error("read the journal", CallFault::Refused));
        }
        let mut silent = self.silent.lock().unwrap();
        if *silent > 0 {
            *silent -= 1;
            return Err(error("read the journal", CallFault::Unknown));
        }
        let journal = self.journal.lock().unwrap().clone();
        Ok(journal.map(|journal| {
            let tag = JournalTag(journal.revision.to_string());
            (journal, tag)
        }))
    }

    async fn write(&self, journal: &Journal, _: Option<&JournalTag>) -> Result<Written, CallError> {
        *self.journal.lock().unwrap() = Some(journal.clone());
        Ok(Written::Written(JournalTag(journal.revision.to_string())))
    }
}

#[async_trait]
impl Deploy for Account {
    async fn register(&self, _: &Value) -> Result<RevisionArn, CallError> {
        self.called("register").map(|()| RevisionArn::from("shop:1"))
    }

    async fn create(&self, _: &Value) -> Result<(), CallError> {
        self.called("create")
    }

    async fn update(&self, body: &Value) -> Result<(), CallError> {
        self.called("update")?;
        let desired = u32::try_from(body["desired"].as_u64().unwrap()).unwrap();
        self.service.lock().unwrap().as_mut().unwrap().desired = desired;
        Ok(())
    }

    async fn delete(&self, _: &Value) -> Result<(), CallError> {
        self.called("delete")?;
        if let Some(service) = self.service.lock().unwrap().as_mut() {
            (service.desired, service.running) = (0, 0);
        }
        Ok(())
    }

    async fn tag(&self, _: &RevisionArn, _: &[(String, String)], _: bool) -> Result<(), CallError> {
        Ok(())
    }
}

#[async_trait]
impl Fence for Account {
    async fn reject(&self, _: &str, _: &str) -> Result<(), CallError> {
        self.called("reject")
    }

    async fn release(&self, _: &str, _: &str) -> Result<(), CallError> {
        self.called("release")
    }
}

#[async_trait]
impl Keeper for Account {
    async fn keep(&self, _: &Digest, _: &str) -> Result<(), CallError> {
        Ok(())
    }
}

#[async_trait]
impl Scaler for Account {
    async fn scale(&self, _: Option<Scaling>) -> Result<(), CallError> {
        self.called("scale")
    }
}

#[async_trait]
impl Notifier for Account {
    async fn notify(&self, _: &str, _: &str) -> Result<(), CallError> {
        Ok(())
    }
}

impl Bodies for Account {
    fn register(&self, _: &Record) -> Result<Value, BodyError> {
        Ok(json!({}))
    }

    fn create(&self, _: &Record, _: &RevisionArn) -> Result<Value, BodyError> {
        Ok(json!({}))
    }

    fn update(&self, _: &Record, _: &RevisionArn, _: bool, _: bool) -> Result<Value, BodyError> {
        Ok(json!({}))
    }

    fn own_rollback(&self, _: bool) -> Result<Value, BodyError> {
        Ok(json!({}))
    }

    fn scale(&self, desired: u32) -> Result<Value, BodyError> {
        Ok(json!({ "desired": desired }))
    }

    fn delete(&self) -> Value {
        json!({})
    }

    fn mirror(&self, _: &Record) -> Vec<(String, String)> {
        Vec::new()
    }
}

fn image() -> Image {
    Image {
        digest: Digest::from("sha256:aa"),
        tags: vec!["v1.0.0".to_owned()],
        pushed_at: Moment(0),
        children: Some(Vec::new()),
        scan: Scan::Pending,
    }
}

#[tokio::test(start_paused = true)]
async fn deleting_takes_the_tasks_down_and_then_the_service() {
    let account = Account { images: vec![image()], ..Account::with_a_service(20) };
    let (said, outcome) = account.stack(StackChange::Delete).await;
    assert!(said.is_ok_and(|said| said.starts_with("the service is gone")));
    assert_eq!(account.calls(), ["update", "delete"]);
    let waited: Vec<&str> = outcome.decisions.iter().map(|decision| decision.next.as_str()).collect();
    assert!(waited.iter().any(|next| next.contains("its 1 tasks have ended")), "{waited:?}");
    // A push that comes late starts nothing.
    account.stack(StackChange::Delete).await.0.unwrap();
    assert_eq!(account.calls(), ["update", "delete"]);
    // And the stack may come again.
    account.stack(StackChange::Create).await.0.unwrap();
    assert_eq!(account.calls(), ["update", "delete", "register", "create"]);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_do_not_end_do_not_hold_the_stack() {
    let account = Account::with_a_service(10_000);
    let began = Instant::now();
    let (said, _) = account.stack(StackChange::Delete).await;
    assert!(said.as_ref().is_ok_and(|said| said.contains("when its 1 tasks have ended")), "{said:?}");
    assert!(said.is_ok_and(|said| said.starts_with("the service is gone")));
    let took = i64::try_from(began.elapsed().as_millis()).unwrap();
    assert!((GONE_WITHIN_MS..GONE_WITHIN_MS + 10_000).contains(&took), "{took} ms");
    assert_eq!(account.calls(), ["update", "delete"]);
}

#[tokio::test(start_paused = true)]
async fn without_the_journals_bucket_the_service_is_deleted_all_the_same() {
    let account = Account { bucket_is_gone: true, ..Account::with_a_service(0) };
    let (said, _) = account.stack(StackChange::Delete).await;
    assert!(said.as_ref().is_ok_and(|said| said.contains("read the journal")), "{said:?}");
    assert_eq!(account.calls(), ["delete"]);
}

#[tokio::test(start_paused = true)]
async fn a_stack_without_a_service_goes_and_one_without_an_image_comes() {
    let account = Account::default();
    account.stack(StackChange::Delete).await.0.unwrap();
    let (said, _) = Account::default().stack(StackChange::Create).await;
    assert!(said.as_ref().is_ok_and(|said| said.contains("holds no image")), "{said:?}");
    assert_eq!(account.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_and_then_fails_the_stack_with_its_words() {
    let account = Account { images: vec![image()], refuses: true, ..Account::default() };
    let (said, _) = account.stack(StackChange::Create).await;
    assert!(said.as_ref().is_err_and(|said| said.contains("register")), "{said:?}");
    assert_eq!(account.calls(), ["register"; 2]);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_at_once_is_waited_for_while_its_tasks_drain() {
    let dying = Mutex::new(20);
    let account = Account { bucket_is_gone: true, dying, ..Account::with_a_service(0) };
    let began = Instant::now();
    let (said, _) = account.stack(StackChange::Delete).await;
    assert!(said.as_ref().is_ok_and(|said| said.starts_with("the service is gone")), "{said:?}");
    assert_eq!(began.elapsed(), 20 * POLL);
    // But not for ever.
    let dying = Mutex::new(10_000);
    let account = Account { bucket_is_gone: true, dying, ..Account::with_a_service(0) };
    let (said, _) = account.stack(StackChange::Delete).await;
    assert!(said.as_ref().is_ok_and(|said| said.contains("is at it")), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_does_not_give_the_order_up() {
    let account = Account { silent: Mutex::new(3), ..Account::with_a_service(2) };
    let (said, _) = account.stack(StackChange::Delete).await;
    assert_eq!(said.as_deref(), Ok("the service is gone; data, ledger and journal stay"));
    assert_eq!(account.calls(), ["update", "delete"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_creation_had_begun_is_deleted_too() {
    let account = Account { images: vec![image()], ..Account::default() };
    let (release, revision) = (ReleaseId::from("a"), RevisionArn::from("shop:1"));
    let intent = crate::journal::Intent {
        id: 0,
        action: Action::Create { release, revision },
        announced_at: Moment(0),
    };
    *account.journal.lock().unwrap() = Some(Journal { intent: Some(intent), ..Journal::default() });
    // It comes while nobody can see it yet.
    let comes = async {
        tokio::time::sleep(Duration::from_secs(42)).await;
        *account.service.lock().unwrap() = Account::with_a_service(0).service.into_inner().unwrap();
    };
    let ((said, _), ()) = tokio::join!(account.stack(StackChange::Delete), comes);
    assert_eq!(said.as_deref(), Ok("the service is gone; data, ledger and journal stay"));
    assert_eq!(account.calls(), ["update", "delete"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_there_before_landfall_outlives_a_stack_that_never_released_anything() {
    for bucket_is_gone in [false, true] {
        let account = Account { is_foreign: true, bucket_is_gone, ..Account::with_a_service(0) };
        let (said, _) = account.stack(StackChange::Delete).await;
        assert!(said.as_ref().is_ok_and(|said| said.starts_with(STAYS)), "{said:?}");
        assert_eq!(account.calls(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_comes_after_its_stacks_deletion_begins_nothing() {
    let account = Account { images: vec![image()], ..Account::with_a_service(0) };
    account.stack(StackChange::Delete).await.0.unwrap();
    account.stack(StackChange::Update).await.0.unwrap();
    assert_eq!(account.calls(), ["update", "delete"]);
}

#[tokio::test(start_paused = true)]
async fn a_stacks_update_makes_a_refused_call_again_at_once() {
    let mut account = Account { images: vec![image()], refuses: true, ..Account::default() };
    account.stack(StackChange::Create).await.0.unwrap_err();
    let refused = account.calls().len();
    account.refuses = false;
    // A second later the plan would still wait.
    let (said, _) = account.stack_at(StackChange::Update, 66_000).await;
    assert!(said.is_ok(), "{said:?}");
    assert_eq!(account.calls()[refused..], ["register", "create"]);
}
