"""A bank agent over SQLAlchemy: reads the balance in one session, thinks, writes it in another.

`--safely version` keeps a version column (SQLAlchemy's `version_id_col`): whoever comes second finds no row with the
version that it read, and begins anew.
"""

import argparse
import random
import time

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError


class Base(DeclarativeBase):
    """The tables."""


class Bookable(Base):
    """What can be booked on."""

    __abstract__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]


class Account(Bookable):
    """An account without any protection."""

    __tablename__ = "accounts"


class VersionedAccount(Bookable):
    """An account whose writers notice each other."""

    __tablename__ = "versioned_accounts"
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  as SQLAlchemy wants it


def think(longest_s: float) -> None:
    """Stands for a language model's call."""
    time.sleep(random.uniform(0.0, longest_s))


def book(engine: Engine, table: type[Bookable], words: argparse.Namespace) -> None:
    """Read in one session, think, write in another; once more where the row refuses a version that is not its own."""
    while True:
        with Session(engine, expire_on_commit=False) as session:
            account = session.get_one(table, words.account)
        think(words.longest_s)
        with Session(engine) as session:
            session.add(account)
            read, written = account.balance, account.balance + words.amount
            account.balance = written
            try:
                session.commit()
            except StaleDataError:
                session.rollback()
                print(f"read {read}, but somebody was faster: once more")
            else:
                print(f"read {read}, wrote {written}")
                return


TABLES: dict[str, type[Bookable]] = {"no": Account, "version": VersionedAccount}


def main() -> None:
    """Book one amount."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="SQLAlchemy URL")
    parser.add_argument("--account", type=int, required=True)
    parser.add_argument("--amount", type=int, required=True)
    parser.add_argument("--safely", choices=sorted(TABLES), default="no")
    parser.add_argument("--begin-at", type=float, default=0.0, help="unix time at which to begin")
    parser.add_argument("--longest-s", type=float, default=0.5, help="longest pause, before the work and in it")
    words = parser.parse_args()
    engine = create_engine(words.database)
    with engine.connect():
        pass
    time.sleep(max(0.0, words.begin_at - time.time()) + random.uniform(0.0, words.longest_s))
    book(engine, TABLES[words.safely], words)
    engine.dispose()


if __name__ == "__main__":
    main()
