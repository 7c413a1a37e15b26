//! Store: the journal's object, read and replaced as a whole.
//!
//! Order: the first write is put-if-absent, every later one compare-and-set. Each body carries an id of its write, so
//! that no two bodies are the same and one's own is known again: after a lost reply the object is read, and only then
//! it is said what became of the write.
//! Neighbours: the ledger's stores below it; observe's port is what it keeps.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ledger::store::{ObjectTag, PutOutcome, ReplaceOutcome, Store, StoreError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FORMAT, Journal, KEY, OUTBOX_MAX, PUSHES_MAX, RECORDS_MAX};
use crate::observe::ports::{CallError, CallFault, JournalStore, JournalTag, Written};

/// A journal at its bounds is a tenth of this.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "its format is {found}, this build reads {FORMAT}: a newer deployer wrote it; deploy that build of the function \
         again, or restore an older version of the object"
    )]
    UnknownFormat { found: u64 },
    #[error(
        "it is no journal; restore an older version of the object, or delete it: what runs is then adopted"
    )]
    Malformed(#[source] serde_json::Error),
    #[error("it is over its bounds: {0}")]
    Unbounded(String),
    #[error("nobody knows whether it was written: the object still is the one before it")]
    InDoubt(#[source] StoreError),
}

/// The journal under one output prefix.
#[derive(Clone, Debug)]
pub struct JournalObject {
    store: Arc<dyn Store>,
    new_id: fn() -> Uuid,
}

/// The object's body.
#[derive(Serialize)]
struct Body<'j> {
    /// Of this write.
    write_id: Uuid,
    #[serde(flatten)]
    journal: &'j Journal,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

impl JournalObject {
    pub fn new(store: Arc<dyn Store>) -> JournalObject {
        JournalObject { store, new_id: Uuid::new_v4 }
    }

    /// What is there now: body and tag.
    async fn stored(&self, what: &str) -> Result<Option<(Bytes, ObjectTag)>, CallError> {
        self.store.get_tagged(KEY).await.map_err(|error| of_store(what, error))
    }

    /// What became of a write that was not plainly told to have happened. `doubt`: the error, where there was one.
    async fn find_out(
        &self,
        body: &Bytes,
        over: Option<&JournalTag>,
        doubt: Option<StoreError>,
    ) -> Result<Written, CallError> {
        match (self.stored("write the journal").await?, doubt) {
            (Some((found, tag)), _) if found == *body => Ok(Written::Written(JournalTag(tag.0))),
            // Still what it was, or still nothing: the request may land yet.
            (found, Some(doubt)) if found.as_ref().map(|(_, tag)| &tag.0) == over.map(|over| &over.0) => {
                Err(CallError {
                    what: "write the journal".to_owned(),
                    fault: CallFault::Unknown,
                    source: Box::new(JournalError::InDoubt(doubt)),
                })
            }
            // Whether ours came before it or not: the journal is another now.
            (_, _) => Ok(Written::Changed),
        }
    }
}

#[async_trait]
impl JournalStore for JournalObject {
    async fn read(&self) -> Result<Option<(Journal, JournalTag)>, CallError> {
        let Some((body, tag)) = self.stored("read the journal").await? else { return Ok(None) };
        let journal = decode(&body).map_err(|error| refused("read the journal", error))?;
        Ok(Some((journal, JournalTag(tag.0))))
    }

    async fn write(&self, journal: &Journal, over: Option<&JournalTag>) -> Result<Written, CallError> {
        let body = encode(journal, (self.new_id)()).map_err(|error| refused("write the journal", error))?;
        let sent = match over {
            Some(tag) if tag.0 == STALE => return Ok(Written::Changed),
            None => self.store.put_if_absent(KEY, body.clone()).await.map(|put| put == PutOutcome::Created),
            Some(tag) => {
                let tag = ObjectTag(tag.0.clone());
                let replaced = self.store.put_if_match(KEY, body.clone(), &tag).await;
                replaced.map(|outcome| outcome == ReplaceOutcome::Replaced)
            }
        };
        match sent {
            // Read for its tag. What stands there may be another's already, or the reply be lost: it was written.
            Ok(true) => match self.stored("read the journal back").await {
                Ok(Some((found, tag))) if found == body => Ok(Written::Written(JournalTag(tag.0))),
                Ok(Some(_) | None) | Err(_) => Ok(Written::Written(JournalTag(STALE.to_owned()))),
            },
            // A client sends again by itself: what stands there may be our own.
            Ok(false) => self.find_out(&body, over, None).await,
            Err(error) if error.is_unknown() => self.find_out(&body, over, Some(error)).await,
            Err(error) => Err(of_store("write the journal", error)),
        }
    }
}

/// A tag that nothing has: whoever writes over it is told to look again, and makes his change on what is there.
const STALE: &str = "landfall-stale";

fn of_store(what: &str, error: StoreError) -> CallError {
    CallError { what: what.to_owned(), fault: error.fault.into(), source: Box::new(error) }
}

fn refused(what: &str, error: JournalError) -> CallError {
    CallError { what: format!("{what} `{KEY}`"), fault: CallFault::Refused, source: Box::new(error) }
}

fn encode(journal: &Journal, write_id: Uuid) -> Result<Bytes, JournalError> {
    let over = |what: &str, found: usize, most: usize| {
        Err(JournalError::Unbounded(format!("{found} {what}, at most {most} are kept")))
    };
    match journal {
        Journal { format, .. } if *format != FORMAT => {
            return Err(JournalError::UnknownFormat { found: u64::from(*format) });
        }
        Journal { releases, .. } if releases.len() > RECORDS_MAX => {
            return over("releases", releases.len(), RECORDS_MAX);
        }
        Journal { pushes, .. } if pushes.len() > PUSHES_MAX => {
            return over("pushes", pushes.len(), PUSHES_MAX);
        }
        Journal { outbox, .. } if outbox.len() > OUTBOX_MAX => {
            return over("notices", outbox.len(), OUTBOX_MAX);
        }
        Journal { .. } => {}
    }
    let body = serde_json::to_vec_pretty(&Body { write_id, journal }).map_err(JournalError::Malformed)?;
    if body.len() > BODY_BYTES_MAX {
        return over("bytes", body.len(), BODY_BYTES_MAX);
    }
    Ok(Bytes::from(body))
}

fn decode(body: &[u8]) -> Result<Journal, JournalError> {
    // The number first: what a newer format holds would else be told as damage.
    let FormatOnly { format } = serde_json::from_slice(body).map_err(JournalError::Malformed)?;
    if format != u64::from(FORMAT) {
        return Err(JournalError::UnknownFormat { found: format });
    }
    serde_json::from_slice(body).map_err(JournalError::Malformed)
}

#[cfg(test)]
mod tests;
