//! File: the store's promises on a directory of a local file system.
//!
//! Order: bytes are on the disk (fsync) before a name shows them, and the name is on the disk before the call
//! returns. What is not yet an object lives under `_landfall/uploads/`, which no listing shows.
//! Neighbours: objects (put, get, copy, delete), replace, uploads, listing; this file only brings them off the
//! runtime.
//!
//! The file system needs hard links, atomic rename and file locks, as every local one of Linux and macOS has.
//! An object at `a` and another at `a/b` exclude each other, and no part of a key has more than 255 bytes. A
//! call whose future is dropped may still be carried out.

mod listing;
mod objects;
mod replace;
mod uploads;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use bytes::Bytes;

use super::key::checked;
use super::{
    CompleteOutcome, CopyOutcome, Fault, ObjectMeta, ObjectTag, Operation, PARTS_MAX, PartTag, PutOutcome,
    ReplaceOutcome, Store, StoreError, UploadId, UploadMeta,
};

/// Where uploads and files in the making live, under the root.
const WORKSHOP: &str = "_landfall/uploads";
/// Two calls that race to make and remove a directory try again; more often than this is no race.
const RACES_MAX: usize = 100;

/// A directory as an object store. Clones share the root; so may any number of processes.
#[derive(Clone, Debug)]
pub struct FileStore {
    disk: Arc<Disk>,
}

#[derive(Debug)]
struct Disk {
    root: PathBuf,
    /// Set when this process has removed what crashed writers left in the workshop.
    tidied: AtomicBool,
}

/// What went wrong on the disk, with what a person can do about it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{doing} `{}`{}", path.display(), advice(source))]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the directory `{}` is not there: check the path, or that it is mounted", .0.display())]
    RootMissing(PathBuf),
    #[error("`{}` is not a directory", .0.display())]
    RootNotDirectory(PathBuf),
    #[error("keys under `{WORKSHOP}/` are the store's own")]
    Reserved,
    #[error("no upload `{0}` of this key is open")]
    NoSuchUpload(String),
    #[error("part number {0} is not in 1 to {PARTS_MAX}")]
    PartNumber(usize),
    #[error("an upload is completed with at least one part")]
    NoParts,
    #[error("part {0} was not uploaded with this tag")]
    InvalidPart(usize),
    #[error("another process goes on removing the directory of `{}`", .0.display())]
    Races(PathBuf),
    #[error("another process has been replacing `{}` for too long: look whether it is stopped", .0.display())]
    Held(PathBuf),
    #[error("the file system holds no time later than that of `{}`: `touch` the file", .0.display())]
    NoLaterTime(PathBuf),
    #[error("the program is stopping: the call was given up")]
    Stopping,
}

impl FileError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError::Io { doing, path: path.to_owned(), source }
    }

    fn is_not_found(&self) -> bool {
        matches!(self, FileError::Io { source, .. } if is_absent(source))
    }

    fn fault(&self) -> Fault {
        match self {
            FileError::RootMissing(_) | FileError::RootNotDirectory(_) => Fault::NoSuchBucket,
            FileError::Reserved
            | FileError::PartNumber(_)
            | FileError::NoParts
            | FileError::InvalidPart(_)
            | FileError::NoLaterTime(_) => Fault::Refused,
            FileError::Held(_) => Fault::Conflict,
            FileError::NoSuchUpload(_) => Fault::NoSuchUpload,
            FileError::Races(_) | FileError::Stopping => Fault::Unknown,
            FileError::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Fault::Denied,
                io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::Unsupported => Fault::Refused,
                // A full disk too: it can be freed, and the call may have come as far as its last step.
                _ => Fault::Unknown,
            },
        }
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => " (the file system is full: free some space)",
        io::ErrorKind::QuotaExceeded => " (the disk quota is used up)",
        io::ErrorKind::PermissionDenied => " (check who owns the directory and who runs this program)",
        io::ErrorKind::ReadOnlyFilesystem => " (the file system is mounted read-only)",
        io::ErrorKind::InvalidFilename => " (a part of the key is longer than the file system takes)",
        io::ErrorKind::NotADirectory => " (a part of the key is the name of an object)",
        io::ErrorKind::Unsupported => " (the file system cannot do this: use another one)",
        _ => "",
    }
}

/// Nothing is at this path, or a part of it is a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl FileStore {
    /// A store in `root`, which is made with all its parents when it is not there.
    pub fn create(root: &Path) -> Result<FileStore, FileError> {
        std::fs::create_dir_all(root).map_err(FileError::io("create directory", root))?;
        FileStore::open(root)
    }

    /// A store in `root`, which must be there; nothing is written until a call writes.
    pub fn open(root: &Path) -> Result<FileStore, FileError> {
        match std::fs::metadata(root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(FileError::RootNotDirectory(root.to_owned())),
            Err(error) if is_absent(&error) => return Err(FileError::RootMissing(root.to_owned())),
            Err(error) => return Err(FileError::io("look at", root)(error)),
        }
        // Absolute, so that a later change of the working directory does not move the store.
        let root = std::path::absolute(root).map_err(FileError::io("resolve", root))?;
        Ok(FileStore { disk: Arc::new(Disk { root, tidied: AtomicBool::new(false) }) })
    }

    /// Runs `work` on the pool for blocking calls.
    async fn on_disk<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &str,
        work: impl FnOnce(&Disk) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let disk = self.disk.clone();
        let done = match tokio::task::spawn_blocking(move || work(&disk)).await {
            Ok(done) => done,
            Err(join) => match join.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(FileError::Stopping),
            },
        };
        done.map_err(|why| {
            let why = if why.is_not_found() { self.disk.blame_root(why) } else { why };
            StoreError {
                operation,
                key: key.to_owned(),
                url: self.url(),
                fault: why.fault(),
                source: Box::new(why),
            }
        })
    }

    fn check(&self, operation: Operation, key: &str) -> Result<(), StoreError> {
        checked(operation, key, &self.url())?;
        if key.strip_prefix(WORKSHOP).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let (key, url, source) = (key.to_owned(), self.url(), Box::new(FileError::Reserved));
            return Err(StoreError { operation, key, url, fault: Fault::Refused, source });
        }
        Ok(())
    }
}

impl Disk {
    fn path_of(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn workshop(&self) -> PathBuf {
        self.root.join(WORKSHOP)
    }

    /// Not found is another thing when the whole root is gone.
    fn blame_root(&self, why: FileError) -> FileError {
        match std::fs::metadata(&self.root) {
            Err(error) if is_absent(&error) => FileError::RootMissing(self.root.clone()),
            Ok(_) | Err(_) => why,
        }
    }

    /// An absent object is `None`, but not when it is absent because the root is.
    fn absent_or<T>(&self, why: FileError) -> Result<Option<T>, FileError> {
        if !why.is_not_found() {
            return Err(why);
        }
        match self.blame_root(why) {
            missing @ FileError::RootMissing(_) => Err(missing),
            _ => Ok(None),
        }
    }

    /// Makes `directory` and what is missing between it and the root, each durable in its parent.
    fn make_directories(&self, directory: &Path) -> Result<(), FileError> {
        let below = directory.strip_prefix(&self.root).expect("every path is made by joining to the root");
        let mut path = self.root.clone();
        for part in below.components() {
            let parent = path.clone();
            path.push(part);
            match std::fs::create_dir(&path) {
                Ok(()) => sync_directory(&parent)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(FileError::io("create directory", &path)(error)),
            }
        }
        Ok(())
    }
}

/// Makes what happened to names in `directory` durable.
fn sync_directory(directory: &Path) -> Result<(), FileError> {
    match File::open(directory).and_then(|open| open.sync_all()) {
        Ok(()) => Ok(()),
        // It was empty and someone removed it: what we did in it was undone after we did it.
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(FileError::io("sync directory", directory)(error)),
    }
}

#[async_trait]
impl Store for FileStore {
    fn url(&self) -> String {
        format!("file://{}", self.disk.root.display())
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<PutOutcome, StoreError> {
        self.check(Operation::Put, key)?;
        let owned = key.to_owned();
        self.on_disk(Operation::Put, key, move |disk| disk.put_if_absent(&owned, &body)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.check(Operation::Get, key)?;
        let owned = key.to_owned();
        self.on_disk(Operation::Get, key, move |disk| disk.read(&owned, 0, u64::MAX)).await
    }

    async fn get_tagged(&self, key: &str) -> Result<Option<(Bytes, ObjectTag)>, StoreError> {
        self.check(Operation::Get, key)?;
        let owned = key.to_owned();
        self.on_disk(Operation::Get, key, move |disk| disk.read_tagged(&owned)).await
    }

    async fn put_if_match(
        &self,
        key: &str,
        body: Bytes,
        tag: &ObjectTag,
    ) -> Result<ReplaceOutcome, StoreError> {
        self.check(Operation::Replace, key)?;
        let (owned, tag) = (key.to_owned(), tag.clone());
        self.on_disk(Operation::Replace, key, move |disk| disk.put_if_match(&owned, &body, &tag)).await
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        self.check(Operation::Get, key)?;
        let owned = key.to_owned();
        self.on_disk(Operation::Get, key, move |disk| disk.read(&owned, start, end)).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        self.check(Operation::Head, key)?;
        let owned = key.to_owned();
        self.on_disk(Operation::Head, key, move |disk| disk.head(&owned)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>, StoreError> {
        let (owned, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.on_disk(Operation::List, prefix, move |disk| disk.list(&owned, after.as_deref(), limit)).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<CopyOutcome, StoreError> {
        self.check(Operation::Copy, from)?;
        self.check(Operation::Copy, to)?;
        let (source, target) = (from.to_owned(), to.to_owned());
        self.on_disk(Operation::Copy, from, move |disk| disk.copy(&source, &target)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.check(Operation::Delete, key)?;
        let owned = key.to_owned();
        self.on_disk(Operation::Delete, key, move |disk| disk.delete(&owned)).await
    }

    async fn begin_upload(&self, key: &str) -> Result<UploadId, StoreError> {
        self.check(Operation::BeginUpload, key)?;
        let owned = key.to_owned();
        self.on_disk(Operation::BeginUpload, key, move |disk| disk.begin_upload(&owned)).await
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: usize,
        body: Bytes,
    ) -> Result<PartTag, StoreError> {
        self.check(Operation::UploadPart, key)?;
        let (owned, upload) = (key.to_owned(), upload.clone());
        self.on_disk(Operation::UploadPart, key, move |disk| disk.upload_part(&owned, &upload, number, &body))
            .await
    }

    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<CompleteOutcome, StoreError> {
        self.check(Operation::CompleteUpload, key)?;
        let (owned, upload, parts) = (key.to_owned(), upload.clone(), parts.to_vec());
        self.on_disk(Operation::CompleteUpload, key, move |disk| {
            disk.complete_upload(&owned, &upload, &parts)
        })
        .await
    }

    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError> {
        self.check(Operation::AbortUpload, key)?;
        let (owned, upload) = (key.to_owned(), upload.clone());
        self.on_disk(Operation::AbortUpload, key, move |disk| disk.abort_upload(&owned, &upload)).await
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UploadMeta>, StoreError> {
        let owned = prefix.to_owned();
        self.on_disk(Operation::ListUploads, prefix, move |disk| disk.list_uploads(&owned)).await
    }
}

#[cfg(test)]
mod tests;
