//! Sink: parts of files into multipart uploads, which nobody sees before the ledger names them.
//!
//! Order: an upload is begun when its first part is ready; a part's number is its place in the file. Giving up a
//! batch aborts its uploads, but never those of an append in doubt: the caller decides.
//! Neighbours: batch before it, commit after it. Never: kafka.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ledger::append::DraftFile;
use ledger::entry::FileRef;
use ledger::store::{Fault, PartTag, Store, StoreError, UploadId};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinHandle;

use crate::batch::files::{PartOut, SealedFile};
use crate::clock::Clock;

/// Parts on their way at the same time.
const PARTS_AT_ONCE: usize = 8;
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// An upload older than this is given up: the ledger would refuse to name it soon after.
const GIVE_UP_AFTER: Duration = Duration::from_secs(45 * 60);

/// Why a file did not get into the store.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("upload file")]
    Store(#[from] StoreError),
    #[error("upload file: its task ended")]
    Task(#[from] tokio::task::JoinError),
}

/// What the sink has on its way; shared with its tasks.
#[derive(Debug, Default)]
struct SinkCounters {
    in_flight_bytes: AtomicU64,
    retries: AtomicU64,
}

/// The uploads of everything that is open.
pub struct Sink {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    permits: Arc<Semaphore>,
    counters: Arc<SinkCounters>,
    /// By key.
    uploads: BTreeMap<String, Upload>,
}

struct Upload {
    id: Arc<OnceCell<UploadId>>,
    begun_ms: u64,
    /// Parts that are stored, from the first on.
    tags: Vec<PartTag>,
    /// The parts behind them, on their way.
    parts: VecDeque<JoinHandle<Result<PartTag, StoreError>>>,
    part_bytes: Vec<usize>,
}

impl Sink {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Sink {
        Sink {
            store,
            clock,
            permits: Arc::new(Semaphore::new(PARTS_AT_ONCE)),
            counters: Arc::default(),
            uploads: BTreeMap::new(),
        }
    }

    /// Bytes of parts that are not in the store yet.
    pub fn in_flight_bytes(&self) -> u64 {
        self.counters.in_flight_bytes.load(Ordering::Relaxed)
    }

    /// Requests that failed and were sent again, since the last call.
    pub fn take_retries(&self) -> u64 {
        self.counters.retries.swap(0, Ordering::Relaxed)
    }

    /// Uploads begun and neither sealed nor abandoned.
    pub fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    /// Sends a file's next part on its way.
    pub fn upload(&mut self, part: PartOut) {
        let begun_ms = self.clock.monotonic_ms();
        let upload = self.uploads.entry(part.key.clone()).or_insert_with(|| Upload {
            id: Arc::default(),
            begun_ms,
            tags: Vec::new(),
            parts: VecDeque::new(),
            part_bytes: Vec::new(),
        });
        upload.part_bytes.push(part.bytes.len());
        let work = PartWork {
            store: self.store.clone(),
            clock: self.clock.clone(),
            permits: self.permits.clone(),
            flight: Flight::start(self.counters.clone(), part.bytes.len()),
            id: upload.id.clone(),
            give_up_ms: upload.begun_ms + GIVE_UP_AFTER.as_millis() as u64,
            number: upload.part_bytes.len(),
            part,
        };
        upload.parts.push_back(tokio::spawn(work.run()));
    }

    /// Sends the last parts of sealed files, and waits for all of them. The files are ready to be named.
    ///
    /// Cancel-safe: what was sent stays with the sink, for [`Sink::abandon`].
    pub async fn seal(&mut self, files: Vec<SealedFile>) -> Result<Vec<DraftFile>, SinkError> {
        let mut names = Vec::with_capacity(files.len());
        for SealedFile { key, role, parts, rows, bytes } in files {
            for bytes in parts {
                self.upload(PartOut { key: key.clone(), bytes });
            }
            names.push((key, role, rows, bytes));
        }
        let mut drafts = Vec::with_capacity(names.len());
        for (key, role, rows, bytes) in names {
            let upload = self.uploads.get_mut(&key).expect("a sealed file has at least its footer to upload");
            while let Some(part) = upload.parts.front_mut() {
                let stored = part.await;
                upload.parts.pop_front();
                upload.tags.push(stored??);
            }
            let upload_id =
                upload.id.get().expect("a part is only uploaded once the upload is begun").clone();
            let age = Duration::from_millis(self.clock.monotonic_ms().saturating_sub(upload.begun_ms));
            let part_bytes = upload.part_bytes.clone();
            let file = FileRef { key, role, upload_id, parts: upload.tags.clone(), rows, bytes };
            drafts.push(DraftFile { file, part_bytes, age });
        }
        Ok(drafts)
    }

    /// The uploads are the ledger's now: named by an entry, or by one in doubt.
    pub fn forget(&mut self) {
        self.uploads.clear();
    }

    /// Gives up everything that is open: no entry names it and none will. Aborting goes on behind; what it misses is
    /// swept after a day.
    pub fn abandon(&mut self) -> JoinHandle<()> {
        let uploads = std::mem::take(&mut self.uploads);
        let store = self.store.clone();
        tokio::spawn(async move {
            for (key, upload) in uploads {
                for part in &upload.parts {
                    part.abort();
                }
                for part in upload.parts {
                    // Cancelled or done: either way it sends nothing more.
                    drop(part.await);
                }
                let Some(id) = upload.id.get() else { continue };
                if let Err(error) = store.abort_upload(&key, id).await {
                    tracing::warn!(error = %crate::chain(&error), key, "upload not aborted; it will be swept");
                }
            }
        })
    }
}

/// Counts a part's bytes for as long as they are held.
struct Flight {
    counters: Arc<SinkCounters>,
    bytes: u64,
}

impl Flight {
    fn start(counters: Arc<SinkCounters>, bytes: usize) -> Flight {
        counters.in_flight_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Flight { counters, bytes: bytes as u64 }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.counters.in_flight_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct PartWork {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    permits: Arc<Semaphore>,
    flight: Flight,
    id: Arc<OnceCell<UploadId>>,
    give_up_ms: u64,
    number: usize,
    part: PartOut,
}

impl PartWork {
    async fn run(self) -> Result<PartTag, StoreError> {
        let key = self.part.key.as_str();
        let _permit = self.permits.acquire().await.expect("the sink never closes its semaphore");
        let begin = || self.persist(|| self.store.begin_upload(key));
        let id = self.id.get_or_try_init(begin).await?;
        let bytes: &Bytes = &self.part.bytes;
        self.persist(|| self.store.upload_part(key, id, self.number, bytes.clone())).await
    }

    /// Asks again while nobody knows what happened: an outage of the store holds the data up, it does not drop it.
    async fn persist<T, F>(&self, mut request: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut wait = RETRY_FIRST;
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let passing = match error.fault {
                Fault::Unknown | Fault::Conflict => true,
                Fault::NoSuchBucket | Fault::Denied | Fault::NoSuchUpload | Fault::Refused => false,
            };
            if !passing || self.clock.monotonic_ms() >= self.give_up_ms {
                return Err(error);
            }
            self.flight.counters.retries.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(error = %crate::chain(&error), retry_seconds = wait.as_secs_f64(), "the store did not answer");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }
}
