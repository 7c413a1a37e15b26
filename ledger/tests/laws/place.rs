//! Place: an empty store of each sort, with what is claimed of it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use ledger::store::faulty::Faulty;
use ledger::store::file::FileStore;
use ledger::store::memory::MemoryStore;
use ledger::store::s3::S3Store;
use ledger::store::{PART_BYTES_MIN, S3Options, Store};
use uuid::Uuid;

pub struct Place {
    pub store: Arc<dyn Store>,
    /// The smallest part that may stand before the last.
    pub part_bytes: usize,
    /// Removed with the place.
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    fn of(store: Arc<dyn Store>, part_bytes: usize) -> Option<Place> {
        Some(Place { store, part_bytes, _directory: None })
    }

    pub async fn memory() -> Option<Place> {
        Place::of(Arc::new(MemoryStore::with_part_bytes_min(64)), 64)
    }

    pub async fn faulty_that_passes() -> Option<Place> {
        let memory = Arc::new(MemoryStore::with_part_bytes_min(64));
        Place::of(Arc::new(Faulty::new(memory)), 64)
    }

    pub async fn file() -> Option<Place> {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path()).unwrap();
        Some(Place { store: Arc::new(store), part_bytes: 1_000_000, _directory: Some(directory) })
    }

    pub async fn s3_ministack() -> Option<Place> {
        Place::of(S3Server::Ministack.store_in("landfall-laws").await?, PART_BYTES_MIN)
    }

    pub async fn s3_strict() -> Option<Place> {
        Place::of(S3Server::Strict.store_in("landfall-laws").await?, PART_BYTES_MIN)
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum S3Server {
    Ministack,
    Strict,
}

impl S3Server {
    /// A prefix of its own in a bucket, which is made unless its name says that there is none.
    pub async fn store_in(self, bucket: &str) -> Option<Arc<dyn Store>> {
        let variable = match self {
            S3Server::Ministack => "LANDFALL_TEST_S3_MINISTACK",
            S3Server::Strict => "LANDFALL_TEST_S3_STRICT",
        };
        let Ok(endpoint) = std::env::var(variable) else {
            not_tested(self, variable);
            return None;
        };
        let options = S3Options { endpoint: Some(endpoint), path_style: true, region: None };
        let prefix = format!("laws/{}", Uuid::new_v4());
        let store = S3Store::connect(bucket, &prefix, &options).await.unwrap();
        if !bucket.contains("no-such") && store.client().head_bucket().bucket(bucket).send().await.is_err() {
            let made = store.client().create_bucket().bucket(bucket).send().await;
            // Another test may have been quicker.
            if let Err(error) = made {
                let there = store.client().head_bucket().bucket(bucket).send().await.is_ok();
                assert!(there, "make bucket {bucket} at {variable}: {error:?}");
            }
        }
        Some(Arc::new(store))
    }
}

/// Past the test harness, which shows nothing of tests that pass.
fn not_tested(server: S3Server, variable: &str) {
    static TOLD: Mutex<BTreeSet<S3Server>> = Mutex::new(BTreeSet::new());
    let first = TOLD.lock().unwrap().insert(server);
    if first {
        let what = format!("not tested: the laws of the store on S3 ({server:?}): {variable} is not set\n");
        std::io::stderr().write_all(what.as_bytes()).unwrap();
    }
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!in_ci, "{variable} is not set, and in CI nothing may go untested");
}
