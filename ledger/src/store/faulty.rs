//! Faulty: a store around a store that fails where a script says, for tests.
//!
//! Order: the script decides when a call arrives; the call's effect is before, after or without its reply.
//! Neighbours: store. Never a clock, never chance: a script with a seed is the caller's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Notify, oneshot};

use super::{
    CompleteOutcome, CopyOutcome, Fault, ObjectMeta, ObjectTag, Operation, PartTag, PutOutcome,
    ReplaceOutcome, Store, StoreError, UploadId, UploadMeta,
};

/// A call as the script sees it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub operation: Operation,
    /// The key; of a copy the source; of a listing the prefix.
    pub key: &'a str,
    /// Which call of this operation on this key it is, from 1.
    pub nth: u64,
    /// Which call of this operation it is, on any key, from 1.
    pub nth_of_operation: u64,
}

/// What is to become of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Pass,
    /// Nothing happens and nobody knows: `Fault::Unknown`.
    LoseRequest,
    /// It happens and nobody knows: `Fault::Unknown`.
    LoseReply,
    /// Nobody knows, and it happens only at [`Faulty::deliver_late`].
    Late,
    /// Nothing happens; the store answers with this fault.
    Fail(Fault),
    /// Waits for [`Faulty::release`], then happens.
    PauseBefore,
    /// Happens, then waits for [`Faulty::release`] before it answers.
    PauseAfter,
}

/// A verdict without its detail, to count by.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fired {
    LostRequest,
    LostReply,
    Late,
    Failed,
    Paused,
}

type Script = Box<dyn FnMut(&Call<'_>) -> Verdict + Send>;

/// A store that fails by script. Clones share script, counts and what waits.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    paused_one: Notify,
}

struct State {
    script: Script,
    calls: BTreeMap<(Operation, String), u64>,
    calls_of: BTreeMap<Operation, u64>,
    fired: BTreeMap<Fired, u64>,
    late: Vec<(Operation, String, BoxFuture<'static, ()>)>,
    paused: Vec<(Operation, String, oneshot::Sender<()>)>,
}

#[derive(Debug, thiserror::Error)]
#[error("injected: {0:?}")]
struct Injected(Verdict);

impl Faulty {
    /// Passes everything until a script is set.
    pub fn new(inner: Arc<dyn Store>) -> Faulty {
        Faulty::with_script(inner, |_| Verdict::Pass)
    }

    /// Asks `script` at every call.
    pub fn with_script(
        inner: Arc<dyn Store>,
        script: impl FnMut(&Call<'_>) -> Verdict + Send + 'static,
    ) -> Faulty {
        let state = State {
            script: Box::new(script),
            calls: BTreeMap::new(),
            calls_of: BTreeMap::new(),
            fired: BTreeMap::new(),
            late: Vec::new(),
            paused: Vec::new(),
        };
        Faulty { inner, shared: Arc::new(Shared { state: Mutex::new(state), paused_one: Notify::new() }) }
    }

    /// Replaces the script; counts of calls go on.
    pub fn set_script(&self, script: impl FnMut(&Call<'_>) -> Verdict + Send + 'static) {
        self.lock().script = Box::new(script);
    }

    /// The next `times` calls of `operation` whose key starts with `prefix` get `verdict`, all others pass.
    pub fn next(&self, operation: Operation, prefix: &str, times: u64, verdict: Verdict) {
        let (prefix, mut left) = (prefix.to_owned(), times);
        self.set_script(move |call| {
            if left > 0 && call.operation == operation && call.key.starts_with(&prefix) {
                left -= 1;
                verdict
            } else {
                Verdict::Pass
            }
        });
    }

    /// How many faults of a kind really fired: a test that provokes one asserts on it.
    pub fn fired(&self, kind: Fired) -> u64 {
        self.lock().fired.get(&kind).copied().unwrap_or(0)
    }

    /// How many calls of an operation arrived, with any verdict.
    pub fn calls_of(&self, operation: Operation) -> u64 {
        self.lock().calls_of.get(&operation).copied().unwrap_or(0)
    }

    /// Late calls that have not happened yet, in the order they were made.
    pub fn late(&self) -> Vec<(Operation, String)> {
        self.lock().late.iter().map(|(operation, key, _)| (*operation, key.clone())).collect()
    }

    /// Carries out all late calls in the order they were made, and says how many; their answers are lost.
    pub async fn deliver_late(&self) -> usize {
        let late = std::mem::take(&mut self.lock().late);
        let count = late.len();
        for (_, _, call) in late {
            call.await;
        }
        count
    }

    /// Carries out one late call by its place in [`Faulty::late`]; whether there was one.
    pub async fn deliver_late_at(&self, index: usize) -> bool {
        let call = {
            let mut state = self.lock();
            if index >= state.late.len() {
                return false;
            }
            state.late.remove(index).2
        };
        call.await;
        true
    }

    /// Calls that wait, in the order they came; a call whose caller gave up is not among them.
    pub fn paused(&self) -> Vec<(Operation, String)> {
        let mut state = self.lock();
        state.paused.retain(|(_, _, gate)| !gate.is_closed());
        state.paused.iter().map(|(operation, key, _)| (*operation, key.clone())).collect()
    }

    /// Waits until `count` calls are paused.
    pub async fn until_paused(&self, count: usize) {
        loop {
            let notified = self.shared.paused_one.notified();
            if self.paused().len() >= count {
                return;
            }
            notified.await;
        }
    }

    /// Lets all paused calls go on; says how many.
    pub fn release(&self) -> usize {
        let paused = std::mem::take(&mut self.lock().paused);
        paused.into_iter().filter_map(|(_, _, gate)| gate.send(()).ok()).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A script that panicked has failed its test already; the state is whole.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, operation: Operation, key: &str) -> Verdict {
        let mut state = self.lock();
        let nth = *state.calls.entry((operation, key.to_owned())).and_modify(|n| *n += 1).or_insert(1);
        let nth_of_operation = *state.calls_of.entry(operation).and_modify(|n| *n += 1).or_insert(1);
        let verdict = (state.script)(&Call { operation, key, nth, nth_of_operation });
        let fired = match verdict {
            Verdict::Pass => return verdict,
            Verdict::LoseRequest => Fired::LostRequest,
            Verdict::LoseReply => Fired::LostReply,
            Verdict::Late => Fired::Late,
            Verdict::Fail(_) => Fired::Failed,
            Verdict::PauseBefore | Verdict::PauseAfter => Fired::Paused,
        };
        *state.fired.entry(fired).or_insert(0) += 1;
        verdict
    }

    async fn pause(&self, operation: Operation, key: &str) {
        let (gate, opened) = oneshot::channel();
        self.lock().paused.push((operation, key.to_owned(), gate));
        self.shared.paused_one.notify_waiters();
        // An error means that this store is being dropped with its gates: nothing waits any more.
        let _ = opened.await;
    }

    /// `call` is polled only when the call is to happen.
    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &str,
        call: BoxFuture<'static, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let verdict = self.decide(operation, key);
        let fault = match verdict {
            Verdict::Pass => return call.await,
            Verdict::PauseBefore => {
                self.pause(operation, key).await;
                return call.await;
            }
            Verdict::PauseAfter => {
                let reply = call.await;
                self.pause(operation, key).await;
                return reply;
            }
            Verdict::LoseRequest => Fault::Unknown,
            Verdict::LoseReply => {
                // The reply is what is lost, an error as well as a success.
                let _ = call.await;
                Fault::Unknown
            }
            Verdict::Late => {
                let unheard = Box::pin(async move {
                    let _ = call.await;
                });
                self.lock().late.push((operation, key.to_owned(), unheard));
                Fault::Unknown
            }
            Verdict::Fail(fault) => fault,
        };
        Err(StoreError {
            operation,
            key: key.to_owned(),
            url: self.inner.url(),
            fault,
            source: Box::new(Injected(verdict)),
        })
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty")
            .field("inner", &self.inner)
            .field("late", &self.late())
            .field("paused", &self.paused())
            .finish()
    }
}

/// Runs a call of the inner store with owned arguments, so that it can outlive its caller.
macro_rules! through {
    ($self:ident, $operation:expr, $key:ident, |$inner:ident| $call:expr) => {{
        let $inner = $self.inner.clone();
        let owned = $key.to_owned();
        $self
            .run($operation, $key, {
                let $key = owned;
                Box::pin(async move { $call.await })
            })
            .await
    }};
}

#[async_trait]
impl Store for Faulty {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<PutOutcome, StoreError> {
        through!(self, Operation::Put, key, |inner| inner.put_if_absent(&key, body))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        through!(self, Operation::Get, key, |inner| inner.get(&key))
    }

    async fn get_tagged(&self, key: &str) -> Result<Option<(Bytes, ObjectTag)>, StoreError> {
        through!(self, Operation::Get, key, |inner| inner.get_tagged(&key))
    }

    async fn put_if_match(
        &self,
        key: &str,
        body: Bytes,
        tag: &ObjectTag,
    ) -> Result<ReplaceOutcome, StoreError> {
        let tag = tag.clone();
        through!(self, Operation::Replace, key, |inner| inner.put_if_match(&key, body, &tag))
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        through!(self, Operation::Get, key, |inner| inner.get_range(&key, start, end))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        through!(self, Operation::Head, key, |inner| inner.head(&key))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>, StoreError> {
        let after = after.map(str::to_owned);
        through!(self, Operation::List, prefix, |inner| inner.list(&prefix, after.as_deref(), limit))
    }

    async fn copy(&self, from: &str, to: &str) -> Result<CopyOutcome, StoreError> {
        let to = to.to_owned();
        through!(self, Operation::Copy, from, |inner| inner.copy(&from, &to))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        through!(self, Operation::Delete, key, |inner| inner.delete(&key))
    }

    async fn begin_upload(&self, key: &str) -> Result<UploadId, StoreError> {
        through!(self, Operation::BeginUpload, key, |inner| inner.begin_upload(&key))
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: usize,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        let upload = upload.clone();
        through!(self, Operation::UploadPart, key, |inner| inner.upload_part(&key, &upload, number, body))
    }

    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<CompleteOutcome, StoreError> {
        let (upload, parts) = (upload.clone(), parts.to_vec());
        through!(self, Operation::CompleteUpload, key, |inner| inner.complete_upload(&key, &upload, &parts))
    }

    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError> {
        let upload = upload.clone();
        through!(self, Operation::AbortUpload, key, |inner| inner.abort_upload(&key, &upload))
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UploadMeta>, StoreError> {
        through!(self, Operation::ListUploads, prefix, |inner| inner.list_uploads(&prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;

    fn around_memory() -> (MemoryStore, Faulty) {
        let memory = MemoryStore::new();
        (memory.clone(), Faulty::new(Arc::new(memory)))
    }

    #[tokio::test]
    async fn a_lost_request_leaves_nothing_and_a_lost_reply_leaves_the_object() {
        let (memory, faulty) = around_memory();
        faulty.next(Operation::Put, "a", 1, Verdict::LoseRequest);
        assert!(faulty.put_if_absent("a", Bytes::new()).await.unwrap_err().is_unknown());
        assert_eq!(memory.keys(), [""; 0]);
        faulty.next(Operation::Put, "a", 1, Verdict::LoseReply);
        assert!(faulty.put_if_absent("a", Bytes::new()).await.unwrap_err().is_unknown());
        assert_eq!(memory.keys(), ["a"]);
        assert_eq!(faulty.put_if_absent("a", Bytes::new()).await.unwrap(), PutOutcome::Exists);
        assert_eq!((faulty.fired(Fired::LostRequest), faulty.fired(Fired::LostReply)), (1, 1));
        assert_eq!(faulty.calls_of(Operation::Put), 3);
    }

    #[tokio::test]
    async fn a_lost_replacement_is_told_from_a_lost_reply_by_reading() {
        let (memory, faulty) = around_memory();
        memory.put_if_absent("a", Bytes::from_static(b"1")).await.unwrap();
        let (_, tag) = faulty.get_tagged("a").await.unwrap().unwrap();
        let replace = || faulty.put_if_match("a", Bytes::from_static(b"2"), &tag);
        faulty.next(Operation::Replace, "a", 1, Verdict::LoseRequest);
        assert!(replace().await.unwrap_err().is_unknown());
        assert_eq!(faulty.get_tagged("a").await.unwrap().unwrap(), (Bytes::from_static(b"1"), tag.clone()));
        faulty.next(Operation::Replace, "a", 1, Verdict::LoseReply);
        assert!(replace().await.unwrap_err().is_unknown());
        assert_eq!(faulty.get_tagged("a").await.unwrap().unwrap().0, Bytes::from_static(b"2"));
        // Asked again without reading, it finds its own.
        assert_eq!(replace().await.unwrap(), ReplaceOutcome::Changed);
        assert_eq!((faulty.fired(Fired::LostRequest), faulty.fired(Fired::LostReply)), (1, 1));
        assert_eq!((faulty.calls_of(Operation::Replace), faulty.calls_of(Operation::Put)), (3, 0));
        faulty.next(Operation::Get, "a", 1, Verdict::LoseReply);
        assert!(faulty.get_tagged("a").await.unwrap_err().is_unknown());
    }

    #[tokio::test]
    async fn a_late_replacement_finds_another_object_and_changes_nothing() {
        let (memory, faulty) = around_memory();
        memory.put_if_absent("a", Bytes::from_static(b"1")).await.unwrap();
        let (_, tag) = faulty.get_tagged("a").await.unwrap().unwrap();
        faulty.next(Operation::Replace, "a", 1, Verdict::Late);
        assert!(faulty.put_if_match("a", Bytes::from_static(b"late"), &tag).await.unwrap_err().is_unknown());
        let second = faulty.put_if_match("a", Bytes::from_static(b"2"), &tag).await.unwrap();
        assert_eq!(second, ReplaceOutcome::Replaced);
        assert_eq!(faulty.deliver_late().await, 1);
        assert_eq!(memory.get("a").await.unwrap().unwrap(), Bytes::from_static(b"2"));
    }

    #[tokio::test]
    async fn a_late_put_happens_when_told_and_not_before() {
        let (memory, faulty) = around_memory();
        faulty.next(Operation::Put, "a", 1, Verdict::Late);
        assert!(faulty.put_if_absent("a", Bytes::new()).await.unwrap_err().is_unknown());
        assert_eq!(memory.keys(), [""; 0]);
        assert_eq!(faulty.late(), [(Operation::Put, "a".to_owned())]);
        assert_eq!(faulty.deliver_late().await, 1);
        assert_eq!(memory.keys(), ["a"]);
        assert!(!faulty.deliver_late_at(0).await);
    }

    #[tokio::test]
    async fn a_paused_call_waits_until_it_is_released() {
        let (memory, faulty) = around_memory();
        faulty.next(Operation::Put, "a", 1, Verdict::PauseBefore);
        let racer = faulty.clone();
        let call = tokio::spawn(async move { racer.put_if_absent("a", Bytes::from_static(b"late")).await });
        faulty.until_paused(1).await;
        memory.put_if_absent("a", Bytes::from_static(b"first")).await.unwrap();
        assert_eq!(faulty.release(), 1);
        assert_eq!(call.await.unwrap().unwrap(), PutOutcome::Exists);
    }

    #[tokio::test]
    async fn a_script_sees_how_often_a_key_was_asked_for() {
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let faulty = Faulty::with_script(memory, |call| match (call.operation, call.nth) {
            (Operation::Head, 2) => Verdict::Fail(Fault::Denied),
            _ => Verdict::Pass,
        });
        assert_eq!(faulty.head("a").await.unwrap(), None);
        assert_eq!(faulty.head("b").await.unwrap(), None);
        assert_eq!(faulty.head("a").await.unwrap_err().fault, Fault::Denied);
        assert_eq!(faulty.fired(Fired::Failed), 1);
    }
}
