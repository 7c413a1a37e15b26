//! Replace: another object in the place of one, by compare and set.
//!
//! Order: lock the object's own file, compare, write beside with a later time, fsync, `rename`, fsync of the
//! directory. Who waited for the lock of a file that has lost its name meanwhile sees that, and changes nothing.
//! Neighbours: objects. Blocking.
//!
//! The tag is the file's time of modification and a hash of its bytes. The time is what makes it new with every
//! replacement: under the lock it is set later than that of the file replaced, be it by a nanosecond and whatever
//! the clock says, and one `rename` brings body and time together. So no counter stands beside the object that a
//! crash could leave behind or ahead of it. A `touch` changes the tag too; that costs another reading.

use std::fs::{File, Metadata, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::objects::{Draft, parent_of};
use super::uploads::hash_of;
use super::{Disk, FileError, ObjectTag, ReplaceOutcome, is_absent, sync_directory};

/// A lock is held while one small file is written; it falls with its holder's process. Who holds one for longer
/// than this (10 ms times 500) was stopped in between.
const LOCK_POLL: Duration = Duration::from_millis(10);
const LOCK_POLLS_MAX: u32 = 500;
/// How much later the new file is at least. Most file systems count nanoseconds, some microseconds, old ones
/// seconds or every second one: the first step that they can hold is taken.
const STEPS: [Duration; 4] =
    [Duration::from_nanos(1), Duration::from_micros(1), Duration::from_secs(1), Duration::from_secs(2)];

impl Disk {
    pub(super) fn read_tagged(&self, key: &str) -> Result<Option<(Bytes, ObjectTag)>, FileError> {
        let path = self.path_of(key);
        // Time and bytes come from one open file, so that a rename in between cannot mix two objects.
        let Some(file) = self.open_object(&path)? else { return Ok(None) };
        let (body, tag) = read_tagged(&file, &path)?;
        Ok(Some((body.into(), tag)))
    }

    pub(super) fn put_if_match(
        &self,
        key: &str,
        body: &[u8],
        tag: &ObjectTag,
    ) -> Result<ReplaceOutcome, FileError> {
        let path = self.path_of(key);
        let outcome = match self.lock_object(&path)? {
            // The lock falls when this returns, or when the process ends.
            Some(held) if read_tagged(&held, &path)?.1 == *tag => self.replace(&path, &held, body)?,
            Some(_) | None => ReplaceOutcome::Changed,
        };
        // For `Changed` too: who is told so may build on it, so the other's name has to last.
        sync_directory(parent_of(&path))?;
        Ok(outcome)
    }

    /// The object's file, locked; `None` when there is none, or when it was replaced while we waited.
    fn lock_object(&self, path: &Path) -> Result<Option<File>, FileError> {
        let Some(file) = self.open_object(path)? else { return Ok(None) };
        let mut polls = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if polls < LOCK_POLLS_MAX => polls += 1,
                Err(TryLockError::WouldBlock) => return Err(FileError::Held(path.to_owned())),
                Err(TryLockError::Error(error)) => return Err(FileError::io("lock", path)(error)),
            }
            std::thread::sleep(LOCK_POLL);
        }
        let ours = look_at(&file, path)?;
        // As long as we hold the file open, no other one gets its number.
        match std::fs::metadata(path).map_err(FileError::io("look at", path)) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => Ok(Some(file)),
            Ok(_) => Ok(None),
            Err(why) => self.absent_or(why),
        }
    }

    fn replace(&self, path: &Path, old: &File, body: &[u8]) -> Result<ReplaceOutcome, FileError> {
        let draft = Draft(self.draft_path()?);
        let mut new = File::create_new(&draft.0).map_err(FileError::io("create", &draft.0))?;
        new.write_all(body).map_err(FileError::io("write", &draft.0))?;
        make_later(&new, old, path)?;
        new.sync_all().map_err(FileError::io("write", &draft.0))?;
        match std::fs::rename(&draft.0, path) {
            Ok(()) => Ok(ReplaceOutcome::Replaced),
            // Somebody deleted the object, and its directory with it.
            Err(error) if is_absent(&error) => {
                self.absent_or(FileError::io("rename to", path)(error)).map(|_: Option<()>| ())?;
                Ok(ReplaceOutcome::Changed)
            }
            Err(error) => Err(FileError::io("rename to", path)(error)),
        }
    }
}

/// Gives `new` a later time of modification than `old` has, if it has not.
fn make_later(new: &File, old: &File, path: &Path) -> Result<(), FileError> {
    let modified = |file: &File| file.metadata().and_then(|found| found.modified());
    let before = modified(old).map_err(FileError::io("look at", path))?;
    if modified(new).map_err(FileError::io("look at", path))? > before {
        return Ok(());
    }
    for later in STEPS.iter().filter_map(|step| before.checked_add(*step)) {
        new.set_modified(later).map_err(FileError::io("set the time of", path))?;
        // What the file system made of it.
        if modified(new).map_err(FileError::io("look at", path))? > before {
            return Ok(());
        }
    }
    Err(FileError::NoLaterTime(path.to_owned()))
}

fn look_at(file: &File, path: &Path) -> Result<Metadata, FileError> {
    file.metadata().map_err(FileError::io("look at", path))
}

/// All of a file that was just opened.
fn read_tagged(mut file: &File, path: &Path) -> Result<(Vec<u8>, ObjectTag), FileError> {
    let found = look_at(file, path)?;
    let mut body = Vec::new();
    file.read_to_end(&mut body).map_err(FileError::io("read", path))?;
    let tag = format!("{}.{:09}-{}", found.mtime(), found.mtime_nsec(), hash_of(&body));
    Ok((body, ObjectTag(tag)))
}
