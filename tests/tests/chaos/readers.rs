//! What other programs see in the output.

use serde_json::json;
use tests::peers;
use tests::pipeline::SCHEMA;
use tests::scene::Scene;

use crate::{LATER, SOON};

#[test]
fn duckdb_and_pyarrow_read_the_declared_types() {
    let Some(mut scene) = Scene::new("readers") else { return };
    let topic = scene.topic("records", 3, &[]);
    scene.produce(&topic, 3, 900);
    // A dead letter makes a file under _landfall/, which readers of the table must not see.
    let broken = tests::kafka::Outgoing { partition: 0, id: 0, key: None, value: Some(b"{".to_vec()) };
    scene.feed().send(&topic, [broken]);
    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 3, SOON);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();

    let seen = scene.oracle.inspect(&scene.output);
    assert_eq!(seen["codecs"], json!(["ZSTD"]));
    assert_eq!(seen["unindexed"], json!([]), "every column chunk has both page indexes");
    assert_eq!(seen["schemas"], json!(1));
    for rows in ["rows_duckdb", "rows_arrow_data", "rows_arrow_prefix"] {
        assert_eq!(seen[rows], json!(900), "{rows}: _landfall/ is invisible");
    }
    assert_eq!(
        seen["hive"],
        json!(["dt=2026-11-22/hour=05", "dt=2026-11-22/hour=06", "dt=2026-11-22/hour=07"])
    );
    let duckdb = [
        ("id", "BIGINT"),
        ("name", "VARCHAR"),
        ("flag", "BOOLEAN"),
        ("tiny", "TINYINT"),
        ("small", "SMALLINT"),
        ("medium", "INTEGER"),
        ("ratio", "FLOAT"),
        ("amount", "DOUBLE"),
        ("price", "DECIMAL(12,2)"),
        ("day", "DATE"),
        ("blob", "BLOB"),
        ("tags", "VARCHAR[]"),
        ("labels", "MAP(VARCHAR, BIGINT)"),
        ("place", "STRUCT(city VARCHAR, zip INTEGER)"),
        ("_topic", "VARCHAR"),
        ("_partition", "INTEGER"),
        ("_offset", "BIGINT"),
    ];
    for (column, kind) in duckdb {
        assert_eq!(seen["duckdb"][column], json!(kind), "{column}");
    }
    for column in ["at", "_timestamp"] {
        let kind = seen["duckdb"][column].as_str().unwrap_or("");
        assert!(kind.starts_with("TIMESTAMP"), "{column} is {kind}");
        let kind = seen["arrow"][column].as_str().unwrap_or("");
        assert!(kind.starts_with("timestamp[us"), "{column} is {kind}");
    }
    assert_eq!(seen["nullable"]["id"], json!(false), "NOT NULL is kept");
    for key in ["landfall.entry_id", "landfall.offsets", "landfall.release"] {
        let keys = seen["metadata_keys"].as_array().expect("a list");
        assert!(keys.contains(&json!(key)), "{key} among {keys:?}");
    }
    values_are_as_sent(&seen["rows"]);
}

/// Beside types and values: Spark's own readers find pages by the index that we wrote.
#[test]
fn spark_reads_the_declared_types_and_sees_what_duckdb_and_pyarrow_see() {
    let Some(mut scene) = Scene::new("spark") else { return };
    let Some(spark) = peers::spark("Spark as a reader") else { return };
    scene.pipeline.metadata = vec!["topic", "partition", "offset", "timestamp", "key", "headers"];
    // One flush, so that a file has more rows than a page.
    scene.pipeline.age_max = "60s";
    scene.pipeline.idle_max = "2s";
    let topic = scene.topic("records", 3, &[]);
    let rows = 30_000;
    scene.produce(&topic, 3, rows);
    let broken = tests::kafka::Outgoing { partition: 0, id: 0, key: None, value: Some(b"{".to_vec()) };
    scene.feed().send(&topic, [broken]);
    let mut worker = scene.worker("worker");
    scene.wait_until_at_end(&topic, 3, LATER);
    assert_eq!(worker.drain(SOON).code, Some(0));
    scene.count().assert_exact();
    let entries = scene.oracle.entries(&scene.output);
    let files = entries.iter().filter_map(|entry| entry["files"].as_array()).flatten();
    let largest = files.filter_map(|file| file["rows"].as_i64()).max();
    assert!(largest > Some(8192), "a file of more than one page of 8,192 rows: {largest:?}");

    let seen = scene.oracle.spark(&spark, &scene.output, SCHEMA, "events", &["dt", "hour"], [15_000, 15_099]);
    assert_eq!(seen["rows"], json!(rows));
    assert_eq!(seen["rows_prefix"], json!(rows), "_landfall/ is invisible, its dead letter too");
    let types = [
        ("id", "bigint"),
        ("at", "timestamp"),
        ("name", "string"),
        ("flag", "boolean"),
        ("tiny", "tinyint"),
        ("small", "smallint"),
        ("medium", "int"),
        ("ratio", "float"),
        ("amount", "double"),
        ("price", "decimal(12,2)"),
        ("day", "date"),
        ("blob", "binary"),
        ("tags", "array<string>"),
        ("labels", "map<string,bigint>"),
        ("place", "struct<city:string,zip:int>"),
    ];
    let beside = [
        ("_topic", "string"),
        ("_partition", "int"),
        ("_offset", "bigint"),
        ("_timestamp", "timestamp"),
        ("_key", "binary"),
        ("_headers", "array<struct<name:string,value:binary>>"),
        // Spark guesses from the directories' names.
        ("dt", "date"),
        ("hour", "int"),
    ];
    let as_map = |types: &[(&str, &str)]| {
        types.iter().map(|(name, kind)| ((*name).to_owned(), json!(kind))).collect::<serde_json::Map<_, _>>()
    };
    assert_eq!(seen["declared"], json!(as_map(&types)), "as Spark itself reads schema.sql");
    assert_eq!(seen["types"], json!(as_map(&[types.as_slice(), &beside].concat())));
    for reader in ["pyarrow", "duckdb"] {
        assert_eq!(seen[reader]["count"], json!(0), "{reader} sees other values: {}", seen[reader]);
    }
    for vectorized in ["true", "false"] {
        let range = &seen["ranges"][vectorized];
        assert_eq!(range["rows"], json!(100), "vectorized: {vectorized}");
        assert_eq!(range["differs"]["count"], json!(0), "vectorized: {vectorized}: {range}");
    }
}

/// Two rows, one with everything and one without its optional struct.
fn values_are_as_sent(rows: &serde_json::Value) {
    let row = |id: &str| {
        let rows = rows.as_array().expect("rows");
        rows.iter().find(|row| row["id"] == json!(id)).unwrap_or_else(|| panic!("row {id} is among {rows:?}"))
    };
    let full = row("4");
    assert_eq!(full["name"], json!("name 4"));
    assert_eq!(full["flag"], json!("True"));
    assert_eq!(full["amount"], json!("1.0"));
    assert_eq!(full["price"], json!("4.04"));
    assert_eq!(full["day"], json!("2026-11-22"));
    assert_eq!(full["tags"], json!("['a', 't4']"));
    assert_eq!(full["place"], json!("{'city': 'Zürich', 'zip': 8004}"));
    assert!(full["at"].as_str().unwrap_or("").starts_with("2026-11-22 05:00:01.004"), "{full}");
    let sparse = row("5");
    assert_eq!(sparse["place"], json!("None"));
    assert!(sparse["at"].as_str().unwrap_or("").starts_with("2026-11-22 06:00:01.005"), "{sparse}");
}
