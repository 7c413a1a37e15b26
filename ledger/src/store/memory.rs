//! Memory: the store's promises in a map, for tests and models.
//!
//! Order: every call is one step under one lock, so that racers see it whole or not at all.
//! Neighbours: none. No I/O; time stands still until it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::key::checked;
use super::{
    CompleteOutcome, CopyOutcome, Fault, ObjectMeta, ObjectTag, Operation, PARTS_MAX, PartTag, PutOutcome,
    ReplaceOutcome, Store, StoreError, UploadId, UploadMeta,
};

/// An object store in memory. Clones share what they hold.
///
/// Upload ids and tags are the same in every run with the same calls. The clock starts at the Unix epoch
/// and moves only by [`MemoryStore::advance`].
#[derive(Clone)]
pub struct MemoryStore {
    name: Arc<str>,
    part_bytes_min: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Clone)]
struct Inner {
    now: SystemTime,
    objects: BTreeMap<String, Object>,
    objects_made: u64,
    uploads: BTreeMap<UploadId, Upload>,
    uploads_begun: u64,
}

#[derive(Clone)]
struct Object {
    body: Bytes,
    modified: SystemTime,
    /// Which object of this store it is: no two have the same tag, whatever their bodies.
    made: u64,
}

#[derive(Clone)]
struct Upload {
    key: String,
    begun: SystemTime,
    parts: BTreeMap<usize, (PartTag, Bytes)>,
}

/// Why the memory store refuses.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no upload `{0}` of this key is open")]
    NoSuchUpload(String),
    #[error("part number {0} is not in 1 to {PARTS_MAX}")]
    PartNumber(usize),
    #[error("an upload is completed with at least one part")]
    NoParts,
    #[error("part {0} was not uploaded with this tag")]
    InvalidPart(usize),
    #[error("part {number} has {bytes} bytes: every part but the last has at least {min}")]
    EntityTooSmall { number: usize, bytes: usize, min: usize },
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// An empty store that takes parts of any size, so that tests can be small.
    pub fn new() -> MemoryStore {
        let inner = Inner {
            now: SystemTime::UNIX_EPOCH,
            objects: BTreeMap::new(),
            objects_made: 0,
            uploads: BTreeMap::new(),
            uploads_begun: 0,
        };
        MemoryStore { name: "memory:".into(), part_bytes_min: 0, inner: Arc::new(Mutex::new(inner)) }
    }

    /// An empty store that refuses to complete an upload with a part (but the last) below `bytes`, as S3 does.
    pub fn with_part_bytes_min(bytes: usize) -> MemoryStore {
        MemoryStore { part_bytes_min: bytes, ..MemoryStore::new() }
    }

    /// A store of its own with the same content: what happens to one does not happen to the other.
    pub fn deep_copy(&self) -> MemoryStore {
        let inner = self.lock().clone();
        MemoryStore { inner: Arc::new(Mutex::new(inner)), ..self.clone() }
    }

    /// Moves the store's clock, which dates objects and uploads.
    pub fn advance(&self, by: Duration) {
        self.lock().now += by;
    }

    /// The store's clock.
    pub fn now(&self) -> SystemTime {
        self.lock().now
    }

    /// Keys of all visible objects, in order.
    pub fn keys(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// Puts an object whether or not one is there, as someone outside the protocol would.
    pub fn overwrite(&self, key: &str, body: Bytes) {
        self.lock().make(key, body);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic between two fields of a step would be a bug here; the map itself stays whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, operation: Operation, key: &str, fault: Fault, why: Refusal) -> StoreError {
        StoreError { operation, key: key.to_owned(), url: self.url(), fault, source: Box::new(why) }
    }

    fn assemble(&self, upload: &Upload, parts: &[PartTag]) -> Result<Bytes, Refusal> {
        if parts.is_empty() {
            return Err(Refusal::NoParts);
        }
        let mut body = Vec::new();
        for (number, tag) in (1..).zip(parts) {
            match upload.parts.get(&number) {
                Some((held, bytes)) if held == tag => {
                    if bytes.len() < self.part_bytes_min && number < parts.len() {
                        let min = self.part_bytes_min;
                        return Err(Refusal::EntityTooSmall { number, bytes: bytes.len(), min });
                    }
                    body.extend_from_slice(bytes);
                }
                Some(_) | None => return Err(Refusal::InvalidPart(number)),
            }
        }
        Ok(body.into())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("MemoryStore")
            .field("objects", &inner.objects.keys().collect::<Vec<_>>())
            .field("uploads", &inner.uploads.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl Inner {
    /// Makes this the object of `key`, whatever is there.
    fn make(&mut self, key: &str, body: Bytes) {
        self.objects_made += 1;
        let object = Object { body, modified: self.now, made: self.objects_made };
        self.objects.insert(key.to_owned(), object);
    }
}

impl Object {
    fn tag(&self) -> ObjectTag {
        ObjectTag(format!("object-{}", self.made))
    }
}

/// As an ETag does, the tag follows from the content: the same bytes sent twice have the same tag.
fn tag_of(body: &Bytes) -> PartTag {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    PartTag(format!("\"{:016x}\"", hasher.finish()))
}

#[async_trait]
impl Store for MemoryStore {
    fn url(&self) -> String {
        self.name.to_string()
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<PutOutcome, StoreError> {
        checked(Operation::Put, key, &self.name)?;
        let mut inner = self.lock();
        if inner.objects.contains_key(key) {
            return Ok(PutOutcome::Exists);
        }
        inner.make(key, body);
        Ok(PutOutcome::Created)
    }

    async fn get_tagged(&self, key: &str) -> Result<Option<(Bytes, ObjectTag)>, StoreError> {
        checked(Operation::Get, key, &self.name)?;
        Ok(self.lock().objects.get(key).map(|object| (object.body.clone(), object.tag())))
    }

    async fn put_if_match(
        &self,
        key: &str,
        body: Bytes,
        tag: &ObjectTag,
    ) -> Result<ReplaceOutcome, StoreError> {
        checked(Operation::Replace, key, &self.name)?;
        let mut inner = self.lock();
        if inner.objects.get(key).is_none_or(|object| object.tag() != *tag) {
            return Ok(ReplaceOutcome::Changed);
        }
        inner.make(key, body);
        Ok(ReplaceOutcome::Replaced)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        checked(Operation::Get, key, &self.name)?;
        Ok(self.lock().objects.get(key).map(|object| object.body.clone()))
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        checked(Operation::Get, key, &self.name)?;
        let Some(body) = self.get(key).await? else { return Ok(None) };
        let length = body.len() as u64;
        let (start, end) = (start.min(length), end.min(length));
        Ok(Some(if start < end { body.slice(start as usize..end as usize) } else { Bytes::new() }))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        checked(Operation::Head, key, &self.name)?;
        Ok(self.lock().objects.get(key).map(|object| ObjectMeta {
            key: key.to_owned(),
            bytes: object.body.len() as u64,
            modified: object.modified,
        }))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>, StoreError> {
        let inner = self.lock();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let found = inner.objects.range::<str, _>((from, Bound::Unbounded));
        let under = found.take_while(|(key, _)| key.starts_with(prefix));
        Ok(under
            .take(limit)
            .map(|(key, object)| ObjectMeta {
                key: key.clone(),
                bytes: object.body.len() as u64,
                modified: object.modified,
            })
            .collect())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<CopyOutcome, StoreError> {
        checked(Operation::Copy, from, &self.name)?;
        checked(Operation::Copy, to, &self.name)?;
        let mut inner = self.lock();
        let Some(body) = inner.objects.get(from).map(|object| object.body.clone()) else {
            return Ok(CopyOutcome::SourceAbsent);
        };
        inner.make(to, body);
        Ok(CopyOutcome::Copied)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        checked(Operation::Delete, key, &self.name)?;
        self.lock().objects.remove(key);
        Ok(())
    }

    async fn begin_upload(&self, key: &str) -> Result<UploadId, StoreError> {
        checked(Operation::BeginUpload, key, &self.name)?;
        let mut inner = self.lock();
        inner.uploads_begun += 1;
        let id = UploadId(format!("upload-{}", inner.uploads_begun));
        let upload = Upload { key: key.to_owned(), begun: inner.now, parts: BTreeMap::new() };
        inner.uploads.insert(id.clone(), upload);
        Ok(id)
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: usize,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        checked(Operation::UploadPart, key, &self.name)?;
        if !(1..=PARTS_MAX).contains(&number) {
            let why = Refusal::PartNumber(number);
            return Err(self.refuse(Operation::UploadPart, key, Fault::Refused, why));
        }
        let mut inner = self.lock();
        match inner.uploads.get_mut(upload) {
            Some(open) if open.key == key => {
                let tag = tag_of(&body);
                open.parts.insert(number, (tag.clone(), body));
                Ok(tag)
            }
            Some(_) | None => {
                let why = Refusal::NoSuchUpload(upload.0.clone());
                Err(self.refuse(Operation::UploadPart, key, Fault::NoSuchUpload, why))
            }
        }
    }

    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<CompleteOutcome, StoreError> {
        checked(Operation::CompleteUpload, key, &self.name)?;
        let mut inner = self.lock();
        let Some(open) = inner.uploads.get(upload).filter(|open| open.key == key) else {
            return Ok(CompleteOutcome::NoSuchUpload);
        };
        let body = self
            .assemble(open, parts)
            .map_err(|why| self.refuse(Operation::CompleteUpload, key, Fault::Refused, why))?;
        inner.uploads.remove(upload);
        inner.make(key, body);
        Ok(CompleteOutcome::Completed)
    }

    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError> {
        checked(Operation::AbortUpload, key, &self.name)?;
        let mut inner = self.lock();
        if inner.uploads.get(upload).is_some_and(|open| open.key == key) {
            inner.uploads.remove(upload);
        }
        Ok(())
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UploadMeta>, StoreError> {
        let inner = self.lock();
        let mut found: Vec<UploadMeta> = inner
            .uploads
            .iter()
            .filter(|(_, open)| open.key.starts_with(prefix))
            .map(|(id, open)| UploadMeta { key: open.key.clone(), upload_id: id.clone(), begun: open.begun })
            .collect();
        found.sort_by(|a, b| (&a.key, &a.upload_id).cmp(&(&b.key, &b.upload_id)));
        Ok(found)
    }
}
