//! Fence: who may not write to the ledger, read from it and written into it.
//!
//! Order: the newest entry alone tells who is rejected; rejecting twice is rejecting once.
//! Neighbours: aws beside it, the `ledger` crate below.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat};
use ledger::append::AppendError;
use ledger::entry::{EntryId, Writer};
use ledger::head::{LedgerError, View, read_newest};
use ledger::rewind::Signature;
use ledger::store::Store;
use uuid::Uuid;

use crate::apply::ports::Fence;
use crate::observe::ports::{CallError, CallFault, Rejections};
use crate::release::Moment;

/// The ledger under one output prefix.
#[derive(Clone)]
pub struct LedgerFence {
    store: Arc<dyn Store>,
    sign: Arc<dyn Fn() -> Signature + Send + Sync>,
}

/// How the deployer signs an entry.
pub fn signature(now: Moment, id: Uuid) -> Signature {
    let writer = Writer {
        release: "deployer".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Writer::default()
    };
    let committed_at = DateTime::from_timestamp_millis(now.0).unwrap_or_default();
    let committed_at = committed_at.to_rfc3339_opts(SecondsFormat::Millis, true);
    Signature { entry_id: EntryId(id), writer, committed_at }
}

impl LedgerFence {
    /// `sign` makes a fresh [`signature`] for every entry.
    pub fn new(store: Arc<dyn Store>, sign: impl Fn() -> Signature + Send + Sync + 'static) -> LedgerFence {
        LedgerFence { store, sign: Arc::new(sign) }
    }

    async fn view(&self, what: &str) -> Result<View, CallError> {
        View::open(self.store.clone()).await.map_err(|error| of_ledger(what.to_owned(), error))
    }
}

impl fmt::Debug for LedgerFence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerFence").field("store", &self.store).finish_non_exhaustive()
    }
}

#[async_trait]
impl Rejections for LedgerFence {
    /// A ledger that is not there yet rejects nobody.
    async fn rejected(&self) -> Result<BTreeSet<String>, CallError> {
        let newest = read_newest(self.store.as_ref()).await;
        let newest = newest.map_err(|error| of_ledger("read who is rejected".to_owned(), error))?;
        Ok(newest.map(|entry| entry.rejected).unwrap_or_default())
    }
}

#[async_trait]
impl Fence for LedgerFence {
    async fn reject(&self, what: &str, reason: &str) -> Result<(), CallError> {
        let doing = format!("reject `{what}`");
        let mut view = self.view(&doing).await?;
        let done = view.reject(what, &(self.sign)(), reason).await;
        done.map(drop).map_err(|error| of_append(doing, error))
    }

    async fn release(&self, what: &str, reason: &str) -> Result<(), CallError> {
        let doing = format!("release `{what}`");
        let mut view = self.view(&doing).await?;
        let done = view.release(what, &(self.sign)(), reason).await;
        done.map(drop).map_err(|error| of_append(doing, error))
    }
}

fn of_ledger(what: String, error: LedgerError) -> CallError {
    let fault = match &error {
        LedgerError::Store(error) => error.fault.into(),
        // The log is damaged, or of a newer format: a person must look.
        LedgerError::Entry(_) | LedgerError::Hole(_) | LedgerError::Stranger(_) => CallFault::Refused,
    };
    CallError { what, fault, source: Box::new(error) }
}

fn of_append(what: String, error: AppendError) -> CallError {
    let fault = match error {
        AppendError::Ledger(error) => return of_ledger(what, error),
        AppendError::InDoubt { .. } => CallFault::Unknown,
        AppendError::Crowded => CallFault::Throttled,
        AppendError::Rejected { .. }
        | AppendError::Swept { .. }
        | AppendError::Fenced { .. }
        | AppendError::BadDraft(_) => CallFault::Refused,
    };
    CallError { what, fault, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ledger::store::faulty::{Faulty, Fired, Verdict};
    use ledger::store::memory::MemoryStore;
    use ledger::store::{Fault, Operation};

    use super::*;

    fn fence(store: Arc<dyn Store>) -> LedgerFence {
        LedgerFence::new(store, || signature(Moment(1_700_000_000_123), Uuid::new_v4()))
    }

    #[tokio::test]
    async fn a_ledger_that_is_not_there_rejects_nobody_and_can_be_told_to() {
        let fence = fence(Arc::new(MemoryStore::new()));
        assert!(fence.rejected().await.unwrap().is_empty());
        fence.reject("sha256:aa", "it crashed").await.unwrap();
        fence.reject("sha256:aa", "it crashed").await.unwrap();
        fence.reject("0123456789abcdef", "so did this").await.unwrap();
        let both = BTreeSet::from(["0123456789abcdef".to_owned(), "sha256:aa".to_owned()]);
        assert_eq!(fence.rejected().await.unwrap(), both);
        fence.release("sha256:aa", "it was the producer").await.unwrap();
        fence.release("sha256:aa", "it was the producer").await.unwrap();
        assert_eq!(fence.rejected().await.unwrap(), BTreeSet::from(["0123456789abcdef".to_owned()]));
        let newest = read_newest(fence.store.as_ref()).await.unwrap().unwrap();
        assert_eq!((newest.sequence.0, newest.writer.release.as_str()), (3, "deployer"));
        assert_eq!(newest.committed_at, "2023-11-14T22:13:20.123Z");
    }

    #[tokio::test]
    async fn a_rejection_whose_reply_was_lost_is_there_once() {
        let store = Faulty::new(Arc::new(MemoryStore::new()));
        store.next(Operation::Put, "", 1, Verdict::LoseReply);
        let fence = fence(Arc::new(store.clone()));
        fence.reject("sha256:aa", "it crashed").await.unwrap();
        assert_eq!(store.fired(Fired::LostReply), 1);
        assert_eq!(read_newest(&store).await.unwrap().unwrap().sequence.0, 1);
    }

    #[tokio::test]
    async fn an_unreadable_ledger_is_unknown_and_a_damaged_one_refused() {
        let memory = MemoryStore::new();
        let store = Faulty::new(Arc::new(memory.clone()));
        store.next(Operation::List, "", 1, Verdict::Fail(Fault::Unknown));
        let fence = fence(Arc::new(store.clone()));
        assert_eq!(fence.rejected().await.unwrap_err().fault, CallFault::Unknown);
        store.next(Operation::List, "", 1, Verdict::Fail(Fault::Denied));
        assert_eq!(fence.rejected().await.unwrap_err().fault, CallFault::Denied);
        memory.overwrite("_landfall/ledger/notes.txt", Bytes::new());
        assert_eq!(fence.rejected().await.unwrap_err().fault, CallFault::Refused);
    }
}
