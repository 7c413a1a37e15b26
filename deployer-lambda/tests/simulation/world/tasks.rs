//! Tasks: what the tasks of each image do. They report what they do, and obey; time does the rest.

use std::sync::Arc;

use deployer::event::Hint;
use deployer::release::Digest;
use local::ecs::{
    DefinitionId, Event, EventKind, Health, StartFailure, StopCode, TaskCommand, TaskId, TaskReport,
};

use super::calendar::Due;
use super::images::Behaviour;
use super::templates::ALARMS;
use super::{MINUTE, Outage, SECOND, SERVICE, State};

/// What a task was started from.
#[derive(Clone, Debug)]
pub struct Fate {
    pub digest: Digest,
    pub release: String,
    pub behaviour: Behaviour,
}

const CANNOT_PULL: &str =
    "CannotPullContainerError: pull image manifest has been retried 5 time(s): dial tcp: i/o timeout";

impl State {
    pub fn digest_of(&self, definition: DefinitionId) -> Option<Digest> {
        self.ecs.definition(definition).containers.first()?.digest.as_deref().map(Digest::from)
    }

    pub fn release_at(&self, definition: DefinitionId) -> Option<&str> {
        self.ecs.definition(definition).tags.get("landfall:release").map(String::as_str)
    }

    fn rejects(&self, fate: &Fate) -> bool {
        self.ledger.contains(&fate.release) || self.ledger.contains(fate.digest.as_str())
    }

    pub fn obey(&mut self, command: TaskCommand) {
        match command {
            TaskCommand::Start { task, definition, .. } => self.start(task, definition),
            TaskCommand::Stop { task, .. } => {
                let after = self.rng.within(1, 25) * SECOND;
                let code = if self.rng.permille(500) { 0 } else { 143 };
                self.later(after, Due::Report(task, TaskReport::Exited { code, reason: None }));
            }
            TaskCommand::Kill { task } => {
                self.later(0, Due::Report(task, TaskReport::Exited { code: 137, reason: None }));
            }
        }
    }

    fn start(&mut self, task: TaskId, definition: DefinitionId) {
        let digest = self.digest_of(definition).unwrap_or_default();
        let release = self.release_at(definition).unwrap_or_default().to_owned();
        let there = self.image(digest.as_str()).filter(|image| image.is_there());
        let behaviour = there.map(|image| image.behaviour);
        self.say(|_| format!("task {} starts {} {behaviour:?}", task.0, digest.short()));
        let pull = self.rng.within(3, 20) * SECOND;
        let Some(behaviour) = behaviour.filter(|_| !self.down(Outage::Pulls)) else {
            let reason: Arc<str> = CANNOT_PULL.into();
            let report = TaskReport::FailedToStart { what: StartFailure::Resources, reason };
            return self.later(pull, Due::Report(task, report));
        };
        let fate = Fate { digest, release, behaviour };
        self.coming.insert(task, fate);
        let boot = pull + self.rng.within(1, 5) * SECOND;
        self.later(pull, Due::Report(task, TaskReport::Pulled { digest: None }));
        self.later(boot, Due::Report(task, TaskReport::Running));
    }

    /// What becomes of it from RUNNING on.
    fn runs(&mut self, task: TaskId) {
        let Some(fate) = self.coming.get(&task).cloned() else { return };
        let exit = |code| TaskReport::Exited { code, reason: None };
        let soon = self.rng.within(2, 15) * SECOND;
        let outage = self.outages.iter().find_map(|outage| match outage {
            Outage::Kafka(code) => Some(*code),
            Outage::Pulls | Outage::RegistryReads | Outage::LedgerReads | Outage::EcsReads => None,
        });
        if self.rejects(&fate) {
            return self.later(soon, Due::Report(task, exit(65)));
        }
        if let Some(code) = outage {
            return self.later(soon, Due::Report(task, exit(code)));
        }
        let healthy = TaskReport::HealthChanged(Health::Healthy);
        let afterwards = soon + self.rng.within(15, 50) * SECOND;
        match fate.behaviour {
            Behaviour::Good => self.later(soon, Due::Report(task, healthy)),
            Behaviour::Crashes(code) => self.later(soon, Due::Report(task, exit(code))),
            Behaviour::RefusesData => self.later(soon, Due::Report(task, exit(65))),
            Behaviour::NeverHealthy => {
                let report = TaskReport::HealthChanged(Health::Unhealthy);
                self.later(50 * SECOND, Due::Report(task, report));
            }
            Behaviour::CrashesLater(code) => {
                self.later(soon, Due::Report(task, healthy));
                self.later(afterwards, Due::Report(task, exit(code)));
            }
            Behaviour::RaisesAlarm => {
                self.later(soon, Due::Report(task, healthy));
                self.later(afterwards, Due::AlarmOn(task));
            }
        }
    }

    pub fn report(&mut self, task: TaskId, report: TaskReport) {
        let runs = report == TaskReport::Running;
        let ends = matches!(report, TaskReport::Exited { .. });
        let at = self.ms();
        self.say(|_| format!("task {} {report:?}", task.0));
        // A task that is gone has nothing more to report.
        if self.ecs.report(task, report, at).is_err() || ends {
            if ends {
                self.coming.remove(&task);
            }
            return;
        }
        if runs && self.ecs.task(task).is_some_and(|task| task.is_live()) {
            self.runs(task);
        }
    }

    /// Workers look at the ledger every 15 s, and end when it rejects them.
    pub fn fence(&mut self) {
        let fenced: Vec<TaskId> =
            self.coming.iter().filter(|(_, fate)| self.rejects(fate)).map(|(task, _)| *task).collect();
        for task in fenced {
            let running = self.ecs.task(task).is_some_and(|task| task.started_at.is_some());
            if running {
                let after = self.rng.within(1, 15) * SECOND;
                self.later(after, Due::Report(task, TaskReport::Exited { code: 65, reason: None }));
            }
        }
    }

    pub fn alarm_on(&mut self, task: TaskId) {
        if self.ecs.task(task).is_none_or(|task| !task.is_live()) || self.alarms.contains(ALARMS[1]) {
            return;
        }
        self.oracle.alarm_by = self.coming.get(&task).map(|fate| fate.digest.0.clone());
        self.set_alarm(ALARMS[1], true);
        self.later(MINUTE, Due::AlarmSweep);
    }

    /// Until nothing runs any more that raised it, and a while longer.
    pub fn alarm_sweep(&mut self) {
        let raises = |task: &local::ecs::Task| {
            self.coming.get(&task.id).is_some_and(|fate| fate.behaviour == Behaviour::RaisesAlarm)
        };
        let rings =
            self.ecs.service(SERVICE).is_some_and(|s| s.tasks.iter().any(|t| t.is_live() && raises(t)));
        if rings || self.rng.permille(600) {
            self.later(MINUTE, Due::AlarmSweep);
        } else {
            self.set_alarm(ALARMS[1], false);
        }
    }

    fn set_alarm(&mut self, name: &'static str, rings: bool) {
        if rings {
            self.alarms.insert(name);
        } else {
            self.alarms.remove(name);
        }
        let at = self.ms();
        self.ecs.set_alarm(name, rings, at);
        self.say(|_| format!("alarm {name} {}", if rings { "goes off" } else { "is over" }));
        self.deliver(Hint::Alarm { name: name.to_owned() });
    }

    /// AWS takes a machine.
    pub fn spot(&mut self) {
        let live = self.ecs.service(SERVICE).and_then(|s| s.tasks.iter().find(|task| task.is_live()));
        let Some(task) = live.map(|task| task.id).filter(|_| self.chaos) else { return };
        let reason: Arc<str> = "Your Spot Task was interrupted.".into();
        let report = TaskReport::Interrupted { code: StopCode::SpotInterruption, reason };
        self.fire("spot interruption");
        self.report(task, report);
    }

    /// ECS tells everybody that a deployment failed; somebody may answer at once.
    fn somebody_reads_that(&mut self) {
        let goes_back = self.ecs.service(super::SERVICE).is_some_and(|service| service.primary().is_rollback);
        if goes_back && self.chaos && self.rng.permille(self.rates.answered) {
            let after = self.rng.within(super::SECOND, super::MINUTE);
            self.later(after, super::calendar::Due::Person(super::people::Wish::Rollback));
        }
    }

    pub fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Deployment { what, reason, .. } => {
                self.say(|_| format!("ECS: {} {reason}", what.name()));
                self.deliver(Hint::Deployment { name: what.name().to_owned() });
                self.somebody_reads_that();
            }
            EventKind::Action(_) => self.deliver(Hint::Service { name: "SERVICE_STEADY_STATE".to_owned() }),
            // There are many of them, and each says the same: look.
            EventKind::Task(_) if self.rng.permille(250) => self.deliver(Hint::Task),
            EventKind::Task(_) => {}
        }
    }
}
