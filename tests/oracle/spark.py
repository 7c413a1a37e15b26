"""Reads a table with Apache Spark, as any Spark job would, and compares every value with DuckDB's and pyarrow's.

Reads one JSON request on stdin, writes one JSON answer on stdout.

  {"dir": "/path of the output", "ddl": "the CREATE TABLE statement that was declared", "scratch": "/path"}

By path alone: neither the ledger nor a metastore is asked. One core, a small heap, addresses of 127.0.0.1 only.
"""

import datetime
import decimal
import json
import math
import os
import pathlib
import sys

import duckdb
import pyarrow.dataset
from pyspark.sql import SparkSession

SHOWN = 5
UTC = datetime.timezone.utc


def start(scratch):
    # Before the JVM looks for an address of its own.
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    settings = {
        "spark.driver.memory": "512m",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={scratch} -Djava.io.tmpdir={scratch}",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": scratch,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.warehouse.dir": f"{scratch}/warehouse",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[1]").appName("landfall-tests")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def plain(value):
    """One form for what the three readers return: maps and structs are dictionaries, instants are in UTC."""
    if value is None or isinstance(value, (bool, int, str, decimal.Decimal)):
        return value
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, datetime.datetime):
        return value.astimezone(UTC)  # Spark's has no zone and means this machine's.
    if isinstance(value, datetime.date):
        return value
    if hasattr(value, "asDict"):
        return plain(value.asDict())
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        # pyarrow shows a map as a list of pairs; Spark's rows are tuples too, but of a type of their own.
        if value and all(type(one) is tuple for one in value):
            return {key: plain(one) for key, one in value}
        return [plain(one) for one in value]
    raise TypeError(f"no plain form for {type(value)}: {value!r}")


def by_place(rows):
    """Rows by what no two share."""
    placed = {(row["_topic"], row["_partition"], row["_offset"]): row for row in rows}
    assert len(placed) == len(rows), "an offset stands twice"
    return placed


def differences(spark, other, empty_maps):
    """Cells that another reader sees otherwise: how many, and some of them."""
    found = []
    for place in sorted(spark.keys() | other.keys()):
        one, two = spark.get(place), other.get(place)
        if one is None or two is None or one.keys() != two.keys():
            found.append([str(place), "row or columns", sorted(one or {}), sorted(two or {})])
            continue
        for name, value in one.items():
            told = {} if name in empty_maps and two[name] == [] else two[name]
            if type(value) is not type(told) or value != told:
                found.append([str(place), name, repr(value), repr(told)])
    return {"count": len(found), "shown": found[:SHOWN]}


def main():
    request = json.load(sys.stdin)
    root = pathlib.Path(request["dir"])
    data = str(root / "data")
    spark = start(request["scratch"])
    table = spark.read.parquet(data)
    rows = by_place([plain(row) for row in table.collect()])

    # What Spark itself makes of the declaration.
    spark.sql(request["ddl"].strip().rstrip(";") + " USING parquet")
    declared = spark.table(request["table"]).schema

    maps = {field.name for field in table.schema if field.dataType.typeName() == "map"}
    arrow = pyarrow.dataset.dataset(data, partitioning="hive").to_table().to_pylist()
    db = duckdb.connect()
    db.execute("SET threads = 1; SET TimeZone = 'UTC'")
    duck = db.read_parquet(f"{data}/**/*.parquet", hive_partitioning=True).to_arrow_table().to_pylist()

    def by_hive(row):
        """Directories are text, and each reader guesses their type: 7 here is 07 there."""
        return {name: str(value).lstrip("0") if name in request["hive"] else plain(value) for name, value in row.items()}

    mine = {place: by_hive(row) for place, row in rows.items()}
    # A range that is a small part of a file: parquet-java looks for its pages in the page index. Both of Spark's
    # readers, the one that decodes columns by itself and parquet-java's.
    low, high = request["ids"]
    ranges = {}
    for reader in ["true", "false"]:
        spark.conf.set("spark.sql.parquet.enableVectorizedReader", reader)
        found = spark.read.parquet(data).where(f"id BETWEEN {low} AND {high}").collect()
        found = {place: by_hive(row) for place, row in by_place([plain(row) for row in found]).items()}
        wanted = {place: row for place, row in mine.items() if low <= row["id"] <= high}
        ranges[reader] = {"rows": len(found), "differs": differences(wanted, found, maps)}

    answer = {
        "version": spark.version,
        "types": {field.name: field.dataType.simpleString() for field in table.schema},
        "declared": {field.name: field.dataType.simpleString() for field in declared},
        "rows": len(rows),
        # Of a reader that points at the whole output.
        "rows_prefix": spark.read.parquet(str(root)).count(),
        "files": sorted(path.removeprefix(f"file://{data}/") for path in table.inputFiles()),
        "pyarrow": differences(mine, by_place([by_hive(row) for row in arrow]), maps),
        "duckdb": differences(mine, by_place([by_hive(row) for row in duck]), maps),
        "ranges": ranges,
    }
    spark.stop()
    json.dump(answer, sys.stdout)


main()
