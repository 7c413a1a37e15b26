//! Glue: the table over the output, and the columns that a release brings to it.
//!
//! Order: the table is replaced as it was read and no other: its version goes with the update.
//! Source: AWS Glue API, "Table API". `TableInput` takes fewer fields than `Table` has; others are refused.
//! Neighbours: aws; apply::widen decides.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ledger::columns::{self, Column};
use ledger::store::Store;
use serde_json::{Map, Value, json};

use super::plain::Service;
use super::{Aws, Call};
use crate::apply::ports::Catalog;
use crate::apply::widen::{Widened, widened};
use crate::observe::ports::{CallError, CallFault};
use crate::release::ReleaseId;

const SERVICE: Service = Service { id: "Glue", target: "AWSGlue" };
const TABLE_INPUT: [&str; 11] = [
    "Description",
    "LastAccessTime",
    "LastAnalyzedTime",
    "Name",
    "Owner",
    "Parameters",
    "PartitionKeys",
    "Retention",
    "StorageDescriptor",
    "TableType",
    "ViewExpandedText",
];

/// One table of Glue's, over one output.
#[derive(Clone)]
pub struct GlueTable {
    pub aws: Aws,
    pub store: Arc<dyn Store>,
    pub database: String,
    pub table: String,
}

impl fmt::Debug for GlueTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlueTable").field("database", &self.database).field("table", &self.table).finish()
    }
}

#[async_trait]
impl Catalog for GlueTable {
    async fn widen(&self, release: &ReleaseId) -> Result<Option<Widened>, CallError> {
        let read = columns::read(self.store.as_ref(), release.as_str()).await;
        let wanted = read.map_err(|error| CallError {
            what: format!("read the columns of release {release}"),
            fault: CallFault::Unknown,
            source: Box::new(error),
        })?;
        let Some(wanted) = wanted else { return Ok(None) };
        let found = self.read().await?;
        let after = widened(
            &columns_at(&found, "/StorageDescriptor/Columns"),
            &columns_at(&found, "/PartitionKeys").into_iter().map(|column| column.name).collect::<Vec<_>>(),
            &wanted,
        );
        if !after.gained.is_empty() {
            self.replace(&found, &after.columns).await?;
        }
        Ok(Some(after))
    }
}

impl GlueTable {
    async fn read(&self) -> Result<Value, CallError> {
        let region = self.aws.own_region(Call::GetTable)?;
        let asked = json!({ "DatabaseName": self.database, "Name": self.table });
        let mut answer = self.aws.plain.json(Call::GetTable, SERVICE, region, &self.name(), &asked).await?;
        match answer.get_mut("Table").map(Value::take) {
            Some(Value::Object(table)) => Ok(Value::Object(table)),
            Some(_) | None => {
                Err(Call::GetTable.odd(&self.name(), CallFault::Unknown, "the answer has no Table"))
            }
        }
    }

    async fn replace(&self, found: &Value, columns: &[Column]) -> Result<(), CallError> {
        let region = self.aws.own_region(Call::UpdateTable)?;
        let kept = TABLE_INPUT.iter().filter_map(|key| Some(((*key).to_owned(), found.get(key)?.clone())));
        let mut input = Value::Object(kept.collect::<Map<String, Value>>());
        // Each as it was read: it may have a comment.
        let there = found.pointer("/StorageDescriptor/Columns").and_then(Value::as_array);
        let columns = columns.iter().map(|column| {
            let same = there.into_iter().flatten().find(|it| it["Name"] == column.name.as_str());
            let mut column_input = same.cloned().unwrap_or_else(|| json!({ "Name": column.name }));
            column_input["Type"] = column.kind.clone().into();
            column_input
        });
        input["StorageDescriptor"]["Columns"] = columns.collect();
        let mut asked = json!({ "DatabaseName": self.database, "TableInput": input });
        if let Some(version) = found.get("VersionId") {
            asked["VersionId"] = version.clone();
        }
        self.aws.plain.json(Call::UpdateTable, SERVICE, region, &self.name(), &asked).await.map(drop)
    }

    fn name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}

fn columns_at(table: &Value, pointer: &str) -> Vec<Column> {
    let columns = table.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let text = |column: &Value, key: &str| column.get(key).and_then(Value::as_str).map(str::to_lowercase);
    let named = |column: &Value| {
        Some(Column { name: text(column, "Name")?, kind: text(column, "Type").unwrap_or_default() })
    };
    columns.filter_map(named).collect()
}
