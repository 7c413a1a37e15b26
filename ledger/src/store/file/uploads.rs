//! Uploads: a directory each, `_landfall/uploads/<id>/`, with the key, and a file for each part.
//!
//! Order: complete and abort hold the upload's lock, so one of them comes first. Completing is ONE rename out
//! of the directory; aborting renames the directory away and then removes it. Who comes second finds nothing.
//! Neighbours: objects. Blocking.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::objects::{parent_of, remove_all, write_synced};
use super::{
    CompleteOutcome, Disk, FileError, PARTS_MAX, PartTag, UploadId, UploadMeta, is_absent, sync_directory,
};

/// Holds the key, and the lock.
const KEY_FILE: &str = "key";
/// A part's file opens with its tag; the rest is the part.
const TAG_BYTES: usize = 16;
/// No call takes this long: a draft that is older belongs to a process that is gone.
const DRAFT_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Disk {
    pub(super) fn begin_upload(&self, key: &str) -> Result<UploadId, FileError> {
        let draft = self.draft_path()?;
        std::fs::create_dir(&draft).map_err(FileError::io("create directory", &draft))?;
        write_synced(&draft.join(KEY_FILE), &[key.as_bytes()])?;
        sync_directory(&draft)?;
        let id = Uuid::new_v4().to_string();
        let upload = self.workshop().join(&id);
        std::fs::rename(&draft, &upload).map_err(FileError::io("rename to", &upload))?;
        sync_directory(&self.workshop())?;
        if !self.tidied.swap(true, Ordering::Relaxed) {
            self.tidy(&upload);
        }
        Ok(UploadId(id))
    }

    pub(super) fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: usize,
        body: &[u8],
    ) -> Result<PartTag, FileError> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(FileError::PartNumber(number));
        }
        let gone = || FileError::NoSuchUpload(upload.0.clone());
        let Some(directory) = self.upload_of(key, upload)? else {
            return Err(self.blame_root(gone()));
        };
        let tag = tag_of(body);
        let draft = directory.join(format!("draft-{}", Uuid::new_v4()));
        let part = directory.join(part_name(number));
        let write = || {
            write_synced(&draft, &[tag.0.as_bytes(), body])?;
            std::fs::rename(&draft, &part).map_err(FileError::io("rename to", &part))?;
            sync_directory(&directory)
        };
        match write() {
            Ok(()) => Ok(tag),
            Err(why) if why.is_not_found() => Err(self.blame_root(gone())),
            Err(why) => {
                // So that a full disk gets its room back; if this does not work, abort removes it.
                let _ = std::fs::remove_file(&draft);
                Err(why)
            }
        }
    }

    pub(super) fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[PartTag],
    ) -> Result<CompleteOutcome, FileError> {
        let Some(locked) = self.lock_upload(key, upload)? else {
            return Ok(CompleteOutcome::NoSuchUpload);
        };
        if parts.is_empty() {
            return Err(FileError::NoParts);
        }
        let (object, path) = (locked.directory.join("object"), self.path_of(key));
        if let Err(why) = assemble(&locked.directory, &object, parts) {
            // So that a full disk gets its room back.
            let _ = std::fs::remove_file(&object);
            return Err(why);
        }
        self.in_directory_of(&path, || {
            std::fs::rename(&object, &path).map_err(FileError::io("rename to", &path))
        })?;
        sync_directory(parent_of(&path))?;
        // The object is there: what is left of the upload is rubbish, and aborting it removes it too.
        if let Err(why) = self.discard(&locked.directory) {
            tracing::warn!(upload = upload.0, why = %why, "completed an upload but could not remove its parts");
        }
        Ok(CompleteOutcome::Completed)
    }

    pub(super) fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), FileError> {
        match self.lock_upload(key, upload)? {
            Some(locked) => self.discard(&locked.directory),
            None => Ok(()),
        }
    }

    pub(super) fn list_uploads(&self, prefix: &str) -> Result<Vec<UploadMeta>, FileError> {
        let mut found = Vec::new();
        for id in self.workshop_names()? {
            if Uuid::try_parse(&id).is_err() {
                continue;
            }
            let key_file = self.workshop().join(&id).join(KEY_FILE);
            let look =
                || Ok((std::fs::read_to_string(&key_file)?, std::fs::metadata(&key_file)?.modified()?));
            match look() {
                Ok((key, begun)) if key.starts_with(prefix) => {
                    found.push(UploadMeta { key, upload_id: UploadId(id), begun });
                }
                Ok(_) => {}
                // Completed or aborted since the directory was read.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(FileError::io("read", &key_file)(error)),
            }
        }
        found.sort_by(|a, b| (&a.key, &a.upload_id).cmp(&(&b.key, &b.upload_id)));
        Ok(found)
    }

    /// The upload's directory, when it is open and of this key. Ids come from the log: only a UUID is one.
    fn upload_of(&self, key: &str, upload: &UploadId) -> Result<Option<PathBuf>, FileError> {
        let Ok(id) = Uuid::try_parse(&upload.0) else { return Ok(None) };
        let directory = self.workshop().join(id.to_string());
        let key_file = directory.join(KEY_FILE);
        match std::fs::read(&key_file).map_err(FileError::io("read", &key_file)) {
            Ok(of) => Ok((of == key.as_bytes()).then_some(directory)),
            Err(why) => self.absent_or(why),
        }
    }

    fn lock_upload(&self, key: &str, upload: &UploadId) -> Result<Option<Locked>, FileError> {
        let Some(directory) = self.upload_of(key, upload)? else { return Ok(None) };
        let key_file = directory.join(KEY_FILE);
        let lock = match File::open(&key_file).map_err(FileError::io("open", &key_file)) {
            Ok(file) => file,
            Err(why) => return self.absent_or(why),
        };
        lock.lock().map_err(FileError::io("lock", &key_file))?;
        // Who held the lock before may have completed or aborted; then the name is gone for good.
        match std::fs::metadata(&key_file).map_err(FileError::io("look at", &key_file)) {
            Ok(_) => Ok(Some(Locked { directory, _lock: lock })),
            Err(why) => self.absent_or(why),
        }
    }

    /// Renames the upload away, so that nobody finds it half removed, and removes it.
    fn discard(&self, directory: &Path) -> Result<(), FileError> {
        let gone = self.workshop().join(format!("gone-{}", Uuid::new_v4()));
        std::fs::rename(directory, &gone).map_err(FileError::io("rename", directory))?;
        sync_directory(&self.workshop())?;
        remove_all(&gone).map(|_| ())
    }

    /// Removes what processes that are gone left here. Best effort: what stays is only room on the disk.
    /// `fresh` was made this moment: its time is the file system's clock.
    fn tidy(&self, fresh: &Path) {
        let Ok(now) = std::fs::metadata(fresh).and_then(|found| found.modified()) else { return };
        let Ok(names) = self.workshop_names() else { return };
        for name in names {
            let path = self.workshop().join(&name);
            let old = || age_of(&path, now).is_some_and(|age| age > DRAFT_AGE_MAX);
            if name.starts_with("gone-") || (name.starts_with("draft-") && old()) {
                let removed = std::fs::remove_file(&path).is_ok() || remove_all(&path).is_ok();
                tracing::debug!(path = %path.display(), removed, "tidied the uploads' directory");
            }
        }
    }

    fn workshop_names(&self) -> Result<Vec<String>, FileError> {
        let workshop = self.workshop();
        let read = || {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(&workshop)? {
                // Every name here is one of ours, and they are ASCII.
                names.extend(entry?.file_name().into_string().ok());
            }
            Ok(names)
        };
        match read().map_err(FileError::io("list", &workshop)) {
            Ok(names) => Ok(names),
            Err(why) => self.absent_or(why).map(|none: Option<Vec<String>>| none.unwrap_or_default()),
        }
    }
}

/// An upload that only this call completes or aborts; the lock falls with it, and with the process.
struct Locked {
    directory: PathBuf,
    _lock: File,
}

fn age_of(path: &Path, now: SystemTime) -> Option<Duration> {
    let modified = std::fs::symlink_metadata(path).and_then(|found| found.modified()).ok()?;
    now.duration_since(modified).ok()
}

fn part_name(number: usize) -> String {
    format!("part-{number:05}")
}

/// As an ETag does, the tag follows from the content: the same bytes sent twice have the same tag.
fn tag_of(body: &[u8]) -> PartTag {
    PartTag(hash_of(body))
}

/// [`TAG_BYTES`] hexadecimal digits.
pub(super) fn hash_of(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("{:016x}", hasher.finish())
}

/// Writes the parts, the first being part 1, one after the other into `object`.
fn assemble(directory: &Path, object: &Path, parts: &[PartTag]) -> Result<(), FileError> {
    // A completion that was killed may have left one.
    let mut whole = File::create(object).map_err(FileError::io("create", object))?;
    for (number, tag) in (1..).zip(parts) {
        let path = directory.join(part_name(number));
        let mut part = match File::open(&path) {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FileError::InvalidPart(number));
            }
            Err(error) => return Err(FileError::io("open", &path)(error)),
        };
        let mut held = [0; TAG_BYTES];
        part.read_exact(&mut held).map_err(FileError::io("read", &path))?;
        if held != tag.0.as_bytes() {
            return Err(FileError::InvalidPart(number));
        }
        io::copy(&mut part, &mut whole).map_err(FileError::io("write", object))?;
    }
    whole.sync_all().map_err(FileError::io("write", object))
}
