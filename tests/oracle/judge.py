"""Judges the output as any reader would: by listing it, with DuckDB and pyarrow, and never through the ledger.

Reads one JSON request on stdin, writes one JSON answer on stdout.

  {"ask": "count",     "output": OUTPUT, "expected": "file of JSON lines: topic, partition, offset, id"}
  {"ask": "inspect",   "output": OUTPUT}
  {"ask": "dead-letters", "output": OUTPUT}
  {"ask": "head",      "output": OUTPUT}      the newest ledger entry: to know when to look, never to judge
  {"ask": "entries",   "output": OUTPUT}      all of them: what the worker claims
  {"ask": "uploads",   "output": OUTPUT}      multipart uploads that are still open (S3 alone)

OUTPUT is {"dir": "/path"} or {"endpoint": "http://…", "bucket": "…", "prefix": "…"}.
"""

import json
import pathlib
import sys
import tempfile

SHOWN = 10


def s3(output):
    import boto3
    import botocore.config

    config = botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3})
    return boto3.client("s3", endpoint_url=output["endpoint"], config=config)


def s3_keys(client, output, under):
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=output["bucket"], Prefix=f"{output['prefix']}/{under}"
    )
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def fetch(output, under, scratch):
    """The directory that holds what lies under the prefix, downloaded if it must be."""
    if "dir" in output:
        return pathlib.Path(output["dir"])
    client = s3(output)
    root = pathlib.Path(scratch)
    for key in s3_keys(client, output, under):
        target = root / key[len(output["prefix"]) + 1 :]
        target.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(output["bucket"], key, str(target))
    return root


def listed(root, under):
    """Every file, hidden ones too."""
    return sorted(str(path) for path in (root / under).rglob("*") if path.is_file())


def duck():
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    return connection


def count(output, expected, scratch):
    files = listed(fetch(output, "data/", scratch), "data")
    db = duck()
    db.execute("CREATE TABLE wanted (topic VARCHAR, partition INTEGER, \"offset\" BIGINT, id BIGINT)")
    if pathlib.Path(expected).stat().st_size:
        db.execute(
            "INSERT INTO wanted SELECT topic, partition, \"offset\", id FROM read_json(?, format = 'newline_delimited', "
            "columns = {topic: 'VARCHAR', partition: 'INTEGER', \"offset\": 'BIGINT', id: 'BIGINT'})",
            [expected],
        )
    parquet = [name for name in files if name.endswith(".parquet")]
    db.execute("CREATE TABLE rows (topic VARCHAR, partition INTEGER, \"offset\" BIGINT, id BIGINT, file VARCHAR)")
    if parquet:
        db.execute(
            "INSERT INTO rows SELECT _topic, _partition, _offset, id, filename FROM "
            "read_parquet(?, union_by_name = true, hive_partitioning = false, filename = true)",
            [parquet],
        )

    def faults(query):
        total = db.execute(f"SELECT count(*) FROM ({query})").fetchone()[0]
        shown = db.execute(f"SELECT * FROM ({query}) ORDER BY ALL LIMIT {SHOWN}").fetchall()
        return {"count": total, "shown": [list(map(str, row)) for row in shown]}

    key = 'topic, partition, "offset"'
    return {
        "rows": db.execute("SELECT count(*) FROM rows").fetchone()[0],
        "wanted": db.execute("SELECT count(*) FROM wanted").fetchone()[0],
        "files": len(parquet),
        "strays": [name for name in files if not name.endswith(".parquet")],
        "duplicated": faults(f"SELECT {key}, list(file) FROM rows GROUP BY {key} HAVING count(*) > 1"),
        "missing": faults(f"SELECT {key}, id FROM wanted ANTI JOIN rows USING ({key})"),
        "unexpected": faults(f"SELECT {key}, id, file FROM rows ANTI JOIN wanted USING ({key})"),
        "wrong": faults(f"SELECT {key}, w.id, r.id FROM wanted w JOIN rows r USING ({key}) WHERE w.id IS DISTINCT FROM r.id"),
        "mixed_files": db.execute(
            "SELECT count(*) FROM (SELECT file FROM rows GROUP BY file HAVING count(DISTINCT (topic, partition)) > 1)"
        ).fetchone()[0],
    }


def inspect(output, scratch):
    import pyarrow.dataset
    import pyarrow.parquet

    root = fetch(output, "", scratch)
    files = listed(root, "data")
    codecs, unindexed, keys, schemas = set(), set(), set(), set()
    for name in files:
        opened = pyarrow.parquet.ParquetFile(name)
        metadata = opened.metadata
        keys.update(key.decode() for key in (metadata.metadata or {}))
        schemas.add(str(opened.schema_arrow.remove_metadata()))
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(column)
                codecs.add(chunk.compression)
                if not (chunk.has_column_index and chunk.has_offset_index):
                    unindexed.add(chunk.path_in_schema)
    first = pyarrow.parquet.ParquetFile(files[0])
    db = duck()
    described = db.execute(
        "DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = false)", [files]
    ).fetchall()
    return {
        "files": len(files),
        "codecs": sorted(codecs),
        "unindexed": sorted(unindexed),
        "metadata_keys": sorted(keys),
        "schemas": len(schemas),
        "arrow": {field.name: str(field.type) for field in first.schema_arrow},
        "nullable": {field.name: field.nullable for field in first.schema_arrow},
        "duckdb": {row[0]: row[1] for row in described},
        "rows_duckdb": db.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchone()[0],
        # Both of a reader that points at data/ and of one that points at the whole prefix.
        "rows_arrow_data": pyarrow.dataset.dataset(root / "data", partitioning="hive").count_rows(),
        "rows_arrow_prefix": pyarrow.dataset.dataset(root, format="parquet").count_rows(),
        "hive": sorted({str(pathlib.Path(name).parent.relative_to(root / "data")) for name in files}),
        "rows": sorted(
            (
                {name: str(value) for name, value in row.items()}
                for name in files
                for row in pyarrow.parquet.ParquetFile(name).read().to_pylist()
                if row["id"] <= 20
            ),
            key=lambda row: int(row["id"]),
        ),
    }


def dead_letters(output, scratch):
    root = fetch(output, "_landfall/dead-letters/", scratch)
    files = listed(root, "_landfall/dead-letters")
    if not files:
        return {"files": 0, "rows": []}
    import pyarrow.parquet

    rows = [row for name in files for row in pyarrow.parquet.ParquetFile(name).read().to_pylist()]
    return {
        "files": len(files),
        "columns": pyarrow.parquet.ParquetFile(files[0]).schema_arrow.names,
        "rows": [{name: value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                  for name, value in row.items()} for row in rows],
    }


def head(output):
    if "dir" in output:
        names = entry_names(pathlib.Path(output["dir"]))
        body = pathlib.Path(names[0]).read_bytes() if names else b"null"
    else:
        client = s3(output)
        page = client.list_objects_v2(
            Bucket=output["bucket"], Prefix=f"{output['prefix']}/_landfall/ledger/", MaxKeys=1
        )
        keys = [found["Key"] for found in page.get("Contents", [])]
        body = client.get_object(Bucket=output["bucket"], Key=keys[0])["Body"].read() if keys else b"null"
    return {"head": json.loads(body)}


def entry_names(root):
    return [name for name in listed(root, "_landfall/ledger") if name.endswith(".json")]


def entries(output, scratch):
    names = entry_names(fetch(output, "_landfall/ledger/", scratch))
    return {"entries": [json.loads(pathlib.Path(name).read_bytes()) for name in names]}


def uploads(output):
    answer = s3(output).list_multipart_uploads(Bucket=output["bucket"], Prefix=f"{output['prefix']}/")
    return {"uploads": [found["Key"] for found in answer.get("Uploads", [])]}


def main():
    request = json.load(sys.stdin)
    output = request["output"]
    with tempfile.TemporaryDirectory() as scratch:
        answer = {
            "count": lambda: count(output, request["expected"], scratch),
            "inspect": lambda: inspect(output, scratch),
            "dead-letters": lambda: dead_letters(output, scratch),
            "head": lambda: head(output),
            "entries": lambda: entries(output, scratch),
            "uploads": lambda: uploads(output),
        }[request["ask"]]()
    json.dump(answer, sys.stdout)


main()
