//! Cloud: a stand-in for the parts of AWS that the deployer and the worker talk to, on loopback.
//!
//! Order: every call and every report goes through [`Cloud::act`], which lets the model of ECS act on it at once; what
//! the model wants done to tasks goes to the driver, what AWS would tell goes on as events, in order.
//! Neighbours: `ecs` is the model of ECS; `tasks` runs what it starts; `story` listens to the events.
//!
//! image → ecr; cbor → watch; sns; function; server speaks for all of them. It emulates what is called, no more, for a
//! first look and for tests of the way from a push to a running process. Nothing here checks signatures.

pub mod cbor;
pub mod ecr;
pub mod function;
pub mod image;
mod server;
pub mod sns;
pub mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use server::serve;

use crate::clock;
use crate::ecs::{Config, Ecs, Ms, Output, ReportError, TaskCommand, TaskId, TaskReport};
use ecr::{Ecr, EcrError, Pushed};
use function::Function;
use image::Image;
use sns::Notice;
use watch::{Change, State, Watch};

/// The model is looked at again after so long even where it expects nothing.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// All that has a state.
#[derive(Debug)]
pub struct World {
    pub ecs: Ecs,
    pub ecr: Ecr,
    pub watch: Watch,
    pub notices: Vec<Notice>,
    events: u64,
}

/// What comes out of the cloud. Its ends are read for as long as the cloud stands, so that little ever waits in them.
#[derive(Debug)]
pub struct Outlets {
    pub commands: UnboundedReceiver<TaskCommand>,
    /// As EventBridge hands them on.
    pub events: UnboundedReceiver<Value>,
    pub notices: UnboundedReceiver<Notice>,
}

/// The stand-in.
#[derive(Debug)]
pub struct Cloud {
    pub account: String,
    pub region: String,
    pub function: Function,
    world: Mutex<World>,
    stirred: Notify,
    commands: UnboundedSender<TaskCommand>,
    events: UnboundedSender<Value>,
    notices: UnboundedSender<Notice>,
}

impl Cloud {
    /// Nothing is in it. `function` is the name of the one Lambda function.
    pub fn new(config: Config, function: &str, timeout: Duration) -> (Arc<Cloud>, Outlets) {
        let (commands, commands_out) = unbounded_channel();
        let (events, events_out) = unbounded_channel();
        let (notices, notices_out) = unbounded_channel();
        let (account, region) = (config.account.clone(), config.region.clone());
        let arn = format!("arn:aws:lambda:{region}:{account}:function:{function}");
        let world = World {
            ecr: Ecr::new(&account),
            ecs: Ecs::new(config),
            watch: Watch::default(),
            notices: Vec::new(),
            events: 0,
        };
        let cloud = Cloud {
            account,
            region,
            function: Function::new(arn, timeout),
            world: Mutex::new(world),
            stirred: Notify::new(),
            commands,
            events,
            notices,
        };
        (Arc::new(cloud), Outlets { commands: commands_out, events: events_out, notices: notices_out })
    }

    /// Looks, and changes nothing.
    pub fn look<R>(&self, at: impl FnOnce(&World) -> R) -> R {
        at(&self.world())
    }

    /// Does something, and lets the model act on it.
    pub fn act<R>(&self, what: impl FnOnce(&mut World, Ms) -> R) -> R {
        let mut world = self.world();
        let now = now();
        let answer = what(&mut world, now);
        self.step(&mut world, now);
        drop(world);
        self.stirred.notify_one();
        answer
    }

    /// What became of a task.
    pub fn report(&self, task: TaskId, report: TaskReport) -> Result<(), ReportError> {
        self.act(|world, now| world.ecs.report(task, report, now))
    }

    /// Pushes an image; ECR tells of it.
    pub fn push(&self, repository: &str, image: Image, tag: &str) -> Result<Pushed, EcrError> {
        self.act(|world, now| {
            let pushed = world.ecr.push(repository, image, tag, now)?;
            self.tell_push(world, &pushed, now);
            Ok(pushed)
        })
    }

    /// Puts an alarm into a state, as `set-alarm-state` does.
    pub fn set_alarm(&self, name: &str, state: State, reason: &str) {
        self.act(|world, now| {
            let change = world.watch.set(name, state, reason, now);
            self.tell_alarms(world, change.into_iter().collect(), now);
        });
    }

    /// Lets time act on the model, for as long as it is polled.
    pub async fn run(&self) -> std::convert::Infallible {
        loop {
            let due = self.world().ecs.next_event_at();
            let until = due.map_or(LOOK_AT_LEAST, |due| Duration::from_millis(due.saturating_sub(now())));
            tokio::select! {
                () = self.stirred.notified() => {}
                () = tokio::time::sleep(until.min(LOOK_AT_LEAST)) => {}
            }
            let mut world = self.world();
            self.step(&mut world, now());
        }
    }

    fn step(&self, world: &mut World, now: Ms) {
        for output in world.ecs.step(now) {
            // Nobody listens any more only when the story is over.
            match output {
                Output::Task(command) => drop(self.commands.send(command)),
                Output::Event(event) => drop(self.events.send(event.json(&world.ecs))),
            }
        }
    }

    fn tell(
        &self,
        world: &mut World,
        source: &str,
        detail_type: &str,
        resources: Value,
        detail: Value,
        now: Ms,
    ) {
        world.events += 1;
        let at = i64::try_from(now).ok().and_then(DateTime::<Utc>::from_timestamp_millis).unwrap_or_default();
        let event = json!({
            "version": "0",
            // ECS counts its own from below.
            "id": crate::ecs::ids::uuid(u64::MAX - world.events),
            "detail-type": detail_type,
            "source": source,
            "account": self.account,
            "time": at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "region": self.region,
            "resources": resources,
            "detail": detail,
        });
        drop(self.events.send(event));
    }

    fn tell_push(&self, world: &mut World, pushed: &Pushed, now: Ms) {
        self.tell(world, "aws.ecr", "ECR Image Action", json!([]), pushed.detail(), now);
    }

    fn tell_alarms(&self, world: &mut World, changes: Vec<Change>, now: Ms) {
        for change in changes {
            let name = &change.alarm.name;
            world.ecs.set_alarm(name, change.alarm.state == State::Alarm, now);
            let arn = format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", self.region, self.account);
            self.tell(
                world,
                "aws.cloudwatch",
                "CloudWatch Alarm State Change",
                json!([arn]),
                change.detail(),
                now,
            );
        }
    }

    fn publish(&self, notice: Notice) {
        self.world().notices.push(notice.clone());
        drop(self.notices.send(notice));
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the stack's rules hand an event to the function. They are patterns in the deployer's package; of these only
/// two narrow what one pipeline's own resources tell.
pub fn is_handed_on(event: &Value) -> bool {
    match event["detail-type"].as_str() {
        Some("ECS Task State Change") => {
            matches!(event["detail"]["lastStatus"].as_str(), Some("RUNNING" | "STOPPED"))
        }
        Some("CloudWatch Alarm State Change") => {
            matches!(event["detail"]["state"]["value"].as_str(), Some("ALARM" | "OK"))
        }
        Some(_) => true,
        None => false,
    }
}

/// What the schedule sends.
pub fn scheduled(cloud: &Cloud) -> Value {
    json!({
        "version": "0", "id": crate::ecs::ids::uuid(now()), "detail-type": "Scheduled Event",
        "source": "aws.events", "account": cloud.account, "region": cloud.region,
        "time": DateTime::<Utc>::from_timestamp_millis(clock::now_ms()).unwrap_or_default()
            .to_rfc3339_opts(SecondsFormat::Secs, true),
        "resources": [format!("arn:aws:events:{}:{}:rule/schedule", cloud.region, cloud.account)],
        "detail": {},
    })
}

pub(crate) fn now() -> Ms {
    u64::try_from(clock::now_ms()).unwrap_or(0)
}
