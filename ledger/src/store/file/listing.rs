//! Listing: keys in the order of their bytes, from a directory tree.
//!
//! Order: a directory's names are sorted as if each subdirectory's ended in `/`; walking them so, depth first,
//! visits all keys in order, and can stop at the limit.
//! Neighbours: file. Blocking.

use std::fs::DirEntry;
use std::io;
use std::path::Path;

use super::{Disk, FileError, ObjectMeta, WORKSHOP, is_absent};

/// What a listing asks for, and what it has.
struct Walk<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
    found: Vec<ObjectMeta>,
}

impl Disk {
    pub(super) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>, FileError> {
        if !self.root.is_dir() {
            return Err(FileError::RootMissing(self.root.clone()));
        }
        let mut walk = Walk { prefix, after, limit, found: Vec::new() };
        walk.directory(&self.root, "")?;
        Ok(walk.found)
    }
}

impl Walk<'_> {
    /// Visits the directory whose keys start with `base` (empty, or ending in `/`).
    fn directory(&mut self, path: &Path, base: &str) -> Result<(), FileError> {
        for (key, entry) in self.children(path, base)? {
            if self.found.len() >= self.limit {
                return Ok(());
            }
            if key.ends_with('/') {
                self.directory(&entry.path(), &key)?;
            } else if key.starts_with(self.prefix) && self.after.is_none_or(|after| key.as_str() > after) {
                self.object(key, &entry)?;
            }
        }
        Ok(())
    }

    /// What may hold keys that are asked for, sorted; the keys of directories end in `/`.
    fn children(&self, path: &Path, base: &str) -> Result<Vec<(String, DirEntry)>, FileError> {
        let read = || {
            let mut children = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else {
                    tracing::warn!(path = %entry.path().display(), "a name that is not UTF-8 is no object");
                    continue;
                };
                let mut key = format!("{base}{name}");
                // A link to a directory is not walked: it may lead round in a circle.
                let is_directory = entry.file_type()?.is_dir();
                if is_directory {
                    key.push('/');
                }
                if key != format!("{WORKSHOP}/") && (!is_directory || self.may_hold(&key)) {
                    children.push((key, entry));
                }
            }
            Ok(children)
        };
        match read() {
            Ok(mut children) => {
                children.sort_by(|(a, _), (b, _)| a.cmp(b));
                Ok(children)
            }
            // It was empty and someone removed it.
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(error) => Err(FileError::io("list", path)(error)),
        }
    }

    /// Whether a key that starts with `base` can be asked for.
    fn may_hold(&self, base: &str) -> bool {
        let under = base.starts_with(self.prefix) || self.prefix.starts_with(base);
        under && self.after.is_none_or(|after| base > after || after.starts_with(base))
    }

    fn object(&mut self, key: String, entry: &DirEntry) -> Result<(), FileError> {
        let path = entry.path();
        let look = || -> io::Result<_> {
            let found = std::fs::metadata(&path)?;
            Ok((found.is_file(), found.len(), found.modified()?))
        };
        match look() {
            Ok((true, bytes, modified)) => self.found.push(ObjectMeta { key, bytes, modified }),
            // A link to a directory, a pipe: not ours.
            Ok((false, _, _)) => {}
            // Deleted since the directory was read.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(FileError::io("look at", &path)(error)),
        }
        Ok(())
    }
}
