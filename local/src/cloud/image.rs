//! Image: a directory that stands for a container's image, and the digest that names it.
//!
//! The directory is the container's root: `usr/local/bin/worker`, `pipeline/`, and `image.json`, which is the image's
//! configuration. Its manifest lists every file by path, size and sha256, sorted; its digest is the sha256 of the
//! manifest, as ECR's is. Times and owners are not content.
//! Neighbours: ecr keeps images, the driver runs them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.file";
/// The configuration's name in the image's directory.
pub const CONFIG_FILE: &str = "image.json";
/// Where the worker lies in it, as the task definition has it.
pub const WORKER_PATH: &str = "usr/local/bin/worker";
const FILES_MAX: usize = 1_000;

/// Why a directory is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("read `{path}` of an image")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("write `{path}` of an image")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("read the image `{0}`: it has no {CONFIG_FILE}")]
    NoConfig(PathBuf),
    #[error("read the image `{0}`: it has more than {FILES_MAX} files, or something that is no file")]
    Odd(PathBuf),
}

/// An image that can be pushed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// JSON, byte for byte what the digest is of.
    pub manifest: String,
    pub bytes: u64,
    /// The container's root.
    pub root: PathBuf,
}

/// Digests of files that were read already: an image's worker is a hard link to a file of a hundred megabytes.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeMap<(u64, u64, u64, i64), String>);

/// Makes an image's directory: `worker` is linked into it, `pipeline` is copied, then `change` may change files of the
/// pipeline: by name, from text to text.
pub fn build(
    root: &Path,
    worker: &Path,
    pipeline: &Path,
    change: impl Fn(&str, String) -> String,
) -> Result<(), ImageError> {
    let write = |path: &Path, source| ImageError::Write { path: path.to_owned(), source };
    let read = |path: &Path, source| ImageError::Read { path: path.to_owned(), source };
    let binary = root.join(WORKER_PATH);
    let home = binary.parent().unwrap_or(root);
    fs::create_dir_all(home).map_err(|source| write(home, source))?;
    // A file that is built anew later is another file; this one stays what it was.
    if fs::hard_link(worker, &binary).is_err() {
        fs::copy(worker, &binary).map_err(|source| write(&binary, source))?;
    }
    let directory = root.join("pipeline");
    fs::create_dir_all(&directory).map_err(|source| write(&directory, source))?;
    for entry in fs::read_dir(pipeline).map_err(|source| read(pipeline, source))? {
        let path = entry.map_err(|source| read(pipeline, source))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = fs::read_to_string(&path).map_err(|source| read(&path, source))?;
        let to = directory.join(&name);
        fs::write(&to, change(&name, text)).map_err(|source| write(&to, source))?;
    }
    let config = json!({ "architecture": "amd64", "os": "linux", "config": { "User": "65532:65532" } });
    let to = root.join(CONFIG_FILE);
    fs::write(&to, config.to_string()).map_err(|source| write(&to, source))
}

/// Reads a directory as an image.
pub fn read(root: &Path, known: &mut Known) -> Result<Image, ImageError> {
    let mut files = Vec::new();
    walk(root, root, &mut files)?;
    files.sort();
    let mut config = None;
    let (mut layers, mut bytes) = (Vec::new(), 0);
    for (name, path) in &files {
        let failed = |source| ImageError::Read { path: path.clone(), source };
        let about = fs::metadata(path).map_err(failed)?;
        let digest = known.digest(path, &about).map_err(failed)?;
        bytes += about.len();
        let mut blob = json!({ "mediaType": LAYER_TYPE, "digest": digest, "size": about.len() });
        if name == CONFIG_FILE {
            blob["mediaType"] = CONFIG_TYPE.into();
            config = Some(blob);
        } else {
            let mode = if about.permissions().mode() & 0o111 == 0 { "0644" } else { "0755" };
            blob["annotations"] = json!({ "org.opencontainers.image.title": name, "mode": mode });
            layers.push(blob);
        }
    }
    let config = config.ok_or_else(|| ImageError::NoConfig(root.to_owned()))?;
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers })
            .to_string();
    Ok(Image { digest: digest_of(manifest.as_bytes()), manifest, bytes, root: root.to_owned() })
}

/// `sha256:…` of bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    named(Sha256::digest(bytes).as_slice())
}

fn named(hash: &[u8]) -> String {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn walk(root: &Path, directory: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<(), ImageError> {
    let failed = |source| ImageError::Read { path: directory.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        if kind.is_dir() {
            walk(root, &path, files)?;
            continue;
        }
        let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned) else {
            return Err(ImageError::Odd(root.to_owned()));
        };
        if !kind.is_file() || files.len() >= FILES_MAX {
            return Err(ImageError::Odd(root.to_owned()));
        }
        files.push((name, path));
    }
    Ok(())
}

impl Known {
    fn digest(&mut self, path: &Path, about: &fs::Metadata) -> io::Result<String> {
        let key = (about.dev(), about.ino(), about.len(), about.mtime_nsec() ^ about.mtime());
        if let Some(digest) = self.0.get(&key) {
            return Ok(digest.clone());
        }
        let mut hash = Sha256::new();
        let mut file = fs::File::open(path)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        let digest = named(hash.finalize().as_slice());
        self.0.insert(key, digest.clone());
        Ok(digest)
    }
}

/// The layers' files, by path and digest.
pub fn files_of(manifest: &Value) -> Vec<(String, String)> {
    let layers = manifest.get("layers").and_then(Value::as_array).into_iter().flatten();
    let file = |layer: &Value| {
        let title = layer.pointer("/annotations/org.opencontainers.image.title")?.as_str()?;
        Some((title.to_owned(), layer.get("digest")?.as_str()?.to_owned()))
    };
    layers.filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(home: &Path, name: &str, change: impl Fn(&str, String) -> String) -> Image {
        let (worker, pipeline) = (home.join("worker"), home.join("source"));
        if !worker.exists() {
            fs::write(&worker, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&worker, fs::Permissions::from_mode(0o755)).unwrap();
            fs::create_dir(&pipeline).unwrap();
            fs::write(pipeline.join("pipeline.toml"), "name = \"a\"\n").unwrap();
        }
        let root = home.join(name);
        build(&root, &worker, &pipeline, change).unwrap();
        read(&root, &mut Known::default()).unwrap()
    }

    #[test]
    fn the_same_content_has_the_same_digest_wherever_it_lies() {
        let home = tempfile::tempdir().unwrap();
        let (one, two) = (image(home.path(), "1", |_, text| text), image(home.path(), "2", |_, text| text));
        assert_eq!((&one.digest, &one.manifest), (&two.digest, &two.manifest));
        assert_eq!(one.digest, digest_of(one.manifest.as_bytes()));
        assert_eq!(one.digest.len(), "sha256:".len() + 64);
    }

    #[test]
    fn another_byte_another_name_or_another_mode_is_another_image() {
        let home = tempfile::tempdir().unwrap();
        let plain = image(home.path(), "1", |_, text| text);
        let changed = image(home.path(), "2", |_, text| text + "#");
        let renamed = home.path().join("3");
        image(home.path(), "3", |_, text| text);
        fs::rename(renamed.join("pipeline/pipeline.toml"), renamed.join("pipeline/other.toml")).unwrap();
        let renamed = read(&renamed, &mut Known::default()).unwrap();
        assert_ne!(plain.digest, changed.digest);
        assert_ne!(plain.digest, renamed.digest);
        let toml = plain.root.join("pipeline/pipeline.toml");
        fs::set_permissions(&toml, fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(read(&plain.root, &mut Known::default()).unwrap().digest, plain.digest);
    }

    #[test]
    fn the_manifest_is_an_oci_manifest_of_all_files() {
        let home = tempfile::tempdir().unwrap();
        let image = image(home.path(), "1", |_, text| text);
        let manifest: Value = serde_json::from_str(&image.manifest).unwrap();
        assert_eq!(manifest["mediaType"], MANIFEST_TYPE);
        assert_eq!(manifest["config"]["mediaType"], CONFIG_TYPE);
        let names: Vec<String> = files_of(&manifest).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["pipeline/pipeline.toml", WORKER_PATH]);
    }

    #[test]
    fn a_directory_without_a_configuration_is_no_image() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("x"), "x").unwrap();
        assert!(matches!(read(home.path(), &mut Known::default()), Err(ImageError::NoConfig(_))));
    }
}
