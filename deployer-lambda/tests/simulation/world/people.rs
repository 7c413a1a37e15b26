//! People: commands, as the Lambda carries them out: written down, then the loop.

use deployer::event::{Command, Hint, Verb};
use deployer::plan::target;
use deployer::reconcile::{Outcome, WrittenDown, run, write_down};
use deployer::release::Digest;

use super::executor::Function;
use super::images::{Behaviour, Made};
use super::templates::{release_of, rendered};
use super::{MINUTE, SECOND, State};

/// What somebody wants; which image is meant is looked up when he asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    DeployOlder,
    Deploy,
    Pin,
    Unpin,
    Rollback,
    Reject,
    Release,
    Stop,
    Start,
    Freeze,
    Unfreeze,
    /// The newest image that waits for it.
    Approve,
    /// All that stands is lifted, and what fails is taken back where the policy leaves that to people.
    Tidy,
}

fn some_tag(state: &mut State, older: bool) -> Option<String> {
    let there: Vec<String> =
        state.images.iter().filter(|image| image.is_there()).map(|image| image.tags[0].clone()).collect();
    if there.is_empty() {
        return None;
    }
    let among = if older { there.len().div_ceil(2) } else { there.len() };
    Some(there[state.rng.index(among)].clone())
}

fn verb(state: &mut State, wish: Wish) -> Option<Verb> {
    let reason = "so I want it".to_owned();
    Some(match wish {
        Wish::DeployOlder => Verb::Deploy { what: some_tag(state, true)? },
        Wish::Deploy => Verb::Deploy { what: some_tag(state, false)? },
        Wish::Pin => Verb::Pin { what: None },
        Wish::Unpin => Verb::Unpin {},
        Wish::Rollback => Verb::Rollback { to: None, expect: None, reason },
        Wish::Reject => Verb::Reject { what: some_tag(state, false)?, reason },
        Wish::Release => {
            let at = state.rng.index(state.ledger.len());
            Verb::Release { what: state.ledger.iter().nth(at)?.clone(), reason }
        }
        Wish::Stop => Verb::Stop { reason },
        Wish::Start => Verb::Start {},
        Wish::Freeze => Verb::Freeze { until: None, reason },
        Wish::Unfreeze => Verb::Unfreeze {},
        Wish::Approve => {
            let waits = state.unapproved().last()?;
            Verb::Approve { what: waits.digest.0.clone() }
        }
        Wish::Tidy => {
            let journal = &state.journal.as_ref()?.0;
            if state.fails_for_good() && state.has_proven() {
                Verb::Rollback { to: None, expect: None, reason }
            } else if journal.pin.is_some() {
                Verb::Unpin {}
            } else if journal.stopped.is_some() {
                Verb::Start {}
            } else if journal.freeze.is_some() {
                Verb::Unfreeze {}
            } else {
                return None;
            }
        }
    })
}

impl State {
    /// Images that wait for a person, from old to new. Nobody can approve what is rejected.
    pub fn unapproved(&self) -> impl Iterator<Item = &Made> {
        let approvals = self.journal.as_ref().map(|(journal, _)| journal.approvals.as_slice());
        let is_approved = move |image: &Made| {
            approvals.unwrap_or_default().iter().any(|approval| approval.digest == image.digest)
        };
        let is_rejected = |image: &Made| {
            let releases = (0..2).map(|build| release_of(build, &image.digest).0);
            releases.chain([image.digest.0.clone()]).any(|name| self.ledger.contains(&name))
        };
        let waits = move |image: &&Made| image.is_there() && !is_rejected(image) && !is_approved(image);
        self.images.iter().filter(|_| self.policy.approval).filter(waits)
    }

    /// Whether what is under proof is bad, and only a person takes it back.
    pub fn fails_for_good(&self) -> bool {
        let Some((journal, _)) = self.journal.as_ref().filter(|_| !self.policy.rollback) else {
            return false;
        };
        let record = journal.candidate.as_ref().and_then(|id| journal.record(id));
        record.is_some_and(|record| {
            let image = self.image(record.digest.as_str());
            journal.going_back.is_none()
                && record.pointed_at.is_some()
                && image.is_some_and(|image| image.behaviour != Behaviour::Good)
        })
    }
}

impl State {
    /// Whether there is something to go back to.
    pub fn has_proven(&self) -> bool {
        let releases = self.journal.as_ref().map(|(journal, _)| journal.releases.as_slice());
        releases.unwrap_or_default().iter().any(target::is_proven)
    }
}

pub async fn command(function: Function, wish: Wish) -> Option<Outcome> {
    let world = function.world();
    let shared = &function.outside.shared;
    let until = world.clock.now().after_ms(115 * SECOND);
    let verb = verb(&mut shared.lock(), wish)?;
    let command = Command { verb, by: "ann".into() };
    let build = function.build();
    let rendered = |digest: &Digest| Ok(rendered(build, digest));
    *function.outside.person.lock().expect("nobody panics while he holds it") = true;
    let written = write_down(&world, &command, &rendered, &[]).await;
    *function.outside.person.lock().expect("nobody panics while he holds it") = false;
    match written.ok()? {
        WrittenDown::Refused(refusal) => {
            shared.lock().say(|_| format!("{wish:?} is refused: {refusal}"));
            None
        }
        WrittenDown::Answered(_) => None,
        WrittenDown::Written(said) => {
            {
                let mut state = shared.lock();
                state.fire("command carried out");
                state.say(|_| format!("{wish:?}: {}", said.said));
            }
            run(&world, &Hint::Schedule, until).await.ok()
        }
    }
}

/// What a person does, and when he takes it back.
pub fn visit(state: &mut State) {
    use super::calendar::Due;
    let wishes = [
        (Wish::DeployOlder, Some(Wish::Unpin)),
        (Wish::Deploy, Some(Wish::Unpin)),
        (Wish::Pin, Some(Wish::Unpin)),
        (Wish::Rollback, Some(Wish::Unpin)),
        (Wish::Reject, None),
        (Wish::Release, None),
        (Wish::Stop, Some(Wish::Start)),
        (Wish::Freeze, Some(Wish::Unfreeze)),
    ];
    let (wish, back) = state.rng.pick(&wishes);
    let at = state.rng.within(5 * MINUTE, 90 * MINUTE);
    state.later(at, Due::Person(wish));
    if let Some(back) = back {
        let after = state.rng.within(5 * MINUTE, 45 * MINUTE);
        state.later(at + after, Due::Person(back));
    }
}
