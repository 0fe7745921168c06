"""What the tests of SQL capture share: real databases, a small bank, and accesses without what differs by run."""

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from noclobber_sidecar.demo import servers

METADATA = MetaData()
ACCOUNTS = Table(
    "accounts", METADATA, Column("id", Integer, primary_key=True), Column("owner", String(40)), Column("bal", Integer)
)
JOBS = Table(
    "jobs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("status", String(40)),
    Column("worker", String(40)),
)
SEATS = Table(
    "seats",
    METADATA,
    Column("hall", String(10), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("guest", String(40)),
)


class Base(DeclarativeBase):
    """Mapped tables."""

    metadata = METADATA


class Document(Base):
    """A row with a version column."""

    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Note(Base):
    """A row whose key the database makes."""

    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]


_running: list[str] = []


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A real PostgreSQL: one for the whole run, whichever modules ask for it.

    Not in pytest's own folder: as root the server runs as a user of its own, and pytest locks others out of that.
    """
    if not _running:
        stack = contextlib.ExitStack()
        request.config.add_cleanup(stack.close)
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        _running.append(stack.enter_context(servers.postgres(Path(folder))))
    return _running[0]


def prepared(url: str) -> Engine:
    """An engine on fresh tables; it was made, and has been used, before anything is instrumented."""
    engine = create_engine(url)
    METADATA.drop_all(engine)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            ACCOUNTS.insert(), [{"id": 1, "owner": "ann", "bal": 100}, {"id": 2, "owner": "bob", "bal": 7}]
        )
        connection.execute(JOBS.insert(), [{"id": 7, "status": "new"}, {"id": 8, "status": "new"}])
        connection.execute(SEATS.insert(), [{"hall": "a", "number": 1}])
        connection.execute(Document.__table__.insert(), [{"id": 1, "text": "the first text of all", "version": 1}])
    return engine


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """The bank on SQLite, and on PostgreSQL."""
    url = f"sqlite:///{tmp_path}/bank.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = prepared(url)
    yield made
    made.dispose()


DIFFERS = (
    "noclobber.strand", "noclobber.seq", "noclobber.agent", "noclobber.run", "noclobber.txn.id",
    "noclobber.version.base.strand", "noclobber.version.base.seq", "noclobber.version.base.end_ns", "code.",
    "noclobber.system",
)  # fmt: skip


def told(access: dict[str, Any]) -> dict[str, Any]:
    """An access without identities and times; names without `noclobber.`, the resource without its database."""
    kept = {name: value for name, value in access.items() if not name.startswith(DIFFERS) and name != "noclobber.unit"}
    kept["noclobber.resource"] = row_of(kept["noclobber.resource"])
    return {name.removeprefix("noclobber."): value for name, value in kept.items()}


def row_of(resource: str) -> str:
    """`accounts/id=1` of a row's name; the database itself is empty."""
    _, found, row = (
        resource.rpartition("/bank.db") if resource.startswith("sqlite") else resource.rpartition("/postgres")
    )
    return row.removeprefix("/") if found else resource


def accesses(captured: Any, *ops: str) -> list[dict[str, Any]]:
    """What was captured, without the ends of transactions unless asked for."""
    wanted = ops or ("read", "scan", "write", "update", "delete")
    return [told(each) for each in captured.accesses if each["noclobber.op"] in wanted]


@functools.cache
def printed(**values: Any) -> str:
    """The print of these columns under the tests' key; ask inside `capture`."""
    from noclobber.stores.sql_values import state

    return state(values).version
