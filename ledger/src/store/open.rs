//! Open: from a URL to a store.
//!
//! Neighbours: the stores.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Store;
use super::file::{FileError, FileStore};
use super::key::{KeyError, check_key};
use super::s3::{NoRegion, S3Options, S3Store};

/// Why a URL opens no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("read `{url}` as a store: {why}")]
    Malformed { url: String, why: Why },
    #[error("open {url}")]
    File { url: String, source: FileError },
    #[error("open {url}")]
    Region { url: String, source: NoRegion },
}

/// What is wrong with a URL.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Why {
    #[error("it is empty: write `s3://bucket/prefix` or `file:///directory`")]
    Empty,
    #[error("it has no scheme: write `s3://bucket/prefix` or `file:///directory`")]
    NoScheme,
    #[error("`{0}:` is no scheme of a store: write `s3://bucket/prefix` or `file:///directory`")]
    Scheme(String),
    #[error("`s3a:` and `s3n:` are Hadoop's words for it: write `s3://bucket/prefix`")]
    Hadoop,
    #[error("a store in memory ends with the process: it is for tests, which make it themselves")]
    Memory,
    #[error("a bucket's name comes after `s3://`")]
    NoBucket,
    #[error(
        "`{0}` is no bucket's name: 3 to 63 lower-case letters, digits, `-` and `.`, a letter or digit at each end"
    )]
    Bucket(String),
    #[error("a directory bucket (`--x-s3`) does not list in the order of keys, which the ledger needs")]
    DirectoryBucket,
    #[error("{0}")]
    Prefix(KeyError),
    #[error("a query or fragment (`?`, `#`) means nothing here")]
    Query,
    #[error("a directory is named by its whole path: write `file:///{0}`")]
    NotAbsolute(String),
}

#[derive(Debug, Eq, PartialEq)]
enum Place {
    S3 { bucket: String, prefix: String },
    File(PathBuf),
}

/// Opens `s3://bucket/prefix` or `file:///directory`. A directory is made with all its parents when it is not
/// there; nothing is sent to S3 yet, so a wrong bucket shows at the first call.
pub async fn open(url: &str, options: &S3Options) -> Result<Arc<dyn Store>, OpenError> {
    open_place(url, options, FileStore::create).await
}

/// The same for who only reads: a directory that is not there is an error.
pub async fn open_existing(url: &str, options: &S3Options) -> Result<Arc<dyn Store>, OpenError> {
    open_place(url, options, FileStore::open).await
}

async fn open_place(
    url: &str,
    options: &S3Options,
    directory: fn(&Path) -> Result<FileStore, FileError>,
) -> Result<Arc<dyn Store>, OpenError> {
    match parse(url).map_err(|why| OpenError::Malformed { url: url.to_owned(), why })? {
        Place::File(root) => match directory(&root) {
            Ok(store) => Ok(Arc::new(store)),
            Err(source) => Err(OpenError::File { url: url.to_owned(), source }),
        },
        Place::S3 { bucket, prefix } => match S3Store::connect(&bucket, &prefix, options).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(source) => Err(OpenError::Region { url: url.to_owned(), source }),
        },
    }
}

/// Whether `url` can be opened, as far as it can be told from its letters.
pub fn check_url(url: &str) -> Result<(), Why> {
    parse(url).map(|_| ())
}

fn parse(url: &str) -> Result<Place, Why> {
    if url.trim().is_empty() {
        return Err(Why::Empty);
    }
    let Some((scheme, rest)) = url.split_once(':') else { return Err(Why::NoScheme) };
    match scheme {
        "s3" => parse_s3(rest),
        "s3a" | "s3n" => Err(Why::Hadoop),
        "file" => parse_file(rest),
        "memory" => Err(Why::Memory),
        // A path with a colon somewhere is no scheme.
        other if other.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') && !other.is_empty() => {
            Err(Why::Scheme(other.to_owned()))
        }
        _ => Err(Why::NoScheme),
    }
}

fn parse_s3(rest: &str) -> Result<Place, Why> {
    let Some(rest) = rest.strip_prefix("//") else { return Err(Why::NoBucket) };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(Why::NoBucket);
    }
    if rest.contains(['?', '#']) {
        return Err(Why::Query);
    }
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let letters = bucket.as_bytes();
    if !(3..=63).contains(&letters.len())
        || !ends(letters.first())
        || !ends(letters.last())
        || !letters.iter().copied().all(inside)
    {
        return Err(Why::Bucket(bucket.to_owned()));
    }
    if bucket.ends_with("--x-s3") {
        return Err(Why::DirectoryBucket);
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() {
        check_key(prefix).map_err(Why::Prefix)?;
    }
    Ok(Place::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// What follows `file://` is the path as it is, without percent-encoding.
fn parse_file(rest: &str) -> Result<Place, Why> {
    let path = match rest.strip_prefix("//") {
        Some(path) => path,
        // `file:/directory` is right by RFC 8089.
        None => rest,
    };
    if !path.starts_with('/') {
        return Err(Why::NotAbsolute(path.to_owned()));
    }
    Ok(Place::File(PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let s3 = |bucket: &str, prefix: &str| {
            Ok(Place::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        };
        assert_eq!(parse("s3://bucket"), s3("bucket", ""));
        assert_eq!(parse("s3://bucket/"), s3("bucket", ""));
        assert_eq!(parse("s3://b-1.c/clicks/prod/"), s3("b-1.c", "clicks/prod"));
        assert_eq!(parse("file:///tmp/out put"), Ok(Place::File("/tmp/out put".into())));
        assert_eq!(parse("file:/tmp/out"), Ok(Place::File("/tmp/out".into())));
    }

    #[test]
    fn malformed_urls_say_what_is_wrong() {
        assert_eq!(parse(""), Err(Why::Empty));
        assert_eq!(parse("bucket/prefix"), Err(Why::NoScheme));
        assert_eq!(parse("/tmp/a:b"), Err(Why::NoScheme));
        assert_eq!(parse("gs://bucket"), Err(Why::Scheme("gs".to_owned())));
        assert_eq!(parse("s3a://bucket"), Err(Why::Hadoop));
        assert_eq!(parse("memory:"), Err(Why::Memory));
        assert_eq!(parse("s3://"), Err(Why::NoBucket));
        assert_eq!(parse("s3:bucket"), Err(Why::NoBucket));
        assert_eq!(parse("s3:///prefix"), Err(Why::NoBucket));
        assert_eq!(parse("s3://My_Bucket/p"), Err(Why::Bucket("My_Bucket".to_owned())));
        assert_eq!(parse("s3://b/p"), Err(Why::Bucket("b".to_owned())));
        assert_eq!(parse("s3://bucket--use1-az4--x-s3/p"), Err(Why::DirectoryBucket));
        assert_eq!(parse("s3://bucket//p"), Err(Why::Prefix(KeyError::EmptySegment)));
        assert_eq!(parse("s3://bucket/../p"), Err(Why::Prefix(KeyError::Dots)));
        assert_eq!(parse("s3://bucket/p?x=1"), Err(Why::Query));
        assert_eq!(parse("file://tmp/x"), Err(Why::NotAbsolute("tmp/x".to_owned())));
        assert_eq!(parse("file://"), Err(Why::NotAbsolute(String::new())));
    }

    #[tokio::test]
    async fn a_reader_does_not_make_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file://{}/new", directory.path().display());
        let options = S3Options::default();
        let error = open_existing(&url, &options).await.unwrap_err();
        assert!(matches!(error, OpenError::File { source: FileError::RootMissing(_), .. }), "{error}");
        assert_eq!(open(&url, &options).await.unwrap().url(), url);
        assert!(open_existing(&url, &options).await.is_ok());
    }
}
