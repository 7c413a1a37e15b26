//! Calendar: what comes at its time: pushes, events, tasks' reports, outages, people, calls that land late.

use deployer::event::Hint;
use deployer::journal::Journal;
use deployer::release::{Digest, Moment};
use local::ecs::{Output, TaskId, TaskReport};
use serde_json::{Value, json};

use super::images::Made;
use super::people::Wish;
use super::{MINUTE, Outage, SECOND, SERVICE, State};

#[derive(Clone, Debug)]
pub enum Due {
    Push(Made),
    Retag {
        digest: Digest,
        tag: String,
    },
    /// A lifecycle rule takes an image that nothing keeps.
    Expire,
    /// Somebody deregisters a revision that does not run.
    Deregister,
    Deliver(Hint),
    Schedule,
    Report(TaskId, TaskReport),
    AlarmOn(TaskId),
    AlarmSweep,
    Outage(Outage, bool),
    Person(Wish),
    /// Somebody changes the service by hand.
    Foreign,
    /// Somebody deletes it.
    ServiceDeleted,
    Spot,
    Land(Late),
    NewBuild,
    JournalDeleted,
}

/// A request that its sender gave up, and that is carried out all the same.
#[derive(Clone, Debug)]
pub enum Late {
    Register(Value),
    Create(Value),
    Update(Value),
    Reject(String),
    Release(String),
    Write(Box<Journal>, Option<u64>),
}

/// What the executor has to do.
#[derive(Clone, Debug)]
pub enum Wake {
    Hint(Hint),
    Person(Wish),
}

impl State {
    pub fn later(&mut self, after: i64, due: Due) {
        self.sequence += 1;
        self.calendar.insert((self.now + after, self.sequence), due);
    }

    /// When something happens, if no invocation does anything before.
    pub fn next_at(&mut self) -> Option<i64> {
        let ecs = self.ecs.next_event_at().and_then(|at| i64::try_from(at).ok());
        self.calendar.keys().next().map(|(at, _)| *at).into_iter().chain(ecs).min()
    }

    /// All that is due.
    pub fn turn(&mut self, wakes: &mut Vec<Wake>) {
        while let Some(entry) = self.calendar.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let due = entry.remove();
            self.happen(due, wakes);
        }
        while self.ecs.next_event_at().is_some_and(|at| at <= self.ms()) {
            let outputs = self.ecs.step(self.ms());
            for output in outputs {
                match output {
                    Output::Task(command) => self.obey(command),
                    Output::Event(event) => self.event(&event),
                }
            }
            super::oracle::ecs_moved(self);
        }
    }

    fn happen(&mut self, due: Due, wakes: &mut Vec<Wake>) {
        match due {
            Due::Push(made) => self.push(made),
            Due::Retag { digest, tag } => self.retag(&digest, &tag),
            Due::Expire => self.expire(),
            Due::Deregister => self.deregister(),
            Due::Deliver(hint) => wakes.push(Wake::Hint(hint)),
            Due::Schedule => {
                wakes.push(Wake::Hint(Hint::Schedule));
                self.later(5 * MINUTE, Due::Schedule);
            }
            Due::Report(task, report) => self.report(task, report),
            Due::AlarmOn(task) => self.alarm_on(task),
            Due::AlarmSweep => self.alarm_sweep(),
            Due::Outage(outage, begins) => self.outage(outage, begins),
            Due::Person(wish) => wakes.push(Wake::Person(wish)),
            Due::Foreign => self.foreign(),
            Due::ServiceDeleted => self.delete_service(),
            Due::Spot => self.spot(),
            Due::Land(late) => {
                self.fire("call landed late");
                self.say(|_| format!("lands late: {late:?}"));
                self.land(late);
            }
            Due::NewBuild => {
                self.fire("new templates");
                self.build = 1;
                self.say(|_| "the function has new templates".to_owned());
            }
            Due::JournalDeleted => {
                self.fire("journal deleted");
                self.say(|_| "somebody deletes the journal".to_owned());
                self.journal = None;
                self.oracle.journal_deleted();
            }
        }
    }

    fn push(&mut self, mut made: Made) {
        // No two pushes are of the same time.
        made.pushed_at = Some(self.now + i64::try_from(self.images.len()).unwrap_or_default());
        let (digest, tag) = (made.digest.clone(), made.tags[0].clone());
        self.say(|_| format!("push {tag} {} {:?}", digest.short(), made.behaviour));
        if let Some(children) = &made.children {
            for child in children.clone() {
                if child.platform == super::images::PLATFORM {
                    self.ecs.set_child(digest.as_str(), child.digest.as_str());
                }
                self.deliver(Hint::Push { digest: child.digest, tag: String::new() });
            }
        }
        self.images.push(made);
        self.deliver(Hint::Push { digest, tag });
    }

    fn retag(&mut self, digest: &Digest, tag: &str) {
        let taken = self.images.iter().any(|image| image.tags.iter().any(|has| has == tag));
        let Some(image) = self.image_mut(digest.as_str()).filter(|image| image.is_there() && !taken) else {
            return;
        };
        image.tags.push(tag.to_owned());
        self.fire("image retagged");
        self.say(|_| format!("retag {} as {tag}", digest.short()));
        self.deliver(Hint::Push { digest: digest.clone(), tag: tag.to_owned() });
    }

    /// Not what runs, nor what is kept, nor what is under way.
    fn expire(&mut self) {
        let busy = self.busy_digests();
        let kept = |image: &Made| image.tags.iter().any(|tag| tag.starts_with("landfall-keep-"));
        let old = self.images.iter_mut().find(|it| it.is_there() && !kept(it) && !busy.contains(&it.digest));
        let Some(image) = old else { return };
        image.gone = true;
        let digest = image.digest.clone();
        self.fire("image expired");
        self.say(|_| format!("the lifecycle takes {}", digest.short()));
    }

    fn busy_digests(&self) -> Vec<Digest> {
        let mut busy = Vec::new();
        if let Some((journal, _)) = &self.journal {
            let back = journal.going_back.iter().flat_map(|back| [&back.from, &back.to]);
            let names = journal.current.iter().chain(&journal.candidate).chain(back);
            busy.extend(names.filter_map(|id| journal.record(id)).map(|record| record.digest.clone()));
        }
        if let Some(service) = self.ecs.service(SERVICE) {
            busy.extend(service.deployments.iter().filter_map(|it| self.digest_of(it.definition)));
            busy.extend(
                service.last_completed.and_then(|(_, id)| self.digest_of(service.revision(id).definition)),
            );
        }
        busy
    }

    fn deregister(&mut self) {
        let Some(service) = self.ecs.service(SERVICE) else { return };
        let mut used: Vec<&str> =
            service.deployments.iter().map(|it| &*self.ecs.definition(it.definition).arn).collect();
        if let Some((_, id)) = service.last_completed {
            used.push(&self.ecs.definition(service.revision(id).definition).arn);
        }
        if let Some((journal, _)) = &self.journal {
            let busy = journal.current.iter().chain(&journal.candidate);
            used.extend(busy.filter_map(|id| journal.record(id)?.revision.as_ref()).map(|arn| arn.as_str()));
        }
        let free = self.ecs.definitions().list("shop-worker", true);
        let Some(arn) = free.into_iter().find(|arn| !used.contains(arn)).map(str::to_owned) else { return };
        if self.ecs.call("DeregisterTaskDefinition", &json!({ "taskDefinition": arn }), self.ms()).is_ok() {
            self.fire("revision deregistered");
            self.say(|_| format!("somebody deregisters {arn}"));
        }
    }

    fn outage(&mut self, outage: Outage, begins: bool) {
        if begins && self.chaos {
            self.outages.insert(outage);
            self.fire("outage");
        } else {
            self.outages.remove(&outage);
        }
        self.say(|_| format!("{outage:?} {}", if begins { "is out of order" } else { "works again" }));
    }

    fn foreign(&mut self) {
        if !self.chaos {
            return;
        }
        let Some(service) = self.ecs.service(SERVICE) else { return };
        let request = match self.rng.below(3) {
            0 => {
                let Some(last) = service.rollouts.last().filter(|last| !last.status.is_final()) else {
                    return;
                };
                let arn = self.ecs.config().rollout_arn(SERVICE, last.id);
                let request = json!({ "serviceDeploymentArn": arn, "stopType": "ROLLBACK" });
                let stopped = self.ecs.call("StopServiceDeployment", &request, self.ms());
                if stopped.is_ok() {
                    self.fire("foreign StopServiceDeployment");
                    self.oracle.foreign(self.now);
                    self.say(|_| "somebody stops the service deployment".to_owned());
                }
                return;
            }
            1 => json!({ "service": SERVICE, "forceNewDeployment": true }),
            _ => {
                let arns: Vec<String> =
                    self.ecs.definitions().list("shop-worker", true).into_iter().map(str::to_owned).collect();
                let arn = arns[self.rng.index(arns.len())].clone();
                json!({ "service": SERVICE, "taskDefinition": arn })
            }
        };
        if self.ecs.call("UpdateService", &request, self.ms()).is_ok() {
            self.fire("foreign UpdateService");
            self.oracle.foreign(self.now);
            self.say(|_| format!("somebody updates the service: {request}"));
        }
    }

    fn delete_service(&mut self) {
        let request = json!({ "service": SERVICE, "force": true });
        if self.chaos && self.ecs.call("DeleteService", &request, self.ms()).is_ok() {
            self.fire("service deleted by hand");
            self.oracle.service_deleted(self.now);
            self.say(|_| "somebody deletes the service".to_owned());
        }
    }

    /// To everybody who listens: perhaps twice, late, or not at all.
    pub fn deliver(&mut self, hint: Hint) {
        let lost = self.chaos && self.rng.permille(self.rates.event_lost);
        if lost {
            self.fire("event lost");
            return;
        }
        let times = if self.chaos && self.rng.permille(self.rates.event_doubled) { 2 } else { 1 };
        if times > 1 {
            self.fire("event doubled");
        }
        for _ in 0..times {
            let mut after = self.rng.within(200, 3 * SECOND);
            if self.chaos && self.rng.permille(self.rates.event_late) {
                after += self.rng.within(5 * SECOND, 8 * MINUTE);
                self.fire("event late");
            }
            self.later(after, Due::Deliver(hint.clone()));
        }
    }

    fn land(&mut self, late: Late) {
        let done = match late {
            Late::Register(body) => self.do_register(&body).map(drop).err(),
            Late::Create(body) => self.do_create(&body).err(),
            Late::Update(body) => self.do_update(&body).err(),
            Late::Reject(what) => {
                self.do_reject(&what);
                None
            }
            Late::Release(what) => {
                self.do_release(&what);
                None
            }
            Late::Write(journal, over) => {
                self.do_write(*journal, over, super::oracle::Writer::Deployer);
                None
            }
        };
        if let Some(error) = done {
            self.say(|_| format!("what landed late was refused: {error}"));
        }
    }

    pub fn moment(&self) -> Moment {
        Moment(self.now)
    }
}
