//! Executor: invocations as futures, polled one at a time, whichever the seed says; some are slow, some die.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use deployer::apply::{self, Templated};
use deployer::clock::Clock as _;
use deployer::event::{Hint, Place};
use deployer::observe;
use deployer::reconcile::{Outcome, Teller, World, run};
use deployer::release::{Digest, ReleaseId};
use deployer::report::Whereabouts;

use super::calendar::Wake;
use super::images::PLATFORM;
use super::ports::Outside;
use super::templates::{self, ALARMS};
use super::{SECOND, START, Shared};

/// Lambda ends an invocation then; nothing new is begun a while before.
const LIMIT_MS: i64 = 120 * SECOND;
const MARGIN_MS: i64 = 5 * SECOND;
/// More turns than any world takes.
const TURNS_MAX: u64 = 400_000;

type Running = Pin<Box<dyn Future<Output = Option<Outcome>>>>;

struct Invocation {
    number: u64,
    future: Running,
    began: i64,
    slow: bool,
    /// Dies after so many polls.
    dies_after: Option<u64>,
    polls: u64,
}

pub struct Sim {
    pub shared: Shared,
    invocations: Vec<Invocation>,
    begun: u64,
    turns: u64,
}

/// All that lives as long as the function's process.
pub struct Function {
    pub outside: Outside,
    build: usize,
    bodies: Templated,
    policy: deployer::policy::Policy,
    rules: deployer::plan::Rules,
    alarms: Vec<String>,
    teller: Teller,
    release_of: Box<dyn Fn(&Digest) -> ReleaseId + Send + Sync>,
}

impl Function {
    pub fn new(shared: Shared) -> Function {
        let (policy, rules, build) = {
            let state = shared.lock();
            (state.policy.clone(), state.rules, state.build)
        };
        Function {
            outside: Outside::new(shared),
            build,
            bodies: Templated { templates: templates::templates(build) },
            policy,
            rules,
            alarms: ALARMS.iter().map(|name| (*name).to_owned()).collect(),
            teller: teller(),
            release_of: Box::new(move |digest| templates::release_of(build, digest)),
        }
    }

    pub fn build(&self) -> usize {
        self.build
    }

    pub fn world(&self) -> World<'_> {
        let outside = &self.outside;
        World {
            look: observe::World {
                registry: outside,
                cluster: outside,
                alarms: outside,
                rejections: outside,
            },
            act: apply::World {
                journals: outside,
                deploy: outside,
                fence: outside,
                keeper: outside,
                notifier: outside,
                bodies: &self.bodies,
                scaler: outside,
                scaling: None,
                catalog: None,
                announce_first: self.rules.intents_before_calls,
            },
            policy: &self.policy,
            release_of: &*self.release_of,
            platform: PLATFORM,
            alarms: &self.alarms,
            own_rollback: true,
            teller: &self.teller,
            clock: &*outside.shared.clock,
            rules: self.rules,
        }
    }

    pub async fn hint(self, hint: Hint) -> Option<Outcome> {
        let world = self.world();
        let until = world.clock.now().after_ms(LIMIT_MS - MARGIN_MS);
        run(&world, &hint, until).await.ok()
    }
}

fn teller() -> Teller {
    let place = Place {
        account: "111122223333".into(),
        region: "eu-central-1".into(),
        repository: "shop".into(),
        cluster: "default".into(),
        service: "shop".into(),
    };
    let at = Whereabouts { pipeline: "shop".into(), function: "deployer".into(), place, logs: None };
    Teller { at }
}

impl Sim {
    pub fn new(shared: Shared) -> Sim {
        Sim { shared, invocations: Vec::new(), begun: 0, turns: 0 }
    }

    pub fn violation(&self) -> Option<String> {
        self.shared.lock().oracle.violation.clone()
    }

    /// Goes on until this time, or until the oracle objects.
    pub fn run_until(&mut self, until: i64) {
        while self.violation().is_none() {
            self.turns += 1;
            if self.turns > TURNS_MAX {
                self.shared.lock().violated(|| "the world goes round in circles".to_owned());
                return;
            }
            let mut wakes = Vec::new();
            if self.invocations.is_empty() {
                let mut state = self.shared.lock();
                match state.next_at().filter(|at| *at <= until) {
                    Some(at) => state.now = state.now.max(at),
                    None => {
                        state.now = until;
                        self.shared.clock.advance_ms(until - self.shared.clock.now().0);
                        return;
                    }
                }
                self.shared.clock.advance_ms(state.now - self.shared.clock.now().0);
                state.turn(&mut wakes);
            } else {
                self.poll_one();
                let mut state = self.shared.lock();
                state.turn(&mut wakes);
            }
            for wake in wakes {
                self.begin(wake);
            }
        }
    }

    fn begin(&mut self, wake: Wake) {
        let (slow, dies_after, now) = {
            let mut state = self.shared.lock();
            let rates = state.rates;
            let slow = state.chaos && state.rng.permille(rates.slow);
            let dies = state.chaos && state.rng.permille(rates.crash);
            let dies_after = dies.then(|| 1 + state.rng.below(30));
            (slow, dies_after, state.now)
        };
        self.begun += 1;
        let number = self.begun;
        self.shared.lock().say(|_| format!("#{number} begins: {wake:?}"));
        let function = Function::new(self.shared.clone());
        let future: Running = match wake {
            Wake::Hint(hint) => Box::pin(function.hint(hint)),
            Wake::Person(wish) => Box::pin(super::people::command(function, wish)),
        };
        self.invocations.push(Invocation { number, future, began: now, slow, dies_after, polls: 0 });
    }

    fn poll_one(&mut self) {
        let at = self.shared.lock().rng.index(self.invocations.len());
        let invocation = &mut self.invocations[at];
        invocation.polls += 1;
        let number = invocation.number;
        let died = invocation.dies_after.is_some_and(|polls| invocation.polls > polls);
        let took_too_long = self.shared.clock.now().0 - invocation.began > LIMIT_MS;
        if died || took_too_long {
            let mut state = self.shared.lock();
            state.fire(if died { "invocation died" } else { "invocation ran out of time" });
            state.say(|_| format!("#{number} dies"));
            drop(state);
            drop(self.invocations.swap_remove(at));
            return;
        }
        let polled = invocation.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let slow = invocation.slow;
        let mut state = self.shared.lock();
        if let Poll::Ready(outcome) = polled {
            drop(self.invocations.swap_remove(at));
            state.say(|_| {
                let told = outcome.iter().flat_map(|outcome| &outcome.decisions);
                let told: Vec<String> = told.map(|it| format!("{}: {}", it.what, it.why)).collect();
                let trouble =
                    outcome.as_ref().and_then(|outcome| outcome.trouble.clone()).unwrap_or_default();
                format!("#{number} ends: {} {trouble}", told.join(" | "))
            });
        }
        if self.invocations.len() > 1 {
            state.fire("invocations at the same time");
        }
        let took = if slow { state.rng.within(SECOND, 9 * SECOND) } else { state.rng.within(5, 200) };
        state.now += took;
        self.shared.clock.advance_ms(took);
    }

    /// Reconciles once, alone, to the end.
    pub fn reconcile(&mut self) -> Option<Outcome> {
        let mut future: Running = Box::pin(Function::new(self.shared.clone()).hint(Hint::Schedule));
        loop {
            if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return outcome;
            }
        }
    }

    pub fn now(&self) -> i64 {
        self.shared.lock().now
    }

    pub fn log(&self) -> Vec<String> {
        self.shared.lock().log.clone().unwrap_or_default()
    }

    pub fn elapsed(&self) -> i64 {
        self.now() - START
    }
}
