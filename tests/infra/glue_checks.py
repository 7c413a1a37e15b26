"""infra/glue.py: the stack's table is that of the repository's own pipeline, and what it cannot read it refuses."""

import importlib.util
import json
import subprocess
import sys

import pytest

import template

_SPEC = importlib.util.spec_from_file_location("glue", template.ROOT / "infra" / "glue.py")
glue = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(glue)


def _job(tmp_path, sql, toml=""):
    (tmp_path / "schema.sql").write_text(sql)
    (tmp_path / "pipeline.toml").write_text(toml)
    return tmp_path


def the_stacks_table_is_the_examples():
    command = [sys.executable, str(template.ROOT / "infra" / "glue.py"), str(template.ROOT / "pipeline"), "--check"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def every_type_has_athenas_spelling(tmp_path):
    sql = """
    -- a comment with ( and ,
    CREATE TABLE IF NOT EXISTS shop.`Orders` (
        Id bigint NOT NULL COMMENT 'it''s, the (id)', a byte, b short, c integer, d long, e real, f DEC(5), g numeric,
        h varchar(10), i char(2) null, j binary, /* k */ l array<map<string, struct<X: int NOT NULL, y decimal(3, 1)>>>
    )"""
    name, columns, _ = glue.table(_job(tmp_path, sql, "[records]\nmetadata = [\"key\", \"headers\"]\n[output]\npartition_by = []"), 2020)
    assert name == "orders"
    assert columns == [
        ("id", "bigint"), ("a", "tinyint"), ("b", "smallint"), ("c", "int"), ("d", "bigint"), ("e", "float"),
        ("f", "decimal(5,0)"), ("g", "decimal(10,0)"), ("h", "string"), ("i", "string"), ("j", "binary"),
        ("l", "array<map<string,struct<x:int,y:decimal(3,1)>>>"), ("_key", "binary"),
        ("_headers", "array<struct<name:string,value:binary>>"),
    ]


def the_worker_tells_the_same_columns(tmp_path):
    schema = template.ROOT / "worker/src/schema"
    metadata = "[records]\nmetadata = [\"topic\", \"partition\", \"offset\", \"timestamp\", \"key\", \"headers\"]\n"
    job = _job(tmp_path, (schema / "every-type.sql").read_text(), metadata + "[output]\npartition_by = []")
    told = json.loads((schema / "every-type.json").read_text())
    assert glue.table(job, 2020)[1] == [(column["name"], column["type"]) for column in told]


def partitions_are_projected(tmp_path):
    toml = """[output]
    partition_by = ["${DT:-dt}=date(at)", "y=year(at)", "m=month(at)", "hour=hour(at)", "kind", "vip=vip", "shop=shop.id"]"""
    sql = "CREATE TABLE t (at timestamp, kind string, vip boolean, shop struct<id: int>)"
    _, columns, fields = glue.table(_job(tmp_path, sql, toml), 2015)
    assert [(name, kind, projection["type"]) for name, kind, projection in fields] == [
        ("dt", "string", "date"), ("y", "int", "integer"), ("m", "int", "integer"), ("hour", "int", "integer"),
        ("kind", "string", "injected"), ("vip", "string", "enum"), ("shop", "string", "injected")]
    assert fields[0][2]["range"] == "2015-01-01,NOW+1DAYS" and fields[3][2]["digits"] == "2"
    # Glue takes a name once: as a column or as a partition.
    assert [name for name, _ in columns] == ["at", "_topic", "_partition", "_offset", "_timestamp"]


def without_settings_the_workers_defaults_hold(tmp_path):
    _, columns, fields = glue.table(_job(tmp_path, "create table t (a string)"), 2020)
    assert [name for name, _, _ in fields] == ["dt", "hour"]
    assert [name for name, _ in columns][1:] == ["_topic", "_partition", "_offset", "_timestamp"]


@pytest.mark.parametrize("sql, toml, named", [
    ("CREATE TABLE t (a text)", "", "`text`"),
    ("CREATE TABLE t (a string", "", "`)`"),
    ("CREATE VIEW t", "", "`table`"),
    ("CREATE TABLE t (a string ?)", "", "schema.sql:1"),
    ("CREATE TABLE t (a string)", "[output]\npartition_by = [\"x=week(a)\"]", "`week()`"),
    ("CREATE TABLE t (a string)", "[output]\npartition_by = [\"b\"]", "`b`"),
    ("CREATE TABLE t (a string)", "[output]\npartition_by = [\"${DT}=date(a)\"]", "${DT}"),
    ("CREATE TABLE t (a string)", "[output]\npartition_by = [\"a b\"]", "`a b`"),
])
def what_is_not_understood_is_refused_and_named(tmp_path, capsys, sql, toml, named):
    stack = tmp_path / "stack.yaml"
    stack.write_text(template.STACK.read_text())
    assert glue.main([str(_job(tmp_path, sql, toml)), "--stack", str(stack)]) == 78
    assert named in capsys.readouterr().err
    assert stack.read_text() == template.STACK.read_text()


def another_job_gets_its_own_table_and_the_stack_still_reads(tmp_path):
    stack = tmp_path / "stack.yaml"
    stack.write_text(template.STACK.read_text())
    job = _job(tmp_path, "CREATE TABLE clicks (a string)")
    assert glue.main([str(job), "--stack", str(stack), "--check"]) == 1
    assert glue.main([str(job), "--stack", str(stack)]) == 0
    assert glue.main([str(job), "--stack", str(stack), "--check"]) == 0
    made = template.Stack(template=template.load(stack)).resources["Table"]["TableInput"]
    assert (made["Name"], made["StorageDescriptor"]["Location"]) == ("clicks", "s3://shop-lake/shop-events/data/")
