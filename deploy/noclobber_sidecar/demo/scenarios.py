"""The acts of the demo: who plays, on which state, what goes wrong, what the safe twin does instead.

Each act has an observer of its own that knows nothing of noclobber: it asks the server what happened. So the demo
can say, and the tests can demand, that noclobber finds something if and only if something was lost.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from noclobber.contract import Kind
from noclobber_sidecar.demo import servers
from noclobber_sidecar.demo.observer import (
    DraftObserver,
    ForkObserver,
    GraphBalanceObserver,
    JobObserver,
    LedgerObserver,
    MonitorObserver,
    Observer,
)
from noclobber_sidecar.demo.stage import Program

__all__ = ["SCENARIOS", "Act", "Scenario"]


class Act(Protocol):
    """One race and its safe twin."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def kind(self) -> Kind:
        """What noclobber has to find."""
        ...

    @property
    def story(self) -> str:
        """What the agents do."""
        ...

    @property
    def cure(self) -> str:
        """What the safe twin does instead."""
        ...

    def open(self, folder: Path) -> contextlib.AbstractContextManager["OpenAct"]:
        """Start what the act needs, in `folder`."""
        ...


@dataclass(frozen=True)
class OpenAct:
    """An act whose servers run.

    Attributes:
        programs: the agents' programs for a round; `safely` picks the twin.
        observer: sees what a round really did.
    """

    programs: Callable[[int, bool], list[Program]]
    observer: Observer


@dataclass(frozen=True)
class AccountAct:
    """Two agents on one Redis key."""

    name: str = "account"
    kind: Kind = Kind.LOST_UPDATE
    story: str = "a deposit agent adds 50 and a withdraw agent takes 20 from an account of 100, over Redis"
    cure: str = "INCRBY, which adds in the server"
    twin: str = "increment"

    @contextlib.contextmanager
    def open(self, folder: Path) -> Iterator[OpenAct]:
        """Start the server and the observer, who listens to MONITOR."""
        with servers.redis_compatible(folder) as url, MonitorObserver(url) as observer:

            def programs(number: int, safely: bool) -> list[Program]:
                way = ("--safely", self.twin) if safely else ()
                common = ("--redis", url, "--account", observer.key(number), *way)
                return [
                    Program("deposit-agent", "account.py", (*common, "--amount", "50")),
                    Program("withdraw-agent", "account.py", (*common, "--amount=-20")),
                ]

            yield OpenAct(programs, observer)


@dataclass(frozen=True)
class StoreAct:
    """Two parallel nodes on one key of a LangGraph store."""

    name: str = "langgraph store"
    kind: Kind = Kind.LOST_UPDATE
    story: str = "two parallel nodes of a LangGraph graph work on one key of its store"
    cure: str = "a lock on Redis from the read to the write"

    @contextlib.contextmanager
    def open(self, folder: Path) -> Iterator[OpenAct]:
        """Start the server that keeps the twin's locks; the store lives in the graph's own process."""
        observer = GraphBalanceObserver()
        with servers.redis_compatible(folder) as url:

            def programs(number: int, safely: bool) -> list[Program]:
                way = ("--safely", "lock", "--locks", url) if safely else ()
                return [Program(None, "graph_store.py", ("--account", observer.key(number), *way))]

            yield OpenAct(programs, observer)


@dataclass(frozen=True)
class ThreadAct:
    """Two invokes on one checkpointed LangGraph thread."""

    name: str = "langgraph thread"
    kind: Kind = Kind.FORK
    story: str = "two requests invoke a LangGraph graph on one checkpointed thread at once"
    cure: str = "a lock on Redis for each thread, which turns the second away until the first is done"

    @contextlib.contextmanager
    def open(self, folder: Path) -> Iterator[OpenAct]:
        """Start the server that keeps the twin's locks; checkpoints lie in one SQLite file for all rounds."""
        observer = ForkObserver(folder / "checkpoints.db")
        with servers.redis_compatible(folder) as url:

            def programs(number: int, safely: bool) -> list[Program]:
                way = ("--safely", "lock", "--locks", url) if safely else ()
                where = ("--database", str(observer.database), "--thread", observer.key(number))
                return [Program(None, "graph_thread.py", (*where, *way))]

            yield OpenAct(programs, observer)


@dataclass(frozen=True)
class LedgerAct:
    """Two agents on one row of PostgreSQL."""

    name: str = "sql update"
    kind: Kind = Kind.LOST_UPDATE
    story: str = "the bank again, over SQLAlchemy on PostgreSQL: read in one session, write in another"
    cure: str = "a version column (SQLAlchemy's version_id_col)"

    @contextlib.contextmanager
    def open(self, folder: Path) -> Iterator[OpenAct]:
        """Start PostgreSQL and make the tables."""
        with servers.postgres(folder) as url, LedgerObserver(url) as observer:

            def programs(number: int, safely: bool) -> list[Program]:
                way = ("--safely", "version") if safely else ()
                common = ("--database", url, "--account", observer.key(number), *way)
                return [
                    Program("deposit-agent", "ledger.py", (*common, "--amount", "50")),
                    Program("withdraw-agent", "ledger.py", (*common, "--amount=-20")),
                ]

            yield OpenAct(programs, observer)


@dataclass(frozen=True)
class DraftAct:
    """A reviewer who reads what a drafter takes back."""

    name: str = "sql dirty read"
    kind: Kind = Kind.DIRTY_READ
    story: str = "on SQLite with read_uncommitted, a reviewer reads a text that the drafter then takes back"
    cure: str = "SQLite's own isolation, from BEGIN to the end"

    @contextlib.contextmanager
    def open(self, folder: Path) -> Iterator[OpenAct]:
        """One SQLite file for all rounds."""
        observer = DraftObserver(folder / "documents.db")

        def programs(number: int, safely: bool) -> list[Program]:
            way = ("--safely", "serializable") if safely else ()
            where = ("--database", str(observer.database), "--document", observer.key(number))
            return [Program(None, "editors.py", (*where, *way))]

        yield OpenAct(programs, observer)


@dataclass(frozen=True)
class JobAct:
    """Two workers who claim one job."""

    name: str = "queue"
    kind: Kind = Kind.DOUBLE_CLAIM
    story: str = "two workers look for a new row in a job table, think, and claim it"
    cure: str = "FOR UPDATE SKIP LOCKED"

    @contextlib.contextmanager
    def open(self, folder: Path) -> Iterator[OpenAct]:
        """Start PostgreSQL and make the table."""
        with servers.postgres(folder) as url, JobObserver(url) as observer:

            def programs(number: int, safely: bool) -> list[Program]:
                way = ("--safely", "skip-locked") if safely else ()
                common = ("--database", url, "--queue", observer.key(number), *way)
                return [
                    Program("worker-1", "worker.py", (*common, "--name", "worker-1")),
                    Program("worker-2", "worker.py", (*common, "--name", "worker-2")),
                ]

            yield OpenAct(programs, observer)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What `--scenario` names: one act or several."""

    name: str
    acts: tuple[Act, ...]


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("account", (AccountAct(),)),
        Scenario("langgraph", (StoreAct(), ThreadAct())),
        Scenario("sql", (LedgerAct(), DraftAct())),
        Scenario("queue", (JobAct(),)),
    )
}
