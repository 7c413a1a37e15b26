//! What is done after a release proved itself: scaling and the table's columns, against moto, which refuses a target
//! without a service and a table that is not there.

use std::sync::Arc;

use deployer::apply::ports::{Catalog as _, Scaler as _};
use deployer::aws::GlueTable;
use deployer::journal::Scaling;
use deployer::release::ReleaseId;
use ledger::columns::{self, Column};
use ledger::store::memory::MemoryStore;
use serde_json::{Value, json};
use uuid::Uuid;

use super::adapters::adapter;
use super::peer;

fn name(prefix: &str) -> String {
    format!("{prefix}{}", &Uuid::new_v4().simple().to_string()[..12])
}

#[tokio::test]
async fn a_service_follows_its_lag_until_it_is_told_not_to() {
    let Some(calls) = peer("LANDFALL_TEST_S3_STRICT") else { return };
    let name = name("shop-");
    let aws = adapter(calls.endpoint(), &name);
    let scaling = Scaling { tasks_max: 4, lag_seconds: 300 };
    calls.call("ecs", "create_cluster", json!({"clusterName": name}));
    aws.scale(Some(scaling)).await.expect_err("there is no service yet");
    let container = json!({"name": "worker", "image": "worker", "memory": 512});
    calls.call(
        "ecs",
        "register_task_definition",
        json!({"family": name, "containerDefinitions": [container]}),
    );
    let service = json!({"cluster": name, "serviceName": name, "taskDefinition": name, "desiredCount": 1});
    calls.call("ecs", "create_service", service);

    let id = format!("service/{name}/{name}");
    let targets = || {
        let asked = json!({"ServiceNamespace": "ecs", "ResourceIds": [id]});
        calls.call("application-autoscaling", "describe_scalable_targets", asked)["ScalableTargets"].clone()
    };
    for tasks_max in [4, 8] {
        aws.scale(Some(Scaling { tasks_max, ..scaling })).await.expect("registered");
        let target = &targets()[0];
        assert_eq!((&target["MinCapacity"], &target["MaxCapacity"]), (&json!(1), &json!(tasks_max)));
        let asked = json!({"ServiceNamespace": "ecs", "ResourceId": id});
        let found = calls.call("application-autoscaling", "describe_scaling_policies", asked);
        assert_eq!(found["ScalingPolicies"].as_array().map(Vec::len), Some(1), "one, however often: {found}");
        let tracked = &found["ScalingPolicies"][0]["TargetTrackingScalingPolicyConfiguration"];
        assert_eq!(tracked["CustomizedMetricSpecification"]["MetricName"], "LagSeconds");
    }
    // On AWS the policy and its alarms go with it; moto keeps them.
    aws.scale(None).await.expect("deregistered");
    assert_eq!(targets(), json!([]));
}

#[tokio::test]
async fn a_table_gains_columns_and_nothing_else_of_it_changes() {
    let Some(calls) = peer("LANDFALL_TEST_S3_STRICT") else { return };
    let (database, service) = (name("lake_"), name("shop-"));
    calls.call("glue", "create_database", json!({"DatabaseInput": {"Name": database}}));
    let input = json!({
        "Name": "clicks", "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet", "projection.enabled": "true"},
        "PartitionKeys": [{"Name": "dt", "Type": "string"}],
        "StorageDescriptor": {
            "Location": "s3://lake/data/", "Columns": [{"Name": "id", "Type": "bigint", "Comment": "of the shop"}],
            "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
        },
    });
    calls.call("glue", "create_table", json!({"DatabaseName": database, "TableInput": input}));
    let column = |name: &str, kind: &str| Column { name: name.to_owned(), kind: kind.to_owned() };
    let store = MemoryStore::new();
    let wanted = vec![column("id", "bigint"), column("shop", "struct<id:int>"), column("dt", "string")];
    columns::write(&store, "r1", wanted).await.expect("written");
    let table = GlueTable {
        aws: adapter(calls.endpoint(), &service),
        store: Arc::new(store),
        database: database.clone(),
        table: "clicks".to_owned(),
    };
    let read = || {
        calls.call("glue", "get_table", json!({"DatabaseName": database, "Name": "clicks"}))["Table"].clone()
    };
    let before = read();
    let gained =
        |widened: Option<deployer::apply::widen::Widened>| widened.expect("columns are there").gained;
    let first = gained(table.widen(&ReleaseId::from("r1")).await.expect("widened"));
    let second = gained(table.widen(&ReleaseId::from("r1")).await.expect("looked at"));
    assert_eq!((first, second), (vec!["shop".to_owned()], Vec::new()));
    let after = read();
    let expected = json!([
        {"Name": "id", "Type": "bigint", "Comment": "of the shop"},
        {"Name": "shop", "Type": "struct<id:int>"},
    ]);
    assert_eq!(after["StorageDescriptor"]["Columns"], expected);
    let rest = |table: &Value| {
        let mut table = table.clone();
        table["StorageDescriptor"]["Columns"].take();
        ["PartitionKeys", "Parameters", "TableType", "StorageDescriptor"].map(|key| table[key].clone())
    };
    assert_eq!(rest(&after), rest(&before));
}
