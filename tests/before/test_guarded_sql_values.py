"""Which values a guarded row is compared by: those that the database gives back as it got them."""

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from guarded_bank import Account, balance, change, elsewhere, engine, guarded, held
from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Engine,
    FetchedValue,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
    TypeDecorator,
    Uuid,
    text,
)  # fmt: skip
from sqlalchemy import Enum as SqlEnum
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from noclobber import StaleWrite, Unguardable
from noclobber.guarding.sqlalchemy_kinds import is_exact

__all__ = ["engine"]


def test_what_can_not_be_compared(engine: Engine) -> None:
    """Left out where it is only read, so that it makes nothing stale; refused where it is written, or all there is."""
    with guarded(), held(engine) as session:
        account = session.get_one(Account, 1)
        account.balance = 90
        session.commit()
        for name, value in (("extra", {"a": 2}), ("rate", 0.3)):
            setattr(account, name, value)
            with pytest.raises(Unguardable, match=f"what `{name}` was, which it replaces, can't be compared"):
                session.flush()
            session.rollback()
            session.refresh(account)
        session.delete(account)
        with pytest.raises(Unguardable, match="version_id_col"):
            session.flush()
        session.rollback()
        session.expire(account)
        account.balance = 1
        with pytest.raises(Unguardable, match="none of its columns was loaded"):
            session.flush()
    assert balance(engine) == 90


def test_an_own_write_makes_nothing_stale(engine: Engine) -> None:
    """What the database rounded is not compared with what the object still holds; what it keeps as it is, is."""
    with guarded(), held(engine) as session:
        account = session.get_one(Account, 1)
        if engine.name == "postgresql":
            account.exact = Decimal("2.345")
            session.commit()
        account.balance, account.note = 5, "five"
        session.commit()
        account.balance = 6
        session.commit()
        if engine.name == "postgresql":
            account.exact = Decimal("1.00")
            with pytest.raises(Unguardable, match="what `exact` was"):
                session.commit()
    assert balance(engine) == 6


class Bare(TypeDecorator[str]):
    """Another name for a type."""

    impl = String
    cache_ok = True


class Turned(Bare):
    """A type with ways of its own."""

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """Turn what comes back."""
        del dialect
        return value


class Colour(enum.Enum):
    """Some."""

    RED = 1


NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001  one without a zone
EXACT: Any = [
    (5, Integer(), "both"), ("5", Integer(), None), (5.0, Integer(), None), (None, BigInteger(), "both"),
    ("abc", String(3), "both"), ("abc ", String(3), None), ("a", CHAR(1), None),
    ("a", String(collation="NOCASE"), None),
    ("a", postgresql.CITEXT(), None), ("a", Text(), "both"), ("a", Bare(9), "both"), ("a", Turned(9), None),
    (True, Boolean(), "both"), (1, Boolean(), None), (Colour.RED, SqlEnum(Colour), "both"),
    (uuid.UUID(int=1), Uuid(), "both"), (0.5, Float(), None), (0.5, postgresql.DOUBLE_PRECISION(), None),
    (Decimal("1.25"), Numeric(9, 2), "postgresql"), (Decimal("1.255"), Numeric(9, 2), None),
    (1.5, Numeric(9, 2), None),
    (NOW, DateTime(), "postgresql"), (NOW, DateTime(timezone=True), None),
    (NOW, postgresql.TIMESTAMP(precision=0), None),
    (NOW.date(), Date(), "postgresql"), (NOW, Date(), None), ({}, JSON(), None), (None, JSON(), None),
    ([1], postgresql.ARRAY(Integer), None), (b"x", LargeBinary(), None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind", "where"), EXACT)
def test_what_is_exact(value: Any, kind: Any, where: str | None) -> None:
    """Only what the store gives back as it got it, whoever wrote it."""
    known = {name for name in ("postgresql", "sqlite") if is_exact(value, kind, name)}
    assert known == {None: set(), "both": {"postgresql", "sqlite"}, "postgresql": {"postgresql"}}[where]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_what_the_database_compares_otherwise_is_not_stale(engine: Engine) -> None:
    """A column that is mapped otherwise than it is: nothing is written, and nobody is blamed."""

    class Odd(DeclarativeBase):
        """Of a registry of its own."""

    class Kept(Odd):
        __tablename__ = "accounts"
        id: Mapped[int] = mapped_column(primary_key=True)
        balance: Mapped[int]
        exact: Mapped[Any] = mapped_column(Numeric(10, 2))

    change(engine, exact=0.1)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE accounts ALTER exact TYPE real"))
    with guarded(), Session(engine) as session:
        session.get_one(Kept, 1).balance = 1
        with pytest.raises(Unguardable, match="is what was read, and yet"):
            session.flush()
    assert balance(engine) == 100


@pytest.mark.parametrize("eager", [True, False])
def test_values_that_the_server_makes(engine: Engine, eager: bool) -> None:
    """A row that is told by RETURNING what became of it is counted as any other."""

    class Own(DeclarativeBase):
        """Of a registry of its own."""

    class Stamped(Own):
        __tablename__ = "accounts"
        id: Mapped[int] = mapped_column(primary_key=True)
        balance: Mapped[int]
        note: Mapped[str | None] = mapped_column(String(40), server_onupdate=FetchedValue())
        __mapper_args__: ClassVar[dict[str, Any]] = {"eager_defaults": eager}

    with guarded(), Session(engine, expire_on_commit=False) as session:
        stamped = session.get_one(Stamped, 1)
        session.commit()
        stamped.balance = 90
        session.commit()
        assert stamped.note is None
        session.commit()
        elsewhere(lambda: change(engine, balance=70))
        stamped.balance = 80
        with pytest.raises(StaleWrite):
            session.commit()
        session.rollback()
        stamped.balance = Stamped.balance - 1  # loaded by nobody since: refused, as what was not read
        with pytest.raises(Unguardable):
            session.commit()
    assert balance(engine) == 70
