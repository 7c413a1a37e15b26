//! Outbox: what the polling thread has to tell, bounded by batches and bytes.
//!
//! The polling thread never waits here: it asks for room before it takes records out of the client. Events without
//! records always fit, so that a revocation is never held up by its own size.
//! Order: first in, first out.
//! Neighbours: poll fills it, source empties it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::Event;
use super::wake::Wake;

/// Batches that may wait. Each holds fetch buffers of the client, however small the batch is.
const BATCHES_MAX: usize = 16;
/// Events of any kind; ends of partitions arrive in numbers too.
const EVENTS_MAX: usize = 4096;

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    batches: usize,
    bytes: u64,
    /// `Failed` was put in: nothing follows it.
    sealed: bool,
}

pub(super) struct Outbox {
    state: Mutex<State>,
    bytes_max: u64,
    filled: Notify,
    /// Revocations and losses that wait to be told.
    taken_back: watch::Sender<usize>,
    /// Wakes the polling thread when there is room again.
    wake: Wake,
}

impl Outbox {
    pub(super) fn new(bytes_max: u64, wake: Wake) -> Outbox {
        Outbox {
            state: Mutex::default(),
            bytes_max,
            filled: Notify::new(),
            taken_back: watch::Sender::default(),
            wake,
        }
    }

    /// Bytes of records that still fit; 0 = take none now.
    pub(super) fn room(&self) -> u64 {
        let state = self.lock();
        if state.sealed || state.batches >= BATCHES_MAX || state.events.len() >= EVENTS_MAX {
            return 0;
        }
        self.bytes_max.saturating_sub(state.bytes)
    }

    /// Never waits; what comes after `Failed` is dropped.
    pub(super) fn push(&self, event: Event) {
        let mut state = self.lock();
        if state.sealed {
            return;
        }
        match &event {
            Event::Records(batch) => {
                state.batches += 1;
                state.bytes += batch.bytes;
            }
            Event::Failed(_) => state.sealed = true,
            Event::Revoked(_) | Event::Lost(_) => self.taken_back.send_modify(|waiting| *waiting += 1),
            Event::Assigned(_)
            | Event::AtEnd { .. }
            | Event::OutOfRange { .. }
            | Event::Truncated { .. }
            | Event::Unreachable { .. } => {}
        }
        state.events.push_back(event);
        drop(state);
        self.filled.notify_one();
    }

    /// The oldest event; waits for one. Cancel-safe: an event is taken and returned in one step.
    pub(super) async fn next(&self) -> Event {
        loop {
            // `notify_one` leaves a permit when nobody waits, so that no event is missed between the two lines.
            if let Some(event) = self.pop() {
                return event;
            }
            self.filled.notified().await;
        }
    }

    /// Resolves while a revocation or a loss waits to be told.
    pub(super) async fn wanted_back(&self) {
        // The sender lives in self: waiting can't fail.
        let waits = self.taken_back.subscribe().wait_for(|waiting| *waiting > 0).await.is_ok();
        debug_assert!(waits);
    }

    fn pop(&self) -> Option<Event> {
        let mut state = self.lock();
        let was_full =
            state.batches >= BATCHES_MAX || state.bytes >= self.bytes_max || state.events.len() >= EVENTS_MAX;
        let event = state.events.pop_front()?;
        if let Event::Records(batch) = &event {
            state.batches -= 1;
            state.bytes -= batch.bytes;
        }
        if let Event::Revoked(_) | Event::Lost(_) = &event {
            self.taken_back.send_modify(|waiting| *waiting -= 1);
        }
        drop(state);
        if was_full {
            self.wake.wake();
        }
        Some(event)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves whole events behind: nothing here is half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
