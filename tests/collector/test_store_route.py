"""A running engine's store as commands beside it see it: the same client, the same answers."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
import uvicorn
from made import NASTY
from processes import ask
from starlette.applications import Starlette

from noclobber_collector.errors import StoreBusyError, StoreError
from noclobber_collector.lock import EngineLock, holder
from noclobber_collector.reach import reached_store
from noclobber_collector.receiver.process import QuietServer
from noclobber_collector.store import Store, open_store
from noclobber_collector.store_route import store_route


@pytest.fixture
def address(store: Store) -> Iterator[str]:
    """A server that offers the store where an engine would."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = QuietServer(uvicorn.Config(Starlette(routes=[store_route(store)]), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def beside(address: str) -> Iterator[Store]:
    """The store reached over HTTP."""
    made = open_store(f"{address}/api/v1/store", prepare=False)
    yield made
    made.close()


def test_the_same_answers(store: Store, beside: Store) -> None:
    """Types, nesting, NULL and bytes come through as from the embedded client."""
    sql = (
        "SELECT toUInt64(18446744073709551615) AS big, NULL AS nothing, [1, 2] AS list, map('a', 1) AS m, "
        "toFixedString('ab', 2) AS raw, 1.5 AS x, toLowCardinality('w') AS word, number FROM numbers({n:UInt32})"
    )
    for count in (0, 1, 1_000):
        assert beside.rows(sql, {"n": count}) == store.rows(sql, {"n": count})
    assert beside.dicts(sql, {"n": 2}) == store.dicts(sql, {"n": 2})
    assert [list(c) for c in beside.columns(sql, {"n": 3}).values()] == [
        list(c) for c in store.columns(sql, {"n": 3}).values()
    ]


@pytest.mark.parametrize("text", NASTY)
def test_parameters_come_through_unchanged(beside: Store, text: str) -> None:
    """Alone, in lists, in inserts."""
    beside.insert("transitions", ("id", "issue", "at_ns"), [(text, "i", 7)])
    assert beside.rows("SELECT id, at_ns FROM transitions WHERE id = {id:String}", {"id": text}) == [(text, 7)]
    assert beside.rows("SELECT {a:Array(String)}, {n:Int64}", {"a": [text, "x"], "n": -3}) == [([text, "x"], -3)]
    found = beside.rows("SELECT id FROM transitions WHERE id IN {ids:Array(String)}", {"ids": [text]})
    assert found == [(text,)]


def test_many_rows_both_ways(beside: Store, store: Store) -> None:
    """Large inserts and answers, compressed as the client likes."""
    rows = [(f"id-{number}", "issue", number) for number in range(50_000)]
    beside.insert("transitions", ("id", "issue", "at_ns"), rows)
    assert store.rows("SELECT count(), max(at_ns) FROM transitions") == [(50_000, 49_999)]
    assert sorted(beside.rows("SELECT id, issue, at_ns FROM transitions")) == sorted(rows)


@pytest.mark.parametrize("compress", ["gzip", "lz4", "zstd"])
def test_inserts_of_several_blocks_arrive_whole(address: str, store: Store, compress: str) -> None:
    """A client packs each block of rows by itself; none of them may be left behind."""
    body = "".join(chr(33 + number * 7919 % 90) for number in range(20_000))
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=int(address.rpartition(":")[2]), proxy_path="api/v1/store", compress=compress
    )
    rows = [(f"f{n}", time.time_ns(), body[n:]) for n in range(400)]
    client.insert("findings", rows, column_names=["id", "found_ns", "body"])
    client.close()
    assert store.rows("SELECT count() FROM findings") == [(400,)]


def test_commands_and_check(beside: Store, store: Store) -> None:
    """What gives no rows, and CHECK TABLE, which does."""
    store.insert("transitions", ("id",), [("a",)])
    beside.command("DELETE FROM transitions WHERE id = {id:String}", {"id": "a"})
    assert store.rows("SELECT count() FROM transitions") == [(0,)]
    for each in (beside, store):
        _, answer = each.raw(
            "CHECK TABLE accesses SETTINGS check_query_single_value_result = 1", {}, {}, "TabSeparated"
        )
        assert answer == b"1\n"


def test_errors_keep_clickhouses_words_and_code(beside: Store) -> None:
    """So that a command can say what is wrong."""
    with pytest.raises(StoreError, match="Unknown expression identifier") as caught:
        beside.rows("SELECT nope")
    assert caught.value.code == 47
    assert beside.rows("SELECT 1") == [(1,)]


def test_a_body_that_is_not_what_it_says(address: str) -> None:
    """An error in ClickHouse's form, no traceback."""
    answer = ask(f"{address}/api/v1/store/", b"SELECT 1", content_encoding="odd")
    assert (answer.status, b"not known" in answer.body) == (500, True)
    assert ask(f"{address}/api/v1/store/ping").body == b"Ok.\n"


def test_a_link_runs_no_statement(address: str, store: Store) -> None:
    """Whatever a browser is led to by GET."""
    for statement in (
        "DROP+TABLE+transitions",
        "INSERT+INTO+transitions+(id)+FORMAT+TabSeparated%0Alinked",
        "SELECT+1",
    ):
        answer = ask(f"{address}/api/v1/store/?query={statement}")
        assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (405, "164")
    assert store.rows("SELECT count() FROM transitions WHERE id = 'linked'") == [(0,)]


# -- how a command reaches it --------------------------------------------------------------------------------------


def test_beside_an_engine_a_command_goes_through_its_api(address: str, store: Store, tmp_path: Path) -> None:
    """The holder of the lock says where."""
    store.insert("transitions", ("id",), [("seen",)])
    with EngineLock(tmp_path, address), reached_store(tmp_path) as found:
        assert found.rows("SELECT id FROM transitions") == [("seen",)]


@pytest.mark.parametrize(("where", "text"), [("http://127.0.0.1:1", "does not answer at"), ("", "offers no API")])
def test_a_held_folder_whose_engine_does_not_answer(tmp_path: Path, where: str, text: str) -> None:
    """Names process and address, at once."""
    with (
        EngineLock(tmp_path, where),
        pytest.raises(StoreBusyError, match=f"process {os.getpid()} holds .*{text}"),
        reached_store(tmp_path),
    ):
        pass


def test_without_an_engine_a_command_opens_the_folder_itself(tmp_path: Path) -> None:
    """In a process of its own, and holds the lock meanwhile."""
    program = (
        "import sys; from pathlib import Path; from noclobber_collector.reach import reached_store\n"
        "from noclobber_collector.lock import holder\n"
        "with reached_store(Path(sys.argv[1])) as store:\n"
        "    print(store.rows('SELECT count() FROM accesses'), holder(Path(sys.argv[1])) is not None)\n"
        "print(holder(Path(sys.argv[1])))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.returncode) == (["[(0,)] True", "None"], 0), done.stderr


def test_a_lock_that_was_only_looked_at_is_taken(tmp_path: Path) -> None:
    """Whoever asks who holds it takes it for an instant; that is nobody's refusal."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder(tmp_path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            EngineLock(tmp_path, "http://here").release()
    finally:
        stop.set()
        thread.join(10)


def test_a_second_holder_is_refused_by_name(tmp_path: Path) -> None:
    """Also after the first was garbled by a crash in the middle of its write."""
    with EngineLock(tmp_path, "http://here"):
        with pytest.raises(StoreBusyError, match=f"process {os.getpid()} at http://here"):
            EngineLock(tmp_path, wait_s=0.05)
        (tmp_path / "engine.lock").write_text("{")
        with pytest.raises(StoreBusyError, match="another process"):
            EngineLock(tmp_path, wait_s=0.05)
    assert holder(tmp_path) is None
