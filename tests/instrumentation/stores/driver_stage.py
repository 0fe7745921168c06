"""What the tests of plain drivers share: threads that race, and what the analyzer says of what was captured."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sql_stage import DIFFERS, row_of

from noclobber import agent
from noclobber.guard import GUARD
from noclobber.otlp import json_line
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.otlp_files import read_otlp

TIMEOUT_S = 20
START = 10_000_100
SCHEMA = (
    "CREATE TABLE accounts (id integer PRIMARY KEY, owner varchar(40), bal integer)",
    "CREATE TABLE jobs (id integer PRIMARY KEY, status varchar(40), worker varchar(40))",
    f"INSERT INTO accounts VALUES (1, 'ann', {START}), (2, 'bob', 20000007)",
    "INSERT INTO jobs VALUES (7, 'new', NULL), (8, 'new', NULL)",
)
Reads, Writes = Callable[[], Any], Callable[[Any], None]
"""What reads a value, and what writes one."""
VERSION = {"version.kind": "fingerprint", "version.verbatim": False}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The bank in SQLite."""
    file = tmp_path / "bank.db"
    connection = sqlite3.connect(file)
    for statement in SCHEMA:
        connection.execute(statement)
    connection.commit()
    connection.close()
    yield file
    GUARD.failures.clear()


@pytest.fixture
def dsn(postgres_url: str) -> str:
    """The bank's database, fresh."""
    found = postgres_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS accounts, jobs CASCADE")
        for statement in SCHEMA:
            connection.execute(statement)
    return found


def together(*agents: Callable[[], None]) -> None:
    """Run agents at once, each in a thread and under a name of its own; their errors are ours."""
    failures: list[BaseException] = []

    def guarded(number: int, act: Callable[[], None]) -> None:
        try:
            with agent(f"agent-{number}"):
                act()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=each) for each in enumerate(agents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def overtaken(read: Callable[[], Any], change: Callable[[], Any], *rest: Callable[[], Any]) -> None:
    """One agent reads; another changes what it has read; then the first one goes on with `rest`."""
    has_read, changed = threading.Event(), threading.Event()

    def careful() -> None:
        read()
        has_read.set()
        assert changed.wait(TIMEOUT_S)
        for act in rest:
            act()

    def quick() -> None:
        assert has_read.wait(TIMEOUT_S)
        change()
        changed.set()

    together(careful, quick)


async def one(connection: Any, query: str, *parameters: Any) -> Any:
    """The first column of the first row."""
    return (await (await connection.execute(query, parameters)).fetchone())[0]


def judged(captured: Any, folder: Path) -> Evaluation:
    """What the analyzer says; ask after the block, when the last mark is in."""
    file = folder / "spans.jsonl"
    file.write_text("".join(json_line(captured.resource, export) + "\n" for export in captured.exports))
    return evaluate(read_otlp([str(file)]))


def turns(open_one: Callable[[], tuple[Reads, Writes, Callable[[], None]]], values: list[Any]) -> None:
    """Two agents that read and write in turn, each on a connection of its own."""
    mine, others = queue.SimpleQueue[Any](), queue.SimpleQueue[Any]()

    def agent(number: int, take: Any, give: Any) -> None:
        read, write, close = open_one()
        for at in range(number, len(values), 2):
            take.get(timeout=TIMEOUT_S)
            read()
            write(values[at])
            give.put(at)
        close()

    mine.put(0)
    together(lambda: agent(0, mine, others), lambda: agent(1, others, mine))


def race(open_one: Callable[[], tuple[Reads, Writes, Callable[[], None]]], values: list[Any]) -> None:
    """Both have read before either writes."""
    met = threading.Barrier(2, timeout=TIMEOUT_S)

    def agent(number: int) -> None:
        read, write, close = open_one()
        read()
        met.wait()
        write(values[number])
        close()

    together(lambda: agent(0), lambda: agent(1))


def findings(captured: Any, folder: Path) -> list[tuple[str, str]]:
    """Kind and certainty of each finding."""
    return [(str(finding.kind), str(finding.certainty)) for finding in judged(captured, folder).findings]


def told(captured: Any) -> Iterator[dict[str, Any]]:
    """Accesses without identities and times; names without `noclobber.`, the resource without its database."""
    for access in captured.accesses:
        kept = {name: value for name, value in access.items() if not name.startswith(DIFFERS)}
        kept.pop("noclobber.unit", None)
        kept["noclobber.resource"] = row_of(kept["noclobber.resource"])
        yield {name.removeprefix("noclobber."): value for name, value in kept.items()}


def story(captured: Any) -> list[str]:
    """Each access in a few words: op, resource, and how it ended where it is not ok; savepoints as `@path`."""
    return [
        " ".join(
            [each["op"], each["resource"] or "-"]
            + ([each["outcome"]] if each["outcome"] != "ok" else [])
            + ([f"@{each['txn.savepoint']}"] if "txn.savepoint" in each else [])
        )
        for each in told(captured)
        if each["op"] != "join"
    ]
