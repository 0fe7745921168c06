"""The shipped ClickHouse configuration, read by the engine itself."""

import os
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "deploy" / "clickhouse"
LOGS = SHIPPED / "config.d" / "noclobber.xml"
BASE = "<clickhouse>{}</clickhouse>".format(
    "".join(
        f"<{log}><database>system</database><table>{log}</table></{log}>"
        for log in ("query_log", "trace_log", "part_log", "metric_log", "asynchronous_metric_log", "query_thread_log",
                    "query_views_log", "text_log", "session_log", "processors_profile_log", "error_log", "latency_log",
                    "query_metric_log", "opentelemetry_span_log", "asynchronous_insert_log", "blob_storage_log")
    )
)  # fmt: skip
"""A server's own configuration, as far as logs go: all on, none with an end."""
PROGRAM = textwrap.dedent("""
    import sys
    import chdb
    handle = chdb.connect(sys.argv[1])
    def ask(sql):
        return handle.query(sql, "TabSeparated").bytes().decode()
    ask("CREATE DATABASE kept ENGINE = Atomic")
    ask("CREATE TABLE kept.t (n UInt64) ENGINE = MergeTree ORDER BY n")
    ask("INSERT INTO kept.t SELECT number FROM numbers(1000)")
    ask("SYSTEM FLUSH LOGS")
    print("logs", ",".join(ask("SELECT name FROM system.tables WHERE database = 'system' AND engine LIKE '%MergeTree' "
        "ORDER BY name").split()))
    print("ttl", ask("SELECT engine_full LIKE '%TTL event_date + toIntervalDay(3)%' FROM system.tables "
        "WHERE name = 'query_log'").strip())
    ask("BACKUP DATABASE kept TO Disk('backups', 'one')")
    ask("DROP DATABASE kept SYNC")
    ask("RESTORE DATABASE kept FROM Disk('backups', 'one')")
    print("restored", ask("SELECT count() FROM kept.t").strip())
""")


def test_the_engine_runs_with_it(tmp_path: Path) -> None:
    """System logs are capped or off; BACKUP and RESTORE work on the disk that it allows."""
    text = LOGS.read_text().replace("/var/lib/clickhouse/backups/", f"{tmp_path}/backups/")
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d" / "noclobber.xml").write_text(text)
    (tmp_path / "config.xml").write_text(BASE)
    options = f"{tmp_path}/data?config-file={tmp_path}/config.xml"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, options], capture_output=True, text=True, timeout=100, check=False
    )
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert told.get("restored") == "1000", done.stdout + done.stderr
    assert told["ttl"] == "1"
    assert set(told["logs"].split(",")) <= {"query_log", "part_log", "error_log"}


def test_every_log_that_is_kept_has_a_ttl() -> None:
    """And what is removed is named outright."""
    for each in ET.parse(LOGS).getroot():
        if each.tag.endswith("_log") and each.get("remove") is None:
            assert each.findtext("ttl"), each.tag


def test_the_engine_reads_the_cluster_example(tmp_path: Path) -> None:
    """With the shard and replica that a server's environment names: two shards of two replicas each."""
    program = (
        "import sys, chdb\n"
        "handle = chdb.connect(sys.argv[1])\n"
        "ask = lambda sql: print(handle.query(sql, 'TabSeparated').bytes().decode(), end='')\n"
        "ask('SELECT macro, substitution FROM system.macros ORDER BY macro')\n"
        'ask("SELECT shard_num, replica_num, host_name, internal_replication FROM system.clusters "\n'
        "    \"WHERE cluster = 'main' ORDER BY shard_num, replica_num\")\n"
    )
    environment = {
        **os.environ,
        "CLICKHOUSE_SHARD": "02", "CLICKHOUSE_REPLICA": "clickhouse-02-1", "CLICKHOUSE_CLUSTER_SECRET": "s",
    }  # fmt: skip
    options = f"{tmp_path}/data?config-file={SHIPPED / 'cluster' / 'cluster.xml'}"
    done = subprocess.run(
        [sys.executable, "-c", program, options], capture_output=True, text=True, timeout=100, check=False,
        env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["cluster", "main"], ["replica", "clickhouse-02-1"], ["shard", "02"],
        ["1", "1", "clickhouse-01-1", "1"], ["1", "2", "clickhouse-01-2", "1"],
        ["2", "1", "clickhouse-02-1", "1"], ["2", "2", "clickhouse-02-2", "1"],
    ], done.stderr  # fmt: skip
