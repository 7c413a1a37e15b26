//! Protocol: what two writers, a deployer, a sweeper and the store may do next.
//!
//! Order: every arrow is one request to the store, or one loss. Both writers believe that they own the partition.

use stateright::{Model, Property};

use crate::fold::{Answer, Asked, BAD, Step, fold};

/// A rule that a test takes away.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rule {
    /// An append needs its partitions to stand where it starts.
    Fence,
    /// A rejected writer may not append.
    Reject,
    /// In doubt, rejection is asked before the own entry is looked for.
    RejectionFirst,
    /// An append in doubt does not abort its upload before its slot is taken.
    DoubtAbortsNothing,
    /// Abort, then delete; taken away together with the second look, which would mend it.
    AbortFirst,
    /// What must be gone is looked for again when no completion can be under way any more.
    SecondLook,
    /// A rewind's position is the smallest `from` of the live entries it takes out.
    PositionsFromLive,
    /// A sweep names what it aborts first.
    SweepNames,
}

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub offsets: i8,
    pub uploads: usize,
    pub entries: usize,
    pub crashes: u8,
    /// Requests that never arrive.
    pub lost: u8,
    /// Puts that arrive when nobody listens any more.
    pub late: u8,
    /// Completions that are carried out long after they were accepted.
    pub slow: u8,
    pub rejects: bool,
    pub rewinds: u8,
    pub sweeps: u8,
    pub rule_off: Option<Rule>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    Open,
    Visible,
    Aborted,
    Deleted,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Upload {
    status: Status,
    from: i8,
    to: i8,
    /// A completion was accepted while it was open, and may land yet, whatever its status.
    slow: bool,
}

/// One request of a settling, as it was planned; the log may have moved since.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Task {
    Show(u8),
    Abort(u8),
    Delete(u8),
    /// The look after fifteen minutes.
    LookAgain(u8),
    /// Entry n is settled, if all before it are.
    Mark(u8),
}

/// Where a writer is. `known` is how much of the log it has read.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Pc {
    Down,
    Stopped,
    Settling {
        known: u8,
        tasks: Vec<Task>,
    },
    Ready {
        known: u8,
    },
    /// Has an upload, and is about to put its entry into slot `known`.
    Holding {
        known: u8,
        upload: u8,
    },
    /// Has put, and does not know what became of it.
    InDoubt {
        known: u8,
        upload: u8,
    },
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    log: Vec<Step>,
    uploads: Vec<Upload>,
    writers: [Pc; 2],
    /// Late puts: slot and entry.
    late: Vec<(u8, Step)>,
    settled: u8,
    damage: bool,
    left: Left,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Left {
    crashes: u8,
    lost: u8,
    late: u8,
    slow: u8,
    rejects: bool,
    rewinds: u8,
    sweeps: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    Crash(u8),
    Open(u8),
    Refresh(u8),
    SettleAgain(u8),
    /// The next task of a settling.
    Task(u8),
    /// The same, its request lost.
    TaskLost(u8),
    /// The same, accepted and carried out later.
    TaskSlow(u8),
    /// A settling goes on without its second look.
    LeaveUnsettled(u8),
    BeginUpload(u8, i8),
    Put(u8),
    PutReplyLost(u8),
    PutLost(u8),
    PutLate(u8),
    ReadInDoubt(u8),
    LatePutLands(usize),
    SlowLands(u8),
    SlowDies(u8),
    Reject,
    Rewind(u8),
    Sweep,
}

impl World {
    fn off(&self, rule: Rule) -> bool {
        self.rule_off == Some(rule)
    }

    /// What settling asks for, entry by entry.
    fn plan(&self, state: &State, known: u8) -> Vec<Task> {
        let asked = &fold(&state.log[..usize::from(known)]).asked;
        let mut tasks = Vec::new();
        for (n, asked) in (1u8..).zip(asked).filter(|(n, _)| *n > state.settled) {
            match asked {
                Asked::Nothing => {}
                Asked::Show(upload) => tasks.push(Task::Show(*upload)),
                Asked::Hide(uploads) => self.hide(uploads, &mut tasks),
                Asked::Abort(uploads) => tasks.extend(uploads.iter().map(|upload| Task::Abort(*upload))),
            }
            tasks.push(Task::Mark(n));
        }
        tasks
    }

    fn hide(&self, uploads: &[u8], tasks: &mut Vec<Task>) {
        for upload in uploads.iter().copied() {
            if self.off(Rule::AbortFirst) {
                tasks.extend([Task::Delete(upload), Task::Abort(upload)]);
                continue;
            }
            tasks.extend([Task::Abort(upload), Task::Delete(upload)]);
        }
        if !self.off(Rule::AbortFirst) && !self.off(Rule::SecondLook) {
            tasks.extend(uploads.iter().map(|upload| Task::LookAgain(*upload)));
        }
    }

    fn settling(&self, state: &State, known: u8) -> Pc {
        settling(known, self.plan(state, known))
    }

    /// Whether a writer that has read `known` entries knows that it is rejected.
    fn knows_rejected(&self, state: &State, writer: u8, known: u8) -> bool {
        writer == BAD && fold(&state.log[..usize::from(known)]).rejected
    }

    fn must_stop(&self, state: &State, writer: u8, known: u8) -> bool {
        !self.off(Rule::Reject) && self.knows_rejected(state, writer, known)
    }

    /// After reading the log up to `known` with nothing in hand.
    fn read(&self, state: &State, writer: u8, known: u8) -> Pc {
        if self.must_stop(state, writer, known) { Pc::Stopped } else { self.settling(state, known) }
    }

    /// The decision of `View::append` after a doubt, in its order.
    fn resolve(&self, state: &mut State, writer: u8, known: u8, upload: u8) -> Pc {
        let end = state.log.len() as u8;
        let named =
            state.log.iter().any(|step| matches!(step, Step::Append { upload: u, .. } if *u == upload));
        if named && self.off(Rule::RejectionFirst) {
            return self.settling(state, end);
        }
        if self.must_stop(state, writer, end) {
            if !named {
                state.abort(upload);
            }
            return Pc::Stopped;
        }
        if named {
            return self.settling(state, end);
        }
        if end == known {
            if self.off(Rule::DoubtAbortsNothing) {
                state.abort(upload);
                return self.settling(state, end);
            }
            return Pc::Holding { known, upload };
        }
        match self.answer(state, writer, upload) {
            Answer::Append => Pc::Holding { known: end, upload },
            Answer::Fenced | Answer::Rejected => {
                state.abort(upload);
                self.settling(state, end)
            }
            Answer::Swept => self.settling(state, end),
        }
    }

    fn answer(&self, state: &State, writer: u8, upload: u8) -> Answer {
        let Upload { from, to, .. } = state.uploads[usize::from(upload)];
        match fold(&state.log).answer(writer, upload, from, to) {
            Answer::Fenced if self.off(Rule::Fence) => Answer::Append,
            Answer::Rejected if self.off(Rule::Reject) => Answer::Append,
            answer => answer,
        }
    }

    /// Carries out the first task of a settling.
    fn carry_out(&self, state: &mut State, known: u8, mut tasks: Vec<Task>) -> Pc {
        match tasks.remove(0) {
            Task::Show(upload) => match state.uploads[usize::from(upload)].status {
                Status::Open => state.uploads[usize::from(upload)].status = Status::Visible,
                Status::Visible => {}
                Status::Aborted | Status::Deleted => {
                    // The second reading: only what is live now, and can't come any more, is damage.
                    let gone = fold(&state.log).superseded.contains(&upload);
                    state.damage |= !gone && !state.uploads[usize::from(upload)].slow;
                    tasks.retain(|task| !matches!(task, Task::Mark(_)));
                }
            },
            Task::Abort(upload) => state.abort(upload),
            Task::Delete(upload) => {
                state.delete(upload);
            }
            Task::LookAgain(upload) => {
                if state.delete(upload) {
                    tasks.insert(0, Task::LookAgain(upload));
                }
            }
            Task::Mark(n) if state.settled + 1 == n => state.settled = n,
            Task::Mark(_) => {}
        }
        settling(known, tasks)
    }

    fn put(&self, state: &State, writer: u8, known: u8, upload: u8) -> Option<Step> {
        let free = state.log.len() == usize::from(known);
        let Upload { from, to, .. } = state.uploads[usize::from(upload)];
        free.then_some(Step::Append { writer, upload, from, to })
    }

    fn writer_actions(&self, state: &State, w: u8, actions: &mut Vec<Action>) {
        let pc = &state.writers[usize::from(w)];
        let end = state.log.len() as u8;
        if state.left.crashes > 0 && !matches!(pc, Pc::Down | Pc::Stopped) {
            actions.push(Action::Crash(w));
        }
        match pc {
            Pc::Stopped => {}
            Pc::Down => actions.push(Action::Open(w)),
            Pc::Settling { tasks, .. } => match tasks[0] {
                Task::LookAgain(upload) => {
                    // Fifteen minutes are over when nothing can land any more.
                    if !state.uploads[usize::from(upload)].slow {
                        actions.push(Action::Task(w));
                    } else {
                        actions.push(Action::LeaveUnsettled(w));
                    }
                }
                Task::Show(upload) => {
                    actions.push(Action::Task(w));
                    if state.uploads[usize::from(upload)].status == Status::Open {
                        if state.left.lost > 0 {
                            actions.push(Action::TaskLost(w));
                        }
                        if state.left.slow > 0 {
                            actions.push(Action::TaskSlow(w));
                        }
                    }
                }
                Task::Abort(_) | Task::Delete(_) | Task::Mark(_) => actions.push(Action::Task(w)),
            },
            Pc::Ready { known } => {
                if end > *known {
                    actions.push(Action::Refresh(w));
                } else if state.settled < end {
                    actions.push(Action::SettleAgain(w));
                }
                let from = fold(&state.log[..usize::from(*known)]).position;
                if state.uploads.len() < self.uploads && !self.must_stop(state, w, *known) {
                    actions.extend((from + 1..=self.offsets).map(|to| Action::BeginUpload(w, to)));
                }
            }
            Pc::Holding { known, .. } => {
                if usize::from(*known) < self.entries {
                    actions.push(Action::Put(w));
                    if end == *known {
                        actions.push(Action::PutReplyLost(w));
                        if state.left.lost > 0 {
                            actions.push(Action::PutLost(w));
                        }
                        if state.left.late > 0 {
                            actions.push(Action::PutLate(w));
                        }
                    }
                }
            }
            Pc::InDoubt { .. } => actions.push(Action::ReadInDoubt(w)),
        }
    }

    /// What a writer does; `None` when its state does not fit.
    fn writer_step(&self, state: &mut State, w: u8, action: Action) -> Option<Pc> {
        let end = state.log.len() as u8;
        let pc = state.writers[usize::from(w)].clone();
        Some(match (action, pc) {
            (Action::Crash(_), _) => {
                state.left.crashes -= 1;
                Pc::Down
            }
            (Action::Open(_), _) | (Action::Refresh(_), _) => self.read(state, w, end),
            (Action::SettleAgain(_), Pc::Ready { known }) => self.settling(state, known),
            (Action::Task(_), Pc::Settling { known, tasks }) => self.carry_out(state, known, tasks),
            (Action::TaskLost(_), Pc::Settling { known, tasks }) => {
                state.left.lost -= 1;
                settling(known, without_marks(&tasks[1..]))
            }
            (Action::TaskSlow(_), Pc::Settling { known, tasks }) => {
                let Task::Show(upload) = tasks[0] else { return None };
                state.left.slow -= 1;
                state.uploads[usize::from(upload)].slow = true;
                settling(known, without_marks(&tasks[1..]))
            }
            (Action::LeaveUnsettled(_), Pc::Settling { known, tasks }) => {
                settling(known, without_marks(&tasks[1..]))
            }
            (Action::BeginUpload(_, to), Pc::Ready { known }) => {
                let from = fold(&state.log[..usize::from(known)]).position;
                state.uploads.push(Upload { status: Status::Open, from, to, slow: false });
                Pc::Holding { known, upload: state.uploads.len() as u8 - 1 }
            }
            (Action::Put(_), Pc::Holding { known, upload }) => match self.put(state, w, known, upload) {
                Some(step) => {
                    state.log.push(step);
                    settling(known + 1, vec![Task::Show(upload), Task::Mark(known + 1)])
                }
                None => Pc::InDoubt { known, upload },
            },
            (Action::PutReplyLost(_), Pc::Holding { known, upload }) => {
                state.log.push(self.put(state, w, known, upload)?);
                Pc::InDoubt { known, upload }
            }
            (Action::PutLost(_), Pc::Holding { known, upload }) => {
                state.left.lost -= 1;
                Pc::InDoubt { known, upload }
            }
            (Action::PutLate(_), Pc::Holding { known, upload }) => {
                state.left.late -= 1;
                state.late.push((known, self.put(state, w, known, upload)?));
                Pc::InDoubt { known, upload }
            }
            (Action::ReadInDoubt(_), Pc::InDoubt { known, upload }) => self.resolve(state, w, known, upload),
            (_, _) => return None,
        })
    }

    fn others_step(&self, state: &mut State, action: Action) {
        match action {
            Action::LatePutLands(at) => {
                let (slot, step) = state.late.remove(at);
                if state.log.len() == usize::from(slot) {
                    state.log.push(step);
                }
            }
            Action::SlowLands(upload) => {
                let upload = &mut state.uploads[usize::from(upload)];
                (upload.slow, upload.status) = (false, Status::Visible);
            }
            Action::SlowDies(upload) => state.uploads[usize::from(upload)].slow = false,
            Action::Reject => {
                state.left.rejects = false;
                state.log.push(Step::Reject);
            }
            Action::Rewind(target) => {
                let folded = fold(&state.log);
                let Some(Step::Rewind { target, superseded, mut position }) = folded.rewind(target) else {
                    return;
                };
                if self.off(Rule::PositionsFromLive) {
                    position = folded.position_before(target).min(folded.position);
                }
                state.left.rewinds -= 1;
                state.log.push(Step::Rewind { target, superseded, position });
            }
            Action::Sweep => {
                let open: Vec<u8> = (0u8..)
                    .zip(&state.uploads)
                    .filter(|(_, upload)| upload.status == Status::Open)
                    .map(|(at, _)| at)
                    .collect();
                let uploads = fold(&state.log).abandoned(&open);
                state.left.sweeps -= 1;
                if self.off(Rule::SweepNames) {
                    uploads.into_iter().for_each(|upload| state.abort(upload));
                } else if !uploads.is_empty() {
                    state.log.push(Step::Sweep { uploads });
                }
            }
            _ => unreachable!("the writers' actions are in `writer_step`"),
        }
    }
}

impl State {
    fn abort(&mut self, upload: u8) {
        let status = &mut self.uploads[usize::from(upload)].status;
        if *status == Status::Open {
            *status = Status::Aborted;
        }
    }

    /// Whether there was something to delete.
    fn delete(&mut self, upload: u8) -> bool {
        let status = &mut self.uploads[usize::from(upload)].status;
        let was_there = *status == Status::Visible;
        if was_there {
            *status = Status::Deleted;
        }
        was_there
    }

    fn visible(&self) -> impl Iterator<Item = u8> {
        let numbered = (0u8..).zip(&self.uploads);
        numbered.filter(|(_, upload)| upload.status == Status::Visible).map(|(at, _)| at)
    }

    /// How often each offset is in `uploads`.
    fn coverage(&self, uploads: impl Iterator<Item = u8>) -> Vec<u8> {
        let mut covered = vec![0; 8];
        for upload in uploads {
            let Upload { from, to, .. } = self.uploads[usize::from(upload)];
            (from..to).for_each(|offset| covered[offset as usize] += 1);
        }
        covered
    }

    /// Whether every offset below the position is in `uploads` once, and none above.
    fn is_exactly_once(&self, uploads: impl Iterator<Item = u8>) -> bool {
        let position = fold(&self.log).position;
        (0i8..).zip(self.coverage(uploads)).all(|(offset, times)| times == u8::from(offset < position))
    }
}

fn settling(known: u8, tasks: Vec<Task>) -> Pc {
    if tasks.is_empty() { Pc::Ready { known } } else { Pc::Settling { known, tasks } }
}

/// A settling that did not get everything done marks nothing more.
fn without_marks(tasks: &[Task]) -> Vec<Task> {
    tasks.iter().copied().filter(|task| !matches!(task, Task::Mark(_) | Task::LookAgain(_))).collect()
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let World { crashes, lost, late, slow, rejects, rewinds, sweeps, .. } = *self;
        vec![State {
            log: Vec::new(),
            uploads: Vec::new(),
            writers: [Pc::Ready { known: 0 }, Pc::Ready { known: 0 }],
            late: Vec::new(),
            settled: 0,
            damage: false,
            left: Left { crashes, lost, late, slow, rejects, rewinds, sweeps },
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for writer in [0, BAD] {
            self.writer_actions(state, writer, actions);
        }
        actions.extend((0..state.late.len()).map(Action::LatePutLands));
        for (at, _) in (0u8..).zip(&state.uploads).filter(|(_, upload)| upload.slow) {
            actions.extend([Action::SlowLands(at), Action::SlowDies(at)]);
        }
        if state.log.len() >= self.entries {
            return;
        }
        if state.left.rejects && state.log.iter().any(|step| matches!(step, Step::Append { .. })) {
            actions.push(Action::Reject);
        }
        if state.left.rewinds > 0 && !state.left.rejects {
            let worth = |target: &u8| matches!(state.log[usize::from(*target) - 1], Step::Append { .. });
            actions.extend((1..=state.log.len() as u8).filter(worth).map(Action::Rewind));
        }
        if state.left.sweeps > 0 && !state.uploads.is_empty() {
            actions.push(Action::Sweep);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Crash(w)
            | Action::Open(w)
            | Action::Refresh(w)
            | Action::SettleAgain(w)
            | Action::Task(w)
            | Action::TaskLost(w)
            | Action::TaskSlow(w)
            | Action::LeaveUnsettled(w)
            | Action::BeginUpload(w, _)
            | Action::Put(w)
            | Action::PutReplyLost(w)
            | Action::PutLost(w)
            | Action::PutLate(w)
            | Action::ReadInDoubt(w) => {
                state.writers[usize::from(w)] = self.writer_step(&mut state, w, action)?;
            }
            Action::LatePutLands(_)
            | Action::SlowLands(_)
            | Action::SlowDies(_)
            | Action::Reject
            | Action::Rewind(_)
            | Action::Sweep => self.others_step(&mut state, action),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<World>> {
        vec![
            Property::always("the log follows", |_: &World, state: &State| fold(&state.log).broken.is_none()),
            Property::always(
                "what is live covers every offset below the position once",
                |_: &World, state: &State| {
                    fold(&state.log).broken.is_some()
                        || state.is_exactly_once(fold(&state.log).live.iter().copied())
                },
            ),
            Property::always("what is settled is exactly what readers see", |_: &World, state: &State| {
                let at_rest = usize::from(state.settled) == state.log.len();
                !at_rest
                    || state.is_exactly_once(state.visible())
                        && state.visible().all(|upload| fold(&state.log).live.contains(&upload))
            }),
            Property::always("readers see nothing that no entry names", |_: &World, state: &State| {
                let folded = fold(&state.log);
                state
                    .visible()
                    .all(|upload| folded.live.contains(&upload) || folded.superseded.contains(&upload))
            }),
            Property::always("nothing that is committed is lost", |_: &World, state: &State| !state.damage),
            Property::always("a rejected writer writes nothing more", |_: &World, state: &State| {
                let rejection = state.log.iter().position(|step| *step == Step::Reject);
                let after = rejection.map_or(&[][..], |at| &state.log[at..]);
                !after.iter().any(|step| matches!(step, Step::Append { writer: BAD, .. }))
            }),
            Property::always("a rejected writer that knows it stops", |world: &World, state: &State| {
                match &state.writers[usize::from(BAD)] {
                    Pc::Ready { known } | Pc::Settling { known, .. } | Pc::Holding { known, .. } => {
                        !world.knows_rejected(state, BAD, *known)
                    }
                    Pc::Down | Pc::Stopped | Pc::InDoubt { .. } => true,
                }
            }),
            Property::sometimes(
                "everything is committed, settled and was disturbed",
                |world: &World, state: &State| {
                    usize::from(state.settled) == state.log.len()
                        && fold(&state.log).position == world.offsets
                        && (state.left.rewinds, state.left.sweeps) == (0, 0)
                        && (state.left.crashes, state.left.lost) == (0, 0)
                        && (state.left.late, state.left.slow) == (0, 0)
                },
            ),
        ]
    }
}
