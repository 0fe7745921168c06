"""The test-only HTTP server over chdb: what a real server does is what it does, seen through the real client."""

import gzip
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_over_http import ClickHouseOverHttp
from made import NASTY
from processes import Process, ask, free_ports


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseOverHttp]:
    """One server for the module, with a password."""
    made = ClickHouseOverHttp(tmp_path_factory.mktemp("engine"), password="secret")
    yield made
    made.close()


def client_of(server: ClickHouseOverHttp, **more: Any) -> Any:
    return clickhouse_connect.get_client(dsn=server.url, **more)


@pytest.fixture
def client(server: ClickHouseOverHttp) -> Iterator[Any]:
    """A client of the default database."""
    made = client_of(server)
    yield made
    made.close()


def test_types_and_bound_parameters(client: Any) -> None:
    """The types that the store uses come back as they went, and nothing in a parameter is read as SQL."""
    sql = (
        "SELECT toUInt64(18446744073709551615), NULL, [1, 2], map('a', 1), toFixedString('ab', 2), "
        "toLowCardinality('w'), {t:String}, {l:Array(String)}"
    )
    for text in NASTY:
        (row,) = client.query(sql, parameters={"t": text, "l": [text, "x"]}).result_rows
        assert row == (2**64 - 1, None, [1, 2], {"a": 1}, b"ab", "w", text, [text, "x"])


@pytest.mark.parametrize("compress", [False, "gzip", "lz4", "zstd"])
def test_bodies_in_every_compression(server: ClickHouseOverHttp, compress: Any) -> None:
    """Inserts come in chunks and packed, answers go packed where the client asks."""
    client = client_of(server, compress=compress)
    client.command("CREATE OR REPLACE TABLE packed (n UInt64, t String) ENGINE = MergeTree ORDER BY n")
    rows = [(number, f"text {number}" + "x" * 30_000 * (number % 40 == 0)) for number in range(20_000)]
    client.insert("packed", rows, column_names=["n", "t"])
    assert [tuple(row) for row in client.query("SELECT n, t FROM packed ORDER BY n").result_rows] == rows
    client.close()


def test_raw_inserts(client: Any) -> None:
    """In the body behind the statement, and packed with the statement in the URL."""
    client.command("CREATE OR REPLACE TABLE raw (n UInt64) ENGINE = MergeTree ORDER BY n")
    client.raw_insert("raw", ["n"], insert_block=b'{"n":1}\n{"n":2}\n', fmt="JSONEachRow")
    client.raw_insert("raw", ["n"], insert_block=gzip.compress(b"3\n"), fmt="TabSeparated", compression="gzip")
    client.command("INSERT INTO raw VALUES (4)")
    assert client.query("SELECT n FROM raw ORDER BY n").result_rows == [(1,), (2,), (3,), (4,)]


def test_settings_hold_for_one_statement(client: Any) -> None:
    """Other statements have their defaults."""
    sql = "SELECT value FROM system.settings WHERE name = 'max_threads'"
    first = client.query(sql).result_rows
    assert client.query(sql, settings={"max_threads": 3}).result_rows == [("3",)]
    assert client.query(sql).result_rows == first


def test_a_session_keeps_its_temporary_tables(server: ClickHouseOverHttp) -> None:
    """And nobody else sees them."""
    mine, other = client_of(server, session_id="mine"), client_of(server, session_id="other")
    mine.command("CREATE TEMPORARY TABLE t (n UInt8)")
    mine.command("INSERT INTO t VALUES (7)")
    assert mine.query("SELECT n FROM t").result_rows == [(7,)]
    with pytest.raises(ClickHouseError, match="UNKNOWN_TABLE"):
        other.query("SELECT n FROM t")
    mine.close()
    other.close()


def test_databases(client: Any, server: ClickHouseOverHttp) -> None:
    """Each client has its own; a missing one is told by code 81."""
    client.command("CREATE DATABASE IF NOT EXISTS second ENGINE = Atomic")
    there = client_of(server, database="second")
    assert there.query("SELECT currentDatabase()").result_rows == [("second",)]
    assert client.query("SELECT currentDatabase()").result_rows == [("default",)]
    there.close()
    with pytest.raises(ClickHouseError) as caught:
        client_of(server, database="missing")
    assert caught.value.code == 81


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT nope", 47, 400),
        ("SELEC 1", 62, 400),
        ("SELECT * FROM nowhere", 60, 404),
        ("SELECT throwIf(1)", 395, 500),
    ],
)
def test_errors_have_status_code_and_words(
    server: ClickHouseOverHttp, client: Any, sql: str, code: int, status: int
) -> None:
    """As ClickHouse has them; and the next statement gets its own rows."""
    with pytest.raises(ClickHouseError) as caught:
        client.query(sql)
    assert caught.value.code == code
    answer = ask(f"http://127.0.0.1:{server.port}/?password=secret&query={quote(sql)}")
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert b"(version 26." in answer.body
    assert client.query("SELECT 'fresh'").result_rows == [("fresh",)]


def test_a_wrong_password_is_refused(server: ClickHouseOverHttp) -> None:
    """With 403 and code 516, at the door."""
    answer = ask(f"http://127.0.0.1:{server.port}/?query=SELECT+1")
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
    assert ask(f"http://127.0.0.1:{server.port}/ping").body == b"Ok.\n"


def test_summaries_and_headers(server: ClickHouseOverHttp, client: Any) -> None:
    """What the client reads out of an answer beside the rows."""
    client.command("CREATE OR REPLACE TABLE counted (n UInt64) ENGINE = MergeTree ORDER BY n")
    assert client.insert("counted", [(1,), (2,)], column_names=["n"]).written_rows == 2
    answer = ask(f"http://127.0.0.1:{server.port}/?password=secret&query_id=q7", b"SELECT 1")
    assert answer.headers["X-ClickHouse-Query-Id"] == "q7"
    assert answer.headers["X-ClickHouse-Format"] == "TabSeparated"


def test_many_clients_at_once(server: ClickHouseOverHttp) -> None:
    """Each gets its own rows."""
    wrong: list[object] = []

    def work(number: int) -> None:
        client = client_of(server)
        for turn in range(20):
            rows = client.query(
                "SELECT {n:UInt32} * 1000 + {t:UInt32}", parameters={"n": number, "t": turn}
            ).result_rows
            if rows != [(number * 1000 + turn,)]:
                wrong.append(rows)
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_what_was_stored_is_there_for_the_next_server(tmp_path: Path) -> None:
    """As a process of its own: its data outlive it."""
    program = str(Path(__file__).with_name("clickhouse_over_http.py"))
    for turn in range(2):
        (port,) = free_ports(1)
        argv = [sys.executable, program, str(tmp_path / "data"), str(port)]
        with Process(argv, tmp_path / "log") as process:
            process.wait_for(f"http://127.0.0.1:{port}/ping")
            client = clickhouse_connect.get_client(host="127.0.0.1", port=port)
            if turn == 0:
                client.command("CREATE DATABASE kept ENGINE = Atomic")
                client.command("CREATE TABLE kept.t (n UInt8) ENGINE = MergeTree ORDER BY n")
                client.command("INSERT INTO kept.t VALUES (1)")
            assert client.query("SELECT n FROM kept.t").result_rows == [(1,)]
            client.close()
            process.kill()
