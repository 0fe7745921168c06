"""Two agents on one SQLite database in one process: a drafter who may change its mind, and a reviewer who reads.

The connections share one cache and read uncommitted rows, as some do for speed. The drafter writes a new text, thinks,
and commits or rolls back; a reviewer who looks in between reviews a text that never existed. `--safely serializable`
leaves SQLite's own isolation on, from BEGIN on, so that the reviewer sees only what was committed.
"""

import argparse
import random
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

TEXT = "the plan is to ship a small thing that works and to learn from those who use it before we add more"


class Base(DeclarativeBase):
    """The tables."""


class Document(Base):
    """A text that agents work on."""

    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  as SQLAlchemy wants it


def new_text() -> str:
    """A long text that nobody has written before."""
    return " ".join(random.choices(TEXT.split(), k=120))


def engine_for(database: Path, uncommitted: bool) -> Engine:
    """An engine; if `uncommitted`, its connections share one cache and read what is not committed yet."""
    cache = "shared" if uncommitted else "private"
    engine = create_engine(f"sqlite:///file:{database}?cache={cache}&uri=true", connect_args={"timeout": 30})
    if uncommitted:

        @event.listens_for(engine, "connect")
        def read_uncommitted(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA read_uncommitted = 1")

    else:  # the driver would begin at the first write only, as SQLAlchemy's manual explains

        @event.listens_for(engine, "connect")
        def leave_begin_to_us(connection: Any, _record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    return engine


def draft(engine: Engine, document: int, longest_s: float, gives_up: bool) -> None:
    """Write a new text, think, then keep it or not."""
    time.sleep(random.uniform(0.0, longest_s))
    with Session(engine) as session:
        row = session.get_one(Document, document)
        row.text = new_text()
        session.flush()
        time.sleep(random.uniform(0.5, 1.5) * longest_s)
        if gives_up:
            session.rollback()
            print("drafter: wrote a text and took it back")
        else:
            session.commit()
            print("drafter: wrote a text and kept it")


def review(engine: Engine, document: int, longest_s: float) -> None:
    """Read the text; what is said about it is worth as much as the text."""
    time.sleep(random.uniform(0.0, 2 * longest_s))
    with Session(engine) as session:
        row = session.get_one(Document, document)
        print(f"reviewer: read version {row.version}, which begins with {row.text[:40]!r}", flush=True)


def main() -> None:
    """Draft and review at the same time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=Path, required=True, help="path of the SQLite file")
    parser.add_argument("--document", type=int, required=True)
    parser.add_argument("--safely", choices=["no", "serializable"], default="no")
    parser.add_argument("--begin-at", type=float, default=0.0, help="unix time at which to begin")
    parser.add_argument("--longest-s", type=float, default=0.5, help="longest pause, before the work and in it")
    words = parser.parse_args()
    engine = engine_for(words.database, words.safely == "no")
    with Session(engine) as session:
        Base.metadata.create_all(engine)
        session.add(Document(id=words.document, text=new_text()))
        session.commit()
    time.sleep(max(0.0, words.begin_at - time.time()))
    drafter = threading.Thread(target=draft, args=(engine, words.document, words.longest_s, True), name="drafter")
    reviewer = threading.Thread(target=review, args=(engine, words.document, words.longest_s), name="reviewer")
    for agent in (drafter, reviewer):
        agent.start()
    for agent in (drafter, reviewer):
        agent.join()
    engine.dispose()


if __name__ == "__main__":
    main()
