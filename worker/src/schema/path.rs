//! Path: finds a column, or a field inside a struct, by its dotted name.
//!
//! Neighbours: the schema; who partitions by a column asks here.

use arrow_schema::{DataType, Field, Schema};

/// Where a path leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedColumn {
    /// The column's index, then the index in each struct on the way.
    pub indices: Vec<usize>,
    pub data_type: DataType,
    /// Whether the value, or any struct on the way to it, may be null.
    pub nullable: bool,
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathError {
    #[error("find column `{path}`: there is no `{name}`; there are {known}")]
    Unknown { path: String, name: String, known: String },
    #[error(
        "find column `{path}`: `{name}` is {data_type}; a path leads only through structs, to a single value a row"
    )]
    NotAStruct { path: String, name: String, data_type: String },
}

/// Finds `["order", "country"]` in a schema; metadata columns are found in the output schema only.
pub fn resolve(schema: &Schema, path: &[String]) -> Result<ResolvedColumn, PathError> {
    let whole = || path.join(".");
    let mut fields = schema.fields();
    let mut found: Option<(&Field, &String)> = None;
    let mut indices = Vec::with_capacity(path.len());
    let mut nullable = false;
    for name in path {
        if let Some((outer, outer_name)) = found {
            let DataType::Struct(inner) = outer.data_type() else {
                return Err(PathError::NotAStruct {
                    path: whole(),
                    name: outer_name.clone(),
                    data_type: outer.data_type().to_string(),
                });
            };
            fields = inner;
        }
        let Some((index, field)) = fields.find(name) else {
            return Err(PathError::Unknown { path: whole(), name: name.clone(), known: list(fields) });
        };
        indices.push(index);
        nullable |= field.is_nullable();
        found = Some((field, name));
    }
    match found {
        Some((field, _)) => Ok(ResolvedColumn { indices, data_type: field.data_type().clone(), nullable }),
        None => Err(PathError::Unknown { path: whole(), name: String::new(), known: list(fields) }),
    }
}

/// The names that would be right, cut where a person stops to read.
fn list(fields: &arrow_schema::Fields) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<String> =
        fields.iter().take(SHOWN).map(|field| format!("`{}`", field.name())).collect();
    if fields.len() > SHOWN {
        names.push(format!("{} more", fields.len() - SHOWN));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{output_schema, parse, timestamp_type};
    use crate::settings::MetadataColumns;

    fn found(path: &str) -> Result<ResolvedColumn, PathError> {
        let table = parse(
            "CREATE TABLE t (event_time timestamp NOT NULL,
             `order` struct<id: bigint NOT NULL, ship: struct<country: string>> NOT NULL, tags array<string>)",
        )
        .expect("the test's schema is right");
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        resolve(&output_schema(&table, MetadataColumns::default()), &path)
    }

    #[test]
    fn columns_fields_and_metadata_are_found() {
        let time = found("event_time").expect("there");
        assert_eq!(time, ResolvedColumn { indices: vec![0], data_type: timestamp_type(), nullable: false });
        let id = found("order.id").expect("there");
        assert_eq!(id, ResolvedColumn { indices: vec![1, 0], data_type: DataType::Int64, nullable: false });
        let country = found("order.ship.country").expect("there");
        assert_eq!(
            country,
            ResolvedColumn { indices: vec![1, 1, 0], data_type: DataType::Utf8, nullable: true }
        );
        assert_eq!(found("_timestamp").expect("there").indices, [6]);
    }

    #[test]
    fn a_wrong_path_is_answered_with_what_would_be_right() {
        let unknown = found("order.country").expect_err("not there").to_string();
        assert_eq!(unknown, "find column `order.country`: there is no `country`; there are `id`, `ship`");
        let list = found("tags.element").expect_err("not a struct").to_string();
        assert!(list.contains("`tags` is List"), "{list}");
        assert!(resolve(&Schema::empty(), &[]).is_err());
    }
}
