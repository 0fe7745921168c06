"""Guarded rows through SQLAlchemy: what an object was loaded with is asked for by its UPDATE, and nothing beside."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from guarded_bank import (
    ANY,
    TIMEOUT_S,
    Account,
    Base,
    Counted,
    Order,
    another,
    balance,
    change,
    elsewhere,
    engine,
    guarded,
    held,
    seen,
)
from sqlalchemy import (
    Engine,
    ForeignKey,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
    update,
)  # fmt: skip
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import noclobber
from noclobber import StaleWrite, Unguardable
from noclobber.guarding import blocks
from noclobber.guarding.sqlalchemy_texts import changed_tables
from noclobber_analyzer.watching import Watched

__all__ = ["engine", "seen"]

ALL = ("postgresql://*", "sqlite://*")


def withdraw(engine: Engine) -> Iterator[Session]:
    """Read 100 and think, while another agent writes 70; then withdraw 10, and stop before it is committed."""
    with (
        another(lambda: change(engine, balance=70)) as tell,
        noclobber.agent("A"),
        Session(engine, expire_on_commit=False) as session,
    ):
        account = session.get_one(Account, 1)
        session.commit()
        tell()
        account.balance -= 10
        yield session
        session.rollback()
        account.balance -= 10
        session.commit()


def test_a_stale_write_is_not_made(engine: Engine, seen: Watched) -> None:
    """The exception names who wrote in between and where; the other's value is still there; read again it passes."""
    with guarded():
        for session in withdraw(engine):
            with pytest.raises(StaleWrite, match=r"`B` at .*guarded_bank\.py:\d+, \d+ ms ago, wrote") as caught:
                session.commit()
            assert balance(engine) == 70
    assert (caught.value.agent, caught.value.resource.rpartition("/")[2]) == ("B", "id=1")
    assert balance(engine) == 60
    evaluation = seen.evaluation()
    assert (evaluation.findings, {str(each.reason) for each in evaluation.defended}) == ([], {"rejected"})


def test_without_the_guard_it_is_lost(engine: Engine, seen: Watched) -> None:
    """The same program, so that the guard is what prevents it."""
    for session in withdraw(engine):
        session.commit()
        assert balance(engine) == 90
    assert [str(each.kind) for each in seen.evaluation().findings] == ["lost_update"]


def test_a_delete_a_gone_row_and_nothing(engine: Engine) -> None:
    """A DELETE is guarded, a row that is gone is stale, NULL is compared as a value."""
    with guarded(), held(engine) as session:
        first, second = session.get_one(Account, 1), session.get_one(Account, 2)
        elsewhere(lambda: change(engine, note="changed"))
        first.balance = 1
        with pytest.raises(StaleWrite):
            session.flush()
        session.rollback()
        session.refresh(second)
        second.note = "mine"
        session.commit()
        second.note = None
        session.commit()
        second.balance = 5
        with engine.connect() as other:
            contextvars.Context().run(lambda: (other.execute(delete(Account).where(Account.id == 2)), other.commit()))
        with pytest.raises(StaleWrite, match="somebody whose write was not seen here"):
            session.flush()
        session.rollback()
    assert (balance(engine), balance(engine, 2)) == (100, None)


def test_many_rows_of_one_flush(engine: Engine) -> None:
    """All pass together, or none does: the one that is stale is named."""
    with guarded(), held(engine) as session:
        first, second = session.get_one(Account, 1), session.get_one(Account, 2)
        first.balance, second.balance = 90, 110
        session.commit()
        elsewhere(lambda: change(engine, 2, balance=7))
        first.balance, second.balance = 1, 2
        session.add(Account(id=3, balance=3))
        with pytest.raises(StaleWrite, match="id=2 has changed"):
            session.commit()
    assert (balance(engine), balance(engine, 2), balance(engine, 3)) == (90, 7, None)


def test_who_guards_itself_is_left_alone(engine: Engine) -> None:
    """A `version_id_col` raises what it always did, and its statement is as it was."""
    from sqlalchemy.orm.exc import StaleDataError

    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    with guarded(*ALL), Session(engine, expire_on_commit=False) as session:
        counted = session.get_one(Counted, 1)
        session.commit()
        counted.balance = 90
        session.commit()
        with Session(engine) as other:
            contextvars.Context().run(lambda: (other.execute(text("UPDATE counted SET version = 9")), other.commit()))
        counted.balance = 80
        with pytest.raises(StaleDataError):
            session.commit()
    assert [each for each in sent if "noclobber" in each] == []
    assert len({each for each in sent if each.startswith("UPDATE counted SET balance")}) == 1


STATEMENTS: Any = {
    "core": update(Account).where(Account.id == 1).values(balance=1),
    "orm delete": delete(Account).where(Account.id == 1),
    "text": text("UPDATE accounts SET balance = 1 WHERE id = 1"),
    "cte": text("WITH o AS (SELECT 1) DELETE FROM accounts WHERE id = 1"),
    "upsert": postgresql.insert(Account).values(id=1, balance=1).on_conflict_do_update(
        index_elements=["id"], set_={"balance": 1}
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", list(STATEMENTS))
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_names_no_object_is_refused(engine: Engine, way: str) -> None:
    """Before it is sent, whichever way; other tables are free, and so is everything outside of the block."""
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    with guarded(), Session(engine) as session:
        with pytest.raises(Unguardable, match="names no object"):
            session.execute(STATEMENTS[way])
        with pytest.raises(Unguardable, match="names no object"):
            session.connection().exec_driver_sql("/* x */ update main.accounts set balance = 1")
        with pytest.raises(Unguardable, match="names no object"):
            session.execute(update(Account), [{"id": 1, "balance": 1}])
        assert sent == []
        session.execute(update(Order).values(amount=2))
        session.execute(insert(Account).values(id=9, balance=1))
        session.commit()
    with Session(engine) as session:
        session.execute(update(Account).values(balance=3))
        session.commit()
    assert balance(engine) == 3


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ('UPDATE ONLY "Acc ounts" SET a = 1', {"Acc ounts"}),
        ('update"accounts"set a=1', {"accounts"}),
        ("UPDATE OR IGNORE bank . accounts SET a = 1", {"accounts", "bank.accounts"}),
        ("-- UPDATE x\nSELECT 'DELETE FROM y', E'it\\'s UPDATE z' /* update q */", set()),
        ("TRUNCATE TABLE a, b CASCADE", {"TABLE", "a", "b", "CASCADE"}),
        ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", {"t"}),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", set()),
        ("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1", {"t", "SET"}),
        ("INSERT OR REPLACE INTO t VALUES (1)", {"t"}),
        ("SELECT * FROM t FOR NO KEY UPDATE", set()),
        ("SELECT updated_at, last_update FROM t", set()),
    ],
)
def test_what_a_text_changes(sql: str, names: set[str]) -> None:
    """Names that stand where a changed table is named; words that are none hurt nobody."""
    assert set(changed_tables(sql)) == names


def test_outside_of_the_block_nothing_is_changed(engine: Engine) -> None:
    """The same statements as in a process in which nobody guards, also while somebody else does; nothing stays."""

    def program() -> list[str]:
        sent: list[str] = []

        def note(*args: Any) -> None:
            sent.append(args[2])

        event.listen(engine, "before_cursor_execute", note)
        with Session(engine) as session:
            for account in session.scalars(select(Account).order_by(Account.id)):
                account.balance += 1
            session.commit()
            session.delete(session.get_one(Order, 1))
            session.add(Order(id=1, account=1, amount=1))
            session.commit()
        event.remove(engine, "before_cursor_execute", note)
        return sent

    alone = program()
    with guarded():
        beside: list[list[str]] = []
        elsewhere(lambda: beside.append(program()))
    assert (beside, program()) == ([alone], alone)
    assert not any(blocks._live.values())
    assert blocks._patterns == {}


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_of_many_at_once_each_counts(engine: Engine) -> None:
    """Three agents withdraw five times each, at once, and try again where they are refused: nothing is lost."""

    def withdraw() -> None:
        left = 5
        while left:
            with guarded(), Session(engine) as session:
                account = session.get_one(Account, 1)
                account.balance -= 1
                with contextlib.suppress(StaleWrite):
                    session.commit()
                    left -= 1

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for each in [pool.submit(withdraw) for _ in range(3)]:
            each.result(TIMEOUT_S)
    assert balance(engine) == 85


@pytest.mark.parametrize("counts", [True, False])
def test_a_class_of_several_tables(tmp_path: Path, counts: bool) -> None:
    """Refused by name, unless it guards itself."""

    class Own(DeclarativeBase):
        """Of a registry of its own."""

    class Thing(Own):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        version: Mapped[int] = mapped_column(default=0)
        __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": version} if counts else {}

    class Tool(Thing):
        __tablename__ = "tools"
        id: Mapped[int] = mapped_column(ForeignKey("things.id"), primary_key=True)
        use: Mapped[int]

    engine = create_engine(f"sqlite:///{tmp_path}/things.db")
    Own.metadata.create_all(engine)
    with guarded("sqlite://*/tools/*"), Session(engine) as session:
        session.add_all([Tool(id=1, use=1), Thing(id=2)])
        session.commit()
        for do in (
            lambda: setattr(session.get_one(Tool, 1), "use", 2),
            lambda: session.delete(session.get_one(Tool, 1)),
        ):
            do()
            with contextlib.nullcontext() if counts else pytest.raises(Unguardable, match="spread over several tables"):
                session.commit()
            session.rollback()
        session.delete(session.get_one(Thing, 2))
        session.commit()
        assert (session.get(Tool, 1) is None, session.get(Thing, 2)) == (counts, None)
    engine.dispose()


def test_it_must_be_asked_for_by_name() -> None:
    """Without the word it is refused, and told which it is and what it does not see; MySQL is refused with it."""
    with pytest.raises(Unguardable, match=r'only if you add through="sqlalchemy".* does not see .* driver beside it'):
        noclobber.guarded("postgresql://*/accounts/*").__enter__()
    with pytest.raises(Unguardable, match='through="sqlalchemy"'):
        noclobber.instrument(enforce=["sqlite://*/accounts/*"])
    with pytest.raises(Unguardable, match="version column"):
        noclobber.guarded("mysql://*/accounts/*", through="sqlalchemy").__enter__()
    with pytest.raises(Unguardable, match="through 'psycopg'"):
        noclobber.guarded("postgresql://*", through="psycopg").__enter__()
    assert not any(blocks._live.values())


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_process_enforces(engine: Engine) -> None:
    """From `enforce` on, what was loaded; what nobody has loaded passes; switched off it is off."""
    blocks.enforce(ANY, "sqlalchemy")
    try:
        with held(engine) as session:
            contextvars.Context().run(change, engine, 1, balance=70)
            session.get_one(Account, 1).balance = 1
            with pytest.raises(StaleWrite):
                session.flush()
            session.rollback()
            account = session.get_one(Account, 2)
            session.expire(account)
            account.balance = 5
            session.commit()
    finally:
        noclobber.uninstrument()
    assert (balance(engine), balance(engine, 2)) == (70, 5)
    assert not any(blocks._live.values())


@pytest.mark.parametrize("driver", ["aiosqlite", "asyncpg", "psycopg"])
def test_async_sessions(request: pytest.FixtureRequest, tmp_path: Path, driver: str, seen: Watched) -> None:
    """The same through each async driver; who was in between is known there, too."""
    if driver == "aiosqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/bank.db"
    else:
        url = request.getfixturevalue("postgres").replace("postgresql:", f"postgresql+{driver}:")

    async def main() -> Any:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
            await connection.execute(insert(Account), [{"id": 1, "balance": 100}, {"id": 2, "balance": 100}])

        async def other() -> None:
            async with AsyncSession(engine) as session:
                (await session.get_one(Account, 1)).balance = 70
                await session.commit()

        async def booked(session: AsyncSession) -> None:
            first, second = await session.get_one(Account, 1), await session.get_one(Account, 2)
            await session.commit()
            if first.balance == 100:
                with noclobber.agent("B"):
                    await asyncio.create_task(other(), context=contextvars.copy_context())
            first.balance, second.balance = first.balance - 10, second.balance + 10
            await session.commit()

        async def guarded_booking() -> None:
            with noclobber.agent("A"), guarded():
                async with AsyncSession(engine, expire_on_commit=False) as session:
                    await booked(session)

        with pytest.raises(StaleWrite, match=r"`B` at .*test_guarded_sql\.py:\d+, \d+ ms ago, wrote") as caught:
            await guarded_booking()
        await guarded_booking()
        async with engine.connect() as connection:
            left = list(await connection.scalars(select(Account.balance).order_by(Account.id)))
        await engine.dispose()
        return left, str(caught.value)

    left, told = asyncio.run(main())
    assert left == [60, 110]
    assert "id=1 has changed" in told
    evaluation = seen.evaluation()
    assert (evaluation.findings, {str(each.reason) for each in evaluation.defended}) == ([], {"rejected"})
