//! People: commands, as the Lambda carries them out: written down, then the loop.

use deployer::event::{Command, Hint, Verb};
use deployer::reconcile::{Outcome, WrittenDown, run, write_down};
use deployer::release::Digest;

use super::executor::Function;
use super::templates::rendered;
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
    /// All that stands is lifted.
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
        Wish::Tidy => {
            let journal = &state.journal.as_ref()?.0;
            if journal.pin.is_some() {
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
