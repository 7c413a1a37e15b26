#!/usr/bin/env python3
"""Writes the Glue table of infra/stack.yaml from a job's pipeline.toml and schema.sql.

    python3 infra/glue.py job            # writes the block between the two marks in infra/stack.yaml
    python3 infra/glue.py job --check    # says whether it is what it would write: exit 0, or 1
    python3 infra/glue.py job --stack other.yaml --from 2015

The job's own `worker check` is the judge of both files; what it refuses is not looked for again here, but what is not
understood is refused and never guessed. Partition projection needs a beginning: dates and years count from --from.
Python 3.11 or newer, and nothing else.
"""

import argparse
import json
import pathlib
import re
import sys
import tomllib

BEGIN = "  # >>> infra/glue.py wrote this table; change the job's schema.sql and run it again\n"
END = "  # <<< infra/glue.py\n"

PLAIN = {
    "string": "string", "boolean": "boolean", "tinyint": "tinyint", "byte": "tinyint", "smallint": "smallint",
    "short": "smallint", "int": "int", "integer": "int", "bigint": "bigint", "long": "bigint", "float": "float",
    "real": "float", "double": "double", "date": "date", "timestamp": "timestamp", "binary": "binary",
}
# The worker's own columns, in the order in which they follow those of the schema.
METADATA = {
    "topic": ("_topic", "string"), "partition": ("_partition", "int"), "offset": ("_offset", "bigint"),
    "timestamp": ("_timestamp", "timestamp"), "key": ("_key", "binary"),
    "headers": ("_headers", "array<struct<name:string,value:binary>>"),
}
METADATA_DEFAULT = ["topic", "partition", "offset", "timestamp"]
PARTITION_DEFAULT = ["dt=date(_timestamp)", "hour=hour(_timestamp)"]


class Fault(Exception):
    """What is wrong, and what would be right."""


# ------------------------------------------------------------------------------------------------------- schema.sql

TOKEN = re.compile(r"""\s+ | --[^\n]* | /\*.*?\*/ | (?P<name>[A-Za-z_][A-Za-z0-9_]*) | `(?P<tick>[^`]+)` |
    "(?P<quote>[^"]+)" | (?P<number>[0-9]+) | (?P<text>'(?:[^']|'')*') | (?P<sign>[(),<>:;.=])""", re.X | re.S)


def tokens(sql):
    at = 0
    while at < len(sql):
        found = TOKEN.match(sql, at)
        if not found:
            line = sql.count("\n", 0, at) + 1
            raise Fault(f"schema.sql:{line}: `{sql[at]}` is not understood")
        at = found.end()
        kind = found.lastgroup
        if kind:
            yield ("name" if kind in ("tick", "quote") else kind), found.group(kind)
    yield "end", ""


class Reader:
    """CREATE TABLE name ( columns ), by the grammar of worker/src/schema/parse.rs as far as types go."""

    def __init__(self, sql):
        self.tokens = list(tokens(sql))
        self.at = 0

    def peek(self):
        return self.tokens[self.at]

    def next(self):
        token = self.tokens[self.at]
        self.at += 1
        return token

    def take(self, text):
        if self.peek()[1].lower() == text and self.peek()[0] != "text":
            self.at += 1
            return True
        return False

    def expect(self, text):
        if not self.take(text):
            raise Fault(f"schema.sql: `{text}` is expected where `{self.peek()[1]}` stands")

    def name(self):
        kind, text = self.next()
        if kind != "name":
            raise Fault(f"schema.sql: a name is expected where `{text}` stands")
        return text

    def table(self):
        self.expect("create")
        self.take("external")
        self.expect("table")
        if self.take("if"):
            self.expect("not")
            self.expect("exists")
        name = self.name()
        while self.take("."):
            name = self.name()
        self.expect("(")
        columns = []
        while True:
            column = self.name()
            columns.append((column, self.type()))
            self.constraints()
            if not self.take(","):
                break
        self.expect(")")
        return name, columns

    def constraints(self):
        while self.take("not") or self.take("null") or self.take("comment"):
            if self.peek()[0] == "text":
                self.next()

    def type(self):
        name = self.name().lower()
        if name in PLAIN:
            return PLAIN[name]
        if name in ("varchar", "char"):
            self.expect("(")
            self.next()
            self.expect(")")
            return "string"
        if name in ("decimal", "dec", "numeric"):
            precision, scale = "10", "0"
            if self.take("("):
                precision = self.next()[1]
                scale = self.next()[1] if self.take(",") else "0"
                self.expect(")")
            return f"decimal({precision},{scale})"
        if name == "array":
            self.expect("<")
            element = self.type()
            self.expect(">")
            return f"array<{element}>"
        if name == "map":
            self.expect("<")
            key = self.type()
            self.expect(",")
            value = self.type()
            self.expect(">")
            return f"map<{key},{value}>"
        if name == "struct":
            self.expect("<")
            fields = []
            while True:
                field = self.name()
                self.take(":")
                fields.append(f"{field.lower()}:{self.type()}")
                self.constraints()
                if not self.take(","):
                    break
            self.expect(">")
            return f"struct<{','.join(fields)}>"
        raise Fault(f"schema.sql: there is no type `{name}`")


# ----------------------------------------------------------------------------------------------------- pipeline.toml

def filled(text):
    """${VAR:-default} with its default: a table is made where the job's environment is not."""
    def default(found):
        if found.group(2) is None:
            raise Fault(f"pipeline.toml: ${{{found.group(1)}}} has no default, and the table depends on it")
        return found.group(2)
    return re.sub(r"\$\{([A-Z0-9_]+)(?::-([^}]*))?\}", default, text)


def partition(text, types, start):
    """Name, type and projection of a partition field: `dt=date(event_time)`, `kind=event_type`, `event_type`."""
    found = re.fullmatch(r"\s*(?:([A-Za-z_]\w*)\s*=)?\s*(?:(\w+)\s*\(\s*([\w.]+)\s*\)|([\w.]+))\s*", text)
    if not found:
        raise Fault(f"pipeline.toml: `{text}` is no partition field")
    name, transform, column = found.group(1), (found.group(2) or "").lower(), found.group(3) or found.group(4)
    name = (name or column.split(".")[-1]).lower()
    if transform == "date":
        return name, "string", {"type": "date", "format": "yyyy-MM-dd", "range": f"{start}-01-01,NOW+1DAYS"}
    whole = {"hour": ("0,23", "2"), "month": ("1,12", "2"), "day": ("1,31", "2"), "year": (f"{start},{start + 30}", "4")}
    if transform in whole:
        reach, digits = whole[transform]
        return name, "int", {"type": "integer", "range": reach, "digits": digits}
    if transform:
        raise Fault(f"pipeline.toml: there is no `{transform}()`")
    if column.split(".")[0].lower() not in types:
        raise Fault(f"pipeline.toml: there is no column `{column}`")
    if types[column.split(".")[0].lower()] == "boolean":
        return name, "string", {"type": "enum", "values": "true,false"}
    # Its values are not known beforehand: a query must say which one it wants.
    return name, "string", {"type": "injected"}


def table(job, start):
    with open(job / "pipeline.toml", "rb") as file:
        settings = tomllib.load(file)
    records, output = settings.get("records", {}), settings.get("output", {})
    name, columns = Reader((job / filled(records.get("schema", "schema.sql"))).read_text()).table()
    wanted = records.get("metadata", METADATA_DEFAULT)
    columns = [(column.lower(), kind) for column, kind in columns]
    columns += [METADATA[key] for key in METADATA if key in wanted]
    fields = [partition(filled(text), dict(columns), start) for text in output.get("partition_by", PARTITION_DEFAULT)]
    # A directory that is named as a column holds the column's values, and Glue takes each name once.
    named = {field for field, _, _ in fields}
    return name.lower(), [column for column in columns if column[0] not in named], fields


# --------------------------------------------------------------------------------------------------------- the block

def block(name, columns, fields):
    quoted = json.dumps
    lines = [
        "  Table:",
        "    Type: AWS::Glue::Table",
        "    Condition: NewTable",
        "    Properties:",
        "      CatalogId: !Ref AWS::AccountId",
        "      DatabaseName: !Ref Database",
        "      TableInput:",
        f"        Name: {quoted(name)}",
        "        TableType: EXTERNAL_TABLE",
        "        Parameters:",
        "          EXTERNAL: \"TRUE\"",
        "          classification: parquet",
    ]
    if fields:
        lines.append("          projection.enabled: \"true\"")
    for field, _, projection in fields:
        lines += [f"          projection.{field}.{key}: {quoted(value)}" for key, value in projection.items()]
    lines.append("        PartitionKeys:" if fields else "        PartitionKeys: []")
    lines += [f"          - {{ Name: {quoted(field)}, Type: {quoted(kind)} }}" for field, kind, _ in fields]
    lines += [
        "        StorageDescriptor:",
        "          Location: !Sub s3://${BucketName}/${OutputPrefix}${Pipeline}/data/",
        "          InputFormat: org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "          OutputFormat: org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        "          SerdeInfo: { SerializationLibrary: org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe }",
        "          Columns:",
    ]
    lines += [f"            - {{ Name: {quoted(column)}, Type: {quoted(kind)} }}" for column, kind in columns]
    return BEGIN + "\n".join(lines) + "\n" + END


def written(stack, text):
    if stack.count(BEGIN) != 1 or stack.count(END) != 1:
        raise Fault("the stack has not exactly one place for the table, between the marks `>>>` and `<<<` of glue.py")
    return stack[:stack.index(BEGIN)] + text + stack[stack.index(END) + len(END):]


def main(arguments):
    parser = argparse.ArgumentParser(description="Writes the Glue table of the stack from a job's directory.")
    parser.add_argument("job", type=pathlib.Path, help="the directory with pipeline.toml and schema.sql")
    parser.add_argument("--stack", type=pathlib.Path, default=pathlib.Path(__file__).with_name("stack.yaml"))
    parser.add_argument("--from", type=int, default=2020, dest="start", help="the first year that queries see")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the stack has another table")
    given = parser.parse_args(arguments)
    try:
        before = given.stack.read_text()
        after = written(before, block(*table(given.job, given.start)))
    except (Fault, OSError, tomllib.TOMLDecodeError) as fault:
        print(f"glue.py: {fault}", file=sys.stderr)
        return 78
    if given.check:
        if before != after:
            print(f"glue.py: {given.stack} has another table than {given.job}: run it without --check", file=sys.stderr)
        return int(before != after)
    given.stack.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
