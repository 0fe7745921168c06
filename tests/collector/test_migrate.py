"""Migrations: applied once whoever starts, refused where newer, and one source for one engine and for a cluster."""

import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_over_http import ClickHouseOverHttp
from made import accesses
from one_shard import as_one_shard, server_of_one_shard

from noclobber_collector.columns import placeholders
from noclobber_collector.ddl import LOCAL, SHARDED_BY, rendered, statements
from noclobber_collector.errors import StoreError, StoreUnusableError
from noclobber_collector.loader import Loader
from noclobber_collector.migrate import CLAIM, migrate, migrations
from noclobber_collector.requests import count_spans
from noclobber_collector.segments import closed_segments
from noclobber_collector.spool import Spool
from noclobber_collector.store import Store, open_store

APPLIED = "SELECT number, count() FROM schema_migrations GROUP BY number ORDER BY number"
ONCE = [(number, 1) for number in migrations()]
START = textwrap.dedent("""
    import sys
    from noclobber_collector.store import open_store
    print("here", flush=True)
    sys.stdin.readline()
    store = open_store(sys.argv[1])
    print(store.rows("SELECT count() FROM accesses"), flush=True)
""")
"""A process that prepares a store when it is told to."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseOverHttp]:
    """A server that is one shard of a cluster, and the whole of it."""
    made = server_of_one_shard(tmp_path_factory.mktemp("engine"))
    yield made
    made.close()


@pytest.fixture
def fresh(server: ClickHouseOverHttp, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database of the test's own."""
    name = re.sub(r"\W", "_", request.node.name)[:60]
    yield f"{server.url}/{name}"
    first = open_store(f"{server.url}/other", prepare=True)
    first.command("DROP DATABASE IF EXISTS {name:Identifier} SYNC", {"name": name})
    first.close()


def test_migrations_apply_once(fresh: str) -> None:
    """A second start finds nothing to do, and leaves nothing behind."""
    store = open_store(fresh)
    assert migrate(store) == []
    assert store.rows(APPLIED) == ONCE
    assert store.rows("SHOW TABLES LIKE 'migrating%'") == []
    store.close()


def test_two_processes_that_start_together_apply_each_once(fresh: str) -> None:
    """One of them does it all, the other waits and then finds it done."""
    both = [
        subprocess.Popen([sys.executable, "-c", START, fresh], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for each in both:
            assert each.stdout is not None
            assert each.stdout.readline() == "here\n"
        for each in both:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        assert [each.communicate(timeout=60)[0] for each in both] == ["[(0,)]\n"] * 2
    finally:
        for each in both:
            each.kill()
            each.wait()
    store = open_store(fresh)
    assert store.rows(APPLIED) == ONCE
    store.close()


@pytest.mark.long
def test_many_threads_that_start_together_apply_each_once(fresh: str) -> None:
    """However they are interleaved."""
    together, errors = threading.Barrier(4), []

    def start() -> None:
        together.wait(10)
        try:
            open_store(fresh).close()
        except Exception as error:  # the test shows it
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    store = open_store(fresh)
    assert store.rows(APPLIED) == ONCE
    store.close()


def test_what_one_who_died_left_is_taken_over(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while without a sign; what was done in part is done again."""
    monkeypatch.setattr("noclobber_collector.migrate.ABANDONED_S", 1)
    store = open_store(fresh)
    store.command("DROP TABLE findings SYNC")
    store.command("DELETE FROM schema_migrations WHERE number >= 2")
    store.command(CLAIM.replace("{on_cluster}", ""))
    assert migrate(store) == [number for number in migrations() if number >= 2]
    assert store.rows("SELECT count() FROM findings") == [(0,)]
    assert store.rows(APPLIED) == ONCE
    assert store.rows("SHOW TABLES LIKE 'migrating%'") == []
    store.close()


def test_one_who_does_not_end_is_named(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting has a bound, and the sentence says what to do."""
    monkeypatch.setattr("noclobber_collector.migrate.WAIT_MAX_S", 0.3)
    store = open_store(fresh)
    store.command("DELETE FROM schema_migrations WHERE number >= 2")
    store.command(CLAIM.replace("{on_cluster}", ""))
    with pytest.raises(StoreUnusableError, match="drop its table `migrating`"):
        migrate(store)
    store.close()


def test_a_newer_store_is_refused(fresh: str) -> None:
    """With what to do about it."""
    store = open_store(fresh)
    store.insert("schema_migrations", ("number", "name"), [(9_999, "from the future")])
    with pytest.raises(StoreUnusableError, match=r"newer noclobber .*9999.*: upgrade noclobber"):
        migrate(store)
    store.close()


def test_no_placeholder_is_left() -> None:
    """What stands in braces in a migration is known."""
    for cluster in ("", "main"):
        for made in ddl(cluster):
            assert "{" not in re.sub(r"\{(shard|replica|database|table)\}", "", made)


# -- a cluster, from the same source -------------------------------------------------------------------------------


def ddl(cluster: str) -> list[str]:
    """Every statement of every migration."""
    values = placeholders()
    texts = [text for _, text in migrations().values()]
    return [each for text in texts for one in statements(text) for each in rendered(one, values, cluster)]


def test_every_statement_for_a_cluster_can_be_parsed(fresh: str) -> None:
    """ON CLUSTER stands in each; tables that keep rows are replicated and have a Distributed one over them."""
    store, made = open_store(fresh), ddl("main")
    for statement in made:
        assert " ON CLUSTER `main`" in statement
        assert store.rows("EXPLAIN AST " + statement)
    store.close()
    text = "\n".join(made)
    assert "ENGINE = MergeTree" not in text
    kept = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)_local ", text))
    assert kept == SHARDED_BY.keys() - {"schema_migrations"}
    over = set(re.findall(r"ENGINE = Distributed\(`main`, currentDatabase\(\), (\w+)_local", text))
    assert over == kept


def test_columns_are_added_to_both_tables_and_settings_to_the_local_one() -> None:
    """An ALTER knows what a Distributed table has."""
    column = rendered("ALTER TABLE accesses{on_cluster} ADD COLUMN IF NOT EXISTS x UInt8", {}, "main")
    assert [each.split(" ON ")[0] for each in column] == ["ALTER TABLE accesses_local", "ALTER TABLE accesses"]
    setting = rendered("ALTER TABLE accesses{on_cluster} MODIFY SETTING ttl_only_drop_parts = 0", {}, "main")
    assert [each.split(" ON ")[0] for each in setting] == ["ALTER TABLE accesses_local"]
    assert rendered("ALTER TABLE accesses{on_cluster} DROP INDEX x", {}) == ["ALTER TABLE accesses DROP INDEX x"]


@pytest.fixture
def spread(fresh: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store over Distributed tables."""
    as_one_shard(monkeypatch)
    store = open_store(f"{fresh}?cluster=main")
    yield store
    store.close()


def test_the_pipeline_over_distributed_tables(spread: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load, count and delete: the rows lie in the shard's own table, and every statement finds them."""
    monkeypatch.chdir(tmp_path)
    spool = Spool(tmp_path / "spool")
    for size in (20, 30):
        data = accesses(size).SerializeToString()
        spool.put(data, count_spans(data)).result(10)
    spool.close()
    loader = Loader(spread, tmp_path / "spool")
    loader.start()
    assert loader.stop(30)
    assert not closed_segments(tmp_path / "spool")
    for table in ("accesses", "accesses" + LOCAL):
        assert spread.rows("SELECT count() FROM {t:Identifier}", {"t": table}) == [(50,)]
    assert spread.rows("SELECT count() FROM otel_traces") == [(50,)]
    spread.delete("accesses", "seq > {n:Int64}", {"n": 20})
    assert spread.rows("SELECT count() FROM accesses") == [(40,)]


def test_a_cluster_must_be_named(fresh: str, spread: Store) -> None:
    """Who forgets it in the URL is told; nothing is written past the shards."""
    assert spread.rows(APPLIED) == ONCE
    with pytest.raises(StoreUnusableError, match=r"spread over the cluster main: add \?cluster=main"):
        open_store(fresh)


def test_an_unknown_cluster_is_an_error(fresh: str) -> None:
    """The server's own words."""
    with pytest.raises(StoreError, match="nowhere"):
        open_store(f"{fresh}?cluster=nowhere")
