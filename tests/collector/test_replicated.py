"""Replicated tables against a real ZooKeeper: as far as an engine goes that can't listen.

The embedded engine creates them (its arguments, macros and paths are accepted, and what it notes in ZooKeeper is
there); its replicas stay read-only, so rows and ALTERs are not to be had this way.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from broker_stage import zookeeper
from kazoo.client import KazooClient

from noclobber_collector.columns import placeholders
from noclobber_collector.ddl import SHARDED_BY, rendered, statements
from noclobber_collector.migrate import migrations

PROGRAM = """
import os, sys
import chdb
handle = chdb.connect(sys.argv[1])
handle.query("CREATE DATABASE nc ENGINE = Atomic")
handle.query("USE nc")
for statement in sys.stdin.read().split("\\0"):
    try:
        handle.query(statement)
    except Exception as error:
        print(statement[:200], "->", str(error)[:500], flush=True)
        os._exit(1)
print("made", flush=True)
os._exit(0)
"""
CONFIGURATION = (
    "<clickhouse><tcp_port>9000</tcp_port><macros><shard>01</shard><replica>r1</replica></macros>"
    "<zookeeper><node><host>{host}</host><port>{port}</port></node></zookeeper>"
    "<remote_servers><main><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard></main>"
    "</remote_servers></clickhouse>"
)


@pytest.mark.long
def test_every_table_for_a_cluster_can_be_made(tmp_path: Path) -> None:
    """All of the migrations' CREATE statements, only ON CLUSTER taken out; ZooKeeper then knows each table."""
    made = [
        each.replace(" ON CLUSTER `main`", "")
        for _, text in migrations().values()
        for one in statements(text)
        for each in rendered(one, placeholders(), "main")
        if each.startswith("CREATE")
    ]
    (tmp_path / "zk").mkdir()
    with zookeeper(tmp_path / "zk") as address:
        client = KazooClient(address)
        client.start(timeout=60)
        host, _, port = address.partition(":")
        (tmp_path / "config.xml").write_text(CONFIGURATION.format(host=host, port=port))
        options = f"{tmp_path}/data?config-file={tmp_path}/config.xml"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, options],
            input="\0".join(made), capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.stdout == "made\n", done.stdout + done.stderr
        known = set(client.get_children("/clickhouse/tables/01/nc"))
        client.stop()
        client.close()
    replicated = {name for each in made for name in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+_local)", each)}
    assert known == replicated
    assert {f"{name}_local" for name in SHARDED_BY if name != "schema_migrations"} == replicated
