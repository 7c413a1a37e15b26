//! Store: the few promises that the ledger needs of an object store, and nothing of any vendor.
//!
//! Order: an object is absent until `put_if_absent` or `complete_upload` makes all of it visible at once. One that
//! is replaced goes from all of the old to all of the new.
//! Neighbours: none; everything else in this crate stands on it.
//!
//! Keys are relative to the output prefix, use `/`, and never start with one.

pub mod faulty;
pub mod file;
pub mod key;
pub mod memory;
pub mod open;
pub mod s3;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

pub use open::{OpenError, open, open_existing};
pub use s3::S3Options;

/// S3 refuses a part below this size unless it is the last one. Source: "Amazon S3 multipart upload limits".
pub const PART_BYTES_MIN: usize = 5 * 1024 * 1024;
/// S3 refuses an upload with more parts. Source: "Amazon S3 multipart upload limits".
pub const PARTS_MAX: usize = 10_000;

/// What a conditional write found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PutOutcome {
    /// This call made the object.
    Created,
    /// An object stood there. It may be our own, from a request whose reply was lost.
    Exists,
}

/// What a replacement found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplaceOutcome {
    /// This call replaced the object.
    Replaced,
    /// This call changed nothing: the object is another than the tag's, or there is none. The other one may be our
    /// own, from a call before this one whose reply was lost.
    Changed,
}

/// What completing an upload found. Neither is a verdict: `head` decides whether the object is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CompleteOutcome {
    /// This call made the object visible.
    Completed,
    /// The upload is gone: completed before, or aborted.
    NoSuchUpload,
}

/// What a copy found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CopyOutcome {
    Copied,
    /// There is nothing at the source key.
    SourceAbsent,
}

/// An object as a listing or a HEAD shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectMeta {
    pub key: String,
    pub bytes: u64,
    /// By the store's clock.
    pub modified: SystemTime,
}

/// Names one multipart upload of one key.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
pub struct UploadId(pub String);

/// What the store answered for one part; completing the upload needs it (an ETag on S3).
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
pub struct PartTag(pub String);

/// Names one state of one object, for [`Store::put_if_match`]. Only a store makes one, and only that store knows what
/// it says: an ETag on S3.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ObjectTag(pub String);

/// An upload that is neither completed nor aborted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UploadMeta {
    pub key: String,
    pub upload_id: UploadId,
    /// By the store's clock.
    pub begun: SystemTime,
}

/// The object store under one output prefix.
///
/// Every method may fail with an outcome that nobody knows (see [`StoreError::is_unknown`]): the request may
/// have been carried out, or may be carried out later. Callers read before they decide.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Where this store is, for messages: `s3://bucket/prefix`, `file:///directory`.
    fn url(&self) -> String;

    /// Makes the object unless one is there. Of any number of racers one is told `Created`.
    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<PutOutcome, StoreError>;

    /// The whole object; `None` when there is none.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// The whole object, and the tag of just that state of it; `None` when there is none.
    ///
    /// The tag stays as long as nobody replaces the object. S3's follows from the body, so that a body which was there
    /// before brings its tag back, and with it the tags of those who read it then: **put something into each body that
    /// none before had**, such as a revision that counts up beside the writer's id. In a directory and in memory every
    /// replacement has a new tag, whatever its body.
    async fn get_tagged(&self, key: &str) -> Result<Option<(Bytes, ObjectTag)>, StoreError>;

    /// Puts `body` in the place of the object that has this tag (`If-Match`), at once and as a whole. Of any number of
    /// racers with the same tag one is told `Replaced`. The first object of a key is made by `put_if_absent`.
    ///
    /// When the outcome is unknown, [`Store::get_tagged`] tells whether the body there is ours. An object that is
    /// replaced so is nobody's to delete, to copy over or to upload over: of a race with those nothing is promised.
    async fn put_if_match(
        &self,
        key: &str,
        body: Bytes,
        tag: &ObjectTag,
    ) -> Result<ReplaceOutcome, StoreError>;

    /// Bytes `start..end` of an object, cut at its end; `None` when there is none.
    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, StoreError>;

    /// Whether the object is there; `None` when not.
    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError>;

    /// Up to `limit` objects whose key starts with `prefix` and is greater than `after`, in the order of their
    /// keys' bytes. Uploads that are not completed are never among them.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>, StoreError>;

    /// Copies an object within the store, overwriting the target.
    async fn copy(&self, from: &str, to: &str) -> Result<CopyOutcome, StoreError>;

    /// Deletes an object; it is no error when there is none.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Begins a multipart upload of `key`; nothing is visible before it is completed.
    async fn begin_upload(&self, key: &str) -> Result<UploadId, StoreError>;

    /// Uploads part `number` (1 to [`PARTS_MAX`]); sending a number again replaces that part.
    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: usize,
        body: Bytes,
    ) -> Result<PartTag, StoreError>;

    /// Makes the object of these parts, the first being part 1, visible at once.
    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<CompleteOutcome, StoreError>;

    /// Drops an upload and its parts; it is no error when it is gone, by completion too.
    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError>;

    /// All uploads under `prefix` that are neither completed nor aborted.
    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UploadMeta>, StoreError>;
}

/// What was being asked of the store.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Operation {
    Put,
    Replace,
    Get,
    Head,
    List,
    Copy,
    Delete,
    BeginUpload,
    UploadPart,
    CompleteUpload,
    AbortUpload,
    ListUploads,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Put => "put object",
            Operation::Replace => "replace object",
            Operation::Get => "get object",
            Operation::Head => "head object",
            Operation::List => "list objects under",
            Operation::Copy => "copy object",
            Operation::Delete => "delete object",
            Operation::BeginUpload => "begin upload of",
            Operation::UploadPart => "upload part of",
            Operation::CompleteUpload => "complete upload of",
            Operation::AbortUpload => "abort upload of",
            Operation::ListUploads => "list uploads under",
        })
    }
}

/// Why the store did not do as asked, by what the caller should do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// No such bucket or directory: a setting is wrong.
    NoSuchBucket,
    /// Credentials are missing or do not suffice (403; EACCES).
    Denied,
    /// A concurrent request for the same key was under way (409): it is not "exists"; ask again.
    Conflict,
    /// Nothing was heard, or a server's fault (5xx, throttling): it may have happened.
    Unknown,
    /// The upload named is gone (only from `upload_part`).
    NoSuchUpload,
    /// The store understood and refused (other 4xx): asking again changes nothing.
    Refused,
}

/// A call to the store that did not give an answer.
#[derive(Debug, thiserror::Error)]
#[error("{operation} `{key}` in {url}")]
pub struct StoreError {
    pub operation: Operation,
    pub key: String,
    pub url: String,
    pub fault: Fault,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// Whether the call may have been, or may yet be, carried out.
    pub fn is_unknown(&self) -> bool {
        match self.fault {
            Fault::Unknown | Fault::Conflict => true,
            Fault::NoSuchBucket | Fault::Denied | Fault::NoSuchUpload | Fault::Refused => false,
        }
    }
}
