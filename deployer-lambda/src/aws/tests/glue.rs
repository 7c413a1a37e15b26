//! Glue: a table as GetTable gives it, and what UpdateTable is sent.

use ledger::columns::{self, Column};

use super::*;
use crate::apply::ports::Catalog as _;
use crate::release::ReleaseId;

fn table() -> Value {
    json!({"Table": {
        "Name": "clicks", "DatabaseName": "lake", "CreateTime": 1.5, "UpdateTime": 2.5, "CreatedBy": "arn:…",
        "IsRegisteredWithLakeFormation": false, "CatalogId": "123456789012", "VersionId": "7", "Retention": 0,
        "TableType": "EXTERNAL_TABLE", "Parameters": {"projection.enabled": "true"},
        "PartitionKeys": [{"Name": "dt", "Type": "string"}],
        "StorageDescriptor": {
            "Location": "s3://lake/data/", "Columns": [{"Name": "id", "Type": "bigint", "Comment": "of the shop"}],
            "SerdeInfo": {"SerializationLibrary": "parquet"},
        },
    }})
}

async fn widened(server: &Server, wanted: Option<&[(&str, &str)]>) -> Result<Option<Vec<String>>, CallError> {
    let store = MemoryStore::new();
    if let Some(wanted) = wanted {
        let column =
            |(name, kind): &(&str, &str)| Column { name: (*name).to_owned(), kind: (*kind).to_owned() };
        columns::write(&store, "r1", wanted.iter().map(column).collect()).await.unwrap();
    }
    let (database, table) = ("lake".to_owned(), "clicks".to_owned());
    let glue = GlueTable { aws: aws(server), store: Arc::new(store), database, table };
    Ok(glue.widen(&ReleaseId::from("r1")).await?.map(|widened| widened.gained))
}

#[tokio::test]
async fn a_table_is_updated_as_it_was_read_with_new_columns_at_its_end() {
    let server = Server::start(|request| {
        Answer::json(&if request.operation() == "GetTable" { table() } else { json!({}) })
    })
    .await;
    let wanted = [("id", "bigint"), ("dt", "string"), ("shop", "struct<id:int>")];
    let gained = widened(&server, Some(&wanted)).await.unwrap();
    assert_eq!(gained, Some(vec!["shop".to_owned()]));
    let requests = server.requests();
    assert_eq!(requests[0].json(), json!({"DatabaseName": "lake", "Name": "clicks"}));
    assert_eq!(requests[1].header("x-amz-target"), "AWSGlue.UpdateTable");
    assert_eq!(sigv4::signature_in(&requests[1]), sigv4::signature_of(&requests[1], "glue"));
    let expected = json!({
        "DatabaseName": "lake", "VersionId": "7",
        "TableInput": {
            "Name": "clicks", "Retention": 0, "TableType": "EXTERNAL_TABLE",
            "Parameters": {"projection.enabled": "true"}, "PartitionKeys": [{"Name": "dt", "Type": "string"}],
            "StorageDescriptor": {
                "Location": "s3://lake/data/", "SerdeInfo": {"SerializationLibrary": "parquet"},
                "Columns": [
                    {"Name": "id", "Type": "bigint", "Comment": "of the shop"},
                    {"Name": "shop", "Type": "struct<id:int>"},
                ],
            },
        },
    });
    assert_eq!(requests[1].json(), expected);
}

#[tokio::test]
async fn a_table_that_has_all_of_it_is_only_read_and_without_columns_nothing_is_asked() {
    let server = Server::start(|_| Answer::json(&table())).await;
    assert_eq!(widened(&server, Some(&[("id", "bigint")])).await.unwrap(), Some(Vec::new()));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(widened(&server, None).await.unwrap(), None);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_table_that_somebody_else_changes_is_looked_at_again() {
    let server = Server::start(|request| match request.operation() {
        "GetTable" => Answer::json(&table()),
        _ => Answer::error(400, "ConcurrentModificationException", "the version is not the current one"),
    })
    .await;
    let error = widened(&server, Some(&[("shop", "string")])).await.unwrap_err();
    assert!(error.chain().starts_with("give columns to table `lake.clicks`: "), "{}", error.chain());
}
