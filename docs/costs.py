#!/usr/bin/env python3
"""Writes docs/costs.md from docs/prices.toml: Landfall beside what else moves Kafka to Parquet, a month in us-east-1.

    python3 docs/costs.py            # writes docs/costs.md
    python3 docs/costs.py --check    # says whether it is what it would write: exit 0, or 1

Python 3.11 or newer, and nothing else. What S3 is asked for by Landfall follows worker/src/check/project.rs.
"""

import argparse
import difflib
import math
import pathlib
import sys
import textwrap
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
STANDINGS = {
    "list": "AWS's price list, through another program",
    "page": "a public page",
    "memory": "**from memory, to be checked**",
}


class Book:
    """Prices by name; it remembers which were used."""

    def __init__(self, entries):
        self.entries = entries
        self.used = set()
        for name, entry in entries.items():
            missing = {"usd", "unit", "standing", "source", "taken"} - entry.keys()
            if missing:
                sys.exit(f"prices.toml: price.{name} has no {', '.join(sorted(missing))}")
            if entry["standing"] not in STANDINGS:
                sys.exit(f"prices.toml: price.{name}.standing is none of {', '.join(STANDINGS)}")

    def __getitem__(self, name):
        self.used.add(name)
        return self.entries[name]["usd"]


def seconds(load):
    return load["hours"] * 3600


def gigabytes(rate, load):
    return rate * seconds(load) / 1000


def s3(book, puts, gets=0.0):
    return puts / 1000 * book["s3_put"] + gets / 1000 * book["s3_get"]


# --------------------------------------------------------------------------------------------------------- Landfall

def landfall_flush(rate, load, own):
    """Seconds from one flush to the next, and what a flush asks of S3 (PUTs, GETs)."""
    encoded = rate * 1e6 * load["encoded_share"]
    interval = min(own["age_max"], own["file_bytes_max"] / (encoded * own["fullest_share"]))
    rest = (1 - own["fullest_share"]) / max(own["directories"] - 1, 1)
    shares = [own["fullest_share"]] + [rest] * (own["directories"] - 1)
    parts = sum(max(1, math.ceil(encoded * interval * share / own["part_bytes"])) for share in shares)
    files = own["directories"]
    # Each file: begin (POST), its parts (PUT), complete (POST), HEAD. Then the entry (PUT).
    return interval, files + parts + files + 1, files


def landfall_size(rate, load, own):
    wanted = load["headroom"] * rate / own["mb_per_second_per_vcpu"]
    for vcpu, gb in own["sizes"]:
        if vcpu >= wanted:
            return vcpu, gb
    sys.exit(f"prices.toml: landfall.sizes has none for {rate} MB/s")


def landfall(rate, load, all_, book, cpu):
    own = all_["landfall"]
    vcpu, gb = landfall_size(rate, load, own)
    compute = load["hours"] * (vcpu * book[f"fargate_vcpu_{cpu}"] + gb * book[f"fargate_gb_{cpu}"])
    interval, puts, gets = landfall_flush(rate, load, own)
    flushes = seconds(load) / interval
    heads = seconds(load) / own["head_every"]
    sweeps = seconds(load) / own["sweep_every"]
    requests = s3(book, flushes * puts + heads + 2 * sweeps, flushes * gets + heads)
    watching = (
        own["metrics"] * book["cloudwatch_metric"]
        + load["hours"] * 60 / 1000 * book["cloudwatch_put"]
        + own["alarm_metrics"] * book["cloudwatch_alarm"]
        + own["composite_alarms"] * book["cloudwatch_composite"]
        + book["cloudwatch_dashboard"]
        + (own["log_bytes_flat"] + flushes * own["log_bytes_per_flush"]) / 1e9 * book["logs_gb"]
    )
    looks = load["hours"] * own["looks_per_hour"]
    deployer = looks / 1e6 * book["lambda_request"]
    deployer += looks * own["look_seconds"] * own["look_gb"] * book["lambda_gb_second"]
    other = deployer + own["images_gb"] * book["ecr_gb"] + load["hours"] * book["public_ipv4"]
    size = f"1 task, {vcpu} vCPU, {gb} GB"
    return {"size": size, "compute": compute, "S3 requests": requests, "CloudWatch": watching, "rest": other}


# ----------------------------------------------------------------------------------------------------------- others

def others(size, compute, requests, rest=0.0):
    return {"size": size, "compute": compute, "S3 requests": requests, "CloudWatch": 0.0, "rest": rest}


def firehose(rate, load, all_, book):
    own = all_["firehose"]
    charged = gigabytes(rate, load) * (book["firehose_msk_gb"] + book["firehose_parquet_gb"])
    interval = min(own["buffer_seconds"], own["buffer_bytes"] / (rate * 1e6))
    return others("none to choose", charged, s3(book, seconds(load) / interval))


def connect(rate, load, all_, book):
    own = all_["connect"]
    mcus = max(1, math.ceil(load["headroom"] * rate / own["mb_per_second_per_mcu"]))
    files = seconds(load) / own["rotate_seconds"] * load["partitions"]
    per_file = parts_of(rate, load, own["rotate_seconds"], all_)
    return others(f"{mcus} MCU", load["hours"] * mcus * book["msk_connect_mcu"], s3(book, files * per_file))


def parts_of(rate, load, every, all_):
    """PUTs of one file of one topic partition: begin, parts of 25 MiB, complete; or a plain PUT where it is small."""
    size = rate * 1e6 * load["encoded_share"] * every / load["partitions"]
    parts = math.ceil(size / (25 * 1024 * 1024))
    return 1 if parts <= 1 else parts + 2


def spark_executors(rate, load, own):
    return max(1, math.ceil(load["headroom"] * rate / own["mb_per_second_per_vcpu"] / own["executor"][0]))


def spark_requests(rate, load, all_, book):
    own = all_["spark"]
    batches = seconds(load) / own["trigger_seconds"]
    per_file = parts_of(rate, load, own["trigger_seconds"], all_)
    files = load["partitions"] * all_["landfall"]["directories"]
    return s3(book, batches * (files * per_file + own["requests_per_batch"]))


def spark_ec2(rate, load, all_, book):
    own = all_["spark"]
    (executor_vcpu, _), (driver_vcpu, _) = own["executor"], own["driver"]
    vcpus = spark_executors(rate, load, own) * executor_vcpu + driver_vcpu
    core = math.ceil(vcpus / own["node_vcpu"])
    compute = load["hours"] * (core + 1) * (book["ec2_m5_xlarge"] + book["emr_m5_xlarge"])
    return others(f"1 primary and {core} core m5.xlarge", compute, spark_requests(rate, load, all_, book))


def spark_size(rate, load, own):
    """vCPU and GB of driver and executors."""
    count = spark_executors(rate, load, own)
    return tuple(driver + count * executor for driver, executor in zip(own["driver"], own["executor"]))


def spark_serverless(rate, load, all_, book):
    own = all_["spark"]
    vcpu, gb = spark_size(rate, load, own)
    compute = load["hours"] * (vcpu * book["emr_serverless_vcpu"] + gb * book["emr_serverless_gb"])
    return others(f"{vcpu} vCPU, {gb} GB", compute, spark_requests(rate, load, all_, book))


def spark_eks(rate, load, all_, book):
    own = all_["spark"]
    vcpu, gb = spark_size(rate, load, own)
    nodes = math.ceil(vcpu / own["node_vcpu"])
    compute = load["hours"] * (nodes * book["ec2_m5_xlarge"] + vcpu * book["emr_eks_vcpu"] + gb * book["emr_eks_gb"])
    cluster = load["hours"] * book["eks_cluster"]
    return others(f"{nodes} m5.xlarge", compute, spark_requests(rate, load, all_, book), cluster)


WAYS = [
    ("Landfall, Fargate x86-64", lambda *given: landfall(*given, "x86")),
    ("Landfall, Fargate arm64", lambda *given: landfall(*given, "arm")),
    ("Amazon Data Firehose, MSK to Parquet", firehose),
    ("MSK Connect, a Parquet sink", connect),
    ("Spark Structured Streaming, EMR on EC2", spark_ec2),
    ("Spark Structured Streaming, EMR Serverless", spark_serverless),
    ("Spark Structured Streaming, EMR on EKS", spark_eks),
]
PARTS = ["compute", "S3 requests", "CloudWatch", "rest"]


# ------------------------------------------------------------------------------------------------------------- text

def dollars(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def table(head, rows, right):
    align = ["---:" if column in right else "---" for column in range(len(head))]
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(align) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def total(costs):
    return sum(costs[part] for part in PARTS)


def page(all_):
    load, own = all_["load"], all_["landfall"]
    book = Book(all_["price"])
    rates = load["mb_per_second"]
    found = {rate: [(name, way(rate, load, all_, book)) for name, way in WAYS] for rate in rates}

    lines = [flow(HEAD), ""]
    rows = []
    for at, (name, _) in enumerate(WAYS):
        rows.append([name] + [f"{total(found[rate][at][1]):,.0f}" for rate in rates])
    lines += table(["US dollars a month"] + [f"{rate} MB/s" for rate in rates], rows, {1, 2, 3})
    lines += ["", flow(BETWEEN), ""]

    for rate in rates:
        lines += [f"## {rate} MB/s, {gigabytes(rate, load):,.0f} GB a month", ""]
        rows = []
        for name, costs in found[rate]:
            rows.append([name, costs["size"]] + [dollars(costs[part]) for part in PARTS] + [dollars(total(costs))])
        lines += table(["", "size", "compute", "S3 requests", "CloudWatch", "rest", "all"], rows, {2, 3, 4, 5, 6})
        interval, puts, gets = landfall_flush(rate, load, own)
        lines += ["", wrap(
            f"Landfall commits every {interval:,.0f} s here: {puts} requests of the dearer kind (begin, parts of "
            f"5 MiB, complete, the ledger entry) and {gets} HEAD; and, whatever comes, one LIST and one GET every "
            f"{own['head_every']} s."
        ), ""]

    lines += [flow(WAYOUT), ""]
    rows = []
    for rate in rates:
        read, written = gigabytes(rate, load), gigabytes(rate, load) * load["encoded_share"]
        between = read * load["wire_share"] * (load["zones"] - 1) / load["zones"] * book["zone_transfer_gb"]
        nat = load["hours"] * book["nat_hour"]
        rows.append([
            f"{rate} MB/s", dollars(load["hours"] * book["public_ipv4"]), dollars(nat),
            dollars(nat + written * book["nat_gb"]), dollars(4 * 2 * load["hours"] * book["endpoint_hour"]),
            dollars(between), dollars(read * book["firehose_partition_gb"]),
        ])
    lines += table(
        ["", "public IP", "one NAT, S3 by its gateway endpoint", "one NAT, S3 through it", "four endpoints, two zones",
         "reading from other zones", "Firehose: dynamic partitioning"], rows, {1, 2, 3, 4, 5, 6})
    lines += ["", flow(ASSUMED), "", "## Prices", "", flow(STANDING), ""]
    unused = sorted(set(all_["price"]) - book.used)
    if unused:
        sys.exit(f"prices.toml: never used: {', '.join(unused)}")
    rows = []
    for name, entry in all_["price"].items():
        when = entry["taken"] + (f" (as of {entry['as_of']})" if "as_of" in entry else "")
        link = f"[{entry['source'].split('/')[2]}]({entry['source']})"
        usd = f"{entry['usd']:.10f}".rstrip("0").rstrip(".")
        rows.append([f"`{name}`", usd, entry["unit"], link, when, STANDINGS[entry["standing"]]])
    lines += table(["price", "US dollars", "for", "source", "taken", "rests on"], rows, {1})
    return "\n".join(lines) + "\n"


def wrap(text, later=""):
    return textwrap.fill(text, 120, subsequent_indent=later, break_long_words=False, break_on_hyphens=False)


def flow(text):
    """Paragraphs and lists, each wrapped anew; headings and comments as they are."""
    out = []
    for block in text.strip().split("\n\n"):
        plain, *items = ("\n" + block).split("\n- ")
        for line in plain.strip().split("\n") if plain.strip().startswith(("#", "<!--")) else [wrap(plain.strip())]:
            out += [line] if line else []
        out += [wrap("- " + " ".join(item.split()), "  ") for item in items]
        out.append("")
    return "\n".join(out).strip()


HEAD = """
<!-- docs/costs.py wrote this from docs/prices.toml; change those, and run it again. -->
# What it costs

A month in us-east-1, on demand, without free tiers, discounts, Spot or Savings Plans. `python3 docs/costs.py` made it
from [prices.toml](prices.toml), where every price stands with its source and date, and every assumption with its
reason. Nothing here was read off a bill: put your own figures into the file and run it again.
"""

BETWEEN = """
In all rows the same is left out: the Kafka cluster, what lies in S3, queries, taxes, people. Where we know least we
chose what is good for the others: their metrics, alarms, logs and disks count nothing here, and ours are all counted.

They do not do the same work. Firehose writes into directories by arrival time (by a field of the record: see below),
and needs MSK's private connectivity. MSK Connect's price is the same whatever connector runs there. Spark does far more
than this one job, and a cluster that is there anyway costs nothing more. For one small topic a Landfall task is mostly
idle, too.
"""

WAYOUT = """
## What comes on top, by network

In "rest" above Landfall has a public IP (`Egress=public-ip`). The stack's other ways out, and two more items:
"""

ASSUMED = """
Endpoints also take $0.01 a GB, for images, logs and metrics only: S3 has a gateway endpoint, which costs nothing.
Reading from other zones concerns Landfall, MSK Connect and Spark alike; with KIP-392 (`client.rack` in
`[kafka.options]`, and the cluster's `replica.selector.class`) a consumer reads in its own zone. Firehose's private
connection has charges of its own at MSK, which are not in the table.

## What was assumed

- The load is even. Landfall's task is sized for twice the load at 50 MB/s of JSON a vCPU: about a sixth of the 290 MB/s
  a core that [bench/README.md](../bench/README.md) measures in memory, because fetching, TLS, decompression and uploads
  are not in that figure and a vCPU is half a core. The whole way on Fargate was not measured. One task at 100 MB/s also
  needs the network for it; AWS publishes no figure for Fargate. More tasks share the partitions, at the same price a
  vCPU.
- arm64 is reckoned as fast as x86-64 for a vCPU; Landfall was never run on it. A task encodes on one thread
  (ARCHITECTURE.md): four vCPUs are not four times one, and past some rate it takes a second task.
- Parquet has a fifth of JSON's bytes; only the number of parts depends on it. `worker check` measures yours.
- MSK Connect: 25 MB/s an MCU. Spark: 20 MB/s a vCPU, micro-batches of five minutes, one m5.xlarge as EMR's primary node
  (a single one: when it fails, the job starts anew elsewhere). Both are guesses; replace them by what you measure.
- Landfall's logs: 100 MB a month and 2 kB a commit. The deployer looks every five minutes for a second.
- At 100 MB/s most of Landfall's S3 requests are parts of 5 MiB. Their size is fixed today.
"""

STANDING = """
AWS's own price pages show their figures only to a browser that runs their scripts, and could not be read for this. So
each price says what it rests on. Those from memory are to be checked before a decision hangs on them.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if docs/costs.md is another")
    given = parser.parse_args()
    with open(HERE / "prices.toml", "rb") as file:
        wanted = page(tomllib.load(file))
    target = HERE / "costs.md"
    if not given.check:
        target.write_text(wanted, encoding="utf-8")
        return 0
    there = target.read_text(encoding="utf-8") if target.exists() else ""
    if there == wanted:
        return 0
    told = difflib.unified_diff(there.splitlines(True), wanted.splitlines(True), "docs/costs.md", "as it would be", n=1)
    sys.stderr.writelines(told)
    print("docs/costs.md is not what docs/prices.toml gives: run `python3 docs/costs.py`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
