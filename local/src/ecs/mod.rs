//! ECS: a model of the rolling deployments of Amazon ECS, without clock, thread, network or chance.
//!
//! Order: calls and reports change the world and are remembered; a step acts on them, and on what time alone brings.
//! Whoever drives the model calls [`Ecs::step`] after each of them, and at [`Ecs::next_event_at`].
//!
//! Neighbours: an emulator that speaks ECS's protocol and runs tasks as processes; a simulation of whatever talks to
//! ECS. The model serves both, so it does no I/O, takes the time as an argument, and takes its names from a counter:
//! the same inputs give the same outputs.
//!
//! Flow: api → deployment ← scheduler → tasks → events. settings and definition read requests; view answers.
//!
//! The Describe calls build JSON and are as dear as that; who runs thousands of worlds reads [`Ecs::service`] instead.
//!
//! What no source settles is a switch in [`Variants`]. What the model does not have: several clusters, load balancers,
//! task protection, task sets, DAEMON services, deleting a service.

pub mod api;
pub mod config;
pub mod definition;
pub mod deployment;
pub mod error;
pub mod events;
pub mod ids;
pub mod model;
mod scheduler;
pub mod settings;
pub mod tags;
pub mod tasks;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

pub use config::{Applies, Config, Digest, Rollback, Stall, Variants};
pub use definition::{Definition, Definitions, HealthCheck};
pub use error::{EcsError, ReportError};
pub use events::{Action, DeploymentEvent, Event, EventKind};
pub use ids::{DefinitionId, DeploymentId, RevisionId, RolloutId, TaskId};
pub use model::{
    Health, Ms, Output, RolloutState, Service, StartFailure, Status, StopCode, Task, TaskCommand, TaskReport,
    TaskStatus,
};

use model::Context;

/// One cluster and all that is in it.
#[derive(Debug)]
pub struct Ecs {
    config: Config,
    definitions: Definitions,
    services: Vec<Service>,
    /// In ALARM.
    alarms: BTreeSet<Arc<str>>,
    /// From the digest of an index to that of the platform's image in it.
    children: BTreeMap<Arc<str>, Arc<str>>,
    ids: ids::Ids,
    out: Vec<Output>,
    now: Ms,
    /// Something was asked for or reported since the last step.
    dirty: bool,
}

impl Ecs {
    pub fn new(config: Config) -> Ecs {
        Ecs {
            config,
            definitions: Definitions::default(),
            services: Vec::new(),
            alarms: BTreeSet::new(),
            children: BTreeMap::new(),
            ids: ids::Ids::default(),
            out: Vec::new(),
            now: 0,
            dirty: false,
        }
    }

    /// Acts on all that was called and reported, and on the time that has passed. A clock that goes back stands still.
    pub fn step(&mut self, now: Ms) -> Vec<Output> {
        self.now = self.now.max(now);
        self.dirty = false;
        for at in 0..self.services.len() {
            let (s, mut ctx) = self.parts(at);
            scheduler::turn(s, &mut ctx);
        }
        self.services.retain(|s| !(s.draining && s.tasks.is_empty()));
        std::mem::take(&mut self.out)
    }

    /// When the next step has something to do, if nobody calls or reports before; None: never.
    pub fn next_event_at(&mut self) -> Option<Ms> {
        if self.dirty || !self.out.is_empty() {
            return Some(self.now);
        }
        (0..self.services.len())
            .filter_map(|at| {
                let (s, ctx) = self.parts(at);
                scheduler::due(s, &ctx)
            })
            .min()
    }

    /// What became of a task. Nothing changes on an error.
    pub fn report(&mut self, task: TaskId, report: TaskReport, now: Ms) -> Result<(), ReportError> {
        let found = self
            .services
            .iter()
            .enumerate()
            .find_map(|(of, s)| s.tasks.iter().position(|it| it.id == task).map(|at| (of, at)));
        let Some((of, at)) = found else {
            let stopped = self.services.iter().any(|s| s.stopped.iter().any(|it| it.id == task));
            return Err(if stopped { ReportError::Stopped(task) } else { ReportError::Unknown(task) });
        };
        self.touch(now);
        let (s, mut ctx) = self.parts(of);
        tasks::report(s, at, report, &mut ctx)
    }

    /// An alarm of that name goes into ALARM, or leaves it.
    pub fn set_alarm(&mut self, name: &str, in_alarm: bool, now: Ms) {
        self.touch(now);
        if in_alarm {
            self.alarms.insert(name.into());
        } else {
            self.alarms.remove(name);
        }
    }

    /// Tells of a multi-arch image, so that both readings of "the digest that runs" can be told ([`Variants`]).
    pub fn set_child(&mut self, index: &str, child: &str) {
        self.children.insert(index.into(), child.into());
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    pub fn definition(&self, id: DefinitionId) -> &Definition {
        self.definitions.get(id)
    }

    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|s| &*s.name == name)
    }

    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// A task, also one that has stopped not long ago.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.services.iter().find_map(|s| s.tasks.iter().chain(&s.stopped).find(|it| it.id == id))
    }

    /// `containers[].imageDigest` of a task, once it is pulled.
    pub fn running_digest(&self, task: &Task, container: usize) -> Option<Arc<str>> {
        let named = || self.definition(task.definition).containers.get(container)?.digest.clone();
        let pulled = task.pulled_at.and_then(|_| match container {
            0 => task.pulled_digest.clone(),
            _ => named(),
        })?;
        Some(match self.config.variants.running_digest {
            Digest::Index => pulled,
            Digest::Child => self.child_of(&pulled),
        })
    }

    fn child_of(&self, digest: &Arc<str>) -> Arc<str> {
        self.children.get(digest).unwrap_or(digest).clone()
    }

    fn touch(&mut self, now: Ms) {
        self.now = self.now.max(now);
        self.dirty = true;
    }

    /// One service, and what decisions about it may look at.
    fn parts(&mut self, at: usize) -> (&mut Service, Context<'_>) {
        let Ecs { config, definitions, services, alarms, ids, out, now, .. } = self;
        (&mut services[at], Context { now: *now, config, definitions, alarms, ids, out })
    }
}

/// What a call answers: the body of ECS's answer.
pub type Answer = Result<Value, EcsError>;
