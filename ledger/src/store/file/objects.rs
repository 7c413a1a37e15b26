//! Objects: one file each, named once it is whole.
//!
//! Order: write beside, fsync, then `link` (put: the name must be free) or `rename` (copy, complete: it
//! replaces), then fsync of the directory.
//! Neighbours: file. Blocking.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use uuid::Uuid;

use super::{CopyOutcome, Disk, FileError, ObjectMeta, PutOutcome, RACES_MAX, is_absent, sync_directory};

/// A file in the making; removed when dropped.
pub(super) struct Draft(pub(super) PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename it is not there any more. A draft that stays is removed a day later, by `tidy`.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Disk {
    pub(super) fn put_if_absent(&self, key: &str, body: &[u8]) -> Result<PutOutcome, FileError> {
        let (path, draft) = (self.path_of(key), Draft(self.draft_path()?));
        write_synced(&draft.0, &[body])?;
        let made = self.in_directory_of(&path, || match std::fs::hard_link(&draft.0, &path) {
            Ok(()) => Ok(PutOutcome::Created),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(PutOutcome::Exists),
            Err(error) => Err(FileError::io("link", &path)(error)),
        })?;
        // For `Exists` too: who is told so may build on it, so the other's name has to last.
        sync_directory(parent_of(&path))?;
        Ok(made)
    }

    /// Bytes `start..end`, cut at the object's end.
    pub(super) fn read(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, FileError> {
        let path = self.path_of(key);
        let mut file = match self.open_object(&path)? {
            Some(file) => file,
            None => return Ok(None),
        };
        let read = FileError::io("read", &path);
        let mut body = Vec::new();
        let done = (|| {
            let length = file.metadata()?.len();
            let (start, end) = (start.min(length), end.min(length));
            if start < end {
                body.reserve_exact((end - start) as usize);
                file.seek(SeekFrom::Start(start))?;
                file.take(end - start).read_to_end(&mut body)?;
            }
            Ok(())
        })();
        done.map_err(read)?;
        Ok(Some(body.into()))
    }

    pub(super) fn head(&self, key: &str) -> Result<Option<ObjectMeta>, FileError> {
        let path = self.path_of(key);
        let look = || {
            let found = std::fs::metadata(&path)?;
            Ok((found.is_file(), found.len(), found.modified()?))
        };
        match look().map_err(FileError::io("look at", &path)) {
            Ok((true, bytes, modified)) => Ok(Some(ObjectMeta { key: key.to_owned(), bytes, modified })),
            Ok((false, _, _)) => Ok(None),
            Err(why) => self.absent_or(why),
        }
    }

    pub(super) fn copy(&self, from: &str, to: &str) -> Result<CopyOutcome, FileError> {
        let (source, target) = (self.path_of(from), self.path_of(to));
        let Some(mut file) = self.open_object(&source)? else { return Ok(CopyOutcome::SourceAbsent) };
        let draft = Draft(self.draft_path()?);
        let mut made = File::create_new(&draft.0).map_err(FileError::io("create", &draft.0))?;
        io::copy(&mut file, &mut made)
            .and_then(|_| made.sync_all())
            .map_err(FileError::io("write", &draft.0))?;
        self.in_directory_of(&target, || {
            std::fs::rename(&draft.0, &target).map_err(FileError::io("rename to", &target))
        })?;
        sync_directory(parent_of(&target))?;
        Ok(CopyOutcome::Copied)
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), FileError> {
        let path = self.path_of(key);
        match std::fs::symlink_metadata(&path) {
            // A directory is no object.
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                return self.absent_or(FileError::io("look at", &path)(error)).map(|_: Option<()>| ());
            }
        }
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) => {
                self.absent_or(FileError::io("remove", &path)(error)).map(|_: Option<()>| ())?;
            }
        }
        sync_directory(parent_of(&path))?;
        self.remove_empty_parents(&path);
        Ok(())
    }

    /// Removes directories that a deletion left empty, so that readers do not walk dead partitions. `rmdir`
    /// refuses one that is not empty; who wants to name a file in one at this moment makes it again.
    fn remove_empty_parents(&self, path: &Path) {
        let mut directory = parent_of(path);
        while directory != self.root && std::fs::remove_dir(directory).is_ok() {
            directory = parent_of(directory);
        }
    }

    /// Runs `name` after making the directory of `path`, again when someone removed it in between.
    pub(super) fn in_directory_of<T>(
        &self,
        path: &Path,
        name: impl Fn() -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        for _ in 0..RACES_MAX {
            let named = self.make_directories(parent_of(path)).and_then(|()| name());
            match named {
                Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    if !self.root.is_dir() {
                        return Err(FileError::RootMissing(self.root.clone()));
                    }
                }
                done => return done,
            }
        }
        Err(FileError::Races(path.to_owned()))
    }

    /// A name in the workshop that nothing has.
    pub(super) fn draft_path(&self) -> Result<PathBuf, FileError> {
        let workshop = self.workshop();
        self.in_directory_of(&workshop.join("draft"), || Ok(()))?;
        Ok(workshop.join(format!("draft-{}", Uuid::new_v4())))
    }

    pub(super) fn open_object(&self, path: &Path) -> Result<Option<File>, FileError> {
        let open = || {
            let file = File::open(path)?;
            Ok(file.metadata()?.is_file().then_some(file))
        };
        match open().map_err(FileError::io("open", path)) {
            Ok(found) => Ok(found),
            Err(why) => self.absent_or(why),
        }
    }
}

/// Writes a new file of these pieces and waits until it is on the disk.
pub(super) fn write_synced(path: &Path, pieces: &[&[u8]]) -> Result<(), FileError> {
    let write = || {
        let mut file = File::create_new(path)?;
        for piece in pieces {
            file.write_all(piece)?;
        }
        file.sync_all()
    };
    write().map_err(FileError::io("write", path))
}

pub(super) fn parent_of(path: &Path) -> &Path {
    path.parent().expect("every path lies under the root")
}

/// Whether nothing was there to remove.
pub(super) fn remove_all(path: &Path) -> Result<bool, FileError> {
    for _ in 0..RACES_MAX {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(false),
            Err(error) if is_absent(&error) => return Ok(true),
            // A part that was under way when the directory was renamed may still land in it.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(FileError::io("remove", path)(error)),
        }
    }
    Err(FileError::Races(path.to_owned()))
}
