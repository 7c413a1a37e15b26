//! Columns: what the data files of a release hold, for those who keep tables over them.
//!
//! Order: written once a release, when its worker starts; nothing of the ledger depends on it.
//! Neighbours: the worker writes it, the deployer reads it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError};

/// Beside the ledger, and no part of it.
pub const PREFIX: &str = "_landfall/columns/";
pub const FORMAT: u32 = 1;

/// A column as Hive, Glue and Athena name it: name and type in lower case.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Column {
    pub name: String,
    /// `bigint`, `array<struct<a:int>>`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The body of `_landfall/columns/<release>.json`. What directories hold (partitions) is not in it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Columns {
    pub format: u32,
    pub columns: Vec<Column>,
}

/// Why columns could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ColumnsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`{key}` is not in a format that this build reads: deploy the build that goes with the worker")]
    Malformed {
        key: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

pub fn key(release: &str) -> String {
    format!("{PREFIX}{release}.json")
}

/// Writes them, unless that was done.
///
/// # Errors
/// As the store's.
pub async fn write(store: &dyn Store, release: &str, columns: Vec<Column>) -> Result<(), StoreError> {
    let body = serde_json::to_vec(&Columns { format: FORMAT, columns }).expect("strings are JSON");
    store.put_if_absent(&key(release), Bytes::from(body)).await.map(drop)
}

/// `None`: the release never ran, or its worker is older than this.
///
/// # Errors
/// As the store's; or it is in another format.
pub async fn read(store: &dyn Store, release: &str) -> Result<Option<Vec<Column>>, ColumnsError> {
    let key = key(release);
    let Some(body) = store.get(&key).await? else { return Ok(None) };
    let read =
        serde_json::from_slice::<Columns>(&body).map_err(Box::<dyn std::error::Error + Send + Sync>::from);
    match read {
        Ok(Columns { format: FORMAT, columns }) => Ok(Some(columns)),
        Ok(Columns { format, .. }) => {
            Err(ColumnsError::Malformed { key, source: format!("its format is {format}").into() })
        }
        Err(source) => Err(ColumnsError::Malformed { key, source }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::memory::MemoryStore;

    fn columns() -> impl Strategy<Value = Vec<Column>> {
        let column = ("[a-z_]{1,8}", "[a-z<>:,]{1,12}").prop_map(|(name, kind)| Column { name, kind });
        proptest::collection::vec(column, 0..5)
    }

    proptest! {
        #[test]
        fn what_was_written_first_is_read(first in columns(), second in columns()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let store = MemoryStore::new();
                assert_eq!(read(&store, "r").await.unwrap(), None);
                write(&store, "r", first.clone()).await.unwrap();
                write(&store, "r", second).await.unwrap();
                assert_eq!(read(&store, "r").await.unwrap(), Some(first));
            });
        }
    }

    #[tokio::test]
    async fn another_format_is_told() {
        let store = MemoryStore::new();
        store.overwrite(&key("r"), Bytes::from_static(br#"{"format": 2, "columns": []}"#));
        let error = read(&store, "r").await.unwrap_err();
        assert!(error.to_string().contains("_landfall/columns/r.json"), "{error}");
        store.overwrite(&key("r"), Bytes::from_static(b"{"));
        assert!(read(&store, "r").await.is_err());
    }
}
