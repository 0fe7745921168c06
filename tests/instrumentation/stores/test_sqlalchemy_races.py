"""Races, and beside each its safe twin: the spans hold the evidence that tells the two apart."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sql_stage import ACCOUNTS, JOBS, Document, accesses, engine, postgres_url, prepared, printed, row_of
from sqlalchemy import Engine, create_engine, event, exc, select, text, update
from sqlalchemy.orm import Session

from noclobber.testing import capture

__all__ = ["engine", "postgres_url"]

TIMEOUT_S = 20


def together(*agents: Callable[[], None]) -> None:
    """Run agents at once, each in a thread of its own; their errors are ours."""
    failures: list[BaseException] = []

    def guarded(agent: Callable[[], None]) -> None:
        try:
            agent()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(agent,)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def spans(captured: Any, op: str) -> list[dict[str, Any]]:
    return [each for each in captured.accesses if each["noclobber.op"] == op]


def test_lost_update(postgres_url: str) -> None:
    """Both read 100 before either wrote: both writes have base 100, and the second replaced what the first made."""
    engine, read = prepared(postgres_url), threading.Barrier(2)
    wrote = threading.Event()

    def book(amount: int, *, first: bool) -> None:
        with Session(engine) as session:
            balance = session.execute(select(ACCOUNTS.c.bal).where(ACCOUNTS.c.id == 1)).scalar_one()
        read.wait(TIMEOUT_S)
        if not first:
            assert wrote.wait(TIMEOUT_S)
        with Session(engine) as session:
            session.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=balance + amount))
            session.commit()
        wrote.set()

    with capture(exact=("*",), background=True, fixed=False) as captured:
        together(lambda: book(50, first=True), lambda: book(-20, first=False))
        first, second = spans(captured, "write")
        base = first["noclobber.version.base"]
        assert first["noclobber.version.overwritten"] == base == second["noclobber.version.base"]
        assert second["noclobber.version.overwritten"] == first["noclobber.version.written"] != base
        assert first["noclobber.strand"] != second["noclobber.strand"]
        assert {first["noclobber.version.base.source"], second["noclobber.version.base.source"]} == {"observed"}
    engine.dispose()


def test_for_update(postgres_url: str) -> None:
    """Who locks the row when reading it writes under that lock: guard `lock`, and base is what is replaced."""
    engine = prepared(postgres_url)

    def book(amount: int) -> None:
        with engine.begin() as connection:
            locked = select(ACCOUNTS.c.bal).where(ACCOUNTS.c.id == 1).with_for_update()
            balance = connection.execute(locked).scalar_one()
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=balance + amount))

    with capture(exact=("*",)) as captured:
        together(lambda: book(50), lambda: book(-20))
        assert [each["guard"] for each in accesses(captured)] == ["lock"] * 4
        writes = accesses(captured, "write")
        assert all(each["version.base"] == each["version.overwritten"] for each in writes)
    engine.dispose()


def test_serializable(postgres_url: str) -> None:
    """Serializable transactions say so on begin, on each access and on commit; the loser's is rejected."""
    prepared(postgres_url).dispose()
    engine = create_engine(postgres_url, isolation_level="SERIALIZABLE")
    read = threading.Barrier(2)

    def book(amount: int) -> None:
        with engine.connect() as connection:
            balance = connection.execute(select(ACCOUNTS.c.bal).where(ACCOUNTS.c.id == 1)).scalar_one()
            read.wait(TIMEOUT_S)
            try:
                connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=balance + amount))
                connection.commit()
            except exc.OperationalError:
                connection.rollback()

    with capture(background=True, fixed=False) as captured:
        together(lambda: book(50), lambda: book(-20))
        everything = accesses(captured, "begin", "read", "write", "commit", "abort")
        assert {each["guard"] for each in everything} == {"serializable"}
        assert {each["txn.isolation"] for each in everything} == {"serializable"}
        assert sorted(each["outcome"] for each in everything if each["op"] == "write") == ["ok", "rejected"]
    engine.dispose()


def test_double_claim(postgres_url: str) -> None:
    """Both saw the job as new and both moved it: one message id, two takes, no guard."""
    engine, seen = prepared(postgres_url), threading.Barrier(2)

    def claim(worker: str) -> None:
        with engine.begin() as connection:
            new = select(JOBS.c.id).where(JOBS.c.status == "new").order_by(JOBS.c.id).limit(1)
            job = connection.execute(new).scalar_one()
            seen.wait(TIMEOUT_S)
            connection.execute(update(JOBS).where(JOBS.c.id == job).values(status="running", worker=worker))

    with capture(background=True, fixed=False) as captured:
        together(lambda: claim("one"), lambda: claim("two"))
        takes = spans(captured, "write")
        assert [row_of(each["noclobber.message.id"]) for each in takes] == ["jobs/id=7"] * 2
        assert len({each["noclobber.txn.id"] for each in takes}) == 2
        assert not any("noclobber.guard" in each for each in takes)
    engine.dispose()


def test_skip_locked(postgres_url: str) -> None:
    """With SKIP LOCKED each worker locks another row, in one statement or in two."""
    engine, taken = prepared(postgres_url), threading.Barrier(2)

    def in_two(worker: str) -> None:
        with engine.begin() as connection:
            new = select(JOBS.c.id).where(JOBS.c.status == "new").order_by(JOBS.c.id).limit(1)
            job = connection.execute(new.with_for_update(skip_locked=True)).scalar_one()
            connection.execute(update(JOBS).where(JOBS.c.id == job).values(status="running", worker=worker))
            taken.wait(TIMEOUT_S)

    with capture(background=True, fixed=False) as captured:
        together(lambda: in_two("one"), lambda: in_two("two"))
        takes = accesses(captured, "write")
        assert sorted(row_of(each["message.id"]) for each in takes) == ["jobs/id=7", "jobs/id=8"]
        assert [each["guard"] for each in takes] == ["lock", "lock"]
    with engine.begin() as connection:
        connection.execute(update(JOBS).values(status="new"))
    free = select(JOBS.c.id).where(JOBS.c.status == "new").limit(1).with_for_update(skip_locked=True).scalar_subquery()
    with capture() as captured, engine.begin() as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == free).values(status="done").returning(JOBS.c.id)).all()
        (take,) = accesses(captured)
        assert take["guard"] == "lock"
        assert take["message.id"].endswith(take["resource"])
    engine.dispose()


def test_claim_by_condition(engine: Engine) -> None:
    """`WHERE id = .. AND status = 'new'` compares: whoever comes second is refused."""
    claim = update(JOBS).where(JOBS.c.id == 7, JOBS.c.status == "new").values(status="running")
    with capture() as captured:
        for _ in range(2):
            with engine.begin() as connection:
                connection.execute(claim)
        first, second = accesses(captured)
        assert (first["outcome"], second["outcome"]) == ("ok", "rejected")
        assert first["guard"] == second["guard"] == "version"
        assert first["version.expected"] == printed(status="new")


def test_dirty_read(tmp_path: Any) -> None:
    """SQLite with a shared cache and read_uncommitted: the reader got what was then rolled back."""
    url = f"sqlite:///file:{tmp_path}/bank.db?cache=shared&uri=true"
    prepared(url).dispose()
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def read_uncommitted(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA read_uncommitted = 1")

    with capture() as captured, Session(engine) as writer, Session(engine) as reader:
        writer.get_one(Document, 1).text = "a text that will never have been"
        writer.flush()
        assert reader.get_one(Document, 1).text.startswith("a text that")
        writer.rollback()
        (write,), got = accesses(captured, "write"), accesses(captured, "read")[-1]
        assert (write["version.written"], got["version.read"]) == ("2", "2")
        assert write["content.written"] == got["content.read"] == printed(text="a text that will never have been")
        assert {each["txn.isolation"] for each in (write, got)} == {"read_uncommitted"}
        assert spans(captured, "abort")[0]["noclobber.txn.id"] == spans(captured, "write")[0]["noclobber.txn.id"]
    engine.dispose()


def test_read_uncommitted_by_text(tmp_path: Any) -> None:
    """The pragma is seen in a program's own statements too."""
    engine = prepared(f"sqlite:///{tmp_path}/bank.db")
    with capture() as captured, engine.connect() as connection:
        connection.execute(text("PRAGMA read_uncommitted = 1"))
        connection.rollback()
        connection.execute(select(JOBS)).all()
        assert accesses(captured)[0]["txn.isolation"] == "read_uncommitted"
        connection.execute(text("PRAGMA read_uncommitted = 0"))
        connection.rollback()
        connection.execute(select(JOBS)).all()
        assert accesses(captured)[1]["txn.isolation"] == "read_committed"
    engine.dispose()


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_isolation_that_is_really_set(postgres_url: str, level: str) -> None:
    """By engine, by connection, by statement."""
    expected = level.lower().replace(" ", "_")
    prepared(postgres_url).dispose()
    by_engine, plain = create_engine(postgres_url, isolation_level=level), create_engine(postgres_url)
    with capture() as captured:
        with by_engine.connect() as connection:
            connection.execute(select(JOBS)).all()
        with plain.connect().execution_options(isolation_level=level) as connection:
            connection.execute(select(JOBS)).all()
        with plain.connect() as connection:
            connection.execute(text(f"SET TRANSACTION ISOLATION LEVEL {level}"))
            connection.execute(select(JOBS)).all()
        assert [each["txn.isolation"] for each in accesses(captured)] == [expected] * 3
    by_engine.dispose()
    plain.dispose()
