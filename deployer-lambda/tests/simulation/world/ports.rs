//! Ports: what an invocation sees of the world and does to it. Every call gives others a turn, before and after its
//! effect, so that an invocation can die, or be overtaken, between any two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use async_trait::async_trait;
use deployer::apply::ports::{Deploy, Fence, Keeper, Notifier, Scaler};
use deployer::journal::{Journal, Scaling};
use deployer::observe::facts::{Alarm, Child, Image, Revision, Rollout, Scan, Service, Task};
use deployer::observe::ports::{
    Alarms, CallError, CallFault, Cluster, JournalStore, JournalTag, Registry, Rejections, Written,
};
use deployer::release::{Digest, Moment, RevisionArn};
use local::ecs::EcsError;
use serde_json::{Value, json};

use super::calendar::{Due, Late};
use super::oracle::{self, Writer};
use super::{Outage, SECOND, Shared, State};

/// One invocation's view. What it has read in this look is for the oracle.
pub struct Outside {
    pub shared: Shared,
    /// A person's command is being written.
    pub person: Mutex<bool>,
    pub look: Mutex<Looked>,
}

/// What the look that is going on has read.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// A read that failed.
    pub unread: Option<&'static str>,
    /// When the ledger was read, or was to be.
    pub ledger_at: u64,
}

/// Gives others a turn.
struct Turns(u32);

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What becomes of a call that changes something.
enum Fate {
    Done,
    Fails(CallFault),
    LostReply,
    LandsLate(i64),
}

fn error(what: &str, fault: CallFault) -> CallError {
    CallError { what: what.to_owned(), fault, source: "the simulation says so".into() }
}

fn refused(what: &str, because: EcsError) -> CallError {
    CallError { what: what.to_owned(), fault: CallFault::Refused, source: Box::new(because) }
}

impl Outside {
    pub fn new(shared: Shared) -> Outside {
        Outside { shared, person: Mutex::new(false), look: Mutex::new(Looked::default()) }
    }

    async fn turn(&self) {
        let turns = {
            let mut state = self.shared.lock();
            1 + u32::from(state.rng.permille(300))
        };
        Turns(turns).await;
    }

    /// Before a read's answer: does it fail?
    async fn read(&self, what: &'static str, outage: Option<Outage>) -> Result<(), CallError> {
        self.turn().await;
        let mut state = self.shared.lock();
        let fails = state.read_fails();
        let down = outage.is_some_and(|outage| state.down(outage));
        if what == "read the ledger" {
            self.looked().ledger_at = state.sequence;
        }
        if fails || down {
            state.fire(if down { "read in an outage" } else { "read failed" });
            // Of a service that is not there ECS answers with an error, and that is no lack of knowledge.
            let of_service = matches!(what, "list tasks" | "list service deployments");
            if !of_service || state.ecs.service(super::SERVICE).is_some() {
                self.looked().unread = Some(what);
            }
            return Err(error(what, if fails { CallFault::Unknown } else { CallFault::Throttled }));
        }
        Ok(())
    }

    fn looked(&self) -> std::sync::MutexGuard<'_, Looked> {
        self.look.lock().expect("nobody panics while he holds it")
    }

    fn writer(&self) -> Writer {
        let person = *self.person.lock().expect("nobody panics while he holds it");
        if person { Writer::Person } else { Writer::Deployer }
    }

    /// Makes a call that changes something: `once` does it, `late` is what lands when its reply has been given up.
    async fn change<T>(
        &self,
        what: &'static str,
        late: impl FnOnce() -> Option<Late>,
        mut once: impl FnMut(&mut State) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        self.turn().await;
        let done = {
            let mut state = self.shared.lock();
            match fate(&mut state) {
                Fate::Done => both(&mut state, &mut once),
                Fate::Fails(fault) => {
                    state.say(|_| format!("{what}: {fault:?}, nothing happened"));
                    Err(error(what, fault))
                }
                Fate::LostReply => {
                    let done = both(&mut state, &mut once);
                    state.fire("reply lost");
                    state.say(|_| format!("{what}: the reply is lost"));
                    drop(done?);
                    Err(error(what, CallFault::Unknown))
                }
                Fate::LandsLate(after) => match late() {
                    Some(late) => {
                        state.say(|_| format!("{what}: no reply, it lands in {} s", after / SECOND));
                        state.later(after, Due::Land(late));
                        Err(error(what, CallFault::Unknown))
                    }
                    None => both(&mut state, &mut once),
                },
            }
        };
        self.turn().await;
        done
    }
}

/// With `twice`, the second time is only the same again: what it answers is no matter.
fn both<T>(
    state: &mut State,
    once: &mut impl FnMut(&mut State) -> Result<T, CallError>,
) -> Result<T, CallError> {
    let done = once(state);
    if state.twice && done.is_ok() {
        let again = once(state);
        if let Err(error) = again {
            state.violated(|| format!("done a second time, it fails: {}", error.chain()));
        }
        state.fire("call made twice");
    }
    done
}

fn fate(state: &mut State) -> Fate {
    if !state.chaos {
        return Fate::Done;
    }
    let rates = state.rates;
    if state.rng.permille(rates.throttle) {
        state.fire("throttled");
        return Fate::Fails(CallFault::Throttled);
    }
    if state.rng.permille(rates.refuse) {
        state.fire("denied");
        return Fate::Fails(CallFault::Denied);
    }
    if state.rng.permille(rates.unknown) {
        return match state.rng.below(3) {
            0 => {
                state.fire("request lost");
                Fate::Fails(CallFault::Unknown)
            }
            1 => Fate::LostReply,
            _ => Fate::LandsLate(state.rng.within(SECOND, 50 * SECOND)),
        };
    }
    Fate::Done
}

#[async_trait]
impl Registry for Outside {
    async fn images(&self) -> Result<Vec<Image>, CallError> {
        self.read("describe images", Some(Outage::RegistryReads)).await?;
        let state = self.shared.lock();
        Ok(state.images.iter().filter(|it| it.is_there()).map(|it| it.described(state.now)).collect())
    }

    async fn children(&self, indexes: &[Digest]) -> Result<BTreeMap<Digest, Vec<Child>>, CallError> {
        self.read("read indexes", Some(Outage::RegistryReads)).await?;
        let state = self.shared.lock();
        let there =
            indexes.iter().filter_map(|digest| state.image(digest.as_str()).filter(|it| it.is_there()));
        Ok(there.filter_map(|it| Some((it.digest.clone(), it.children.clone()?))).collect())
    }

    async fn scans(&self, digests: &[Digest]) -> Result<BTreeMap<Digest, Scan>, CallError> {
        self.read("read scans", Some(Outage::RegistryReads)).await?;
        let state = self.shared.lock();
        let of = |digest: &Digest| {
            let is_it = |it: &&super::images::Made| {
                it.digest == *digest || it.children.iter().flatten().any(|child| child.digest == *digest)
            };
            Some((digest.clone(), state.images.iter().find(is_it)?.scan(state.now)))
        };
        Ok(digests.iter().filter_map(of).collect())
    }
}

#[async_trait]
impl Cluster for Outside {
    async fn service(&self) -> Result<Option<Service>, CallError> {
        self.read("describe the service", Some(Outage::EcsReads)).await?;
        Ok(self.shared.lock().service())
    }

    async fn rollouts(&self) -> Result<Vec<Rollout>, CallError> {
        self.read("list service deployments", Some(Outage::EcsReads)).await?;
        Ok(self.shared.lock().service_deployments())
    }

    async fn tasks(&self) -> Result<Vec<Task>, CallError> {
        self.read("list tasks", Some(Outage::EcsReads)).await?;
        Ok(self.shared.lock().tasks())
    }

    async fn revisions(&self) -> Result<Vec<Revision>, CallError> {
        self.read("list revisions", Some(Outage::EcsReads)).await?;
        Ok(self.shared.lock().revisions())
    }

    async fn is_ours(&self, revision: &RevisionArn) -> Result<bool, CallError> {
        self.read("describe the revision", Some(Outage::EcsReads)).await?;
        let revisions = self.shared.lock().revisions();
        let mut ours = revisions.iter().filter(|it| it.release.as_ref().is_some_and(|id| !id.is_adopted()));
        Ok(ours.any(|it| it.arn == *revision))
    }

    async fn inactive(&self, revisions: &[RevisionArn]) -> Result<Vec<RevisionArn>, CallError> {
        self.read("describe revisions", Some(Outage::EcsReads)).await?;
        let state = self.shared.lock();
        Ok(revisions.iter().filter(|arn| !state.is_active(arn)).cloned().collect())
    }
}

#[async_trait]
impl Alarms for Outside {
    async fn alarms(&self, names: &[String]) -> Result<Vec<Alarm>, CallError> {
        self.read("describe alarms", None).await?;
        let state = self.shared.lock();
        let of = |name: &String| Alarm {
            name: name.clone(),
            in_alarm: state.alarms.contains(name.as_str()),
            since: Moment(0),
        };
        Ok(names.iter().map(of).collect())
    }
}

#[async_trait]
impl Rejections for Outside {
    async fn rejected(&self) -> Result<BTreeSet<String>, CallError> {
        self.read("read the ledger", Some(Outage::LedgerReads)).await?;
        Ok(self.shared.lock().ledger.clone())
    }
}

#[async_trait]
impl JournalStore for Outside {
    async fn read(&self) -> Result<Option<(Journal, JournalTag)>, CallError> {
        *self.looked() = Looked::default();
        self.turn().await;
        let mut state = self.shared.lock();
        if state.read_fails() {
            state.fire("read failed");
            return Err(error("read the journal", CallFault::Unknown));
        }
        Ok(state.journal.as_ref().map(|(journal, tag)| ((**journal).clone(), JournalTag(tag.to_string()))))
    }

    async fn write(&self, journal: &Journal, over: Option<&JournalTag>) -> Result<Written, CallError> {
        let over = over.map(|tag| tag.0.parse().unwrap_or(u64::MAX));
        let (writer, looked) = (self.writer(), self.looked().clone());
        let mut answered = None;
        let late = || (writer == Writer::Deployer).then(|| Late::Write(Box::new(journal.clone()), over));
        let once = |state: &mut State| {
            // A second time it is not over what was read any more, and nothing comes of it.
            if let Some(answered) = &answered {
                return Ok(Clone::clone(answered));
            }
            if state.journal.as_ref().map(|(_, tag)| *tag) == over {
                oracle::announces(state, journal, &looked);
            }
            let written = state.do_write(journal.clone(), over, writer);
            answered = Some(written.clone());
            Ok(written)
        };
        self.change("write the journal", late, once).await
    }
}

impl State {
    /// Compare and set.
    pub fn do_write(&mut self, journal: Journal, over: Option<u64>, writer: Writer) -> Written {
        if self.journal.as_ref().map(|(_, tag)| *tag) != over {
            self.fire("race lost");
            return Written::Changed;
        }
        self.bodies_written += 1;
        let before = self.journal.take().map(|(journal, _)| journal);
        oracle::written(self, before.as_deref(), &journal, writer);
        self.journal = Some((std::sync::Arc::new(journal), self.bodies_written));
        Written::Written(JournalTag(self.bodies_written.to_string()))
    }
}

#[async_trait]
impl Deploy for Outside {
    async fn register(&self, body: &Value) -> Result<RevisionArn, CallError> {
        let late = || Some(Late::Register(body.clone()));
        let looked = self.looked().clone();
        let once = |state: &mut State| {
            oracle::registers(state, body, &looked);
            state.do_register(body).map_err(|error| refused("register", error))
        };
        self.change("register", late, once).await
    }

    async fn create(&self, body: &Value) -> Result<(), CallError> {
        let late = || Some(Late::Create(body.clone()));
        let looked = self.looked().clone();
        let once = |state: &mut State| {
            oracle::creates(state, body, &looked);
            state.do_create(body).map_err(|error| refused("create the service", error))
        };
        self.change("create the service", late, once).await
    }

    async fn update(&self, body: &Value) -> Result<(), CallError> {
        let late = || Some(Late::Update(body.clone()));
        let looked = self.looked().clone();
        let once = |state: &mut State| {
            oracle::updates(state, body, &looked);
            state.do_update(body).map_err(|error| refused("update the service", error))
        };
        self.change("update the service", late, once).await
    }

    async fn delete(&self, _body: &Value) -> Result<(), CallError> {
        Err(error("delete the service: no stack is deleted here", CallFault::Refused))
    }

    async fn tag(
        &self,
        revision: &RevisionArn,
        tags: &[(String, String)],
        _service_too: bool,
    ) -> Result<(), CallError> {
        let tags: Vec<Value> =
            tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        let request = json!({ "resourceArn": revision.as_str(), "tags": tags });
        let once = |state: &mut State| {
            let at = state.ms();
            let tagged = state.ecs.call("TagResource", &request, at);
            tagged.map(drop).map_err(|error| refused("tag", error))
        };
        self.change("tag", || None, once).await
    }
}

#[async_trait]
impl Fence for Outside {
    async fn reject(&self, what: &str, _reason: &str) -> Result<(), CallError> {
        let late = || Some(Late::Reject(what.to_owned()));
        let looked = self.looked().clone();
        let once = |state: &mut State| {
            oracle::rejects(state, what, &looked);
            state.do_reject(what);
            Ok(())
        };
        self.change("reject", late, once).await
    }

    async fn release(&self, what: &str, _reason: &str) -> Result<(), CallError> {
        let late = || Some(Late::Release(what.to_owned()));
        let once = |state: &mut State| {
            state.do_release(what);
            Ok(())
        };
        self.change("release", late, once).await
    }
}

#[async_trait]
impl Keeper for Outside {
    async fn keep(&self, digest: &Digest, tag: &str) -> Result<(), CallError> {
        let once = |state: &mut State| {
            if state.image(digest.as_str()).is_none_or(|image| !image.is_there()) {
                return Err(error("keep an image that is gone", CallFault::Refused));
            }
            // A tag names one image.
            for image in &mut state.images {
                image.tags.retain(|has| has != tag);
                if image.digest == *digest {
                    image.tags.push(tag.to_owned());
                }
            }
            Ok(())
        };
        self.change("keep", || None, once).await
    }
}

#[async_trait]
impl Scaler for Outside {
    async fn scale(&self, _: Option<Scaling>) -> Result<(), CallError> {
        Err(error("scale: no service is scaled here", CallFault::Refused))
    }
}

#[async_trait]
impl Notifier for Outside {
    async fn notify(&self, subject: &str, _text: &str) -> Result<(), CallError> {
        let once = |state: &mut State| {
            state.notices += 1;
            state.say(|_| format!("notice: {subject}"));
            Ok(())
        };
        self.change("notify", || None, once).await
    }
}
