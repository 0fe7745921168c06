"""A bank whose rows are guarded through SQLAlchemy, and another agent that writes to it meanwhile."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import (
    JSON,
    Engine,
    Float,
    ForeignKey,
    Numeric,
    String,
    create_engine,
    select,
)  # fmt: skip
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import noclobber
from noclobber.settings import Settings
from noclobber_analyzer.watching import Watched, hooked, watched

__all__ = [
    "ANY",
    "TIMEOUT_S",
    "Account",
    "Base",
    "Counted",
    "Order",
    "another",
    "balance",
    "change",
    "elsewhere",
    "engine",
    "guarded",
    "held",
    "seen",
]

ANY = ("postgresql://*/accounts/*", "sqlite://*/accounts/*")
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
    __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": version}


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


@contextlib.contextmanager
def another(do: Callable[[], Any], agent: str = "B") -> Iterator[Callable[[], None]]:
    """Another agent, in a thread of its own, under no guard; it does it when it is told to, which waits for it.

    Who waits does not join it before the end, so what it wrote is nobody else's knowledge meanwhile.
    """
    go, done, raised = threading.Event(), threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            assert go.wait(TIMEOUT_S)
            with noclobber.agent(agent):
                do()
        except BaseException as error:
            raised.append(error)
        finally:
            done.set()

    def tell() -> None:
        go.set()
        assert done.wait(TIMEOUT_S)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield tell
    finally:
        go.set()
        thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert raised == []


def elsewhere(do: Callable[[], Any], agent: str = "B") -> None:
    """Do it now as another agent."""
    with another(do, agent) as tell:
        tell()


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


def held(engine: Engine) -> Session:
    """A session that keeps what it loaded, and holds no transaction open."""
    session = Session(engine, expire_on_commit=False)
    session.info["kept"] = session.scalars(select(Account)).all()
    session.commit()
    return session
