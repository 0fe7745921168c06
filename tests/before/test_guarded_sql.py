"""Guarded rows through SQLAlchemy: what an object was loaded with is asked for by its own UPDATE, and nothing beside."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Engine,
    Float,
    ForeignKey,
    Numeric,
    String,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import noclobber
from noclobber import StaleWrite, Unguardable
from noclobber.guarding import blocks
from noclobber.guarding.sqlalchemy_texts import changed_tables
from noclobber.settings import Settings
from noclobber_analyzer.watching import Watched, hooked, watched

ANY = ("postgresql://*/accounts/*", "sqlite://*/accounts/*")
ALL = ("postgresql://*", "sqlite://*")
TIMEOUT_S = 20


class Base(DeclarativeBase):
    """The tables of these tests."""


class Account(Base):
    """What is guarded; `note` and `extra` may be nothing, and `extra` and `rate` can't be compared."""

    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]
    note: Mapped[str | None] = mapped_column(String(40))
    extra: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    rate: Mapped[float | None] = mapped_column(Float)
    exact: Mapped[Any] = mapped_column(Numeric(10, 2), nullable=True)


class Counted(Base):
    """It guards itself."""

    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}


class Order(Base):
    """Not guarded, and points at what is."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Two accounts of 100."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/bank.db"
    else:
        url = request.getfixturevalue("postgres").replace("postgresql:", "postgresql+psycopg:")
    made = create_engine(url)
    Base.metadata.drop_all(made)
    Base.metadata.create_all(made)
    with Session(made) as session:
        session.add_all(Account(id=number, balance=100, extra={"a": 1}, rate=0.1, exact=1) for number in (1, 2))
        session.add_all([Counted(id=1, balance=100), Order(id=1, account=1, amount=1)])
        session.commit()
    yield made
    made.dispose()


@pytest.fixture
def seen() -> Iterator[Watched]:
    """What this process does, recorded."""
    settings = Settings(service="test", send=False, spool=None, cpu_budget=0.0)
    with hooked(settings), watched(settings) as found:
        yield found


def guarded(*patterns: str) -> Any:
    """The guard that these tests ask for."""
    return noclobber.guarded(*(patterns or ANY), through="sqlalchemy")


def elsewhere(do: Callable[[], Any], agent: str = "B") -> None:
    """Do it as another agent, in a thread of its own, under no guard."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            with noclobber.agent(agent):
                do()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    for error in raised:
        raise error


def change(engine: Engine, number: int = 1, **values: Any) -> None:
    """Load an object, change it, commit."""
    with Session(engine) as session:
        account = session.get_one(Account, number)
        for name, value in values.items():
            setattr(account, name, value)
        session.commit()


def balance(engine: Engine, number: int = 1) -> Any:
    """What stands there."""
    with engine.connect() as connection:
        return connection.scalar(select(Account.balance).where(Account.id == number))


def test_a_stale_write_is_not_made(engine: Engine, seen: Watched) -> None:
    """The exception names who wrote in between and where; the other's value is still there; read again it passes."""
    with noclobber.agent("A"), guarded(), Session(engine) as session:
        account = session.get_one(Account, 1)
        session.commit()  # begins anew at the next access, as a program that thinks between its transactions
        before = account.balance
        session.expire_on_commit = False
        session.commit()
        elsewhere(lambda: change(engine, balance=70))
        account.balance = before - 10
        with pytest.raises(
            StaleWrite, match=r"`B` at .*test_guarded_sql\.py:\d+, \d+ ms ago, wrote in between"
        ) as caught:
            session.commit()
        assert (caught.value.agent, caught.value.resource.rpartition("/")[2]) == ("B", "id=1")
        session.rollback()
        assert balance(engine) == 70
        account.balance -= 10
        session.commit()
    assert balance(engine) == 60
    evaluation = seen.evaluation()
    assert (evaluation.findings, {str(each.reason) for each in evaluation.defended}) == ([], {"rejected"})


def test_without_the_guard_it_is_lost(engine: Engine, seen: Watched) -> None:
    """The same program, so that the guard is what prevents it."""
    with noclobber.agent("A"), Session(engine, expire_on_commit=False) as session:
        account = session.get_one(Account, 1)
        session.commit()
        elsewhere(lambda: change(engine, balance=70))
        account.balance -= 10
        session.commit()
    assert balance(engine) == 90
    assert [str(each.kind) for each in seen.evaluation().findings] == ["lost_update"]


def held(engine: Engine) -> Session:
    """A session that keeps what it loaded, and holds no transaction open."""
    session = Session(engine, expire_on_commit=False)
    session.scalars(select(Account)).all()
    session.commit()
    return session


def test_a_delete_a_gone_row_and_nothing(engine: Engine) -> None:
    """A DELETE is guarded, a row that is gone is stale, NULL is compared as a value."""
    with guarded(), held(engine) as session:
        first, second = session.get_one(Account, 1), session.get_one(Account, 2)
        elsewhere(lambda: change(engine, note="changed"))
        first.balance = 1
        with pytest.raises(StaleWrite):
            session.flush()
        session.rollback()
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


def test_what_can_not_be_compared(engine: Engine) -> None:
    """Left out where it is only read, so that it makes nothing stale; refused where it is written, or is all there is."""
    with guarded(), held(engine) as session:
        account = session.get_one(Account, 1)
        account.balance = 90
        session.commit()
        for name, value in (("extra", {"a": 2}), ("rate", 0.3)):
            setattr(account, name, value)
            with pytest.raises(Unguardable, match=f"the `{name}` that is written is of a kind"):
                session.flush()
            session.rollback()
        session.delete(account)
        with pytest.raises(Unguardable, match="version_id_col"):
            session.flush()
        session.rollback()
        session.expire(account)
        account.balance = 1
        with pytest.raises(Unguardable, match="none of its columns was loaded"):
            session.flush()
    assert balance(engine) == 90


def test_what_the_database_compares_otherwise_is_not_stale(engine: Engine) -> None:
    """A type that is mapped otherwise than it is: nothing is written, and nobody is blamed."""

    class Loud(String):
        """What is compared is not what was read."""

        def bind_processor(self, _dialect: Any) -> Any:
            return lambda value: f"{value}!"

    class Odd(DeclarativeBase):
        """Of a registry of its own."""

    class Kept(Odd):
        __tablename__ = "accounts"
        id: Mapped[int] = mapped_column(primary_key=True)
        balance: Mapped[int]
        note: Mapped[str | None] = mapped_column(Loud(40))

    change(engine, note="n")
    with guarded(), Session(engine) as session:
        session.get_one(Kept, 1).balance = 1
        with pytest.raises(Unguardable, match="is what was read, and yet"):
            session.flush()
    assert balance(engine) == 100


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
                    beside = asyncio.create_task(other(), context=contextvars.copy_context())
                await beside
            first.balance, second.balance = first.balance - 10, second.balance + 10
            await session.commit()

        with noclobber.agent("A"), pytest.raises(StaleWrite, match=r"wrote in between") as caught:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                with guarded():
                    await booked(session)
        with noclobber.agent("A"), guarded():
            async with AsyncSession(engine, expire_on_commit=False) as session:
                await booked(session)
        async with engine.connect() as connection:
            left = list(await connection.scalars(select(Account.balance).order_by(Account.id)))
        await engine.dispose()
        return left, str(caught.value)

    left, told = asyncio.run(main())
    assert left == [60, 110]
    assert "id=1 has changed" in told
    evaluation = seen.evaluation()
    assert (evaluation.findings, {str(each.reason) for each in evaluation.defended}) == ([], {"rejected"})
